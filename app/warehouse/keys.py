"""The API keys that are kept: made, listed, replaced, revoked, and read together by who checks them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import any_, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import KeyNotFound, KeyNotLive, KeyReplaced, LastAdminKey
from app.core.keys import Scope
from app.warehouse.announcements import announce_keys
from app.warehouse.engine import Database
from app.warehouse.stores import read_store
from app.warehouse.tables import api_keys


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known of a key: everything but the key.

    expires_at   : None where it does not
    last_used_at : to the minute; None where it never was
    revoked_at   : None while it opens
    replaced_by  : the id of the key that took its place; None where none has
    """

    key_id: str
    store_id: str
    name: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None

    def opens(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True)
class OpeningKey:
    """A key that is not revoked, as it is checked."""

    key_id: str
    store_id: str
    secret_hash: str
    scopes: frozenset[Scope]
    expires_at: datetime | None


_OPENING = (
    "SELECT key_id, store_id, secret_hash, scopes, expires_at FROM api_keys "
    "WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
)
_COLUMNS = (
    *(api_keys.c.key_id, api_keys.c.store_id, api_keys.c.name, api_keys.c.scopes, api_keys.c.created_at),
    *(api_keys.c.expires_at, api_keys.c.last_used_at, api_keys.c.revoked_at, api_keys.c.replaced_by),
)
#: The order in which several are held, by whomever, so that no two wait for each other: that of Python.
_AS_SORTED = api_keys.c.key_id.collate("C")
_ADMIN = literal(Scope.admin.value) == any_(api_keys.c.scopes)
_LIVE = api_keys.c.revoked_at.is_(None) & (api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > func.now()))


async def read_opening_keys(database: Database) -> list[OpeningKey]:
    """Every key that opens something. Raises DatabaseUnavailable."""
    return [
        OpeningKey(row[0], row[1], row[2], frozenset(scope for scope in Scope if scope.value in row[3]), row[4])
        for row in await database.rows(_OPENING)
    ]


async def note_use(database: Database, used: Mapping[str, datetime]) -> None:
    """Write down when keys were last used. used : by public id. Raises DatabaseUnavailable."""
    async with database.transaction() as connection:
        for key_id, at in sorted(used.items()):
            last = func.greatest(api_keys.c.last_used_at, at)  # another process may have written a later one
            await connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(last_used_at=last))


async def add_key(
    connection: AsyncConnection,
    *,
    key_id: str,
    store_id: str,
    name: str,
    secret_hash: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
) -> None:
    """Raises StoreNotFound."""
    await read_store(connection, store_id)
    values = {"key_id": key_id, "store_id": store_id, "name": name, "secret_hash": secret_hash, "scopes": list(scopes)}
    await connection.execute(insert(api_keys).values({**values, "expires_at": expires_at}))
    await announce_keys(connection)


async def list_keys(connection: AsyncConnection, store_id: str | None = None) -> list[StoredKey]:
    """Every key, of one store or of all, the oldest first, those revoked too."""
    query = select(*_COLUMNS).order_by(api_keys.c.created_at, api_keys.c.key_id)
    if store_id is not None:
        query = query.where(api_keys.c.store_id == store_id)
    return [StoredKey(*row) for row in await connection.execute(query)]


async def read_key(connection: AsyncConnection, key_id: str, *, store_id: str | None = None) -> StoredKey:
    """store_id : whose it must be, where that matters. Raises KeyNotFound. Nobody else changes it meanwhile."""
    row = (
        await connection.execute(select(*_COLUMNS).where(api_keys.c.key_id == key_id).with_for_update())
    ).one_or_none()
    if row is None or (store_id is not None and row.store_id != store_id):
        raise KeyNotFound(key_id)
    return StoredKey(*row)


async def replace_key(
    connection: AsyncConnection,
    key_id: str,
    *,
    new_id: str,
    secret_hash: str,
    overlap: timedelta,
    now: datetime,
    store_id: str | None = None,
) -> StoredKey:
    """Make a key like another, which opens for `overlap` more and no longer; returns the other, as it is then.

    The new one expires as long after now as the other was to after it was made. Raises KeyNotFound, KeyNotLive for one
    that opens nothing, or KeyReplaced for one whose place is taken, of which nobody knows any more how long it was to.
    """
    old = await read_key(connection, key_id, store_id=store_id)
    if not old.opens(now):
        raise KeyNotLive(key_id)
    if old.replaced_by is not None:
        raise KeyReplaced(key_id, by=old.replaced_by)
    lives = None if old.expires_at is None else old.expires_at - old.created_at
    await add_key(
        connection,
        key_id=new_id,
        store_id=old.store_id,
        name=old.name,
        secret_hash=secret_hash,
        scopes=old.scopes,
        expires_at=None if lives is None else now + lives,
    )
    until = now + overlap if old.expires_at is None else min(now + overlap, old.expires_at)
    values = {"expires_at": until, "replaced_by": new_id}
    await connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(values))
    return await read_key(connection, key_id)


async def revoke_key(
    connection: AsyncConnection, key_id: str, *, store_id: str | None = None, last_admin: bool = True
) -> bool:
    """Refuse a key from now on; False where it was revoked before.

    last_admin : whether it may be the last by which the keys of that store can be managed

    Raises KeyNotFound, or LastAdminKey.
    """
    wanted = api_keys.c.key_id == key_id
    if not last_admin:
        # Held too, so that of two who revoke the last two at once the second sees what the first has done.
        wanted |= (api_keys.c.store_id == store_id) & _LIVE & _ADMIN
    query = select(*_COLUMNS).where(wanted).order_by(_AS_SORTED).with_for_update()
    held = {row.key_id: StoredKey(*row) for row in await connection.execute(query)}
    key = held.pop(key_id, None)
    if key is None or (store_id is not None and key.store_id != store_id):
        raise KeyNotFound(key_id)
    if key.revoked_at is not None:
        return False
    if not last_admin and Scope.admin.value in key.scopes and not held:
        raise LastAdminKey(key_id)
    await connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(revoked_at=func.now()))
    await announce_keys(connection)
    return True
