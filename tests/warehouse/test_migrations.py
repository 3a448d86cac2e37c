"""The schema: up, down and up again, one at a time, and what it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.domain.records import Customer, Ticket
from app.pipeline.score import score_customer
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from app.warehouse.migrate import current_revision, differences, downgrade, migrate
from tests.conftest import own_database
from tests.fakes import STAR, a_shop, at, bought, dump, execute, foretell, foretold, put, rows, segmented, value


@pytest.fixture
async def empty(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """A database without a table."""
    async with own_database(server_url) as url:
        database = Database(url, settings)
        yield database
        await database.close()


SCHEMA = """
    SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public'
    UNION ALL
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT tablename, indexname, indexdef, NULL, NULL FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT viewname, definition, NULL, NULL, NULL FROM pg_views WHERE schemaname = 'public'
"""
OBJECTS = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relname NOT IN ('alembic_version', 'alembic_version_pkc')
"""


async def schema(database: Database) -> list[tuple[Any, ...]]:
    return sorted(await rows(database, SCHEMA), key=str)


async def test_an_empty_database_gets_every_table(empty: Database) -> None:
    before, after = await migrate(empty)
    assert before is None
    assert await current_revision(empty) == (after, after)
    assert len(await rows(empty, OBJECTS)) > 20


async def test_migrating_again_changes_nothing(empty: Database) -> None:
    _, newest = await migrate(empty)
    made = await schema(empty)
    assert await migrate(empty) == (newest, newest)
    assert await schema(empty) == made


async def test_all_the_way_down_leaves_nothing_and_up_again_makes_the_same(empty: Database) -> None:
    await migrate(empty)
    made = await schema(empty)
    await downgrade(empty, "base")
    assert await rows(empty, OBJECTS) == []
    await migrate(empty)
    assert await schema(empty) == made


async def test_nothing_is_left_for_autogenerate_to_add(database: Database) -> None:
    assert await differences(database) is None


async def test_a_column_the_models_do_not_know_is_told(empty: Database) -> None:
    await migrate(empty)
    await execute(empty, "ALTER TABLE customers ADD COLUMN shoe_size int")
    assert "shoe_size" in (await differences(empty) or "")


async def test_migrations_that_start_at_once_all_succeed(server_url: str, settings: Settings) -> None:
    async with own_database(server_url) as url:
        databases = [Database(url, settings) for _ in range(4)]
        results = await asyncio.gather(*(migrate(each) for each in databases))
        (newest,) = {after for _, after in results}
        # One did the work, the others found it done.
        assert sorted(str(before) for before, _ in results) == sorted(["None", *[str(newest)] * 3])
        assert await differences(databases[0]) is None
        for each in databases:
            await each.close()


