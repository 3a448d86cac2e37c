"""Dockerfile, compose.yaml and Procfile: their files are there, their settings exist, their commands run."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from app.core.config import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = (ROOT / "compose.yaml").read_text()
#: What is not ours: pip's, Python's and the shell's.
OTHERS = {"PATH", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"}


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, flags=re.MULTILINE)


def copied_into_the_image() -> list[str]:
    """What the first stage takes from the checkout."""
    sources = [line.split()[:-1] for line in instructions("COPY") if not line.startswith("--from")]
    return [source for group in sources for source in group]


def environment_of_the_image() -> dict[str, str]:
    pairs = [pair for line in instructions("ENV") for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


def test_the_image_copies_what_is_there_and_not_kept_from_it() -> None:
    let_in = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert set(copied_into_the_image()) == let_in
    for source in let_in:
        assert (ROOT / source).exists(), source


def test_the_image_does_not_run_as_root_and_brings_the_pinned_packages() -> None:
    assert instructions("USER") == ["shop"]
    assert "pip install --require-hashes -r requirements.txt" in DOCKERFILE


@pytest.mark.parametrize(
    "names", [set(environment_of_the_image()), set(re.findall(r"^      ([A-Z_]+):", COMPOSE, re.M))]
)
def test_every_variable_set_for_the_service_is_a_setting(names: set[str]) -> None:
    ours = {name.upper() for name in Settings.model_fields}
    assert {name for name in names if not name.startswith("POSTGRES_")} - OTHERS <= ours


def test_compose_starts_the_service_with_a_database_and_without_secrets_of_its_own() -> None:
    assert re.findall(r"^  (\w+):$", COMPOSE.partition("services:")[2].partition("volumes:\n  state")[0], re.M) == [
        "app",
        "worker",
        "postgres",
        "redis",
    ]
    for secret in ("API_KEY", "ADMIN_KEY", "POSTGRES_PASSWORD"):
        assert f"${{{secret}:?" in COMPOSE, "compose refuses to start without it"


def commands() -> list[str]:
    (image,) = instructions("CMD")[-1:]
    of_compose = re.findall(r"^    command: (\[\"python.+\])$", COMPOSE, flags=re.MULTILINE)
    of_both = [" ".join(re.findall(r'"([^"]+)"', listed)) for listed in (image, *of_compose)]
    of_procfile = [line.partition(": ")[2] for line in (ROOT / "Procfile").read_text().splitlines()]
    return list(dict.fromkeys([*of_both, *of_procfile]))


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    """A folder with what the image holds, and nothing else of the project."""
    for source in copied_into_the_image():
        there = ROOT / source
        if there.is_dir():
            shutil.copytree(there, tmp_path / "srv" / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (tmp_path / "srv").mkdir(exist_ok=True)
            shutil.copy(there, tmp_path / "srv" / source)
    yield tmp_path / "srv"


def until_said(told: Path, words: str) -> None:
    until = time.monotonic() + 60
    while words not in told.read_text():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("command", commands())
def test_what_the_image_holds_is_enough_to_run_its_command(image: Path, command: str) -> None:
    """Migrates, works, or serves pages and a ready service until it is told to stop; then it ends in order."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = re.sub(r"^HOST=\S+ ", "", command).replace("python", sys.executable, 1)
    settings = environment_of_the_image() | {
        "PATH": os.environ["PATH"],
        "HOME": str(image.parent),
        "PYTHONPATH": str(image),
        "DATA_DIR": str(image.parent / "data"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "API_KEY": "k-" + "a" * 30,
        "ADMIN_KEY": "k-" + "b" * 30,
    }
    said = image.parent / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen(shlex.split(command), cwd=image, env=settings, stdout=out)
    try:
        if command.endswith("migrate"):
            assert process.wait(60) == 0
            return
        if command.endswith(" worker"):
            until_said(said, "Working.")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            return
        until = time.monotonic() + 60
        page = ""
        while not page and time.monotonic() < until and process.poll() is None:
            with suppress(OSError):
                assert urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2).status == 200
                page = urlopen(f"http://127.0.0.1:{port}/", timeout=2).read().decode()
            time.sleep(0.2)
        assert "Customer Intelligence Platform" in page
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def test_where_only_the_requirements_are_installed_the_version_is_the_checkouts() -> None:
    """As on hosts that read requirements.txt and the Procfile, and install nothing else."""
    hidden = (
        "import importlib.metadata as metadata\n"
        "def absent(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = absent\n"
        "import app; print(app.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
