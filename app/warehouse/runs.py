"""The runs of discovery and rescoring: which are under way, which ended how, which is served."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, insert, null, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import NothingPublished, RunEnded, RunOvertaken
from app.warehouse.engine import Database, Row
from app.warehouse.stores import Store, read_store
from app.warehouse.tables import segmentation_runs

# The parts that a run's yardstick has; one of an older version lacks some.
_YARDSTICK_PARTS = frozenset({"norms", "tiers", "rfm"})


#: What a run does: finds the segments anew, or places everyone again by those there are.
Kind = Literal["discovery", "rescoring"]


@dataclass(frozen=True, slots=True)
class Run:
    """A published run. report : what it found, as printed"""

    run_id: int
    as_of: datetime
    report: Mapping[str, Any]


def rules_of(run: Run) -> int:
    """The discovery whose rules a run goes by: itself, where it is one."""
    return int(run.report.get("rules_run_id", run.run_id))


def lock_key(store_id: str) -> int:
    """The advisory lock that the one running discovery of a store holds: a signed 64-bit number."""
    digest = hashlib.sha256(f"segmentation of {store_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def running_run(connection: AsyncConnection, store_id: str) -> int | None:
    """The newest run that says it is running; None where there is none."""
    query = select(func.max(segmentation_runs.c.run_id)).where(
        segmentation_runs.c.store_id == store_id, segmentation_runs.c.status == "running"
    )
    newest: int | None = (await connection.execute(query)).scalar_one()
    return newest


async def start_run(
    connection: AsyncConnection,
    store_id: str,
    parameters: Mapping[str, Any],
    *,
    kind: Kind = "discovery",
    run_id: int | None = None,
) -> int:
    """A new run, or the queued one of this id. Call it holding the store's lock: runs that still say they are running
    are those of dead processes. Raises RunEnded when the run of this id has been published already, or RunOvertaken.
    """
    await connection.execute(
        update(segmentation_runs)
        .where(segmentation_runs.c.store_id == store_id, segmentation_runs.c.status == "running")
        .values(status="failed", failure="The process ended before the run did.")
    )
    if run_id is not None:
        begun = (
            update(segmentation_runs)
            .where(
                segmentation_runs.c.store_id == store_id,
                segmentation_runs.c.run_id == run_id,
                segmentation_runs.c.status != "published",
            )
            .values(
                status="running",
                parameters=dict(parameters),
                started_at=func.now(),
                finished_at=None,
                failure=None,
                progress=null(),
            )
            .returning(segmentation_runs.c.run_id)
        )
        if (await connection.execute(begun)).scalar_one_or_none() is None:
            raise RunEnded(store_id=store_id, run_id=run_id)
        if (served := await overtaken_by(connection, store_id, run_id)) is not None:
            raise RunOvertaken(store_id=store_id, run_id=run_id, served=served)
        return run_id
    started = insert(segmentation_runs).values(
        store_id=store_id, kind=kind, status="running", parameters=dict(parameters)
    )
    return int((await connection.execute(started.returning(segmentation_runs.c.run_id))).scalar_one())


async def overtaken_by(connection: AsyncConnection, store_id: str, run_id: int) -> int | None:
    """The discovery that is served, where it came after this run; None where it did not.

    Which discovery went on from which is told by their ids: one that went on from a later one would not be understood.
    """
    query = text(
        "SELECT served.rules_run_id FROM stores JOIN segmentation_runs AS served "
        "ON served.run_id = stores.served_run_id "
        "WHERE stores.store_id = :store_id AND served.rules_run_id > :run_id"
    )
    later: int | None = await connection.scalar(query, {"store_id": store_id, "run_id": run_id})
    return later


async def note_progress(connection: AsyncConnection, run_id: int, step: str, done: float) -> None:
    """How far a run is. done : share of the step, 0..1"""
    await connection.execute(
        update(segmentation_runs)
        .where(segmentation_runs.c.run_id == run_id, segmentation_runs.c.status == "running")
        .values(progress={"step": step, "done": round(done, 3)})
    )


async def queue_run(connection: AsyncConnection, store_id: str, parameters: Mapping[str, Any]) -> int:
    """A run that waits for `start_run`."""
    queued = insert(segmentation_runs).values(store_id=store_id, status="queued", parameters=dict(parameters))
    return int((await connection.execute(queued.returning(segmentation_runs.c.run_id))).scalar_one())


async def queue_run_again(connection: AsyncConnection, run_id: int) -> None:
    """Have a run that was given up wait once more; one that was published stays so."""
    await connection.execute(
        update(segmentation_runs)
        .where(segmentation_runs.c.run_id == run_id, segmentation_runs.c.status.in_(("running", "failed")))
        .values(status="queued", failure=None, finished_at=None, progress=null())
    )


_LOCK_IS_HELD = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32 | objid::bigint) = :key)"
)


async def being_segmented(connection: AsyncConnection, store_id: str) -> bool:
    """Whether some process holds the store's lock at this moment."""
    return bool(await connection.scalar(_LOCK_IS_HELD, {"key": lock_key(store_id)}))


async def discovery_running(connection: AsyncConnection, store_id: str) -> int | None:
    """The discovery that some process is at; None where there is none, or only the row of a dead process."""
    query = select(func.max(segmentation_runs.c.run_id)).where(
        segmentation_runs.c.store_id == store_id,
        segmentation_runs.c.status == "running",
        segmentation_runs.c.kind == "discovery",
    )
    newest: int | None = (await connection.execute(query)).scalar_one()
    return newest if newest is not None and await being_segmented(connection, store_id) else None


