"""The checks of a served star: they find nothing in a good one, and every breach planted in a bad one."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import NothingPublished, StoreNotFound
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from tests.fakes import a_shop, put, segmented

STORE = "checks-shop"


@pytest.fixture(scope="module")
async def published(database: Database) -> None:
    await put(database, STORE, a_shop(60))
    for _ in range(2):
        await segmented(
            database, STORE, min_population=10, axes=("purchase_value", "purchase_frequency"), min_members=2
        )


@pytest.fixture
async def connection(database: Database, published: None) -> AsyncIterator[AsyncConnection]:
    """A transaction that leaves nothing behind."""
    async with database.transaction(keep=False) as connection:
        yield connection


async def broken(connection: AsyncConnection) -> dict[str, int | float]:
    return {check.promise: check.found for check in await check_star(connection, STORE) if not check.holds}


ONE = "store_id = :store AND customer_id = (SELECT min(customer_id) FROM fact_customer_current WHERE store_id = :store)"
SPLIT = "(SELECT min(axis_name) FROM dim_segment_master WHERE store_id = :store AND position = 1)"
EARLIER_RUN = """
    INSERT INTO fact_customer_current SELECT (jsonb_populate_record(t, jsonb_build_object('run_id', earlier.run_id))).*
    FROM fact_customer_current AS t, (
        SELECT min(run_id) AS run_id FROM dim_archetype_l1 WHERE store_id = :store
    ) AS earlier
    WHERE {one}
