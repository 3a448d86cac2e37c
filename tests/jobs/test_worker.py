"""The worker, as real processes: killed, stopped, doubled, cut off."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.jobs.worker import LEASE, LOOK
from app.warehouse.engine import Database, Row
from app.warehouse.jobs import Job, JobState, enqueue, enqueue_discovery, read_job, read_jobs, replay
from app.warehouse.migrate import migrate
from tests.conftest import own_database
from tests.fakes import a_shop, bought, execute, put, rows, segmented, value
from tests.jobs import processes
from tests.jobs.processes import children_of, is_alive, until, working

CUSTOMERS = 110


@pytest.fixture(scope="module")
async def url(server_url: str) -> AsyncIterator[str]:
    """A database of their own: a worker takes every job there is, whoever's test asked for it."""
    async with own_database(server_url) as url:
        yield url


@pytest.fixture(scope="module")
async def migrated(url: str, settings: Settings) -> AsyncIterator[Database]:
    database = Database(url, settings)
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
async def database(migrated: Database) -> Database:
    """Empty again for each test."""
    await execute(migrated, "TRUNCATE stores, queue, queue_log, queue_schedules CASCADE")
    return migrated


async def discovery_asked_of(database: Database, store_id: str) -> tuple[int, int]:
    async with database.transaction() as connection:
        asked = await enqueue_discovery(connection, store_id, {"min_k": 2, "max_k": 2})
    assert asked is not None
    return asked


async def jobs_of(database: Database, store_id: str) -> Sequence[Row]:
    return await read_jobs(database, store_id, state=None, before=None, limit=9)


async def run_status(database: Database, run_id: int) -> str:
    return str(await value(database, "SELECT status FROM segmentation_runs WHERE run_id = :run", run=run_id))


async def served(database: Database, store_id: str) -> int | None:
    found: int | None = await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id)
    return found


async def times_begun(database: Database, job_id: int) -> int:
    picked = "SELECT count(*) FROM queue_log WHERE job_id = :id AND status = 'picked'"
    return int(await value(database, picked, id=job_id))


async def until_run_is(database: Database, run_id: int, status: str) -> None:
    async def look() -> bool:
        return await run_status(database, run_id) == status

    await until(look)


async def until_job_is(database: Database, store_id: str, job_id: int, state: JobState) -> None:
    async def look() -> bool:
        return (await read_job(database, store_id, job_id))["state"] == state

    await until(look)


async def until_begun(database: Database, job_id: int, *, times: int) -> None:
    async def look() -> bool:
        return await times_begun(database, job_id) >= times

    await until(look)


async def until_dead(pid: int) -> None:
    async def look() -> bool:
        return not is_alive(pid)

    await until(look)


def test_what_a_killed_worker_had_is_taken_within_a_minute() -> None:
    a_minute = timedelta(seconds=60)
    assert a_minute > (LEASE + LOOK) * 2


async def test_a_discovery_whose_worker_is_killed_goes_on_with_another(
    database: Database, url: str, store_id: str
) -> None:
    await put(database, store_id, a_shop(CUSTOMERS))
    before = (await segmented(database, store_id)).run_id
    run_id, job_id = await discovery_asked_of(database, store_id)
    with working(url) as doomed:
        await until_run_is(database, run_id, "running")
        (child,) = children_of(doomed.pid)
        doomed.kill()
        doomed.wait()
    await until_dead(child)
    assert await served(database, store_id) == before
    with working(url) as heir:
        began = time.monotonic()
        await until_begun(database, job_id, times=2)
        assert time.monotonic() - began < 60 - (LEASE - processes.LEASE).total_seconds()
        await until_job_is(database, store_id, job_id, JobState.done)
        heir.terminate()
        assert heir.wait(timeout=30) == 0
    assert await run_status(database, run_id) == "published"
    assert await served(database, store_id) == run_id
    assert await value(database, "SELECT count(*) FROM segmentation_runs") == 2


