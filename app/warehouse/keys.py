"""The API keys that are kept: made, listed, revoked, and looked up by their public id."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import KeyNotFound
from app.warehouse.engine import Database
from app.warehouse.stores import read_store
from app.warehouse.tables import api_keys


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known of a key: everything but the key. revoked_at : None while it opens"""

    key_id: str
    store_id: str
    name: str
    scopes: Sequence[str]
    created_at: datetime
    revoked_at: datetime | None


_OPENING = "SELECT store_id, secret_hash, scopes FROM api_keys WHERE key_id = $1 AND revoked_at IS NULL"


async def opening_key(database: Database, key_id: str) -> tuple[str, str, Sequence[str]] | None:
    """Store, hash and scopes of a key that is not revoked; None where there is none."""
    row = await database.row(_OPENING, key_id)
    return None if row is None else tuple(row)


async def add_key(
    connection: AsyncConnection, *, key_id: str, store_id: str, name: str, secret_hash: str, scopes: Sequence[str]
) -> None:
    """Raises StoreNotFound."""
    await read_store(connection, store_id)
    values = {"key_id": key_id, "store_id": store_id, "name": name, "secret_hash": secret_hash, "scopes": list(scopes)}
    await connection.execute(insert(api_keys).values(values))


async def list_keys(connection: AsyncConnection) -> list[StoredKey]:
    """Every key, the oldest first, those revoked too."""
    columns = (
        *(api_keys.c.key_id, api_keys.c.store_id, api_keys.c.name, api_keys.c.scopes),
        *(api_keys.c.created_at, api_keys.c.revoked_at),
    )
    rows = await connection.execute(select(*columns).order_by(api_keys.c.created_at, api_keys.c.key_id))
    return [StoredKey(*row) for row in rows]


async def revoke_key(connection: AsyncConnection, key_id: str) -> bool:
    """Refuse a key from now on; False where it was revoked before. Raises KeyNotFound."""
    revoked = update(api_keys).where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
    done = await connection.execute(revoked.values(revoked_at=func.now()).returning(api_keys.c.key_id))
    if done.first() is not None:
        return True
    known = select(api_keys.c.key_id).where(api_keys.c.key_id == key_id)
    if (await connection.execute(known)).first() is None:
        raise KeyNotFound(key_id)
    return False
