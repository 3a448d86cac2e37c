"""Orders and items as plain mappings: the same features as from the database, and a clear word where they are unfit."""

from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.core.errors import InvalidInput
from app.engine import EcommerceFeatureExtractor
from app.pipeline.ingest import ingest
from app.pipeline.plain_records import behaviour_of
from app.pipeline.run import RunOptions, segment
from app.pipeline.sample import SampleShop
from app.warehouse.engine import Database
from tests.fakes import NOW, SECRET, assert_alike, at, rows

AS_OF = at("2025-01-01")


def an_order(order_id: str = "o1", order_date: Any = "2024-03-01T10:30:00", **other: Any) -> dict[str, Any]:
    return {"order_id": order_id, "order_date": order_date, "total_price": 7, **other}


def an_item(order_id: str = "o1", product_id: str = "tea", **other: Any) -> dict[str, Any]:
    return {"order_id": order_id, "product_id": product_id, "quantity": 2, "price": 3.5, **other}


def features(orders: list[dict[str, Any]], items: list[dict[str, Any]], **how: Any) -> dict[str, dict[str, float]]:
    return EcommerceFeatureExtractor().extract_all_features("ada", orders, items, as_of=how.pop("as_of", AS_OF), **how)


async def test_features_of_plain_records_are_those_of_the_database(database: Database) -> None:
    """The records as the documented input tables hold them, refunds as items' refund_amount. They tell no tickets."""
    store_id = "plain-shop"
    await ingest(
        database, SampleShop(customers=30), store_id=store_id, timezone="UTC", currency="USD", pseudonym_secret=SECRET
    )
    await segment(database, store_id, RunOptions(min_population=10, as_of=NOW), now=NOW)
    orders, items = defaultdict(list), defaultdict(list)
    columns = ("order_id", "order_date", "total_price", "discount_amount", "source")
    for customer, *values in await rows(
        database,
        f"SELECT customer_id, {', '.join(columns)} FROM orders WHERE store_id = :s",  # noqa: S608
        s=store_id,
    ):
        orders[customer].append(dict(zip(columns, values, strict=True)))
    columns = ("order_id", "product_id", "category", "quantity", "price", "discount_amount", "refund_amount")
    for customer, *values in await rows(
        database,
        f"SELECT customer_id, i.{', i.'.join(columns)} FROM order_items AS i JOIN orders USING (store_id, order_id) "  # noqa: S608
        "WHERE store_id = :s",
        s=store_id,
    ):
        items[customer].append(dict(zip(columns, values, strict=True)))
    stored = await rows(
        database, "SELECT customer_id, feature_vectors FROM customer_profiles WHERE store_id = :s", s=store_id
    )

    extractor = EcommerceFeatureExtractor(timezone="America/Chicago")
    for customer, vectors in stored:
        found = extractor.extract_all_features(customer, orders[customer], items[customer], as_of=NOW)
        assert set(vectors) - set(found) == {"support_history"}
        for axis, by_feature in vectors.items():
            if axis == "support_history":
                continue
            for name, expected in by_feature.items():
                # An item says what money came back, not how many units: cents were rounded when some of several did.
                tolerance = 0.01 if name == "items_returned_pct" else 1e-9
                assert found[axis][name] == pytest.approx(expected, rel=1e-9, abs=tolerance), (customer, name)
    assert len(stored) == 30
    assert any(float(item["refund_amount"]) for bought in items.values() for item in bought)


@pytest.mark.parametrize(
    "same",
    [
        *("2024-03-01T10:30:00+00:00", "2024-03-01 10:30:00", "2024-03-01T11:30:00+01:00"),
        *(datetime(2024, 3, 1, 10, 30, tzinfo=UTC), datetime(2024, 3, 1, 10, 30)),  # noqa: DTZ001  read as UTC
    ],
)
def test_a_time_may_be_written_in_many_ways(same: Any) -> None:
    assert_alike(features([an_order(order_date=same)], [an_item()]), features([an_order()], [an_item()]))


@pytest.mark.parametrize("day", ["2024-03-01", date(2024, 3, 1)])
def test_a_day_without_a_time_is_its_midnight(day: Any) -> None:
    midnight = features([an_order(order_date="2024-03-01T00:00:00")], [an_item()])
    assert_alike(features([an_order(order_date=day)], [an_item()]), midnight)


def test_numbers_may_be_decimals_or_text() -> None:
    plain = features([an_order()], [an_item()])
    assert_alike(features([an_order(total_price=Decimal(7))], [an_item(quantity="2", price=Decimal("3.5"))]), plain)


def test_what_is_left_out_stands_for_nothing() -> None:
    plain = features([an_order()], [an_item()])
    told = features(
        [an_order(discount_amount=0, source="web")], [an_item(category=None, discount_amount=None, refund_amount=0)]
    )
    assert_alike(told, plain)


def test_orders_from_as_of_on_and_their_items_do_not_count() -> None:
    orders = [an_order(), an_order("o2", "2025-01-01T00:00:00")]
    assert_alike(features(orders, [an_item(), an_item("o2")]), features([an_order()], [an_item()]))


def test_items_of_unknown_orders_do_not_count() -> None:
    assert_alike(features([an_order()], [an_item(), an_item("o9")]), features([an_order()], [an_item()]))


def test_orders_and_items_are_read_once_so_that_generators_do() -> None:
    found = behaviour_of("ada", iter([an_order()]), iter([an_item()]), as_of=AS_OF, timezone="UTC")
    assert (found.orders.height, found.lines.height) == (1, 1)


def test_ids_may_be_numbers() -> None:
    assert_alike(features([an_order(17)], [an_item(17, product_id=5)]), features([an_order()], [an_item()]))


def test_an_order_without_items_is_an_order() -> None:
    assert features([an_order()], [])["purchase_frequency"]["total_purchases"] == 1


def test_a_refunded_item_lowers_what_was_spent() -> None:
    found = features([an_order()], [an_item(refund_amount=3.5)])
    assert found["purchase_value"]["lifetime_value"] == 3.5
    assert found["return_behavior"]["refund_rate"] == 0.5


def test_a_customer_without_orders_reads_as_nothing() -> None:
    found = behaviour_of("ada", [], [], as_of=AS_OF, timezone="UTC")
    assert (found.customer_ids, found.orders.height) == ([], 0)


@pytest.mark.parametrize(
    ("orders", "items", "said"),
    [
        ([{"order_id": "o1", "total_price": 7}], [], "no order_date"),
        ([an_order(None)], [], "no order_id"),
        ([an_order(order_date="yesterday")], [], "order_date is 'yesterday'.*YYYY-MM-DD"),
        ([an_order(order_date=17)], [], "order_date is 17, which is no date"),
        ([an_order(total_price="seven")], [], "total_price is 'seven', which is no number"),
        ([an_order()], [an_item(None)], "no order_id"),
        ([an_order()], [an_item(product_id=None)], "no product_id"),
        ([an_order()], [an_item(quantity="two")], "quantity is 'two'"),
        ([{"order_id": "o1", "order_date": "2024-03-01"}], [], "total_price"),
        ([an_order()], [{"order_id": "o1", "product_id": "tea", "price": 1}], "quantity"),
    ],
)
def test_what_is_missing_or_unreadable_is_named(
    orders: list[dict[str, Any]], items: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        features(orders, items)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), "nan"])
def test_a_number_that_is_not_finite_is_unreadable(number: Any) -> None:
    with pytest.raises(InvalidInput, match="total_price"):
        features([an_order(total_price=number)], [an_item()])
