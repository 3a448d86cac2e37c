"""`export customer` and `erase`, as people run them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli import parser_of
from tests.cli.test_commands import assert_one_line_of_error, table_row

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
ORDERS = """customer_id,order_date,order_id,product,amount,email
ada,2024-01-05,o1,tea,5.00,ada@shop.test
bea,2024-01-06,o2,tea,7.00,bea@shop.test
ada,2024-02-05,o3,jam,3.00,ada@shop.test
"""


#: Tells on stderr, where nothing is logged, what the audit log holds of the shop, the oldest first.
NOTED = """
import asyncio, json, sys
from app.core.config import Settings
from app.resources import open_database

async def main():
    async with open_database(Settings(_env_file=None)) as database:
        query = "SELECT key_id, action, subjects, object FROM audit_log WHERE store_id = 'two' ORDER BY audit_id"
        found = json.dumps([list(row.values()) for row in await database.rows(query)])
    print(found, file=sys.stderr)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a data folder, which the module's tests share."""
    folder = tmp_path_factory.mktemp("privacy")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DATA_DIR": str(folder / "data"),
        "ENV": "development",
        "LOG_LEVEL": "WARNING",
    }


@pytest.fixture(scope="module")
def run(environment: dict[str, str]) -> Iterator[Run]:
    """Runs `python -m app …` over the data folder with a shop of two customers."""
    folder = Path(environment["HOME"])

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "app", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

    (folder / "orders.csv").write_text(ORDERS)
    again = ("import", "csv", folder / "orders.csv", "--store", "two")
    assert run(*again).returncode == 0

    def run_or_import(*arguments: object) -> subprocess.CompletedProcess[str]:
        return run(*(again if arguments == ("import again",) else arguments))

    yield run_or_import


def noted(environment: dict[str, str]) -> list[list[Any]]:
    """Who did what to whom, and what else it was about."""
    command = [sys.executable, "-c", NOTED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return list(json.loads(done.stderr))


def noted_in(held: dict[str, Any]) -> list[Any]:
    """What the audit log holds of the person, taken out of the export."""
    (person,) = held["people"]
    (log,) = [table for table in person["tables"] if table["table"] == "audit_log"]
    rows, log["rows"] = log["rows"], []
    return list(rows)


def test_everything_held_of_one_is_written_as_json(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "ada.json"
    done = run("export", "customer", "ada", "--store", "two", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"6 rows of 15 tables written to {out}.\n"
    assert out.stat().st_mode & 0o777 == 0o600
    held = json.loads(out.read_text())
    again = json.loads(run("export", "customer", "ada", "--store", "two").stdout)
    assert (noted_in(held), len(noted_in(again))) == ([], 1)  # that they were exported is noted too
    assert held == {**again, "exported_at": held["exported_at"]}
    (person,) = held["people"]
    there = {each["table"]: each["rows"] for each in person["tables"]}
    assert [each["order_id"] for each in there["orders"]] == ["o1", "o3"]
    assert "bea" not in out.read_text()


def test_what_cannot_be_exported_is_one_clear_line(run: Run, tmp_path: Path) -> None:
    assert_one_line_of_error(run("export", "customer", "nobody", "--store", "two"), "no customer 'nobody'")
    nowhere = ("--out", tmp_path / "no" / "ada.json")
    assert_one_line_of_error(run("export", "customer", "ada", "--store", "two", *nowhere), "Cannot write")


@pytest.mark.parametrize("words", [("export", "customer"), ("erase",), ("erase", "ada", "bea")])
def test_one_customer_is_named_or_it_is_wrong_usage(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser_of(words[0]).parse_args(words)


def test_what_is_done_to_a_key_is_noted(run: Run, environment: dict[str, str]) -> None:
    made = run("keys", "create", "--scope", "support", "--store", "two")
    assert made.returncode == 0, made.stderr
    first = made.stdout.split()[1]
    rotated = run("keys", "rotate", first)
    assert rotated.returncode == 0, rotated.stderr
    second = rotated.stdout.split()[1]
    for _ in range(2):  # the second time nothing is done
        assert run("keys", "revoke", second).returncode == 0
    assert [note for note in noted(environment) if note[1].startswith("key.")] == [
        ["command line", "key.create", [], first],
        ["command line", "key.rotate", [], f"{first} by {second}"],
        ["command line", "key.revoke", [], second],
    ]


def test_one_is_erased_with_a_receipt_and_does_not_come_back(run: Run, environment: dict[str, str]) -> None:
    done = run("erase", "ada", "--store", "two")
    assert done.returncode == 0, done.stderr
    assert table_row(done.stdout, "state") == ["done"]
    assert table_row(done.stdout, "orders") == ["2"]
    assert "command line" in done.stdout
    assert "ada" not in done.stdout + done.stderr
    assert_one_line_of_error(run("export", "customer", "ada", "--store", "two"), "no customer 'ada'")
    (receipt,) = table_row(done.stdout, "receipt")
    notes = [note for note in noted(environment) if note[1].startswith("person.")]
    assert notes[-1] == ["command line", "person.erase", [], receipt]
    # That they were exported before stays noted, and no longer names them.
    assert all(note == ["command line", "person.export", [], None] for note in notes[:-1])
    assert table_row(run("erase", "ada", "--store", "two").stdout, "receipt") == [receipt]
    again = run("import again")
    assert again.returncode == 0, again.stderr
    assert "left out: erased" in again.stdout
    assert table_row(again.stdout, "orders") == ["3", "0", "0", "1", "2"]
    assert_one_line_of_error(run("erase", "nobody", "--store", "two"), "no customer 'nobody'")
