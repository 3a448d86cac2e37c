"""Recency, frequency and monetary value by the shop's own fifths, and the ten groups marketers know by name.

A score is 1 plus the whole fifths of the shop that stand strictly below: fewer orders, less value, longer ago. Equal
customers always share a score, that of the last among them. Many equal ones make cut-offs coincide: where 70 % bought
once, the first three cut-offs of frequency are all one order: those 70 % score 1, nobody scores 2 or 3, and who bought
twice scores 4. Where everyone is equal everyone scores 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

FIFTHS = 5


class Group(StrEnum):
    champions = "champions"
    loyal = "loyal"
    potential_loyalists = "potential_loyalists"
    new_customers = "new_customers"
    promising = "promising"
    needs_attention = "needs_attention"
    about_to_sleep = "about_to_sleep"
    at_risk = "at_risk"
    cant_lose_them = "cant_lose_them"
    hibernating = "hibernating"


#: The order of the codes that `RfmScores.groups` returns.
GROUPS = tuple(Group)


@dataclass(frozen=True, slots=True)
class Cells:
    """Where a group lies: its scores of recency and of frequency. says : what that means, in a few words"""

    recency: tuple[int, ...]
    frequency: tuple[int, ...]
    says: str

    @property
    def meaning(self) -> str:
        """One sentence with the scores."""
        recency, frequency = (" or ".join(map(str, scores)) for scores in (self.recency, self.frequency))
        return f"{self.says}: recency {recency}, frequency {frequency}."


#: Every pair of scores lies in exactly one group.
CELLS: Mapping[Group, Cells] = {
    Group.champions: Cells((5,), (4, 5), "Bought very lately, and more often than most"),
    Group.loyal: Cells((3, 4), (4, 5), "Buy more often than most, and were here not long ago"),
    Group.potential_loyalists: Cells((4, 5), (2, 3), "Bought lately, and have begun to come back"),
    Group.new_customers: Cells((5,), (1,), "Bought very lately, and hardly ever before"),
    Group.promising: Cells((4,), (1,), "Bought lately, and hardly ever before"),
    Group.needs_attention: Cells((3,), (3,), "In the middle of the shop by both when and how often they bought"),
    Group.about_to_sleep: Cells((3,), (1, 2), "Bought seldom, and are beginning to stay away"),
    Group.at_risk: Cells((1, 2), (3, 4), "Used to buy more than once or twice, and have stayed away for long"),
    Group.cant_lose_them: Cells(
        (1, 2), (5,), "Used to buy more often than almost anyone, and have stayed away for long"
    ),
    Group.hibernating: Cells((1, 2), (1, 2), "Bought seldom, and long ago"),
}

#: What each score says, in one sentence.
SCORES: Mapping[str, str] = {
    "recency": "When they last bought: 5 for the fifth of customers who bought latest, 1 for the fifth who bought "
    "longest ago.",
    "frequency": "How many orders they placed: 5 for the fifth with the most, 1 for the fifth with the fewest, which "
    "takes in everyone with as few.",
    "monetary": "What they paid less what they got back: 5 for the fifth worth most, 1 for the fifth worth least.",
}


def _group_codes() -> Codes:
    """(5, 5): the position in GROUPS at each recency and frequency, both less one."""
    codes = np.empty((FIFTHS, FIFTHS), dtype=np.int64)
    for code, group in enumerate(GROUPS):
        cells = CELLS[group]
        codes[np.ix_(np.array(cells.recency) - 1, np.array(cells.frequency) - 1)] = code
    return codes


_GROUP_CODES = _group_codes()


@dataclass(frozen=True, slots=True)
class RfmScores:
    """recency, frequency, monetary : (n_customers,), 1..5 each, 5 for the latest, the most orders, the most value"""

    recency: Codes
    frequency: Codes
    monetary: Codes

    @property
    def groups(self) -> Codes:
        """Position in GROUPS of each customer's group."""
        groups: Codes = _GROUP_CODES[self.recency - 1, self.frequency - 1]
        return groups


@dataclass(frozen=True, slots=True)
class RfmQuintiles:
    """The cut-offs of one shop, each (4,), from the worst fifth to the best: who is beyond one scores a point more.

    recency_days : days since the last order, descending; beyond is fewer
    orders       : number of orders, ascending
    value        : lifetime value in the store's currency, ascending
    """

    recency_days: Floats
    orders: Floats
    value: Floats

    def scores(self, recency_days: Floats, orders: Floats, value: Floats) -> RfmScores:
        """Of customers, each (n_customers,): alone or among all, a customer scores the same."""
        return RfmScores(
            recency=1 + _beyond(-self.recency_days, -recency_days),
            frequency=1 + _beyond(self.orders, orders),
            monetary=1 + _beyond(self.value, value),
        )

    def stored(self) -> dict[str, Any]:
        """Plain enough for JSON; `rfm_quintiles_from` reads it back."""
        return {
            "recency_days": self.recency_days.tolist(),
            "orders": self.orders.tolist(),
            "value": self.value.tolist(),
        }


def rfm_quintiles(recency_days: Floats, orders: Floats, value: Floats) -> RfmQuintiles:
    """The cut-offs of a shop. Each (n_customers,) of everyone segmented, at least one."""
    return RfmQuintiles(
        recency_days=-_cutoffs(-recency_days, FIFTHS), orders=_cutoffs(orders, FIFTHS), value=_cutoffs(value, FIFTHS)
    )


def rfm_quintiles_from(stored: Mapping[str, Any]) -> RfmQuintiles:
    """The quintiles that `RfmQuintiles.stored` was taken from."""
    return RfmQuintiles(*(np.array(stored[name], dtype=np.float64) for name in ("recency_days", "orders", "value")))


def grid(recency_days: Floats, orders: Floats, value: Floats, *, bins: tuple[int, int, int]) -> Codes:
    """Each customer's cell in a grid of quantiles of the customers handed in.

    recency_days, orders, value : (n_customers,), at least one
    bins                        : how many equal shares of recency, orders and value, at least 1 each
    returns                     : (n_customers,), 0 for the worst of all three to bins[0] * bins[1] * bins[2] - 1, the
                                  share of recency counting most; with (5, 5, 5) the scores less one
    """
    dimensions = (-recency_days, orders, value)
    steps = [_beyond(_cutoffs(values, n), values) for values, n in zip(dimensions, bins, strict=True)]
    return (steps[0] * bins[1] + steps[1]) * bins[2] + steps[2]


def _cutoffs(values: Floats, bins: int) -> Floats:
    """(bins - 1,), ascending: of each share from the worst on, the last customer in it. Ranks in whole numbers."""
    last = [-(-share * len(values) // bins) - 1 for share in range(1, bins)]
    cutoffs: Floats = np.sort(values)[last]
    return cutoffs


def _beyond(cutoffs: Floats, values: Floats) -> Codes:
    """How many cut-offs lie strictly below each value."""
    return np.searchsorted(cutoffs, values, side="left").astype(np.int64)
