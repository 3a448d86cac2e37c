"""Discovery on demand and the jobs, as whoever runs the shop's instance asks for them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.api.admin.schemas import Accepted, Jobs, JobStatus, RunStatus
from app.core.config import Settings
from app.main import create_app
from app.warehouse import runs
from app.warehouse.engine import Database
from app.warehouse.jobs import Job, enqueue
from tests.api.conftest import KEYS, Ask, Clients, client, resources_for
from tests.api.test_bad_input import assert_problem
from tests.fakes import a_shop, execute, put, rows, segmented

CLUSTER, STATUS, JOBS = "/api/admin/cluster", "/api/admin/cluster/status", "/api/admin/jobs"


@pytest.fixture
async def store(database: Database, store_id: str) -> str:
    await put(database, store_id, a_shop(40))
    return store_id


@pytest.fixture
async def admin(database: Database, settings: Settings, store: str) -> AsyncIterator[Ask]:
    """An admin key's view of a store with orders and no segments yet; nobody works on the jobs."""
    app = create_app(resources=resources_for(database, settings, store))
    async with app.router.lifespan_context(app), client(app, KEYS["admin"]) as asking:
        yield asking


async def told(asked: httpx.Response, status: int = 200) -> Any:
    assert asked.status_code == status, asked.text
    return asked.json()


async def ended(database: Database, job_id: int, *, failure: str | None = None) -> None:
    """What a worker would leave of a job: held with a failure, or done."""
    if failure is None:
        await execute(database, "DELETE FROM queue WHERE id = :id", id=job_id)
    else:
        await execute(database, "UPDATE queue SET status = 'failed' WHERE id = :id", id=job_id)
    await execute(
        database,
        "INSERT INTO queue_log (job_id, status, priority, entrypoint, traceback) VALUES (:id, "
        "CAST(:status AS queue_status), 0, 'discover', jsonb_build_object('exception_message', CAST(:why AS text)))",
        id=job_id,
        status="successful" if failure is None else "failed",
        why=failure,
    )


async def test_a_discovery_is_accepted_and_its_run_waits(admin: Ask) -> None:
    accepted = Accepted.model_validate(await told(await admin.post(CLUSTER, json={"max_k": 3}), 202))
    status = RunStatus.model_validate(await told(await admin.get(accepted.status_url)))
    assert (status.run_id, status.kind, status.status) == (accepted.run_id, "discovery", "queued")
    assert (status.started_at, status.progress, status.seconds, status.served) == (None, 0.0, None, None)
    job = JobStatus.model_validate(await told(await admin.get(f"{JOBS}/{accepted.job_id}")))
    assert (job.job, job.status, job.parameters) == (Job.discover, "waiting", {"max_k": 3, "run_id": accepted.run_id})
    assert job.failure is None


async def test_a_discovery_needs_no_body(admin: Ask) -> None:
    await told(await admin.post(CLUSTER), 202)


async def test_a_second_discovery_is_refused_and_told_which_run_is_first(admin: Ask) -> None:
    first = await told(await admin.post(CLUSTER), 202)
    problem = assert_problem(await admin.post(CLUSTER), 409)
    assert problem["type"] == "/problems/run-in-progress"
    assert f"run {first['run_id']}" in problem["detail"]
    assert (await told(await admin.get(STATUS)))["run_id"] == first["run_id"]


