"""A year of a shop, day by day, against what its generator knows: who came, who left for good, and when that shows.

The shop is made of regulars, whose gaps between orders are gamma distributed around a length of their own and who leave
at a day that is known, and of some who come for a gift and seldom again. It is segmented at the start of its last year
and at the start of each quarter after it, and on every other day of the year everyone is placed again.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import asyncpg
import numpy as np
import pytest
from scipy.stats import gamma

from app.core.config import Settings
from app.domain.records import Customer, Order, OrderLine, Record, Refund, Ticket
from app.pipeline.drift import migrations
from app.pipeline.ingest import ingest
from app.pipeline.rescore import rescore
from app.pipeline.run import RunOptions, segment
from app.pipeline.sample import TYPES, CustomerTruth, SampleShop
from app.pipeline.sample.habits import YEAR as YEAR_DAYS
from app.segmentation.drift import Move
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.conftest import own_database
from tests.fakes import NOW, SECRET, ListSource, rows

STORE, ZONE = "year", ZoneInfo("America/Chicago")
N_BUYERS = 200
LAST_DAY = date(2025, 10, 22)
DAYS = [LAST_DAY - timedelta(days=364 - number) for number in range(365)]
QUARTERS = [DAYS[0], DAYS[91], DAYS[182], DAYS[273]]
#: Axes on which a customer can move while nothing happens, because they know how long ago things were; and the others.
KNOW_TIME = {"purchase_frequency", "customer_maturity", "loyalty_trajectory"}
TIMELESS = {"purchase_value", "category_exploration"}
LEAVING = "loyalty_trajectory"

_TYPES = {each.name: each for each in TYPES}
REGULARS = replace(
    _TYPES["steady monthly maker"],
    share=0.85,
    orders_per_year=26.0,
    regularity=5.0,
    stays_years=1.5,
    season=0.0,  # their gaps are the same all year
    lines=1.0,
)
GIFTS = replace(_TYPES["one-time gift buyer"], share=0.15, lines=1.0)
#: The generator moves an order to a weekday its buyer likes: up to so many days ahead of its turn.
MOVED_AHEAD_DAYS = 6
#: Who counts as steady: two weeks between orders, or less.
STEADY_GAP_DAYS = 14.0


@dataclass(frozen=True)
class Standing:
    """A row of history: `segments` by axis, and everything but the run that wrote it."""

    archetype_id: str
    total_orders: int
    days_since_last_purchase: int
    segments: Mapping[str, str]
    row: tuple[object, ...]


@dataclass(frozen=True)
class Border:
    """The segment of those longest away, by the rules found on a day.

    recency_days : halfway between its center and the next one's, in logarithms, as the axis measures recency
    """

    segment_id: str
    recency_days: float


@dataclass(frozen=True)
class Year:
    """The shop and its history, by day and customer.

    ordered  : everyone's days with an order, the first first
    happened : everyone's days with an order or a refund
    """

    database: Database
    records: Sequence[Record]
    truth: Mapping[str, CustomerTruth]
    ordered: Mapping[str, Sequence[date]]
    happened: Mapping[str, Set[date]]
    history: Mapping[date, Mapping[str, Standing]]
    borders: Mapping[date, Border]

    def border(self, day: date) -> Border:
        """Of the rules in force."""
        return self.borders[QUARTERS[bisect_right(QUARTERS, day) - 1]]

    def is_gone(self, customer_id: str, day: date) -> bool:
        """Said to be among those longest away."""
        return self.history[day][customer_id].segments[LEAVING] == self.border(day).segment_id

    def away(self, customer_id: str, day: date) -> int:
        """Days since the last order, at the midnight after that day."""
        ordered = self.ordered[customer_id]
        return (day - ordered[bisect_right(ordered, day) - 1]).days + 1

    def long_for(self, who: CustomerTruth, day: date) -> float:
        """Days after which somebody who did not order has left, as far as that can be known."""
        return max(3 * usual_gap(who, day), 2 * self.border(day).recency_days)

    def regulars(self, day: date) -> Iterator[CustomerTruth]:
        """Of those who have ordered."""
        for customer_id in self.history[day]:
            if self.truth[customer_id].type_name == REGULARS.name:
                yield self.truth[customer_id]


def usual_gap(truth: CustomerTruth, day: date) -> float:
    """Mean days between a customer's orders on a day, by the generator's own numbers."""
    years = (day - truth.joined_on).days / YEAR_DAYS
    return YEAR_DAYS / (truth.orders_per_year * float(np.exp(truth.growth_per_year * years)))


def until(records: Sequence[Record], moment: datetime) -> list[Record]:
    """What had been recorded by then."""
    known = {each.order_id for each in records if isinstance(each, Order) and each.ordered_at < moment}

    def is_past(record: Record) -> bool:
        match record:
            case Order() | OrderLine():
                return record.order_id in known
            case Refund():
                return record.refunded_at < moment
            case Customer() | Ticket():
                return record.created_at is not None and record.created_at < moment

    return [each for each in records if is_past(each)]


def midnight_after(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), ZONE)


async def load(database: Database, records: Sequence[Record]) -> None:
    await migrate(database)
    await ingest(
        database, ListSource(records), store_id=STORE, timezone=ZONE.key, currency="USD", pseudonym_secret=SECRET
    )


async def live(database: Database, day: date) -> None:
    """What the shop's jobs do in the night after a day, two hours into the next."""
    midnight = midnight_after(day)
    if day in QUARTERS:
        await segment(database, STORE, RunOptions(as_of=midnight, axes=tuple(KNOW_TIME | TIMELESS)), now=NOW)
    else:
        await rescore(database, STORE, now=midnight + timedelta(hours=2))


