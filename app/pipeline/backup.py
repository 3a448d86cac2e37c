"""All that is needed to give the same answers elsewhere, into one file and out of it."""

import hashlib
from datetime import datetime
from pathlib import Path

from app import __version__
from app.core.backup_file import FORMAT, Backup, Manifest, writing
from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.core.files import whole_file
from app.core.progress import Progress, unheard
from app.core.secrets_file import check_secrets, keep_secrets, kept_secrets, known_id_hash_secret
from app.warehouse import backups
from app.warehouse.engine import Database


async def back_up(
    database: Database, settings: Settings, path: Path, *, now: datetime, progress: Progress = unheard
) -> Manifest:
    """Write the database, as it is at one moment, and the secrets that were made up.

    Raises InvalidInput where the file cannot be written, ConfigurationError where the secret that pseudonyms are made
    with is not here, DatabaseUnavailable.
    """
    secret = known_id_hash_secret(settings)
    with whole_file(path, private=True) as file, writing(file) as backup:
        dumped = await backups.dump(database, backup.table, progress=progress)
        named = dumped.tables.get("customer_pseudonyms")
        if secret is None and named is not None and named.n_rows:
            raise ConfigurationError(
                "The secret that pseudonyms are made with is neither in ID_HASH_SECRET nor in "
                f"{settings.data_dir}, and a backup without it would name customers anew. Run this with the settings "
                "the service runs with."
            )
        manifest = Manifest(
            format=FORMAT,
            made_at=now,
            made_by=__version__,
            server=dumped.server,
            revision=dumped.revision,
            tables=dumped.tables,
            counters=dumped.counters,
            id_hash_secret_sha256=None if secret is None else _digest(secret),
            secrets_sha256=backup.secrets(kept_secrets(settings)),
        )
        backup.manifest(manifest)
    return manifest


async def restore(database: Database, settings: Settings, backup: Backup, *, progress: Progress = unheard) -> list[str]:
    """Everything of a backup into an empty database, and its secrets into DATA_DIR; all of it or nothing.

    returns : tables of the backup that are not the service's, and were left out

    Raises BackupTooNew, UnreadableFile, DatabaseNotEmpty, DatabaseUnavailable, and ConfigurationError where the secrets
    here are not those the backup was made with.
    """
    secrets = backup.secrets
    check_secrets(settings.data_dir, secrets)
    _check_id_hash_secret(settings, backup)
    async with database.transaction() as connection:
        left_out = await backups.load(connection, backup, progress=progress)
        # Before the commit: a secret without data does no harm, and is in no way of a second try.
        keep_secrets(settings.data_dir, secrets)
    return left_out


def _check_id_hash_secret(settings: Settings, backup: Backup) -> None:
    """Whoever is imported next must be called as they would have been, and who was erased must still be known."""
    expected = backup.manifest.id_hash_secret_sha256
    if expected is None:
        return
    given = settings.id_hash_secret
    secret = backup.secrets.get("id_hash_secret") if given is None else given.get_secret_value()
    found = known_id_hash_secret(settings) if secret is None else secret.encode()
    if found is None or _digest(found) != expected:
        way_out = "Set it to what it was where the backup was made"
        if "id_hash_secret" in backup.secrets:
            way_out = "Unset it: the backup holds the one that was made up"
        raise ConfigurationError(f"ID_HASH_SECRET is not the one the backup's pseudonyms were made with. {way_out}.")


def _digest(secret: bytes) -> str:
    return hashlib.sha256(b"id_hash_secret:" + secret).hexdigest()
