"""The connection to Postgres, and the one place that commits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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


class Database:
    """A pool of connections to one Postgres database.

    Work happens in `transaction` (commits when its block ends well, rolls back otherwise) or `snapshot` (reads only,
    and all of them see the same moment).
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._engine = create_async_engine(
            _with_driver(url),
            pool_size=settings.pool_size,
            max_overflow=settings.pool_overflow,
            pool_timeout=settings.db_pool_timeout,
            pool_recycle=settings.db_pool_recycle,
            pool_pre_ping=settings.db_pool_pre_ping,
            connect_args={"server_settings": {"application_name": "customer-intelligence", "jit": "off"}},
        )

    async def close(self) -> None:
        await self._engine.dispose()

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
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Reads that all see one moment, however many statements they take."""
        async with self._connected() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
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

    async def server_version(self) -> str:
        async with self._connected() as connection:
            return str((await connection.execute(text("SHOW server_version"))).scalar_one())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        try:
            connection = await self._engine.connect()
        except PoolTimeout as error:
            raise DatabaseUnavailable(
                "No connection to the database came free in time. Raise DB_POOL_SIZE or DB_MAX_OVERFLOW "
                "(a run needs two at once), or DB_POOL_TIMEOUT."
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


def _gone(error: BaseException) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"The database went away in the middle of the work ({_first_line(error)}). Try again.")


async def raw(connection: AsyncConnection) -> Any:
    """The asyncpg connection beneath, inside the same transaction: COPY is spoken only there."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():  # SQLAlchemy begins with its own first statement; a COPY before it stands alone
        await connection.execute(text("SELECT 1"))
    return driver


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
