"""`predict` and `backtest`: what customers will do next, and what such predictions were worth in the past."""

import argparse
import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from app.cli.options import Commands, add_store, day, store_of, whole_number
from app.cli.output import progress, say, show_table
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.dates import start_of_day
from app.core.files import check_writable, write_whole
from app.domain.value_tiers import TierMode
from app.pipeline.backtest import backtest
from app.pipeline.predict import PredictOptions, predict
from app.resources import open_database
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from app.warehouse.stores import timezone_of

_MOST_CUTS = 24
_HORIZONS = {"30d": "within 30 days", "90d": "within 90 days", "own_horizon": "within their own horizon"}
LABELS = {
    "served": "served",
    "base_rate": "base rate",
    "recency_logistic": "recency logistic",
    "rfm_logistic": "RFM logistic",
    "bg_nbd": "BG/NBD",
    "bg_nbd_gamma_gamma": "BG/NBD + Gamma-Gamma",
    "last_window_spend": "last 90 days' spend",
    "past_rate": "past rate",
}


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    predicting = commands.add_parser(
        "predict",
        parents=[shared],
        help="train, choose and publish predictions",
        description="Train churn, spend, next-order and growth models on a store's own past, choose between them by "
        "what they would have told of it, and serve them. Until it is done, and if it fails, those before stay served.",
    )
    add_store(predicting)
    add_as_of(predicting)
    predicting.set_defaults(run=_predict)
    measuring = commands.add_parser(
        "backtest",
        parents=[shared],
        help="measure predictions on the past, beside what simple models reach",
        description="For each of several days train from what was known before it, and measure what was predicted by "
        "what came after. Nothing is kept.",
    )
    add_store(measuring)
    measuring.add_argument(
        "--cuts",
        type=_cuts,
        default=3,
        metavar="N|D1,D2,...",
        help="the days (YYYY-MM-DD), or how many, 90 days apart, the last 90 days before the records end (%(default)s)",
    )
    measuring.add_argument("--json", type=Path, metavar="PATH", help="write every figure as JSON")
    measuring.set_defaults(run=_backtest)


def add_as_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--as-of", type=day, metavar="D", help="use only what happened before this day (YYYY-MM-DD)")


def _cuts(text: str) -> int | list[date]:
    """For argparse: how many, or which days."""
    if re.fullmatch(r"[0-9]+", text):
        return whole_number(1, _MOST_CUTS)(text)
    return [day(each) for each in text.split(",")]


async def moment_of(database: Database, store_id: str, as_of: date | None, settings: Settings) -> datetime | None:
    """When a day of the shop begins; None for no day."""
    if as_of is None:
        return None
    return start_of_day(as_of, await timezone_of(database, store_id) or settings.store_timezone)


def predict_options(settings: Settings, *, as_of: datetime | None = None) -> PredictOptions:
    """How the settings want a store predicted, on all cores."""
    return PredictOptions(
        as_of=as_of,
        horizon_days=settings.churn_horizon_days,
        threads=os.cpu_count() or 1,
        tier_mode=TierMode(settings.ltv_tier_mode.value),
    )


async def _predict(wanted: argparse.Namespace, settings: Settings) -> int:
    store_id = store_of(wanted, settings)
    async with open_database(settings) as database:
        await migrate(database)
        as_of = await moment_of(database, store_id, wanted.as_of, settings)
        options = predict_options(settings, as_of=as_of)
        with progress() as listener:
            result = await predict(database, store_id, options, now=utc_now(), progress=listener)
    _show_predictions(store_id, result.prediction_id, result.report)
    return 0


def _show_predictions(store_id: str, prediction_id: int, report: Mapping[str, Any]) -> None:
    n = report["n_customers"]
    say(f"Predictions {prediction_id} of store '{store_id}', as of {report['as_of'][:10]}, tell of {n:,} customers.")
    say()
    rows = [
        (level, count, f"{100 * count / n:.1f} %" if n else "-") for level, count in reversed(report["levels"].items())
    ]
    show_table("Levels of risk", ("risk", "customers", "share"), rows)
    churn, spend = report["churn"], report["spend"]
    season = ", with the season" if churn["seasonal"] else ""
    say(f"Who comes back is told by {churn['model']}{season}.")
    if spend["model"]:
        say(f"What they spend is told by {spend['model']}.")
    for why in (churn["degraded"], spend["degraded"], spend["missing"]):
        if why:
            say(f"Note: {why}")


