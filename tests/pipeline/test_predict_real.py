"""Online Retail: predictions beside what simple models reach there, on the cuts whose baselines are published."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.config import Settings
from app.pipeline.backtest import backtest
from app.pipeline.ingest import ingest
from app.pipeline.predict import PredictOptions, told_as_of
from app.sources.csv_file import CsvSource
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.conftest import own_database
from tests.fakes import NOW, SECRET

STORE = "uk"
CHURN_CUTS = (date(2011, 7, 1), date(2011, 9, 1), date(2011, 11, 1))
SPEND_CUTS = (date(2011, 6, 15), date(2011, 7, 15), date(2011, 9, 1))


@pytest.fixture(scope="module")
async def shop(embedded_url: str, settings: Settings, real_data_dir: Path) -> AsyncIterator[Database]:
    path = real_data_dir / "online_retail" / "online_retail.csv.gz"
    async with own_database(embedded_url) as url:
        database = Database(url, settings)
        await migrate(database)
        source = CsvSource([path], preset="online-retail")
        await ingest(database, source, store_id=STORE, timezone="UTC", currency="USD", pseudonym_secret=SECRET)
        yield database
        await database.close()


@pytest.fixture(scope="module")
async def churn(shop: Database) -> dict[str, Any]:
    return await backtest(shop, STORE, CHURN_CUTS, now=NOW)


@pytest.fixture(scope="module")
async def spend(shop: Database) -> dict[str, Any]:
    return await backtest(shop, STORE, SPEND_CUTS, now=NOW)


def thirty_days(cut: dict[str, Any], who: str = "everyone") -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in cut["churn"] if each["horizon"] == "30d")[who]
    return found


async def test_a_month_ahead_no_baseline_is_better_at_any_cut(churn: dict[str, Any]) -> None:
    """Paired bootstrap: the most that AUC may have been lost against any baseline is .005."""
    for cut in churn["cuts"]:
        for who in ("everyone", "repeat_buyers"):
            for name, ahead in thirty_days(cut, who)["auc_ahead_of"].items():
                assert -ahead["low"] <= 0.005, (cut["cut"], who, name)


async def test_what_is_served_today_is_of_the_same_make_as_what_the_last_months_were(shop: Database) -> None:
    """On the last day BG/NBD sees customers leave, on every day that is learned from it did not."""
    told = await told_as_of(shop, STORE, PredictOptions(), now=NOW)
    chance = told["p_no_purchase_30d"].to_numpy()
    assert 0.55 < chance.mean() < 0.8  # .66 to .77 of each of the last six months' did
    assert chance.max() < 0.99 and chance.std() > 0.1


async def test_a_month_ahead_chances_are_calibrated(churn: dict[str, Any]) -> None:
    told = churn["mean"]["churn"]["30d"]["everyone"]
    assert told["served"]["ece"] <= 0.040
    for baseline in ("recency_logistic", "rfm_logistic", "bg_nbd"):
        assert told["served"]["brier"] < told[baseline]["brier"]
        assert told["served"]["ece"] < told[baseline]["ece"]


async def test_levels_are_spread_and_became_what_their_bounds_say(churn: dict[str, Any]) -> None:
    for cut in churn["cuts"]:
        for level in cut["levels"]["levels"]:
            assert level["share"] <= 0.70
            if level["lapsed"] is not None:
                low, high = level["bounds"]
                assert low - 0.05 <= level["lapsed"] <= high + 0.05, (cut["cut"], level)


async def test_spend_of_the_largest_and_of_the_many_is_told_by_one_model(spend: dict[str, Any]) -> None:
    told = spend["mean"]["spend"]
    served = told.pop("served")
    assert served["rmse"] <= 1_890
    assert served["spearman"] >= 0.53
    assert 0.85 <= served["ratio"] <= 1.15
    for name, baseline in told.items():
        assert served["rmse_winsorised"] < baseline["rmse_winsorised"], name


async def test_growth_is_told_no_worse_than_the_best_plain_way(churn: dict[str, Any]) -> None:
    revenue = churn["growth"]["revenue"]
    best = min(revenue[each] for each in ("mape_naive", "mape_seasonal_naive", "mape_seasonal_naive_yoy"))
    assert revenue["mape"] <= 1.1 * best
    assert 0.75 <= revenue["coverage"] <= 0.87


async def test_the_same_cut_is_told_the_same_twice(shop: Database, churn: dict[str, Any]) -> None:
    again = await backtest(shop, STORE, CHURN_CUTS[:1], now=NOW)
    one, other = (thirty_days(each["cuts"][0])["models"]["served"] for each in (churn, again))
    assert np.allclose([one["auc"], one["ece"]], [other["auc"], other["ece"]], atol=1e-9)
