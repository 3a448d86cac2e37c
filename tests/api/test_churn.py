"""Churn over HTTP: of one customer, of everybody, and of those at risk; in the view of whoever asks."""

import json
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from vl_convert import vegalite_to_svg

from app.api.anonymous import FEWEST
from app.api.churn.schemas import AtRisk, ChurnAggregate
from app.api.customers.schemas import ChurnRisk, CustomerProfile
from app.core.config import Settings
from app.domain.records import Customer
from app.main import create_app
from app.pipeline.predict import PredictOptions, predict
from app.pipeline.predict_some import predict_some
from app.warehouse.engine import Database
from app.warehouse.stores import read_store
from tests.api.conftest import KEYS, STORE, Ask, Clients, client, resources_for
from tests.api.test_anonymous import leaves
from tests.api.test_customers import told
from tests.fakes import CHURN_MODEL, NOW, a_shop, bought, execute, foretell, foretold, put, rows, segmented

AGGREGATE, AT_RISK = "/api/mcp/churn/aggregate", "/api/mcp/churn/at-risk"
PROFILE = "/api/mcp/customer/C0000001"
RISK = f"{PROFILE}/churn-risk"
LEVELS = ("critical", "high", "medium", "low")
BINS = [
    {"n": 40, "mean_predicted": 0.2, "observed": 0.225, "low": 0.123, "high": 0.375},
    {"n": 41, "mean_predicted": 0.6, "observed": 0.585, "low": 0.433, "high": 0.722},
]
PROVEN = CHURN_MODEL | {"backtest": {"30d": {"measures": {"n": 81, "ece": 0.02}, "reliability": BINS}}}


# Of one customer


async def test_a_profile_says_whether_they_will_come_back(ask: Clients, database: Database) -> None:
    profile = await told(ask.support, PROFILE)
    CustomerProfile.model_validate(profile)
    (stored,) = await rows(
        database,
        "SELECT churn_risk_score, p_no_purchase_30d, p_no_purchase_90d, horizon_days, risk_level, engagement_trend, "
        "predicted_ltv_12m::float8, expected_spend_90d::float8, prediction_id FROM fact_customer_prediction "
        "WHERE store_id = :s AND customer_id = 'C0000001'",
        s=STORE,
    )
    risk = profile["churn_risk"]
    assert stored == (
        *(risk[name] for name in ("churn_risk_score", "p_no_purchase_30d", "p_no_purchase_90d", "horizon_days")),
        *(risk["risk_level"], risk["factors"]["engagement_trend"]),
        *(profile["predicted_ltv_12m"], profile["expected_spend_90d"]["expected"], risk["prediction_id"]),
    )
    assert profile["churn_risk_score"] == risk["churn_risk_score"] == profile["business_metrics"]["churn_risk_score"]
    assert profile["churn_risk_reason"] is None
    assert risk["customer_id"] == "C0000001"
    assert risk["factors"]["recency_days"] == profile["days_since_last_purchase"]
    assert risk["factors"]["value_tier"] == profile["ltv_tier"]
    assert risk["as_of"] == profile["as_of"]
    assert f"in the {risk['horizon_days']} days from " in risk["definition"]
    assert risk["recommendation"].endswith("risk of staying away.")
    assert 0 <= risk["offer"]["percent"] <= risk["offer"]["up_to"] <= 20
    assert risk["model"]["name"] == "churn"
    spend = profile["expected_spend_90d"]
    assert spend["low"] <= spend["expected"] <= spend["high"]
    order = profile["next_order"]
    assert (order["expected_on"] is None) == (order["reason"] is not None)


