"""Memberships in segments as predictions read them: as of any day, by rules that were found before all of those days.

Only axes that do not move with the clock take part: what customers buy, at what price, when in the week, what they send
back. How long ago and how often they came is read from their visits themselves. The rules are found in what was known
before the first window that a model learns from, so a prediction never reads a segment that its own future has shaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from app.core.dates import start_of_day
from app.domain.features import OPEN
from app.pipeline.features import feature_values
from app.pipeline.run import MIN_POPULATION, needs_met
from app.prediction.chances import Segments
from app.prediction.purchases import Floats, Ints
from app.segmentation.axes import AXES, Source
from app.segmentation.clustering import fitted_axis
from app.segmentation.discovery import DiscoveryOptions, discover
from app.segmentation.membership import Array
from app.segmentation.readings import Reading, memberships_in
from app.warehouse.behaviour import FRAMES, Behaviour

_AXES = (
    *("purchase_value", "category_exploration", "price_sensitivity", "purchase_cadence", "return_behavior"),
    *("communication_preference", "problem_complexity_profile", "product_knowledge", "value_sophistication"),
)
_TASTES = tuple(axis for axis in AXES if axis.name in _AXES)
#: What is kept of a day: what those axes are read by, and from which source.
_READ = tuple(
    dict.fromkeys(
        [feature.name for axis in _TASTES for source in Source for feature in axis.features_from(source)]
        + ["total_tickets"]
    )
)
#: A membership below this counts as this in its log-odds.
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class TasteRules:
    """Axes with more than one segment, enough to place anyone on them. readings : by axis"""

    readings: Mapping[str, tuple[Reading, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns: one for each segment of an axis but the last."""
        return tuple(
            f"{axis}:{place}" for axis, readings in self.readings.items() for place in range(_n_segments(readings) - 1)
        )

    def place(self, values: Mapping[str, Array]) -> Floats:
        """(n_customers, columns) log-odds of each segment against the axis's last. values : features by name"""
        columns = []
        for readings in self.readings.values():
            logs = np.log(np.maximum(memberships_in(readings, values), _LEAST_SHARE))
            columns.append(logs[:, :-1] - logs[:, -1:])
        return np.hstack(columns)

    def stored(self) -> list[dict[str, Any]]:
        return [
            {
                "axis": axis,
                "source": reading.source.value,
                "first": reading.first,
                "scaler_params": reading.fitted.scaler_params(),
                "centers": reading.fitted.centers.tolist(),
            }
            for axis, readings in self.readings.items()
            for reading in readings
        ]


def taste_rules_from(stored: Sequence[Mapping[str, Any]]) -> TasteRules:
    """The rules that `TasteRules.stored` was taken from."""
    readings: dict[str, tuple[Reading, ...]] = {}
    for each in stored:
        fitted = fitted_axis(each["axis"], each["scaler_params"], each["centers"])
        reading = Reading(Source(each["source"]), fitted, each["first"])
        readings[each["axis"]] = (*readings.get(each["axis"], ()), reading)
    return TasteRules(readings)


class Tastes:
    """A shop's memberships as of days of the past, each customer's of a day worked out once."""

    def __init__(self, behaviour: Behaviour, timezone: str) -> None:
        self._behaviour = behaviour
        self._timezone = timezone
        self._rules: dict[int, TasteRules | None] = {}
        self._segments: dict[int, Segments | None] = {}

    def rules(self, day: int) -> TasteRules | None:
        """What segments there were in what was known when a day began; None where too few customers were."""
        if day not in self._rules:
            self._rules[day] = self._find(day)
        return self._rules[day]

    def segments(self, day: int) -> Segments | None:
        """Memberships as of any day by the rules of this one; None where there are none."""
        if day not in self._segments:
            rules = self.rules(day)
            self._segments[day] = self._segments_by(rules) if rules is not None and rules.names else None
        return self._segments[day]

    def _segments_by(self, rules: TasteRules) -> Segments:
        placed: dict[int, tuple[Ints, Floats]] = {}

        def at(seen: int, customers: Ints) -> Floats:
            known, places = placed.get(seen, (np.empty(0, dtype=np.int64), np.empty((0, len(rules.names)))))
            new = np.setdiff1d(customers, known)
            if len(new):
                # Of a large shop samples are learned from: only who is in one is measured.
                behaviour = _before(self._behaviour, seen, pl.col("customer").is_in(new))
                known = np.concatenate([known, new])
                places = np.vstack([places, rules.place(self._values(behaviour, seen))])
                order = np.argsort(known)
                known, places = placed[seen] = known[order], places[order]
            return places[np.searchsorted(known, customers)]

        return Segments(rules.names, at)

    def _find(self, day: int) -> TasteRules | None:
        before = _before(self._behaviour, day)
        if before.orders["customer"].n_unique() < MIN_POPULATION:
            return None
        values = self._values(before, day)
        found = discover("", values, _TASTES, available=needs_met(before), options=DiscoveryOptions())
        return TasteRules(
            {axis.axis.name: tuple(axis.readings) for axis in found.axes if _n_segments(axis.readings) > 1}
        )

    def _values(self, behaviour: Behaviour, day: int) -> dict[str, Array]:
        moment = start_of_day(date(1970, 1, 1) + timedelta(days=day), self._timezone)
        return feature_values(behaviour, as_of=moment, timezone=self._timezone, names=_READ)


def _before(behaviour: Behaviour, day: int, *whose: pl.Expr) -> Behaviour:
    """What was known when a day began: a ticket that is resolved later is open, and not rated yet."""
    frames = {name: getattr(behaviour, name).filter(pl.col("day") < day, *whose) for name in FRAMES}
    later = pl.col("resolved_day") >= day
    frames["tickets"] = frames["tickets"].with_columns(
        satisfaction=pl.when(later).then(0.0).otherwise("satisfaction"),
        resolved_day=pl.when(later).then(OPEN).otherwise("resolved_day"),
    )
    return Behaviour(behaviour.customer_ids, **frames, has_categories=behaviour.has_categories)


def _n_segments(readings: Sequence[Reading]) -> int:
    return sum(reading.fitted.n_segments for reading in readings)
