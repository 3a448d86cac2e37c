"""The service as a process of its own: `async with serving(folder, DATABASE_URL=...) as service`."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests import waiting
from tests.cli.test_serve import ROOT, end, environment, free_port

KEYS = {"API_KEY": "agent-1", "ADMIN_KEY": "boss-1"}
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Service:
    """asking : with the admin's key; log : the file that it writes to"""

    process: "subprocess.Popen[bytes]"
    asking: httpx.AsyncClient
    log: Path

    async def timed(self, path: str, method: str = "GET") -> tuple[httpx.Response, float]:
        """The answer, and the seconds it took."""
        began = time.monotonic()
        answer = await self.asking.request(method, path)
        return answer, time.monotonic() - began

    async def until(self, path: str, status: int, *, within: float = PATIENCE_SECONDS) -> float:
        """The seconds it takes until a path is answered so."""
        began = time.monotonic()
        while (found := (await self.asking.get(path)).status_code) != status:
            assert time.monotonic() - began < within, f"{path} is still answered with {found}: {self.logged()}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    def logged(self) -> str:
        return self.log.read_text()

    async def stop(self) -> int:
        """Its exit code, told to stop as systemd and containers do."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, PATIENCE_SECONDS)


@asynccontextmanager
async def serving(
    folder: Path,
    *arguments: str,
    answers: str = "/health/live",
    before: Callable[[], None] | None = None,
    **settings: str,
) -> AsyncIterator[Service]:
    """Stopped where a test left it running.

    folder  : where its data and its log are
    answers : what it is to answer before it counts as up
    before  : what its process does first
    """
    port = free_port()
    log = folder / f"serve-{port}.log"
    command = [sys.executable, "-m", "app", "serve", *arguments]
    # Everything is asked of the database: what is kept would be told without it.
    own = environment(folder, PORT=str(port), **{"ENABLE_CACHE": "false", **KEYS, **settings})
    asking = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"X-API-Key": KEYS["ADMIN_KEY"]},
        timeout=PATIENCE_SECONDS,
        # Dropped before the service does, after five seconds in which nothing was asked.
        limits=httpx.Limits(max_connections=500, keepalive_expiry=2),
    )
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: ASYNC220
            command, cwd=ROOT, env=own, stdout=out, stderr=subprocess.STDOUT, preexec_fn=before
        )
    try:
        async with asking:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                try:
                    if (await asking.get(answers)).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
            yield Service(process, asking, log)
    finally:
        await asyncio.to_thread(end, process)


async def until(look: Callable[[], Awaitable[object]]) -> Any:
    """What `look` finds, once it finds something, with patience enough for a service."""
    return await waiting.until(look, seconds=PATIENCE_SECONDS)


def assert_unavailable(answer: httpx.Response) -> None:
    """503 as it is promised, with nothing told of our insides."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["type"]) == (503, "/problems/database-unavailable")
    assert not any(inside in answer.text for inside in ("127.0.0.1", "SELECT", "Traceback", "sqlalchemy", "asyncpg"))


@asynccontextmanager
async def asked_all_the_time(service: Service, *paths: str, at_once: int = 4) -> AsyncIterator[Counter[int]]:
    """Reads while the block lasts. yields : how often each status was answered, complete when the block has ended"""
    statuses: Counter[int] = Counter()
    over = asyncio.Event()

    async def ask(path: str) -> None:
        while not over.is_set():
            answer = await service.asking.get(path)
            statuses[answer.status_code] += 1
            if answer.status_code == 503:
                assert_unavailable(answer)

    asking = [asyncio.create_task(ask(path)) for path in paths for _ in range(at_once)]
    try:
        yield statuses
    finally:
        over.set()
        await asyncio.gather(*asking)
