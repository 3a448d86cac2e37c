"""Keys from their making to their end, over the API and past it, while requests run."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import utc_now
from app.core.keys import hash_key, new_key
from app.warehouse.engine import Database
from app.warehouse.keys import add_key
from tests.api.conftest import Ask, Clients, client
from tests.api.test_access import PROFILE, refused
from tests.api.test_bad_input import assert_problem
from tests.fakes import bought, execute, put

KEYS = "/api/admin/keys"


async def made(asking: Ask, path: str = KEYS, **wanted: Any) -> Any:
    answer = await asking.post(path, json=wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
async def other_store(app: FastAPI, database: Database, store_id: str) -> AsyncIterator[tuple[str, Ask]]:
    """A store that is not that of the settings: the id of its one admin key, and a client with it."""
    await put(database, store_id, bought("zora", "o1", "2024-01-05", ("thread", "2", "4.50")))
    key_id, key = new_key()
    async with database.transaction() as connection:
        digest = hash_key(key.encode())
        await add_key(connection, key_id=key_id, store_id=store_id, name="", secret_hash=digest, scopes=["admin"])
    async with client(app, key) as asking:
        async with asyncio.timeout(30):
            # Made past the service, it is heard of in a moment.
            while (await asking.get(KEYS)).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield key_id, asking


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`later(hours=2)`: keys are looked at as they will be then."""

    def shift(**by: float) -> None:
        monkeypatch.setattr("app.keyring.utc_now", lambda: utc_now() + timedelta(**by))

    yield shift


async def test_a_key_opens_until_it_expires(app: FastAPI, ask: Clients, later: Any) -> None:
    key = await made(ask.admin, scopes=["support"], expires_in_days=1)
    async with client(app, key["key"]) as asking:
        assert (await asking.get(PROFILE)).status_code == 200
        later(hours=23.9)
        assert (await asking.get(PROFILE)).status_code == 200
        later(hours=24.1)
        assert_problem(await asking.get(PROFILE), 401)


async def test_a_key_that_has_expired_is_refused_in_the_words_for_one_that_is_unknown(
    app: FastAPI, ask: Clients, database: Database, shop: str, later: Any
) -> None:
    """Neither words nor headers tell which it is."""
    told = []
    key = await made(ask.admin, scopes=["support"], expires_in_days=1)
    later(days=2)
    for presented in (key["key"], new_key()[1]):
        async with client(app, presented) as asking:
            answer = await asking.get(PROFILE)
            body = answer.json() | {"request_id": ""}
            told.append((answer.status_code, body, {**answer.headers, "x-request-id": ""}))
    assert told[0] == told[1]
    assert told[0][0] == 401


async def test_a_new_key_holds_what_was_asked_for_and_is_shown_once(app: FastAPI, ask: Clients) -> None:
    key = await made(ask.admin, scopes=["analytics", "analytics"], name="page")
    async with client(app, key["key"]) as asking:
        assert (await asking.get("/api/mcp/archetypes/top")).status_code == 200
        assert_problem(await asking.get(KEYS), 403)
    listed = (await ask.admin.get(KEYS)).text
    assert key["key_id"] in listed
    assert key["key"] not in listed
    assert key["scopes"] == ["analytics"]


async def test_while_a_key_is_replaced_both_open_and_then_the_new_one_alone(
    app: FastAPI, ask: Clients, later: Any
) -> None:
    old = await made(ask.admin, scopes=["support"], name="help desk")
    new = await made(ask.admin, f"{KEYS}/{old['key_id']}/rotate", overlap_hours=1)
    assert (new["replaces"], new["name"], new["scopes"]) == (old["key_id"], "help desk", ["support"])
    async with client(app, old["key"]) as with_old, client(app, new["key"]) as with_new:
        for asking in (with_old, with_new):
            assert (await asking.get(PROFILE)).status_code == 200
        later(hours=1.1)
        assert_problem(await with_old.get(PROFILE), 401)
        assert (await with_new.get(PROFILE)).status_code == 200
    again = await ask.admin.post(f"{KEYS}/{new['key_id']}/rotate", json={"overlap_hours": 0})
    assert again.status_code == 201
    async with client(app, new["key"]) as asking:
        assert_problem(await asking.get(PROFILE), 401)
    assert_problem(await ask.admin.post(f"{KEYS}/{new['key_id']}/rotate"), 409)


async def test_a_key_that_was_replaced_is_not_replaced_again_and_its_successor_lives_as_long_as_it_was_to(
    ask: Clients,
) -> None:
    old = await made(ask.admin, scopes=["support"], expires_in_days=90)
    new = await made(ask.admin, f"{KEYS}/{old['key_id']}/rotate")
    refused_again = await ask.admin.post(f"{KEYS}/{old['key_id']}/rotate")
    assert_problem(refused_again, 409)
    assert new["key_id"] in refused_again.json()["detail"]
    newest = await made(ask.admin, f"{KEYS}/{new['key_id']}/rotate")
    for each in (new, newest):
        created, expires = (datetime.fromisoformat(each[name]) for name in ("created_at", "expires_at"))
        assert abs(expires - created - timedelta(days=90)) < timedelta(minutes=1)


