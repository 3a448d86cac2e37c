"""The documentation holds: links lead somewhere, commands and examples run, tables say what is so."""

import asyncio
import csv
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import text

from app.api.admin.schemas import Accepted, Jobs, RunStatus
from app.api.analytics.schemas import Anomalies, Cohorts, Drift, WhatIf
from app.api.archetypes.schemas import (
    ArchetypeDetail,
    ArchetypesGrowth,
    Kinds,
    Lineage,
    OneAxis,
    RfmGroups,
    TopArchetypes,
)
from app.api.churn.schemas import AtRisk, ChurnAggregate
from app.api.customers.schemas import AxisWhy, ChurnRisk, CustomerProfile, FoundCustomers, History, Orders
from app.api.growth.schemas import Growth, RevenueForecast
from app.api.health.schemas import Health
from app.api.models.schemas import ModelBacktest, Models
from app.core.config import Environment, Settings
from app.core.problems import Problem
from app.resources import open_database
from app.sources.csv_file import CsvSource
from app.sources.csv_presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
KEY = "a-key-for-the-examples"


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
    """A folder with the orders.csv that the README speaks of, and the tickets.csv of the page on importing."""
    folder = tmp_path_factory.mktemp("shop")
    rng = random.Random(3)
    with (folder / "orders.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["Client", "Date", "Total"])
        for _ in range(600):
            day = f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
            out.writerow([f"client-{rng.randint(1, 160)}", day, f"{rng.uniform(3, 80):.2f}"])
    with (folder / "tickets.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["Ticket", "Client", "Opened", "channel", "topic", "resolved_at", "satisfaction"])
        for number in range(500):
            opened = f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 27):02}"
            way, topic = rng.choice(["E-Mail", "Phone", "Live chat"]), rng.choice(["delivery", "returns", ""])
            client, rating = f"client-{rng.randint(1, 160)}", rng.choice(["", "2", "5"])
            out.writerow([number, client, f"{opened} 10:00", way, topic, f"{opened} 16:30", rating])
    return folder


def environment(folder: Path, **settings: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LOG_LEVEL": "WARNING",
        "DATA_DIR": str(folder / "data"),
        "PYTHONPATH": str(ROOT),
        **settings,
    }


