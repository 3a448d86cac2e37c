"""The commands, for people and for cron. Each needs nothing but the environment and asks nothing.

Exit codes: 0 done; 1 failed, with one clear line; 2 wrong usage. --debug shows where in the code it failed.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib import import_module

import uvloop

from app import __version__
from app.cli.output import complain
from app.core.config import Settings, load_settings
from app.core.errors import AppError
from app.core.logging import configure_logging, hear_libraries

#: The module of each command. Only that of the one that is run is loaded: all together take over two seconds.
COMMANDS = {
    "demo": "demo",
    "serve": "serve",
    "worker": "worker",
    "sample": "sample",
    "import": "import_csv",
    "segment": "segment",
    "predict": "predict",
    "backtest": "predict",
    "usefulness": "usefulness",
    "export": "export",
    "erase": "erase",
    "keys": "keys",
    "backup": "backup",
    "restore": "backup",
    "migrate": "database",
    "doctor": "database",
    "bench": "bench",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    wanted = parser_of(next((word for word in words if not word.startswith("-")), None)).parse_args(words)
    return guarded(wanted.run, wanted, debug=wanted.debug)


def guarded(
    command: Callable[[argparse.Namespace, Settings], Coroutine[None, None, int]],
    wanted: argparse.Namespace,
    *,
    debug: bool = False,
) -> int:
    """Run what a command does, with settings and logging in place; whatever fails ends as one line and exit code 1."""
    try:
        settings = load_settings()
        configure_logging(level=settings.log_level, json_logs=settings.logs_as_json)
        hear_libraries(level=settings.log_level)
        # Serving runs on the faster loop; the others keep Python's own.
        faster = uvloop.new_event_loop if getattr(wanted, "serves", False) else None
        with asyncio.Runner(loop_factory=faster) as runner:
            return runner.run(_until_told_to_stop(command(wanted, settings)))
    except AppError as error:
        if debug:
            raise
        complain(str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        complain("Stopped. What was not finished has left nothing behind.")
    except BrokenPipeError:
        # The reader of our output went away (`... | head`); writing to it again at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if debug:
            raise
        # Its words may repeat what was sent or stored, and where this serves they go into a log.
        kind = type(error).__name__
        complain(f"Something of ours went wrong: {kind}. Run it again with --debug and report what that shows.")
    return 1


async def _until_told_to_stop(work: Coroutine[None, None, int]) -> int:
    """Ends in order when told to by cron, systemd or a closed terminal too, so that nothing it started stays behind."""
    task = asyncio.ensure_future(work)
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signal_number, task.cancel)
    return await task


def parser_of(command: str | None = None) -> argparse.ArgumentParser:
    """Of one command and those beside it in its module; of all where it is none."""
    areas = [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values())
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show a traceback when something fails")
    parser = argparse.ArgumentParser(
        prog="customer-intelligence",
        description="Who a shop's customers are, what kind of customer they are, and what they are worth.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for area in areas:
        import_module(f"app.cli.{area}").add_commands(commands, shared)
    return parser
