"""Who is let in: keys, scopes and stores, for every route there is."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.api.openapi import scopes_of
from app.api.routes import ROUTERS
from app.core.keys import Scope, hash_key, new_key
from app.warehouse.engine import Database
from app.warehouse.keys import add_key, revoke_key
from tests import raw_http
from tests.api.conftest import KEYS, STORE, Clients, client
from tests.fakes import bought, put
from tests.waiting import until

PROFILE = "/api/mcp/customer/C0000001"


def routes(app: FastAPI) -> list[tuple[str, str, tuple[Scope, ...] | None]]:
    """Method, path with an id in it, and scopes of every described route."""
    found = []
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            scopes = tuple(Scope(scope) for scope in operation["x-scopes"]) or None
            found.append((method.upper(), re.sub(r"\{\w+\}", "C0000001", path.replace("{job_id}", "1")), scopes))
    return found


@pytest.fixture
async def kept_key(app: FastAPI, database: Database, shop: str) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """A key of the database with scope support, and a client that uses it."""
    key_id, key = new_key()
    async with database.transaction() as connection:
        await add_key(
            connection,
            key_id=key_id,
            store_id=shop,
            name="",
            secret_hash=hash_key(key.encode()),
            scopes=["support"],
        )
    async with client(app, key) as asking:
        yield key_id, asking


def test_every_route_says_which_scopes_it_needs_and_only_health_needs_none(app: FastAPI) -> None:
    assert len(routes(app)) >= 15
    open_to_all = {"/health", "/health/live", "/health/ready", "/metrics"}
    assert {path for _, path, scopes in routes(app) if scopes is None} == open_to_all


def test_the_description_names_the_scopes_that_are_checked(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    checked = {
        (route.path_format, tuple(scope.value for scope in scopes_of(route) or ()))
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
    }
    assert checked == {(path, tuple(each["x-scopes"])) for path, found in paths.items() for each in found.values()}


async def test_every_route_lets_in_those_with_its_scope_and_nobody_else(app: FastAPI, ask: Clients) -> None:
    for method, path, needed in routes(app):
        if needed is None:
            continue
        answer = await ask.nobody.request(method, path)
        assert answer.status_code == 401, path
        for scope in Scope:
            answer = await getattr(ask, scope.value).request(method, path)
            allowed = scope in needed or scope is Scope.admin
            assert (answer.status_code == 403) != allowed, (method, path, scope)
            assert answer.status_code < 500
            if not allowed:
                problem = answer.json()
                assert problem["type"] == "/problems/scope-missing"
                assert all(each.value in problem["detail"] for each in needed)


def malformed_keys() -> dict[str, list[tuple[str, str]]]:
    one = ("X-API-Key", KEYS["support"])
    return {
        "none": [],
        "empty": [("X-API-Key", "")],
        "wrong": [("X-API-Key", "wrong")],
        "unknown": [("X-API-Key", new_key()[1])],
        "too short": [("X-API-Key", "ci_live_abcdefgh_short")],
        "with SQL in it": [("X-API-Key", "ci_live_abcdefgh_' OR 1=1--")],
        "not ASCII": [("X-API-Key", "schlüssel".encode("latin-1").decode("latin-1"))],
        "huge": [("X-API-Key", "k" * 100_000)],
        "two": [one, one],
        "as a bearer": [("Authorization", f"Bearer {KEYS['support']}")],
    }


async def opens(asking: httpx.AsyncClient, path: str) -> bool:
    return (await asking.get(path)).status_code == 200


async def refused(asking: httpx.AsyncClient) -> httpx.Response:
    """Where a key is revoked past this process, it hears of that in a moment, in half a minute at the latest."""
    for _ in range(300):
        answer = await asking.get(PROFILE)
        if answer.status_code == 401:
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError("a revoked key still opens")


async def test_all_that_is_no_valid_key_is_refused_in_the_same_words(
    ask: Clients, kept_key: tuple[str, httpx.AsyncClient], database: Database
) -> None:
    key_id, kept = kept_key
    assert (await kept.get(PROFILE)).status_code == 200
    async with database.transaction() as connection:
        await revoke_key(connection, key_id)
    answers = {"revoked": await refused(kept)}
    for name, headers in malformed_keys().items():
        encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers]
        answers[name] = await ask.nobody.get(PROFILE, headers=encoded)
    answers["in the address"] = await ask.nobody.get(PROFILE, params={"X-API-Key": KEYS["support"]})
    bodies = set()
    for name, answer in answers.items():
        assert answer.status_code == 401, name
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert body.pop("request_id")
        bodies.add(str(body))
    assert len(bodies) == 1


async def test_a_key_in_other_letter_case_is_another_key(ask: Clients, kept_key: tuple[str, httpx.AsyncClient]) -> None:
    _, kept = kept_key
    assert (await kept.get(PROFILE)).status_code == 200
    for key in (kept.headers["X-API-Key"], KEYS["support"]):
        for other in (key.lower(), key.upper(), key.swapcase(), key.capitalize()):
            if other != key:
                assert (await ask.nobody.get(PROFILE, headers={"X-API-Key": other})).status_code == 401, other


@pytest.mark.parametrize("name", ["X-API-Key", "x-api-key", "X-API-KEY", "X-Api-Key", "x-ApI-kEy"])
def test_the_name_of_the_header_is_taken_in_any_letter_case(served_shop: str, name: str) -> None:
    with raw_http.connected(served_shop) as connection:
        connection.sendall(f"GET {PROFILE} HTTP/1.1\r\nHost: shop\r\n{name}: {KEYS['support']}\r\n\r\n".encode())
        assert raw_http.answer(connection)[0] == 200


async def test_a_wrong_secret_of_a_known_key_is_refused(
    app: FastAPI, ask: Clients, kept_key: tuple[str, httpx.AsyncClient]
) -> None:
    key_id, _ = kept_key
    answer = await ask.nobody.get(PROFILE, headers={"X-API-Key": f"ci_live_{key_id}_{'0' * 43}"})
    assert answer.status_code == 401


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the database is asked from now on."""
    statements: list[str] = []
    for way in ("row", "rows"):
        ask = getattr(Database, way)

        async def counted(database: Database, query: str, *values: object, ask: Any = ask) -> Any:
            statements.append(query)
            return await ask(database, query, *values)

        monkeypatch.setattr(Database, way, counted)
    for way in ("snapshot", "transaction"):
        monkeypatch.setattr(Database, way, lambda *_, **__: pytest.fail("The database was asked."))
    return statements


