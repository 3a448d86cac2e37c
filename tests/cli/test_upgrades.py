"""From version to version: a database of before is brought along by whoever comes first, one of later is refused."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from app import embedded
from app.core.config import Environment, Settings
from app.core.secrets_file import id_hash_secret
from app.embedded import EmbeddedPostgres, packaged_servers
from app.pipeline.ingest import ingest
from app.pipeline.sample import SampleShop
from app.resources import open_database
from app.warehouse.engine import Database
from app.warehouse.migrate import downgrade, migrate
from tests.fakes import execute, segmented

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-of-the-tests"


def environment(folder: Path, **settings: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DATA_DIR": str(folder / "data"),
        "LOG_LEVEL": "WARNING",
        "API_KEY": KEY,
        "ADMIN_KEY": f"{KEY}-admin",
        **settings,
    }


def begin(folder: Path, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env=environment(folder, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    process = begin(folder, *arguments)
    said, complained = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, said, complained)


def settings_of(folder: Path) -> Settings:
    return Settings(_env_file=None, env=Environment.development, data_dir=folder / "data")


def within(folder: Path, work: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
    async def all_of_it() -> None:
        async with open_database(settings_of(folder)) as database:
            await work(database)

    asyncio.run(all_of_it())


def load_a_shop(folder: Path) -> Callable[[Database], Coroutine[Any, Any, None]]:
    """The built-in shop, small, segmented, in the shape of an older version."""

    async def load(database: Database) -> None:
        await migrate(database)
        await ingest(
            database,
            SampleShop(customers=120),
            store_id="default",
            timezone="America/Chicago",
            currency="USD",
            pseudonym_secret=id_hash_secret(settings_of(folder)),
        )
        await segmented(database, "default", min_members=3)
        await downgrade(database, "0011")

    return load


def served_profile(folder: Path) -> dict[str, Any]:
    """What `serve` tells of a customer once it is ready; it must then end in order."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with begin(folder, "serve", "--no-worker", PORT=str(port)) as process:
        try:
            until = time.monotonic() + 60
            ready = False
            while not ready and process.poll() is None and time.monotonic() < until:
                with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2):
                    ready = True
                time.sleep(0.05)
            asked = Request(f"http://127.0.0.1:{port}/api/mcp/customer/C0000001", headers={"X-API-Key": KEY})
            with urlopen(asked, timeout=20) as answer:  # noqa: S310  our own
                told: dict[str, Any] = json.load(answer)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            if process.poll() is None:
                process.kill()
    return told


def test_a_database_of_an_older_version_is_brought_along_and_served(tmp_path: Path) -> None:
    within(tmp_path, load_a_shop(tmp_path))
    told = served_profile(tmp_path)
    assert told["customer_id"] == "C0000001"
    assert told["segment_status"] == "segmented"
    assert len(told["fuzzy_memberships"]) == 14
    assert "at revision" in run(tmp_path, "migrate").stdout  # already


def test_processes_that_migrate_at_once_do_it_once(tmp_path: Path) -> None:
    within(tmp_path, load_a_shop(tmp_path))
    at_once = [begin(tmp_path, "migrate") for _ in range(3)]
    said = [process.communicate(timeout=120) for process in at_once]
    assert [process.returncode for process in at_once] == [0, 0, 0], said
    migrated = [told for told, _ in said if told.startswith("Migrated from 0011")]
    already = [told for told, _ in said if "already" in told]
    assert (len(migrated), len(already)) == (1, 2)


async def from_the_future(database: Database) -> None:
    await migrate(database)
    await execute(database, "UPDATE alembic_version SET version_num = '9999'")


def test_a_database_of_a_newer_version_is_refused_in_one_line(tmp_path: Path) -> None:
    within(tmp_path, from_the_future)
    for command in (["migrate"], ["serve"], ["worker"], ["keys", "list"], ["doctor"]):
        done = run(tmp_path, *command)
        assert done.returncode == 1, command
        (complaint,) = done.stderr.splitlines()
        assert "9999" in complaint, command
        assert "newer version" in complaint, command


@pytest.mark.skipif(len(packaged_servers()) == 1, reason="the package carries no older Postgres to upgrade from")
def test_a_database_of_an_older_postgres_is_upgraded_when_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = packaged_servers()
    old, new = min(servers), max(servers)
    initdb = ("--username=postgres", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C")
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "packaged_servers", lambda: {old: servers[old]})
        patch.setattr(embedded, "INITDB", initdb)
        assert EmbeddedPostgres(tmp_path / "data").server_version == servers[old].version
        within(tmp_path, load_a_shop(tmp_path))

    refused = run(tmp_path, "migrate")
    assert refused.returncode == 1
    assert f"made by Postgres {old}" in refused.stderr
    assert "`python -m app migrate --upgrade-server`" in refused.stderr

    done = run(tmp_path, "migrate", "--upgrade-server")
    assert done.returncode == 0, done.stderr
    kept = tmp_path / "data" / "postgres" / f"pgdata.v{old}"
    assert f"The old one is kept in {kept};" in done.stdout
    assert "Migrated from 0011" in done.stdout
    assert f"PostgreSQL {new}" in run(tmp_path, "doctor").stdout
    assert served_profile(tmp_path)["segment_status"] == "segmented"
    assert "needs no upgrade" in run(tmp_path, "migrate", "--upgrade-server").stdout
