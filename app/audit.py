"""What is read of identities is noted here and written a moment later, so that reading waits for no writing.

What changes something is written in the transaction that does it (`noted`), and an export of all that is held of
somebody before it is answered; other reads are gathered and written together, each second and when the process ends. A
process that is killed loses the notes of its last second at most.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

import structlog

from app.core.clock import utc_now
from app.core.errors import DatabaseUnavailable
from app.core.keys import Caller
from app.core.metrics import AUDIT_DROPPED
from app.core.requests import request_id
from app.warehouse.audit import AuditNote, write_audit
from app.warehouse.engine import Database

log = structlog.get_logger()

_EACH_SECONDS = 1.0
_AT_ONCE = 1_000
#: Notes that wait while the database is away; beyond those the oldest are given up, and counted.
_MOST = 50_000


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[AuditNote] = deque()

    def __len__(self) -> int:
        """How many notes wait."""
        return len(self._waiting)

    def read(self, caller: Caller, action: str, subjects: Iterable[str | None]) -> None:
        """Note whose identities a caller has been shown, where they may be.

        subjects : pseudonyms, which everyone has but for a moment after an import
        """
        if not caller.identified:
            return
        if len(self._waiting) >= _MOST:
            self._waiting.popleft()
            AUDIT_DROPPED.inc()
        self._waiting.append(noted(caller, action, subjects=[each for each in subjects if each is not None]))

    async def run(self) -> None:
        """Write what is noted, until cancelled. Whatever is in the way, as a database that only reads, may pass."""
        said = False
        while True:
            await asyncio.sleep(_EACH_SECONDS)
            try:
                await self.write()
                said = False
            except DatabaseUnavailable as error:
                if not said:
                    log.warning("audit.not_written", waiting=len(self._waiting), why=str(error))
                said = True
            except Exception:
                if not said:
                    log.exception("audit.not_written", waiting=len(self._waiting))
                said = True

    async def write(self) -> None:
        """Write all that waits. Raises DatabaseUnavailable, or what else is in the way; what is left waits on."""
        while self._waiting:
            notes = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            try:
                async with self._database.transaction() as connection:
                    await write_audit(connection, notes)
            except BaseException:
                self._waiting.extendleft(reversed(notes))
                raise

    async def close(self) -> None:
        """Write what waits, or say how much is lost."""
        with suppress(Exception):
            await self.write()
        if self._waiting:
            AUDIT_DROPPED.inc(len(self._waiting))
            log.error("audit.dropped", n=len(self._waiting), why="the database took nothing when the service ended")


def noted(caller: Caller, action: str, *, subjects: Sequence[str] = (), about: str | None = None) -> AuditNote:
    """A note of something that happens now, in the request under way."""
    return AuditNote(caller.store_id, utc_now(), caller.key_id, action, request_id(), tuple(subjects), about)
