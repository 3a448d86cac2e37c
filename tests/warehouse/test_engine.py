"""The connection: one place that commits, snapshots of one moment, a lock that ends with its holder."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable, NotFound
from app.warehouse.engine import Database, raw
from tests.conftest import own_database
from tests.fakes import execute, value

LOCK = 4_711


class Change(Exception):
    """Of mind."""


@pytest.fixture(scope="module")
async def notes(database: Database) -> AsyncIterator[Database]:
    """The database with a table of our own to write into."""
    await execute(database, "CREATE TABLE test_notes (note text)")
    yield database
    await execute(database, "DROP TABLE test_notes")


async def write(database: Database, note: str) -> None:
    await execute(database, "INSERT INTO test_notes VALUES (:note)", note=note)


async def count(database: Database, note: str) -> int:
    return int(await value(database, "SELECT count(*) FROM test_notes WHERE note = :note", note=note))


async def test_a_transaction_is_kept_when_its_block_ends_well(notes: Database, store_id: str) -> None:
    async with notes.transaction() as connection:
        await connection.execute(text("INSERT INTO test_notes VALUES (:note)"), {"note": store_id})
        assert await count(notes, store_id) == 0
    assert await count(notes, store_id) == 1


async def test_a_transaction_leaves_nothing_when_its_block_fails(notes: Database, store_id: str) -> None:
    with pytest.raises(Change):
        async with notes.transaction() as connection:
            await connection.execute(text("INSERT INTO test_notes VALUES (:note)"), {"note": store_id})
            raise Change
    assert await count(notes, store_id) == 0


async def test_a_rehearsed_transaction_sees_its_own_work_and_leaves_nothing(notes: Database, store_id: str) -> None:
    async with notes.transaction(keep=False) as connection:
        await connection.execute(text("INSERT INTO test_notes VALUES (:note)"), {"note": store_id})
        seen = await connection.execute(text("SELECT count(*) FROM test_notes WHERE note = :note"), {"note": store_id})
        assert seen.scalar_one() == 1
    assert await count(notes, store_id) == 0


async def test_copying_belongs_to_the_transaction_too(notes: Database, store_id: str) -> None:
    async with notes.transaction(keep=False) as connection:
        driver = await raw(connection)
        await driver.copy_to_table("test_notes", source=BytesIO(store_id.encode() + b"\n"), format="csv")
        assert await driver.fetchval("SELECT count(*) FROM test_notes WHERE note = $1", store_id) == 1
    assert await count(notes, store_id) == 0


async def test_a_snapshot_sees_one_moment_however_many_statements_it_takes(notes: Database, store_id: str) -> None:
    query = text("SELECT count(*) FROM test_notes WHERE note = :note")
    async with notes.snapshot() as connection:
        assert (await connection.execute(query, {"note": store_id})).scalar_one() == 0
        await write(notes, store_id)
        assert (await connection.execute(query, {"note": store_id})).scalar_one() == 0
    assert await count(notes, store_id) == 1


async def test_a_snapshot_beside_another_sees_the_same_moment(notes: Database, store_id: str) -> None:
    query = text("SELECT count(*) FROM test_notes WHERE note = :note")
    async with notes.snapshot() as connection:
        assert (await connection.execute(query, {"note": store_id})).scalar_one() == 0
        await write(notes, store_id)
        async with notes.snapshot(beside=connection) as beside:
            assert (await beside.execute(query, {"note": store_id})).scalar_one() == 0
        async with notes.snapshot() as later:
            assert (await later.execute(query, {"note": store_id})).scalar_one() == 1


async def test_what_a_request_reads_of_much_is_planned_for_its_own_days_however_often_it_is_asked(
    empty_database_url: str, settings: Settings
) -> None:
    one_connection = settings.model_copy(update={"db_pool_size": 1, "db_max_overflow": 0})
    database = Database(empty_database_url, one_connection)
    asked = text("SELECT count(*) FROM pg_class WHERE relname = :name")
    for _ in range(8):  # the server itself thinks again after five
        async with database.for_requests().snapshot() as connection:
            await connection.execute(asked, {"name": "orders"})
    plans = (
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements"
        " WHERE statement LIKE 'SELECT count(*) FROM pg_class%'"
    )
    async with database.for_requests().snapshot() as connection:
        assert (await connection.execute(text(plans))).all() == [(0, 8)]
    await database.close()


async def test_a_snapshot_only_reads(notes: Database, store_id: str) -> None:
    with pytest.raises(DBAPIError, match="read-only"):
        async with notes.snapshot() as connection:
            await connection.execute(text("INSERT INTO test_notes VALUES (:note)"), {"note": store_id})


async def test_a_connection_used_for_reading_or_locking_writes_again_afterwards(
    empty_database_url: str, notes: Database, settings: Settings, store_id: str
) -> None:
    one = Database(empty_database_url, settings.model_copy(update={"db_pool_size": 1, "db_max_overflow": 0}))
    try:
        async with one.snapshot() as connection:
            await connection.execute(text("SELECT 1"))
        async with one.session_lock(LOCK):
            pass
        with pytest.raises(Change):
            async with one.transaction() as connection:
                await connection.execute(text("INSERT INTO test_notes VALUES (:note)"), {"note": store_id})
                raise Change
        assert await count(one, store_id) == 0
        await write(one, store_id)
        assert await count(one, store_id) == 1
    finally:
        await one.close()


async def test_a_lock_is_held_by_one_at_a_time_and_free_afterwards(database: Database) -> None:
    async with database.session_lock(LOCK) as first, database.session_lock(LOCK) as second:
        assert (first, second) == (True, False)
        async with database.session_lock(LOCK + 1) as other:
            assert other
    async with database.session_lock(LOCK) as again:
        assert again


async def test_whoever_did_not_get_the_lock_does_not_free_it(database: Database) -> None:
    async with database.session_lock(LOCK):
        async with database.session_lock(LOCK) as second:
            assert not second
        async with database.session_lock(LOCK) as third:
            assert not third


@pytest.mark.parametrize("end", [Change, asyncio.CancelledError])
async def test_a_lock_is_free_after_a_failure(database: Database, end: type[BaseException]) -> None:
    with pytest.raises(end):
        async with database.session_lock(LOCK):
            raise end
    async with database.session_lock(LOCK) as free:
        assert free


HOLD_LOCK = """
import asyncio, sys
from app.core.config import Settings
from app.warehouse.engine import Database

