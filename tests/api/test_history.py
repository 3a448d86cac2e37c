"""The past over HTTP: of one customer, and of the shop; in the words and the view of whoever asks."""

import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from vl_convert import vegalite_to_svg

from app.api.analytics.schemas import Drift
from app.api.anonymous import FEWEST
from app.api.customers.schemas import History
from app.core.config import Settings
from app.domain.records import Customer
from app.main import create_app
from app.pipeline.rescore import rescore
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, client, resources_for
from tests.api.test_anonymous import leaves
from tests.api.test_customers import told
from tests.fakes import NOW, a_shop, at, execute, foretell, foretold, put, rows, segmented

STORE = "history-shop"
OPTIONS = {"max_k": 4, "min_members": 3, "min_population": 10, "axes": ("purchase_value", "purchase_frequency")}
#: The ends of days, UTC, which in London are the same until the end of March.
FOUND, AGAIN = "2024-02-12", "2024-03-25"
SCORED = ("2024-02-19", "2024-02-26", "2024-03-11")
DAYS = ["2024-02-11", "2024-02-18", "2024-02-25", "2024-03-10", "2024-03-24"]
DRIFT = "/api/analytics/drift"


@pytest.fixture(scope="module")
async def runs(database: Database) -> list[int]:
    """A shop found, scored anew three times while it goes on buying, and found anew; ids of the runs in order."""
    await put(database, STORE, [*a_shop(200, orders_each=5), Customer("waiting")])
    first = await segmented(database, STORE, as_of=at(FOUND), **OPTIONS)
    scored = [await rescore(database, STORE, now=NOW, as_of=at(day)) for day in SCORED]
    last = await segmented(database, STORE, as_of=at(AGAIN), **OPTIONS)
    return [each.run_id or 0 for each in (first, *scored, last)]


@pytest.fixture(scope="module")
async def views(database: Database, settings: Settings, runs: list[int]) -> AsyncIterator[tuple[Ask, Ask]]:
    """A support key's and an analytics key's."""
    app = create_app(resources=resources_for(database, settings, STORE))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        yield support, analytics


Views = tuple[Ask, Ask]


async def someone_who_moved(database: Database) -> str:
    """With a change of archetype within one discovery's rules."""
    query = """
        SELECT min(one.customer_id) FROM fact_customer_history AS one JOIN fact_customer_history AS other
          USING (store_id, customer_id)
        WHERE store_id = :s AND one.archetype_id <> other.archetype_id
          AND one.snapshot_date = '2024-02-11' AND other.snapshot_date = '2024-02-18'
    """
    ((found,),) = await rows(database, query, s=STORE)
    assert found is not None
    return str(found)


async def test_a_customers_days_are_told_as_they_were(views: Views, database: Database) -> None:
    support, _ = views
    customer = await someone_who_moved(database)
    past = await told(support, f"/api/mcp/customer/{customer}/history")
    History.model_validate(past)
    stored = await rows(
        database,
        "SELECT snapshot_date::text, past.archetype_id, kind.name, lifetime_value::float8, total_orders "
        "FROM fact_customer_history AS past JOIN dim_archetype_l1 AS kind USING (store_id, run_id, archetype_id) "
        "WHERE store_id = :s AND customer_id = :c ORDER BY 1",
        s=STORE,
        c=customer,
    )
    fields = ("date", "archetype_id", "segment_name", "lifetime_value", "total_orders")
    assert [tuple(each[name] for name in fields) for each in past["snapshots"]] == [tuple(row) for row in stored]
    assert [each["date"] for each in past["snapshots"]] == DAYS
    first, *others = past["snapshots"]
    assert set(first["segments"]) == {"purchase_value", "purchase_frequency"}
    assert sum(len(each["segments"]) for each in others) < 2 * len(others)
    assert (past["run_id"], past["as_of"]) == ((await told(support, DRIFT))["run_id"], "2024-03-25T00:00:00+00:00")


