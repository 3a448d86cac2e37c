"""Workers as real processes: `with working(url, folder) as process`, with a lease short enough for tests to wait for.

Production's lease differs in nothing but its length: `app/jobs/worker.py: LEASE`.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TypeVar

from app.core.config import Settings
from app.core.logging import configure_logging
from app.jobs.worker import Worker
from app.warehouse.engine import Database
from tests import waiting

ROOT = Path(__file__).resolve().parents[2]
LEASE = timedelta(seconds=2)
LOOK = timedelta(seconds=0.5)
PATIENCE_SECONDS = 180

T = TypeVar("T")


@contextmanager
def working(url: str, *, grace_seconds: float = 20, log: IO[str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A worker, killed where a test left it running. log : where it writes, and what it starts; None for here"""
    command = [sys.executable, "-m", "tests.jobs.processes", str(grace_seconds)]
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            if process.poll() is None:
                process.kill()


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """What `look` finds, once it finds something, with patience enough for processes."""
    found: T = await waiting.until(look, seconds=PATIENCE_SECONDS)
    return found


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def main() -> None:
    settings = Settings(_env_file=None)
    configure_logging(level="INFO", json_logs=False)
    assert settings.database_url is not None
    database = Database(settings.database_url, settings)
    worker = Worker(database, settings, lease=LEASE, look=LOOK, grace_seconds=float(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await worker.run()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main())
