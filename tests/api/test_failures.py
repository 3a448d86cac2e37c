"""When something of ours or beneath us fails: one form of answer, nothing told of our insides, and a way back."""

import io
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from asyncpg import connect
from fastapi import FastAPI

from app.core.config import Settings
from app.core.errors import DatabaseUnavailable, RunForgotten
from app.core.logging import configure_logging
from app.core.metrics import DATABASE_UNAVAILABLE
from app.embedded import EmbeddedPostgres
from app.main import create_app
from app.warehouse import customers
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Clients, client, resources_for
from tests.api.test_access import routes
from tests.fakes import bought, put, value

#: What makes sense to those that take a body.
BODIES = {
    "/api/admin/keys": {"scopes": ["support"]},
    "/api/privacy/export": {"customer_id": "C0000001"},
    "/api/privacy/erase": {"customer_id": "C0000001"},
}


@contextmanager
def logged() -> Iterator[io.BytesIO]:
    """What is logged inside, as it would be written."""
    out = io.BytesIO()
    before = structlog.get_config()
    configure_logging(level="INFO", json_logs=True)
    structlog.configure(logger_factory=structlog.BytesLoggerFactory(file=out))
    try:
        yield out
    finally:
        structlog.configure(**before)


def assert_away(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 503
    assert "Traceback" not in answer.text
    assert "127.0.0.1" not in answer.text


@pytest.fixture
async def away(settings: Settings) -> AsyncIterator[FastAPI]:
    """The app over a server that is not there."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"postgresql://shop:hunter2@127.0.0.1:{reserved.getsockname()[1]}/none"
        here = settings.model_copy(update={"database_url": url})
        database = Database(url, here)
        app = create_app(resources=resources_for(database, here, "shop", prepared=False))
        async with app.router.lifespan_context(app):
            yield app
        await database.close()


async def test_while_the_database_is_away_the_service_lives_and_asks_for_patience(away: FastAPI) -> None:
    async with client(away, KEYS["admin"]) as asking:
        assert (await asking.get("/health/live")).status_code == 200
        assert (await asking.get("/openapi.json")).status_code == 200
        for path in ("/health", "/health/ready"):
            assert_away(await asking.get(path))
        for method, path, scopes in routes(away):
            if scopes is not None:
                assert_away(await asking.request(method, path, params={"query": "a"}, json=BODIES.get(path)))
    stored_key = f"ci_live_abcdefgh_{'0' * 43}"
    async with client(away, stored_key) as asking:
        assert_away(await asking.get("/api/mcp/customer/C0000001"))
    async with client(away, "wrong") as asking:
        assert (await asking.get("/api/mcp/customer/C0000001")).status_code == 401


async def test_a_server_that_comes_back_is_used_again_without_a_restart(tmp_path: Path, settings: Settings) -> None:
    """It starts without it, migrates when it is there, and survives its being restarted."""
    server = EmbeddedPostgres(tmp_path, durable=False)
    url = server.start()
    server.stop()
    here = settings.model_copy(update={"database_url": url})
    database = Database(url, here)
    app = create_app(resources=resources_for(database, here, "corner", prepared=False))
    async with app.router.lifespan_context(app), client(app, KEYS["support"]) as asking:
        assert_away(await asking.get("/health/ready"))
        for round_number in range(2):
            assert server.start() == url
            try:
                await answered(asking, "/health/ready")
                await put(database, "corner", bought("ada", f"o{round_number}", "2024-01-05", ("x", "1", "5")))
                profile = await answered(asking, "/api/mcp/customer/ada")
                assert profile["pseudonym"].startswith("C-")
            finally:
                server.stop()
            assert_away(await asking.get("/api/mcp/customer/ada"))
    await database.close()


async def answered(asking: httpx.AsyncClient, path: str) -> Any:
    import asyncio

    for _ in range(100):
        answer = await asking.get(path)
        if answer.status_code == 200:
            return answer.json()
        await asyncio.sleep(0.1)
    raise AssertionError(answer.text)


async def test_what_a_request_asks_has_limits_and_what_the_service_does_has_none(
    app: FastAPI, database: Database
) -> None:
    limits = "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout')"
    assert await value(app.state.resources.database, limits) == "10s 5s"
    assert (await app.state.resources.database.row(limits))[0] == "10s 5s"
    assert await value(database, limits) == "0 0"


async def test_connections_cut_by_the_server_are_replaced_unnoticed(
    ask: Clients, database: Database, empty_database_url: str
) -> None:
    assert (await ask.support.get("/api/mcp/customer/C0000001")).status_code == 200
    other = await connect(empty_database_url.replace("+asyncpg", ""))
    try:
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await other.close()
    for _ in range(5):
        assert (await ask.support.get("/api/mcp/customer/C0000001")).status_code == 200


def unavailable() -> float:
    return DATABASE_UNAVAILABLE._value.get()


@pytest.mark.parametrize("path", ["/api/mcp/customer/C0000001", "/api/mcp/customer/C0000001?include=churn"])
@pytest.mark.parametrize(("cuts", "status", "counted"), [(1, 200, 0), (2, 503, 1)])
async def test_only_requests_that_the_database_left_unanswered_are_counted_as_such(
    ask: Clients, monkeypatch: pytest.MonkeyPatch, path: str, cuts: int, status: int, counted: int
) -> None:
    """A read that was cut off is asked again, and may be answered after all."""
    read = customers.read_profile
    left = cuts

    async def cut_off(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise DatabaseUnavailable("The database went away in the middle of the work.", cut=True)
        return await read(*arguments, **named)

    monkeypatch.setattr(customers, "read_profile", cut_off)
    before = unavailable()
    assert (await ask.support.get(path)).status_code == status
    assert left == 0
    assert unavailable() - before == counted


async def test_a_run_that_was_replaced_meanwhile_is_told_and_is_no_outage(
    ask: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgotten(*_: object, **__: object) -> None:
        raise RunForgotten

    monkeypatch.setattr("app.api.customers.service.customers.read_profile", forgotten)
    before = unavailable()
    answer = await ask.support.get("/api/mcp/customer/C0000001")
    assert_away(answer)
    assert answer.json()["type"] == "/problems/run-forgotten"
    assert "replaced by a newer one" in answer.json()["detail"]
    assert unavailable() == before


async def test_what_nobody_expected_is_told_plainly_and_logged_once(
    ask: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> None:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr("app.api.customers.service.customers.read_profile", breaks)
    with logged() as log:
        answer = await ask.support.get("/api/mcp/customer/C0000001", headers={"X-Request-ID": "ticket-1"})
    assert answer.status_code == 500
    problem = answer.json()
    assert problem["request_id"] == answer.headers["x-request-id"] == "ticket-1"
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    lines = [line for line in map(json.loads, log.getvalue().splitlines()) if line.get("request_id") == "ticket-1"]
    assert [line["event"] for line in lines] == ["request.failed", "request"]
    assert "RuntimeError" in lines[0]["exception"]


async def test_the_log_names_routes_and_never_people_keys_or_questions(ask: Clients) -> None:
    with logged() as log:
        await ask.support.get("/api/mcp/customer/C0000001", params={"exclude": "churn"})
        await ask.support.get("/api/mcp/customers/search", params={"query": "rosa.sashing@example.net"})
        await ask.support.get("/api/mcp/customer/nobody-we-know")
        await ask.nobody.get("/api/mcp/customer/C0000001", headers={"X-API-Key": "wrong-key"})
        await ask.nobody.get("/no/such/path")
    text = log.getvalue().decode()
    for secret in ("C0000001", "rosa", "nobody-we-know", "wrong-key", "such", KEYS["support"], "churn"):
        assert secret not in text
    lines = [line for line in map(json.loads, text.splitlines()) if line["event"] == "request"]
    assert [line["route"] for line in lines] == [
        "/api/mcp/customer/{customer_id}",
        "/api/mcp/customers/search",
        "/api/mcp/customer/{customer_id}",
        "/api/mcp/customer/{customer_id}",
        "unmatched",
    ]
    assert [line["status"] for line in lines] == [200, 200, 404, 401, 404]
    assert all(line["ms"] >= 0 and line["request_id"] for line in lines)


async def test_the_log_says_whose_request_was_one_too_many(database: Database, settings: Settings, shop: str) -> None:
    few = settings.model_copy(update={"rate_limit_per_minute": 1})
    app = create_app(resources=resources_for(database, few, shop))
    with logged() as log:
        async with app.router.lifespan_context(app), client(app, KEYS["support"]) as asking:
            answers = [await asking.get("/api/mcp/customer/C0000001") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert 1 <= int(answers[1].headers["retry-after"]) <= 60
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["status"], line["key_id"]) for line in lines if line["event"] == "request"] == [
        (200, "support"),
        (429, "support"),
    ]


async def test_answers_that_depend_on_the_key_are_kept_by_no_cache(ask: Clients) -> None:
    for path in ("/api/mcp/customer/C0000001", "/api/mcp/archetypes/top", "/health", "/api/nothing"):
        assert (await ask.support.get(path)).headers["Cache-Control"] == "no-store", path
