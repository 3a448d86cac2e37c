"""What projections are read from and kept in: guests by day, everyone's kind, and the training that is served."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.domain.records import Order, Record
from app.pipeline.growth import read_beside
from app.warehouse.days import GuestDays, guest_days
from app.warehouse.engine import Database
from app.warehouse.growth import read_kind_of, read_kinds, read_projections
from app.warehouse.stores import read_store
from tests.fakes import a_shop, at, bought, gave_back, put, rows, segmented, value

EPOCH = date(1970, 1, 1)


async def guests(database: Database, store_id: str, *, as_of: str = "2025-01-01") -> GuestDays:
    async with database.snapshot() as connection:
        return await guest_days(connection, store_id, as_of=at(as_of), timezone="Europe/London")


def by_day(found: GuestDays) -> dict[str, tuple[int, float]]:
    return {
        (EPOCH + timedelta(days=int(day))).isoformat(): (int(orders), round(float(revenue), 2))
        for day, orders, revenue in zip(found.day, found.orders, found.revenue, strict=True)
    }


def guest(order_id: str, when: str, price: str) -> list[Record]:
    _, _, *lines = bought("nobody", order_id, when, ("tea", "1", price))
    return [Order(order_id, None, at(when)), *lines]


async def test_guests_are_told_by_the_shops_days_and_with_what_customers_without_an_order_get_back(
    database: Database, store_id: str
) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-07-01 12:00", ("tea", "1", "99")),
            *gave_back("ada", "R1", "2024-07-02 12:00", "tea", "1", "99"),
            *guest("g1", "2024-07-01 22:59", "4"),
            *guest("g2", "2024-07-01 23:00", "6"),
            *guest("g3", "2024-07-02 12:00", "1.50"),
            *gave_back("bea", "R2", "2024-07-02 13:00", "tea", "1", "2"),
            *guest("late", "2024-07-05 12:00", "7"),
        ],
    )
    assert by_day(await guests(database, store_id, as_of="2024-07-05")) == {
        "2024-07-01": (1, 4.0),
        "2024-07-02": (2, 5.5),
    }
    assert by_day(await guests(database, store_id))["2024-07-05"] == (1, 7.0)


async def test_customers_and_guests_together_are_all_that_the_shop_earned(database: Database, store_id: str) -> None:
    records = [*a_shop(40), *guest("g1", "2024-01-20 12:00", "25"), *guest("g2", "2024-02-02 12:00", "5")]
    records += gave_back("nobody known", "R1", "2024-02-03 12:00", "tea", "1", "3")
    await put(database, store_id, records)
    of_customers = await value(
        database, "SELECT sum(total_price) FROM orders WHERE store_id = :s AND customer_id IS NOT NULL", s=store_id
    )
    everything = await value(database, "SELECT sum(total_price) FROM orders WHERE store_id = :s", s=store_id)
    found = await guests(database, store_id)
    assert float(of_customers) + found.revenue.sum() == pytest.approx(float(everything) - 3)


async def test_without_guests_there_are_no_days(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(3))
    found = await guests(database, store_id)
    assert len(found.day) == len(found.orders) == len(found.revenue) == 0


async def test_everyone_has_the_kind_of_the_run_that_is_served(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(60))
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        before = await read_beside(connection, store, as_of=datetime(2025, 1, 1, tzinfo=UTC))
    assert (before.run_id, before.kind_of, list(before.kinds)) == (None, None, [])
    await segmented(database, store_id, min_population=1)
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        assert store.served_run_id is not None
        kind_of = await read_kind_of(connection, store_id, store.served_run_id)
        kinds = await read_kinds(connection, store_id, store.served_run_id)
        beside = await read_beside(connection, store, as_of=datetime(2025, 1, 1, tzinfo=UTC))
    placed = await rows(
        database, "SELECT customer_id, archetype_id FROM fact_customer_standing WHERE store_id = :s", s=store_id
    )
    assert sorted(kind_of.rows()) == sorted(placed) and len(placed) == 60
    assert [each.archetype_id for each in beside.kinds] == [row["archetype_id"] for row in kinds]
    worth = [each.total_ltv for each in beside.kinds]
    assert worth == sorted(worth, key=lambda amount: -(amount or 0))
    assert sum(each.members or 0 for each in beside.kinds) == 60


async def test_nothing_is_served_before_the_first_training(database: Database, store_id: str) -> None:
    assert await read_projections(database, store_id) is None
    await put(database, store_id, a_shop(3))
    assert await read_projections(database, store_id) is None
