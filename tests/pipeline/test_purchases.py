"""Visits out of a shop's records."""

from datetime import UTC, datetime

from app.pipeline.purchases import purchases_of
from app.prediction.purchases import Purchases
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Database
from tests.fakes import bought, gave_back, put

LATER = datetime(2025, 1, 1, tzinfo=UTC)


async def visits(database: Database, store_id: str) -> Purchases:
    async with database.snapshot() as connection:
        behaviour = await read_behaviour(connection, store_id, as_of=LATER, timezone="Europe/London")
    return purchases_of(behaviour)


async def test_two_orders_of_a_day_are_one_visit_and_a_product_is_new_once(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01 09:00", ("tea", "2", "3.50")),
            *bought("ada", "o2", "2024-03-01 18:00", ("tea", "1", "3.50"), ("cup", "1", "8")),
            *bought("ada", "o3", "2024-03-09 10:00", ("cup", "1", "8")),
        ],
    )
    found = (await visits(database, store_id)).visits
    assert found.paid.tolist() == [18.5, 8.0]
    assert found.lines.tolist() == [3, 1]
    assert found.new_products.tolist() == [2, 0]
    assert found.units.tolist() == [4, 1]


async def test_what_an_order_loses_on_its_own_day_was_never_sold(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01 09:00", ("paper", "80995", "2.08")),
            *gave_back("ada", "c1", "2024-03-01 09:12", "paper", "80995", "2.08"),
            *bought("bea", "o2", "2024-03-01 09:00", ("tea", "2", "3.50")),
            *gave_back("bea", "c2", "2024-03-05 09:00", "tea", "1", "3.50"),
        ],
    )
    found = await visits(database, store_id)
    assert found.visits.paid.tolist() == [0.0, 7.0]
    assert found.refunds.amount.tolist() == [3.5]