async def test_of_two_workers_one_does_the_job(database: Database, url: str, store_id: str) -> None:
    await put(database, store_id, a_shop(CUSTOMERS))
    run_id, job_id = await discovery_asked_of(database, store_id)
    with working(url), working(url):
        await until_job_is(database, store_id, job_id, JobState.done)
    assert await times_begun(database, job_id) == 1
    assert await rows(database, "SELECT run_id, status FROM segmentation_runs") == [(run_id, "published")]


async def test_work_that_waits_for_a_lock_goes_on_when_that_is_free_and_is_nobody_elses_meanwhile(
    database: Database, url: str, store_id: str
) -> None:
    await put(database, store_id, a_shop(CUSTOMERS))
    with working(url), working(url):
        async with database.transaction() as beside:
            await beside.execute(text("LOCK TABLE orders"))
            run_id, job_id = await discovery_asked_of(database, store_id)
            await until_begun(database, job_id, times=1)
            beat = await value(database, "SELECT heartbeat FROM queue WHERE id = :id", id=job_id)
            await asyncio.sleep(2 * processes.LEASE.total_seconds())
            # Its worker stays alive to the other while it takes.
            assert await value(database, "SELECT heartbeat FROM queue WHERE id = :id", id=job_id) > beat
            assert (await read_job(database, store_id, job_id))["state"] == JobState.running
        await until_job_is(database, store_id, job_id, JobState.done)
    assert await times_begun(database, job_id) == 1
    assert await served(database, store_id) == run_id


async def test_a_job_given_out_twice_has_its_effect_once(database: Database, url: str, store_id: str) -> None:
    """As when a worker falls silent while it is still at it: another gets the job as well."""
    await put(database, store_id, a_shop(CUSTOMERS))
    run_id, job_id = await discovery_asked_of(database, store_id)
    with working(url), working(url):
        await until_run_is(database, run_id, "running")
        await execute(database, "UPDATE queue SET status = 'queued', queue_manager_id = NULL WHERE id = :id", id=job_id)
        await until_job_is(database, store_id, job_id, JobState.done)
    assert await times_begun(database, job_id) == 2
    assert await rows(database, "SELECT run_id, status FROM segmentation_runs") == [(run_id, "published")]


async def test_told_to_stop_a_worker_ends_what_it_is_at(database: Database, url: str, store_id: str) -> None:
    await put(database, store_id, a_shop(CUSTOMERS))
    run_id, job_id = await discovery_asked_of(database, store_id)
    with working(url) as worker:
        await until_run_is(database, run_id, "running")
        worker.terminate()
        assert worker.wait(timeout=30) == 0
    assert (await read_job(database, store_id, job_id))["state"] == JobState.done
    assert await served(database, store_id) == run_id


async def test_what_does_not_end_in_time_is_given_back_and_goes_on_at_once_elsewhere(
    database: Database, url: str, store_id: str
) -> None:
    await put(database, store_id, a_shop(CUSTOMERS))
    run_id, job_id = await discovery_asked_of(database, store_id)
    with working(url, grace_seconds=0) as worker:
        await until_run_is(database, run_id, "running")
        (child,) = children_of(worker.pid)
        worker.terminate()
        assert worker.wait(timeout=30) == 0
        assert not is_alive(child)
    job = await read_job(database, store_id, job_id)
    assert (job["state"], job["failure"]) == (JobState.waiting, "Its worker was stopped.")
    assert await run_status(database, run_id) == "queued"
    with working(url):
        await until_job_is(database, store_id, job_id, JobState.done)
    assert await served(database, store_id) == run_id


async def test_a_worker_cut_off_from_the_database_comes_back_and_goes_on(
    database: Database, url: str, store_id: str
) -> None:
    await put(database, store_id, a_shop(CUSTOMERS))
    run_id, job_id = await discovery_asked_of(database, store_id)
    with working(url) as worker:
        await until_run_is(database, run_id, "running")
        await execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        await until_job_is(database, store_id, job_id, JobState.done)
        assert worker.poll() is None
    assert await served(database, store_id) == run_id