#: Why a run failed that says it is running, where no process is at it.
PROCESS_ENDED = "The process that did it ended before the run did; what was served before still is."

_STATUS = """
    SELECT
        run.run_id, run.kind, run.status, run.as_of, run.started_at, run.finished_at, run.progress, run.failure,
        extract(epoch FROM coalesce(run.finished_at, CASE run.status WHEN 'running' THEN now() END) - run.started_at)
            ::float8 AS seconds,
        (run.report ->> 'n_customers')::bigint AS n_customers,
        served.run_id AS served_run_id, served.kind AS served_kind, served.as_of AS served_as_of
    FROM segmentation_runs AS run
    JOIN stores AS store ON store.store_id = run.store_id
    LEFT JOIN segmentation_runs AS served ON served.run_id = store.served_run_id
    WHERE run.store_id = $1 AND ($2::bigint IS NULL OR run.run_id = $2)
    ORDER BY run.run_id DESC LIMIT 1
"""


_TO_BEGIN_AGAIN = """
    SELECT 1 FROM queue JOIN jobs ON jobs.job_id = queue.id
    WHERE jobs.parameters -> 'run_id' = to_jsonb($1::bigint) AND queue.status IN ('queued', 'picked')
"""


async def read_status(database: Database, store_id: str, run_id: int | None) -> Row | None:
    """How a store's run stands, the latest without `run_id`, and which is served; None where there is none.

    One that says it is running while no process is at it has lost its process: it is told as queued where a job is to
    begin it again, else as failed.
    """
    row = await database.row(_STATUS, store_id, run_id)
    if row is None or row["status"] != "running":
        return row
    async with database.snapshot() as connection:
        if await being_segmented(connection, store_id):
            return row
    # Ended, one way or the other, since it was read.
    row = await database.row(_STATUS, store_id, row["run_id"])
    if row is None or row["status"] != "running":
        return row
    if await database.row(_TO_BEGIN_AGAIN, row["run_id"]) is not None:
        return {**row, "status": "queued"}
    return {**row, "status": "failed", "failure": PROCESS_ENDED, "seconds": None}


async def fail_run(connection: AsyncConnection, run_id: int, failure: str) -> None:
    """What was published stays so."""
    await connection.execute(
        update(segmentation_runs)
        .where(segmentation_runs.c.run_id == run_id, segmentation_runs.c.status != "published")
        .values(status="failed", failure=failure, finished_at=func.now())
    )


async def finish_run(
    connection: AsyncConnection,
    run_id: int,
    *,
    as_of: datetime,
    report: Mapping[str, Any],
    yardstick: Mapping[str, Any],
) -> None:
    """yardstick : what a customer of the run is measured against when scored alone"""
    await connection.execute(
        update(segmentation_runs)
        .where(segmentation_runs.c.run_id == run_id)
        .values(
            status="published",
            as_of=as_of,
            report=json.loads(json.dumps(report)),
            yardstick=yardstick,
            finished_at=func.now(),
        )
    )


async def hold_served_run(connection: AsyncConnection, store_id: str) -> Store:
    """Until this transaction ends the store keeps serving the run it serves: a run being published waits at its switch.

    Taken before anything of the run is read, so that who writes into it neither writes into one already swept nor
    waits for rows that the sweeping holds, which waits for theirs. Raises StoreNotFound.
    """
    return await read_store(connection, store_id, hold=True)


async def served_run(connection: AsyncConnection, store_id: str) -> Run:
    """The run answers come from. Raises StoreNotFound or NothingPublished."""
    store = await read_store(connection, store_id)
    if store.served_run_id is None:
        raise NothingPublished(store_id)
    return await read_run(connection, store.served_run_id)


async def read_run(connection: AsyncConnection, run_id: int) -> Run:
    """A published run that is known to be there."""
    columns = (segmentation_runs.c.run_id, segmentation_runs.c.as_of, segmentation_runs.c.report)
    return Run(*(await connection.execute(select(*columns).where(segmentation_runs.c.run_id == run_id))).one())


async def read_as_of(connection: AsyncConnection, run_id: int) -> datetime:
    """The moment of a published run that is known to be there, without its report."""
    query = select(segmentation_runs.c.as_of).where(segmentation_runs.c.run_id == run_id)
    moment: datetime = (await connection.execute(query)).scalar_one()
    return moment


async def read_yardstick(connection: AsyncConnection, run_id: int) -> Mapping[str, Any] | None:
    """What `finish_run` kept to measure one customer against; None for a run of an older version, which kept less."""
    query = select(segmentation_runs.c.yardstick).where(segmentation_runs.c.run_id == run_id)
    kept: Mapping[str, Any] | None = (await connection.execute(query)).scalar_one()
    return kept if kept is not None and kept.keys() >= _YARDSTICK_PARTS else None


async def asked_of_rules(connection: AsyncConnection, store_id: str) -> Mapping[str, Any]:
    """What the discovery was asked for whose rules are served; nothing where none is."""
    query = text(
        "SELECT rules.parameters FROM stores JOIN segmentation_runs AS served ON served.run_id = stores.served_run_id "
        "JOIN segmentation_runs AS rules ON rules.run_id = served.rules_run_id WHERE stores.store_id = :store_id"
    ).columns(parameters=JSONB)
    found: Mapping[str, Any] | None = await connection.scalar(query, {"store_id": store_id})
    return found or {}
