"""The whole flow: what is served afterwards, and that it is served whole whatever happens on the way."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from app.core.errors import CustomerNotFound, InvalidInput, NotEnoughCustomers, RunInProgress, StoreNotFound
from app.domain.records import Customer, Order, OrderLine, Record, Refund, Ticket
from app.pipeline.features import shop_day
from app.pipeline.ingest import ingest
from app.pipeline.run import RunOptions, RunResult, latest_as_of, segment
from app.pipeline.sample import SampleShop
from app.pipeline.score import score_customer
from app.segmentation.axes import AXES, Need
from app.warehouse import publish, runs
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from app.warehouse.runs import served_run
from app.warehouse.stores import read_store
from tests.fakes import (
    NOW,
    SECRET,
    STAR,
    a_shop,
    assert_alike,
    assert_same_star,
    at,
    bought,
    dump,
    execute,
    gave_back,
    put,
    rows,
    segmented,
    value,
)

N_CUSTOMERS = 160
#: Enough where it is the writing that matters, and quicker than all fourteen.
FEW_AXES = ("purchase_value", "purchase_frequency", "category_exploration")


async def open_shop(database: Database, store_id: str, *, customers: int = N_CUSTOMERS) -> None:
    await ingest(
        database,
        SampleShop(customers=customers),
        store_id=store_id,
        timezone="UTC",
        currency="USD",
        pseudonym_secret=SECRET,
    )


async def served(database: Database, store_id: str) -> int | None:
    found: int | None = await value(
        database, "SELECT served_run_id FROM stores WHERE store_id = :store", store=store_id
    )
    return found


async def run_rows(database: Database, store_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT run_id, status, failure FROM segmentation_runs WHERE store_id = :store ORDER BY run_id"
    return await rows(database, query, store=store_id)


async def broken_promises(database: Database, store_id: str) -> list[str]:
    async with database.snapshot() as connection:
        return [f"{each.promise}: {each.found}" for each in await check_star(connection, store_id) if not each.holds]


@pytest.fixture(scope="module")
async def shop(database: Database) -> tuple[str, RunResult]:
    """A store that has been segmented once, for tests that only read."""
    await open_shop(database, "run-shop", customers=240)
    return "run-shop", await segmented(database, "run-shop")


# What is served


async def test_a_run_is_served_when_it_is_done(database: Database, shop: tuple[str, RunResult]) -> None:
    store_id, result = shop
    assert await served(database, store_id) == result.run_id
    async with database.snapshot() as connection:
        run = await served_run(connection, store_id)
    assert run.report == json.loads(json.dumps(result.report))
    assert run.as_of.isoformat() == result.report["as_of"]
    assert [status for _, status, _ in await run_rows(database, store_id)] == ["published"]


async def test_every_customer_with_an_order_is_segmented_and_nobody_else(
    database: Database, shop: tuple[str, RunResult]
) -> None:
    store_id, result = shop
    query = "SELECT DISTINCT customer_id FROM orders WHERE store_id = :store AND customer_id IS NOT NULL"
    buyers = await rows(database, query, store=store_id)
    known = await rows(database, "SELECT customer_id FROM customers WHERE store_id = :store", store=store_id)
    for table in ("fact_customer_current", "customer_profiles", "fact_customer_history", "customer_intelligence"):
        found = await rows(database, f"SELECT customer_id FROM {table} WHERE store_id = :s", s=store_id)  # noqa: S608
        assert sorted(found) == sorted(buyers)
    assert result.report["n_customers"] == len(buyers) == 240 < len(known)


async def test_the_star_holds_together(database: Database, shop: tuple[str, RunResult]) -> None:
    assert await broken_promises(database, shop[0]) == []


async def test_every_axis_with_data_is_there_and_the_silent_ones_are_named(
    database: Database, shop: tuple[str, RunResult], store_id: str
) -> None:
    """The sample shop has records for all of them; the corner shop has neither tickets nor discounts."""
    await put(database, store_id, a_shop(40))
    corner = await segmented(database, store_id, min_population=10)
    lacking = {axis.name for axis in AXES if axis.need in (Need.tickets, Need.discounts)}
    assert len(lacking) == 2
    for store, result, expected in ((*shop, set()), (store_id, corner, lacking)):
        told = {axis["axis"]: axis["status"] for axis in result.report["axes"]}
        assert len(told) == len(AXES) == 14
        silent = {name for name, status in told.items() if status == "no_data"}
        assert silent == expected
        stored = await rows(database, "SELECT DISTINCT axis_name FROM dim_segment_master WHERE store_id = :s", s=store)
        assert {name for (name,) in stored} == set(told) - silent


async def test_no_segment_is_smaller_than_three_percent(database: Database, shop: tuple[str, RunResult]) -> None:
    query = "SELECT min(population_percentage), sum(population_percentage), count(DISTINCT axis_name) "
    smallest, total, n_axes = (await rows(database, query + "FROM dim_segment_master WHERE store_id = :s", s=shop[0]))[
        0
    ]
    assert smallest >= 3
    assert total == pytest.approx(100 * n_axes)


async def test_the_business_numbers_of_a_customer_are_right(database: Database, store_id: str) -> None:
    """By hand: London is on summer time from 31 March; as_of is 2024-04-21 00:00 there."""
    mine = [
        *bought("ada", "a1", "2024-03-01 10:00", ("tea", "2", "10")),
        *bought("ada", "a2", "2024-04-10 23:30", ("jam", "1", "5")),  # 11 April in London
        *gave_back("ada", "C1", "2024-04-15 10:00", "tea", "1", "10"),
        *bought("bea", "b1", "2024-04-20 10:00", ("tea", "1", "1")),
    ]
    await put(database, store_id, [*a_shop(20, first_day="2024-01-05 10:00", orders_each=1), *mine])
    result = await segmented(database, store_id, min_population=5)
    assert result.report["as_of"] == "2024-04-20T23:00:00+00:00"
    query = """
        SELECT lifetime_value, total_orders, days_since_last_purchase, customer_tenure_days, avg_order_value,
            snapshot_date::text
        FROM fact_customer_current WHERE store_id = :store AND customer_id = 'ada'
    """
    ((worth, orders, recency, tenure, per_order, day),) = await rows(database, query, store=store_id)
    assert (worth, orders, recency, tenure, per_order) == (15, 2, 10, 51, 7.5)
    assert day == "2024-04-20"


async def test_the_same_records_give_the_same_run_again(database: Database, store_id: str) -> None:
    """Ids, names, memberships, archetypes: everything but the number of the run and when it was written."""
    await open_shop(database, store_id)
    said = []
    for _ in range(2):
        run = await segmented(database, store_id)
        leave_out = ["xmin", "run_id", "updated_at"]
        said.append(await dump(database, store_id, STAR, without=leave_out, of_run=run.run_id))
    assert_same_star(said[0], said[1])
    assert all(said[0][table] for table in STAR)


async def test_a_second_import_of_the_same_file_changes_nothing_of_the_next_run(
    database: Database, store_id: str
) -> None:
    await open_shop(database, store_id)
    leave_out = ["xmin", "run_id", "updated_at"]
    first = await segmented(database, store_id)
    before = await dump(database, store_id, STAR, without=leave_out, of_run=first.run_id)
    await open_shop(database, store_id)
    second = await segmented(database, store_id)
    assert_same_star(await dump(database, store_id, STAR, without=leave_out, of_run=second.run_id), before)


async def test_only_the_axes_asked_for_are_discovered(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    result = await segmented(database, store_id, axes=("frequency", "purchase_value"))
    assert [axis["axis"] for axis in result.report["axes"]] == ["purchase_frequency", "purchase_value"]
    profile = await value(
        database, "SELECT segment_memberships FROM customer_profiles WHERE store_id = :s LIMIT 1", s=store_id
    )
    assert set(profile) == {"purchase_frequency", "purchase_value"}
    assert await broken_promises(database, store_id) == []


async def test_a_shop_without_structure_has_one_kind_of_customer(database: Database, store_id: str) -> None:
    """Everyone did exactly the same."""
    await put(
        database,
        store_id,
        [record for i in range(30) for record in bought(f"c{i}", f"o{i}", "2024-03-01", ("tea", "1", "2"))],
    )
    result = await segmented(database, store_id, min_population=10)
    assert {axis.get("k") for axis in result.report["axes"]} == {1, None}
    assert result.report["archetypes"]["levels"][1]["count"] == 1
    assert await broken_promises(database, store_id) == []


async def test_odd_customer_ids_are_served_as_they_are(database: Database, store_id: str) -> None:
    odd = ["a,b", 'say "no"', "two\nlines", " spaced ", "O'Hara", "日本", "\\N", "00123", "NULL", "1e5", "true", "{x}"]
    records = [r for i, name in enumerate(odd) for r in bought(name, f"odd-{i}", "2024-03-01", (name, "1", "2"))]
    await put(database, store_id, [*a_shop(15), *records])
    await segmented(database, store_id, min_population=5)
    found = await rows(database, "SELECT customer_id FROM customer_intelligence WHERE store_id = :s", s=store_id)
    assert {name for (name,) in found} == {*odd, *(f"c{i:03}" for i in range(15))}
    assert await broken_promises(database, store_id) == []


# The moment


async def test_as_of_is_the_end_of_the_last_orders_day_on_the_shops_clock(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-07-01 23:30", ("tea", "1", "2")))  # 2 July in London
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        assert await latest_as_of(connection, store, now=NOW) == at("2024-07-02 23:00")
        assert await latest_as_of(connection, store, now=at("2024-07-02 12:00")) == at("2024-07-02 12:00")
        # To the end of the minute: what was recorded in it counts, and who is scored within it is scored alike.
        for second in (1, 59):
            now = at("2024-07-02 12:00") + timedelta(seconds=second)
            assert await latest_as_of(connection, store, now=now) == at("2024-07-02 12:01")


async def test_a_day_counts_whole_when_the_clocks_change(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-31 12:00", ("tea", "1", "2")))
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        as_of = await latest_as_of(connection, store, now=NOW)
    assert as_of == at("2024-03-31 23:00")
    assert shop_day(as_of, "Europe/London") % 1 == 0
    assert shop_day(as_of, "Europe/London") - shop_day(at("2024-03-31 00:00"), "Europe/London") == 1


def before(records: list[Record], moment: datetime) -> list[Record]:
    early = {r.order_id for r in records if isinstance(r, Order) and r.ordered_at < moment}
    return [
        r
        for r in records
        if isinstance(r, Customer)
        or (isinstance(r, Order | OrderLine) and r.order_id in early)
        or (isinstance(r, Refund) and r.refunded_at < moment)
        or (isinstance(r, Ticket) and r.created_at < moment)
    ]


SAID_OF_A_STORE = (
    "SELECT axis_name, position, segment_name, interpretation, cluster_center, scaler_params, customer_count "
    "FROM dim_segment_master WHERE store_id = :store ORDER BY 1, 2",
    "SELECT customer_id, segment_memberships, dominant_segments, feature_vectors, interpretation, lifetime_value "
    "FROM customer_profiles WHERE store_id = :store ORDER BY 1",
    """
    SELECT customer_id, fact.lifetime_value, fact.total_orders, days_since_last_purchase, customer_tenure_days,
        fact.avg_order_value, fact.dominant_segments, membership_strengths, cluster_confidence, fold_distance,
        snapshot_date, one.name, one.dominant_segments, two.name, two.strength_band, three.name, three.second_segments
    FROM fact_customer_current AS fact
    JOIN dim_archetype_l1 AS one ON (one.store_id, one.archetype_id) = (fact.store_id, fact.archetype_id)
    JOIN dim_archetype_l2 AS two ON (two.store_id, two.archetype_id) = (fact.store_id, fact.archetype_level2_id)
    JOIN dim_archetype_l3 AS three ON (three.store_id, three.archetype_id) = (fact.store_id, fact.archetype_level3_id)
    WHERE fact.store_id = :store ORDER BY 1
    """,
)


@pytest.mark.parametrize("tells_orders", [True, False], ids=["refunds name their order", "refunds name no order"])
async def test_a_run_as_of_the_past_uses_nothing_after_it(
    database: Database, store_id: str, tells_orders: bool
) -> None:
    moment = datetime(2025, 3, 1, tzinfo=ZoneInfo("America/Chicago"))
    records = [record for batch in SampleShop(customers=N_CUSTOMERS).batches() for record in batch.records]
    if not tells_orders:
        records = [
            Refund(r.document_id, r.customer_id, r.product_id, r.quantity, r.amount, r.refunded_at)
            if isinstance(r, Refund)
            else r
            for r in records
        ]
    then = f"{store_id}-then"
    await put(database, store_id, records)
    await put(database, then, before(records, moment))
    for store in (store_id, then):
        await segmented(database, store, as_of=moment)
    for query in SAID_OF_A_STORE:
        assert_alike(await rows(database, query, store=store_id), await rows(database, query, store=then))
    assert await value(
        database, "SELECT count(*) FROM fact_customer_current WHERE store_id = :s", s=store_id
    ) < await value(database, "SELECT count(DISTINCT customer_id) FROM orders WHERE store_id = :s", s=store_id)


# Refusals


async def test_too_few_customers_are_refused_with_both_numbers(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(12))
    with pytest.raises(
        NotEnoughCustomers, match=f"'{store_id}' has 12 customers .* at least 100.*--min-population 12"
    ) as caught:
        await segmented(database, store_id)
    assert (caught.value.found, caught.value.needed) == (12, 100)
    assert await served(database, store_id) is None
    ((_, status, failure),) = await run_rows(database, store_id)
    assert (status, failure) == ("failed", str(caught.value))


async def test_the_bar_can_be_lowered_to_what_there_is(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(12))
    with pytest.raises(NotEnoughCustomers):
        await segmented(database, store_id, min_population=13)
    result = await segmented(database, store_id, min_population=12)
    assert result.report["n_customers"] == 12
    assert await broken_promises(database, store_id) == []


@pytest.mark.parametrize("n_customers", [1, 2, 3, 5])
async def test_a_handful_of_customers_is_segmented_when_asked_for(
    database: Database, store_id: str, n_customers: int
) -> None:
    await put(database, store_id, a_shop(n_customers))
    result = await segmented(database, store_id, min_population=1)
    assert result.report["n_customers"] == n_customers
    assert await broken_promises(database, store_id) == []


async def test_a_store_without_orders_is_refused(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("ada")])
    with pytest.raises(NotEnoughCustomers) as caught:
        await segmented(database, store_id, min_population=1)
    assert caught.value.found == 0


async def test_a_moment_before_all_orders_is_refused(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(12))
    with pytest.raises(NotEnoughCustomers) as caught:
        await segmented(database, store_id, min_population=1, as_of=at("2020-01-01"))
    assert caught.value.found == 0


async def test_an_unknown_store_is_named_with_those_there_are(database: Database, shop: tuple[str, RunResult]) -> None:
    with pytest.raises(StoreNotFound, match=f"no store 'nowhere'.*{shop[0]}"):
        await segmented(database, "nowhere")


async def test_an_unknown_axis_is_named_and_nothing_is_begun(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(12))
    with pytest.raises(InvalidInput, match="shoe_size"):
        await segmented(database, store_id, min_population=1, axes=("purchase_value", "shoe_size"))
    assert await run_rows(database, store_id) == []


async def test_a_dry_run_finds_the_same_and_keeps_nothing(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    rehearsed = await segmented(database, store_id, dry_run=True)
    assert rehearsed.run_id is None
    assert await run_rows(database, store_id) == []
    assert not any((await dump(database, store_id, STAR)).values())
    assert (await segmented(database, store_id)).report == rehearsed.report


# One at a time


async def test_of_two_runs_at_once_one_is_told_which_is_running(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    results = await asyncio.gather(
        *(segmented(database, store_id, axes=FEW_AXES) for _ in range(2)), return_exceptions=True
    )
    (won,) = [each for each in results if isinstance(each, RunResult)]
    (lost,) = [each for each in results if isinstance(each, RunInProgress)]
    assert lost.run_id in (won.run_id, None)  # None where the other has the lock and has not begun yet
    assert await served(database, store_id) == won.run_id


async def test_stores_are_segmented_side_by_side(database: Database, store_id: str) -> None:
    stores = [f"{store_id}-{number}" for number in range(2)]
    for store in stores:
        await open_shop(database, store)
    results = await asyncio.gather(*(segmented(database, store, axes=FEW_AXES) for store in stores))
    assert [await served(database, store) for store in stores] == [each.run_id for each in results]


SEGMENT_AND_WAIT = """
import asyncio, sys, time
from app.core.config import Settings
from app.pipeline.run import RunOptions, segment
from app.warehouse import publish
from app.warehouse.engine import Database
from tests.fakes import NOW

