"""The benchmarks: how long the main jobs take, where the time goes, and how that compares with a plain way.

    python scripts/bench.py [--repeat 3] [--json FILE] [--markdown docs/BENCHMARKS.md]

Each job runs in a process of its own, `repeat` times, beside its reference, so that the ratios hold on a noisy machine.
The file is Online Retail's where REAL_DATA_DIR has it, else the built-in shop with 20,000 customers.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from app.core.clock import utc_now
from app.core.config import Environment, load_settings
from app.core.logging import configure_logging
from app.embedded import EmbeddedPostgres
from app.pipeline.features import feature_values
from app.pipeline.ingest import ingest
from app.pipeline.run import RunOptions, latest_as_of, segment
from app.pipeline.sample import SampleShop
from app.segmentation.axes import AXES, Need
from app.sources.base import Source
from app.sources.csv_file import CsvSource
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Connection, Database, raw
from app.warehouse.migrate import migrate
from app.warehouse.stores import read_store
from scripts import bench_serving
from scripts.bench_references import copy_raw_rows, plain_segmentation

STORE = "bench"
ONLINE_RETAIL = Path(os.environ.get("REAL_DATA_DIR", "../shared/data")) / "online_retail" / "online_retail.csv.gz"
SAMPLE_CUSTOMERS = 20_000


@dataclass(frozen=True, slots=True)
class Measured:
    """seconds : wall clock; steps : seconds by step; peak_mib : of the process, without the database server"""

    seconds: float
    steps: dict[str, float]
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Job:
    """work, reference : run in processes of their own, with the address of a database"""

    name: str
    limit: str
    work: Callable[[str], Measured]
    reference_name: str
    reference: Callable[[str], Measured]


class Steps:
    """A progress listener that notes how long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()
        self._step = ""

    def __call__(self, step: str, done: float) -> None:
        if step != self._step:
            self.stop()
            self._step = step

    def stop(self) -> None:
        now = time.perf_counter()
        if self._step:
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + now - self._since
        self._since = now


def file_in_use() -> str:
    return (
        "Online Retail, 541,909 rows"
        if ONLINE_RETAIL.exists()
        else f"the built-in shop, {SAMPLE_CUSTOMERS:,} customers"
    )


def source() -> Source:
    if ONLINE_RETAIL.exists():
        return CsvSource([ONLINE_RETAIL], preset="online-retail")
    return SampleShop(customers=SAMPLE_CUSTOMERS)


def measure_import(url: str) -> Measured:
    async def work(database: Database, steps: Steps) -> None:
        await ingest(
            database,
            source(),
            store_id=STORE,
            timezone="UTC",
            currency="GBP",
            pseudonym_secret=b"bench",
            progress=steps,
        )

    return _measured(url, work)


def measure_raw_copy(url: str) -> Measured:
    async def work(database: Database, _: Steps) -> None:
        async with database.transaction(keep=False) as connection:
            await copy_raw_rows(await raw(connection), ONLINE_RETAIL if ONLINE_RETAIL.exists() else None)

    return _measured(url, work)


def measure_discovery(url: str) -> Measured:
    async def work(database: Database, steps: Steps) -> None:
        await segment(database, STORE, RunOptions(), now=utc_now(), progress=steps)

    return _measured(url, work)


def measure_plain_segmentation(url: str) -> Measured:
    async def work(database: Database, _: Steps) -> None:
        async with database.snapshot() as connection:
            values = await _features(connection)
        plain_segmentation([[values[name] for name in axis.feature_names] for axis in AXES if axis.need is Need.orders])

    return _measured(url, work)


async def _features(connection: Connection) -> dict[str, Any]:
    store = await read_store(connection, STORE)
    as_of = await latest_as_of(connection, store, now=utc_now())
    behaviour = await read_behaviour(connection, STORE, as_of=as_of, timezone=store.timezone)
    return feature_values(behaviour, as_of=as_of, timezone=store.timezone)


JOBS = (
    Job(
        "import",
        "15 s",
        measure_import,
        "the least an import can do: split the file into rows and COPY them as they are",
        measure_raw_copy,
    ),
    Job(
        "discovery",
        "15 s, 1 GiB",
        measure_discovery,
        "the same features, plainly: KMeans of k 2-6 with n_init 10, silhouettes of everyone, no null, nothing stored",
        measure_plain_segmentation,
    ),
)


