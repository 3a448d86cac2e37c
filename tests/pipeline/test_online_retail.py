"""A real shop, once through the whole flow: numbers known from the file itself, and one customer worked out by hand."""

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.core.config import Settings
from app.pipeline.ingest import IngestReport, ingest
from app.pipeline.run import RunOptions, RunResult, segment
from app.pipeline.score import score_customer
from app.pipeline.steadiness import Served, served_for_refits, who_stays
from app.sources.csv_file import CsvSource
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.conftest import own_database
from tests.fakes import NOW, SECRET, STAR, assert_alike, assert_same_star, at, dump, fingerprint, rows, value
from tests.steadiness import ANOTHER_SEED, OTHER_CUSTOMERS, short_of

STORE = "uk"
LEFT_OUT = {"xmin", "updated_at", "run_id"}


@dataclass(frozen=True)
class Shop:
    database: Database
    path: Path
    imported: IngestReport
    result: RunResult

    async def value(self, query: str, **values: Any) -> Any:
        return await value(self.database, query, s=STORE, **values)

    async def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        return await rows(self.database, query, s=STORE, **values)


async def read(database: Database, path: Path) -> IngestReport:
    source = CsvSource([path], preset="online-retail")
    return await ingest(database, source, store_id=STORE, timezone="UTC", currency="USD", pseudonym_secret=SECRET)


@pytest.fixture(scope="module")
async def shop(embedded_url: str, settings: Settings, real_data_dir: Path) -> AsyncIterator[Shop]:
    """Imported and segmented once, on the embedded server alone."""
    path = real_data_dir / "online_retail" / "online_retail.csv.gz"
    async with own_database(embedded_url) as url:
        database = Database(url, settings)
        await migrate(database)
        imported = await read(database, path)
        yield Shop(database, path, imported, await segment(database, STORE, RunOptions(), now=NOW))
        await database.close()


@pytest.fixture(scope="module")
def file(real_data_dir: Path) -> list[dict[str, str]]:
    """The file as Python's own csv reads it."""
    path = real_data_dir / "online_retail" / "online_retail.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def money(row: dict[str, str]) -> Decimal:
    return Decimal(row["Quantity"]) * Decimal(row["UnitPrice"])


# What was read


async def test_every_row_is_accounted_for(shop: Shop) -> None:
    account = shop.imported.account
    assert account.read.rows == 541_909
    assert account.n_rejected == 0
    told = [*account.taken.values(), *account.set_aside.values()]
    assert sum(tally.rows for tally in told) == 541_909
    assert account.set_aside["no customer id"].rows == 135_080
    assert {table.table: table.staged for table in shop.imported.merged} == {
        table: await shop.value(f"SELECT count(*) FROM {table} WHERE store_id = :s")  # noqa: S608
        for table in ("customers", "orders", "order_items", "refunds", "tickets")
    }


async def test_the_money_is_that_of_the_file(shop: Shop, file: list[dict[str, str]]) -> None:
    report, account = shop.imported, shop.imported.account
    assert report.paid - report.refunded == Decimal("8300065.814")
    left_out = sum((tally.money for tally in account.set_aside.values()), Decimal(0))
    assert report.paid - report.refunded + left_out == Decimal("9747747.934")
    assert sum(money(row) for row in file) == Decimal("9747747.934") == account.read.money
    assert sum(money(row) for row in file if row["CustomerID"]) == Decimal("8300065.814")


async def test_every_customer_with_an_id_is_known(shop: Shop, file: list[dict[str, str]]) -> None:
    known = {customer for (customer,) in await shop.rows("SELECT customer_id FROM customers WHERE store_id = :s")}
    assert known == {row["CustomerID"] for row in file} - {""}
    assert len(known) == 4_372


async def test_every_customers_spend_is_that_of_the_file(shop: Shop, file: list[dict[str, str]]) -> None:
    spent: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in file:
        if row["CustomerID"]:
            spent[row["CustomerID"]] += money(row)
    stored = dict(await shop.rows("SELECT customer_id, total_spent FROM customers WHERE store_id = :s"))
    assert stored == spent


