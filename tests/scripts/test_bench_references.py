"""What the benchmarks compare with does the same job: its features are ours, customer by customer."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.domain.features import FEATURES, METRICS
from app.pipeline.features import feature_values, shop_day
from app.pipeline.sample import SampleShop
from app.warehouse.behaviour import FRAMES, Behaviour, read_behaviour
from app.warehouse.engine import Database, raw
from scripts.bench_features import as_pandas
from scripts.bench_reference_grouped import grouped_features
from scripts.bench_reference_looped import looped_features, read_frames
from tests.fakes import put

TIMEZONE = "America/Chicago"
#: In the middle of the shop's life: some tickets are still open, some orders are still to come.
AS_OF = datetime(2024, 6, 15, 5, tzinfo=UTC)


@pytest.fixture
async def shop(database: Database, store_id: str) -> str:
    sample = SampleShop(customers=150, seed=11)
    records = [record for batch in sample.batches() for record in batch.records]
    await put(database, store_id, records, timezone=TIMEZONE)
    return store_id


async def ours(database: Database, store_id: str) -> tuple[Behaviour, dict[str, Any]]:
    async with database.snapshot() as connection:
        behaviour = await read_behaviour(connection, store_id, as_of=AS_OF, timezone=TIMEZONE)
    return behaviour, feature_values(behaviour, as_of=AS_OF, timezone=TIMEZONE)


def assert_equal(theirs: pd.DataFrame, values: Mapping[str, Any]) -> None:
    assert set(theirs.columns) == {*METRICS, *FEATURES}
    for name, column in values.items():
        np.testing.assert_allclose(theirs[name].to_numpy(), column, rtol=1e-9, atol=1e-9, err_msg=name)


async def test_pandas_by_groups_gives_every_feature_of_every_customer_as_we_do(database: Database, shop: str) -> None:
    behaviour, values = await ours(database, shop)
    frames = {name: as_pandas(getattr(behaviour, name)) for name in FRAMES}
    assert_equal(grouped_features(frames, as_of_day=shop_day(AS_OF, TIMEZONE)), values)


async def test_pandas_customer_by_customer_gives_every_feature_as_we_do(database: Database, shop: str) -> None:
    behaviour, values = await ours(database, shop)
    async with database.transaction() as connection:
        frames = await read_frames(await raw(connection), shop, as_of=AS_OF, timezone=TIMEZONE)
    theirs = looped_features(frames, as_of=AS_OF, timezone=TIMEZONE)
    assert list(theirs.index) == behaviour.customer_ids
    assert_equal(theirs, values)
