"""A customer's past: the days that are kept of them, what changed between two of them, and a picture."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import Decimal
from itertools import pairwise

from app.api import anonymous
from app.api.customers import service
from app.api.customers.charts import history_chart
from app.api.customers.schemas import Delta, History, PastChange, PastSegment, Snapshot
from app.core.dates import in_words
from app.core.errors import InvalidParameter
from app.core.keys import Caller
from app.pipeline.drift import WINDOWS, Lineages, kinship_between, lineages_between, span_of
from app.resources import Resources
from app.segmentation.drift import Move
from app.warehouse.engine import Row
from app.warehouse.history import Day, read_history
from app.warehouse.lineage import ARCHETYPES

DAYS = 90
#: Days before those asked for that they are compared with.
_COMPARED_WITH = timedelta(days=2 * max(WINDOWS) - 1)


@dataclass(frozen=True, slots=True)
class _Group:
    """An archetype or segment as it is told of one day."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class _Past:
    """A snapshot.

    segments : by axis; empty where the run's are not kept
    risk, away_30d, ahead : as they were predicted then, the last in money of twelve months; None where nothing was
    """

    day: Day
    archetype: _Group
    level2: str
    level3: str
    segments: Mapping[str, _Group]
    lifetime_value: Decimal
    total_orders: int
    days_since_last_purchase: int
    risk: float | None
    away_30d: float | None
    ahead: Decimal | None

    def group(self, axis: str) -> _Group | None:
        return self.archetype if axis == ARCHETYPES else self.segments.get(axis)


async def history(
    resources: Resources,
    caller: Caller,
    customer_id: str,
    *,
    days: int = DAYS,
    first_day: date | None = None,
    last_day: date | None = None,
) -> History:
    """days : before the customer's latest snapshot, unless first_day says where to begin; both ends included

    Raises CustomerNotFound, or InvalidParameter for an end before its start.
    """
    if first_day is not None and last_day is not None and last_day < first_day:
        raise InvalidParameter("end_date", "it lies before start_date")
    row = await service.find(resources, caller, customer_id)
    rows = await read_history(
        resources.database,
        caller.store_id,
        row["customer_id"],
        first_day=None if first_day is None else _earlier(first_day),
        last_day=last_day,
    )
    begin = first_day or (rows[-1]["snapshot_date"] - timedelta(days=days - 1) if rows else date.min)
    past = [_past(each, hidden=not caller.identified) for each in rows if each["snapshot_date"] >= _earlier(begin)]
    asked = [each for each in past if each.day.day >= begin]
    lineages: Lineages = {}
    if asked:
        async with resources.database.snapshot() as connection:
            lineages = await lineages_between(connection, caller.store_id, [each.day for each in past])
    snapshots = _snapshots(asked)
    changes = [each for each in _changes(past, lineages) if asked and each.date >= asked[0].day.day.isoformat()]
    latest = rows[-1] if asked else None
    return History(
        customer_id=row["customer_id"] if caller.identified else row["pseudonym"],
        pseudonym=row["pseudonym"],
        snapshots=snapshots,
        changes=changes[::-1],
        deltas=_deltas(past, lineages) if asked else [],
        chart=history_chart(snapshots, changes, currency=row["currency"]),
        message=None if asked else _nothing(row, asked=first_day is not None or last_day is not None),
        currency=row["currency"],
        timezone=row["timezone"],
        run_id=None if latest is None else latest["run_id"],
        as_of=None if latest is None else latest["as_of"].astimezone(UTC).isoformat(),
    )


def _earlier(day: date) -> date:
    """So many days before; the first day there is where that is before it."""
    return day - min(_COMPARED_WITH, day - date.min)


def _nothing(row: Row, *, asked: bool) -> str:
    if asked:
        return "No day is kept of them between these."
    if row["orders_count"] == 0:
        return service.AWAITING_FIRST_PURCHASE
    return "No day is kept of them yet. A day is added whenever the shop is segmented or scored anew."


def _past(row: Row, *, hidden: bool) -> _Past:
    """A day as it is read; for those who may not see identities, with groups of few customers as "other"."""

    def shown(members: int | None) -> bool:
        return not hidden or (members is not None and members >= anonymous.FEWEST)

    def level(name: str) -> str:
        return row[f"archetype_{name}_id"] if shown(row[f"{name}_count"]) else anonymous.OTHER_ID

    other = _Group(anonymous.OTHER_ID, anonymous.OTHER_NAME)
    of_axis = json.loads(row["segments"] or "{}")
    return _Past(
        day=Day(row["snapshot_date"], row["run_id"], row["rules_run_id"]),
        archetype=_Group(row["archetype_id"], row["archetype_name"] or row["archetype_id"])
        if shown(row["member_count"])
        else other,
        level2=level("level2"),
        level3=level("level3"),
        segments={
            axis: _Group(segment_id, name) if shown(members) else _Group(anonymous.OTHER_ID, anonymous.OTHER_ID)
            for axis, (segment_id, name, members) in of_axis.items()
        },
        lifetime_value=row["lifetime_value"],
        total_orders=row["total_orders"],
        days_since_last_purchase=row["days_since_last_purchase"],
        risk=row["churn_risk_score"],
        away_30d=row["p_no_purchase_30d"],
        ahead=row["predicted_ltv_12m"],
    )


