"""`demo`: the built-in shop, loaded and segmented, and what was found in it."""

import argparse

from app.cli.options import Commands
from app.cli.output import progress, say
from app.cli.run_report import show_run
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.errors import NothingPublished, StoreNotFound
from app.pipeline.ingest import ingest
from app.pipeline.run import RunOptions, RunResult, discovery_options, segment
from app.pipeline.sample import SampleShop
from app.resources import open_database
from app.segmentation.clustering import KRange
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from app.warehouse.runs import served_run

DEMO_STORE = "demo"


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    demo = commands.add_parser(
        "demo",
        parents=[shared],
        help="load the built-in shop, segment it and show what was found",
        description="Load the built-in quilting shop into the store 'demo' and segment it. "
        "A second start finds everything in place.",
    )
    demo.set_defaults(run=_run)


async def _run(_wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await migrate(database)
        result = await _served(database)
        if result is not None:
            say(f"Everything is in place: store '{DEMO_STORE}' is loaded and segmented.")
        else:
            result = await _made(database, settings)
    show_run(result)
    say()
    say(f"The shop is in store '{DEMO_STORE}'. Next, for instance:")
    say(f"  .venv/bin/python -m app export segments --store {DEMO_STORE} --out segments.csv")
    say("  .venv/bin/python -m app import csv orders.csv --store mine --map customer_id=... order_date=... amount=...")
    return 0


async def _served(database: Database) -> RunResult | None:
    async with database.snapshot() as connection:
        try:
            run = await served_run(connection, DEMO_STORE)
        except (StoreNotFound, NothingPublished):
            return None
    return RunResult(run_id=run.run_id, report=run.report)


async def _made(database: Database, settings: Settings) -> RunResult:
    with progress() as listener:
        await ingest(
            database,
            SampleShop(customers=settings.demo_customers),
            store_id=DEMO_STORE,
            timezone=settings.store_timezone,
            currency=settings.currency,
            progress=listener,
        )
        options = RunOptions(
            min_population=1,
            discovery=discovery_options(settings, KRange(dynamic=settings.enable_dynamic_k_range)),
        )
        return await segment(database, DEMO_STORE, options, now=utc_now(), progress=listener)
