"""The service starts without its database, and ends while it is asked."""

import asyncio
import re
import time
from pathlib import Path

import asyncpg
import httpx
import pytest

from app.cli import serve
from app.core.config import Settings
from app.core.keys import BootstrapKeys
from app.resources import Resources
from tests.cli.test_serve import ROOT
from tests.faults.postgres import PrivatePostgres
from tests.faults.service import assert_unavailable, serving, until

PROFILE = "/api/mcp/customer/C0000001"
REFRESH = f"{PROFILE}/refresh"


async def test_it_starts_without_its_database_and_uses_it_once_it_is_there(
    server: PrivatePostgres, tmp_path: Path
) -> None:
    server.stop()
    async with serving(tmp_path, DATABASE_URL=server.url, LOG_LEVEL="INFO") as service:
        for path in ("/health", "/health/ready", PROFILE):
            assert_unavailable(await service.asking.get(path))
        server.start()
        await service.until("/health/ready", 200)
        assert (await service.asking.get(PROFILE)).status_code == 200

        async def works() -> bool:
            return "worker.ready" in service.logged()

        await until(works)
        assert await service.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_told_to_stop_it_answers_who_has_asked_and_nobody_else(
    server: PrivatePostgres, beside: asyncpg.Connection, tmp_path: Path, workers: str
) -> None:
    # Told by what Python does first: by itself it would give up the lock in the middle of this, on a slow machine.
    (tmp_path / "sitecustomize.py").write_text("from app.warehouse import engine\n\nengine.PATIENCE_SECONDS = 600\n")
    settings = {"DATABASE_URL": server.url, "WORKERS": workers, "ENABLE_PROMETHEUS_METRICS": "true"}
    settings["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    async with serving(tmp_path, answers="/health/ready", **settings) as service:
        await service.asking.post(REFRESH)
        await beside.execute("BEGIN; LOCK TABLE fact_customer_standing")
        asking = [asyncio.create_task(service.asking.post(REFRESH)) for _ in range(5)]
        asking += [asyncio.create_task(service.asking.get(PROFILE)) for _ in range(5)]

        async def all_wait() -> bool:  # reads share their statements: what the database sees of them are fewer
            told = (await service.asking.get("/metrics")).text
            in_flight = re.search(r"^ci_http_requests_in_flight (\S+)$", told, re.MULTILINE)
            return in_flight is not None and float(in_flight[1]) == len(asking) + 1

        await until(all_wait)
        began = time.monotonic()
        stopping = asyncio.create_task(service.stop())

        async def refuses() -> bool:
            try:
                _, writer = await asyncio.open_connection(service.asking.base_url.host, service.asking.base_url.port)
            except ConnectionError as error:
                return isinstance(error, ConnectionRefusedError)
            writer.close()  # one who was let in just before is left without an answer
            return False

        await until(refuses)
        assert not any(each.done() for each in asking)
        await beside.execute("COMMIT")
        assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
        assert await stopping == 0
        assert time.monotonic() - began < 20
        with pytest.raises(httpx.ConnectError):
            await service.asking.get("/health/live")


async def test_a_database_that_takes_long_to_come_into_shape_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def takes_long(_: Resources) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(Resources, "prepare", takes_long)
    monkeypatch.setattr(serve, "_PREPARING_SECONDS", 0.1)
    resources = Resources(settings=Settings(_env_file=None), database=None, secret=b"", keys=BootstrapKeys([]))  # type: ignore[arg-type]
    began = time.monotonic()
    await serve._prepare_soon(resources)
    assert time.monotonic() - began < 5
    assert not resources.prepared
