"""What becomes of records in the tables: new ones, changed ones, like ones, blanks, totals and refunds."""

import random
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.domain.records import Customer, LineKind, Order, OrderLine, Record, Refund, RefundKind, Ticket
from app.warehouse import load
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.conftest import own_database
from tests.fakes import COMMERCE, at, bought, dump, execute, gave_back, put, rows, value

ADA = Customer("ada", "ada@example.com", "Ada", "Applique", "0123", "GB", at("2023-01-01"))


async def columns_of(database: Database, store_id: str, table: str, *names: str) -> list[tuple[Any, ...]]:
    return await rows(
        database,
        f"SELECT {', '.join(names)} FROM {table} WHERE store_id = :store ORDER BY 1, 2",  # noqa: S608
        store=store_id,
    )


async def said(database: Database, store_id: str) -> dict[str, list[Any]]:
    """What the tables say, whenever it was written."""
    return await dump(database, store_id, without=["xmin", "updated_at", "store_id"])


def together(papers: Iterable[list[Record]]) -> list[Record]:
    return list(chain.from_iterable(papers))


# What is new and what is known


async def test_every_field_of_a_record_arrives(database: Database, store_id: str) -> None:
    order = Order(
        *("o1", "ada", at("2024-03-01 12:30"), "#1001", "pos", "EUR", "paid", "fulfilled", "FR"),
        ("1Z 999", 'a "b", {c}\\d', "NULL"),
    )
    ticket = Ticket("T1", "ada", at("2024-03-04"), "phone", "returns", "closed", at("2024-03-05"), 4)
    line = OrderLine(
        *("o1", "tea", Decimal(3), Decimal("2.5000"), Decimal("6.75"), "L1", "Green tea", "drinks", "Leaf Co"),
        *(Decimal("0.75"), LineKind.shipping),
    )
    refund = Refund(
        *("C1", "ada", "tea", Decimal(1), Decimal("2.25"), at("2024-03-09 08:00"), "R1", "o1", "L1"), RefundKind.credit
    )
    await put(database, store_id, [ADA, order, line, refund, ticket])

    assert await columns_of(
        *(database, store_id, "customers", "customer_id", "email", "first_name", "last_name", "phone", "country"),
        *("created_at", "total_spent", "orders_count"),
    ) == [("ada", "ada@example.com", "Ada", "Applique", "0123", "GB", at("2023-01-01"), Decimal("4.5"), 1)]
    assert await columns_of(
        *(database, store_id, "orders", "order_id", "customer_id", "order_date", "order_number", "source", "currency"),
        *("financial_status", "fulfillment_status", "country", "total_price", "discount_amount", "tracking_numbers"),
    ) == [
        (
            *("o1", "ada", at("2024-03-01 12:30"), "#1001", "pos", "EUR", "paid", "fulfilled", "FR", Decimal("6.75")),
            *(Decimal("0.75"), ["1Z 999", 'a "b", {c}\\d', "NULL"]),
        )
    ]
    assert await columns_of(
        *(database, store_id, "order_items", "order_id", "item_id", "product_id", "product_title", "category"),
        *("vendor", "kind", "quantity", "price", "discount_amount", "line_total", "refund_amount"),
    ) == [
        (
            *("o1", "L1", "tea", "Green tea", "drinks", "Leaf Co", "shipping", 3, Decimal("2.5"), Decimal("0.75")),
            *(Decimal("6.75"), Decimal("2.25")),
        )
    ]
    assert await columns_of(
        *(database, store_id, "refunds", "refund_id", "document_id", "customer_id", "order_id", "item_id"),
        *("order_inferred", "product_id", "kind", "quantity", "amount", "refunded_at"),
    ) == [("R1", "C1", "ada", "o1", "L1", False, "tea", "credit", 1, Decimal("2.25"), at("2024-03-09 08:00"))]
    assert await columns_of(
        *(database, store_id, "tickets", "ticket_id", "customer_id", "channel", "topic", "status", "created_at"),
        *("resolved_at", "satisfaction"),
    ) == [("T1", "ada", "phone", "returns", "closed", at("2024-03-04"), at("2024-03-05"), 4)]


