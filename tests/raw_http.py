"""HTTP as bytes over a socket, for requests that no client sends."""

import json
import socket
from typing import Any

PATIENCE_SECONDS = 20


def connected(address: str) -> socket.socket:
    """address : as `http://127.0.0.1:8080`"""
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer."""
    told = b""
    while b"\r\n\r\n" not in told:
        told += _more(connection, told)
    head, _, body = told.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += _more(connection, body)
    return int(first.split()[1]), headers, body


def problem(connection: socket.socket) -> Any:
    """The next answer, which is one."""
    status, headers, body = answer(connection)
    assert headers["content-type"] == "application/problem+json", body
    told = json.loads(body)
    assert told["status"] == status
    assert told["request_id"] == headers["x-request-id"]
    return told | {"headers": headers}


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed."""
    return connection.recv(1) == b""


def sent_in_parts(connection: socket.socket, part: bytes, *, most: int) -> int:
    """How much could be sent before the other side closed. Raises TimeoutError where it neither reads nor closes."""
    sent = 0
    try:
        while sent < most:
            sent += connection.send(part)
    except ConnectionError:
        pass
    return sent


def _more(connection: socket.socket, told: bytes) -> bytes:
    more = connection.recv(65_536)
    assert more, f"The other side closed after {told[:500]!r}"
    return more