async def test_lines_that_repeat_in_the_file_are_kept(shop: Shop, file: list[dict[str, str]]) -> None:
    sold = [row for row in file if row["CustomerID"] and Decimal(row["UnitPrice"]) and Decimal(row["Quantity"]) > 0]
    alike = Counter(
        (row["InvoiceNo"], row["StockCode"].upper(), Decimal(row["Quantity"]), Decimal(row["UnitPrice"]))
        for row in sold
    )
    assert shop.imported.repeated_lines == sum(n - 1 for n in alike.values())
    assert await shop.value("SELECT count(*) FROM order_items WHERE store_id = :s") == len(sold)


@pytest.mark.parametrize(
    ("customer", "order", "refund", "units"),
    [("16446", "581483", "C581484", 80_995), ("12346", "541431", "C541433", 74_215)],
)
async def test_the_huge_orders_cancelled_within_minutes_net_out(
    shop: Shop, customer: str, order: str, refund: str, units: int
) -> None:
    query = """
        SELECT refund.order_id, refund.order_inferred, refund.quantity, item.quantity, item.line_total - refund.amount,
            item.refund_amount - refund.amount
        FROM refunds AS refund JOIN order_items AS item USING (store_id, order_id, item_id)
        WHERE store_id = :s AND document_id = :refund
    """
    assert await shop.rows(query, refund=refund) == [(order, True, units, units, 0, 0)]
    query = "SELECT lifetime_value FROM fact_customer_current WHERE store_id = :s AND customer_id = :customer"
    assert await shop.value(query, customer=customer) == (Decimal("2.90") if customer == "16446" else 0)


async def test_no_refund_undoes_a_later_order_or_another_customers(shop: Shop) -> None:
    query = """
        SELECT count(*) FROM refunds AS refund
        JOIN orders AS o ON (o.store_id, o.order_id) = (refund.store_id, refund.order_id)
        JOIN order_items AS item
          ON (item.store_id, item.order_id, item.item_id) = (refund.store_id, refund.order_id, refund.item_id)
        WHERE refund.store_id = :s AND (o.order_date > refund.refunded_at OR o.customer_id <> refund.customer_id
            OR item.product_id <> refund.product_id)
    """
    assert await shop.value(query) == 0
    assert shop.imported.returns_matched > 0.8 * shop.imported.returns_untold


# What was found


async def test_every_customer_with_a_purchase_is_segmented(shop: Shop, file: list[dict[str, str]]) -> None:
    buyers = {
        row["CustomerID"]
        for row in file
        if row["CustomerID"] and Decimal(row["Quantity"]) > 0 and Decimal(row["UnitPrice"]) > 0
    }
    found = await shop.rows("SELECT customer_id FROM customer_intelligence WHERE store_id = :s")
    assert {customer for (customer,) in found} == buyers
    assert len(found) == shop.result.report["n_customers"] == 4_338
    assert datetime.fromisoformat(shop.result.report["as_of"]) == at("2011-12-10")


async def test_the_served_star_holds_together(shop: Shop) -> None:
    async with shop.database.snapshot() as connection:
        assert [check for check in await check_star(connection, STORE) if not check.holds] == []


async def test_no_served_segment_is_smaller_than_three_percent(shop: Shop) -> None:
    smallest = "SELECT min(population_percentage) FROM dim_segment_master WHERE store_id = :s"
    assert await shop.value(smallest) >= 3


async def test_most_customers_are_in_archetypes_of_a_useful_size(shop: Shop) -> None:
    query = "SELECT sum(member_count) FROM dim_archetype_l1 WHERE store_id = :s AND member_count BETWEEN 5 AND 500"
    assert await shop.value(query) / Decimal(4_338) >= Decimal("0.95")
    assert shop.result.report["archetypes"]["levels"][1]["in_useful_sizes"] >= 0.95


