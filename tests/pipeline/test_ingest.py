"""An import: all of a source or nothing of it, whatever happens, and the same again changes nothing."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.core.config import Settings
from app.core.errors import InvalidInput, RowsRejected
from app.domain.records import Customer, Order
from app.pipeline.ingest import ingest
from app.pipeline.sample import SampleShop
from app.sources.base import Batch, StoreDefaults
from app.sources.csv_file import CsvSource
from app.warehouse.engine import Database
from app.warehouse.stores import read_store
from tests.fakes import COMMERCE, SECRET, ListSource, a_shop, at, bought, dump, gave_back, put, rows, value

SHOP: dict[str, Any] = {"timezone": "UTC", "currency": "EUR", "pseudonym_secret": SECRET}


async def stored(database: Database, store_id: str) -> bool:
    return bool(await value(database, "SELECT count(*) FROM stores WHERE store_id = :store", store=store_id))


async def test_importing_twice_changes_nothing(database: Database, store_id: str) -> None:
    """Not a value, not updated_at, not even the row's own version."""
    first = await ingest(database, SampleShop(customers=60), store_id=store_id, **SHOP)
    before = await dump(database, store_id)
    assert all(before[table] for table in ("customers", "orders", "order_items", "refunds"))
    again = await ingest(database, SampleShop(customers=60), store_id=store_id, **SHOP)
    assert await dump(database, store_id) == before
    assert (again.paid, again.refunded) == (first.paid, first.refunded)
    assert all(each.inserted == each.updated == 0 and each.unchanged == each.staged for each in again.merged)


async def test_importing_lines_without_ids_twice_changes_nothing(database: Database, store_id: str) -> None:
    records = [*a_shop(12), *gave_back("c001", "C1", "2024-09-01", "P1", "1", "3.50")]
    await put(database, store_id, records)
    before = await dump(database, store_id)
    await put(database, store_id, records)
    assert await dump(database, store_id) == before


async def test_a_helpdesks_tickets_twice_change_nothing_and_make_unknown_customers_known(
    database: Database, store_id: str, tmp_path: Path
) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "1", "2")))
    path = tmp_path / "tickets.csv"
    rows_of_it = ["T1,ada,2024-03-02,chat,5", "T2,bea,2024-03-03,phone,", "T3,ada,2024-03-04,chat,9"]
    path.write_text("\n".join(["ticket_id,customer_id,created_at,channel,satisfaction", *rows_of_it]))
    first = await ingest(database, CsvSource([path], preset="tickets"), store_id=store_id, **SHOP)
    assert (first.account.n_rejected, first.paid) == (1, Decimal(2))
    before = await dump(database, store_id)
    assert (len(before["tickets"]), len(before["customers"])) == (2, 2)
    again = await ingest(database, CsvSource([path], preset="tickets"), store_id=store_id, **SHOP)
    assert await dump(database, store_id) == before
    assert all(each.inserted == each.updated == 0 for each in again.merged)

    path.write_text("\n".join(["ticket_id,customer_id,created_at,status", "T1,ada,2024-03-02,solved"]))
    await ingest(database, CsvSource([path], preset="tickets"), store_id=store_id, **SHOP)
    query = "SELECT status, channel, satisfaction FROM tickets WHERE store_id = :s AND ticket_id = 'T1'"
    assert await rows(database, query, s=store_id) == [("solved", "chat", 5)]


async def test_the_size_of_the_batches_changes_nothing(database: Database, store_id: str) -> None:
    records = a_shop(12)
    for suffix, size in (("-a", 1), ("-b", 10_000)):
        await ingest(database, ListSource(records, batch_size=size), store_id=store_id + suffix, **SHOP)
    said = [await dump(database, store_id + end, without=["xmin", "updated_at", "store_id"]) for end in ("-a", "-b")]
    assert said[0] == said[1]


async def test_the_report_says_what_became_of_everything(database: Database, store_id: str) -> None:
    report = await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50"), ("tea", "2", "3.50")),
            *gave_back("ada", "C1", "2024-03-05", "tea", "1", "3.50"),
            *gave_back("ada", "C2", "2024-03-05", "jam", "1", "1"),
        ],
    )
    assert (report.paid, report.refunded) == (Decimal(14), Decimal("4.5"))
    assert (report.returns_matched, report.returns_untold, report.repeated_lines) == (1, 2, 1)
    assert {each.table: (each.staged, each.inserted) for each in report.merged} == {
        "customers": (1, 1),
        "orders": (1, 1),
        "order_items": (2, 2),
        "refunds": (2, 2),
        "tickets": (0, 0),
    }
    assert (report.store.store_id, report.dry_run) == (store_id, False)
    assert report.account.read.rows == 8


