"""All tables into a backup, and out of one.

Rows alone are kept: the tables are made by the migrations, which are there wherever a backup is restored. So one of any
server can go into any other, older or newer, over the connection that serves as well. (The packaged pg_dump speaks no
TLS, on which most servers of others insist, and what it writes a server older than itself need not understand.)
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.backup_file import Backup, Counter, Part, Table
from app.core.errors import BackupTooNew, ConfigurationError, DatabaseNotEmpty, DatabaseUnavailable, UnreadableFile
from app.core.progress import Progress
from app.warehouse.engine import Database, raw
from app.warehouse.migrate import knows, make_anew, migrate_within, revision_of, take_turn

# Of the schema the service works in. What an extension brought along comes with it elsewhere too; a column that is
# computed is computed again.
_TABLES = """
    SELECT class.relname, array_agg(attribute.attname::text ORDER BY attnum) FILTER (WHERE attgenerated = '') AS columns
    FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attnum > 0 AND NOT attisdropped
    WHERE nspname = current_schema() AND relkind = 'r' AND relname <> 'alembic_version' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e'
    )
    GROUP BY 1 ORDER BY 1
"""
_COUNTERS = """
    SELECT table_name || '.' || column_name AS name,
        pg_get_serial_sequence(quote_ident(table_name), column_name) AS sequence
    FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = ANY (:tables)
        AND pg_get_serial_sequence(quote_ident(table_name), column_name) IS NOT NULL
"""
_REFERENCES = """
    SELECT conrelid::regclass::text AS table, quote_ident(conname) AS name,
        pg_get_constraintdef(constr.oid) AS definition
    FROM pg_constraint AS constr JOIN pg_namespace AS namespace ON namespace.oid = connamespace
    WHERE nspname = current_schema() AND contype = 'f' ORDER BY 1, 2
