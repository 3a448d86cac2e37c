"""What customers did, read out as columns: the raw material of features."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.features import CHAT, EMAIL, OPEN, OTHER_WAY, PHONE, UNTOLD
from app.warehouse.copying import copy_out
from app.warehouse.engine import Row, raw

#: `orders.source` of an order placed on the web; an unknown channel counts as this one.
_WEB = "web"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A store's records before `as_of`, ready for domain.features.

    customer_ids : sorted; the integer keys of the frames count through it
    orders, lines, refunds, tickets : as domain.features describes them; days are on the shop's own clock
    has_categories : whether any product has one; where none has, each product counts as a category of its own
    """

    customer_ids: list[str]
    orders: pl.DataFrame
    lines: pl.DataFrame
    refunds: pl.DataFrame
    tickets: pl.DataFrame
    has_categories: bool

    @property
    def has_discounts(self) -> bool:
        return bool((self.orders["discount"] > 0).any())

    @property
    def has_tickets(self) -> bool:
        return self.tickets.height > 0


_DAY = "extract(epoch FROM {column} AT TIME ZONE $3)::float8 / 86400"

#: The frames of `Behaviour` and their columns: keys are integers, all else floats.
FRAMES = {
    "orders": pl.Schema(
        {
            "customer": pl.Int64,
            "order": pl.Int64,
            "day": pl.Float64,
            "value": pl.Float64,
            "discount": pl.Float64,
            "channel": pl.Int64,
        }
    ),
    "lines": pl.Schema(
        {
            "customer": pl.Int64,
            "order": pl.Int64,
            "day": pl.Float64,
            "product": pl.Int64,
            "category": pl.Int64,
            "quantity": pl.Float64,
            "amount": pl.Float64,
            "discount": pl.Float64,
        }
    ),
    "refunds": pl.Schema(
        {
            "customer": pl.Int64,
            "order": pl.Int64,
            "day": pl.Float64,
            "amount": pl.Float64,
            "quantity": pl.Float64,
            "returned": pl.Float64,
        }
    ),
    "tickets": pl.Schema(
        {
            "customer": pl.Int64,
            "day": pl.Float64,
            "satisfaction": pl.Float64,
            "channel": pl.Int64,
            "topic": pl.Int64,
            "resolved_day": pl.Float64,
        }
    ),
}

_TEXT, _NUMBER = pl.String, pl.Float64
ORDER_COLUMNS = {
    "order_id": _TEXT,
    "customer_id": _TEXT,
    "day": _NUMBER,
    "value": _NUMBER,
    "discount": _NUMBER,
    "source": _TEXT,
}
LINE_COLUMNS = {
    "order_id": _TEXT,
    "product_id": _TEXT,
    "category": _TEXT,
    "has_category": pl.Int8,
    "quantity": _NUMBER,
    "amount": _NUMBER,
    "discount": _NUMBER,
}
REFUND_COLUMNS = {
    "customer_id": _TEXT,
    "order_id": _TEXT,
    "day": _NUMBER,
    "amount": _NUMBER,
    "quantity": _NUMBER,
    "returned": _NUMBER,
}
TICKET_COLUMNS = {
    "customer_id": _TEXT,
    "day": _NUMBER,
    "satisfaction": _NUMBER,
    "channel": pl.Int64,
    "topic": _TEXT,
    "resolved_day": _NUMBER,
}

