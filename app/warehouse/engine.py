"""The connection to Postgres, and the one place that commits."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable

OLDEST_SERVER = 15

#: What `transaction` and `snapshot` yield: handed on to the warehouse's functions, and opaque outside it.
Connection = AsyncConnection

# What connecting can fail with. In the middle of the work an OSError may be anyone's, a file's for instance.
_CANNOT_CONNECT = (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError)
_WENT_AWAY = (asyncpg.PostgresConnectionError, asyncpg.InternalClientError)
# What a single read can fail with when the server is restarted under it, is away, or is not migrated yet.
_READ_CUT_SHORT = (
    *_WENT_AWAY,
    *(ConnectionError, asyncpg.exceptions.AdminShutdownError),
    *(asyncpg.exceptions.CrashShutdownError, asyncpg.exceptions.CannotConnectNowError),
)
_NOT_MIGRATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
_CANNOT_READ = (
    *(*_READ_CUT_SHORT, *_NOT_MIGRATED, OSError, TimeoutError, asyncpg.QueryCanceledError),
    *(asyncpg.exceptions.InsufficientResourcesError, asyncpg.exceptions.InvalidAuthorizationSpecificationError),
    asyncpg.exceptions.InvalidCatalogNameError,
)
_READ_SECONDS = 10
_CONNECT_SECONDS = 5

#: One row of `Database.row` and `Database.rows`: values by column name or position.
Row: TypeAlias = Any


class Database:
    """A pool of connections to one Postgres database.

    Work happens in `transaction` (commits when its block ends well, rolls back otherwise) or `snapshot` (reads only,
    and all of them see the same moment). A single statement that only reads, as a request mostly is, goes by `row` or
    `rows`, over connections of their own: half of the pool, opened when first needed.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        #: Where the server is; it may hold a password.
        self.url = url
        self._readers = _Readers(url, settings, size=settings.pool_size // 2)
        self._engine = create_async_engine(
            _with_driver(url),
            pool_size=settings.pool_size - settings.pool_size // 2,
            max_overflow=settings.pool_overflow,
            pool_timeout=settings.db_pool_timeout,
            pool_recycle=settings.db_pool_recycle,
            pool_pre_ping=settings.db_pool_pre_ping,
            hide_parameters=True,  # an error is logged, and what a statement was given is somebody's id or address
            connect_args={"server_settings": {"application_name": "customer-intelligence", "jit": "off"}},
        )

    async def close(self) -> None:
        await self._readers.close()
        await self._engine.dispose()

    def connections(self) -> dict[tuple[str, str], int]:
        """How many connections there are, by pool (readers, work) and state (used, idle)."""
        pool: Any = self._engine.pool
        return {
            ("readers", "used"): self._readers.used,
            ("readers", "idle"): self._readers.idle,
            ("work", "used"): pool.checkedout(),
            ("work", "idle"): pool.checkedin(),
        }

    async def row(self, query: str, *arguments: Any) -> Row | None:
        """The first row of one statement that reads; None where there is none. Raises DatabaseUnavailable."""
        found = await self._readers.fetch(query, arguments)
        return found[0] if found else None

    async def rows(self, query: str, *arguments: Any) -> Sequence[Row]:
        """Every row of one statement that reads. Raises DatabaseUnavailable."""
        return await self._readers.fetch(query, arguments)

    @asynccontextmanager
    async def transaction(self, *, keep: bool = True) -> AsyncIterator[AsyncConnection]:
        """One unit of work; with keep=False, a rehearsal of it that leaves nothing behind.

        Raises DatabaseUnavailable when the server cannot be reached or goes away.
        """
        async with self._connected() as connection, connection.begin() as work:
            yield connection
            if not keep:
                await work.rollback()

    @asynccontextmanager
    async def snapshot(self, *, beside: AsyncConnection | None = None) -> AsyncIterator[AsyncConnection]:
        """Reads that all see one moment, however many statements they take.

        beside : another snapshot, whose moment it is to be; read over both at once, the server works on two cores
        """
        async with self._connected() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                if beside is not None:
                    name = (await beside.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
                    await connection.execute(text(f"SET TRANSACTION SNAPSHOT '{name}'"))
                yield connection

    @asynccontextmanager
    async def session_lock(self, key: int) -> AsyncIterator[bool]:
        """Holds an advisory lock on a connection of its own; yields whether it was free.

        It ends with the connection, so a killed process gives it up at once.
        """
        async with self._connected() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            got = (await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})).scalar_one()
            try:
                yield bool(got)
            finally:
                if got:
                    await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})

    @asynccontextmanager
    async def lasting(self, *, patience_seconds: float) -> AsyncIterator[asyncpg.Connection]:
        """A connection beside the pool, kept as long as one likes: listening is done over one.

        patience_seconds : for the answer to one statement; one that takes longer fails

        Raises DatabaseUnavailable when the server cannot be reached.
        """
        try:
            connection = await asyncpg.connect(
                _for_driver(self.url),
                timeout=_CONNECT_SECONDS,
                command_timeout=patience_seconds,
                server_settings={"application_name": "customer-intelligence worker", "jit": "off"},
            )
        except (*_CANNOT_CONNECT, TimeoutError) as error:
            raise DatabaseUnavailable(
                f"The database does not answer ({_first_line(error)}). Check DATABASE_URL and that the server is up."
            ) from error
        try:
            yield connection
        finally:
            connection.terminate()

    async def server_version(self) -> str:
        async with self._connected() as connection:
            return str((await connection.execute(text("SHOW server_version"))).scalar_one())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        try:
            connection = await self._engine.connect()
        except PoolTimeout as error:
            raise DatabaseUnavailable(
                "No connection to the database came free in time. Raise DB_POOL_SIZE, half of which is for reading, or "
                "DB_MAX_OVERFLOW (a run needs four at once beside those for reading), or DB_POOL_TIMEOUT."
            ) from error
        except _CANNOT_CONNECT as error:
            raise DatabaseUnavailable(
                f"The database does not answer ({_first_line(error)}). Check DATABASE_URL and that the server is up."
            ) from error
        try:
            yield connection
        except _WENT_AWAY as error:
            raise _gone(error) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise _gone(error) from error
            raise
        finally:
            await connection.close()


