"""Archetypes and segments over HTTP: ranked, by id on every level, with their members, and the axes they stand on."""

import json
from typing import Any

import pytest

from app.api.archetypes.schemas import ArchetypeDetail, Axes, Kinds, Members, OneAxis, RfmGroups, TopArchetypes
from app.domain.rfm import CELLS, GROUPS
from app.segmentation.axes import AXES
from app.warehouse.engine import Database
from tests.api.conftest import STORE, Ask, Clients
from tests.api.test_customers import told
from tests.fakes import a_shop, execute, foretell, foretold, put, rows, segmented

TOP = "/api/mcp/archetypes/top"


async def first(asking: Ask) -> Any:
    return (await told(asking, TOP))["archetypes"][0]


@pytest.mark.parametrize("metric", ["total_ltv", "avg_ltv", "member_count"])
async def test_archetypes_are_ranked_by_what_is_asked_for(ask: Clients, metric: str) -> None:
    top = await told(ask.support, TOP, metric=metric, limit=100)
    TopArchetypes.model_validate(top)
    figures = [each[metric] for each in top["archetypes"]]
    assert figures == sorted(figures, reverse=True)
    assert top["metric"] == metric
    assert len(figures) == top["total_archetypes"] > 1
    assert sum(each["member_count"] for each in top["archetypes"]) == 400
    assert sum(each["population_percentage"] for each in top["archetypes"]) == pytest.approx(100)


async def test_an_archetype_says_its_figures_under_both_names(ask: Clients) -> None:
    each = await first(ask.support)
    assert (each["avg_lifetime_value"], each["total_revenue"]) == (each["avg_ltv"], each["total_ltv"])
    assert 0 < each["churn_rate"] < 1
    assert (await told(ask.support, TOP, limit=1))["archetypes"] == [each]


async def test_an_archetype_leads_to_those_under_it(ask: Clients) -> None:
    top = await first(ask.support)
    one = await told(ask.support, f"/api/mcp/archetypes/{top['archetype_id']}")
    ArchetypeDetail.model_validate(one)
    assert (one["level"], one["parent_id"], one["member_count"]) == (1, None, top["member_count"])
    assert one["dominant_segments"] == top["dominant_segments"]
    for level, key in ((2, "level2"), (3, "level3")):
        subs = one["sub_archetypes"][key]
        assert sum(sub["member_count"] for sub in subs) == one["member_count"]
        under = await told(ask.support, f"/api/mcp/archetypes/{subs[0]['archetype_id']}")
        ArchetypeDetail.model_validate(under)
        assert (under["level"], under["parent_id"]) == (level, one["archetype_id"])
        assert (under["strength_band"], under["second_segments"]) == (
            subs[0]["strength_band"],
            subs[0]["second_segments"],
        )
        assert under["sub_archetypes"] is None
        members = await told(ask.support, f"/api/mcp/archetypes/{subs[0]['archetype_id']}/members", limit=100)
        assert len(members["members"]) == min(subs[0]["member_count"], 100)


async def test_an_archetype_says_what_is_predicted_of_its_customers(ask: Clients, database: Database) -> None:
    """Under the same names on every level and in every shape."""
    query = """
        SELECT avg(told.churn_risk_score), avg(told.predicted_ltv_12m)::float8, sum(told.predicted_ltv_12m)::float8,
            avg(told.expected_spend_90d)::float8
        FROM fact_customer_current AS standing JOIN fact_customer_prediction AS told USING (store_id, customer_id)
        WHERE standing.store_id = :store AND :kind IN (archetype_id, archetype_level2_id, archetype_level3_id)
    """
    values = ("avg_predicted_ltv_12m", "total_predicted_ltv_12m", "expected_spend_90d")
    top = await first(ask.support)
    one = await told(ask.support, f"/api/mcp/archetypes/{top['archetype_id']}")
    below = one["sub_archetypes"]["level2"][0]["archetype_id"], one["sub_archetypes"]["level3"][0]["archetype_id"]
    under = [await told(ask.support, f"/api/mcp/archetypes/{each}") for each in below]
    (kind,) = [
        each for each in (await told(ask.support, "/api/mcp/segments"))["segments"] if each["id"] == top["archetype_id"]
    ]
    told_of = [
        (top["archetype_id"], [top["churn_rate"], *(top[name] for name in values)]),
        (kind["id"], [kind["churn_risk_avg"], *(kind[name] for name in values)]),
        *(
            (each["archetype_id"], [each["metrics"]["churn_rate"], *(each["metrics"][name] for name in values)])
            for each in (one, *under)
        ),
    ]
    for kind_id, figures in told_of:
        (row,) = await rows(database, query, store=STORE, kind=kind_id)
        assert figures == pytest.approx(list(row), abs=0.006)
    assert one["prediction_id"] == (await told(ask.support, TOP))["prediction_id"] is not None


