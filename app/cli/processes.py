"""Several processes that answer on one port: begun, begun again where one dies, and ended together."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import structlog

from app.core.config import environment_with
from app.core.errors import NoRoomForMetrics
from app.core.metrics import FILES_BYTES, PLACE, SHARED_FOLDER, forget_living, make_files

log = structlog.get_logger()

#: One that dies is begun again after a moment, the longer the more often it happens.
_AGAIN_SECONDS, _LONGEST_SECONDS = 0.5, 30.0
#: After so long a life a death is a first one again.
_SETTLED_SECONDS = 60.0


class Processes:
    """n : how many; listener : the port they share; measured : whether they count together what they do"""

    def __init__(self, n: int, listener: socket.socket, *, measured: bool) -> None:
        self._n, self._listener, self._measured = n, listener, measured
        self._stopping = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}

    def stop(self) -> None:
        """Told a second time, it does not wait for requests under way."""
        again = self._stopping.is_set()
        self._stopping.set()
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL if again else signal.SIGTERM)

    async def run(self) -> None:
        """Until told to stop. Where one cannot be begun, the others are ended, and its OSError is raised in a group.

        Raises NoRoomForMetrics.
        """
        with self._counted_in() as folder:
            try:
                async with asyncio.TaskGroup() as group:
                    for place in range(self._n):
                        group.create_task(self._keep(place, folder))
            finally:
                await self._end()

    @contextmanager
    def _counted_in(self) -> Iterator[Path | None]:
        """Where they count together what they do."""
        if not self._measured:
            yield None
            return
        with ExitStack() as entered:
            try:
                folder = Path(entered.enter_context(tempfile.TemporaryDirectory(prefix="metrics-")))
                for place in range(self._n):
                    make_files(folder, place)
            except OSError as error:
                raise NoRoomForMetrics(
                    tempfile.gettempdir(), size=self._n * FILES_BYTES, why=error.strerror or str(error)
                ) from error
            yield folder

    async def _keep(self, place: int, folder: Path | None) -> None:
        """Have one process running. folder : where it counts"""
        loop = asyncio.get_running_loop()
        wait = _AGAIN_SECONDS
        while not self._stopping.is_set():
            began = loop.time()
            process = await self._begin({} if folder is None else {SHARED_FOLDER: str(folder), PLACE: str(place)})
            code = await process.wait()
            self._running.pop(process.pid, None)
            if folder is not None:
                forget_living(folder, place)
            if self._stopping.is_set():
                return
            wait = _AGAIN_SECONDS if loop.time() - began > _SETTLED_SECONDS else min(2 * wait, _LONGEST_SECONDS)
            log.error("process.died", pid=process.pid, code=code, again_in_seconds=wait)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopping.wait()

    async def _begin(self, told: Mapping[str, str]) -> asyncio.subprocess.Process:
        descriptor = self._listener.fileno()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "serve", "--no-worker"),
            *("--listener", str(descriptor), "--parent", str(os.getpid())),
            pass_fds=(descriptor,),
            env=environment_with(told),
            # Ctrl-C on a terminal reaches the first process alone, which tells the others.
            start_new_session=True,
        )
        self._running[process.pid] = process
        if self._stopping.is_set():
            process.terminate()
        return process

    async def _end(self) -> None:
        """Whoever still runs would hold the port when nobody looks after them any more."""
        if self._running:
            self.stop()
            await asyncio.gather(*(process.wait() for process in self._running.values()))
