"""`segment`: discover a store's segments and archetypes, and serve them."""

import argparse
import json
import os
from pathlib import Path

from app.cli.options import Commands, add_store, day, store_of, whole_number
from app.cli.output import progress
from app.cli.run_report import markdown, show_run
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.dates import start_of_day
from app.core.files import check_writable, write_whole
from app.domain.value_tiers import TierMode
from app.pipeline.run import MIN_POPULATION, RunOptions, discovery_options, segment
from app.resources import open_database
from app.segmentation.clustering import MOST_SEGMENTS, KRange
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from app.warehouse.stores import timezone_of


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "segment",
        parents=[shared],
        help="discover segments and archetypes, and serve them",
        description="Discover a store's segments. Until it is done, and if it fails, the run before stays served.",
    )
    add_store(parser)
    add_options(parser)
    parser.set_defaults(run=run_segment)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The flags of discovery, which scripts/run_initial_clustering.py shares."""
    parser.add_argument("--as-of", type=day, metavar="D", help="use only what happened before this day (YYYY-MM-DD)")
    parser.add_argument(
        "--axes", metavar="a,b", help="only these axes, by name or alias; the others are not served then"
    )
    k = whole_number(2, MOST_SEGMENTS)
    parser.add_argument("--min-k", type=k, metavar="K", help="fewest segments to try on an axis (2)")
    parser.add_argument("--max-k", type=k, metavar="K", help=f"most segments to try on an axis, up to {MOST_SEGMENTS}")
    parser.add_argument(
        "--min-population",
        type=whole_number(1),
        default=MIN_POPULATION,
        metavar="N",
        help="refuse a store with fewer customers than this (%(default)s)",
    )
    parser.add_argument(
        "--sample-size", type=whole_number(MIN_POPULATION), metavar="N", help="fit the clusters on this many customers"
    )
    parser.add_argument(
        "--no-ai-naming", action="store_true", help="name segments from behaviour alone, as is done now"
    )
    parser.add_argument("--dry-run", action="store_true", help="discover and report, and keep nothing")
    parser.add_argument("--report", type=Path, metavar="PATH", help="write what was found as a Markdown page")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write what was found as JSON")


async def run_segment(wanted: argparse.Namespace, settings: Settings) -> int:
    """Segment with the flags of `add_options`, and print and write what was found."""
    for path in (wanted.json, wanted.report):
        if path is not None:
            check_writable(path)
    store_id = store_of(wanted, settings)
    async with open_database(settings) as database:
        await migrate(database)
        options = await _options(database, store_id, wanted, settings)
        with progress() as listener:
            result = await segment(database, store_id, options, now=utc_now(), progress=listener)
    show_run(result)
    if wanted.json:
        write_whole(wanted.json, json.dumps({"run_id": result.run_id, **result.report}, indent=2) + "\n")
    if wanted.report:
        write_whole(wanted.report, markdown(result))
    return 0


async def _options(database: Database, store_id: str, wanted: argparse.Namespace, settings: Settings) -> RunOptions:
    as_of = None
    if wanted.as_of is not None:
        timezone = await timezone_of(database, store_id) or settings.store_timezone
        as_of = start_of_day(wanted.as_of, timezone)
    return RunOptions(
        as_of=as_of,
        axes=None if wanted.axes is None else tuple(wanted.axes.split(",")),
        min_population=wanted.min_population,
        dry_run=wanted.dry_run,
        discovery=discovery_options(
            settings,
            KRange(wanted.min_k, wanted.max_k, settings.enable_dynamic_k_range),
            sample_size=wanted.sample_size,
            threads=os.cpu_count() or 1,
        ),
        tier_mode=TierMode(settings.ltv_tier_mode.value),
    )
