"""How many of a shop's customers order in a window of days that has a name, by what they did in the same window before.

A customer counts as they stood as long before the window as they stand before it today: by days since their last order
and by how many orders. Of each such class the share that ordered in the window in years before is applied to those who
are in it now; kinds of customer share in the total by how their own stand. What kinds did then would mislead: a kind is
made of what its customers have done since.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from scipy.special import stdtrit

from app.prediction.cohorts import Length, later
from app.prediction.events import EVENTS, RELATIVE, Window, event_window, next_window
from app.prediction.forecasting import LEVEL
from app.prediction.purchases import Floats, Ints, Purchases

_EPOCH = date(1970, 1, 1)
_WITH_YEAR = re.compile(r"(.+?)[ _]([0-9]{4})")
#: Periods that are counted from today, and the one that today is in: how many months long, on the calendar.
CURRENT = {"this month": 1, "this quarter": 3, "this year": 12}
_MOST_YEARS = 3
#: A year before tells nothing in which fewer customers were known, or less than so many days after records begin.
_FEWEST_KNOWN, _LEAST_DAYS = 20, 60
_MONTH_DAYS, _MOST_MONTHS = 30, 12
#: Days since the last order, and orders so far, from which on a customer is of the next class.
_RECENCY, _FREQUENCY = (31, 91, 181, 366), (2, 4)
_CLASSES = (len(_RECENCY) + 1) * (len(_FREQUENCY) + 1)
#: So many of those who last ordered as long ago are mixed into each class.
_MIXED_IN = 20
#: What years differ by, as a standard deviation of logs, where fewer than two are known; and at least.
_UNSEEN_SPREAD, _LEAST_SPREAD = 0.25, 0.05


@dataclass(frozen=True, slots=True)
class Engagement:
    """Of the customers known today, who will order in a window.

    customers, orders : (n_groups,) expected: those with an order, and their days with one
    low, high         : of all of them together, at LEVEL
    new_customers     : who is not known yet, and will order first before it is over and at least once in it
    known             : customers known today
    years             : the years before that it is told from; none where it is told from the last months
    """

    window: Window
    customers: Floats
    orders: Floats
    low: float
    high: float
    new_customers: float
    known: int
    years: tuple[int, ...]

    def stored(self) -> dict[str, Any]:
        return {
            "window": [day.isoformat() for day in self.window],
            "customers": self.customers.round(3).tolist(),
            "orders": self.orders.round(3).tolist(),
            "low": round(self.low, 3),
            "high": round(self.high, 3),
            "new_customers": round(self.new_customers, 3),
            "known": self.known,
            "years": list(self.years),
        }

    @classmethod
    def from_stored(cls, told: dict[str, Any]) -> "Engagement":
        start, end = (date.fromisoformat(day) for day in told["window"])
        return cls(
            window=(start, end),
            customers=np.array(told["customers"], dtype=np.float64),
            orders=np.array(told["orders"], dtype=np.float64),
            low=told["low"],
            high=told["high"],
            new_customers=told["new_customers"],
            known=told["known"],
            years=tuple(told["years"]),
        )


def named_window(name: str, today: date, country: str) -> Window:
    """The days of a name: an event or a part of the year, then the next one or, with a year behind it, that year's;
    "next month" and its like; or "this month" and its like.

    Raises InvalidInput for a name that is not known.
    """
    if with_year := _WITH_YEAR.fullmatch(name.strip()):
        return event_window(with_year[1], int(with_year[2]), country)
    months = CURRENT.get(" ".join(name.lower().replace("_", " ").split()))
    if months is None:
        return next_window(name, today, country)
    start = date(today.year, today.month - (today.month - 1) % months, 1)
    return start, later(start, months, Length.month) - timedelta(days=1)


def engagements(purchases: Purchases, group: Ints, *, n_groups: int, known: int, country: str) -> list[Engagement]:
    """Of the next window of every name, those of the same days once. known : the day on which records end

    group : (n_customers,) from 0 up to n_groups
    """
    today = _EPOCH + timedelta(days=known)
    before: dict[Window, list[Window]] = {}
    for event in EVENTS:
        window = next_window(event.name, today, country)
        years = [window[0].year - back for back in range(1, _MOST_YEARS + 1)]
        before.setdefault(window, [event_window(event.name, year, country) for year in years])
    for name in (*CURRENT, *RELATIVE):
        start, end = window = named_window(name, today, country)
        before.setdefault(window, [(_earlier(start, back), _before(end, back)) for back in range(1, _MOST_YEARS + 1)])
    stand = _Stand.of(purchases, known)
    months = list(_last_months(purchases, known))
    told = (
        _engagement(purchases, group, stand, months, window, windows, n_groups=n_groups, known=known)
        for window, windows in before.items()
    )
    return [each for each in told if each is not None]


def _earlier(day: date, years: int) -> date:
    return later(day, -12 * years, Length.month)


def _before(end: date, years: int) -> date:
    """The last day of the same month of another year."""
    return later(end + timedelta(days=1), -12 * years, Length.month) - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Stand:
    """The customers known when a day begins. customers, classes : (n_known,)"""

    day: int
    customers: Ints
    classes: Ints

    @classmethod
    def of(cls, purchases: Purchases, day: int) -> "_Stand":
        end = purchases.visits_before(day)
        begin = purchases.starts(np.arange(purchases.n_customers))
        customers = np.flatnonzero(end > begin)
        end, begin = end[customers], begin[customers]
        recency = np.searchsorted(_RECENCY, day - purchases.visits.day[end - 1], side="right")
        frequency = np.searchsorted(_FREQUENCY, end - begin, side="right")
        return cls(day, customers, recency * (len(_FREQUENCY) + 1) + frequency)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What became of classes in one window. known, customers, orders : (_CLASSES,)"""

    known: Floats
    customers: Floats
    orders: Floats

    def shares(self, length: float = 1.0) -> Floats:
        """(_CLASSES,) who ordered; or would have in a window so many times as long."""
        shares: Floats = 1 - (1 - np.minimum(self._each(self.customers), 1.0)) ** length
        return shares

    def orders_each(self) -> Floats:
        return self._each(self.orders)

    def _each(self, what: Floats) -> Floats:
        """(_CLASSES,) by customer. Small classes are mixed with those who last ordered as long ago, and these hardly
        with all: of many who have not ordered for years a few too many would be more than all others.
        """
        known, came = (each.reshape(-1, len(_FREQUENCY) + 1) for each in (self.known, what))
        of_all = what.sum() / max(self.known.sum(), 1)
        of_recency = (came.sum(axis=1) + of_all) / (known.sum(axis=1) + 1)
        each: Floats = ((came + _MIXED_IN * of_recency[:, None]) / (known + _MIXED_IN)).ravel()
        return each