async def test_a_malformed_key_never_reaches_the_database(ask: Clients, asked: list[str]) -> None:
    for name, headers in malformed_keys().items():
        if name != "unknown":
            encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers]
            assert (await ask.nobody.get(PROFILE, headers=encoded)).status_code == 401, name
    assert asked == []


async def test_after_the_first_wrong_keys_cost_no_query(
    ask: Clients, kept_key: tuple[str, httpx.AsyncClient], asked: list[str]
) -> None:
    """However many there are, and whether or not there is a key with that public part: keys are read once a second."""
    key_id, kept = kept_key
    assert (await kept.get(PROFILE)).status_code == 200
    asked.clear()
    began = time.monotonic()
    for number in range(300):
        wrong = f"ci_live_{key_id}_{number:043}" if number % 2 else new_key()[1]
        assert (await ask.nobody.get(PROFILE, headers={"X-API-Key": wrong})).status_code == 401
    # One may have been under way when it began.
    assert len(asked) <= 2 + time.monotonic() - began
    assert all("api_keys" in each for each in asked)


async def test_another_stores_customers_and_archetypes_are_not_there(
    app: FastAPI, ask: Clients, database: Database, store_id: str
) -> None:
    await put(database, store_id, bought("zora", "o1", "2024-01-05", ("thread", "2", "4.50")))
    key_id, key = new_key()
    async with database.transaction() as connection:
        digest = hash_key(key.encode())
        await add_key(connection, key_id=key_id, store_id=store_id, name="", secret_hash=digest, scopes=["admin"])
    top = (await ask.support.get("/api/mcp/archetypes/top")).json()["archetypes"][0]["archetype_id"]
    pseudonym = (await ask.support.get(PROFILE)).json()["pseudonym"]
    async with client(app, key) as other:
        # Of a key made past this process it hears in a moment.
        await until(lambda: opens(other, "/api/mcp/customer/zora"))
        for path in (
            PROFILE,
            f"{PROFILE}/orders",
            "/api/mcp/customers/C0000001",
            f"/api/mcp/customer/{pseudonym}",
            f"/api/mcp/archetypes/{top}",
            f"/api/mcp/archetypes/{top}/members",
            "/api/mcp/archetypes/top",
        ):
            answer = await other.get(path)
            assert answer.status_code == 404, path
            assert STORE not in answer.json()["detail"].replace("/api/mcp", "")
        assert (await other.get("/api/mcp/customers/search", params={"query": "C0000001"})).json()["count"] == 0
    assert (await ask.support.get("/api/mcp/customer/zora")).status_code == 404