async def test_what_changed_is_told_in_words_the_latest_first(views: Views, database: Database) -> None:
    support, _ = views
    customer = await someone_who_moved(database)
    past = await told(support, f"/api/mcp/customer/{customer}/history")
    days = [each["date"] for each in past["changes"]]
    assert days == sorted(days, reverse=True)
    (moved,) = [each for each in past["changes"] if each["date"] == "2024-02-18" and each["axis"] is None]
    assert not moved["by_discovery"]
    assert moved["says"] == f"Moved from {moved['from_name']} to {moved['to_name']} on 18 February 2024."
    names = {each["date"]: each["segment_name"] for each in past["snapshots"]}
    assert (moved["from_name"], moved["to_name"]) == (names["2024-02-11"], names["2024-02-18"])
    # The segments told day by day, put together, are what the changes lead to.
    standing: dict[str, Any] = {}
    for each in past["snapshots"]:
        changed = {change["axis"]: change["to_id"] for change in past["changes"] if change["date"] == each["date"]}
        for axis, segment in each["segments"].items():
            assert axis not in standing or changed[axis] == segment["segment_id"]
        standing |= each["segments"]


async def test_a_past_is_compared_over_the_windows_it_is_long_enough_for(views: Views, database: Database) -> None:
    support, _ = views
    path = f"/api/mcp/customer/{await someone_who_moved(database)}/history"
    past = await told(support, path)
    # Nothing is kept of the 17th; a week before the 24th, the latest old enough is older than two weeks less a day.
    assert [(each["days"], each["compared_with"]) for each in past["deltas"]] == [
        (14, "2024-03-10"),
        (28, "2024-02-25"),
    ]
    by_day = {each["date"]: each for each in past["snapshots"]}
    for each in past["deltas"]:
        then, now = by_day[each["compared_with"]], by_day["2024-03-24"]
        assert each["orders"] == now["total_orders"] - then["total_orders"]
        assert each["lifetime_value"] == pytest.approx(now["lifetime_value"] - then["lifetime_value"])
        assert each["archetype_changed"] + each["renamed_by_discovery"] == (then["archetype_id"] != now["archetype_id"])
    week = await told(support, path, end_date="2024-02-25")
    assert [each["days"] for each in week["deltas"]] == [7, 14]


async def test_a_past_can_be_asked_for_in_part(views: Views, database: Database) -> None:
    support, _ = views
    path = f"/api/mcp/customer/{await someone_who_moved(database)}/history"

    async def dates(**asked: Any) -> list[str]:
        return [each["date"] for each in (await told(support, path, **asked))["snapshots"]]

    assert await dates(days=15) == DAYS[3:]
    assert await dates(days=14) == DAYS[4:]
    assert await dates(start_date="2024-02-18", end_date="2024-03-10") == DAYS[1:4]
    empty = await told(support, path, end_date="2024-01-01")
    assert (empty["snapshots"], empty["chart"], empty["run_id"]) == ([], None, None)
    assert empty["message"] == "No day is kept of them between these."
    problem = await told(support, path, 422, start_date="2024-03-01", end_date="2024-02-01")
    assert problem["errors"][0]["field"] == "end_date"


async def test_a_part_of_the_past_is_compared_with_what_came_before_it(views: Views, database: Database) -> None:
    support, _ = views
    path = f"/api/mcp/customer/{await someone_who_moved(database)}/history"
    whole, latest = await told(support, path), await told(support, path, days=1)
    assert latest["deltas"] == whole["deltas"] != []
    assert [each["date"] for each in latest["snapshots"]] == DAYS[-1:]
    day = await told(support, path, start_date="2024-02-18", end_date="2024-02-18")
    assert day["changes"] == [each for each in whole["changes"] if each["date"] == "2024-02-18"] != []
    assert [each["compared_with"] for each in day["deltas"]] == ["2024-02-11"]


async def test_who_has_no_past_is_told_why_and_who_is_unknown_is_not_found(views: Views) -> None:
    support, analytics = views
    past = await told(support, "/api/mcp/customer/waiting/history")
    History.model_validate(past)
    assert (past["snapshots"], past["message"]) == ([], "Awaiting first purchase to analyze behavior")
    await told(support, "/api/mcp/customer/nobody/history", 404)
    await told(analytics, "/api/mcp/customer/waiting/history", 404)


