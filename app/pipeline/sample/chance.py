"""Arrays of numbers, and drawing them."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Rng = np.random.Generator


def drawn(rng: Rng, shares: Floats) -> Ints:
    """One column drawn for each row of shares, which sum to 1."""
    column: Ints = (rng.random((len(shares), 1)) > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1)
    return column


def exactly(rng: Rng, counts: Ints, weights: Floats, total: int) -> Ints:
    """Counts drawn by these weights, with as many more or fewer as make them sum to `total`."""
    missing = total - int(counts.sum())
    if missing >= 0:
        return counts + rng.multinomial(missing, weights / weights.sum())
    dropped = rng.choice(int(counts.sum()), -missing, replace=False)
    return counts - np.bincount(np.repeat(np.arange(len(counts)), counts)[dropped], minlength=len(counts))
