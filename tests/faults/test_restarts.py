"""The server is stopped, killed and started again under the service, which stays the same process."""

import asyncio
import os
import signal
import time

import asyncpg
import pytest

from tests.faults.conftest import Keeping
from tests.faults.postgres import PrivatePostgres
from tests.faults.service import Service, asked_all_the_time, assert_unavailable, until

PROFILE = "/api/mcp/customer/C0000001"
#: Read over the connections for reading, and over those for snapshots.
READS = (PROFILE, "/api/mcp/archetypes/top", "/api/analytics/drift", "/api/mcp/customer/C0000001?include=why")

CUT_OFF_EVERYONE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND application_name LIKE 'customer-intelligence%'
"""
WAIT_FOR_A_LOCK = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def test_a_stopped_server_is_503_at_once_and_a_started_one_is_used_within_seconds(
    server: PrivatePostgres, service: Service
) -> None:
    for path in READS:
        assert (await service.asking.get(path)).status_code == 200
    server.stop()
    began = time.monotonic()
    for path in ("/health/ready", *READS):
        assert_unavailable(await service.asking.get(path))
    assert_unavailable(await service.asking.post("/api/admin/cluster"))
    assert time.monotonic() - began < 3
    assert (await service.asking.get("/health/live")).status_code == 200
    server.start()
    began = time.monotonic()
    for path in ("/health/ready", *READS):
        await service.until(path, 200)
    assert time.monotonic() - began < 5


async def test_restarts_under_load_are_503_for_a_moment_and_nothing_else(
    server: PrivatePostgres, service: Service
) -> None:
    async with asked_all_the_time(service, *READS) as statuses:
        for _ in range(2):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.stop)
            await service.until("/health/ready", 503, within=3)
            await asyncio.to_thread(server.start)
            await service.until("/health/ready", 200, within=5)
    assert statuses.keys() == {200, 503}


async def test_with_everything_kept_it_is_the_same_and_what_is_told_afterwards_is_right(
    server: PrivatePostgres, keeping: Keeping
) -> None:
    service = keeping.service
    before = {path: (await service.asking.get(path)).json() for path in READS}
    async with asked_all_the_time(service, *READS) as statuses:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.stop)
        await service.until("/health/ready", 503, within=3)
        await asyncio.to_thread(server.start)
        await service.until("/health/ready", 200, within=5)
    assert statuses.keys() == {200, 503}
    await keeping.until("redis")
    for _ in range(2):
        assert {path: (await service.asking.get(path)).json() for path in READS} == before


async def test_a_server_that_lost_its_power_is_used_again_when_it_has_recovered(
    server: PrivatePostgres, service: Service
) -> None:
    async with asked_all_the_time(service, *READS) as statuses:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.kill)
        await service.until("/health/ready", 503, within=3)
        await asyncio.to_thread(server.start)
        await service.until("/health/ready", 200, within=5)
    assert statuses.keys() == {200, 503}


async def test_a_crash_of_one_connection_ends_all_others_and_is_survived(
    server: PrivatePostgres, service: Service, beside: asyncpg.Connection
) -> None:
    async with asked_all_the_time(service, *READS) as statuses:
        await asyncio.sleep(0.3)
        os.kill(beside.get_server_pid(), signal.SIGKILL)

        async def is_seen() -> bool:
            return bool(beside.is_closed())

        await until(is_seen)
        await service.until("/health/ready", 200, within=5)
    assert statuses.keys() <= {200, 503}


@pytest.mark.parametrize("path", READS)
async def test_a_read_that_is_cut_off_is_asked_again_unnoticed(
    server: PrivatePostgres, service: Service, beside: asyncpg.Connection, path: str
) -> None:
    """It waits for a lock when its connection is cut."""
    await beside.execute("BEGIN; LOCK TABLE stores, segmentation_runs, fact_customer_standing")
    asking = asyncio.create_task(service.asking.get(path))
    await until(lambda: beside.fetchval(WAIT_FOR_A_LOCK))
    assert await beside.fetchval(CUT_OFF_EVERYONE) > 0
    await beside.execute("COMMIT")
    assert (await asking).status_code == 200


async def test_who_is_cut_off_again_and_again_is_told_so_at_worst(
    server: PrivatePostgres, service: Service, beside: asyncpg.Connection
) -> None:
    async with asked_all_the_time(service, *READS) as statuses:
        for _ in range(5):
            await asyncio.sleep(0.2)
            assert await beside.fetchval(CUT_OFF_EVERYONE) > 0
    assert 200 in statuses
    assert statuses.keys() <= {200, 503}


async def test_what_was_to_be_written_is_not_written_twice(
    server: PrivatePostgres, service: Service, beside: asyncpg.Connection
) -> None:
    """The write waits for a lock when its connection is cut."""
    await beside.execute("BEGIN; LOCK TABLE jobs")
    asking = asyncio.create_task(service.asking.post("/api/admin/cluster"))
    await until(lambda: beside.fetchval(WAIT_FOR_A_LOCK))
    await beside.execute(CUT_OFF_EVERYONE)
    assert_unavailable(await asking)
    await beside.execute("COMMIT")
    assert await beside.fetchval("SELECT count(*) FROM jobs") == 0
    assert await beside.fetchval("SELECT count(*) FROM segmentation_runs WHERE status = 'queued'") == 0
