"""The machine's clock is set while it works: what is leased, kept or waited for goes by clocks that nobody sets.

Leases, retries, what is due and what is kept for a day go by the database's; patience, and the age of connections
(tests/warehouse/test_faults.py), by the event loop's. The machine's own says what "now" is for a customer, and how far
off the next time of a schedule is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pgqueuer.core.executors
import pgqueuer.domain.models
import pytest

from app.core.config import Settings
from app.jobs.handlers import HANDLERS, Means
from app.jobs.worker import Worker
from app.warehouse.engine import Database
from app.warehouse.jobs import Asked, Job, JobState, enqueue, read_job
from tests.conftest import own_tables
from tests.fakes import a_shop, execute, put, value
from tests.jobs.processes import until

LEASE = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
async def database(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """Of their own: a worker takes every job there is."""
    async with own_tables(server_url, settings) as database:
        yield database


@contextmanager
def clock_set(by: timedelta) -> Iterator[None]:
    """As the queue, SQLAlchemy and the loggers read it."""
    real_time, real_now = time.time, pgqueuer.domain.models.utc_now

    def now() -> datetime:
        return real_now() + by

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real_time() + by.total_seconds())
        for module in (pgqueuer.domain.models, pgqueuer.core.executors):
            patch.setattr(module, "utc_now", now)
        yield


async def test_a_job_stays_its_workers_whichever_way_the_clock_is_set(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker looks for jobs of the dead all the while."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def takes_its_time(_means: Means, _job_id: int, _asked: Asked) -> None:
        begun.set()
        await may_end.wait()

    monkeypatch.setitem(HANDLERS, Job.thin, takes_its_time)
    await put(database, store_id, a_shop(2))
    async with database.transaction() as connection:
        job_id = await enqueue(connection, Job.thin, store_id)
    assert job_id is not None
    look = timedelta(seconds=0.2)
    workers = [Worker(database, settings, lease=LEASE, look=look, grace_seconds=0) for _ in range(2)]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        await begun.wait()
        for by in (HOUR, -HOUR):
            with clock_set(by):
                await asyncio.sleep(1.5 * LEASE.total_seconds())
        may_end.set()

        async def is_done() -> bool:
            return (await read_job(database, store_id, job_id))["state"] == JobState.done

        await until(is_done)
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.gather(*running)
    picked = "SELECT count(*) FROM queue_log WHERE job_id = :id AND status = 'picked'"
    assert await value(database, picked, id=job_id) == 1


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forwards", "backwards"])
async def test_a_job_that_waits_comes_due_by_the_databases_clock(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch, by: timedelta
) -> None:
    done = asyncio.Event()

    async def do(_means: Means, _job_id: int, _asked: Asked) -> None:
        done.set()

    monkeypatch.setitem(HANDLERS, Job.thin, do)
    await put(database, store_id, a_shop(2))
    async with database.transaction() as connection:
        job_id = await enqueue(connection, Job.thin, store_id)
    await execute(database, "UPDATE queue SET execute_after = now() + interval '1 second' WHERE id = :id", id=job_id)
    began = time.monotonic()
    worker = Worker(database, settings, look=timedelta(seconds=0.1), grace_seconds=0)
    with clock_set(by):
        running = asyncio.create_task(worker.run())
        await asyncio.wait_for(done.wait(), 20)
    assert time.monotonic() - began > 0.8
    worker.stop()
    await running