def run(arguments: list[str], folder: Path, **settings: str) -> str:
    done = subprocess.run(
        arguments, cwd=folder, env=environment(folder, **settings), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def started(command: list[str], folder: Path, **settings: str) -> Iterator[int]:
    """A command that serves: its port, from when it is ready until the block ends. It must then end in order."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder, PORT=str(port), **settings), stdout=said, stderr=said
        )
        try:
            until = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < until:
                with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
                    break
                time.sleep(0.1)
            yield port
            process.send_signal(signal.SIGINT)
            ended = process.wait(60)
            said.seek(0)
            assert ended == 0, said.read().decode()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)


@pytest.fixture(scope="module")
def demo(shop: Path) -> Iterator[int]:
    """The built-in shop, small, served as `make demo` serves it."""
    command = [sys.executable, "-m", "app", "demo"]
    with started(command, shop, ENV="development", DEMO_CUSTOMERS="300", API_KEY=KEY, ADMIN_KEY=f"{KEY}-admin") as port:
        yield port


def until_published(port: int, status_url: str) -> None:
    request = Request(f"http://127.0.0.1:{port}{status_url}", headers={"X-API-Key": f"{KEY}-admin"})
    until = time.monotonic() + 180
    while time.monotonic() < until:
        if json.load(urlopen(request, timeout=10))["status"] == "published":  # noqa: S310
            return
        time.sleep(0.2)
    pytest.fail(f"{status_url}: it has not been published in time")


def documented_commands() -> list[object]:
    """Every line of every block of shell there is, with the page it stands on; lines that end in \\ go on."""
    return [
        pytest.param(line, id=f"{page.name}: {line[:60]}")
        for page in PAGES
        for body in blocks(page, "sh")
        for line in body.replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    ]


def runnable(command: str, port: int) -> list[str]:
    command = re.sub(r"\s+#.*$", "", command)
    for written, meant in (
        (".venv/bin/python", sys.executable),
        ("scripts/", f"{ROOT}/scripts/"),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:{port}"),
        ("curl -s ", "curl -sS --fail-with-body "),
    ):
        command = command.replace(written, meant)
    return ["bash", "-c", command]


@pytest.mark.parametrize("command", documented_commands())
def test_every_documented_command_runs_as_it_stands(shop: Path, demo: int, command: str) -> None:
    """In the order of the pages, beside the running demo: what one imports the next segments."""
    if command.startswith("make "):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
    elif command.startswith("export API_KEY=..."):
        pass  # the reader puts in their own; the test has put in its own
    elif "app serve" in command:
        command = command.replace("API_KEY=...", f"API_KEY={KEY}", 1).replace("ADMIN_KEY=...", f"ADMIN_KEY={KEY}-admin")
        with started(["bash", "-c", f"exec env {runnable(command, 0)[-1]}"], shop) as port:
            assert urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
    elif "demo" in command.split():
        pytest.fail("demo serves until it is stopped: write `make demo`")
    elif command.startswith("curl ") and shutil.which("curl") is None:
        pytest.skip("curl is not installed here, so its documented examples are not run")
    else:
        told = run(runnable(command, demo), shop, API_KEY=KEY, ADMIN_KEY=f"{KEY}-admin", ENV="development")
        if "-X POST" in command and "/api/admin/cluster" in command:
            until_published(demo, json.loads(told)["status_url"])  # the store is taken until then
        if command.startswith("curl ") and "/metrics" not in command:
            assert json.loads(told), command


def test_the_export_of_the_readme_holds_every_membership(shop: Path) -> None:
    assert (shop / "segments.csv").stat().st_size > 10_000


def test_the_library_example_of_the_readme_runs_as_it_stands(shop: Path, demo: int) -> None:
    (example,) = blocks(ROOT / "README.md", "python")
    printed = run([sys.executable, "-c", example], shop).splitlines()
    assert len(printed) == 3
    assert printed[0].startswith("['")


def test_the_query_of_the_readme_answers(shop: Path, demo: int) -> None:
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


#: What a documented answer is, by a field that only it has.
ANSWERS = {
    "projections": Growth,
    "projected_distribution": ArchetypesGrowth,
    "targets": RevenueForecast,
    "repeat_share": WhatIf,  # before "models", which it has too
    "status_url": Accepted,
    "progress": RunStatus,
    "fuzzy_memberships": CustomerProfile,
    "contributions": ChurnRisk,
    "churn_risk_distribution": ChurnAggregate,
    "total_ltv_at_risk": AtRisk,
    "models": Models,
    "horizons": ModelBacktest,
    "query": FoundCustomers,
    "snapshots": History,
    "velocities": Drift,
    "cohorts": Cohorts,
    "archetypes_compared": Anomalies,  # before "metric", which it has too
    "metric": TopArchetypes,
    "steps": Lineage,
    "metrics": ArchetypeDetail,
    "measures": OneAxis,
    "segments": Kinds,
    "groups": RfmGroups,
    "matching_orders": Orders,
    "data_status": Health,
    "jobs": Jobs,
    "instance": Problem,
}


def documented_answers() -> list[dict[str, object]]:
    """Without the one that shows a part of a profile alone, by axis."""
    documented = [json.loads(body) for body in blocks(ROOT / "docs" / "API_DOCUMENTATION.md", "json")]
    return [answer for answer in documented if "purchase_frequency" not in answer]


def test_the_documented_reasons_have_every_field_and_add_up() -> None:
    (body,) = [
        body for body in blocks(ROOT / "docs" / "API_DOCUMENTATION.md", "json") if '"purchase_frequency": {' in body
    ]
    ((_, told),) = json.loads(body).items()
    assert AxisWhy.model_validate(told).model_dump() == told
    made = told["typical_membership"] + sum(each["contribution"] for each in told["contributions"])
    assert made == pytest.approx(told["membership"])


def test_the_documented_answers_have_every_field_and_no_other() -> None:
    """Fields that are there only when something is asked for beside need not be shown."""
    documented = documented_answers()
    kinds = [next(kind for field, kind in ANSWERS.items() if field in answer) for answer in documented]
    assert set(kinds) == set(ANSWERS.values())
    for answer, kind in zip(documented, kinds, strict=True):
        kind.model_validate(answer)
        missing = set(kind.model_fields) - set(answer)
        assert missing <= {"orders", "why", "errors", "rules_as_of"}, (kind, missing)
