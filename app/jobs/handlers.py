"""What is done for each job. Each may be done twice, or by two at once, and comes to the same: a job is given out again
when its worker falls silent, and the silent one may still be at it.

For runs the store's advisory lock sees to that: one runs, the other waits, and then finds the run published.
To add a job: a name in `warehouse/jobs.py: Job`, and its handler in HANDLERS.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from app.core.config import Settings
from app.core.errors import RunEnded, RunInProgress
from app.jobs.apart import Apart
from app.jobs.failures import WorkFailed
from app.warehouse.engine import Database
from app.warehouse.jobs import Asked, Job
from app.warehouse.runs import being_segmented

log = structlog.get_logger()

_LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Means:
    """What handlers work with."""

    database: Database
    settings: Settings
    apart: Apart


Handler = Callable[[Means, int, Asked], Awaitable[None]]


async def discover(means: Means, _job_id: int, asked: Asked) -> None:
    """Its run row is the token: whoever comes second finds it published."""
    await _run_apart(means, Job.discover, asked)


async def _run_apart(means: Means, job: Job, asked: Asked) -> Mapping[str, Any]:
    """What the process beside says of a run; nothing where the run had ended already. Waits until the store is free."""
    while True:
        if await _is_taken(means.database, asked.store_id):
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            continue
        try:
            return await means.apart.run(job.value, asked.store_id, asked.parameters)
        except WorkFailed as failure:
            if failure.kind == RunEnded.__name__:
                log.info("job.done_before", job=job.value, store_id=asked.store_id)
                return {}
            if failure.kind != RunInProgress.__name__:
                raise


async def _is_taken(database: Database, store_id: str) -> bool:
    async with database.snapshot() as connection:
        return await being_segmented(connection, store_id)


HANDLERS: Mapping[Job, Handler] = {Job.discover: discover}
#: Those whose work is done apart, one at a time.
TAKES_LONG = frozenset({Job.discover})
