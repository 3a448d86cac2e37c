"""The past takes less room the older it is, and nothing that is needed of it is forgotten."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import StoreNotFound
from app.pipeline.thinning import thin, thinned
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from app.warehouse.history import Day
from app.warehouse.runs import hold_served_run
from tests.fakes import STAR, VIEWS, a_shop, at, dump, execute, put, rows, segmented, value
from tests.waiting import until_so_many_wait

#: What is kept of runs; `customer_profiles` is told from it.
KEPT = tuple(table for table in STAR if table not in VIEWS)
#: A Monday.
MONDAY = date(2026, 3, 2)


def days(numbers: list[int]) -> list[Day]:
    return [Day(MONDAY + timedelta(days=number), run_id=number, rules_run_id=1) for number in sorted(numbers)]


def test_of_an_old_week_the_last_day_that_there_is_stays() -> None:
    kept = days([0, 1, 2, 7, 13, 14, 15, 20, 21])
    gone = thinned(kept, before=MONDAY + timedelta(days=16), served_run_id=None)
    # The third week ends with day 20, which is young enough; the days of it that are too old go.
    assert sorted(gone) == [MONDAY + timedelta(days=number) for number in (0, 1, 7, 14, 15)]


def test_the_days_of_the_served_run_stay() -> None:
    gone = thinned(days([0, 1, 2]), before=MONDAY + timedelta(days=90), served_run_id=1)
    assert sorted(gone) == [MONDAY]


@given(st.sets(st.integers(0, 400)), st.integers(0, 400), st.none() | st.integers(0, 400))
def test_every_week_keeps_a_day_and_a_second_time_nothing_goes(
    numbers: set[int], limit: int, served: int | None
) -> None:
    kept = days(list(numbers))
    before = MONDAY + timedelta(days=limit)
    gone = thinned(kept, before=before, served_run_id=served)
    left = [each for each in kept if each.day not in gone]
    assert {each.day.isocalendar()[:2] for each in left} == {each.day.isocalendar()[:2] for each in kept}
    assert all(each.day < before for each in kept if each.day in gone)
    assert thinned(left, before=before, served_run_id=served) == set()


async def test_the_past_of_a_shop_is_thinned_with_the_kinds_that_nobody_speaks_of(
    database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(40))
    moments = ["2024-04-02", "2024-04-03", "2024-04-05", "2024-04-05", "2024-04-20"]
    runs = [
        (await segmented(database, store_id, as_of=at(day), min_population=10, axes=("purchase_value",))).run_id
        for day in moments
    ]
    served = await dump(database, store_id, ["fact_customer_standing"])
    per_day = "SELECT snapshot_date, run_id, count(*) FROM fact_customer_history WHERE store_id = :s GROUP BY 1, 2"
    before = {day: n for day, _, n in await rows(database, f"{per_day} ORDER BY 1", s=store_id)}
    now = datetime(2024, 4, 30, tzinfo=UTC)
    # The third run's day was written anew by the fourth; the first two lie in the week that the fourth's day ends.
    assert await thin(database, store_id, now=now, daily_days=14) == sum(n for n in list(before.values())[:2])
    left = await rows(database, f"{per_day} ORDER BY 1", s=store_id)
    assert [(day, run) for day, run, _ in left] == [(date(2024, 4, 5), runs[3]), (date(2024, 4, 20), runs[4])]
    for table in STAR[:4]:
        query = f"SELECT DISTINCT run_id FROM {table} WHERE store_id = :s ORDER BY 1"  # noqa: S608  of the list above
        assert [run for (run,) in await rows(database, query, s=store_id)] == [runs[3], runs[4]]
    assert await dump(database, store_id, ["fact_customer_standing"]) == served
    async with database.snapshot() as connection:
        assert not [each for each in await check_star(connection, store_id) if not each.holds]
    assert await value(database, "SELECT count(*) FROM archetype_lineage WHERE store_id = :s", s=store_id) > 0
    everything = await dump(database, store_id, KEPT)
    assert await thin(database, store_id, now=now, daily_days=14) == 0
    assert await dump(database, store_id, KEPT) == everything


async def test_a_day_that_is_published_anew_while_it_is_thinned_stays(database: Database, store_id: str) -> None:
    async def segmented_as_of(day: str) -> int:
        options: dict[str, Any] = {"min_population": 10, "axes": ("purchase_value",)}
        return (await segmented(database, store_id, as_of=at(day), **options)).run_id

    await put(database, store_id, a_shop(40))
    for day in ("2024-04-02", "2024-04-03", "2024-04-20"):
        await segmented_as_of(day)
    async with database.transaction() as connection:
        # It has written its day, and cannot switch to it yet.
        await hold_served_run(connection, store_id)
        publishing = asyncio.create_task(segmented_as_of("2024-04-02"))
        await until_so_many_wait(database, 1)
        thinning = asyncio.create_task(thin(database, store_id, now=at("2024-04-30"), daily_days=14))
        await until_so_many_wait(database, 2)
    run_id, _ = await asyncio.gather(publishing, thinning)
    per_day = "SELECT DISTINCT snapshot_date, run_id FROM fact_customer_history WHERE store_id = :s ORDER BY 1"
    assert (date(2024, 4, 2), run_id) in await rows(database, per_day, s=store_id)
    async with database.snapshot() as connection:
        assert not [each for each in await check_star(connection, store_id) if not each.holds]


async def test_a_young_past_is_left_as_it_is(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(20))
    for day in ("2024-04-02", "2024-04-03"):
        await segmented(database, store_id, as_of=at(day), min_population=10, axes=("purchase_value",))
    everything = await dump(database, store_id, KEPT)
    assert await thin(database, store_id, now=at("2024-04-10"), daily_days=90) == 0
    assert await dump(database, store_id, KEPT) == everything


async def test_a_shop_that_there_is_none_of_is_named(database: Database, store_id: str) -> None:
    with pytest.raises(StoreNotFound):
        await thin(database, store_id, now=at("2024-04-10"), daily_days=90)
    await execute(database, "INSERT INTO stores (store_id, timezone, currency) VALUES (:s, 'UTC', 'USD')", s=store_id)
    assert await thin(database, store_id, now=at("2024-04-10"), daily_days=90) == 0