async def test_a_changed_row_updates_that_row_alone(database: Database, store_id: str) -> None:
    records = [
        *bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50"), line_ids=True, country="GB"),
        *bought("bea", "o2", "2024-03-02", ("jam", "1", "4"), line_ids=True, country="GB"),
    ]
    await put(database, store_id, records)
    before = await dump(database, store_id)
    moved = [replace(r, country="FR") if isinstance(r, Order) and r.order_id == "o2" else r for r in records]
    report = await put(database, store_id, moved)
    after = await dump(database, store_id)
    assert {table: len(set(before[table]) ^ set(after[table])) for table in COMMERCE} == {
        **dict.fromkeys(COMMERCE, 0),
        "orders": 2,  # the row that was and the row that is
    }
    assert {m.table: (m.inserted, m.updated, m.unchanged) for m in report.merged} == {
        "customers": (0, 0, 2),
        "orders": (0, 1, 1),
        "order_items": (0, 0, 2),
        "refunds": (0, 0, 0),
        "tickets": (0, 0, 0),
    }
    assert (
        await value(database, "SELECT country FROM orders WHERE store_id = :s AND order_id = 'o2'", s=store_id) == "FR"
    )


async def test_a_changed_row_says_when_it_changed(database: Database, store_id: str) -> None:
    await put(database, store_id, [ADA])
    query = "SELECT updated_at FROM customers WHERE store_id = :store"
    first = await value(database, query, store=store_id)
    await put(database, store_id, [replace(ADA, phone="0456")])
    assert await value(database, query, store=store_id) > first


async def test_a_blank_never_wipes_out_what_is_known(database: Database, store_id: str) -> None:
    order = Order("o1", "ada", at("2024-03-01"), "#1", "web", "GBP", "paid", "fulfilled", "GB", ("1Z1", "1Z2"))
    line = OrderLine("o1", "tea", Decimal(1), Decimal(2), Decimal(2), "L1", "Tea", "drinks", "Leaf Co")
    ticket = Ticket("T1", "ada", at("2024-03-04"), "phone", "returns", "closed", at("2024-03-05"), 4)
    await put(database, store_id, [ADA, order, line, ticket])
    before = await dump(database, store_id)
    await put(
        database,
        store_id,
        [
            *(Customer("ada"), Order("o1", None, at("2024-03-01")), Ticket("T1", "ada", at("2024-03-04"))),
            OrderLine("o1", "tea", Decimal(1), Decimal(2), Decimal(2), "L1"),
        ],
    )
    assert await dump(database, store_id) == before


async def test_a_blank_never_wipes_out_what_the_same_import_told_before(database: Database, store_id: str) -> None:
    order = Order("o1", "ada", at("2024-03-01"), "#1", "web", "GBP", "paid", "fulfilled", "GB")
    await put(database, store_id, [ADA, order, Customer("ada"), Order("o1", "ada", at("2024-03-01"))])
    assert await columns_of(database, store_id, "customers", "customer_id", "email") == [("ada", "ada@example.com")]
    assert await columns_of(database, store_id, "orders", "order_id", "country") == [("o1", "GB")]


async def test_tracking_numbers_are_those_told_last(database: Database, store_id: str) -> None:
    head, order = bought("ada", "o1", "2024-03-01")
    told = [("1Z1",), ("1Z1", "1Z2"), ()]
    await put(database, store_id, [head, *(replace(order, tracking_numbers=numbers) for numbers in told)])
    assert await columns_of(database, store_id, "orders", "order_id", "tracking_numbers") == [("o1", ["1Z1", "1Z2"])]
    await put(database, store_id, [head, replace(order, tracking_numbers=("1Z3",))])
    assert await columns_of(database, store_id, "orders", "order_id", "tracking_numbers") == [("o1", ["1Z3"])]


