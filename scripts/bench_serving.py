"""How fast it answers: profiles under load, one customer scored anew, and a bare checkout to a page.

Each figure stands beside what it is compared with in the same run, in turns: so the ratios hold on a noisy machine.
"""

import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import uvloop

from app.core.config import load_settings
from app.pipeline.score import score_customer
from app.resources import open_database
from scripts.bench_server import CONSTANT

CONNECTIONS = 32
LOAD_SECONDS = 4.0
CUSTOMERS = 5_000
ASKED = 2_000  # different customers, in turn
SCORED = 1_000
STORE = "default"
_PROJECT = Path(__file__).resolve().parents[1]
_UP_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the page. wanted : what must be reached, in words"""

    what: str
    wanted: str
    reached: str
    runs: str


def measure(repeat: int) -> list[Line]:
    """Profiles and scoring on the built-in shop, then a checkout of the committed state from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"DATA_DIR": folder, "ENV": "development", "LOG_LEVEL": "WARNING", "DATABASE_URL": ""}
        settings |= {"STORE_ID": STORE, "API_KEY": secrets.token_hex(24)}
        _note("loading the built-in shop")
        for command in (["sample", "--customers", str(CUSTOMERS)], ["segment"]):
            subprocess.run(
                [sys.executable, "-m", "app", *command],
                env=os.environ | settings,
                cwd=_PROJECT,
                check=True,
                capture_output=True,
            )
        return [*_profiles(settings, repeat), _scoring(settings, repeat), *_from_nothing()]


def _profiles(settings: dict[str, str], repeat: int) -> list[Line]:
    """Requests a second: a profile by id, a constant route of the same app, Starlette with the same bytes."""
    key = f"X-API-Key: {settings['API_KEY']}"
    folder = Path(settings["DATA_DIR"])
    body, constant, profiles = folder / "body", folder / "constant", folder / "profiles"
    body.write_text("{}")
    constant.write_text(CONSTANT)
    profiles.write_text("\n".join(f"/api/mcp/customer/C{number:07}" for number in range(1, ASKED + 1)))
    with _serving(["scripts.bench_server", "app", "--body", str(body)], settings) as port:
        body.write_bytes(_get(port, "/api/mcp/customer/C0000001", settings["API_KEY"]))
    rounds = []
    with (
        _serving(["scripts.bench_server", "app", "--body", str(body)], settings) as app,
        _serving(["scripts.bench_server", "bare", "--body", str(body)], settings) as bare,
    ):
        for number in range(repeat):
            _note(f"profiles under load, {number + 1} of {repeat}")
            rounds.append(
                {
                    "profile": _load(app, profiles, key),
                    "constant": _load(app, constant, key),
                    "bare": _load(bare, constant, ""),
                }
            )
    wrong = sum(each["not_ok"] for found in rounds for each in found.values())
    if wrong:
        raise RuntimeError(f"{wrong} requests were not answered with 200")

    def ratio(reference: str) -> list[float]:
        return [found["profile"]["per_second"] / found[reference]["per_second"] for found in rounds]

    p99 = [found["profile"]["p99_ms"] for found in rounds]
    rates = {name: statistics.median(found[name]["per_second"] for found in rounds) for name in rounds[0]}
    said = ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items())
    return [
        _line(
            f"profile by id, against a constant route of the same app ({said})", ">= .40", ratio("constant"), "{:.2f}"
        ),
        _line(
            f"profile by id, against bare Starlette with the same {body.stat().st_size:,} bytes",
            ">= .13",
            ratio("bare"),
            "{:.2f}",
        ),
        _line(f"profile by id, p99 at {CONNECTIONS} connections", "-", p99, "{:.0f} ms"),
    ]


