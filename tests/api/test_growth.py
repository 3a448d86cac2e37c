"""Customers and revenue ahead over HTTP: rows add up, in the view of whoever asks, and every shop has an answer."""

import json
import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from vl_convert import vegalite_to_svg

from app.api.anonymous import FEWEST
from app.api.archetypes.schemas import ArchetypesGrowth
from app.api.growth.schemas import Growth, RevenueForecast
from app.core.config import Settings
from app.domain.records import Record
from app.main import create_app
from app.pipeline.ingest import ingest
from app.pipeline.predict import PredictOptions, predict
from app.pipeline.sample import SampleShop
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, client, resources_for
from tests.api.test_anonymous import leaves
from tests.api.test_customers import told
from tests.fakes import NOW, SECRET, at, bought, execute, put, segmented, value

STORE = "growing-shop"
GROWTH = "/api/mcp/growth/projection"
KINDS = "/api/mcp/archetypes/growth-projection"
REVENUE = "/api/mcp/revenue/forecast"
ROUTES = (GROWTH, KINDS, REVENUE)
Views = tuple[Ask, Ask]


async def views_of(database: Database, settings: Settings, store_id: str) -> AsyncIterator[Views]:
    """A support key's and an analytics key's."""
    app = create_app(resources=resources_for(database, settings, store_id))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        yield support, analytics


@pytest.fixture(scope="module")
async def views(database: Database, settings: Settings) -> AsyncIterator[Views]:
    """The built-in shop, segmented, with predictions."""
    source = SampleShop(customers=600)
    await ingest(database, source, store_id=STORE, timezone="America/Chicago", currency="USD", pseudonym_secret=SECRET)
    await segmented(database, STORE, max_k=4, min_members=12)
    await predict(database, STORE, PredictOptions(), now=NOW)
    async for views in views_of(database, settings, STORE):
        yield views


@pytest.fixture
async def own_views(database: Database, settings: Settings, store_id: str) -> AsyncIterator[Views]:
    async for views in views_of(database, settings, store_id):
        yield views


async def predicted(database: Database, store_id: str, records: list[Record], *, as_of: str | None = None) -> None:
    await put(database, store_id, records)
    options = PredictOptions(as_of=None if as_of is None else at(as_of))
    await predict(database, store_id, options, now=NOW)