async def test_records_are_still_there_after_migrating_again(empty: Database) -> None:
    await migrate(empty)
    await put(empty, "corner", bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
    there = await dump(empty, "corner")
    await migrate(empty)
    assert await dump(empty, "corner") == there


async def test_a_database_at_an_unknown_revision_is_refused_and_untouched(empty: Database) -> None:
    await migrate(empty)
    made = await schema(empty)
    await execute(empty, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"9999.*newer version"):
        await migrate(empty)
    assert await schema(empty) == made


async def test_a_migration_that_fails_halfway_leaves_the_database_as_it_was(empty: Database) -> None:
    # Somebody else's table is in the way of ours.
    await execute(empty, "CREATE TABLE tickets (a int)")
    before = await schema(empty)
    with pytest.raises(Exception, match="tickets"):
        await migrate(empty)
    assert await schema(empty) == before


async def test_every_table_view_and_column_says_what_it_is(database: Database) -> None:
    silent = await rows(
        database,
        """
        SELECT class.relname, attribute.attname FROM pg_class AS class
        JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attnum > 0 AND NOT attisdropped
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT IN ('alembic_version')
          AND relname NOT LIKE 'test_%' AND col_description(class.oid, attnum) IS NULL
        UNION ALL
        SELECT relname, NULL FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname NOT IN ('alembic_version')
          AND relname NOT LIKE 'test_%' AND obj_description(oid) IS NULL
        """,
    )
    assert silent == []


DOCUMENTED = {
    "dim_segment_master": (
        "segment_id store_id axis_name segment_name interpretation cluster_center scaler_params population_percentage "
        "customer_count"
    ),
    "dim_archetype_l1": "archetype_id store_id name dominant_segments member_count population_percentage avg_ltv",
    "dim_archetype_l2": "archetype_id store_id parent_id strength_band member_count",
    "dim_archetype_l3": "archetype_id store_id parent_id second_segments member_count",
    "fact_customer_current": (
        "customer_id archetype_level2_id lifetime_value total_orders days_since_last_purchase customer_tenure_days "
        "dominant_segments membership_strengths snapshot_date store_id archetype_id archetype_level3_id"
    ),
    "fact_customer_history": "customer_id store_id snapshot_date archetype_id lifetime_value",
    "customer_profiles": (
        "customer_id store_id archetype_id segment_memberships dominant_segments feature_vectors lifetime_value "
        "churn_risk_score"
    ),
    "customers": "customer_id store_id email created_at total_spent orders_count",
    "orders": "order_id customer_id store_id order_date total_price discount_amount source",
    "order_items": "order_id store_id product_id category product_type quantity price refund_amount",
    "refunds": "refund_id store_id customer_id order_id amount refunded_at",
    "tickets": "ticket_id store_id customer_id created_at",
    "order_line_items": "id order_id product_id product_title quantity price vendor",
}


async def columns(database: Database, table: str) -> list[str]:
    found = await rows(
        database,
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = :table "
        "ORDER BY ordinal_position",
        table=table,
    )
    return [name for (name,) in found]


@pytest.mark.parametrize(("table", "names"), DOCUMENTED.items(), ids=list(DOCUMENTED))
async def test_the_documented_tables_have_their_columns(database: Database, table: str, names: str) -> None:
    assert set(names.split()) <= set(await columns(database, table))


async def test_customer_intelligence_has_the_integration_guides_columns(database: Database) -> None:
    guide = "customer_id archetype_id archetype_name archetype_level ltv churn_risk cluster_confidence updated_at"
    assert await columns(database, "customer_intelligence") == ["store_id", *guide.split()]


async def test_combined_sales_has_26_columns(database: Database) -> None:
    assert len(await columns(database, "combined_sales")) == 26


async def test_the_documented_indexes_exist(database: Database) -> None:
    found = {name for (name,) in await rows(database, "SELECT indexname FROM pg_indexes")}
    assert found >= {
        *("idx_customer_email", "idx_customer_created", "idx_orders_customer", "idx_orders_created"),
        *("idx_intelligence_archetype", "idx_intelligence_updated"),
    }


async def test_customers_are_found_by_email_and_lines_by_order_without_a_scan(database: Database) -> None:
    """The index the documents name idx_line_items_order is the primary key of order_items here."""
    for table, leading in (("order_items", "(store_id, order_id"), ("customers", "(store_id, email")):
        definitions = await rows(database, "SELECT indexdef FROM pg_indexes WHERE tablename = :table", table=table)
        assert any(leading in definition for (definition,) in definitions)


async def test_money_is_decimal_and_times_carry_their_zone(database: Database) -> None:
    wrong = await rows(
        database,
        """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public' AND (
            column_name ~ '(price|amount|_total|spent|value|avg_ltv|total_ltv|paid)$' AND data_type <> 'numeric'
            OR column_name ~ '(_at|order_date|as_of)$' AND data_type <> 'timestamp with time zone'
        )
        """,
    )
    assert wrong == []


# What runs have written, through migration 0012: numbers in lists whose places the segments know.

OLD_SEGMENT = """
    INSERT INTO dim_segment_master (store_id, run_id, segment_id, axis_name, position, segment_name, interpretation,
        source, cluster_center, scaler_params, population_percentage, customer_count)
    VALUES ('corner', :run, :id, :axis, :position, :name, '', :source, '[]',
        jsonb_build_object('features', CAST(:features AS text[])), 50, 1)
"""
# As they were written in: in no order. A later axis first, the second segment before the first.
OLD_SEGMENTS = [
    ("support_history", 2, "asks_often", "tickets", ["tickets_per_order", "tickets_a_year"]),
    ("support_history", 0, "quiet", "orders", ["days_of_silence"]),
    ("support_history", 1, "asks", "tickets", ["tickets_per_order", "tickets_a_year"]),
    ("purchase_value", 1, 'say "low", 100 %', "orders", ["lifetime_value", "avg_order_value"]),
    ("purchase_value", 0, "high", "orders", ["lifetime_value", "avg_order_value"]),
    ("purchase_frequency", 0, "everyone", "orders", ["orders_per_month"]),
]
OLD_PROFILES = [
    {
        "customer_id": "ada",
        "segment_memberships": {
            "support_history": {"asks": 0.125, "quiet": 0, "asks_often": 0.875},
            "purchase_value": {"high": 0.123456789012, 'say "low", 100 %': 0.876543210988},
            "purchase_frequency": {"everyone": 1},
        },
        "dominant_segments": {
            "purchase_frequency": "everyone",
            "purchase_value": 'say "low", 100 %',
            "support_history": "asks_often",
        },
        "membership_strengths": {
            "purchase_frequency": "strong",
            "purchase_value": "strong",
            "support_history": "strong",
        },
        "feature_vectors": {
            "support_history": {"tickets_a_year": 12.5, "tickets_per_order": 1e-12},
            "purchase_value": {"avg_order_value": -3.5, "lifetime_value": 7},
            "purchase_frequency": {"orders_per_month": 0.25},
        },
        "interpretation": 'everyone, say "low", 100 %, asks_often',
        "lifetime_value": "7.0001",
        "churn_risk_score": 0.3,
    },
    {
        "customer_id": "bea",
        "segment_memberships": {
            "support_history": {"asks": 0, "quiet": 1, "asks_often": 0},
            "purchase_value": {"high": 0.5, 'say "low", 100 %': 0.5},
            "purchase_frequency": {"everyone": 1},
        },
        "dominant_segments": {
            "purchase_frequency": "everyone",
            "purchase_value": "high",
            "support_history": "quiet",
        },
        "membership_strengths": {
            "purchase_frequency": "strong",
            "purchase_value": "balanced",
            "support_history": "strong",
        },
        "feature_vectors": {
            "support_history": {"days_of_silence": 400},
            "purchase_value": {"avg_order_value": 1, "lifetime_value": 1},
            "purchase_frequency": {"orders_per_month": 0},
        },
        "interpretation": "everyone, high, quiet",
        "lifetime_value": "1",
        "churn_risk_score": None,
    },
]
OLD_ROWS = (
    """
    INSERT INTO dim_archetype_l1 (store_id, run_id, archetype_id, name, slug, description, member_count,
        population_percentage, avg_ltv, total_ltv, avg_orders, avg_order_value, avg_recency_days, dominant_segments,
        segment_ids, folded_count)
    VALUES ('corner', :run, 'arch_1', 'All', 'all', '', 2, 100, 4, 8, 1, 4, 3, '{}', '{}', 0)
    """,
    *[
        f"""
        INSERT INTO dim_archetype_l{level} (store_id, run_id, archetype_id, name, slug, description, member_count,
            population_percentage, avg_ltv, total_ltv, avg_orders, avg_order_value, avg_recency_days, parent_id, {own})
        VALUES ('corner', :run, 'arch_1', 'All', 'all', '', 2, 100, 4, 8, 1, 4, 3, 'arch_1', '{value}')
        """  # noqa: S608
        for level, own, value in ((2, "strength_band", "core"), (3, "second_segments", "{}"))
    ],
)
OLD_CUSTOMER = (
    """
    INSERT INTO fact_customer_current (store_id, run_id, customer_id, archetype_id, archetype_level2_id,
        archetype_level3_id, lifetime_value, total_orders, days_since_last_purchase, customer_tenure_days,
        avg_order_value, dominant_segments, membership_strengths, cluster_confidence, fold_distance, snapshot_date)
    VALUES ('corner', :run, :customer_id, 'arch_1', 'arch_1', 'arch_1', CAST(:lifetime_value AS numeric), 1, 3, 3,
        CAST(:lifetime_value AS numeric), CAST(:dominant_segments AS jsonb), CAST(:membership_strengths AS jsonb), 0.9,
        0, '2024-03-01')
    """,
    """
    INSERT INTO customer_profiles (store_id, run_id, customer_id, archetype_id, segment_memberships, dominant_segments,
        feature_vectors, interpretation, lifetime_value, churn_risk_score, updated_at, profile)
    VALUES ('corner', :run, :customer_id, 'arch_1', CAST(:segment_memberships AS jsonb),
        CAST(:dominant_segments AS jsonb), CAST(:feature_vectors AS jsonb), :interpretation,
        CAST(:lifetime_value AS numeric), :churn_risk_score, '2024-03-02 10:00+00', 'ready')
    """,
)
PROFILES = """
    SELECT store_id, run_id, customer_id, archetype_id, segment_memberships, dominant_segments, feature_vectors,
        interpretation, lifetime_value, churn_risk_score, updated_at
    FROM customer_profiles ORDER BY 1, 2, 3
"""
CURRENT = """
    SELECT store_id, run_id, customer_id, archetype_id, archetype_level2_id, archetype_level3_id, lifetime_value,
        total_orders, days_since_last_purchase, customer_tenure_days, avg_order_value, dominant_segments,
        membership_strengths, cluster_confidence, fold_distance, snapshot_date, rfm_recency, rfm_frequency,
        rfm_monetary, rfm_group, rfm_previous_group, rfm_changed_on
    FROM fact_customer_current ORDER BY 1, 2, 3
"""
INTELLIGENCE = "SELECT * FROM customer_intelligence ORDER BY 1, 2"


async def a_run_of_old(database: Database, *, served: bool, profiles: list[dict[str, Any]]) -> int:
    """A run as it was written before 0012."""
    run_id: int = await value(
        database,
        "SELECT coalesce(max(run_id), 0) + 1 FROM segmentation_runs",
    )
    begin = "INSERT INTO segmentation_runs (run_id, store_id, status, parameters) OVERRIDING SYSTEM VALUE "
    await execute(database, begin + "VALUES (:run, 'corner', 'published', '{}')", run=run_id)
    for number, (axis, position, name, source, features) in enumerate(OLD_SEGMENTS):
        about = {"axis": axis, "position": position, "name": name, "source": source, "features": features}
        await execute(database, OLD_SEGMENT, run=run_id, id=f"seg_{number}", **about)
    for statement in OLD_ROWS:
        await execute(database, statement, run=run_id)
    for profile in profiles:
        written = {name: json.dumps(each) if isinstance(each, dict) else each for name, each in profile.items()}
        for statement in OLD_CUSTOMER:
            mentioned = {name: each for name, each in written.items() if f":{name}" in statement}
            await execute(database, statement, run=run_id, **mentioned)
    if served:
        await execute(database, "UPDATE stores SET served_run_id = :run WHERE store_id = 'corner'", run=run_id)
    return run_id


@pytest.fixture
async def old(empty: Database) -> Database:
    """A database as 0011 had it, with two runs. The one before is swept: of it the dimensions are left."""
    await migrate(empty)
    await put(empty, "corner", [*bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")), Customer("bea")])
    await downgrade(empty, "0011")
    await a_run_of_old(empty, served=False, profiles=[])
    await a_run_of_old(empty, served=True, profiles=OLD_PROFILES)
    return empty


async def test_profiles_written_before_say_the_same_as_lists(old: Database) -> None:
    before, intelligence, current = [await rows(old, query) for query in (PROFILES, INTELLIGENCE, CURRENT)]
    assert [row[2] for row in before] == ["ada", "bea"] == [row[1] for row in intelligence]
    await migrate(old, "0014")
    assert await rows(old, PROFILES) == before
    assert await rows(old, INTELLIGENCE) == intelligence
    assert await rows(old, CURRENT) == current
    # In the axes' order and, within one, the centers'; what is read from the other source is not known of them.
    kept = await rows(
        old, "SELECT memberships, dominant, features, profile FROM fact_customer_current ORDER BY customer_id"
    )
    assert kept == [
        (
            [1, 0.123456789012, 0.876543210988, 0, 0.125, 0.875],
            *([1, 3, 6], [0.25, 7, -3.5, 0, 1e-12, 12.5], None),
        ),
        ([1, 0.5, 0.5, 1, 0, 0], [1, 2, 4], [0, 1, 1, 400, 0, 0], None),
    ]


async def test_segments_of_every_run_written_before_know_their_places(old: Database) -> None:
    await migrate(old)
    query = """
        SELECT run_id, array_agg(segment_name ORDER BY place), array_agg(place ORDER BY place),
            array_agg(first_feature ORDER BY place)
        FROM dim_segment_master GROUP BY 1 ORDER BY 1
    """
    names = ["everyone", "high", 'say "low", 100 %', "quiet", "asks", "asks_often"]
    places = (names, [1, 2, 3, 4, 5, 6], [1, 2, 2, 4, 5, 5])
    assert await rows(old, query) == [(1, *places), (2, *places)]


async def test_lists_become_profiles_again_on_the_way_back(old: Database) -> None:
    before, intelligence, current = [await rows(old, query) for query in (PROFILES, INTELLIGENCE, CURRENT)]
    made = await schema(old)
    for _ in range(2):
        await migrate(old, "0014")
        await downgrade(old, "0011")
        assert await rows(old, PROFILES) == before
        assert await rows(old, INTELLIGENCE) == intelligence
        assert await rows(old, CURRENT) == current
        assert await schema(old) == made
    # Written anew when they are asked for.
    assert await rows(old, "SELECT DISTINCT profile FROM customer_profiles") == [(None,)]


async def test_a_kind_that_was_empty_until_somebody_was_scored_into_it_stays_on_the_way_back(old: Database) -> None:
    """Whose members were counted when there were none (0011)."""
    tables = ("dim_archetype_l1", "dim_archetype_l2", "dim_archetype_l3")
    for table in tables:
        await execute(old, f"UPDATE {table} SET member_count = 0")  # noqa: S608  names of our own tables
    facts = "SELECT customer_id, archetype_id, archetype_level2_id, archetype_level3_id FROM fact_customer_current"
    before = await rows(old, f"{facts} ORDER BY 1")
    await downgrade(old, "0010")
    assert before == await rows(old, f"{facts} ORDER BY 1") != []
    served = await value(old, "SELECT served_run_id FROM stores WHERE store_id = 'corner'")
    for table in tables:
        kept = await rows(old, f"SELECT DISTINCT run_id, member_count FROM {table}")  # noqa: S608
        assert kept == [(served, 1)]  # those of the run before, which nobody names, are gone


async def test_a_run_written_as_lists_outlives_the_way_back_and_forth(empty: Database) -> None:
    """Of axes with two readings and of one."""
    await migrate(empty)
    asking = [Ticket(f"t{i}-{j}", f"c{i:03}", at(f"2024-02-0{1 + j}")) for i in range(110) for j in range(2 + i % 5)]
    await put(empty, "corner", [*a_shop(160), *asking])
    first = await segmented(empty, "corner", as_of=at("2024-04-01"))
    second = await segmented(empty, "corner")
    sources = "SELECT count(DISTINCT source) FROM dim_segment_master WHERE axis_name = 'support_history'"
    assert await value(empty, sources) == 2
    # What a customer is not read by is not told of them, and nought when it comes back.
    leave_out = ["xmin", "profile", "features"]
    before = {table: await dump(empty, "corner", [table], without=leave_out) for table in STAR}
    profiles, current = await rows(empty, PROFILES), await rows(empty, CURRENT)
    alone = await score_customer(empty, "corner", "c007")
    assert len(profiles) == 160

    await downgrade(empty, "0011")
    assert await rows(empty, PROFILES) == profiles
    assert await rows(empty, CURRENT) == current
    await migrate(empty)
    assert {table: await dump(empty, "corner", [table], without=leave_out) for table in STAR} == before
    dimensions = await rows(empty, "SELECT DISTINCT run_id FROM dim_segment_master ORDER BY 1")
    assert dimensions == [(first.run_id,), (second.run_id,)]
    assert await score_customer(empty, "corner", "c007", keep=True) == alone
    async with empty.snapshot() as connection:
        assert [check for check in await check_star(connection, "corner") if not check.holds] == []

    await downgrade(empty, "0001")  # where nobody knows what is read from tickets
    await migrate(empty)
    again = await rows(empty, PROFILES)
    assert [row[2:8] for row in again] == [row[2:8] for row in profiles]


async def test_scores_that_are_served_are_still_told_on_the_way_back_from_predictions(empty: Database) -> None:
    await migrate(empty)
    await put(empty, "corner", a_shop(30))
    await segmented(empty, "corner", min_population=1)
    await foretell(empty, "corner", [foretold("c001", 0.625), foretold("c002", 0.125)])
    scores = "SELECT customer_id, churn_risk_score FROM customer_profiles ORDER BY 1 LIMIT 3"
    told = [("c000", None), ("c001", 0.625), ("c002", 0.125)]
    assert await rows(empty, scores) == told
    await downgrade(empty, "0014")
    assert await rows(empty, scores) == told
    await migrate(empty)
    assert await rows(empty, scores) == [(customer_id, None) for customer_id, _ in told]


# What the tables refuse. Each store has one customer, one order of one line, one refund, one ticket, one run.

ORDER = "INSERT INTO orders (store_id, order_id, customer_id, order_date, total_price) VALUES "
ITEM = (
    "INSERT INTO order_items (store_id, order_id, item_id, product_id, kind, quantity, price, line_total, "
    "refund_amount) VALUES "
)
REFUND = (
    "INSERT INTO refunds (store_id, refund_id, document_id, customer_id, order_id, item_id, order_inferred, kind, "
    "quantity, amount, refunded_at) VALUES "
)
SEGMENT = (
    "INSERT INTO dim_segment_master (store_id, run_id, segment_id, axis_name, position, segment_name, interpretation, "
    "cluster_center, scaler_params, population_percentage, customer_count, place, first_feature) "
    "VALUES (:store, {run}, 's', 'a', 0, 'n', '', '[]', '{{}}', {share}, 1, 1, 1)"
)
NEWEST_RUN = "(SELECT max(run_id) FROM segmentation_runs WHERE store_id = :store)"
REFUSED = {
    "an order of an unknown customer": ORDER + "(:store, 'o2', 'nobody', now(), 1)",
    "an order of another store's customer": ORDER + "(:other, 'o2', 'ada', now(), 1)",
    "an order of an unknown store": ORDER + "('no-such-store', 'o2', 'ada', now(), 1)",
    "an order of negative price": ORDER + "(:store, 'o2', 'ada', now(), -0.01)",
    "an order that is there already": ORDER + "(:store, 'o1', 'ada', now(), 1)",
    "a negative discount": "UPDATE orders SET discount_amount = -1 WHERE store_id = :store",
    "a line of an unknown order": ITEM + "(:store, 'o9', '1', 'tea', 'goods', 1, 1, 1, 0)",
    "a line of another store's order": ITEM + "(:other, 'o1', '2', 'tea', 'goods', 1, 1, 1, 0)",
    "a line of negative price": ITEM + "(:store, 'o1', '2', 'tea', 'goods', 1, -1, 1, 0)",
    "a line of negative quantity": ITEM + "(:store, 'o1', '2', 'tea', 'goods', -1, 1, 1, 0)",
    "a line of negative total": ITEM + "(:store, 'o1', '2', 'tea', 'goods', 1, 1, -1, 0)",
    "a negative refund of a line": ITEM + "(:store, 'o1', '2', 'tea', 'goods', 1, 1, 1, -1)",
    "a line of an unknown kind": ITEM + "(:store, 'o1', '2', 'tea', 'bads', 1, 1, 1, 0)",
    "a refund to an unknown customer": REFUND + "(:store, 'r', 'd', 'nobody', NULL, NULL, true, 'return', 1, 1, now())",
    "a refund to another store's customer": (
        REFUND + "(:other, 'r', 'd', 'ada', NULL, NULL, true, 'return', 1, 1, now())"
    ),
    "a negative refund": REFUND + "(:store, 'r', 'd', 'ada', NULL, NULL, true, 'return', 1, -1, now())",
    "a refund of an unknown line": REFUND + "(:store, 'r', 'd', 'ada', 'o1', '99', false, 'return', 1, 1, now())",
    "a refund of an unknown kind": REFUND + "(:store, 'r', 'd', 'ada', NULL, NULL, true, 'gift', 1, 1, now())",
    "a ticket of an unknown customer": (
        "INSERT INTO tickets (store_id, ticket_id, customer_id, created_at) VALUES (:store, 't', 'nobody', now())"
    ),
    "a satisfaction beyond 5": (
        "INSERT INTO tickets (store_id, ticket_id, customer_id, created_at, satisfaction) "
        "VALUES (:store, 't', 'ada', now(), 6)"
    ),
    "a segment with a share over 100": SEGMENT.format(run=NEWEST_RUN, share=100.1),
    "a segment with a share under 0": SEGMENT.format(run=NEWEST_RUN, share=-0.1),
    "a segment of an unknown run": SEGMENT.format(run=-1, share=50),
    "an unknown status of a run": "UPDATE segmentation_runs SET status = 'asleep' WHERE store_id = :store",
    "a served run that does not exist": "UPDATE stores SET served_run_id = -1 WHERE store_id = :store",
    "a currency that is none": "UPDATE stores SET currency = 'pounds' WHERE store_id = :store",
}


@pytest.fixture(scope="session")
async def two_stores(database: Database) -> dict[str, str]:
    await put(database, "refuses", bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
    await put(database, "refuses-too", bought("bea", "o7", "2024-03-01", ("tea", "2", "3.50")))
    await execute(
        database, "INSERT INTO segmentation_runs (store_id, status, parameters) VALUES ('refuses', 'failed', '{}')"
    )
    return {"store": "refuses", "other": "refuses-too"}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=list(REFUSED))
async def test_the_tables_refuse(database: Database, two_stores: dict[str, str], statement: str) -> None:
    bound = {name: store for name, store in two_stores.items() if f":{name}" in statement}
    with pytest.raises(IntegrityError):
        await execute(database, statement, **bound)


@pytest.mark.parametrize("share", [0, 50, 100])
async def test_a_share_within_0_to_100_is_taken(database: Database, store_id: str, share: int) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
    run = "INSERT INTO segmentation_runs (store_id, status, parameters) VALUES (:store, 'failed', '{}')"
    await execute(database, run, store=store_id)
    await execute(database, SEGMENT.format(run=NEWEST_RUN, share=share), store=store_id)
    assert await value(database, "SELECT count(*) FROM dim_segment_master WHERE store_id = :store", store=store_id) == 1


async def test_a_deleted_store_takes_its_records_along(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
    await execute(database, "DELETE FROM stores WHERE store_id = :store", store=store_id)
    assert not any((await dump(database, store_id)).values())
    assert await value(database, "SELECT count(*) FROM stores WHERE store_id = :store", store=store_id) == 0


# What runs wrote of customers who go (0014)

LEFT = "SELECT (SELECT count(*) FROM fact_customer_standing), (SELECT count(*) FROM fact_customer_history)"


A_RUN_OF = """
    WITH run AS (
        INSERT INTO segmentation_runs (store_id, status, parameters) VALUES ('corner', 'published', '{}')
        RETURNING store_id, run_id
    ), standing AS (
        INSERT INTO fact_customer_standing (store_id, run_id, customer_id, archetype_id, archetype_level2_id,
            archetype_level3_id, lifetime_value, total_orders, days_since_last_purchase, customer_tenure_days,
            avg_order_value, cluster_confidence, fold_distance, snapshot_date)
        SELECT store_id, run_id, customer_id, 'a', 'a', 'a', 5, 1, 3, 3, 5, 1, 0, '2024-05-01'
        FROM run, unnest(CAST(:customers AS text[])) AS customer_id
    )
    INSERT INTO fact_customer_history (store_id, run_id, customer_id, archetype_id, archetype_level2_id,
        archetype_level3_id, lifetime_value, total_orders, days_since_last_purchase, customer_tenure_days,
        snapshot_date, segment_ids)
    SELECT store_id, run_id, customer_id, 'a', 'a', 'a', 5, 1, 3, 3, '2024-05-01', '{s}'
    FROM run, unnest(CAST(:customers AS text[])) AS customer_id
"""


@pytest.fixture
async def run_of_two(empty: Database) -> Database:
    """A run of two customers, who have no orders and may be deleted."""
    await migrate(empty)
    await put(empty, "corner", [Customer("ada"), Customer("bea")])
    await execute(empty, A_RUN_OF, customers=["ada", "bea"])
    assert await rows(empty, LEFT) == [(2, 2)]
    return empty


async def test_what_stands_of_a_deleted_customer_is_in_no_way_of_going_back(run_of_two: Database) -> None:
    # As by a restore that leaves triggers out.
    await execute(run_of_two, "ALTER TABLE customers DISABLE TRIGGER forget_standings")
    await execute(run_of_two, "DELETE FROM customers WHERE customer_id = 'ada'")
    assert await rows(run_of_two, LEFT) == [(2, 2)]
    await downgrade(run_of_two, "0013")
    assert await rows(run_of_two, LEFT) == [(1, 1)]
    await migrate(run_of_two)
    assert await rows(run_of_two, LEFT) == [(1, 1)]


async def test_a_customer_is_forgotten_whatever_schemas_the_session_looks_in(run_of_two: Database) -> None:
    async with run_of_two.transaction() as connection:
        await connection.execute(text("SET LOCAL search_path TO ''"))
        await connection.execute(text("DELETE FROM public.customers WHERE customer_id = 'ada'"))
    assert await rows(run_of_two, LEFT) == [(1, 1)]


@pytest.mark.parametrize("tables", ["stores", "customers", "customers, fact_customer_standing"])
async def test_when_all_customers_are_truncated_nothing_stands_of_them(run_of_two: Database, tables: str) -> None:
    await execute(run_of_two, f"TRUNCATE {tables} CASCADE")
    assert await rows(run_of_two, LEFT) == [(0, 0)]
