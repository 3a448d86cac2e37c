"""`sample`: the built-in shop."""

import argparse

from app.cli.import_csv import show_import
from app.cli.options import Commands, add_store, store_of, whole_number
from app.cli.output import progress
from app.core.config import Settings
from app.pipeline.ingest import ingest
from app.pipeline.sample import SampleShop
from app.resources import open_database
from app.warehouse.migrate import migrate


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    sample = commands.add_parser(
        "sample",
        parents=[shared],
        help="load a made-up quilting shop",
        description="Load a synthetic shop. The same seed makes the same shop.",
    )
    add_store(sample)
    sample.add_argument("--customers", type=whole_number(1), help="buyers (DEMO_CUSTOMERS, 5,000 by default)")
    sample.add_argument("--seed", type=whole_number(0), default=7, help="(%(default)s)")
    sample.set_defaults(run=_run)


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    source = SampleShop(customers=wanted.customers or settings.demo_customers, seed=wanted.seed)
    async with open_database(settings) as database:
        await migrate(database)
        with progress() as listener:
            report = await ingest(
                database,
                source,
                store_id=store_of(wanted, settings),
                timezone=settings.store_timezone,
                currency=settings.currency,
                progress=listener,
            )
    show_import(report)
    return 0
