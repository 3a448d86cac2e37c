"""Keys are known together and without asking; what is revoked stops opening, whatever else is going on."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from app.core.clock import utc_now
from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.core.keys import BootstrapKeys, Caller, Scope, hash_key, new_key
from app.hearing import Hearing
from app.keyring import Keyring
from app.warehouse.announcements import Change
from app.warehouse.engine import Database
from app.warehouse.keys import add_key, list_keys, revoke_key
from app.warehouse.stores import ensure_store

ADMIN = Caller("s", frozenset(Scope), "ADMIN_KEY")


class Asked:
    """How often the database is asked, and whether it answers."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n, self.away = 0, False
        rows = database.rows

        async def counted(*of: object) -> object:
            self.n += 1
            if self.away:
                raise DatabaseUnavailable("away")
            return await rows(*of)  # type: ignore[arg-type]

        monkeypatch.setattr(database, "rows", counted)


class Clock:
    """The monotonic clock, which the test moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("app.keyring.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def asked(database: Database, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(database, monkeypatch)


@pytest.fixture
async def store(database: Database, store_id: str) -> AsyncIterator[str]:
    async with database.transaction() as connection:
        await ensure_store(connection, store_id, timezone="UTC", currency="USD")
    yield store_id


@pytest.fixture
def keyring(database: Database, asked: Asked, clock: Clock) -> Keyring:
    return Keyring(database, BootstrapKeys([("admin-key", ADMIN)]), Hearing(database))


async def make(database: Database, store: str, *scopes: str, lives: timedelta | None = None) -> tuple[str, bytes]:
    key_id, key = new_key()
    async with database.transaction() as connection:
        await add_key(
            connection,
            key_id=key_id,
            store_id=store,
            name="",
            secret_hash=hash_key(key.encode()),
            scopes=scopes or ("support",),
            expires_at=None if lives is None else utc_now() + lives,
        )
    return key_id, key.encode()


async def test_a_key_opens_its_store_with_its_scopes_and_is_named(
    keyring: Keyring, database: Database, store: str
) -> None:
    key_id, key = await make(database, store, "support", "privacy")
    assert await keyring.caller(key) == Caller(store, frozenset({Scope.support, Scope.privacy}), key_id)


async def test_keys_of_the_settings_ask_nothing(keyring: Keyring, asked: Asked) -> None:
    asked.away = True
    assert await keyring.caller(b"admin-key") == ADMIN
    assert asked.n == 0


async def test_a_thousand_wrong_keys_ask_the_database_once(keyring: Keyring, asked: Asked) -> None:
    for _ in range(1_000):
        assert await keyring.caller(new_key()[1].encode()) is None
        assert await keyring.caller(b"nothing like a key") is None
    assert asked.n == 1


async def test_a_new_key_opens_as_soon_as_it_is_heard_of_and_a_second_later_without(
    keyring: Keyring, database: Database, store: str, clock: Clock
) -> None:
    await keyring.caller(new_key()[1].encode())
    _, key = await make(database, store)
    assert await keyring.caller(key) is None
    clock.now += 1.1
    assert await keyring.caller(key) is not None


async def test_a_wrong_secret_of_a_known_key_opens_nothing(keyring: Keyring, database: Database, store: str) -> None:
    key_id, _ = await make(database, store)
    assert await keyring.caller(f"ci_live_{key_id}_{'0' * 43}".encode()) is None


async def test_a_revoked_key_is_refused_when_that_is_heard_of(
    database: Database, store: str, asked: Asked, clock: Clock
) -> None:
    hearing = Hearing(database)
    keyring = Keyring(database, BootstrapKeys([]), hearing)
    key_id, key = await make(database, store)
    assert await keyring.caller(key) is not None
    async with database.transaction() as connection:
        await revoke_key(connection, key_id)
    hearing.tell(Change(None))
    assert await keyring.caller(key) is None


async def test_a_key_that_is_revoked_while_keys_are_being_read_is_refused_when_that_is_heard_of(
    database: Database, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who asks while they are still being read, and by who asks afterwards."""
    hearing = Hearing(database)
    keyring = Keyring(database, BootstrapKeys([]), hearing)
    key_id, key = await make(database, store)
    read, go_on = asyncio.Event(), asyncio.Event()
    rows = database.rows

    async def slow(*of: Any) -> Any:
        found = await rows(*of)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(database, "rows", slow)
    before = asyncio.create_task(keyring.caller(key))
    await read.wait()
    async with database.transaction() as connection:
        await revoke_key(connection, key_id)
    hearing.tell(Change(None))
    meanwhile = asyncio.create_task(keyring.caller(key))
    await asyncio.sleep(0)
    go_on.set()
    assert await before is not None
    assert await meanwhile is None
    assert await keyring.caller(key) is None


