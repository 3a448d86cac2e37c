"""Unmistakable words in everything a shop's records hold: none of them turns up in what is logged of an import or of
the jobs it leads to, in what the queue keeps, in what is told of jobs, or in a metric; nor where a job fails over them.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from app.core.config import Settings
from app.core.logging import configure_logging
from app.domain.records import Customer, Order, OrderLine, Record, Ticket
from app.jobs.worker import Worker
from app.main import create_app
from app.warehouse.engine import Database
from app.warehouse.jobs import Job, JobState, enqueue, enqueue_discovery, read_jobs
from app.warehouse.migrate import migrate
from tests.api.conftest import KEYS, client, resources_for
from tests.conftest import own_database
from tests.fakes import a_shop, at, execute, gave_back, put, rows, value
from tests.jobs.processes import until, working

STORE = "corner"
#: Begins so that nothing else does.
MARK = "kanarienvogel"


def marked(record: Record) -> Record:
    """The same with the mark on every word in it."""
    match record:
        case Customer():
            who = f"{MARK}-{record.customer_id}"
            words = {"first_name": f"{MARK}-first", "last_name": f"{MARK}-last", "phone": f"{MARK}-tel"}
            return replace(record, customer_id=who, email=f"{who}@shop.test", **words)
        case Order():
            ids = {"order_id": f"{MARK}-{record.order_id}", "customer_id": f"{MARK}-{record.customer_id}"}
            return replace(record, **ids, order_number=f"#{MARK}-{record.order_id}", tracking_numbers=(f"{MARK}-box",))
        case OrderLine():
            ids = {"order_id": f"{MARK}-{record.order_id}", "product_id": f"{MARK}-{record.product_id}"}
            return replace(record, **ids, title=f"{MARK}-title", category=f"{MARK}-kind", vendor=f"{MARK}-maker")
        case _:
            return record


def asking(number: int) -> Ticket:
    who, about = f"{MARK}-c{number:03}", {"channel": f"{MARK}-channel", "topic": f"{MARK}-topic"}
    return Ticket(f"{MARK}-t{number}", who, at("2024-03-01"), status="closed", **about)  # type: ignore[arg-type]


def marked_shop() -> list[Record]:
    """As many customers as a discovery needs, who come for half a year, ask, and give something back."""
    tickets = [asking(number) for number in range(0, 110, 7)]
    back = gave_back(f"{MARK}-c001", f"{MARK}-paper", "2024-03-09", f"{MARK}-P1", "1", "2")[1:]
    return [*map(marked, a_shop(110, orders_each=6)), *tickets, *back]


@pytest.fixture
async def database(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """Of their own: a worker takes every job there is."""
    async with own_database(server_url) as url:
        database = Database(url, settings)
        await migrate(database)
        yield database
        await database.close()


async def asked(database: Database, job: Job) -> int:
    async with database.transaction() as connection:
        job_id = await enqueue(connection, job, STORE)
    assert job_id is not None
    return job_id


async def ended(database: Database) -> dict[str, set[str]]:
    """Once nothing waits or is under way: how the jobs of each kind ended."""

    async def look() -> dict[str, set[str]]:
        jobs = await read_jobs(database, STORE, state=None, before=None, limit=99)
        if any(job["state"] in (JobState.waiting, JobState.running) for job in jobs):
            return {}
        return {job["job"]: {other["state"] for other in jobs if other["job"] == job["job"]} for job in jobs}

    return await until(look)


async def got_out(database: Database, settings: Settings) -> dict[str, str]:
    """What is told of jobs, and kept of them by the queue."""
    here = settings.model_copy(update={"enable_prometheus_metrics": True})
    app = create_app(resources=resources_for(database, here, STORE))
    async with app.router.lifespan_context(app), client(app, KEYS["admin"]) as asking:
        pages = ("/api/admin/jobs?limit=100", "/metrics", "/api/admin/cluster/status", "/health")
        told = {path: (await asking.get(path)).text for path in pages}
    for table in ("queue", "queue_log", "queue_statistics", "jobs", "segmentation_runs", "prediction_runs"):
        columns = "to_jsonb(t) - 'report' - 'yardstick'"  # what is found of a shop is for who may see it
        told[table] = str(await rows(database, f"SELECT ({columns})::text FROM {table} AS t"))  # noqa: S608
    return told


async def test_nothing_of_a_shops_records_gets_out_of_what_is_done_with_them(
    database: Database, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    await put(database, STORE, marked_shop())
    with log.open("w") as writing, working(database.url, log=writing):
        async with database.transaction() as connection:
            await enqueue_discovery(connection, STORE, {"min_k": 2, "max_k": 2})
        assert (await ended(database))["discover"] == {JobState.done}
        for job in (Job.rescore, Job.predict):
            await asked(database, job)
            assert (await ended(database))[job.value] == {JobState.done}
        changed = [marked(record) for record in a_shop(3, orders_each=7)]
        await put(database, STORE, changed)
        assert (await ended(database))["score"] == {JobState.done}
        # From here on what the database says of a failure names whom it is about, in this process and in that beside.
        await execute(
            database,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'not %', NEW.customer_id USING DETAIL = NEW.customer_id; END $$",
        )
        for table in ("fact_customer_standing", "fact_customer_prediction"):
            refusing = f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
            await execute(database, refusing)
        await put(database, STORE, [marked(record) for record in a_shop(3, orders_each=8)])
        for job in (Job.rescore, Job.predict):
            await asked(database, job)
        failed = await ended(database)
        assert all(JobState.failed in failed[job] for job in ("score", "rescore", "predict")), failed
    said = capsys.readouterr()
    told = {**await got_out(database, settings), "log": log.read_text(), "here": said.out + said.err}
    assert "job.failed" in told["log"] and "import.done" in told["here"]
    assert "Something of ours went wrong" in told["/api/admin/jobs?limit=100"]
    assert await value(database, "SELECT count(*) FROM queue_log WHERE traceback IS NOT NULL") > 0
    for place, words in told.items():
        assert MARK not in words, (place, words[max(0, words.find(MARK) - 300) : words.find(MARK) + 100])


async def test_what_keeps_a_worker_from_its_work_is_told_by_kind_and_place(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    def refuses(*_: object, **__: object) -> None:
        tried.set()
        raise ValueError(f"{MARK} is in the way")

    monkeypatch.setattr("app.jobs.worker.open_queue", refuses)
    worker = Worker(database, settings)
    before = structlog.get_config()
    configure_logging(level="INFO", json_logs=False)
    try:
        running = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(30):
                await tried.wait()
        finally:
            worker.stop()
            async with asyncio.timeout(30):
                await running
    finally:
        structlog.configure(**before)
    said = capsys.readouterr().err
    assert "worker.cannot_work" in said and "ValueError" in said
    assert MARK not in said