def wait():
    print("halfway", flush=True)
    time.sleep(600)

def progress(stage, share):
    if stage == sys.argv[3]:
        wait()

if sys.argv[3] == "all but the commit":
    whole = publish.publish
    async def then_wait(*arguments, **others):
        await whole(*arguments, **others)
        wait()
    publish.publish = then_wait

async def main():
    database = Database(sys.argv[1], Settings(_env_file=None))
    options = RunOptions(axes=("purchase_value", "purchase_frequency"))
    await segment(database, sys.argv[2], options, now=NOW, progress=progress)

asyncio.run(main())
"""


@asynccontextmanager
async def another_process_segmenting(url: str, store_id: str, *, until: str) -> AsyncIterator[None]:
    """A real process that got this far with the store and stays there; killed with SIGKILL at the end."""
    command = [sys.executable, "-c", SEGMENT_AND_WAIT, url, store_id, until]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as runner:  # noqa: ASYNC220
        try:
            assert runner.stdout is not None
            while (line := await asyncio.to_thread(runner.stdout.readline)) != "halfway\n":
                assert line, "the run ended before it was halfway"
            yield
        finally:
            os.kill(runner.pid, signal.SIGKILL)


async def when_free(database: Database, store_id: str) -> None:
    """The server notices a killed process's connection within moments."""
    for _ in range(200):
        async with database.session_lock(runs.lock_key(store_id)) as free:
            if free:
                return
        await asyncio.sleep(0.05)
    pytest.fail("the lock of a killed run was held for 10 seconds")