def regulars(first: str, n_days: int, *, customers: int = 40, every: int = 25) -> list[Record]:
    """Customers who come one a day and then every so many days."""
    records: list[Record] = []
    for number in range(customers):
        for order in range(n_days // every + 1):
            day = at(first) + timedelta(days=number % every + order * every, hours=number % 7)
            if (day - at(first)).days < n_days:
                lines = ("tea", "1", f"{5 + number % 9}")
                records += bought(f"c{number}", f"o{number}-{order}", f"{day:%Y-%m-%d %H:%M}", lines)
    return records


# The shop


async def test_months_quarters_and_years_add_up(views: Views) -> None:
    support, _ = views
    found = await told(support, GROWTH, months=18)
    Growth.model_validate(found)
    rows = found["projections"]
    assert [len(rows[name]) for name in ("monthly", "quarterly", "yearly")] == [18, 6, 3]
    for each in (row for name in rows for row in rows[name]):
        acquired, lapsed = each["acquired_customers"], each["lapsed_customers"]
        assert each["previous_customers"] + acquired - lapsed == each["estimated_customers"]
        assert each["previous_index"] + each["acquired_index"] - each["lapsed_index"] == pytest.approx(each["index"])
        assert each["low"] <= each["estimated_customers"] <= each["high"]
        assert each["new_customers"] == acquired
        rate = each["estimated_customers"] / each["previous_customers"] - 1
        assert each["growth_rate"] == pytest.approx(rate, abs=1e-4)
    monthly = rows["monthly"]
    assert monthly[0]["previous_customers"] == found["current_customers"]
    assert all(one["estimated_customers"] == other["previous_customers"] for one, other in pairwise(monthly))
    for name in ("quarterly", "yearly"):
        assert sum(each["acquired_customers"] for each in rows[name]) == sum(
            each["acquired_customers"] for each in monthly
        )
        assert sum(each["n_months"] for each in rows[name]) == 18
        assert rows[name][-1]["estimated_customers"] == monthly[-1]["estimated_customers"]
    summary, assumed = found["summary"], found["assumptions"]
    assert summary["projected_customers"] == monthly[-1]["estimated_customers"]
    change = 100 * (summary["projected_customers"] / found["current_customers"] - 1)
    assert summary["growth_rate_pct"] == pytest.approx(change, abs=0.01)
    previous = sum(each["previous_customers"] for each in monthly)
    assert assumed["monthly_churn_rate"] == pytest.approx(
        sum(each["lapsed_customers"] for each in monthly) / previous, abs=1e-4
    )
    assert assumed["churn_measured"] and assumed["notes"]
    assert summary["avg_tenure_days"] > 0


async def test_the_first_months_are_the_same_however_many_are_asked_for(views: Views) -> None:
    support, _ = views
    one, many = await told(support, GROWTH, months=1), await told(support, GROWTH, months=36)
    assert many["projections"]["monthly"][:1] == one["projections"]["monthly"]
    assert one["summary"]["months"] == 1


async def test_current_customers_are_those_who_ordered_within_a_year(views: Views, database: Database) -> None:
    support, _ = views
    found = await told(support, GROWTH)
    end = date.fromisoformat(found["counted_on"]) + timedelta(days=1)
    counted = await value(
        database,
        "SELECT count(DISTINCT customer_id) FROM orders WHERE store_id = :s AND "
        "(order_date AT TIME ZONE 'America/Chicago')::date BETWEEN CAST(:first AS date) AND CAST(:last AS date)",
        s=STORE,
        first=end - timedelta(days=365),
        last=end - timedelta(days=1),
    )
    assert found["current_customers"] == pytest.approx(counted, abs=2)


async def test_kinds_add_up_to_the_shop_month_by_month(views: Views) -> None:
    support, _ = views
    shop = await told(support, GROWTH, months=6)
    for top_n in (1, 3, 1000):
        found = await told(support, KINDS, months=6, top_n=top_n)
        ArchetypesGrowth.model_validate(found)
        of_now = found["current_distribution"]
        assert sum(each["member_count"] for each in of_now.values()) == shop["current_customers"]
        assert sum(each["percentage"] for each in of_now.values()) == pytest.approx(100, abs=0.1)
        by_month = found["projected_distribution"]
        for row in shop["projections"]["monthly"]:
            parts = by_month[row["month"]]
            assert sum(each["member_count"] for each in parts.values()) == row["estimated_customers"]
            assert parts.keys() == of_now.keys()
        kinds = found["archetypes"]
        assert [each["rank"] for each in kinds] == list(range(1, len(kinds) + 1))
        assert len(kinds) <= top_n + 1
        for each in kinds:
            assert each["current_members"] + each["acquired"] - each["lapsed"] == each["projected_members"]
            assert each["current_members"] == of_now[each["archetype_id"]]["member_count"]
        named = [each for each in kinds if each["archetype_id"] != "other"]
        worth = [each["total_ltv"] for each in named]
        assert worth == sorted(worth, reverse=True)
        assert max(each["relative_size"] for each in named) == 1
    top = (await told(support, "/api/mcp/archetypes/top", limit=3))["archetypes"]
    first = (await told(support, KINDS, top_n=3))["archetypes"][:3]
    assert [(each["archetype_id"], each["total_ltv"]) for each in first] == [
        (each["archetype_id"], each["total_ltv"]) for each in top
    ]


async def test_a_period_is_what_is_earned_and_what_is_to_come(views: Views, database: Database) -> None:
    support, _ = views
    found = await told(support, REVENUE, period="this quarter", by="archetype")
    RevenueForecast.model_validate(found)
    period, revenue = found["period"], found["revenue"]
    assert (period["start_date"], period["end_date"], period["begun"]) == ("2025-10-01", "2025-12-31", True)
    assert revenue["earned"] + revenue["to_come"] == pytest.approx(revenue["point"], abs=0.01)
    assert revenue["earned"] <= revenue["low"] <= revenue["point"] <= revenue["high"]
    assert revenue["earned_share"] == pytest.approx(revenue["earned"] / revenue["point"], abs=1e-4)
    earned = await value(
        database,
        "SELECT sum(amount) FROM (SELECT order_date AS at, total_price AS amount FROM orders WHERE store_id = :s "
        "UNION ALL SELECT refunded_at, -amount FROM refunds WHERE store_id = :s) AS paid "
        "WHERE at >= :since AND at < :as_of",
        s=STORE,
        since=at("2025-10-01 05:00"),
        as_of=at(found["as_of"][:19].replace("T", " ")),
    )
    assert revenue["earned"] == pytest.approx(float(earned), abs=0.01)
    kinds = found["archetypes"]
    assert round(sum(each["point"] for each in kinds), 2) == revenue["point"]
    assert round(sum(each["earned"] for each in kinds), 2) == revenue["earned"]
    assert sum(each["share"] for each in kinds) == pytest.approx(1, abs=0.01)
    assert "guests" in {each["archetype_id"] for each in kinds}
    assert [each["point"] for each in kinds] == sorted((each["point"] for each in kinds), reverse=True)


async def test_a_window_with_a_name_says_who_is_going_to_order(views: Views) -> None:
    support, _ = views
    found = await told(support, REVENUE, period="Black Friday weekend")
    assert (found["period"]["start_date"], found["period"]["end_date"]) == ("2025-11-28", "2025-12-01")
    engaged = found["engagement"]
    assert engaged["low"] <= engaged["expected_customers"] <= engaged["high"]
    assert engaged["years"] and "28 November 2025" in engaged["definition"]
    targets = found["targets"]
    assert 0 < len(targets) <= 10
    orders = [each["expected_orders"] for each in targets]
    assert orders == sorted(orders, reverse=True)
    assert (await told(support, REVENUE, months=2))["engagement"] is None


async def test_a_period_that_is_over_is_all_earned(views: Views) -> None:
    support, _ = views
    found = await told(support, REVENUE, start_date="2025-03-01", end_date="2025-03-31")
    revenue = found["revenue"]
    assert revenue["point"] == revenue["low"] == revenue["high"] == revenue["earned"]
    assert (revenue["to_come"], revenue["earned_share"]) == (0, 1)
    assert "all of it earned" in found["says"]


@pytest.mark.parametrize("asked", [{}, {"period": "q4 2024"}, {"period": "next year"}, {"months": 36}])
async def test_any_period_is_answered(views: Views, asked: dict[str, Any]) -> None:
    for asking in views:
        found = await told(asking, REVENUE, **asked)
        assert found["revenue"]["point"] > 0 and found["says"] and found["assumptions"]


async def test_every_answer_says_what_it_rests_on(views: Views) -> None:
    for asking in views:
        for route in ROUTES:
            found = await told(asking, route)
            assert isinstance(found["prediction_id"], int) and isinstance(found["run_id"], int)
            assert found["as_of"] == "2025-10-23T05:00:00+00:00"
            model = found["model"]
            assert model["why"] and 0 <= model["backtest"]["coverage"] <= 1 and model["backtest"]["mape"] > 0
            assert (model["degraded_because"] is None) == (model["status"] == "served")


async def test_every_picture_is_drawn_and_said_for_who_cannot_see_it(views: Views) -> None:
    for asking in views:
        for route in ROUTES:
            chart = (await told(asking, route))["chart"]
            assert vegalite_to_svg(json.dumps(chart), vl_version="6.4").startswith("<svg")
            assert len(chart["description"]) > 40


# Refused


@pytest.mark.parametrize(
    ("route", "field", "asked"),
    [
        *((route, "months", {"months": months}) for route in ROUTES for months in ("0", "37", "1.5", "-1", "ten")),
        (KINDS, "top_n", {"top_n": "0"}),
        (REVENUE, "period", {"period": "moonday"}),
        (REVENUE, "period", {"period": ""}),
        (REVENUE, "period", {"period": "q4 1999"}),
        (REVENUE, "period", {"period": "q4 9999"}),
        (REVENUE, "period", {"period": "q4", "start_date": "2025-11-01", "end_date": "2025-11-02"}),
        (REVENUE, "months", {"period": "q4", "months": "3"}),
        (REVENUE, "end_date", {"start_date": "2025-11-01"}),
        (REVENUE, "start_date", {"end_date": "2025-11-01"}),
        (REVENUE, "end_date", {"start_date": "2025-11-02", "end_date": "2025-11-01"}),
        (REVENUE, "start_date", {"start_date": "1990-01-01", "end_date": "2025-11-01"}),
        (REVENUE, "end_date", {"start_date": "2025-11-01", "end_date": "2099-01-01"}),
        (REVENUE, "start_date", {"start_date": "2025-02-30", "end_date": "2025-11-01"}),
        (REVENUE, "by", {"by": "colour"}),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_name(
    views: Views, route: str, field: str, asked: dict[str, str]
) -> None:
    problem = await told(views[0], route, 422, **asked)
    assert [each["field"] for each in problem["errors"]] == [field]


async def test_an_unknown_period_is_told_which_there_are(views: Views) -> None:
    detail = (await told(views[0], REVENUE, 422, period="moonday"))["detail"]
    assert all(each in detail for each in ("black friday", "next month", "this year"))


# Without identities


async def test_keys_without_identities_see_no_counts_of_people(views: Views) -> None:
    _, analytics = views
    counts = {
        *("current_customers", "estimated_customers", "previous_customers", "acquired_customers", "new_customers"),
        *("lapsed_customers", "projected_customers", "member_count", "current_members", "projected_members"),
        *("acquired", "lapsed", "expected_customers", "expected_orders", "archetypes_total"),
    }
    asked: list[tuple[str, dict[str, Any]]] = [
        (GROWTH, {"months": 24}),
        (KINDS, {"top_n": 1000}),
        *((REVENUE, {"period": each, "by": "archetype"}) for each in ("halloween", "q4", "next month")),
    ]
    for route, params in asked:
        found = await told(analytics, route, **params)
        for name, each in leaves({**found, "chart": None}):
            assert name not in counts or each is None, (route, name)
            assert not re.search(r"\d (active )?customers?\b", str(each)), (route, name, each)
    growth = await told(analytics, GROWTH)
    for row in growth["projections"]["monthly"]:
        assert row["low"] is None and row["high"] is None
        assert row["index"] == round(row["index"])
        assert row["previous_index"] + row["acquired_index"] - row["lapsed_index"] == pytest.approx(row["index"])
    assert growth["summary"]["growth_rate_pct"] == round(growth["summary"]["growth_rate_pct"])


async def test_small_kinds_stand_together_as_other(views: Views) -> None:
    support, analytics = views
    everyone = {each["archetype_id"]: each for each in (await told(support, KINDS, top_n=1000))["archetypes"]}
    shown = await told(analytics, KINDS, top_n=1000)
    small = {name for name, each in everyone.items() if each["current_members"] < FEWEST}
    assert small
    names = {each["archetype_id"] for each in shown["archetypes"]}
    assert "other" in names and not small & names
    assert set(shown["current_distribution"]) == names
    assert not small & set(json.dumps(shown).replace('"', " ").split())
    revenue = await told(analytics, REVENUE, period="q4", by="archetype")
    assert not small & set(json.dumps(revenue).replace('"', " ").split())
    assert {each["archetype_id"] for each in revenue["archetypes"]} <= names | {"guests"}
    assert all(each["point"] is None for each in revenue["archetypes"])


async def test_days_with_few_orders_tell_them_no_amounts(views: Views) -> None:
    support, analytics = views
    asked: dict[str, Any] = {"start_date": "2025-10-20", "end_date": "2025-10-21"}
    assert (await told(support, REVENUE, **asked))["revenue"]["earned"] is not None
    found = await told(analytics, REVENUE, **asked)
    assert found["revenue"]["point"] is None and found["revenue"]["earned"] is None
    assert "fewer than 20 orders" in found["message"]


# Other shops


async def test_without_predictions_it_is_said_how_to_get_them(
    empty_shop: Ask, own_views: Views, database: Database, store_id: str
) -> None:
    for route in ROUTES:
        problem = await told(empty_shop, route, 404)
        assert problem["type"] == "/problems/nothing-predicted" and "app predict" in problem["detail"]
    await put(database, store_id, regulars("2024-01-01", 21))
    for route in ROUTES:
        assert (await told(own_views[0], route, 404))["type"] == "/problems/nothing-predicted"


async def test_a_history_too_short_for_months_says_what_it_takes(
    own_views: Views, database: Database, store_id: str
) -> None:
    """Of an older version, too, which told nothing of growth."""
    await predicted(database, store_id, regulars("2024-01-10", 100))
    reason = "Not enough history: looking ahead takes 2 whole calendar months of orders, and there are 40."
    for growth, said in ((json.dumps({"missing": reason}), reason), (None, "older version")):
        await execute(
            database,
            "UPDATE prediction_runs SET report = report || jsonb_build_object('growth', CAST(:growth AS jsonb)) "
            "WHERE store_id = :s",
            growth=growth,
            s=store_id,
        )
        await execute(
            database,
            "DELETE FROM prediction_models WHERE store_id = :s AND name IN ('customers', 'revenue')",
            s=store_id,
        )
        for route in ROUTES:
            problem = await told(own_views[0], route, 409)
            assert problem["type"] == "/problems/growth-not-projected"
            assert said in problem["detail"] and "app predict" in problem["detail"]


async def test_a_shop_that_was_never_segmented_is_one_kind(own_views: Views, database: Database, store_id: str) -> None:
    await predicted(database, store_id, regulars("2024-01-10", 200))
    support, analytics = own_views
    found = await told(support, KINDS)
    (only,) = found["archetypes"]
    assert (only["archetype_id"], only["total_ltv"], only["current_members"]) == ("unsegmented", None, 40)
    assert found["run_id"] is None
    growth = await told(support, GROWTH)
    assert not growth["assumptions"]["churn_measured"] and growth["assumptions"]["monthly_churn_rate"] >= 0.005
    assert (await told(analytics, GROWTH))["projections"]["monthly"][0]["index"] % 5 == 0
    assert (await told(analytics, REVENUE, period="next month"))["engagement"]["years"] == []


async def test_a_new_segmentation_leaves_kinds_as_they_were_and_says_so(
    own_views: Views, database: Database, store_id: str
) -> None:
    await predicted(database, store_id, regulars("2024-01-10", 200))
    await segmented(database, store_id, min_population=1)
    found = await told(own_views[0], KINDS)
    assert found["run_id"] is None and "app predict" in found["message"]


async def test_a_shop_that_has_been_closed_for_months_is_told(
    own_views: Views, database: Database, store_id: str
) -> None:
    await predicted(database, store_id, regulars("2023-01-10", 300), as_of="2024-04-15")
    found = await told(own_views[0], GROWTH)
    assert found["current_customers"] == 40
    assert any("no orders" in each for each in found["assumptions"]["notes"])
    assert all(each["lapsed_customers"] >= 0 for each in found["projections"]["monthly"])


async def test_a_shop_whose_customers_have_all_lapsed_is_told(
    own_views: Views, database: Database, store_id: str
) -> None:
    await predicted(database, store_id, regulars("2022-01-10", 300), as_of="2024-04-15")
    for asking in own_views:
        growth = await told(asking, GROWTH)
        assert growth["summary"]["growth_rate_pct"] in (0, None)
        assert growth["chart"] is None and "Nobody has ordered within 365 days" in growth["summary"]["says"]
        await told(asking, KINDS)
        await told(asking, REVENUE, period="q4", by="archetype")
    assert (await told(own_views[0], GROWTH))["current_customers"] == 0
