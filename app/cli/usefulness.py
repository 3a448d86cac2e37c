"""`usefulness`: do segments tell what customers will do next, beside RFM?"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from app.cli.options import Commands, add_store, day, store_of, whole_number
from app.cli.output import progress, say, show_table
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.files import check_writable, write_whole
from app.pipeline.run import discovery_options
from app.pipeline.usefulness import usefulness
from app.resources import open_database
from app.segmentation.clustering import KRange
from app.segmentation.usefulness import RFM_QUINTILES
from app.warehouse.migrate import migrate

_MOST_CUTS = 24
LABELS = {
    RFM_QUINTILES: "RFM quintiles",
    "rfm_as_many": "RFM, as many groups as L1",
    "rfm_groups": "RFM's ten groups",
    "archetypes_l1": "Archetypes, L1",
    "archetypes_l1_as_many": "L1, as many groups as RFM quintiles",
    "archetypes_l2": "Archetypes, L2",
    "archetypes_l3": "Archetypes, L3",
    "memberships": "Memberships",
    "all_features": "All features, gradient boosting",
}
#: Two that differ by no more than this, wherever in its interval the difference lies, are as good as each other.
_ALIKE = 0.02


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "usefulness",
        parents=[shared],
        help="measure what segments tell of what customers do next, beside RFM",
        description="Find a store's segments from what was known before each of several days, and measure what they "
        "tell of the 90 days after: who bought, and how much. Nothing is kept.",
    )
    add_store(parser)
    parser.add_argument(
        "--cuts",
        type=_cuts,
        default=3,
        metavar="N|D1,D2,...",
        help="the days (YYYY-MM-DD), or how many, 90 days apart, the last 90 days before the records end (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure as JSON")
    parser.set_defaults(run=_run)


def _cuts(text: str) -> int | list[date]:
    """For argparse: how many, or which days."""
    if re.fullmatch(r"[0-9]+", text):
        return whole_number(1, _MOST_CUTS)(text)
    return [day(each) for each in text.split(",")]


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    if wanted.json:
        check_writable(wanted.json)
    options = discovery_options(settings, KRange(dynamic=settings.enable_dynamic_k_range))
    async with open_database(settings) as database:
        await migrate(database)
        with progress() as listener:
            found = await usefulness(
                database, store_of(wanted, settings), wanted.cuts, now=utc_now(), options=options, progress=listener
            )
    _show(found)
    if wanted.json:
        write_whole(wanted.json, json.dumps(found, indent=2) + "\n")
    return 0


def _show(found: Mapping[str, Any]) -> None:
    horizon, cuts = found["horizon_days"], found["cuts"]
    say()
    say(
        f"What was known of the customers of store '{found['store_id']}' before a day, told of the {horizon} days after"
    )
    say()
    for cut in cuts:
        say(_about(cut, horizon))
    say()
    columns = ("told from", "groups", "AUC", "against quintiles", "95 %", "R²", "against quintiles", "95 %")
    days = "1 cut" if len(cuts) == 1 else f"{len(cuts)} cuts"
    show_table(f"Who buys (AUC), and for how much (R²), mean of {days}", columns, [_row(row) for row in found["mean"]])
    if len(cuts) > 1:
        names = [f"{cut['cut']} {measure}" for cut in cuts for measure in ("AUC", "R²")]
        by_row = zip(*(cut["rows"] for cut in cuts), strict=True)
        rows = [
            (LABELS[row[0]["name"]], *(_told(each[key]) for each in row for key in ("auc", "r2"))) for row in by_row
        ]
        show_table("By cut", ("told from", *names), rows)
    for sentence in verdict(found["mean"], horizon_days=horizon):
        say(sentence)


def _about(cut: Mapping[str, Any], horizon_days: int) -> str:
    bought = f"{100 * cut['bought_share']:.1f} % bought in the {horizon_days} days after"
    note = f" ({cut['note']}: there is no AUC)" if cut["note"] else ""
    return f"{cut['cut']}: {cut['n_customers']:,} customers, {bought}{note}"


def _row(row: Mapping[str, Any]) -> tuple[object, ...]:
    groups = None if row["n_groups"] is None else round(row["n_groups"])
    measures = [cell for key in ("auc", "r2") for cell in (_told(row[key]), *_difference(row, key))]
    return (LABELS[row["name"]], groups, *measures)


def _difference(row: Mapping[str, Any], key: str) -> tuple[str | None, str | None]:
    against = row[f"{key}_against"]
    if against is None or row["name"] == RFM_QUINTILES:
        return None, None
    return _signed(against["difference"]), _interval(against)


def verdict(rows: Sequence[Mapping[str, Any]], *, horizon_days: int) -> list[str]:
    """What the figures say of archetypes and of memberships, a sentence each for who buys and for how much."""
    by_name = {row["name"]: row for row in rows}
    return [
        _sentence(subject, by_name[name], by_name[RFM_QUINTILES], key, what.format(horizon_days))
        for subject, name in (("Archetypes", "archetypes_l1"), ("Memberships", "memberships"))
        for key, what in (("auc", "who buys within {} days"), ("r2", "how much customers spend within {} days"))
    ]


def _sentence(subject: str, row: Mapping[str, Any], base: Mapping[str, Any], key: str, what: str) -> str:
    measure, against = {"auc": "AUC", "r2": "R²"}[key], row[f"{key}_against"]
    if against is None:
        return f"{subject}: nothing can be said of {what}, for after no cut there was anything to tell apart."
    if against["low"] > 0:
        how = "better than"
    elif against["high"] < 0:
        how = "worse than"
    elif max(-against["low"], against["high"]) <= _ALIKE:
        how = "as well as"
    else:
        how = "neither measurably better nor measurably worse than"
    return (
        f"{subject}{_in_groups(row)} tell {what} {how} RFM quintiles{_in_groups(base)}: {measure} {_told(row[key])} "
        f"against {_told(base[key])} (difference {_signed(against['difference'])}, 95 % {_interval(against)})."
    )


def _in_groups(row: Mapping[str, Any]) -> str:
    return "" if row["n_groups"] is None else f" ({round(row['n_groups'])} groups)"


def _interval(against: Mapping[str, float]) -> str:
    return f"{_signed(against['low'])} to {_signed(against['high'])}"


def _signed(number: float) -> str:
    return _without_zero(f"{number:+.3f}")


def _told(number: float | None) -> str | None:
    return None if number is None else _without_zero(f"{number:.3f}")


def _without_zero(text: str) -> str:
    """.727 for 0.727"""
    return re.sub(r"^([+-]?)0\.", r"\1.", text)