async def vacuum(url: str) -> None:
    """What the server sees to by itself, once in a while: here months go by between."""
    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM")
    await connection.close()


async def read_history(database: Database) -> dict[date, dict[str, Standing]]:
    axis_of = dict(await rows(database, "SELECT DISTINCT segment_id, axis_name FROM dim_segment_master"))
    found: dict[date, dict[str, Standing]] = {}
    query = (
        "SELECT snapshot_date, customer_id, archetype_id, archetype_level2_id, archetype_level3_id, lifetime_value,"
        " total_orders, days_since_last_purchase, customer_tenure_days, segment_ids"
        " FROM fact_customer_history ORDER BY snapshot_date, customer_id"
    )
    for row in await rows(database, query):
        found.setdefault(row[0], {})[row[1]] = Standing(
            archetype_id=row[2],
            total_orders=row[6],
            days_since_last_purchase=row[7],
            segments={axis_of[each]: each for each in row[9]},
            row=row,
        )
    return found


async def read_borders(database: Database) -> dict[date, Border]:
    """By the day of each discovery."""
    query = (
        "SELECT run.as_of, segment_id, cluster_center, scaler_params FROM dim_segment_master"
        " JOIN segmentation_runs AS run USING (run_id) WHERE run.kind = 'discovery' AND axis_name = :axis"
    )
    centers: dict[date, list[tuple[float, str]]] = {}
    for as_of, segment_id, center, scaler in await rows(database, query, axis=LEAVING):
        at = scaler["features"].index("recency_days")
        assert scaler["transforms"][at] == "log1p"
        day = as_of.astimezone(ZONE).date() - timedelta(days=1)
        centers.setdefault(day, []).append((center[at] * scaler["scale"][at] + scaler["mean"][at], segment_id))
    borders = {}
    for day, each in centers.items():
        (next_to_it, _), (longest, segment_id) = sorted(each)[-2:]
        borders[day] = Border(segment_id, float(np.expm1((next_to_it + longest) / 2)))
    return borders


@pytest.fixture(scope="module")
async def year(embedded_url: str, settings: Settings) -> AsyncIterator[Year]:
    shop = SampleShop(customers=N_BUYERS, until=LAST_DAY, types=(REGULARS, GIFTS))
    records = [record for batch in shop.batches() for record in batch.records]
    ordered: dict[str, list[date]] = {}
    happened: dict[str, set[date]] = {}
    for each in records:
        if isinstance(each, Order | Refund) and each.customer_id is not None:
            day = each.ordered_at.date() if isinstance(each, Order) else each.refunded_at.date()
            happened.setdefault(each.customer_id, set()).add(day)
            if isinstance(each, Order):
                ordered.setdefault(each.customer_id, []).append(day)
    async with own_database(embedded_url) as url:
        database = Database(url, settings)
        await load(database, records)
        for day in DAYS:
            await live(database, day)
            if day.day == 1:
                await vacuum(url)
        yield Year(
            database=database,
            records=records,
            truth={each.customer_id: each for each in shop.truth()},
            ordered={customer_id: sorted(days) for customer_id, days in ordered.items()},
            happened=happened,
            history=await read_history(database),
            borders=await read_borders(database),
        )
        await database.close()


async def test_everyone_is_in_history_from_the_day_of_their_first_order_and_nobody_else_is(year: Year) -> None:
    for day in DAYS:
        assert set(year.history[day]) == {who for who, days in year.ordered.items() if days[0] <= day}, day
    assert set(year.history) == set(DAYS)
    joined = [who for who in year.history[DAYS[-1]] if who not in year.history[DAYS[0]]]
    assert len(joined) > N_BUYERS / 10
    # The first order is within a week of the day they came, on a weekday they like.
    assert all(abs((year.ordered[who][0] - year.truth[who].joined_on).days) <= 7 for who in joined)


async def test_each_day_says_what_had_been_ordered_by_then(year: Year) -> None:
    for day in DAYS:
        for who, standing in year.history[day].items():
            assert standing.total_orders == sum(each <= day for each in year.ordered[who])
            assert standing.days_since_last_purchase == year.away(who, day)


async def test_who_left_for_good_is_found_among_those_longest_away(year: Year) -> None:
    """Once they left three of their usual gaps ago, which 1 of 1,000 gaps outlasts (a gamma of shape 5), and twice the
    border. The axis's other features do not know that somebody left: to outweigh that they would have to lie two
    standard deviations out, which of a normal 5 % do.
    """
    found = Counter[bool]()
    of_this_year = set()
    for day in DAYS:
        for who in year.regulars(day):
            if who.lapsed_on is not None and (day - who.lapsed_on).days > year.long_for(who, day):
                found[year.is_gone(who.customer_id, day)] += 1
                of_this_year |= {who.customer_id} if who.lapsed_on >= DAYS[0] else set()
    assert len(of_this_year) > N_BUYERS / 20
    assert found[True] / found.total() >= 0.95


