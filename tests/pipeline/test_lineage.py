"""From run to run of a store: ids and names stay, where groups come from is kept, and drift tells who moved or what."""

from collections import Counter
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.pipeline.ingest import ingest
from app.pipeline.lineage import kind_changes
from app.pipeline.run import RunResult
from app.pipeline.sample import SampleShop
from app.segmentation.identity import EarlierKind
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from tests.fakes import SECRET, execute, rows, segmented, value

MOMENT = datetime(2025, 3, 1, tzinfo=ZoneInfo("America/Chicago"))
AXES = ("purchase_frequency", "purchase_value", "customer_maturity")
LINEAGES = ("segment_lineage", "archetype_lineage")


async def open_shop(database: Database, store_id: str, *, customers: int = 200) -> None:
    source = SampleShop(customers=customers)
    await ingest(database, source, store_id=store_id, timezone="UTC", currency="USD", pseudonym_secret=SECRET)


async def lineage(database: Database, store_id: str, table: str, run_id: int | None = None) -> list[dict[str, Any]]:
    columns = (
        *("run_id", "previous_run_id", "fate", "previous_id", "current_id", "previous_name", "current_name"),
        *("share_of_previous", "share_of_current", "previous_customers", "current_customers", "renamed", "changes"),
        "says",
    )
    found = await rows(
        database,
        f"SELECT {', '.join(columns)} FROM {table} WHERE store_id = :s ORDER BY run_id, step",  # noqa: S608
        s=store_id,
    )
    told = [dict(zip(columns, row, strict=True)) for row in found]
    return [row for row in told if run_id in (None, row["run_id"])]


OF_SERVED = "store_id = :s AND run_id = (SELECT served_run_id FROM stores WHERE store_id = :s)"


async def groups(database: Database, store_id: str) -> dict[str, dict[str, str]]:
    """Of what is served: {id: name} of segments and of archetypes, by the lineage they are in."""
    segments = f"SELECT segment_id, segment_name FROM dim_segment_master WHERE {OF_SERVED}"  # noqa: S608
    kinds = f"SELECT archetype_id, name FROM dim_archetype_l1 WHERE {OF_SERVED}"  # noqa: S608
    return {
        "segment_lineage": dict(await rows(database, segments, s=store_id)),
        "archetype_lineage": dict(await rows(database, kinds, s=store_id)),
    }


def drift_of(result: RunResult) -> dict[str, dict[str, Any] | None]:
    return {axis["axis"]: axis["drift"] for axis in result.report["axes"]}


