"""The documentation holds: links lead somewhere, commands and examples run, tables say what is so."""

import asyncio
import csv
import os
import random
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.config import Environment, Settings
from app.resources import open_database
from app.sources.csv_file import CsvSource
from app.sources.csv_presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
APP = ".venv/bin/python -m app "


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in LINK.findall((ROOT / "README.md").read_text())}
    assert set(PAGES) - {ROOT / "README.md"} <= linked


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(page.read_text()) if found == language]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the orders.csv that the README speaks of."""
    folder = tmp_path_factory.mktemp("shop")
    rng = random.Random(3)
    with (folder / "orders.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["Client", "Date", "Total"])
        for _ in range(600):
            day = f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
            out.writerow([f"client-{rng.randint(1, 160)}", day, f"{rng.uniform(3, 80):.2f}"])
    return folder


def run(arguments: list[str], folder: Path, **settings: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LOG_LEVEL": "WARNING", **settings}
    environment |= {"DATA_DIR": str(folder / "data"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_of_the_readme_run_as_they_stand(shop: Path) -> None:
    commands = [line for body in blocks(ROOT / "README.md", "sh") for line in body.splitlines() if line.startswith(APP)]
    assert len(commands) == 3
    for command in commands:
        run(["-m", "app", *shlex.split(command.removeprefix(APP))], shop)
    assert (shop / "segments.csv").stat().st_size > 10_000


def test_the_library_example_of_the_readme_runs_as_it_stands(shop: Path) -> None:
    run(["-m", "app", "demo"], shop, DEMO_CUSTOMERS="300")
    (example,) = blocks(ROOT / "README.md", "python")
    printed = run(["-c", example], shop).splitlines()
    assert len(printed) == 3
    assert printed[0].startswith("['")


def test_the_query_of_the_readme_answers(shop: Path) -> None:
    (query,) = blocks(ROOT / "README.md", "sql")

    async def ask() -> int:
        settings = Settings(_env_file=None, env=Environment.development, data_dir=shop / "data")
        async with open_database(settings) as database, database.snapshot() as connection:
            return len((await connection.execute(text(query.strip().rstrip(";")))).all())

    assert asyncio.run(ask()) > 100


def test_every_preset_has_its_section() -> None:
    sections = anchors(ROOT / "docs" / "IMPORTING.md")
    assert set(PRESETS) <= sections


def test_the_fates_of_online_retail_are_as_the_page_says(real_data_dir: Path) -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| ([^|]+) \| \**([\d,]+)\** \| \**(-?[\d,.]+)\** \|$",
        (ROOT / "docs" / "IMPORTING.md").read_text(),
        flags=re.MULTILINE,
    )
    said = [(int(n.replace(",", "")), Decimal(money.replace(",", ""))) for _, _, n, money in rows]
    source = CsvSource([real_data_dir / "online_retail" / "online_retail.csv.gz"], preset="online-retail")
    for _ in source.batches():
        pass
    account = source.account
    tallies = [*account.set_aside.values(), *account.taken.values(), account.read]
    assert sorted(said) == sorted((tally.rows, tally.money) for tally in tallies)