@pytest.mark.parametrize("stage", ["clustering", "all but the commit"])
async def test_a_run_that_is_killed_leaves_the_old_one_served_and_the_way_free(
    database: Database, empty_database_url: str, store_id: str, stage: str
) -> None:
    await open_shop(database, store_id)
    old = await segmented(database, store_id, axes=FEW_AXES)
    star = await dump(database, store_id, STAR)
    async with another_process_segmenting(empty_database_url, store_id, until=stage):
        running = (await run_rows(database, store_id))[-1]
        assert running[1] == "running"
        # While it runs, a second one is refused and told which is in the way.
        with pytest.raises(RunInProgress, match=f"run {running[0]}") as caught:
            await segmented(database, store_id, axes=FEW_AXES)
        assert caught.value.run_id == running[0]
        assert await dump(database, store_id, STAR) == star
    await when_free(database, store_id)

    assert await served(database, store_id) == old.run_id
    assert await dump(database, store_id, STAR) == star
    new = await segmented(database, store_id, axes=FEW_AXES)
    assert await served(database, store_id) == new.run_id
    assert [status for _, status, _ in await run_rows(database, store_id)] == ["published", "failed", "published"]
    assert "ended before" in (await run_rows(database, store_id))[1][2]
    assert await broken_promises(database, store_id) == []