async def test_a_past_is_drawn_and_said_for_who_cannot_see_it(views: Views, database: Database) -> None:
    support, _ = views
    past = await told(support, f"/api/mcp/customer/{await someone_who_moved(database)}/history")
    chart = past["chart"]
    assert vegalite_to_svg(json.dumps(chart), vl_version="6.4").startswith("<svg")
    assert "From 11 February 2024 to 24 March 2024" in chart["description"]
    assert all(each["says"] in chart["description"] for each in past["changes"] if each["axis"] is None)
    bands = chart["vconcat"][0]["data"]["values"]
    assert bands[0]["from"] == "2024-02-11" and bands[-1]["until"] == "2024-03-25"
    assert all(one["until"] == other["from"] for one, other in pairwise(bands))
    assert (await told(support, f"/api/mcp/customer/{past['customer_id']}/history", days=1))["chart"] is None


async def test_what_was_predicted_is_told_of_the_days_it_was_predicted_on(views: Views, database: Database) -> None:
    support, analytics = views
    customer = await someone_who_moved(database)
    path = f"/api/mcp/customer/{customer}/history"
    names = ("churn_risk_score", "p_no_purchase_30d", "predicted_ltv_12m")
    before = await told(support, path)
    assert {each[name] for each in before["snapshots"] for name in names} == {None}
    assert len(before["chart"]["vconcat"]) == 2
    for day, score in (("2024-02-19", 0.25), ("2024-03-11", 0.75)):
        await foretell(database, STORE, [foretold(customer, score)], as_of=at(day))
    past = await told(support, path)
    History.model_validate(past)
    found = {each["date"]: tuple(each[name] for name in names) for each in past["snapshots"]}
    assert found == dict.fromkeys(DAYS, (None, None, None)) | {
        "2024-02-18": (0.25, 0.25, 40.0),
        "2024-03-10": (0.75, 0.75, 40.0),
    }
    assert vegalite_to_svg(json.dumps(past["chart"]), vl_version="6.4").startswith("<svg")
    risks = past["chart"]["vconcat"][2]["data"]["values"]
    assert [each["risk"] for each in risks] == [None, 0.25, None, 0.75, None]
    assert "Risk of staying away 25 % at first, 75 % at last." in past["chart"]["description"]
    seen = await told(analytics, f"/api/mcp/customer/{past['pseudonym']}/history")
    assert [each["churn_risk_score"] for each in seen["snapshots"]] == [None, 0.25, None, 0.75, None]


async def test_a_key_without_identities_sees_no_small_group_of_any_day(views: Views, database: Database) -> None:
    support, analytics = views
    tables = ("dim_archetype_l1", "dim_archetype_l2", "dim_archetype_l3")
    query = " UNION ".join(
        f"SELECT archetype_id FROM {table} WHERE store_id = :s GROUP BY 1 HAVING max(member_count) < :few"  # noqa: S608
        for table in tables
    )
    always_small = {each for (each,) in await rows(database, query, s=STORE, few=FEWEST)}
    hidden = 0
    sizes = """
        SELECT kind.member_count FROM fact_customer_history AS past
        JOIN dim_archetype_l1 AS kind USING (store_id, run_id, archetype_id)
        WHERE store_id = :s AND customer_id = :c ORDER BY snapshot_date
    """
    people = await rows(database, "SELECT customer_id, pseudonym FROM customer_pseudonyms WHERE store_id = :s", s=STORE)
    for customer, pseudonym in people:
        await told(analytics, f"/api/mcp/customer/{customer}/history", 404)
        seen = await told(analytics, f"/api/mcp/customer/{pseudonym}/history")
        History.model_validate(seen)
        assert seen["customer_id"] == pseudonym
        values = {value for _, value in leaves(seen)}
        assert customer not in values and not always_small & values
        hidden += "other" in values
        known = await told(support, f"/api/mcp/customer/{customer}/history")
        assert [each["lifetime_value"] for each in seen["snapshots"]] == [
            each["lifetime_value"] for each in known["snapshots"]
        ]
        members = [members for (members,) in await rows(database, sizes, s=STORE, c=customer)]
        shown = [
            each["archetype_id"] if of_day >= FEWEST else "other"
            for each, of_day in zip(known["snapshots"], members, strict=True)
        ]
        assert [each["archetype_id"] for each in seen["snapshots"]] == shown
        # Whether they left a group or that shrank would name a small one: neither is told.
        assert all("other" not in (each["from_id"], each["to_id"]) for each in seen["changes"])
        assert {json.dumps(each) for each in seen["changes"]} <= {json.dumps(each) for each in known["changes"]}
    assert hidden


