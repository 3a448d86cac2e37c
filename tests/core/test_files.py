"""A file is there whole or not at all."""

from pathlib import Path

import pytest

from app.core.errors import InvalidInput
from app.core.files import whole_file, write_whole


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with whole_file(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_whole(path, "before")
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"Cannot write .*nowhere/out\.csv: No such file or directory"):
        write_whole(tmp_path / "nowhere" / "out.csv", "text")
