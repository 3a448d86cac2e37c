"""Brings the database to the shape the code expects."""

import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import ConfigurationError
from app.warehouse.engine import OLDEST_SERVER, Database

_ROOT = Path(__file__).resolve().parents[2]
_LOCK = 7_205_759_403_792_793


async def migrate(database: Database, revision: str = "head") -> tuple[str | None, str | None]:
    """Upgrade to `revision`; when several start at once, one does the work and the others wait for it.

    returns : the revision before and after
    """
    async with database.transaction() as connection:
        await take_turn(connection)
        return await migrate_within(connection, revision)


async def take_turn(connection: AsyncConnection) -> None:
    """Until the transaction ends nobody else migrates. Raises ConfigurationError for a server that is too old."""
    await connection.run_sync(_check_server)
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


async def migrate_within(connection: AsyncConnection, revision: str = "head") -> tuple[str | None, str | None]:
    """`migrate` as a part of more; who calls it has taken their turn."""
    return await connection.run_sync(_upgrade, revision)


async def make_anew(connection: AsyncConnection, revision: str) -> None:
    """Drop every table of ours, with what is in it, and make those of a revision. Who calls it has taken their turn."""
    await connection.run_sync(lambda sync: command.downgrade(_config(sync), "base"))
    await migrate_within(connection, revision)


async def downgrade(database: Database, revision: str) -> None:
    """Undo migrations down to `revision` ("base" for all). Data in dropped tables is gone."""
    async with database.transaction() as connection:
        await connection.run_sync(lambda sync: command.downgrade(_config(sync), revision))


async def differences(database: Database) -> str | None:
    """What `alembic revision --autogenerate` would still change, in one line; None when models and database agree."""
    async with database.transaction() as connection:
        return await connection.run_sync(_differences)


async def current_revision(database: Database) -> tuple[str | None, str | None]:
    """The database's revision, and the newest one there is."""
    async with database.snapshot() as connection:
        return await connection.run_sync(lambda sync: (_revision(sync), _newest(sync)))


async def revision_of(connection: AsyncConnection) -> str | None:
    """The database's revision; None where it has never been migrated."""
    return await connection.run_sync(_revision)


def knows(revision: str) -> bool:
    """Whether it is one of this version's."""
    scripts = ScriptDirectory(str(_ROOT / "migrations"))
    return revision in {each.revision for each in scripts.walk_revisions()}


def _check_server(connection: Connection) -> None:
    major = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
    if major < OLDEST_SERVER:
        raise ConfigurationError(
            f"The server is PostgreSQL {major}; this service needs {OLDEST_SERVER} or newer. "
            "Upgrade it, or unset DATABASE_URL to use the embedded one."
        )


def _upgrade(connection: Connection, revision: str) -> tuple[str | None, str | None]:
    before = _revision(connection)
    try:
        command.upgrade(_config(connection), revision)
    except CommandError as error:
        raise ConfigurationError(
            f"The database is at a revision this version does not know ({before}): {error}. "
            "It was migrated by a newer version; use that one."
        ) from error
    return before, _revision(connection)


def _differences(connection: Connection) -> str | None:
    try:
        command.check(_config(connection))
    except CommandError as error:
        return str(error)
    return None


def _config(connection: Connection) -> Config:
    # Alembic reports to standard output; the command line reports for itself.
    return Config(_ROOT / "alembic.ini", attributes={"connection": connection}, stdout=io.StringIO())


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _newest(connection: Connection) -> str | None:
    return ScriptDirectory.from_config(_config(connection)).get_current_head()