async def test_who_is_of_a_kind_that_shrank_is_not_said_to_have_moved_nor_to_have_stayed(
    database: Database, settings: Settings, store_id: str
) -> None:
    await put(database, store_id, a_shop(60))
    await segmented(database, store_id, as_of=at(FOUND), **OPTIONS)
    scored = await rescore(database, store_id, now=NOW, as_of=at(SCORED[0]))
    stayed = """
        SELECT pseudonym, archetype_id FROM fact_customer_history AS one JOIN fact_customer_history AS other
          USING (store_id, customer_id, archetype_id) JOIN customer_pseudonyms USING (store_id, customer_id)
          JOIN dim_archetype_l1 AS kind USING (store_id, archetype_id)
        WHERE store_id = :s AND one.snapshot_date < other.snapshot_date AND kind.run_id = one.run_id
          AND kind.member_count >= :few ORDER BY pseudonym LIMIT 1
    """
    ((pseudonym, kind),) = await rows(database, stayed, s=store_id, few=FEWEST)
    path = f"/api/mcp/customer/{pseudonym}/history"
    shrink = "UPDATE dim_archetype_l1 SET member_count = :n WHERE store_id = :s AND run_id = :r AND archetype_id = :a"
    app = create_app(resources=resources_for(database, settings, store_id))
    async with app.router.lifespan_context(app), client(app, KEYS["analytics"]) as analytics:
        await execute(database, shrink, n=FEWEST, s=store_id, r=scored.run_id, a=kind)
        large = await told(analytics, path)
        await execute(database, shrink, n=FEWEST - 1, s=store_id, r=scored.run_id, a=kind)
        small = await told(analytics, path)
    assert [each["archetype_id"] for each in large["snapshots"]] == [kind, kind]
    assert "That did not change." in large["chart"]["description"]
    assert [each["archetype_id"] for each in small["snapshots"]] == [kind, "other"]
    assert [each for each in small["changes"] if each["axis"] is None] == []
    assert "change" not in small["chart"]["description"] and "Moved" not in small["chart"]["description"]
    ((before,), (now,)) = (each["deltas"] for each in (large, small))
    assert (before["archetype_changed"], before["renamed_by_discovery"]) == (False, False)
    assert (now["archetype_changed"], now["renamed_by_discovery"]) == (None, None)


# The shop


async def test_a_shops_drift_is_what_its_days_say(views: Views, database: Database, runs: list[int]) -> None:
    support, _ = views
    drift = await told(support, DRIFT)
    Drift.model_validate(drift)
    assert (drift["day"], drift["run_id"], drift["rules_run_id"]) == ("2024-03-24", runs[-1], runs[-1])
    assert [each["days"] for each in drift["windows"]] == [14, 28]
    assert drift["missing"] == [7]
    assert drift["message"] == "No day is kept that the latest could be compared with over 7 days."
    pairs = """
        SELECT one.archetype_id, other.archetype_id, count(*)::int FROM fact_customer_history AS one
        JOIN fact_customer_history AS other USING (store_id, customer_id)
        WHERE store_id = :s AND one.snapshot_date = :then AND other.snapshot_date = '2024-03-24' GROUP BY 1, 2
    """
    for window in drift["windows"]:
        found = await rows(database, pairs, s=STORE, then=date.fromisoformat(window["compared_with"]))
        assert window["customers_compared"] == sum(n for *_, n in found)
        elsewhere = sum(n for one, other, n in found if one != other) / window["customers_compared"]
        assert window["migrated"] + window["renamed_by_discovery"] == pytest.approx(elsewhere, abs=2e-6)
        assert window["velocity"] == pytest.approx(window["migrated"] / window["days_between"], abs=1e-7)
        counted = {(one, other): n for one, other, n in found}
        for each in window["migrations"]:
            assert each["count"] == counted[each["from_id"], each["to_id"]]
            assert each["share"] == pytest.approx(each["count"] / window["customers_compared"], abs=1e-6)
        for each in window["archetypes"]:
            assert each["stayed"] + each["migrated"] + each["renamed_by_discovery"] == pytest.approx(1, abs=2e-6)
        assert {each["axis"] for each in window["axes"]} == {"purchase_value", "purchase_frequency"}
    # The latest day is the discovery's own.
    assert {each["psi"] for each in drift["since_discovery"]} == {0}


