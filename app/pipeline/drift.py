"""How a shop moves between two of its days: who went from one kind of customer to another, and how segments shifted.

Two days that were placed by the rules of different discoveries are compared through the lineage of those in between, so
that a group that was split or merged is not taken for customers who moved (`segmentation.drift`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np

from app.segmentation.drift import Discovered, Flow, Kinship, Move, Movement, kinship, movement, psi
from app.segmentation.membership import Array
from app.warehouse.engine import Connection, Database
from app.warehouse.history import (
    Counts,
    Day,
    archetype_counts,
    archetypes_of_runs,
    read_days,
    segment_counts,
    segments_of_runs,
)
from app.warehouse.lineage import ARCHETYPES, Edge, read_edges
from app.warehouse.runs import read_as_of

#: Days that a shop is compared over.
WINDOWS = (7, 14, 28)
#: How far back the line of velocities goes, in steps of the shortest window.
_WEEKS = 12
_TOP_FLOWS = 10
_KEPT = 8

#: By axis, or ARCHETYPES: by discovery, what it made of the groups before it.
Lineages = Mapping[str, Mapping[int, Discovered]]


@dataclass(frozen=True, slots=True)
class Span:
    """Two days of a shop."""

    before: Day
    now: Day

    @property
    def days(self) -> int:
        return (self.now.day - self.before.day).days


def span_of(kept: Sequence[Day], length: int, *, until: Day) -> Span | None:
    """A day and the latest kept that is at least so many days older, and less than twice as many; None without one.

    kept : the earliest first
    """
    oldest, latest = (until.day - timedelta(days=each) for each in (2 * length - 1, length))
    found = [each for each in kept if oldest <= each.day <= latest]
    return Span(found[-1], until) if found else None


def weeks_of(kept: Sequence[Day], most: int = _WEEKS) -> list[Span]:
    """The latest weeks that can be compared, the latest first; one that nobody saw is passed over.

    kept : the earliest first
    """
    found: list[Span] = []
    left = list(kept)
    while left and len(found) < most:
        span = span_of(left, WINDOWS[0], until=left[-1])
        if span is None:
            left.pop()
            continue
        found.append(span)
        left = [each for each in left if each.day <= span.before.day]
    return found


@dataclass(frozen=True, slots=True)
class Migrations:
    """Customers between two days, by their archetypes of level 1.

    names_before, names_now : {archetype: (name, customers)} of the runs that wrote the days
    """

    span: Span
    movement: Movement
    names_before: Mapping[str, tuple[str, int]]
    names_now: Mapping[str, tuple[str, int]]

    @property
    def share(self) -> float:
        """Of the customers of both days, those who migrated: 0..1."""
        return self.movement.share(Move.migrated)

    @property
    def velocity(self) -> float:
        return self.movement.velocity(self.span.days)

    def top(self, n: int = _TOP_FLOWS) -> list[Flow]:
        """Where most of those who migrated went."""
        return [flow for flow in self.movement.flows if flow.move is Move.migrated][:n]

    def name(self, archetype_id: str) -> str:
        """What an archetype is called now, or was then; its id where neither run's names are kept."""
        known = self.names_now.get(archetype_id) or self.names_before.get(archetype_id)
        return known[0] if known else archetype_id


async def migrations(
    connection: Connection, store_id: str, *, days: int, until: date | None = None
) -> Migrations | None:
    """Who migrated in the last so many days of a shop that are kept; None where its history is too short.

    until : the last day that counts; None for the latest
    """
    kept = [each for each in await read_days(connection, store_id) if until is None or each.day <= until]
    span = span_of(kept, days, until=kept[-1]) if kept else None
    if span is None:
        return None
    lineages = await lineages_between(connection, store_id, kept)
    return await _migrations(connection, store_id, span, lineages)


