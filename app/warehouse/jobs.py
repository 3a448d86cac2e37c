"""What is to be done later: put into the queue with the work that calls for it, read, tried again, forgotten.

The queue is pgqueuer's, and so are its tables, `queue*`. `jobs` says of each what was asked, and for which store; how
it stands is read from the queue, and when it ended from the queue's log.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence import qb
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel, JobId
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import JobNotFailed, JobNotFound
from app.warehouse import runs
from app.warehouse.engine import Database, Row, raw
from app.warehouse.tables import jobs

#: Every name spelt out: what is left out, pgqueuer would take from the environment.
QUEUE = DBSettings(
    prefix="",
    db_schema=None,
    channel=Channel("queue"),
    function="queue_changed",
    trigger="queue_changed",
    queue_table="queue",
    queue_table_log="queue_log",
    queue_status_type="queue_status",
    schedules_table="queue_schedules",
    statistics_table="queue_statistics",
    durability=Durability.durable,
    widen_id=True,
)

#: What a worker does every minute that calls for no job.
LOOKING = "look"

_KEPT_DAYS = 30


class Job(StrEnum):
    """What can be asked for. Its handler is in app/jobs/handlers.py."""

    score = "score"
    rescore = "rescore"
    discover = "discover"
    thin = "thin"
    alert = "alert"
    predict = "predict"
    tell_risk = "tell_risk"
    erase = "erase"


class JobState(StrEnum):
    """failed : tried as often as makes sense, and held until somebody has it tried again"""

    waiting = "waiting"
    running = "running"
    failed = "failed"
    done = "done"


@dataclass(frozen=True, slots=True)
class Asked:
    """A job as it was put into the queue."""

    store_id: str
    parameters: Mapping[str, Any]


def told(payload: bytes | None) -> Asked:
    """What a job in the queue asks for."""
    said = json.loads(payload or b"")
    return Asked(said["store_id"], said["parameters"])


def _payload(store_id: str, parameters: dict[str, Any]) -> bytes:
    return json.dumps({"store_id": store_id, "parameters": parameters}).encode()


def queries_over(connection: asyncpg.Connection) -> Queries:
    """pgqueuer's own statements, over a connection of the driver."""
    return Queries(
        AsyncpgDriver(connection),
        qbe=qb.QueryBuilderEnvironment(QUEUE),
        qbq=qb.QueryQueueBuilder(QUEUE),
        qbs=qb.QuerySchedulerBuilder(QUEUE),
    )


@asynccontextmanager
async def open_queue(database: Database, *, patience_seconds: float) -> AsyncIterator[tuple[Queries, asyncio.Event]]:
    """The queue as a worker needs it, over a connection of its own, and what is set when that is lost.

    Raises DatabaseUnavailable.
    """
    async with database.lasting(who="worker", patience_seconds=patience_seconds) as connection:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        yield queries_over(connection), lost


async def enqueue(
    connection: AsyncConnection, job: Job, store_id: str, *, parameters: Mapping[str, Any] | None = None
) -> int | None:
    """Ask for a job, in the caller's transaction: it is there when that has been committed, or never was.

    returns : the job's id; None where one of this kind waits for the store already, which will then find what this
              transaction writes. Call it last: until the transaction ends, the one that waits cannot begin.
    """
    # `raw` sees to it that the transaction has begun: pgqueuer's statement alone would not begin it.
    driver = await raw(connection)
    queries = queries_over(driver)
    key = f"{job}:{store_id}"
    asked = dict(parameters or {})
    while True:
        (job_id,) = await queries.enqueue(job.value, _payload(store_id, asked), dedupe_key=key, on_conflict="skip")
        if job_id is not None:
            await connection.execute(
                insert(jobs).values(job_id=job_id, store_id=store_id, job=job.value, parameters=asked)
            )
            return int(job_id)
        # Held until we commit: otherwise it could run now, miss what we have written, and be gone.
        if await connection.scalar(_HOLD, {"key": key}) is not None:
            return None
        # It has ended in between.


_HOLD = text("SELECT id FROM queue WHERE dedupe_key = :key AND status IN ('queued', 'picked') FOR UPDATE")


async def enqueue_discovery(
    connection: AsyncConnection, store_id: str, parameters: Mapping[str, Any] | None = None
) -> tuple[int, int] | None:
    """A run that waits to be begun, and the job that begins it; None where one waits or is under way already.

    parameters : sample_size, min_k, max_k
    returns    : run_id and job_id
    """
    async with connection.begin_nested() as attempt:
        run_id = await runs.queue_run(connection, store_id, parameters or {})
        asked = {**(parameters or {}), "run_id": run_id}
        job_id = await enqueue(connection, Job.discover, store_id, parameters=asked)
        if job_id is not None:
            return run_id, job_id
        await attempt.rollback()
    return None