# The switch


@pytest.fixture
def failing_copy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes writing this table fail from now on, halfway through its rows."""

    def fail_at(broken: str) -> None:
        as_text, as_numbers = publish.copy_in, publish.copy_in_binary

        async def copy_in(connection: Any, table: str, rows: Any) -> None:
            await as_text(connection, table, rows[: len(rows) // 2] if table == broken else rows)
            if table == broken:
                raise RuntimeError("the disk is full")

        async def copy_in_binary(connection: Any, table: Any, rows: Any) -> None:
            await as_numbers(connection, table, rows[: len(rows) // 2] if table.name == broken else rows)
            if table.name == broken:
                raise RuntimeError("the disk is full")

        monkeypatch.setattr(publish, "copy_in", copy_in)
        monkeypatch.setattr(publish, "copy_in_binary", copy_in_binary)

    return fail_at


@pytest.mark.parametrize("table", ["dim_archetype_l3", "fact_customer_standing", "fact_customer_history"])
async def test_a_failure_in_the_middle_of_publishing_keeps_the_old_run(
    database: Database, store_id: str, failing_copy: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    await open_shop(database, store_id)
    old = await segmented(database, store_id, axes=FEW_AXES)
    star = await dump(database, store_id, STAR)
    with monkeypatch.context():
        failing_copy(table)
        with pytest.raises(RuntimeError, match="disk is full"):
            await segmented(database, store_id, axes=FEW_AXES)
    assert await served(database, store_id) == old.run_id
    assert await dump(database, store_id, STAR) == star
    assert (await run_rows(database, store_id))[-1][1:] == ("failed", "Something of ours went wrong: RuntimeError.")
    monkeypatch.undo()
    new = await segmented(database, store_id, axes=FEW_AXES)
    assert await served(database, store_id) == new.run_id


async def test_a_failure_beside_the_publishing_keeps_the_old_run_and_its_words_to_itself(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await open_shop(database, store_id)
    old = await segmented(database, store_id, axes=FEW_AXES)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("ada@example.com")

    for of_module in ("star.customer_rows", "run.run_report"):
        with monkeypatch.context() as broken:
            broken.setattr(f"app.pipeline.{of_module}", fail)
            with pytest.raises(ValueError, match="ada@example"):
                await segmented(database, store_id, axes=FEW_AXES)
        gc.collect()  # asyncio complains of an error that nobody looked at when its task is thrown away
        assert await served(database, store_id) == old.run_id
        assert (await run_rows(database, store_id))[-1][1:] == ("failed", "Something of ours went wrong: ValueError.")
    assert "ada@example" not in caplog.text


async def test_two_runs_at_once_leave_the_threads_turns_as_they_were(database: Database, store_id: str) -> None:
    usual = sys.getswitchinterval()
    stores = [f"{store_id}-{number}" for number in range(3)]
    for store in stores:
        await open_shop(database, store)
    await asyncio.gather(*(segmented(database, store, axes=FEW_AXES) for store in stores))
    assert sys.getswitchinterval() == usual


async def test_customers_of_older_runs_are_swept_and_what_those_runs_found_is_not(
    database: Database, store_id: str
) -> None:
    await open_shop(database, store_id)
    results = [await segmented(database, store_id, max_k=max_k, axes=FEW_AXES) for max_k in (2, 3, 2)]
    for table in STAR:
        found = await rows(database, f"SELECT DISTINCT run_id FROM {table} WHERE store_id = :s ORDER BY 1", s=store_id)  # noqa: S608
        expected = results if table.startswith("dim_") else results[-1:]
        assert found == [(each.run_id,) for each in expected], table
    assert len(await run_rows(database, store_id)) == 3


async def test_history_has_one_row_a_customer_and_day(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(20))
    days = [at("2024-03-01"), at("2024-03-02"), at("2024-03-01")]
    for moment in days:
        await segmented(database, store_id, min_population=5, as_of=moment, axes=FEW_AXES)
    query = """
        SELECT snapshot_date::text, count(*), count(DISTINCT customer_id) FROM fact_customer_history
        WHERE store_id = :store GROUP BY 1 ORDER BY 1
    """
    assert await rows(database, query, store=store_id) == [("2024-02-29", 20, 20), ("2024-03-01", 20, 20)]
    assert await broken_promises(database, store_id) == []


async def test_history_says_what_the_run_of_that_day_said(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    await segmented(database, store_id, axes=FEW_AXES)
    columns = (
        "customer_id, snapshot_date, archetype_id, archetype_level2_id, archetype_level3_id, lifetime_value, "
        "total_orders, days_since_last_purchase, customer_tenure_days"
    )
    current, history = [
        await rows(database, f"SELECT {columns} FROM {table} WHERE store_id = :s ORDER BY 1", s=store_id)  # noqa: S608
        for table in ("fact_customer_current", "fact_customer_history")
    ]
    assert current == history
    strays = """
        SELECT count(*) FROM fact_customer_history AS history, unnest(segment_ids) AS id
        WHERE store_id = :s AND id NOT IN (SELECT segment_id FROM dim_segment_master WHERE store_id = :s)
    """
    assert await value(database, strays, s=store_id) == 0


# Dimensions of runs before stay; of one that is not served yet there is nothing to see.
SEEN = (
    *[
        f"SELECT array_agg(DISTINCT run_id) FROM {table} WHERE store_id = :store "  # noqa: S608
        "AND run_id >= (SELECT served_run_id FROM stores WHERE store_id = :store)"
        for table in ("dim_segment_master", "dim_archetype_l1", "dim_archetype_l2", "dim_archetype_l3")
    ],
    "SELECT array_agg(DISTINCT run_id) FROM fact_customer_current WHERE store_id = :store",
    "SELECT array_agg(DISTINCT run_id) FROM customer_profiles WHERE store_id = :store",
    "SELECT count(*) FROM fact_customer_current WHERE store_id = :store",
    "SELECT count(*) FROM customer_profiles WHERE store_id = :store",
    # Every profile tells of all its run's axes by name.
    "SELECT count(*) FROM customer_profiles AS profile WHERE store_id = :store AND (SELECT count(*) "
    "FROM jsonb_object_keys(segment_memberships)) = (SELECT count(DISTINCT axis_name) FROM dim_segment_master "
    "WHERE store_id = :store AND run_id = (SELECT served_run_id FROM stores WHERE store_id = :store))",
    "SELECT count(*) FROM customer_intelligence WHERE store_id = :store",
    "SELECT sum(member_count) FROM dim_archetype_l1 WHERE store_id = :store "
    "AND run_id = (SELECT served_run_id FROM stores WHERE store_id = :store)",
)
SEEN_AT_ONCE = f"SELECT served_run_id, ({'), ('.join(SEEN)}) FROM stores WHERE store_id = :store"  # noqa: S608


async def test_readers_during_the_switch_see_wholly_the_old_or_wholly_the_new_run(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_shop(database, store_id)

    def slowly(whole: Callable[..., Any]) -> Callable[..., Any]:
        async def copy(*arguments: Any) -> None:
            await whole(*arguments)
            await asyncio.sleep(0.02)

        return copy

    for name in ("copy_in", "copy_in_binary"):
        monkeypatch.setattr(publish, name, slowly(getattr(publish, name)))
    moments = [None, datetime(2024, 6, 1, tzinfo=ZoneInfo("UTC")), None, datetime(2025, 1, 1, tzinfo=ZoneInfo("UTC"))]
    sizes: dict[int | None, int] = {}
    first = await segmented(database, store_id, axes=FEW_AXES)
    sizes[first.run_id] = first.report["n_customers"]
    seen: list[tuple[Any, ...]] = []
    done = asyncio.Event()

    async def read_in_one_statement() -> None:
        while not done.is_set():
            seen.extend(await rows(database, SEEN_AT_ONCE, store=store_id))
            await asyncio.sleep(0)

    async def read_in_several() -> None:
        while not done.is_set():
            async with database.snapshot() as connection:
                found: list[Any] = [(await served_run(connection, store_id)).run_id]
                for query in SEEN:
                    found.append((await connection.execute(text(query), {"store": store_id})).scalar_one())
                    await asyncio.sleep(0)
            seen.append(tuple(found))

    readers = [asyncio.create_task(read_in_one_statement()), asyncio.create_task(read_in_several())]
    try:
        for moment in moments:
            result = await segmented(database, store_id, as_of=moment, axes=FEW_AXES, min_population=50)
            sizes[result.run_id] = result.report["n_customers"]
    finally:
        done.set()
        await asyncio.gather(*readers)
    assert len(set(sizes.values())) == 3
    for run, *found in seen:
        assert found == [[run]] * 6 + [sizes[run]] * 5
    assert {run for run, *_ in seen} >= set(list(sizes)[:-1])


async def test_a_customer_kept_while_a_run_is_published_stops_neither(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_shop(database, store_id)
    await segmented(database, store_id, axes=FEW_AXES)
    customer = await value(
        database, "SELECT min(customer_id) FROM fact_customer_current WHERE store_id = :s", s=store_id
    )
    whole, half_scored = publish.replace_customer, asyncio.Event()

    async def replace(connection: Any, store_id: str, run_id: int, row: Any) -> None:
        await whole(connection, store_id, run_id, row)
        half_scored.set()
        for _ in range(100):  # until the run waits for us
            if await value(database, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
                return
            await asyncio.sleep(0.05)

    monkeypatch.setattr(publish, "replace_customer", replace)
    scoring = asyncio.create_task(score_customer(database, store_id, customer, keep=True))
    await half_scored.wait()
    outcomes = await asyncio.gather(
        scoring, segmented(database, store_id, axes=FEW_AXES, max_k=2), return_exceptions=True
    )
    assert [each for each in outcomes if isinstance(each, BaseException)] == []
    assert await broken_promises(database, store_id) == []


async def test_an_import_while_a_run_is_under_way_is_not_half_seen(database: Database, store_id: str) -> None:
    """A run reads orders, lines, refunds and tickets of one moment."""
    await open_shop(database, store_id)
    more = [record for batch in SampleShop(customers=N_CUSTOMERS + 60).batches() for record in batch.records]
    importing: list[asyncio.Task[Any]] = []

    def begin_import(stage: str, share: float) -> None:
        if stage == "reading":
            importing.append(asyncio.create_task(put(database, store_id, more)))

    result = await segment(database, store_id, RunOptions(axes=FEW_AXES), now=NOW, progress=begin_import)
    await asyncio.gather(*importing)
    assert result.report["n_customers"] == N_CUSTOMERS


async def test_a_customer_who_left_no_trace_is_not_scored(database: Database, shop: tuple[str, RunResult]) -> None:
    with pytest.raises(CustomerNotFound):
        await score_customer(database, shop[0], "nobody")


async def test_a_failed_first_run_serves_nothing(
    database: Database, store_id: str, failing_copy: Callable[[str], None]
) -> None:
    await open_shop(database, store_id)
    failing_copy("fact_customer_standing")
    with pytest.raises(RuntimeError):
        await segmented(database, store_id, axes=FEW_AXES)
    assert await served(database, store_id) is None
    assert not any((await dump(database, store_id, STAR)).values())


async def test_a_run_stands_on_the_records_of_its_store_alone(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    await segmented(database, store_id, axes=FEW_AXES)
    before_other = await dump(database, store_id, STAR)
    other = f"{store_id}-other"
    await open_shop(database, other, customers=120)
    await segmented(database, other, axes=FEW_AXES)
    assert await dump(database, store_id, STAR) == before_other
    await execute(database, "DELETE FROM stores WHERE store_id = :s", s=other)
    assert await dump(database, store_id, STAR) == before_other


async def test_a_long_run_can_be_followed(database: Database, store_id: str) -> None:
    heard: list[tuple[str, float]] = []
    await put(database, store_id, a_shop(30))
    options = RunOptions(min_population=10)
    await segment(database, store_id, options, now=NOW + timedelta(days=1), progress=lambda *at: heard.append(at))
    stages = list(dict.fromkeys(stage for stage, _ in heard))
    assert stages == ["reading", "features", "clustering", "archetypes", "profiles", "publishing"]
