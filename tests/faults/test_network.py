"""What lies between us and the server fails: it is slow, cuts, resets, or swallows everything."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import asyncpg
import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.warehouse import engine, lines, pool, readers
from app.warehouse.engine import Database
from app.warehouse.lines import Line
from tests.faults.postgres import PrivatePostgres
from tests.faults.proxy import Mode, Proxy
from tests.faults.service import until

#: In place of ten seconds for an answer and five for a connection.
PATIENCE_SECONDS, CONNECT_SECONDS = 0.4, 0.3
#: What the machine may take beside.
SLACK_SECONDS = 2

CUT = (Mode.cut, Mode.reset)

Work = Callable[[Database], Awaitable[None]]


@pytest.fixture
async def proxy(server: PrivatePostgres) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
async def database(proxy: Proxy, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """Through the proxy, with a connection of each kind open, and little patience."""
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", PATIENCE_SECONDS)
    for module in (lines, pool, engine):
        monkeypatch.setattr(module, "CONNECT_SECONDS", CONNECT_SECONDS)
    for module in (pool, readers):
        monkeypatch.setattr(module, "GOODBYE_SECONDS", CONNECT_SECONDS)
    database = through(proxy, settings)
    await read(database)
    await look(database)
    yield database
    await database.close()


@pytest.fixture
async def patient(proxy: Proxy, settings: Settings) -> AsyncIterator[Database]:
    """The same with the patience that requests have."""
    database = through(proxy, settings)
    yield database
    await database.close()


def through(proxy: Proxy, settings: Settings) -> Database:
    """As requests use it."""
    return Database(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres", settings).for_requests()


async def read(database: Database) -> None:
    await database.row("SELECT 1")


async def look(database: Database) -> None:
    async with database.snapshot() as connection:
        await connection.execute(text("SELECT 1"))


async def write(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TEMPORARY TABLE written (n int) ON COMMIT DROP"))


async def seconds_to_fail(work: Awaitable[None]) -> float:
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await work
    return time.monotonic() - began


@pytest.mark.parametrize("work", [read, look, write])
async def test_a_slow_network_is_waited_for(database: Database, proxy: Proxy, work: Work) -> None:
    proxy.fail(Mode.latency, by=0.01)
    await work(database)
    proxy.fail(Mode.slow, by=20_000)
    await work(database)


@pytest.mark.parametrize("mode", CUT)
@pytest.mark.parametrize("work", [read, look, write])
async def test_a_connection_that_was_cut_is_replaced_unnoticed_and_one_that_cannot_be_is_told_at_once(
    database: Database, proxy: Proxy, work: Work, mode: Mode
) -> None:
    proxy.fail(mode)
    proxy.fail(Mode.open)
    await work(database)
    proxy.fail(mode)
    assert await seconds_to_fail(work(database)) < SLACK_SECONDS
    proxy.fail(Mode.open)
    await work(database)


@pytest.mark.parametrize("mode", CUT)
async def test_a_read_that_is_cut_is_asked_again_once(
    patient: Database, proxy: Proxy, beside: asyncpg.Connection, mode: Mode
) -> None:
    """It waits for a lock when it is cut, and again when it is asked again."""
    await beside.execute("SELECT pg_advisory_lock(11)")
    reading = asyncio.create_task(patient.row("SELECT pg_backend_pid(), pg_advisory_xact_lock_shared(11)"))
    cut = 0

    async def waiting() -> int:
        """Another process for it than the one that was cut, which goes on waiting and does not know."""
        wait = "SELECT pid FROM pg_locks WHERE objid = 11 AND NOT granted AND pid <> $1"
        return reading.done() or await beside.fetchval(wait, cut)

    cut = await until(waiting)
    before = proxy.n_accepted
    proxy.fail(mode)
    proxy.fail(Mode.open)
    again = await until(waiting)
    await beside.execute("SELECT pg_advisory_unlock(11)")
    row = await reading
    assert row is not None
    assert row[0] == again != cut
    assert proxy.n_accepted == before + 1


@pytest.mark.parametrize("mode", CUT)
@pytest.mark.parametrize("kind", ["transaction", "snapshot"])
async def test_work_that_is_cut_in_the_middle_is_not_done_again(
    database: Database, proxy: Proxy, kind: str, mode: Mode
) -> None:
    times_begun = 0
    with pytest.raises(DatabaseUnavailable, match="went away in the middle") as raised:
        async with getattr(database, kind)() as connection:
            times_begun += 1
            proxy.fail(mode)
            await connection.execute(text("SELECT 1"))
    assert raised.value.cut
    assert times_begun == 1
    proxy.fail(Mode.open)
    await look(database)


@pytest.mark.parametrize("mode", [*CUT, Mode.blackhole])
async def test_a_commit_that_nobody_confirms_is_unavailable(database: Database, proxy: Proxy, mode: Mode) -> None:
    async def unconfirmed() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            proxy.fail(mode)

    assert await seconds_to_fail(unconfirmed()) < 2 * PATIENCE_SECONDS + SLACK_SECONDS
    proxy.fail(Mode.open)
    await look(database)


async def test_a_black_hole_is_hung_up_on_and_what_comes_next_fails_sooner(
    database: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sooner, as it tries less: the other connections are given up with one, and no new one is asked for meanwhile."""
    asked_whether_there: list[Line] = []
    answers = Line.answers

    async def noted(self: Line) -> bool:
        asked_whether_there.append(self)
        return await answers(self)

    monkeypatch.setattr(Line, "answers", noted)
    monkeypatch.setattr(lines, "_SILENT_SECONDS", 60)  # longer than any machine takes to the end of the test
    together = asyncio.Barrier(2)

    async def beside_another() -> None:
        async with database.snapshot():
            await together.wait()

    await asyncio.gather(read(database), read(database), beside_another(), beside_another())
    assert {pool: database.connections()[pool, "idle"] for pool in ("readers", "work")} == {"readers": 2, "work": 2}
    asked_whether_there.clear()
    proxy.fail(Mode.blackhole)
    # A second for the server to say by itself that it took too long.
    assert await seconds_to_fail(read(database)) < PATIENCE_SECONDS + 1 + SLACK_SECONDS
    assert database.connections()["readers", "idle"] == 0
    # Asked whether it is there, and then for a connection.
    assert await seconds_to_fail(look(database)) < 2 * CONNECT_SECONDS + SLACK_SECONDS
    assert len(asked_whether_there) == 1
    n_accepted = proxy.n_accepted
    for work in (read, look, write):
        assert await seconds_to_fail(work(database)) < CONNECT_SECONDS + SLACK_SECONDS
    assert len(asked_whether_there) == 1
    assert proxy.n_accepted == n_accepted


