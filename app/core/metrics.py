"""What is counted and measured for Prometheus.

Labels take few values: a route is its template, never the path asked for.

With several processes to a service each writes to files in the folder PROMETHEUS_MULTIPROC_DIR, which the command line
sets before any of them is imported, and whichever is asked adds them up. One that is begun anew goes on with the files
of the one whose place it takes.
"""

from collections.abc import Iterator
from math import isnan, nan
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.core.config import told_when_begun

#: Set where several processes serve: where they count together, and the place that each has among them.
SHARED_FOLDER, PLACE = "PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_PLACE"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

if place := told_when_begun(PLACE):
    # Named by the number of the process, there would be more files with each one that dies.
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]

# Requests

REQUEST_SECONDS = Histogram(
    "ci_http_request_duration_seconds",
    "How long requests took, by the route's template.",
    ["method", "route", "status"],
    buckets=_SECONDS,
)
IN_FLIGHT = Gauge("ci_http_requests_in_flight", "Requests that are being answered.", multiprocess_mode="livesum")
REFUSED = Counter(
    "ci_http_refused_total",
    "Requests refused before any work: no_key, address_blocked, no_scope, rate, body, head.",
    ["reason"],
)
FAILED = Counter("ci_http_unforeseen_errors_total", "Requests answered with 500 because of an error of ours.")

# Caches

CACHE = Counter(
    "ci_cache_requests_total",
    "What caches were asked (profiles, answers: in this process; redis: shared) and had: hit, miss, error.",
    ["cache", "result"],
)
REDIS_UP = Gauge(
    "ci_redis_up",
    "1 while Redis answers, 0 while it is away; absent without REDIS_URL.",
    ["holds"],
    multiprocess_mode="livemin",
)
HEARING = Gauge(
    "ci_changes_heard",
    "1 while the database tells of changes; while it does not, profiles and answers are read anew each time.",
    multiprocess_mode="livemin",
)

# The database

DATABASE_CONNECTIONS = Gauge(
    "ci_database_connections",
    "Connections to the database, by pool (readers, work) and state (used, idle).",
    ["pool", "state"],
    multiprocess_mode="livesum",
)
DATABASE_UNAVAILABLE = Counter(
    "ci_database_unavailable_total", "Requests answered with 503 because the database was away."
)

# Audit

AUDIT_DROPPED = Counter("ci_audit_dropped_total", "Notes of the audit log that could not be kept.")


# Told anew whenever it is asked for

#: For what was told and is not known any more: a gauge set to this is not shown. It cannot be taken out of the files
#: that several processes write.
UNKNOWN = nan

#: What stands in the database, as it is when metrics are asked for.
STANDING = {
    name: Gauge(f"ci_{name}", told, labels, multiprocess_mode="mostrecent")
    for name, told, labels in (
        ("database_up", "1 where the database answered just now.", ()),
        ("jobs", "Jobs of all stores by state: waiting, running, failed.", ("state",)),
        ("job_oldest_waiting_seconds", "How long the job has waited that is due the longest; 0 where none is.", ()),
        (
            "worker_silent_seconds",
            "How long ago a worker last looked for jobs, which it does each minute; +Inf where none ever has.",
            (),
        ),
        ("run_age_seconds", "How old the served segmentation's data is.", ("store",)),
        ("predictions_age_seconds", "How old the data is that the served predictions were trained on.", ("store",)),
        ("records_age_seconds", "How long ago the latest order happened.", ("store",)),
        (
            "unscored_customers",
            "Customers whose records changed since they were scored; 10,000 at most.",
            ("store",),
        ),
        (
            "churn_drift",
            "Of who was told of 30 to 37 days ago: the share who stayed away since, less the share foretold.",
            ("store",),
        ),
        (
            "forecast_drift",
            "Revenue of the last whole month as a share of what had been forecast for it, less 1.",
            ("store",),
        ),
        ("segment_drift_psi", "The largest shift of an axis's segment shares since they were found (PSI).", ("store",)),
    )
}


# The files that several processes count in

#: Of each kind of file, with the room it is given before it is used: it is mapped into memory, and a process that
#: writes where the disk has nothing left is killed. A route and status take 5 KB of the first.
_FILES = {
    "histogram": 2 * 1024 * 1024,
    "counter": 256 * 1024,
    "gauge_livesum": 64 * 1024,
    "gauge_livemin": 64 * 1024,
    "gauge_mostrecent": 256 * 1024,
}
#: What the files of one process take.
FILES_BYTES = sum(_FILES.values())


def make_files(shared: Path, place: int) -> None:
    """Those of a place, empty, with all of their room. Raises OSError where the disk has not enough of it."""
    for kind, size in _FILES.items():
        (shared / f"{kind}_{place}.db").write_bytes(bytes(size))


def forget_living(shared: Path, place: int) -> None:
    """What one that has died had under way. Its files stay: there may be no room for others any more."""
    for path in shared.glob(f"gauge_live*_{place}.db"):
        with path.open("r+b") as file:
            file.write(bytes(8))  # how much of it is used


def exposition(shared: Path | None) -> bytes:
    """Everything, in Prometheus' text format. shared : the folder of SHARED_FOLDER, where several processes serve"""
    if shared is None:
        return bytes(generate_latest(_Known(REGISTRY)))
    together = CollectorRegistry()
    MultiProcessCollector(together, path=str(shared))  # type: ignore[no-untyped-call]
    return bytes(generate_latest(_Known(together)))


class _Known(Collector):
    """What another collects, but for what is UNKNOWN."""

    def __init__(self, everything: Collector) -> None:
        self._everything = everything

    def collect(self) -> Iterator[Metric]:
        for metric in self._everything.collect():
            metric.samples = [sample for sample in metric.samples if not isnan(sample.value)]
            yield metric
