"""Profiles kept in this process as they were answered, until they change: an answer without asking the database.

A profile is one row by its primary key, which a cache in another process could give hardly any faster; see
docs/reference/REDIS_CACHING.md. It is kept under the name it is shown by, which an erased
customer's is dropped with.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass

from app.core.keys import View
from app.hearing import Hearing
from app.warehouse.announcements import Change

#: Of one profile: it changes with the day, at the latest.
_SECONDS = 24 * 3600.0
#: Some 7 KB each.
_MOST = 4_096

Name = tuple[str, View, str]


@dataclass(frozen=True, slots=True)
class KeptProfile:
    """etag : of the body; customer_id, pseudonym : whose it is; until : on the monotonic clock"""

    body: bytes
    etag: bytes
    customer_id: str
    pseudonym: str
    until: float


class ProfileCache:
    """{(store, view, name): profile}, those used last; empty while changes are not heard of."""

    def __init__(self, hearing: Hearing, *, enabled: bool = True, most: int = _MOST) -> None:
        self._hearing, self._enabled, self._most = hearing, enabled, most
        self._kept: OrderedDict[Name, KeptProfile] = OrderedDict()
        self._names: dict[tuple[str, str], set[Name]] = {}
        hearing.forgetting(self._forget)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def generation(self) -> int:
        return self._hearing.generation

    def get(self, name: Name) -> KeptProfile | None:
        kept = self._kept.get(name)
        if kept is None:
            return None
        if kept.until < time.monotonic():
            self._drop(name)
            return None
        self._kept.move_to_end(name)
        return kept

    def keep(self, name: Name, body: bytes, etag: bytes, *, customer_id: str, pseudonym: str, generation: int) -> None:
        """generation : as it was before the profile was read; where something has changed since, it is not kept"""
        if not self._enabled or not self._hearing.now or generation != self._hearing.generation:
            return
        self._kept[name] = KeptProfile(body, etag, customer_id, pseudonym, time.monotonic() + _SECONDS)
        self._names.setdefault((name[0], customer_id), set()).add(name)
        while len(self._kept) > self._most:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        self._kept.clear()
        self._names.clear()

    def _forget(self, change: Change | None) -> None:
        if change is None:
            self.clear()
        elif change.store_id is not None:
            if change.customer_ids:
                names = [name for each in change.customer_ids for name in self._names.get((change.store_id, each), ())]
            else:
                names = [name for name in self._kept if name[0] == change.store_id]
            for name in names:
                self._drop(name)

    def _drop(self, name: Name) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            of = (name[0], kept.customer_id)
            self._names[of].discard(name)
            if not self._names[of]:
                del self._names[of]
