"""How sure a share is that was counted."""

import math
from statistics import NormalDist

#: Standard deviations within which 95 % of a normal distribution lie.
WITHIN_95 = NormalDist().inv_cdf(0.975)


def share_interval(count: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `count` among `n` are, n > 0 (Wilson 1927)."""
    share, square = count / n, WITHIN_95**2
    middle = share + square / (2 * n)
    reach = WITHIN_95 * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    low, high = (middle - reach) / (1 + square / n), (middle + reach) / (1 + square / n)
    # Rounding takes the ends past the share where it is 0 or 1, which they are then.
    return max(0.0, min(share, low)), min(1.0, max(share, high))
