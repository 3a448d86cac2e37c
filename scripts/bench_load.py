"""A load of GET requests over kept-alive connections, as plain as it can be, so that it is not what is measured.

    python -m scripts.bench_load --port 8080 --paths FILE --seconds 3 [--connections 32] [--header "X-API-Key: ..."]

Prints one line of JSON: requests, seconds, per_second, p50_ms, p99_ms, not_ok (answers other than 200).
Only ever talks to this machine's own loopback address.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class _Client(asyncio.Protocol):
    """One connection: asks, reads the whole answer, asks again."""

    def __init__(self, requests: Iterator[bytes], until: float, done: asyncio.Future[None]) -> None:
        self._requests, self._until, self._done = requests, until, done
        self._buffer = bytearray()
        self.times: list[float] = []
        self.not_ok = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(_END)
        if head < 0:
            return
        at = self._buffer.find(_LENGTH, 0, head + 2) + len(_LENGTH)
        length = int(self._buffer[at : self._buffer.index(b"\r\n", at)])
        if len(self._buffer) < head + len(_END) + length:
            return
        now = time.perf_counter()
        self.times.append(now - self._asked)
        self.not_ok += not self._buffer.startswith(b"HTTP/1.1 200")
        self._buffer.clear()
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(next(self._requests))


async def load(port: int, paths: list[str], *, seconds: float, connections: int, header: str) -> dict[str, float]:
    """Ask for the paths in turn over `connections` at once, for so many seconds."""
    tail = f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{header}\r\n\r\n" if header else " HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = itertools.cycle([f"GET {path}{tail}".encode() for path in paths])
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        _, client = await loop.create_connection(
            lambda done=done: _Client(requests, began + seconds, done),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        clients.append((client, done))
    await asyncio.gather(*(done for _, done in clients))
    took = time.perf_counter() - began
    times = sorted(each for client, _ in clients for each in client.times)
    return {
        "requests": len(times),
        "seconds": took,
        "per_second": len(times) / took,
        "p50_ms": 1000 * statistics.median(times),
        "p99_ms": 1000 * times[int(0.99 * (len(times) - 1))],
        "not_ok": sum(client.not_ok for client, _ in clients),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--paths", type=Path, required=True, help="a file with one path a line")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--header", default="")
    wanted = parser.parse_args()
    paths = wanted.paths.read_text().split()
    work = load(wanted.port, paths, seconds=wanted.seconds, connections=wanted.connections, header=wanted.header)
    print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
