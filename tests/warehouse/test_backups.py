"""Backups of the tables: into every other server there is, of one moment, and into nothing but an empty database."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app import __version__
from app.core.backup_file import FORMAT, Manifest, Part, reading, writing
from app.core.config import Settings
from app.core.errors import BackupTooNew, ConfigurationError, DatabaseNotEmpty, UnreadableFile
from app.core.progress import unheard
from app.domain.records import Customer, Ticket
from app.warehouse.backups import dump, load
from app.warehouse.engine import Database
from app.warehouse.migrate import current_revision, downgrade, migrate
from tests.conftest import own_database, own_tables
from tests.fakes import a_shop, at, bought, execute, foretell, foretold, gave_back, put, rows, segmented, value
from tests.warehouse.test_migrations import schema


async def back_up(database: Database, path: Path, *, between: Any = None, **told: Any) -> Manifest:
    """between : called before each table is written"""
    with path.open("wb") as file, writing(file) as backup:

        @contextmanager
        def part_of(name: str) -> Iterator[Part]:
            if between is not None:
                between(name)
            with backup.table(name) as part:
                yield part

        dumped = await dump(database, part_of, progress=unheard)
        manifest = Manifest(
            **{"format": FORMAT, "made_at": datetime(2026, 1, 2, tzinfo=UTC), "made_by": __version__}
            | {"server": dumped.server, "revision": dumped.revision, "tables": dumped.tables}
            | {"counters": dumped.counters, "id_hash_secret_sha256": None, "secrets_sha256": backup.secrets({})}
            | told
        )
        backup.manifest(manifest)
    return manifest


async def restore(database: Database, path: Path) -> list[str]:
    with reading(path) as backup:
        async with database.transaction() as connection:
            return await load(connection, backup, progress=unheard)


@pytest.fixture
async def target(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """An empty database."""
    async with own_database(server_url) as url:
        database = Database(url, settings)
        yield database
        await database.close()


@pytest.fixture
async def elsewhere(target_url: str, settings: Settings) -> AsyncIterator[Database]:
    """An empty database of every server there is."""
    async with own_database(target_url) as url:
        database = Database(url, settings)
        yield database
        await database.close()


@pytest.fixture(scope="module")
async def shop(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    """A store with something in most tables, odd words and no words among them."""
    async with own_tables(server_url, settings) as database:
        records = [
            *a_shop(120),
            *bought("tab\tand\nline", 'o\\N"1"', "2024-02-29 23:59", ("tea, ü 茶 \\.", "1.5", "0.0001")),
            Customer("nobody", first_name="", email=None),
            *gave_back("c001", "r1", "2024-03-01", "P1", "1", "2.50"),
            *(Ticket(f"t{i}-{j}", f"c{i:03}", at(f"2024-02-0{1 + j}")) for i in range(60) for j in range(3)),
        ]
        await put(database, "corner", records)
        await segmented(database, "corner")
        await foretell(database, "corner", [foretold("c001", 0.625), foretold("c002", 1e-17)])
        await put(database, "other", bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
        yield database


@pytest.fixture(scope="module")
async def kept(shop: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backups") / "shop.backup"
    await back_up(shop, path)
    return path


async def test_a_backup_of_what_was_restored_is_the_same_to_the_last_byte(
    shop: Database, kept: Path, elsewhere: Database, tmp_path: Path
) -> None:
    with reading(kept) as backup:
        first = backup.manifest
    assert await restore(elsewhere, kept) == []
    second = await back_up(elsewhere, tmp_path / "again.backup")
    assert second.tables == first.tables
    assert second.counters == first.counters
    assert second.revision == first.revision
    filled = {name for name, table in first.tables.items() if table.n_rows}
    assert filled > {"customers", "orders", "order_items", "refunds", "tickets", "fact_customer_standing", "stores"}
    assert first.counters["segmentation_runs.run_id"].value == 1


async def test_restored_tables_are_those_that_were_there(shop: Database, kept: Path, target: Database) -> None:
    """References, triggers and all."""
    await restore(target, kept)
    assert await schema(target) == await schema(shop)
    disabled = "SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'"
    assert await value(target, disabled) == 0
    references = "SELECT count(*), bool_and(convalidated) FROM pg_constraint WHERE contype = 'f'"
    assert await rows(target, references) == await rows(shop, references)
    assert await value(target, "SELECT count(*) FROM pg_stats WHERE tablename = 'orders'") > 0  # planned with numbers

    begun = "INSERT INTO segmentation_runs (store_id, status, parameters) VALUES ('other', 'failed', '{}')"
    await execute(target, begun)
    assert await rows(target, "SELECT run_id, store_id FROM segmentation_runs ORDER BY 1") == [
        *((1, "corner"), (2, "other")),
    ]


async def test_a_backup_is_of_one_moment_whatever_is_imported_meanwhile(
    shop: Database, settings: Settings, tmp_path: Path
) -> None:
    before = await back_up(shop, tmp_path / "before.backup")

    def import_more(name: str) -> None:
        if name != "customer_pseudonyms":  # before customers and orders
            return

        async def more() -> None:
            beside = Database(shop.url, settings)
            await put(beside, "meanwhile", bought("late", "o1", "2024-03-01", ("tea", "2", "3.50")))
            await beside.close()

        thread = threading.Thread(target=lambda: asyncio.run(more()))
        thread.start()
        thread.join(timeout=30)
        assert not thread.is_alive()

    try:
        meanwhile = await back_up(shop, tmp_path / "meanwhile.backup", between=import_more)
        assert meanwhile.tables == before.tables
        assert await value(shop, "SELECT count(*) FROM customers WHERE store_id = 'meanwhile'") == 1
    finally:
        await execute(shop, "DELETE FROM stores WHERE store_id = 'meanwhile'")


async def test_a_database_that_holds_something_is_left_as_it_is(
    kept: Path, target: Database, store_id: str, tmp_path: Path
) -> None:
    await migrate(target)
    await put(target, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
    before = await back_up(target, tmp_path / "before.backup")
    with pytest.raises(DatabaseNotEmpty, match=r"not empty \(.*customers.* empty one.*DATA_DIR .*DATABASE_URL"):
        await restore(target, kept)
    assert (await back_up(target, tmp_path / "after.backup")).tables == before.tables


async def test_somebody_elses_database_is_left_as_it_is(kept: Path, target: Database) -> None:
    await execute(target, "CREATE TABLE shoes (size int)")
    with pytest.raises(DatabaseNotEmpty, match="shoes"):
        await restore(target, kept)
    assert [name for (name,) in await rows(target, "SELECT relname FROM pg_class WHERE relnamespace = 2200")] == [
        "shoes"
    ]


async def test_a_service_that_was_started_before_is_not_in_the_way(kept: Path, target: Database) -> None:
    """It has made the tables, and its worker its schedules."""
    await migrate(target)
    await execute(
        target,
        "INSERT INTO queue_schedules (expression, entrypoint, next_run, heartbeat) "
        "VALUES ('* * * * *', 'x', now(), now())",
    )
    await restore(target, kept)
    assert await value(target, "SELECT count(*) FROM customers WHERE store_id = 'corner'") == 122
    assert await value(target, "SELECT count(*) FROM queue_schedules") == 0


async def test_a_backup_of_an_older_version_is_migrated(server_url: str, settings: Settings, tmp_path: Path) -> None:
    async with own_tables(server_url, settings) as old:
        await put(old, "corner", a_shop(40))
        await segmented(old, "corner", min_population=1)
        await downgrade(old, "0011")
        manifest = await back_up(old, tmp_path / "old.backup")
        assert manifest.revision == "0011"
        await migrate(old)
        migrated = await back_up(old, tmp_path / "migrated.backup")
    async with own_database(server_url) as url:
        new = Database(url, settings)
        await restore(new, tmp_path / "old.backup")
        at_revision, newest = await current_revision(new)
        restored = await back_up(new, tmp_path / "restored.backup")
        await new.close()
    assert at_revision == newest == migrated.revision
    counts = [{name: table.n_rows for name, table in each.tables.items()} for each in (migrated, restored)]
    assert counts[0] == counts[1]
    assert restored.tables["customers"] == migrated.tables["customers"]


async def test_a_backup_of_a_newer_version_is_refused(shop: Database, target: Database, tmp_path: Path) -> None:
    await back_up(shop, tmp_path / "new.backup", revision="0999", made_by="9.1.0")
    with pytest.raises(BackupTooNew, match=r"version 9\.1\.0"):
        await restore(target, tmp_path / "new.backup")
    assert await current_revision(target) == (None, (await current_revision(shop))[1])


async def test_rows_that_are_missing_are_noticed_and_nothing_is_kept(
    shop: Database, target: Database, tmp_path: Path
) -> None:
    manifest = await back_up(shop, tmp_path / "whole.backup")
    more = manifest.tables["orders"].model_copy(update={"n_rows": manifest.tables["orders"].n_rows + 1})
    await back_up(shop, tmp_path / "less.backup", tables={**manifest.tables, "orders": more})
    with pytest.raises(UnreadableFile, match="rows of orders"):
        await restore(target, tmp_path / "less.backup")
    assert (await current_revision(target))[0] is None


async def test_a_table_that_is_missing_is_noticed(shop: Database, target: Database, tmp_path: Path) -> None:
    manifest = await back_up(shop, tmp_path / "whole.backup")
    fewer = {name: table for name, table in manifest.tables.items() if name != "refunds"}
    await back_up(shop, tmp_path / "less.backup", tables=fewer)
    with pytest.raises(UnreadableFile, match="lacks refunds"):
        await restore(target, tmp_path / "less.backup")
    assert (await current_revision(target))[0] is None


async def test_what_others_keep_beside_is_left_out_and_said(shop: Database, target: Database, tmp_path: Path) -> None:
    await execute(shop, 'CREATE TABLE "shoe ""sizes""" (size int)')
    try:
        await back_up(shop, tmp_path / "shop.backup")
    finally:
        await execute(shop, 'DROP TABLE "shoe ""sizes"""')
    assert await restore(target, tmp_path / "shop.backup") == ['shoe "sizes"']
    assert await value(target, "SELECT count(*) FROM customers WHERE store_id = 'corner'") == 122


async def test_where_there_are_no_tables_there_is_nothing_to_back_up(target: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing to back up"):
        await back_up(target, tmp_path / "shop.backup")


async def test_how_a_server_writes_days_and_numbers_does_not_matter(
    kept: Path, server_url: str, settings: Settings, tmp_path: Path
) -> None:
    async with own_database(server_url) as url:
        odd = Database(url, settings)
        async with odd.transaction() as connection:
            name = (await connection.execute(text("SELECT current_database()"))).scalar_one()
            for setting in ("intervalstyle = 'sql_standard'", "datestyle = 'SQL, DMY'", "extra_float_digits = -5"):
                await connection.execute(text(f"ALTER DATABASE {name} SET {setting}"))
        await odd.close()
        odd = Database(url, settings)
        await restore(odd, kept)
        again = await back_up(odd, tmp_path / "again.backup")
        await odd.close()
    with reading(kept) as backup:
        assert again.tables == backup.manifest.tables
