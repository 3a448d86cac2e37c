"""An erasure that was cut short is ended by a worker."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.core.config import Settings
from app.jobs import schedule
from app.pipeline.erasing import request
from app.warehouse.engine import Database
from app.warehouse.jobs import Job, read_jobs
from app.warehouse.stores import hold_imports
from tests.conftest import own_tables
from tests.fakes import SECRET, bought, erasure_noted, execute, put, rows
from tests.jobs.beside import working
from tests.jobs.processes import until

ROOT = Path(__file__).resolve().parents[2]
#: Erases somebody, and is killed when that is noted and nothing is removed.
KILLED = """
import asyncio, os, signal
from app.core.config import Settings
from app.pipeline import erasing
from app.warehouse.engine import Database
from tests.fakes import erasure_noted

async def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    settings = Settings(_env_file=None)
    database = Database(settings.database_url, settings)
    asked = {"secret": b"a secret of the tests", "by": "KEY00001", "noted": erasure_noted("corner")}
    await erasing.erase(database, "corner", customer_id="ada", patience_seconds=5.0, **asked)

erasing.complete = killed
asyncio.run(main())
"""


@pytest.fixture(scope="module")
async def migrated(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """Of their own: a worker takes every job there is."""
    async with own_tables(server_url, settings) as database:
        yield database


@pytest.fixture
async def database(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Empty again for each test; what is due every minute is due every second."""
    monkeypatch.setattr(schedule, "_LOOK", "* * * * * *")
    await execute(migrated, "TRUNCATE stores, audit_log, queue, queue_log, queue_schedules CASCADE")
    for who in ("ada", "bea"):
        await put(migrated, "corner", bought(who, f"{who}-o1", "2024-03-01", ("tea", "2", "3.50")))
    return migrated


async def customers(database: Database) -> list[str]:
    return [name for (name,) in await rows(database, "SELECT customer_id FROM customers ORDER BY customer_id")]


async def receipts(database: Database) -> list[tuple[Any, ...]]:
    return await rows(database, "SELECT state, customer_id, requested_by FROM erasures")


async def test_what_a_killed_process_had_noted_a_worker_does(database: Database, settings: Settings) -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": database.url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED]
    kept = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 60}
    done = await asyncio.to_thread(subprocess.run, command, **kept)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert await receipts(database) == [("requested", "ada", "KEY00001")]
    (receipt,) = await rows(database, "SELECT receipt_id FROM erasures")
    assert await rows(database, "SELECT object FROM audit_log WHERE action = 'person.erase'") == [receipt]
    assert await customers(database) == ["ada", "bea"]
    async with working(database, settings):

        async def gone() -> bool:
            return await customers(database) == ["bea"]

        await until(gone)
    assert await receipts(database) == [("done", None, "KEY00001")]


async def test_what_has_to_wait_is_looked_at_again_until_it_is_done(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.pipeline.erasing._WORKER_PATIENCE_SECONDS", 0.05)
    asked = {"secret": SECRET, "by": "KEY00001", "noted": erasure_noted("corner")}
    await request(database, "corner", customer_id="ada", email=None, **asked)  # type: ignore[arg-type]

    async def tried() -> int:
        jobs = await read_jobs(database, "corner", state=None, before=None, limit=9)
        return sum(job["job"] == Job.erase and job["state"] == "done" for job in jobs)

    async def gone() -> bool:
        return await customers(database) == ["bea"]

    async with working(database, settings):
        async with database.transaction() as importing:
            await hold_imports(importing, "corner")
            await until(tried)
            assert await customers(database) == ["ada", "bea"]
        await until(gone)


async def test_where_nobody_is_to_be_erased_nothing_is_asked_for(database: Database, settings: Settings) -> None:
    fired = "SELECT 1 FROM queue_schedules WHERE entrypoint = 'erase' AND last_run IS NOT NULL"
    async with working(database, settings):
        await until(lambda: rows(database, fired))
    assert await read_jobs(database, "corner", state=None, before=None, limit=9) == []
