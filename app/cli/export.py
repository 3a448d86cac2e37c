"""`export`: what was found, as a file."""

import argparse
from pathlib import Path

from app.cli.options import Commands, add_store, store_of
from app.cli.output import say
from app.core.config import Settings
from app.core.files import whole_file
from app.resources import open_database
from app.warehouse.exports import export_segments
from app.warehouse.migrate import migrate


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    exporting = commands.add_parser("export", help="write what was found to a file")
    kinds = exporting.add_subparsers(title="what", required=True, metavar="WHAT")
    segments = kinds.add_parser(
        "segments",
        parents=[shared],
        help="memberships, one row per customer, axis and segment",
        description="Write the served run's memberships as CSV: customer_id, axis, segment_id, segment_name, "
        "membership, dominant.",
    )
    add_store(segments)
    segments.add_argument("--out", type=Path, required=True, metavar="FILE")
    segments.set_defaults(run=_run)


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await migrate(database)
        with whole_file(wanted.out) as file:
            async with database.snapshot() as connection:
                n_rows = await export_segments(connection, store_of(wanted, settings), file)
    say(f"{n_rows:,} rows written to {wanted.out}.")
    return 0
