"""Connections for single statements that read: a request mostly is one."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.warehouse.faults import fault_of, not_connected, not_migrated
from app.warehouse.lines import CANNOT_CONNECT, GOODBYE_SECONDS, Line, Server

#: One row of what was read: values by column name or position.
Row: TypeAlias = Any

# What a server that is there takes to say that a statement took too long.
_SAYING_SECONDS = 1


class Readers:
    """Each connection prepares a statement once, and does not write.

    The one used last is used next, so that those a quiet hour does not need grow old. The driver's own pool resets a
    connection after every use, which nothing here makes necessary, and takes as long over it as over the reading. Nor
    is one tested before it is used, whatever DB_POOL_PRE_PING says: a read that turns out to be cut off is asked once
    more over a new one.

    patience_seconds : how long a read may take
    """

    def __init__(self, server: Server, settings: Settings, *, size: int, patience_seconds: float) -> None:
        self._server = server
        self._settings = settings
        self._patience_seconds = patience_seconds
        self._room = asyncio.Semaphore(max(1, size))
        self._idle: list[Line] = []
        self.used = 0

    @property
    def idle(self) -> int:
        return len(self._idle)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for line in idle:
            line.hang_up_in(GOODBYE_SECONDS)
        await asyncio.gather(*(line.close() for line in idle), return_exceptions=True)

    async def fetch(self, query: str, arguments: Sequence[Any]) -> Sequence[Row]:
        """Raises DatabaseUnavailable."""
        await self._take_turn()
        self.used += 1
        try:
            try:
                return await self._ask(query, arguments)
            except DatabaseUnavailable as fault:
                if not fault.cut:
                    raise
            # The server was restarted, or cut us off, and the others as well. A read can be asked again.
            self._drop_idle()
            return await self._ask(query, arguments)
        finally:
            self.used -= 1
            self._room.release()

    async def _take_turn(self) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(self._settings.db_pool_timeout):
                await self._room.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(
                "No connection for reading came free in time. Raise DB_POOL_SIZE, half of which is for reading, or "
                "DB_POOL_TIMEOUT."
            ) from error

    async def _ask(self, query: str, arguments: Sequence[Any]) -> Sequence[Row]:
        line = await self._line()
        line.hang_up_in(self._patience_seconds + _SAYING_SECONDS)
        try:
            found: Sequence[Row] = await line.fetch(query, *arguments)
        except BaseException as error:
            fault = fault_of(error, line, reading=True) or not_migrated(error)
            if line.hung_up:
                self._drop_idle()  # the others may be as dead
            line.terminate()  # whatever state it is in
            if fault is None:
                raise
            raise fault from error
        finally:
            line.hang_up_in(None)
        self._idle.append(line)
        return found

    async def _line(self) -> Line:
        oldest = asyncio.get_running_loop().time() - self._settings.db_pool_recycle
        while self._idle:
            line = self._idle.pop()
            if not line.is_closed() and line.opened_at > oldest:
                return line
            line.terminate()
        try:
            return await self._server.connect(
                name="customer-intelligence",
                default_transaction_read_only="on",
                # Planning a join of six tables takes longer than reading one row of each.
                plan_cache_mode="force_generic_plan",
                statement_timeout=str(int(self._patience_seconds * 1000)),
                lock_timeout=str(int(self._patience_seconds * 500)),
            )
        except CANNOT_CONNECT as error:
            raise not_connected(error) from error

    def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for line in idle:
            line.terminate()
