"""The server is there and does not get to us: what we need is locked, and then all our connections are taken."""

import asyncio

import asyncpg

from tests.faults.conftest import POOLS
from tests.faults.postgres import PrivatePostgres
from tests.faults.service import Service, assert_unavailable

PROFILE = "/api/mcp/customer/C0000001"
#: Read by itself, whoever else asks.
BRIEF = "/api/mcp/customers/C0000001"
POOL_SECONDS = int(POOLS["DB_POOL_TIMEOUT"])
#: That a request waits for: app/warehouse/engine.py.
LOCK_SECONDS = 5
#: That it waits to be let in: app/warehouse/lines.py.
CONNECT_SECONDS = 5
SLACK_SECONDS = 2.5


async def test_who_waits_for_a_lock_or_for_a_connection_is_told_in_time_and_the_next_is_answered(
    server: PrivatePostgres, service: Service, beside: asyncpg.Connection
) -> None:
    """There are two connections to read over and two to write over, and fifty want them."""
    fifty = 25 * [(BRIEF, "GET"), ("/api/admin/cluster", "POST")]
    await beside.execute("BEGIN; LOCK TABLE stores")
    asking = [asyncio.create_task(service.timed(*each)) for each in fifty]
    live, seconds = await service.timed("/health/live")
    assert (live.status_code, seconds < POOL_SECONDS) == (200, True)  # as long would take who waits with them
    told = await asyncio.gather(*asking)
    for answer, _ in told:
        assert_unavailable(answer)
    for method in ("GET", "POST"):
        waited = sorted(seconds for answer, seconds in told if answer.request.method == method)
        assert waited[0] >= POOL_SECONDS
        assert waited[-3] < POOL_SECONDS + SLACK_SECONDS
        assert LOCK_SECONDS <= waited[-2] <= waited[-1] < LOCK_SECONDS + SLACK_SECONDS
    # Profiles are read together, so that none of them waits for a connection as well.
    for answer, seconds in await asyncio.gather(*(service.timed(PROFILE) for _ in range(25))):
        assert_unavailable(answer)
        assert seconds < LOCK_SECONDS + SLACK_SECONDS
    await beside.execute("ROLLBACK")
    answers = await asyncio.gather(*(service.asking.get(PROFILE) for _ in range(25)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await service.asking.post(f"{PROFILE}/refresh")).status_code == 200
    for said in ("No connection to the database came free", "No connection for reading", "due to lock timeout"):
        assert said in service.logged()


async def test_a_server_that_lets_nobody_in_any_more_is_told_in_time(
    server: PrivatePostgres, service: Service, beside: asyncpg.Connection
) -> None:
    """Frozen, it takes connections and does not answer; those there are it answers as before."""
    assert (await service.asking.get(PROFILE)).status_code == 200
    server.freeze()
    assert (await service.asking.get(PROFILE)).status_code == 200
    await beside.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'customer-intelligence'"
    )
    told = await asyncio.gather(
        service.timed(PROFILE), service.timed("/health/ready"), service.timed("/api/admin/cluster", "POST")
    )
    for answer, seconds in told:
        assert_unavailable(answer)
        assert seconds < CONNECT_SECONDS + SLACK_SECONDS
    live, seconds = await service.timed("/health/live")
    assert (live.status_code, seconds < CONNECT_SECONDS) == (200, True)
    server.thaw()
    assert await service.until("/health/ready", 200, within=5) < 5
    assert (await service.asking.get(PROFILE)).status_code == 200
