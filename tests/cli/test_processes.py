"""Several processes serve one port: all of them answer, one that dies is begun again, and together they end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.processes import Processes
from tests.cli.test_serve import asked, database_stopped, free_port, printed_until_up, running

SECONDS = 60
KEYS = {"API_KEY": "an-agents-key", "ADMIN_KEY": "an-admins-key"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Two processes and who looks after them, on a port."""
    port = free_port()
    settings = {"PORT": str(port), "WORKERS": "2", "ENABLE_PROMETHEUS_METRICS": "true", **KEYS}
    with running(folder, "serve", **settings) as process:
        printed_until_up(process)
        address = f"http://127.0.0.1:{port}"
        wait(lambda: asked(f"{address}/health/ready")[0] == 200)
        wait(lambda: len(children(process.pid)) == 2)
        yield process, address


def wait(happens: object) -> None:
    until = time.monotonic() + SECONDS
    while not happens():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


def children(pid: int) -> set[int]:
    """Those of its children that serve."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if int(told[1]) == pid and "--listener" in command and told[0] != "Z":
            found.add(int(status.parent.name))
    return found


def answers(address: str) -> int:
    return asked(f"{address}/health", KEYS["API_KEY"])[0]


def test_requests_are_answered_and_counted_together(served: tuple["subprocess.Popen[str]", str]) -> None:
    _, address = served
    assert [answers(address) for _ in range(40)] == [200] * 40
    _, text = asked(f"{address}/metrics")
    counted = [line for line in text.splitlines() if line.startswith("ci_http_request_duration_seconds_count")]
    (health,) = [line for line in counted if 'route="/health",status="200"' in line]
    assert float(health.rsplit(" ", 1)[1]) >= 40


def test_one_that_dies_is_begun_again_and_the_other_answers_meanwhile(
    served: tuple["subprocess.Popen[str]", str],
) -> None:
    process, address = served
    before = children(process.pid)
    counted, files = health_checks(address), counted_in(min(before))
    os.kill(min(before), signal.SIGKILL)
    assert all(answers(address) == 200 for _ in range(5))
    wait(lambda: len(children(process.pid) - before) == 1)
    assert len(children(process.pid)) == 2
    assert all(answers(address) == 200 for _ in range(5))
    # It goes on counting where the other ended, and does not leave another file behind with each that dies.
    wait(lambda: health_checks(address) >= counted + 10)
    assert counted_in(min(children(process.pid))) <= files | {name.replace("_0", "_1") for name in files}
    assert {name.rpartition("_")[2] for name in files} <= {"0.db", "1.db"}


def counted_in(pid: int) -> set[str]:
    """The files in which what a process does is counted."""
    told = dict(each.partition("=")[::2] for each in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    return {path.name for path in Path(told["PROMETHEUS_MULTIPROC_DIR"]).iterdir()}


def health_checks(address: str) -> float:
    """How many have been answered, of all processes."""
    lines = asked(f"{address}/metrics")[1].splitlines()
    name = 'ci_http_request_duration_seconds_count{method="GET",route="/health",status="200"}'
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_told_to_stop_all_of_them_end(served: tuple["subprocess.Popen[str]", str], folder: Path) -> None:
    process, address = served
    serving = children(process.pid)
    status, text = asked(f"{address}/health", KEYS["ADMIN_KEY"])
    assert (status, json.loads(text)["data_source"]) == (200, "embedded")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=SECONDS) == 0
    assert not [pid for pid in serving if Path(f"/proc/{pid}").exists()]
    assert database_stopped(folder)


def test_where_who_looks_after_them_is_killed_they_end_and_leave_the_port(
    empty_database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"PORT": str(port), "WORKERS": "2", "DATABASE_URL": empty_database_url, **KEYS}
    with running(tmp_path, "serve", "--no-worker", **settings) as process:
        printed_until_up(process)
        wait(lambda: len(children(process.pid)) == 2)
        serving = children(process.pid)
        process.kill()
        wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in serving))
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize("measured", [True, False])
async def test_where_one_cannot_be_begun_none_is_left_behind(monkeypatch: pytest.MonkeyPatch, measured: bool) -> None:
    """It would hold the port. Nor is anything counted where nobody asks for it."""
    first: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
    begin, asked_for = asyncio.create_subprocess_exec, 0

    async def beginning(*_: str, env: dict[str, str], **__: object) -> asyncio.subprocess.Process:
        nonlocal asked_for
        assert ("PROMETHEUS_MULTIPROC_DIR" in env) == measured
        asked_for += 1
        if asked_for > 1:
            await first
            raise OSError("Resource temporarily unavailable")
        first.set_result(await begin("sleep", "300"))
        return first.result()

    monkeypatch.setattr("app.cli.processes.asyncio.create_subprocess_exec", beginning)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ExceptionGroup):
        await asyncio.wait_for(Processes(2, listener, measured=measured).run(), SECONDS)
    assert first.result().returncode == -signal.SIGTERM
