"""How jobs fail: tried again where that may help, held where not, and never lost."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.errors import AlertNotTold, DatabaseUnavailable, NotEnoughCustomers
from app.jobs.apart import Apart
from app.jobs.failures import FEW_RETRIES, MOST_RETRIES, WorkFailed, failure_of
from app.jobs.handlers import HANDLERS, Means
from app.jobs.worker import delay_after
from app.warehouse.engine import Database
from app.warehouse.jobs import Asked, Job, JobState, enqueue, enqueue_discovery, read_job
from app.warehouse.runs import start_run
from tests.conftest import own_tables
from tests.fakes import a_shop, at, execute, put, value
from tests.jobs.beside import working
from tests.jobs.processes import until


@pytest.fixture(scope="module")
async def database(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """Of their own: a worker takes every job there is."""
    async with own_tables(server_url, settings) as database:
        yield database


async def asked(database: Database, store_id: str) -> int:
    await put(database, store_id, a_shop(2))
    async with database.transaction() as connection:
        job_id = await enqueue(connection, Job.thin, store_id)
    assert job_id is not None
    return job_id


def handled_by(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    async def handler(_means: Means, _job_id: int, _asked: Asked) -> None:
        work()

    monkeypatch.setitem(HANDLERS, Job.thin, handler)


async def until_it_is(database: Database, store_id: str, job_id: int, state: JobState) -> None:
    async def look() -> bool:
        return (await read_job(database, store_id, job_id))["state"] == state

    await until(look)


async def test_what_passes_is_tried_again_later(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def away_at_first() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise DatabaseUnavailable("The database does not answer.")

    handled_by(monkeypatch, away_at_first)
    job_id = await asked(database, store_id)
    async with working(database, settings):

        async def retried() -> bool:
            job = await read_job(database, store_id, job_id)
            return (job["retries"], job["failure"]) == (1, "The database does not answer.")

        await until(retried)
        await until_it_is(database, store_id, job_id, JobState.done)
    assert len(tries) == 2


async def test_an_outage_of_hours_and_many_restarts_lose_no_alert(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slack_is_away() -> None:
        raise AlertNotTold(store_id, reason="Slack cannot be reached", retry_after_seconds=60)

    handled_by(monkeypatch, slack_is_away)
    job_id = await asked(database, store_id)
    restarts = 8
    away = timedelta(hours=8)
    waited, tries = timedelta(0), restarts
    while waited < away:
        waited += delay_after(tries)
        tries += 1
    await execute(database, "UPDATE queue SET attempts = :tries WHERE id = :id", tries=tries, id=job_id)
    async with working(database, settings):

        async def tried_again() -> bool:
            return bool((await read_job(database, store_id, job_id))["retries"] == tries + 1)

        await until(tried_again)
    job = await read_job(database, store_id, job_id)
    assert job["state"] == JobState.waiting
    assert timedelta(minutes=25) < job["next_try_at"] - datetime.now(UTC) <= timedelta(minutes=30)


async def test_what_passes_is_not_tried_for_ever(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseUnavailable("The database does not answer.")

    handled_by(monkeypatch, away)
    job_id = await asked(database, store_id)
    await execute(database, "UPDATE queue SET attempts = :most WHERE id = :id", most=MOST_RETRIES, id=job_id)
    async with working(database, settings):
        await until_it_is(database, store_id, job_id, JobState.failed)


async def test_a_process_that_ends_each_time_is_given_up_within_minutes(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A discovery that memory does not suffice for keeps others from being asked for while it waits."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    await put(database, store_id, a_shop(2))
    async with database.transaction() as connection:
        asked_for = await enqueue_discovery(connection, store_id)
    assert asked_for is not None
    run_id, job_id = asked_for
    await execute(database, "UPDATE queue SET attempts = :few WHERE id = :id", few=FEW_RETRIES - 1, id=job_id)
    async with working(database, settings):

        async def tried() -> bool:
            return int((await read_job(database, store_id, job_id))["retries"]) == FEW_RETRIES

        await until(tried)
        await execute(database, "UPDATE queue SET execute_after = now() WHERE id = :id", id=job_id)
        await until_it_is(database, store_id, job_id, JobState.failed)
    job = await read_job(database, store_id, job_id)
    assert "-9 is what lack of memory looks like" in job["failure"]
    assert await value(database, "SELECT status FROM segmentation_runs WHERE run_id = :r", r=run_id) == "failed"
    assert sum((delay_after(tries) for tries in range(FEW_RETRIES)), timedelta()) < timedelta(minutes=1)


async def test_an_error_of_ours_is_held_without_a_word_of_what_it_was_about(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ValueError("cannot read ada@example.com")

    handled_by(monkeypatch, broken)
    job_id = await asked(database, store_id)
    async with working(database, settings):
        await until_it_is(database, store_id, job_id, JobState.failed)
    failure = (await read_job(database, store_id, job_id))["failure"]
    assert failure.startswith("Something of ours went wrong: ValueError")
    kept = await database.rows("SELECT traceback::text AS told FROM queue_log WHERE job_id = $1", job_id)
    assert not [row for row in kept if "ada@" in (row["told"] or "")]


@pytest.mark.parametrize("ending", ["failed", "to be tried again", "given back"])
async def test_who_has_lost_a_job_to_another_leaves_the_run_to_that_one(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    begun, lost = asyncio.Event(), asyncio.Event()

    async def silent_for_a_lease(_means: Means, _job_id: int, _asked: Asked) -> None:
        begun.set()
        await lost.wait()
        raise ValueError if ending == "failed" else DatabaseUnavailable("The database does not answer.")

    monkeypatch.setitem(HANDLERS, Job.discover, silent_for_a_lease)
    await put(database, store_id, a_shop(2))
    async with database.transaction() as connection:
        asked = await enqueue_discovery(connection, store_id)
        assert asked is not None
    run_id, job_id = asked
    log = "SELECT count(*) FROM queue_log WHERE job_id = :id"
    async with working(database, settings):
        await begun.wait()
        await execute(database, "UPDATE queue SET queue_manager_id = gen_random_uuid() WHERE id = :id", id=job_id)
        async with database.transaction() as connection:
            await start_run(connection, store_id, {}, run_id=run_id)
        before = await value(database, log, id=job_id)
        if ending != "given back":
            lost.set()

            async def ended() -> bool:
                return bool(await value(database, log, id=job_id) > before)

            await until(ended)
    assert await value(database, "SELECT status FROM segmentation_runs WHERE run_id = :r", r=run_id) == "running"


def test_a_failure_says_what_it_was_and_whether_it_passes() -> None:
    too_few = NotEnoughCustomers(found=3, needed=100, store_id="s", as_of=at("2024-01-01"))
    assert (str(failure_of(too_few)), failure_of(too_few).passes) == (str(too_few), False)
    assert failure_of(DatabaseUnavailable("It is away.")).passes
    busy = failure_of(AlertNotTold("s", reason="Slack is busy", retry_after_seconds=90))
    assert (busy.passes, busy.not_before_seconds) == (True, 90)


async def test_whom_postgres_gave_up_in_a_deadlock_is_tried_again(database: Database) -> None:
    both_hold_one = asyncio.Barrier(2)

    async def lock(first: int, then: int) -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": first})
            await both_hold_one.wait()
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": then})

    ended = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    (given_up,) = [error for error in ended if isinstance(error, Exception)]
    failure = failure_of(given_up)
    assert failure.passes
    assert str(failure).startswith("Other work on the same rows was in the way (deadlock detected)")


async def test_work_apart_fails_with_what_was_raised_there(
    database: Database, settings: Settings, store_id: str
) -> None:
    await put(database, store_id, a_shop(3))
    with pytest.raises(WorkFailed, match="has 3 customers") as raised:
        await Apart(database, settings).run("discover", store_id, {})
    assert (raised.value.kind, raised.value.passes) == ("NotEnoughCustomers", False)