async def test_a_blank_is_filled_in_later(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("ada")])
    await put(database, store_id, [ADA])
    assert await columns_of(database, store_id, "customers", "customer_id", "email") == [("ada", "ada@example.com")]


async def test_of_two_records_of_one_id_the_last_stands(database: Database, store_id: str) -> None:
    await put(database, store_id, [ADA, replace(ADA, email="new@example.com")])
    assert await columns_of(database, store_id, "customers", "customer_id", "email") == [("ada", "new@example.com")]


@pytest.mark.parametrize("first", [0, 1])
async def test_an_order_was_placed_when_its_first_line_was(database: Database, store_id: str, first: int) -> None:
    halves = [
        bought("ada", "o1", "2024-03-01 10:00", ("tea", "1", "2")),
        bought("ada", "o1", "2024-03-01 10:02", ("jam", "1", "3")),
    ]
    await put(database, store_id, halves[first])
    await put(database, store_id, halves[1 - first])
    assert await columns_of(database, store_id, "orders", "order_id", "order_date", "total_price") == [
        ("o1", at("2024-03-01 10:00"), Decimal(5))
    ]


async def test_stores_with_the_same_ids_stay_apart(database: Database, store_id: str) -> None:
    other = f"{store_id}-other"
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
    before = await dump(database, store_id)
    await put(
        database,
        other,
        [*bought("ada", "o1", "2024-04-01", ("jam", "9", "1")), *gave_back("ada", "C", "2024-05-01", "jam", "1", "1")],
    )
    assert await dump(database, store_id) == before
    assert await columns_of(database, other, "customers", "customer_id", "total_spent") == [("ada", Decimal(8))]


# Lines


async def test_like_lines_are_kept_and_numbered(database: Database, store_id: str) -> None:
    report = await put(
        database, store_id, bought("ada", "o1", "2024-03-01", *[("tea", "2", "3.50")] * 3, ("tea", "1", "3.50"))
    )
    assert report.repeated_lines == 2
    assert await columns_of(database, store_id, "order_items", "item_id", "line_total") == [
        ("tea/1@3.5#1", Decimal("3.5")),
        *((f"tea/2@3.5#{number}", Decimal(7)) for number in (1, 2, 3)),
    ]
    assert await columns_of(database, store_id, "orders", "order_id", "total_price") == [("o1", Decimal("24.5"))]


async def test_like_lines_are_the_same_lines_when_read_again_in_another_order(
    database: Database, store_id: str
) -> None:
    head, order, *lines = bought(
        "ada", "o1", "2024-03-01", *[("tea", "2", "3.50")] * 3, ("jam", "1", "1"), ("jam", "1", "1")
    )
    await put(database, store_id, [head, order, *lines])
    before = await dump(database, store_id)
    await put(database, store_id, [head, order, *reversed(lines)])
    assert await dump(database, store_id) == before