async def _migrations(connection: Connection, store_id: str, span: Span, lineages: Lineages) -> Migrations:
    moved = await _movement(connection, store_id, span, lineages)
    names = await archetypes_of_runs(connection, store_id, {span.before.run_id, span.now.run_id})
    return Migrations(span, moved, names[span.before.run_id], names[span.now.run_id])


async def _movement(connection: Connection, store_id: str, span: Span, lineages: Lineages) -> Movement:
    counts = await archetype_counts(connection, store_id, before=span.before.day, now=span.now.day)
    return movement(counts, kinship_between(lineages, span.before, span.now))


def kinship_between(lineages: Lineages, before: Day, now: Day, *, axis: str = ARCHETYPES) -> Kinship:
    """How the groups of an axis, or the archetypes, of one day are those of another."""
    return kinship(lineages.get(axis, {}), before=before.rules_run_id, now=now.rules_run_id)


async def lineages_between(connection: Connection, store_id: str, kept: Sequence[Day]) -> Lineages:
    """What the discoveries that those days went by, and those in between, made of the groups before them."""
    rules = [each.rules_run_id for each in kept]
    return lineages_of(await read_edges(connection, store_id, after=min(rules), until=max(rules)))


def lineages_of(edges: Sequence[Edge]) -> dict[str, dict[int, Discovered]]:
    steps: dict[tuple[str, int], list[tuple[str | None, str | None]]] = {}
    before = {}
    for edge in edges:
        steps.setdefault((edge.axis, edge.run_id), []).append((edge.previous_id, edge.current_id))
        before[edge.run_id] = edge.rules_before
    found: dict[str, dict[int, Discovered]] = {}
    for (axis, run_id), each in steps.items():
        found.setdefault(axis, {})[run_id] = Discovered(before[run_id], each)
    return found


@dataclass(frozen=True, slots=True)
class AxisShift:
    """One axis between two days.

    movement : of customers between its segments
    psi      : of the shares of its segments; None where a discovery in between found other segments
    """

    axis: str
    movement: Movement
    psi: float | None


@dataclass(frozen=True, slots=True)
class Window:
    """length : days asked for; before : the same length up to the day that this one begins with, if there is one"""

    length: int
    migrations: Migrations
    before: tuple[Span, Movement] | None
    axes: tuple[AxisShift, ...]

    @property
    def acceleration(self) -> float | None:
        """Velocity less that of the window before; None without one."""
        if self.before is None:
            return None
        span, moved = self.before
        return self.migrations.velocity - moved.velocity(span.days)


@dataclass(frozen=True, slots=True)
class Drift:
    """kept  : the days there are, the earliest first
    as_of    : of the run that wrote the latest
    windows  : those that the history is long enough for
    since    : axis -> psi of today's shares against those the rules were found with
    velocity : (weeks' spans and movements), the earliest first
    """

    kept: tuple[Day, ...]
    as_of: datetime
    windows: tuple[Window, ...]
    since: Mapping[str, float]
    velocity: tuple[tuple[Span, Movement], ...]


# What was counted of days that are still the same is still true; databases count their runs each for itself. It is a
# task from when it is begun: who asks meanwhile waits for the same one, and who goes away leaves it to the others.
_Known = OrderedDict[tuple[object, ...], asyncio.Task[Drift | None]]
_known: WeakKeyDictionary[Database, _Known] = WeakKeyDictionary()


async def drift_of(database: Database, store_id: str, lengths: Sequence[int] = WINDOWS) -> Drift | None:
    """Everything about how a shop moves, up to its latest day; None where no day is kept."""
    async with database.snapshot() as connection:
        kept = await read_days(connection, store_id)
    known = _known.setdefault(database, OrderedDict())
    key = (store_id, tuple(lengths), tuple(kept))
    if key not in known:
        known[key] = asyncio.create_task(_count(database, store_id, lengths))
        known[key].add_done_callback(partial(_forget_failed, known, key))
        if len(known) > _KEPT:
            known.popitem(last=False)
    known.move_to_end(key)
    return await asyncio.shield(known[key])


