"""Cohorts as they are counted: by the first order, on the shop's calendar, to the moment asked for."""

from datetime import date
from decimal import Decimal

from app.domain.records import Customer, Order, OrderLine
from app.prediction.cohorts import Counted, Length
from app.warehouse.cohorts import read_cohorts
from app.warehouse.engine import Database
from tests.fakes import a_shop, at, bought, gave_back, put, rows

JANUARY, FEBRUARY, MARCH = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)


async def read(
    database: Database,
    store_id: str,
    *,
    length: Length = Length.month,
    first: date = date(2000, 1, 1),
    as_of: str = "2025-01-01",
    timezone: str = "Europe/London",
) -> list[Counted]:
    async with database.snapshot() as connection:
        return await read_cohorts(connection, store_id, length=length, first=first, as_of=at(as_of), timezone=timezone)


async def test_customers_belong_to_the_month_of_their_first_order(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-01-05", ("tea", "1", "10")),
            *bought("ada", "o2", "2024-01-20", ("tea", "1", "5")),
            *bought("ada", "o3", "2024-03-20", ("tea", "1", "7")),
            *bought("bea", "o4", "2024-01-31", ("tea", "1", "1")),
            *bought("cleo", "o5", "2024-02-01", ("tea", "1", "2")),
            Customer("waiting"),
        ],
    )
    assert await read(database, store_id) == [
        Counted(JANUARY, 0, 2, 3, Decimal(16), Decimal(0)),
        Counted(JANUARY, 2, 1, 1, Decimal(7), Decimal(0)),
        Counted(FEBRUARY, 0, 1, 1, Decimal(2), Decimal(0)),
    ]
    assert await read(database, store_id, length=Length.quarter) == [
        Counted(JANUARY, 0, 3, 5, Decimal(25), Decimal(0)),
    ]


async def test_months_are_the_shops_own(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01 03:00", ("tea", "1", "1")))
    assert [each.cohort for each in await read(database, store_id)] == [MARCH]
    assert [each.cohort for each in await read(database, store_id, timezone="America/Chicago")] == [FEBRUARY]


async def test_only_what_happened_before_as_of_is_counted(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-01-05", ("tea", "1", "10")),
            *bought("ada", "o2", "2024-02-05", ("tea", "1", "10")),
            *bought("bea", "o3", "2024-02-05", ("tea", "1", "10")),
            *gave_back("ada", "C1", "2024-02-06", "tea", "1", "10"),
        ],
    )
    assert await read(database, store_id, as_of="2024-02-05") == [
        Counted(JANUARY, 0, 1, 1, Decimal(10), Decimal(0)),
    ]
    # From a later cohort on, ada is nobody's new customer.
    assert [(each.cohort, each.customers) for each in await read(database, store_id, first=FEBRUARY)] == [(FEBRUARY, 1)]


async def test_a_refund_lowers_the_month_it_was_given_in(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *gave_back("ada", "C0", "2023-12-24", "jam", "1", "3"),
            *bought("ada", "o1", "2024-01-05", ("tea", "5", "2")),
            *gave_back("ada", "C1", "2024-03-05", "tea", "1", "2"),
        ],
    )
    assert await read(database, store_id) == [
        Counted(JANUARY, 0, 1, 1, Decimal(10), Decimal(3)),
        Counted(JANUARY, 2, 0, 0, Decimal(0), Decimal(2)),
    ]


async def test_guests_are_no_customers(database: Database, store_id: str) -> None:
    line = OrderLine("o1", "tea", Decimal(1), Decimal(5), Decimal(5))
    await put(database, store_id, [Order("o1", None, at("2024-01-05")), line])
    assert await read(database, store_id) == []


async def test_everything_adds_up_to_what_the_shop_was_paid(database: Database, store_id: str) -> None:
    await put(database, store_id, [*a_shop(80), *gave_back("c001", "C1", "2024-02-01", "P1", "1", "1")])
    ((customers, orders, net),) = await rows(
        database,
        "SELECT count(*), sum(orders_count), sum(total_spent) FROM customers WHERE store_id = :s",
        s=store_id,
    )
    for length in Length:
        found = await read(database, store_id, length=length)
        assert sum(each.customers for each in found if each.period == 0) == customers
        assert sum(each.orders for each in found) == orders
        assert sum(each.paid - each.given_back for each in found) == net
