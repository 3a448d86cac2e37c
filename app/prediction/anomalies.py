"""Days on which a shop did more or less than it usually does, and how much would have been usual.

What is expected of a day is the level of the four weeks before it, times what its weekday makes of a level, times what
that time of the year made of the level before it, where a year is known. The band around it is as wide as past days
missed what was expected of them, and never narrower than chance alone makes the number of things that happen by
themselves (Poisson). All of it is told by days before the one it is of, and by medians, so that a day out of line
neither hides itself nor widens the bands of the days after it.

It is worked out on roots, sqrt(x + 3/8), whose spread is near 1/2 whatever the level (Anscombe 1948). An amount is
first divided by what one order usually brings, which makes it a number of orders.

When nothing is the matter about 1 day in 100 falls outside a band of 99 %: 0.5 to 1.2 % of simulated days with 5 to
1,000 things each, also where days differ by more than chance alone, and fewer of quieter days. Amounts of one order a
day, some of them very large, do so up to four times as often.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: Share of days that lie within their band when nothing is the matter; and with it how many spreads it is wide.
BAND, _BAND_SPREADS = 0.99, 2.5758
#: The same where many series are looked at, or what is found would mostly be chance.
WIDE_BAND, _WIDE_SPREADS = 0.999, 3.2905
#: Days that must be known before a band is told, and that tell the level.
LEAST_DAYS = 28
#: Days that tell the weekdays and the spread.
_PROFILE_DAYS = 182
#: A year of whole weeks, so that weekdays are compared with their like; how many; and the days around one.
_YEAR_DAYS, _YEARS, _AROUND = 364, 3, 10
#: How many days before those asked for change anything.
PAST_DAYS = 2 * _PROFILE_DAYS + _YEARS * _YEAR_DAYS + LEAST_DAYS
_POISSON_SPREAD = 0.5
_MAD = 1.4826  # spreads of a normal distribution in its median absolute deviation
_OUT_OF_LINE = 3.0  # spreads from the median that a day counts as at most
_SEASON_MOST = 4.0


class Metric(StrEnum):
    """What is counted by day."""

    orders = "orders"
    revenue = "revenue"
    refunds = "refunds"
    tickets = "tickets"

    @property
    def is_amount(self) -> bool:
        return self is Metric.revenue


class Direction(StrEnum):
    high = "high"
    low = "low"


@dataclass(frozen=True, slots=True)
class Bands:
    """What would have been usual, day by day. Each (n_days,), NaN where too little is known to tell.

    expected, low, high : in the unit of what is counted, >= 0
    outside : how far the day is from what was expected, 1 at the edge of the band; below 0 for too few
    """

    expected: Floats
    low: Floats
    high: Floats
    outside: Floats

    def direction(self, day: int) -> Direction | None:
        """None for a day within its band, or without one."""
        if not abs(self.outside[day]) > 1:
            return None
        return Direction.high if self.outside[day] > 0 else Direction.low


def known_days(counted: Floats, orders: Floats) -> Ints:
    """(n_days,) how many days before each one may be compared with it.

    counted : (n_days,) what is asked about; what happened before its first day is not known to be nothing
    orders  : (n_days,) of the shop: after LEAST_DAYS without one it counts as closed, and begins anew when it opens
    """
    known = np.zeros(len(counted), dtype=np.int64)
    closed = closed_days(orders)
    first: int | None = None
    for day in range(len(counted)):
        if closed[day]:
            first = None
        known[day] = 0 if first is None else day - first
        # Of the day on which it opens again there is an order.
        if first is None and counted[day] > 0 and (orders[day] > 0 or not closed[day]):
            first = day
    return known


def closed_days(orders: Floats) -> Flags:
    """(n_days,) whether there was no order in the LEAST_DAYS before each, though there had been some."""
    ordered = np.concatenate([[0], np.cumsum(orders > 0)])
    days = np.arange(len(orders))
    so_far, lately = ordered[days], ordered[days] - ordered[np.maximum(days - LEAST_DAYS, 0)]
    found: Flags = (so_far > 0) & (lately == 0)
    return found


def bands(counted: Floats, events: Floats, known: Ints, *, days: int, whole: bool, wide: bool = False) -> Bands:
    """The bands of the last `days` days.

    counted : (n_days,) of consecutive days, >= 0
    events  : (n_days,) how many things it is the sum of: itself where things are counted, orders of their amounts
    known   : (n_days,) as `known_days` tells
    whole   : things are counted, so that a band ends in whole numbers
    wide    : of WIDE_BAND instead of BAND
    """
    rows = np.arange(max(len(counted) - days - _PROFILE_DAYS, 0), len(counted))
    told = rows[known[rows] >= LEAST_DAYS]
    forecast = _forecast(counted, events, known, told)
    missed = np.full(len(counted), np.nan)
    missed[told] = _root(counted[told] / forecast.unit) - forecast.root
    spread = _spread(missed, known, told, forecast)
    asked = slice(len(counted) - min(days, len(counted)), None)
    half = spread * (_WIDE_SPREADS if wide else _BAND_SPREADS)
    # A little lower than roots say, or none at all would be too few where three are expected, of which chance makes
    # none on one day in twenty.
    low = forecast.unit * np.maximum(_unroot(forecast.root - half) - 0.25, 0.0)
    high = forecast.unit * _unroot(forecast.root + half)
    if whole:
        low, high = np.ceil(low - 1e-9), np.floor(high + 1e-9)

    def everywhere(values: Floats) -> Floats:
        filled = np.full(len(counted), np.nan)
        filled[told] = values
        return filled[asked]

    outside = missed[told] / half
    # Whole numbers end the band a little before its edge; both must say the same of a day.
    within = (counted[told] >= low) & (counted[told] <= high)
    outside = np.where(within, np.clip(outside, -1.0, 1.0), np.copysign(np.maximum(np.abs(outside), 1 + 1e-9), outside))
    return Bands(
        expected=everywhere(forecast.unit * forecast.expected),
        low=everywhere(low),
        high=everywhere(high),
        outside=everywhere(outside),
    )


@dataclass(frozen=True, slots=True)
class _Forecast:
    """Of each day, in units. spread : of the days before it, as a root; weeks : that told the weekdays"""

    unit: Floats
    expected: Floats
    root: Floats
    spread: Floats
    weeks: Floats


def _forecast(counted: Floats, events: Floats, known: Ints, told: Ints) -> _Forecast:
    unit = _unit(counted, events, known, told)
    past = _before(counted, told, known[told], _PROFILE_DAYS) / unit[:, None]
    weekday = _weekdays(past.reshape(len(told), _PROFILE_DAYS // 7, 7))
    of_weeks = np.tile(weekday, (1, LEAST_DAYS // 7))
    level, spread = _level(past[:, :LEAST_DAYS], of_weeks)
    season = _season(counted, known, told, unit, weekday, spread)
    expected = level * weekday[:, 6] * season
    return _Forecast(
        unit=unit,
        expected=expected,
        root=np.sqrt(expected + 1 / 8),  # the mean of the roots of such numbers
        spread=spread,
        weeks=np.minimum(known[told], _PROFILE_DAYS) / 7,
    )


def _before(values: Floats, days: Ints, known: Ints, n: int) -> Floats:
    """(len(days), n) the days before each, the latest first; NaN beyond those known."""
    back = np.arange(1, n + 1)
    at = days[:, None] - back
    found: Floats = np.where(back <= known[:, None], values[np.maximum(at, 0)], np.nan)
    return found


def _unit(counted: Floats, events: Floats, known: Ints, told: Ints) -> Floats:
    """What one event usually brings, by the days before each: 1 where events themselves are counted."""
    if counted is events:
        return np.ones(len(told))
    each = np.divide(counted, events, out=np.full(len(counted), np.nan), where=events > 0)
    usual = _median(_before(each, told, known[told], _PROFILE_DAYS))
    found: Floats = np.where(usual > 0, usual, 1.0)
    return found


def _weekdays(past: Floats) -> Floats:
    """(n, 7) what each weekday makes of a level; their mean is 1. past : (n, weeks, 7), the latest first

    As much of it is believed as weekdays differ by more than chance makes them (James-Stein).
    """
    roots = _root(past)
    middle = _median(roots, axis=1)[:, None]
    spread = np.maximum(_MAD * _median(np.abs(roots - middle), axis=1)[:, None], _POISSON_SPREAD)
    kept = _unroot(np.clip(roots, middle - _OUT_OF_LINE * spread, middle + _OUT_OF_LINE * spread))
    means = _mean(kept, axis=1)
    level = means.mean(axis=1, keepdims=True)
    ratios = np.divide(means, level, out=np.ones_like(means), where=level > 0)
    n_weeks = np.isfinite(past).sum(axis=1).mean(axis=1)
    chance = np.divide(
        ((spread / _POISSON_SPREAD) ** 2).mean(axis=(1, 2)),
        n_weeks * level[:, 0],
        out=np.zeros(len(past)),
        where=level[:, 0] > 0,
    )
    differ = ratios.var(axis=1, ddof=1)
    believed = np.maximum(1 - np.divide(chance, differ, out=np.ones_like(chance), where=differ > 0), 0.0)
    found: Floats = 1 + believed[:, None] * (ratios - 1)
    return found


def _level(past: Floats, weekday: Floats) -> tuple[Floats, Floats]:
    """(n,) level, and spread around it as a root. past, weekday : (n, days) of the same days"""
    leveled = np.divide(past, weekday, out=np.full_like(past, np.nan), where=weekday > 0.1)
    middle = _root(_median(leveled)[:, None] * weekday)
    roots = _root(past)
    spread = np.maximum(_MAD * _median(np.abs(roots - middle)), _POISSON_SPREAD)
    reach = _OUT_OF_LINE * spread[:, None]
    kept = _unroot(np.clip(roots, middle - reach, middle + reach))
    return _mean(kept) / weekday.mean(axis=1), spread


def _season(counted: Floats, known: Ints, told: Ints, unit: Floats, weekday: Floats, spread: Floats) -> Floats:
    """What this time of the year did to the level of the four weeks before it, in the years that are known; 1 without.

    As much of it is believed as stands out of what chance does to such a ratio.
    """
    around, before = np.zeros(len(told)), np.zeros(len(told))
    n_around = 2 * _AROUND + 1
    for year in range(1, _YEARS + 1):
        days = told - year * _YEAR_DAYS
        enough = known[told] >= year * _YEAR_DAYS + LEAST_DAYS
        if not enough.any():
            break
        days, of_week, of_unit = days[enough], weekday[enough], unit[enough, None]
        # Weekdays are those of the day itself, so that the days after it begin with the one after.
        these = _before(counted, days + _AROUND + 1, np.full(len(days), n_around), n_around) / of_unit
        earlier = _before(counted, days, np.full(len(days), LEAST_DAYS), LEAST_DAYS) / of_unit
        turned = of_week[:, (np.arange(n_around) - _AROUND - 1) % 7]
        around[enough] += n_around * _level(these, turned)[0]
        before[enough] += LEAST_DAYS * _level(earlier, np.tile(of_week, (1, LEAST_DAYS // 7)))[0]
    known_any = (around > 0) & (before > 0)
    around, before = np.where(known_any, around, 1.0), np.where(known_any, before, 1.0)
    ratio = np.log((around / n_around) / (before / LEAST_DAYS))
    chance = (spread / _POISSON_SPREAD) ** 2 * (1 / around + 1 / before)
    believed = np.maximum(1 - np.divide(chance, ratio**2, out=np.full_like(chance, np.inf), where=ratio != 0), 0.0)
    season = np.exp(np.clip(believed * ratio, -np.log(_SEASON_MOST), np.log(_SEASON_MOST)))
    found: Floats = np.where(known_any, season, 1.0)
    return found


def _spread(missed: Floats, known: Ints, told: Ints, forecast: _Forecast) -> Floats:
    """How far such days are from what is expected of them, as a root: as past ones were, or chance makes them."""
    past = np.abs(_before(missed, told, known[told], _PROFILE_DAYS))
    n_past = np.isfinite(past).sum(axis=1)
    # The level and the weekday are told by few days themselves.
    chance = _POISSON_SPREAD * np.sqrt(1 + 1 / LEAST_DAYS + 1 / forecast.weeks)
    seen = np.where(n_past >= LEAST_DAYS, _MAD * _median(past), forecast.spread * np.sqrt(1 + 1 / forecast.weeks))
    found: Floats = np.fmax(seen, chance)
    return found


def _root(values: Floats) -> Floats:
    found: Floats = np.sqrt(values + 3 / 8)
    return found


def _unroot(roots: Floats) -> Floats:
    """Never below 0."""
    found: Floats = np.maximum(np.maximum(roots, 0.0) ** 2 - 3 / 8, 0.0)
    return found


def _median(values: Floats, axis: int = -1) -> Floats:
    """Without the NaNs; NaN where there is nothing else. (numpy's own takes a Python step for each row.)"""
    ordered = np.moveaxis(np.sort(values, axis=axis), axis, -1)  # NaNs last
    length = ordered.shape[-1]
    found: Floats
    if np.isnan(ordered[..., -1]).any():
        n = np.isfinite(ordered).sum(axis=-1, keepdims=True)
        lower, upper = (np.take_along_axis(ordered, np.maximum(at, 0), axis=-1) for at in ((n - 1) // 2, n // 2))
        # Where all are NaN there is one at every place.
        found = np.squeeze((lower + np.where(n > 0, upper, lower)) / 2, axis=-1)
    else:
        found = (ordered[..., (length - 1) // 2] + ordered[..., length // 2]) / 2
    return found


def _mean(values: Floats, axis: int = -1) -> Floats:
    """Without the NaNs, of which each row has some other."""
    found: Floats
    total = values.sum(axis=axis)
    if np.isnan(total).any():
        seen = np.isfinite(values)
        found = np.where(seen, values, 0.0).sum(axis=axis) / seen.sum(axis=axis)
    else:
        found = total / values.shape[axis]
    return found
