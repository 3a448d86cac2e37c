"""Bodies that nobody should send: too large, too slow, packed, or not quite JSON. Refused soon, and in plain words."""

import gzip
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from app.api.bodies import read_json
from app.api.middleware import BODY_SECONDS
from app.core.errors import UnreadableBody
from app.core.keys import Scope
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Clients
from tests.api.every_route import resolved
from tests.api.test_bad_input import assert_problem
from tests.cli.test_serve import STARTING_SECONDS, free_port, running
from tests.raw_http import PATIENCE_SECONDS, connected, ended, problem, sent_in_parts

WHAT_IF = "/api/analytics/what-if"
LARGEST = 256 * 1024
MUCH = 10 * 1024 * 1024

#: What is wrong, how it is written, and what is said of it.
UNREADABLE = {
    "nothing but blanks": (b"  ", "expecting value"),
    "half": (b'{"months": ', "expecting value"),
    "two": (b"{} {}", "extra data"),
    "a comma too many": (b'{"months": 3,}', "property name"),
    "no quotes": (b"{months: 3}", "property name"),
    "100,000 deep": (b"[" * 100_000 + b"]" * 100_000, "deep"),
    "33 deep": (b'{"a":' * 33 + b"1" + b"}" * 33, "deep"),
    "NaN": (b'{"months": NaN}', "NaN is no number"),
    "Infinity": (b'{"churn_change": Infinity}', "Infinity is no number"),
    "-Infinity": (b'{"churn_change": -Infinity}', "-Infinity is no number"),
    "1e999": (b'{"churn_change": 1e999}', "too large"),
    "5,000 digits": (b'{"months": ' + b"9" * 5_000 + b"}", "too long"),
    "a name twice": (b'{"months": 3, "months": 4}', "twice"),
    "a name twice, written otherwise": (b'{"months": 3, "m\\u006fnths": 4}', "twice"),
    "half a character": (b'{"name": "\\ud800"}', "half a character"),
    "half a character in a name": (b'{"\\udfff": 1}', "half a character"),
    "NUL": (b'{"name": "a\\u0000b"}', "NUL"),
    "NUL as a byte": (b'{"name": "a\x00b"}', "control character"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "BOM"),
    "UTF-16": ('{"months": 3}'.encode("utf-16"), "byte 1 is not UTF-8"),
    "Latin-1": ('{"name": "Zoë"}'.encode("latin-1"), "is not UTF-8"),
    "overlong UTF-8": (b'{"name": "\xc0\x80"}', "is not UTF-8"),
    "a form": (b"months=3&churn_change=0", "expecting value"),
    "XML": (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "expecting value",
    ),
}


@dataclass(frozen=True)
class Reading:
    """A route that reads a body, and who may ask it."""

    path: str
    fields: Mapping[str, Any]
    needed: Sequence[str]
    scopes: Sequence[str]


def reading(app: FastAPI) -> list[Reading]:
    """Every route that reads a body."""
    found = []
    described = app.openapi()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            if body := operation.get("requestBody"):
                schema = resolved(described, body["content"]["application/json"]["schema"])
                path = re.sub(r"\{\w+\}", "abcdefgh", path)
                found.append(Reading(path, schema["properties"], schema.get("required", []), operation["x-scopes"]))
    assert len(found) >= 4
    return found


