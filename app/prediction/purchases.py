"""What customers bought and when, so laid out that how they stood at any moment of the past is read off at once."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_NEVER = 2**31
# A difference of running sums leaves a trace of everyone before: without it who sent all back has spent nothing.
_MONEY, _MONEY_DECIMALS = ("paid", "discount"), 6


@dataclass(frozen=True, slots=True)
class Visits:
    """A row for each customer and day with an order, sorted by customer, then day. Each (n_visits,).

    customer     : counts through the shop's customers from 0
    day          : whole days since 1970-01-01 on the shop's clock
    paid         : for all orders of the day
    discount     : taken off them
    lines        : of goods
    new_products : of those, products the customer had never bought before
    units        : of goods
    """

    customer: Ints
    day: Ints
    paid: Floats
    discount: Floats
    lines: Floats
    new_products: Floats
    units: Floats


@dataclass(frozen=True, slots=True)
class Refunds:
    """A row for each customer and day with money given back, sorted by customer, then day. Each (n_refunds,)."""

    customer: Ints
    day: Ints
    amount: Floats


class Purchases:
    """The visits and refunds of `n_customers` customers, with what adds up before any day within reach.

    Nothing here is of a moment: every question names the day before which it looks, so that what came later can never
    be in an answer.
    """

    def __init__(self, n_customers: int, visits: Visits, refunds: Refunds) -> None:
        self.n_customers = n_customers
        self.visits = visits
        self.refunds = refunds
        self.first_day = int(visits.day.min()) if len(visits.day) else 0
        #: The day after the last visit.
        self.end_day = int(visits.day.max()) + 1 if len(visits.day) else 0
        self._visit_keys = _keys(visits.customer, visits.day)
        self._refund_keys = _keys(refunds.customer, refunds.day)
        self._starts = self.visits_before(-_NEVER // 2)
        same = np.diff(visits.customer, prepend=-1) == 0
        #: Days since the visit before; NaN for a first one.
        self.gap: Floats = np.where(same, np.diff(visits.day, prepend=0), np.nan)
        self._sums = {field.name: _running(getattr(visits, field.name)) for field in fields(visits)[2:]}
        log_gap = np.log(np.where(same, self.gap, 1.0))
        self._sums |= {"gap": _running(np.where(same, self.gap, 0.0)), "log_gap": _running(log_gap)}
        self._sums["log_gap_square"] = _running(log_gap**2)
        self._given_back = _running(refunds.amount)
        self._refund_starts = np.searchsorted(self._refund_keys, _keys(self._everyone(), -_NEVER // 2))

    def _everyone(self) -> Ints:
        return np.arange(self.n_customers, dtype=np.int64)

    def visits_before(self, day: int | Ints, customers: Ints | None = None) -> Ints:
        """Where each customer's visits before a day end among all visits. day : one for all, or (n_customers,)"""
        who = self._everyone() if customers is None else customers
        found: Ints = np.searchsorted(self._visit_keys, _keys(who, day))
        return found

    def starts(self, customers: Ints) -> Ints:
        """Where each customer's visits begin."""
        started: Ints = self._starts[customers]
        return started

    def known(self, day: int) -> Ints:
        """Customers with a visit before a day."""
        return np.flatnonzero(self.visits_before(day) > self._starts)

    def total(self, what: str, begin: Ints, end: Ints) -> Floats:
        """Sums of a column of `Visits`, or of gap, log_gap and its square, over visits from begin up to before end."""
        running = self._sums[what]
        added: Floats = running[end] - running[begin]
        return added.round(_MONEY_DECIMALS) if what in _MONEY else added

    def given_back(self, customers: Ints, first_day: int | Ints | None, before_day: int) -> Floats:
        """Refunds of each customer from a day up to before another."""
        begin = (
            self._refund_starts[customers]
            if first_day is None
            else np.searchsorted(self._refund_keys, _keys(customers, first_day))
        )
        end = np.searchsorted(self._refund_keys, _keys(customers, before_day))
        back: Floats = self._given_back[end] - self._given_back[begin]
        return back.round(_MONEY_DECIMALS)

    def bought(self, customers: Ints, first_day: int, before_day: int | Ints) -> Flags:
        """Who has a visit from a day up to before another (one for all, or each their own)."""
        begin, end = self.visits_before(first_day, customers), self.visits_before(before_day, customers)
        return end > begin

    def spent(self, customers: Ints, first_day: int, before_day: int) -> Floats:
        """Paid less given back from a day up to before another; below zero for who mostly sent back."""
        begin, end = self.visits_before(first_day, customers), self.visits_before(before_day, customers)
        left: Floats = self.total("paid", begin, end) - self.given_back(customers, first_day, before_day)
        return left.round(_MONEY_DECIMALS)

    def next_visit(self, customers: Ints, day: int) -> Floats:
        """Days from a day to each customer's first visit on it or after; infinite where none is recorded."""
        at = self.visits_before(day, customers)
        theirs = np.searchsorted(self._visit_keys, _keys(customers + 1, -_NEVER // 2))
        found = at < theirs
        days: Floats = np.full(len(customers), np.inf)
        days[found] = self.visits.day[at[found]] - day
        return days

    def before(self, day: int) -> "Purchases":
        """The same shop as it was known when a day began."""
        visits, refunds = self.visits, self.refunds
        kept, backed = visits.day < day, refunds.day < day
        return Purchases(
            self.n_customers,
            Visits(*(getattr(visits, field.name)[kept] for field in fields(visits))),
            Refunds(*(getattr(refunds, field.name)[backed] for field in fields(refunds))),
        )


def _keys(customer: Ints, day: int | Ints) -> Ints:
    """One number that sorts as customer and day do."""
    return customer * _NEVER + day + _NEVER // 2


def _running(values: Floats) -> Floats:
    """What has added up before each row, and after the last."""
    return np.concatenate([np.zeros(1), np.cumsum(values, dtype=np.float64)])