def _snapshots(past: Sequence[_Past]) -> list[Snapshot]:
    told = []
    last: dict[str, _Group] = {}
    for each in past:
        others = {axis: group for axis, group in each.segments.items() if last.get(axis) != group}
        last |= others
        told.append(
            Snapshot(
                date=each.day.day.isoformat(),
                archetype_id=each.archetype.id,
                segment_name=each.archetype.name,
                archetype_level2_id=each.level2,
                archetype_level3_id=each.level3,
                segments={axis: PastSegment(segment_id=group.id, name=group.name) for axis, group in others.items()},
                lifetime_value=_number(each.lifetime_value),
                total_orders=each.total_orders,
                days_since_last_purchase=each.days_since_last_purchase,
                churn_risk_score=each.risk,
                p_no_purchase_30d=each.away_30d,
                predicted_ltv_12m=None if each.ahead is None else _number(each.ahead),
            )
        )
    return told


def _changes(past: Sequence[_Past], lineages: Lineages) -> list[PastChange]:
    """Between each snapshot and the next, the archetype before the axes."""
    told = []
    for before, now in pairwise(past):
        move = _mover(before, now, lineages)
        for axis in (ARCHETYPES, *now.segments):
            was, is_now, moved = before.group(axis), now.group(axis), move(axis)
            if was is None or is_now is None or moved is None or was == is_now:
                continue
            by_discovery = moved is not Move.migrated
            told.append(
                PastChange(
                    date=now.day.day.isoformat(),
                    axis=None if axis == ARCHETYPES else axis,
                    from_id=was.id,
                    from_name=was.name,
                    to_id=is_now.id,
                    to_name=is_now.name,
                    by_discovery=by_discovery,
                    says=_says(axis, was, is_now, now.day.day, by_discovery=by_discovery),
                )
            )
    return told


def _mover(before: _Past, now: _Past, lineages: Lineages) -> Callable[[str], Move | None]:
    """By axis what became of them between two days; None where that is not known, or not told.

    Of who is told as "other" it is not told: whether they left their group, or that shrank, would name a small group.
    """

    def move(axis: str) -> Move | None:
        was, is_now = before.group(axis), now.group(axis)
        if was is None or is_now is None or anonymous.OTHER_ID in (was.id, is_now.id):
            return None
        return kinship_between(lineages, before.day, now.day, axis=axis).move(was.id, is_now.id)

    return move


def _says(axis: str, was: _Group, now: _Group, day: date, *, by_discovery: bool) -> str:
    one, other = was.name, now.name
    about = ""
    if axis != ARCHETYPES:
        one, other = (anonymous.words(each.name) for each in (was, now))
        about = f"{anonymous.words(axis)}: "
    if not by_discovery:
        return f"{about}{'m' if about else 'M'}oved from {one} to {other} on {in_words(day)}."
    if was.id == now.id:
        return f"{about}{one} is called {other} since {in_words(day)}."
    return f"{about}{'c' if about else 'C'}ounted as {other} instead of {one} since {in_words(day)}: found anew then."


def _deltas(past: Sequence[_Past], lineages: Lineages) -> list[Delta]:
    told = []
    by_day = {each.day: each for each in past}
    for length in WINDOWS:
        span = span_of(list(by_day), length, until=past[-1].day) if past else None
        if span is None:
            continue
        before, now = by_day[span.before], by_day[span.now]
        move = _mover(before, now, lineages)
        moves = {axis: move(axis) for axis in (ARCHETYPES, *now.segments)}
        kind = moves[ARCHETYPES]
        told.append(
            Delta(
                days=length,
                compared_with=span.before.day.isoformat(),
                archetype_changed=None if kind is None else kind is Move.migrated,
                renamed_by_discovery=None if kind is None else kind is Move.by_discovery,
                axes_changed=[axis for axis in now.segments if moves[axis] is Move.migrated],
                lifetime_value=_number(now.lifetime_value - before.lifetime_value),
                orders=now.total_orders - before.total_orders,
            )
        )
    return told


def _number(amount: Decimal) -> float:
    return round(float(amount), 4)
