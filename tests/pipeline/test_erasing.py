"""One person erased: nothing of them is left, nothing brings them back, and whatever cuts it short is made good."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from app.core.config import Settings
from app.core.errors import CustomerNotFound, EmailNotFound, StoreNotFound
from app.core.keys import tombstone
from app.domain.records import Customer, Order, Record, Ticket
from app.pipeline import erasing
from app.pipeline import predict as predicting
from app.pipeline import rescore as rescoring
from app.pipeline import score as scoring
from app.pipeline.erasing import complete, complete_open, erase, request
from app.pipeline.held import everything_held
from app.pipeline.ingest import ingest
from app.pipeline.predict import PredictOptions, predict
from app.pipeline.rescore import rescore, score_changed
from app.pipeline.run import RunOptions, segment
from app.pipeline.score import score_customer
from app.segmentation.clustering import KRange
from app.segmentation.discovery import DiscoveryOptions
from app.warehouse import predictions, publish, runs
from app.warehouse.audit import AuditNote
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from app.warehouse.erasures import Receipt, State
from app.warehouse.stores import hold_imports
from tests.conftest import own_tables
from tests.fakes import (
    NOW,
    SECRET,
    ListSource,
    a_shop,
    at,
    bought,
    dump,
    erasure_noted,
    execute,
    gave_back,
    put,
    rows,
    value,
)
from tests.jobs.processes import until
from tests.warehouse.test_publish import a_star

#: Whose records bear an unmistakable mark.
WHO = "canary"
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
#: Rows about them, by table, in the shop below.
HELD = {
    "customers": 1,
    "customer_pseudonyms": 1,
    "customers_changed": 1,
    "orders": 2,
    "order_items": 2,
    "refunds": 1,
    "tickets": 1,
    "fact_customer_standing": 1,
    "fact_customer_history": 2,
    "fact_customer_prediction": 1,
}
#: Of a corner shop in which everyone orders each fortnight or so.
MONTHS = [*a_shop(60, orders_each=6), *bought("zz", "last", "2024-10-01 12:00", ("P1", "1", "5"))]


async def erased(database: Database, store_id: str, customer_id: str = WHO, **more: Any) -> Receipt:
    asked = {"secret": SECRET, "by": "KEY00001", "noted": erasure_noted(store_id), "patience_seconds": 10.0, **more}
    (receipt,) = await erase(database, store_id, customer_id=customer_id, **asked)
    return receipt


def records_of(who: str, *, day: str = "2024-03-01") -> list[Record]:
    """A customer who has bought, given back and asked, with their mark on everything."""
    return [
        Customer(who, email=f"{who}@shop.test", first_name=f"{who}-first", last_name=f"{who}-last", phone=f"{who}-tel"),
        *bought(who, f"{who}-o1", day, ("P1", "2", "50"), order_number=f"#{who}", tracking_numbers=(f"{who}-box",))[1:],
        *gave_back(who, f"{who}-paper", "2024-03-09", "P1", "1", "50")[1:],
        Ticket(f"{who}-asks", who, at("2024-03-05")),
    ]


async def speaking_of(database: Database, store_id: str, mark: str = WHO) -> list[str]:
    """The tables, of all there are, with rows of a store in which a word stands."""
    found = []
    for (table,) in await rows(database, f"{TABLES} ORDER BY relname"):
        of_store = "strpos(t::text, :store) > 0 AND strpos(t::text, :mark) > 0"
        if await value(database, f"SELECT count(*) FROM {table} AS t WHERE {of_store}", mark=mark, store=store_id):  # noqa: S608
            found.append(table)
    return found


async def discovered(database: Database, store_id: str, progress: Callable[[str, float], None] | None = None) -> None:
    options = RunOptions(
        axes=("purchase_value", "purchase_frequency"),
        min_population=1,
        discovery=DiscoveryOptions(k_range=KRange(2, 3), archetype_min_members=2),
    )
    await segment(database, store_id, options, now=NOW, **({} if progress is None else {"progress": progress}))


@pytest.fixture
async def shop(database: Database, store_id: str) -> str:
    """Somebody among others, segmented twice, a day apart, and predicted."""
    await put(database, store_id, [*MONTHS, *records_of(WHO)])
    await discovered(database, store_id)
    await rescore(database, store_id, now=NOW, as_of=at("2024-08-01"))
    await predict(database, store_id, PredictOptions(), now=NOW)
    await put(database, store_id, bought(WHO, f"{WHO}-o2", "2024-09-30", ("P2", "1", "60")))
    return store_id


async def promises_broken(database: Database, store_id: str) -> list[str]:
    async with database.snapshot() as connection:
        return [each.promise for each in await check_star(connection, store_id) if not each.holds]


async def test_of_somebody_erased_nothing_is_left_and_the_receipt_says_what_there_was(
    database: Database, shop: str
) -> None:
    pseudonym = await value(
        database, "SELECT pseudonym FROM customer_pseudonyms WHERE store_id = :s AND customer_id = :c", s=shop, c=WHO
    )
    assert len(await speaking_of(database, shop)) >= 10
    others = "SELECT count(*) FROM customers WHERE store_id = :s"
    n_customers = await value(database, others, s=shop)
    receipt = await erased(database, shop)
    assert await speaking_of(database, shop) == []
    assert await speaking_of(database, shop, pseudonym) == []
    assert (receipt.state, receipt.store_id, receipt.requested_by) == (State.done, shop, "KEY00001")
    assert receipt.done_at is not None and receipt.done_at >= receipt.requested_at
    assert receipt.rows == HELD
    assert await value(database, others, s=shop) == n_customers - 1
    broken = {"archetypes count their members rightly", "segments count their customers rightly"}
    assert set(await promises_broken(database, shop)) <= broken  # until they are next placed


async def test_erasing_again_answers_the_first_receipt(database: Database, shop: str) -> None:
    first = await erased(database, shop)
    before = await dump(database, shop, ["erasures", "customers", "orders"])
    assert await erased(database, shop, by="KEY00002") == first
    assert await dump(database, shop, ["erasures", "customers", "orders"]) == before


async def test_nobody_is_erased_twice_by_a_hundred_at_once(database: Database, shop: str) -> None:
    receipts = await asyncio.gather(*(erased(database, shop, by=f"KEY00{number:03}") for number in range(100)))
    assert len({receipt.receipt_id for receipt in receipts}) == 1
    assert {receipt.state for receipt in receipts} == {State.done}
    assert receipts[0].rows["orders"] == 2


async def test_an_erasure_that_cannot_be_noted_in_the_audit_log_is_not_asked_for(database: Database, shop: str) -> None:
    def away(_: str) -> AuditNote:
        raise RuntimeError("no room for the note")

    with pytest.raises(RuntimeError):
        await erased(database, shop, noted=away)
    assert await value(database, "SELECT count(*) FROM erasures WHERE store_id = :s", s=shop) == 0


async def test_who_ends_a_receipt_that_was_read_before_it_was_done_keeps_what_it_says(
    database: Database, shop: str
) -> None:
    asked: dict[str, Any] = {"secret": SECRET, "by": "KEY00001", "noted": erasure_noted(shop)}
    (noted,) = await request(database, shop, customer_id=WHO, email=None, **asked)
    done = await erased(database, shop)
    again = "UPDATE erasures SET state = 'requested', customer_id = :c, done_at = NULL WHERE store_id = :s"
    await execute(database, again, c=WHO, s=shop)
    assert (await complete(database, noted, patience_seconds=5)).rows == done.rows


async def test_whom_nobody_knows_is_not_found(database: Database, store_id: str) -> None:
    asked: dict[str, Any] = {"secret": SECRET, "by": "", "noted": erasure_noted(store_id), "patience_seconds": 1.0}
    with pytest.raises(StoreNotFound):
        await erase(database, store_id, customer_id=WHO, **asked)
    await put(database, store_id, records_of("ada"))
    with pytest.raises(CustomerNotFound):
        await erase(database, store_id, customer_id=WHO, **asked)
    with pytest.raises(EmailNotFound) as raised:
        await erase(database, store_id, email=f"{WHO}@shop.test", **asked)
    assert WHO not in str(raised.value)
    assert await value(database, "SELECT count(*) FROM erasures WHERE store_id = :s", s=store_id) == 0


async def test_all_who_share_an_address_are_erased_with_a_receipt_each(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer(each, email="home@shop.test") for each in ("ada", "bea")])
    await put(database, store_id, [Customer("cay", email="cay@shop.test")])
    asked: dict[str, Any] = {"secret": SECRET, "by": "", "noted": erasure_noted(store_id), "patience_seconds": 5.0}
    receipts = await erase(database, store_id, email="Home@shop.test", **asked)
    assert len({receipt.receipt_id for receipt in receipts}) == 2
    left = await rows(database, "SELECT customer_id FROM customers WHERE store_id = :s", s=store_id)
    assert left == [("cay",)]
    with pytest.raises(EmailNotFound):
        await erase(database, store_id, email="home@shop.test", **asked)


async def test_a_pseudonym_names_whom_to_erase_and_says_nothing_afterwards(database: Database, store_id: str) -> None:
    await put(database, store_id, records_of(WHO))
    named = "SELECT pseudonym FROM customer_pseudonyms WHERE store_id = :s"
    pseudonym = await value(database, named, s=store_id)
    receipt = await erased(database, store_id, pseudonym)
    assert await speaking_of(database, store_id) == []
    with pytest.raises(CustomerNotFound):
        await erased(database, store_id, pseudonym)
    assert await erased(database, store_id, WHO) == receipt


async def test_a_namesake_in_another_store_stays(database: Database, store_id: str) -> None:
    other = f"{store_id}-other"
    for store in (store_id, other):
        await put(database, store, records_of(WHO))
    before = await dump(database, other)
    await erased(database, store_id)
    await put(database, other, records_of(WHO))
    assert await dump(database, other) == before


# Never back


async def test_an_erased_customer_is_not_imported_again_and_the_import_says_so(
    database: Database, store_id: str
) -> None:
    everything = [*records_of("ada"), *records_of(WHO), *records_of("bea")]
    await put(database, store_id, everything)
    await erased(database, store_id)
    before = await dump(database, store_id)
    again = await put(database, store_id, everything)
    assert await dump(database, store_id) == before
    assert await speaking_of(database, store_id) == []
    assert {each.table: (each.staged, each.erased, each.unchanged) for each in again.merged} == {
        "customers": (3, 1, 2),
        "orders": (3, 1, 2),
        "order_items": (3, 1, 2),
        "refunds": (3, 1, 2),
        "tickets": (3, 1, 2),
    }
    assert (again.paid, again.refunded) == (200, 100)


async def test_new_records_of_an_erased_customer_are_left_out_whatever_they_come_with(
    database: Database, store_id: str
) -> None:
    await put(database, store_id, [*records_of("ada"), *records_of(WHO)])
    await erased(database, store_id)
    lines = [each for each in bought(WHO, f"{WHO}-o1", "2024-03-01", ("P1", "2", "50")) if not hasattr(each, "email")]
    order_alone: list[Record] = [replace(lines[0], order_number="#9")] if isinstance(lines[0], Order) else []
    about = {"order_id": f"{WHO}-o1", "refund_id": f"{WHO}-later"}
    named_by_order = replace(gave_back(WHO, f"{WHO}-p", "2024-04-01", "P1", "1", "1", **about)[1], customer_id=None)
    for records in (
        [Customer(WHO, email="new@shop.test")],
        [Ticket(f"{WHO}-new", WHO, at("2024-06-01"))],
        bought(WHO, f"{WHO}-new", "2024-06-01", ("P1", "1", "1")),
        order_alone,
        lines[1:],  # the lines of an order that is gone, without it
        [named_by_order],  # a refund that names the order alone
    ):
        report = await put(database, store_id, records)
        assert sum(each.erased for each in report.merged) >= 1
        assert sum(each.inserted + each.updated for each in report.merged) == 0
        assert await speaking_of(database, store_id) == []


async def test_what_somebody_else_was_given_back_for_an_order_that_is_gone_is_theirs(
    database: Database, store_id: str
) -> None:
    theirs = gave_back("ada", "paper", "2024-04-01", "P1", "1", "5", order_id=f"{WHO}-o1", refund_id="r1")
    everything = [*records_of("ada"), *records_of(WHO), *theirs]
    await put(database, store_id, everything)
    await erased(database, store_id)
    before = await dump(database, store_id)
    await put(database, store_id, everything)
    assert await dump(database, store_id) == before
    refund = "SELECT customer_id, order_id, amount FROM refunds WHERE store_id = :s AND refund_id = 'r1'"
    assert await rows(database, refund, s=store_id) == [("ada", None, 5)]


async def test_a_guests_refund_without_an_order_still_comes_in(database: Database, store_id: str) -> None:
    await put(database, store_id, [*records_of("ada"), *records_of(WHO)])
    await erased(database, store_id)
    guest = replace(gave_back("ada", "paper", "2024-04-01", "P1", "1", "5")[1], customer_id=None)
    report = await put(database, store_id, [guest])
    assert {each.table: (each.inserted, each.erased) for each in report.merged}["refunds"] == (1, 0)


async def test_with_another_secret_they_come_back_and_can_be_erased_anew(database: Database, store_id: str) -> None:
    await put(database, store_id, records_of(WHO))
    first = await erased(database, store_id)
    await put(database, store_id, records_of(WHO), pseudonym_secret=b"another")
    assert await speaking_of(database, store_id) != []
    again = await erased(database, store_id)
    assert await speaking_of(database, store_id) == []
    assert again.receipt_id == first.receipt_id
    assert again.rows["orders"] == 2
    both = await erased(database, store_id, secret=SECRET)
    assert both == again


async def test_where_nobody_was_erased_no_id_is_looked_at(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unasked(*_: object, **__: object) -> list[str]:
        raise AssertionError("Ids were looked at.")

    monkeypatch.setattr("app.warehouse.erasures.among", unasked)
    await put(database, store_id, records_of("ada"))


# An import under way


async def test_an_import_that_has_read_somebody_before_they_are_erased_does_not_keep_them(
    database: Database, store_id: str
) -> None:
    """Noted while it reads, they are left out by it; what is held goes when it has ended."""
    await put(database, store_id, records_of(WHO))
    loop, told = asyncio.get_running_loop(), []

    def meanwhile() -> None:
        asked = erased(database, store_id, patience_seconds=0.05)
        told.append(asyncio.run_coroutine_threadsafe(asked, loop).result(30))

    news = [*bought(WHO, f"{WHO}-new", "2024-06-01", ("P1", "1", "1")), *records_of("ada")]
    source = ListSource(news, batch_size=3, between=lambda: told or meanwhile())
    report = await ingest(database, source, store_id=store_id, timezone="UTC", currency="GBP", pseudonym_secret=SECRET)
    (receipt,) = told
    assert receipt.state is State.requested
    assert {each.table: each.erased for each in report.merged}["orders"] == 1
    await complete_open(database, store_id)
    assert await speaking_of(database, store_id) == []
    assert (await erased(database, store_id)).state is State.done


async def test_an_import_past_looking_whom_to_leave_out_is_waited_for(database: Database, store_id: str) -> None:
    """Noted too late for it, they are in when it ends, and then they go."""
    await put(database, store_id, records_of(WHO))
    async with database.transaction() as importing:
        await hold_imports(importing, store_id)
        going = asyncio.create_task(erased(database, store_id))
        noted = "SELECT count(*) FROM erasures WHERE store_id = :s"
        await until(lambda: value(database, noted, s=store_id))
        order = "INSERT INTO orders (store_id, order_id, customer_id, order_date) VALUES ('{}', '{}-x', '{}', now())"
        await importing.exec_driver_sql(order.format(store_id, WHO, WHO))
        assert not going.done()
    receipt = await going
    assert (receipt.state, receipt.rows["orders"]) == (State.done, 2)
    assert await speaking_of(database, store_id) == []


# A run, a training or a score under way


def erasing_meanwhile(
    database: Database, store_id: str, whole: Callable[..., Any], *, who: str = WHO, within: list[Receipt]
) -> Callable[..., Any]:
    """A function done in a thread, and before it the erasure, to its end."""
    loop = asyncio.get_running_loop()

    def slowly(*arguments: Any, **rest: Any) -> Any:
        if not within:
            within.append(asyncio.run_coroutine_threadsafe(erased(database, store_id, who), loop).result(30))
        return whole(*arguments, **rest)

    return slowly


async def test_a_discovery_that_read_them_before_does_not_write_them(database: Database, shop: str) -> None:
    within: list[Receipt] = []
    meanwhile = erasing_meanwhile(database, shop, lambda: None, within=within)
    await discovered(database, shop, lambda step, _: meanwhile() if step == "features" else None)
    assert [receipt.state for receipt in within] == [State.done]
    assert await speaking_of(database, shop) == []


async def test_a_rescoring_that_read_them_before_does_not_write_them(
    database: Database, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    within: list[Receipt] = []
    monkeypatch.setattr(rescoring, "_star", erasing_meanwhile(database, shop, rescoring._star, within=within))
    await rescore(database, shop, now=NOW)
    assert [receipt.state for receipt in within] == [State.done]
    assert await speaking_of(database, shop) == []


async def lost(database: Database, shop: str) -> list[str]:
    """Who becomes critical in a training as of now, when everyone is lost who was not before; the next is like it."""
    low = "UPDATE fact_customer_prediction SET risk_level = 'low' WHERE store_id = :s"
    await execute(database, low, s=shop)
    await predict(database, shop, PredictOptions(), now=NOW)
    await execute(database, low, s=shop)
    return await reported(database, shop)


async def reported(database: Database, shop: str) -> list[str]:
    latest = "SELECT report FROM prediction_runs WHERE store_id = :s ORDER BY prediction_id DESC LIMIT 1"
    return [each["customer_id"] for each in (await value(database, latest, s=shop))["crossed"]]


async def told_of(database: Database, shop: str, who: str) -> int:
    tables = ("fact_customer_prediction", "fact_customer_history", "fact_customer_standing")
    count = "SELECT count(*) FROM {} WHERE store_id = :s AND customer_id = :c"
    return sum([int(await value(database, count.format(table), s=shop, c=who)) for table in tables])


async def test_a_training_that_read_them_before_writes_them_nowhere_and_reports_nothing_of_them(
    database: Database, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, *others = await lost(database, shop)
    within: list[Receipt] = []
    slowly = erasing_meanwhile(database, shop, predicting.tell, who=who, within=within)
    monkeypatch.setattr(predicting, "tell", slowly)
    await predict(database, shop, PredictOptions(), now=NOW)
    assert [(receipt.state, receipt.rows["prediction_runs"]) for receipt in within] == [(State.done, 1)]
    assert await reported(database, shop) == others
    assert await told_of(database, shop, who) == 0


async def test_a_training_that_is_being_published_is_waited_for(
    database: Database, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its report, put together before they went, would be written after."""
    who, *others = await lost(database, shop)
    read_levels = predictions.read_levels

    async def and_erase(*arguments: Any) -> dict[str, str]:
        levels = await read_levels(*arguments)
        assert (await erased(database, shop, who, patience_seconds=0.1)).state is State.requested
        return levels

    monkeypatch.setattr(predictions, "read_levels", and_erase)
    await predict(database, shop, PredictOptions(), now=NOW)
    assert await reported(database, shop) == [who, *others]
    await complete_open(database, shop)
    assert await reported(database, shop) == others
    assert await told_of(database, shop, who) == 0


