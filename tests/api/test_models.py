"""The models behind predictions over HTTP: what tells what, and what it would have been worth."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from vl_convert import vegalite_to_svg

from app.api.models.schemas import ModelBacktest, Models
from app.core.config import Settings
from app.main import create_app
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, Clients, client, resources_for
from tests.api.test_anonymous import leaves
from tests.api.test_customers import told
from tests.fakes import CHURN_MODEL, a_shop, execute, foretell, foretold, put

MODELS, BACKTEST = "/api/models", "/api/models/churn/backtest"


def measures(**told: float | None) -> dict[str, Any]:
    return {"n": 1_234, "auc": 0.81234567, "log_loss": 0.54321, "ece": 0.0123, "ece_noise_floor": 0.0101, **told}


BINS = [
    {"n": 617, "mean_predicted": 0.41234, "observed": 0.43112, "low": 0.3926, "high": 0.4706},
    {"n": 617, "mean_predicted": 0.87654, "observed": 0.93355, "low": 0.9111, "high": 0.9507},
]
PROOF = {
    "own_horizon": {
        "cut": "2023-06-01",
        "measures": measures(auc=None),
        "reliability": BINS,
        "levels": [
            {"level": "low", "share": 0.01, "n_over": 12, "lapsed": 0.25, "bounds": [0.0, 0.3]},
            {"level": "critical", "share": 0.99, "n_over": 1_222, "lapsed": 0.91234, "bounds": [0.7, 1.0]},
        ],
    },
    "90d": {"cut": "2024-03-03", "measures": measures(), "reliability": BINS},
    "30d": {"held_out": ["2024-05-02", "2024-04-02"], "seasonal": True, "measures": measures(), "reliability": BINS},
}
TRAINED = [
    CHURN_MODEL | {"backtest": PROOF},
    CHURN_MODEL
    | {
        "candidate": "recency_logistic",
        "status": "candidate",
        "why": "log loss 0.6 on 2 windows held out, against 0.5432 of the chosen one",
        "features": [],
        "backtest": {"30d": {"held_out": ["2024-05-02", "2024-04-02"], "measures": measures(auc=0.7)}},
    },
    CHURN_MODEL | {"candidate": "blend_segments", "status": "candidate", "why": "no segments were found"},
    CHURN_MODEL
    | {
        "name": "spend",
        "status": "degraded",
        "candidate": "past_rate",
        "why": "Nothing did better than the baseline.",
        "backtest": {
            "90d": {
                "held_out": ["2024-03-03"],
                "measures": {"n": 9, "rmse": 81.239, "ratio": None},
                "interval_coverage": 0.8,
            }
        },
    },
    CHURN_MODEL
    | {
        "name": "revenue",
        "candidate": "mean of two",
        "features": [],
        "backtest": {"mape": 0.1, "coverage": 0.8, "n_told": 78, "mape_naive": 0.4, "mape_seasonal_naive": None},
    },
    CHURN_MODEL | {"name": "next_order", "candidate": "steps", "why": "nothing to try it on"},
]


@pytest.fixture(scope="module")
async def views(database: Database, settings: Settings) -> AsyncIterator[tuple[Ask, Ask]]:
    """A support key's and an analytics key's view of a shop whose models are made up."""
    store = "models-shop"
    await put(database, store, a_shop(3))
    await foretell(database, store, [foretold("c000")], TRAINED)
    app = create_app(resources=resources_for(database, settings, store))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        yield support, analytics


Views = tuple[Ask, Ask]


async def test_every_model_is_told_with_what_it_beat(views: Views) -> None:
    support, _ = views
    found = await told(support, MODELS)
    Models.model_validate(found)
    by_name = {each["name"]: each for each in found["models"]}
    assert list(by_name) == ["churn", "next_order", "revenue", "spend"]
    churn = by_name["churn"]
    assert (churn["candidate"], churn["status"], churn["version"]) == ("blend", "served", "9.9")
    assert (churn["trained_from"], churn["trained_to"]) == ("2024-01-01", "2024-06-01")
    assert (churn["horizon"], churn["features"]) == ("30d", ["log_recency"])
    assert churn["figures"] == measures(auc=0.812346)
    assert churn["baselines"] == [
        {"candidate": "blend_segments", "figures": {}},
        {"candidate": "recency_logistic", "figures": measures(auc=0.7)},
    ]
    assert (by_name["spend"]["status"], by_name["spend"]["horizon"]) == ("degraded", "90d")
    assert by_name["spend"]["figures"] == {"n": 9, "rmse": 81.239, "ratio": None}
    revenue = by_name["revenue"]
    assert (revenue["horizon"], revenue["figures"]) == ("months", {"mape": 0.1, "coverage": 0.8, "n_told": 78})
    assert revenue["baselines"] == [
        {"candidate": "naive", "figures": {"mape": 0.4}},
        {"candidate": "seasonal_naive", "figures": {"mape": None}},
    ]
    assert (by_name["next_order"]["horizon"], by_name["next_order"]["figures"]) == (None, {})


async def test_a_backtest_tells_every_horizon_and_everyone_who_was_tried(views: Views) -> None:
    support, _ = views
    found = await told(support, BACKTEST)
    ModelBacktest.model_validate(found)
    horizons = {each["horizon"]: each for each in found["horizons"]}
    assert list(horizons) == ["30d", "90d", "own_horizon"]
    short, own = horizons["30d"], horizons["own_horizon"]
    assert (short["days"], short["seasonal"]) == (["2024-05-02", "2024-04-02"], True)
    assert [each["candidate"] for each in short["candidates"]] == ["blend", "recency_logistic"]
    assert [each["status"] for each in short["candidates"]] == ["served", "candidate"]
    assert short["reliability"] == BINS
    assert short["says"] == (
        "Tried on 2 May 2024, 2 April 2024, over 30 days: 1 of 2 groups came as they were told; on average what was "
        "told is 1.2 points off."
    )
    assert (own["days"], own["candidates"][0]["measures"]["auc"]) == (["2023-06-01"], None)
    assert own["slices"][1] == {
        "by": "level",
        "name": "critical",
        "low": 0.7,
        "high": 1.0,
        "share": 0.99,
        "n": 1_222,
        "observed": 0.91234,
    }
    for each in horizons.values():
        assert vegalite_to_svg(json.dumps(each["chart"]), vl_version="6.4").startswith("<svg")
        diagonal, intervals, points = each["chart"]["layer"]
        assert all(end["told"] == end["came"] for end in diagonal["data"]["values"])
        assert intervals["data"] == points["data"] == {"values": each["reliability"]}
        assert each["chart"]["title"]["subtitle"].startswith("1,234 customers; ")


async def test_what_was_never_tried_says_so(views: Views) -> None:
    support, _ = views
    found = await told(support, "/api/models/next_order/backtest")
    ModelBacktest.model_validate(found)
    assert found["horizons"] == []
    assert found["message"] == "It could not be tried on the shop's own past: nothing to try it on."
    forecast = (await told(support, "/api/models/revenue/backtest"))["horizons"]
    assert [(each["horizon"], each["chart"], each["reliability"]) for each in forecast] == [("months", None, [])]
    spend = (await told(support, "/api/models/spend/backtest"))["horizons"]
    assert [each["interval_coverage"] for each in spend] == [0.8]


async def test_a_key_without_identities_is_not_told_of_how_many(views: Views) -> None:
    _, analytics = views
    for path in (MODELS, BACKTEST):
        seen = await told(analytics, path)
        (Models if path == MODELS else ModelBacktest).model_validate(seen)
        assert "1,234" not in json.dumps(seen) and "617" not in json.dumps(seen)
        for name, value in leaves(seen):
            assert name not in ("n", "ece_noise_floor") or value is None
            assert name not in ("observed", "mean_predicted") or value is None or value == round(value, 2)
    own = seen["horizons"][-1]
    assert [(each["share"], each["observed"]) for each in own["slices"]] == [(None, None), (0.99, 0.91)]
    # As wide as they are, an interval and a share would tell of how many it is.
    assert [(each["low"], each["high"]) for each in own["reliability"]] == [(0.35, 0.5), (0.9, 1.0)]


async def test_a_model_there_is_not_is_refused_with_those_there_are(views: Views) -> None:
    for name in ("nobody", "CHURN", "' OR 1=1--"):
        problem = await told(views[0], f"/api/models/{name}/backtest", 404)
        assert problem["type"] == "/problems/model-not-found"
        assert problem["detail"].endswith("There are: churn, next_order, revenue, spend.")


async def test_where_nothing_is_predicted_that_is_said(empty_shop: Ask, database: Database, store_id: str) -> None:
    for path in (MODELS, BACKTEST):
        problem = await told(empty_shop, path, 404)
        assert problem["type"] == "/problems/nothing-predicted"
    await put(database, store_id, a_shop(1))
    await foretell(database, store_id, [foretold("c000")])
    await execute(database, "DELETE FROM prediction_models WHERE store_id = :s", s=store_id)
    assert (await told(empty_shop, MODELS, 404))["type"] == "/problems/nothing-predicted"


async def test_a_training_tells_its_models(ask: Clients) -> None:
    found = await told(ask.support, MODELS)
    Models.model_validate(found)
    names = [each["name"] for each in found["models"]]
    assert {"churn", "spend"} <= set(names)
    for name in names:
        proof = await told(ask.support, f"/api/models/{name}/backtest")
        ModelBacktest.model_validate(proof)
        assert proof["prediction_id"] == found["prediction_id"]
    churn = next(each for each in found["models"] if each["name"] == "churn")
    assert churn["figures"]["log_loss"] > 0 and {"rfm_logistic", "base_rate"} & {
        each["candidate"] for each in churn["baselines"]
    }