def head(path: str = WHAT_IF, *headers: str, key: str = KEYS["admin"]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: shop", f"X-API-Key: {key}", *headers, "", ""]
    return "\r\n".join(lines).encode()


# Too large


@pytest.mark.parametrize("path", [WHAT_IF, "/api/mcp/customer/C0000001/refresh", "/nowhere"])
def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(served_shop: str, path: str) -> None:
    with connected(served_shop) as connection:
        connection.sendall(head(path, f"Content-Length: {LARGEST + 1}"))
        assert problem(connection)["status"] == 413


def test_a_body_that_does_not_say_so_is_refused_once_it_is_too_large(served_shop: str) -> None:
    with connected(served_shop) as connection:
        connection.sendall(head(WHAT_IF, "Transfer-Encoding: chunked"))
        sent_in_parts(connection, b"10000\r\n" + b" " * 0x10000 + b"\r\n", most=LARGEST + 0x10000)
        assert problem(connection)["status"] == 413  # though its end has not come


def test_the_largest_body_there_may_be_is_read(served_shop: str) -> None:
    body = b'{"months": 3}'
    answer = httpx.post(served_shop + WHAT_IF, content=body.ljust(LARGEST), headers={"X-API-Key": KEYS["admin"]})
    assert (answer.status_code, answer.json()["changes"]["months"]) == (200, 3)


def test_what_is_refused_takes_no_room(tmp_path: Path, database: Database, shop: str) -> None:
    """Ten megabytes, again and again, with and without saying so, by a process of its own."""
    port = free_port()
    settings = {
        "DATABASE_URL": database.url,
        "STORE_ID": shop,
        "PORT": str(port),
        "API_KEY": "agent-1",
        "ADMIN_KEY": "boss-1",
    }
    address = f"http://127.0.0.1:{port}"
    with running(tmp_path, "serve", "--no-worker", **settings) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C stops it" in line:
                break
        with httpx.Client(base_url=address, headers={"X-API-Key": "agent-1"}, timeout=PATIENCE_SECONDS) as asking:
            assert asking.post(WHAT_IF, json={}).status_code == 200
            before = settled(process.pid)
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # from here on the most is counted anew
            for _ in range(4):
                for body in (b" " * MUCH, (b" " * 0x10000 for _ in range(MUCH // 0x10000))):
                    assert asking.post(WHAT_IF, content=body).status_code == 413
            bomb = gzip.compress(b" " * 5 * MUCH)
            assert asking.post(WHAT_IF, content=bomb, headers={"Content-Encoding": "gzip"}).status_code == 415
            grown = memory(process.pid, "VmHWM") - before
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert grown < MUCH // 2  # at no time: not even one body was held, and let go again


def settled(pid: int) -> int:
    """What it holds once that grows no more: what scores customers is loaded in the background after the start."""
    held, deadline = memory(pid, "VmRSS"), time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline:
        time.sleep(1)
        before, held = held, memory(pid, "VmRSS")
        if held - before < 1024 * 1024:
            return held
    raise AssertionError("It grows and grows.")


def memory(pid: int, which: Literal["VmRSS", "VmHWM"]) -> int:
    """Bytes of memory a process holds, or the most it has held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines)
    return int(told[which].removesuffix("kB")) * 1024


# Packed


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "GZIP", "x"])
@pytest.mark.parametrize("path", [WHAT_IF, "/api/mcp/customer/C0000001/refresh"])
async def test_a_packed_body_is_refused_unopened(ask: Clients, path: str, encoding: str) -> None:
    bomb = gzip.compress(b" " * MUCH)
    answer = await ask.admin.post(path, content=bomb, headers={"Content-Encoding": encoding})
    assert "Content-Encoding" in assert_problem(answer, 415)["detail"]


async def test_a_packed_body_that_does_not_say_so_is_not_opened_either(ask: Clients) -> None:
    assert_problem(await ask.admin.post(WHAT_IF, content=gzip.compress(b" " * MUCH)), 400)


async def test_a_body_said_to_be_as_it_is_is_taken(ask: Clients) -> None:
    answer = await ask.admin.post(WHAT_IF, content=b"{}", headers={"Content-Encoding": "identity"})
    assert answer.status_code == 200


# Too slow


@pytest.mark.parametrize("how", ["Content-Length: 13", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("come", [b"", b'3\r\n{"m\r\n'], ids=["nothing", "some"])
def test_a_body_that_does_not_come_is_not_waited_for(
    served_shop: str, how: str, come: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.middleware.BODY_SECONDS", 0.2)
    began = time.monotonic()
    with connected(served_shop) as connection:
        connection.sendall(head(WHAT_IF, how) + come)
        told = problem(connection)
        assert (told["status"], told["headers"]["connection"]) == (408, "close")
        assert ended(connection)
    assert 0.15 < time.monotonic() - began < BODY_SECONDS


def test_a_body_a_byte_at_a_time_is_not_waited_for_either(served_shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time does not begin anew with each byte."""
    monkeypatch.setattr("app.api.middleware.BODY_SECONDS", 0.4)
    began = time.monotonic()
    with connected(served_shop) as connection:
        connection.sendall(head(WHAT_IF, "Content-Length: 10000"))
        for _ in range(1_000):
            try:
                connection.send(b" ")
            except OSError:
                break
            time.sleep(0.02)
    assert time.monotonic() - began < PATIENCE_SECONDS  # all of them would take longer


# Not quite JSON


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_what_is_not_quite_json_is_refused_with_the_reason(app: FastAPI, ask: Clients, kind: str) -> None:
    body, reason = UNREADABLE[kind]
    for route in reading(app):
        problem = assert_problem(await ask.admin.post(route.path, content=body), 400)
        assert problem["type"] == "/problems/unreadable-body"
        assert reason in problem["detail"]
        assert len(problem["detail"]) < 150
        assert problem["detail"].isascii()


async def test_no_body_is_none_where_one_is_needed(app: FastAPI, ask: Clients) -> None:
    problem = assert_problem(await ask.admin.post("/api/admin/keys", content=b""), 422)
    assert problem["errors"][0]["field"] == "body"


async def test_no_more_is_taken_than_a_body_may_hold(app: FastAPI, ask: Clients) -> None:
    """What only we set cannot be slipped in."""
    for route in reading(app):
        for slipped in ("id", "owner", "status", "store_id", "key_id", "key", "predicted_revenue", "__class__"):
            assert slipped not in route.fields
            told = dict.fromkeys(route.needed) | {slipped: "1"}
            problem = assert_problem(await ask.admin.post(route.path, json=told), 422)
            assert slipped in {each["field"] for each in problem["errors"]}, (route.path, slipped)


@pytest.mark.parametrize("part", [b'\\"', b'"', b'"\\', b"\\", b'""', b"[]", b'"['], ids=repr)
def test_no_body_takes_long_to_be_refused(part: bytes) -> None:
    """Whoever waits for it would wait with everyone else who asks this process."""
    hostile = (part * LARGEST)[:LARGEST]
    began = time.process_time()
    with pytest.raises(UnreadableBody):
        read_json(hostile)
    assert time.process_time() - began < 2  # some milliseconds, or minutes where it grows with the square


def depth(value: Any) -> int:
    """How deep lists and objects lie in each other."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


#: With whatever could be taken for the beginning or end of something.
TEXTS = st.text(st.sampled_from('[]{}"\\,: \n\taé'))
NESTED = st.recursive(
    TEXTS | st.integers(-9, 9) | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20
)


@given(NESTED, st.integers(0, 40), TEXTS, st.booleans())
def test_what_lies_in_texts_is_not_taken_for_depth(inner: Any, levels: int, name: str, ascii_only: bool) -> None:
    for level in range(levels):
        inner = [name, inner] if level % 2 else {name: inner}
    body = json.dumps(inner, ensure_ascii=ascii_only).encode()
    if depth(inner) <= 32:
        assert read_json(body) == inner
    else:
        with pytest.raises(UnreadableBody, match="deep"):
            read_json(body)


async def test_every_number_is_one(ask: Clients) -> None:
    """Neither what is asked nor what is answered holds a number that JSON does not have."""
    for churn in (-1, 5, 1e-300, 4.999999999999999, -0.0):
        answer = await ask.admin.post(WHAT_IF, json={"churn_change": churn, "months": 36})
        assert answer.status_code == 200
        json.loads(answer.text, parse_constant=lambda word: pytest.fail(word))
    for wrong in (True, "1", [], {}, None, 5.1, -1.1, 10**400, math.pi * 10):
        assert_problem(await ask.admin.post(WHAT_IF, json={"churn_change": wrong}), 422)


async def test_who_may_not_ask_is_told_so_and_not_what_is_wrong_with_the_body(app: FastAPI, ask: Clients) -> None:
    for route in reading(app):
        other = next(scope.value for scope in Scope if scope.value not in route.scopes and scope is not Scope.admin)
        for body in (b"", b"{", b"[" * 100_000, b"\xff"):
            assert_problem(await ask.nobody.post(route.path, content=body), 401)
            assert_problem(await getattr(ask, other).post(route.path, content=body), 403)


def test_of_who_may_not_ask_no_body_is_waited_for(app: FastAPI, served_shop: str) -> None:
    """It never comes: who waited for it would be told that instead, and late."""
    for route in reading(app):
        refused = {"wrong": 401} | ({} if "support" in route.scopes else {KEYS["support"]: 403})
        for key, status in refused.items():
            began = time.monotonic()
            with connected(served_shop) as connection:
                connection.sendall(head(route.path, "Content-Length: 10", key=key))
                assert problem(connection)["status"] == status, route.path
            assert time.monotonic() - began < BODY_SECONDS / 2
