"""Requests that never quite begin: refused in time and within bounds, before anybody looks at what they say."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request

from app.cli.connections import LARGEST_HEAD
from tests.serving import served

PATIENCE_SECONDS = 10


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """An app that says how long what it is sent is."""
    app = FastAPI()

    @app.post("/")
    async def length(request: Request) -> int:
        return len(await request.body())

    with served(app) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what comes until the other side closes or has said all."""
    connection.settimeout(PATIENCE_SECONDS)
    told = b""
    while b"\r\n\r\n" not in told and (more := connection.recv(65_536)):
        told += more
    head, _, body = told.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]) and (more := connection.recv(65_536)):
        body += more
    return int(first.split()[1]), headers, body


def problem(connection: socket.socket) -> Any:
    status, headers, body = answer(connection)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    told = json.loads(body)
    assert told["status"] == status
    assert told["request_id"] == headers["x-request-id"]
    assert connection.recv(1) == b""
    return told


def sent_in_parts(connection: socket.socket, part: bytes, *, most: int) -> int:
    """How much could be sent before the other side closed."""
    sent = 0
    connection.settimeout(PATIENCE_SECONDS)
    try:
        while sent < most:
            sent += connection.send(part)
    except OSError:
        pass
    return sent


def test_headers_without_end_are_refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\n")
        sent = sent_in_parts(connection, b"X-More: " + b"m" * 4_000 + b"\r\n", most=100 * 1024 * 1024)
    assert LARGEST_HEAD <= sent < 20 * 1024 * 1024  # what the sockets between hold is sent in vain


def test_headers_beyond_their_bounds_are_told_so(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nX-More: " + b"m" * LARGEST_HEAD)
        assert problem(connection)["title"] == "Request Header Fields Too Large"


@pytest.mark.parametrize("begun", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: shop\r\n", b"\r\n\r\n"])
def test_headers_that_do_not_come_are_not_waited_for(
    address: tuple[str, int], begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.connections.HEAD_SECONDS", 0.2)
    began = time.monotonic()
    with socket.create_connection(address) as connection:
        connection.sendall(begun)
        if begun:
            assert problem(connection)["title"] == "Request Timeout"
        else:  # nothing was asked, so nothing is answered
            connection.settimeout(PATIENCE_SECONDS)
            assert connection.recv(1) == b""
    assert 0.15 < time.monotonic() - began < PATIENCE_SECONDS


def test_headers_a_byte_at_a_time_are_not_waited_for_either(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.connections.HEAD_SECONDS", 0.3)
    began = time.monotonic()
    with socket.create_connection(address) as connection:
        for byte in b"POST / HTTP/1.1\r\nX-Slow: " + b"s" * 1_000:
            try:
                connection.send(bytes([byte]))
            except OSError:
                break
            time.sleep(0.02)
    assert time.monotonic() - began < PATIENCE_SECONDS


def test_what_is_no_http_is_told_so_as_a_problem(address: tuple[str, int]) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n", b"hello\r\n\r\n"):
        with socket.create_connection(address) as connection:
            connection.sendall(garbage)
            assert problem(connection)["status"] == 400


def test_a_connection_serves_one_request_after_another_however_long_their_bodies(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only heads are counted and timed, each anew."""
    monkeypatch.setattr("app.cli.connections.HEAD_SECONDS", 1.0)
    body = b"b" * (3 * LARGEST_HEAD)
    with socket.create_connection(address) as connection:
        for _ in range(3):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            status, _, told = answer(connection)
            assert (status, int(told)) == (200, len(body))
        half = len(body) // 2
        connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:half])
        time.sleep(1.2)  # longer than a head may take
        connection.sendall(body[half:] + b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nok")
        assert [answer(connection)[0] for _ in range(1)] == [200]


def test_two_requests_sent_at_once_are_both_answered(address: tuple[str, int]) -> None:
    one = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello"
    with socket.create_connection(address) as connection:
        connection.sendall(one + one)
        connection.settimeout(PATIENCE_SECONDS)
        told = b""
        while told.count(b"200 OK") < 2:
            more = connection.recv(65_536)
            assert more, told
            told += more
