"""Asks for discoveries, and tells how runs and jobs stand."""

import json
from datetime import datetime

from app.api.admin.schemas import Accepted, Discovery, Jobs, JobStatus, RunStatus, ServedRun
from app.audit import noted
from app.core.cursors import seal, unseal
from app.core.errors import NoCustomers, RunInProgress, RunNotFound
from app.core.keys import Caller
from app.resources import Resources
from app.warehouse import jobs as queue
from app.warehouse import runs
from app.warehouse.audit import write_audit
from app.warehouse.engine import Row
from app.warehouse.jobs import JobState
from app.warehouse.requests import answered_before, keep_answer
from app.warehouse.stores import has_orders, read_store

#: When each step begins and ends, of the time that a run takes: as measured, roughly.
_SPANS = {
    "reading": (0.0, 0.15),
    "features": (0.15, 0.2),
    "clustering": (0.2, 0.75),
    "archetypes": (0.75, 0.8),
    "scoring": (0.3, 0.6),
    "profiles": (0.8, 0.85),
    "publishing": (0.85, 1.0),
}


async def cluster(resources: Resources, caller: Caller, wanted: Discovery, *, key: str | None) -> Accepted:
    """A discovery, queued. key : the asker's own, under which the answer is kept

    Raises StoreNotFound, NoCustomers, RunInProgress while one of the store waits or runs, or InvalidParameter when
    something else was asked under the key.
    """
    store_id, parameters = caller.store_id, wanted.model_dump(exclude_none=True)
    async with resources.database.transaction() as connection:
        await read_store(connection, store_id)
        if key is not None:
            before = await answered_before(connection, store_id, key, {"ask": "cluster", **parameters})
            if before is not None:
                return Accepted.model_validate(before)
        if not await has_orders(connection, store_id):
            raise NoCustomers(store_id)
        if (running := await runs.discovery_running(connection, store_id)) is not None:
            raise RunInProgress(store_id=store_id, run_id=running)
        asked = await queue.enqueue_discovery(connection, store_id, parameters)
        if asked is None:
            raise RunInProgress(store_id=store_id, run_id=await queue.discovery_asked(connection, store_id))
        run_id, job_id = asked
        answer = Accepted(run_id=run_id, job_id=job_id, status_url=f"/api/admin/cluster/status?run_id={run_id}")
        if key is not None:
            await keep_answer(connection, store_id, key, answer.model_dump())
        await write_audit(connection, [noted(caller, "run.ask", about=f"run {run_id}")])
    return answer


async def run_status(resources: Resources, caller: Caller, run_id: int | None) -> RunStatus:
    """Raises RunNotFound, also for a run of another store."""
    row = await runs.read_status(resources.database, caller.store_id, run_id)
    if row is None:
        raise RunNotFound(run_id)
    at = json.loads(row["progress"]) if row["progress"] and row["status"] == "running" else None
    begun = row["status"] != "queued"
    return RunStatus(
        run_id=row["run_id"],
        kind=row["kind"],
        status=row["status"],
        as_of=_moment(row["as_of"]),
        started_at=_moment(row["started_at"]) if begun else None,
        finished_at=_moment(row["finished_at"]),
        step=at and at["step"],
        progress=1.0 if row["status"] == "published" else _overall(at["step"], at["done"]) if at else 0.0,
        seconds=round(row["seconds"], 1) if begun and row["seconds"] is not None else None,
        n_customers=row["n_customers"],
        failure=row["failure"],
        served=None
        if row["served_run_id"] is None
        else ServedRun(
            run_id=row["served_run_id"],
            kind=row["served_kind"],
            as_of=row["served_as_of"].isoformat(timespec="seconds"),
        ),
    )


def _overall(step: str, done: float) -> float:
    begins, ends = _SPANS.get(step, (0.0, 0.0))
    return round(begins + done * (ends - begins), 3)


async def jobs(resources: Resources, caller: Caller, *, state: JobState | None, limit: int, cursor: str | None) -> Jobs:
    """Raises InvalidParameter for a cursor of another list."""
    purpose = json.dumps(["jobs", caller.store_id, state])
    before = None if cursor is None else unseal(resources.secret, purpose, cursor)
    rows = await queue.read_jobs(resources.database, caller.store_id, state=state, before=before, limit=limit + 1)
    more = len(rows) > limit
    return Jobs(
        jobs=[_job(row) for row in rows[:limit]],
        next_cursor=seal(resources.secret, purpose, rows[limit - 1]["job_id"]) if more else None,
    )


async def job(resources: Resources, caller: Caller, job_id: int) -> JobStatus:
    """Raises JobNotFound, also for a job of another store."""
    return _job(await queue.read_job(resources.database, caller.store_id, job_id))


async def replay(resources: Resources, caller: Caller, job_id: int) -> JobStatus:
    """Raises JobNotFound, or JobNotFailed."""
    async with resources.database.transaction() as connection:
        await queue.replay(connection, caller.store_id, job_id)
        await write_audit(connection, [noted(caller, "job.replay", about=f"job {job_id}")])
    return await job(resources, caller, job_id)


def _job(row: Row) -> JobStatus:
    return JobStatus(
        job_id=row["job_id"],
        job=row["job"],
        status=row["state"],
        parameters=json.loads(row["parameters"]),
        asked_at=row["asked_at"].isoformat(timespec="seconds"),
        started_at=_moment(row["started_at"]),
        finished_at=_moment(row["finished_at"]),
        next_try_at=_moment(row["next_try_at"]),
        retries=row["retries"],
        failure=row["failure"],
    )


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")