async def test_the_same_number_written_otherwise_is_the_same_line(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50")))
    before = await dump(database, store_id)
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2.0", "3.5000")))
    assert await dump(database, store_id) == before


async def test_files_that_overlap_give_what_one_file_of_all_would(database: Database, store_id: str) -> None:
    """Files cut between orders, each reaching back into the one before."""
    orders = [
        bought(
            f"c{i % 4}",
            f"o{i}",
            f"2024-03-{i + 1:02} 10:00",
            *[("tea", "2", "3")] * (1 + i % 3),
            ("jam", "1", str(i + 1)),
        )
        for i in range(12)
    ]
    backs = [gave_back(f"c{i}", f"C{i}", f"2024-04-{i + 1:02}", "tea", "1", "3") for i in range(4)]
    whole = f"{store_id}-whole"
    await put(database, whole, together([*orders, *backs]))
    files = [orders[:5], [*orders[3:9], backs[0]], [*orders[6:], *backs], orders[2:4]]
    for file in files:
        await put(database, store_id, together(file))
    assert await said(database, store_id) == await said(database, whole)


@pytest.mark.parametrize("seed", range(4))
async def test_however_records_are_split_over_imports_the_tables_end_the_same(
    database: Database, store_id: str, seed: int
) -> None:
    """Orders and refunds in any sequence: refunds may come long before the order they undo."""
    chance = random.Random(seed)
    papers: list[list[Record]] = [
        bought(
            f"c{i % 3}",
            f"o{i}",
            f"2024-03-{chance.randint(1, 28):02}",
            (chance.choice(["tea", "jam"]), str(chance.randint(1, 4)), chance.choice(["2", "3"])),
        )
        for i in range(14)
    ]
    papers += [
        gave_back(
            f"c{i % 3}",
            f"C{i}",
            f"2024-03-{chance.randint(1, 28):02}",
            chance.choice(["tea", "jam"]),
            str(chance.randint(1, 3)),
            chance.choice(["2", "3"]),
        )
        for i in range(8)
    ]
    whole = f"{store_id}-whole"
    await put(database, whole, together(papers))
    chance.shuffle(papers)
    for start in range(0, len(papers), 5):
        await put(database, store_id, together(papers[start : start + 5]))
    assert await said(database, store_id) == await said(database, whole)


async def test_numbers_of_more_decimals_than_are_kept_change_nothing_when_read_again(
    database: Database, store_id: str
) -> None:
    records = bought("ada", "o1", "2024-03-01", ("tea", "3", "1.23456"), line_ids=True)
    await put(database, store_id, records)
    before = await dump(database, store_id)
    await put(database, store_id, records)
    assert await dump(database, store_id) == before


# Totals


async def test_totals_add_up(database: Database, store_id: str) -> None:
    discounted = replace(
        bought("ada", "o1", "2024-03-01", ("tea", "2", "3.50"))[2], amount=Decimal("6.30"), discount=Decimal("0.70")
    )
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01", ("jam", "1", "4.10")),
            discounted,
            *bought("ada", "o2", "2024-04-01", ("jam", "2", "4.10")),
            *bought("bea", "o3", "2024-04-01", ("jam", "1", "0")),
            *gave_back("ada", "C1", "2024-04-05", "jam", "1", "4.10"),
            Customer("cleo"),
        ],
    )
    assert await columns_of(database, store_id, "orders", "order_id", "total_price", "discount_amount") == [
        *(("o1", Decimal("10.4"), Decimal("0.7")), ("o2", Decimal("8.2"), 0), ("o3", 0, 0))
    ]
    assert await columns_of(database, store_id, "customers", "customer_id", "total_spent", "orders_count") == [
        *(("ada", Decimal("14.5"), 2), ("bea", 0, 1), ("cleo", 0, 0))
    ]


async def test_a_customer_can_get_back_more_than_they_paid_here(database: Database, store_id: str) -> None:
    await put(database, store_id, gave_back("ada", "C1", "2024-04-05", "jam", "1", "4.10"))
    assert await columns_of(database, store_id, "customers", "customer_id", "total_spent", "orders_count") == [
        ("ada", Decimal("-4.1"), 0)
    ]


