"""The figures of docs/PREDICTIONS.md: `python -m scripts.predictions_page --online-retail online_retail.csv.gz`.

Imports the file and makes the sample shop, as it is and without seasons, in a database of its own, measures what would
have been predicted on days of their past, and writes it between the marks of the page. Takes about ten minutes.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from app.cli.predict import LABELS
from app.core.clock import utc_now
from app.core.config import Environment, Settings
from app.core.files import write_whole
from app.pipeline.backtest import backtest
from app.pipeline.ingest import ingest
from app.pipeline.sample import SampleShop
from app.pipeline.sample.shoppers import TYPES
from app.resources import open_database
from app.sources.base import Source
from app.sources.csv_file import CsvSource
from app.warehouse.migrate import migrate
from scripts.segmentation_page import write_page

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "PREDICTIONS.md"
RETAIL, SAMPLE, PLAIN = "online-retail", "sample", "sample-without-seasons"
N_CUSTOMERS = 22_000
#: Those whose baselines are known from elsewhere; and of the sample shops days whose year after is known.
CUTS: Mapping[str, Sequence[date]] = {
    RETAIL: [date(2011, 7, 1), date(2011, 9, 1), date(2011, 11, 1)],
    SAMPLE: [date(2024, 7, 1), date(2024, 10, 1), date(2025, 3, 1)],
    PLAIN: [date(2024, 7, 1), date(2025, 3, 1), date(2025, 9, 1)],
}
SPEND_CUTS = [date(2011, 6, 15), date(2011, 7, 15), date(2011, 9, 1)]
_WHO = {"everyone": "everyone", "repeat_buyers": "two visits or more"}
_SERVED = "served"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--online-retail", type=Path, required=True, metavar="FILE", help="online_retail.csv.gz")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure as JSON")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(env=Environment.development, data_dir=Path(folder), database_url=None)
        found = asyncio.run(_measured(settings, wanted.online_retail))
    if wanted.json:
        write_whole(wanted.json, json.dumps(found, indent=2) + "\n")
    write_page(PAGE, blocks_of(found))
    return 0


async def _measured(settings: Settings, file: Path) -> dict[str, Any]:
    without_seasons = tuple(replace(each, season=0.0) for each in TYPES)
    sources: dict[str, Source] = {
        RETAIL: CsvSource([file], preset="online-retail"),
        SAMPLE: SampleShop(customers=N_CUSTOMERS),
        PLAIN: SampleShop(customers=N_CUSTOMERS, types=without_seasons),
    }
    found = {}
    async with open_database(settings) as database:
        await migrate(database)
        for store, source in sources.items():
            _tell(f"{store}: reading")
            await ingest(database, source, store_id=store, timezone="UTC", currency="USD", pseudonym_secret=b"0" * 32)
            _tell(f"{store}: predicting the past")
            found[store] = await backtest(database, store, CUTS[store], now=utc_now())
        _tell(f"{RETAIL}: what is spent")
        found["spend"] = await backtest(database, RETAIL, SPEND_CUTS, now=utc_now())
    return found


def blocks_of(found: Mapping[str, Any]) -> dict[str, str]:
    """What stands between each pair of marks."""
    blocks = {}
    for store in CUTS:
        blocks[f"churn-{store}"] = _churn(found[store])
        blocks[f"levels-{store}"] = _levels(found[store])
    blocks["spend"] = _spend(found["spend"])
    blocks["growth"] = _growth(found)
    return blocks


def _churn(told: Mapping[str, Any]) -> str:
    rows = []
    for horizon, by_group in told["mean"]["churn"].items():
        for who, words in _WHO.items():
            for name, figures in by_group[who].items():
                rows.append(
                    (
                        horizon.replace("_", " "),
                        words,
                        LABELS[name],
                        *(_four(figures[each]) for each in ("base_rate", "auc", "brier", "log_loss", "ece")),
                        _ahead(told["cuts"], horizon, who, name),
                    )
                )
    days = ", ".join(f"{cut['cut']} ({cut['served']})" for cut in told["cuts"])
    columns = ("no order within", "of", "told by", "base rate", "AUC", "Brier", "log loss", "ECE", "served is ahead by")
    return f"Mean of the cuts {days}.\n\n{_table(columns, rows)}"


def _ahead(cuts: Sequence[Mapping[str, Any]], horizon: str, who: str, name: str) -> str:
    if name in (_SERVED, "base_rate"):
        return ""
    told = [
        each[who]["auc_ahead_of"][name]
        for cut in cuts
        for each in cut["churn"]
        if each["horizon"] == horizon and each[who] and each[who]["auc_ahead_of"].get(name)
    ]
    return "; ".join(f"{each['difference']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})" for each in told)


def _levels(told: Mapping[str, Any]) -> str:
    rows = [
        (
            cut["cut"],
            level["level"],
            f"{100 * level['share']:.1f} %",
            "-" if level["lapsed"] is None else f"{100 * level['lapsed']:.1f} %",
        )
        for cut in told["cuts"]
        for level in cut["levels"]["levels"]
    ]
    return _table(("cut", "level", "of customers", "stayed away"), rows)


def _spend(told: Mapping[str, Any]) -> str:
    rows = [
        (
            LABELS[name],
            *(f"{figures[each]:,.0f}" for each in ("rmse", "rmse_winsorised", "mae")),
            *(f"{figures[each]:.3f}" for each in ("spearman", "ratio")),
        )
        for name, figures in told["mean"]["spend"].items()
    ]
    days = ", ".join(cut["cut"] for cut in told["cuts"])
    held = ", ".join(f"{100 * cut['spend']['interval_coverage']:.0f} %" for cut in told["cuts"] if cut["spend"])
    columns = ("told by", "RMSE", "winsorised RMSE", "MAE", "Spearman", "predicted / actual")
    return f"Mean of the cuts {days}; the 80 % intervals held {held} of the customers.\n\n{_table(columns, rows)}"


def _growth(found: Mapping[str, Any]) -> str:
    rows = [
        (
            store.replace("-", " "),
            name.replace("_", " "),
            str(told["months"]),
            *(
                _percent(told[each])
                for each in ("mape", "mape_naive", "mape_seasonal_naive", "mape_seasonal_naive_yoy")
            ),
            _percent(told["coverage"]),
        )
        for store in CUTS
        for name, told in found[store]["growth"].items()
        if told is not None
    ]
    columns = ("shop", "a month's", "months", "served", "naive", "seasonal naive", "seasonal naive x yoy", "80 % holds")
    return _table(columns, rows)


def _four(figure: float | None) -> str:
    return "-" if figure is None else re.sub(r"^(-?)0\.", r"\1.", f"{figure:.4f}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
