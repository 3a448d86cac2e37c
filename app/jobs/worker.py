"""The worker: takes jobs from the queue, keeps its lease on them, and does them, until told to stop.

It may run beside the API in one process or by itself, and there may be several. One that is killed loses its jobs to
the others, or to its next start, when it has been silent for a lease: a job is done at least once.
"""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta

import structlog
from pgqueuer import PgQueuer
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job as QueuedJob

from app.core.config import Settings
from app.core.errors import AppError, DatabaseUnavailable
from app.jobs.apart import Apart
from app.jobs.failures import WorkFailed, failure_of
from app.jobs.handlers import HANDLERS, TAKES_LONG, Means
from app.jobs.schedule import add_schedules
from app.warehouse import runs
from app.warehouse.engine import Database
from app.warehouse.jobs import QUEUE, Asked, Job, forget_schedules, is_given_to, open_queue, told

log = structlog.get_logger()

#: How long a worker may be silent. It speaks twice in that time.
LEASE = timedelta(seconds=20)
#: How often a worker looks that nobody has called: what a dead one had goes on within LEASE and LOOK.
LOOK = timedelta(seconds=5)
#: How long jobs under way may take to end when the worker is told to stop; then they are given back.
GRACE_SECONDS = 20

_AT_ONCE = 12
#: Of all workers together, and few enough that one worker always has room for what is done in a moment.
_LONG_AT_ONCE = 4
_BATCH = 2
_PATIENCE_SECONDS = 15
_COME_BACK_SECONDS = 1.0
_LONGEST_DELAY = timedelta(minutes=30)


class Worker:
    """lease : how long it may be silent before others take its jobs; grace_seconds : see GRACE_SECONDS"""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        lease: timedelta = LEASE,
        look: timedelta = LOOK,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._database = database
        self._means = Means(database, settings, Apart(database, settings))
        self._lease, self._look, self._grace_seconds = lease, look, grace_seconds
        self._stopping = asyncio.Event()
        self._in_a_hurry = asyncio.Event()
        self._giving_up = asyncio.Event()

    def stop(self) -> None:
        """Take no more jobs, and let those under way end; told a second time, give them back at once."""
        if self._stopping.is_set():
            self._in_a_hurry.set()
        self._stopping.set()

    async def run(self) -> None:
        """Work until told to stop. While the database is away, or not in shape yet, it tries again and again."""
        _hear_the_queue()
        said = ""
        while not self._stopping.is_set():
            try:
                async with open_queue(self._database, patience_seconds=_PATIENCE_SECONDS) as (queries, lost):
                    said = ""
                    await self._work(queries, lost)
            except Exception as error:  # whatever it is, the jobs wait, and somebody may mend it
                why = str(failure_of(error))
                if why != said:
                    log.warning("worker.cannot_work", why=why)
                said = why
                await _first_of(self._stopping.wait(), asyncio.sleep(_COME_BACK_SECONDS))

    async def _work(self, queries: Queries, lost: asyncio.Event) -> None:
        self._giving_up = asyncio.Event()
        manager = PgQueuer(queries.driver, channel=QUEUE.channel, queries=queries)
        for job in HANDLERS:
            limit = _LONG_AT_ONCE if job in TAKES_LONG else 0
            manager.entrypoint(job.value, on_failure="hold", concurrency_limit=limit)(self._do)
        add_schedules(manager, queries, self._database, self._means.settings)
        await forget_schedules(self._database, keep=manager.sm.registry)
        watching = asyncio.create_task(self._watch(manager, lost))
        log.info("worker.ready", jobs=[job.value for job in HANDLERS])
        try:
            await manager.run(
                batch_size=_BATCH,
                max_concurrent_tasks=_AT_ONCE,
                heartbeat_timeout=self._lease,
                dequeue_timeout=self._look,
                log_aggregation_interval=timedelta(0),
                shutdown_on_listener_failure=True,
            )
        finally:
            watching.cancel()
        if lost.is_set() and not self._stopping.is_set():
            raise DatabaseUnavailable("The connection to the queue was lost.")

    async def _watch(self, manager: PgQueuer, lost: asyncio.Event) -> None:
        """Tells the manager to end, and jobs to give up: who has lost the connection has lost the lease."""
        await _first_of(self._stopping.wait(), lost.wait())
        manager.shutdown.set()
        if not lost.is_set():
            await _first_of(lost.wait(), self._in_a_hurry.wait(), asyncio.sleep(self._grace_seconds))
        self._giving_up.set()

    async def _do(self, queued: QueuedJob) -> None:
        """One job. It ends well, or is tried again later, or is held with the reason; it is never lost."""
        job, asked = Job(queued.entrypoint), told(queued.payload)
        facts = {"job": job.value, "job_id": queued.id, "store_id": asked.store_id}
        log.info("job.begun", **facts, retries=queued.attempts)
        work = asyncio.ensure_future(HANDLERS[job](self._means, queued.id, asked))
        # To the queue, a job that was cancelled is over. Ours is not: it is given back.
        with suppress(asyncio.CancelledError):
            await _first_of(asyncio.wait({work}), self._giving_up.wait())
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
        if work.cancelled():
            await self._tell_run(queued, asked, failure=None)
            log.info("job.given_back", **facts)
            raise RetryRequested(reason="Its worker was stopped.")
        try:
            work.result()
        except Exception as error:
            failure = failure_of(error)
        else:
            log.info("job.done", **facts)
            return
        if failure.passes and queued.attempts < failure.retries:
            delay = max(delay_after(queued.attempts), timedelta(seconds=failure.not_before_seconds))
            await self._tell_run(queued, asked, failure=None)
            log.warning("job.to_be_tried_again", **facts, why=str(failure), seconds=delay.total_seconds())
            raise RetryRequested(delay, str(failure))
        await self._tell_run(queued, asked, failure=failure)
        log.error("job.failed", **facts, why=str(failure))
        raise failure

    async def _tell_run(self, queued: QueuedJob, asked: Asked, *, failure: WorkFailed | None) -> None:
        """Where a job begins a run, the run says what became of it: it waits again, or has failed.

        Who was silent for a lease says nothing: another worker has the job by now, and may be at the run.
        """
        run_id = asked.parameters.get("run_id")
        if run_id is None:
            return
        try:
            async with self._database.transaction() as connection:
                if not await is_given_to(connection, queued.id, queued.queue_manager_id):
                    log.info("run.left_to_another", run_id=run_id, job_id=queued.id)
                elif failure is None:
                    await runs.queue_run_again(connection, run_id)
                else:
                    await runs.fail_run(connection, run_id, str(failure))
        except AppError as error:
            log.warning("run.untold", run_id=run_id, why=str(error))


def delay_after(tries: int) -> timedelta:
    """How long a job waits that was tried so often before: twice as long each time, up to a bound."""
    return min(timedelta(seconds=2**tries), _LONGEST_DELAY)


async def _first_of(*waits: Awaitable[object]) -> None:
    """Until one of them ends; the others are no longer waited for."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class _Listener(logging.Handler):
    """What the queue itself complains of, in our own log; how a job failed has been said already."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, WorkFailed):
            why = None if error is None else type(error).__name__
            log.warning("queue.trouble", what=record.getMessage(), why=why)


def _hear_the_queue() -> None:
    logger = logging.getLogger("pgqueuer")
    if not any(isinstance(handler, _Listener) for handler in logger.handlers):
        logger.addHandler(_Listener(level=logging.WARNING))
        logger.propagate = False
