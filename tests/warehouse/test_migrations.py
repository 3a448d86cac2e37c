"""The schema: up, down and up again, one at a time, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.warehouse.engine import Database
from app.warehouse.migrate import current_revision, differences, downgrade, migrate
from tests.conftest import own_database
from tests.fakes import bought, dump, execute, put, rows, value


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
    "cluster_center, scaler_params, population_percentage, customer_count) "
    "VALUES (:store, {run}, 's', 'a', 0, 'n', '', '[]', '{{}}', {share}, 1)"
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
