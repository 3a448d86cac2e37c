"""`export`: what was found, as a file."""

import argparse
import json
from io import BytesIO
from pathlib import Path

from app.cli.noting import noted
from app.cli.options import COMMAND_LINE, Commands, add_store, store_of
from app.cli.output import progress, say
from app.cli.predict import add_as_of, moment_of, predict_options
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.files import check_writable, whole_file
from app.pipeline.held import everything_held, pseudonyms
from app.pipeline.predict import told_as_of
from app.resources import open_database
from app.warehouse.audit import write_audit
from app.warehouse.exports import PREDICTION_COLUMNS, export_segments, read_predictions, safe_in_a_sheet
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

    customer = kinds.add_parser(
        "customer",
        parents=[shared],
        help="everything held about one person",
        description="Write everything that is held about a customer as JSON, table by table, to FILE or to the "
        "terminal. Only who it is about should have it.",
    )
    customer.add_argument("customer_id", metavar="ID", help="the shop's own id, or the pseudonym")
    add_store(customer)
    customer.add_argument("--out", type=Path, metavar="FILE")
    customer.set_defaults(run=_customer)


async def _customer(wanted: argparse.Namespace, settings: Settings) -> int:
    if wanted.out is not None:
        check_writable(wanted.out)
    async with open_database(settings) as database:
        await migrate(database)
        held = await everything_held(
            database,
            store_of(wanted, settings),
            customer_id=wanted.customer_id,
            by=COMMAND_LINE,
            now=utc_now(),
        )
        async with database.transaction() as connection:
            await write_audit(connection, [noted(held["store_id"], "person.export", subjects=pseudonyms(held))])
    told = json.dumps(held, indent=2, ensure_ascii=False)
    if wanted.out is None:
        say(told)
        return 0
    with whole_file(wanted.out, private=True) as file:
        file.write(told.encode() + b"\n")
    n_rows = sum(len(table["rows"]) for person in held["people"] for table in person["tables"])
    say(f"{n_rows:,} rows of {len(held['people'][0]['tables'])} tables written to {wanted.out}.")
    return 0


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
        safe_in_a_sheet(rows).write_csv(written)
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