async def test_of_many_discoveries_asked_for_at_once_one_is_accepted(
    admin: Ask, database: Database, store: str
) -> None:
    answers = await asyncio.gather(*(admin.post(CLUSTER) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    assert len(await rows(database, "SELECT 1 FROM segmentation_runs WHERE store_id = :s", s=store)) == 1


async def test_while_the_command_line_segments_a_discovery_is_refused(
    admin: Ask, database: Database, store: str
) -> None:
    async with database.session_lock(runs.lock_key(store)):
        async with database.transaction() as connection:
            run_id = await runs.start_run(connection, store, {})
        assert f"run {run_id}" in assert_problem(await admin.post(CLUSTER), 409)["detail"]
    await told(await admin.post(CLUSTER), 202)  # its process has ended, whatever its row says


async def test_while_everyone_is_rescored_a_discovery_waits_for_its_turn(
    admin: Ask, database: Database, store: str
) -> None:
    async with database.session_lock(runs.lock_key(store)):
        async with database.transaction() as connection:
            await runs.start_run(connection, store, {}, kind="rescoring")
        await told(await admin.post(CLUSTER), 202)


async def test_asked_again_under_the_same_key_a_discovery_is_answered_as_before(admin: Ask) -> None:
    headers = {"Idempotency-Key": "monday"}
    first, second = await asyncio.gather(*(admin.post(CLUSTER, json={"max_k": 3}, headers=headers) for _ in range(2)))
    assert await told(first, 202) == await told(second, 202)
    problem = assert_problem(await admin.post(CLUSTER, json={"max_k": 4}, headers=headers), 422)
    assert problem["errors"][0]["field"] == "Idempotency-Key"
    assert_problem(await admin.post(CLUSTER, headers={"Idempotency-Key": "tuesday"}), 409)
    assert_problem(await admin.post(CLUSTER, headers={"Idempotency-Key": "a key"}), 422)


async def test_the_same_key_in_another_store_is_another_key(
    admin: Ask, database: Database, settings: Settings, store_id: str
) -> None:
    other, headers = f"{store_id}-other", {"Idempotency-Key": "monday"}
    await put(database, other, a_shop(3))
    first = await told(await admin.post(CLUSTER, json={"max_k": 3}, headers=headers), 202)
    app = create_app(resources=resources_for(database, settings, other))
    async with app.router.lifespan_context(app), client(app, KEYS["admin"]) as asking:
        theirs = await told(await asking.post(CLUSTER, json={"max_k": 4}, headers=headers), 202)
    assert theirs["run_id"] != first["run_id"]
    assert await told(await admin.post(CLUSTER, json={"max_k": 3}, headers=headers), 202) == first


async def test_a_key_is_free_again_after_a_day(admin: Ask, database: Database, store: str) -> None:
    headers, older = {"Idempotency-Key": "monday"}, "UPDATE idempotent_requests SET asked_at = now() - interval '{}' "
    first = await told(await admin.post(CLUSTER, json={"max_k": 3}, headers=headers), 202)
    await ended(database, first["job_id"])
    await execute(database, older.format("23 hours 59 minutes") + "WHERE store_id = :s", s=store)
    assert await told(await admin.post(CLUSTER, json={"max_k": 3}, headers=headers), 202) == first
    await execute(database, older.format("24 hours 1 minute") + "WHERE store_id = :s", s=store)
    await execute(database, "UPDATE segmentation_runs SET status = 'published' WHERE store_id = :s", s=store)
    again = await told(await admin.post(CLUSTER, json={"max_k": 4}, headers=headers), 202)
    assert again["run_id"] != first["run_id"]


async def test_a_refused_discovery_leaves_its_key_free(admin: Ask, database: Database, store: str) -> None:
    headers = {"Idempotency-Key": "monday"}
    async with database.session_lock(runs.lock_key(store)):
        async with database.transaction() as connection:
            await runs.start_run(connection, store, {})
        assert_problem(await admin.post(CLUSTER, headers=headers), 409)
    await told(await admin.post(CLUSTER, headers=headers), 202)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"min_k": 1}, "min_k"),
        ({"max_k": 34}, "max_k"),
        ({"max_k": "3"}, "max_k"),
        ({"max_k": 3.5}, "max_k"),
        ({"max_k": True}, "max_k"),
        ({"sample_size": 99}, "sample_size"),
        ({"sample_size": 10**30}, "sample_size"),
        ({"min_k": 5, "max_k": 3}, "body"),
        ({"store_id": "other"}, "store_id"),
        ({"status": "published"}, "status"),
        ([], "body"),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_name(admin: Ask, body: Any, field: str) -> None:
    problem = assert_problem(await admin.post(CLUSTER, json=body), 422)
    assert field in {each["field"] for each in problem["errors"]}
    assert_problem(await admin.get(STATUS), 404)


async def test_a_whole_number_may_be_written_with_a_point(admin: Ask) -> None:
    """To JSON 3.0 is 3."""
    accepted = await told(await admin.post(CLUSTER, content=b'{"min_k": 2.0, "max_k": 30e-1}'), 202)
    job = await told(await admin.get(f"/api/admin/jobs/{accepted['job_id']}"))
    assert (job["parameters"]["min_k"], job["parameters"]["max_k"]) == (2, 3)


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"max_k": NaN}', b"[" * 100_000, b'{"max_k": ' + b"9" * 5_000 + b"}"]
)
async def test_a_body_that_is_no_json_is_refused(admin: Ask, body: bytes) -> None:
    assert_problem(await admin.post(CLUSTER, content=body, headers={"Content-Type": "application/json"}), 400, 422)


@pytest.mark.parametrize("says", ["application/x-www-form-urlencoded", "text/plain; charset=utf-8", None])
async def test_a_body_is_json_whatever_it_says_it_is(admin: Ask, says: str | None) -> None:
    """`curl -d` calls a form what it sends."""
    headers = {} if says is None else {"Content-Type": says}
    accepted = await told(await admin.post(CLUSTER, content=b'{"sample_size": 1000}', headers=headers), 202)
    job = await told(await admin.get(f"/api/admin/jobs/{accepted['job_id']}"))
    assert job["parameters"] == {"sample_size": 1000, "run_id": accepted["run_id"]}


async def test_a_body_of_another_size_is_not_read_to_its_end(admin: Ask) -> None:
    asked_for = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked_for
        for _ in range(1_000):
            asked_for += 1
            yield b" " * 65_536

    answer = await admin.post(CLUSTER, content=endless(), headers={"Content-Type": "application/json"})
    problem = assert_problem(answer, 413)
    assert "262,144 bytes" in problem["detail"]
    assert asked_for < 10


