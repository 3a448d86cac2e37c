"""What Prometheus is told: only where that is wanted, by templates, and of how things stand."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from math import inf

import pytest
from fastapi import FastAPI

from app.api.health import metering
from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.main import create_app
from app.warehouse.engine import Database
from app.warehouse.vital_signs import StoreSigns, VitalSigns
from tests.api.conftest import KEYS, Ask, Clients, client, resources_for


@pytest.fixture
async def metered(database: Database, settings: Settings, shop: str) -> AsyncIterator[FastAPI]:
    shown = settings.model_copy(update={"enable_prometheus_metrics": True})
    app = create_app(resources=resources_for(database, shown, shop))
    async with app.router.lifespan_context(app):
        yield app


def samples(text: str) -> dict[str, float]:
    """{name and labels: value}"""
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    }


async def read(asking: Ask) -> dict[str, float]:
    answer = await asking.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.text)


async def test_metrics_are_not_there_unless_they_are_wanted(ask: Clients) -> None:
    for asking in (ask.nobody, ask.admin):
        answer = await asking.get("/metrics")
        assert answer.status_code == 404
        assert "ENABLE_PROMETHEUS_METRICS" in answer.json()["detail"]


async def test_a_request_is_counted_by_its_template_and_status(metered: FastAPI) -> None:
    counted = 'ci_http_request_duration_seconds_count{method="GET",route="/api/mcp/customer/{customer_id}",status="%d"}'
    async with client(metered, KEYS["support"]) as asking:
        before = await read(asking)
        for _ in range(3):
            await asking.get("/api/mcp/customer/C0000001")
        await asking.get("/api/mcp/customer/C0000002?exclude=churn")
        await asking.get("/api/mcp/customer/nobody-at-all")
        after = await read(asking)
    assert after[counted % 200] - before.get(counted % 200, 0) == 4
    assert after[counted % 404] - before.get(counted % 404, 0) == 1
    assert "nobody-at-all" not in str(after)
    assert after["ci_http_requests_in_flight"] == 1  # the one that asks


async def test_refusals_are_counted_by_their_reason(metered: FastAPI) -> None:
    async with client(metered) as nobody, client(metered, KEYS["analytics"]) as analyst:
        before = await read(nobody)
        await nobody.get("/api/models")
        await analyst.get("/api/admin/jobs")
        after = await read(nobody)
    for reason in ("no_key", "no_scope"):
        name = f'ci_http_refused_total{{reason="{reason}"}}'
        assert after[name] - before.get(name, 0) == 1


async def test_how_things_stand_is_told(metered: FastAPI, shop: str) -> None:
    async with client(metered) as asking:
        told = await read(asking)
    assert told["ci_database_up"] == 1
    for state in ("waiting", "running", "failed"):
        assert told[f'ci_jobs{{state="{state}"}}'] >= 0
    of_shop = {name: value for name, value in told.items() if f'store="{shop}"' in name}
    for name in ("run_age_seconds", "predictions_age_seconds", "records_age_seconds"):
        assert of_shop[f'ci_{name}{{store="{shop}"}}'] > 0
    assert of_shop[f'ci_unscored_customers{{store="{shop}"}}'] == 0
    pools = {name for name in told if name.startswith("ci_database_connections{")}
    assert len(pools) == 4


@pytest.mark.parametrize("ever", [True, False])
async def test_that_no_worker_ever_looked_is_told_apart_from_one_that_just_did(
    metered: FastAPI, monkeypatch: pytest.MonkeyPatch, ever: bool
) -> None:
    async def signs(_database: Database) -> VitalSigns:
        return VitalSigns({}, oldest=0.0, silent=0.0 if ever else None, stores=[])

    monkeypatch.setattr(metering, "read_vital_signs", signs)
    async with client(metered) as asking:
        assert (await read(asking))["ci_worker_silent_seconds"] == (0 if ever else inf)


NOTHING = VitalSigns({}, oldest=0.0, silent=None, stores=[])
OF_STORES = {
    store_id: StoreSigns(store_id, 1.0, 2.0, 3.0, unscored=4.0, segment_drift=5.0, churn_drift=6.0, forecast_drift=7.0)
    for store_id in ("here", "gone")
}


async def test_how_things_stand_is_read_by_one_who_asks_and_the_others_do_not_wait(
    metered: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when that takes longer than it holds for."""
    begun, end = 0, asyncio.Event()

    async def slowly(_database: Database) -> VitalSigns:
        nonlocal begun
        begun += 1
        await end.wait()
        return NOTHING

    monkeypatch.setattr(metering, "read_vital_signs", slowly)
    monkeypatch.setattr(metering, "_FRESH_SECONDS", 0.0)
    async with client(metered) as asking:
        first = asyncio.create_task(read(asking))
        async with asyncio.timeout(20):
            while not begun:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            for told in await asyncio.gather(*(read(asking) for _ in range(10))):
                assert told["ci_database_up"] == 1
            assert not first.done()
            end.set()
            await first
    assert begun == 1


async def test_signs_that_cannot_be_read_are_no_outage_and_not_read_again_by_everyone_who_asks(
    metered: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def in_vain(_database: Database) -> VitalSigns:
        nonlocal tried
        tried += 1
        raise DatabaseUnavailable("The database did not answer in time.")

    monkeypatch.setattr(metering, "read_vital_signs", in_vain)
    async with client(metered) as asking:
        for _ in range(5):
            assert (await read(asking))["ci_database_up"] == 1
    assert tried == 1


async def test_a_database_that_is_away_is_told_and_looked_at_as_soon_as_it_is_back(
    metered: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise DatabaseUnavailable("The database is stopped.")

    async with client(metered) as asking:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "row", away)
            assert (await read(asking))["ci_database_up"] == 0
        assert (await read(asking))["ci_database_up"] == 1
        assert (await read(asking))["ci_worker_silent_seconds"] >= 0


@pytest.mark.parametrize("after", ["a sign less", "a store less"])
async def test_what_cannot_be_told_any_more_is_absent(
    metered: FastAPI, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    signs = replace(NOTHING, stores=[*OF_STORES.values()])

    async def told(_database: Database) -> VitalSigns:
        return signs

    monkeypatch.setattr(metering, "read_vital_signs", told)
    monkeypatch.setattr(metering, "_FRESH_SECONDS", -1.0)
    async with client(metered) as asking:
        before = await read(asking)
        assert before['ci_churn_drift{store="gone"}'] == 6
        if after == "a sign less":
            signs = replace(NOTHING, stores=[OF_STORES["here"], replace(OF_STORES["gone"], churn_drift=None)])
            lost = {'ci_churn_drift{store="gone"}'}
        else:
            signs = replace(NOTHING, stores=[OF_STORES["here"]])
            lost = {name for name in before if 'store="gone"' in name}
            assert len(lost) == 7
        now = await read(asking)
        assert {name for name in before if 'store="' in name} - set(now) == lost
        assert "NaN" not in (await asking.get("/metrics")).text
        signs = replace(NOTHING, stores=[*OF_STORES.values()])
        assert lost <= set(await read(asking))


async def test_every_metric_is_ours_and_explained(metered: FastAPI) -> None:
    async with client(metered) as asking:
        text = (await asking.get("/metrics")).text
    helped = set(re.findall(r"^# HELP (\S+) \S", text, flags=re.MULTILINE))
    typed = set(re.findall(r"^# TYPE (\S+) ", text, flags=re.MULTILINE))
    assert helped == typed
    ours = {name for name in helped if name.startswith("ci_")}
    assert len(ours) >= 20
    assert {name.split("_")[0] for name in helped - ours} <= {"python", "process"}