"""
# However long one statement takes; and values as one text everywhere.
_AS_LONG_AS_IT_TAKES = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL datestyle = 'ISO, YMD'",
    "SET LOCAL intervalstyle = 'postgres'",
    "SET LOCAL extra_float_digits = 1",
)


@dataclass(frozen=True, slots=True)
class Dumped:
    revision: str
    server: str
    tables: dict[str, Table]
    counters: dict[str, Counter]


async def dump(
    database: Database, part_of: Callable[[str], AbstractContextManager[Part]], *, progress: Progress
) -> Dumped:
    """Every row of every table, of one moment, while the service goes on.

    part_of : opens the part of a table, to be written

    Raises ConfigurationError for a database that has never been migrated, DatabaseUnavailable.
    """
    async with database.snapshot() as connection:
        tables = await _tables(connection)
    async with database.snapshot() as connection:
        await _settle(connection)
        # The first statement decides which moment it is; none that waits for a migration may come before the waiting.
        await _lock(connection, tables, "ACCESS SHARE")
        if await _tables(connection) != tables:
            raise DatabaseUnavailable("The database was migrated just now. Run the backup again.")
        revision = await revision_of(connection)
        if revision is None:
            raise ConfigurationError("The database has no tables yet, so there is nothing to back up. Check DATA_DIR.")
        driver: Any = await raw(connection)
        kept = {}
        for done, (name, columns) in enumerate(tables.items()):
            progress("writing", done / len(tables))
            with part_of(name) as part:
                copied: str = await driver.copy_from_table(name, columns=columns, output=part)
            kept[name] = Table(columns=tuple(columns), n_rows=int(copied.removeprefix("COPY ")), sha256=part.sha256)
        # Counted up by whoever inserts, whatever becomes of the row: read last, they are beyond every row there is.
        counters = {
            name: Counter(value=value, used=used)
            for name, sequence in (await _sequences(connection, list(tables))).items()
            for value, used in await connection.execute(text(f"SELECT last_value, is_called FROM {sequence}"))  # noqa: S608
        }
        server = (await connection.execute(text("SHOW server_version"))).scalar_one()
    return Dumped(revision=revision, server=str(server), tables=kept, counters=counters)


async def load(connection: AsyncConnection, backup: Backup, *, progress: Progress) -> list[str]:
    """Everything of a backup into an empty database, which is then of this version's shape.

    returns : the tables of the backup that are not the service's, and were left out

    Raises BackupTooNew, DatabaseNotEmpty, and UnreadableFile where rows are missing.
    """
    manifest = backup.manifest
    if not knows(manifest.revision):
        raise BackupTooNew(backup.path, made_by=manifest.made_by)
    await _settle(connection)
    await take_turn(connection)
    await _check_empty(connection)
    await make_anew(connection, manifest.revision)

    tables = await _tables(connection)
    ours = [name for name in manifest.tables if name in tables]
    if lacking := sorted(tables.keys() - manifest.tables.keys()):
        raise UnreadableFile(f"{backup.path} lacks {', '.join(lacking)}. Nothing was restored. Take another backup.")
    references = (await connection.execute(text(_REFERENCES))).all()
    for each in references:
        await connection.execute(text(f"ALTER TABLE {each.table} DROP CONSTRAINT {each.name}"))
    done = 0
    for name in ours:
        progress("restoring", done / max(1, manifest.n_rows))
        await _fill(connection, backup, name)
        done += manifest.tables[name].n_rows
    progress("checking references", 1.0)
    for each in references:
        await connection.execute(text(f"ALTER TABLE {each.table} ADD CONSTRAINT {each.name} {each.definition}"))
    await _set_counters(connection, ours, manifest.counters)
    await migrate_within(connection)
    await connection.execute(text("ANALYZE " + ", ".join(map(_quoted, await _tables(connection)))))
    return sorted(manifest.tables.keys() - tables.keys())


async def _settle(connection: AsyncConnection) -> None:
    for statement in _AS_LONG_AS_IT_TAKES:
        await connection.execute(text(statement))


async def _tables(connection: AsyncConnection) -> dict[str, list[str]]:
    """The tables of the schema, each with the columns that are written."""
    return {row.relname: row.columns or [] for row in await connection.execute(text(_TABLES))}


async def _lock(connection: AsyncConnection, tables: Mapping[str, object], mode: str) -> None:
    if tables:
        await connection.execute(text(f"LOCK TABLE {', '.join(map(_quoted, tables))} IN {mode} MODE"))


async def _check_empty(connection: AsyncConnection) -> None:
    """Tables may be there, as a service makes them that was started before, and what its worker notes in the queue."""
    there = await _tables(connection)
    if there and await revision_of(connection) is None:
        raise DatabaseNotEmpty(sorted(there))
    await _lock(connection, there, "ACCESS EXCLUSIVE")
    filled = []
    for name in there:
        some = f"SELECT EXISTS (SELECT FROM {_quoted(name)})"  # noqa: S608
        if name.partition("_")[0] != "queue" and (await connection.execute(text(some))).scalar_one():
            filled.append(name)
    if filled:
        raise DatabaseNotEmpty(filled)


async def _fill(connection: AsyncConnection, backup: Backup, name: str) -> None:
    table = backup.manifest.tables[name]
    driver: Any = await raw(connection)
    await connection.execute(text(f"ALTER TABLE {_quoted(name)} DISABLE TRIGGER USER"))
    with backup.table(name) as rows:
        await driver.copy_to_table(name, columns=table.columns, source=rows)
    await connection.execute(text(f"ALTER TABLE {_quoted(name)} ENABLE TRIGGER USER"))
    n_rows = (await connection.execute(text(f"SELECT count(*) FROM {_quoted(name)}"))).scalar_one()  # noqa: S608
    if n_rows != table.n_rows:
        raise UnreadableFile(
            f"{backup.path} should hold {table.n_rows:,} rows of {name}, and {n_rows:,} were restored. Nothing was "
            "kept. Take another backup."
        )


async def _set_counters(connection: AsyncConnection, tables: Sequence[str], counters: Mapping[str, Counter]) -> None:
    for name, sequence in (await _sequences(connection, tables)).items():
        counter = counters[name]
        values = {"sequence": sequence, "value": counter.value, "used": counter.used}
        await connection.execute(text("SELECT setval(CAST(:sequence AS text)::regclass, :value, :used)"), values)


async def _sequences(connection: AsyncConnection, tables: Sequence[str]) -> dict[str, str]:
    """What columns count up with, by table and column, quoted."""
    found = await connection.execute(text(_COUNTERS), {"tables": list(tables)})
    return {row.name: row.sequence for row in found}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
