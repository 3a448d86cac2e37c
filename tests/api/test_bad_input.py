"""What nobody should send: refused in clear words, never a failure, never repeated raw."""

import itertools
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from tests.api.conftest import Clients
from tests.api.every_route import resolved

RTL, FULL_WIDTH, EMOJI = "\u202e1000000C", "\uff23\uff10\uff10\uff10\uff10\uff10\uff10\uff11", "\U0001f9f5"
UNKNOWN = [
    *("' OR 1=1--", '"; DROP TABLE customers; --', "<script>alert(1)</script>", "%", "_", "*", "C000000"),
    *(EMOJI, RTL, FULL_WIDTH, "00C0000001", "c0000001", "-1", "null", "C-00000000", "\ufeff", "\u00a0"),
    *("x" * 255, "{}", "$1", "\\", "%00", "C0000001;", "random2", "\u2028"),
]
REFUSED = ["\0", "C0000001\0", "a\nb", "\x1b[31m", "\x7f", "\x85", "x" * 256, "x" * 10_000]
BY_ID = [
    *("/api/mcp/customer/{}", "/api/mcp/customer/{}/orders", "/api/mcp/customers/{}", "/api/mcp/archetypes/{}"),
    *("/api/mcp/archetypes/{}/members", "/api/mcp/segments/axes/{}"),
]
#: What no whole number, no amount, no day and no choice is.
NO_NUMBER = [
    "",
    " ",
    "ten",
    "1e3",
    "0x10",
    "NaN",
    "Infinity",
    "-1",
    "9" * 5_000,
    "1,000",
    "1;drop",
    "\uff11\uff12",
    "null",
]
NO_AMOUNT = ["", "ten", "NaN", "Infinity", "-Infinity", "1e999", "-0.01", "1,5", "\uff11", "null"]
NO_DAY = [
    *("", "2023-02-29", "2023-13-01", "0000-01-01", "10000-01-01", "20230101", "2023-W01-1", "2023-1-1", "1700000000"),
    *("yesterday", "2023-01-01T00:00", "2023-01-01 ", "\uff12023-01-01", "null"),
]
NO_CHOICE = ["", "__class__", "'; DROP TABLE customers; --", "NULL", "\0", "a" * 10_000, "\U0001f9f5"]
PROFILE = "/api/mcp/customer/C0000001"


def assert_problem(answer: Any, *statuses: int) -> Any:
    assert answer.status_code in statuses, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return problem


def by_id(app: FastAPI) -> Iterator[tuple[str, str, str]]:
    """Method, path and field of every route that takes a text as an id and reads no body."""
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and "maxLength" in parameter["schema"] and "requestBody" not in operation:
                    yield method, re.sub(r"\{\w+\}", "{}", path), parameter["name"]


async def test_an_id_nobody_has_is_not_found_and_repeated_harmlessly(app: FastAPI, ask: Clients) -> None:
    taking = list(by_id(app))
    assert len(taking) >= 10
    for (method, path, _), hostile in itertools.product(taking, UNKNOWN):
        problem = assert_problem(await ask.admin.request(method, path.format(quote(hostile, safe=""))), 404)
        told = problem["detail"] + problem["instance"]
        assert told.isascii()
        assert len(told) < 700
        assert "<script" not in problem["instance"]


async def test_an_id_that_can_be_none_is_refused_by_name(app: FastAPI, ask: Clients) -> None:
    for (method, path, field), hostile in itertools.product(by_id(app), REFUSED):
        problem = assert_problem(await ask.admin.request(method, path.format(quote(hostile, safe=""))), 422)
        assert problem["errors"][0]["field"] == field
        assert len(problem["detail"]) < 200


def never(schema: Any) -> list[str]:
    """What a parameter of this schema can never be."""
    kinds = [resolved({}, each) if "$ref" not in each else {"enum": []} for each in schema.get("anyOf", [schema])]
    kind = kinds[0]
    if "enum" in kind or "const" in kind:
        return NO_CHOICE
    if kind.get("format") == "date":
        return NO_DAY
    if kind.get("type") == "integer":
        return [*NO_NUMBER, "1.5", str(int(kind["minimum"]) - 1), str(int(kind["maximum"]) + 1)]
    if kind.get("type") == "number":
        return [*NO_AMOUNT, str(kind["maximum"] * 10)]
    controls = ["\0", "a\nb", "\x1b[31m"] if "maxLength" in kind and "pattern" in kind else []
    return [*controls, *(["x" * (kind["maxLength"] + 1)] if "maxLength" in kind else [])]


