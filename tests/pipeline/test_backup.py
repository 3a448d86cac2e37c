"""A backup with its secrets: who is called what, and who may be restored where."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.core.backup_file import Manifest, reading
from app.core.config import Settings
from app.core.errors import ConfigurationError, DatabaseNotEmpty, InvalidInput
from app.core.secrets_file import id_hash_secret, serving_keys
from app.domain.records import Customer
from app.pipeline import backup
from app.pipeline.backup import back_up
from app.warehouse.engine import Database
from app.warehouse.migrate import current_revision
from tests.conftest import own_database, own_tables
from tests.fakes import bought, execute, put, rows, value

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
NAMES = "SELECT customer_id, pseudonym FROM customer_pseudonyms ORDER BY 1"


async def restore(database: Database, settings: Settings, path: Path, **listening: Any) -> Manifest:
    with reading(path) as kept:
        await backup.restore(database, settings, kept, **listening)
        return kept.manifest


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def with_folder(settings: Settings, folder: Path, secret: str | None = None) -> Settings:
    given = None if secret is None else SecretStr(secret)
    return settings.model_copy(update={"data_dir": folder, "id_hash_secret": given})


@pytest.fixture
def here(settings: Settings, tmp_path: Path) -> Settings:
    """The settings of where the shop is; its secrets were made up."""
    made_up = with_folder(settings, tmp_path / "here")
    id_hash_secret(made_up)
    serving_keys(made_up)
    return made_up


@pytest.fixture
def there(settings: Settings, tmp_path: Path) -> Settings:
    """Those of another machine."""
    return with_folder(settings, tmp_path / "there")


@pytest.fixture
async def shop(server_url: str, here: Settings) -> AsyncIterator[Database]:
    async with own_tables(server_url, here) as database:
        records = bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50"))
        await put(database, "corner", records, pseudonym_secret=id_hash_secret(here))
        yield database


@pytest.fixture
async def empty(server_url: str, there: Settings) -> AsyncIterator[Database]:
    async with own_database(server_url) as url:
        database = Database(url, there)
        yield database
        await database.close()


@pytest.fixture
async def kept(shop: Database, here: Settings, tmp_path: Path) -> Path:
    await back_up(shop, here, tmp_path / "shop.backup", now=NOW)
    return tmp_path / "shop.backup"


async def test_whoever_comes_after_is_called_what_they_would_have_been(
    shop: Database, here: Settings, kept: Path, empty: Database, there: Settings
) -> None:
    manifest = await restore(empty, there, kept)
    assert manifest.made_at == NOW
    for database, settings in ((shop, here), (empty, there)):
        await put(database, "corner", [Customer("bea")], pseudonym_secret=id_hash_secret(settings))
    assert await rows(empty, NAMES) == await rows(shop, NAMES)
    assert serving_keys(there) == serving_keys(here)


async def test_the_file_and_the_secrets_are_their_owners_alone(kept: Path, empty: Database, there: Settings) -> None:
    assert mode_of(kept) == 0o600
    await restore(empty, there, kept)
    assert mode_of(there.data_dir / "secrets.json") == 0o600


async def test_a_secret_that_was_set_is_not_in_the_file_and_must_be_set_again(
    shop: Database, empty: Database, settings: Settings, tmp_path: Path
) -> None:
    def somewhere(name: str, secret: str | None) -> Settings:
        return with_folder(settings, tmp_path / name, secret)

    path = tmp_path / "shop.backup"
    await back_up(shop, somewhere("set", "a secret of our own"), path, now=NOW)
    for secret in (None, "another secret"):
        with pytest.raises(ConfigurationError, match=r"ID_HASH_SECRET is not the one .* Set it to what it was"):
            await restore(empty, somewhere("there", secret), path)
    assert (await current_revision(empty))[0] is None
    await restore(empty, somewhere("there", "a secret of our own"), path)
    assert not (tmp_path / "there" / "secrets.json").exists()


async def test_a_secret_that_was_made_up_is_not_overruled(
    kept: Path, empty: Database, settings: Settings, tmp_path: Path
) -> None:
    elsewhere = with_folder(settings, tmp_path / "there", "another secret")
    with pytest.raises(ConfigurationError, match="Unset it"):
        await restore(empty, elsewhere, kept)
    assert (await current_revision(empty))[0] is None


async def test_secrets_that_something_else_may_need_are_not_replaced(
    kept: Path, empty: Database, there: Settings
) -> None:
    before = id_hash_secret(there)
    with pytest.raises(ConfigurationError, match=r"secrets\.json holds another id_hash_secret than the backup"):
        await restore(empty, there, kept)
    assert id_hash_secret(there) == before
    assert (await current_revision(empty))[0] is None


async def test_the_same_secrets_may_be_there_already(kept: Path, empty: Database, here: Settings) -> None:
    await restore(empty, here, kept)
    assert await value(empty, "SELECT count(*) FROM customers") == 1


async def test_a_backup_made_without_the_services_settings_is_refused(
    shop: Database, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="neither in ID_HASH_SECRET nor in"):
        await back_up(shop, with_folder(settings, tmp_path / "else"), tmp_path / "shop.backup", now=NOW)
    assert [name for name in names_in(tmp_path) if "backup" in name] == []


async def test_what_is_not_empty_gets_no_secrets_either(kept: Path, shop: Database, there: Settings) -> None:
    with pytest.raises(DatabaseNotEmpty):
        await restore(shop, there, kept)
    assert not (there.data_dir / "secrets.json").exists()


async def test_a_restore_that_is_broken_off_leaves_nothing_and_can_be_tried_again(
    kept: Path, empty: Database, there: Settings
) -> None:
    """Told to stop in the middle."""

    def stop(step: str, done: float) -> None:
        if done > 0.5:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await restore(empty, there, kept, progress=stop)
    assert (await current_revision(empty))[0] is None
    assert not (there.data_dir / "secrets.json").exists()
    await restore(empty, there, kept)
    assert await value(empty, "SELECT count(*) FROM customers") == 1


async def test_a_backup_that_is_broken_off_leaves_the_one_before(kept: Path, shop: Database, here: Settings) -> None:
    before = content_of(kept)

    def stop(step: str, done: float) -> None:
        if done > 0.5:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await back_up(shop, here, kept, now=NOW, progress=stop)
    assert content_of(kept) == before
    assert [name for name in names_in(kept.parent) if "backup" in name] == ["shop.backup"]


async def test_a_place_that_takes_no_more_is_named(shop: Database, here: Settings) -> None:
    with pytest.raises(InvalidInput, match="Cannot write /dev/full: No space left on device"):
        await back_up(shop, here, Path("/dev/full"), now=NOW)
    await execute(shop, "SELECT 1")  # and the database is none the worse for it
