"""What a customer is worth next to the shop's others: a tier in words, and the share of customers worth as much.

By default the cut-offs are the shop's own: the top 5 % are VIP, the next to 20 % high, the bottom 20 % low. With mode
"absolute" they are the documents' 2,000, 500 and 100 in the store's currency.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

VIP_SHARE, HIGH_SHARE, LOW_SHARE = 0.05, 0.20, 0.20
ABSOLUTE = (2_000.0, 500.0, 100.0)
_STEPS = 1_000  # of the ranking: a top share is told to a tenth of a percent


class Tier(StrEnum):
    vip = "vip"
    high = "high"
    standard = "standard"
    low = "low"


class TierMode(StrEnum):
    percentile = "percentile"
    absolute = "absolute"


#: The order of the codes that `ValueTiers.codes` returns.
TIERS = (Tier.vip, Tier.high, Tier.standard, Tier.low)


@dataclass(frozen=True, slots=True)
class ValueTiers:
    """The cut-offs of one shop.

    vip, high, standard : lifetime value from which a customer is of that tier, in the store's currency; infinite where
                          nobody stands out (half of the customers or more are worth as much)
    ranks               : (1001,) lifetime values of the customers at every tenth of a percent, ascending
    """

    mode: TierMode
    vip: float
    high: float
    standard: float
    ranks: Floats

    def codes(self, lifetime_values: Floats) -> NDArray[np.int8]:
        """Position in TIERS of each customer's tier."""
        conditions = [lifetime_values >= self.vip, lifetime_values >= self.high, lifetime_values >= self.standard]
        return np.select(conditions, [0, 1, 2], default=3).astype(np.int8)

    def top_percent(self, lifetime_values: Floats) -> Floats:
        """The share of customers worth as much or more, in percent: .1 for the very best, 100 for the last."""
        below = np.searchsorted(self.ranks, lifetime_values, side="left")
        percent: Floats = np.clip(100 * (1 - below / _STEPS), 100 / _STEPS, 100.0)
        return np.round(percent, 1)

    def cutoffs(self) -> dict[str, Any]:
        """What an answer says beside a tier; null where nobody stands out."""
        amounts = {"vip": self.vip, "high": self.high, "standard": self.standard}
        told = {name: round(amount, 2) if np.isfinite(amount) else None for name, amount in amounts.items()}
        return {"mode": self.mode.value, **told}

    def stored(self) -> dict[str, Any]:
        """Plain enough for JSON; `value_tiers_from` reads it back."""
        limits = [limit if np.isfinite(limit) else None for limit in (self.vip, self.high, self.standard)]
        return {"mode": self.mode.value, "limits": limits, "ranks": self.ranks.tolist()}


def value_tiers(lifetime_values: Floats, mode: TierMode = TierMode.percentile) -> ValueTiers:
    """The tiers of a shop. lifetime_values : (n_customers,) of everyone segmented, at least one"""
    ranks = np.quantile(lifetime_values, np.linspace(0, 1, _STEPS + 1), method="higher")
    if mode is TierMode.absolute:
        return ValueTiers(mode, *ABSOLUTE, ranks=ranks)
    middle = float(np.median(lifetime_values))
    vip, high = (float(np.quantile(lifetime_values, 1 - share, method="higher")) for share in (VIP_SHARE, HIGH_SHARE))
    standard = float(np.quantile(lifetime_values, LOW_SHARE, method="higher"))
    return ValueTiers(
        mode,
        vip=vip if vip > middle else np.inf,
        high=high if high > middle else np.inf,
        standard=standard,
        ranks=ranks,
    )


def value_tiers_from(stored: Mapping[str, Any]) -> ValueTiers:
    """The tiers that `ValueTiers.stored` was taken from."""
    vip, high, standard = (np.inf if limit is None else limit for limit in stored["limits"])
    return ValueTiers(TierMode(stored["mode"]), vip, high, standard, ranks=np.array(stored["ranks"]))