async def test_what_is_predicted_of_a_kind_is_rounded_for_who_may_not_count(ask: Clients) -> None:
    shown = (await told(ask.analytics, TOP, limit=100))["archetypes"]
    for each in shown:
        for name in ("churn_rate", "avg_predicted_ltv_12m", "expected_spend_90d"):
            assert each[name] == float(f"{each[name]:.1e}")
        assert each["total_predicted_ltv_12m"] == float(f"{each['total_predicted_ltv_12m']:.0e}")
    kind = next(each for each in shown if each["archetype_id"] != "other")
    metrics = (await told(ask.analytics, f"/api/mcp/archetypes/{kind['archetype_id']}"))["metrics"]
    assert {name: metrics[name] for name in metrics if "predicted" in name or name == "churn_rate"} == {
        name: kind[name] for name in ("churn_rate", "avg_predicted_ltv_12m", "total_predicted_ltv_12m")
    }


async def test_before_anything_is_predicted_an_archetype_says_nothing_of_what_comes(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    """And it does as soon as something is: what is remembered is of the training."""
    await put(database, store_id, a_shop(60))
    await segmented(database, store_id, min_population=1)
    each = await first(empty_shop)
    assert each["churn_rate"] is each["total_predicted_ltv_12m"] is each["expected_spend_90d"] is None
    assert (await told(empty_shop, TOP))["prediction_id"] is None
    prediction_id = await foretell(database, store_id, [foretold(f"c{n:03}", 0.25) for n in range(60)])
    each = await first(empty_shop)
    assert (each["churn_rate"], each["avg_predicted_ltv_12m"]) == (0.25, 40)
    assert (await told(empty_shop, TOP))["prediction_id"] == prediction_id


async def test_members_come_page_by_page_worth_most_first(ask: Clients, database: Database) -> None:
    top = await first(ask.support)
    path = f"/api/mcp/archetypes/{top['archetype_id']}/members"
    met: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await told(ask.support, path, limit=7, **cursor)
        Members.model_validate(page)
        met += page["members"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    values = [each["lifetime_value"] for each in met]
    assert values == sorted(values, reverse=True)
    assert len({each["customer_id"] for each in met}) == len(met) == top["member_count"]
    assert met[0]["name"]
    stored = await rows(
        database,
        "SELECT customer_id FROM fact_customer_current WHERE store_id = :store AND archetype_id = :kind",
        store=STORE,
        kind=top["archetype_id"],
    )
    assert {each["customer_id"] for each in met} == {customer for (customer,) in stored}


async def test_a_cursor_of_an_earlier_run_is_refused(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(60))
    await segmented(database, store_id, min_population=1)
    path = f"/api/mcp/archetypes/{(await first(empty_shop))['archetype_id']}/members"
    cursor = (await told(empty_shop, path, limit=1))["next_cursor"]
    await segmented(database, store_id, min_population=1)
    problem = await told(empty_shop, path, 422, limit=1, cursor=cursor)
    assert "segmented anew" in problem["detail"]


async def test_segments_are_the_archetypes_in_other_words(ask: Clients) -> None:
    kinds = await told(ask.support, "/api/mcp/segments")
    Kinds.model_validate(kinds)
    top = (await told(ask.support, TOP, limit=100))["archetypes"]
    assert [each["id"] for each in kinds["segments"]] == [each["archetype_id"] for each in top]
    assert [each["customer_count"] for each in kinds["segments"]] == [each["member_count"] for each in top]
    assert [each["characteristics"]["frequency"] for each in kinds["segments"]] == [each["avg_orders"] for each in top]
    assert all(each["characteristics"]["recency_days"] is not None for each in kinds["segments"])


async def test_every_axis_is_told_also_those_without_data(ask: Clients) -> None:
    axes = await told(ask.support, "/api/mcp/segments/axes")
    Axes.model_validate(axes)
    assert {each["axis"] for each in axes["axes"]} == {axis.name for axis in AXES}
    for each in axes["axes"]:
        assert each["note"] or each["status"] != "no_data"
        if each["segments"]:
            assert sum(segment["customer_count"] for segment in each["segments"]) == 400
            assert len(each["segments"]) == each["k"]


@pytest.mark.parametrize("name", ["purchase_value", "value", "Purchase_Value"])
async def test_an_axis_answers_to_its_aliases(ask: Clients, name: str) -> None:
    one = await told(ask.support, f"/api/mcp/segments/axes/{name}")
    OneAxis.model_validate(one)
    assert one["axis"] == "purchase_value"


async def test_an_axis_brings_its_evidence(ask: Clients) -> None:
    axes = (await told(ask.support, "/api/mcp/segments/axes"))["axes"]
    seen = [each for each in axes if each["k"] is not None]
    assert seen
    for each in seen:
        one = await told(ask.support, f"/api/mcp/segments/axes/{each['axis']}")
        assert {name: one[name] for name in each} == each
        assert one["chart"]["description"].endswith(one["says"])
        assert len(one["chart"]["concat"]) == len(one["evidence"]) == len(one["readings"])
        for reading, evidence in zip(one["readings"], one["evidence"], strict=True):
            names = [segment["name"] for segment in one["segments"] if segment["source"] == reading["source"]]
            assert all(list(feature["segments"]) == names for feature in evidence["features"])
            assert (reading["stability"] is None) == (reading["k"] == 1)
            chosen = [split for split in evidence["tried"] if split["k"] == reading["k"]]
            assert reading["k"] == 1 or chosen[0]["silhouette"] == reading["silhouette"]
        overlaps = {other["axis"]: other["nmi"] for other in one["redundancy"]}
        assert list(overlaps.values()) == sorted(overlaps.values(), reverse=True)
        assert each["axis"] not in overlaps


async def test_a_run_of_before_has_no_evidence_and_is_served(ask: Clients, database: Database) -> None:
    ((report,),) = await rows(
        database,
        "SELECT report FROM segmentation_runs JOIN stores ON run_id = served_run_id WHERE stores.store_id = :s",
        s=STORE,
    )
    absent = dict.fromkeys(("chart", "evidence", "stability", "verdict", "says", "redundancy"))
    later = {"stability", "verdict", "says", "redundancy", "tried", "picture"}
    old = json.loads(json.dumps(report))
    for axis in old["axes"]:
        for told_of in (axis, *axis.get("readings", [])):
            for name in later & set(told_of):
                del told_of[name]
    update = (
        "UPDATE segmentation_runs SET report = CAST(:report AS jsonb) "
        "WHERE run_id = (SELECT served_run_id FROM stores WHERE store_id = :s)"
    )
    try:
        await execute(database, update, s=STORE, report=json.dumps(old))
        for asking in (ask.support, ask.analytics):
            one = await told(asking, "/api/mcp/segments/axes/value")
            assert {name: one[name] for name in absent} == absent
            assert one["segments"]
    finally:
        await execute(database, update, s=STORE, report=json.dumps(report))


async def test_an_axis_that_is_none_is_told_which_there_are(ask: Clients) -> None:
    problem = await told(ask.support, "/api/mcp/segments/axes/shoe_size", 404)
    assert "purchase_value" in problem["detail"]


RFM = "/api/mcp/segments/rfm"


async def test_all_ten_rfm_groups_are_told_with_what_they_mean(ask: Clients, database: Database) -> None:
    answer = await told(ask.support, RFM)
    RfmGroups.model_validate(answer)
    assert [each["group"] for each in answer["groups"]] == list(GROUPS)
    assert all(each["meaning"] == CELLS[each["group"]].meaning for each in answer["groups"])
    assert set(answer["scores"]) == {"recency", "frequency", "monetary"}
    stored = await rows(
        database,
        "SELECT rfm_group, count(*), avg(lifetime_value)::float8, avg(days_since_last_purchase)::float8, "
        "avg(total_orders)::float8 FROM fact_customer_current WHERE store_id = :store GROUP BY 1",
        store=STORE,
    )
    means = {group: found for group, *found in stored}
    assert len(means) > 5
    for each in answer["groups"]:
        n, *expected = means.get(each["group"], (0, None, None, None))
        assert each["customer_count"] == n
        assert each["population_percentage"] == pytest.approx(n / 4)
        for name, mean in zip(("avg_ltv", "avg_recency_days", "avg_orders"), expected, strict=True):
            assert each[name] == (None if mean is None else pytest.approx(mean, abs=0.005))


async def test_a_run_of_an_older_version_has_no_rfm_groups(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=1)
    await execute(database, "UPDATE segmentation_runs SET report = report - 'rfm' WHERE store_id = :s", s=store_id)
    problem = await told(empty_shop, RFM, 409)
    assert "app segment" in problem["detail"]


@pytest.mark.parametrize(
    "path", [TOP, "/api/mcp/archetypes/arch_1", "/api/mcp/segments", "/api/mcp/segments/axes", RFM]
)
async def test_before_a_segmentation_it_is_said_how_to_make_one(empty_shop: Ask, path: str) -> None:
    problem = await told(empty_shop, path, 404)
    assert problem["type"] == "/problems/nothing-published"
    assert "app segment" in problem["detail"]
