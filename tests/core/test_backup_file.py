"""A backup's file: what goes in comes out, and nothing comes out of one that is not whole."""

import io
import json
import random
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.core.backup_file import FORMAT, Backup, Counter, Manifest, Table, reading, writing
from app.core.errors import BackupTooNew, UnreadableFile

ROWS = b"".join(b"c%d\tada\t%d.50\n" % (number, number * 7919 % 1_000) for number in range(400))
SECRETS = {"id_hash_secret": "a" * 64}


def write(path: Path, **told: Any) -> Path:
    """A backup of two tables, one of them empty."""
    with path.open("wb") as file, writing(file) as backup:
        tables = {}
        for name, rows in (("customers", ROWS), ("no rows", b"")):
            with backup.table(name) as part:
                for start in range(0, len(rows), 1_000):
                    part.write(rows[start : start + 1_000])
            tables[name] = Table(columns=("id", "name", "spent"), n_rows=rows.count(b"\n"), sha256=part.sha256)
        manifest = Manifest(
            **{"format": FORMAT, "made_at": datetime(2026, 1, 2, tzinfo=UTC), "made_by": "1.2.3", "server": "18.4"}
            | {"revision": "0016", "tables": tables, "counters": {"runs.run_id": Counter(value=7, used=True)}}
            | {"id_hash_secret_sha256": None, "secrets_sha256": backup.secrets(SECRETS), **told}
        )
        backup.manifest(manifest)
    return path


def said(backup: Backup) -> tuple[Any, ...]:
    """All that a backup holds."""
    rows = {name: backup.table(name).read() for name in backup.manifest.tables}
    return backup.manifest, backup.secrets, rows


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write(tmp_path / "shop.backup")


def test_what_goes_in_comes_out(whole: Path) -> None:
    with reading(whole) as backup:
        manifest, secrets, rows = said(backup)
    assert (manifest.made_by, manifest.revision, manifest.n_rows) == ("1.2.3", "0016", 400)
    assert manifest.counters == {"runs.run_id": Counter(value=7, used=True)}
    assert secrets == SECRETS
    assert rows == {"customers": ROWS, "no rows": b""}


def test_another_tool_can_take_it_apart(whole: Path) -> None:
    with zipfile.ZipFile(whole) as archive:
        assert archive.namelist() == [
            *("tables/customers.copy", "tables/no rows.copy", "secrets.json", "manifest.json"),
        ]
        assert archive.read("tables/customers.copy") == ROWS


def test_a_file_cut_short_anywhere_is_refused(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    cut = tmp_path / "cut.backup"
    for length in (*range(0, len(content) - 1, 97), len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(UnreadableFile, match="no backup, or is damaged"), reading(cut):
            pytest.fail(f"the first {length} bytes were taken")


def test_a_byte_that_changed_is_noticed_or_does_not_matter(whole: Path, tmp_path: Path) -> None:
    with reading(whole) as backup:
        before = said(backup)
    content = bytearray(whole.read_bytes())
    damaged = tmp_path / "damaged.backup"
    noticed = 0
    rng = random.Random(5)
    places = rng.sample(range(len(content)), 400)
    for place in places:
        kept = content[place]
        content[place] ^= 1 << rng.randrange(8)
        damaged.write_bytes(content)
        content[place] = kept
        try:
            with reading(damaged) as backup:
                assert said(backup) == before
        except (UnreadableFile, BackupTooNew):
            noticed += 1
    assert noticed > 300


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file"), (b"", "no backup"), (b"SELECT 1;\n" * 90, "no backup")],
    ids=["missing", "empty", "something else"],
)
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "shop.backup"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=complaint), reading(path):
        pytest.fail("it was taken")


@pytest.mark.parametrize("manifest", [b"[]", b"{}", b'{"format": "1"}', b'{"format": 1}', b'{"format": null}', b"\xff"])
def test_a_manifest_that_says_nothing_is_refused(tmp_path: Path, manifest: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "shop.backup", "w") as archive:
        archive.writestr("manifest.json", manifest)
    with pytest.raises(UnreadableFile, match="no backup"), reading(tmp_path / "shop.backup"):
        pytest.fail("it was taken")


def test_a_backup_of_a_later_form_names_the_version_it_needs(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.backup", format=FORMAT + 1, made_by="9.0.0")
    with pytest.raises(BackupTooNew, match=r"version 9\.0\.0"), reading(path):
        pytest.fail("it was taken")


def test_what_a_later_version_adds_is_passed_over(whole: Path, tmp_path: Path) -> None:
    """As long as the form is the same."""
    with zipfile.ZipFile(whole) as before, zipfile.ZipFile(tmp_path / "new.backup", "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == "manifest.json":
                content = json.dumps({**json.loads(content), "colour": "blue"}).encode()
            after.writestr(name, content)
    with reading(tmp_path / "new.backup") as backup:
        assert backup.manifest.n_rows == 400


def test_one_that_was_broken_off_leaves_no_half_of_it_to_be_taken_for_a_whole(tmp_path: Path) -> None:
    file = io.BytesIO()
    with pytest.raises(RuntimeError), writing(file) as backup, backup.table("customers") as part:
        part.write(ROWS)
        raise RuntimeError
    (tmp_path / "half.backup").write_bytes(file.getvalue())
    with pytest.raises(UnreadableFile), reading(tmp_path / "half.backup"):
        pytest.fail("it was taken")