async def test_who_leaves_within_the_year_is_seen_to_go(year: Year) -> None:
    """Each moves over: not before half the border, and not later than when they are overdue."""
    went, late = 0, 0
    for who in year.regulars(DAYS[0]):
        last = max(each for each in year.ordered[who.customer_id])
        if who.lapsed_on is None or not DAYS[0] <= last <= who.lapsed_on:
            continue
        overdue = next((day for day in DAYS if (day - last).days > year.long_for(who, day)), None)
        if overdue is None:
            continue
        gone = [day for day in DAYS if last <= day <= overdue and year.is_gone(who.customer_id, day)]
        assert not gone or (gone[0] - last).days >= year.border(gone[0]).recency_days / 2
        went, late = went + bool(gone), late + (not gone)
    assert went > N_BUYERS / 20
    assert went / (went + late) >= 0.95


async def test_nobody_comes_back_from_among_the_gone_without_an_order(year: Year) -> None:
    """While the rules stay the same: the longer somebody is away, the nearer to those longest away."""
    came_back = 0
    for before, day in pairwise(DAYS):
        for who in year.history[before]:
            if day not in QUARTERS and year.is_gone(who, before) and not year.is_gone(who, day):
                came_back += 1
                assert day in year.ordered[who]
    assert came_back > 0


async def test_who_still_comes_as_they_always_did_is_not_taken_for_gone(year: Year) -> None:
    """No more often than somebody's gap between orders outlasts half the border, by the gaps the generator draws."""
    seen, expected = [], []
    for day in DAYS:
        for who in year.regulars(day):
            gap = usual_gap(who, day)
            settled = (day - who.joined_on).days > 5 * gap
            if who.lapsed_on is None and settled and gap <= STEADY_GAP_DAYS:
                seen.append(year.is_gone(who.customer_id, day))
                expected.append(still_waiting(year.border(day).recency_days / 2 - MOVED_AHEAD_DAYS, gap=gap))
    assert len(seen) > 10 * len(DAYS)
    assert np.mean(seen) <= np.mean(expected) <= 0.02


def still_waiting(days: float, *, gap: float) -> float:
    """Chance that somebody's last order is longer ago, where gaps are gamma distributed: of all gaps, by their length,
    the part that is beyond so many days.
    """
    shape = REGULARS.regularity
    beyond = gamma.sf(shape * days / gap, shape + 1) - days / gap * gamma.sf(shape * days / gap, shape)
    return float(beyond)


@pytest.mark.parametrize("number", [60, 330], ids=["in the first quarter", "in the last"])
async def test_a_day_is_the_same_when_the_days_between_were_not_lived_and_the_rest_had_not_happened(
    embedded_url: str, settings: Settings, year: Year, number: int
) -> None:
    day = DAYS[number]
    async with own_database(embedded_url) as url:
        database = Database(url, settings)
        await load(database, until(year.records, midnight_after(day)))
        for each in (*QUARTERS, day):
            if each <= day:
                await live(database, each)
        alone = await read_history(database)
        await database.close()
    assert {who: standing.row for who, standing in alone[day].items()} == {
        who: standing.row for who, standing in year.history[day].items()
    }


@pytest.mark.parametrize("days", [7, 28, 120], ids=["a week", "four weeks", "over a discovery"])
async def test_the_migration_matrix_is_what_the_rows_of_its_two_days_say(year: Year, days: int) -> None:
    async with year.database.snapshot() as connection:
        told = await migrations(connection, STORE, days=days)
    assert told is not None
    assert (told.span.before.day, told.span.now.day) == (DAYS[-1] - timedelta(days=days), DAYS[-1])
    then, now = (year.history[each.day] for each in (told.span.before, told.span.now))
    counted = Counter((then[who].archetype_id, now[who].archetype_id) for who in then)
    assert {(flow.before, flow.now): flow.count for flow in told.movement.flows} == counted
    assert (told.movement.new, told.movement.gone) == (len(now) - len(then), 0)
    moved = sum(n for (one, other), n in counted.items() if one != other)
    redrawn = told.movement.count(Move.by_discovery)
    assert told.movement.count(Move.migrated) == moved - redrawn
    assert days == 120 or redrawn == 0


async def test_who_did_nothing_between_two_days_moved_only_where_time_is_known(year: Year) -> None:
    moved = Counter[str]()
    for start, end in zip(QUARTERS, [*(each - timedelta(days=1) for each in QUARTERS[1:]), DAYS[-1]], strict=True):
        for who, then in year.history[start].items():
            if not any(start < each <= end for each in year.happened[who]):
                now = year.history[end][who]
                moved.update(axis for axis, segment_id in then.segments.items() if now.segments[axis] != segment_id)
    assert set(moved) <= KNOW_TIME
    assert moved[LEAVING] > 0
