"""Keys that are kept: found while they open, listed always, refused at once when revoked."""

import asyncio
import secrets
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.core.clock import utc_now
from app.core.errors import KeyNotFound, StoreNotFound
from app.core.keys import Scope, hash_key, new_key
from app.warehouse.engine import Database
from app.warehouse.keys import OpeningKey, add_key, list_keys, note_use, read_opening_keys, revoke_key
from app.warehouse.tables import api_keys
from tests.fakes import bought, put, value
from tests.waiting import until


async def made(database: Database, store_id: str, **about: object) -> tuple[str, str]:
    key_id, key = new_key()
    arguments = {"name": "help desk", "scopes": ["support"], **about}
    async with database.transaction() as connection:
        await add_key(connection, key_id=key_id, store_id=store_id, secret_hash=hash_key(key.encode()), **arguments)
    return key_id, key


async def opening(database: Database, key_id: str) -> OpeningKey | None:
    return next((key for key in await read_opening_keys(database) if key.key_id == key_id), None)


async def test_a_key_opens_until_it_is_revoked(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-01-05", ("x", "1", "5")))
    key_id, key = await made(database, store_id)
    known = OpeningKey(key_id, store_id, hash_key(key.encode()), frozenset({Scope.support}), None)
    assert await opening(database, key_id) == known
    async with database.transaction() as connection:
        assert await revoke_key(connection, key_id)
    assert await opening(database, key_id) is None
    async with database.transaction() as connection:
        assert not await revoke_key(connection, key_id)
    assert await opening(database, "nokeyatall") is None


async def test_keys_are_listed_with_what_is_known_of_them(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-01-05", ("x", "1", "5")))
    first, second = await made(database, store_id), await made(database, store_id, scopes=["analytics", "privacy"])
    async with database.transaction() as connection:
        await revoke_key(connection, first[0])
        listed = {key.key_id: key for key in await list_keys(connection) if key.store_id == store_id}
    assert list(listed) == [first[0], second[0]]
    assert listed[first[0]].revoked_at is not None
    assert (listed[second[0]].revoked_at, listed[second[0]].scopes) == (None, ["analytics", "privacy"])
    assert not any(key in str(listed) for _, key in (first, second))


async def test_a_key_needs_a_store_that_is_there(database: Database, store_id: str) -> None:
    with pytest.raises(StoreNotFound, match=store_id):
        await made(database, store_id)


async def test_revoking_a_key_that_is_none_says_so(database: Database) -> None:
    with pytest.raises(KeyNotFound, match="keys list"):
        async with database.transaction() as connection:
            await revoke_key(connection, "nokeyatall")


@pytest.mark.parametrize("order", [("0", "z"), ("B", "a")], ids=["numbers first", "capitals first"])
async def test_who_revokes_a_key_and_who_notes_their_use_never_wait_for_each_other(
    database: Database, store_id: str, order: tuple[str, str]
) -> None:
    """One notes the first use and has not come to the second when the other begins."""
    await put(database, store_id, bought("ada", "o1", "2024-01-05", ("x", "1", "5")))
    revoked, admin = (f"{each}{secrets.token_hex(4)}"[:8] for each in order)
    for key_id, scope in ((revoked, "support"), (admin, "admin")):
        async with database.transaction() as connection:
            await add_key(connection, key_id=key_id, store_id=store_id, name="", secret_hash=key_id, scopes=[scope])

    async def revoke() -> bool:
        async with database.transaction() as connection:
            return await revoke_key(connection, revoked, store_id=store_id, last_admin=False)

    uses = sorted({revoked: utc_now(), admin: utc_now()}.items())
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with database.transaction() as connection:
        noted = [update(api_keys).where(api_keys.c.key_id == each).values(last_used_at=at) for each, at in uses]
        await connection.execute(noted[0])
        revoking = asyncio.create_task(revoke())
        await until(lambda: value(database, waits))
        await connection.execute(noted[1])
    assert await revoking
    assert await opening(database, revoked) is None


async def test_of_several_who_note_the_use_of_a_key_the_latest_counts(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-01-05", ("x", "1", "5")))
    key_id, _ = await made(database, store_id)
    now = utc_now()
    for at in (now - timedelta(minutes=2), now, now - timedelta(minutes=1)):
        await note_use(database, {key_id: at})
    async with database.snapshot() as connection:
        assert [key.last_used_at for key in await list_keys(connection, store_id)] == [now]
