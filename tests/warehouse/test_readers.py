"""Single reads: over few connections, never longer than they may take, asked again when the server was restarted."""

import asyncio
import socket

import asyncpg
import pytest

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.warehouse import engine
from app.warehouse.engine import Database
from tests.fakes import execute


async def pid(database: Database) -> int:
    row = await database.row("SELECT pg_backend_pid()")
    return int(row[0])


async def test_a_row_is_read_by_name_and_nothing_is_none(database: Database) -> None:
    row = await database.row("SELECT $1::text AS said, 2 AS number", "hello")
    assert (row["said"], row["number"]) == ("hello", 2)
    assert await database.row("SELECT 1 WHERE false") is None
    assert [tuple(each) for each in await database.rows("SELECT * FROM generate_series(1, 3)")] == [(1,), (2,), (3,)]


async def test_the_connection_used_last_is_used_next(database: Database) -> None:
    assert len({await pid(database) for _ in range(5)}) == 1


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await database.row("CREATE TABLE test_written ()")


async def test_a_connection_that_was_cut_is_replaced_unnoticed(database: Database) -> None:
    before = await pid(database)
    await execute(database, "SELECT pg_terminate_backend(:pid)", pid=before)
    assert await pid(database) != before


async def test_more_readers_than_connections_take_turns(empty_database_url: str, settings: Settings) -> None:
    few = Database(empty_database_url, settings.model_copy(update={"db_pool_size": 4}))
    try:
        pids = await asyncio.gather(*(few.row("SELECT pg_backend_pid(), pg_sleep(0.02)") for _ in range(20)))
        assert len({row[0] for row in pids}) == 2
    finally:
        await few.close()


async def test_who_waits_too_long_for_a_turn_is_told(empty_database_url: str, settings: Settings) -> None:
    one = Database(empty_database_url, settings.model_copy(update={"db_pool_size": 2, "db_pool_timeout": 1}))
    try:
        busy = asyncio.create_task(one.row("SELECT pg_sleep(3)"))
        await asyncio.sleep(0.2)
        with pytest.raises(DatabaseUnavailable, match="in time"):
            await one.row("SELECT 1")
        await busy
        assert (await one.row("SELECT 1"))[0] == 1
    finally:
        await one.close()


async def test_a_read_that_takes_too_long_is_cut_and_the_next_one_works(
    empty_database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 0.2)
    hasty = Database(empty_database_url, settings)
    try:
        with pytest.raises(DatabaseUnavailable, match="in time"):
            await hasty.row("SELECT pg_sleep(5)")
        assert (await hasty.row("SELECT 1"))[0] == 1
    finally:
        await hasty.close()


async def test_a_reader_who_gives_up_leaves_the_place_to_others(empty_database_url: str, settings: Settings) -> None:
    one = Database(empty_database_url, settings.model_copy(update={"db_pool_size": 2}))
    try:
        for _ in range(3):
            impatient = asyncio.create_task(one.row("SELECT pg_sleep(5)"))
            await asyncio.sleep(0.05)
            impatient.cancel()
            with pytest.raises(asyncio.CancelledError):
                await impatient
        assert (await one.row("SELECT 1"))[0] == 1
    finally:
        await one.close()


async def test_a_server_that_is_not_there_is_unavailable_and_its_password_unsaid(settings: Settings) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        nowhere = Database(f"postgresql://shop:hunter2@127.0.0.1:{reserved.getsockname()[1]}/x", settings)
        with pytest.raises(DatabaseUnavailable, match="Check DATABASE_URL") as caught:
            await nowhere.row("SELECT 1")
    assert "hunter2" not in str(caught.value)
    await nowhere.close()


async def test_a_table_that_is_not_there_yet_is_a_matter_of_time(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="Migrate"):
        await database.row("SELECT * FROM not_there_yet")


async def test_a_wrong_question_is_our_own_fault(database: Database) -> None:
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await database.row("SELEC 1")
    with pytest.raises(asyncpg.DataError):
        await database.row("SELECT $1::int", "seven")
    with pytest.raises(asyncpg.InterfaceError):
        await database.row("SELECT $1::int")
