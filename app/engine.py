"""The library face: segment a store, score a customer, or extract features from plain records.

engine = EcommerceClusteringEngine(min_k=2, max_k=6)
segments = await engine.discover_multi_axis_segments("my_store")
profile = await engine.calculate_customer_profile("C12345", "my_store")
print(profile.fuzzy_memberships["purchase_frequency"])

features = EcommerceFeatureExtractor().extract_all_features("C12345", orders, items)
print(features["purchase_frequency"]["orders_per_month"])
"""

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import structlog

from app.core.clock import utc_now
from app.core.config import Settings, load_settings
from app.core.errors import CustomerNotFound
from app.core.logging import configure_logging
from app.domain.value_tiers import TierMode
from app.pipeline.features import feature_values
from app.pipeline.plain_records import behaviour_of
from app.pipeline.run import MIN_POPULATION, RunOptions, discovery_options, segment
from app.pipeline.score import CustomerProfile, score_customer
from app.resources import open_database
from app.segmentation.axes import AXES, Need
from app.segmentation.clustering import KRange
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate

__all__ = ["CustomerProfile", "EcommerceClusteringEngine", "EcommerceFeatureExtractor"]


class EcommerceClusteringEngine:
    """Discovers a store's segments and places customers on them.

    min_k, max_k      : fewest and most segments tried on an axis, whatever its size; the command line, not told
                        otherwise, lets a small shop try fewer
    use_ai_naming,
    anthropic_api_key : taken for compatibility; segments are named from their behaviour, no model is asked
    min_population    : a store with fewer customers with an order is refused
    database          : an open one; without it each call opens the one the settings name
    """

    def __init__(
        self,
        min_k: int = 2,
        max_k: int = 6,
        use_ai_naming: bool = False,
        anthropic_api_key: str | None = None,
        *,
        min_population: int = MIN_POPULATION,
        settings: Settings | None = None,
        database: Database | None = None,
    ) -> None:
        self._k_range = KRange(min_k, max_k)
        self._min_population = min_population
        self._settings = settings or load_settings()
        if not structlog.is_configured():
            # Out of the box structlog prints to standard output, which belongs to who uses the library.
            configure_logging(level=self._settings.log_level, json_logs=self._settings.logs_as_json)
        self._database = database

    async def discover_multi_axis_segments(
        self, store_id: str, *, as_of: datetime | None = None
    ) -> dict[str, list[dict[str, Any]]]:
        """Segment the store, serve the result, and return {axis: [segment]}.

        Each segment has segment_id, name, count, share (0..1), interpretation. Raises as `pipeline.run.segment` does.
        """
        options = RunOptions(
            as_of=_aware(as_of),
            min_population=self._min_population,
            discovery=discovery_options(self._settings, self._k_range, threads=os.cpu_count() or 1),
            tier_mode=TierMode(self._settings.ltv_tier_mode.value),
        )
        async with self._open() as database:
            result = await segment(database, store_id, options, now=utc_now())
        return {axis["axis"]: axis["segments"] for axis in result.report["axes"] if "segments" in axis}

    async def calculate_customer_profile(
        self, customer_id: str, store_id: str, store_profile: bool = False, *, as_of: datetime | None = None
    ) -> CustomerProfile:
        """Score one customer from the served run's centers and scalers; with store_profile, keep the result.

        as_of : None for the run's own moment, after a rescoring the last midnight; now for what came since

        Raises as `pipeline.score.score_customer` does.
        """
        async with self._open() as database:
            return await score_customer(database, store_id, customer_id, as_of=_aware(as_of), keep=store_profile)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Database]:
        if self._database is not None:
            yield self._database
            return
        async with open_database(self._settings) as database:
            await migrate(database)
            yield database


class EcommerceFeatureExtractor:
    """Features from plain records, without a database. timezone : the shop's, for hours, weekdays and days"""

    def __init__(self, timezone: str = "UTC") -> None:
        self._timezone = timezone

    def extract_all_features(
        self,
        customer_id: str,
        orders: Iterable[Mapping[str, Any]],
        items: Iterable[Mapping[str, Any]],
        *,
        as_of: datetime | None = None,
    ) -> dict[str, dict[str, float]]:
        """{axis: {feature: value}} for every axis that orders can speak of; formulas in docs/BEHAVIORAL_MATH.md.

        orders, items : as `pipeline.plain_records.behaviour_of` describes them
        as_of         : only orders before it count; None for now

        Raises InvalidInput for a record that cannot be read, CustomerNotFound where no order is left.
        """
        moment = _aware(as_of) or utc_now()
        behaviour = behaviour_of(customer_id, orders, items, as_of=moment, timezone=self._timezone)
        if not behaviour.customer_ids:
            raise CustomerNotFound(customer_id, store_id="the records handed in")
        values = feature_values(behaviour, as_of=moment, timezone=self._timezone)
        return {
            axis.name: {name: float(values[name][0]) for name in axis.feature_names}
            for axis in AXES
            if axis.need is not Need.tickets
        }


def _aware(moment: datetime | None) -> datetime | None:
    """A moment that names no zone is UTC."""
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
