"""`backup` and `restore` as people and cron run them: real processes, two data folders, one line of error."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs `python -m app …` over a data folder in a folder that the module's tests share."""
    home = tmp_path_factory.mktemp("backups")

    def run(data: str, *arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "DATA_DIR": str(home / data),
            "ENV": "development",
            "LOG_LEVEL": "WARNING",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        command = [sys.executable, "-m", "app", *map(str, arguments)]
        return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120)

    done = run("here", "sample", "--customers", "40")
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def kept(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "shop.backup"
    done = run("here", "backup", "--out", path)
    assert done.returncode == 0, done.stderr
    assert "rows of" in done.stdout
    assert "keep it as you keep those" in done.stdout
    return path


def stores(run: Run, data: str) -> str:
    told = run(data, "doctor").stdout
    return told[told.index("Stores") :]


def assert_refused(done: subprocess.CompletedProcess[str], *expected: str) -> None:
    assert done.returncode == 1
    complaints = [line for line in done.stderr.splitlines() if not line.lstrip()[:1].isdigit()]  # without progress
    assert len(complaints) == 1, done.stderr
    for part in expected:
        assert part in complaints[0]


def test_a_shop_is_brought_to_another_data_folder(run: Run, kept: Path) -> None:
    done = run("there", "restore", kept)
    assert done.returncode == 0, done.stderr
    assert "restored, as they were on 20" in done.stdout
    assert stores(run, "there") == stores(run, "here")


def test_a_second_restore_is_refused(run: Run, kept: Path) -> None:
    assert_refused(run("here", "restore", kept), "The database is not empty", "DATA_DIR")


def test_what_cannot_be_restored_is_one_clear_line(run: Run, kept: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.backup"
    cut.write_bytes(kept.read_bytes()[:-100])
    assert_refused(run("there too", "restore", cut), str(cut), "damaged")
    assert_refused(run("there too", "restore", tmp_path / "absent"), "No such file")


def test_what_cannot_be_written_is_one_clear_line(run: Run, tmp_path: Path) -> None:
    assert_refused(run("here", "backup", "--out", tmp_path / "nowhere" / "x"), "Cannot write")
    assert_refused(run("here", "backup", "--out", tmp_path), "Cannot write")
    assert_refused(run("here", "backup", "--out", "/dev/full"), "Cannot write /dev/full: No space left on device")


def test_the_help_says_loudly_that_the_file_is_secret(run: Run) -> None:
    assert "THE FILE IS SECRET" in run("here", "backup", "--help").stdout