async def test_a_revoked_key_is_refused_within_half_a_minute_even_if_nothing_is_heard(
    keyring: Keyring, database: Database, store: str, clock: Clock
) -> None:
    key_id, key = await make(database, store)
    assert await keyring.caller(key) is not None
    async with database.transaction() as connection:
        await revoke_key(connection, key_id)
    clock.now += 29
    assert await keyring.caller(key) is None


async def test_while_the_database_is_away_known_keys_open_for_less_than_half_a_minute(
    keyring: Keyring, database: Database, store: str, asked: Asked, clock: Clock
) -> None:
    _, key = await make(database, store)
    assert await keyring.caller(key) is not None
    asked.away = True
    clock.now += 20
    assert await keyring.caller(key) is not None
    clock.now += 9
    with pytest.raises(DatabaseUnavailable):
        await keyring.caller(key)
    asked.away = False
    assert await keyring.caller(key) is not None


async def test_who_waited_for_a_database_that_is_away_waits_once(
    database: Database, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring(database, BootstrapKeys([]), Hearing(database))
    _, key = await make(database, store)
    assert await keyring.caller(key) is not None
    monkeypatch.setattr("app.keyring._FRESH_SECONDS", 0.0)
    n_asked = 0

    async def away(*_: object) -> None:
        nonlocal n_asked
        n_asked += 1
        await asyncio.sleep(0.1)
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(database, "rows", away)
    for old_seconds in (25.0, 0.0):
        monkeypatch.setattr("app.keyring._OLD_SECONDS", old_seconds)
        n_asked = 0
        found = await asyncio.gather(*(keyring.caller(key) for _ in range(20)), return_exceptions=True)
        told = {type(each) for each in found}
        assert told == ({Caller} if old_seconds else {DatabaseUnavailable})
        assert n_asked == 1


async def test_an_expired_key_opens_nothing_though_nobody_asks_again(
    keyring: Keyring, database: Database, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = await make(database, store, lives=timedelta(hours=1))
    assert await keyring.caller(key) is not None
    later = utc_now() + timedelta(hours=1)
    monkeypatch.setattr("app.keyring.utc_now", lambda: later)
    assert await keyring.caller(key) is None


async def test_many_who_ask_at_once_have_the_keys_read_once(
    keyring: Keyring, database: Database, store: str, asked: Asked
) -> None:
    _, key = await make(database, store)
    found = await asyncio.gather(*(keyring.caller(key) for _ in range(50)))
    assert all(found)
    assert asked.n == 1


async def test_it_is_written_down_when_a_key_was_last_used(keyring: Keyring, database: Database, store: str) -> None:
    key_id, key = await make(database, store)
    unused_id, _ = await make(database, store)
    before = utc_now()
    await keyring.caller(key)
    await keyring.note_uses()
    async with database.snapshot() as connection:
        used = {each.key_id: each.last_used_at for each in await list_keys(connection, store)}
    last = used[key_id]
    assert last is not None
    assert last >= before
    assert used[unused_id] is None


async def test_uses_that_cannot_be_written_are_written_later(
    keyring: Keyring, database: Database, store: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, key = await make(database, store)
    await keyring.caller(key)
    transaction = database.transaction

    def away() -> object:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(database, "transaction", away)
    with pytest.raises(DatabaseUnavailable):
        await keyring.note_uses()
    monkeypatch.setattr(database, "transaction", transaction)
    await keyring.note_uses()
    async with database.snapshot() as connection:
        (one,) = [each for each in await list_keys(connection, store) if each.key_id == key_id]
    assert one.last_used_at is not None
