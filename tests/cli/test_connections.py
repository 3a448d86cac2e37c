"""Requests that never quite begin: refused in time and within bounds, before anybody looks at what they say."""

import time
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request

from app.cli.connections import LARGEST_HEAD
from tests.raw_http import PATIENCE_SECONDS, answer, connected, ended, problem, sent_in_parts
from tests.serving import served

POST = b"POST / HTTP/1.1\r\nHost: shop\r\n"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An app that says how long what it is sent is, or answers without looking at it."""
    app = FastAPI()

    @app.post("/")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.get("/")
    @app.post("/closed")
    async def unread() -> str:
        return "no"

    with served(app) as address:
        yield address


def with_body(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_headers_without_end_are_refused(address: str) -> None:
    with connected(address) as connection:
        connection.sendall(POST)
        sent = sent_in_parts(connection, b"X-More: " + b"m" * 4_000 + b"\r\n", most=100 * 1024 * 1024)
    assert LARGEST_HEAD <= sent < 20 * 1024 * 1024  # what the sockets between hold is sent in vain


def test_headers_beyond_their_bounds_are_told_so(address: str) -> None:
    with connected(address) as connection:
        connection.sendall(POST + b"X-More: " + b"m" * LARGEST_HEAD)
        told = problem(connection)
        assert (told["status"], told["headers"]["connection"]) == (431, "close")
        assert ended(connection)


@pytest.mark.parametrize("begun", [b"", b"POST / HT", POST, b"\r\n\r\n"], ids=["nothing", "line", "headers", "blanks"])
def test_headers_that_do_not_come_are_not_waited_for(
    address: str, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.connections.HEAD_SECONDS", 0.2)
    began = time.monotonic()
    with connected(address) as connection:
        connection.sendall(begun)
        if begun:  # where nothing was asked, nothing is answered
            assert problem(connection)["status"] == 408
        assert ended(connection)
    assert 0.15 < time.monotonic() - began < PATIENCE_SECONDS


def test_headers_a_byte_at_a_time_are_not_waited_for_either(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.connections.HEAD_SECONDS", 0.3)
    began = time.monotonic()
    with connected(address) as connection:
        connection.sendall(POST)
        for byte in b"X-Slow: " + b"s" * 1_000:
            try:
                connection.send(bytes([byte]))
            except OSError:
                break
            time.sleep(0.02)
    assert time.monotonic() - began < PATIENCE_SECONDS


UNREAD = [b"POST /closed HTTP/1.1\r\nHost: shop\r\n", b"GET / HTTP/1.1\r\nHost: shop\r\n"]
BODIES = [(b"Content-Length: 2\r\n\r\n", b"bb"), (b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nbb\r\n0\r\n\r\n")]


@pytest.mark.parametrize("asked", UNREAD, ids=["POST", "GET"])
@pytest.mark.parametrize(("how", "body"), BODIES, ids=["length", "chunked"])
@pytest.mark.parametrize("comes", ["nothing", "a byte", "all", "all and a byte"])
def test_who_was_answered_before_the_body_came_does_not_hold_the_connection(
    address: str, asked: bytes, how: bytes, body: bytes, comes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.connections.HEAD_SECONDS", 0.3)
    rest = {"nothing": b"", "a byte": body[:1], "all": body, "all and a byte": body + b"G"}[comes]
    with connected(address) as connection:
        connection.sendall(asked + how)
        assert answer(connection)[::2] == (200, b'"no"')
        began = time.monotonic()
        connection.sendall(rest)
        if comes == "all and a byte":  # of a head, which may be told what it lacks
            connection.recv(65_536)
        else:
            assert ended(connection)
        assert time.monotonic() - began < 4  # where nobody looks, the server's own five seconds are the least


def test_a_body_that_comes_after_its_answer_is_passed_over(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request on the connection has its own time, however long its answer takes."""
    monkeypatch.setattr("app.cli.connections.HEAD_SECONDS", 2.0)
    with connected(address) as connection:
        for _ in range(2):
            connection.sendall(UNREAD[0] + b"Content-Length: 2\r\n\r\n")
            assert answer(connection)[0] == 200
            connection.sendall(b"bb" + POST + b"Content-Length: 2\r\n\r\n")
            time.sleep(2.3)  # longer than a head may take
            connection.sendall(b"bb")
            assert answer(connection)[::2] == (200, b"2")


def test_what_is_no_http_is_told_so_as_a_problem(address: str) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n", b"hello\r\n\r\n"):
        with connected(address) as connection:
            connection.sendall(garbage)
            assert problem(connection)["status"] == 400
            assert ended(connection)


def test_a_connection_serves_one_request_after_another_however_long_their_bodies(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only heads are counted and timed, each anew."""
    monkeypatch.setattr("app.cli.connections.HEAD_SECONDS", 2.0)
    body = b"b" * (3 * LARGEST_HEAD)
    whole = with_body(body)
    with connected(address) as connection:
        for _ in range(3):
            connection.sendall(whole)
            assert answer(connection)[::2] == (200, b"%d" % len(body))
        connection.sendall(whole[:LARGEST_HEAD])
        time.sleep(2.3)  # longer than a head may take
        connection.sendall(whole[LARGEST_HEAD:])
        assert answer(connection)[0] == 200


def test_two_requests_sent_at_once_are_both_answered(address: str) -> None:
    with connected(address) as connection:
        connection.sendall(with_body(b"hello") + with_body(b"again") + POST)
        told = b""
        while told.count(b"200 OK") < 2:
            more = connection.recv(65_536)
            assert more, told
            told += more
