"""Customers placed on axes and among archetypes: what a run finds of a whole shop, and scoring of one customer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from app.segmentation.axes import Axis, Source
from app.segmentation.membership import Array


@dataclass(frozen=True, slots=True)
class PlacedAxis:
    """Customers on one axis. names, sources : of its k segments; memberships : (n_customers, k)"""

    axis: Axis
    names: tuple[str, ...]
    sources: tuple[Source, ...]
    memberships: Array
    in_signature: bool

    @property
    def dominant(self) -> list[str]:
        """The name of each customer's top segment."""
        names: list[str] = np.array(self.names, dtype=object)[self.memberships.argmax(axis=1)].tolist()
        return names

    @property
    def read_from(self) -> list[Source]:
        """What each customer is read from: a top segment is always of the customer's own reading."""
        return [self.sources[position] for position in self.memberships.argmax(axis=1)]


@dataclass(frozen=True, slots=True)
class Standing:
    """Customers' archetypes. level1, level2, level3 : ids; fold_distance : axes on which they differ from level 1"""

    level1: Sequence[str]
    level2: Sequence[str]
    level3: Sequence[str]
    fold_distance: NDArray[np.int64]


def last_day(as_of: datetime, timezone: str) -> date:
    """The day on the shop's clock that a moment closes."""
    return (as_of - timedelta(microseconds=1)).astimezone(ZoneInfo(timezone)).date()
