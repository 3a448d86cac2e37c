"""`serve`: the API and its pages, until told to stop."""

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator

import structlog
import uvicorn

from app.cli.connections import Guarded
from app.cli.options import Commands
from app.cli.output import say
from app.cli.processes import Processes
from app.core.config import Settings
from app.core.errors import ConfigurationError, DatabaseUnavailable, PortInUse
from app.jobs.worker import Worker
from app.main import create_app
from app.resources import Resources, open_resources

log = structlog.get_logger()

_GRACE_SECONDS = 20
# What the worker may take beyond that, to give back its jobs.
_LEAVING_SECONDS = 5
# How long is waited for a database to come into shape before serving all the same.
_PREPARING_SECONDS = 10
_WAITING = 2048
_LOOKING_SECONDS = 1.0


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    serve = commands.add_parser(
        "serve",
        parents=[shared],
        help="answer requests until stopped",
        description="Serve the API and its pages on HOST and PORT. API_KEY and ADMIN_KEY must be set, or ENV be "
        "development. Ctrl-C stops it.",
    )
    add_worker(serve)
    # One of several processes: the port they share, and who looks after them.
    serve.add_argument("--listener", type=int, help=argparse.SUPPRESS)
    serve.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    serve.set_defaults(run=_run, serves=True)


def add_worker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-worker", action="store_true", help="leave the jobs that wait to `worker`, run as a process of its own"
    )


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    if wanted.listener is not None:
        watching = asyncio.create_task(_end_with(wanted.parent))
        with socket.socket(fileno=wanted.listener) as listener:
            async with open_resources(settings) as resources:
                await serve(resources, listener, when_up=_say_nothing, works=False)
        watching.cancel()
        return 0
    with listening(settings) as listener:
        async with open_resources(settings) as resources:
            await _prepare_soon(resources)
            if settings.workers > 1:
                await serve_together(resources, listener, works=not wanted.no_worker)
            else:
                await serve(resources, listener, when_up=_say_where, works=not wanted.no_worker)
    return 0


async def _end_with(parent: int) -> None:
    """Stop as if told to when the process that looks after this one was killed, or the port would stay taken."""
    while os.getppid() == parent:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(_LOOKING_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The port, taken before any work. Raises PortInUse, or ConfigurationError for a HOST that is not ours."""
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=_WAITING)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(settings.host, settings.port) from error
        raise ConfigurationError(
            f"Nothing can listen on HOST {settings.host}, PORT {settings.port} ({error.strerror or error}). "
            "Take 127.0.0.1 or 0.0.0.0, and a port above 1023."
        ) from error
    with listener:
        yield listener


async def prepare(resources: Resources) -> None:
    """Bring the database into shape; a server of DATABASE_URL that is away is waited for while serving."""
    try:
        await resources.prepare()
    except DatabaseUnavailable as error:
        if resources.settings.database_url is None:
            raise
        log.warning("database.away", why=str(error), until="it answers, requests that need it get 503")


async def _prepare_soon(resources: Resources) -> None:
    """The same; one that takes long, because there is much to migrate or because nothing comes back, is left to go on
    while serving: who looks whether this process is alive gets an answer.
    """
    try:
        async with asyncio.timeout(_PREPARING_SECONDS):
            await prepare(resources)
    except TimeoutError:
        why = f"bringing it into shape takes more than {_PREPARING_SECONDS} seconds"
        log.warning("database.not_ready", why=why, until="it is done, requests that need it get 503")


async def serve(
    resources: Resources, listener: socket.socket, *, when_up: Callable[[Settings], None], works: bool
) -> None:
    """Answer until told to stop; requests and jobs under way are given a moment to end.

    when_up : called once the port answers; works : do the jobs that wait as well
    """
    config = uvicorn.Config(
        create_app(resources=resources),
        http=Guarded,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        forwarded_allow_ips=resources.settings.forwarded_allow_ips,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config, when_up=lambda: when_up(resources.settings))
    worker = Worker(resources.database, resources.settings)
    working = asyncio.create_task(worker.run()) if works else None

    loop = asyncio.get_running_loop()
    stopped_at = None

    def stop() -> None:
        nonlocal stopped_at
        stopped_at = stopped_at or loop.time()
        server.stop()
        worker.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        await server.serve(sockets=[listener])
    finally:
        worker.stop()
        if working is not None:
            longest = (stopped_at or loop.time()) + _GRACE_SECONDS + _LEAVING_SECONDS - loop.time()
            await asyncio.wait({working}, timeout=max(longest, 0))
            if working.done():
                working.result()
            else:
                log.warning("worker.left_behind", why="its connection to the database says nothing")
                working.cancel()


async def serve_together(resources: Resources, listener: socket.socket, *, works: bool) -> None:
    """The same by as many processes as WORKERS says; this one looks after them, and does the jobs that wait."""
    settings = resources.settings
    processes = Processes(settings.workers, listener, measured=settings.enable_prometheus_metrics)
    worker = Worker(resources.database, resources.settings)

    def stop() -> None:
        processes.stop()
        listener.close()  # or who asks from now on would wait for an answer until all of this has ended
        worker.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    working = asyncio.create_task(worker.run()) if works else None
    _say_where(resources.settings)
    try:
        await processes.run()
    finally:
        worker.stop()
        if working is not None:
            await working


class _Server(uvicorn.Server):
    """Says when it is up, and leaves signals to the command line, which stops everything else with it."""

    def __init__(self, config: uvicorn.Config, *, when_up: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_up = when_up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._when_up()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Told a second time, it does not wait for requests under way."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _say_nothing(_settings: Settings) -> None:
    """Who looks after the processes says it for all of them."""


def _say_where(settings: Settings) -> None:
    say(f"Serving on {address_of(settings)} (the API's description: {address_of(settings)}/docs). Ctrl-C stops it.")


def address_of(settings: Settings) -> str:
    """Where a browser on this machine finds it."""
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
