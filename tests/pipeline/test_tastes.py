"""Memberships that predictions read: of some customers what they are of all, and of a day nothing that came later."""

from datetime import UTC, datetime

import numpy as np
import pytest

from app.pipeline.purchases import purchases_of
from app.pipeline.sample import SampleShop
from app.pipeline.tastes import Tastes
from app.warehouse.behaviour import Behaviour, read_behaviour
from app.warehouse.engine import Database
from tests.fakes import put

AS_OF = datetime(2025, 10, 23, 5, tzinfo=UTC)
DAY = (datetime(2025, 6, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


@pytest.fixture
async def behaviour(database: Database, store_id: str) -> Behaviour:
    shop = SampleShop(customers=600, seed=4)
    await put(database, store_id, [record for batch in shop.batches() for record in batch.records])
    async with database.snapshot() as connection:
        return await read_behaviour(connection, store_id, as_of=AS_OF, timezone="UTC")


async def test_who_is_asked_for_first_and_with_whom_changes_no_membership(behaviour: Behaviour) -> None:
    known = purchases_of(behaviour).known(DAY)
    together, in_turn = (Tastes(behaviour, "UTC").segments(DAY) for _ in range(2))
    assert together is not None and in_turn is not None
    of_all = together.at(DAY, known)
    assert of_all.shape == (len(known), len(together.names)) and np.isfinite(of_all).all()
    for some in (slice(5, 9), slice(0, None, 3), slice(None, None, -1)):
        assert np.array_equal(in_turn.at(DAY, known[some]), of_all[some])
    again = np.repeat(known[:3], 2)
    assert np.array_equal(in_turn.at(DAY, again), np.repeat(of_all[:3], 2, axis=0))


async def test_the_rules_of_a_day_are_found_once(behaviour: Behaviour) -> None:
    tastes = Tastes(behaviour, "UTC")
    assert tastes.segments(DAY) is tastes.segments(DAY)
