"""`export`: what was found, as a file."""

import argparse
from io import BytesIO
from pathlib import Path

from app.cli.options import Commands, add_store, store_of
from app.cli.output import progress, say
from app.cli.predict import add_as_of, moment_of, predict_options
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.files import check_writable, whole_file
from app.pipeline.predict import told_as_of
from app.resources import open_database
from app.warehouse.exports import PREDICTION_COLUMNS, export_segments, read_predictions
from app.warehouse.migrate import migrate
from app.warehouse.predictions import served_id


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
    predicted = kinds.add_parser(
        "predictions",
        parents=[shared],
        help="what customers are expected to do, one row each",
        description="Write the served predictions as CSV, or as Parquet where the file's name ends in .parquet: "
        f"{', '.join(PREDICTION_COLUMNS)}. With --as-of, or where none are served yet, train and tell from what was "
        "known then, and keep nothing.",
    )
    add_store(predicted)
    add_as_of(predicted)
    predicted.add_argument("--out", type=Path, required=True, metavar="FILE")
    predicted.set_defaults(run=_predictions)


async def _predictions(wanted: argparse.Namespace, settings: Settings) -> int:
    check_writable(wanted.out)
    store_id = store_of(wanted, settings)
    async with open_database(settings) as database:
        await migrate(database)
        as_of = await moment_of(database, store_id, wanted.as_of, settings)
        rows = None
        if as_of is None:
            async with database.snapshot() as connection:
                if await served_id(connection, store_id) is not None:
                    rows = await read_predictions(connection, store_id)
        if rows is None:
            with progress() as listener:
                rows = await told_as_of(
                    database,
                    store_id,
                    predict_options(settings, as_of=as_of),
                    now=utc_now(),
                    progress=listener,
                )
    # In memory first: of a disk that is full Polars tells in words of its own.
    written = BytesIO()
    if wanted.out.suffix == ".parquet":
        rows.write_parquet(written)
    else:
        rows.write_csv(written)
    with whole_file(wanted.out) as file:
        file.write(written.getbuffer())
    say(f"{rows.height:,} rows written to {wanted.out}.")
    return 0


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await migrate(database)
        with whole_file(wanted.out) as file:
            async with database.snapshot() as connection:
                n_rows = await export_segments(connection, store_of(wanted, settings), file)
    say(f"{n_rows:,} rows written to {wanted.out}.")
    return 0