async def discovery_asked(connection: AsyncConnection, store_id: str) -> int | None:
    """The run of the discovery that waits or is under way by a job; None where there is none."""
    query = text(
        "SELECT (jobs.parameters ->> 'run_id')::bigint FROM queue JOIN jobs ON jobs.job_id = queue.id "
        "WHERE queue.dedupe_key = :key AND queue.status IN ('queued', 'picked')"
    )
    found: int | None = await connection.scalar(query, {"key": f"{Job.discover}:{store_id}"})
    return found


async def let_others_ask(database: Database, job_id: int) -> None:
    """From now on the like of a running job may be asked for again: what is written later, this one might not see."""
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE queue SET dedupe_key = NULL WHERE id = :id"), {"id": job_id})


async def is_given_to(connection: AsyncConnection, job_id: int, worker: UUID | None) -> bool:
    """Whether a job is still this worker's and nobody else's by now; if so it stays that until the transaction ends."""
    query = text("SELECT id FROM queue WHERE id = :id AND status = 'picked' AND queue_manager_id = :worker FOR SHARE")
    return await connection.scalar(query, {"id": job_id, "worker": worker}) is not None


_STATES = """
    SELECT
        jobs.job_id, jobs.job, jobs.parameters, jobs.asked_at, coalesce(queue.attempts, 0) AS retries,
        CASE queue.status
            WHEN 'queued' THEN 'waiting' WHEN 'picked' THEN 'running' WHEN 'failed' THEN 'failed' ELSE 'done'
        END AS state,
        CASE WHEN queue.status = 'queued' AND queue.execute_after > now() THEN queue.execute_after END AS next_try_at,
        began.at AS started_at,
        CASE WHEN queue.id IS NULL OR queue.status = 'failed' THEN latest.created END AS finished_at,
        CASE WHEN queue.id IS NOT NULL THEN failure.why END AS failure
    FROM jobs
    LEFT JOIN queue ON queue.id = jobs.job_id
    LEFT JOIN LATERAL (
        SELECT max(created) AS at FROM queue_log WHERE job_id = jobs.job_id AND status = 'picked'
    ) AS began ON true
    LEFT JOIN LATERAL (
        SELECT created FROM queue_log WHERE job_id = jobs.job_id ORDER BY created DESC, id DESC LIMIT 1
    ) AS latest ON true
    LEFT JOIN LATERAL (
        SELECT traceback ->> 'exception_message' AS why FROM queue_log
        WHERE job_id = jobs.job_id AND traceback IS NOT NULL ORDER BY created DESC, id DESC LIMIT 1
    ) AS failure ON true
    WHERE jobs.store_id = $1
"""
_PAGE = f"""
    SELECT * FROM ({_STATES} AND ($2::bigint IS NULL OR jobs.job_id < $2)) AS known
    WHERE $3::text IS NULL OR state = $3
    ORDER BY job_id DESC LIMIT $4
"""  # noqa: S608  put together from the constants above
_ONE = f"{_STATES} AND jobs.job_id = $2"


async def read_jobs(
    database: Database, store_id: str, *, state: JobState | None, before: int | None, limit: int
) -> Sequence[Row]:
    """A store's jobs, the latest first. before : only those asked for before this one"""
    return await database.rows(_PAGE, store_id, before, None if state is None else state.value, limit)


async def read_job(database: Database, store_id: str, job_id: int) -> Row:
    """Raises JobNotFound, also for another store's."""
    row = await database.row(_ONE, store_id, job_id)
    if row is None:
        raise JobNotFound(job_id)
    return row


