"""A database of their own: a worker takes every job there is, whoever's test asked for it."""

from collections.abc import AsyncIterator

import pytest

from app.core.config import Settings
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.conftest import own_database


@pytest.fixture
async def url(server_url: str) -> AsyncIterator[str]:
    async with own_database(server_url) as url:
        yield url


@pytest.fixture
async def database(url: str, settings: Settings) -> AsyncIterator[Database]:
    database = Database(url, settings)
    await migrate(database)
    yield database
    await database.close()