class _Readers:
    """Connections for single statements that read; each prepares a statement once.

    The one used last is used next, so that those a quiet hour does not need grow old. The driver's own pool resets a
    connection after every use, which nothing here makes necessary, and takes as long over it as over the reading.
    """

    def __init__(self, url: str, settings: Settings, *, size: int) -> None:
        self._address = _for_driver(url)
        self._settings = settings
        self._room = asyncio.Semaphore(max(1, size))
        self._idle: list[tuple[asyncpg.Connection, float]] = []
        self.used = 0

    @property
    def idle(self) -> int:
        return len(self._idle)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            await connection.close(timeout=_CONNECT_SECONDS)

    async def fetch(self, query: str, arguments: Sequence[Any]) -> Sequence[Row]:
        try:
            return await self._fetch(query, arguments)
        except _READ_CUT_SHORT:
            # The server was restarted, or cut us off, and the others as well. A read can be asked again.
            self._drop_idle()
        except _CANNOT_READ as error:
            raise _unreadable(error) from error
        try:
            return await self._fetch(query, arguments)
        except _CANNOT_READ as error:
            raise _unreadable(error) from error

    async def _fetch(self, query: str, arguments: Sequence[Any]) -> Sequence[Row]:
        if self._room.locked():
            async with asyncio.timeout(self._settings.db_pool_timeout):
                await self._room.acquire()
        else:
            await self._room.acquire()
        self.used += 1
        try:
            connection, opened_at = await self._connected()
            try:
                found: Sequence[Row] = await connection.fetch(query, *arguments)
            except BaseException as error:
                gone = connection.is_closed()
                connection.terminate()  # whatever state it is in
                if gone and isinstance(error, asyncpg.InterfaceError):
                    raise ConnectionResetError(str(error)) from error
                raise
            self._idle.append((connection, opened_at))
            return found
        finally:
            self.used -= 1
            self._room.release()

    async def _connected(self) -> tuple[asyncpg.Connection, float]:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection, opened_at = self._idle.pop()
            if not connection.is_closed() and now - opened_at < self._settings.db_pool_recycle:
                return connection, opened_at
            connection.terminate()
        connection = await asyncpg.connect(
            self._address,
            timeout=_CONNECT_SECONDS,
            command_timeout=_READ_SECONDS + 1,
            server_settings={
                "application_name": "customer-intelligence",
                "jit": "off",
                "default_transaction_read_only": "on",
                # Planning a join of six tables takes longer than reading one row of each.
                "plan_cache_mode": "force_generic_plan",
                "statement_timeout": str(_READ_SECONDS * 1000),
            },
        )
        return connection, now

    def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.terminate()


def _unreadable(error: BaseException) -> DatabaseUnavailable:
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        return DatabaseUnavailable("The database did not answer in time. It is busy, or DB_POOL_SIZE is too small.")
    if isinstance(error, _NOT_MIGRATED):
        return DatabaseUnavailable(f"The database is not in the expected shape ({_first_line(error)}). Migrate it.")
    return DatabaseUnavailable(
        f"The database does not answer ({_first_line(error)}). Check DATABASE_URL and that the server is up."
    )


def _gone(error: BaseException) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"The database went away in the middle of the work ({_first_line(error)}). Try again.")


async def raw(connection: AsyncConnection) -> Any:
    """The asyncpg connection beneath, inside the same transaction: COPY is spoken only there."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():  # SQLAlchemy begins with its own first statement; a COPY before it stands alone
        await connection.execute(text("SELECT 1"))
    return driver


def _for_driver(url: str) -> str:
    """The address as the driver by itself takes it: libpq's, which calls SQLAlchemy's ssl sslmode."""
    address = make_url(f"postgresql://{url.partition('://')[2]}")
    if "ssl" in address.query:
        mode = address.query["ssl"]
        address = address.difference_update_query(["ssl"]).update_query_dict({"sslmode": mode})
    return address.render_as_string(hide_password=False)


def _with_driver(url: str) -> URL:
    """The address for asyncpg, which calls libpq's sslmode ssl."""
    _, _, rest = url.partition("://")
    address = make_url(f"postgresql+asyncpg://{rest}")
    if "sslmode" in address.query:
        mode = address.query["sslmode"]
        address = address.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return address


def _first_line(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    return (str(original).splitlines() or [type(original).__name__])[0]
