"""The queue: asked for with the work that calls for it, or not at all."""

import asyncio
import json

import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.errors import JobNotFailed, JobNotFound
from app.warehouse.engine import Database
from app.warehouse.jobs import (
    QUEUE,
    Asked,
    Job,
    JobState,
    count_jobs,
    discovery_asked,
    enqueue,
    enqueue_discovery,
    forget_old,
    forget_repeated,
    let_others_ask,
    open_queue,
    read_job,
    read_jobs,
    replay,
    told,
)
from app.warehouse.migrate import downgrade, migrate
from app.warehouse.runs import fail_run, finish_run, start_run
from tests.conftest import own_database
from tests.fakes import NOW, bought, execute, put, rows, value


@pytest.fixture
async def store(database: Database, store_id: str) -> str:
    """A store with one order."""
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
    return store_id


async def asked(database: Database, store_id: str, job: Job = Job.discover, **parameters: object) -> int | None:
    async with database.transaction() as connection:
        return await enqueue(connection, job, store_id, parameters=parameters)


async def states(database: Database, store_id: str) -> list[str]:
    return [row["state"] for row in await read_jobs(database, store_id, state=None, before=None, limit=100)]


async def stand(database: Database, job_id: int, status: str) -> None:
    """Put a job where a worker would."""
    await execute(
        database, "UPDATE queue SET status = CAST(:status AS queue_status) WHERE id = :id", status=status, id=job_id
    )


async def test_the_migration_makes_what_the_installed_package_would(server_url: str, settings: Settings) -> None:
    async with own_database(server_url) as url:
        database = Database(url, settings)
        await migrate(database)
        async with open_queue(database, patience_seconds=10) as (queries, _):
            planned = await queries.plan_upgrade()
        assert list(planned.statements) == []
        assert list(planned.notes) == []
        await database.close()


async def test_going_back_leaves_nothing_of_the_queue(server_url: str, settings: Settings) -> None:
    async with own_database(server_url) as url:
        database = Database(url, settings)
        await migrate(database)
        await downgrade(database, "0007")
        assert await rows(database, "SELECT proname FROM pg_proc WHERE proname LIKE 'queue%'") == []
        assert await rows(database, "SELECT typname FROM pg_type WHERE typname LIKE '%queue%'") == []
        await database.close()


async def test_names_of_the_environment_change_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUEUE_TABLE", "PGQUEUER_QUEUE_TABLE", "PGQUEUER_PREFIX", "PGQUEUER_SCHEMA", "CHANNEL"):
        monkeypatch.setenv(name, "elsewhere")
    assert type(QUEUE)(**QUEUE.model_dump()) == QUEUE


async def test_what_is_asked_for_is_there_once_its_transaction_is_committed(database: Database, store: str) -> None:
    async with database.transaction() as connection:
        # The first statement of the transaction: nothing of ours has begun it.
        job_id = await enqueue(connection, Job.discover, store, parameters={"max_k": 3})
        assert await states(database, store) == []
    assert job_id is not None
    job = await read_job(database, store, job_id)
    assert (job["job"], job["state"], job["retries"], job["failure"]) == ("discover", "waiting", 0, None)


