"""Waiting for what happens in a moment: `await until(lambda: ...)`, with an end to patience."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from app.warehouse.engine import Database
from tests.fakes import value

_STEP_SECONDS = 0.02


async def until(happened: Callable[[], object | Awaitable[object]], *, seconds: float = 10.0) -> Any:
    """What it answers, once that is something true. Raises AssertionError when it is not in that time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        told = happened()
        if found := await told if inspect.isawaitable(told) else told:
            return found
        if loop.time() > end:
            raise AssertionError(f"not within {seconds:.0f} seconds")
        await asyncio.sleep(_STEP_SECONDS)


async def until_so_many_wait(database: Database, n: int) -> None:
    """Until so many connections to a database wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def wait() -> bool:
        return bool(await value(database, waiting) == n)

    await until(wait)
