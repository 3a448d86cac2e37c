"""Where segments and archetypes come from, over HTTP: of one, of all past runs page by page, and in both views."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from app.api import anonymous
from app.api.anonymous import FEWEST
from app.api.archetypes.schemas import ArchetypeDetail, Axes, Lineage, OneAxis
from app.core.config import Settings
from app.main import create_app
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, client, resources_for
from tests.api.test_anonymous import leaves
from tests.api.test_customers import told
from tests.fakes import a_shop, at, execute, put, rows, segmented

STORE = "lineage-shop"
LINEAGE = "/api/mcp/segments/lineage"
AXES = "/api/mcp/segments/axes"
TOP = "/api/mcp/archetypes/top"
OPTIONS = {"max_k": 4, "min_members": 3, "min_population": 10, "axes": ("purchase_value", "purchase_frequency")}


@pytest.fixture(scope="module")
async def runs(database: Database) -> list[int]:
    """Three runs of one shop, which goes on buying between them; ids in order."""
    await put(database, STORE, a_shop(160, orders_each=4))
    days = ("2024-02-10", "2024-03-20", "2024-12-01")
    return [(await segmented(database, STORE, as_of=at(day), **OPTIONS)).run_id or 0 for day in days]


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


async def every_step(asking: Ask, **asked: Any) -> list[Any]:
    return (await told(asking, LINEAGE, limit=100, **asked))["steps"]


async def test_an_axis_tells_where_each_of_its_segments_comes_from(views: tuple[Ask, Ask], runs: list[int]) -> None:
    support, _ = views
    one = await told(support, f"{AXES}/value")
    OneAxis.model_validate(one)
    assert {each["segment_id"] for each in one["segments"]} == {step["id"] for step in one["lineage"]} - {None}
    for step in one["lineage"]:
        assert (step["fate"] == "born") == (step["previous_id"] is None)
        assert (step["fate"] == "retired") == (step["id"] is None)
        assert not step["renamed"] or (step["previous_id"], step["changes"] != []) == (step["id"], True)
        assert (step["name"] or step["previous_name"]) in step["says"]
    past = await every_step(support, axis="value")
    assert [
        {name: each for name, each in step.items() if name not in ("axis", "run_id", "previous_run_id", "as_of")}
        for step in past
        if step["run_id"] == runs[-1]
    ] == one["lineage"]


async def test_an_axis_tells_how_many_changed_their_segment_and_why(
    views: tuple[Ask, Ask], database: Database, runs: list[int]
) -> None:
    support, analytics = views
    axes = await told(support, AXES)
    Axes.model_validate(axes)
    ((report,),) = await rows(database, "SELECT report FROM segmentation_runs WHERE run_id = :run", run=runs[-1])
    assert [each["drift"] for each in axes["axes"]] == [each["drift"] for each in report["axes"]]
    hidden = {each["axis"]: each["drift"] for each in (await told(analytics, AXES))["axes"]}
    for each in axes["axes"]:
        known, shown = each["drift"], hidden[each["axis"]]
        assert known["common"] == 160
        assert shown["common"] is None
        assert {**shown, "common": 160} == {name: round(value, 2) for name, value in known.items()}


async def test_an_archetype_tells_what_defines_it_and_where_it_comes_from(views: tuple[Ask, Ask]) -> None:
    support, _ = views
    top = (await told(support, TOP, limit=100))["archetypes"]
    assert any(each["defined_by"] for each in top)
    steps = await every_step(support, axis="archetypes")
    for each in top:
        one = await told(support, f"/api/mcp/archetypes/{each['archetype_id']}")
        ArchetypeDetail.model_validate(one)
        assert one["defined_by"] == each["defined_by"]
        assert set(one["defined_by"]) <= {"purchase_value", "purchase_frequency"}
        own = [
            step["says"]
            for step in steps
            if step["run_id"] == one["run_id"] and one["archetype_id"] in (step["id"], step["previous_id"])
        ]
        assert [step["says"] for step in one["lineage"]] == own
        assert one["archetype_id"] in {step["id"] for step in one["lineage"]}
        for sub in (*one["sub_archetypes"]["level2"][:1], *one["sub_archetypes"]["level3"][:1]):
            under = await told(support, f"/api/mcp/archetypes/{sub['archetype_id']}")
            assert (under["defined_by"], under["lineage"]) == (one["defined_by"], [])


async def test_past_runs_come_page_by_page_the_latest_first(views: tuple[Ask, Ask], runs: list[int]) -> None:
    support, _ = views
    whole = await told(support, LINEAGE)
    Lineage.model_validate(whole)
    assert whole["next_cursor"] is None
    assert list(dict.fromkeys(step["run_id"] for step in whole["steps"])) == [runs[2], runs[1]]
    assert {(step["run_id"], step["previous_run_id"]) for step in whole["steps"]} == {
        (runs[2], runs[1]),
        (runs[1], runs[0]),
    }
    assert {step["axis"] for step in whole["steps"]} == {"purchase_value", "purchase_frequency", "archetypes"}
    assert {step["as_of"][:10] for step in whole["steps"] if step["run_id"] == runs[1]} == {"2024-03-20"}
    first = await told(support, LINEAGE, limit=1)
    second = await told(support, LINEAGE, limit=1, cursor=first["next_cursor"])
    assert second["next_cursor"] is None
    assert first["steps"] + second["steps"] == whole["steps"]
    for name, full in (("frequency", "purchase_frequency"), ("archetypes", "archetypes")):
        only = await told(support, LINEAGE, axis=name)
        assert only["steps"] == [step for step in whole["steps"] if step["axis"] == full]


async def test_an_axis_that_is_none_and_a_cursor_of_another_list_are_refused(views: tuple[Ask, Ask]) -> None:
    support, _ = views
    problem = await told(support, LINEAGE, 422, axis="shoe_size")
    assert problem["errors"][0]["field"] == "axis"
    cursor = (await told(support, LINEAGE, limit=1))["next_cursor"]
    problem = await told(support, LINEAGE, 422, axis="value", cursor=cursor)
    assert problem["errors"][0]["field"] == "cursor"


async def test_a_first_run_comes_from_nowhere(empty_shop: Ask, database: Database, store_id: str) -> None:
    problem = await told(empty_shop, LINEAGE, 404)
    assert problem["type"] == "/problems/nothing-published"
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=1, axes=("purchase_value",))
    assert (await told(empty_shop, LINEAGE))["steps"] == []
    one = await told(empty_shop, f"{AXES}/value")
    assert (one["lineage"], one["drift"]) == ([], None)
    kind = (await told(empty_shop, TOP))["archetypes"][0]["archetype_id"]
    assert (await told(empty_shop, f"/api/mcp/archetypes/{kind}"))["lineage"] == []


async def test_a_run_of_an_older_version_has_no_drift(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=1, axes=("purchase_value",))
    await execute(
        database,
        "UPDATE segmentation_runs SET report = jsonb_set(report, '{axes}', "
        "(SELECT jsonb_agg(axis - 'drift') FROM jsonb_array_elements(report -> 'axes') AS axis)) WHERE store_id = :s",
        s=store_id,
    )
    await execute(database, "UPDATE dim_archetype_l1 SET defined_by = NULL WHERE store_id = :s", s=store_id)
    assert [each["drift"] for each in (await told(empty_shop, AXES))["axes"]] == [None]
    assert {each["defined_by"] is None for each in (await told(empty_shop, TOP))["archetypes"]} == {True}


# Without identities

SEGMENT_STEP = """
    INSERT INTO segment_lineage (store_id, run_id, axis_name, step, previous_run_id, fate, previous_name, current_name,
        share_of_previous, share_of_current, previous_customers, current_customers, renamed, changes, says)
    VALUES (:store, :run, 'purchase_value', :step, 1, :fate, :before, :now, .123456, .654321, :n_before, :n_now, true,
        '[{"feature": "visits", "before": 1.234567, "now": -9.87654, "says": "1 → 10 visits"}]', :says)
