"""A served run, found again from another seed or from other customers of the same shop: who keeps their segment?"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from app.core.errors import NothingPublished
from app.pipeline.earlier import earlier_run
from app.pipeline.features import feature_values
from app.pipeline.run import latest_as_of, needs_met
from app.segmentation.axes import AXES, Need
from app.segmentation.discovery import DiscoveryOptions, discover
from app.segmentation.identity import Earlier
from app.segmentation.membership import Array
from app.segmentation.readings import memberships_in
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Database
from app.warehouse.stores import read_store


@dataclass(frozen=True, slots=True)
class Served:
    """What a store's served run was found from, and what it found.

    values : the metrics and features of everyone, each (n_customers,)
    """

    store_id: str
    values: Mapping[str, Array]
    available: frozenset[Need]
    earlier: Earlier


async def served_for_refits(database: Database, store_id: str, *, now: datetime) -> Served:
    """The served run of a store whose latest records it was made of. Raises StoreNotFound or NothingPublished."""
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        as_of = await latest_as_of(connection, store, now=now)
        behaviour = await read_behaviour(connection, store_id, as_of=as_of, timezone=store.timezone)
        earlier = await earlier_run(database, connection, store)
    if earlier is None:
        raise NothingPublished(store_id)
    values = feature_values(behaviour, as_of=as_of, timezone=store.timezone)
    return Served(store_id, values, needs_met(behaviour), earlier)


def who_stays(served: Served, *, seed: int = 0, drawn: int | None = None) -> dict[str, float]:
    """{axis with structure: share of all customers, placed by a next run's rules, with the id of their segment as was}.

    seed  : of the next run
    drawn : it is fitted on as many customers drawn with replacement, by this seed; None for the same ones
    """
    values = served.values
    if drawn is not None:
        n_customers = len(values["total_orders"])
        rows = np.random.default_rng(drawn).integers(0, n_customers, n_customers)
        values = {name: column[rows] for name, column in values.items()}
    found = discover(
        served.store_id,
        values,
        AXES,
        available=served.available,
        options=DiscoveryOptions(seed=seed),
        earlier=served.earlier,
    )
    stays = {}
    for axis in found.axes:
        before = served.earlier.axes[axis.axis.name]
        placed = before.placed(served.values)
        if placed is not None and any(reading.fitted.has_structure for reading in before.readings):
            was = np.array([segment.segment_id for segment in before.segments])[placed]
            places = memberships_in(axis.readings, served.values).argmax(axis=1)
            now = np.array([segment.segment_id for segment in axis.segments])[places]
            stays[axis.axis.name] = float((was == now).mean())
    return stays
