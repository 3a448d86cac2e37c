"""How a shop moves between its days: counted from the days that are kept, told apart from what discoveries redraw."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from app.core.errors import DatabaseUnavailable
from app.domain.records import Customer
from app.pipeline import drift as module
from app.pipeline.drift import Drift, drift_of, migrations, weeks_of
from app.segmentation.drift import Move
from app.warehouse.engine import Database
from app.warehouse.history import Day, read_days
from tests.fakes import execute, put, rows, value

FIRST = date(2026, 3, 1)


@dataclass
class Past:
    """A shop whose days are written by hand."""

    database: Database
    store_id: str
    customers: int = 10
    runs: list[int] = field(default_factory=list)

    async def run(
        self,
        *,
        rules: int | None = None,
        axes: Mapping[str, Sequence[str]] | None = None,
        counts: Sequence[int] = (5, 5, 5),
    ) -> int:
        """A published run: a discovery, or a rescoring by the rules of one.

        axes : {axis: segment ids}; counts : of customers in them, as the run reports it
        """
        segments = axes or {"value": ("low", "high")}
        report: dict[str, Any] = {
            "axes": [
                {
                    "axis": axis,
                    "segments": [
                        {"segment_id": each, "name": each, "count": count}
                        for each, count in zip(ids, counts, strict=False)
                    ],
                }
                for axis, ids in segments.items()
            ]
        }
        if rules is not None:
            report["rules_run_id"] = rules
        await execute(
            self.database,
            "INSERT INTO segmentation_runs (store_id, kind, status, as_of, parameters, report) "
            "VALUES (:s, :kind, 'published', now(), '{}', CAST(:report AS jsonb))",
            s=self.store_id,
            kind="discovery" if rules is None else "rescoring",
            report=json.dumps(report),
        )
        newest = "SELECT max(run_id) FROM segmentation_runs WHERE store_id = :s"
        self.runs.append(await value(self.database, newest, s=self.store_id))
        return self.runs[-1]

    async def day(self, number: int, run_id: int, standings: Sequence[tuple[str, Sequence[str]] | None]) -> None:
        """standings : of each customer, archetype and segment ids; None for one who is not there yet"""
        for customer, standing in enumerate(standings):
            if standing is None:
                continue
            archetype, segments = standing
            await execute(
                self.database,
                "INSERT INTO fact_customer_history VALUES (:s, :c, :d, :r, :a, :a, :a, 1, 1, 1, 1, :ids)",
                s=self.store_id,
                c=f"c{customer}",
                d=FIRST + timedelta(days=number),
                r=run_id,
                a=archetype,
                ids=list(segments),
            )

    async def descended(self, run_id: int, before: int, steps: Sequence[tuple[str | None, str | None]]) -> None:
        """Lineage of a discovery's archetypes."""
        for number, (one, other) in enumerate(steps):
            fate = "retired" if other is None else "born" if one is None else "continued"
            await execute(
                self.database,
                "INSERT INTO archetype_lineage (store_id, run_id, step, previous_run_id, fate, previous_id, current_id,"
                " renamed, changes, says) VALUES (:s, :r, :n, :b, :f, :one, :other, false, '[]', '')",
                s=self.store_id,
                r=run_id,
                n=number,
                b=before,
                f=fate,
                one=one,
                other=other,
            )

    async def drift(self) -> Drift:
        found = await drift_of(self.database, self.store_id)
        assert found is not None
        return found


@pytest.fixture
async def past(database: Database, store_id: str) -> Past:
    await put(database, store_id, [Customer(f"c{number}") for number in range(10)])
    return Past(database, store_id)


def standing(archetypes: str, segments: str = "l") -> list[tuple[str, list[str]] | None]:
    """Ten customers by the letters of their archetypes, "-" for one who is not there; l and h are segments."""
    ids = {"l": "low", "h": "high"}
    each = segments if len(segments) > 1 else segments * len(archetypes)
    return [
        None if one == "-" else (one, [ids.get(segment, segment)])
        for one, segment in zip(archetypes, each, strict=True)
    ]


