"""Everyone placed again by the rules there are: customers move, segments do not, and it is published as one."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InvalidInput, NothingPublished, RunInProgress, StoreNotFound
from app.domain.records import Customer, Record, Ticket
from app.pipeline import rescore as rescoring
from app.pipeline.ingest import ingest
from app.pipeline.rescore import rescore, score_changed
from app.pipeline.run import RunResult
from app.pipeline.sample import SampleShop
from app.pipeline.score import score_customer, score_then
from app.pipeline.thinning import thin
from app.warehouse import publish, runs
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from tests.fakes import (
    NOW,
    SECRET,
    STAR,
    a_shop,
    assert_alike,
    assert_same_star,
    at,
    bought,
    execute,
    gave_back,
    put,
    rows,
    segmented,
    value,
)

#: Enough where it is the placing that matters, and quicker than all fourteen.
FEW_AXES = ("purchase_value", "purchase_frequency", "category_exploration")
TWO_AXES = ("purchase_value", "purchase_frequency")
FACTS = STAR[4:]
#: Later than anything the corner shop did.
LATE = at("2024-08-01")


async def star(database: Database, store_id: str, tables: Sequence[str] = STAR) -> dict[str, list[str]]:
    """Every row of the served run, but for the run's number and when it was written."""
    query = """
        SELECT (to_jsonb(t) - '{{run_id,updated_at}}'::text[])::text FROM {table} AS t
        WHERE store_id = :s AND run_id = (SELECT served_run_id FROM stores WHERE store_id = :s)
    """
    return {
        table: sorted(row for (row,) in await rows(database, query.format(table=table), s=store_id)) for table in tables
    }


async def named(database: Database, store_id: str) -> dict[str, str]:
    """The names of all segments and archetypes of the served run, by id."""
    query = """
        SELECT segment_id, segment_name FROM dim_segment_master WHERE store_id = :s AND run_id = {served}
        UNION ALL SELECT archetype_id, name FROM dim_archetype_l1 WHERE store_id = :s AND run_id = {served}
        UNION ALL SELECT archetype_id, name FROM dim_archetype_l2 WHERE store_id = :s AND run_id = {served}
        UNION ALL SELECT archetype_id, name FROM dim_archetype_l3 WHERE store_id = :s AND run_id = {served}
    """
    served = "(SELECT served_run_id FROM stores WHERE store_id = :s)"
    return dict(await rows(database, query.format(served=served), s=store_id))


async def counted(database: Database, store_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """How many customers each segment and archetype says it has, and how many facts say so."""
    of_run = "WHERE store_id = :s AND run_id = (SELECT served_run_id FROM stores WHERE store_id = :s)"
    told = await rows(
        database,
        f"SELECT axis_name || ' ' || segment_name, customer_count FROM dim_segment_master {of_run} "  # noqa: S608
        f"UNION ALL SELECT '1 ' || archetype_id, member_count FROM dim_archetype_l1 {of_run} "
        f"UNION ALL SELECT '2 ' || archetype_id, member_count FROM dim_archetype_l2 {of_run} "
        f"UNION ALL SELECT '3 ' || archetype_id, member_count FROM dim_archetype_l3 {of_run}",
        s=store_id,
    )
    there: Counter[str] = Counter({group: 0 for group, _ in told})
    facts = await rows(
        database,
        "SELECT dominant_segments, archetype_id, archetype_level2_id, archetype_level3_id "  # noqa: S608
        f"FROM fact_customer_current {of_run}",
        s=store_id,
    )
    for dominant, *levels in facts:
        there.update(f"{axis} {name}" for axis, name in dominant.items())
        there.update(f"{number} {archetype}" for number, archetype in enumerate(levels, start=1))
    return dict(told), dict(there)


async def assert_whole(database: Database, store_id: str) -> None:
    """What is served keeps every promise, and its groups count the customers who are in them."""
    async with database.snapshot() as connection:
        broken = [f"{each.promise}: {each.found}" for each in await check_star(connection, store_id) if not each.holds]
    assert broken == []
    told, there = await counted(database, store_id)
    assert told == there


async def noted(database: Database, store_id: str) -> set[str]:
    """Who is to be scored in the run that is served."""
    query = """
        SELECT customer_id FROM customers_changed JOIN stores USING (store_id)
        WHERE store_id = :s AND (scored_run_id IS NULL OR scored_run_id IS DISTINCT FROM served_run_id)
    """
    found = await rows(database, query, s=store_id)
    return {customer for (customer,) in found}


async def served(database: Database, store_id: str) -> int | None:
    found: int | None = await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id)
    return found


