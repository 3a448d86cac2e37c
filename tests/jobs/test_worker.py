"""The worker, as real processes: killed, stopped, doubled."""

import signal

from app.warehouse.engine import Database
from app.warehouse.jobs import JobState, enqueue_discovery, read_job
from tests.fakes import a_shop, put, segmented, value
from tests.jobs.processes import children_of, is_alive, until, working


async def discovery_asked_of(database: Database, store_id: str) -> tuple[int, int]:
    async with database.transaction() as connection:
        asked = await enqueue_discovery(connection, store_id)
    assert asked is not None
    return asked


async def status(database: Database, run_id: int) -> str:
    return str(await value(database, "SELECT status FROM segmentation_runs WHERE run_id = :run", run=run_id))


async def served(database: Database, store_id: str) -> int | None:
    found: int | None = await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id)
    return found


async def test_a_discovery_whose_worker_is_killed_goes_on_with_another(
    database: Database, empty_database_url: str, store_id: str
) -> None:
    await put(database, store_id, a_shop(150))
    before = (await segmented(database, store_id)).run_id
    run_id, job_id = await discovery_asked_of(database, store_id)

    async def begun() -> bool:
        return await status(database, run_id) == "running"

    async def done() -> bool:
        return (await read_job(database, store_id, job_id))["state"] == JobState.done

    with working(empty_database_url) as doomed:
        await until(begun)
        (child,) = children_of(doomed.pid)
        doomed.kill()
        doomed.wait()
    assert await served(database, store_id) == before
    with working(empty_database_url) as heir:
        await until(done)
        assert not is_alive(child)
        heir.send_signal(signal.SIGTERM)
        assert heir.wait(timeout=30) == 0
    assert await status(database, run_id) == "published"
    assert await served(database, store_id) == run_id
    assert await value(database, "SELECT count(*) FROM segmentation_runs WHERE store_id = :s", s=store_id) == 2