async def test_one_window_alone_can_be_asked_for(views: Views) -> None:
    support, _ = views
    everything = await told(support, DRIFT)
    alone = await told(support, DRIFT, days=28)
    assert (alone["windows"], alone["missing"]) == (everything["windows"][1:], [])
    assert alone["message"] is None
    short = (await told(support, DRIFT, days=28, limit=1))["windows"][0]
    (whole,) = alone["windows"]
    for told_of in ("archetypes", "migrations"):
        assert short[told_of] == whole[told_of][:1]
        assert short[f"{told_of}_total"] == whole[f"{told_of}_total"] == len(whole[told_of])
    assert len(whole["archetypes"]) > 1
    assert short["chart"] == whole["chart"]
    problem = await told(support, DRIFT, 422, days=9)
    assert problem["errors"][0]["field"] == "days"


async def test_drift_is_drawn_and_said_for_who_cannot_see_it(views: Views) -> None:
    support, _ = views
    drift = await told(support, DRIFT)
    drawn = [each["chart"] for each in drift["windows"] if each["migrations"]]
    assert drawn
    # Nothing is kept of the week before the latest day: the weeks before it are drawn all the same.
    assert [each["day"] for each in drift["velocities"]] == ["2024-02-18", "2024-02-25"]
    for chart in [*drawn, drift["velocity_chart"]]:
        assert vegalite_to_svg(json.dumps(chart), vl_version="6.4").startswith("<svg")
        assert chart["description"]
    for window in drift["windows"]:
        most = window["migrations"][0]
        assert f"went from {most['from_name']} to {most['to_name']}" in window["chart"]["description"]
        assert window["says"].startswith(f"Since {int(window['compared_with'][-2:])} ")


async def test_a_key_without_identities_is_told_shares_that_count_nobody(views: Views) -> None:
    support, analytics = views
    known, seen = await told(support, DRIFT), await told(analytics, DRIFT)
    Drift.model_validate(seen)
    assert [each["days"] for each in seen["windows"]] == [each["days"] for each in known["windows"]]
    for window, whole in zip(seen["windows"], known["windows"], strict=True):
        assert window["migrated"] == round(whole["migrated"], 2)
        assert window["velocity"] == pytest.approx(window["migrated"] / window["days_between"], abs=1e-8)
        counts = {(each["from_id"], each["to_id"]): each["count"] for each in whole["migrations"]}
        for each in window["migrations"]:
            pair = (each["from_id"], each["to_id"])
            assert "other" in pair or counts[pair] >= FEWEST
        sizes = {each["archetype_id"]: each["customers"] for each in whole["archetypes"]}
        for each in window["archetypes"]:
            assert each["archetype_id"] == "other" or sizes[each["archetype_id"]] >= FEWEST
    for name, value in leaves(seen):
        if name in ("count", "customers", "customers_compared", "new_customers"):
            assert value is None


async def test_a_young_shop_is_told_from_when_it_can_be_compared(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await told(empty_shop, DRIFT, 404)
    await put(database, store_id, a_shop(40))
    problem = await told(empty_shop, DRIFT, 404)
    assert "app segment" in problem["detail"]
    await segmented(database, store_id, as_of=at("2024-03-05"), **OPTIONS)
    latest = await rescore(database, store_id, now=NOW, as_of=at("2024-03-13"))
    # What is served may be of a day before it; the answer is of one run all the same.
    await segmented(database, store_id, as_of=at("2024-03-05"), **OPTIONS)
    drift = await told(empty_shop, DRIFT)
    assert (drift["day"], drift["run_id"], drift["as_of"]) == (
        "2024-03-12",
        latest.run_id,
        "2024-03-13T00:00:00+00:00",
    )
    assert [each["days"] for each in drift["windows"]] == [7]
    begins = date.fromisoformat("2024-03-04")
    assert (begins + timedelta(days=14)).isoformat() == "2024-03-18"
    assert drift["message"] == (
        "The history begins on 4 March 2024. It can be compared over 14 days from 18 March 2024, over 28 days from "
        "1 April 2024 on."
    )
    assert drift["velocity_chart"] is None and len(drift["velocities"]) == 1
