"""What Postgres cannot do at the moment is unavailable, over either pool; what was asked of it wrongly is our fault."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.warehouse import engine
from app.warehouse.engine import Database, raw
from tests.fakes import execute, value

#: What Postgres says, by SQLSTATE, and what the log is to say of it.
PASSING = {
    "40001": "Other work on the same rows",
    "40P01": "Other work on the same rows",
    "53100": "disk of the database is full",
    "53200": "out of memory",
    "53300": "no connection left",
    "55P03": "held what was needed",
    "57014": "did not answer in time",
    "57P01": "is stopped",
    "57P02": "has crashed",
    "57P03": "starts or stops",
}
OURS = ("22012", "23505", "42601", "XX000")

Ask = Callable[[Database, str], Awaitable[object]]


async def over_readers(database: Database, query: str) -> object:
    return await database.row(query)


async def in_a_snapshot(database: Database, query: str) -> object:
    async with database.snapshot() as connection:
        return (await connection.execute(text(query))).one()


async def in_a_transaction(database: Database, query: str) -> object:
    async with database.transaction() as connection:
        return (await connection.execute(text(query))).one()


async def over_the_driver(database: Database, query: str) -> object:
    """As copying is, past SQLAlchemy."""
    async with database.transaction() as connection:
        return await (await raw(connection)).fetchrow(query)


WAYS = [over_readers, in_a_snapshot, in_a_transaction, over_the_driver]


@pytest.fixture(scope="module")
async def failing(database: Database) -> AsyncIterator[Database]:
    """With a function that fails as it is told to."""
    await execute(
        database,
        "CREATE FUNCTION fail_with(state text) RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = state; END $$",
    )
    yield database
    await execute(database, "DROP FUNCTION fail_with")


@pytest.fixture
def hasty(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """As for a request, with less patience."""
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 0.4)
    return database.for_requests()


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("state", PASSING)
async def test_what_passes_is_unavailable_and_the_log_says_which(failing: Database, ask: Ask, state: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=PASSING[state]) as told:
        await ask(failing, f"SELECT fail_with('{state}')")
    assert "as told" in str(told.value)
    assert await value(failing, "SELECT 1") == 1


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("state", OURS)
async def test_what_is_our_own_fault_is_told_as_it_is(failing: Database, ask: Ask, state: str) -> None:
    with pytest.raises((DBAPIError, asyncpg.PostgresError)):
        await ask(failing, f"SELECT fail_with('{state}')")


async def test_being_refused_to_write_is_a_writers_trouble_and_a_readers_own_fault(failing: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="only reads"):
        await in_a_transaction(failing, "SELECT fail_with('25006')")
    for ask in (over_readers, in_a_snapshot):
        with pytest.raises((DBAPIError, asyncpg.PostgresError)):
            await ask(failing, "SELECT fail_with('25006')")


@pytest.mark.parametrize("ask", WAYS)
async def test_a_table_that_is_not_there_yet_is_a_matter_of_time_for_requests(database: Database, ask: Ask) -> None:
    with pytest.raises(DatabaseUnavailable, match="Migrate"):
        await ask(database.for_requests(), "SELECT * FROM not_there_yet")


async def test_to_a_job_a_table_that_is_not_there_is_a_fault_of_ours(database: Database) -> None:
    with pytest.raises(DBAPIError, match="not_there_yet"):
        await in_a_transaction(database, "SELECT * FROM not_there_yet")


@pytest.mark.parametrize("ask", [in_a_snapshot, in_a_transaction, over_the_driver])
async def test_a_statement_of_a_request_that_takes_too_long_is_cut(hasty: Database, ask: Ask) -> None:
    with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
        await ask(hasty, "SELECT pg_sleep(20)")
    assert await value(hasty, "SELECT 1") == 1


async def test_a_request_waits_half_as_long_for_a_lock(hasty: Database) -> None:
    lock = "SELECT pg_advisory_xact_lock(815)"
    async with hasty.for_work().transaction() as connection:
        await connection.execute(text(lock))
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            await in_a_transaction(hasty, lock)


async def test_a_request_that_asks_again_and_again_is_hung_up_on(hasty: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="hung up"):
        async with hasty.snapshot() as connection:
            for _ in range(20):
                await connection.execute(text("SELECT pg_sleep(0.1)"))
    assert await value(hasty, "SELECT 1") == 1


async def test_work_of_a_job_takes_as_long_as_it_takes_over_the_same_connections(hasty: Database) -> None:
    await value(hasty, "SELECT 1")
    settings = "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout')"
    assert await value(hasty, settings) == "400ms 200ms"
    for _ in range(10):
        assert await value(hasty.for_work(), settings) == "0 0"
    async with hasty.for_work().transaction() as connection:
        await connection.execute(text("SELECT pg_sleep(1)"))


async def test_a_snapshot_beside_another_has_the_limits_too(hasty: Database) -> None:
    async with hasty.snapshot() as connection, hasty.snapshot(beside=connection) as beside:
        assert await beside.scalar(text("SELECT current_setting('statement_timeout')")) == "400ms"


async def test_who_is_in_a_hurry_works_with_the_same_database(database: Database) -> None:
    assert database.for_requests() == database == database.for_work()
    assert len({database, database.for_requests()}) == 1
    assert database != object()


async def test_connections_are_replaced_when_they_are_old_by_a_clock_that_nobody_sets(
    empty_database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(empty_database_url, settings.model_copy(update={"db_pool_size": 2, "db_max_overflow": 0}))
    pid = "SELECT pg_backend_pid()"
    try:
        reading, writing = (await database.row(pid))[0], await value(database, pid)
        real = time.time
        for hours in (-1, 1):
            monkeypatch.setattr(time, "time", lambda hours=hours: real() + 3600 * hours)
            assert ((await database.row(pid))[0], await value(database, pid)) == (reading, writing)
        for line in (*database._readers._idle, *database._pool._lines):
            line.opened_at -= settings.db_pool_recycle
        assert (await database.row(pid))[0] != reading
        assert await value(database, pid) != writing
    finally:
        await database.close()


@pytest.mark.parametrize("pre_ping", [True, False])
async def test_a_connection_that_was_cut_while_idle_is_replaced_unnoticed(
    empty_database_url: str, settings: Settings, database: Database, pre_ping: bool
) -> None:
    few = settings.model_copy(update={"db_pool_size": 2, "db_max_overflow": 0, "db_pool_pre_ping": pre_ping})
    own = Database(empty_database_url, few)
    try:
        before = await value(own, "SELECT pg_backend_pid()")
        await execute(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=before)
        assert await value(own, "SELECT pg_backend_pid()") != before
    finally:
        await own.close()
