"""A run from its first row to its last: who may run, how far it is, how it ended."""

import asyncio
from typing import Any

import pytest

from app.core.errors import DatabaseUnavailable, InvalidInput, RunEnded, RunInProgress, RunOvertaken
from app.core.progress import unheard
from app.pipeline import running as module
from app.pipeline.running import running
from app.warehouse import runs
from app.warehouse.engine import Database
from tests.fakes import NOW, a_shop, execute, put, rows, value


@pytest.fixture
async def store(database: Database, store_id: str) -> str:
    await put(database, store_id, a_shop(1))
    return store_id


async def progress_of(database: Database, run_id: int) -> Any:
    return await value(database, "SELECT progress FROM segmentation_runs WHERE run_id = :r", r=run_id)


async def ended(database: Database, store: str) -> list[tuple[Any, ...]]:
    query = "SELECT kind, status, failure FROM segmentation_runs WHERE store_id = :s ORDER BY run_id"
    return await rows(database, query, s=store)


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """What is written down of progress, looked at every hundredth of a second instead of every second."""
    assert module._NOTE_SECONDS == 1.0
    monkeypatch.setattr(module, "_NOTE_SECONDS", 0.01)
    whole, written = runs.note_progress, []

    async def note(connection: Any, run_id: int, step: str, done: float) -> None:
        await whole(connection, run_id, step, done)
        written.append((step, done))

    monkeypatch.setattr(runs, "note_progress", note)
    return written


async def until(written: list[tuple[str, float]], last: tuple[str, float]) -> None:
    for _ in range(2_000):
        if last in written:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{last} was not written down")


async def test_of_much_progress_the_latest_is_written_down_once(
    database: Database, store: str, noting: list[tuple[str, float]]
) -> None:
    heard: list[tuple[str, float]] = []
    async with running(
        database, store, kind="rescoring", parameters={}, progress=lambda step, done: heard.append((step, done))
    ) as run:
        assert await progress_of(database, run.run_id) is None
        for number in range(500):
            run.progress("reading", number / 500)
        await until(noting, ("reading", 499 / 500))
        assert noting == [("reading", 499 / 500)]
        assert len(heard) == 500
        await asyncio.to_thread(run.progress, "scoring", 0.12345)
        await until(noting, ("scoring", 0.12345))
        await asyncio.sleep(0.1)  # nothing new is said, and nothing is written
        assert len(noting) == 2
    assert await progress_of(database, run.run_id) == {"step": "scoring", "done": 0.123}


@pytest.mark.parametrize("error", [DatabaseUnavailable("The database went away."), RuntimeError("deadlock")])
async def test_progress_that_cannot_be_written_down_does_not_end_the_run(
    database: Database, store: str, monkeypatch: pytest.MonkeyPatch, noting: list[tuple[str, float]], error: Exception
) -> None:
    whole = runs.note_progress

    async def away(*_: Any) -> None:
        monkeypatch.setattr(runs, "note_progress", whole)
        raise error

    monkeypatch.setattr(runs, "note_progress", away)
    async with running(database, store, kind="discovery", parameters={}, progress=unheard) as run:
        run.progress("reading", 0.5)
        await until(noting, ("reading", 0.5))
    assert await progress_of(database, run.run_id) == {"step": "reading", "done": 0.5}


async def test_a_run_that_has_ended_is_at_no_step_any_more(database: Database, store: str) -> None:
    async with database.transaction() as connection:
        run_id = await runs.start_run(connection, store, {})
        await runs.fail_run(connection, run_id, "given up")
        await runs.note_progress(connection, run_id, "reading", 0.5)
    assert await progress_of(database, run_id) is None


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (InvalidInput("Take a later day."), "Take a later day."),
        (ValueError("odd"), "Something of ours went wrong: ValueError."),
    ],
)
async def test_what_a_run_failed_of_is_written_down_and_the_way_is_free(
    database: Database, store: str, error: Exception, failure: str
) -> None:
    with pytest.raises(type(error)):
        async with running(database, store, kind="rescoring", parameters={"as_of": None}, progress=unheard):
            raise error
    assert await ended(database, store) == [("rescoring", "failed", failure)]
    async with running(database, store, kind="discovery", parameters={}, progress=unheard):
        assert (await ended(database, store))[-1] == ("discovery", "running", None)


async def test_a_store_has_one_run_at_a_time_and_who_comes_second_is_told_which(
    database: Database, store: str, store_id: str
) -> None:
    async with running(database, store, kind="rescoring", parameters={}, progress=unheard) as run:
        with pytest.raises(RunInProgress) as refused:
            async with running(database, store, kind="discovery", parameters={}, progress=unheard):
                pytest.fail("two runs of one store")
        assert refused.value.run_id == run.run_id
        other = f"{store_id}-other"
        await put(database, other, a_shop(1))
        async with running(database, other, kind="discovery", parameters={}, progress=unheard):
            pass
    assert len(await ended(database, store)) == 1


async def test_a_queued_run_is_begun_once(database: Database, store: str) -> None:
    async with database.transaction() as connection:
        queued = await runs.queue_run(connection, store, {})
    async with running(
        database, store, kind="discovery", parameters={"axes": None}, run_id=queued, progress=unheard
    ) as run:
        assert run.run_id == queued
        assert await ended(database, store) == [("discovery", "running", None)]
        async with database.transaction() as connection:
            await runs.finish_run(connection, queued, as_of=NOW, report={}, yardstick={})
    with pytest.raises(RunEnded):
        async with running(database, store, kind="discovery", parameters={}, run_id=queued, progress=unheard):
            pytest.fail("a run that was published is run again")
    assert await ended(database, store) == [("discovery", "published", None)]


async def test_a_queued_run_is_not_begun_once_a_later_discovery_is_served(database: Database, store: str) -> None:
    async with database.transaction() as connection:
        queued, done = await runs.queue_run(connection, store, {}), await runs.queue_run(connection, store, {})
    served = []
    for run_id in (done, None):
        async with (
            running(database, store, kind="discovery", parameters={}, run_id=run_id, progress=unheard) as run,
            database.transaction() as connection,
        ):
            await runs.finish_run(connection, run.run_id, as_of=NOW, report={}, yardstick={})
        await execute(database, "UPDATE stores SET served_run_id = :run WHERE store_id = :s", run=run.run_id, s=store)
        served.append(run.run_id)
    with pytest.raises(RunOvertaken, match=f"before run {served[-1]}"):
        async with running(database, store, kind="discovery", parameters={}, run_id=queued, progress=unheard):
            pytest.fail("a discovery that goes on from a later one")
    assert [status for _, status, _ in await ended(database, store)] == ["queued", "published", "published"]
    with pytest.raises(RunEnded):
        async with running(database, store, kind="discovery", parameters={}, run_id=done, progress=unheard):
            pytest.fail("a run that was published is run again")


async def test_a_run_whose_process_ended_is_marked_by_the_next(database: Database, store: str) -> None:
    async with database.transaction() as connection:
        await runs.start_run(connection, store, {}, kind="rescoring")
    async with running(database, store, kind="discovery", parameters={}, progress=unheard):
        (kind, status, failure), _ = await ended(database, store)
    assert (kind, status) == ("rescoring", "failed") and "ended before" in failure
