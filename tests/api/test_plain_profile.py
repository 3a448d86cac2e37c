"""A profile asked for without parameters takes a shorter way, and nobody can tell."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.api.conftest import Clients

IDS = {
    "segmented": "C0000001",
    "waiting for a first purchase": "C0000401",
    "of nobody": "nobody",
    "quotes": "' OR 1=1--",
    "an emoji": "%F0%9F%98%80",
    "a control character": "%00",
    "too long": "x" * 300,
    "dots": "%2e%2e",
}


def told(answer: httpx.Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    body = {name: value for name, value in answer.json().items() if name != "request_id"}
    # The long way packs its answer: the same bytes to whoever asked, sent in another way.
    varying = {"x-request-id", "content-length", "content-encoding", "vary"}
    return answer.status_code, {k: v for k, v in answer.headers.items() if k not in varying}, body


@pytest.mark.parametrize("customer_id", IDS.values(), ids=IDS)
@pytest.mark.parametrize("whose", ["support", "analytics", "privacy", "nobody"])
async def test_both_ways_answer_the_same(ask: Clients, customer_id: str, whose: str) -> None:
    """`include=churn` asks for what is there anyway, and so takes the long way."""
    asking = getattr(ask, whose)
    short = await asking.get(f"/api/mcp/customer/{customer_id}")
    assert told(short) == told(await asking.get(f"/api/mcp/customer/{customer_id}?include=churn"))


@pytest.mark.parametrize("whose", ["support", "analytics"])
async def test_both_ways_find_a_customer_by_pseudonym(ask: Clients, whose: str) -> None:
    pseudonym = (await ask.support.get("/api/mcp/customer/C0000001")).json()["pseudonym"]
    asking = getattr(ask, whose)
    short = await asking.get(f"/api/mcp/customer/{pseudonym}")
    assert short.status_code == 200
    assert told(short) == told(await asking.get(f"/api/mcp/customer/{pseudonym}?include=churn"))


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
async def test_other_methods_are_refused_as_on_every_route(ask: Clients, method: str) -> None:
    answer = await ask.support.request(method, "/api/mcp/customer/C0000001")
    assert answer.status_code == 405


async def test_the_word_random_is_no_id(ask: Clients) -> None:
    assert (await ask.support.get("/api/mcp/customer/random")).json()["customer_id"] != "random"


def test_the_description_tells_of_one_route(app: FastAPI) -> None:
    assert "get" in app.openapi()["paths"]["/api/mcp/customer/{customer_id}"]