def _forget_failed(known: _Known, key: tuple[object, ...], counting: asyncio.Task[Drift | None]) -> None:
    """Who asks next has it counted again. Its error is looked at here, or a task nobody waits for would complain."""
    if (counting.cancelled() or counting.exception() is not None) and known.get(key) is counting:
        del known[key]


async def _count(database: Database, store_id: str, lengths: Sequence[int]) -> Drift | None:
    """Of the days there are by now."""
    async with database.snapshot() as connection:
        kept = await read_days(connection, store_id)
        return await _counted(connection, store_id, kept, lengths) if kept else None


async def _counted(connection: Connection, store_id: str, kept: Sequence[Day], lengths: Sequence[int]) -> Drift:
    lineages = await lineages_between(connection, store_id, kept)
    moved: dict[tuple[date, date], Movement] = {}

    async def between(span: Span) -> Movement:
        days = (span.before.day, span.now.day)
        if days not in moved:
            moved[days] = await _movement(connection, store_id, span, lineages)
        return moved[days]

    weeks = [(span, await between(span)) for span in weeks_of(kept)]
    windows = []
    for length in lengths:
        span = span_of(kept, length, until=kept[-1])
        if span is None:
            continue
        earlier = span_of(kept, length, until=span.before)
        windows.append(
            Window(
                length=length,
                migrations=await _migrations(connection, store_id, span, lineages),
                before=None if earlier is None else (earlier, await between(earlier)),
                axes=await _shifts(connection, store_id, span, lineages),
            )
        )
    return Drift(
        kept=tuple(kept),
        as_of=await read_as_of(connection, kept[-1].run_id),
        windows=tuple(windows),
        since=await _since(connection, kept[-1]),
        velocity=tuple(reversed(weeks)),
    )


async def _shifts(connection: Connection, store_id: str, span: Span, lineages: Lineages) -> tuple[AxisShift, ...]:
    runs = await segments_of_runs(connection, {span.before.run_id, span.now.run_id})
    then, now = runs[span.before.run_id], runs[span.now.run_id]
    counts = await segment_counts(
        connection, store_id, before=span.before.day, now=span.now.day, axes_before=list(then), axes_now=list(now)
    )
    return tuple(
        AxisShift(
            axis=axis,
            movement=movement(of_axis, kinship_between(lineages, span.before, span.now, axis=axis)),
            psi=_psi(of_axis, list(now[axis])) if now[axis].keys() == then[axis].keys() else None,
        )
        for axis, of_axis in counts.items()
    )


def _psi(counts: Counts, segments: Sequence[str]) -> float | None:
    """Of everyone of each day. None where nobody is there on one of them."""
    then = _sizes([(was, n) for was, _, n in counts], segments)
    now = _sizes([(is_now, n) for _, is_now, n in counts], segments)
    return None if then is None or now is None else psi(now, then)


def _sizes(counts: Iterable[tuple[str | None, int]], segments: Sequence[str]) -> Array | None:
    """(n_segments,) customers; None where there are none, or in a segment that is not among them."""
    sizes = dict.fromkeys(segments, 0)
    for segment, n in counts:
        if segment is not None:
            if segment not in sizes:
                return None
            sizes[segment] += n
    return np.array(list(sizes.values()), dtype=np.float64) if any(sizes.values()) else None


async def _since(connection: Connection, today: Day) -> dict[str, float]:
    """{axis: psi} of a day, as its run counted it, against the discovery it goes by."""
    runs = await segments_of_runs(connection, {today.run_id, today.rules_run_id})
    found, now = runs[today.rules_run_id], runs[today.run_id]
    shifted = {}
    for axis, segments in now.items():
        here = _sizes(segments.items(), list(segments))
        then = _sizes(found.get(axis, {}).items(), list(segments))
        if here is not None and then is not None:
            shifted[axis] = psi(here, then)
    return shifted