_ORDERS = f"""
    SELECT o.order_id, o.customer_id, {_DAY.format(column="o.order_date")} AS day, o.total_price::float8 AS value,
        o.discount_amount::float8 AS discount, coalesce(o.source, '{_WEB}') AS source
    FROM orders AS o
    WHERE o.store_id = $1 AND o.order_date < $2 AND o.customer_id IS NOT NULL
"""  # noqa: S608  put together from the constants above
_LINE = """
    SELECT item.order_id, item.product_id, coalesce(item.category, item.product_id) AS category,
        (item.category IS NOT NULL)::int AS has_category, item.quantity{number} AS quantity,
        item.line_total{number} AS amount, item.discount_amount{number} AS discount
    FROM order_items AS item
"""
# Of a whole shop without a look at their orders, which `keyed` has anyway, and with numbers as the texts they are read
# from: a join and a conversion there would take half of the time.
_LINES = f"""{_LINE.format(number="")}
    WHERE item.store_id = $1 AND item.kind = 'goods' AND ($2::timestamptz, $3::text) IS NOT NULL
"""
_LINES_OF_SOME = f"""{_LINE.format(number="::float8")}
    JOIN orders AS o ON o.store_id = item.store_id AND o.order_id = item.order_id
    WHERE item.store_id = $1 AND item.kind = 'goods' AND o.order_date < $2 AND $3::text IS NOT NULL
"""
_REFUNDS = f"""
    SELECT refund.customer_id, refund.order_id, {_DAY.format(column="refund.refunded_at")} AS day,
        refund.amount::float8 AS amount, refund.quantity::float8 AS quantity,
        (refund.kind = 'return')::int::float8 AS returned
    FROM refunds AS refund
    WHERE refund.store_id = $1 AND refund.refunded_at < $2 AND refund.customer_id IS NOT NULL
"""  # noqa: S608
# Helpdesks write "E-Mail", "live_chat", "Telephone"; what is sent through a form is answered by e-mail. Voice comes
# first, because of voicemail. A ticket without a topic is about the same as another without. One that is resolved later
# is still open at this moment, and not rated yet; one that is closed without a time took nobody knows how long.
_TICKETS = f"""
    SELECT ticket.customer_id, {_DAY.format(column="ticket.created_at")} AS day,
        CASE WHEN ticket.resolved_at >= $2 THEN 0 ELSE coalesce(ticket.satisfaction, 0) END::float8 AS satisfaction,
        CASE WHEN ticket.channel ~* '(phone|call|voice|^tel)' THEN {PHONE}
            WHEN ticket.channel ~* '(chat|messag|messenger|whatsapp|sms)' THEN {CHAT}
            WHEN ticket.channel ~* '(mail|form)' THEN {EMAIL}
            ELSE {OTHER_WAY} END AS channel,
        coalesce(nullif(lower(btrim(ticket.topic)), ''), '-') AS topic,
        CASE WHEN ticket.resolved_at < $2 THEN {_DAY.format(column="ticket.resolved_at")}
            WHEN ticket.resolved_at IS NULL AND ticket.status ~* '\\m(closed|resolved|solved|done)' THEN {UNTOLD}
            ELSE {OPEN} END AS resolved_day
    FROM tickets AS ticket
    WHERE ticket.store_id = $1 AND ticket.created_at < $2
"""  # noqa: S608


async def read_behaviour(
    connection: AsyncConnection,
    store_id: str,
    *,
    as_of: datetime,
    timezone: str,
    beside: AsyncConnection | None = None,
) -> Behaviour:
    """Everything before as_of of the customers with an order before as_of. Orders of nobody known are left out.

    beside : a connection that sees the same moment, over which half of it is read meanwhile
    """
    arguments = (store_id, as_of, timezone)

    async def lines(over: AsyncConnection) -> pl.DataFrame:
        return await copy_out(over, _LINES, arguments, LINE_COLUMNS)

    reading = None if beside is None else asyncio.create_task(lines(beside))
    try:
        orders = await copy_out(connection, _ORDERS, arguments, ORDER_COLUMNS)
        refunds = await copy_out(connection, _REFUNDS, arguments, REFUND_COLUMNS)
        tickets = await copy_out(connection, _TICKETS, arguments, TICKET_COLUMNS)
        bought = await (lines(connection) if reading is None else reading)
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    return await asyncio.to_thread(keyed, orders, bought, refunds, tickets)


async def read_behaviour_of(
    connection: AsyncConnection, store_id: str, customer_ids: Sequence[str], *, as_of: datetime, timezone: str
) -> Behaviour:
    """The same of some customers; those without an order before as_of are left out."""
    if len(customer_ids) == 1:
        return await read_behaviour_of_one(connection, store_id, customer_ids[0], as_of=as_of, timezone=timezone)
    driver = await raw(connection)
    read = []
    for query, table, columns in (
        (_ORDERS, "o", ORDER_COLUMNS),
        (_LINES_OF_SOME, "o", LINE_COLUMNS),
        (_REFUNDS, "refund", REFUND_COLUMNS),
        (_TICKETS, "ticket", TICKET_COLUMNS),
    ):
        of_some = f"{query} AND {table}.customer_id = ANY($4::text[])"
        read.append((await driver.fetch(of_some, store_id, as_of, timezone, list(customer_ids)), columns))
    return await asyncio.to_thread(_keyed_rows, read)


def _keyed_rows(read: Sequence[tuple[Sequence[Row], Mapping[str, Any]]]) -> Behaviour:
    """rows and columns of orders, lines, refunds and tickets"""
    frames = [pl.DataFrame([tuple(row) for row in rows], schema=columns, orient="row") for rows, columns in read]
    return keyed(*frames)


_BETWEEN = """
    SELECT customer_id FROM orders
    WHERE store_id = $1 AND order_date >= $2 AND order_date < $3 AND customer_id IS NOT NULL
    UNION
    SELECT customer_id FROM refunds
    WHERE store_id = $1 AND refunded_at >= $2 AND refunded_at < $3 AND customer_id IS NOT NULL
    UNION
    SELECT customer_id FROM tickets
    WHERE store_id = $1 AND customer_id IS NOT NULL
      AND (created_at >= $2 AND created_at < $3 OR resolved_at >= $2 AND resolved_at < $3)
    ORDER BY customer_id
"""