async def test_who_went_where_is_counted_between_two_days(past: Past) -> None:
    found = await past.run()
    again = await past.run(rules=found, counts=(4, 5))
    await past.day(0, found, standing("aaaaabbbb-", "lllllhhhhl"))
    await past.day(7, again, standing("aaaabbbba-", "llllhhhhhl"))
    async with past.database.snapshot() as connection:
        told = await migrations(connection, past.store_id, days=7)
    assert told is not None
    assert (told.span.days, told.movement.compared, told.movement.new) == (7, 9, 0)
    assert (told.share, told.velocity) == (pytest.approx(2 / 9), pytest.approx(2 / 63))
    assert [(flow.before, flow.now, flow.count) for flow in told.top()] == [("a", "b", 1), ("b", "a", 1)]
    drift = await past.drift()
    (window,) = drift.windows
    assert (window.length, window.before, window.acceleration) == (7, None, None)
    (axis,) = window.axes
    assert (axis.axis, axis.movement.share(Move.migrated)) == ("value", pytest.approx(1 / 9))
    # From 5:4 to 4:5: (4/9 - 5/9) * ln(.8) + (5/9 - 4/9) * ln(1.25).
    assert axis.psi == pytest.approx(0.049587, abs=1e-6)
    # The discovery found 5:5.
    assert drift.since == {"value": pytest.approx((4 / 9 - 0.5) * -0.117783 + (5 / 9 - 0.5) * 0.105361, abs=1e-6)}


async def test_customers_of_one_day_alone_have_not_moved(past: Past) -> None:
    run = await past.run()
    await past.day(0, run, standing("aaaaa-----"))
    await past.day(7, run, standing("-aaaabbbbb"))
    moved = (await past.drift()).windows[0].migrations.movement
    assert (moved.compared, moved.new, moved.gone, moved.count(Move.migrated)) == (4, 5, 1, 0)


async def test_a_group_that_is_split_or_merged_or_retired_moves_nobody(past: Past) -> None:
    one = await past.run()
    two = await past.run()
    await past.descended(two, one, [("a", "a"), ("a", "c"), ("b", "d"), ("e", None), (None, "f")])
    await past.day(0, one, standing("aaaabbbeea"))
    #                                stays, split, split, moved, merged, moved, born, retired twice, moved
    await past.day(7, two, standing("accddafadd"))
    moved = (await past.drift()).windows[0].migrations.movement
    assert moved.count(Move.stayed) == 1
    # c followed a; d is what b became; nobody was f before; there is no e any more.
    assert moved.count(Move.by_discovery) == 2 + 1 + 1 + 2
    assert {(flow.before, flow.now): flow.count for flow in moved.flows if flow.move is Move.migrated} == {
        ("a", "d"): 2,
        ("b", "a"): 1,
    }


async def test_descent_is_followed_through_every_discovery_in_between(past: Past) -> None:
    one = await past.run()
    between = await past.run(rules=one)
    two = await past.run()
    await past.descended(two, between, [("a", "b"), ("x", "x")])
    three = await past.run()
    await past.descended(three, two, [("b", "c"), ("x", "x")])
    await past.day(0, one, standing("aaxx------"))
    await past.day(7, await past.run(rules=three), standing("cxxc------"))
    flows = (await past.drift()).windows[0].migrations.movement.flows
    assert {(flow.before, flow.now): flow.move for flow in flows} == {
        ("a", "c"): Move.by_discovery,
        ("a", "x"): Move.migrated,
        ("x", "x"): Move.stayed,
        ("x", "c"): Move.migrated,
    }


async def test_where_the_descent_is_not_known_nobody_is_said_to_have_moved(past: Past) -> None:
    await past.day(0, await past.run(), standing("aabb------"))
    await past.day(7, await past.run(), standing("abbc------"))
    moved = (await past.drift()).windows[0].migrations.movement
    assert {move: moved.count(move) for move in Move} == {Move.stayed: 2, Move.migrated: 0, Move.by_discovery: 2}


async def test_other_segments_than_then_have_no_shift_and_axes_of_one_day_alone_are_left_out(past: Past) -> None:
    one = await past.run(axes={"value": ("low", "high"), "gone": ("g",), "same": ("low", "high")})
    two = await past.run(axes={"same": ("low", "high"), "value": ("low", "high", "top"), "new": ("n",)})
    await past.day(0, one, [("a", ["low", "g", "low"]), ("a", ["high", "g", "high"])])
    await past.day(7, two, [("a", ["low", "top", "n"]), ("a", ["low", "high", "n"])])
    shifts = {each.axis: each for each in (await past.drift()).windows[0].axes}
    assert set(shifts) == {"same", "value"}
    assert shifts["value"].psi is None and (shifts["same"].psi or 0) > 1
    assert shifts["value"].movement.count(Move.stayed) == 1


