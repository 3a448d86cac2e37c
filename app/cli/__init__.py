"""The commands, for people and for cron. Each needs nothing but the environment and asks nothing.

Exit codes: 0 done; 1 failed, with one clear line; 2 wrong usage. --debug shows where in the code it failed.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from app import __version__
from app.cli import bench, database, demo, export, import_csv, sample, segment
from app.cli.output import complain
from app.core.config import Settings, load_settings
from app.core.errors import AppError
from app.core.logging import configure_logging

_AREAS = (demo, sample, import_csv, segment, export, database, bench)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = _parser()
    wanted = parser.parse_args(arguments)
    try:
        settings = load_settings()
        configure_logging(level=settings.log_level, json_logs=settings.json_logs)
        return asyncio.run(_run(wanted, settings))
    except AppError as error:
        if wanted.debug:
            raise
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("Stopped. What was not finished has left nothing behind.")
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`… | head`); writing to it again at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if wanted.debug:
            raise
        complain(
            f"Something of ours went wrong: {error!r}. Run the command again with --debug and report what it shows."
        )
        return 1


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    code: int = await wanted.run(wanted, settings)
    return code


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show a traceback when something fails")
    parser = argparse.ArgumentParser(
        prog="customer-intelligence",
        description="Who a shop's customers are, what kind of customer they are, and what they are worth.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for area in _AREAS:
        area.add_commands(commands, shared)
    return parser