async def test_the_risk_is_told_by_itself_with_what_makes_it_up(ask: Clients) -> None:
    profile, risk = await told(ask.support, PROFILE), await told(ask.support, RISK)
    ChurnRisk.model_validate(risk)
    assert {name: risk[name] for name in profile["churn_risk"]} == profile["churn_risk"]
    made = risk["typical_customer"] + sum(each["contribution"] for each in risk["contributions"])
    assert made == pytest.approx(risk["churn_risk_score"], abs=1e-5)
    sizes = [abs(each["contribution"]) for each in risk["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert {each["group"] for each in risk["contributions"]} >= {"recency", "frequency", "rhythm", "value"}
    assert all(each["says"].endswith(" points") for each in risk["contributions"])


async def test_a_risk_whose_records_have_changed_is_not_explained_as_it_was(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(60, orders_each=5))
    await predict(database, store_id, PredictOptions(), now=NOW)
    path = "/api/mcp/customer/c001/churn-risk"
    before = await told(empty_shop, path)
    assert before["contributions"] and before["message"] is None
    day_before = date.fromisoformat(before["as_of"][:10]) - timedelta(days=1)
    await put(database, store_id, bought("c001", "late", f"{day_before} 10:00", ("P1", "3", "500")))
    after = await told(empty_shop, path)
    assert (after["churn_risk_score"], after["contributions"]) == (before["churn_risk_score"], None)
    assert "records have changed" in after["message"]


async def test_what_another_version_trained_is_served_as_it_is_until_it_is_trained_anew(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(60, orders_each=5))
    await predict(database, store_id, PredictOptions(), now=NOW)
    older = "UPDATE prediction_models SET parameters = jsonb_set(parameters, '{format}', '1') WHERE store_id = :s"
    await execute(database, f"{older} AND name = 'churn' AND parameters IS NOT NULL", s=store_id)
    risk = await told(empty_shop, "/api/mcp/customer/c001/churn-risk")
    assert risk["contributions"] is None and "another version" in risk["message"]
    async with database.transaction() as connection:
        store = await read_store(connection, store_id)
        assert await predict_some(database, connection, store, ["c001"], as_of=NOW) == 0
    again = await told(empty_shop, "/api/mcp/customer/c001/churn-risk")
    assert again["churn_risk_score"] == risk["churn_risk_score"]


async def test_who_nothing_is_predicted_of_is_told_why(empty_shop: Ask, database: Database, store_id: str) -> None:
    await told(empty_shop, "/api/mcp/customer/nobody/churn-risk", 404)
    await put(database, store_id, [*a_shop(3), Customer("waiting")])
    for customer, reason in (("waiting", "not ordered yet"), ("c001", f"app predict --store {store_id}")):
        profile = await told(empty_shop, f"/api/mcp/customer/{customer}")
        CustomerProfile.model_validate(profile)
        assert reason in profile["churn_risk_reason"]
        names = ("churn_risk", "churn_risk_score", "predicted_ltv_12m", "expected_spend_90d", "next_order")
        assert [profile[name] for name in names] == [None] * 5
        problem = await told(empty_shop, f"/api/mcp/customer/{customer}/churn-risk", 404)
        assert problem["type"] == "/problems/nothing-predicted"
    await foretell(database, store_id, [foretold("c001")])
    profile = await told(empty_shop, "/api/mcp/customer/c002")
    assert profile["churn_risk_reason"] == (
        "They were not known yet when the predictions of 1 June 2024 were made; the next ones tell of them."
    )
    problem = await told(empty_shop, "/api/mcp/customer/c002/churn-risk", 404)
    assert problem["type"] == "/problems/not-predicted"
    assert profile["churn_risk_reason"] in problem["detail"]


async def test_of_a_past_day_no_prediction_of_today_is_told(ask: Clients) -> None:
    for day in ("2025-06-01", "2000-01-01"):
        past = await told(ask.support, PROFILE, as_of=day)
        CustomerProfile.model_validate(past)
        assert past["churn_risk"] is past["churn_risk_score"] is past["next_order"] is None
        assert past["business_metrics"]["churn_risk_score"] is None
        assert "history" in past["churn_risk_reason"]
    assert (await told(ask.support, "/api/mcp/customers/C0000001", as_of="2025-06-01"))["churn_risk"] is None


@pytest.mark.parametrize(
    ("score", "level", "in_three"),
    [
        *((0.0, "low", "low"), (0.2999, "low", "low"), (0.3, "medium", "medium"), (0.4999, "medium", "medium")),
        *((0.5, "high", "high"), (0.6999, "high", "high"), (0.7, "critical", "high"), (1.0, "critical", "high")),
    ],
)
async def test_a_score_is_of_the_level_that_it_begins(
    empty_shop: Ask, database: Database, store_id: str, score: float, level: str, in_three: str
) -> None:
    await put(database, store_id, a_shop(3))
    await foretell(database, store_id, [foretold("c001", score)])
    risk = (await told(empty_shop, "/api/mcp/customer/c001"))["churn_risk"]
    assert (risk["churn_risk_score"], risk["risk_level"], risk["risk_level_3"]) == (score, level, in_three)
    counted = (await told(empty_shop, AGGREGATE))["churn_risk_distribution"]
    assert [name for name in LEVELS if counted[name]["count"]] == [level]


async def test_someone_who_is_not_segmented_has_a_risk_and_no_offer(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(3))
    await foretell(database, store_id, [foretold("c001", next_order_on=None)])
    profile = await told(empty_shop, "/api/mcp/customer/c001")
    CustomerProfile.model_validate(profile)
    assert profile["segment_status"] == "awaiting_segmentation"
    risk = profile["churn_risk"]
    assert (risk["churn_risk_score"], risk["offer"], risk["recommendation"]) == (0.6, None, None)
    assert risk["factors"]["value_tier"] is None
    assert risk["definition"] == "The chance of no order in the 90 days from 1 June 2024 on."
    assert "no order within a year" in profile["next_order"]["reason"]
    assert (await told(empty_shop, "/api/mcp/customers/c001"))["churn_risk"] == 0.6
    found = await told(empty_shop, "/api/mcp/customers/search", query="c00")
    assert [each["churn_risk"] for each in found["customers"] if each["customer_id"] == "c001"] == [0.6]


async def test_how_sure_it_is_comes_from_those_who_were_told_the_same(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(4))
    scores = {"c000": 0.62, "c001": 0.21, "c002": 0.95}
    predicted = [foretold(each, score) for each, score in scores.items()]
    await foretell(database, store_id, predicted, [PROVEN])
    sure = {each: (await told(empty_shop, f"/api/mcp/customer/{each}"))["churn_risk"]["confidence"] for each in scores}
    assert sure["c000"] == {
        "of": "p_no_purchase_30d",
        "low": 0.433,
        "high": 0.722,
        "level": 0.95,
        "n": 41,
        "mean_predicted": 0.6,
        "says": "Of 41 customers of the shop's past who were told about 60.0 %, 43.3 to 72.2 % stayed away.",
    }
    assert (sure["c001"]["low"], sure["c001"]["high"]) == (0.123, 0.375)
    assert (sure["c002"]["low"], sure["c002"]["n"]) == (None, None)
    assert sure["c002"]["says"] == "Too few of the shop's past were told anything near it."
    own = {"own_horizon": {"measures": {"n": 3}, "reliability": [{**BINS[0], "mean_predicted": 0.61}]}}
    await foretell(database, store_id, predicted, [PROVEN | {"backtest": {**PROVEN["backtest"], **own}}])
    found = (await told(empty_shop, "/api/mcp/customer/c000"))["churn_risk"]["confidence"]
    assert (found["of"], found["low"]) == ("churn_risk_score", 0.123)
    await foretell(database, store_id, predicted)
    found = (await told(empty_shop, "/api/mcp/customer/c000"))["churn_risk"]["confidence"]
    assert (found["low"], found["says"]) == (None, "Nothing like it could be tried on the shop's own past yet.")


async def test_a_baseline_that_is_served_says_so(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    why = "On the shop's own past nothing did better."
    plain = CHURN_MODEL | {"status": "degraded", "candidate": "rfm_logistic", "why": why}
    await foretell(database, store_id, [foretold("c000")], [plain])
    model = (await told(empty_shop, "/api/mcp/customer/c000"))["churn_risk"]["model"]
    assert model == {
        "name": "churn",
        "candidate": "rfm_logistic",
        "version": "9.9",
        "status": "degraded",
        "degraded_because": why,
    }
    await execute(database, "DELETE FROM prediction_models WHERE store_id = :s", s=store_id)
    await told(empty_shop, "/api/mcp/customer/c000")


async def test_a_key_without_identities_sees_a_risk_and_not_of_how_many(ask: Clients) -> None:
    known = await told(ask.support, PROFILE)
    path = f"/api/mcp/customer/{known['pseudonym']}"
    for risk in ((await told(ask.analytics, path))["churn_risk"], await told(ask.analytics, f"{path}/churn-risk")):
        assert risk["customer_id"] == known["pseudonym"]
        assert "C0000001" not in json.dumps(risk)
        sure = risk["confidence"]
        assert sure["n"] is None
        for end in (sure["low"], sure["high"]):
            assert end is None or 20 * end == pytest.approx(round(20 * end))
        assert "customers" not in sure["says"]
        assert risk["churn_risk_score"] == known["churn_risk_score"]
    await told(ask.analytics, RISK, 404)


# Of everybody


async def test_everybody_is_counted_by_level(ask: Clients, database: Database) -> None:
    found = await told(ask.support, AGGREGATE)
    ChurnAggregate.model_validate(found)
    counts = dict(
        await rows(
            database,
            "SELECT risk_level, count(*) FROM fact_customer_prediction WHERE store_id = :s GROUP BY 1",
            s=STORE,
        )
    )
    levels = found["churn_risk_distribution"]
    assert {name: levels[name]["count"] for name in LEVELS} == {name: counts.get(name, 0) for name in LEVELS}
    assert sum(levels[name]["percentage"] for name in LEVELS) == pytest.approx(100, abs=0.03)
    assert all(levels[name]["estimated_total"] == levels[name]["count"] for name in LEVELS)
    assert found["sample_size"] == found["total_customers"] == 400
    ((away,),) = await rows(
        database, "SELECT sum(p_no_purchase_30d) FROM fact_customer_prediction WHERE store_id = :s", s=STORE
    )
    assert found["estimated_churn_30_days"] == pytest.approx(away, abs=0.1)
    for days in (30, 90):
        interval = found[f"estimated_churn_{days}_days_interval"]
        assert 0 <= interval["low"] <= found[f"estimated_churn_{days}_days"] <= interval["high"] <= 400
        share = found[f"estimated_churn_{days}_days_share"]
        assert share == pytest.approx(found[f"estimated_churn_{days}_days"] / 400, abs=1e-3)
    tiers = {each["ltv_tier"]: each["count"] for each in found["by_value_tier"]}
    assert list(tiers) == ["vip", "high", "standard", "low"]
    assert sum(tiers.values()) == 400
    assert found["note"].startswith("Everybody is counted: 400 customers with an order.")
    assert vegalite_to_svg(json.dumps(found["chart"]), vl_version="6.4").startswith("<svg")
    worth = sum(each["ltv_at_risk"]["historic"] for each in found["by_value_tier"])
    assert worth == pytest.approx(found["ltv_at_risk"]["historic"], abs=0.05)
    listed = await told(ask.support, AT_RISK)
    assert listed["total_ltv_at_risk"] == found["ltv_at_risk"]["historic"]
    assert listed["total_predicted_ltv_12m"] == found["ltv_at_risk"]["predicted_12m"]


@pytest.fixture(scope="module")
async def views(database: Database, settings: Settings) -> AsyncIterator[tuple[Ask, Ask]]:
    """A support key's and an analytics key's view of 900 customers, of whom a tenth are at critical risk."""
    store = "churn-shop"
    await put(database, store, a_shop(900))
    predicted = [foretold(f"c{n:03}", (0.9, 0.6, 0.4, 0.1)[0 if n % 10 == 0 else 1 + n % 3]) for n in range(890)]
    # Of levels in between, and a level of few in the end.
    predicted += [foretold(f"c{n:03}", 0.2) for n in range(890, 900)]
    await foretell(database, store, predicted, [PROVEN])
    app = create_app(resources=resources_for(database, settings, store))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        yield support, analytics


Views = tuple[Ask, Ask]


@pytest.mark.parametrize("n", [10, 100, 400, 899])
async def test_a_sample_says_how_far_off_it_may_be(views: Views, n: int) -> None:
    support, _ = views
    whole, part = await told(support, AGGREGATE), await told(support, AGGREGATE, sample=n)
    ChurnAggregate.model_validate(part)
    assert (part["total_customers"], part["sample_size"]) == (900, n)
    assert part["note"].startswith(f"{n} of 900 customers, ")
    for name in LEVELS:
        interval = part["churn_risk_distribution"][name]["estimated_total_interval"]
        assert interval["low"] <= whole["churn_risk_distribution"][name]["count"] <= interval["high"]
    assert sum(part["churn_risk_distribution"][name]["count"] for name in LEVELS) == n
    for days in (30, 90):
        name = f"estimated_churn_{days}_days"
        assert part[f"{name}_interval"]["low"] <= whole[name] <= part[f"{name}_interval"]["high"]
        assert part[f"{name}_interval"]["high"] - part[f"{name}_interval"]["low"] >= (
            whole[f"{name}_interval"]["high"] - whole[f"{name}_interval"]["low"]
        ) * (0.9 if n > 100 else 1)
    assert await told(support, AGGREGATE, sample=n) == part
    assert (await told(support, AGGREGATE, sample=900)) == whole == (await told(support, AGGREGATE, sample=10_000))


async def test_a_key_without_identities_sees_shares_alone(views: Views, ask: Clients) -> None:
    _, analytics = views
    for asking in (analytics, ask.analytics):
        seen = await told(asking, AGGREGATE)
        ChurnAggregate.model_validate(seen)
        # How many there are could be found out by asking for samples until nothing changes.
        assert await told(asking, AGGREGATE, sample=10) == seen
        text = json.dumps(seen)
        assert "customers" not in seen["note"]
        assert 'interval": {' not in text
        for name, value in leaves(seen):
            assert name not in ("count", "estimated_total", "total_customers", "sample_size") or value is None
            assert name != "percentage" or value is None or value == round(value, 1)
            assert name not in ("historic", "predicted_12m") or value is None or value == float(f"{value:.0e}")
    assert seen["churn_risk_distribution"]["other"] is not None or all(
        seen["churn_risk_distribution"][name]["percentage"] is not None for name in LEVELS
    )


async def test_of_a_shop_of_few_a_key_without_identities_is_told_nothing(
    database: Database, settings: Settings, store_id: str
) -> None:
    await put(database, store_id, a_shop(FEWEST - 1))
    await foretell(database, store_id, [foretold(f"c{n:03}", 0.9) for n in range(FEWEST - 1)])
    app = create_app(resources=resources_for(database, settings, store_id))
    async with app.router.lifespan_context(app), client(app, KEYS["analytics"]) as analytics:
        seen = await told(analytics, AGGREGATE)
        ChurnAggregate.model_validate(seen)
        levels = seen["churn_risk_distribution"]
        assert [levels[name]["percentage"] for name in LEVELS] == [None] * 4 and levels["other"] is None
        assert [seen[f"estimated_churn_{days}_days_share"] for days in (30, 90)] == [None, None]
        assert f"Fewer than {FEWEST} customers" in seen["note"]


async def test_levels_of_few_stand_together_as_other(database: Database, settings: Settings, store_id: str) -> None:
    await put(database, store_id, a_shop(100))
    scores = [0.9] * 5 + [0.6] * 45 + [0.4] * 40 + [0.1] * 10
    await foretell(database, store_id, [foretold(f"c{n:03}", score) for n, score in enumerate(scores)])
    app = create_app(resources=resources_for(database, settings, store_id))
    async with app.router.lifespan_context(app), client(app, KEYS["analytics"]) as analytics:
        seen = (await told(analytics, AGGREGATE))["churn_risk_distribution"]
        assert {name: seen[name]["percentage"] for name in LEVELS} == {
            "critical": None,
            "high": 45.0,
            "medium": 40.0,
            "low": None,
        }
        assert seen["other"] == 15.0
        listed = await told(analytics, AT_RISK, level="critical")
        AtRisk.model_validate(listed)
        assert (listed["customers"], listed["share"], listed["total_ltv"]) == ([], None, None)
        assert f"fewer than {FEWEST}" in listed["message"]


async def test_where_nothing_is_predicted_that_is_said(empty_shop: Ask, database: Database, store_id: str) -> None:
    for path in (AGGREGATE, AT_RISK):
        problem = await told(empty_shop, path, 404)
        assert problem["type"] == "/problems/nothing-predicted"
        assert f"app predict --store {store_id}" in problem["detail"]
    await put(database, store_id, a_shop(1))
    await foretell(database, store_id, [foretold("c000")])
    await execute(database, "DELETE FROM customers WHERE store_id = :s", s=store_id)
    empty = await told(empty_shop, AGGREGATE)
    ChurnAggregate.model_validate(empty)
    assert (empty["total_customers"], empty["estimated_churn_30_days"], empty["by_value_tier"]) == (0, 0, [])
    nobody = await told(empty_shop, AT_RISK)
    AtRisk.model_validate(nobody)
    assert (nobody["customers"], nobody["count"], nobody["message"]) == ([], 0, "Nobody matches.")


# Those at risk


@pytest.mark.parametrize("sort", ["ltv_at_risk", "risk", "ltv"])
async def test_those_at_risk_come_page_by_page(views: Views, sort: str) -> None:
    support, _ = views
    key = {"risk": "churn_risk_score"}.get(sort, sort)
    met: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await told(support, AT_RISK, sort=sort, limit=100, **cursor)
        AtRisk.model_validate(page)
        met += page["customers"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [each[key] for each in met] == sorted((each[key] for each in met), reverse=True)
    assert len({each["customer_id"] for each in met}) == len(met) == page["count"]
    assert {each["risk_level"] for each in met} == {"critical", "high"}
    for name in ("ltv", "ltv_at_risk", "predicted_ltv_12m"):
        assert page[f"total_{name}"] == pytest.approx(sum(each[name] for each in met), abs=0.01)
    for each in met:
        assert each["ltv_at_risk"] == pytest.approx(each["ltv"] * each["churn_risk_score"], abs=1e-4)
    assert page["share"] == pytest.approx(len(met) / 900, abs=1e-6)


async def test_those_at_risk_are_filtered(ask: Clients) -> None:
    everyone = await told(ask.support, AT_RISK, level="critical,high,medium,low")
    assert everyone["count"] == 400
    rich = await told(ask.support, AT_RISK, level="low, medium,high,critical", min_ltv=300, sort="ltv", limit=100)
    assert 0 < rich["count"] < 400
    assert all(each["ltv"] >= 300 for each in rich["customers"])
    top = (await told(ask.support, "/api/mcp/archetypes/top"))["archetypes"][0]
    one = await told(ask.support, f"/api/mcp/archetypes/{top['archetype_id']}")
    for kind in (one, one["sub_archetypes"]["level2"][0], one["sub_archetypes"]["level3"][0]):
        of_kind = await told(ask.support, AT_RISK, level="critical,high,medium,low", archetype_id=kind["archetype_id"])
        assert of_kind["count"] == kind["member_count"]
        assert {each["archetype"]["name"] for each in of_kind["customers"]} == {top["segment_name"]}
    assert all(each["name"] and "@" in each["email"] for each in rich["customers"])


async def test_a_key_without_identities_sees_the_first_of_those_at_risk_by_pseudonym(ask: Clients) -> None:
    everything = {"level": "critical,high,medium,low"}
    known, seen = await told(ask.support, AT_RISK, **everything), await told(ask.analytics, AT_RISK, **everything)
    AtRisk.model_validate(seen)
    assert len(seen["customers"]) == FEWEST
    assert seen["next_cursor"] is None
    assert seen["count"] is None
    for each, in_full in zip(seen["customers"], known["customers"], strict=True):
        assert each["customer_id"].startswith("C-")
        assert (each["name"], each["email"]) == (None, None)
        assert each["ltv"] == in_full["ltv"]
    small = [
        each["archetype_id"]
        for each in (await told(ask.support, "/api/mcp/archetypes/top", limit=100))["archetypes"]
        if each["member_count"] < FEWEST
    ]
    assert not set(small) & {each["archetype"]["id"] for each in seen["customers"]}
    refused = await told(ask.analytics, AT_RISK, 422, archetype_id=small[0])
    unknown = await told(ask.analytics, AT_RISK, 422, archetype_id="arch_nobody")
    assert refused["errors"] == unknown["errors"]


async def test_a_cursor_of_earlier_predictions_is_refused(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(5))
    predicted = [foretold(f"c{n:03}", 0.8) for n in range(5)]
    await foretell(database, store_id, predicted)
    cursor = (await told(empty_shop, AT_RISK, limit=2))["next_cursor"]
    assert len((await told(empty_shop, AT_RISK, limit=2, cursor=cursor))["customers"]) == 2
    await told(empty_shop, AT_RISK, 422, limit=2, cursor=cursor, sort="risk")
    await foretell(database, store_id, predicted)
    problem = await told(empty_shop, AT_RISK, 422, limit=2, cursor=cursor)
    assert "predicted or segmented anew" in problem["detail"]


async def test_a_kind_is_unknown_before_there_are_any(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(40))
    await foretell(database, store_id, [foretold("c001")])
    assert (await told(empty_shop, AT_RISK, 404, archetype_id="arch_1"))["type"] == "/problems/nothing-published"
    await segmented(database, store_id, min_population=1)
    found = await told(empty_shop, AT_RISK)
    assert (found["count"], found["customers"][0]["customer_id"]) == (1, "c001")
    assert datetime.fromisoformat(found["as_of"]).isoformat() == "2024-06-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        *((AGGREGATE, "sample", each) for each in ("0", "9", "-1", "1e3", "", "all", "9" * 400)),
        *((AT_RISK, "level", each) for each in ("severe", "critical;high", "__class__")),
        *((AT_RISK, "min_ltv", each) for each in ("-1", "nan", "inf", "1e400", "much")),
        *((AT_RISK, "sort", each) for each in ("", "name", "ltv desc")),
        *((AT_RISK, "limit", each) for each in ("0", "101", "x")),
        *((AT_RISK, "cursor", each) for each in ("x", "' OR 1=1--")),
        *((AT_RISK, "archetype_id", each) for each in ("nobody", "' OR 1=1--", "\0")),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(ask: Clients, path: str, field: str, value: str) -> None:
    problem = await told(ask.support, path, 422, **{field: value})
    assert problem["errors"][0]["field"] == field