async def run_rows(database: Database, store_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT kind, status, failure FROM segmentation_runs WHERE store_id = :s ORDER BY run_id"
    return await rows(database, query, s=store_id)


async def open_shop(database: Database, store_id: str, *, as_of: datetime | None = None) -> RunResult:
    await put(database, store_id, a_shop(60))
    return await segmented(database, store_id, axes=FEW_AXES, as_of=as_of, min_population=30, max_k=4, min_members=2)


def plain(report: Any) -> Any:
    """As it is stored."""
    return json.loads(json.dumps(report))


# Nothing has happened


async def test_right_after_a_discovery_nothing_changes_but_the_number_of_the_run(
    database: Database, store_id: str
) -> None:
    source = SampleShop(customers=120)
    await ingest(database, source, store_id=store_id, timezone="UTC", currency="USD", pseudonym_secret=SECRET)
    found = await segmented(database, store_id, min_members=3)
    before = await star(database, store_id)
    again = await rescore(database, store_id, now=NOW)

    assert_same_star(await star(database, store_id), before)
    assert all(before.values())
    assert again.run_id == await served(database, store_id) != found.run_id
    assert again.report["rules_run_id"] == found.run_id
    assert set(again.report["drift"].values()) == {0.0}
    assert set(again.report["drift"]) == {axis["axis"] for axis in found.report["axes"] if "segments" in axis}
    same = {name: told for name, told in again.report.items() if name not in ("drift", "rules_run_id")}
    assert_alike(plain(same), plain(found.report))
    assert [row[:2] for row in await run_rows(database, store_id)] == [
        ("discovery", "published"),
        ("rescoring", "published"),
    ]
    await assert_whole(database, store_id)


async def test_a_rescoring_is_stored_as_it_is_returned(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    heard: list[str] = []
    result = await rescore(database, store_id, now=NOW, progress=lambda step, _done: heard.append(step))
    async with database.snapshot() as connection:
        run = await runs.served_run(connection, store_id)
    assert (run.run_id, run.report) == (result.run_id, plain(result.report))
    assert run.as_of.isoformat() == result.report["as_of"]
    assert heard == ["reading", "scoring", "publishing"]


# What moves, and what stays


def two_kinds() -> list[Record]:
    """Twenty who came once for little, and thirty who come every month for much."""
    records: list[Record] = []
    for i in range(20):
        records += bought(f"small{i:02}", f"s{i}", f"2024-03-{1 + i % 28:02}", ("tea", "1", f"{5 + i % 3}"))
    for i in range(30):
        records += monthly(f"big{i:02}", i)
    return records


def monthly(customer: str, i: int) -> list[Record]:
    return [
        record
        for month in range(1, 7)
        for record in bought(
            customer, f"{customer}-{month}", f"2024-{month:02}-{1 + i % 28:02}", ("sofa", "1", f"{300 + 7 * (i % 5)}")
        )
    ]


AS_OF = at("2024-07-01")


@dataclass(frozen=True)
class Day:
    """What was served at one point of the story."""

    result: RunResult
    named: dict[str, str]
    counts: dict[str, int]
    kinds: dict[str, str]
    said: dict[str, str]
    level1: dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
async def story(database: Database) -> list[Day]:
    """A discovery; all who came for little come for much; some come for little again; a discovery; a rescoring."""
    store_id = "rescored-story"
    days = []

    async def live(run: RunResult) -> None:
        await assert_whole(database, store_id)
        served = "store_id = :s AND run_id = (SELECT served_run_id FROM stores WHERE store_id = :s)"
        kinds = f"SELECT customer_id, archetype_id FROM fact_customer_current WHERE {served}"  # noqa: S608
        said = f"SELECT segment_id, interpretation FROM dim_segment_master WHERE {served}"  # noqa: S608
        level1 = f"SELECT archetype_id, member_count, description FROM dim_archetype_l1 WHERE {served}"  # noqa: S608
        days.append(
            Day(
                result=run,
                named=await named(database, store_id),
                counts=(await counted(database, store_id))[0],
                kinds=dict(await rows(database, kinds, s=store_id)),
                said=dict(await rows(database, said, s=store_id)),
                level1={each: (n, says) for each, n, says in await rows(database, level1, s=store_id)},
            )
        )

    await put(database, store_id, two_kinds())
    options: dict[str, Any] = {"axes": TWO_AXES, "as_of": AS_OF, "min_population": 30}
    await live(await segmented(database, store_id, **options))
    await put(database, store_id, [record for i in range(20) for record in monthly(f"small{i:02}", i)])
    await live(await rescore(database, store_id, now=NOW, as_of=AS_OF))
    new = [bought(f"new{i:02}", f"n{i}", f"2024-03-{1 + i:02}", ("tea", "1", f"{5 + i % 3}")) for i in range(12)]
    await put(database, store_id, [record for each in new for record in each])
    await live(await rescore(database, store_id, now=NOW, as_of=AS_OF))
    await live(await segmented(database, store_id, **options))
    await live(await rescore(database, store_id, now=NOW, as_of=AS_OF))
    return days


def test_customers_move_between_the_segments_there_are_and_no_segment_does(story: list[Day]) -> None:
    discovered, moved, returned, *_ = story
    assert discovered.named == moved.named == returned.named
    assert len({discovered.kinds[f"small{i:02}"] for i in range(20)} & set(discovered.kinds.values())) == 1
    assert discovered.kinds["small00"] != discovered.kinds["big00"]
    assert {moved.kinds[f"small{i:02}"] for i in range(20)} == {discovered.kinds["big00"]}
    assert {moved.kinds[f"big{i:02}"] for i in range(30)} == {discovered.kinds["big00"]}


def test_a_kind_that_nobody_is_of_stays_and_can_be_moved_into_again(story: list[Day]) -> None:
    discovered, moved, returned, *_ = story
    small = discovered.kinds["small00"]
    assert discovered.level1[small][0] == 20
    assert moved.level1[small] == (0, "Nobody is of this kind now.")
    assert {n for group, n in moved.counts.items() if group[2:].startswith(small)} == {0}
    assert returned.level1[small][0] == 12
    assert {returned.kinds[f"new{i:02}"] for i in range(12)} == {small}


def test_a_segment_that_nobody_is_in_says_so_and_what_those_were_like_who_were(story: list[Day]) -> None:
    discovered, moved, *_ = story
    told = {each["segment_id"]: each for axis in moved.result.report["axes"] for each in axis.get("segments", [])}
    empty = [segment for segment, each in told.items() if each["count"] == 0]
    assert empty
    for segment in empty:
        (share, *what), (before, *what_it_was) = (day.said[segment].split(" ") for day in (moved, discovered))
        assert (share, what) == ("0.0", what_it_was) and float(before) > 0
        assert (told[segment]["share"], told[segment]["interpretation"]) == (0, moved.said[segment])
    assert any(moved.said[segment] != discovered.said[segment] for segment in set(told) - set(empty))


def shares(day: Day) -> dict[str, dict[str, float]]:
    axes = day.result.report["axes"]
    return {axis["axis"]: {each["segment_id"]: each["share"] for each in axis["segments"]} for axis in axes}


def test_drift_is_the_stability_index_of_the_shares_since_the_discovery(story: list[Day]) -> None:
    """Written out here, shares of nothing counting as one in ten thousand."""
    discovered, moved, returned, _, after = story
    for day in (moved, returned):
        drift = day.result.report["drift"]
        for axis, then in shares(discovered).items():
            now = shares(day)[axis]
            pairs = [(max(now[each], 1e-4), max(then[each], 1e-4)) for each in then]
            assert drift[axis] == pytest.approx(sum((p - q) * math.log(p / q) for p, q in pairs))
    assert moved.result.report["drift"]["purchase_value"] > 1
    assert 0 < returned.result.report["drift"]["purchase_value"] < 1
    assert set(after.result.report["drift"].values()) == {0.0}


def test_rules_are_those_of_the_discovery_however_many_rescorings_follow(story: list[Day]) -> None:
    discovered, moved, returned, found_anew, after = story
    for day in (moved, returned):
        assert day.result.report["rules_run_id"] == discovered.result.run_id
    assert "rules_run_id" not in found_anew.result.report
    assert after.result.report["rules_run_id"] == found_anew.result.run_id


def test_a_discovery_goes_on_from_the_rescorings_before_it(story: list[Day]) -> None:
    discovered, _, returned, found_anew, after = story
    assert found_anew.result.report["previous_run_id"] == returned.result.run_id
    kept = {group for group in discovered.named if not group.startswith("arch")}
    assert kept <= set(found_anew.named)
    for unmoved in ("big", "new"):
        went_on = {(returned.kinds[each], kind) for each, kind in found_anew.kinds.items() if each.startswith(unmoved)}
        assert [before == now for before, now in went_on] == [True]
    assert (after.named, after.kinds) == (found_anew.named, found_anew.kinds)


async def test_who_is_scored_alone_stands_where_the_rescoring_placed_them(database: Database, store_id: str) -> None:
    await open_shop(database, store_id, as_of=at("2024-03-01"))
    await rescore(database, store_id, now=NOW, as_of=at("2024-04-15"))
    placed = await rows(
        database,
        "SELECT customer_id, archetype_id, segment_memberships, interpretation FROM customer_profiles "
        "WHERE store_id = :s ORDER BY customer_id",
        s=store_id,
    )
    for customer, archetype, memberships, interpretation in placed[::3]:
        alone = await score_customer(database, store_id, customer)
        assert (alone.archetype_id, alone.interpretation) == (archetype, interpretation)
        assert_alike(dict(alone.fuzzy_memberships), memberships)


async def test_who_asks_for_help_moves_to_what_is_read_from_tickets(database: Database, store_id: str) -> None:
    """An axis of two readings: each has segments of its own."""
    await put(database, store_id, a_shop(60))
    asked = [Ticket(f"t{i}-{n}", f"c{i:03}", at(f"2024-02-0{n + 1}")) for i in range(12) for n in range(2)]
    await put(database, store_id, asked)
    axes = ("support_history", "purchase_value")
    found = await segmented(database, store_id, axes=axes, as_of=LATE, min_population=30)
    support = found.report["axes"][-1]
    assert [(each["source"], each["n_customers"]) for each in support["readings"]] == [("orders", 48), ("tickets", 12)]
    before = await star(database, store_id)
    again = await rescore(database, store_id, now=NOW, as_of=LATE)
    assert_same_star(await star(database, store_id), before)
    assert_alike(plain(again.report["axes"]), plain(found.report["axes"]))

    await put(database, store_id, [Ticket(f"t30-{n}", "c030", at(f"2024-02-0{n + 1}")) for n in range(2)])
    moved = await rescore(database, store_id, now=NOW, as_of=LATE)
    support = moved.report["axes"][-1]
    assert [(each["source"], each["n_customers"]) for each in support["readings"]] == [("orders", 47), ("tickets", 13)]
    assert moved.report["drift"]["support_history"] > 0
    assert moved.report["drift"]["purchase_value"] == 0
    await assert_whole(database, store_id)


async def test_a_shop_without_structure_is_rescored_as_one_kind(database: Database, store_id: str) -> None:
    everyone = [r for i in range(30) for r in bought(f"c{i}", f"o{i}", "2024-03-01", ("tea", "1", "2"))]
    await put(database, store_id, everyone)
    await segmented(database, store_id, axes=TWO_AXES, as_of=LATE, min_population=10)
    await put(database, store_id, monthly("big", 1))
    result = await rescore(database, store_id, now=NOW, as_of=LATE)
    assert (result.report["n_customers"], result.report["archetypes"]["levels"][1]["count"]) == (31, 1)
    assert set(result.report["drift"].values()) == {0.0}
    await assert_whole(database, store_id)


async def test_rescorings_go_on_when_the_days_before_them_are_forgotten(database: Database, store_id: str) -> None:
    """The discovery's own rows among them: its rules are those of each rescoring."""
    found = await open_shop(database, store_id, as_of=at("2024-03-05"))
    await rescore(database, store_id, now=NOW, as_of=at("2024-03-06"))
    last = await rescore(database, store_id, now=NOW, as_of=at("2024-03-07"))
    assert await thin(database, store_id, now=NOW, daily_days=7) > 0
    kept = await rows(database, "SELECT DISTINCT run_id FROM dim_segment_master WHERE store_id = :s", s=store_id)
    assert kept == [(last.run_id,)]
    before = await star(database, store_id)
    again = await rescore(database, store_id, now=NOW, as_of=at("2024-03-07"))
    assert_same_star(await star(database, store_id), before)
    assert again.report["rules_run_id"] == found.run_id
    assert again.report["drift"] == last.report["drift"]


# The moment


async def test_what_came_later_changes_nothing_of_a_day_in_the_past(database: Database, store_id: str) -> None:
    await open_shop(database, store_id, as_of=at("2024-03-01"))
    day = at("2024-03-20")
    one = await rescore(database, store_id, now=NOW, as_of=day)
    before = await star(database, store_id)
    await put(
        database,
        store_id,
        [
            *bought("c003", "later", "2024-04-02", ("tea", "3", "40")),
            *bought("c004", "that day", "2024-03-20", ("tea", "3", "40")),
            *gave_back("c005", "later", "2024-03-25", "P1", "1", "3"),
            *bought("new", "new", "2024-03-21", ("tea", "1", "4")),
            Ticket("t1", "c006", at("2024-03-22"), channel="chat"),
        ],
    )
    other = await rescore(database, store_id, now=NOW, as_of=day)
    assert_same_star(await star(database, store_id), before)
    assert {**other.report, "orders_after": 0} == {**one.report, "orders_after": 0}
    assert other.report["orders_after"] == one.report["orders_after"] + 3
    now = await rescore(database, store_id, now=NOW)
    assert now.report["n_customers"] == one.report["n_customers"] + 1


async def test_rules_are_in_force_at_no_moment_before_they_were_found(database: Database, store_id: str) -> None:
    """Also where a rescoring that goes by them is of a moment before: of midnight, after a discovery of the morning."""
    midnight = at("2024-03-20")
    first = await open_shop(database, store_id, as_of=at("2024-03-01"))
    before = await score_then(database, store_id, "c001", as_of=midnight)
    await segmented(
        database, store_id, axes=TWO_AXES, as_of=at("2024-03-20 10:00"), min_population=30, max_k=3, min_members=2
    )
    await rescore(database, store_id, now=NOW, as_of=midnight)
    assert await score_then(database, store_id, "c001", as_of=midnight) == before
    assert before.rules is not None and before.rules.run_id == first.run_id


async def test_each_day_of_rescoring_is_a_day_of_history(database: Database, store_id: str) -> None:
    await open_shop(database, store_id, as_of=at("2024-03-01"))
    results = [await rescore(database, store_id, now=NOW, as_of=at(f"2024-03-{day}")) for day in ("10", "11", "10")]
    query = """
        SELECT snapshot_date::text, min(run_id), max(run_id), count(*) FROM fact_customer_history
        WHERE store_id = :s GROUP BY 1 ORDER BY 1
    """
    _, second, third = [each.run_id for each in results]
    found = await rows(database, query, s=store_id)
    assert [row[:3] for row in found[1:]] == [("2024-03-09", third, third), ("2024-03-10", second, second)]
    assert all(n == 60 for *_, n in found)


async def test_a_night_keeps_the_last_whole_day_and_serves_who_has_bought_since_as_of_now(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At two in the morning UTC it is nine in the evening in Chicago: that day is not over."""
    tonight, midnight = at("2024-08-03 02:00"), at("2024-08-02 05:00")
    await put(database, store_id, a_shop(60), timezone="America/Chicago")
    await segmented(database, store_id, axes=FEW_AXES, as_of=at("2024-08-01 05:00"), min_population=30, max_k=4)
    this_evening = [
        *bought("c003", "afternoon", "2024-08-02 20:00", ("tea", "3", "400")),
        *bought("new", "afternoon, new", "2024-08-02 20:30", ("tea", "1", "9")),
    ]
    await put(database, store_id, this_evening)
    monkeypatch.setattr(rescoring, "_SCORED_AT_ONCE", 1)  # as where more have bought than are placed at once
    run = await rescore(database, store_id, now=tonight)
    assert (run.report["n_customers"], run.report["as_of"]) == (60, midnight.isoformat())
    assert await history(database, store_id) == {"2024-07-31": 60, "2024-08-01": 60}
    assert await noted(database, store_id) == set()
    served_tonight = await standings(database, store_id)
    assert len(served_tonight) == 61
    async with database.snapshot() as connection:
        assert [each for each in await check_star(connection, store_id) if not each.holds] == []
    # Nobody else stands elsewhere than as of now, either.
    await rescore(database, store_id, now=tonight, as_of=tonight)
    assert served_tonight == await standings(database, store_id)
    # The night after the day is whole, with what was bought after that night's placing.
    await put(database, store_id, bought("c004", "late in the evening", "2024-08-03 04:30", ("tea", "3", "400")))
    await rescore(database, store_id, now=tonight + timedelta(days=1))
    assert await history(database, store_id) == {"2024-07-31": 60, "2024-08-01": 60, "2024-08-02": 61}
    of_that_day = await past(database, store_id, "2024-08-02")
    await rescore(database, store_id, now=NOW, as_of=at("2024-08-03 05:00"))
    assert of_that_day == await past(database, store_id, "2024-08-02")


async def test_a_failure_while_those_who_bought_since_are_placed_leaves_the_night_before_served(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await open_shop(database, store_id, as_of=LATE)
    await put(database, store_id, bought("c003", "this morning", "2024-08-02 01:00", ("tea", "3", "400")))
    before, days = await star(database, store_id), await history(database, store_id)

    async def broken(*_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(publish, "replace_customers", broken)
    with pytest.raises(RuntimeError, match="disk is full"):
        await rescore(database, store_id, now=at("2024-08-02 03:00"))
    assert await served(database, store_id) == found.run_id
    assert await star(database, store_id) == before
    assert await history(database, store_id) == days
    assert await noted(database, store_id) == {"c003"}


async def test_on_its_first_day_a_shop_is_placed_as_of_now(database: Database, store_id: str) -> None:
    morning = [bought(f"c{i:03}", f"o{i}", f"2024-08-02 0{i % 8}:00", ("tea", "1", f"{i}")) for i in range(1, 41)]
    await put(database, store_id, [record for records in morning for record in records], timezone="UTC")
    now = at("2024-08-02 09:00")
    await segmented(database, store_id, axes=TWO_AXES, min_population=1, now=now)
    assert (await rescore(database, store_id, now=now)).report["n_customers"] == 40
    assert await history(database, store_id) == {"2024-08-02": 40}


async def history(database: Database, store_id: str) -> dict[str, int]:
    query = "SELECT snapshot_date::text, count(*) FROM fact_customer_history WHERE store_id = :s GROUP BY 1"
    return dict(await rows(database, query, s=store_id))


async def past(database: Database, store_id: str, day: str) -> list[tuple[Any, ...]]:
    """Where everyone stood on a day, but for the run that says so."""
    query = """
        SELECT customer_id, archetype_id, archetype_level2_id, archetype_level3_id, segment_ids, lifetime_value,
            total_orders, days_since_last_purchase, customer_tenure_days
        FROM fact_customer_history WHERE store_id = :s AND snapshot_date = CAST(:day AS text)::date ORDER BY 1
    """
    return await rows(database, query, s=store_id, day=day)


async def standings(database: Database, store_id: str) -> list[tuple[Any, ...]]:
    """Where everyone stands now."""
    query = """
        SELECT customer_id, archetype_id, archetype_level2_id, archetype_level3_id, dominant_segments, lifetime_value,
            total_orders, days_since_last_purchase, customer_tenure_days
        FROM fact_customer_current JOIN stores USING (store_id)
        WHERE store_id = :s AND run_id = served_run_id ORDER BY 1
    """
    return await rows(database, query, s=store_id)


# What cannot be done


async def test_what_cannot_be_rescored_says_why_and_changes_nothing(database: Database, store_id: str) -> None:
    with pytest.raises(StoreNotFound):
        await rescore(database, store_id, now=NOW)
    await put(database, store_id, a_shop(60))
    with pytest.raises(NothingPublished):
        await rescore(database, store_id, now=NOW)
    found = await open_shop(database, store_id)
    before = await star(database, store_id)
    with pytest.raises(InvalidInput, match="lies in the future"):
        await rescore(database, store_id, now=NOW, as_of=NOW + timedelta(seconds=1))
    assert len(await run_rows(database, store_id)) == 1
    with pytest.raises(InvalidInput, match="no order before 2024-01-05"):
        await rescore(database, store_id, now=NOW, as_of=at("2024-01-05"))
    kind, status, failure = (await run_rows(database, store_id))[-1]
    assert (kind, status) == ("rescoring", "failed") and "no order before 2024-01-05" in failure
    async with database.session_lock(runs.lock_key(store_id)) as free:
        assert free
        with pytest.raises(RunInProgress):
            await rescore(database, store_id, now=NOW)
    assert len(await run_rows(database, store_id)) == 2
    assert await served(database, store_id) == found.run_id
    assert await star(database, store_id) == before


@pytest.mark.parametrize("table", ["fact_customer_standing", "fact_customer_history"])
async def test_a_failure_in_the_middle_of_publishing_keeps_the_old_run(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    found = await open_shop(database, store_id)
    await put(database, store_id, bought("c003", "more", "2024-03-02", ("tea", "3", "40")))
    before = await star(database, store_id)
    whole = publish.copy_in_binary

    async def copy(connection: Any, into: Any, rows_of_it: Any) -> None:
        if into.name == table:
            raise RuntimeError("the disk is full")
        await whole(connection, into, rows_of_it)

    monkeypatch.setattr(publish, "copy_in_binary", copy)
    with pytest.raises(RuntimeError, match="disk is full"):
        await rescore(database, store_id, now=NOW)
    assert await served(database, store_id) == found.run_id
    assert await star(database, store_id) == before
    assert (await run_rows(database, store_id))[-1] == (
        "rescoring",
        "failed",
        "Something of ours went wrong: RuntimeError.",
    )
    assert await noted(database, store_id) == {"c003"}


RESCORE_AND_WAIT = """
import asyncio, sys, time
from app.core.config import Settings
from app.pipeline.rescore import rescore
from app.warehouse import changes
from app.warehouse.engine import Database
from tests.fakes import NOW

async def all_but_the_commit(*arguments, **options):
    print("halfway", flush=True)
    time.sleep(600)

changes.forget = all_but_the_commit
asyncio.run(rescore(Database(sys.argv[1], Settings(_env_file=None)), sys.argv[2], now=NOW))
"""


async def test_a_rescoring_that_is_killed_leaves_the_old_run_served_and_the_way_free(
    database: Database, empty_database_url: str, store_id: str
) -> None:
    found = await open_shop(database, store_id)
    before = await star(database, store_id)
    command = [sys.executable, "-c", RESCORE_AND_WAIT, empty_database_url, store_id]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as runner:  # noqa: ASYNC220
        try:
            assert runner.stdout is not None
            while (line := await asyncio.to_thread(runner.stdout.readline)) != "halfway\n":
                assert line, "the rescoring ended before it was halfway"
            assert await star(database, store_id) == before
        finally:
            os.kill(runner.pid, signal.SIGKILL)
    for _ in range(200):  # the server notices within moments
        async with database.session_lock(runs.lock_key(store_id)) as free:
            if free:
                break
        await asyncio.sleep(0.05)
    assert await served(database, store_id) == found.run_id
    assert await star(database, store_id) == before
    await rescore(database, store_id, now=NOW)
    assert [row[1] for row in await run_rows(database, store_id)] == ["published", "failed", "published"]


# Whose records have changed


async def changed_shop(database: Database, store_id: str) -> set[str]:
    """A shop discovered as of a day on which all of these changes are past. Returns whom they are of."""
    await open_shop(database, store_id, as_of=LATE)
    await put(
        database,
        store_id,
        [
            *bought("c003", "more", "2024-05-02", ("tea", "3", "400")),
            *gave_back("c005", "back", "2024-05-03", "P1", "1", "3"),
            *(
                record
                for n in range(4)
                for record in bought("c008", f"m{n}", f"2024-05-{n + 4:02}", ("oil", "2", "90"))
            ),
            *bought("new", "first", "2024-05-09", ("jam", "1", "4")),
        ],
    )
    return {"c003", "c005", "c008", "new"}


async def test_whoever_changed_is_scored_to_what_a_rescoring_gives(database: Database, store_id: str) -> None:
    changed = await changed_shop(database, store_id)
    before = await star(database, store_id, FACTS[:3])
    assert await noted(database, store_id) == changed
    assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 4
    assert await noted(database, store_id) == set()
    scored = await star(database, store_id, FACTS[:3])
    assert len(scored["fact_customer_current"]) == 61
    assert len(set(scored["fact_customer_current"]) - set(before["fact_customer_current"])) == 4
    assert scored["customer_profiles"] != before["customer_profiles"]
    await rescore(database, store_id, now=NOW, as_of=LATE)
    assert_same_star(await star(database, store_id, FACTS[:3]), scored)
    await assert_whole(database, store_id)


async def test_scored_twice_is_scored_once(database: Database, store_id: str) -> None:
    await changed_shop(database, store_id)
    assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 4
    query = "SELECT customer_id, xmin::text FROM fact_customer_standing WHERE store_id = :s ORDER BY 1"
    before = await rows(database, query, s=store_id)
    assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 0
    assert await rows(database, query, s=store_id) == before


async def test_two_at_once_share_the_work(database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each customer once; a small batch at a time, so that both have some."""
    await open_shop(database, store_id, as_of=LATE)
    everyone = [f"c{i:03}" for i in range(12)]
    await put(database, store_id, [r for c in everyone for r in bought(c, f"x{c}", "2024-05-02", ("tea", "1", "9"))])
    monkeypatch.setattr(rescoring, "_SCORED_AT_ONCE", 2)
    whole, batches, both = publish.replace_customers, [], asyncio.Barrier(2)

    async def replace(connection: Any, store: str, run_id: int, current: Any) -> None:
        batches.append(current["customer_id"].to_list())
        if len(batches) <= 2:
            await asyncio.wait_for(both.wait(), 60)  # each is in the middle of a batch of its own
        await whole(connection, store, run_id, current)

    monkeypatch.setattr(publish, "replace_customers", replace)
    shares_of_it = await asyncio.gather(
        score_changed(database, store_id, now=NOW, as_of=LATE), score_changed(database, store_id, now=NOW, as_of=LATE)
    )
    assert sorted(customer for batch in batches for customer in batch) == everyone
    assert sum(shares_of_it) == 12 and min(shares_of_it) >= 2
    assert await noted(database, store_id) == set()


async def test_cut_short_the_scoring_is_still_to_be_done(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = await changed_shop(database, store_id)
    before = await star(database, store_id)

    async def broken(*_: Any) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(publish, "replace_customers", broken)
        with pytest.raises(RuntimeError):
            await score_changed(database, store_id, now=NOW, as_of=LATE)
    assert await noted(database, store_id) == changed
    assert await star(database, store_id) == before
    assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 4


async def test_where_nothing_is_served_nobody_is_scored_and_nothing_forgotten(
    database: Database, store_id: str
) -> None:
    with pytest.raises(StoreNotFound):
        await score_changed(database, store_id, now=NOW, as_of=LATE)
    await put(database, store_id, a_shop(10))
    await execute(
        database,
        "INSERT INTO segmentation_runs (store_id, status, parameters) VALUES (:s, 'failed', '{}')",
        s=store_id,
    )
    await put(database, store_id, bought("c003", "more", "2024-05-02", ("tea", "3", "400")))
    assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 0
    assert await noted(database, store_id) == {"c003"}


async def test_who_buys_after_the_moment_of_the_run_is_of_a_kind_at_once(database: Database, store_id: str) -> None:
    await open_shop(database, store_id, as_of=LATE)
    before = set((await star(database, store_id))["fact_customer_current"])
    await put(database, store_id, [Customer("new"), *bought("new", "n", "2024-08-02", ("tea", "1", "9"))])
    assert await score_changed(database, store_id, now=NOW) == 1
    scored = set((await star(database, store_id))["fact_customer_current"])
    assert before < scored and len(scored) == 61
    day = "SELECT max(snapshot_date)::text FROM fact_customer_current WHERE store_id = :s"
    assert await value(database, day, s=store_id) == "2024-08-02"
    assert await noted(database, store_id) == set()
    assert await score_changed(database, store_id, now=at("2024-08-02")) == 0


async def test_an_import_that_a_run_has_not_seen_is_still_to_be_scored_after_it(
    database: Database, store_id: str
) -> None:
    await open_shop(database, store_id, as_of=LATE)
    await put(database, store_id, bought("c003", "seen", "2024-05-02", ("tea", "3", "400")))
    late = bought("c004", "unseen", "2024-05-02", ("tea", "3", "400"))
    importing: list[asyncio.Task[Any]] = []

    def import_now(step: str, _done: float) -> None:
        if step == "scoring":  # the records have been read
            importing.append(asyncio.create_task(put(database, store_id, late)))

    await rescore(database, store_id, now=NOW, as_of=LATE, progress=import_now)
    await asyncio.gather(*importing)
    assert await noted(database, store_id) == {"c004"}
    assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 1
    scored = await star(database, store_id, FACTS[:3])
    await rescore(database, store_id, now=NOW, as_of=LATE)
    assert_same_star(await star(database, store_id, FACTS[:3]), scored)
    assert await noted(database, store_id) == set()


async def test_who_was_scored_while_a_run_was_under_way_is_scored_again_after_it(
    database: Database, store_id: str
) -> None:
    """The run has read their records before, and takes the row that was scored away with the run before."""
    await open_shop(database, store_id, as_of=LATE)
    late = bought("c004", "unseen", "2024-05-02", ("tea", "3", "400"))
    meanwhile: list[asyncio.Task[None]] = []

    async def import_and_score() -> None:
        await put(database, store_id, late)
        assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 1

    def begin(step: str, _done: float) -> None:
        if step == "scoring":  # the records have been read
            meanwhile.append(asyncio.create_task(import_and_score()))

    async def publish_after(*arguments: Any) -> None:
        await asyncio.gather(*meanwhile)
        await whole(*arguments)

    whole = publish.publish
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(publish, "publish", publish_after)
        await rescore(database, store_id, now=NOW, as_of=LATE, progress=begin)
    assert await noted(database, store_id) == {"c004"}
    asked = "SELECT count(*) FROM jobs JOIN queue ON queue.id = jobs.job_id WHERE store_id = :s AND job = 'score'"
    assert await value(database, asked, s=store_id) == 1
    assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 1
    scored = await star(database, store_id, FACTS[:3])
    await rescore(database, store_id, now=NOW, as_of=LATE)
    assert_same_star(await star(database, store_id, FACTS[:3]), scored)


async def test_whose_only_order_went_to_somebody_else_is_of_no_kind_any_more(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("lone"), *bought("lone", "only", "2024-03-01", ("tea", "1", "9"))])
    await open_shop(database, store_id, as_of=LATE)
    there = "SELECT count(*) FROM fact_customer_current WHERE store_id = :s AND customer_id = 'lone'"
    assert await value(database, there, s=store_id) == 1
    await put(database, store_id, bought("c004", "only", "2024-03-01", ("tea", "1", "9")))
    assert await noted(database, store_id) == {"lone", "c004"}
    assert await score_changed(database, store_id, now=NOW, as_of=LATE) == 2
    assert await value(database, there, s=store_id) == 0
    async with database.snapshot() as connection:
        assert all(each.holds for each in await check_star(connection, store_id))
    await rescore(database, store_id, now=NOW, as_of=LATE)
    await assert_whole(database, store_id)


async def test_a_discovery_has_seen_what_it_stands_on(database: Database, store_id: str) -> None:
    await changed_shop(database, store_id)
    await segmented(database, store_id, axes=FEW_AXES, as_of=LATE, min_population=30, max_k=4, min_members=2)
    assert await noted(database, store_id) == set()


async def test_customers_scored_while_a_run_is_published_stop_neither(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await changed_shop(database, store_id)
    whole, half_scored = publish.replace_customers, asyncio.Event()

    async def replace(*arguments: Any) -> None:
        await whole(*arguments)
        half_scored.set()
        for _ in range(100):  # until the run waits for us
            if await value(database, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
                return
            await asyncio.sleep(0.05)

    monkeypatch.setattr(publish, "replace_customers", replace)
    scoring = asyncio.create_task(score_changed(database, store_id, now=NOW, as_of=LATE))
    await half_scored.wait()
    await asyncio.gather(scoring, rescore(database, store_id, now=NOW, as_of=LATE))
    await assert_whole(database, store_id)
    assert await noted(database, store_id) == set()
