"""`serve`, `demo` and `keys` as people run them: real processes, a real port, stopped as people stop them."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
STARTING_SECONDS = 120


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(folder: Path, **settings: str) -> dict[str, str]:
    own = {"PATH": os.environ["PATH"], "HOME": str(folder), "DATA_DIR": str(folder / "data"), "LOG_LEVEL": "WARNING"}
    return own | settings


@contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that serves, once it has printed its last line before serving; stopped where a test left it running."""
    command = [sys.executable, "-m", "app", *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(folder, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            end(process)


def end(process: "subprocess.Popen[Any]") -> None:
    """One that a test left running: told to stop, so that it leaves none of its own behind, or killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def printed_until_up(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C stops it" in line:
            return "".join(said)
    raise AssertionError(f"It ended: {''.join(said)}")


def run(folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=STARTING_SECONDS,
    )


def asked(address: str, key: str | None = None) -> tuple[int, str]:
    try:
        with urlopen(Request(address, headers={"X-API-Key": key} if key else {}), timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def database_stopped(folder: Path) -> bool:
    return not (folder / "data" / "postgres" / "pgdata" / "postmaster.pid").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="module")
def demo_said(folder: Path) -> str:
    """What the first `demo` in the folder printed, a shop of 300; Ctrl-C ended it."""
    port = free_port()
    with running(folder, "demo", PORT=str(port), DEMO_CUSTOMERS="300", ENV="development") as process:
        said = printed_until_up(process)
        for command in re.findall(r"^  (curl .*)$", said, flags=re.MULTILINE):
            done = subprocess.run([*shlex.split(command), "-sf"], capture_output=True, text=True, timeout=30)
            assert done.returncode == 0, command
            assert json.loads(done.stdout)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert database_stopped(folder)
    return said


def test_the_demo_loads_segments_serves_and_says_how_to_ask(demo_said: str) -> None:
    assert "Loading the built-in shop of 300 customers" in demo_said
    assert "kinds of customer among 300" in demo_said
    assert re.search(r"^Page: +http://127\.0\.0\.1:\d+/#key=ci_live_\w+$", demo_said, flags=re.MULTILINE)
    for name in ("Support", "Analytics", "Admin"):
        assert re.search(rf"^{name} key: +ci_live_\w+$", demo_said, flags=re.MULTILINE)
    assert len(re.findall(r"^  curl ", demo_said, flags=re.MULTILINE)) == 3


def test_a_second_start_finds_everything_in_place_and_says_the_same_keys(folder: Path, demo_said: str) -> None:
    port = free_port()
    with running(folder, "demo", PORT=str(port), DEMO_CUSTOMERS="300", ENV="development") as process:
        began = time.monotonic()
        said = printed_until_up(process)
        seconds = time.monotonic() - began
        assert windows_of_drift(port, said) == [7, 14, 28]
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert "is in place with" in said
    assert "Loading" not in said and "Looking" not in said
    assert set(re.findall(r"ci_live_\w+", said)) == set(re.findall(r"ci_live_\w+", demo_said))
    assert seconds < 30  # five on a machine with nothing else to do
    assert database_stopped(folder)


def test_a_first_start_that_was_cut_short_in_the_past_is_done_again(folder: Path, demo_said: str) -> None:
    (begun,) = re.findall(r"as of (\d{4}-\d\d-\d\d), and placing everyone week by week since", demo_said)
    cut_short = run(folder, "segment", "--as-of", begun, "--min-population", "1", ENV="development")
    assert cut_short.returncode == 0, cut_short.stderr
    port = free_port()
    with running(folder, "demo", PORT=str(port), DEMO_CUSTOMERS="300", ENV="development") as process:
        said = printed_until_up(process)
        assert windows_of_drift(port, said) == [7, 14, 28]
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert "Loading" not in said
    assert f"as of {begun}, and placing" in said
    assert "kinds of customer among 300" in said


def windows_of_drift(port: int, said: str) -> list[int]:
    """That a demo answers with."""
    (key,) = re.findall(r"^Support key: +(\S+)$", said, flags=re.MULTILINE)
    status, answer = asked(f"http://127.0.0.1:{port}/api/analytics/drift", key)
    assert status == 200, answer
    return [each["days"] for each in json.loads(answer)["windows"]]


def test_keys_open_their_store_until_they_are_revoked(folder: Path, demo_said: str) -> None:
    made = run(folder, "keys", "create", "--scope", "support", "--scope", "analytics", "--name", "help desk")
    assert made.returncode == 0, made.stderr
    key_id, key = re.findall(r"ci_live_(\w{8})_\w+", made.stdout)[0], made.stdout.split()[-1]
    port = free_port()
    with running(folder, "serve", PORT=str(port), API_KEY="agent-1", ADMIN_KEY="boss-1") as process:
        printed_until_up(process)
        address = f"http://127.0.0.1:{port}/api/mcp/customer/C0000001"
        assert asked(address)[0] == 401
        for valid in (key, "agent-1", "boss-1"):
            assert asked(address, valid)[0] == 200
        listed = run(folder, "keys", "list")
        assert "help desk" in listed.stdout
        assert key_id in listed.stdout
        assert key not in listed.stdout
        assert run(folder, "keys", "revoke", key_id).returncode == 0
        assert asked(address, key)[0] == 401  # at once, while it serves
        assert "was revoked before" in run(folder, "keys", "revoke", key_id).stdout
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_a_key_for_a_store_that_is_not_there_is_one_clear_line(folder: Path, demo_said: str) -> None:
    for arguments, expected in (
        (("keys", "create", "--scope", "support", "--store", "nowhere"), "There is no store 'nowhere'"),
        (("keys", "revoke", "nosuchkey"), "There is no key"),
    ):
        done = run(folder, *arguments)
        assert done.returncode == 1
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
    for wrong in (("keys", "create"), ("keys", "create", "--scope", "king"), ("keys",), ("keys", "revoke")):
        assert run(folder, *wrong).returncode == 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "API_KEY is unset"),
        ({"API_KEY": "hunter2", "ADMIN_KEY": "changeme"}, "ADMIN_KEY still"),
        ({"API_KEY": "hunter2", "ADMIN_KEY": "hunter2"}, "the same"),
        ({"API_KEY": "hunter2 hunter2", "ADMIN_KEY": "x"}, "API_KEY"),
        ({"ENV": "development", "HOST": "no.such.host.invalid"}, "HOST"),
        ({"ENV": "development", "PORT": "99999"}, "PORT"),
        (
            {"ENV": "staging", "DATABASE_URL": "mysql://shop:hunter2@localhost/shop"},
            "ENV: Input should be 'development' or 'production'; DATABASE_URL: it must begin with postgresql://",
        ),
    ],
)
def test_what_keeps_it_from_serving_is_one_clear_line(tmp_path: Path, settings: dict[str, str], expected: str) -> None:
    done = run(tmp_path, "serve", **{"PORT": str(free_port()), **settings})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert expected in done.stderr
    assert "hunter2" not in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(tmp_path, "serve", ENV="development", PORT=str(port))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"Port {port}" in done.stderr
    assert "PORT" in done.stderr


def test_a_database_that_is_away_keeps_it_from_nothing_but_answering(tmp_path: Path) -> None:
    port = free_port()
    settings = {"PORT": str(port), "API_KEY": "agent-1", "ADMIN_KEY": "boss-1"}
    away = f"postgresql://shop:hunter2@127.0.0.1:{free_port()}/none"
    with running(tmp_path, "serve", DATABASE_URL=away, **settings) as process:
        said = printed_until_up(process)
        assert "hunter2" not in said
        base = f"http://127.0.0.1:{port}"
        assert asked(f"{base}/health/live")[0] == 200
        assert asked(f"{base}/health/ready")[0] == 503
        assert asked(f"{base}/api/mcp/customer/C0000001", "agent-1")[0] == 503
        process.terminate()
        assert process.wait(timeout=30) == 0
