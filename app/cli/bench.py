"""`bench`: the benchmarks, which live beside the code they compare with in scripts/."""

import argparse
import asyncio
import sys
from pathlib import Path

from app.cli.options import Commands
from app.core.config import Settings
from app.core.errors import InvalidInput

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench.py"


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    bench = commands.add_parser(
        "bench", parents=[shared], help="measure the main jobs; needs a checkout", add_help=True
    )
    bench.add_argument("--repeat", default="3", help="runs of each job (%(default)s)")
    bench.add_argument("--only", metavar="a,b", help="these subjects alone, such as discovery,features")
    bench.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    bench.add_argument("--add", action="store_true", help="to what the FILE of --json holds of other subjects")
    bench.add_argument("--markdown", metavar="FILE", help="write them as a page")
    bench.set_defaults(run=_run)


async def _run(wanted: argparse.Namespace, _settings: Settings) -> int:
    if not _SCRIPT.exists():
        raise InvalidInput(f"The benchmarks are not installed here ({_SCRIPT} is absent). Run them from a checkout.")
    options = ["--repeat", wanted.repeat]
    for name in ("only", "json", "markdown"):
        if value := getattr(wanted, name):
            options += [f"--{name}", value]
    if wanted.add:
        options.append("--add")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts.bench", *options, cwd=_SCRIPT.parents[1]
    )
    return await process.wait()
