"""Days out of line over HTTP: found, said, drawn, and told to each as they may know it."""

import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from vl_convert import vegalite_to_svg

from app.api.analytics.schemas import Anomalies
from app.api.anonymous import FEWEST
from app.core.config import Settings
from app.domain.records import Customer, Record, Ticket
from app.main import create_app
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, client, resources_for
from tests.api.test_anonymous import leaves
from tests.api.test_customers import told
from tests.fakes import at, bought, gave_back, put, rows, segmented

STORE = "anomaly-shop"
ANOMALIES = "/api/analytics/anomalies"
FIRST, DAYS = date(2024, 1, 1), 200
SPIKE, OUTAGE = 150, (170, 171, 172)


def orders_of(counts: list[int], *, first: date = FIRST, customers: int = 90) -> list[Record]:
    """So many orders on each day, of 10 each, at noon; customers of low numbers order most."""
    chance = np.random.default_rng(3)
    made: list[Record] = []
    for place, count in enumerate(counts):
        for number in range(count):
            who = int(customers * chance.beta(1, 3))
            when = f"{first + timedelta(days=place)} 12:00"
            made += bought(f"c{who:02}", f"o{place}-{number}", when, ("tea", "1", "10"))
    return made


def counts() -> list[int]:
    """16 orders a day, but for one day of 90 and three of none."""
    counted = np.random.default_rng(5).poisson(16, DAYS)
    counted[SPIKE] = 90
    counted[list(OUTAGE)] = 0
    return [int(each) for each in counted]


@pytest.fixture(scope="module")
async def views(database: Database, settings: Settings) -> AsyncIterator[tuple[Ask, Ask]]:
    """A support key's and an analytics key's."""
    refunds = gave_back("c01", "C1", "2024-06-01 10:00", "tea", "1", "10")
    await put(database, STORE, [*orders_of(counts()), *refunds])
    await segmented(
        database, STORE, max_k=3, min_members=3, min_population=10, axes=("purchase_value", "purchase_frequency")
    )
    app = create_app(resources=resources_for(database, settings, STORE))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        yield support, analytics


Views = tuple[Ask, Ask]


def on(place: int) -> str:
    return (FIRST + timedelta(days=place)).isoformat()


async def test_a_spike_and_an_outage_are_found_and_said(views: Views) -> None:
    support, _ = views
    found = await told(support, ANOMALIES)
    Anomalies.model_validate(found)
    flagged = {each["day"]: each for each in found["anomalies"]}
    assert {on(SPIKE): "high", **{on(day): "low" for day in OUTAGE}}.items() <= {
        day: each["direction"] for day, each in flagged.items()
    }.items()
    assert len(flagged) <= 7
    assert list(flagged) == sorted(flagged, reverse=True)
    spike = flagged[on(SPIKE)]
    assert spike["actual"] == 90 and spike["beyond"] == 90 - spike["high"] and spike["outside"] > 2
    assert spike["says"] == (
        f"On 30 May 2024 there were 90 orders; {spike['low']:.0f} to {spike['high']:.0f} would have been usual."
    )
    assert flagged[on(171)]["says"].startswith("On 20 June 2024 there were no orders; ")
    assert found["says"].startswith(f"{len(flagged)} of 90 days are out of line; about 0.9 ")
    assert (found["unit"], found["band"], found["message"]) == ("orders", 0.99, None)


async def test_every_day_is_told_with_what_would_have_been_usual(views: Views) -> None:
    support, _ = views
    found = await told(support, ANOMALIES, days=120)
    assert [each["day"] for each in found["days"]] == [on(place) for place in range(DAYS - 120, DAYS)]
    assert [each["actual"] for each in found["days"]] == counts()[-120:]
    for each in found["days"]:
        assert 0 <= each["low"] <= each["expected"] <= each["high"]
        assert (each["flagged"] is None) == (each["low"] <= each["actual"] <= each["high"])
    assert found["as_of"] == "2024-07-18T23:00:00+00:00" and found["run_id"] is not None
    revenue = await told(support, ANOMALIES, metric="revenue", days=120)
    assert revenue["unit"] == revenue["currency"] == "GBP"
    assert [each["actual"] for each in revenue["days"]] == [10 * each for each in counts()[-120:]]
    assert {on(SPIKE), *map(on, OUTAGE)} <= {each["day"] for each in revenue["anomalies"]}
    (spike,) = [each for each in revenue["anomalies"] if each["day"] == on(SPIKE)]
    assert spike["says"].startswith("On 30 May 2024 revenue was 900.00 GBP; ")