WRONG_TOTALS = """
    SELECT 'order', order_id FROM orders WHERE store_id = :store AND total_price <> (
        SELECT coalesce(sum(line_total), 0) FROM order_items
        WHERE order_items.store_id = :store AND order_items.order_id = orders.order_id)
    UNION ALL
    SELECT 'discount', order_id FROM orders WHERE store_id = :store AND discount_amount <> (
        SELECT coalesce(sum(discount_amount), 0) FROM order_items
        WHERE order_items.store_id = :store AND order_items.order_id = orders.order_id)
    UNION ALL
    SELECT 'line', item_id FROM order_items AS item WHERE store_id = :store AND refund_amount <> (
        SELECT coalesce(sum(amount), 0) FROM refunds
        WHERE refunds.store_id = :store AND refunds.order_id = item.order_id AND refunds.item_id = item.item_id)
    UNION ALL
    SELECT 'customer', customer_id FROM customers AS c WHERE store_id = :store AND (total_spent, orders_count) <> (
        (SELECT coalesce(sum(total_price), 0) FROM orders WHERE store_id = :store AND customer_id = c.customer_id)
        - (SELECT coalesce(sum(amount), 0) FROM refunds WHERE store_id = :store AND customer_id = c.customer_id),
        (SELECT count(*) FROM orders WHERE store_id = :store AND customer_id = c.customer_id))
"""
TEA = OrderLine("o1", "tea", Decimal(2), Decimal(4), Decimal(8), "o1-1")
LATER = {
    "a line of a known order": [replace(TEA, line_id="o1-2")],
    "a changed line of a known order": [replace(TEA, amount=Decimal(7))],
    "an order with its lines": [Order("o2", "ada", at("2024-05-01")), replace(TEA, order_id="o2")],
    "an order that belongs to someone else": [Customer("bea"), Order("o1", "bea", at("2024-03-01"))],
    "a refund that names its line": [
        Refund("C1", "ada", "tea", Decimal(1), Decimal(4), at("2024-04-01"), "R1", "o1", "o1-1")
    ],
    "a refund that names no order": [Refund("C1", "ada", "tea", Decimal(1), Decimal(4), at("2024-04-01"))],
}


@pytest.mark.parametrize("records", LATER.values(), ids=list(LATER))
async def test_totals_add_up_when_a_later_import_tells_only_what_is_new(
    database: Database, store_id: str, records: list[Record]
) -> None:
    """As webhooks do: a line, an order or a refund without the customer it belongs to."""
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "4"), line_ids=True))
    await put(database, store_id, records)
    assert await rows(database, WRONG_TOTALS, store=store_id) == []


# Refunds


async def refund_of(database: Database, store_id: str, refund_id: str) -> tuple[Any, ...]:
    (found,) = await rows(
        database,
        "SELECT order_id, item_id, order_inferred FROM refunds WHERE store_id = :store AND document_id = :refund",
        store=store_id,
        refund=refund_id,
    )
    return found


async def refunded(database: Database, store_id: str) -> dict[str, Decimal]:
    found = await columns_of(database, store_id, "order_items", "order_id", "item_id", "refund_amount")
    return {order: amount for order, _, amount in found}


async def test_a_refund_finds_the_order_it_undoes(database: Database, store_id: str) -> None:
    report = await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01", ("tea", "5", "2")),
            *bought("ada", "o2", "2024-03-02", ("tea", "5", "3")),
            *bought("bea", "o3", "2024-03-03", ("tea", "5", "2")),
            *gave_back("ada", "C1", "2024-03-09", "tea", "2", "2"),
        ],
    )
    assert (report.returns_matched, report.returns_untold) == (1, 1)
    assert await refund_of(database, store_id, "C1") == ("o1", "tea/5@2#1", True)
    assert await refunded(database, store_id) == {"o1": Decimal(4), "o2": 0, "o3": 0}


async def test_a_refund_that_comes_before_its_order_is_matched_later(database: Database, store_id: str) -> None:
    await put(database, store_id, gave_back("ada", "C1", "2024-03-09", "tea", "2", "2"))
    assert await refund_of(database, store_id, "C1") == (None, None, True)
    report = await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "5", "2")))
    assert (report.returns_matched, report.returns_untold) == (1, 1)
    assert await refund_of(database, store_id, "C1") == ("o1", "tea/5@2#1", True)
    assert await refunded(database, store_id) == {"o1": Decimal(4)}


async def test_a_better_match_that_comes_later_takes_over(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "5", "3")))
    await put(database, store_id, gave_back("ada", "C1", "2024-03-09", "tea", "2", "2"))
    assert await refunded(database, store_id) == {"o1": Decimal(4)}
    await put(database, store_id, bought("ada", "o2", "2024-02-01", ("tea", "5", "2")))
    assert await refunded(database, store_id) == {"o1": 0, "o2": Decimal(4)}


