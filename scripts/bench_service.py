"""A service to put load on: started, asked, and stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

PROJECT = Path(__file__).resolve().parents[1]
UP_SECONDS = 300
_SPARE_SECONDS = 60


@contextmanager
def serving(module: Sequence[str], settings: Mapping[str, str], *, ready: str, unheard: bool = False) -> Iterator[int]:
    """The port of `python -m module`, from when the path `ready` answers until the block ends.

    settings : its environment besides what this process has; PORT is added
    unheard  : its log is written, and to nowhere
    """
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        env=os.environ | settings | {"PORT": str(port)},
        cwd=PROJECT,
        stdout=sys.stderr,
        stderr=subprocess.DEVNULL if unheard else None,
    )
    try:
        until = time.monotonic() + UP_SECONDS
        while time.monotonic() < until and process.poll() is None:
            with suppress(URLError, OSError):
                get(port, ready, settings["API_KEY"])
                break
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_SPARE_SECONDS)


def load(port: int, paths: Path, *options: str, key: str = "") -> dict[str, float]:
    """What `scripts.bench_load` found, run as a process of its own. paths : a file of them"""
    command = [sys.executable, "-m", "scripts.bench_load", "--port", str(port), "--paths", str(paths), *options]
    command += ["--header", f"X-API-Key: {key}"] if key else []
    done = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True, timeout=UP_SECONDS)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def get(port: int, path: str, key: str) -> bytes:
    request = Request(f"http://127.0.0.1:{port}{path}", headers={"X-API-Key": key})
    with urlopen(request, timeout=10) as answer:  # noqa: S310  our own server
        told: bytes = answer.read()
        return told


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
