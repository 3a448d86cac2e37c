"""One customer, now: placed by the served run's own scalers, centers and archetypes, without running it again."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.errors import CustomerNotFound, NothingPublished
from app.pipeline.features import features_of_one
from app.pipeline.placing import PlacedAxis, last_day
from app.pipeline.predict_some import predict_some
from app.pipeline.profile_text import profile_form
from app.pipeline.served import ServedRun, served
from app.pipeline.star import by_axis, customer_row, features_by_axis
from app.segmentation.membership import Array, strengths
from app.warehouse import publish
from app.warehouse.audit import AuditNote, write_audit
from app.warehouse.behaviour import Behaviour, read_behaviour_of_one
from app.warehouse.engine import Connection, Database
from app.warehouse.history import Rules, rules_in_force
from app.warehouse.runs import hold_served_run
from app.warehouse.stores import Store, read_store


@dataclass(frozen=True, slots=True)
class CustomerProfile:
    """Where one customer stands in the served run.

    fuzzy_memberships   : {axis: {segment name: share}}, each axis sums to 1
    dominant_segments   : {axis: segment name}
    membership_strength : {axis: strong, moderate, balanced or weak}
    interpretation      : the dominant names, joined
    feature_vectors     : {axis: {feature: value}}, before any scaling
    rfm_scores          : recency, frequency and monetary value, 1..5 each
    rfm_group           : the group of those scores
    lifetime_value      : paid less given back before as_of, in the store's currency
    text                : what is served of them, as `pipeline.profile_text` writes it
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
    rfm_scores: tuple[int, int, int]
    rfm_group: str
    lifetime_value: float
    text: str


async def score_customer(
    database: Database,
    store_id: str,
    customer_id: str,
    *,
    as_of: datetime | None = None,
    keep: bool = False,
    note: AuditNote | None = None,
) -> CustomerProfile:
    """Place a customer on the served run's axes.

    as_of : None for the served run's own, which gives its numbers of whoever had no record since
    keep  : put the result in place of the stored profile
    note  : who has it put there, for the audit log

    Raises StoreNotFound, NothingPublished, OutdatedRun, or CustomerNotFound for an id without an order before as_of.
    """
    # Of one moment, whatever is published meanwhile: kept, by holding the run; else, by reading a snapshot.
    async with database.transaction() if keep else database.snapshot() as connection:
        store = await (hold_served_run if keep else read_store)(connection, store_id)
        if store.served_run_id is None:
            raise NothingPublished(store_id)
        run = await served(database, connection, store_id, store.served_run_id)
        moment = as_of or run.run.as_of
        behaviour, values = await _measured(connection, store, customer_id, as_of=moment)
        placed, row = _scored(store, run, customer_id, values, as_of=moment)
        if keep:
            await publish.replace_customer(connection, store_id, run.run.run_id, row)
            await predict_some(
                database, connection, store, [customer_id], as_of=moment, behaviour=behaviour, values=values
            )
            if note is not None:
                await write_audit(connection, [note])
    return _profile(store, run, moment, placed, row)


@dataclass(frozen=True, slots=True)
class Then:
    """A customer at a moment of the past.

    rules  : the run whose rules they are placed by; None where none is kept
    scored : None without rules, and for one without an order before that moment
    """

    rules: Rules | None
    scored: CustomerProfile | None


async def score_then(database: Database, store_id: str, customer_id: str, *, as_of: datetime) -> Then:
    """Place a customer by their records before a moment and the rules in force at it, keeping nothing.

    Those are the rules of the latest run as of that moment or before, and where none is that old, of the oldest kept.
    What came later changes none of it. Raises StoreNotFound or OutdatedRun.
    """
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        rules = await rules_in_force(connection, store_id, as_of)
        if rules is None:
            return Then(None, None)
        run = await served(database, connection, store_id, rules.run_id)
        try:
            _, values = await _measured(connection, store, customer_id, as_of=as_of)
        except CustomerNotFound:
            return Then(rules, None)
    placed, row = _scored(store, run, customer_id, values, as_of=as_of)
    return Then(rules, _profile(store, run, as_of, placed, row))


async def _measured(
    connection: Connection, store: Store, customer_id: str, *, as_of: datetime
) -> tuple[Behaviour, Mapping[str, Array]]:
    behaviour = await read_behaviour_of_one(
        connection, store.store_id, customer_id, as_of=as_of, timezone=store.timezone
    )
    if not behaviour.customer_ids:
        raise CustomerNotFound(customer_id, store_id=store.store_id)
    # A few milliseconds of arithmetic, in a thread so that other requests are answered meanwhile.
    return behaviour, await asyncio.to_thread(features_of_one, behaviour, as_of=as_of, timezone=store.timezone)


def _scored(
    store: Store, run: ServedRun, customer_id: str, values: Mapping[str, Array], *, as_of: datetime
) -> tuple[Sequence[PlacedAxis], dict[str, Any]]:
    placed, standing = run.place(values)
    snapshot = last_day(as_of, store.timezone)
    return placed, customer_row(
        customer_id, values, placed, standing, snapshot=snapshot, as_of=as_of, yardstick=run.yardstick
    )


def _profile(
    store: Store, run: ServedRun, as_of: datetime, axes: Sequence[PlacedAxis], row: Mapping[str, Any]
) -> CustomerProfile:
    dominant = {axis.axis.name: axis.dominant[0] for axis in axes}
    return CustomerProfile(
        customer_id=row["customer_id"],
        store_id=store.store_id,
        run_id=run.run.run_id,
        as_of=as_of,
        archetype_id=row["archetype_id"],
        fuzzy_memberships=by_axis(axes, row["memberships"]),
        dominant_segments=dominant,
        membership_strength={axis.axis.name: strengths(axis.memberships)[0].value for axis in axes},
        interpretation=", ".join(dominant.values()),
        feature_vectors=features_by_axis(axes, row["features"]),
        rfm_scores=(row["rfm_recency"], row["rfm_frequency"], row["rfm_monetary"]),
        rfm_group=row["rfm_group"],
        lifetime_value=float(row["lifetime_value"]),
        text=profile_form(axes, run.yardstick).filled(row["profile"], row["memberships"], row["dominant"]),
    )
