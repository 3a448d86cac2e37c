"""The connection to Postgres, and the one place that commits."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.config import Settings
from app.warehouse.faults import fault_of, not_connected, not_migrated, only_reads
from app.warehouse.gathering import Gathering
from app.warehouse.lines import CANNOT_CONNECT, CONNECT_SECONDS, Line, Server
from app.warehouse.pool import Pool
from app.warehouse.readers import Readers, Row

__all__ = ["OLDEST_SERVER", "Connection", "Database", "Row", "raw"]

OLDEST_SERVER = 15
#: How long a request waits for one answer.
PATIENCE_SECONDS = 10

# Statements of one gathering at the same time: two keep the server at work while an answer is being read.
_AT_WORK = 2

#: What `transaction` and `snapshot` yield: handed on to the warehouse's functions, and opaque outside it.
Connection = AsyncConnection

# Until the transaction ends. A lock that is waited for half the time shows in the log as one.
_LIMITS = text("SELECT set_config('statement_timeout', :statement, true), set_config('lock_timeout', :lock, true)")
# The same for reads of much at once: asked for the sixth time the server would plan them for any day and any shop, by
# which a read of all orders before a moment takes twice as long.
_LIMITS_OF_READS = text(f"{_LIMITS.text}, set_config('plan_cache_mode', 'force_custom_plan', true)")


class Database:
    """Connections to one Postgres database.

    Work happens in `transaction` (commits when its block ends well, rolls back otherwise) or `snapshot` (reads only,
    and all of them see the same moment), and takes as long as it takes; done for a request, it is cut short
    (`for_requests`). A single statement that only reads, as a request mostly is, goes by `row` or `rows`, over
    connections of their own: half of the pool, opened when first needed.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        #: Where the server is; it may hold a password.
        self.url = url
        self._patience_seconds: float | None = None
        for_reading = settings.pool_size // 2
        self._server = Server(url)
        self._readers = Readers(self._server, settings, size=for_reading, patience_seconds=PATIENCE_SECONDS)
        self._pool = Pool(self._server, settings, size=settings.pool_size - for_reading)
        self._gatherings: dict[str, Gathering] = {}

    def for_requests(self) -> "Database":
        """The same connections, for work that somebody waits for: what takes too long is DatabaseUnavailable.

        Too long is PATIENCE_SECONDS for a statement, half of it for a lock, and twice that for a whole transaction or
        snapshot, after which it is hung up on: by then the server does not answer, or nobody waits any more.
        """
        hurried = copy(self)
        hurried._patience_seconds = PATIENCE_SECONDS
        return hurried

    def for_work(self) -> "Database":
        """The same connections, for work that takes as long as it takes."""
        unhurried = copy(self)
        unhurried._patience_seconds = None
        return unhurried

    def __eq__(self, other: object) -> bool:
        """Whoever remembers what was read of one knows it of the other, however long either waits."""
        return isinstance(other, Database) and other._pool is self._pool

    def __hash__(self) -> int:
        return hash(self._pool)

    async def close(self) -> None:
        await asyncio.gather(self._readers.close(), self._pool.close())

    def connections(self) -> dict[tuple[str, str], int]:
        """How many connections there are, by pool (readers, work) and state (used, idle)."""
        return {
            (name, state): n
            for name, pool in (("readers", self._readers), ("work", self._pool))
            for state, n in (("used", pool.used), ("idle", pool.idle))
        }

    async def row(self, query: str, *arguments: Any) -> Row | None:
        """The first row of one statement that reads; None where there is none. Raises DatabaseUnavailable."""
        found = await self._readers.fetch(query, arguments)
        return found[0] if found else None

    async def row_among(self, query: str, *key: str) -> Row | None:
        """The row of a key, read together with those that others ask for meanwhile; None where there is none.

        query : as `Gathering` takes it

        Raises DatabaseUnavailable.
        """
        gathering = self._gatherings.get(query)
        if gathering is None:
            gathering = self._gatherings[query] = Gathering(self._readers, query, at_work=_AT_WORK)
        return await gathering.row(*key)

    async def rows(self, query: str, *arguments: Any) -> Sequence[Row]:
        """Every row of one statement that reads. Raises DatabaseUnavailable."""
        return await self._readers.fetch(query, arguments)

    @asynccontextmanager
    async def transaction(self, *, keep: bool = True) -> AsyncIterator[AsyncConnection]:
        """One unit of work; with keep=False, a rehearsal of it that leaves nothing behind.

        Never tried again by itself: one that was cut off while it committed may have been kept. Raises
        DatabaseUnavailable when the server cannot be reached, goes away, or cannot do it at the moment.
        """
        async with self._connected(reading=False) as (connection, line), connection.begin() as work:
            async with _given_up_soon(line):
                await self._hurry(connection)
                yield connection
            if not keep:
                await work.rollback()

    @asynccontextmanager
    async def snapshot(self, *, beside: AsyncConnection | None = None) -> AsyncIterator[AsyncConnection]:
        """Reads that all see one moment, however many statements they take. Raises DatabaseUnavailable.

        beside : another snapshot, whose moment it is to be; read over both at once, the server works on two cores
        """
        async with self._connected(reading=True) as (connection, line):
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin(), _given_up_soon(line):
                if beside is not None:
                    name = (await beside.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
                    await connection.execute(text(f"SET TRANSACTION SNAPSHOT '{name}'"))
                await self._hurry(connection, _LIMITS_OF_READS)
                yield connection

    @asynccontextmanager
    async def session_lock(self, key: int) -> AsyncIterator[bool]:
        """Holds an advisory lock on a connection of its own; yields whether it was free.

        It ends with the connection, so a killed process gives it up at once.
        """
        async with self._connected(reading=True) as (connection, line):
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            got = (await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})).scalar_one()
            try:
                yield bool(got)
            finally:
                line.hang_up_in(CONNECT_SECONDS)
                if got:
                    await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})

    @asynccontextmanager
    async def lasting(self, *, who: str, patience_seconds: float) -> AsyncIterator[Line]:
        """A connection beside the pool, kept as long as one likes: listening is done over one.

        who              : what the server's list of connections calls it after our name
        patience_seconds : for the answer to one statement; one that takes longer fails

        Raises DatabaseUnavailable when the server cannot be reached.
        """
        try:
            line = await self._server.connect(name=f"customer-intelligence {who}", patience_seconds=patience_seconds)
        except CANNOT_CONNECT as error:
            raise not_connected(error) from error
        try:
            yield line
        finally:
            line.terminate()

    async def server_version(self) -> str:
        async with self._connected(reading=True) as (connection, _):
            return str((await connection.execute(text("SHOW server_version"))).scalar_one())

    @asynccontextmanager
    async def _connected(self, *, reading: bool) -> AsyncIterator[tuple[AsyncConnection, Line]]:
        async with self._pool.taken() as (connection, line):
            if self._patience_seconds is not None:
                line.hang_up_in(2 * self._patience_seconds)
            try:
                yield connection, line
            except Exception as error:
                fault = fault_of(error, line, reading=reading)
                if fault is None and self._patience_seconds is not None:
                    fault = not_migrated(error)
                if fault is None:
                    raise
                if only_reads(error):
                    # After a failover, connections may go on leading to what was the server that writes before.
                    self._pool.distrust()
                raise fault from error

    async def _hurry(self, connection: AsyncConnection, limits: TextClause = _LIMITS) -> None:
        if self._patience_seconds is not None:
            ms = self._patience_seconds * 1000
            await connection.execute(limits, {"statement": str(int(ms)), "lock": str(int(ms / 2))})


@asynccontextmanager
async def _given_up_soon(line: Line) -> AsyncIterator[None]:
    """Whoever leaves the block by an exception, cancelled for instance, does not wait long for the rollback."""
    try:
        yield
    except BaseException:
        line.hang_up_in(CONNECT_SECONDS)
        raise


async def raw(connection: AsyncConnection) -> Any:
    """The asyncpg connection beneath, inside the same transaction: COPY is spoken only there."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():  # SQLAlchemy begins with its own first statement; a COPY before it stands alone
        await connection.execute(text("SELECT 1"))
    return driver