async def test_one_customer_by_hand(shop: Shop, file: list[dict[str, str]]) -> None:
    """Customer 17850, from the file with Python alone."""
    mine = [row for row in file if row["CustomerID"] == "17850"]
    bought = [row for row in mine if not row["InvoiceNo"].startswith("C")]
    back = [row for row in mine if row["InvoiceNo"].startswith("C")]
    assert len(bought) == 297
    assert len({row["InvoiceNo"] for row in bought}) == 34
    orders = {row["InvoiceNo"]: datetime.fromisoformat(row["InvoiceDate"]) for row in bought}
    paid, refunded = sum(map(money, bought)), -sum(map(money, back))
    first, last = min(orders.values()).date(), max(orders.values()).date()
    as_of = date(2011, 12, 10)

    assert await shop.rows(
        "SELECT count(*), sum(total_price), min(order_date), max(order_date) FROM orders "
        "WHERE store_id = :s AND customer_id = '17850'"
    ) == [(len(orders), paid, at(f"{min(orders.values())}"), at(f"{max(orders.values())}"))]
    lines = "SELECT count(*) FROM order_items JOIN orders USING (store_id, order_id) WHERE store_id = :s "
    assert await shop.value(lines + "AND customer_id = '17850'") == len(bought)
    refunds = "SELECT count(*), sum(amount) FROM refunds WHERE store_id = :s AND customer_id = '17850'"
    assert await shop.rows(refunds) == [(len(back), refunded)]
    query = """
        SELECT total_orders, lifetime_value, days_since_last_purchase, customer_tenure_days, avg_order_value,
            snapshot_date
        FROM fact_customer_current WHERE store_id = :s AND customer_id = '17850'
    """
    assert await shop.rows(query) == [
        (
            *(len(orders), paid - refunded, (as_of - last).days, (as_of - first).days),
            *(round((paid - refunded) / len(orders), 4), date(2011, 12, 9)),
        )
    ]


@pytest.mark.parametrize("customer", ["17850", "13047", "12346", "16446", "14646"])
async def test_a_customer_scores_as_the_run_placed_them(shop: Shop, customer: str) -> None:
    query = """
        SELECT archetype_id, segment_memberships FROM customer_profiles
        WHERE store_id = :s AND customer_id = :customer
    """
    ((archetype, memberships),) = await shop.rows(query, customer=customer)
    profile = await score_customer(shop.database, STORE, customer)
    assert profile.archetype_id == archetype
    assert_alike(profile.fuzzy_memberships, memberships)


# Steadiness


@pytest.fixture(scope="module")
async def served(shop: Shop) -> Served:
    return await served_for_refits(shop.database, STORE, now=NOW)


@pytest.mark.parametrize("seed", [1])
def test_another_seed_leaves_nearly_everyone_in_their_segments(served: Served, seed: int) -> None:
    assert short_of(who_stays(served, seed=seed), ANOTHER_SEED) == {}


@pytest.mark.parametrize("drawn", [101, 103])
def test_other_customers_of_the_shop_give_nearly_everyone_the_same_segments(served: Served, drawn: int) -> None:
    assert short_of(who_stays(served, drawn=drawn), OTHER_CUSTOMERS) == {}


# Again (last, for these write)


async def test_reading_the_file_again_changes_nothing(shop: Shop) -> None:
    before = await fingerprint(shop.database, STORE)
    again = await read(shop.database, shop.path)
    assert await fingerprint(shop.database, STORE) == before
    assert all(each.inserted == each.updated == 0 for each in again.merged)
    assert (again.paid, again.refunded) == (shop.imported.paid, shop.imported.refunded)


async def test_segmenting_again_gives_the_same(shop: Shop) -> None:
    leave_out = sorted(LEFT_OUT)
    before = await dump(shop.database, STORE, STAR, without=leave_out, of_run=shop.result.run_id)
    result = await segment(shop.database, STORE, RunOptions(), now=NOW)
    assert result.run_id != shop.result.run_id
    assert_same_star(await dump(shop.database, STORE, STAR, without=leave_out, of_run=result.run_id), before)