async def test_a_job_that_fails_is_held_with_the_reason_until_it_is_tried_again(
    database: Database, url: str, store_id: str
) -> None:
    await put(database, store_id, a_shop(CUSTOMERS - 60))
    run_id, job_id = await discovery_asked_of(database, store_id)
    with working(url):
        await until_job_is(database, store_id, job_id, JobState.failed)
        (job,) = await read_jobs(database, store_id, state=JobState.failed, before=None, limit=9)
        assert job["failure"].startswith(f"Store '{store_id}' has 50 customers with a purchase")
        assert job["finished_at"] is not None
        failed = await rows(database, "SELECT status, failure FROM segmentation_runs WHERE run_id = :r", r=run_id)
        assert failed == [("failed", job["failure"])]
        await put(database, store_id, a_shop(CUSTOMERS))
        async with database.transaction() as connection:
            await replay(connection, store_id, job_id)
        await until_job_is(database, store_id, job_id, JobState.done)
    assert await served(database, store_id) == run_id


async def test_an_import_has_those_it_changes_scored_and_a_day_everyone(
    database: Database, url: str, store_id: str
) -> None:
    await put(database, store_id, a_shop(CUSTOMERS))
    first = (await segmented(database, store_id)).run_id
    with working(url):
        await put(database, store_id, bought("c001", "new", "2024-03-01", ("P1", "2", "3.50")))
        (scoring,) = await jobs_of(database, store_id)
        assert scoring["job"] == Job.score
        await until_job_is(database, store_id, scoring["job_id"], JobState.done)
        to_score = "SELECT count(*) FROM customers_changed WHERE scored_run_id IS DISTINCT FROM :run"
        assert await value(database, to_score, run=first) == 0
        async with database.transaction() as connection:
            job_id = await enqueue(connection, Job.rescore, store_id)
        assert job_id is not None
        await until_job_is(database, store_id, job_id, JobState.done)
        (thinning,) = [job for job in await jobs_of(database, store_id) if job["job"] == Job.thin]
        await until_job_is(database, store_id, thinning["job_id"], JobState.done)
    assert await value(database, "SELECT count(*) FROM customers_changed") == 0
    assert [job["job"] for job in await jobs_of(database, store_id)] == [Job.thin, Job.rescore, Job.score]
    kinds = await rows(database, "SELECT run_id, kind, status FROM segmentation_runs ORDER BY run_id")
    assert kinds == [(first, "discovery", "published"), (await served(database, store_id), "rescoring", "published")]


def fires(logs: Sequence[Path]) -> list[str]:
    """The jobs of the schedules that have fired in these workers."""
    return re.findall(r"schedule\.fired .*\bjob=(\w+)", "".join(log.read_text() for log in logs))


async def test_a_schedule_that_is_due_fires_once_however_many_workers_there_are(
    database: Database, url: str, store_id: str, tmp_path: Path
) -> None:
    await put(database, store_id, a_shop(CUSTOMERS - 60))  # too few: the discovery ends at once
    for what, when in (("rescore", "0 2 * * *"), ("discover", "0 3 * * 0"), ("discover", "0 4 * * 0")):
        await execute(
            database,
            "INSERT INTO queue_schedules (entrypoint, expression, next_run) VALUES (:what, :when, '2020-01-01')",
            what=what,
            when=when,
        )
    logs = [tmp_path / name for name in ("one", "other")]

    schedules = "SELECT count(*) FROM queue_schedules WHERE entrypoint IN ('rescore', 'discover')"

    async def fired() -> bool:
        return int(await value(database, f"{schedules} AND last_run IS NOT NULL")) == 2

    async def told() -> bool:
        return all("worker.ready" in log.read_text() for log in logs) and len(fires(logs)) >= 2

    with ExitStack() as stack:
        for log in logs:
            stack.enter_context(working(url, log=stack.enter_context(log.open("w"))))
        await until(fired)
        await until(told)
        await asyncio.sleep(2 * processes.LOOK.total_seconds())  # each looks as soon as it is ready
    # What is asked for twice is in the queue once, so each says for itself what it has fired.
    assert sorted(fires(logs)) == ["discover", "rescore"]
    assert [job["job"] for job in await jobs_of(database, store_id)] == [
        Job.discover
    ]  # nothing is served that could be rescored
    assert await value(database, f"{schedules} AND next_run < now()") == 0
    assert await value(database, schedules) == 2  # the one set before is gone
