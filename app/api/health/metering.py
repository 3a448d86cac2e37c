"""What Prometheus is told: what was counted since the process began, and how things stand."""

import time
from math import inf

from app.core.errors import DatabaseUnavailable, NoMetrics
from app.core.metrics import DATABASE_CONNECTIONS, STANDING
from app.core.metrics import exposition as counted
from app.resources import Resources
from app.warehouse.vital_signs import StoreSigns, VitalSigns, read_vital_signs

#: What stands in the database is read no more often: it changes slowly, and takes a while in a large shop.
_FRESH_SECONDS = 60.0
_OF_A_STORE = {
    "run_age_seconds": "run_age",
    "predictions_age_seconds": "predictions_age",
    "records_age_seconds": "records_age",
    "unscored_customers": "unscored",
    "segment_drift_psi": "segment_drift",
    "churn_drift": "churn_drift",
    "forecast_drift": "forecast_drift",
}


async def exposition(resources: Resources) -> bytes:
    """Raises NoMetrics where they are not to be shown."""
    if not resources.settings.enable_prometheus_metrics:
        raise NoMetrics
    try:
        if time.monotonic() - resources.signs_read_at > _FRESH_SECONDS:
            _tell(await read_vital_signs(resources.database))
            resources.signs_read_at = time.monotonic()
        else:
            await resources.database.row("SELECT 1")
        STANDING["database_up"].set(1)
    except DatabaseUnavailable:
        STANDING["database_up"].set(0)
    for (pool, state), n in resources.database.connections().items():
        DATABASE_CONNECTIONS.labels(pool, state).set(n)
    return counted(resources.settings.prometheus_multiproc_dir)


def _tell(signs: VitalSigns) -> None:
    for state, n in signs.jobs.items():
        STANDING["jobs"].labels(state).set(n)
    STANDING["job_oldest_waiting_seconds"].set(max(0.0, signs.oldest))
    STANDING["worker_silent_seconds"].set(inf if signs.silent is None else signs.silent)
    for store in signs.stores:
        _tell_of(store)


def _tell_of(store: StoreSigns) -> None:
    for name, sign in _OF_A_STORE.items():
        value = getattr(store, sign)
        if value is not None:
            STANDING[name].labels(store.store_id).set(value)
