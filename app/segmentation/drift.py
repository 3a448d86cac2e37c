"""How far a shop has moved: the shares of an axis's segments on two days, and who moved between archetypes."""

import numpy as np

from app.core.errors import InvalidInput
from app.segmentation.membership import Array

#: What a share counts as at least, or one segment that nobody is in would make any shift infinite.
LEAST_SHARE = 1e-4


def psi(now: Array, then: Array) -> float:
    """Population stability index of two distributions over the same segments: sum((p - q) * ln(p / q)).

    now, then : (n_segments,) shares, or counts, which are made shares of their sum; the same segment at each position
    returns   : >= 0, and 0 where all shares are the same; shares under LEAST_SHARE count as that. Above .1 a shift is
                usually called moderate, above .25 large.

    Raises InvalidInput where a number is negative or not finite, or nobody is in any segment.
    """
    p, q = (_shares(each) for each in (now, then))
    if p.shape != q.shape:
        raise InvalidInput(f"A shift is of the same segments on two days, not of {len(p)} and {len(q)}.")
    return float(((p - q) * np.log(p / q)).sum())


def _shares(weights: Array) -> Array:
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InvalidInput("The shares of segments must be finite, none below 0, and not all 0.")
    shares: Array = np.maximum(weights / weights.sum(), LEAST_SHARE)
    return shares
