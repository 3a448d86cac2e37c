"""What a job leads to: which others are asked for, what is done beside, and what of its failures is mended."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from app.core.config import Settings
from app.core.errors import NotEnoughCustomers, NotEnoughHistory, OutdatedRun
from app.jobs import handlers
from app.jobs.apart import Apart
from app.jobs.failures import WorkFailed
from app.jobs.handlers import HANDLERS, Means
from app.warehouse.changes import how_many
from app.warehouse.engine import Database
from app.warehouse.jobs import Asked, Job, read_jobs
from tests.conftest import own_tables
from tests.fakes import a_shop, bought, put, segmented

_NO_JOB = 0


class FakeApart(Apart):
    """The process beside, which answers or fails as it is told to."""

    def __init__(self, answer: Mapping[str, Any] | WorkFailed) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def run(self, work: str, store_id: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(work)
        if isinstance(self.answer, WorkFailed):
            raise self.answer
        return self.answer


@pytest.fixture(scope="module")
async def database(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    async with own_tables(server_url, settings) as database:
        yield database


@pytest.fixture
async def store(database: Database, store_id: str) -> str:
    """One that serves a run."""
    await put(database, store_id, a_shop(20))
    await segmented(database, store_id, axes=("purchase_value",), min_population=1)
    return store_id


async def jobs(database: Database, store_id: str) -> list[str]:
    return sorted(row["job"] for row in await read_jobs(database, store_id, state=None, before=None, limit=9))


def outdated(*, kind: str = OutdatedRun.__name__) -> WorkFailed:
    return WorkFailed("The run is of an older version.", kind=kind, passes=False)


@pytest.mark.parametrize(("psi", "follow"), [(0.25, ["thin"]), (0.251, ["discover", "thin"])])
async def test_after_a_placing_segments_are_found_anew_where_they_have_shifted_too_far(
    database: Database, settings: Settings, store: str, psi: float, follow: list[str]
) -> None:
    mine = settings.model_copy(update={"drift_threshold": 0.25, "slack_webhook_url": None})
    apart = FakeApart({"drift": {"purchase_value": 0.1, "purchase_frequency": psi}})
    await HANDLERS[Job.rescore](Means(database, mine, apart), _NO_JOB, Asked(store, {}))
    assert apart.asked == ["rescore"]
    assert await jobs(database, store) == follow


async def test_after_a_placing_there_are_alerts_where_somebody_listens(
    database: Database, settings: Settings, store: str
) -> None:
    mine = settings.model_copy(update={"slack_webhook_url": SecretStr("http://127.0.0.1:1/")})
    await HANDLERS[Job.rescore](Means(database, mine, FakeApart({"drift": {}})), _NO_JOB, Asked(store, {}))
    assert await jobs(database, store) == ["alert", "thin"]


@pytest.mark.parametrize("job", [Job.rescore, Job.score])
async def test_rules_of_an_older_version_are_found_anew(
    database: Database, settings: Settings, store: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_MANY", -1)  # apart, whoever has changed
    await HANDLERS[job](Means(database, settings, FakeApart(outdated())), _NO_JOB, Asked(store, {}))
    assert await jobs(database, store) == ["discover"]


@pytest.mark.parametrize("job", [Job.rescore, Job.score])
async def test_any_other_failure_is_the_jobs_own(
    database: Database, settings: Settings, store: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_MANY", -1)
    failure = outdated(kind=NotEnoughCustomers.__name__)
    with pytest.raises(WorkFailed) as raised:
        await HANDLERS[job](Means(database, settings, FakeApart(failure)), _NO_JOB, Asked(store, {}))
    assert raised.value is failure
    assert await jobs(database, store) == []


@pytest.mark.parametrize(("many", "beside"), [(2, []), (1, ["score"])])
async def test_many_who_have_changed_are_scored_in_a_process_beside(
    database: Database,
    settings: Settings,
    store: str,
    many: int,
    beside: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handlers, "_MANY", many)
    for customer in ("c001", "c002"):
        await put(database, store, bought(customer, f"{customer}-more", "2024-05-02", ("tea", "3", "40")))
    apart = FakeApart({"n_customers": 2})
    await HANDLERS[Job.score](Means(database, settings, apart), _NO_JOB, Asked(store, {}))
    assert apart.asked == beside
    async with database.snapshot() as connection:
        assert await how_many(connection, store, most=9) == (2 if beside else 0)


@pytest.mark.parametrize(("crossed", "listening", "follow"), [(2, True, ["tell_risk"]), (2, False, []), (0, True, [])])
async def test_after_predictions_who_has_become_critical_is_told_where_somebody_listens(
    database: Database, settings: Settings, store: str, crossed: int, listening: bool, follow: list[str]
) -> None:
    url = SecretStr("http://127.0.0.1:1/") if listening else None
    mine = settings.model_copy(update={"slack_webhook_url": url})
    apart = FakeApart({"prediction_id": 1, "crossed": crossed})
    await HANDLERS[Job.predict](Means(database, mine, apart), _NO_JOB, Asked(store, {}))
    assert apart.asked == ["predict"]
    assert await jobs(database, store) == follow


async def test_a_shop_too_young_to_predict_is_left_until_its_next_turn(
    database: Database, settings: Settings, store: str
) -> None:
    young = WorkFailed("Not enough history.", kind=NotEnoughHistory.__name__, passes=False)
    await HANDLERS[Job.predict](Means(database, settings, FakeApart(young)), _NO_JOB, Asked(store, {}))
    other = WorkFailed("The disk is full.", kind="DiskFull", passes=False)
    with pytest.raises(WorkFailed):
        await HANDLERS[Job.predict](Means(database, settings, FakeApart(other)), _NO_JOB, Asked(store, {}))
