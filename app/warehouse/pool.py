"""Connections for transactions and snapshots, each seen to be good before it is handed out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from weakref import WeakSet

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import QueuePool

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.warehouse.faults import not_connected
from app.warehouse.lines import CANNOT_CONNECT, CONNECT_SECONDS, GOODBYE_SECONDS, Line, Server


class Pool:
    """SQLAlchemy's, which is left to count them. It would test one for as long as that takes, over three statements,
    and tell its age by a clock that may be set.
    """

    def __init__(self, server: Server, settings: Settings, *, size: int) -> None:
        self._server = server
        self._settings = settings
        self._lines: WeakSet[Line] = WeakSet()
        self._trusted_since = float("-inf")
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._open,
            pool_size=size,
            max_overflow=settings.pool_overflow,
            pool_timeout=settings.db_pool_timeout,
            hide_parameters=True,  # an error is logged, and what a statement was given is somebody's id or address
        )

    @property
    def used(self) -> int:
        return int(self._counted.checkedout())

    @property
    def idle(self) -> int:
        return int(self._counted.checkedin())

    @property
    def _counted(self) -> QueuePool:
        return cast(QueuePool, self._engine.pool)

    async def close(self) -> None:
        for line in self._lines:
            line.hang_up_in(GOODBYE_SECONDS)
        await self._engine.dispose()

    def distrust(self) -> None:
        """Replace every connection there is before it is used again: one turned out to lead where it should not."""
        self._trusted_since = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[tuple[AsyncConnection, Line]]:
        """A connection, for the block. Raises DatabaseUnavailable."""
        connection, line = await self._good_one()
        try:
            yield connection, line
        finally:
            line.hang_up_in(GOODBYE_SECONDS)
            await connection.close()
            line.hang_up_in(None)

    async def _good_one(self) -> tuple[AsyncConnection, Line]:
        while True:
            began = asyncio.get_running_loop().time()
            connection = await self._any()
            try:
                line = cast(Line, (await connection.get_raw_connection()).driver_connection)
                line.hang_up_in(None)
                if line.opened_at >= began or await self._is_good(line):
                    return connection, line
                line.terminate()  # SQLAlchemy would wait two seconds for a server that says nothing to say goodbye
                await connection.invalidate()
            except BaseException:
                await connection.close()
                raise
            await connection.close()

    async def _any(self) -> AsyncConnection:
        try:
            return await self._engine.connect()
        except PoolTimeout as error:
            raise DatabaseUnavailable(
                "No connection to the database came free in time. Raise DB_POOL_SIZE, half of which is for reading, or "
                "DB_MAX_OVERFLOW (a run needs four at once beside those for reading), or DB_POOL_TIMEOUT."
            ) from error
        except (*CANNOT_CONNECT, SQLAlchemyError) as error:
            raise not_connected(error) from error

    async def _open(self) -> Line:
        line = await self._server.connect(name="customer-intelligence")
        self._lines.add(line)
        line.hang_up_in(CONNECT_SECONDS)  # while SQLAlchemy asks it what it is
        return line

    async def _is_good(self, line: Line) -> bool:
        oldest = max(asyncio.get_running_loop().time() - self._settings.db_pool_recycle, self._trusted_since)
        if line.is_closed() or line.opened_at <= oldest:
            return False
        if not self._settings.db_pool_pre_ping or await line.answers():
            return True
        if line.hung_up:
            self.distrust()
        return False
