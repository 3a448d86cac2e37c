"""Keys made, replaced and revoked, and what is kept forgotten."""

from datetime import datetime, timedelta
from typing import Any

from app.api.admin.schemas import ApiKey, Flushed, Keys, MadeKey, NewKey, Rotation
from app.audit import noted
from app.core.clock import utc_now
from app.core.keys import Caller, hash_key, new_key
from app.resources import Resources
from app.warehouse import keys as kept
from app.warehouse.announcements import Change, announce
from app.warehouse.audit import write_audit
from app.warehouse.keys import StoredKey

_KEYS_CHANGED = Change(None)


async def keys(resources: Resources, caller: Caller) -> Keys:
    async with resources.database.snapshot() as connection:
        found = await kept.list_keys(connection, caller.store_id)
    now = utc_now()
    return Keys(keys=[ApiKey(**_told(key, now)) for key in found])


async def create_key(resources: Resources, caller: Caller, wanted: NewKey) -> MadeKey:
    """Raises StoreNotFound."""
    key_id, key = new_key()
    now = utc_now()
    async with resources.database.transaction() as connection:
        await kept.add_key(
            connection,
            key_id=key_id,
            store_id=caller.store_id,
            name=wanted.name,
            secret_hash=hash_key(key.encode()),
            scopes=sorted({scope.value for scope in wanted.scopes}),
            expires_at=None if wanted.expires_in_days is None else now + timedelta(days=wanted.expires_in_days),
        )
        await write_audit(connection, [noted(caller, "key.create", about=key_id)])
        made = await kept.read_key(connection, key_id)
    resources.hearing.tell(_KEYS_CHANGED)
    return MadeKey(**_told(made, now), key=key, replaces=None)


async def rotate_key(resources: Resources, caller: Caller, key_id: str, wanted: Rotation) -> MadeKey:
    """Raises KeyNotFound, also for a key of another store, KeyNotLive or KeyReplaced."""
    new_id, key = new_key()
    now = utc_now()
    async with resources.database.transaction() as connection:
        await kept.replace_key(
            connection,
            key_id,
            new_id=new_id,
            secret_hash=hash_key(key.encode()),
            overlap=timedelta(hours=wanted.overlap_hours),
            now=now,
            store_id=caller.store_id,
        )
        await write_audit(connection, [noted(caller, "key.rotate", about=f"{key_id} by {new_id}")])
        made = await kept.read_key(connection, new_id)
    resources.hearing.tell(_KEYS_CHANGED)
    return MadeKey(**_told(made, now), key=key, replaces=key_id)


async def revoke_key(resources: Resources, caller: Caller, key_id: str) -> ApiKey:
    """Raises KeyNotFound, also for a key of another store, or LastAdminKey."""
    # ADMIN_KEY, which no store can lose, opens the store of the settings.
    last_admin = caller.store_id == resources.settings.store_id
    async with resources.database.transaction() as connection:
        if await kept.revoke_key(connection, key_id, store_id=caller.store_id, last_admin=last_admin):
            await write_audit(connection, [noted(caller, "key.revoke", about=key_id)])
        revoked = await kept.read_key(connection, key_id)
    resources.hearing.tell(_KEYS_CHANGED)
    return ApiKey(**_told(revoked, utc_now()))


async def flush(resources: Resources, caller: Caller) -> Flushed:
    n_profiles = len(resources.profiles)
    async with resources.database.transaction() as connection:
        await announce(connection, caller.store_id)  # every other process forgets as well
        await write_audit(connection, [noted(caller, "cache.flush")])
    resources.hearing.tell(Change(caller.store_id))
    return Flushed(profiles=n_profiles - len(resources.profiles), redis=resources.cache.state == "redis")


def _told(key: StoredKey, now: datetime) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": key.scopes,
        "status": "revoked" if key.revoked_at is not None else "live" if key.opens(now) else "expired",
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "expires_at": _moment(key.expires_at),
        "last_used_at": _moment(key.last_used_at),
        "revoked_at": _moment(key.revoked_at),
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")
