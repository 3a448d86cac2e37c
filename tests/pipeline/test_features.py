"""Features of one customer are those of the same customer among all, to the last digit."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from app.pipeline import features
from app.pipeline.features import feature_values, features_of_one
from app.pipeline.sample import SampleShop
from app.warehouse.behaviour import FRAMES, Behaviour, read_behaviour, read_behaviour_of_one
from app.warehouse.engine import Database
from tests.fakes import a_shop, bought, put

AS_OF = datetime(2025, 10, 23, 5, tzinfo=UTC)


async def both_ways(database: Database, store_id: str, timezone: str) -> tuple[Behaviour, dict[str, Behaviour]]:
    async with database.snapshot() as connection:
        everyone = await read_behaviour(connection, store_id, as_of=AS_OF, timezone=timezone)
        alone = {
            each: await read_behaviour_of_one(connection, store_id, each, as_of=AS_OF, timezone=timezone)
            for each in everyone.customer_ids
        }
    return everyone, alone


async def test_one_customer_alone_has_the_features_they_have_among_all(database: Database, store_id: str) -> None:
    shop = SampleShop(customers=120, seed=4)
    await put(database, store_id, [record for batch in shop.batches() for record in batch.records])
    everyone, alone = await both_ways(database, store_id, "America/Chicago")
    values = feature_values(everyone, as_of=AS_OF, timezone="America/Chicago")
    assert len(alone) == 120
    for number, customer in enumerate(everyone.customer_ids):
        mine = features_of_one(alone[customer], as_of=AS_OF, timezone="America/Chicago")
        assert mine.keys() == values.keys()
        assert {name: float(column[0]) for name, column in mine.items()} == {
            name: float(column[number]) for name, column in values.items()
        }


@pytest.mark.parametrize("at_once", [1, 7, 119])
async def test_some_customers_after_the_other_have_the_features_they_have_together(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    shop = SampleShop(customers=120, seed=4)
    await put(database, store_id, [record for batch in shop.batches() for record in batch.records])
    async with database.snapshot() as connection:
        everyone = await read_behaviour(connection, store_id, as_of=AS_OF, timezone="America/Chicago")
    together = feature_values(everyone, as_of=AS_OF, timezone="America/Chicago")
    monkeypatch.setattr(features, "CUSTOMERS_AT_ONCE", at_once)
    in_turn = feature_values(everyone, as_of=AS_OF, timezone="America/Chicago")
    assert {name: column.tolist() for name, column in in_turn.items()} == {
        name: column.tolist() for name, column in together.items()
    }


async def test_the_frames_have_the_columns_they_promise(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(8))
    everyone, alone = await both_ways(database, store_id, "UTC")
    for behaviour in (everyone, *alone.values()):
        for name, schema in FRAMES.items():
            assert getattr(behaviour, name).schema == schema


async def test_a_customer_without_an_order_before_then_is_nobody(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2026-03-01", ("tea", "1", "7")))
    async with database.snapshot() as connection:
        found = await read_behaviour_of_one(connection, store_id, "ada", as_of=AS_OF, timezone="UTC")
    assert found.customer_ids == []


async def test_customers_asked_for_at_once_do_not_get_each_others_features(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(12))
    _, alone = await both_ways(database, store_id, "UTC")

    def mine(behaviour: Behaviour) -> dict[str, Any]:
        values = features_of_one(behaviour, as_of=AS_OF, timezone="UTC")
        return {name: float(column[0]) for name, column in values.items()}

    one_by_one = [mine(each) for each in alone.values()]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(mine, list(alone.values()) * 5)) == one_by_one * 5