async def test_a_second_run_of_the_same_records_changes_no_id_and_no_name(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    one = await segmented(database, store_id)
    before = await groups(database, store_id)
    assert one.report["previous_run_id"] is None and set(drift_of(one).values()) == {None}
    assert [await lineage(database, store_id, table) for table in LINEAGES] == [[], []]

    two = await segmented(database, store_id)
    assert await groups(database, store_id) == before
    assert two.report["previous_run_id"] == one.run_id
    for table in LINEAGES:
        told = await lineage(database, store_id, table)
        assert {row["current_id"]: row["current_name"] for row in told} == before[table]
        assert len(told) == len(before[table])
        for row in told:
            assert (row["run_id"], row["previous_run_id"], row["fate"]) == (two.run_id, one.run_id, "continued")
            assert (row["previous_id"], row["previous_name"]) == (row["current_id"], row["current_name"])
            assert row["share_of_previous"] == row["share_of_current"] == 1
            assert row["previous_customers"] == row["current_customers"] > 0
            assert (row["renamed"], row["changes"]) == (False, [])
            assert row["says"] == f"{row['current_name']} goes on: 100 % of its customers are in it still."
    for drift in drift_of(two).values():
        assert drift is not None and drift["common"] == 200
        assert drift["changed"] == drift["moved"] == drift["refitted"] == 0
        assert drift["rand_changed"] == drift["rand_moved"] == drift["rand_refitted"] == 1


async def test_where_groups_come_from_is_kept_run_after_run(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    runs = [(await segmented(database, store_id, axes=AXES)).run_id for _ in range(3)]
    for table in LINEAGES:
        steps = Counter((row["previous_run_id"], row["run_id"]) for row in await lineage(database, store_id, table))
        assert set(steps) == {(runs[0], runs[1]), (runs[1], runs[2])}
        assert len(set(steps.values())) == 1


@pytest.fixture(scope="module")
async def later(database: Database) -> tuple[str, RunResult, RunResult, dict[str, dict[str, str]]]:
    """A store as of a day, and then with all the orders since; and what was served as of the first."""
    store_id = "lineage-later"
    await open_shop(database, store_id, customers=400)
    one = await segmented(database, store_id, as_of=MOMENT)
    before = await groups(database, store_id)
    return store_id, one, await segmented(database, store_id), before


Later = tuple[str, RunResult, RunResult, dict[str, dict[str, str]]]


async def test_every_group_of_either_run_is_in_the_lineage_and_who_goes_on_keeps_the_id(
    database: Database, later: Later
) -> None:
    store_id, _, two, before = later
    now = await groups(database, store_id)
    for table in LINEAGES:
        told = await lineage(database, store_id, table, two.run_id)
        assert {row["previous_id"]: row["previous_name"] for row in told if row["previous_id"]} == before[table]
        assert {row["current_id"]: row["current_name"] for row in told if row["current_id"]} == now[table]
        for row in told:
            if row["fate"] == "continued":
                assert row["previous_id"] == row["current_id"]
            same = row["previous_id"] == row["current_id"]
            assert row["renamed"] == (same and row["previous_name"] != row["current_name"])
            assert same or row["changes"] == []
            assert all(change["says"] in row["says"] for change in row["changes"])
        inherited = {row["current_id"] for row in told if row["previous_id"] == row["current_id"]}
        assert inherited == set(before[table]) & set(now[table])
        assert inherited, "a shop half a year later that has nothing in common with itself compares nothing"


async def test_names_and_ids_are_nobody_elses_after_a_run_that_goes_on(database: Database, later: Later) -> None:
    store_id, *_ = later
    async with database.snapshot() as connection:
        assert [check for check in await check_star(connection, store_id) if not check.holds] == []
    for table, columns in (
        ("dim_segment_master", "axis_name, segment_name"),
        ("dim_archetype_l1", "name"),
        ("dim_archetype_l1", "slug"),
        ("dim_archetype_l2", "name"),
        ("dim_archetype_l3", "name"),
    ):
        twice = f"SELECT {columns} FROM {table} WHERE {OF_SERVED} GROUP BY {columns} HAVING count(*) > 1"  # noqa: S608
        assert await rows(database, twice, s=store_id) == [], (table, columns)


async def test_a_segments_name_changes_only_with_what_is_typical_of_it(database: Database, later: Later) -> None:
    store_id, _, two, _ = later
    told = await lineage(database, store_id, "segment_lineage", two.run_id)
    assert all(row["changes"] for row in told if row["renamed"])


async def test_drift_counts_those_whose_segment_is_another(database: Database, later: Later) -> None:
    """Told again from the history: the ids that each customer had in the one run and in the other."""
    store_id, one, two, _ = later
    stood = {}
    for run in (one, two):
        found = await rows(
            database,
            "SELECT customer_id, segment_ids FROM fact_customer_history WHERE store_id = :s AND run_id = :run",
            s=store_id,
            run=run.run_id,
        )
        stood[run.run_id] = dict(found)
    common = stood[one.run_id].keys() & stood[two.run_id].keys()
    assert len(common) == len(stood[one.run_id]) < len(stood[two.run_id])
    moved = 0.0
    for number, (axis, drift) in enumerate(drift_of(two).items()):
        assert drift is not None, axis
        others = [each for each in common if stood[one.run_id][each][number] != stood[two.run_id][each][number]]
        assert drift["common"] == len(common)
        assert drift["changed"] == pytest.approx(len(others) / len(common))
        assert drift["changed"] <= drift["moved"] + drift["refitted"] + 1e-12
        moved += drift["moved"]
    assert moved > 0, "half a year of orders moves somebody"


async def test_a_dry_run_tells_of_drift_and_keeps_nothing(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    served = await segmented(database, store_id, axes=AXES)
    rehearsed = await segmented(database, store_id, axes=AXES, dry_run=True)
    assert rehearsed.report["previous_run_id"] == served.run_id
    assert all(drift is not None for drift in drift_of(rehearsed).values())
    assert [await lineage(database, store_id, table) for table in LINEAGES] == [[], []]


async def test_after_a_run_of_an_older_version_a_store_starts_afresh(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    old = await segmented(database, store_id, axes=AXES)
    await execute(database, "UPDATE segmentation_runs SET yardstick = NULL WHERE run_id = :run", run=old.run_id)
    new = await segmented(database, store_id, axes=AXES)
    assert new.report["previous_run_id"] is None and set(drift_of(new).values()) == {None}
    assert [await lineage(database, store_id, table) for table in LINEAGES] == [[], []]
    assert await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id) == new.run_id

    # And goes on from there.
    next_one = await segmented(database, store_id, axes=AXES)
    assert next_one.report["previous_run_id"] == new.run_id
    assert {row["fate"] for row in await lineage(database, store_id, "segment_lineage")} == {"continued"}


async def test_an_axis_that_was_left_out_of_a_run_begins_afresh_in_the_next(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    await segmented(database, store_id, axes=AXES[:1])
    two = await segmented(database, store_id, axes=AXES[:2])
    drift = drift_of(two)
    assert drift[AXES[0]] is not None and drift[AXES[1]] is None
    query = "SELECT DISTINCT axis_name FROM segment_lineage WHERE store_id = :s"
    assert await rows(database, query, s=store_id) == [(AXES[0],)]


def test_an_axis_that_says_no_more_has_changed_an_archetype() -> None:
    before = EarlierKind("arch_1", "High Value, Deal Hunter", {}, {"value": "high_value", "sensitivity": "deal_hunter"})
    (change,) = kind_changes(before, {"sensitivity": "deal_hunter", "cadence": "weekend_buyer"})
    assert change == {"axis": "value", "before": "high_value", "now": None, "says": "value: high_value → any"}


async def test_archetypes_of_other_axes_are_other_archetypes(database: Database, store_id: str) -> None:
    """Also where they hold the same customers: a name about an axis they are no longer of would be false."""
    await open_shop(database, store_id)
    names = []
    for axes in (("cadence",), ("value", "frequency")):
        await segmented(database, store_id, as_of=MOMENT, axes=axes)
        names.append(set((await groups(database, store_id))["archetype_lineage"].items()))
    assert len(names[1]) > 1 and not names[0] & names[1]
