"""The shop over time: counted once for as long as its days are the same, and told in the caller's view."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from app.api import anonymous
from app.api.analytics.charts import migration_chart, velocity_chart
from app.api.analytics.schemas import (
    ArchetypeMovement,
    AxisShift,
    Drift,
    Migration,
    SinceDiscovery,
    Velocity,
    Window,
)
from app.core.clock import utc_now
from app.core.dates import in_words
from app.core.errors import NothingPublished
from app.core.keys import Caller
from app.pipeline import drift as drifting
from app.pipeline.run import latest_as_of
from app.resources import Resources
from app.segmentation.drift import Flow, Move, Movement
from app.warehouse.engine import Connection
from app.warehouse.runs import read_as_of
from app.warehouse.stores import Store, read_store

# What a share of people is rounded to for who may not count them, and what a velocity is told to.
_COARSE, _FINE, _VELOCITY = 2, 6, 8


async def counted_until(connection: Connection, store: Store) -> datetime:
    """The moment of the run that is served, before which things count; up to which records are complete without one."""
    if store.served_run_id is None:
        return await latest_as_of(connection, store, now=utc_now())
    return await read_as_of(connection, store.served_run_id)


async def drift(resources: Resources, caller: Caller, *, days: int | None, limit: int) -> Drift:
    """days : one of the windows; None for all. limit : kinds, and ways between them, told of each

    Raises StoreNotFound, or NothingPublished.
    """
    lengths = drifting.WINDOWS if days is None else (days,)
    async with resources.database.snapshot() as connection:
        store = await read_store(connection, caller.store_id)
    found = None
    if store.served_run_id is not None:
        found = await drifting.drift_of(resources.database, caller.store_id, lengths)
    if found is None:
        raise NothingPublished(caller.store_id)
    threshold = resources.settings.drift_threshold
    whole = caller.identified
    enough = [each for each in found.windows if whole or each.migrations.movement.compared >= anonymous.FEWEST]
    windows = [_window(each, threshold, limit=limit, whole=whole) for each in enough]
    missing = [length for length in lengths if length not in {each.days for each in windows}]
    velocities = [
        Velocity(day=span.now.day.isoformat(), days=span.days, velocity=_velocity(moved, span.days, whole=whole))
        for span, moved in found.velocity
        if whole or moved.compared >= anonymous.FEWEST
    ]
    return Drift(
        day=found.kept[-1].day.isoformat(),
        windows=windows,
        missing=missing,
        since_discovery=[
            SinceDiscovery(axis=axis, psi=_psi(value, whole=whole), flagged=value > threshold)
            for axis, value in found.since.items()
        ],
        rules_run_id=found.kept[-1].rules_run_id,
        threshold=threshold,
        velocities=velocities,
        velocity_chart=velocity_chart(velocities),
        message=_message([each.day for each in found.kept], missing, hidden=len(found.windows) > len(enough)),
        timezone=store.timezone,
        run_id=found.kept[-1].run_id,
        as_of=found.as_of.astimezone(UTC).isoformat(),
    )


def _window(told: drifting.Window, threshold: float, *, limit: int, whole: bool) -> Window:
    moved, span = told.migrations.movement, told.migrations.span
    velocity = _velocity(moved, span.days, whole=whole)
    before = None
    if told.before is not None and (whole or told.before[1].compared >= anonymous.FEWEST):
        earlier, then = told.before
        before = _velocity(then, earlier.days, whole=whole)
    archetypes, migrations = _by_archetype(told.migrations, whole=whole)
    return Window(
        days=told.length,
        compared_with=span.before.day.isoformat(),
        days_between=span.days,
        customers_compared=moved.compared if whole else None,
        new_customers=moved.new if whole else None,
        migrated=_share(moved.share(Move.migrated), whole=whole),
        renamed_by_discovery=_share(moved.share(Move.by_discovery), whole=whole),
        velocity=velocity,
        acceleration=None if before is None else round(velocity - before, _VELOCITY),
        archetypes=archetypes[:limit],
        archetypes_total=len(archetypes),
        migrations=migrations[:limit],
        migrations_total=len(migrations),
        axes=[
            AxisShift(
                axis=each.axis,
                changed=_share(each.movement.share(Move.migrated), whole=whole),
                renamed_by_discovery=_share(each.movement.share(Move.by_discovery), whole=whole),
                psi=None if each.psi is None else _psi(each.psi, whole=whole),
                flagged=each.psi is not None and each.psi > threshold,
            )
            for each in told.axes
        ],
        chart=migration_chart(archetypes, migrations, since=span.before.day, until=span.now.day),
        says=_says(moved, span.before.day, velocity, before, whole=whole),
    )


def _by_archetype(told: drifting.Migrations, *, whole: bool) -> tuple[list[ArchetypeMovement], list[Migration]]:
    """Kinds and the ways between them; for who may not count people, small ones together and small ways left out."""

    def shown(names: Mapping[str, tuple[str, int]]) -> Callable[[str], str]:
        return lambda each: each if whole or names.get(each, ("", 0))[1] >= anonymous.FEWEST else anonymous.OTHER_ID

    then, now = shown(told.names_before), shown(told.names_now)
    groups: dict[str, list[Flow]] = defaultdict(list)
    ways: dict[tuple[str, str], int] = defaultdict(int)
    for flow in told.movement.flows:
        groups[then(flow.before)].append(flow)
        if flow.move is Move.migrated:
            ways[then(flow.before), now(flow.now)] += flow.count
    members = {each: Movement(tuple(flows), new=0, gone=0) for each, flows in groups.items()}
    archetypes = [
        ArchetypeMovement(
            archetype_id=each,
            segment_name=_name(told.names_before, each),
            customers=moved.compared if whole else None,
            stayed=_share(moved.share(Move.stayed), whole=whole),
            migrated=_share(moved.share(Move.migrated), whole=whole),
            renamed_by_discovery=_share(moved.share(Move.by_discovery), whole=whole),
        )
        for each, moved in sorted(members.items(), key=lambda item: (-item[1].compared, item[0]))
        if whole or moved.compared >= anonymous.FEWEST
    ]
    migrations = [
        Migration(
            from_id=one,
            from_name=_name(told.names_before, one),
            to_id=other,
            to_name=_name(told.names_now, other),
            count=n if whole else None,
            share=_share(n / told.movement.compared, whole=whole),
            share_of_kind=_share(n / members[one].compared, whole=whole),
        )
        for (one, other), n in sorted(ways.items(), key=lambda item: (-item[1], item[0]))
        if whole or (n >= anonymous.FEWEST and one != other)
    ]
    return archetypes, migrations


def _name(names: Mapping[str, tuple[str, int]], archetype_id: str) -> str:
    """Its id where the run's names are not kept."""
    if archetype_id == anonymous.OTHER_ID:
        return anonymous.OTHER_NAME
    return names[archetype_id][0] if archetype_id in names else archetype_id


