"""Cohorts over HTTP: whole periods alone, in the view of whoever asks."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from vl_convert import vegalite_to_svg

from app.api.analytics.schemas import Cohorts, Measure
from app.api.anonymous import FEWEST
from app.core.config import Settings
from app.domain.records import Record
from app.main import create_app
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, Clients, client, resources_for
from tests.api.test_anonymous import leaves
from tests.api.test_customers import told
from tests.fakes import bought, gave_back, put

STORE = "cohort-shop"
COHORTS = "/api/analytics/cohorts"


def records() -> list[Record]:
    """30 customers from January on, of whom 12 come back in February and 6 in March; 5 from February, 25 from March;
    and one order of April.
    """
    made: list[Record] = []
    for number in range(30):
        made += bought(f"jan{number}", f"j{number}", "2024-01-10 12:00", ("tea", "1", "10"))
    for number in range(12):
        made += bought(f"jan{number}", f"jf{number}", "2024-02-10 12:00", ("tea", "1", "5"))
    for number in range(6):
        made += bought(f"jan{number}", f"jm{number}", "2024-03-10 12:00", ("tea", "1", "2.50"))
    for number in range(5):
        made += bought(f"feb{number}", f"f{number}", "2024-02-11 12:00", ("tea", "1", "7"))
    for number in range(25):
        made += bought(f"mar{number}", f"m{number}", "2024-03-11 12:00", ("tea", "1", "4"))
    made += gave_back("jan0", "C1", "2024-02-12 12:00", "tea", "1", "10")
    return [*made, *bought("jan0", "april", "2024-04-10 12:00", ("tea", "1", "9"))]


@pytest.fixture(scope="module")
async def views(database: Database, settings: Settings) -> AsyncIterator[tuple[Ask, Ask]]:
    """A support key's and an analytics key's. The shop has not been segmented."""
    await put(database, STORE, records())
    app = create_app(resources=resources_for(database, settings, STORE))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        yield support, analytics


Views = tuple[Ask, Ask]


async def test_customers_are_followed_from_the_month_of_their_first_order(views: Views) -> None:
    support, _ = views
    found = await told(support, COHORTS, periods=4)
    Cohorts.model_validate(found)
    january, february, march = found["cohorts"]
    assert [each["label"] for each in found["cohorts"]] == ["January 2024", "February 2024", "March 2024"]
    assert [each["customers"] for each in found["cohorts"]] == [30, 5, 25]
    assert january["cells"][:3] == [
        {
            "period": 0,
            "share": 1.0,
            "orders": 30,
            "orders_per_customer": 1.0,
            "net_revenue": 300.0,
            "revenue_per_customer": 10.0,
            "cumulative_per_customer": 10.0,
        },
        {
            "period": 1,
            "share": 0.4,
            "orders": 12,
            "orders_per_customer": 0.4,
            "net_revenue": 50.0,
            "revenue_per_customer": pytest.approx(50 / 30, abs=1e-4),
            "cumulative_per_customer": pytest.approx(350 / 30, abs=1e-4),
        },
        {
            "period": 2,
            "share": 0.2,
            "orders": 6,
            "orders_per_customer": 0.2,
            "net_revenue": 15.0,
            "revenue_per_customer": 0.5,
            "cumulative_per_customer": pytest.approx(365 / 30, abs=1e-4),
        },
    ]
    # April is not over, though jan0 has ordered in it already.
    assert january["cells"][3:] == [None, None]
    assert [each["share"] if each else None for each in february["cells"]] == [1, 0, None, None, None]
    assert [each is None for each in march["cells"]] == [False, True, True, True, True]
    assert [each and each["share"] for each in found["average"]] == [
        1,
        pytest.approx(12 / 35, abs=1e-4),
        0.2,
        None,
        None,
    ]
    assert (found["run_id"], found["as_of"]) == (None, "2024-04-10T23:00:00+00:00")
    assert found["says"] == (
        "Of new customers 34 % order again in the month after that of their first order, and 20 % in the 2nd."
    )
    assert found["message"] == (
        "April 2024 is not over yet, and not told. Orders are known from 10 January 2024 on: the first cohort may hold "
        "customers who had ordered before."
    )


async def test_quarters_are_told_as_months_are(views: Views) -> None:
    support, _ = views
    (only,) = (await told(support, COHORTS, by="quarter", periods=1))["cohorts"]
    assert (only["label"], only["starts_on"], only["customers"]) == ("Q1 2024", "2024-01-01", 60)
    assert only["cells"][0]["orders"] == 78 and only["cells"][1] is None


async def test_only_the_cohorts_that_are_followed_that_far_are_shown(views: Views) -> None:
    support, _ = views
    found = await told(support, COHORTS, periods=1)
    assert [each["label"] for each in found["cohorts"]] == ["February 2024", "March 2024"]
    assert found["message"] == "April 2024 is not over yet, and not told."


@pytest.mark.parametrize("measure", Measure)
async def test_every_measure_is_drawn_and_said_for_who_cannot_see_it(views: Views, measure: Measure) -> None:
    for asking in views:
        chart = (await told(asking, COHORTS, periods=3, measure=measure.value))["chart"]
        assert vegalite_to_svg(json.dumps(chart), vl_version="6.4").startswith("<svg")
        assert "January 2024 to March 2024" in chart["description"] and "On average" in chart["description"]
        assert all(0 <= each["strength"] <= 0.4 for each in chart["data"]["values"])
    drawn = (await told(views[0], COHORTS, periods=3, measure=measure.value))["chart"]["data"]["values"]
    cell = next(each for each in drawn if each["cohort"] == "January 2024" and each["period"] == 1)
    assert cell["told"] == {"retention": "40", "orders": "0.40", "revenue": "1.7", "value": "12"}[measure.value]
    assert len(drawn) == 6, "what is not over is not drawn"


async def test_a_key_without_identities_sees_no_small_cohort_and_no_count(views: Views) -> None:
    support, analytics = views
    known, seen = await told(support, COHORTS, periods=4), await told(analytics, COHORTS, periods=4)
    Cohorts.model_validate(seen)
    sizes = {each["label"]: each["customers"] for each in known["cohorts"]}
    assert [each["label"] for each in seen["cohorts"]] == [name for name, n in sizes.items() if n >= FEWEST]
    assert seen["message"].startswith("Cohorts of fewer than 20 customers are left out. `by=quarter` ")
    for name, value in leaves(seen):
        assert name not in ("customers", "orders", "net_revenue") or value is None, name
        assert name != "share" or value == round(value, 2)
        assert name not in ("orders_per_customer", "cumulative_per_customer") or value == float(f"{value:.1e}")
    # The average is of what is shown: beside it, that of everyone would tell of the one left out.
    assert [each and each["share"] for each in seen["average"]] == [1, 0.4, 0.2, None, None]
    assert "February" not in json.dumps(seen["chart"])


async def test_where_every_cohort_is_small_that_is_said(database: Database, settings: Settings, store_id: str) -> None:
    await put(database, store_id, [*bought("ada", "o1", "2024-01-10"), *bought("ada", "o2", "2024-02-10")])
    app = create_app(resources=resources_for(database, settings, store_id))
    async with app.router.lifespan_context(app), client(app, KEYS["analytics"]) as analytics:
        seen = await told(analytics, COHORTS)
    assert (seen["cohorts"], seen["chart"]) == ([], None)
    assert seen["says"] == "No cohort is large enough to be told."


async def test_a_shop_without_orders_and_one_in_its_first_month_have_no_cohorts(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await told(empty_shop, COHORTS, 404)
    await put(database, store_id, [])
    empty = await told(empty_shop, COHORTS)
    Cohorts.model_validate(empty)
    assert (empty["cohorts"], empty["average"], empty["chart"]) == ([], [None] * 13, None)
    assert empty["message"] == "No orders are known yet. Customers are put together by their first."
    await put(database, store_id, bought("ada", "o1", "2024-01-10", ("tea", "1", "2")))
    young = await told(empty_shop, COHORTS)
    assert young["cohorts"] == []
    assert young["says"] == "No month after a first order is over yet."
    assert young["message"] == "The month of the first order, January 2024, is not over yet."


async def test_a_segmented_shop_is_told_as_of_its_run(ask: Clients) -> None:
    served = await told(ask.support, "/api/mcp/archetypes/top")
    found = await told(ask.support, COHORTS)
    assert (found["run_id"], found["as_of"]) == (served["run_id"], served["as_of"])
    assert len(found["cohorts"]) == 13 and None not in found["cohorts"][0]["cells"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("periods", each) for each in ("0", "-1", "37", "1e3", "1.5", "9" * 5_000, "")),
        *(("by", each) for each in ("week", "", "Month", "__class__")),
        *(("measure", each) for each in ("ltv", "retention; drop", "")),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(views: Views, field: str, value: Any) -> None:
    problem = await told(views[0], COHORTS, 422, **{field: value})
    assert problem["errors"][0]["field"] == field