@pytest.mark.parametrize("how", ["whoever changed", "one customer"])
async def test_who_is_being_scored_is_erased_right_after(
    database: Database, shop: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who scores holds the store: the erasure waits, and finds what was written."""
    loop, going = asyncio.get_running_loop(), []

    def and_erase(whole: Callable[..., Any]) -> Callable[..., Any]:
        def begun(*arguments: Any, **rest: Any) -> Any:
            going.append(asyncio.run_coroutine_threadsafe(erased(database, shop), loop))
            return whole(*arguments, **rest)

        return begun

    if how == "one customer":
        monkeypatch.setattr(scoring, "features_of_one", and_erase(scoring.features_of_one))
        await score_customer(database, shop, WHO, as_of=at("2024-10-02"), keep=True)
    else:
        monkeypatch.setattr(rescoring, "_scored", and_erase(rescoring._scored))
        assert await score_changed(database, shop, now=NOW) >= 1
    (receipt,) = [await asyncio.wrap_future(each) for each in going]
    assert receipt.state is State.done
    assert await speaking_of(database, shop) == []


@pytest.mark.parametrize("published_before", [False, True], ids=["the first of its day", "its day anew"])
async def test_who_is_erased_while_a_run_is_written_is_not_in_it(
    database: Database, store_id: str, published_before: bool
) -> None:
    await put(database, store_id, records_of(WHO))
    star, begun = a_star([WHO]), asyncio.Event()
    for last in [False, True][not published_before :]:
        async with database.transaction() as connection:
            run_id = await runs.start_run(connection, store_id, {})
        if not last:
            async with database.transaction() as connection:
                await publish.publish(connection, store_id, run_id, star)

    async def customers() -> pl.DataFrame:
        begun.set()
        await asyncio.wait({going}, timeout=1.3)  # longer than a server waits to look for a deadlock
        return star["fact_customer_current"]

    async def erase_meanwhile() -> Receipt:
        await begun.wait()
        return await erased(database, store_id)

    going = asyncio.create_task(erase_meanwhile())
    rest = {name: rows for name, rows in star.items() if name != "fact_customer_current"}
    async with database.transaction() as connection:
        await publish.publish(connection, store_id, run_id, rest, customers=customers())
    assert (await going).state is State.done
    assert await speaking_of(database, store_id) == []


# Cut short


async def test_who_is_noted_and_still_there_is_erased_by_the_next_who_looks(database: Database, shop: str) -> None:
    asked: dict[str, Any] = {"customer_id": WHO, "email": None, "secret": SECRET, "noted": erasure_noted(shop)}
    (noted,) = await request(database, shop, by="KEY00001", **asked)
    assert noted.state is State.requested
    assert "orders" in await speaking_of(database, shop)
    await put(database, shop, bought(WHO, f"{WHO}-o3", "2024-10-01", ("P1", "1", "5")))
    count = "SELECT count(*) FROM orders WHERE store_id = :s AND customer_id = :c"
    assert await value(database, count, s=shop, c=WHO) == 2
    await complete_open(database, shop)
    assert await speaking_of(database, shop) == []
    done = await erased(database, shop, by="KEY00002")
    assert (done.receipt_id, done.state, done.requested_by) == (noted.receipt_id, State.done, "KEY00001")


async def test_an_erasure_that_fails_halfway_leaves_everything_and_the_note(
    database: Database, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await dump(database, shop)

    async def broken(*_: object) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as failing:
        failing.setattr(erasing.erasures, "finish", broken)
        with pytest.raises(RuntimeError):
            await erased(database, shop)
    assert await dump(database, shop) == before
    assert await rows(database, "SELECT state, customer_id FROM erasures WHERE store_id = :s", s=shop) == [
        ("requested", WHO)
    ]
    assert (await erased(database, shop)).state is State.done
    assert await speaking_of(database, shop) == []


async def test_while_the_store_is_taken_the_request_stands_and_what_is_held_stays_whole(
    database: Database, shop: str
) -> None:
    before = await dump(database, shop)
    async with database.transaction() as importing:
        await hold_imports(importing, shop)
        receipt = await erased(database, shop, patience_seconds=0.05)
    assert (receipt.state, receipt.done_at, receipt.rows) == (State.requested, None, {})
    assert await dump(database, shop) == before
    assert (await erased(database, shop)).receipt_id == receipt.receipt_id


async def test_while_the_store_is_taken_many_of_one_address_are_waited_for_but_once(
    database: Database, store_id: str
) -> None:
    home = [Customer(f"c{number:02}", email="home@shop.test") for number in range(30)]
    await put(database, store_id, home)
    asked: dict[str, Any] = {"secret": SECRET, "by": "KEY00001", "noted": erasure_noted(store_id)}
    begun = time.monotonic()
    async with database.transaction() as importing:
        await hold_imports(importing, store_id)
        receipts = await erase(database, store_id, email="home@shop.test", patience_seconds=0.3, **asked)
    assert time.monotonic() - begun < 3.0  # and not thirty times as long
    assert [receipt.state for receipt in receipts] == [State.requested] * 30
    await complete_open(database, store_id)
    assert await value(database, "SELECT count(*) FROM customers WHERE store_id = :s", s=store_id) == 0


async def test_a_receipt_and_its_tombstone_tell_nothing_without_the_secret(database: Database, store_id: str) -> None:
    await put(database, store_id, records_of(WHO))
    receipt = await erased(database, store_id)
    (row,) = await rows(database, "SELECT e::text, tombstone FROM erasures AS e WHERE store_id = :s", s=store_id)
    told, mark = row
    assert WHO not in told + repr(receipt)
    assert mark == tombstone(SECRET, store_id=store_id, customer_id=WHO)
    assert mark != tombstone(b"another", store_id=store_id, customer_id=WHO)
    assert mark != tombstone(SECRET, store_id="another", customer_id=WHO)


# Export


async def test_an_export_tells_everything_of_one_and_nothing_of_others(database: Database, shop: str) -> None:
    held = await everything_held(database, shop, customer_id=WHO, by="KEY00001", now=NOW)
    assert json.loads(json.dumps(held)) == held
    (person,) = held["people"]
    assert (held["store_id"], held["exported_at"], person["customer_id"]) == (shop, "2026-01-01T00:00:00+00:00", WHO)
    there = {each["table"]: each["rows"] for each in person["tables"]}
    assert {table: len(found) for table, found in there.items() if found} == HELD
    assert there["orders"][0]["total_price"] == "100.0000"
    assert "c001" not in json.dumps(there)
    pseudonym = there["customer_pseudonyms"][0]["pseudonym"]
    for whom in ({"customer_id": pseudonym}, {"email": f"{WHO}@SHOP.test"}):
        assert await everything_held(database, shop, **whom, by="", now=NOW) == held
    with pytest.raises(CustomerNotFound):
        await everything_held(database, shop, customer_id="nobody", by="", now=NOW)
    with pytest.raises(EmailNotFound):
        await everything_held(database, shop, email="nobody@shop.test", by="", now=NOW)


async def test_nothing_of_whom_it_was_about_is_logged(
    server_url: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, "corner", records_of(WHO))
        await everything_held(database, "corner", customer_id=WHO, by="KEY00001", now=NOW)
        receipt = await erased(database, "corner")
        await put(database, "corner", records_of(WHO))
    said = capsys.readouterr()
    assert receipt.receipt_id in said.out + said.err
    assert WHO not in said.out + said.err