async def test_what_a_parameter_cannot_be_is_refused_by_name(app: FastAPI, ask: Clients) -> None:
    """On every route there is."""
    n_refused = 0
    for path, operations in app.openapi()["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            if parameter["in"] == "query":
                for wrong in never(parameter["schema"]):
                    there = path.replace("{axis}", "value").replace("{name}", "churn")
                    address = re.sub(r"\{\w+\}", "C0000001", there)
                    needed = {"query": "a"} if address.endswith("/search") else {}
                    answer = await ask.admin.get(address, params={**needed, parameter["name"]: wrong})
                    problem = assert_problem(answer, 422)
                    assert problem["errors"][0]["field"] == parameter["name"], (address, wrong)
                    assert wrong[:50] not in problem["detail"] or len(wrong) < 8, (address, wrong)
                    assert len(problem["detail"]) < 500
                    n_refused += 1
    assert n_refused > 300


@pytest.mark.parametrize(
    "path",
    [
        "/api/mcp/customer/",
        "/api/mcp/customer/../../etc/passwd",
        "/api/mcp/customer/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/api/mcp/customer//orders",
        "/api/mcp",
        "/static/../app/main.py",
        "/static/%2e%2e/app/main.py",
        "/static/..%2f..%2fpyproject.toml",
        "/nothing",
    ],
)
async def test_a_path_that_leads_nowhere_is_not_found(ask: Clients, path: str) -> None:
    assert_problem(await ask.support.get(path), 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
async def test_a_method_that_is_not_taken_says_which_are(ask: Clients, method: str) -> None:
    answer = await ask.support.request(method, PROFILE)
    assert_problem(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("limit", ["-1", "0", "1000000000", "9" * 5_000, "1.5", "1e3", "ten", "", " ", "0x10", "NaN"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/mcp/archetypes/top",
        "/api/mcp/customers/search?query=a",
        "/api/mcp/customer/C0000001/orders",
        "/api/mcp/segments/lineage",
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused_by_name(ask: Clients, path: str, limit: str) -> None:
    problem = assert_problem(await ask.support.get(path, params={"query": "a", "limit": limit}), 422)
    assert problem["errors"][0]["field"] == "limit"
    assert problem["detail"].startswith("limit: ")


@pytest.mark.parametrize("metric", ["__class__", "total_ltv; drop", "", "TOTAL_LTV", "population"])
async def test_a_metric_that_is_none_is_refused_with_those_there_are(ask: Clients, metric: str) -> None:
    problem = assert_problem(await ask.support.get("/api/mcp/archetypes/top", params={"metric": metric}), 422)
    assert problem["errors"][0]["field"] == "metric"
    assert "avg_ltv" in problem["detail"]


@pytest.mark.parametrize(
    "day", ["2023-02-29", "2023-13-01", "20230101", "2023-W01-1", "1700000000", "yesterday", "", "2023-01-01T00:00"]
)
@pytest.mark.parametrize("field", ["start_date", "end_date"])
async def test_a_day_that_is_none_is_refused_by_name(ask: Clients, field: str, day: str) -> None:
    problem = assert_problem(await ask.support.get(f"{PROFILE}/orders", params={field: day}), 422)
    assert problem["errors"][0]["field"] == field
    problem = assert_problem(await ask.support.get(PROFILE, params={"as_of": day}), 422)
    assert problem["errors"][0]["field"] == "as_of"


async def test_the_ends_of_the_calendar_are_days_like_others(ask: Clients) -> None:
    whole = (await ask.support.get(f"{PROFILE}/orders")).json()
    span = {"start_date": "0001-01-01", "end_date": "9999-12-31"}
    same = (await ask.support.get(f"{PROFILE}/orders", params=span)).json()
    assert same | {"as_of": ""} == whole | {"as_of": ""}
    for span in ({"end_date": "0001-01-01"}, {"start_date": "9999-12-31"}):
        answer = await ask.support.get(f"{PROFILE}/orders", params=span)
        assert (answer.status_code, answer.json()["matching_orders"]) == (200, 0)
    first = await ask.support.get(PROFILE, params={"as_of": "0001-01-01"})
    assert (first.status_code, first.json()["segment_status"]) == (200, "awaiting_first_purchase")


async def test_an_end_before_its_start_is_refused(ask: Clients) -> None:
    span = {"start_date": "2024-02-01", "end_date": "2024-01-31"}
    problem = assert_problem(await ask.support.get(f"{PROFILE}/orders", params=span), 422)
    assert problem["errors"] == [{"field": "end_date", "message": "it lies before start_date"}]


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "é", "../..", "e30", "A" * 3_000, "\0"])
async def test_a_cursor_we_did_not_give_is_refused(ask: Clients, cursor: str) -> None:
    problem = assert_problem(await ask.support.get(f"{PROFILE}/orders", params={"cursor": cursor}), 422)
    assert problem["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize("query", [None, "", "   ", "\0", "x" * 256, "a\nb"])
async def test_a_search_for_nothing_is_refused(ask: Clients, query: str | None) -> None:
    parameters = {} if query is None else {"query": query}
    problem = assert_problem(await ask.support.get("/api/mcp/customers/search", params=parameters), 422)
    assert problem["errors"][0]["field"] == "query"


async def test_too_many_search_terms_are_refused(ask: Clients) -> None:
    problem = assert_problem(
        await ask.support.get(f"{PROFILE}/orders", params={"search_terms": ",".join("abcdefghijk")}), 422
    )
    assert problem["errors"][0]["field"] == "search_terms"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", "<script>"])
async def test_a_request_id_that_is_none_is_replaced(ask: Clients, given: str) -> None:
    answer = await ask.support.get("/health/live", headers=[(b"x-request-id", given.encode("utf-8"))])
    assert answer.headers["x-request-id"] not in ("", given)


async def test_a_request_id_comes_in_and_goes_out(ask: Clients) -> None:
    for path in ("/health/live", "/nothing", PROFILE, "/"):
        answer = await ask.support.get(path, headers={"X-Request-ID": "Ticket-4711_a.b"})
        assert answer.headers["x-request-id"] == "Ticket-4711_a.b"


@effort(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300), place=st.sampled_from([*BY_ID, "query", "search_terms", "cursor", "include"]))
async def test_no_text_at_all_makes_the_service_fail(ask: Clients, text: str, place: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    if "{}" in place:
        answer = await ask.support.get(place.format(quote(text, safe="")))
    elif place == "query":
        answer = await ask.support.get("/api/mcp/customers/search", params={"query": text})
    else:
        answer = await ask.support.get(PROFILE + ("" if place == "include" else "/orders"), params={place: text})
    assert answer.status_code in (200, 404, 422)
