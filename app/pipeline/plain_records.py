"""A customer's orders and items as plain mappings, for those who use the library without a database."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from app.core.errors import InvalidInput
from app.pipeline.features import shop_day
from app.warehouse.behaviour import (
    LINE_COLUMNS,
    ORDER_COLUMNS,
    REFUND_COLUMNS,
    TICKET_COLUMNS,
    Behaviour,
    keyed,
)


def behaviour_of(
    customer_id: str,
    orders: Iterable[Mapping[str, Any]],
    items: Iterable[Mapping[str, Any]],
    *,
    as_of: datetime,
    timezone: str,
) -> Behaviour:
    """What one customer did before as_of.

    orders : order_id, order_date (datetime, date or ISO text; UTC where it names no zone), total_price, and where known
             discount_amount and source
    items  : order_id, product_id, quantity, price, and where known category, discount_amount and refund_amount

    Raises InvalidInput naming what is missing or unreadable.
    """
    # An order told twice is one order; the last word stands.
    told = {str(_field(order, "order_id")): order for order in orders}
    dated = [(order, _moment(_field(order, "order_date"))) for order in told.values()]
    dated = [(order, at) for order, at in dated if at < as_of]
    days = {str(_field(order, "order_id")): shop_day(at, timezone) for order, at in dated}
    order_rows = [
        {
            "order_id": str(order["order_id"]),
            "customer_id": customer_id,
            "day": days[str(order["order_id"])],
            "value": _number(order, "total_price"),
            "discount": _number(order, "discount_amount", absent=0.0),
            "source": order.get("source") or "web",
        }
        for order, _ in dated
    ]
    known = [(str(_field(item, "order_id")), item) for item in items]
    known = [(order_id, item) for order_id, item in known if order_id in days]
    lines = [_line(order_id, item) for order_id, item in known]
    refunds = [
        _refund(customer_id, order_id, days[order_id], item)
        for order_id, item in known
        if _number(item, "refund_amount", absent=0.0) > 0
    ]
    return keyed(
        pl.DataFrame(order_rows, schema=ORDER_COLUMNS),
        pl.DataFrame(lines, schema=LINE_COLUMNS),
        pl.DataFrame(refunds, schema=REFUND_COLUMNS),
        pl.DataFrame(schema=TICKET_COLUMNS),
    )


def _line(order_id: str, item: Mapping[str, Any]) -> dict[str, Any]:
    product, category = str(_field(item, "product_id")), item.get("category")
    discount = _number(item, "discount_amount", absent=0.0)
    return {
        "order_id": order_id,
        "product_id": product,
        "category": category or product,
        "has_category": int(bool(category)),
        "quantity": _number(item, "quantity"),
        "amount": _number(item, "quantity") * _number(item, "price") - discount,
        "discount": discount,
    }


def _refund(customer_id: str, order_id: str, day: float, item: Mapping[str, Any]) -> dict[str, Any]:
    """An item says how much of it was refunded, not how many: as many units as the money is worth."""
    paid, back = _line(order_id, item)["amount"], _number(item, "refund_amount")
    share = min(back / paid, 1.0) if paid > 0 else 1.0
    return {
        "customer_id": customer_id,
        "order_id": order_id,
        "day": day,
        "amount": back,
        "quantity": share * _number(item, "quantity"),
        "returned": 1.0,
    }


def _field(record: Mapping[str, Any], name: str) -> Any:
    if record.get(name) is None:
        raise InvalidInput(f"A record has no {name}: {sorted(record)}. Add it.")
    return record[name]


def _number(record: Mapping[str, Any], name: str, *, absent: float | None = None) -> float:
    value = record.get(name, absent)
    try:
        number = float(absent if value is None else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(f"{name} is {value!r}, which is no number.")
    return number


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInput(f"order_date is {value!r}; write it as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS.") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, datetime.min.time())
    if not isinstance(value, datetime):
        raise InvalidInput(f"order_date is {value!r}, which is no date.")
    return value if value.tzinfo else value.replace(tzinfo=UTC)
