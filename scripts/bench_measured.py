"""One job, measured by itself: in a process of its own, how long it takes step by step, and how much memory at most."""

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from app.core.config import Environment, load_settings
from app.core.logging import configure_logging
from app.warehouse.engine import Database


@dataclass(frozen=True, slots=True)
class Measured:
    """seconds : wall clock; steps : seconds by step; peak_mib : of the process, without the database server"""

    seconds: float
    steps: dict[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0


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
        self._since, self._step = now, ""


T = TypeVar("T")
Work = Callable[[Database, Steps], Awaitable[object]]


def measured(url: str, work: Work) -> Measured:
    """Do the work on that database and say what it took; opening and closing the database is not counted."""
    configure_logging(level="WARNING", json_logs=False)

    async def timed() -> Measured:
        database = open_database(url)
        steps = Steps()
        started = time.perf_counter()
        await work(database, steps)
        seconds = time.perf_counter() - started
        steps.stop()
        await database.close()
        return Measured(seconds=seconds, steps=steps.seconds, peak_mib=peak_mib())

    return asyncio.run(timed())


def apart(work: Callable[..., T], *arguments: object) -> T:
    """In a new process, so that one job's memory is not counted for another."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def open_database(url: str) -> Database:
    return Database(url, load_settings().model_copy(update={"env": Environment.development}))


def peak_mib() -> float:
    """The most memory this process has held at once.

    Not as getrusage tells it: where a process is forked, that begins with what its parent held.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on macOS
    (line,) = [each for each in status.read_text().splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def median_steps(runs: Sequence[Measured]) -> str:
    """Where the time goes: the median of each step, in the order they come, those that take no time left out."""
    medians = {step: statistics.median(each.steps.get(step, 0.0) for each in runs) for step in runs[0].steps}
    return ", ".join(f"{step} {seconds:.2g} s" for step, seconds in medians.items() if seconds >= 0.005)


def median_ratio(some: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios run by run: what slows both of a pair does not change it."""
    return statistics.median(one / other for one, other in zip(some, others, strict=True))


def note(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)
