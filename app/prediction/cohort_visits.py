"""A shop's months by who comes in them: newcomers, and those who came first one, two, three months ago, and so on.

A series alone does not know why it grows. Whoever counts customers by when they first came does: the newcomers of last
autumn are known, and how often customers of their age come is too. So the visits of the months ahead are those of the
customers there are, as they age, and of the newcomers to be expected; times the season (an age-period-cohort model
with no effect of cohorts: Osmond 1985).
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from app.prediction.cohorts import Length, periods_between

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Ages in months at which a class of customers begins; within one they count as alike.
_AGES = np.array([0, 1, 2, 3, 6, 12, 24])
#: How often each age comes, and in which season, is measured on so many of the last months.
_MEASURED = 36
_MONTHS_A_YEAR = 12
_ROUNDS = 30
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class CohortVisits:
    """Months of a shop. A newcomer's first visit is one of those of age 0.

    first     : the first day of the first month
    earlier   : customers who came before it; they count as a month older than its newcomers
    newcomers : (n_months,) customers who came for the first time
    visits    : (n_ages, n_months) of the customers of each age
    """

    first: date
    earlier: int
    newcomers: Floats
    visits: Floats

    def ahead(self, known: int, newcomers: Floats) -> Floats:
        """Visits of the months after the first `known`, which alone are read. newcomers : (horizon,) of those months"""
        horizon = len(newcomers)
        since = max(0, known - _MEASURED)
        there = self._there(np.append(self.newcomers[:known], newcomers))
        measured, visits = there[:, since:known], self.visits[:, since:known]
        month = (self.first.month - 1 + np.arange(known + horizon)) % _MONTHS_A_YEAR
        of = month[since:known]
        season = np.ones(_MONTHS_A_YEAR)
        came = np.bincount(of, weights=visits.sum(axis=0), minlength=_MONTHS_A_YEAR)
        # Ages and seasons in turn, each given the other, until both fit their sums.
        for _ in range(_ROUNDS):
            rates = visits.sum(axis=1) / np.maximum(measured @ season[of], _TINY)
            by_age = rates @ measured
            season = (came + _TINY) / (np.bincount(of, weights=by_age, minlength=_MONTHS_A_YEAR) + _TINY)
            season *= by_age.sum() / max(float(season[of] @ by_age), _TINY)
        told: Floats = (rates @ there[:, known:]) * season[month[known:]]
        return told

    def _there(self, newcomers: Floats) -> Floats:
        """(n_ages, n_months) customers of each age in each month."""
        so_far = np.append(0.0, np.cumsum(np.append(self.earlier, newcomers)))
        month = np.arange(len(newcomers))
        began = [so_far[np.maximum(month - age + 2, 0)] for age in _AGES]
        return np.array([young - old for young, old in zip(began, [*began[1:], np.zeros(len(month))], strict=True)])


def cohort_visits(customer: Ints, day: Ints, *, first: date, n_months: int) -> CohortVisits:
    """Counts by age who came in `n_months` whole calendar months from `first` on.

    customer, day : (n_visits,) one for each customer and day with an order, sorted by customer, then day; days since
                    1970-01-01
    """
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    month = np.maximum(month - periods_between(date(1970, 1, 1), first, Length.month), -1)
    is_first = np.append(True, customer[1:] != customer[:-1])[: len(day)]
    began = month[is_first][np.cumsum(is_first) - 1] if len(day) else month
    inside = (month >= 0) & (month < n_months)
    age = np.searchsorted(_AGES, month - began, side="right") - 1
    cells = np.bincount(age[inside] * n_months + month[inside], minlength=len(_AGES) * n_months)
    return CohortVisits(
        first=first,
        earlier=int((is_first & (began < 0)).sum()),
        newcomers=np.bincount(began[is_first & (began >= 0) & (began < n_months)], minlength=n_months).astype(float),
        visits=cells.reshape(len(_AGES), n_months).astype(np.float64),
    )
