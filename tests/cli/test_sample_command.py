"""`sample`: which shop is loaded, and the truth beside it."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def sample(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "LOG_LEVEL": "WARNING"}
    environment |= {"DATA_DIR": str(folder / "data"), "DEMO_CUSTOMERS": "40"}
    command = [sys.executable, "-m", "app", "sample", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_truth_is_written_beside_the_store(tmp_path: Path) -> None:
    done = sample(tmp_path, "--store", "a", "--customers", "30", "--truth", "truth.csv")
    assert done.returncode == 0, done.stderr
    assert "each of 39 customers" in done.stdout
    with (tmp_path / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 39
    assert sum(bool(row["type_name"]) for row in rows) == 30


def test_the_demos_size_is_that_of_the_settings(tmp_path: Path) -> None:
    done = sample(tmp_path, "--store", "a", "--size", "demo")
    assert done.returncode == 0, done.stderr
    assert "Synthetic: 40 made-up buyers" in done.stdout


def test_a_truth_that_cannot_be_written_stops_before_anything_is_loaded(tmp_path: Path) -> None:
    done = sample(tmp_path, "--customers", "30", "--truth", "no/such/folder/truth.csv")
    assert done.returncode == 1
    assert "Cannot write" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [("--size", "documents", "--customers", "5"), ("--size", "huge")])
def test_a_size_and_a_number_exclude_each_other_and_sizes_are_known(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = sample(tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
