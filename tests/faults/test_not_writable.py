"""The server reads and does not write: it is a standby, or its disk is full. Reads are answered, writes are 503."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.core.config import Settings
from app.main import create_app
from app.warehouse.engine import Database
from app.warehouse.jobs import Job, enqueue
from tests.api.conftest import KEYS, client, resources_for
from tests.api.test_access import routes
from tests.api.test_failures import BODIES
from tests.fakes import execute
from tests.faults.conftest import STORE
from tests.faults.disks import CannotMount, fill, small_disk
from tests.faults.postgres import PrivatePostgres
from tests.faults.service import Service, assert_unavailable, serving, until

PROFILE = "/api/mcp/customer/C0000001"
READS = ("/health", "/health/ready", PROFILE, "/api/analytics/drift", "/api/admin/jobs")
REFRESH = f"{PROFILE}/refresh"
WRITES = ("/api/admin/cluster", REFRESH)


#: What is no GET, and only reads.
READ_BY_BODY = "/api/analytics/what-if"


async def asked_otherwise(service: Service, job_id: int) -> list[tuple[str, str, Any]]:
    """Method, path and body of every described route that is not a GET. job_id : of one that has failed"""
    described = (await service.asking.get("/openapi.json")).json()
    found = [
        (method.upper(), re.sub(r"\{\w+\}", "C0000001", path.replace("{job_id}", str(job_id))))
        for path, operations in described["paths"].items()
        for method in operations
        if method != "get"
    ]
    assert len(found) >= 10
    return [(method, path, BODIES.get(path)) for method, path in found]


async def set_read_only(beside: asyncpg.Connection, value: str) -> None:
    await beside.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    await beside.execute("SELECT pg_reload_conf()")

    async def is_set() -> bool:
        return bool(await beside.fetchval("SHOW default_transaction_read_only") == value)

    await until(is_set)


@pytest.fixture
async def failed_job(server: PrivatePostgres, settings: Settings) -> AsyncIterator[int]:
    database = Database(server.url, settings)
    async with database.transaction() as connection:
        job_id = await enqueue(connection, Job.thin, STORE)
    await execute(database, "UPDATE queue SET status = 'failed' WHERE id = :id", id=job_id)
    assert job_id is not None
    yield job_id
    for statement in ("DELETE FROM queue WHERE id = :id", "DELETE FROM jobs WHERE job_id = :id"):
        await execute(database, statement, id=job_id)
    await database.close()


@pytest.fixture
async def read_only(server: PrivatePostgres, beside: asyncpg.Connection) -> AsyncIterator[None]:
    """As a standby is, and a server that was one before a failover."""
    await set_read_only(beside, "on")
    yield
    await set_read_only(beside, "off")


async def test_a_server_that_only_reads_is_read_from_and_every_write_is_503(
    service: Service, beside: asyncpg.Connection, failed_job: int, read_only: None
) -> None:
    for path in READS:
        assert (await service.asking.get(path)).status_code == 200
    for path in WRITES:
        assert_unavailable(await service.asking.post(path))
    # What is noted of requests is written beside them, and may say so as well.
    told = [line for line in service.logged().splitlines() if "The database only reads" in line]
    assert len([line for line in told if "audit.not_written" not in line]) == len(WRITES), told
    for method, path, body in await asked_otherwise(service, failed_job):
        answer = await service.asking.request(method, path, json=body)
        if path == READ_BY_BODY:
            assert answer.status_code == 404, answer.text  # of a shop without predictions
        else:
            assert_unavailable(answer)
    await set_read_only(beside, "off")
    assert (await service.asking.post(REFRESH)).status_code == 200


async def test_a_standby_is_read_from_without_anything_kept_and_after_its_promotion_all_is_as_before(
    server: PrivatePostgres, tmp_path: Path
) -> None:
    """It tells of no changes, so that nothing may be kept of what it says."""
    server.stand_by()
    settings = {"DATABASE_URL": server.url, "ENABLE_CACHE": "true", "ENABLE_PROMETHEUS_METRICS": "true"}
    async with serving(tmp_path, answers="/health/ready", LOG_LEVEL="DEBUG", **settings) as service:

        async def hears() -> str:
            told = (await service.asking.get("/metrics")).text
            return re.findall(r"^ci_changes_heard (\S+)$", told, re.MULTILINE)[0]

        for path in READS:
            assert (await service.asking.get(path)).status_code == 200
        assert_unavailable(await service.asking.post(REFRESH))
        assert await hears() == "0.0"
        assert "cannot execute LISTEN during recovery" in service.logged()

        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT pg_promote()")
        await connection.close()

        async def is_as_before() -> bool:
            return (await service.asking.post(REFRESH)).status_code == 200 and await hears() == "1.0"

        await until(is_as_before)
        assert "upkeep.failed" not in service.logged()


async def test_a_connection_that_only_reads_is_replaced_once_it_refused_a_write(
    service: Service, beside: asyncpg.Connection
) -> None:
    """After a failover, what the address leads to writes, and connections from before lead to what does not any more:
    set for who comes from now on, and then for who comes from then on.
    """
    await beside.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    await beside.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'customer-intelligence'"
    )
    assert_unavailable(await service.asking.post(REFRESH))
    await beside.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert (await service.asking.post(REFRESH)).status_code == 200


async def test_no_read_writes(server: PrivatePostgres, settings: Settings, read_only: None) -> None:
    """Not even what is done when the service starts, where there is nothing left to migrate."""
    database = Database(server.url, settings)
    app = create_app(resources=resources_for(database, settings, STORE, prepared=False))
    async with app.router.lifespan_context(app), client(app, KEYS["admin"]) as asking:

        async def is_ready() -> bool:
            return (await asking.get("/health/ready")).status_code == 200

        await until(is_ready)
        reads = [path for method, path, _ in routes(app) if method == "GET"]
        assert len(reads) >= 25
        for path in (*reads, f"{PROFILE}?include=why", f"{PROFILE}?as_of=2024-06-01"):
            answer = await asking.get(path, params={} if "?" in path else {"query": "a"})
            assert answer.status_code in (200, 404), (path, answer.text)
    await database.close()


@pytest.fixture
async def full_disk(server: PrivatePostgres, beside: asyncpg.Connection, tmp_path: Path) -> AsyncIterator[None]:
    """Of the tables that are written to. That of the log of changes stays: without it, the server stops."""
    folder = tmp_path / "disk"
    folder.mkdir()
    tables = ("jobs", "fact_customer_standing")
    try:
        with small_disk(folder, room_bytes=4 * 2**20):
            owner = server.pgdata.stat()
            os.chown(folder, owner.st_uid, owner.st_gid)
            await beside.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            for table in tables:
                await beside.execute(f"ALTER TABLE {table} SET TABLESPACE small")
                await beside.execute(f"VACUUM FULL {table}")  # leaves no room in what it has
            filling = fill(folder)
            yield
            filling.unlink(missing_ok=True)
            for table in tables:
                await beside.execute(f"ALTER TABLE {table} SET TABLESPACE pg_default")
            await beside.execute("CHECKPOINT")
            await beside.execute("DROP TABLESPACE small")
    except CannotMount as error:
        pytest.skip(f"no small disk can be mounted here: {error}")


async def test_a_server_whose_disk_is_full_is_read_from_and_every_write_is_503(
    service: Service, full_disk: None, tmp_path: Path
) -> None:
    for path in READS:
        assert (await service.asking.get(path)).status_code == 200
    for path in WRITES:
        assert_unavailable(await service.asking.post(path))
    assert service.logged().count("The disk of the database is full") == len(WRITES), service.logged()[-3000:]
    (tmp_path / "disk" / "filling").unlink()
    assert (await service.asking.post(REFRESH)).status_code == 200
