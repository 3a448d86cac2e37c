"""One customer, now: placed by the served run's own scalers, centers and archetypes, without running it again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

import numpy as np

from app.core.errors import CustomerNotFound
from app.pipeline.run import feature_values
from app.pipeline.star import PlacedAxis, Standing, customer_rows
from app.segmentation.archetypes import (
    BANDS,
    NONE_CLOSE,
    bands,
    close_seconds,
    likeliest,
    mean_top_membership,
    nearest_bands,
)
from app.segmentation.axes import AXES
from app.segmentation.clustering import fitted_axis
from app.segmentation.membership import Array, strengths
from app.warehouse import publish
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Connection, Database
from app.warehouse.profiles import StoredArchetypes, StoredSegment, read_archetypes, read_segments
from app.warehouse.runs import Run, hold_served_run, served_run
from app.warehouse.stores import Store, read_store


@dataclass(frozen=True, slots=True)
class CustomerProfile:
    """Where one customer stands in the served run.

    fuzzy_memberships   : {axis: {segment name: share}}, each axis sums to 1
    dominant_segments   : {axis: segment name}
    membership_strength : {axis: strong, moderate, balanced or weak}
    interpretation      : the dominant names, joined
    feature_vectors     : {axis: {feature: value}}, before any scaling
    lifetime_value      : paid less given back before as_of, in the store's currency
    """

    customer_id: str
    store_id: str
    run_id: int
    as_of: datetime
    archetype_id: str
    fuzzy_memberships: Mapping[str, Mapping[str, float]]
    dominant_segments: Mapping[str, str]
    membership_strength: Mapping[str, str]
    interpretation: str
    feature_vectors: Mapping[str, Mapping[str, float]]
    lifetime_value: float


async def score_customer(
    database: Database, store_id: str, customer_id: str, *, as_of: datetime | None = None, keep: bool = False
) -> CustomerProfile:
    """Place a customer on the served run's axes.

    as_of : None for the served run's own, which gives the run's own numbers
    keep  : put the result in place of the stored profile

    Raises StoreNotFound, NothingPublished, or CustomerNotFound for an id without an order before as_of.
    """
    async with database.transaction() as connection:
        if keep:
            await hold_served_run(connection, store_id)
        run = await served_run(connection, store_id)
        store = await read_store(connection, store_id)
        moment = as_of or run.as_of
        values = await _features(connection, store, customer_id, as_of=moment)
        segments = await read_segments(connection, store_id, run.run_id)
        placed = _placed(segments, values)
        standing = _standing(placed, segments, await read_archetypes(connection, store_id, run.run_id), run)
        if keep:
            today = (moment - timedelta(microseconds=1)).astimezone(ZoneInfo(store.timezone)).date()
            rows = customer_rows([customer_id], values, placed, standing, snapshot=today)
            await publish.replace_customer(connection, store_id, run.run_id, customer_id, rows)
    return _profile(customer_id, store_id, run, moment, values, placed, standing)


async def _features(connection: Connection, store: Store, customer_id: str, *, as_of: datetime) -> dict[str, Array]:
    behaviour = await read_behaviour(
        connection, store.store_id, as_of=as_of, timezone=store.timezone, customer_id=customer_id
    )
    if not behaviour.customer_ids:
        raise CustomerNotFound(customer_id, store_id=store.store_id)
    return feature_values(behaviour, as_of=as_of, timezone=store.timezone)


def _placed(segments: Sequence[StoredSegment], values: Mapping[str, Array]) -> list[PlacedAxis]:
    """The customer on each stored axis, in the registry's order."""
    stored = {name: list(group) for name, group in groupby(segments, key=lambda segment: segment.axis_name)}
    placed = []
    for axis_name in (axis.name for axis in AXES if axis.name in stored):
        of_axis = stored[axis_name]
        fitted = fitted_axis(axis_name, of_axis[0].scaler_params, [segment.cluster_center for segment in of_axis])
        placed.append(
            PlacedAxis(
                axis_name=axis_name,
                feature_names=fitted.features,
                names=tuple(segment.segment_name for segment in of_axis),
                memberships=fitted.memberships(np.column_stack([values[name] for name in fitted.features])),
                in_signature=fitted.has_structure,
            )
        )
    return placed


def _standing(
    placed: Sequence[PlacedAxis], segments: Sequence[StoredSegment], archetypes: StoredArchetypes, run: Run
) -> Standing:
    """The customer's archetype on each level, by the rules the run itself went by."""
    signature = [axis for axis in placed if axis.in_signature]
    ids = list(archetypes.level1)
    if not signature:
        only = ids[0]
        band = next(iter(archetypes.level2.values()))
        return Standing([only], [band], [archetypes.level3[only][0][1]], np.zeros(1, dtype=np.int64))
    # A signature lists segment ids in the order of the axes; here they become positions on each axis.
    positions = {
        segment.segment_id: axis.names.index(segment.segment_name)
        for axis in signature
        for segment in segments
        if segment.axis_name == axis.axis_name
    }
    signatures = np.array([[positions[segment] for segment in archetypes.level1[each]] for each in ids])
    memberships = [axis.memberships for axis in signature]
    own = np.array([shares.argmax() for shares in memberships])
    same = np.flatnonzero((signatures == own).all(axis=1))
    number = int(same[0]) if len(same) else int(likeliest(memberships, signatures)[0])
    level1 = ids[number]

    there = np.array([position for position, band in enumerate(BANDS) if (level1, band) in archetypes.level2])
    lower, upper = run.report["archetypes"]["band_limits"]
    strength = int(nearest_bands(there)[bands(mean_top_membership(memberships), (lower, upper))[0]])

    close = close_seconds(memberships)[0]
    seconds = {
        axis.axis_name: axis.names[code] for axis, code in zip(signature, close, strict=True) if code != NONE_CLOSE
    }
    forms = archetypes.level3[level1]
    # Too rare a set of second segments is read as none being close; without that form, the largest takes them in.
    level3 = next((each for wanted in (seconds, {}) for stored, each in forms if stored == wanted), forms[0][1])
    return Standing(
        level1=[level1],
        level2=[archetypes.level2[level1, BANDS[strength]]],
        level3=[level3],
        fold_distance=np.array([(signatures[number] != own).sum()]),
    )


def _profile(
    customer_id: str,
    store_id: str,
    run: Run,
    as_of: datetime,
    values: Mapping[str, Array],
    placed: Sequence[PlacedAxis],
    standing: Standing,
) -> CustomerProfile:
    dominant = {axis.axis_name: axis.names[int(axis.memberships.argmax())] for axis in placed}
    return CustomerProfile(
        customer_id=customer_id,
        store_id=store_id,
        run_id=run.run_id,
        as_of=as_of,
        archetype_id=standing.level1[0],
        fuzzy_memberships={
            axis.axis_name: dict(zip(axis.names, axis.memberships[0].tolist(), strict=True)) for axis in placed
        },
        dominant_segments=dominant,
        membership_strength={axis.axis_name: strengths(axis.memberships)[0].value for axis in placed},
        interpretation=", ".join(dominant.values()),
        feature_vectors={
            axis.axis_name: {name: float(values[name][0]) for name in axis.feature_names} for axis in placed
        },
        lifetime_value=round(float(values["lifetime_value"][0]), 4),
    )
