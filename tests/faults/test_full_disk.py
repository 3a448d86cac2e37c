"""The disk of what we write ourselves is full: said in one line, nothing half written, and whoever asks is answered."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.metrics import FILES_BYTES
from tests.cli.test_serve import ROOT, end, environment, free_port
from tests.faults.disks import CannotMount, fill, small_disk
from tests.faults.postgres import PrivatePostgres
from tests.faults.service import serving

ROOM_BYTES = 16 * 1024


@dataclass
class Disk:
    """A folder with little room, or with as little for each file, which to who writes there comes to the same."""

    folder: Path
    room_bytes: int
    is_mounted: bool

    def fill(self) -> None:
        if self.is_mounted:
            fill(self.folder)
        self.room_bytes = 0

    def is_full(self, file: Path) -> bool:
        """For who writes to that file."""
        if self.is_mounted:
            return os.statvfs(self.folder).f_bavail == 0
        return file.stat().st_size == self.room_bytes

    def limit(self) -> None:
        """What a process that writes there does first."""
        if not self.is_mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.room_bytes, self.room_bytes))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        with small_disk(folder, room_bytes=ROOM_BYTES):
            yield Disk(folder, ROOM_BYTES, is_mounted=True)
    except CannotMount:  # any user may set a limit
        yield Disk(folder, ROOM_BYTES, is_mounted=False)


def run(disk: Disk, home: Path, *command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=disk.limit,
    )


def test_an_export_that_does_not_fit_is_one_clear_line_and_leaves_what_was_there(
    server: PrivatePostgres, disk: Disk, tmp_path: Path
) -> None:
    out = disk.folder / "out.csv"
    out.write_text("what was exported before")
    done = run(disk, tmp_path, "-m", "app", "export", "segments", "--out", str(out), DATABASE_URL=server.url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"Cannot write {out}: ")
    assert out.read_text() == "what was exported before"
    assert list(disk.folder.iterdir()) == [out]


def test_secrets_that_cannot_be_kept_keep_it_from_serving_by_one_clear_line(disk: Disk, tmp_path: Path) -> None:
    data = disk.folder / "data"
    data.mkdir()
    disk.fill()
    done = run(disk, tmp_path, "-m", "app", "serve", ENV="development", DATA_DIR=str(data))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"{data}/secrets.json cannot be used (" in done.stderr
    assert [path.name for path in data.iterdir()] == ["secrets.lock"]


async def test_who_asks_is_answered_though_neither_charts_nor_logs_can_be_kept(
    server: PrivatePostgres, disk: Disk
) -> None:
    settings = {"DATABASE_URL": server.url, "DATA_DIR": str(disk.folder), "LOG_LEVEL": "INFO"}
    async with serving(disk.folder, "--no-worker", before=disk.limit, **settings) as service:
        script = await service.asking.get("/static/vega.js")
        assert (script.status_code, len(script.content) > 500_000) == (200, True)
        await service.until("/health/ready", 200)
        for _ in range(150):  # which is more lines than there is room for
            assert (await service.asking.get("/api/mcp/customer/C0000001")).status_code == 200
        assert disk.is_full(service.log)
        assert {path.name.split("-")[0] for path in disk.folder.iterdir()} == {"secrets.json", "secrets.lock", "serve"}


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """A disk for temporary files, large enough for what two processes count."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    try:
        with small_disk(folder, room_bytes=3 * FILES_BYTES):
            yield folder
    except CannotMount as error:  # a limit would not hold for files that are mapped into memory
        pytest.skip(f"no disk can be mounted here: {error}")


async def test_several_processes_count_together_though_the_disk_they_count_on_fills_up(
    server: PrivatePostgres, temporary: Path, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": server.url, "TMPDIR": str(temporary), "WORKERS": "2", "LOG_LEVEL": "INFO"}
    async with serving(tmp_path, "--no-worker", ENABLE_PROMETHEUS_METRICS="true", **settings) as service:
        fill(temporary)
        await service.until("/health/ready", 200)
        described = (await service.asking.get("/openapi.json")).json()
        asked = [path for path, operations in described["paths"].items() if "get" in operations]
        for path in asked:
            assert (await service.asking.get(path)).status_code < 500
        routes = set(re.findall(r'route="([^"]+)"', (await service.asking.get("/metrics")).text))
        assert set(asked) <= routes
        assert "process.died" not in service.logged()


def test_no_room_for_what_they_count_is_one_clear_line(
    server: PrivatePostgres, temporary: Path, tmp_path: Path
) -> None:
    fill(temporary)
    os.truncate(temporary / "filling", 2 * FILES_BYTES)  # room for one of them; with none Python itself looks elsewhere
    settings = {"DATABASE_URL": server.url, "TMPDIR": str(temporary), "WORKERS": "2", "API_KEY": "a", "ADMIN_KEY": "b"}
    wanted = [sys.executable, "-m", "app", "serve", "--no-worker"]
    own = environment(tmp_path, PORT=str(free_port()), ENABLE_PROMETHEUS_METRICS="true", **settings)
    with subprocess.Popen(
        wanted, cwd=ROOT, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, said = process.communicate(timeout=60)
        finally:
            end(process)
    assert (process.returncode, said.count("\n")) == (1, 1), said
    assert said.startswith(f"What several processes count cannot be kept in {temporary} (No space left on device)")