async def main():
    async with Database(sys.argv[1], Settings(_env_file=None)).session_lock(int(sys.argv[2])) as got:
        print("got" if got else "refused", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_killed_process_gives_its_lock_up(database: Database, empty_database_url: str) -> None:
    command = [sys.executable, "-c", HOLD_LOCK, empty_database_url, str(LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:  # noqa: ASYNC220
        try:
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "got\n"
            async with database.session_lock(LOCK) as free:
                assert not free
        finally:
            os.kill(holder.pid, signal.SIGKILL)
    for _ in range(100):
        async with database.session_lock(LOCK) as free:
            if free:
                return
        await asyncio.sleep(0.05)
    pytest.fail("the lock of a killed process was held for 5 seconds")


async def test_a_server_that_is_not_there_is_unavailable(settings: Settings) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        database = Database(f"postgresql://nobody:secret@127.0.0.1:{reserved.getsockname()[1]}/x", settings)
        with pytest.raises(DatabaseUnavailable, match="Check DATABASE_URL") as caught:
            async with database.snapshot():
                pass
    assert "secret" not in str(caught.value)
    await database.close()


async def test_a_connection_that_is_cut_is_unavailable_and_the_next_one_works(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await value(database, "SELECT pg_terminate_backend(:pid)", pid=pid)
            await asyncio.sleep(0.1)
            await connection.execute(text("SELECT 1"))
    assert await value(database, "SELECT 1") == 1


async def test_a_connection_that_is_cut_while_copying_is_unavailable(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as connection:
            driver = await raw(connection)
            pid = await driver.fetchval("SELECT pg_backend_pid()")
            await value(database, "SELECT pg_terminate_backend(:pid)", pid=pid)
            await asyncio.sleep(0.1)
            await driver.fetch("SELECT 1")
    assert await value(database, "SELECT 1") == 1


@pytest.mark.parametrize("error", [Change(), NotFound("Not there."), ValueError("What?")])
async def test_an_error_of_the_work_itself_passes_unchanged(database: Database, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        async with database.transaction():
            raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "sales.csv"), OSError(28, "No space left"), TimeoutError()]
)
async def test_a_file_that_fails_in_the_middle_of_the_work_is_not_blamed_on_the_database(
    database: Database, error: OSError
) -> None:
    with pytest.raises(type(error)) as caught:
        async with database.transaction():
            raise error
    assert caught.value is error


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_every_way_to_write_the_address_is_understood(server_url: str, settings: Settings, scheme: str) -> None:
    async with own_database(server_url) as url:
        database = Database(f"{scheme}://{url.partition('://')[2]}", settings)
        assert int((await database.server_version()).split(".")[0]) >= 15
        await database.close()


async def test_the_commonest_form_of_cloud_addresses_is_understood(settings: Settings) -> None:
    database = Database("postgres://shop:hunter2@127.0.0.1:1/shop?sslmode=require", settings)
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        await database.server_version()
    await database.close()