async def test_of_two_who_replace_a_key_at_once_one_is_refused(ask: Clients) -> None:
    key = await made(ask.admin, scopes=["support"])
    answers = await asyncio.gather(*(ask.admin.post(f"{KEYS}/{key['key_id']}/rotate") for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [201, 409]


async def test_a_key_that_is_revoked_over_the_api_is_refused_at_once(app: FastAPI, ask: Clients) -> None:
    key = await made(ask.admin, scopes=["support"])
    async with client(app, key["key"]) as asking:
        assert (await asking.get(PROFILE)).status_code == 200
        revoked = await ask.admin.post(f"{KEYS}/{key['key_id']}/revoke")
        assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
        assert_problem(await asking.get(PROFILE), 401)
    assert (await ask.admin.post(f"{KEYS}/{key['key_id']}/revoke")).json() == revoked.json()
    assert_problem(await ask.admin.post(f"{KEYS}/{key['key_id']}/rotate"), 409)


async def test_a_key_that_somebody_else_revokes_is_refused_too(
    app: FastAPI, ask: Clients, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a statement in the database, of which nobody is told: when keys are next read."""
    monkeypatch.setattr("app.keyring._FRESH_SECONDS", 0.5)
    key = await made(ask.admin, scopes=["support"])
    async with client(app, key["key"]) as asking:
        assert (await asking.get(PROFILE)).status_code == 200
        await execute(database, "UPDATE api_keys SET revoked_at = now() WHERE key_id = :key", key=key["key_id"])
        await refused(asking)


async def test_the_last_admin_key_of_a_store_stays(
    app: FastAPI, database: Database, other_store: tuple[str, Ask]
) -> None:
    """Without it nobody could manage the store's keys: no key of the settings opens it."""
    key_id, admin = other_store
    assert_problem(await admin.post(f"{KEYS}/{key_id}/revoke"), 409)
    second = await made(admin, scopes=["admin", "support"], expires_in_days=1)
    assert (await admin.post(f"{KEYS}/{key_id}/revoke")).status_code == 200
    async with client(app, second["key"]) as asking:
        assert_problem(await asking.post(f"{KEYS}/{second['key_id']}/revoke"), 409)
        assert (await asking.get(KEYS)).status_code == 200
    assert_problem(await admin.get(KEYS), 401)


async def test_of_two_who_revoke_the_last_two_at_once_one_is_refused(
    app: FastAPI, other_store: tuple[str, Ask]
) -> None:
    key_id, admin = other_store
    second = await made(admin, scopes=["admin"])
    async with client(app, second["key"]) as other:
        answers = await asyncio.gather(
            admin.post(f"{KEYS}/{second['key_id']}/revoke"), other.post(f"{KEYS}/{key_id}/revoke")
        )
        assert sorted(answer.status_code for answer in answers) in ([200, 409], [200, 401])
        left = [(await asking.get(KEYS)).status_code for asking in (admin, other)]
    assert sorted(left) == [200, 401]


async def test_an_admin_key_of_the_settings_store_may_be_the_last(ask: Clients) -> None:
    """ADMIN_KEY still opens it."""
    key = await made(ask.admin, scopes=["admin"])
    assert (await ask.admin.post(f"{KEYS}/{key['key_id']}/revoke")).status_code == 200


async def test_replacing_a_key_fails_no_request(app: FastAPI, ask: Clients) -> None:
    """Twenty at a time ask on while their key is replaced again and again, and change to the new one when they may."""
    key = await made(ask.admin, scopes=["support"])
    current, done, statuses = {"key": key["key"]}, asyncio.Event(), list[int]()

    async def ask_on() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as asking:
            while not done.is_set():
                answer = await asking.get(PROFILE, headers={"X-API-Key": current["key"]})
                statuses.append(answer.status_code)

    asking = [asyncio.create_task(ask_on()) for _ in range(20)]
    for _ in range(5):
        before = len(statuses)
        key = await made(ask.admin, f"{KEYS}/{key['key_id']}/rotate", overlap_hours=1)
        current["key"] = key["key"]
        async with asyncio.timeout(30):
            while len(statuses) < before + 50:  # noqa: ASYNC110  until they have used it
                await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*asking)
    assert set(statuses) == {200}


async def test_what_is_done_with_keys_is_noted_without_the_key(ask: Clients) -> None:
    key = await made(ask.admin, scopes=["support"])
    new = await made(ask.admin, f"{KEYS}/{key['key_id']}/rotate")
    await ask.admin.post(f"{KEYS}/{key['key_id']}/revoke")
    noted = (await ask.admin.get("/api/admin/audit", params={"action": "key", "limit": 3})).json()["entries"]
    assert [(each["action"], each["object"]) for each in noted] == [
        ("key.revoke", key["key_id"]),
        ("key.rotate", f"{key['key_id']} by {new['key_id']}"),
        ("key.create", key["key_id"]),
    ]
    assert all(each["key_id"] == "admin" for each in noted)


async def test_a_key_of_another_store_is_not_there(ask: Clients, other_store: tuple[str, Ask]) -> None:
    key_id, other = other_store
    own = await made(ask.admin, scopes=["support"])
    for asking, foreign in ((ask.admin, key_id), (other, own["key_id"])):
        for done in ("rotate", "revoke"):
            assert_problem(await asking.post(f"{KEYS}/{foreign}/{done}"), 404)
        assert foreign not in (await asking.get(KEYS)).text
