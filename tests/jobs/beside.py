"""A worker in the process of the test: `async with working(database, settings)`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from app.core.config import Settings
from app.jobs.worker import Worker
from app.warehouse.engine import Database


@asynccontextmanager
async def working(database: Database, settings: Settings) -> AsyncIterator[None]:
    worker = Worker(database, settings, look=timedelta(seconds=0.2), grace_seconds=0)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running