async def test_of_a_run_is_told_how_far_it_is_and_what_is_served_meanwhile(
    admin: Ask, database: Database, store: str
) -> None:
    served = await segmented(database, store, min_population=1)
    async with database.transaction() as connection:
        run_id = await runs.start_run(connection, store, {})
        await runs.note_progress(connection, run_id, "clustering", 0.5)
    async with database.session_lock(runs.lock_key(store)):
        status = RunStatus.model_validate(await told(await admin.get(STATUS)))
    assert (status.run_id, status.status, status.step) == (run_id, "running", "clustering")
    assert 0.2 < status.progress < 0.75
    assert status.seconds is not None
    assert status.served is not None and status.served.run_id == served.run_id
    published = RunStatus.model_validate(await told(await admin.get(STATUS, params={"run_id": served.run_id})))
    assert (published.status, published.progress, published.n_customers) == ("published", 1.0, 40)
    assert published.as_of == status.served.as_of
    died = RunStatus.model_validate(await told(await admin.get(STATUS)))
    assert (died.status, died.failure, died.seconds) == ("failed", runs.PROCESS_ENDED, None)
    async with database.transaction() as connection:
        await runs.fail_run(connection, run_id, "Why it failed.")
    failed = RunStatus.model_validate(await told(await admin.get(STATUS)))
    assert (failed.status, failed.failure, failed.step, failed.progress) == ("failed", "Why it failed.", None, 0.0)


async def test_a_run_whose_worker_died_waits_for_the_next_as_its_job_does(
    admin: Ask, database: Database, store: str
) -> None:
    run_id = (await told(await admin.post(CLUSTER), 202))["run_id"]
    async with database.transaction() as connection:
        await runs.start_run(connection, store, {}, run_id=run_id)
    waits = RunStatus.model_validate(await told(await admin.get(STATUS)))
    assert (waits.run_id, waits.status, waits.failure, waits.step) == (run_id, "queued", None, None)
    async with database.session_lock(runs.lock_key(store)):
        assert (await told(await admin.get(STATUS)))["status"] == "running"


async def test_a_failed_job_says_why_and_is_tried_again_when_asked(admin: Ask, database: Database) -> None:
    asked = await told(await admin.post(CLUSTER), 202)
    path = f"{JOBS}/{asked['job_id']}"
    assert assert_problem(await admin.post(f"{path}/replay"), 409)["type"] == "/problems/job-not-failed"
    await ended(database, asked["job_id"], failure="Too few customers.")
    job = await told(await admin.get(path))
    assert (job["status"], job["failure"]) == ("failed", "Too few customers.")
    assert job["finished_at"] is not None
    assert [each["job_id"] for each in (await told(await admin.get(JOBS, params={"status": "failed"})))["jobs"]] == [
        asked["job_id"]
    ]
    assert (await told(await admin.post(f"{path}/replay"), 202))["status"] == "waiting"
    await ended(database, asked["job_id"])
    job = await told(await admin.get(path))
    assert (job["status"], job["failure"]) == ("done", None)


async def test_jobs_are_listed_latest_first_page_by_page(admin: Ask, database: Database, store: str) -> None:
    job_ids = []
    for _ in range(5):
        async with database.transaction() as connection:
            job_id = await enqueue(connection, Job.rescore, store)
        assert job_id is not None
        await ended(database, job_id)
        job_ids.append(job_id)
    found: list[int] = []
    cursor = None
    while True:
        page = Jobs.model_validate(
            await told(await admin.get(JOBS, params={"limit": 2} | ({"cursor": cursor} if cursor else {})))
        )
        found += [each.job_id for each in page.jobs]
        if (cursor := page.next_cursor) is None:
            break
        assert_problem(await admin.get(JOBS, params={"cursor": cursor, "status": "done"}), 422)
    assert found == job_ids[::-1]


async def test_runs_and_jobs_of_another_store_are_not_there(
    admin: Ask, ask: Clients, database: Database, store: str
) -> None:
    asked = await told(await admin.post(CLUSTER), 202)
    run, job = {"run_id": asked["run_id"]}, f"{JOBS}/{asked['job_id']}"
    assert_problem(await ask.admin.get(STATUS, params=run), 404)
    assert_problem(await ask.admin.get(job), 404)
    assert_problem(await ask.admin.post(f"{job}/replay"), 404)
    assert asked["job_id"] not in {each["job_id"] for each in (await told(await ask.admin.get(JOBS)))["jobs"]}


async def test_where_there_is_nothing_that_is_said(database: Database, settings: Settings, store_id: str) -> None:
    app = create_app(resources=resources_for(database, settings, store_id))
    async with app.router.lifespan_context(app), client(app, KEYS["admin"]) as asking:
        assert_problem(await asking.post(CLUSTER), 404)
        assert_problem(await asking.get(STATUS), 404)
        assert_problem(await asking.get(f"{JOBS}/1"), 404)
        assert await told(await asking.get(JOBS)) == {"jobs": [], "next_cursor": None}