def run(repeat: int) -> dict[str, Any]:
    """Every job and its reference `repeat` times, alternating."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as url:
        results = []
        for job in JOBS:
            ours, theirs = [], []
            for number in range(repeat):
                print(f"{job.name}, {number + 1} of {repeat} ...", file=sys.stderr, flush=True)
                with _ready_database(url, job) as ready:
                    ours.append(_apart(job.work, ready))
                    theirs.append(_apart(job.reference, ready))
            results.append(_summary(job, ours, theirs))
    serving = [asdict(line) for line in bench_serving.measure(repeat)]
    return {"file": file_in_use(), "machine": _machine(), "repeat": repeat, "jobs": results, "serving": serving}


@contextmanager
def _ready_database(url: str, job: Job) -> Iterator[str]:
    """The database as the job finds it: migrated and empty for an import, loaded for a discovery."""

    async def prepare() -> None:
        database = _database(url)
        await migrate(database)
        async with database.transaction() as connection:
            driver = await raw(connection)
            if job.name == "import":
                await driver.execute("TRUNCATE stores CASCADE")
        await database.close()

    asyncio.run(prepare())
    yield url


def _measured(url: str, work: Callable[[Database, Steps], Any]) -> Measured:
    configure_logging(level="WARNING", json_logs=False)

    async def timed() -> Measured:
        database = _database(url)
        steps = Steps()
        started = time.perf_counter()
        await work(database, steps)
        seconds = time.perf_counter() - started
        steps.stop()
        await database.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Measured(seconds=seconds, steps=steps.seconds, peak_mib=peak)

    return asyncio.run(timed())


def _database(url: str) -> Database:
    return Database(url, load_settings().model_copy(update={"env": Environment.development}))


def _apart(work: Callable[[str], Measured], url: str) -> Measured:
    """In a new process, so that one job's memory is not counted for another."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, url).result()


def _summary(job: Job, ours: list[Measured], theirs: list[Measured]) -> dict[str, Any]:
    steps = {step: statistics.median(each.steps.get(step, 0.0) for each in ours) for step in ours[0].steps}
    pairs = zip(ours, theirs, strict=True)
    return {
        "job": job.name,
        "limit": job.limit,
        "median_seconds": statistics.median(each.seconds for each in ours),
        "all_seconds": [each.seconds for each in ours],
        "steps": steps,
        "peak_mib": max(each.peak_mib for each in ours),
        "reference": job.reference_name,
        "reference_seconds": statistics.median(each.seconds for each in theirs),
        "ratio": statistics.median(mine.seconds / other.seconds for mine, other in pairs),
    }


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def markdown(found: dict[str, Any]) -> str:
    """The page of what was measured."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {found['machine']}: {found['file']}; medians of {found['repeat']} runs,",
        "each beside its reference in the same run. Seconds differ from machine to machine, ratios hardly.",
        "Peak memory is the process's own, without the database server.",
        "",
        "| job | wanted | seconds | all runs | peak MiB | ratio to reference |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for job in found["jobs"]:
        every = ", ".join(f"{seconds:.1f}" for seconds in job["all_seconds"])
        lines.append(
            f"| {job['job']} | {job['limit']} | {job['median_seconds']:.1f} | {every} | {job['peak_mib']:.0f} "
            f"| {job['ratio']:.2f} |"
        )
    for job in found["jobs"]:
        lines += [
            "",
            f"## {job['job'].title()}",
            "",
            f"Reference ({job['reference_seconds']:.1f} s): {job['reference']}.",
            "",
        ]
        lines += ["| step | seconds |", "| --- | --- |"]
        lines += [f"| {step} | {seconds:.2f} |" for step, seconds in job["steps"].items()]
    lines += ["", *bench_serving.lines(found["serving"])]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each job (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    wanted = parser.parse_args()
    configure_logging(level="WARNING", json_logs=False)
    found = run(wanted.repeat)
    print(markdown(found))
    if wanted.json:
        wanted.json.write_text(json.dumps(found, indent=2) + "\n")
    if wanted.markdown:
        wanted.markdown.write_text(markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