# Rounded where people may not be counted: a fine share is a fraction of how many they are


def _share(share: float, *, whole: bool) -> float:
    return round(share, _FINE if whole else _COARSE)


def _psi(value: float, *, whole: bool) -> float:
    return round(value, _FINE if whole else _COARSE)


def _velocity(moved: Movement, days: int, *, whole: bool) -> float:
    return round(_share(moved.share(Move.migrated), whole=whole) / days, _VELOCITY)


# In words


def _says(moved: Movement, since: date, velocity: float, before: float | None, *, whole: bool) -> str:
    if not moved.compared:
        return f"Nobody of {in_words(since)} is there now."
    told = f"Since {in_words(since)} {_percent(moved.share(Move.migrated), whole)} of customers went to another kind"
    told += f", {100 * velocity:.2f} % a day" if velocity else ""
    if before is not None and (as_fast_as := f"{100 * before:.2f} % a day") != f"{100 * velocity:.2f} % a day":
        told += f", {'faster' if velocity > before else 'slower'} than before ({as_fast_as})"
    if moved.count(Move.by_discovery):
        share = _percent(moved.share(Move.by_discovery), whole)
        told += f"; {share} are counted elsewhere because the kinds were found anew"
    return told + "."


def _percent(share: float, whole: bool) -> str:
    return f"{100 * share:.1f} %" if whole else f"{100 * share:.0f} %"


def _message(kept: Sequence[date], missing: Sequence[int], *, hidden: bool) -> str | None:
    if not missing:
        return None
    first, last = kept[0], kept[-1]
    ahead = [length for length in missing if (last - first).days < length]
    told = []
    if ahead:
        each = [f"over {length} days from {in_words(first + timedelta(days=length))}" for length in ahead]
        told.append(f"The history begins on {in_words(first)}. It can be compared {', '.join(each)} on.")
    if gaps := [length for length in missing if length not in ahead]:
        days = " and ".join(str(length) for length in gaps)
        if hidden:
            told.append(f"Fewer than {anonymous.FEWEST} customers can be compared over {days} days.")
        else:
            told.append(f"No day is kept that the latest could be compared with over {days} days.")
    return " ".join(told)