async def test_a_new_store_is_where_the_source_says_it_is(database: Database, store_id: str) -> None:
    source = ListSource(a_shop(1), defaults=StoreDefaults(timezone="Asia/Tokyo", currency="JPY"))
    report = await ingest(database, source, store_id=store_id, **SHOP)
    assert (report.store.timezone, report.store.currency) == ("Asia/Tokyo", "JPY")


async def test_a_known_store_stays_where_it_is(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    source = ListSource(a_shop(1), defaults=StoreDefaults(timezone="Asia/Tokyo", currency="GBP"))
    report = await ingest(database, source, store_id=store_id, **SHOP)
    assert (report.store.timezone, report.store.currency) == ("Europe/London", "GBP")


async def test_a_source_of_another_currency_is_refused_and_changes_nothing(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    source = ListSource(a_shop(2), defaults=StoreDefaults(currency="JPY"))
    before = await dump(database, store_id)
    with pytest.raises(InvalidInput, match=r"JPY and store .* in GBP"):
        await ingest(database, source, store_id=store_id, **SHOP)
    assert await dump(database, store_id) == before


async def test_an_empty_source_makes_an_empty_store(database: Database, store_id: str) -> None:
    report = await put(database, store_id, [])
    assert (report.paid, report.refunded) == (0, 0)
    assert await stored(database, store_id)


async def test_progress_rises_to_the_end(database: Database, store_id: str) -> None:
    heard: list[tuple[str, float]] = []
    source = ListSource(a_shop(12), batch_size=20)
    await ingest(database, source, store_id=store_id, progress=lambda *at: heard.append(at), **SHOP)
    reading = [share for stage, share in heard if stage == "reading"]
    assert reading == sorted(reading)
    assert reading[-1] == 1
    assert list(dict.fromkeys(stage for stage, _ in heard)) == ["reading", "storing", "matching refunds", "adding up"]


# Nothing of it


async def test_a_dry_run_reports_everything_and_leaves_nothing(database: Database, store_id: str) -> None:
    records = [
        *bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")),
        *gave_back("ada", "C1", "2024-03-05", "tea", "1", "3.50"),
    ]
    report = await put(database, store_id, records, dry_run=True)
    assert report.dry_run
    assert (report.paid, report.refunded, report.returns_matched) == (Decimal(7), Decimal("3.5"), 1)
    assert not await stored(database, store_id)
    assert not any((await dump(database, store_id)).values())


async def test_a_dry_run_over_a_known_store_changes_nothing(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(3))
    before = await dump(database, store_id)
    report = await put(database, store_id, a_shop(6), dry_run=True)
    assert report.merged[0].inserted == 3
    assert await dump(database, store_id) == before


class BreakingSource(ListSource):
    """Ends in an error after its first batch."""

    def __init__(self, error: Exception) -> None:
        super().__init__(a_shop(5), batch_size=20)
        self._error = error

    def batches(self) -> Iterator[Batch]:
        yield next(super().batches())
        raise self._error


@pytest.mark.parametrize("error", [RowsRejected("row 3, price: no number"), RuntimeError("a bug")])
async def test_a_source_that_fails_in_the_middle_leaves_nothing(
    database: Database, store_id: str, error: Exception
) -> None:
    with pytest.raises(type(error)) as caught:
        await ingest(database, BreakingSource(error), store_id=store_id, **SHOP)
    assert caught.value is error
    assert not await stored(database, store_id)
    assert not any((await dump(database, store_id)).values())


async def test_a_source_that_fails_over_a_known_store_leaves_it_as_it_was(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(2))
    before = await dump(database, store_id)
    with pytest.raises(RuntimeError):
        await ingest(database, BreakingSource(RuntimeError("a bug")), store_id=store_id, **SHOP)
    assert await dump(database, store_id) == before
    await put(database, store_id, a_shop(5))
    assert len((await dump(database, store_id))["customers"]) == 5


async def test_an_import_that_is_cancelled_leaves_nothing(database: Database, store_id: str) -> None:
    reached = asyncio.Event()
    importing = asyncio.create_task(
        ingest(
            *(database, ListSource(a_shop(20), batch_size=10)),
            store_id=store_id,
            progress=lambda *_: reached.set(),
            **SHOP,
        )
    )
    await reached.wait()
    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing
    assert not await stored(database, store_id)
    await put(database, store_id, a_shop(2))


# At once


async def test_two_imports_into_one_store_at_once_both_end_well_and_right(database: Database, store_id: str) -> None:
    """They overlap; refunds of the one undo orders of the other."""
    records = a_shop(30)
    backs = [r for i in range(10) for r in gave_back(f"c{i:03}", f"C{i}", "2025-03-01", f"P{i}", "1", f"{2 + i}.50")]
    third = len(records) // 3
    # A piece of the list may begin in the middle of an order, whose customer must then be told first.
    heads = [record for record in records if isinstance(record, Customer | Order)]
    pieces = [[*records[: 2 * third], *backs], records[third:], records]
    sources = [ListSource([*heads, *piece], batch_size=25) for piece in pieces]
    await asyncio.gather(*(ingest(database, source, store_id=store_id, **SHOP) for source in sources))
    whole = f"{store_id}-whole"
    await put(database, whole, [*records, *backs])
    leave_out = ["xmin", "updated_at", "store_id"]
    assert await dump(database, store_id, without=leave_out) == await dump(database, whole, without=leave_out)


async def test_imports_into_different_stores_at_once_both_end_well(database: Database, store_id: str) -> None:
    stores = [f"{store_id}-{number}" for number in range(3)]
    await asyncio.gather(*(put(database, store, a_shop(15)) for store in stores))
    leave_out = ["xmin", "updated_at", "store_id"]
    one, *others = [await dump(database, store, without=leave_out) for store in stores]
    assert all(other == one for other in others)


IMPORT_AND_WAIT = """
import asyncio, sys, time
from app.core.config import Settings
from app.pipeline.ingest import ingest
from app.warehouse.engine import Database
from tests.fakes import ListSource, a_shop

stage = sys.argv[3]

def wait(*heard):
    if heard == () or heard[0] == stage:
        print("halfway", flush=True)
        time.sleep(600)

async def main():
    database = Database(sys.argv[1], Settings(_env_file=None))
    between = wait if stage == "between batches" else lambda: None
    source = ListSource(a_shop(40), batch_size=50, between=between)
    await ingest(database, source, store_id=sys.argv[2], timezone="UTC", currency="EUR", pseudonym_secret=b"x",
                 progress=(lambda *_: None) if stage == "between batches" else wait)

asyncio.run(main())
"""


@pytest.mark.parametrize("stage", ["between batches", "matching refunds", "adding up"])
async def test_a_process_killed_in_the_middle_of_an_import_leaves_the_last_state(
    database: Database, empty_database_url: str, store_id: str, stage: str
) -> None:
    await put(database, store_id, [*a_shop(5), *gave_back("c001", "C1", "2024-09-01", "P1", "1", "3.50")])
    before = await dump(database, store_id)
    command = [sys.executable, "-c", IMPORT_AND_WAIT, empty_database_url, store_id, stage]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as importing:  # noqa: ASYNC220
        try:
            assert importing.stdout is not None
            while (line := await asyncio.to_thread(importing.stdout.readline)) != "halfway\n":
                assert line, "the import ended before it was halfway"
            assert await dump(database, store_id) == before
        finally:
            os.kill(importing.pid, signal.SIGKILL)
    assert await dump(database, store_id) == before
    # And nothing of it is in the way of the next one.
    report = await asyncio.wait_for(put(database, store_id, a_shop(40)), timeout=20)
    assert report.merged[0].inserted == 35
    assert await rows(database, "SELECT relname FROM pg_class WHERE relname LIKE 'stage_%'") == []


async def test_an_import_is_there_when_it_says_it_is_done(
    database: Database, empty_database_url: str, settings: Settings, store_id: str
) -> None:
    await put(database, store_id, a_shop(2))
    other = Database(empty_database_url, settings)
    async with other.snapshot() as connection:
        assert (await read_store(connection, store_id)).currency == "GBP"
    await other.close()


async def test_a_customer_who_changes_alone_is_the_only_row_written(database: Database, store_id: str) -> None:
    shop = list(next(SampleShop(customers=40).batches()).records)
    await put(database, store_id, shop)
    before = await dump(database, store_id)
    someone = replace(shop[0], phone="0123 456", created_at=at("2020-01-01"))
    await put(database, store_id, [someone, *shop[1:]])
    after = await dump(database, store_id)
    assert {table: len(set(after[table]) - set(before[table])) for table in COMMERCE} == {
        **dict.fromkeys(COMMERCE, 0),
        "customers": 1,
    }