async def _backtest(wanted: argparse.Namespace, settings: Settings) -> int:
    if wanted.json:
        check_writable(wanted.json)
    store_id = store_of(wanted, settings)
    async with open_database(settings) as database:
        await migrate(database)
        with progress() as listener:
            found = await backtest(
                database,
                store_id,
                wanted.cuts,
                now=utc_now(),
                horizon_days=settings.churn_horizon_days,
                progress=listener,
            )
    show_backtest(found)
    if wanted.json:
        write_whole(wanted.json, json.dumps(found, indent=2) + "\n")
    return 0


def show_backtest(found: Mapping[str, Any]) -> None:
    """Tables of what was reached, mean of the cuts and cut by cut."""
    cuts = found["cuts"]
    say()
    say(f"What was predicted of the customers of store '{found['store_id']}' from before a day, held against what came")
    say()
    for cut in cuts:
        season = ", with the season" if cut["seasonal"] else ""
        say(f"{cut['cut']}: {cut['n_customers']:,} customers, told by {cut['served']}{season}")
    for cut in found["refused"]:
        say(f"{cut['cut']}: {cut['why']}")
    say()
    days = "1 cut" if len(cuts) == 1 else f"mean of {len(cuts)} cuts"
    for horizon, by_group in found["mean"]["churn"].items():
        for who, words in (("everyone", ""), ("repeat_buyers", ", of who had two visits or more")):
            if by_group[who]:
                _show_churn(f"No order {_HORIZONS[horizon]}{words}, {days}", by_group[who], cuts, horizon, who)
    _show_levels(cuts)
    if found["mean"]["spend"]:
        columns = ("spend in 90 days", "RMSE", "winsorised", "MAE", "Spearman", "predicted/actual")
        rows = [
            (LABELS[name], *(_number(m[key]) for key in ("rmse", "rmse_winsorised", "mae")), m["spearman"], m["ratio"])
            for name, m in found["mean"]["spend"].items()
        ]
        show_table(f"Spend in the 90 days after, {days}", columns, rows)
    for cut in cuts:
        if cut["spend_missing"]:
            say(f"{cut['cut']}: {cut['spend_missing']}")
    _show_growth(found["growth"])


def _show_churn(
    title: str, models: Mapping[str, Any], cuts: Sequence[Mapping[str, Any]], horizon: str, who: str
) -> None:
    columns = ("told by", "base rate", "AUC", "Brier", "log loss", "ECE", "ECE's floor", "served is ahead by (95 %)")
    rows = []
    for name, m in models.items():
        figures = (m["base_rate"], m["auc"], m["brier"], m["log_loss"], m["ece"], m["ece_noise_floor"])
        rows.append((LABELS[name], *(_four(each) for each in figures), _ahead(name, cuts, horizon, who)))
    show_table(title, columns, rows)


def _ahead(name: str, cuts: Sequence[Mapping[str, Any]], horizon: str, who: str) -> str | None:
    """Of each cut how far the served AUC is ahead, with the lower end of its interval."""
    told = []
    for cut in cuts:
        for each in cut["churn"]:
            if each["horizon"] == horizon and each[who] is not None:
                against = each[who]["auc_ahead_of"].get(name)
                if against is not None:
                    told.append(f"{against['difference']:+.3f} ({against['low']:+.3f} to {against['high']:+.3f})")
    return "; ".join(told) or None


def _show_levels(cuts: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (
            cut["cut"],
            each["level"],
            f"{100 * each['share']:.1f} %",
            None if each["lapsed"] is None else f"{100 * each['lapsed']:.1f} %",
            f"{100 * each['bounds'][0]:.0f} to {100 * each['bounds'][1]:.0f} %",
        )
        for cut in cuts
        for each in cut["levels"]["levels"]
    ]
    columns = ("cut", "level", "of customers", "stayed away", "its bounds")
    show_table("Levels of the risk score, and what became of them", columns, rows, left=2)


def _show_growth(growth: Mapping[str, Any]) -> None:
    columns = (
        "per month",
        "months",
        "served",
        "naive",
        "seasonal naive",
        "seasonal naive x yoy",
        "80 % intervals hold",
    )
    rows = [
        (
            name.replace("_", " "),
            told["months"],
            *(
                _percent(told[key])
                for key in ("mape", "mape_naive", "mape_seasonal_naive", "mape_seasonal_naive_yoy", "coverage")
            ),
        )
        for name, told in growth.items()
        if told is not None
    ]
    if rows:
        show_table("Growth: mean absolute error in percent (MAPE), pooled over rolling origins", columns, rows)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _four(figure: float | None) -> str | None:
    return None if figure is None else f"{figure:.4f}"


def _number(figure: float | None) -> str | None:
    return None if figure is None else f"{figure:,.1f}"
