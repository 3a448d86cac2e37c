"""The app as it is served: over a port, with resources of its own, until it is told to stop."""

import time
from pathlib import Path

import httpx
import pytest
import structlog

from app.core.config import Environment, Settings
from app.core.errors import ConfigurationError
from app.core.keys import BootstrapKeys
from app.core.secrets_file import serving_keys
from app.main import create_app
from app.resources import Resources, open_resources
from tests.serving import served


def test_the_app_opens_what_it_stands_on_and_closes_it(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, env=Environment.development, data_dir=tmp_path)
    for _ in range(2):
        with served(create_app(settings)) as address, httpx.Client(base_url=address) as asking:
            assert asking.get("/health/live").json() == {"status": "ok"}
            for _ in range(200):
                if (ready := asking.get("/health/ready")).status_code == 200:
                    break
                time.sleep(0.05)
            assert ready.status_code == 200
            key = {"X-API-Key": serving_keys(settings).api_key}
            health = asking.get("/health", headers=key).json()
            assert health["data_status"]["customers_loaded"] == 0
            answer = asking.get("/api/mcp/customer/random", headers=key)
            assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-customers")
            assert asking.get("/docs").status_code == 200
        assert not (tmp_path / "postgres" / "pgdata" / "postmaster.pid").exists()


async def test_resources_name_everyone_there_is(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, env=Environment.development, data_dir=tmp_path)
    async with open_resources(settings) as resources:
        assert not resources.prepared
        await resources.prepare()
        assert resources.prepared
        assert (await resources.database.row("SELECT count(*) FROM customer_pseudonyms"))[0] == 0


async def test_what_keeps_the_database_from_being_ready_is_logged_once_and_waited_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of a newer version, say, that somebody then puts right."""
    troubles = [ConfigurationError("a newer version's"), ConfigurationError("a newer version's"), ValueError("odd")]

    async def prepare(self: Resources) -> None:
        if troubles:
            raise troubles.pop(0)
        self.prepared = True

    monkeypatch.setattr(Resources, "prepare", prepare)
    monkeypatch.setattr("app.resources._RETRY_SECONDS", 0)
    resources = Resources(settings=Settings(_env_file=None), database=None, secret=b"", keys=BootstrapKeys([]))  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logged:
        await resources.prepare_when_possible()
    assert [(each["log_level"], each["why"]) for each in logged] == [
        ("error", "a newer version's"),
        ("error", "ValueError"),
    ]
    assert resources.prepared
