"""Alembic's entry: migrates the database it is handed a connection to, or the one the settings name."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from app.core.config import load_settings
from app.resources import open_database
from app.warehouse.tables import metadata


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether the models are to know it: the queue's tables are pgqueuer's."""
    return not (kind == "table" and name is not None and (name == "queue" or name.startswith("queue_")))


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=False,
        include_name=ours,
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_configured_database() -> None:
    async with open_database(load_settings()) as database, database.transaction() as connection:
        await connection.run_sync(migrate)


handed = context.config.attributes.get("connection")
if handed is None:
    asyncio.run(migrate_configured_database())
else:
    migrate(handed)
