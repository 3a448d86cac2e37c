"""A small shop over a year, week by week: the migrations its history shows are those that its customers made."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from app.domain.records import Record
from app.pipeline.drift import drift_of, kinship_between, lineages_between
from app.pipeline.rescore import rescore
from app.segmentation.drift import Move
from app.warehouse.engine import Database
from app.warehouse.history import Day, read_days
from tests.fakes import bought, put, rows, segmented

STORE = "turning-shop"
OPENED = date(2024, 1, 1)
#: Days from the opening: the first segmentation, when some change their ways, and the end.
FIRST, TURN, END = 182, 360, 546
EACH, TURNING = 40, 12


@dataclass(frozen=True)
class Shopper:
    """What is true of a customer: from which day on they buy how often, and what they spend."""

    customer_id: str
    every_days: int
    later_every_days: int

    @property
    def turns(self) -> bool:
        return self.every_days != self.later_every_days

    def days(self) -> Iterator[int]:
        day = int(self.customer_id[1:]) % self.every_days
        while day < END:
            yield day
            day += self.every_days if day < TURN else self.later_every_days


def shoppers() -> list[Shopper]:
    """Those who come each week, those who come each quarter, and those who turn from the one to more than the other."""
    kinds = [(7, 7)] * EACH + [(90, 90)] * EACH + [(90, 4)] * TURNING
    return [Shopper(f"c{number:03}", *kind) for number, kind in enumerate(kinds)]


def records() -> list[Record]:
    return [
        record
        for shopper in shoppers()
        for day in shopper.days()
        for record in bought(
            shopper.customer_id,
            f"{shopper.customer_id}-{day}",
            f"{OPENED + timedelta(days=day):%Y-%m-%d} {9 + day % 9:02}:30",
            ("tea", "2", "9.50"),
        )
    ]


def at(day: int) -> datetime:
    return datetime.combine(OPENED + timedelta(days=day), datetime.min.time(), UTC)


@pytest.fixture(scope="module")
async def year(database: Database) -> list[Day]:
    """Segmented anew every quarter, scored anew every week in between; the days that are kept of it."""
    await put(database, STORE, records(), timezone="UTC")
    now = at(END) + timedelta(days=1)
    for number, day in enumerate(range(FIRST, END + 1, 7)):
        if number % 13 == 0:
            await segmented(
                database, STORE, as_of=at(day), now=now, min_population=10, max_k=2, axes=("purchase_frequency",)
            )
        else:
            await rescore(database, STORE, as_of=at(day), now=now)
    async with database.snapshot() as connection:
        return await read_days(connection, STORE)


async def stood(database: Database) -> dict[str, list[str]]:
    """By customer the archetype of every day."""
    found: dict[str, list[str]] = {}
    query = "SELECT customer_id, archetype_id FROM fact_customer_history WHERE store_id = :s ORDER BY 1, snapshot_date"
    for customer, archetype in await rows(database, query, s=STORE):
        found.setdefault(customer, []).append(archetype)
    return found


async def test_who_changes_their_ways_migrates_and_nobody_else_does(database: Database, year: list[Day]) -> None:
    """Whatever is found anew in between, five times: who goes on as before is where they were."""
    assert len(year) == (END - FIRST) // 7 + 1
    assert len({each.rules_run_id for each in year}) == 5
    async with database.snapshot() as connection:
        lineages = await lineages_between(connection, STORE, year)
    kinships = [kinship_between(lineages, before, now) for before, now in pairwise(year)]
    turned = OPENED + timedelta(days=TURN)
    where = await stood(database)
    for shopper in shoppers():
        mine = where[shopper.customer_id]
        moves = [
            (now.day, kin.move(was, is_now))
            for kin, now, (was, is_now) in zip(kinships, year[1:], pairwise(mine), strict=True)
        ]
        moved = [(day, move) for day, move in moves if move is not Move.stayed]
        assert bool(moved) == shopper.turns, shopper
        # Near the line between two kinds they may cross it more than once.
        assert all(day > turned and move is Move.migrated for day, move in moved), shopper


async def test_they_end_among_those_whose_ways_they_took(database: Database, year: list[Day]) -> None:
    where = await stood(database)
    weekly, quarterly, turning = (
        [where[each.customer_id] for each in shoppers() if (each.every_days, each.turns) == kind]
        for kind in ((7, False), (90, False), (90, True))
    )
    assert {each[0] for each in turning} == {each[0] for each in quarterly}
    assert {each[-1] for each in turning} == {each[-1] for each in weekly}
    assert {each[-1] for each in quarterly}.isdisjoint({each[-1] for each in weekly})


async def test_the_shops_migrations_are_those_of_its_customers(database: Database, year: list[Day]) -> None:
    where = await stood(database)
    drift = await drift_of(database, STORE)
    assert drift is not None and len(drift.velocity) == 12
    at = {each.day: number for number, each in enumerate(year)}
    seen = 0
    for span, moved in drift.velocity:
        before, now = at[span.before.day], at[span.now.day]
        crossed = sum(each[before] != each[now] for each in where.values())
        assert (moved.count(Move.migrated), moved.compared) == (crossed, len(where))
        seen += crossed
    assert seen >= TURNING - 2
    assert {window.length for window in drift.windows} == {7, 14, 28}