async def test_what_is_told_is_drawn_and_said_for_who_cannot_see_it(views: Views) -> None:
    for asking in views:
        found = await told(asking, ANOMALIES, metric="revenue")
        chart = found["chart"]
        assert vegalite_to_svg(json.dumps(chart), vl_version="6.4").startswith("<svg")
        assert found["anomalies"][0]["says"] in chart["description"]


async def test_kinds_of_customer_are_looked_at_beside_and_by_themselves(views: Views, database: Database) -> None:
    support, analytics = views
    kinds = await rows(
        database,
        "SELECT archetype_id, kind.name, member_count FROM dim_archetype_l1 AS kind JOIN stores USING (store_id) "
        "WHERE store_id = :s AND run_id = served_run_id",
        s=STORE,
    )
    large = {kind: name for kind, name, members in kinds if members >= FEWEST}
    small = [kind for kind, _, members in kinds if members < FEWEST]
    assert large and small
    found = await told(support, ANOMALIES)
    assert found["archetypes_compared"] == len(large)
    beside = {each["archetype_id"]: each for each in found["archetypes"]}
    assert beside and beside.keys() <= large.keys()
    spiked = [kind for kind, each in beside.items() if on(SPIKE) in {one["day"] for one in each["anomalies"]}]
    assert spiked
    alone = await told(support, ANOMALIES, archetype_id=spiked[0])
    assert (alone["archetype_id"], alone["segment_name"]) == (spiked[0], large[spiked[0]])
    assert (alone["archetypes"], alone["archetypes_compared"]) == ([], 0)
    # Its own band is narrower: whatever is out of the wide one is out of it.
    assert {each["day"] for each in beside[spiked[0]]["anomalies"]} <= {each["day"] for each in alone["anomalies"]}
    few = await told(support, ANOMALIES, archetype_id=small[0])
    assert few["message"] == "What is usual is told of kinds with at least 20 customers."
    assert few["anomalies"] == [] and {each["expected"] for each in few["days"]} == {None}
    for asking, unknown in ((support, "arch_none"), (analytics, "arch_none"), (analytics, small[0]), (support, "")):
        problem = await told(asking, ANOMALIES, 422, archetype_id=unknown)
        assert problem["errors"][0]["field"] == "archetype_id"


async def test_a_key_without_identities_is_told_usual_days_and_of_quiet_kinds_no_numbers(views: Views) -> None:
    support, analytics = views
    known, seen = await told(support, ANOMALIES), await told(analytics, ANOMALIES)
    Anomalies.model_validate(seen)
    assert seen["unit"] == "usual days"
    assert [each["flagged"] for each in seen["days"]] == [each["flagged"] for each in known["days"]]
    for each in seen["days"]:
        for name in ("actual", "expected", "low", "high"):
            assert each[name] == round(each[name], 1)
        assert (each["flagged"] is None) == (each["low"] <= each["actual"] <= each["high"])
    assert np.mean([each["expected"] for each in seen["days"]]) == pytest.approx(1, abs=0.05)
    spike = next(each for each in seen["anomalies"] if each["day"] == on(SPIKE))
    assert spike["says"].startswith("On 30 May 2024 orders came to 5.") and "usual days; " in spike["says"]
    assert {each["archetype_id"] for each in seen["archetypes"]} == {
        each["archetype_id"] for each in known["archetypes"]
    }
    quiet = [each for each in seen["archetypes"] if each["unit"] is None]
    assert quiet
    for each in quiet:
        values = {value for name, value in leaves(each["anomalies"]) if name in ("actual", "low", "high", "outside")}
        assert values == {None}
        assert all(" there were unusually " in one["says"] for one in each["anomalies"])
    alone = await told(analytics, ANOMALIES, archetype_id=quiet[0]["archetype_id"])
    assert (alone["unit"], alone["chart"]) == (None, None)
    assert alone["message"].startswith("Numbers are left out: ")
    assert {each["actual"] for each in alone["days"]} == {None}


