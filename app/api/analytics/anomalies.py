"""Days out of line, in the caller's view."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from app.api import anonymous
from app.api.analytics.charts import anomaly_chart
from app.api.analytics.schemas import Anomalies, Anomaly, DayBand, KindAnomalies
from app.api.analytics.service import counted_until
from app.core.dates import in_words
from app.core.errors import InvalidParameter, NothingPublished
from app.core.keys import Caller
from app.prediction.anomalies import (
    BAND,
    LEAST_DAYS,
    PAST_DAYS,
    WIDE_BAND,
    Bands,
    Direction,
    Flags,
    Floats,
    Metric,
    bands,
    closed_days,
    known_days,
)
from app.resources import Resources
from app.warehouse.days import Daily, Span, daily_totals, daily_totals_by_archetype, nothing_in
from app.warehouse.engine import Connection
from app.warehouse.history import archetypes_of_runs
from app.warehouse.stores import Store, read_store

_USUAL_DAYS = "usual days"
_EXACT, _SCORE, _CHANCE = 2, 2, 1


@dataclass(frozen=True, slots=True)
class _Read:
    """What is known. kinds : {archetype: (name, customers)} of level 1

    whom    : whose days are asked for
    orders  : (n_days,) of the whole shop
    beside  : {archetype: its days} of those that are told beside the shop
    """

    store: Store
    as_of: datetime
    span: Span
    kinds: Mapping[str, tuple[str, int]]
    whom: Daily
    orders: Floats
    beside: Mapping[str, Daily]


@dataclass(frozen=True, slots=True)
class _Series:
    """The days that are told of somebody, the earliest first. Each (n_days,)

    events : how many things are behind what is counted; closed : the shop took no orders for long
    """

    first: date
    counted: Floats
    events: Floats
    closed: Flags
    bands: Bands

    def day(self, place: int) -> date:
        return self.first + timedelta(days=place)

    @property
    def n_banded(self) -> int:
        return int(np.isfinite(self.bands.expected).sum())


@dataclass(frozen=True, slots=True)
class _Scale:
    """How numbers are told. unit : None where they are not; by : what they are divided by"""

    unit: str | None
    by: float = 1.0
    decimals: int = _EXACT


async def anomalies(
    resources: Resources, caller: Caller, *, metric: Metric, days: int, archetype_id: str | None
) -> Anomalies:
    """archetype_id : a kind of level 1 alone; None for the whole shop, with its kinds beside

    Raises StoreNotFound, NothingPublished where a kind is asked for before there are any, or InvalidParameter.
    """
    async with resources.database.snapshot() as connection:
        known = await _read(connection, caller, metric=metric, days=days, archetype_id=archetype_id)
    banded = archetype_id is None or known.kinds[archetype_id][1] >= anonymous.FEWEST

    def worked_out() -> tuple[_Series, dict[str, _Series]]:
        return (
            _series(known.whom, known, metric, days=days, banded=banded),
            {kind: _series(daily, known, metric, days=days, wide=True) for kind, daily in known.beside.items()},
        )

    series, kinds = await asyncio.to_thread(worked_out)
    scale = _scale(series, metric, known.store, whole=caller.identified, of_all=archetype_id is None)
    told = [_day(series, place, scale) for place in range(len(series.counted))]
    found = _found(series, metric, scale)
    by_chance = round((1 - BAND) * series.n_banded, _CHANCE)
    return Anomalies(
        metric=metric,
        unit=scale.unit,
        archetype_id=archetype_id,
        segment_name=None if archetype_id is None else known.kinds[archetype_id][0],
        band=BAND,
        days=told,
        anomalies=found,
        expected_by_chance=by_chance,
        says=_says(found, series.n_banded, by_chance),
        archetypes=_of_kinds(kinds, known, metric, whole=caller.identified),
        archetypes_compared=len(kinds),
        archetypes_band=WIDE_BAND,
        chart=None if scale.unit is None else anomaly_chart(told, found, metric=metric, unit=scale.unit),
        message=_message(series, metric, last=known.span.last, banded=banded, hidden=scale.unit is None),
        currency=known.store.currency,
        timezone=known.store.timezone,
        run_id=known.store.served_run_id,
        as_of=known.as_of.astimezone(UTC).isoformat(),
    )


async def _read(
    connection: Connection, caller: Caller, *, metric: Metric, days: int, archetype_id: str | None
) -> _Read:
    store = await read_store(connection, caller.store_id)
    run_id = store.served_run_id
    as_of = await counted_until(connection, store)
    kinds: Mapping[str, tuple[str, int]] = {}
    if run_id is not None:
        kinds = (await archetypes_of_runs(connection, store.store_id, {run_id}))[run_id]
    elif archetype_id is not None:
        raise NothingPublished(caller.store_id)
    large = {kind for kind, (_, members) in kinds.items() if members >= anonymous.FEWEST}
    # A small kind is to be no more findable here than anywhere else.
    if archetype_id is not None and archetype_id not in (kinds if caller.identified else large):
        raise InvalidParameter(
            "archetype_id", "there is no such kind of customer of level 1; GET /api/mcp/archetypes/top lists them"
        )
    last = as_of.astimezone(ZoneInfo(store.timezone)).date() - timedelta(days=1)
    span = Span(last - timedelta(days=days + PAST_DAYS), last, store.timezone)
    of_kinds: Mapping[str, Daily] = {}
    if run_id is None:
        everybody = await daily_totals(connection, store.store_id, metric, span)
    else:
        everybody, of_kinds = await daily_totals_by_archetype(
            connection, store.store_id, metric, span, run_id=run_id, archetype_id=archetype_id
        )
    counts_orders = metric in (Metric.orders, Metric.revenue)
    orders = everybody if counts_orders else await daily_totals(connection, store.store_id, Metric.orders, span)
    if archetype_id is not None:
        whom, beside = of_kinds.get(archetype_id) or nothing_in(span), {}
    else:
        whom, beside = everybody, {kind: of_kinds[kind] for kind in sorted(large & of_kinds.keys())}
    return _Read(store, as_of, span, kinds, whom, orders.events, beside)


def _series(
    daily: Daily, known: _Read, metric: Metric, *, days: int, banded: bool = True, wide: bool = False
) -> _Series:
    """Of the days asked for from the first on that anything is known of. banded : False for too few customers"""
    counted = daily.of(metric)
    happened = np.flatnonzero(daily.events)
    n_days = min(days, len(counted) - int(happened[0])) if len(happened) else 0
    comparable = known_days(counted, known.orders) if banded else np.zeros(len(counted), dtype=np.int64)
    told = slice(len(counted) - n_days, None)
    return _Series(
        first=known.span.last - timedelta(days=n_days - 1),
        counted=counted[told],
        events=daily.events[told],
        closed=closed_days(known.orders)[told],
        bands=bands(counted, daily.events, comparable, days=n_days, whole=not metric.is_amount, wide=wide),
    )


def _of_kinds(kinds: Mapping[str, _Series], known: _Read, metric: Metric, *, whole: bool) -> list[KindAnomalies]:
    told = []
    for kind, series in kinds.items():
        scale = _scale(series, metric, known.store, whole=whole, of_all=False)
        if found := _found(series, metric, scale):
            name = known.kinds[kind][0]
            told.append(KindAnomalies(archetype_id=kind, segment_name=name, unit=scale.unit, anomalies=found))
    return sorted(told, key=lambda each: (-len(each.anomalies), each.archetype_id))


def _scale(series: _Series, metric: Metric, store: Store, *, whole: bool, of_all: bool) -> _Scale:
    """For who may not count people in usual days, and of a kind only where such a day is of many events.

    What a kind orders, over what one customer of it orders, would tell how many they are.
    """
    if whole:
        return _Scale(store.currency if metric.is_amount else metric.value)
    expected = series.bands.expected[np.isfinite(series.bands.expected)]
    usual = float(expected.mean()) if len(expected) else 0.0
    events = float(series.events.mean()) if len(series.events) else 0.0
    if usual <= 0 or (not of_all and events < anonymous.FEWEST):
        return _Scale(None)
    # Coarser than one event, which would otherwise be what all numbers are multiples of.
    decimals = min(max(int(math.log10(max(events, 1.0) / 5)), 1), 3)
    return _Scale(_USUAL_DAYS, usual, decimals)


def _day(series: _Series, place: int, scale: _Scale) -> DayBand:
    flagged = series.bands.direction(place)
    day = series.day(place).isoformat()
    actual, expected, low, high = (
        float(values[place]) / scale.by
        for values in (series.counted, series.bands.expected, series.bands.low, series.bands.high)
    )
    if scale.unit is None:
        return DayBand(day=day, actual=None, expected=None, low=None, high=None, flagged=flagged)
    if math.isnan(expected):
        return DayBand(
            day=day, actual=round(actual, scale.decimals), expected=None, low=None, high=None, flagged=flagged
        )
    # Rounded so that the day stays on its side of the edge.
    low, high = _up(low, scale.decimals), _down(high, scale.decimals)
    high = max(low, high)
    if flagged is None:
        actual = min(max(round(actual, scale.decimals), low), high)
    else:
        actual = (_up if flagged is Direction.high else _down)(actual, scale.decimals)
    return DayBand(
        day=day, actual=actual, expected=round(expected, scale.decimals), low=low, high=high, flagged=flagged
    )


def _up(value: float, decimals: int) -> float:
    found: float = math.ceil(round(value * 10**decimals, 6)) / 10**decimals
    return found


def _down(value: float, decimals: int) -> float:
    found: float = math.floor(round(value * 10**decimals, 6)) / 10**decimals
    return found


def _found(series: _Series, metric: Metric, scale: _Scale) -> list[Anomaly]:
    """The latest first."""
    return [
        _anomaly(_day(series, place, scale), direction, float(series.bands.outside[place]), metric, scale)
        for place in reversed(range(len(series.counted)))
        if (direction := series.bands.direction(place)) is not None
    ]


def _anomaly(told: DayBand, direction: Direction, outside: float, metric: Metric, scale: _Scale) -> Anomaly:
    edge = told.high if direction is Direction.high else told.low
    return Anomaly(
        day=told.day,
        direction=direction,
        actual=told.actual,
        expected=told.expected,
        low=told.low,
        high=told.high,
        beyond=None if told.actual is None or edge is None else round(abs(told.actual - edge), scale.decimals),
        outside=None if scale.unit is None else round(outside, _SCORE),
        says=f"On {in_words(date.fromisoformat(told.day))} {_what_happened(told, direction, metric, scale)}.",
    )


# In words


def _what_happened(told: DayBand, direction: Direction, metric: Metric, scale: _Scale) -> str:
    if told.actual is None or told.low is None or told.high is None:
        more = direction is Direction.high
        if metric.is_amount:
            return f"there was unusually {'much' if more else 'little'} revenue"
        return f"there were unusually {'many' if more else 'few'} {metric.value}"
    if scale.unit == _USUAL_DAYS:
        amount = f"{metric.value} came to {told.actual:.{scale.decimals}f} usual days"
        return f"{amount}; {_between(told.low, told.high, scale.decimals)} would have been usual"
    if metric.is_amount:
        usual = _between(told.low, told.high, scale.decimals)
        return f"revenue was {told.actual:,.2f} {scale.unit}; {usual} would have been usual"
    noun = metric.value.removesuffix("s") if told.actual == 1 else metric.value
    amount = f"there {'was' if told.actual == 1 else 'were'} {f'{told.actual:,.0f}' if told.actual else 'no'} {noun}"
    return f"{amount}; {_between(told.low, told.high, 0)} would have been usual"


def _between(low: float, high: float, decimals: int) -> str:
    if low == high:
        return f"{low:,.{decimals}f}"
    return f"{low:,.{decimals}f} to {high:,.{decimals}f}" if low else f"at most {high:,.{decimals}f}"


def _says(found: Sequence[Anomaly], n_banded: int, by_chance: float) -> str:
    if not n_banded:
        return "Of no day is enough known to tell whether it is out of line."
    if not found:
        return f"None of {n_banded} days is out of line."
    are = f"{len(found)} of {n_banded} days {'is' if len(found) == 1 else 'are'} out of line"
    return f"{are}; about {by_chance:g} would be by chance alone."


def _message(series: _Series, metric: Metric, *, last: date, banded: bool, hidden: bool) -> str | None:
    """hidden : numbers are not told"""
    if not len(series.counted):
        return f"No {'orders' if metric.is_amount else metric.value} are known up to {in_words(last)}."
    told = []
    if not banded:
        told.append(f"What is usual is told of kinds with at least {anonymous.FEWEST} customers.")
    elif series.n_banded < len(series.counted):
        told += _without_a_band(series, last=last)
    if hidden:
        told.append(
            f"Numbers are left out: they are told where a usual day is of {anonymous.FEWEST} or more, so that nobody "
            "can be counted."
        )
    return " ".join(told) or None


def _without_a_band(series: _Series, *, last: date) -> list[str]:
    """Why some days have none: the shop was closed, or they are among the first."""
    told = []
    closed = np.flatnonzero(series.closed)
    if len(closed):
        since, until = (in_words(series.day(int(place))) for place in (closed[0], closed[-1]))
        told.append(
            f"From {since} to {until} are days before which there was no order for {LEAST_DAYS}: the shop was closed. "
            f"Nothing is expected of it until it has been open for {LEAST_DAYS} days again."
        )
    bare = ~np.isfinite(series.bands.expected)
    if bare[: closed[0] if len(closed) else None].any():
        begins = series.first + timedelta(days=LEAST_DAYS)
        told.append(
            f"It takes {LEAST_DAYS} days to tell what is usual"
            + (f": from {in_words(begins)} on." if begins > last else ".")
        )
    return told
