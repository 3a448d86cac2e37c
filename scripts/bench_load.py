"""A load of GET requests over kept-alive connections, as plain as it can be, so that it is not what is measured.

    python -m scripts.bench_load --port 8080 --paths FILE --seconds 3 [--connections 32] [--header "X-API-Key: ..."]
    python -m scripts.bench_load --port 8080 --paths FILE --seconds 25 --rate 50 ...
    python -m scripts.bench_load --port 8080 --paths FILE --requests 200000 ...

Without a rate every connection asks again as soon as it is answered: how much can be served. With one, requests come
evenly, however slowly they are answered, and the time of each counts from when it was due: those that a slow answer
keeps waiting are as slow as a customer would find them.

With --headers FILE each request has the next line of it as a header, in turn: a thousand wrong keys, for instance.

Prints one line of JSON: requests, seconds, per_second, p50_ms, p99_ms, slowest_ms, not_ok (answers other
than 200, or than what --expect says).
Only ever talks to this machine's own loopback address.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_IDLE_SECONDS = 2.0


@dataclass(slots=True)
class _Found:
    """times : seconds until each answer; not_ok : answers other than the expected"""

    expected: bytes = b"HTTP/1.1 200"
    times: list[float] = field(default_factory=list)
    not_ok: int = 0


class _Client(asyncio.Protocol):
    """One connection. `answered` is called with it when a whole answer is there."""

    def __init__(self, found: _Found, answered: Callable[["_Client"], None], ended: "asyncio.Future[None]") -> None:
        self._found, self._answered, self._ended = found, answered, ended
        self._buffer = bytearray()
        self._asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, *, since: float) -> None:
        """since : when the time until the answer begins, on the clock of perf_counter"""
        self._since, self._asking = since, True
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(_END)
        if head < 0:
            return
        at = self._buffer.find(_LENGTH, 0, head + 2)
        begins = at + len(_LENGTH)
        length = 0 if at < 0 else int(self._buffer[begins : self._buffer.index(b"\r\n", begins)])
        if len(self._buffer) < head + len(_END) + length:
            return
        self._found.times.append(time.perf_counter() - self._since)
        self._found.not_ok += not self._buffer.startswith(self._found.expected)
        self._buffer.clear()
        self._asking = False
        self._answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._asking and not self._ended.done():
            self._ended.set_exception(error or ConnectionResetError("The server closed a connection it was asked on."))


async def hardest_load(
    port: int,
    requests: Iterator[bytes],
    *,
    seconds: float,
    connections: int,
    at_most: float = float("inf"),
    expected: int = 200,
) -> dict[str, float]:
    """Every connection asks, and asks again once it is answered, for so many seconds or until so many are answered.

    expected : the status that is taken for well
    """
    found, began, open_ones = _Found(b"HTTP/1.1 %d" % expected), time.perf_counter(), connections
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(client: _Client) -> None:
        nonlocal open_ones
        now = time.perf_counter()
        if now < began + seconds and len(found.times) + open_ones <= at_most:
            client.ask(next(requests), since=now)
            return
        client.close()
        open_ones -= 1
        if not open_ones and not ended.done():
            ended.set_result(None)

    clients = await _connected(port, connections, found, answered, ended)
    began = time.perf_counter()
    for client in clients:
        client.ask(next(requests), since=time.perf_counter())
    await ended
    return _told(found, time.perf_counter() - began)


async def even_load(port: int, requests: Iterator[bytes], *, rate: float, seconds: float) -> dict[str, float]:
    """`rate` requests a second, evenly, for so many seconds, and then until all are answered.

    A request that finds every connection busy opens one more, and the opening counts.
    """
    found, due = _Found(), round(rate * seconds)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    opened: list[_Client] = []
    idle: list[tuple[_Client, float]] = []

    def answered(client: _Client) -> None:
        idle.append((client, time.perf_counter()))
        if len(found.times) == due and not ended.done():
            ended.set_result(None)

    async def ask(request: bytes, since: float) -> None:
        # The one used last; one that has been idle for long the server may be closing at this moment.
        client, idle_since = idle.pop() if idle else (None, 0.0)
        if client is None or since - idle_since > _IDLE_SECONDS:
            (client,) = await _connected(port, 1, found, answered, ended)
            opened.append(client)
        client.ask(request, since=since)

    began = time.perf_counter()
    asking = []
    for number in range(due):
        since = began + number / rate
        await asyncio.sleep(max(0.0, since - time.perf_counter()))
        asking.append(asyncio.create_task(ask(next(requests), since)))
    try:
        await asyncio.gather(*asking)
        await ended
    finally:
        for client in opened:
            client.close()
    return _told(found, time.perf_counter() - began)


async def _connected(
    port: int,
    connections: int,
    found: _Found,
    answered: Callable[[_Client], None],
    ended: "asyncio.Future[None]",
) -> list[_Client]:
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(found, answered, ended), "127.0.0.1", port)
        clients.append(client)
    return clients


def _told(found: _Found, seconds: float) -> dict[str, float]:
    times = sorted(found.times)
    return {
        "requests": len(times),
        "seconds": seconds,
        "per_second": len(times) / seconds,
        "p50_ms": 1000 * statistics.median(times),
        "p99_ms": 1000 * times[int(0.99 * (len(times) - 1))],
        "slowest_ms": 1000 * times[-1],
        "not_ok": found.not_ok,
    }


def requests_for(paths: list[str], *, port: int, headers: list[str]) -> Iterator[bytes]:
    """The paths as requests, again and again. headers : lines of which each request has the next; none for none"""
    host = f"Host: 127.0.0.1:{port}\r\n"
    lines = itertools.cycle([f"{header}\r\n" for header in headers] or [""])
    one_round = max(len(paths), len(headers))
    some = itertools.islice(zip(itertools.cycle(paths), lines, strict=False), one_round)
    return itertools.cycle([f"GET {path} HTTP/1.1\r\n{host}{line}\r\n".encode() for path, line in some])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--paths", type=Path, required=True, help="a file with one path a line")
    parser.add_argument("--seconds", type=float, help="3 without --requests")
    parser.add_argument("--requests", type=int, help="until so many are answered, without a rate")
    parser.add_argument("--expect", type=int, default=200, help="the status that is taken for well, without a rate")
    parser.add_argument("--rate", type=float, help="requests a second; without it, as many as are answered")
    parser.add_argument("--connections", type=int, default=32, help="without a rate")
    parser.add_argument("--header", default="")
    parser.add_argument("--headers", type=Path, help="a file with one header a line, instead of one for all")
    wanted = parser.parse_args()
    headers = wanted.headers.read_text().splitlines() if wanted.headers else [wanted.header] if wanted.header else []
    requests = requests_for(wanted.paths.read_text().split(), port=wanted.port, headers=headers)
    seconds = wanted.seconds or (3.0 if wanted.requests is None else float("inf"))
    if wanted.rate is None:
        work = hardest_load(
            wanted.port,
            requests,
            seconds=seconds,
            connections=wanted.connections,
            at_most=wanted.requests or float("inf"),
            expected=wanted.expect,
        )
    else:
        work = even_load(wanted.port, requests, rate=wanted.rate, seconds=seconds)
    print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
