"""One private server and one service over it for all that is tried here, mended around each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from app.core.config import Environment, Settings
from app.pipeline.ingest import ingest
from app.pipeline.sample import SampleShop
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.fakes import SECRET, segmented
from tests.faults.postgres import PrivatePostgres
from tests.faults.proxy import Proxy
from tests.faults.service import Service, serving, until
from tests.redis_server import RedisServer

STORE = "default"
#: Few, so that a test can use them up: two to read over and two to write over.
POOLS = {"DB_POOL_SIZE": "4", "DB_MAX_OVERFLOW": "0", "DB_POOL_TIMEOUT": "2"}


@pytest.fixture(scope="session")
async def private(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivatePostgres]:
    """A server with a small shop, segmented."""
    server = PrivatePostgres(tmp_path_factory.mktemp("private"))
    try:
        server.start()
        database = Database(server.url, Settings(_env_file=None, env=Environment.development))
        await migrate(database)
        shop = SampleShop(customers=150)
        await ingest(database, shop, store_id=STORE, timezone="UTC", currency="USD", pseudonym_secret=SECRET)
        await segmented(database, STORE, max_k=3, min_members=3)
        await database.close()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
async def one_service(private: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    async with serving(folder, "--no-worker", answers="/health/ready", DATABASE_URL=private.url, **POOLS) as service:
        yield service


@pytest.fixture
def server(private: PrivatePostgres) -> Iterator[PrivatePostgres]:
    """Well before the test, and again after it."""
    private.thaw()
    private.start()
    yield private
    private.thaw()
    private.start()


@pytest.fixture
async def service(server: PrivatePostgres, one_service: Service) -> AsyncIterator[Service]:
    """Ready before the test; and the very process still there after it, well again."""
    await one_service.until("/health/ready", 200)
    yield one_service
    assert one_service.process.poll() is None, one_service.logged()
    server.thaw()
    await asyncio.to_thread(server.start)
    await one_service.until("/health/ready", 200)


@dataclass(frozen=True)
class Keeping:
    """A service that keeps what it answers, in its process and in a Redis behind a proxy."""

    service: Service
    proxy: Proxy

    async def until(self, state: str) -> None:
        """Until answers are kept there, as the service says."""

        async def it_is() -> bool:
            health = await self.service.asking.get("/health")
            return health.status_code == 200 and health.json()["cache"] == state

        await until(it_is)


@pytest.fixture
async def keeping(server: PrivatePostgres, tmp_path: Path) -> AsyncIterator[Keeping]:
    with RedisServer() as redis:
        async with Proxy("127.0.0.1", redis.port) as proxy:
            there = {"DATABASE_URL": server.url, "REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
            settings = {"ENABLE_CACHE": "true", "RATE_LIMIT_PER_MINUTE": "0", **there, **POOLS}
            async with serving(tmp_path, "--no-worker", answers="/health/ready", **settings) as service:
                keeping = Keeping(service, proxy)
                await keeping.until("redis")
                yield keeping


@pytest.fixture
async def beside(server: PrivatePostgres) -> AsyncIterator[asyncpg.Connection]:
    """An administrator's connection."""
    connection = await asyncpg.connect(server.url)
    yield connection
    connection.terminate()
