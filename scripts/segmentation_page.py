"""The figures and pictures of docs/BEHAVIORAL_SEGMENTATION.md:
`python -m scripts.segmentation_page --online-retail online_retail.csv.gz`.

Imports the file and makes the sample shop in a database of its own, segments and measures both, and writes what it
found between the marks of the page and into docs/images/segments. Takes about five minutes.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from vl_convert import vegalite_to_svg

from app.api.archetypes.charts import axis_chart
from app.cli.usefulness import LABELS
from app.core.clock import utc_now
from app.core.config import Environment, Settings
from app.core.files import write_whole
from app.pipeline.ingest import ingest
from app.pipeline.run import RunOptions, segment
from app.pipeline.sample import SampleShop
from app.pipeline.steadiness import served_for_refits, who_stays
from app.pipeline.usefulness import usefulness
from app.resources import open_database
from app.segmentation.axes import AXES, Axis
from app.segmentation.discovery import DiscoveryOptions
from app.sources.csv_file import CsvSource
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from scripts.draw_axes import VEGA_LITE, on_white

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "BEHAVIORAL_SEGMENTATION.md"
PICTURES = ROOT / "docs" / "images" / "segments"
RETAIL, SAMPLE = "online-retail", "sample"
#: The same shop once more, segmented month by month: what is found first elsewhere has nothing to go on from.
MONTHLY = "online-retail-by-month"
DRAWN = {RETAIL: ("purchase_frequency", "purchase_value"), SAMPLE: ("communication_preference",)}
CUTS: Mapping[str, int | Sequence[date]] = {RETAIL: [date(2011, 3, 1), date(2011, 6, 1), date(2011, 9, 1)], SAMPLE: 3}
SEEDS, RESAMPLES = (1, 2, 3), (1, 2, 3, 4, 5)
_BLOCK = re.compile(r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--online-retail", type=Path, required=True, metavar="FILE", help="online_retail.csv.gz")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(env=Environment.development, data_dir=Path(folder), database_url=None)
        blocks = asyncio.run(_figures(settings, wanted.online_retail))
    write_page(PAGE, {"axes": axes_table(), **blocks})
    return 0


def write_page(page: Path, blocks: Mapping[str, str]) -> None:
    """Put every block between its marks. Raises KeyError for a mark without a block."""
    told = _BLOCK.sub(lambda mark: f"{mark[1]}\n{blocks[mark[2]]}\n{mark[3]}", page.read_text(encoding="utf-8"))
    write_whole(page, told)


async def _figures(settings: Settings, file: Path) -> dict[str, str]:
    blocks = {}
    async with open_database(settings) as database:
        await migrate(database)
        for store, source in (
            (RETAIL, CsvSource([file], preset="online-retail")),
            (MONTHLY, CsvSource([file], preset="online-retail")),
            (SAMPLE, SampleShop()),
        ):
            _tell(f"{store}: reading")
            await ingest(database, source, store_id=store, timezone="UTC", currency="USD", pseudonym_secret=b"0" * 32)
        for day in (datetime(2011, 11, 1, tzinfo=UTC), datetime(2011, 12, 1, tzinfo=UTC)):
            _tell(f"{MONTHLY}: segmenting {day:%Y-%m-%d}")
            later = await segment(database, MONTHLY, RunOptions(as_of=day), now=utc_now())
        blocks["drift"] = _drift(later.report["axes"])
        steady = {}
        for store in (RETAIL, SAMPLE):
            _tell(f"{store}: segmenting")
            found = await segment(database, store, RunOptions(), now=utc_now())
            blocks[f"evidence-{store}"] = _evidence(found.report["axes"])
            _draw(store, found.report["axes"])
            _tell(f"{store}: usefulness")
            told = await usefulness(database, store, CUTS[store], now=utc_now(), options=DiscoveryOptions())
            blocks[f"usefulness-{store}"] = _usefulness(told)
            _tell(f"{store}: steadiness")
            steady[store] = await _steadiness(database, store)
        blocks["steadiness"] = _steady(steady)
    return blocks


def axes_table() -> str:
    """What each axis reads, from the registry."""
    rows = [
        (f"`{axis.name}`", axis.measures, _names(axis), ", ".join(each.name for each in axis.ticket_features) or "-")
        for axis in AXES
    ]
    return _table(("axis", "asks", "reads of orders", "reads of tickets"), rows)


def _names(axis: Axis) -> str:
    return "-" if axis.quiet else ", ".join(axis.feature_names)


def _evidence(axes: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for axis in axes:
        if "k" not in axis:
            rows.append((f"`{axis['axis']}`", "no data", "", "", "", "", ""))
            continue
        for reading in axis["readings"]:
            stability = reading["stability"]
            overlap = axis["redundancy"][0] if axis["redundancy"] else None
            source = f" ({reading['source']})" if len(axis["readings"]) > 1 else ""
            rows.append(
                (
                    f"`{axis['axis']}`{source}",
                    reading["verdict"].replace("_", " "),
                    str(reading["k"]),
                    "-"
                    if reading["silhouette"] is None
                    else f"{reading['silhouette']:.2f} / {reading['null_silhouette']:.2f}",
                    f"{100 * reading['smallest_share']:.1f} %",
                    "-" if stability is None else f"{100 * stability['kept']:.0f} % ({stability['adjusted_rand']:.2f})",
                    "-" if overlap is None else f"{overlap['axis']} {overlap['nmi']:.2f}",
                )
            )
    columns = ("axis", "verdict", "k", "silhouette / null", "smallest", "stays (ARI)", "says the same as")
    return _table(columns, rows)


def _usefulness(told: Mapping[str, Any]) -> str:
    rows = []
    for row in told["mean"]:
        rows.append(
            (
                LABELS[row["name"]],
                "-" if row["n_groups"] is None else f"{row['n_groups']:.0f}",
                f"{row['auc']:.3f}",
                _interval(row["auc_against"]),
                f"{row['r2']:.3f}",
                _interval(row["r2_against"]),
            )
        )
    days = ", ".join(cut["cut"] for cut in told["cuts"])
    table = _table(("", "groups", "AUC", "against RFM quintiles", "R²", "against RFM quintiles"), rows)
    return f"Mean of the cuts {days}.\n\n{table}"


def _interval(against: Mapping[str, float] | None) -> str:
    if against is None:
        return "-"
    return f"{against['difference']:+.3f} ({against['low']:+.3f} to {against['high']:+.3f})"


async def _steadiness(database: Database, store_id: str) -> dict[str, tuple[float, float]]:
    """{axis with structure: the least share of customers who keep their segment id, other seeds and resamples}"""
    served = await served_for_refits(database, store_id, now=utc_now())
    seeds = [who_stays(served, seed=seed) for seed in SEEDS]
    drawn = [who_stays(served, seed=number, drawn=number) for number in RESAMPLES]
    return {axis: (min(each[axis] for each in seeds), min(each[axis] for each in drawn)) for axis in seeds[0]}


def _steady(found: Mapping[str, Mapping[str, tuple[float, float]]]) -> str:
    names = [axis.name for axis in AXES if any(axis.name in axes for axes in found.values())]
    rows = [
        (f"`{name}`", *(_percent(found[store], name, which) for store in (RETAIL, SAMPLE) for which in (0, 1)))
        for name in names
    ]
    columns = ("axis", "Online Retail, seed", "drawn again", "sample shop, seed", "drawn again")
    return _table(columns, rows)


def _percent(of: Mapping[str, tuple[float, float]], name: str, which: int) -> str:
    return f"{100 * of[name][which]:.1f} %" if name in of else "-"


def _drift(axes: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"`{axis['axis']}`",
            *(f"{100 * axis['drift'][name]:.1f} %" for name in ("changed", "moved", "refitted")),
            *(f"{axis['drift'][name]:.2f}" for name in ("rand_changed", "rand_moved", "rand_refitted")),
        )
        for axis in axes
        if axis.get("drift")
    ]
    columns = ("axis", "changed", "moved", "redrawn", "ARI changed", "ARI moved", "ARI redrawn")
    return _table(columns, rows)


def _draw(store: str, axes: Sequence[Mapping[str, Any]]) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for axis in axes:
        if axis["axis"] in DRAWN[store] and (chart := axis_chart(axis)):
            svg = vegalite_to_svg(json.dumps(on_white(chart)), vl_version=VEGA_LITE)
            write_whole(PICTURES / f"{store}-{axis['axis']}.svg", svg + "\n")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