def _seen(purchases: Purchases, stand: _Stand, first_day: int, before_day: int, *, out: Ints) -> _Seen:
    """Of those who stand so, who has ordered from a day up to before another. out : customers that do not count"""
    counted = ~np.isin(stand.customers, out)
    customers, classes = stand.customers[counted], stand.classes[counted]
    orders = purchases.visits_before(before_day, customers) - purchases.visits_before(first_day, customers)
    return _Seen(
        known=np.bincount(classes, minlength=_CLASSES).astype(np.float64),
        customers=np.bincount(classes, orders > 0, minlength=_CLASSES).astype(np.float64),
        orders=np.bincount(classes, orders, minlength=_CLASSES).astype(np.float64),
    )


def _together(seen: Sequence[_Seen]) -> _Seen:
    return _Seen(*(np.sum([getattr(each, name) for each in seen], axis=0) for name in ("known", "customers", "orders")))


def _last_months(purchases: Purchases, known: int) -> Iterable[_Seen]:
    for back in range(1, _MOST_MONTHS + 1):
        day = known - _MONTH_DAYS * back
        stand = _Stand.of(purchases, day)
        if len(stand.customers) < _FEWEST_KNOWN or day - purchases.first_day < _MONTH_DAYS:
            return
        yield _seen(purchases, stand, day, day + _MONTH_DAYS, out=np.empty(0, dtype=np.int64))