async def test_after_a_black_hole_it_is_used_again_within_a_second(database: Database, proxy: Proxy) -> None:
    proxy.fail(Mode.blackhole)
    await seconds_to_fail(look(database))
    proxy.fail(Mode.open)

    async def is_back() -> bool:
        with suppress(DatabaseUnavailable):
            await look(database)
            return True
        return False

    began = time.monotonic()
    await until(is_back)
    assert time.monotonic() - began < 1 + SLACK_SECONDS
    for work in (read, look, write):
        await work(database)


async def test_a_black_hole_in_the_middle_of_the_work_is_hung_up_on(database: Database, proxy: Proxy) -> None:
    async def cut_off() -> None:
        async with database.snapshot() as connection:
            proxy.fail(Mode.blackhole)
            await connection.execute(text("SELECT 1"))

    assert await seconds_to_fail(cut_off()) < 2 * PATIENCE_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_work_given_up_before_a_black_hole_does_not_wait_for_it_to_be_undone(
    database: Database, proxy: Proxy, error: type[BaseException]
) -> None:
    """Also where it may take as long as it takes."""
    began = time.monotonic()
    with pytest.raises((error, DatabaseUnavailable)):
        async with database.for_work().transaction() as connection:
            await connection.execute(text("SELECT 1"))
            proxy.fail(Mode.blackhole)
            raise error
    assert time.monotonic() - began < CONNECT_SECONDS + SLACK_SECONDS


async def test_connections_to_a_black_hole_are_closed_in_time(database: Database, proxy: Proxy) -> None:
    proxy.fail(Mode.blackhole)
    began = time.monotonic()
    await database.close()
    assert time.monotonic() - began < CONNECT_SECONDS + SLACK_SECONDS


async def test_a_connection_over_a_network_is_kept_alive_and_a_dead_one_found_out(database: Database) -> None:
    async with database.lasting(who="test", patience_seconds=5) as line:
        over = line._transport.get_extra_info("socket")
        assert over.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert over.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
