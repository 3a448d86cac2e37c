"""What is due by a schedule is asked for, also where something was away when it was due."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.jobs import schedule
from app.jobs.handlers import HANDLERS
from app.warehouse.audit import AuditNote, write_audit
from app.warehouse.engine import Database
from app.warehouse.jobs import LOOKING, Job, worker_seen_at
from tests.conftest import own_tables
from tests.fakes import a_shop, execute, put, rows, value
from tests.jobs.beside import working
from tests.jobs.processes import until

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
async def migrated(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """Of their own: a worker fires every schedule there is."""
    async with own_tables(server_url, settings) as database:
        yield database


@pytest.fixture
async def database(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Empty again for each test; what is asked for is done in a moment."""

    async def done(*_: object) -> None:
        pass

    monkeypatch.setitem(HANDLERS, Job.discover, done)
    await execute(migrated, "TRUNCATE stores, queue, queue_log, queue_schedules CASCADE")
    return migrated


async def put_due(database: Database, settings: Settings, *, status: str = "queued") -> None:
    """Since long ago; picked, it is so by a worker that has been silent since."""
    await execute(
        database,
        "INSERT INTO queue_schedules (entrypoint, expression, next_run, status, heartbeat) "
        "VALUES ('discover', :when, '2020-01-01', CAST(:status AS queue_status), '2020-01-01') "
        "ON CONFLICT (entrypoint, expression) DO UPDATE SET next_run = excluded.next_run, status = excluded.status, "
        "heartbeat = excluded.heartbeat",
        when=settings.discovery_schedule,
        status=status,
    )


async def asked(database: Database) -> bool:
    return bool(await value(database, "SELECT count(*) FROM jobs WHERE job = 'discover'"))


async def test_when_a_worker_last_looked_is_known(database: Database, settings: Settings) -> None:
    assert await worker_seen_at(database) is None
    await execute(
        database,
        "INSERT INTO queue_schedules (entrypoint, expression, next_run) VALUES (:look, '* * * * *', '2020-01-01')",
        look=LOOKING,
    )
    began = datetime.now(UTC)
    async with working(database, settings):

        async def seen() -> datetime | None:
            return await worker_seen_at(database)

        assert await until(seen) >= began - timedelta(seconds=1)


async def test_every_night_notes_of_who_has_seen_whom_are_forgotten_that_are_too_old(
    database: Database, store_id: str
) -> None:
    """Once for all stores, those included of which nothing is served."""
    async with database.transaction() as connection:
        for days in (8, 6):
            seen = AuditNote(store_id, datetime.now(UTC) - timedelta(days=days), "key00001", f"{days} days ago", None)
            await write_audit(connection, [seen])
    await schedule.rescore_everywhere(database, audit_days=7)
    left = "SELECT action FROM audit_log WHERE store_id = :s"
    assert await rows(database, left, s=store_id) == [("6 days ago",)]


async def test_a_schedule_that_is_due_while_the_database_is_away_fires_when_it_is_back(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Ask = schedule.enqueue_discovery
    tries = []

    async def away_at_first(*arguments: object) -> object:
        tries.append(1)
        if len(tries) <= 2:
            raise DatabaseUnavailable("The database does not answer.")
        return await whole(*arguments)

    monkeypatch.setattr(schedule, "enqueue_discovery", away_at_first)
    await put(database, store_id, a_shop(2))
    await put_due(database, settings)
    async with working(database, settings):
        await until(lambda: asked(database))
    assert len(tries) == 3


async def test_a_schedule_that_could_not_fire_before_its_worker_ended_is_due_for_the_next(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def away(*_: object) -> None:
        tried.set()
        raise DatabaseUnavailable("The database does not answer.")

    await put(database, store_id, a_shop(2))
    await put_due(database, settings)
    with monkeypatch.context() as while_away:
        while_away.setattr(schedule, "enqueue_discovery", away)
        async with working(database, settings):
            await tried.wait()
        assert not await asked(database)
    async with working(database, settings):
        await until(lambda: asked(database))


async def test_a_schedule_whose_worker_died_firing_it_is_fired_by_one_that_runs(
    database: Database, settings: Settings, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which looks every minute; here, with seconds in a sixth place, every second."""
    assert schedule._LOOK == "* * * * *"
    monkeypatch.setattr(schedule, "_LOOK", "* * * * * *")
    await put(database, store_id, a_shop(2))
    async with working(database, settings):
        looks = "SELECT count(*) FROM queue_schedules WHERE entrypoint = 'look' AND last_run IS NOT NULL"

        async def looked() -> bool:
            return bool(await value(database, looks))

        await until(looked)
        await put_due(database, settings, status="picked")
        await until(lambda: asked(database))
