"""What Prometheus is told: what was counted since the process began, and how things stand."""

import time
from math import inf

import structlog

from app.core.errors import DatabaseUnavailable, NoMetrics
from app.core.metrics import DATABASE_CONNECTIONS, STANDING, UNKNOWN
from app.core.metrics import exposition as counted
from app.resources import Resources
from app.warehouse.engine import Database
from app.warehouse.vital_signs import VitalSigns, read_vital_signs

log = structlog.get_logger()

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
    up = await _answers(resources.database)
    STANDING["database_up"].set(up)
    if up:
        await _look(resources)
    for (pool, state), n in resources.database.connections().items():
        DATABASE_CONNECTIONS.labels(pool, state).set(n)
    return counted(resources.settings.prometheus_multiproc_dir)


async def _answers(database: Database) -> bool:
    try:
        await database.row("SELECT 1")
    except DatabaseUnavailable:
        return False
    return True


async def _look(resources: Resources) -> None:
    """Tell how things stand, unless that was done just now or is being done: whoever asks meanwhile is told what was
    known, and one that takes long or fails is not begun again by everyone who asks.
    """
    if resources.signs_reading.locked() or time.monotonic() - resources.signs_read_at <= _FRESH_SECONDS:
        return
    async with resources.signs_reading:
        resources.signs_read_at = time.monotonic()
        try:
            signs = await read_vital_signs(resources.database)
        except DatabaseUnavailable as error:
            log.warning("signs.not_read", why=str(error))
            return
    _tell(signs)
    stores = {store.store_id for store in signs.stores}
    for store_id in resources.signs_told - stores:
        for name in _OF_A_STORE:
            STANDING[name].labels(store_id).set(UNKNOWN)
    resources.signs_told = stores


def _tell(signs: VitalSigns) -> None:
    for state, n in signs.jobs.items():
        STANDING["jobs"].labels(state).set(n)
    STANDING["job_oldest_waiting_seconds"].set(max(0.0, signs.oldest))
    STANDING["worker_silent_seconds"].set(inf if signs.silent is None else signs.silent)
    for store in signs.stores:
        for name, sign in _OF_A_STORE.items():
            value = getattr(store, sign)
            STANDING[name].labels(store.store_id).set(UNKNOWN if value is None else value)
