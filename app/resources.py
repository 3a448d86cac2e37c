"""Opens what a process stands on, once, and closes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.config import Settings
from app.embedded import EmbeddedPostgres
from app.warehouse.engine import Database


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of DATABASE_URL; where that is unset, the embedded one under DATA_DIR.

    Raises DatabaseUnavailable or EmbeddedDatabaseError.
    """
    if settings.database_url is not None:
        database = Database(settings.database_url, settings)
        try:
            yield database
        finally:
            await database.close()
        return
    with EmbeddedPostgres(settings.data_dir) as url:
        database = Database(url, settings)
        try:
            yield database
        finally:
            await database.close()
