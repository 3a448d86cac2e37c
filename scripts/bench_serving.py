"""How fast it is there: one customer scored anew, and a bare checkout to a page."""

import json
import os
import secrets
import signal
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import uvloop

from app.pipeline.score import score_customer
from scripts.bench_discovery import discover
from scripts.bench_measured import apart, note, open_database
from scripts.bench_page import Figure, Section
from scripts.bench_service import PROJECT, UP_SECONDS, free_port, get
from scripts.bench_shops import STORE, Shop, Shops

CUSTOMERS = 5_000
SCORED = 1_000


def measure(shops: Shops, repeat: int) -> Section:
    """Scoring on the built-in shop, then a checkout of the committed state from nothing."""
    shop = shops.of(CUSTOMERS)
    apart(discover, shop.url)
    return Section(
        name="serving",
        title="Scoring and starting",
        told=f"the built-in shop of {CUSTOMERS:,} customers, scored one after the other; a bare checkout to a page.",
        figures=(_scoring(shop, repeat), *_from_nothing()),
    )


def settings_for(shop: Shop, folder: str) -> dict[str, str]:
    """The environment of a service over that shop. folder : for its secrets"""
    return {
        "DATABASE_URL": shop.url,
        "DATA_DIR": folder,
        "ENV": "development",
        "LOG_LEVEL": "WARNING",
        "RATE_LIMIT_PER_MINUTE": "0",
        "HOST": "127.0.0.1",
        "STORE_ID": STORE,
        "API_KEY": secrets.token_hex(24),
        "ADMIN_KEY": secrets.token_hex(24),
    }


def write_paths(file: Path, n_customers: int) -> None:
    """The paths of so many customers' profiles, one a line."""
    file.write_text("\n".join(f"/api/mcp/customer/C{number:07}" for number in range(1, n_customers + 1)))


def _scoring(shop: Shop, repeat: int) -> Figure:
    """One customer after the other: orders read, features, placed, text and rows stored, committed."""
    p99s, medians = [], []
    for number in range(repeat):
        note(f"customers scored anew, {number + 1} of {repeat}")
        found = apart(score_one_by_one, shop.url, SCORED)
        p99s.append(1000 * found[int(0.99 * (len(found) - 1))])
        medians.append(1000 * statistics.median(found))
    return Figure(
        f"one customer scored anew and stored, p99 of {SCORED:,}",
        tuple(p99s),
        "{:.1f} ms",
        at_most=20,
        where=f"median {statistics.median(medians):.1f} ms",
    )


def score_one_by_one(url: str, n_customers: int) -> list[float]:
    """Score the first so many customers one after the other; how many seconds each took, in rising order."""

    async def times() -> list[float]:
        database = open_database(url)
        await score_customer(database, STORE, "C0000001", keep=True)  # reads the run and prepares the query
        found = []
        for number in range(1, n_customers + 1):
            began = time.perf_counter()
            await score_customer(database, STORE, f"C{number:07}", keep=True)
            found.append(time.perf_counter() - began)
        await database.close()
        return sorted(found)

    return uvloop.run(times())


def _from_nothing() -> list[Figure]:
    """`make demo` in a new clone, with pip, until the page answers about segmented customers; and once more."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)  # noqa: S607
        # As on a machine that has Python, pip, make and git alone.
        path = os.pathsep.join(
            each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "uv").exists()
        )
        settings = {"PATH": path, "LOG_LEVEL": "WARNING", "API_KEY": secrets.token_hex(24), "DATABASE_URL": ""}
        note("make demo from nothing")
        first = _demo(clone, settings)
        note("make demo again")
        second = _demo(clone, settings)
        size = sum(each.stat().st_size for each in (clone / ".venv").rglob("*") if each.is_file()) / 2**20
    return [
        Figure(
            "make demo from nothing, with pip, to a page with segmented customers", (first,), "{:.0f} s", at_most=120
        ),
        Figure("make demo, second start", (second,), "{:.1f} s", at_most=5),
        Figure("what it installs", (size,), "{:,.0f} MiB", at_most=1024),
    ]


def _demo(clone: Path, settings: dict[str, str]) -> float:
    port = free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        ["make", "demo"],  # noqa: S607
        cwd=clone,
        env=_without_ours(os.environ) | settings | {"PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while time.monotonic() - began < UP_SECONDS and process.poll() is None:
            with suppress(URLError, OSError):
                told = json.loads(get(port, "/api/mcp/archetypes/top?limit=1", settings["API_KEY"]))
                get(port, "/", settings["API_KEY"])
                if told["archetypes"]:
                    return time.monotonic() - began
            time.sleep(0.05)
        raise RuntimeError("make demo did not come up")
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def _without_ours(environment: "os._Environ[str]") -> dict[str, str]:
    """Not the virtual environment this runs in, nor its settings."""
    return {name: value for name, value in environment.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH", "DATA_DIR"}}
