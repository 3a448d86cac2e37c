"""What the tests stand on: a real Postgres (the embedded one, and another where one is reachable) and real data."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import hypothesis
import pytest

from app.core.config import Environment, Settings
from app.embedded import EmbeddedPostgres
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate

#: A second server. It is only ever given databases of our own making, dropped at the end.
OTHER_SERVER = os.environ.get("TEST_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
#: What runs on it as well: where SQL is written; all, where a server is named.
ON_BOTH = "tests" if "TEST_DATABASE_URL" in os.environ else "tests/warehouse"
REAL_DATA_DIR = Path(os.environ.get("REAL_DATA_DIR", "../shared/data"))

# How long an example takes is the machine's affair: on a busy one the first takes longer than any deadline.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def _other_server_version() -> str | None:
    async def ask() -> str:
        connection = await asyncpg.connect(OTHER_SERVER, timeout=2)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    try:
        version = asyncio.run(ask())
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return None
    return version if int(version.split(".")[0]) >= 15 else None


_OTHER_VERSION = _other_server_version()


def pytest_report_header() -> list[str]:
    other = (
        f"and those of {ON_BOTH} on PostgreSQL {_OTHER_VERSION} as well"
        if _OTHER_VERSION
        else "only (no other server is reachable)"
    )
    data = "found" if REAL_DATA_DIR.is_dir() else f"absent ({REAL_DATA_DIR}): its tests are skipped"
    return [f"database tests: on the embedded PostgreSQL {other}", f"real data: {data}"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_url" in metafunc.fixturenames:
        mine = metafunc.definition.path.relative_to(metafunc.config.rootpath).as_posix()
        both = _OTHER_VERSION and mine.startswith(f"{ON_BOTH}/")
        servers = ["embedded", "server"] if both else ["embedded"]
        metafunc.parametrize("server_url", servers, indirect=True, scope="session")
    if "target_url" in metafunc.fixturenames:
        targets = ["embedded", "server"] if _OTHER_VERSION else ["embedded"]
        metafunc.parametrize("target_url", targets, indirect=True, scope="session")


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("embedded"), durable=False) as url:
        yield url


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> str:
    """An empty, unmigrated server's maintenance database; a parameter says which server."""
    return request.getfixturevalue("embedded_url") if request.param == "embedded" else OTHER_SERVER


@pytest.fixture(scope="session")
def target_url(request: pytest.FixtureRequest) -> str:
    """The same of a server into which something is brought from another; wherever the test stands, there is each."""
    return request.getfixturevalue("embedded_url") if request.param == "embedded" else OTHER_SERVER


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Nothing is kept from one request to the next: tests change the database under the app, and ask at once."""
    return Settings(
        _env_file=None,
        env=Environment.development,
        data_dir=tmp_path_factory.mktemp("data"),
        enable_cache=False,
        rate_limit_per_minute=0,
        failed_keys_per_minute=0,
    )


class Databases:
    """One of each server, migrated when it is first asked for and dropped at the end: tests of one server come between
    those of another, and would have it made anew each time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._urls: dict[str, str] = {}
        self._opened: dict[str, Database] = {}
        self._stack = AsyncExitStack()

    async def url_of(self, server_url: str) -> str:
        if server_url not in self._urls:
            self._urls[server_url] = await self._stack.enter_async_context(own_database(server_url))
        return self._urls[server_url]

    async def of(self, server_url: str) -> Database:
        if server_url not in self._opened:
            database = Database(await self.url_of(server_url), self._settings)
            self._stack.push_async_callback(database.close)
            await migrate(database)
            self._opened[server_url] = database
        return self._opened[server_url]

    async def drop(self) -> None:
        await self._stack.aclose()


@pytest.fixture(scope="session")
async def databases(embedded_url: str, settings: Settings) -> AsyncIterator[Databases]:
    """They end before the embedded server does."""
    databases = Databases(settings)
    yield databases
    await databases.drop()


@pytest.fixture(scope="session")
async def empty_database_url(server_url: str, databases: Databases) -> str:
    return await databases.url_of(server_url)


@pytest.fixture(scope="session")
async def database(server_url: str, databases: Databases) -> Database:
    """A migrated database that tests share; each works in a store of its own (`store_id`)."""
    return await databases.of(server_url)


@pytest.fixture
def store_id() -> str:
    """A store nobody else has."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder of real shops' data; tests that need it are skipped, counted and named, where it is absent."""
    if not REAL_DATA_DIR.is_dir():
        pytest.skip(f"real data is absent: REAL_DATA_DIR is {REAL_DATA_DIR}")
    return REAL_DATA_DIR.resolve()


class StoppedClock:
    """Stands where it was set, until it is set anew."""

    def __init__(self) -> None:
        self.now = time.time()


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    """By which it is counted who asks how often. A window ends with the minute on the wall: where it goes on, one more
    than a test has counted with is let in when a minute ends in the middle of it.
    """
    clock = StoppedClock()
    for module in ("limits.storage.memory", "limits.strategies"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=lambda: clock.now))
    monkeypatch.setattr("app.limits.time", lambda: clock.now)
    return clock


class own_database:  # noqa: N801  used like a function
    """`async with own_database(server_url) as url`: a new, empty database of that server, dropped at the end."""

    def __init__(self, server_url: str) -> None:
        self._server = server_url.replace("postgresql+asyncpg://", "postgresql://")
        self._name = f"test_{secrets.token_hex(6)}"

    async def __aenter__(self) -> str:
        await self._execute(f"CREATE DATABASE {self._name}")
        before, _, query = self._server.partition("?")
        return before.rsplit("/", 1)[0] + f"/{self._name}" + (f"?{query}" if query else "")

    async def __aexit__(self, *_: object) -> None:
        await self._execute(f"DROP DATABASE {self._name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def own_tables(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """A migrated database that nobody shares."""
    async with own_database(server_url) as url:
        database = Database(url, settings)
        await migrate(database)
        yield database
        await database.close()
