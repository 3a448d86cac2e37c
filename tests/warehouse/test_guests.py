"""Orders of people without an account: the shop's, and nobody's."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.domain.records import Customer, Order, Record, Refund
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Database
from app.warehouse.migrate import current_revision, downgrade, migrate
from tests.conftest import own_tables
from tests.fakes import NOW, at, bought, dump, execute, put, rows, value


def guest(order_id: str, when: str, *lines: tuple[str, str, str]) -> list[Record]:
    """A guest's order of lines with ids, each (product, quantity, unit price)."""
    _, order, *bodies = bought("nobody", order_id, when, *lines, line_ids=True)
    assert isinstance(order, Order)
    return [replace(order, customer_id=None), *bodies]


def undone(order_id: str, when: str, price: str, **about: str) -> Refund:
    """The first line of an order given back; to whom, the source does not say."""
    units = {"quantity": Decimal(1), "amount": Decimal(price)}
    about = {"refund_id": f"R-{order_id}", "order_id": order_id, "line_id": f"{order_id}-1", **about}
    return Refund(f"C-{order_id}", None, "tea", refunded_at=at(when), **units, **about)


SHOP: list[Record] = [
    *bought("ada", "o1", "2024-03-01", ("tea", "1", "5"), line_ids=True),
    *guest("o2", "2024-03-02", ("tea", "2", "4"), ("jam", "1", "3")),
    undone("o2", "2024-03-09", "4"),
]


async def refunds(database: Database, store_id: str) -> list[tuple[object, ...]]:
    query = "SELECT refund_id, customer_id, amount FROM refunds WHERE store_id = :s ORDER BY 1"
    return await rows(database, query, s=store_id)


async def customers(database: Database, store_id: str) -> list[tuple[object, ...]]:
    query = "SELECT customer_id, total_spent, orders_count FROM customers WHERE store_id = :s ORDER BY 1"
    return await rows(database, query, s=store_id)


async def test_a_guests_order_is_the_shops_and_nobodys(database: Database, store_id: str) -> None:
    report = await put(database, store_id, SHOP)
    assert (report.paid, report.refunded) == (Decimal(16), Decimal(4))
    assert await rows(
        database, "SELECT order_id, customer_id, total_price FROM orders WHERE store_id = :s ORDER BY 1", s=store_id
    ) == [("o1", "ada", 5), ("o2", None, 11)]
    assert await customers(database, store_id) == [("ada", 5, 1)]
    assert await refunds(database, store_id) == [("R-o2", None, 4)]


async def test_a_guests_returned_line_says_what_of_it_went_back(database: Database, store_id: str) -> None:
    await put(database, store_id, SHOP)
    query = "SELECT refund_amount FROM order_items WHERE store_id = :s AND item_id = 'o2-1'"
    assert await value(database, query, s=store_id) == 4
    await put(database, store_id, [undone("o2", "2024-03-10", "2", refund_id="R-again")])
    assert await value(database, query, s=store_id) == 6


async def test_importing_guests_twice_changes_nothing(database: Database, store_id: str) -> None:
    await put(database, store_id, SHOP)
    before = await dump(database, store_id)
    await put(database, store_id, SHOP)
    assert await dump(database, store_id) == before


async def test_guests_are_in_the_sales_and_not_in_behaviour(database: Database, store_id: str) -> None:
    await put(database, store_id, SHOP)
    query = "SELECT order_id, customer_id, line_total FROM combined_sales WHERE store_id = :s ORDER BY item_id"
    assert await rows(database, query, s=store_id) == [("o1", "ada", 5), ("o2", None, 8), ("o2", None, 3)]
    assert await value(database, "SELECT count(*) FROM order_line_items WHERE store_id = :s", s=store_id) == 3
    async with database.snapshot() as connection:
        found = await read_behaviour(connection, store_id, as_of=NOW, timezone="UTC")
    assert found.customer_ids == ["ada"]
    assert (found.orders.height, found.lines.height, found.refunds.height) == (1, 1, 0)


async def test_a_return_that_names_no_order_is_not_looked_for_among_guests(database: Database, store_id: str) -> None:
    lost = Refund("C9", None, "tea", Decimal(1), Decimal(4), at("2024-03-09"))
    report = await put(database, store_id, [*SHOP, lost])
    assert report.returns_untold == 0
    query = "SELECT order_id FROM refunds WHERE store_id = :s AND document_id = 'C9'"
    assert await value(database, query, s=store_id) is None


@pytest.mark.parametrize("refund_first", [True, False])
async def test_a_refund_that_names_its_order_alone_is_its_customers(
    database: Database, store_id: str, refund_first: bool
) -> None:
    order, refund = SHOP[:3], [undone("o1", "2024-03-05", "2")]
    await put(database, store_id, [*refund, *order] if refund_first else order)
    if not refund_first:
        await put(database, store_id, refund)
    assert await refunds(database, store_id) == [("R-o1", "ada", 2)]
    assert await customers(database, store_id) == [("ada", 3, 1)]
    before = await dump(database, store_id)
    await put(database, store_id, refund)
    assert await dump(database, store_id) == before


async def test_a_guest_who_turns_out_to_be_a_customer_takes_order_and_refund_along(
    database: Database, store_id: str
) -> None:
    await put(database, store_id, SHOP)
    order = next(record for record in SHOP if isinstance(record, Order) and record.order_id == "o2")
    await put(database, store_id, [Customer("bea"), replace(order, customer_id="bea")])
    assert await refunds(database, store_id) == [("R-o2", "bea", 4)]
    assert await customers(database, store_id) == [("ada", 5, 1), ("bea", 7, 1)]


async def test_a_guests_order_is_held_to_its_store(database: Database, store_id: str) -> None:
    with pytest.raises(IntegrityError):
        await execute(
            database, "INSERT INTO orders (store_id, order_id, order_date) VALUES ('no-such-store', 'o1', now())"
        )
    await put(database, store_id, SHOP)
    await execute(database, "DELETE FROM stores WHERE store_id = :s", s=store_id)
    assert not any((await dump(database, store_id)).values())


# Back to the tables before


@pytest.fixture
async def own(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    async with own_tables(server_url, settings) as database:
        yield database


async def test_the_tables_before_are_not_gone_back_to_while_there_are_guests(own: Database) -> None:
    await put(own, "corner", SHOP)
    before, revision = await dump(own, "corner"), await current_revision(own)
    with pytest.raises(ConfigurationError, match=r"1 orders and 1 refunds are of guests.*Nothing was changed"):
        await downgrade(own, "0001")
    assert await dump(own, "corner") == before
    assert await current_revision(own) == revision


async def test_without_guests_only_the_tracking_numbers_are_lost_on_the_way_back(own: Database) -> None:
    head, order, line = bought("ada", "o1", "2024-03-01", ("tea", "1", "5"), line_ids=True)
    assert isinstance(order, Order)
    await put(own, "corner", [head, replace(order, tracking_numbers=("1Z1",)), line])
    leave_out = ["xmin", "updated_at", "tracking_numbers"]
    before = await dump(own, "corner", without=leave_out)
    with capture_logs() as logged:
        await downgrade(own, "0001")
    told = {"event": "downgrade.dropped", "what": "tracking numbers", "n_orders": 1, "log_level": "warning"}
    assert told in logged
    assert await dump(own, "corner", without=leave_out) == before
    await migrate(own)
    assert await dump(own, "corner", without=leave_out) == before