async def test_what_has_happened_once_has_no_band_yet(views: Views) -> None:
    support, _ = views
    refunds = await told(support, ANOMALIES, metric="refunds")
    assert refunds["days"][0] == {
        "day": "2024-06-01",
        "actual": 1.0,
        "expected": None,
        "low": None,
        "high": None,
        "flagged": None,
    }
    assert all(each["expected"] is None for each in refunds["days"][:28])
    assert all(each["expected"] is not None for each in refunds["days"][28:])
    assert refunds["message"] == "It takes 28 days to tell what is usual."
    tickets = await told(support, ANOMALIES, metric="tickets")
    assert (tickets["days"], tickets["chart"]) == ([], None)
    assert tickets["message"] == "No tickets are known up to 18 July 2024."


# Shops of which little is known


async def test_a_shop_without_anything_and_one_of_three_weeks_have_no_band(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await told(empty_shop, ANOMALIES, 404)
    await put(database, store_id, [])
    empty = await told(empty_shop, ANOMALIES, metric="revenue")
    Anomalies.model_validate(empty)
    assert (empty["days"], empty["anomalies"], empty["archetypes"], empty["chart"]) == ([], [], [], None)
    assert empty["message"].startswith("No orders are known up to ")
    await told(empty_shop, ANOMALIES, 404, archetype_id="arch_none")
    await put(database, store_id, orders_of([5] * 21))
    young = await told(empty_shop, ANOMALIES)
    assert len(young["days"]) == 21 and {each["expected"] for each in young["days"]} == {None}
    assert (young["anomalies"], young["run_id"], young["expected_by_chance"]) == ([], None, 0)
    assert young["says"] == "Of no day is enough known to tell whether it is out of line."
    assert young["message"] == "It takes 28 days to tell what is usual: from 29 January 2024 on."
    assert young["chart"] is not None


async def test_a_shop_that_was_closed_is_not_expected_to_sell(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, orders_of([20] * 60 + [0] * 60 + [20] * 10))
    found = await told(empty_shop, ANOMALIES, days=70)
    days = found["days"]
    assert [each["flagged"] for each in days[:10]] == ["low"] * 10
    assert {each["expected"] for each in days[28:]} == {None}
    assert found["message"] == (
        "From 29 March 2024 to 30 April 2024 are days before which there was no order for 28: the shop was closed. "
        "Nothing is expected of it until it has been open for 28 days again."
    )


async def test_days_are_the_shops_and_the_last_is_whole(empty_shop: Ask, database: Database, store_id: str) -> None:
    late = [Customer("ada"), *(Ticket(f"t{n}", "ada", at("2024-07-02 23:30")) for n in range(3))]
    await put(database, store_id, [*orders_of([3] * 40, first=date(2024, 5, 24)), *late])
    orders = await told(empty_shop, ANOMALIES, days=7)
    assert [each["day"] for each in orders["days"]][-1] == "2024-07-03"
    tickets = await told(empty_shop, ANOMALIES, days=7, metric="tickets")
    assert [(each["day"], each["actual"]) for each in tickets["days"]] == [("2024-07-03", 3)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("days", each) for each in ("6", "0", "-1", "366", "1e3", "7.5", "9" * 5_000, "")),
        *(("metric", each) for each in ("visits", "", "Orders", "__class__", "orders; drop")),
        *(("archetype_id", each) for each in ("x" * 256, "\0", "' OR 1=1--", "<script>")),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(views: Views, field: str, value: Any) -> None:
    problem = await told(views[0], ANOMALIES, 422, **{field: value})
    assert problem["errors"][0]["field"] == field
    assert "<script" not in problem["detail"]