async def test_what_is_asked_for_in_work_that_fails_was_never_asked_for(database: Database, store: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as connection:
            assert await enqueue(connection, Job.discover, store) is not None
            raise ZeroDivisionError
    async with database.transaction(keep=False) as connection:
        assert await enqueue(connection, Job.discover, store) is not None
    assert await states(database, store) == []
    assert (
        await value(
            database,
            "SELECT count(*) FROM queue_log WHERE entrypoint = 'discover' AND job_id NOT IN (SELECT job_id FROM jobs)",
        )
        == 0
    )


async def test_the_like_of_a_job_that_waits_is_not_asked_for_again_and_the_transaction_lives(
    database: Database, store: str
) -> None:
    assert await asked(database, store) is not None
    async with database.transaction() as connection:
        assert await enqueue(connection, Job.discover, store) is None
        await put(database, f"{store}-2", bought("bob", "o1", "2024-03-01", ("tea", "1", "3.50")))
        assert await enqueue(connection, Job.discover, f"{store}-2") is not None
    assert await states(database, store) == await states(database, f"{store}-2") == ["waiting"]


async def test_a_job_that_waits_cannot_begin_before_those_who_count_on_it_have_written(
    database: Database, store: str
) -> None:
    """Else it could run, miss what they write, and be gone."""
    job_id = await asked(database, store)
    begins = "SELECT id FROM queue WHERE id = :id FOR UPDATE SKIP LOCKED"
    async with database.transaction() as connection:
        assert await enqueue(connection, Job.discover, store) is None
        assert await rows_written(database, begins, id=job_id) == []
    assert await rows_written(database, begins, id=job_id) == [(job_id,)]


async def rows_written(database: Database, query: str, **values: object) -> list[tuple[object, ...]]:
    """The rows of a statement that locks them, which a snapshot may not."""
    async with database.transaction() as connection:
        return [tuple(row) for row in await connection.execute(text(query), values)]


async def test_while_a_job_runs_the_like_of_it_may_be_asked_for_once_it_says_so(database: Database, store: str) -> None:
    job_id = await asked(database, store)
    assert job_id is not None
    await stand(database, job_id, "picked")
    assert await asked(database, store) is None
    await let_others_ask(database, job_id)
    assert await asked(database, store) is not None
    assert sorted(await states(database, store)) == ["running", "waiting"]


async def test_asked_for_by_many_at_once_it_waits_once(database: Database, store: str) -> None:
    found = await asyncio.gather(*(asked(database, store) for _ in range(8)))
    assert sum(job_id is not None for job_id in found) == 1


async def test_a_discovery_brings_its_run_and_a_second_one_leaves_none(database: Database, store: str) -> None:
    async with database.transaction() as connection:
        first = await enqueue_discovery(connection, store, {"max_k": 4})
    async with database.transaction() as connection:
        assert await enqueue_discovery(connection, store) is None
        assert first is not None and await discovery_asked(connection, store) == first[0]
    runs = await rows(database, "SELECT run_id, status, parameters FROM segmentation_runs WHERE store_id = :s", s=store)
    assert runs == [(first[0], "queued", {"max_k": 4})]


async def test_only_what_has_failed_is_tried_again(database: Database, store: str) -> None:
    job_id = await asked(database, store)
    assert job_id is not None
    async with database.transaction() as connection:
        with pytest.raises(JobNotFailed):
            await replay(connection, store, job_id)
        with pytest.raises(JobNotFound):
            await replay(connection, "another store", job_id)
    await stand(database, job_id, "failed")
    assert (await count_jobs(database, store))[JobState.failed] == 1
    async with database.transaction() as connection:
        await replay(connection, store, job_id)
    assert await states(database, store) == ["waiting"]


async def test_a_failed_job_waits_for_the_like_of_it_that_was_asked_for_since(database: Database, store: str) -> None:
    failed = await asked(database, store)
    assert failed is not None
    await stand(database, failed, "failed")
    assert await asked(database, store) is not None
    with pytest.raises(JobNotFailed, match="Another job like"):
        async with database.transaction() as connection:
            await replay(connection, store, failed)
    assert await states(database, store) == ["waiting", "failed"]


async def serve_a_run(database: Database, store_id: str, report: dict[str, object]) -> int:
    async with database.transaction() as connection:
        run_id = await start_run(connection, store_id, {})
        await finish_run(connection, run_id, as_of=NOW, report=report, yardstick={})
    await execute(database, "UPDATE stores SET served_run_id = :run WHERE store_id = :s", run=run_id, s=store_id)
    return run_id


async def failed_discovery(database: Database, store_id: str) -> tuple[int, int]:
    async with database.transaction() as connection:
        asked = await enqueue_discovery(connection, store_id, {"max_k": 4})
        assert asked is not None
        await fail_run(connection, asked[0], "Too few customers.")
    await stand(database, asked[1], "failed")
    return asked


async def test_a_discovery_that_a_later_one_was_served_after_is_tried_again_as_a_new_run(
    database: Database, store: str
) -> None:
    """Its own run would go on from one that came after it."""
    run_id, job_id = await failed_discovery(database, store)
    later = await serve_a_run(database, store, {})
    async with database.transaction() as connection:
        await replay(connection, store, job_id)
    known = await rows(
        database, "SELECT run_id, status, parameters FROM segmentation_runs WHERE store_id = :s ORDER BY 1", s=store
    )
    new = known[-1][0]
    assert known[0] == (run_id, "failed", {"max_k": 4})
    assert known[-1] == (new, "queued", {"max_k": 4}) and new > later
    job = await read_job(database, store, job_id)
    assert (job["state"], json.loads(job["parameters"])) == ("waiting", {"max_k": 4, "run_id": new})
    payload = await value(database, "SELECT payload FROM queue WHERE id = :id", id=job_id)
    assert told(payload) == Asked(store, {"max_k": 4, "run_id": new})


async def test_a_discovery_that_a_rescoring_was_served_after_is_tried_again_as_itself(
    database: Database, store: str
) -> None:
    rules = await serve_a_run(database, store, {})
    run_id, job_id = await failed_discovery(database, store)
    await serve_a_run(database, store, {"rules_run_id": rules})
    async with database.transaction() as connection:
        await replay(connection, store, job_id)
    assert await value(database, "SELECT status FROM segmentation_runs WHERE run_id = :r", r=run_id) == "queued"
    assert json.loads((await read_job(database, store, job_id))["parameters"])["run_id"] == run_id


async def test_jobs_done_weeks_ago_are_forgotten_and_those_that_wait_are_not(database: Database, store: str) -> None:
    old = await asked(database, store)
    await execute(database, "DELETE FROM queue WHERE id = :id", id=old)
    waiting = await asked(database, store)
    await execute(database, "UPDATE jobs SET asked_at = now() - interval '31 days' WHERE store_id = :s", s=store)
    await execute(database, "UPDATE queue_log SET created = now() - interval '31 days' WHERE job_id = :id", id=old)
    async with database.transaction() as connection:
        await forget_old(connection)
    assert [row["job_id"] for row in await read_jobs(database, store, state=None, before=None, limit=9)] == [waiting]
    assert await value(database, "SELECT count(*) FROM queue_log WHERE job_id = :id", id=old) == 0


@pytest.mark.parametrize("end", ["failed", "done"])
@pytest.mark.parametrize("job", [Job.rescore, Job.discover])
async def test_of_what_fails_night_after_night_the_latest_is_held(
    database: Database, store: str, job: Job, end: str
) -> None:
    nights = []
    for _ in range(3):
        if job is Job.discover:  # each is to begin a run of its own
            async with database.transaction() as connection:
                _, job_id = await enqueue_discovery(connection, store) or (None, None)
        else:
            job_id = await asked(database, store, job)
        assert job_id is not None
        await stand(database, job_id, "failed")
        nights.append(job_id)
    if end == "done":
        await execute(database, "DELETE FROM queue WHERE id = :id", id=nights[-1])
    async with database.transaction() as connection:
        await forget_repeated(connection)
    known = await read_jobs(database, store, state=None, before=None, limit=9)
    assert [(row["job_id"], row["state"]) for row in known] == [(nights[-1], end)]


async def test_a_failed_job_stays_until_one_that_asks_for_the_same_has_ended(database: Database, store: str) -> None:
    discovery = (await failed_discovery(database, store))[1]
    await execute(database, "DELETE FROM queue WHERE id = :id", id=(await failed_discovery(database, store))[1])
    async with database.transaction() as connection:
        _, plain = await enqueue_discovery(connection, store) or (0, 0)
    await stand(database, plain, "failed")
    another = (await failed_discovery(database, store))[1]
    rescoring = await asked(database, store, Job.rescore)
    assert rescoring is not None
    await stand(database, rescoring, "failed")
    assert await asked(database, store, Job.rescore) is not None
    thinning = await asked(database, store, Job.thin)
    assert thinning is not None
    await stand(database, thinning, "failed")
    await put(database, f"{store}-2", bought("bob", "o1", "2024-03-01", ("tea", "1", "3.50")))
    other = await asked(database, f"{store}-2", Job.thin)
    assert other is not None
    await stand(database, other, "failed")
    async with database.transaction() as connection:
        await forget_repeated(connection)
    held = await read_jobs(database, store, state=JobState.failed, before=None, limit=9)
    assert [row["job_id"] for row in held] == [thinning, rescoring, another, plain, discovery]