async def test_a_refund_that_names_its_line_is_believed(database: Database, store_id: str) -> None:
    records = [
        *bought("ada", "o1", "2024-03-01", ("tea", "5", "3"), line_ids=True),
        *bought("ada", "o2", "2024-03-02", ("tea", "5", "2"), line_ids=True),
        *gave_back("ada", "C1", "2024-03-09", "tea", "1", "2", order_id="o1", line_id="o1-1"),
    ]
    report = await put(database, store_id, records)
    assert report.returns_untold == 0
    assert await refund_of(database, store_id, "C1") == ("o1", "o1-1", False)
    assert await refunded(database, store_id) == {"o1": Decimal(2), "o2": 0}


async def test_an_order_and_its_cancellation_net_to_nothing(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "581483", "2011-12-09 09:15", ("23843", "80995", "2.08")),
            *gave_back("ada", "C581484", "2011-12-09 09:27", "23843", "80995", "2.08"),
        ],
    )
    assert await refund_of(database, store_id, "C581484") == ("581483", "23843/80995@2.08#1", True)
    assert await columns_of(database, store_id, "customers", "customer_id", "total_spent") == [("ada", 0)]


async def test_a_credit_that_belongs_to_no_product_has_no_order(database: Database, store_id: str) -> None:
    credit = Refund("D1", "ada", None, Decimal(1), Decimal(5), at("2024-04-01"), kind=RefundKind.credit)
    report = await put(database, store_id, [*bought("ada", "o1", "2024-03-01", ("tea", "5", "2")), credit])
    assert (report.returns_matched, report.returns_untold) == (0, 1)
    assert await refund_of(database, store_id, "D1") == (None, None, True)
    assert await columns_of(database, store_id, "customers", "customer_id", "total_spent") == [("ada", Decimal(5))]


async def test_like_refunds_of_one_paper_are_kept_and_numbered(database: Database, store_id: str) -> None:
    records = [
        *bought("ada", "o1", "2024-03-01", ("tea", "5", "2")),
        *gave_back("ada", "C1", "2024-03-09", "tea", "1", "2"),
        *gave_back("ada", "C1", "2024-03-09", "tea", "1", "2"),
    ]
    await put(database, store_id, records)
    await put(database, store_id, records)
    assert await columns_of(database, store_id, "refunds", "refund_id", "amount") == [
        ("C1/tea/1@2#1", Decimal(2)),
        ("C1/tea/1@2#2", Decimal(2)),
    ]
    assert await refunded(database, store_id) == {"o1": Decimal(4)}


async def test_a_refund_that_names_an_order_and_no_line_is_taken(database: Database, store_id: str) -> None:
    """As a shop does that gives back part of an order's price."""
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01", ("tea", "5", "2"), line_ids=True),
            Refund("C1", "ada", None, Decimal(1), Decimal(3), at("2024-03-05"), "R1", "o1", kind=RefundKind.credit),
        ],
    )
    assert await columns_of(database, store_id, "customers", "customer_id", "total_spent") == [("ada", Decimal(7))]


async def test_a_matched_refund_whose_order_is_told_later_moves_there(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01", ("tea", "5", "2"), line_ids=True),
            *bought("ada", "o2", "2024-03-02", ("tea", "5", "2"), line_ids=True),
            *gave_back("ada", "C1", "2024-03-09", "tea", "1", "2", refund_id="R1"),
        ],
    )
    assert await refund_of(database, store_id, "C1") == ("o2", "o2-1", True)
    told = gave_back("ada", "C1", "2024-03-09", "tea", "1", "2", refund_id="R1", order_id="o1", line_id="o1-1")
    await put(database, store_id, told)
    assert await refund_of(database, store_id, "C1") == ("o1", "o1-1", False)
    assert await refunded(database, store_id) == {"o1": Decimal(2), "o2": 0}


# What cannot be


async def test_an_order_of_nobody_is_refused_whole(database: Database, store_id: str) -> None:
    with pytest.raises(DBAPIError, match="fk_orders_customers"):
        await put(database, store_id, [*bought("ada", "o1", "2024-03-01"), Order("o2", "nobody", at("2024-03-02"))])
    assert not any((await dump(database, store_id)).values())


