"""`sample`: the built-in shop."""

import argparse
from pathlib import Path

from app.cli.import_csv import show_import
from app.cli.options import Commands, add_store, store_of, whole_number
from app.cli.output import progress, say
from app.core.config import Settings
from app.core.files import check_writable, whole_file
from app.core.secrets_file import id_hash_secret
from app.pipeline.ingest import ingest
from app.pipeline.sample import SIZES, SampleShop, write_truth
from app.resources import open_database
from app.warehouse.migrate import migrate

DEMO = "demo"


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    sample = commands.add_parser(
        "sample",
        parents=[shared],
        help="load a made-up quilting shop",
        description="Load a synthetic shop. The same seed makes the same shop.",
    )
    add_store(sample)
    size = sample.add_mutually_exclusive_group()
    size.add_argument(
        "--size",
        choices=(DEMO, *SIZES),
        default=DEMO,
        help="demo: DEMO_CUSTOMERS buyers, 5,000 by default; documents: 93,564 buyers with 1,221,736 order lines; "
        "documents-x10: ten times as many (%(default)s)",
    )
    size.add_argument("--customers", type=whole_number(1), metavar="N", help="instead of a size: so many buyers")
    sample.add_argument("--seed", type=whole_number(0), default=7, help="(%(default)s)")
    sample.add_argument(
        "--truth", type=Path, metavar="FILE", help="also write what is true of each customer to FILE, as CSV"
    )
    sample.set_defaults(run=_run)


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    source = SampleShop(
        customers=wanted.customers or settings.demo_customers, size=SIZES.get(wanted.size), seed=wanted.seed
    )
    if wanted.truth:
        check_writable(wanted.truth)
    async with open_database(settings) as database:
        await migrate(database)
        with progress() as listener:
            report = await ingest(
                database,
                source,
                store_id=store_of(wanted, settings),
                timezone=settings.store_timezone,
                currency=settings.currency,
                pseudonym_secret=id_hash_secret(settings),
                progress=listener,
            )
    show_import(report)
    if wanted.truth:
        with whole_file(wanted.truth) as file:
            n_customers = write_truth(source.truth(), source.waiting_ids(), file)
        say(f"What is true of each of {n_customers:,} customers is in {wanted.truth}.")
    return 0
