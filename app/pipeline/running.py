"""A run from its first row to its last: the store's lock, the row that says how far it is, and how it ended."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from app.core.errors import AppError, RunInProgress
from app.core.progress import Progress
from app.warehouse import changes, runs
from app.warehouse.engine import Connection, Database
from app.warehouse.jobs import Job, enqueue

log = structlog.get_logger()

_NOTE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """A run under way. progress : says how far it is to whoever listens, and to its row; callable from any thread"""

    run_id: int
    progress: Progress


@asynccontextmanager
async def running(
    database: Database,
    store_id: str,
    *,
    kind: runs.Kind,
    parameters: Mapping[str, Any],
    run_id: int | None = None,
    progress: Progress,
) -> AsyncIterator[Running]:
    """The block is the run: it holds the store's lock, and an exception in it is written down as the run's failure.

    run_id : of the queued run that it is; None for a new one

    Raises RunInProgress when another run of the store is under way, RunEnded when that of run_id has been published
    already, and RunOvertaken when a later discovery has.
    """
    async with database.session_lock(runs.lock_key(store_id)) as free:
        if not free:
            async with database.snapshot() as connection:
                raise RunInProgress(store_id=store_id, run_id=await runs.running_run(connection, store_id))
        async with database.transaction() as connection:
            run_id = await runs.start_run(connection, store_id, parameters, kind=kind, run_id=run_id)
        notes = _Notes(progress)
        writing = asyncio.create_task(notes.write(database, run_id))
        try:
            yield Running(run_id, notes)
        except Exception as error:
            async with database.transaction() as connection:
                await runs.fail_run(connection, run_id, _failure(error))
            raise
        finally:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing


def _failure(error: Exception) -> str:
    """In one line that may be shown. Of an error that is not ours only its name: its words may hold a customer's."""
    return str(error) if isinstance(error, AppError) else f"Something of ours went wrong: {type(error).__name__}."


class _Notes:
    """Passes progress on, and writes the latest of it into the run's row, once a second at most."""

    def __init__(self, heard: Progress) -> None:
        self._heard = heard
        self._latest: tuple[str, float] | None = None

    def __call__(self, step: str, done: float) -> None:
        self._latest = (step, done)
        self._heard(step, done)

    async def write(self, database: Database, run_id: int) -> None:
        written = None
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            latest = self._latest
            if latest is None or latest == written:
                continue
            try:
                async with database.transaction() as connection:
                    await runs.note_progress(connection, run_id, *latest)
                written = latest
            except Exception as error:  # the work itself will say so if it matters
                why = str(error) if isinstance(error, AppError) else type(error).__name__
                log.warning("run.progress_not_noted", run_id=run_id, why=why)


async def score_what_came_meanwhile(connection: Connection, store_id: str, *, seen: str) -> None:
    """Of a run that is being published: whose changes it has seen need no score, and the others are to have one.

    seen : of `changes.seen_by`, when it read the records
    """
    await changes.forget(connection, store_id, seen=seen)
    if await changes.how_many(connection, store_id, most=1):
        await enqueue(connection, Job.score, store_id)
