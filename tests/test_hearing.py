"""What one process writes another hears of once it is committed; while it cannot hear, it trusts nothing it read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from app.core.config import Settings
from app.hearing import Hearing
from app.warehouse.announcements import Change, announce, announce_keys
from app.warehouse.engine import Database
from tests.waiting import until


class Heard(list[Change | None]):
    """What was heard, in its order."""

    def of(self, store_id: str | None) -> list[Change]:
        return [each for each in self if each is not None and each.store_id == store_id]


@asynccontextmanager
async def hearing_of(database: Database) -> AsyncIterator[tuple[Hearing, Heard]]:
    hearing, heard = Hearing(database), Heard()
    hearing.forgetting(heard.append)
    listening = asyncio.create_task(hearing.run())
    try:
        yield hearing, heard
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def test_a_change_is_heard_when_it_is_committed_and_not_before(database: Database, store_id: str) -> None:
    async with hearing_of(database) as (hearing, heard):
        await until(lambda: hearing.now)
        async with database.transaction() as connection:
            await announce(connection, store_id, ["c1", "c2"])
            await asyncio.sleep(0.1)
            assert heard.of(store_id) == []
        await until(lambda: heard.of(store_id))
        assert heard.of(store_id) == [Change(store_id, ["c1", "c2"])]


async def test_who_hears_is_not_taken_for_a_worker(database: Database) -> None:
    """In the server's list of connections, where somebody looks for the one that is in the way."""
    named = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()"
    async with hearing_of(database) as (hearing, _):
        await until(lambda: hearing.now)
        row = await database.row(named, "customer-intelligence listening")
        assert row is not None and row[0] >= 1


async def test_what_is_not_kept_in_the_end_is_never_heard_of(database: Database, store_id: str) -> None:
    async with hearing_of(database) as (hearing, heard):
        await until(lambda: hearing.now)
        async with database.transaction(keep=False) as connection:
            await announce(connection, store_id)
        async with database.transaction() as connection:
            await announce_keys(connection)
        await until(lambda: heard.of(None))
        assert heard.of(store_id) == []


async def test_more_customers_than_can_be_named_are_the_whole_store(database: Database, store_id: str) -> None:
    async with hearing_of(database) as (hearing, heard):
        await until(lambda: hearing.now)
        async with database.transaction() as connection:
            await announce(connection, store_id, [f"customer-{number}" for number in range(2_000)])
        await until(lambda: heard.of(store_id))
        assert [list(each.customer_ids) for each in heard.of(store_id)] == [[]]


async def test_a_lost_connection_is_noticed_and_made_anew_and_everything_is_forgotten(
    database: Database, store_id: str, empty_database_url: str
) -> None:
    async with hearing_of(database) as (hearing, heard):
        await until(lambda: hearing.now)
        generation, forgotten = hearing.generation, heard.count(None)
        other = await asyncpg.connect(empty_database_url)
        try:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' "
                "AND datname = current_database()"
            )
        finally:
            await other.close()
        await until(lambda: not hearing.now)
        assert heard.count(None) == forgotten + 1  # from the moment on in which it may miss something
        await until(lambda: hearing.now)
        assert heard[-1] is None
        assert hearing.generation > generation
        async with database.transaction() as connection:
            await announce(connection, store_id)
        await until(lambda: heard.of(store_id))


async def test_a_server_that_is_not_there_is_no_error(settings: Settings) -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none", settings)
    async with hearing_of(nowhere) as (hearing, heard):
        await asyncio.sleep(0.1)
        assert not hearing.now
        assert heard == []
    await nowhere.close()


async def test_who_keeps_something_is_told_in_the_order_of_what_happened(database: Database, store_id: str) -> None:
    async with hearing_of(database) as (hearing, heard):
        await until(lambda: hearing.now)
        for number in range(20):
            async with database.transaction() as connection:
                await announce(connection, store_id, [f"c{number}"])
        await until(lambda: len(heard.of(store_id)) == 20)
        assert [each.customer_ids for each in heard.of(store_id)] == [[f"c{number}"] for number in range(20)]


@pytest.mark.parametrize("told", [None, Change("s"), Change("s", ["c"]), Change(None)])
async def test_what_a_process_changes_itself_it_knows_at_once(database: Database, told: Change | None) -> None:
    hearing, heard = Hearing(database), Heard()
    hearing.forgetting(heard.append)
    hearing.tell(told)
    assert heard == [told]
    assert hearing.generation == 1


async def test_whatever_ends_the_listening_nothing_is_taken_for_true_any_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: Database, *, since: Callable[[], None], heard: object) -> None:
        since()
        raise ValueError("of a kind nobody foresaw")

    monkeypatch.setattr("app.hearing.listen", fails)
    hearing, heard = Hearing(database), Heard()
    hearing.forgetting(heard.append)
    with pytest.raises(ValueError, match="foresaw"):
        await hearing.run()
    assert not hearing.now
    assert heard == [None, None]