async def test_negative_money_is_refused_whole(database: Database, store_id: str) -> None:
    with pytest.raises(DBAPIError, match="ck_order_items_money"):
        await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "1", "-2")))
    assert not any((await dump(database, store_id)).values())


# Text

ODD = [
    "a,b",
    'say "no"',
    "two\nlines",
    "tab\there",
    " spaced ",
    "O'Hara",
    "naïve",
    "日本",
    "🧵",
    "\\N",
    "00123",
    "NULL",
    "-",
]


@pytest.mark.parametrize("odd", ODD)
async def test_odd_text_arrives_as_it_is(database: Database, store_id: str, odd: str) -> None:
    records = [
        Customer(odd, first_name=odd),
        Order(odd, odd, at("2024-03-01")),
        OrderLine(odd, odd, Decimal(1), Decimal(2), Decimal(2), title=odd, category=odd),
        Refund("C", odd, odd, Decimal(1), Decimal(2), at("2024-03-05")),
    ]
    await put(database, store_id, records)
    before = await dump(database, store_id)
    await put(database, store_id, records)
    assert await dump(database, store_id) == before
    assert await columns_of(database, store_id, "customers", "customer_id", "first_name") == [(odd, odd)]
    assert await columns_of(
        database, store_id, "order_items", "order_id", "product_id", "product_title", "category", "refund_amount"
    ) == [(odd, odd, odd, odd, Decimal(2))]


async def test_an_end_of_copy_mark_in_a_text_ends_nothing(database: Database, store_id: str) -> None:
    title = "first\n\\.\nlast"
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01"),
            OrderLine("o1", "tea", Decimal(1), Decimal(2), Decimal(2), title=title),
            OrderLine("o1", "jam", Decimal(1), Decimal(2), Decimal(2), title="jam"),
        ],
    )
    assert await columns_of(database, store_id, "order_items", "product_id", "product_title") == [
        ("jam", "jam"),
        ("tea", title),
    ]


async def test_a_ticket_is_untouched_by_imports_of_orders(database: Database, store_id: str) -> None:
    records = bought("ada", "o1", "2024-03-01", ("tea", "1", "2"))
    await put(database, store_id, records)
    await execute(
        database,
        "INSERT INTO tickets (store_id, ticket_id, customer_id, created_at) VALUES (:store, 't', 'ada', now())",
        store=store_id,
    )
    before = await dump(database, store_id)
    await put(database, store_id, records)
    assert await dump(database, store_id) == before
    assert len(before["tickets"]) == 1


async def test_a_large_import_reads_no_table_through_for_every_row(
    server_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told that a table is empty, the planner would: it grows meanwhile, and seconds become hours."""
    shop = [
        record
        for number in range(4_000)
        for record in bought(f"c{number}", f"o{number}", "2024-03-01", ("tea", "1", "2"), ("jam", "1", "3"))
    ]
    plans = {}
    merge_one = load._merge

    async def explained(connection: Any, store_id: str, target: Any, **rest: Any) -> Any:
        for what, statement in (("insert", target.insert()), ("update", target.update())):
            plan = await connection.execute(text(f"EXPLAIN {statement}"), {"store": store_id})
            plans[target.table, what] = "\n".join(plan.scalars())
        return await merge_one(connection, store_id, target, **rest)

    monkeypatch.setattr(load, "_merge", explained)
    async with own_database(server_url) as url:
        database = Database(url, settings)
        await migrate(database)
        for table in COMMERCE:
            await execute(database, f"ANALYZE {table}")
        await put(database, "large", shop)
        assert plans.keys() == {(table, what) for table in COMMERCE for what in ("insert", "update")}
        assert [table for table, plan in plans.items() if "Nested Loop" in plan] == []
        assert await value(database, "SHOW enable_nestloop") == "on"
        await database.close()