async def with_records_between(
    connection: AsyncConnection, store_id: str, moment: datetime, later: datetime
) -> list[str]:
    """Those whose behaviour is another at the later moment: with an order, a refund or news of a ticket in between."""
    driver = await raw(connection)
    return [row["customer_id"] for row in await driver.fetch(_BETWEEN, store_id, moment, later)]


async def read_behaviour_of_one(
    connection: AsyncConnection, store_id: str, customer_id: str, *, as_of: datetime, timezone: str
) -> Behaviour:
    """The same of one customer, in a few milliseconds; without an order before as_of, of nobody."""
    driver = await raw(connection)
    orders, lines, refunds, tickets = [
        await driver.fetch(f"{query} AND {table}.customer_id = $4", store_id, as_of, timezone, customer_id)
        for query, table in ((_ORDERS, "o"), (_LINES_OF_SOME, "o"), (_REFUNDS, "refund"), (_TICKETS, "ticket"))
    ]
    order_keys = {order_id: number for number, order_id in enumerate(sorted(row["order_id"] for row in orders))}
    days = {row["order_id"]: row["day"] for row in orders}
    channels = {channel: number for number, channel in enumerate(sorted({row["source"] for row in orders}), start=1)}
    channels[_WEB] = 0
    products, categories = (
        {each: number for number, each in enumerate(sorted({row[name] for row in lines}))}
        for name in ("product_id", "category")
    )
    topics = {topic: number for number, topic in enumerate(sorted({row["topic"] for row in tickets}))}
    told: dict[str, list[tuple[Any, ...]]] = {
        "orders": [
            (0, order_keys[row["order_id"]], row["day"], row["value"], row["discount"], channels[row["source"]])
            for row in orders
        ],
        "lines": [
            (
                *(0, order_keys[row["order_id"]], days[row["order_id"]]),
                *(products[row["product_id"]], categories[row["category"]]),
                *(row["quantity"], row["amount"], row["discount"]),
            )
            for row in lines
            if row["order_id"] in order_keys  # an order may have come in since its table was read
        ],
        "refunds": [
            (0, order_keys.get(row["order_id"], -1), row["day"], row["amount"], row["quantity"], row["returned"])
            for row in refunds
        ],
        "tickets": [
            (0, row["day"], row["satisfaction"], row["channel"], topics[row["topic"]], row["resolved_day"])
            for row in tickets
        ],
    }
    return Behaviour(
        customer_ids=[customer_id] if orders else [],
        **{name: pl.DataFrame(told[name], schema=FRAMES[name], orient="row") for name in FRAMES},
        has_categories=any(row["has_category"] for row in lines),
    )


def keyed(orders: pl.DataFrame, lines: pl.DataFrame, refunds: pl.DataFrame, tickets: pl.DataFrame) -> Behaviour:
    """Text ids become integers; what belongs to no customer with an order is left out.

    The frames are those of the queries above, column for column.
    """
    customers = orders.select("customer_id").unique().sort("customer_id").with_row_index("customer")
    customers = customers.with_columns(pl.col("customer").cast(pl.Int64))
    orders = orders.sort("order_id").with_row_index("order").with_columns(pl.col("order").cast(pl.Int64))
    order_ids = pl.Enum(orders["order_id"])
    orders = orders.join(customers, on="customer_id", maintain_order="left")
    channel = pl.when(pl.col("source") == _WEB).then(0).otherwise(pl.col("source").rank("dense"))
    # The place of an id among the sorted ones is its key: looked up once for each row, where a join takes several times
    # as long.
    lines = lines.with_columns(order=pl.col("order_id").cast(order_ids, strict=False).to_physical().cast(pl.Int64))
    bought = lines.join(orders.select("order", "customer", "day"), on="order")
    return Behaviour(
        customer_ids=customers["customer_id"].to_list(),
        orders=orders.select("customer", "order", "day", "value", "discount", channel=channel.cast(pl.Int64)),
        lines=bought.select(
            *("customer", "order", "day"),
            _rank(bought, "product_id").alias("product"),
            _rank(bought, "category"),
            *("quantity", "amount", "discount"),
        ),
        # A refund whose order is unknown, or placed too late to be known here, belongs to order -1.
        refunds=refunds.join(customers, on="customer_id")
        .join(orders.select("order_id", "order"), on="order_id", how="left")
        .select("customer", pl.col("order").fill_null(-1), "day", "amount", "quantity", "returned"),
        tickets=tickets.join(customers, on="customer_id").select(
            *("customer", "day", "satisfaction", "channel"),
            pl.col("topic").rank("dense").cast(pl.Int64),
            "resolved_day",
        ),
        has_categories=bool((lines["has_category"] > 0).any()),
    )


def _rank(lines: pl.DataFrame, column: str) -> pl.Expr:
    """The place of each text among the different ones, from 1."""
    return pl.col(column).cast(pl.Enum(lines[column].unique().sort())).to_physical().cast(pl.Int64) + 1