"""
ARCHETYPE_STEP = """
    INSERT INTO archetype_lineage (store_id, run_id, step, previous_run_id, fate, previous_id, current_id,
        previous_customers, current_customers, renamed, changes, says)
    VALUES (:store, :run, :step, 1, 'continued', 'kind', 'kind', 50, 60, true, CAST(:changes AS jsonb), :says)
"""
SEGMENTS = [
    ("continued", "large_a", "large_b", FEWEST, FEWEST),
    ("split", "large_c", "tiny_d", 300, FEWEST - 1),
    ("merged", "tiny_e", "large_b", FEWEST - 1, 300),
    ("born", None, "tiny_f", None, 1),
    ("retired", "tiny_g", None, FEWEST - 1, None),
    ("born", None, "large_h", None, FEWEST),
]
ARCHETYPES = [("large_a", "large_b"), ("tiny_g", "large_b"), ("unheard", None)]


@pytest.fixture
async def planted(database: Database, runs: list[int]) -> AsyncIterator[int]:
    """A run of made-up steps, between groups of a size that their names tell."""
    async with database.transaction() as connection:
        new_run = "INSERT INTO segmentation_runs (store_id, status, parameters, as_of) VALUES "
        inserted = await connection.execute(
            text(new_run + "(:store, 'published', '{}', '2024-12-02') RETURNING run_id"), {"store": STORE}
        )
        run = int(inserted.scalar_one())
        for number, (fate, before, now, n_before, n_now) in enumerate(SEGMENTS):
            said = {"fate": fate, "before": before, "now": now, "n_before": n_before, "n_now": n_now}
            step = {"store": STORE, "run": run, "step": number, "says": f"{before} to {now}", **said}
            await connection.execute(text(SEGMENT_STEP), step)
        for number, (before, now) in enumerate(ARCHETYPES):
            change = {"axis": "purchase_value", "before": before, "now": now, "says": f"value: {before} → {now}"}
            step = {"store": STORE, "run": run, "step": number, "says": f"It goes on. {change['says']}"}
            await connection.execute(text(ARCHETYPE_STEP), {**step, "changes": json.dumps([change])})
    yield run
    await execute(database, "DELETE FROM segmentation_runs WHERE run_id = :run", run=run)


async def test_no_step_names_a_group_that_few_are_or_were_in(views: tuple[Ask, Ask], planted: int) -> None:
    support, analytics = views
    known, shown = [
        [step for step in await every_step(asking, axis="value") if step["run_id"] == planted]
        for asking in (support, analytics)
    ]
    assert len(known) == 6
    assert [(step["previous_name"], step["name"]) for step in shown] == [("large_a", "large_b"), (None, "large_h")]
    assert "tiny" not in json.dumps(shown)
    assert (shown[0]["share_of_previous"], shown[0]["share_of_current"]) == (0.12, 0.65)
    (change,) = shown[0]["changes"]
    assert (change["before"], change["now"], change["says"]) == (1.2, -9.9, "1 → 10 visits")
    assert shown[0]["says"] == "large_a to large_b"


async def test_what_defines_an_archetype_is_named_only_where_many_are_in_it(
    views: tuple[Ask, Ask], planted: int
) -> None:
    _, analytics = views
    shown = [step for step in await every_step(analytics, axis="archetypes") if step["run_id"] == planted]
    told_of = [(step["changes"][0]["before"], step["changes"][0]["now"]) for step in shown]
    assert told_of == [("large_a", "large_b"), ("other", "large_b"), ("other", None)]
    assert [step["says"] is None for step in shown] == [False, True, True]
    assert shown[1]["changes"][0]["says"] == "purchase_value: other → large_b"
    assert shown[2]["changes"][0]["says"] == "purchase_value: other → any"
    assert not {"tiny_g", "unheard"} & {value for _, value in leaves(shown)}


async def test_lineage_holds_no_count_and_no_more_than_a_tenth_of_a_percent(views: tuple[Ask, Ask]) -> None:
    support, analytics = views
    kinds = (await told(analytics, TOP, limit=100))["archetypes"]
    kind = next(each["archetype_id"] for each in kinds if each["archetype_id"] != anonymous.OTHER_ID)
    known = await every_step(support)
    for place in (LINEAGE, f"{AXES}/value", f"{AXES}/frequency", f"/api/mcp/archetypes/{kind}"):
        answer = await told(analytics, place)
        steps = answer["steps"] if place == LINEAGE else answer["lineage"]
        assert steps
        assert len(steps) <= len(known)
        for name, value in leaves(steps):
            assert not name.endswith("customers")
            assert not name.startswith("share_of") or value is None or value == round(value, 2)