async def test_velocity_is_of_the_days_between_and_acceleration_of_the_window_before(past: Past) -> None:
    run = await past.run()
    days = {0: "aaaaaaaaaa", 7: "baaaaaaaaa", 14: "bbbaaaaaaa"}
    for number, archetypes in days.items():
        await past.day(number, run, standing(archetypes))
    drift = await past.drift()
    week, fortnight = drift.windows
    assert (week.length, fortnight.length) == (7, 14)
    assert week.migrations.velocity == pytest.approx(0.2 / 7)
    assert week.acceleration == pytest.approx(0.2 / 7 - 0.1 / 7)
    assert (fortnight.migrations.velocity, fortnight.acceleration) == (pytest.approx(0.3 / 14), None)
    assert [(span.now.day, moved.velocity(span.days)) for span, moved in drift.velocity] == [
        (FIRST + timedelta(days=7), pytest.approx(0.1 / 7)),
        (FIRST + timedelta(days=14), pytest.approx(0.2 / 7)),
    ]
    # A day more is seen at once.
    await past.day(21, run, standing("bbbaaaaaaa"))
    assert (await past.drift()).windows[0].migrations.share == 0


async def test_a_day_that_is_not_kept_gives_way_to_one_before_it_but_not_to_any(past: Past) -> None:
    run = await past.run()
    for number in (0, 10, 30, 40):
        await past.day(number, run, standing("aaaa------"))
    found = {each.length: each.migrations.span.days for each in (await past.drift()).windows}
    assert found == {7: 10, 28: 30}  # of 14 days, up to 27 were as good


def test_a_week_that_nobody_saw_does_not_end_the_line_of_weeks() -> None:
    kept = [Day(FIRST + timedelta(days=number), number, 1) for number in (0, 7, 8, 15, 40, 43, 48)]
    compared = [(span.before.run_id, span.now.run_id) for span in weeks_of(kept)]
    assert compared == [(40, 48), (8, 15), (0, 8)]
    assert weeks_of(kept, most=2) == weeks_of(kept)[:2]
    assert weeks_of([]) == weeks_of(kept[:1]) == []


async def test_a_shop_without_a_past_has_no_drift(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("c0")])
    assert await drift_of(database, store_id) is None
    async with database.snapshot() as connection:
        assert await migrations(connection, store_id, days=7) is None


async def test_the_days_of_a_shop_come_with_the_rules_they_went_by(past: Past) -> None:
    one = await past.run()
    two = await past.run(rules=one)
    for number, run in ((3, two), (1, one)):
        await past.day(number, run, standing("aa--------"))
    async with past.database.snapshot() as connection:
        days = await read_days(connection, past.store_id)
    assert days == [Day(FIRST + timedelta(days=1), one, one), Day(FIRST + timedelta(days=3), two, one)]
    stored = await rows(past.database, "SELECT rules_run_id FROM segmentation_runs WHERE run_id = :r", r=two)
    assert stored == [(one,)]


class Counting:
    """Counts how often something was counted, which waits until it may go on, and fails where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times, self.begun, self.go_on = 0, asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        whole = module._counted

        async def counted(*arguments: Any) -> Drift:
            self.times += 1
            self.begun.set()
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            return await whole(*arguments)

        monkeypatch.setattr(module, "_counted", counted)


async def test_many_who_ask_at_once_have_it_counted_once(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    await past.day(0, await past.run(), standing("aaaaabbbbb"))
    counting = Counting(monkeypatch)
    asking = [asyncio.create_task(past.drift()) for _ in range(5)]
    await counting.begun.wait()
    await asyncio.sleep(0.1)  # the others come meanwhile
    counting.go_on.set()
    first, *others = await asyncio.gather(*asking)
    assert all(other is first for other in others)
    assert await past.drift() is first
    assert counting.times == 1


async def test_who_goes_away_while_it_is_counted_takes_it_from_nobody(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    await past.day(0, await past.run(), standing("aaaaabbbbb"))
    counting = Counting(monkeypatch)
    goes_away = asyncio.create_task(past.drift())
    await counting.begun.wait()
    stays = asyncio.create_task(past.drift())
    await asyncio.sleep(0.1)
    goes_away.cancel()
    with pytest.raises(asyncio.CancelledError):
        await goes_away
    counting.go_on.set()
    assert (await stays).kept
    assert counting.times == 1


async def test_what_could_not_be_counted_is_counted_again_for_who_asks_next(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    await past.day(0, await past.run(), standing("aaaaabbbbb"))
    counting = Counting(monkeypatch)
    counting.go_on.set()
    counting.error = DatabaseUnavailable("The database does not answer.")
    with pytest.raises(DatabaseUnavailable):
        await past.drift()
    counting.error = None
    assert (await past.drift()).kept
    assert counting.times == 2