def _engagement(
    purchases: Purchases,
    group: Ints,
    stand: _Stand,
    months: Sequence[_Seen],
    window: Window,
    windows: Sequence[Window],
    *,
    n_groups: int,
    known: int,
) -> Engagement | None:
    """None where nothing can be told from. windows : of years before, the latest first"""
    first, after = _number(window[0]), _number(window[1]) + 1
    already = _who_ordered(purchases, stand, first, known)
    years: list[int] = []
    seen: list[_Seen] = []
    new: list[float] = []
    for start, end in windows:
        begins, ends = _number(start), _number(end) + 1
        day = begins - (first - known)
        then = _Stand.of(purchases, day)
        out = _who_ordered(purchases, then, begins, day)
        # Whom records begin with is not how a shop's customers are.
        young = day - purchases.first_day < _LEAST_DAYS or len(then.customers) - len(out) < _FEWEST_KNOWN
        if ends > known or ends <= day or young:
            continue
        seen.append(_seen(purchases, then, max(begins, day), ends, out=out))
        years.append(start.year)
        new.append(_newcomers(purchases, then, begins, ends) * _growth(purchases, known, day))
    waiting = ~np.isin(stand.customers, already)
    cells = np.zeros((n_groups, _CLASSES))
    np.add.at(cells, (group[stand.customers[waiting]], stand.classes[waiting]), 1)
    length = 1.0
    if not seen:
        if not months:
            return None
        seen, length = list(months), (after - max(first, known)) / _MONTH_DAYS
        new = [_newcomers_a_day(purchases, known) * (after - max(first, known))]
    pooled = _together(seen)
    shares, orders = pooled.shares(length), pooled.orders_each() * length
    have = np.bincount(group[already], minlength=n_groups).astype(np.float64)
    ordered = purchases.visits_before(known, already) - purchases.visits_before(first, already)
    low, high = _interval(cells.sum(axis=0), shares, pooled.shares(), seen)
    return Engagement(
        window=window,
        customers=have + cells @ shares,
        orders=np.bincount(group[already], ordered, minlength=n_groups) + cells @ orders,
        low=len(already) + low,
        high=min(len(already) + high, float(len(stand.customers))),
        new_customers=float(np.mean(new)),
        known=len(stand.customers),
        years=tuple(years),
    )


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _who_ordered(purchases: Purchases, stand: _Stand, first_day: int, before_day: int) -> Ints:
    if before_day <= first_day:
        return np.empty(0, dtype=np.int64)
    return stand.customers[purchases.bought(stand.customers, first_day, before_day)]


def _newcomers(purchases: Purchases, then: _Stand, first_day: int, before_day: int) -> int:
    """How many that were not known then have ordered in a window."""
    later_on = np.setdiff1d(purchases.known(before_day), then.customers, assume_unique=True)
    return int(purchases.bought(later_on, first_day, before_day).sum())


def _newcomers_a_day(purchases: Purchases, known: int) -> float:
    days = min(365, max(known - purchases.first_day, 1))
    return (len(purchases.known(known)) - len(purchases.known(known - days))) / days


def _growth(purchases: Purchases, known: int, day: int) -> float:
    """New customers of the year up to today, over those of the year up to then; 1 where then is no whole year."""
    if day - 365 < purchases.first_day:
        return 1.0
    now, then = (len(purchases.known(end)) - len(purchases.known(end - 365)) for end in (known, day))
    return min(max(now / then, 0.25), 4.0) if then and now else 1.0


def _interval(cells: Floats, shares: Floats, pooled: Floats, each_year: Sequence[_Seen]) -> tuple[float, float]:
    """By how years (or months) differ and by chance.

    cells  : (_CLASSES,) customers now; shares : of them, who will order
    pooled : (_CLASSES,) who ordered in the years together
    """
    expected = float(cells @ shares)
    if expected <= 0:
        return 0.0, 0.0
    n = len(each_year)
    # How many ordered in each, over how many would have by what all of them say.
    logs = np.log([max(float(each.customers.sum()), 0.5) / max(float(each.known @ pooled), 0.5) for each in each_year])
    spread = _UNSEEN_SPREAD
    if n > 1:
        # What years differ by in chance alone is not what they differ by.
        chance = float(np.mean([1 / max(float(each.customers.sum()), 1) for each in each_year]))
        spread = max(float(np.var(logs, ddof=1)) - chance, _LEAST_SPREAD**2) ** 0.5
    by_chance = float(cells @ (shares * (1 - shares))) / expected**2
    wide = float(stdtrit(max(n - 1, 2), (1 + LEVEL) / 2)) * np.sqrt(spread**2 * (1 + 1 / n) + by_chance)
    return expected * float(np.exp(-wide)), expected * float(np.exp(wide))