"""
SEGMENTED = "every customer with an order before as_of is segmented"
PROFILED = "every fact has a profile that tells all axes"
NAMED = "profiles name the segments that are counted"
SWEPT = "no customer's row of another run is left"
SUMS = "memberships of every axis sum to 1"
COUNTED = "archetypes count their members rightly"
NESTED = "levels 2 and 3 nest in level 1"
COVERED = "segments count their customers rightly"
WORTH = "lifetime values agree with orders less refunds"
TRACED = "every segment and archetype says where it comes from"
LED = "lineage leads to segments and archetypes that there are"

BREACHES = {
    "a customer is missing": (["DELETE FROM fact_customer_current WHERE {one}"], SEGMENTED),
    "a profile is missing": (
        ["UPDATE fact_customer_current SET memberships = NULL, dominant = NULL, features = NULL WHERE {one}"],
        PROFILED,
    ),
    **{
        f"a profile without {column}": ([f"UPDATE fact_customer_current SET {column} = NULL WHERE {{one}}"], PROFILED)  # noqa: S608
        for column in ("memberships", "dominant", "features")
    },
    "a profile of an axis too few": (
        ["UPDATE fact_customer_current SET dominant = dominant[2:] WHERE {one}"],
        PROFILED,
    ),
    "a profile of a feature too many": (
        ["UPDATE fact_customer_current SET features = features || 0.5::float8 WHERE {one}"],
        PROFILED,
    ),
    "a profile that names another top segment": (
        [
            "UPDATE fact_customer_current AS fact SET dominant = array_replace(dominant, mine.place, other.place) "
            "FROM dim_segment_master AS mine JOIN dim_segment_master AS other USING (store_id, run_id, axis_name) "
            "WHERE fact.store_id = mine.store_id AND fact.run_id = mine.run_id AND mine.axis_name = {split} "
            "AND mine.place = ANY (fact.dominant) AND other.place <> mine.place AND fact.{one}"
        ],
        NAMED,
    ),
    "a customer of an older run": ([EARLIER_RUN], SWEPT),
    "a membership too high": (
        ["UPDATE fact_customer_current SET memberships[1] = memberships[1] + 0.1 WHERE {one}"],
        SUMS,
    ),
    "an archetype of one member too many": (
        ["UPDATE dim_archetype_l1 SET member_count = member_count + 1 WHERE store_id = :store"],
        COUNTED,
    ),
    "a customer moved to another archetype": (
        [
            "UPDATE fact_customer_current AS fact SET archetype_id = (SELECT max(archetype_id) FROM dim_archetype_l1 "
            "WHERE store_id = :store AND archetype_id <> fact.archetype_id) WHERE {one}"
        ],
        NESTED,
    ),
    "a segment of one customer too many": (
        ["UPDATE dim_segment_master SET customer_count = customer_count + 1 WHERE store_id = :store"],
        COVERED,
    ),
    "a lifetime value off by a cent": (
        ["UPDATE fact_customer_current SET lifetime_value = lifetime_value + 0.01 WHERE {one}"],
        WORTH,
    ),
    "an order changed since": (
        [
            "UPDATE orders SET total_price = total_price + 1 WHERE store_id = :store AND order_id = "
            "(SELECT min(order_id) FROM orders WHERE store_id = :store)"
        ],
        WORTH,
    ),
    "an axis that does not say where its segments come from": (
        ["DELETE FROM segment_lineage WHERE store_id = :store AND axis_name = 'purchase_value'"],
        TRACED,
    ),
    "a segment that comes from nowhere": (
        [
            "DELETE FROM segment_lineage WHERE store_id = :store AND current_id = "
            "(SELECT min(segment_id) FROM dim_segment_master WHERE store_id = :store)"
        ],
        TRACED,
    ),
    "archetypes that come from nowhere": (["DELETE FROM archetype_lineage WHERE store_id = :store"], TRACED),
    "a segment that is not there": (
        ["UPDATE segment_lineage SET current_id = 'seg_0' WHERE store_id = :store AND step = 0"],
        LED,
    ),
    "an archetype that is not there": (
        ["UPDATE archetype_lineage SET current_id = 'arch_0' WHERE store_id = :store AND step = 0"],
        LED,
    ),
    "a level-2 archetype of one member too many": (
        ["UPDATE dim_archetype_l2 SET member_count = member_count + 1 WHERE store_id = :store"],
        COUNTED,
    ),
    "a level-3 archetype of one member too many": (
        ["UPDATE dim_archetype_l3 SET member_count = member_count + 1 WHERE store_id = :store"],
        COUNTED,
    ),
    "a segment's count that its customers do not bear out": (
        [
            "UPDATE dim_segment_master SET customer_count = customer_count + 1 WHERE store_id = :store "
            "AND position = 0 AND axis_name = {split}",
            "UPDATE dim_segment_master SET customer_count = customer_count - 1 WHERE store_id = :store "
            "AND position = 1 AND axis_name = {split}",
        ],
        COVERED,
    ),
}


async def plant(connection: AsyncConnection, statements: list[str]) -> None:
    for statement in statements:
        planted = await connection.execute(
            text(statement.replace("{one}", ONE).replace("{split}", SPLIT)), {"store": STORE}
        )
        assert planted.rowcount > 0


async def test_a_good_star_holds_every_promise(connection: AsyncConnection) -> None:
    checks = await check_star(connection, STORE)
    expected = {SEGMENTED, PROFILED, NAMED, SWEPT, SUMS, COUNTED, NESTED, COVERED, WORTH, TRACED, LED}
    assert {check.promise for check in checks} >= expected
    assert all(check.holds and check.found == 0 for check in checks)


@pytest.mark.parametrize(("statements", "promise"), BREACHES.values(), ids=list(BREACHES))
async def test_a_breach_is_found(connection: AsyncConnection, statements: list[str], promise: str) -> None:
    await plant(connection, statements)
    assert promise in await broken(connection)


async def test_a_breach_is_counted_in_rows(connection: AsyncConnection) -> None:
    moved = await connection.execute(
        text("UPDATE fact_customer_current SET lifetime_value = lifetime_value + 1 WHERE store_id = :store"),
        {"store": STORE},
    )
    assert await broken(connection) == {WORTH: moved.rowcount}


async def test_nothing_published_says_what_to_do(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(3))
    async with database.snapshot() as connection:
        with pytest.raises(NothingPublished):
            await check_star(connection, store_id)


async def test_an_unknown_store_says_so(database: Database, store_id: str) -> None:
    async with database.snapshot() as connection:
        with pytest.raises(StoreNotFound):
            await check_star(connection, store_id)
