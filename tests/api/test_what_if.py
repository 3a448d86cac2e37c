"""What would change if customers behaved otherwise: nothing without a change, and by the arithmetic it says."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from vl_convert import vegalite_to_svg

from app.api.analytics.schemas import WhatIf
from app.core.config import Settings
from app.main import create_app
from app.pipeline.predict import PredictOptions, predict
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, client, resources_for
from tests.api.test_anonymous import leaves
from tests.api.test_customers import told as got
from tests.api.test_growth import GROWTH, regulars
from tests.fakes import NOW, put, value

STORE = "what-if-shop"
WHAT_IF = "/api/analytics/what-if"
Views = tuple[Ask, Ask]


@pytest.fixture(scope="module")
async def views(database: Database, settings: Settings) -> AsyncIterator[Views]:
    """A support key's and an analytics key's of 60 regulars."""
    await put(database, STORE, regulars("2023-01-01", 500, customers=60, every=40))
    await predict(database, STORE, PredictOptions(), now=NOW)
    app = create_app(resources=resources_for(database, settings, STORE))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        yield support, analytics


async def told(asking: Ask, status: int = 200, **changes: Any) -> Any:
    answer = await asking.post(WHAT_IF, json=changes)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_without_a_change_nothing_changes(views: Views) -> None:
    support, _ = views
    found = await told(support, months=6)
    WhatIf.model_validate(found)
    assert len(found["monthly"]) == 6
    for month in found["monthly"]:
        for name in ("customers", "acquired", "lapsed", "revenue", "index"):
            assert month[name] == month[f"changed_{name}"]
    for side in (found["customers"], found["revenue"]):
        assert side["unchanged"] == side["changed"] and side["change_pct"] in (0, None)
    bare = await support.post(WHAT_IF)
    assert bare.status_code == 200 and len(bare.json()["monthly"]) == 12


async def test_what_is_unchanged_is_the_projection(views: Views) -> None:
    support, _ = views
    found = await told(support, months=8, churn_change=0.5)
    projected = (await got(support, GROWTH, months=8))["projections"]["monthly"]
    assert [each["customers"] for each in found["monthly"]] == [each["estimated_customers"] for each in projected]
    assert [each["month"] for each in found["monthly"]] == [each["month"] for each in projected]


async def test_customers_add_up_on_both_sides(views: Views) -> None:
    support, _ = views
    now = (await got(support, GROWTH))["current_customers"]
    found = await told(support, months=24, acquisition_change=1.5, churn_change=-0.5)
    for prefix in ("", "changed_"):
        before = now
        for month in found["monthly"]:
            before = before + month[f"{prefix}acquired"] - month[f"{prefix}lapsed"]
            assert month[f"{prefix}customers"] == before >= 0


async def test_order_value_is_a_factor_and_repeat_orders_as_much_as_they_are(views: Views, database: Database) -> None:
    support, _ = views
    assert (await told(support, order_value_change=0.1))["revenue"]["change_pct"] == pytest.approx(10, abs=0.01)
    found = await told(support, repeat_rate_change=0.2)
    share = found["repeat_share"]
    assert found["revenue"]["change_pct"] == pytest.approx(20 * share, abs=0.01)
    paid, first = [
        float(await value(database, query, s=STORE))
        for query in (
            "SELECT sum(total_price) FROM orders WHERE store_id = :s AND order_date >= '2023-05-16'",
            "SELECT coalesce(sum(total_price), 0) FROM orders AS o WHERE store_id = :s AND order_date >= '2023-05-16' "
            "AND NOT EXISTS (SELECT FROM orders AS b WHERE b.store_id = o.store_id AND b.customer_id = o.customer_id "
            "AND b.order_date < o.order_date)",
        )
    ]
    assert share == pytest.approx(1 - first / paid, abs=0.02)
    assert any(f"{100 * share:.0f} % was for orders after" in each for each in found["assumptions"])


async def test_the_arithmetic_is_said(views: Views) -> None:
    found = await told(views[0], acquisition_change=0.25, churn_change=-0.1, repeat_rate_change=0.05)
    said = " ".join(found["assumptions"])
    assert all(each in said for each in ("+25.0%", "-10.0%", "+5.0%", "Active after = active before"))


async def test_the_picture_is_drawn(views: Views) -> None:
    for asking in views:
        chart = (await told(asking, order_value_change=0.1))["chart"]
        assert vegalite_to_svg(json.dumps(chart), vl_version="6.4").startswith("<svg")
        assert "as it would be" in chart["description"]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        *(
            (name, {name: wrong})
            for name in ("repeat_rate_change", "churn_change")
            for wrong in (-1.01, 5.01, "0.1", None)
        ),
        ("order_value_change", {"order_value_change": True}),
        *(("months", {"months": months}) for months in (0, 37, 1.5, "12", True)),
        ("price_change", {"price_change": 0.1}),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_name(views: Views, field: str, changes: dict[str, Any]) -> None:
    problem = await told(views[0], 422, **changes)
    assert [each["field"] for each in problem["errors"]] == [field]


@pytest.mark.parametrize(
    ("body", "status"),
    [("[1]", 422), ("nothing", 400), ('{"months": NaN}', 400), ('{"churn_change": Infinity}', 400)],
)
async def test_what_is_no_change_is_refused(views: Views, body: str, status: int) -> None:
    assert (await views[0].post(WHAT_IF, content=body)).status_code == status


async def test_a_form_that_holds_json_is_read(views: Views) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await views[0].post(WHAT_IF, content='{"months": 2}', headers=headers)
    assert answer.status_code == 200 and len(answer.json()["monthly"]) == 2


async def test_keys_without_identities_see_no_counts(views: Views) -> None:
    _, analytics = views
    found = await told(analytics, acquisition_change=0.5)
    counts = {f"{prefix}{name}" for prefix in ("", "changed_") for name in ("customers", "acquired", "lapsed")}
    for month in found["monthly"]:
        assert all(month[name] is None for name in counts)
        assert month["index"] % 5 == 0 and month["changed_index"] % 5 == 0
        assert month["revenue"] == float(f"{month['revenue']:.1e}")
    assert not any("60" in str(each).split() for _, each in leaves({**found, "chart": None}))


async def test_without_predictions_it_is_said_how_to_get_them(empty_shop: Ask) -> None:
    assert (await told(empty_shop, 404))["type"] == "/problems/nothing-predicted"