async def replay(connection: AsyncConnection, store_id: str, job_id: int) -> None:
    """Have a failed job tried again: with its run, where it begins one, or a new run where that one is overtaken.

    Raises JobNotFound, or JobNotFailed for one that is not held as failed.
    """
    query = select(jobs.c.parameters).where(jobs.c.store_id == store_id, jobs.c.job_id == job_id)
    parameters = await connection.scalar(query)
    if parameters is None:
        raise JobNotFound(job_id)
    status = await connection.scalar(text("SELECT status::text FROM queue WHERE id = :id FOR UPDATE"), {"id": job_id})
    if status != "failed":
        raise JobNotFailed(job_id, like_it=False)
    try:
        await queries_over(await raw(connection)).requeue_jobs([JobId(job_id)])
    except asyncpg.UniqueViolationError:
        raise JobNotFailed(job_id, like_it=True) from None
    if "run_id" not in parameters:
        return
    if await runs.overtaken_by(connection, store_id, parameters["run_id"]) is None:
        await runs.queue_run_again(connection, parameters["run_id"])
        return
    wanted = {name: each for name, each in parameters.items() if name != "run_id"}
    asked = {**wanted, "run_id": await runs.queue_run(connection, store_id, wanted)}
    await connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(parameters=asked))
    await connection.execute(
        text("UPDATE queue SET payload = :payload WHERE id = :id"),
        {"payload": _payload(store_id, asked), "id": job_id},
    )


async def forget_schedules(database: Database, *, keep: Collection[tuple[str, str]]) -> None:
    """Drop what is due by schedules that were set before. keep : each what is to be done, and its schedule"""
    what, when = zip(*keep, strict=True) if keep else ((), ())
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "DELETE FROM queue_schedules WHERE (entrypoint, expression) NOT IN "
                "(SELECT * FROM unnest(CAST(:what AS text[]), CAST(:when AS text[])))"
            ),
            {"what": list(what), "when": list(when)},
        )


async def keep_due(queries: Queries, schedule_id: int) -> None:
    """Have a schedule that could not fire be due at once again, for whoever looks next.

    Over the worker's own connection, as the queue itself notes that a schedule has fired: where that is lost nothing is
    noted, and the schedule is given out again like that of a worker that has died.
    """
    await queries.driver.execute("UPDATE queue_schedules SET next_run = now() WHERE id = $1", schedule_id)


async def count_jobs(database: Database, store_id: str) -> dict[JobState, int]:
    """How many of a store's jobs wait, run, and are held after a failure."""
    query = (
        "SELECT queue.status::text AS status, count(*) AS n FROM queue JOIN jobs ON jobs.job_id = queue.id "
        "WHERE jobs.store_id = $1 GROUP BY queue.status"
    )
    found = {row["status"]: row["n"] for row in await database.rows(query, store_id)}
    return {
        JobState.waiting: found.get("queued", 0),
        JobState.running: found.get("picked", 0),
        JobState.failed: found.get("failed", 0),
    }


async def worker_seen_at(database: Database) -> datetime | None:
    """When a worker last looked what is due, which it does every minute; None where none has yet."""
    row = await database.row("SELECT max(last_run) AS seen_at FROM queue_schedules WHERE entrypoint = $1", LOOKING)
    return None if row is None else row["seen_at"]


async def forget_old(connection: AsyncConnection) -> None:
    """Drop what is known of jobs that were done weeks ago."""
    old = {"days": timedelta(days=_KEPT_DAYS)}
    await connection.execute(
        text(
            "DELETE FROM jobs WHERE asked_at < now() - CAST(:days AS interval) "
            "AND NOT EXISTS (SELECT FROM queue WHERE queue.id = jobs.job_id)"
        ),
        old,
    )
    await connection.execute(
        text(
            "DELETE FROM queue_log WHERE created < now() - CAST(:days AS interval) "
            "AND NOT EXISTS (SELECT FROM queue WHERE queue.id = queue_log.job_id)"
        ),
        old,
    )


_REPEATED = """
    WITH repeated AS (
        SELECT queue.id FROM queue JOIN jobs ON jobs.job_id = queue.id
        WHERE queue.status = 'failed' AND jobs.parameters - 'run_id' = '{}' AND EXISTS (
            SELECT FROM jobs AS later LEFT JOIN queue AS stands ON stands.id = later.job_id
            WHERE later.store_id = jobs.store_id AND later.job = jobs.job AND later.job_id > jobs.job_id
              AND later.parameters - 'run_id' = '{}'
              AND (stands.id IS NULL OR stands.status = 'failed')
        )
        FOR UPDATE OF queue
    ), unqueued AS (
        DELETE FROM queue USING repeated WHERE queue.id = repeated.id
    )
    DELETE FROM jobs USING repeated WHERE jobs.job_id = repeated.id
"""


async def forget_repeated(connection: AsyncConnection) -> None:
    """Drop failed jobs of which the like has ended since, well or not: they ask for nothing that it did not.

    So of what fails every night or week one is held, the latest. One with parameters of its own, other than the run
    that it is to begin, is like no other.
    """
    await connection.execute(text(_REPEATED))
