"""The API keys as this process knows them: all that open anything, read together and seldom.

There are few of them. So a request with a key, right or wrong, asks nothing of the database: a wrong key costs it no
query, and one that is revoked is refused as soon as that is heard of, at the latest `_OLD_SECONDS` after.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.core.clock import utc_now
from app.core.errors import DatabaseUnavailable
from app.core.keys import BootstrapKeys, Caller, key_id_of, same_key
from app.hearing import Hearing
from app.warehouse.announcements import Change
from app.warehouse.engine import Database
from app.warehouse.keys import OpeningKey, note_use, read_opening_keys

#: How long keys are known without asking again, and how long at most while the database is away.
_FRESH_SECONDS, _OLD_SECONDS = 10.0, 25.0
#: A key nobody knows may be a new one: asked for again, but not more often than this.
_UNKNOWN_SECONDS = 1.0
#: How often it is written down when keys were last used.
USES_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Known:
    opening: OpeningKey
    caller: Caller


class Keyring:
    """bootstrap : the keys of the settings, which need no database"""

    def __init__(self, database: Database, bootstrap: BootstrapKeys, hearing: Hearing) -> None:
        self._database, self._bootstrap = database, bootstrap
        self._known: Mapping[str, _Known] = {}
        self._read_at = -float("inf")
        self._n_changes = 0
        self._reading = asyncio.Lock()
        self._failed_at, self._why = -float("inf"), ""
        self._used: dict[str, datetime] = {}
        hearing.forgetting(self._forget)

    async def caller(self, presented: bytes) -> Caller | None:
        """Who a key belongs to; None for one that opens nothing. Raises DatabaseUnavailable where it cannot be told."""
        if caller := self._bootstrap.caller(presented):
            return caller
        key_id = key_id_of(presented)
        if key_id is None:
            return None
        age = self._age()
        if age >= _FRESH_SECONDS or (key_id not in self._known and age > _UNKNOWN_SECONDS):
            await self._read(older_than=time.monotonic() - age)
        return self._opened(key_id, presented)

    async def note_uses(self) -> None:
        """Write down when keys were last used. Raises DatabaseUnavailable, and then tries with the next."""
        used, self._used = self._used, {}
        if used:
            try:
                await note_use(self._database, used)
            except DatabaseUnavailable:
                self._used = used | self._used
                raise

    def _opened(self, key_id: str, presented: bytes) -> Caller | None:
        known = self._known.get(key_id)
        if known is None or not same_key(presented, known.opening.secret_hash):
            return None
        now = utc_now()
        if known.opening.expires_at is not None and known.opening.expires_at <= now:
            return None
        self._used[key_id] = now
        return known.caller

    async def _read(self, *, older_than: float) -> None:
        """Read all keys, once for all who wait for it. older_than : what is known is read again if it is of before"""
        asked_at = time.monotonic()
        async with self._reading:
            if self._read_at > older_than:
                return
            if self._failed_at <= asked_at:  # else it has been tried in vain for whoever waited, and may take seconds
                began, n_changes = time.monotonic(), self._n_changes
                try:
                    keys = await read_opening_keys(self._database)
                except DatabaseUnavailable as error:
                    self._failed_at, self._why = time.monotonic(), str(error)
                else:
                    self._known = {
                        key.key_id: _Known(key, Caller(key.store_id, key.scopes, key.key_id)) for key in keys
                    }
                    if n_changes == self._n_changes:  # else they may be as they were before that: read once more
                        self._read_at = began
                    return
            if self._age() > _OLD_SECONDS:
                raise DatabaseUnavailable(self._why)

    def _age(self) -> float:
        return time.monotonic() - self._read_at

    def _forget(self, change: Change | None) -> None:
        if change is None or change.store_id is None:
            self._n_changes += 1
            # Not for ever: while the database is away, who had a key just now still has.
            self._read_at = min(self._read_at, time.monotonic() - _FRESH_SECONDS)
