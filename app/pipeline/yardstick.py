"""What one customer of a run is measured against: the shop's norms and its value tiers, kept with the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.domain.value_tiers import TierMode, ValueTiers, value_tiers, value_tiers_from
from app.segmentation.axes import Source
from app.segmentation.discovery import DiscoveredAxis
from app.segmentation.membership import Array
from app.segmentation.norms import ShopNorms, shop_norms, shop_norms_from


@dataclass(frozen=True, slots=True)
class Yardstick:
    norms: ShopNorms
    tiers: ValueTiers

    def stored(self) -> dict[str, Any]:
        """Plain enough for JSON; `yardstick_from` reads it back."""
        return {"norms": self.norms.stored(), "tiers": self.tiers.stored()}


def yardstick_of(found: Sequence[DiscoveredAxis], values: Mapping[str, Array], mode: TierMode) -> Yardstick:
    """values : the metrics and features of everyone segmented, each (n_customers,)"""
    members = {
        axis.axis.name: {
            segment.name: np.flatnonzero(axis.dominant == position) for position, segment in enumerate(axis.segments)
        }
        for axis in found
    }
    from_tickets = {
        axis.axis.name: {segment.name for segment in axis.segments if segment.source is Source.tickets}
        for axis in found
    }
    norms = shop_norms([axis.axis for axis in found], values, members, from_tickets=from_tickets)
    return Yardstick(norms=norms, tiers=value_tiers(values["lifetime_value"], mode))


def yardstick_from(stored: Mapping[str, Any]) -> Yardstick:
    """The yardstick that `Yardstick.stored` was taken from."""
    return Yardstick(norms=shop_norms_from(stored["norms"]), tiers=value_tiers_from(stored["tiers"]))
