"""Keeps hearing what changes in the database, and has those who keep what they have read forget it."""

import asyncio
from collections.abc import Callable

import structlog

from app.core.errors import AppError
from app.core.metrics import HEARING
from app.warehouse.announcements import Change, listen
from app.warehouse.engine import Database

log = structlog.get_logger()

_AGAIN_SECONDS = 1.0


class Hearing:
    """now : whether every change is heard of. While it is not, nothing that was read before may be taken for true.

    generation : grows with every change; what was read while it grew may be of before the change
    """

    def __init__(self, database: Database) -> None:
        self.now = False
        self.generation = 0
        self._database = database
        self._forget: list[Callable[[Change | None], None]] = []

    def forgetting(self, forget: Callable[[Change | None], None]) -> None:
        """Have `forget` called with every change, and with None where everything may have changed."""
        self._forget.append(forget)

    async def run(self) -> None:
        """Listen until cancelled, again and again where the connection is lost."""
        while True:
            try:
                await listen(self._database, since=self._begin, heard=self.tell)
            except (AppError, OSError) as error:
                log.debug("changes.not_heard", why=str(error))
            finally:
                heard = self.now
                self._end()
            if heard:
                log.warning("changes.not_heard", until="the database answers again, nothing is kept in this process")
            await asyncio.sleep(_AGAIN_SECONDS)

    def _begin(self) -> None:
        self.tell(None)
        self.now = True
        HEARING.set(1)

    def _end(self) -> None:
        HEARING.set(0)
        if self.now:
            self.now = False
            self.tell(None)  # from here on anything may change without our hearing of it

    def tell(self, change: Change | None) -> None:
        """What this process has changed itself it knows at once, and hears of in a moment."""
        self.generation += 1
        for forget in self._forget:
            forget(change)
