"""Work that keeps a core busy for seconds, done in a process beside this one, so that nobody here waits for it.

One at a time, each in a process of its own that ends with the work and gives back its memory. It is told what to do on
its standard input and answers on its standard output; when this process dies, by whatever death, its input ends, and it
ends with it.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from app.core.config import Settings
from app.jobs.failures import FEW_RETRIES, WorkFailed
from app.warehouse.engine import Database

log = structlog.get_logger()

#: What a process beside needs no more than its address to work with.
_SECRETS = frozenset({"api_key", "admin_key", "id_hash_secret", "database_url", "slack_webhook_url"})
_PATIENCE_SECONDS = 5


class Apart:
    """The process beside, one at a time; who comes while it works waits."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._url = database.url
        self._settings = settings.model_dump(mode="json", exclude=set(_SECRETS), exclude_none=True)
        self._room = asyncio.Semaphore(1)

    async def run(self, work: str, store_id: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have work done there; returns what it answers. Cancelled, it ends the process.

        work : one of those in app/jobs/child.py

        Raises WorkFailed.
        """
        order = {
            "work": work,
            "store_id": store_id,
            "parameters": dict(parameters),
            "url": self._url,
            "settings": self._settings,
        }
        async with self._room:
            return await self._run(json.dumps(order).encode() + b"\n")

    async def _run(self, order: bytes) -> Mapping[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.jobs.child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None  # noqa: S101  both are pipes
        log.debug("apart.begun", pid=process.pid)
        try:
            process.stdin.write(order)  # and is left open: its end would be ours
            answer = await process.stdout.read()
            code = await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)
        if not answer:
            raise WorkFailed(
                f"The process that did the work ended without an answer (exit code {code}; -9 is what lack of memory "
                "looks like).",
                kind="ProcessEnded",
                passes=True,
                retries=FEW_RETRIES,
            )
        said: Mapping[str, Any] = json.loads(answer)
        if "failed" in said:
            raise WorkFailed(said["failed"], kind=said["kind"], passes=said["passes"])
        return said


async def _end(process: asyncio.subprocess.Process) -> None:
    """What it had begun in the database is rolled back there."""
    process.terminate()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
