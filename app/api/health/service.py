"""Whether the database answers, and what it holds."""

import json
from datetime import UTC

from app import __version__
from app.api.health.schemas import DataStatus, Health, JobCounts, PredictionStatus
from app.core.clock import utc_now
from app.core.errors import DatabaseUnavailable
from app.core.keys import Caller
from app.resources import Resources
from app.warehouse.customers import what_is_loaded
from app.warehouse.jobs import count_jobs, worker_seen_at


async def ready(resources: Resources) -> None:
    """Raises DatabaseUnavailable while requests cannot be answered."""
    await resources.database.row("SELECT 1")
    if not resources.prepared:
        raise DatabaseUnavailable("The database is being brought into shape.")


async def health(resources: Resources, caller: Caller | None) -> Health:
    """Raises DatabaseUnavailable."""
    kept = resources.cache.state
    basic = Health(
        status="degraded" if kept == "degraded" else "healthy",
        version=__version__,
        timestamp=utc_now().isoformat(timespec="seconds"),
    )
    if caller is None:
        await ready(resources)
        return basic
    held = await what_is_loaded(resources.database, caller.store_id)
    seen_at = await worker_seen_at(resources.database)
    axes = {each["axis"]: each["status"] for each in json.loads(held["axes"] or "[]")}
    return Health(
        status=basic.status,
        version=basic.version,
        timestamp=basic.timestamp,
        database="connected",
        cache=kept,
        data_source="embedded" if resources.settings.database_url is None else "postgresql",
        active_axes=sum(status != "no_data" for status in axes.values()),
        axes=axes,
        data_status=DataStatus(
            customers_loaded=held["customers_loaded"] if caller.identified else None,
            customers_segmented=held["customers_segmented"] if caller.identified else None,
            archetypes_available=held["archetypes_available"],
            predictions=None
            if held["prediction_id"] is None
            else PredictionStatus(
                as_of=held["predicted_as_of"].astimezone(UTC).isoformat(),
                prediction_id=held["prediction_id"],
                n=held["customers_predicted"] if caller.identified else None,
            ),
        ),
        jobs=JobCounts(
            **await count_jobs(resources.database, caller.store_id),
            worker_seen_at=None if seen_at is None else seen_at.isoformat(timespec="seconds"),
        ),
    )
