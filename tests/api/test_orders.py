"""A customer's orders over HTTP: newest first, money as text, pages that fit together, searched and cut by days."""

from decimal import Decimal
from typing import Any

import pytest

from app.api.customers.schemas import Orders
from app.warehouse.engine import Database
from tests.api.conftest import STORE, Ask, Clients
from tests.api.test_customers import told
from tests.fakes import bought, execute, gave_back, put, rows

ADA = "/api/mcp/customer/ada/orders"


@pytest.fixture
async def ada(empty_shop: Ask, database: Database, store_id: str) -> Ask:
    """A store in London with one customer, three orders on two days of its calendar, and a refund."""
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-30 12:00", ("red thread", "2", "4.50"), order_number="#1001"),
            *bought("ada", "o2", "2024-06-30 22:59", ("wool", "1", "18.69"), order_number="#1002"),
            *bought("ada", "o3", "2024-06-30 23:00", ("silk", "1", "0.125"), ("wool", "3", "10"), order_number="#1003"),
            *gave_back("ada", "r1", "2024-07-05", "wool", "1", "10", order_id="o3"),
        ],
    )
    return empty_shop


async def test_orders_are_told_newest_first_with_money_as_text(ada: Ask) -> None:
    found = await told(ada, ADA)
    Orders.model_validate(found)
    assert [order["order_id"] for order in found["orders"]] == ["o3", "o2", "o1"]
    newest, _, oldest = found["orders"]
    assert newest["created_at"] == "2024-06-30T23:00:00Z"
    assert (newest["total_price"], newest["refunded_amount"], newest["currency"]) == ("30.125", "10.00", "GBP")
    assert oldest["line_items"] == [
        {
            "title": "red thread",
            "vendor": None,
            "quantity": 2.0,
            "price": "4.50",
            "line_total": "9.00",
            "refund_amount": "0.00",
            "product_id": "red thread",
            "category": None,
        }
    ]
    assert (found["total_orders"], found["total_spent"], found["matching_orders"]) == (3, "47.815", 3)
    assert (oldest["tracking_numbers"], oldest["fulfillment_status"]) == ([], None)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"start_date": "2024-07-01"}, ["o3"]),  # eleven at night in UTC is midnight in London
        ({"end_date": "2024-06-30"}, ["o2", "o1"]),
        ({"start_date": "2024-06-30", "end_date": "2024-06-30"}, ["o2"]),
        ({"start_date": "2024-03-30", "end_date": "2024-03-30"}, ["o1"]),
        ({"start_date": "2025-01-01"}, []),
    ],
)
async def test_days_are_the_shops_own_and_both_ends_count(ada: Ask, span: dict[str, str], expected: list[str]) -> None:
    found = await told(ada, ADA, **span)
    assert [order["order_id"] for order in found["orders"]] == expected
    assert (found["matching_orders"], found["total_orders"]) == (len(expected), 3)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("WOOL", ["o3", "o2"]),
        ("thread,silk", ["o3", "o1"]),
        ("1002", ["o2"]),
        ("wo%l", []),
        (" , ", ["o3", "o2", "o1"]),
        ("wool, nothing", ["o3", "o2"]),
    ],
)
async def test_any_term_finds_an_order(ada: Ask, terms: str, expected: list[str]) -> None:
    found = await told(ada, ADA, search_terms=terms)
    assert [order["order_id"] for order in found["orders"]] == expected


async def test_pages_fit_together(ask: Clients, database: Database) -> None:
    (busiest,) = (
        await rows(
            database,
            "SELECT customer_id FROM customers WHERE store_id = :store ORDER BY orders_count DESC LIMIT 1",
            store=STORE,
        )
    )[0]
    path = f"/api/mcp/customer/{busiest}/orders"
    whole = await told(ask.support, path, limit=200)
    pages: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await told(ask.support, path, limit=3, **cursor)
        assert page["matching_orders"] == whole["matching_orders"]
        pages += page["orders"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == whole["orders"]
    assert len(pages) == whole["total_orders"] > 3
    spent = sum(Decimal(order["total_price"]) - Decimal(order["refunded_amount"]) for order in pages)
    assert abs(spent - Decimal(whole["total_spent"])) <= Decimal("0.01") or spent > Decimal(whole["total_spent"])


async def test_a_cursor_belongs_to_one_list_with_one_search(ada: Ask) -> None:
    cursor = (await told(ada, ADA, limit=1))["next_cursor"]
    assert (await told(ada, ADA, limit=1, cursor=cursor))["orders"][0]["order_id"] == "o2"
    for other in ({"search_terms": "wool"}, {"start_date": "2024-01-01"}):
        problem = await told(ada, ADA, 422, cursor=cursor, **other)
        assert problem["errors"][0]["field"] == "cursor"
    changed = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    await told(ada, ADA, 422, cursor=changed)


async def test_orders_are_for_those_who_see_identities(ask: Clients) -> None:
    for asking in (ask.analytics, ask.campaigns):
        await told(asking, "/api/mcp/customer/C0000001/orders", 403)
        assert (await asking.post("/api/mcp/customer/C0000001/refresh")).status_code == 403


async def test_a_day_with_two_midnights_begins_with_the_first(ada: Ask, database: Database, store_id: str) -> None:
    """On the Azores clocks go back from one to midnight: 27 October 2024 begins at 00:00 UTC, and again at 01:00."""
    await execute(database, "UPDATE stores SET timezone = 'Atlantic/Azores' WHERE store_id = :s", s=store_id)
    await put(database, store_id, bought("ada", "o4", "2024-10-27 00:30", ("tea", "1", "5")))
    for span, expected in (({"start_date": "2024-10-27"}, ["o4"]), ({"end_date": "2024-10-26"}, ["o3", "o2", "o1"])):
        assert [order["order_id"] for order in (await told(ada, ADA, **span))["orders"]] == expected
