"""What is held of one person: no column is forgotten, export shows theirs alone, and erasure leaves nothing of them."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import ARRAY, Column, ForeignKeyConstraint, MetaData, Table, Text, insert, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.config import Settings
from app.core.errors import StoreBusy
from app.domain.records import Customer
from app.warehouse import personal
from app.warehouse.engine import Database
from app.warehouse.jobs import Job, enqueue
from app.warehouse.personal import RULES, Rule
from app.warehouse.stores import hold_imports
from app.warehouse.tables import metadata
from tests.conftest import own_tables
from tests.fakes import bought, execute, gave_back, put, rows, value

#: Names of columns that cannot but tell of one person.
TELLING = {
    *("customer_id", "email", "phone", "first_name", "last_name", "pseudonym", "order_id", "order_number"),
    "tracking_numbers",
}
#: Columns of tables that lead to customers, or are named as above, that are about nobody; by table or for all of them.
ABOUT_NOBODY = {
    "*.store_id": "which shop it is",
    "*.run_id": "which run wrote the row",
    "*.prediction_id": "which training wrote the row",
    "erasures.receipt_id": "made up for the receipt",
    "erasures.tombstone": "kept on purpose, so that no import brings them back; without the secret it says nothing",
    "erasures.state": "of the receipt",
    "erasures.requested_at": "of the receipt",
    "erasures.done_at": "of the receipt",
    "erasures.requested_by": "who asked, not who was erased",
    "erasures.rows": "how many rows there were",
}


def is_personal(column: Column[Any]) -> bool:
    return bool(column.info.get("personal"))


def leading_to_customers(schema: MetaData) -> set[str]:
    """Tables that name a customer, or refer to one that does; itself included."""
    found = {table.name for table in schema.tables.values() if TELLING & set(table.columns.keys())}
    while True:
        more = {
            table.name
            for table in schema.tables.values()
            for key in table.foreign_key_constraints
            if key.referred_table.name in found
        }
        if more <= found:
            return found
        found |= more


def unmarked(schema: MetaData) -> list[str]:
    """Columns that tell of a person and do not say so."""
    return [
        f"{table}.{column.name}"
        for table in sorted(leading_to_customers(schema))
        for column in schema.tables[table].columns
        if not is_personal(column) and not {f"{table}.{column.name}", f"*.{column.name}"} & set(ABOUT_NOBODY)
    ]


def unruled(schema: MetaData, rules: Iterable[Rule] = RULES) -> list[str]:
    """Columns that tell of a person and that no rule shows and takes away."""
    by_table = {rule.table.name: rule for rule in rules}
    return [
        f"{table.name}.{column.name}"
        for table in schema.tables.values()
        for column in table.columns
        if is_personal(column)
        and (
            (rule := by_table.get(table.name)) is None
            or column.name not in {each.name for each in rule.columns}
            or (rule.emptied and column.name not in rule.emptied)
        )
    ]


def test_every_column_about_a_person_says_so_and_has_a_rule() -> None:
    assert unmarked(metadata) == []
    assert unruled(metadata) == []


def test_what_is_about_nobody_is_there() -> None:
    there = {f"{table.name}.{column.name}" for table in metadata.tables.values() for column in table.columns}
    anywhere = {f"*.{column.name}" for table in metadata.tables.values() for column in table.columns}
    assert set(ABOUT_NOBODY) <= there | anywhere


def test_a_column_or_table_that_is_forgotten_is_told() -> None:
    schema = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(schema)
    assert (unmarked(schema), unruled(schema)) == ([], [])
    schema.tables["customers"].append_column(Column("shoe_size", Text))
    schema.tables["stores"].append_column(Column("phone", Text))
    Table(
        "parcels",
        schema,
        Column("store_id", Text),
        Column("parcel_id", Text),
        Column("purchase", Text),
        ForeignKeyConstraint(["store_id", "purchase"], ["orders.store_id", "orders.order_id"]),
    )
    Table("wishes", schema, Column("store_id", Text), Column("wish", Text, info={"personal": True}))
    assert {"customers.shoe_size", "stores.phone", "parcels.purchase", "parcels.parcel_id"} <= set(unmarked(schema))
    assert unruled(schema) == ["wishes.wish"]


# Canaries: unmistakable words in every column about a person, of two customers

NOW = datetime(2024, 5, 2, 10, tzinfo=UTC)
#: What may not be just anything.
GIVEN: dict[str, Any] = {
    "order_items.kind": "goods",
    "refunds.kind": "return",
    "tickets.satisfaction": 3,
    "fact_customer_prediction.risk_level": "high",
    "fact_customer_prediction.engagement_trend": "steady",
    "customers_changed.changed_in": "3",
}
IDS = ("customer_id", "order_id", "item_id")
#: Where a row speaks of others too.
SHARED = {"prediction_runs", "jobs", "erasures"}


def planted_in(table: Table, column: Column[Any], mark: str) -> Any:
    """A value for a column, with the mark in it where that can be."""
    name = f"{table.name}.{column.name}"
    if name in GIVEN:
        return GIVEN[name]
    if name == "audit_log.subjects":
        return [f"{mark}-customer_pseudonyms.pseudonym"]
    if column.name in IDS:
        return f"{mark}-{column.name}"
    if isinstance(column.type, ARRAY):
        of_texts = isinstance(column.type.item_type, Text)
        return [f"{mark}-{name}"] if of_texts else [1]
    if isinstance(column.type, JSONB):
        return {"told": [{"of": f"{mark}-customer_id", "besides": f"{mark}-{name}"}]}
    if isinstance(column.type, Text):
        return f"{mark}-{name}"
    kind = column.type.python_type
    made: Mapping[type, Any] = {int: 1, float: 0.5, Decimal: Decimal(1), datetime: NOW, date: NOW.date(), bool: False}
    return made[kind]


async def plant(database: Database, store_id: str, mark: str, *, run_id: int, prediction_id: int, job: Job) -> None:
    """A row of a customer in every table that has rows about one."""
    async with database.transaction() as connection:
        for rule in reversed(RULES):
            if rule.table.name in SHARED:
                continue
            written: dict[str, Any] = {"store_id": store_id, "run_id": run_id, "prediction_id": prediction_id}
            if rule.table.name == "audit_log":
                written |= {"key_id": "k", "action": "customer.read"}
            written |= {column.name: planted_in(rule.table, column, mark) for column in rule.columns}
            await connection.execute(
                insert(rule.table).values({name: each for name, each in written.items() if name in rule.table.columns})
            )
        asked = {"whom": [f"{mark}-customer_id"], "why": f"{mark}-jobs.parameters"}
        assert await enqueue(connection, job, store_id, parameters=asked) is not None


@pytest.fixture
async def marks(database: Database, store_id: str) -> tuple[str, str]:
    """Two customers of a store who are in every table: whom it is about, and somebody else."""
    mine, others = f"canary{store_id}", f"finch{store_id}"
    await put(database, store_id, [Customer("before")])
    async with database.transaction() as connection:
        started = "INSERT INTO segmentation_runs (store_id, status, parameters) VALUES (:s, 'failed', '{}')"
        run_id = await connection.scalar(text(f"{started} RETURNING run_id"), {"s": store_id})
        crossed = [{"customer_id": f"{mark}-customer_id", "tier": "vip", "before": "low"} for mark in (others, mine)]
        trained = "INSERT INTO prediction_runs (store_id, status, report) VALUES (:s, 'published', CAST(:r AS jsonb))"
        report = json.dumps({"crossed": crossed, "n_customers": 2})
        prediction_id = await connection.scalar(
            text(f"{trained} RETURNING prediction_id"), {"s": store_id, "r": report}
        )
    for mark, job in ((mine, Job.score), (others, Job.rescore)):
        await plant(database, store_id, mark, run_id=run_id, prediction_id=prediction_id, job=job)
    return mine, others


TABLES = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"


async def speaking_of(database: Database, mark: str) -> dict[str, list[str]]:
    """The rows of every table there is, ours or not, in which a word stands, as text or as bytes."""
    found = {}
    for (table,) in await rows(database, f"{TABLES} ORDER BY relname"):
        query = f"SELECT t::text FROM {table} AS t WHERE strpos(t::text, :mark) + strpos(t::text, :hex) > 0"  # noqa: S608
        if speaking := await rows(database, query, mark=mark, hex=mark.encode().hex()):
            found[table] = sorted(row for (row,) in speaking)
    return found


async def counts(database: Database) -> dict[str, int]:
    return {
        table: await value(database, f"SELECT count(*) FROM {table}")  # noqa: S608
        for (table,) in await rows(database, TABLES)
    }


async def remove(database: Database, store_id: str, customer_id: str) -> dict[str, int]:
    async with (
        database.transaction() as connection,
        personal.in_turn(connection, store_id, patience_seconds=5),
    ):
        return await personal.remove(connection, store_id, customer_id)


EVERYWHERE = {rule.table.name for rule in RULES} - {"erasures"}


async def test_of_an_erased_customer_nothing_is_left_in_any_table_and_nobody_else_is_touched(
    database: Database, store_id: str, marks: tuple[str, str]
) -> None:
    mine, others = marks
    before, of_others, n_before = (
        await speaking_of(database, mine),
        await speaking_of(database, others),
        await counts(database),
    )
    assert set(before) == EVERYWHERE | {"queue"}
    removed = await remove(database, store_id, f"{mine}-customer_id")
    assert await speaking_of(database, mine) == {}
    assert removed == dict.fromkeys(EVERYWHERE, 1)
    n_after = await counts(database)
    gone = {table: n - n_after[table] for table, n in n_before.items() if n != n_after[table]}
    assert gone == dict.fromkeys(EVERYWHERE - {"prediction_runs", "audit_log"} | {"queue", "queue_log"}, 1)
    left = await speaking_of(database, others)
    ((report,),) = await rows(database, "SELECT report FROM prediction_runs WHERE store_id = :s", s=store_id)
    assert report == {
        "crossed": [{"customer_id": f"{others}-customer_id", "tier": "vip", "before": "low"}],
        "n_customers": 2,
    }
    for told in (left, of_others):
        del told["prediction_runs"]
    assert left == of_others


async def test_removing_again_finds_nothing(database: Database, store_id: str, marks: tuple[str, str]) -> None:
    await remove(database, store_id, f"{marks[0]}-customer_id")
    assert await remove(database, store_id, f"{marks[0]}-customer_id") == {}
    assert await remove(database, store_id, "nobody") == {}


async def test_an_export_has_every_column_about_a_customer_and_nobody_elses(
    database: Database, store_id: str, marks: tuple[str, str]
) -> None:
    mine, others = marks
    async with database.snapshot() as connection:
        held = await personal.read_held(connection, store_id, f"{mine}-customer_id")
    assert {f"{each.table}.{column}" for each in held for column in each.columns} == {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if is_personal(column)
    }
    assert {each.table: len(each.rows) for each in held} == {**dict.fromkeys(EVERYWHERE, 1), "erasures": 0}
    told = json.dumps([each.rows for each in held])
    assert others not in told
    for each in held:
        for row in each.rows:
            assert set(row) == set(each.columns)
            if each.table not in SHARED:
                table = metadata.tables[each.table]
                planted = {name: planted_in(table, table.columns[name], mine) for name in row}
                assert all(row[name] == planted[name] for name in row if isinstance(planted[name], str | list)), (
                    each.table
                )
    (report,) = next(each.rows for each in held if each.table == "prediction_runs")
    assert report == {"report": [{"customer_id": f"{mine}-customer_id", "tier": "vip", "before": "low"}]}
    (job,) = next(each.rows for each in held if each.table == "jobs")
    assert job == {"parameters": [f"{mine}-customer_id"]}


async def test_the_planners_samples_of_the_tables_forget_them_too(server_url: str, settings: Settings) -> None:
    """Where it has kept values of the columns, as of any table that holds few."""
    sampled = "SELECT count(*) FROM pg_stats AS t WHERE schemaname = 'public' AND strpos(t::text, :mark) > 0"
    async with own_tables(server_url, settings) as database:
        for who in ("ada", "bea", "cay"):
            told = Customer(who, email=f"{who}@canary.test", first_name=f"{who}-first", last_name=f"{who}-last")
            order = bought(who, f"{who}-o1", "2024-03-01", ("tea", "1", "2"), tracking_numbers=(f"{who}-parcel",))
            await put(database, "corner", [told, *order])
        await execute(database, "ANALYZE")
        assert await value(database, sampled, mark="ada-first") > 0
        assert await value(database, sampled, mark="ada@canary.test") > 0
        assert await value(database, sampled, mark="ada-parcel") > 0
        await remove(database, "corner", "ada")
        assert await value(database, sampled, mark="ada") == 0
        assert await value(database, sampled, mark="bea@canary.test") > 0


async def test_what_others_were_given_back_for_an_order_of_theirs_stays_theirs(
    database: Database, store_id: str
) -> None:
    await put(database, store_id, bought("ada", "o-ada", "2024-03-01", ("tea", "2", "4"), line_ids=True))
    await put(database, store_id, bought("bea", "o-bea", "2024-03-01", ("tea", "3", "4"), line_ids=True))
    for customer, order in (("ada", "o-bea"), ("bea", "o-ada"), ("bea", "o-bea")):
        about = {"order_id": order, "line_id": f"{order}-1", "refund_id": f"{customer} for {order}"}
        await put(database, store_id, gave_back(customer, "paper", "2024-03-05", "tea", "1", "4", **about))
    line = "SELECT refund_amount FROM order_items WHERE store_id = :s AND order_id = 'o-bea'"
    assert await value(database, line, s=store_id) == 8
    await remove(database, store_id, "ada")
    assert await rows(
        database, "SELECT refund_id, order_id, amount FROM refunds WHERE store_id = :s ORDER BY 1", s=store_id
    ) == [("bea for o-ada", None, 4), ("bea for o-bea", "o-bea", 4)]
    assert await value(database, line, s=store_id) == 4
    spent = "SELECT customer_id, total_spent, orders_count FROM customers WHERE store_id = :s"
    assert await rows(database, spent, s=store_id) == [("bea", 4, 1)]


async def test_an_address_that_others_share_is_no_name_of_theirs(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer(each, email="home@shop.test") for each in ("ada", "bea")])
    async with database.transaction() as connection:
        await enqueue(connection, Job.score, store_id, parameters={"email": "home@shop.test"})
    assert "jobs" not in await remove(database, store_id, "ada")
    assert (await remove(database, store_id, "bea"))["jobs"] == 1


async def test_a_customer_is_found_by_id_by_pseudonym_and_by_address(database: Database, store_id: str) -> None:
    known = [Customer("ada", email="home@shop.test"), Customer("bea", email="home@shop.test"), Customer("cay")]
    await put(database, store_id, known)
    named = dict(
        await rows(database, "SELECT customer_id, pseudonym FROM customer_pseudonyms WHERE store_id = :s", s=store_id)
    )

    async def found(**whom: str) -> list[str]:
        async with database.snapshot() as connection:
            return list(await personal.find(connection, store_id, **whom))

    assert await found(customer_id="ada") == ["ada"]
    assert await found(customer_id=named["cay"]) == ["cay"]
    assert await found(email=" Home@Shop.test ") == ["ada", "bea"]
    assert await found(customer_id="nobody") == await found(email="nobody@shop.test") == []


async def test_who_may_not_take_a_customer_away_in_time_is_told_so(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("ada")])
    async with database.transaction() as importing:
        await hold_imports(importing, store_id)
        with pytest.raises(StoreBusy, match=store_id):
            async with (
                database.transaction() as connection,
                personal.in_turn(connection, store_id, patience_seconds=0.05),
            ):
                raise AssertionError("It was not our turn.")
    assert await remove(database, store_id, "ada") == {"customers": 1, "customer_pseudonyms": 1}
