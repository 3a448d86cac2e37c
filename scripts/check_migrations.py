"""Migrations in step: up, all the way down, up again, and nothing left to add. On a throw-away Postgres."""

import asyncio
import sys
import tempfile
from pathlib import Path

from app.core.config import load_settings
from app.core.logging import configure_logging
from app.embedded import EmbeddedPostgres
from app.warehouse.engine import Database
from app.warehouse.migrate import differences, downgrade, migrate


async def check(database: Database) -> str | None:
    """What is wrong, or None."""
    await migrate(database)
    await downgrade(database, "base")
    await migrate(database)
    found = await differences(database)
    return None if found is None else f"Models and migrations disagree: {found}"


async def main() -> int:
    configure_logging(level="WARNING", json_logs=False)
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), durable=False) as url:
        database = Database(url, load_settings())
        try:
            wrong = await check(database)
        finally:
            await database.close()
    print(wrong or "Migrations go up, down and up again, and agree with the models.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
