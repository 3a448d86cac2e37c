"""`segment`: discover a store's segments and archetypes, and serve them."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.cli.options import Commands, add_store, day, positive, start_of, store_of
from app.cli.output import progress, say, show_table
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.files import write_whole
from app.pipeline.run import MIN_POPULATION, RunOptions, RunResult, segment
from app.resources import open_database
from app.segmentation.clustering import KRange
from app.segmentation.discovery import DiscoveryOptions
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
    parser.set_defaults(run=_run, parser=parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The flags of discovery, which scripts/run_initial_clustering.py shares."""
    parser.add_argument("--as-of", type=day, metavar="D", help="use only what happened before this day (YYYY-MM-DD)")
    parser.add_argument("--axes", metavar="a,b", help="only these axes, by name or alias")
    parser.add_argument("--min-k", type=positive, metavar="K", help="fewest segments to try on an axis (2)")
    parser.add_argument("--max-k", type=positive, metavar="K", help="most segments to try on an axis")
    parser.add_argument(
        "--min-population",
        type=positive,
        default=MIN_POPULATION,
        metavar="N",
        help="refuse a store with fewer customers than this (%(default)s)",
    )
    parser.add_argument("--sample-size", type=positive, metavar="N", help="fit the clusters on this many customers")
    parser.add_argument(
        "--no-ai-naming", action="store_true", help="name segments from behaviour alone, as is done now"
    )
    parser.add_argument("--dry-run", action="store_true", help="discover and report, and keep nothing")
    parser.add_argument("--report", type=Path, metavar="PATH", help="write what was found as a Markdown page")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write what was found as JSON")


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await migrate(database)
        await run_discovery(database, store_of(wanted, settings), wanted, settings)
    return 0


async def run_discovery(database: Database, store_id: str, wanted: argparse.Namespace, settings: Settings) -> RunResult:
    """Segment with the flags of `add_options`, and print what was found."""
    options = await _options(database, store_id, wanted, settings)
    with progress() as listener:
        result = await segment(database, store_id, options, now=utc_now(), progress=listener)
    show_run(result)
    if wanted.json:
        write_whole(wanted.json, json.dumps({"run_id": result.run_id, **result.report}, indent=2) + "\n")
    if wanted.report:
        write_whole(wanted.report, markdown(result))
    return result


async def _options(database: Database, store_id: str, wanted: argparse.Namespace, settings: Settings) -> RunOptions:
    smallest, largest = wanted.min_k, wanted.max_k
    if smallest is not None and largest is not None and smallest > largest:
        wanted.parser.error(f"--min-k {smallest} is more than --max-k {largest}")
    as_of = None
    if wanted.as_of is not None:
        timezone = await timezone_of(database, store_id) or settings.store_timezone
        as_of = start_of(wanted.as_of, timezone)
    return RunOptions(
        as_of=as_of,
        axes=tuple(wanted.axes.split(",")) if wanted.axes else None,
        min_population=wanted.min_population,
        dry_run=wanted.dry_run,
        discovery=discovery_options(
            settings, KRange(smallest, largest, settings.enable_dynamic_k_range), wanted.sample_size
        ),
    )


def discovery_options(settings: Settings, k_range: KRange, sample_size: int | None = None) -> DiscoveryOptions:
    return DiscoveryOptions(
        k_range=k_range,
        robust=settings.clustering_robust_scaling,
        kernel=settings.fuzzy_kernel.value,
        sample_size=sample_size,
        archetype_min_members=settings.archetype_min_members,
    )


_AXIS_COLUMNS = ("axis", "status", "segments", "k", "silhouette", "null", "smallest share")


def show_run(result: RunResult) -> None:
    report = result.report
    what = "Dry run, nothing kept" if result.run_id is None else f"Run {result.run_id}, now served"
    say()
    say(f"{what}: {report['n_customers']:,} customers of store '{report['store_id']}' as of {report['as_of']}")
    say()
    show_table("Axes", _AXIS_COLUMNS, [_axis_row(axis) for axis in report["axes"]], left=3)
    for axis in report["axes"]:
        say(f"{axis['axis']}: {axis['measures']}" + (f" ({axis['note']})" if axis["note"] else ""))
        for found in axis.get("segments", []):
            say(f"  {found['name']}: {found['interpretation']}")
    say()
    archetypes = report["archetypes"]
    show_table(
        "Archetypes",
        ("level", "count", "smallest", "largest", "customers in 5-500"),
        [
            (f"L{level}", each["count"], each["smallest"], each["largest"], _percent(each["in_useful_sizes"]))
            for level, each in archetypes["levels"].items()
        ],
    )
    show_table(
        f"The archetypes worth most together, {report['currency']}",
        ("id", "name", "customers", "each", "together"),
        [
            (
                each["archetype_id"],
                each["name"],
                each["member_count"],
                f"{each['avg_ltv']:,.2f}",
                f"{each['total_ltv']:,.2f}",
            )
            for each in archetypes["most_valuable"]
        ],
        left=2,
    )
    say(
        f"{_percent(archetypes['own_signature_share'])} of customers have an archetype's very signature; "
        f"{_percent(archetypes['folded_share'])} are folded into the likeliest one, "
        f"differing on {archetypes['mean_fold_distance']:.1f} axes on average."
    )


def markdown(result: RunResult) -> str:
    """What was found, as a page."""
    report = result.report
    lines = [
        f"# Segments of {report['store_id']}",
        "",
        f"{report['n_customers']:,} customers as of {report['as_of']}.",
        "",
        "| " + " | ".join(_AXIS_COLUMNS) + " |",
        "|" + " --- |" * len(_AXIS_COLUMNS),
    ]
    lines += ["| " + " | ".join(_plain(cell) for cell in _axis_row(axis)) + " |" for axis in report["axes"]]
    for axis in report["axes"]:
        lines += ["", f"## {axis['axis']}", ""]
        note = f" ({axis['note']})" if axis["note"] else ""
        lines += [f"{axis['measures'].capitalize()}{note}.", ""]
        lines += [f"- **{found['name']}**: {found['interpretation']}" for found in axis.get("segments", [])]
    lines += ["", "## Archetypes", "", "| level | count | smallest | largest | customers in 5-500 |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for level, each in report["archetypes"]["levels"].items():
        share = _percent(each["in_useful_sizes"])
        lines.append(f"| {level} | {each['count']} | {each['smallest']} | {each['largest']} | {share} |")
    return "\n".join(lines) + "\n"


def _axis_row(axis: Mapping[str, Any]) -> tuple[object, ...]:
    if "k" not in axis:
        return (axis["axis"], axis["status"], "", None, None, None, None)
    names = ", ".join(segment["name"] for segment in axis["segments"])
    return (
        *(
            axis["axis"],
            axis["status"] if axis["has_structure"] else f"{axis['status']}, no_structure",
            names,
            axis["k"],
        ),
        *(axis["silhouette"], axis["null_silhouette"], _percent(axis["smallest_share"])),
    )


def _plain(cell: object) -> str:
    return "-" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
