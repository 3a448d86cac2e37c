"""When the next order is to be expected: read off the chance of staying away, which falls from day to day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.prediction.purchases import Floats
from app.prediction.standing import STEP_DAYS

#: The interval holds the order with this chance.
INTERVAL = 0.8
#: Why there is no date, of who is as likely as not to stay away for a year.
NOT_WITHIN_A_YEAR = "More likely than not there is no order within a year."


@dataclass(frozen=True, slots=True)
class NextOrder:
    """Days from now, each (n,); NaN where the chance is not reached within the steps that are told.

    expected : by which the order is as likely to have come as not
    earliest, latest : ends of the 80 % interval
    """

    expected: Floats
    earliest: Floats
    latest: Floats


def next_order(chances: Floats) -> NextOrder:
    """chances : (steps, n) of staying away, as `chances.staying_away` returns them"""
    tail = (1 - INTERVAL) / 2
    earliest, expected, latest = _days_until(chances, (1 - tail, 0.5, tail))
    # Without a date there is nothing for an interval to be about.
    unsaid = np.isnan(expected)
    return NextOrder(expected, np.where(unsaid, np.nan, earliest), np.where(unsaid, np.nan, latest))


def _days_until(chances: Floats, kept: Sequence[float]) -> list[Floats]:
    """Days after which the chance of still staying away has fallen to each of `kept`."""
    n_steps, n = chances.shape
    log_kept = np.vstack([np.zeros(n), np.cumsum(np.log(chances), axis=0)])
    found = []
    for share in kept:
        wanted = np.log(share)
        # The first step at whose end it has: within a step the logarithm falls evenly.
        step = (log_kept[1:] > wanted).sum(axis=0)
        reached = step < n_steps
        at = np.minimum(step, n_steps - 1)
        column = np.arange(n)
        above, below = log_kept[at, column], log_kept[at + 1, column]
        days = STEP_DAYS * (at + (above - wanted) / (above - below))
        found.append(np.where(reached, days, np.nan))
    return found
