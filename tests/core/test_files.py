"""A file is there whole or not at all."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.errors import InvalidInput
from app.core.files import check_writable, whole_file, write_whole


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


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "text"


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_whole(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()


def test_a_file_is_as_private_as_the_process_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "out.csv", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_whole(tmp_path / "out.csv", "text")
    with whole_file(tmp_path / "out.csv", private=True) as file:
        file.write(b"secret")
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def room_for_5_000_bytes() -> Iterator[None]:
    """In a file of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("room_for_5_000_bytes")
@pytest.mark.parametrize("sizes", [[100_000], [6_000], [3_000, 3_000, 3_000]], ids=["large", "buffered", "in pieces"])
def test_a_place_that_takes_no_more_is_named_and_nothing_left_there(tmp_path: Path, sizes: list[int]) -> None:
    full = pytest.raises(InvalidInput, match=r"Cannot write .*out\.csv: File too large")
    with full, whole_file(tmp_path / "out.csv") as file:
        for size in sizes:
            file.write(b"x" * size)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_takes_no_more_is_named() -> None:
    with pytest.raises(InvalidInput, match="Cannot write /dev/full: No space left on device"):
        write_whole(Path("/dev/full"), "text")


def test_an_error_of_somebody_else_is_not_taken_for_the_files(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), whole_file(tmp_path / "out.csv"):
        raise ConnectionResetError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", "nowhere/out.csv"])
def test_whether_a_place_can_be_written_is_known_beforehand(tmp_path: Path, path: str) -> None:
    check_writable(tmp_path / "out.csv")
    with pytest.raises(InvalidInput, match="Cannot write"):
        check_writable(tmp_path / path)
