"""A backup: one ZIP file, so that other tools can look into it and, at the worst, take it apart.

tables/customers.copy   the rows of each table, as Postgres's COPY writes them
secrets.json            what was made up in DATA_DIR/secrets.json
manifest.json           what all of it is, with a checksum of each part; it comes last, so a file cut short has none
"""

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO

from pydantic import BaseModel, ConfigDict

from app.core.errors import BackupTooNew, UnreadableFile

#: Raised with every change that a version before would not understand.
FORMAT = 1

_MANIFEST, _SECRETS = "manifest.json", "secrets.json"
# Half the time of zlib's own choice, for a seventh more room.
_COMPRESSION = 3
_AT_ONCE = 1 << 20

# What reading a ZIP that is no longer what was written ends with, or what is in it; NotImplementedError is how zipfile
# says that a damaged header names a compression it has not.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, NotImplementedError)


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class Table(_Told):
    """columns : in the order of the rows' values; sha256 : of the rows as they are written"""

    columns: tuple[str, ...]
    n_rows: int
    sha256: str


class Counter(_Told):
    """What a column counts up with. used : whether `value` has been given out"""

    value: int
    used: bool


class Manifest(_Told):
    """What a backup is. Nothing in it is anybody's.

    revision              : the migration the tables are of
    counters              : by table and column, as in "segmentation_runs.run_id"
    id_hash_secret_sha256 : tells whether a secret is the one pseudonyms were made with; None where none was
    secrets_sha256        : of secrets.json
    """

    format: int
    made_at: datetime
    made_by: str
    server: str
    revision: str
    tables: dict[str, Table]
    counters: dict[str, Counter]
    id_hash_secret_sha256: str | None
    secrets_sha256: str

    @property
    def n_rows(self) -> int:
        return sum(table.n_rows for table in self.tables.values())


class Part:
    """One part of a backup that is being written."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member = member
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._member.write(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class BackupWriter:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    @contextmanager
    def table(self, name: str) -> Iterator[Part]:
        with self._archive.open(_member_of(name), "w", force_zip64=True) as member:
            yield Part(member)

    def secrets(self, secrets: Mapping[str, str]) -> str:
        """Returns the checksum of what is written."""
        written = json.dumps(dict(secrets), indent=2).encode()
        self._archive.writestr(_SECRETS, written)
        return hashlib.sha256(written).hexdigest()

    def manifest(self, manifest: Manifest) -> None:
        self._archive.writestr(_MANIFEST, manifest.model_dump_json(indent=2))


@contextmanager
def writing(file: BinaryIO) -> Iterator[BackupWriter]:
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION)
    try:
        yield BackupWriter(archive)
        archive.close()
    finally:
        # Closed already, unless something failed; left open, it would be when it is forgotten, into a closed file.
        with suppress(Exception):
            archive.close()


class Backup:
    """One that was found whole."""

    def __init__(self, archive: zipfile.ZipFile, path: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.path = path
        self._archive = archive

    @property
    def secrets(self) -> dict[str, str]:
        secrets: dict[str, str] = json.loads(self._archive.read(_SECRETS))
        return secrets

    def table(self, name: str) -> IO[bytes]:
        return self._archive.open(_member_of(name))


@contextmanager
def reading(path: Path) -> Iterator[Backup]:
    """A backup, read through once and found whole.

    Raises UnreadableFile for one that is missing, no backup or damaged, BackupTooNew for one of a later version's form.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableFile(
            f"Cannot read {path}: {error.strerror or error}. Check its name and permissions."
        ) from None
    with file:
        with _explained(path):
            archive = zipfile.ZipFile(file)
        with archive:
            with _explained(path):
                manifest = _manifest_of(archive, path)
                _check(archive, manifest)
            yield Backup(archive, path, manifest)


def _manifest_of(archive: zipfile.ZipFile, path: Path) -> Manifest:
    told = json.loads(archive.read(_MANIFEST))
    if told["format"] > FORMAT:
        raise BackupTooNew(path, made_by=str(told.get("made_by")))
    return Manifest.model_validate(told)


def _check(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    parts = {_member_of(name): table.sha256 for name, table in manifest.tables.items()}
    for name, sha256 in {**parts, _SECRETS: manifest.secrets_sha256}.items():
        digest = hashlib.sha256()
        with archive.open(name) as member:
            while piece := member.read(_AT_ONCE):
                digest.update(piece)
        if digest.hexdigest() != sha256:
            raise zipfile.BadZipFile(f"{name} is not what was written")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, RuntimeError, TypeError, OSError) as error:
        raise UnreadableFile(
            f"{path} is no backup, or is damaged ({error}). Nothing was restored. Take another copy of it."
        ) from None


def _member_of(table: str) -> str:
    return f"tables/{table}.copy"