def _scoring(settings: dict[str, str], repeat: int) -> Line:
    """One customer after the other: orders read, features, placed, text and rows stored, committed."""

    async def times() -> list[float]:
        found = []
        async with open_database(load_settings()) as database:
            await score_customer(database, STORE, "C0000001", keep=True)  # reads the run and prepares the query
            for number in range(SCORED):
                began = time.perf_counter()
                await score_customer(database, STORE, f"C{number + 1:07}", keep=True)
                found.append(1000 * (time.perf_counter() - began))
        return sorted(found)

    p99s, medians = [], []
    with _environment(settings):
        for number in range(repeat):
            _note(f"customers scored anew, {number + 1} of {repeat}")
            found = uvloop.run(times())
            p99s.append(found[int(0.99 * (SCORED - 1))])
            medians.append(statistics.median(found))
    what = f"one customer scored anew and stored, p99 of {SCORED:,} (median {statistics.median(medians):.1f} ms)"
    return _line(what, "<= 20 ms", p99s, "{:.1f} ms")


def _from_nothing() -> list[Line]:
    """`make demo` in a new clone, with pip, until the page answers about segmented customers; and once more."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(_PROJECT), str(clone)], check=True)  # noqa: S607
        # As on a machine that has Python, pip, make and git alone.
        path = os.pathsep.join(
            each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "uv").exists()
        )
        settings = {"PATH": path, "LOG_LEVEL": "WARNING", "API_KEY": secrets.token_hex(24), "DATABASE_URL": ""}
        _note("make demo from nothing")
        first = _demo(clone, settings)
        _note("make demo again")
        second = _demo(clone, settings)
        size = sum(each.stat().st_size for each in (clone / ".venv").rglob("*") if each.is_file()) / 2**20
    return [
        Line("make demo from nothing, with pip, to a page with segmented customers", "<= 120 s", f"{first:.0f} s", "1"),
        Line("make demo, second start", "<= 5 s", f"{second:.1f} s", "1"),
        Line("what it installs", "< 1,024 MiB", f"{size:,.0f} MiB", "1"),
    ]


def _demo(clone: Path, settings: dict[str, str]) -> float:
    port = _free_port()
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
        while time.monotonic() - began < _UP_SECONDS and process.poll() is None:
            with suppress(URLError, OSError):
                told = json.loads(_get(port, "/api/mcp/archetypes/top?limit=1", settings["API_KEY"]))
                _get(port, "/", settings["API_KEY"])
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


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _serving(module: Sequence[str], settings: dict[str, str]) -> Iterator[int]:
    """A server on a free port, from when it answers until the block ends."""
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *module, "--port", str(port)], env=os.environ | settings, cwd=_PROJECT
    )
    try:
        until = time.monotonic() + _UP_SECONDS
        while time.monotonic() < until and process.poll() is None:
            with suppress(URLError, OSError):
                _get(port, CONSTANT, settings["API_KEY"])
                break
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _load(port: int, paths: Path, header: str) -> dict[str, float]:
    command = [sys.executable, "-m", "scripts.bench_load", "--port", str(port), "--paths", str(paths)]
    command += ["--seconds", str(LOAD_SECONDS), "--connections", str(CONNECTIONS), "--header", header]
    done = subprocess.run(command, cwd=_PROJECT, check=True, capture_output=True, text=True, timeout=10 * LOAD_SECONDS)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _get(port: int, path: str, key: str) -> bytes:
    request = Request(f"http://127.0.0.1:{port}{path}", headers={"X-API-Key": key})
    with urlopen(request, timeout=10) as answer:  # noqa: S310  our own server
        told: bytes = answer.read()
        return told


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _line(what: str, wanted: str, runs: Sequence[float], form: str) -> Line:
    every = ", ".join(form.format(each) for each in runs)
    return Line(what, wanted, form.format(statistics.median(runs)), every)


def _note(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


def lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """The part of the page."""
    table = [
        "## Serving",
        "",
        f"The built-in shop of {CUSTOMERS:,} customers; {CONNECTIONS} connections on loopback, one worker.",
        "",
    ]
    table += ["| what | wanted | reached | all runs |", "| --- | --- | --- | --- |"]
    return table + [f"| {each['what']} | {each['wanted']} | {each['reached']} | {each['runs']} |" for each in found]
