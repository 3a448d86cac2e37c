"""Who asks too often waits, and nobody else does."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.api.middleware import BODY_SECONDS
from app.core.config import Settings
from app.core.errors import TooManyFailures
from app.core.keys import new_key
from app.limits import Limits
from app.main import create_app
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, client, resources_for, serving
from tests.api.test_access import PROFILE
from tests.api.test_bad_input import assert_problem
from tests.conftest import StoppedClock
from tests.raw_http import connected, problem

FAILURES, REQUESTS = 5, 20


@pytest.fixture(autouse=True)
def by_a_stopped_clock(stopped_clock: StoppedClock) -> None:
    """All that is counted here is counted within one minute."""


@pytest.fixture
async def limited(database: Database, settings: Settings, shop: str) -> AsyncIterator[FastAPI]:
    """The shop, with limits that are soon reached."""
    bounds = {"failed_keys_per_minute": FAILURES, "rate_limit_per_minute": REQUESTS}
    app = create_app(resources=resources_for(database, settings.model_copy(update=bounds), shop))
    async with app.router.lifespan_context(app):
        yield app


def at(app: FastAPI, address: str, key: str | None = None) -> httpx.AsyncClient:
    """A client at this address."""
    headers = {} if key is None else {"X-API-Key": key}
    transport = httpx.ASGITransport(app, client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url="http://shop.test", headers=headers)


def assert_waits(answer: httpx.Response, kind: str) -> None:
    problem = assert_problem(answer, 429)
    assert problem["type"] == f"/problems/{kind}"
    assert 1 <= int(answer.headers["retry-after"]) <= 120
    assert answer.headers["retry-after"] in problem["detail"]


async def test_an_address_that_tries_keys_waits_while_a_good_key_from_it_is_answered(limited: FastAPI) -> None:
    async with at(limited, "10.0.0.7") as guessing, at(limited, "10.0.0.7", KEYS["support"]) as good:
        for number in range(FAILURES):
            answer = await guessing.get(PROFILE, headers={"X-API-Key": new_key()[1] if number % 2 else "wrong"})
            assert_problem(answer, 401)
        for path in (PROFILE, "/api/mcp/archetypes/top", "/api/admin/keys"):
            for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": new_key()[1]}):
                assert_waits(await guessing.get(path, headers=headers), "too-many-failures")
        assert (await good.get(PROFILE)).status_code == 200
    async with at(limited, "10.0.0.8") as elsewhere:
        assert_problem(await elsewhere.get(PROFILE), 401)


async def test_keys_are_tried_at_the_health_check_no_oftener_than_elsewhere(limited: FastAPI) -> None:
    async with at(limited, "10.0.2.7") as asking:
        for number in range(FAILURES):
            tried = {"X-API-Key": new_key()[1] if number % 2 else "wrong"}
            assert (await asking.get("/health", headers=tried)).status_code == 200
        for path in ("/health", PROFILE):
            assert_waits(await asking.get(path, headers={"X-API-Key": "wrong"}), "too-many-failures")
        for path in ("/health", "/health/ready", "/health/live"):  # who tries no key is told as ever
            for _ in range(2 * FAILURES):
                assert (await asking.get(path)).status_code == 200
        assert (await asking.get("/health", headers={"X-API-Key": KEYS["support"]})).json()["database"] == "connected"


async def test_a_key_that_is_shown_to_the_health_check_counts(limited: FastAPI) -> None:
    async with client(limited, KEYS["campaigns"]) as asking:
        for _ in range(REQUESTS):
            assert (await asking.get("/health")).status_code == 200
        for path in ("/health", "/api/mcp/archetypes/top"):
            assert_waits(await asking.get(path), "too-many-requests")


def test_a_body_of_who_waits_is_not_waited_for(database: Database, settings: Settings, shop: str) -> None:
    """Nor is one of who tries a key: neither body ever comes."""
    head = b"POST /api/admin/keys HTTP/1.1\r\nHost: shop\r\nX-API-Key: wrong\r\nContent-Length: 10\r\n\r\n"
    with serving(database, settings.model_copy(update={"failed_keys_per_minute": FAILURES}), shop) as address:
        for number in range(FAILURES + 2):
            began = time.monotonic()
            with connected(address) as connection:
                connection.sendall(head)
                assert problem(connection)["status"] == (401 if number < FAILURES else 429)
            assert time.monotonic() - began < BODY_SECONDS / 2


async def test_addresses_of_one_network_count_together_where_each_has_billions(limited: FastAPI) -> None:
    """Whoever has one IPv6 address has all that begin like it."""
    for number in range(FAILURES):
        async with at(limited, f"2001:db8:1:2::{number:x}") as guessing:
            assert_problem(await guessing.get(PROFILE), 401)
    async with at(limited, "2001:db8:1:2:ffff:ffff:ffff:ffff") as guessing:
        assert_waits(await guessing.get(PROFILE), "too-many-failures")
    async with at(limited, "2001:db8:1:3::1") as elsewhere:
        assert_problem(await elsewhere.get(PROFILE), 401)


async def test_a_key_that_asks_too_often_waits_and_others_do_not(limited: FastAPI) -> None:
    """Whatever it asks, also what it is told is the same as before."""
    async with client(limited, KEYS["support"]) as asking, client(limited, KEYS["analytics"]) as other:
        mark = (await asking.get(PROFILE)).headers["etag"]
        for _ in range(REQUESTS - 1):
            assert (await asking.get(PROFILE, headers={"If-None-Match": mark})).status_code == 304
        for path in (PROFILE, f"{PROFILE}?include=churn", "/api/mcp/archetypes/top", "/api/admin/keys"):
            assert_waits(await asking.get(path, headers={"If-None-Match": mark}), "too-many-requests")
        assert (await other.get("/api/mcp/archetypes/top")).status_code == 200
        assert (await asking.get("/health/live")).status_code == 200


async def test_a_key_that_exports_too_many_people_waits_with_that_alone(
    database: Database, settings: Settings, shop: str
) -> None:
    """Also where nothing else is limited."""
    export = "/api/privacy/export"
    app = create_app(resources=resources_for(database, settings, shop))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["privacy"]) as asking,
        client(app, KEYS["admin"]) as other,
    ):
        for _ in range(30):  # whom nobody knows counts as well: who is asked for is tried out
            assert_problem(await asking.post(export, json={"customer_id": "nobody"}), 404)
        assert_waits(await asking.post(export, json={"customer_id": "nobody"}), "too-many-requests")
        assert_problem(await other.post(export, json={"customer_id": "nobody"}), 404)
        assert_problem(await asking.post("/api/privacy/erase", json={"customer_id": "nobody"}), 404)
        assert (await asking.get("/api/privacy/receipts")).status_code == 200


def test_of_those_who_tried_long_ago_nothing_is_kept(stopped_clock: StoppedClock) -> None:
    """However many addresses a flood comes from."""
    limits = Limits(REQUESTS, failures=1)
    for number in range(5_000):
        limits.failed(f"10.1.{number >> 8}.{number & 255}")
    with pytest.raises(TooManyFailures):
        limits.failed("10.1.0.0")
    counted = limits._counted.storage
    assert len(counted.storage) >= 5_000
    stopped_clock.now += 180
    deadline = time.monotonic() + 20
    while len(counted.storage) > 10 and time.monotonic() < deadline:
        limits.failed(
            f"10.2.0.{int(stopped_clock.now) % 250}"
        )  # what is old is dropped a moment after something is counted
        stopped_clock.now += 1
        time.sleep(0.02)
    assert len(counted.storage) <= 10
    assert len(counted.locks) <= 10
