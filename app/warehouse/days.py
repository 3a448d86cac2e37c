"""What happened in a shop day by day, on its own calendar: all of it, and by kind of customer."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.dates import start_of_day
from app.prediction.anomalies import Metric

Floats = NDArray[np.float64]

_ORDERS = """
    SELECT store_id, customer_id, order_date AS at, total_price AS amount
    FROM orders WHERE store_id = :store_id AND order_date >= :since AND order_date < :until
"""
# A refund has a row for each of its lines.
_REFUNDS = """
    SELECT store_id, customer_id, min(refunded_at) AS at, sum(amount) AS amount
    FROM refunds WHERE store_id = :store_id AND refunded_at >= :since AND refunded_at < :until
    GROUP BY store_id, customer_id, document_id
"""
_TICKETS = """
    SELECT store_id, customer_id, created_at AS at, 0::numeric AS amount
    FROM tickets WHERE store_id = :store_id AND created_at >= :since AND created_at < :until
"""
_HAPPENED = {
    Metric.orders: _ORDERS,
    Metric.revenue: _ORDERS,
    Metric.refunds: _REFUNDS,
    Metric.tickets: _TICKETS,
}
# Kinds are those of today, also of what their customers did before.
_BY_DAY = """
    WITH by_day AS (
        SELECT {kind} AS kind, (happened.at AT TIME ZONE CAST(:timezone AS text))::date - CAST(:first AS date) AS day,
            count(*) AS events, sum(happened.amount) AS amount
        FROM ({happened}) AS happened {joined}
        GROUP BY 1, 2
    )
    SELECT kind, array_agg(day), array_agg(events), array_agg(amount::float8) FROM by_day GROUP BY kind
"""
_STANDING = """
    LEFT JOIN fact_customer_standing AS standing ON standing.store_id = happened.store_id
        AND standing.customer_id = happened.customer_id AND standing.run_id = :run_id
        AND (CAST(:archetype_id AS text) IS NULL OR standing.archetype_id = :archetype_id)
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Days of a shop, both ends included. timezone : whose days they are"""

    first: date
    last: date
    timezone: str

    @property
    def n_days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True)
class Daily:
    """Each (n_days,), from the first day of a span to the last. events : how many; amounts : what they come to"""

    events: Floats
    amounts: Floats

    def of(self, metric: Metric) -> Floats:
        return self.amounts if metric.is_amount else self.events


def nothing_in(span: Span) -> Daily:
    return Daily(np.zeros(span.n_days), np.zeros(span.n_days))


async def daily_totals(connection: AsyncConnection, store_id: str, metric: Metric, span: Span) -> Daily:
    """Of everybody, guests among them."""
    query = _BY_DAY.format(kind="NULL", happened=_HAPPENED[metric], joined="")
    return (await _read(connection, query, store_id, span)).get(None) or nothing_in(span)


async def daily_totals_by_archetype(
    connection: AsyncConnection,
    store_id: str,
    metric: Metric,
    span: Span,
    *,
    run_id: int,
    archetype_id: str | None = None,
) -> tuple[Daily, dict[str, Daily]]:
    """Of everybody, guests among them, and {archetype of level 1: the days of those who are of it in that run}, without
    one whose customers did nothing.

    archetype_id : of that one alone; None for all
    """
    query = _BY_DAY.format(kind="standing.archetype_id", happened=_HAPPENED[metric], joined=_STANDING)
    found = await _read(connection, query, store_id, span, run_id=run_id, archetype_id=archetype_id)
    everybody = nothing_in(span)
    for each in found.values():
        everybody.events[:] += each.events
        everybody.amounts[:] += each.amounts
    return everybody, {kind: daily for kind, daily in found.items() if kind is not None}


# Money given back to customers of whom no order is known is nobody's either.
_OF_NOBODY = """
    SELECT (happened.at AT TIME ZONE CAST(:timezone AS text))::date - date '1970-01-01' AS day,
        sum(orders) AS orders, sum(amount)::float8 AS amount
    FROM (
        SELECT order_date AS at, 1 AS orders, total_price AS amount
        FROM orders WHERE store_id = :store_id AND order_date < :as_of AND customer_id IS NULL
        UNION ALL
        SELECT refunded_at, 0, -amount
        FROM refunds AS refund WHERE store_id = :store_id AND refunded_at < :as_of AND NOT EXISTS (
            SELECT FROM orders AS placed WHERE placed.store_id = refund.store_id
              AND placed.customer_id = refund.customer_id AND placed.order_date < :as_of
        )
    ) AS happened
    GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class GuestDays:
    """Days on which guests did something, in their order. Each (n_days,)

    day : since 1970-01-01 on the shop's clock; orders : how many; revenue : paid less given back
    """

    day: NDArray[np.int64]
    orders: NDArray[np.int64]
    revenue: Floats


async def guest_days(connection: AsyncConnection, store_id: str, *, as_of: datetime, timezone: str) -> GuestDays:
    """What came before a moment from orders of nobody known: with what customers did, all that the shop earned."""
    values = {"store_id": store_id, "as_of": as_of, "timezone": timezone}
    rows = (await connection.execute(text(_OF_NOBODY), values)).all()
    day, orders, revenue = zip(*rows, strict=True) if rows else ((), (), ())
    return GuestDays(np.array(day, dtype=np.int64), np.array(orders, dtype=np.int64), np.array(revenue, dtype=float))


async def _read(
    connection: AsyncConnection, query: str, store_id: str, span: Span, **of_kind: object
) -> dict[str | None, Daily]:
    values = {
        "store_id": store_id,
        "first": span.first,
        "since": start_of_day(span.first, span.timezone),
        "until": start_of_day(span.last + timedelta(days=1), span.timezone),
        "timezone": span.timezone,
        **of_kind,
    }
    found: dict[str | None, Daily] = {}
    for kind, days, events, amounts in await connection.execute(text(query), values):
        found[kind] = nothing_in(span)
        found[kind].events[days], found[kind].amounts[days] = events, amounts
    return found
