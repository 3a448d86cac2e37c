"""What happened by day: on the shop's calendar, of everybody, and by kind of customer."""

from datetime import date
from decimal import Decimal

import pytest

from app.domain.records import Customer, Order, OrderLine, Refund, Ticket
from app.prediction.anomalies import Metric
from app.warehouse.days import Daily, Span, daily_totals, daily_totals_by_archetype
from app.warehouse.engine import Database
from tests.fakes import a_shop, at, bought, execute, gave_back, put, rows, segmented

SPAN = Span(date(2024, 7, 1), date(2024, 7, 4), "Europe/London")


async def totals(database: Database, store_id: str, metric: Metric, span: Span = SPAN) -> Daily:
    async with database.snapshot() as connection:
        return await daily_totals(connection, store_id, metric, span)


async def test_orders_are_counted_on_the_shops_own_days_and_only_those_asked_for(
    database: Database, store_id: str
) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "before", "2024-06-30 22:59", ("tea", "1", "100")),
            *bought("ada", "first", "2024-06-30 23:00", ("tea", "2", "1.50")),
            *bought("bea", "same", "2024-07-01 22:59", ("tea", "1", "4")),
            *bought("ada", "last", "2024-07-04 22:59", ("tea", "1", "7")),
            *bought("ada", "after", "2024-07-04 23:00", ("tea", "1", "100")),
        ],
    )
    found = await totals(database, store_id, Metric.orders)
    assert found.events.tolist() == [2, 0, 0, 1]
    assert found.amounts.tolist() == [7, 0, 0, 7]
    assert found.of(Metric.orders).tolist() == found.events.tolist()
    assert (await totals(database, store_id, Metric.revenue)).of(Metric.revenue).tolist() == [7, 0, 0, 7]
    in_utc = Span(SPAN.first, SPAN.last, "UTC")
    assert (await totals(database, store_id, Metric.orders, in_utc)).events.tolist() == [1, 0, 0, 2]


async def test_an_hour_that_comes_twice_or_never_belongs_to_its_day(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-30 23:59", ("tea", "1", "1")),
            *bought("ada", "o2", "2024-03-31 00:30", ("tea", "1", "1")),
            *bought("ada", "o3", "2024-03-31 22:59", ("tea", "1", "1")),
            *bought("ada", "o4", "2024-03-31 23:00", ("tea", "1", "1")),
        ],
    )
    spring = Span(date(2024, 3, 30), date(2024, 4, 1), "Europe/London")
    assert (await totals(database, store_id, Metric.orders, spring)).events.tolist() == [1, 2, 1]


async def test_guests_are_the_shops_too(database: Database, store_id: str) -> None:
    line = OrderLine("o1", "tea", Decimal(1), Decimal(5), Decimal(5))
    await put(database, store_id, [Order("o1", None, at("2024-07-02 12:00")), line])
    assert (await totals(database, store_id, Metric.revenue)).amounts.tolist() == [0, 5, 0, 0]


async def test_a_refund_of_several_lines_is_one(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-06-01", ("tea", "5", "2"), ("jam", "5", "2")),
            *gave_back("ada", "C1", "2024-07-02 10:00", "tea", "1", "2"),
            *gave_back("ada", "C1", "2024-07-02 10:00", "jam", "1", "2"),
            *gave_back("ada", "C2", "2024-07-02 11:00", "jam", "1", "2"),
            Refund("C3", None, "tea", Decimal(1), Decimal(2), at("2024-07-03 10:00")),
        ],
    )
    found = await totals(database, store_id, Metric.refunds)
    assert found.events.tolist() == [0, 2, 1, 0]
    assert found.amounts.tolist() == [0, 6, 2, 0]


async def test_tickets_are_counted_when_they_are_opened(database: Database, store_id: str) -> None:
    opened = [Ticket(f"t{n}", "ada", at(day), resolved_at=at("2024-07-04")) for n, day in enumerate(["2024-07-01"] * 3)]
    await put(database, store_id, [Customer("ada"), *opened])
    assert (await totals(database, store_id, Metric.tickets)).events.tolist() == [3, 0, 0, 0]


@pytest.mark.parametrize("metric", Metric)
async def test_of_a_shop_without_records_every_day_is_nothing(
    database: Database, store_id: str, metric: Metric
) -> None:
    await put(database, store_id, [])
    found = await totals(database, store_id, metric)
    assert found.events.tolist() == found.amounts.tolist() == [0, 0, 0, 0]


async def test_kinds_add_up_to_their_customers_orders(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [*a_shop(60), Order("guest", None, at("2024-02-01")), *gave_back("c001", "C1", "2024-02-01", "P1", "1", "1")],
    )
    run = await segmented(database, store_id, min_population=10)
    assert run.run_id is not None
    span = Span(date(2024, 1, 1), date(2024, 6, 30), "Europe/London")
    everyone = await totals(database, store_id, Metric.orders, span)
    async with database.snapshot() as connection:
        told, kinds = await daily_totals_by_archetype(connection, store_id, Metric.orders, span, run_id=run.run_id)
        one, *_ = kinds
        everyone_again, alone = await daily_totals_by_archetype(
            connection, store_id, Metric.orders, span, run_id=run.run_id, archetype_id=one
        )
        _, refunds = await daily_totals_by_archetype(connection, store_id, Metric.refunds, span, run_id=run.run_id)
        _, nobody = await daily_totals_by_archetype(
            connection, store_id, Metric.orders, span, run_id=run.run_id, archetype_id="arch_none"
        )
    for each in (told, everyone_again):
        assert each.events.tolist() == everyone.events.tolist()
        assert each.amounts == pytest.approx(everyone.amounts)
    together = sum(each.events for each in kinds.values())
    assert everyone.events.sum() - together.sum() == 1, "the guest's"
    assert sum(each.amounts.sum() for each in kinds.values()) == pytest.approx(everyone.amounts.sum())
    counted = await rows(
        database,
        "SELECT archetype_id, sum(total_orders)::int FROM fact_customer_standing WHERE store_id = :s AND run_id = :r "
        "GROUP BY 1",
        s=store_id,
        r=run.run_id,
    )
    assert {kind: each.events.sum() for kind, each in kinds.items()} == dict(counted)
    assert list(alone) == [one] and alone[one].events.tolist() == kinds[one].events.tolist()
    assert [each.events.sum() for each in refunds.values()] == [1]
    assert nobody == {}


async def test_another_stores_orders_are_not_counted(database: Database, store_id: str) -> None:
    other = f"{store_id}x"
    await put(database, store_id, bought("ada", "o1", "2024-07-02 12:00", ("tea", "1", "5")))
    await put(database, other, bought("ada", "o1", "2024-07-02 12:00", ("tea", "1", "9")))
    assert (await totals(database, store_id, Metric.revenue)).amounts.tolist() == [0, 5, 0, 0]
    await execute(database, "DELETE FROM stores WHERE store_id = :s", s=other)
