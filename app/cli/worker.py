"""`worker`: does the jobs that wait, by itself, until told to stop."""

import argparse
import asyncio
import signal

import structlog

from app.cli.options import Commands
from app.cli.output import say
from app.core.config import Settings
from app.core.errors import DatabaseUnavailable
from app.jobs.worker import Worker
from app.resources import open_database
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate

log = structlog.get_logger()

_RETRY_SECONDS = 1.0


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    worker = commands.add_parser(
        "worker",
        parents=[shared],
        help="do the jobs that wait until stopped",
        description="Do what the queue and the schedules ask for. `serve` does so too, unless told --no-worker; there "
        "may be several. Ctrl-C stops it: jobs under way are given a moment to end, and go on elsewhere or later if "
        "they do not.",
    )
    worker.set_defaults(run=_run, serves=True)


async def _run(_wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await _in_shape(database, settings)
        worker = Worker(database, settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, worker.stop)
        say("Working. Ctrl-C stops it.")
        await worker.run()
    return 0


async def _in_shape(database: Database, settings: Settings) -> None:
    """Migrate; a server of DATABASE_URL that is away is waited for."""
    said = False
    while True:
        try:
            await migrate(database)
        except DatabaseUnavailable as error:
            if settings.database_url is None:
                raise
            if not said:
                log.warning("database.away", why=str(error), until="it answers, nothing is done")
            said = True
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return
