"""How much a customer belongs to each segment of an axis."""

from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput

Array = NDArray[np.float64]
Kernel = Literal["exponential", "gaussian"]

STRONG = 0.7
WEAK = 0.4
CLOSE = 0.2
# Shares are compared with these limits after rounding: in binary .6 - .4 is a hair less than .2.
_DECIMALS = 12


class Strength(StrEnum):
    """How clearly a customer's top segment on one axis is theirs."""

    strong = "strong"
    moderate = "moderate"
    balanced = "balanced"
    weak = "weak"


def membership(distances: Array, kernel: Kernel = "exponential") -> Array:
    """Share of each customer in each segment.

    distances : (n_customers, n_segments), Euclidean, in scaled units, >= 0
    kernel    : "exponential" exp(-d) or "gaussian" exp(-d**2); the second is nearer to hard assignment
    returns   : (n_customers, n_segments), each row sums to 1, also for a customer far from every center

    Raises InvalidInput if a distance is NaN or infinite. Distances 0.5, 2.0, 3.5 give 0.786, 0.175, 0.039.
    """
    if not np.isfinite(distances).all():
        raise InvalidInput("A distance to a segment's center is not a finite number; look for NaN among the features.")
    # Against the nearest center, or exp underflows to 0 / 0 for a customer far from all of them.
    nearest = distances.min(axis=1, keepdims=True)
    excess = distances - nearest
    if kernel == "gaussian":
        # d**2 - nearest**2, written so that neither square overflows; an excess of infinity is a share of 0.
        with np.errstate(over="ignore"):
            excess = 2 * excess * (distances / 2 + nearest / 2)
    similarity = np.exp(-excess)
    shares: Array = similarity / similarity.sum(axis=1, keepdims=True)
    return shares


def strengths(memberships: Array) -> list[Strength]:
    """Each customer's strength on one axis.

    Top share >= .7 strong; else < .4 weak; else balanced where the two highest differ by less than .2; else moderate.

    memberships : (n_customers, n_segments), rows sum to 1
    """
    return [Strength(STRENGTHS[code]) for code in strength_codes(memberships)]


#: The order of the codes that `strength_codes` returns.
STRENGTHS = (Strength.strong, Strength.weak, Strength.balanced, Strength.moderate)


def strength_codes(memberships: Array) -> NDArray[np.int8]:
    """Position in STRENGTHS of each customer's strength; the array form of `strengths`."""
    top, _ = top_two(memberships)
    top = np.round(top, _DECIMALS)
    # Not np.select: of one customer alone that takes longer than all the rest of this.
    otherwise = np.where(top < WEAK, 1, np.where(is_close(memberships), 2, 3))
    return np.where(top >= STRONG, 0, otherwise).astype(np.int8)


def is_close(memberships: Array) -> NDArray[np.bool_]:
    """(n_customers,) whether the two highest shares differ by less than CLOSE."""
    top, second = top_two(memberships)
    closeness: NDArray[np.bool_] = np.round(top - second, _DECIMALS) < CLOSE
    return closeness


def top_two(memberships: Array) -> tuple[Array, Array]:
    """The highest and second highest share of each row; the second is 0 where there is one segment."""
    # Segment by segment: a sort of each customer's few shares takes ten times as long.
    top, second = memberships[:, 0], np.zeros(len(memberships))
    for shares in memberships.T[1:]:
        second = np.maximum(second, np.minimum(top, shares))
        top = np.maximum(top, shares)
    return top, second
