"""Records in: COPY into staging tables, then an update and an insert per table.

Staging tables live and die with the transaction, so an import that is killed leaves nothing behind. A row is
touched only when something in it changed, so importing a file twice changes nothing, not even `updated_at`.
"""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.records import Customer, Order, OrderLine, Record, Refund, Ticket
from app.domain.refunds import Purchase, Return
from app.warehouse.engine import raw
from app.warehouse.stores import hold_imports


@dataclass(frozen=True, slots=True)
class Merged:
    """What an import did to one table. staged = inserted + updated + unchanged + erased

    erased : left out, because they are of people who have been erased
    """

    table: str
    staged: int
    inserted: int
    updated: int
    erased: int

    @property
    def unchanged(self) -> int:
        return self.staged - self.inserted - self.updated - self.erased


@dataclass(frozen=True, slots=True)
class Loaded:
    """merged : per table; repeated_lines : of the product, quantity and price of a line before them in their order;
    bereft : customers of whose orders, refunds or tickets one is told to be somebody else's
    """

    merged: list[Merged]
    repeated_lines: int
    bereft: Sequence[str]


_STAGING = """
    CREATE TEMP TABLE stage_customers (
        seq bigint GENERATED ALWAYS AS IDENTITY, customer_id text, email text, first_name text, last_name text,
        phone text, country text, created_at timestamptz
    ) ON COMMIT DROP;
    CREATE TEMP TABLE stage_orders (
        seq bigint GENERATED ALWAYS AS IDENTITY, order_id text, customer_id text, order_date timestamptz,
        order_number text, source text, currency text, financial_status text, fulfillment_status text, country text,
        tracking_numbers text
    ) ON COMMIT DROP;
    CREATE TEMP TABLE stage_order_items (
        seq bigint GENERATED ALWAYS AS IDENTITY, order_id text, item_id text,
        product_id text, product_title text, category text, vendor text, kind text,
        quantity numeric(24,4), price numeric(24,4), discount_amount numeric(24,4), line_total numeric(24,4)
    ) ON COMMIT DROP;
    CREATE TEMP TABLE stage_refunds (
        seq bigint GENERATED ALWAYS AS IDENTITY, refund_id text, document_id text, customer_id text, order_id text,
        item_id text, product_id text, kind text, quantity numeric(24,4), amount numeric(24,4), refunded_at timestamptz
    ) ON COMMIT DROP;
    CREATE TEMP TABLE stage_tickets (
        seq bigint GENERATED ALWAYS AS IDENTITY, ticket_id text, customer_id text, channel text, topic text,
        status text, created_at timestamptz, resolved_at timestamptz, satisfaction smallint
    ) ON COMMIT DROP;
"""

_COLUMNS: dict[type[Record], tuple[str, tuple[str, ...]]] = {
    Customer: (
        "stage_customers",
        ("customer_id", "email", "first_name", "last_name", "phone", "country", "created_at"),
    ),
    Order: (
        "stage_orders",
        (
            *("order_id", "customer_id", "order_date", "order_number", "source", "currency", "financial_status"),
            *("fulfillment_status", "country", "tracking_numbers"),
        ),
    ),
    OrderLine: (
        "stage_order_items",
        (
            *("order_id", "item_id", "product_id", "product_title", "category", "vendor", "kind", "quantity", "price"),
            *("discount_amount", "line_total"),
        ),
    ),
    Refund: (
        "stage_refunds",
        (
            *("refund_id", "document_id", "customer_id", "order_id", "item_id", "product_id", "kind", "quantity"),
            *("amount", "refunded_at"),
        ),
    ),
    Ticket: (
        "stage_tickets",
        ("ticket_id", "customer_id", "channel", "topic", "status", "created_at", "resolved_at", "satisfaction"),
    ),
}


def _last_words(*columns: str) -> str:
    """For each column the last value staged that is not blank."""
    return ", ".join(
        f"(array_agg({column} ORDER BY seq DESC) FILTER (WHERE {column} IS NOT NULL))[1] AS {column}"
        for column in columns
    )


# What is staged, one row per thing. Of two rows with one id the last word stands, and a blank is no word. A file of
# lines tells an order's head once a line; it was placed when its first line was. Lines and refunds without an id of
# their own are named by what they say; like ones of a paper are numbered, so that a file read twice, or two that
# overlap, name the same line the same. Tracking numbers are staged as text: arrays of several lengths make no array.
_SETTLE = f"""
    CREATE TEMP TABLE new_customers ON COMMIT DROP AS
    SELECT customer_id, {_last_words("email", "first_name", "last_name", "phone", "country", "created_at")}
    FROM stage_customers GROUP BY customer_id;

    CREATE TEMP TABLE new_orders ON COMMIT DROP AS
    SELECT order_id, min(order_date) AS order_date,
        {_last_words("customer_id", "order_number", "source", "currency", "financial_status", "fulfillment_status")},
        {_last_words("country")},
        coalesce((array_agg(tracking_numbers ORDER BY seq DESC) FILTER (WHERE tracking_numbers IS NOT NULL))[1], '{{}}')
            ::text[] AS tracking_numbers
    FROM stage_orders GROUP BY order_id;

    CREATE TEMP TABLE new_order_items ON COMMIT DROP AS
    SELECT order_id,
        product_id || '/' || trim_scale(quantity) || '@' || trim_scale(price) || '#' || row_number() OVER alike
            AS item_id,
        product_id, product_title, category, vendor, kind, quantity, price, discount_amount, line_total,
        row_number() OVER alike > 1 AS repeats
    FROM stage_order_items WHERE item_id IS NULL
    WINDOW alike AS (
        PARTITION BY order_id, product_id, quantity, price ORDER BY discount_amount, product_title, seq
    )
    UNION ALL
    (SELECT DISTINCT ON (order_id, item_id) order_id, item_id, product_id, product_title, category, vendor, kind,
        quantity, price, discount_amount, line_total, false
    FROM stage_order_items WHERE item_id IS NOT NULL ORDER BY order_id, item_id, seq DESC);

    CREATE TEMP TABLE new_refunds ON COMMIT DROP AS
    WITH named AS (
        SELECT document_id, customer_id, order_id, item_id, order_id IS NULL AS order_inferred, product_id, kind,
            quantity, amount, refunded_at,
            coalesce(refund_id, document_id || '/' || coalesce(product_id, '') || '/' || trim_scale(quantity) || '@' ||
                trim_scale(amount) || '#' || row_number() OVER (
                    PARTITION BY refund_id, document_id, product_id, quantity, amount ORDER BY refunded_at, seq
                )) AS refund_id, seq
        FROM stage_refunds
    )
    SELECT DISTINCT ON (refund_id) * FROM named ORDER BY refund_id, seq DESC;

    CREATE TEMP TABLE new_tickets ON COMMIT DROP AS
    SELECT ticket_id,
        {_last_words("customer_id", "channel", "topic", "status", "created_at", "resolved_at", "satisfaction")}
    FROM stage_tickets GROUP BY ticket_id;

    CREATE TEMP TABLE touched_orders (order_id text) ON COMMIT DROP;
    CREATE TEMP TABLE touched_customers (customer_id text) ON COMMIT DROP;

    ANALYZE new_customers; ANALYZE new_orders; ANALYZE new_order_items; ANALYZE new_refunds;
    ANALYZE new_tickets;
"""  # noqa: S608  put together from the names above

_SPOKEN_OF = """
    SELECT customer_id FROM new_customers
    UNION SELECT customer_id FROM new_orders WHERE customer_id IS NOT NULL
    UNION SELECT customer_id FROM new_refunds WHERE customer_id IS NOT NULL
    UNION SELECT customer_id FROM new_tickets
"""
_TO_LEAVE_OUT = """
    CREATE TEMP TABLE erased_customers (customer_id text) ON COMMIT DROP;
    CREATE TEMP TABLE erased_orders (order_id text) ON COMMIT DROP;
    CREATE TEMP TABLE lost_orders (order_id text) ON COMMIT DROP;
"""
_ERASED_ORDERS = """
    INSERT INTO erased_orders
    SELECT order_id FROM new_orders WHERE customer_id IN (SELECT customer_id FROM erased_customers)
"""
# An order that is neither here nor known is one that somebody took along: without it no line and no refund can stand.
_LOST_ORDERS = """
    INSERT INTO lost_orders
    SELECT told.order_id FROM (
        SELECT order_id FROM new_order_items UNION SELECT order_id FROM new_refunds WHERE order_id IS NOT NULL
    ) AS told
    WHERE NOT EXISTS (SELECT FROM new_orders AS new WHERE new.order_id = told.order_id)
      AND NOT EXISTS (SELECT FROM orders AS known WHERE known.store_id = :store AND known.order_id = told.order_id)
"""
_LEAVE_OUT_TICKETS = "DELETE FROM new_tickets WHERE customer_id IN (SELECT customer_id FROM erased_customers)"
_LEAVE_OUT_ORDERS = "DELETE FROM new_orders WHERE order_id IN (SELECT order_id FROM erased_orders)"
_LEAVE_OUT_LINES = """
    DELETE FROM new_order_items
    WHERE order_id IN (SELECT order_id FROM erased_orders UNION ALL SELECT order_id FROM lost_orders)
"""
_LEAVE_OUT_REFUNDS = """
    DELETE FROM new_refunds
    WHERE customer_id IN (SELECT customer_id FROM erased_customers) OR (
        customer_id IS NULL
        AND order_id IN (SELECT order_id FROM erased_orders UNION ALL SELECT order_id FROM lost_orders)
    )
"""
# Somebody else's refund of such an order stays theirs.
_LEAVE_OUT_THEIR_ORDER = """
    UPDATE new_refunds SET order_id = NULL, item_id = NULL WHERE order_id IN (SELECT order_id FROM lost_orders)
"""
_LEAVE_OUT_CUSTOMERS = "DELETE FROM new_customers WHERE customer_id IN (SELECT customer_id FROM erased_customers)"

# Whose totals the import can change: what it tells of, and who owned that before.
_TOUCHED_ORDERS = """
    INSERT INTO touched_orders
    SELECT order_id FROM new_orders
    UNION SELECT order_id FROM new_order_items
    UNION SELECT order_id FROM new_refunds WHERE order_id IS NOT NULL
    UNION SELECT order_id FROM refunds
    WHERE store_id = :store AND refund_id IN (SELECT refund_id FROM new_refunds) AND order_id IS NOT NULL
"""
_TOUCHED_CUSTOMERS = """
    INSERT INTO touched_customers
    SELECT customer_id FROM (
        SELECT customer_id FROM new_customers
        UNION SELECT customer_id FROM new_orders
        UNION SELECT customer_id FROM new_refunds
        UNION SELECT customer_id FROM orders
        WHERE store_id = :store AND order_id IN (SELECT order_id FROM touched_orders)
        UNION SELECT customer_id FROM refunds
        WHERE store_id = :store AND refund_id IN (SELECT refund_id FROM new_refunds)
    ) AS customers_and_guests WHERE customer_id IS NOT NULL
"""

_BEREFT = """
    SELECT known.customer_id FROM orders AS known JOIN new_orders AS new USING (order_id)
    WHERE known.store_id = :store AND known.customer_id <> new.customer_id
    UNION SELECT known.customer_id FROM refunds AS known JOIN new_refunds AS new USING (refund_id)
    WHERE known.store_id = :store AND known.customer_id <> new.customer_id
    UNION SELECT known.customer_id FROM tickets AS known JOIN new_tickets AS new USING (ticket_id)
    WHERE known.store_id = :store AND known.customer_id <> new.customer_id
"""

# A refund that names its order and nobody is its order's customer's, whichever of the two is told first.
_REFUNDS_OF_ORDERS = """
    UPDATE refunds SET customer_id = orders.customer_id, updated_at = now()
    FROM orders
    WHERE refunds.store_id = :store AND refunds.customer_id IS NULL
      AND refunds.order_id IN (SELECT order_id FROM touched_orders)
      AND orders.store_id = :store AND orders.order_id = refunds.order_id AND orders.customer_id IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class _Target:
    """A table that staged rows go into: what names a row, and what it says."""

    table: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]

    def update(self) -> str:
        """Rows that are there already and say something else. A blank never wipes out what is known."""
        known = ", ".join(f"known.{column}" for column in self.columns)
        settled = ", ".join(self._settled(column) for column in self.columns)
        return f"""
            UPDATE {self.table} AS known SET ({", ".join(self.columns)}) = ROW({settled}), updated_at = now()
            FROM new_{self.table} AS new
            WHERE known.store_id = :store AND {self._same_row()} AND ({known}) IS DISTINCT FROM ({settled})
        """  # noqa: S608  names from the constants below

    def insert(self) -> str:
        """Rows that are not there yet. An anti-join and a plain INSERT take half the time of ON CONFLICT."""
        names = ", ".join(self.keys + self.columns)
        return f"""
            INSERT INTO {self.table} (store_id, {names})
            SELECT :store, {names} FROM new_{self.table} AS new
            WHERE NOT EXISTS (SELECT FROM {self.table} AS known WHERE known.store_id = :store AND {self._same_row()})
        """  # noqa: S608

    def _same_row(self) -> str:
        return " AND ".join(f"known.{key} = new.{key}" for key in self.keys)

    @staticmethod
    def _settled(column: str) -> str:
        match column:
            case "order_date":
                # An order split over two files was placed when its first line was, whichever file comes first.
                return f"least(new.{column}, known.{column})"
            case "tracking_numbers":
                return f"coalesce(nullif(new.{column}, '{{}}'), known.{column})"
            case _:
                return f"coalesce(new.{column}, known.{column})"


_TARGETS = (
    _Target("customers", ("customer_id",), ("email", "first_name", "last_name", "phone", "country", "created_at")),
    _Target(
        "orders",
        ("order_id",),
        (
            *("customer_id", "order_date", "order_number", "source", "currency", "financial_status"),
            *("fulfillment_status", "country", "tracking_numbers"),
        ),
    ),
    _Target(
        "order_items",
        ("order_id", "item_id"),
        (
            *("product_id", "product_title", "category", "vendor", "kind", "quantity", "price", "discount_amount"),
            "line_total",
        ),
    ),
    _Target(
        "refunds",
        ("refund_id",),
        (
            *("document_id", "customer_id", "order_id", "item_id", "order_inferred", "product_id", "kind", "quantity"),
            *("amount", "refunded_at"),
        ),
    ),
    _Target(
        "tickets",
        ("ticket_id",),
        ("customer_id", "channel", "topic", "status", "created_at", "resolved_at", "satisfaction"),
    ),
)

_REPEATED_ITEMS = "SELECT count(*) FROM new_order_items WHERE repeats"

_MANY_ROWS = 10_000

_ORDER_TOTALS = """
    UPDATE orders SET total_price = sums.total, discount_amount = sums.discount, updated_at = now()
    FROM (
        SELECT order_id, sum(line_total) AS total, sum(discount_amount) AS discount FROM order_items
        WHERE store_id = :store AND order_id IN (SELECT order_id FROM touched_orders) GROUP BY order_id
    ) AS sums
    WHERE orders.store_id = :store AND orders.order_id = sums.order_id
      AND (orders.total_price, orders.discount_amount) IS DISTINCT FROM (sums.total, sums.discount)
"""

_CUSTOMER_TOTALS = """
    UPDATE customers SET total_spent = sums.spent, orders_count = sums.n_orders, updated_at = now()
    FROM (
        SELECT customer_id,
            coalesce((SELECT sum(total_price) FROM orders
                      WHERE store_id = :store AND orders.customer_id = touched.customer_id), 0)
          - coalesce((SELECT sum(amount) FROM refunds
                      WHERE store_id = :store AND refunds.customer_id = touched.customer_id), 0) AS spent,
            (SELECT count(*) FROM orders
             WHERE store_id = :store AND orders.customer_id = touched.customer_id) AS n_orders
        FROM touched_customers AS touched
    ) AS sums
    WHERE customers.store_id = :store AND customers.customer_id = sums.customer_id
      AND (customers.total_spent, customers.orders_count) IS DISTINCT FROM (sums.spent, sums.n_orders)
"""

_REFUNDED_LINES = """
    UPDATE order_items AS item SET refund_amount = sums.amount, updated_at = now()
    FROM (
        SELECT line.order_id, line.item_id, coalesce(sum(refund.amount), 0) AS amount
        FROM order_items AS line
        LEFT JOIN refunds AS refund
          ON refund.store_id = line.store_id AND refund.order_id = line.order_id AND refund.item_id = line.item_id
        WHERE line.store_id = :store AND (refund.refund_id IS NOT NULL OR line.refund_amount > 0)
          AND line.order_id IN (
              SELECT order_id FROM orders
              WHERE store_id = :store AND customer_id IN (SELECT customer_id FROM touched_customers)
              UNION SELECT order_id FROM touched_orders
          )
        GROUP BY line.order_id, line.item_id
    ) AS sums
    WHERE item.store_id = :store AND item.order_id = sums.order_id AND item.item_id = sums.item_id
      AND item.refund_amount IS DISTINCT FROM sums.amount
"""

_UNTOLD_RETURNS = """
    SELECT customer_id, product_id, refund_id, refunded_at, quantity, amount, document_id FROM refunds
    WHERE store_id = $1 AND order_inferred AND customer_id IN (SELECT customer_id FROM touched_customers)
"""

_REFUNDABLE_LINES = """
    WITH untold AS (
        SELECT customer_id, product_id, document_id FROM refunds
        WHERE store_id = $1 AND order_inferred AND customer_id IN (SELECT customer_id FROM touched_customers)
    )
    SELECT o.customer_id, item.product_id, o.order_id, item.item_id, o.order_date, item.quantity, item.line_total
    FROM (SELECT DISTINCT customer_id FROM untold) AS wanted
    JOIN orders AS o ON o.store_id = $1 AND o.customer_id = wanted.customer_id
    JOIN order_items AS item ON item.store_id = $1 AND item.order_id = o.order_id
    WHERE (o.customer_id, item.product_id) IN (SELECT customer_id, product_id FROM untold WHERE product_id IS NOT NULL)
       OR (o.customer_id, o.order_id) IN (SELECT customer_id, document_id FROM untold)
"""


async def open_staging(connection: AsyncConnection, store_id: str) -> None:
    """Empty staging tables for this transaction. Another import of the same store waits until this one ends."""
    await hold_imports(connection, store_id)
    await (await raw(connection)).execute(_STAGING)


async def stage(connection: AsyncConnection, records: Iterable[Record]) -> None:
    """COPY a batch of records into the staging tables.

    As text: the csv module and the server's own parser are twice as fast as encoding decimals for the binary protocol.
    """
    texts = {kind: io.StringIO() for kind in _COLUMNS}
    writers = {kind: csv.writer(text) for kind, text in texts.items()}
    for record in records:
        writers[type(record)].writerow(_row(record))
    driver = await raw(connection)
    for kind, (table, columns) in _COLUMNS.items():
        if texts[kind].tell():
            source = io.BytesIO(texts[kind].getvalue().encode())
            await driver.copy_to_table(table, source=source, columns=columns, format="csv")


async def settle(connection: AsyncConnection) -> None:
    """Make one row per thing of what is staged."""
    await (await raw(connection)).execute(_SETTLE)


async def settled_customers(connection: AsyncConnection) -> Sequence[str]:
    """Everyone whom what is settled speaks of."""
    return (await connection.execute(text(_SPOKEN_OF))).scalars().all()


async def leave_out(connection: AsyncConnection, store_id: str, erased: Collection[str]) -> Mapping[str, int]:
    """Take what is of these customers out of what is settled; returns how many rows that were, by table.

    Call it where anybody has ever been erased, also if none of them is here: of their orders a line or a refund may
    come that names the order alone.
    """
    driver = await raw(connection)
    await driver.execute(_TO_LEAVE_OUT)
    await driver.copy_records_to_table("erased_customers", records=[(customer_id,) for customer_id in erased])
    await driver.execute("ANALYZE erased_customers")
    await connection.execute(text(_ERASED_ORDERS))
    left_out = {
        "tickets": (await connection.execute(text(_LEAVE_OUT_TICKETS))).rowcount,
        "orders": (await connection.execute(text(_LEAVE_OUT_ORDERS))).rowcount,
    }
    await connection.execute(text(_LOST_ORDERS), {"store": store_id})
    left_out["order_items"] = (await connection.execute(text(_LEAVE_OUT_LINES))).rowcount
    left_out["refunds"] = (await connection.execute(text(_LEAVE_OUT_REFUNDS))).rowcount
    await connection.execute(text(_LEAVE_OUT_THEIR_ORDER))
    left_out["customers"] = (await connection.execute(text(_LEAVE_OUT_CUSTOMERS))).rowcount
    return left_out


async def merge(connection: AsyncConnection, store_id: str, *, left_out: Mapping[str, int]) -> Loaded:
    """Write what is settled into the store's tables, parents first. left_out : what `leave_out` returned, if called"""
    driver = await raw(connection)
    repeated = (await connection.execute(text(_REPEATED_ITEMS))).scalar_one()
    await connection.execute(text(_TOUCHED_ORDERS), {"store": store_id})
    await connection.execute(text(_TOUCHED_CUSTOMERS), {"store": store_id})
    if sum([await _staged(connection, target) for target in _TARGETS]) > _MANY_ROWS:
        # A table that was small when the planner last looked at it would be read through once for every row staged,
        # and grows while it is: hours instead of seconds.
        await driver.execute("SET LOCAL enable_nestloop = off")
    bereft = (await connection.execute(text(_BEREFT), {"store": store_id})).scalars().all()
    merged = [await _merge(connection, store_id, target, erased=left_out.get(target.table, 0)) for target in _TARGETS]
    await driver.execute("SET LOCAL enable_nestloop TO DEFAULT")
    if sum(each.inserted for each in merged) > _MANY_ROWS:
        # The planner knows nothing yet of rows this transaction wrote.
        await driver.execute(
            "ANALYZE customers; ANALYZE orders; ANALYZE order_items; ANALYZE refunds; ANALYZE tickets;"
        )
    await connection.execute(text(_REFUNDS_OF_ORDERS), {"store": store_id})
    return Loaded(merged=merged, repeated_lines=int(repeated), bereft=bereft)


async def untold_returns(connection: AsyncConnection, store_id: str) -> tuple[list[Return], list[Purchase]]:
    """Refunds of the customers just touched whose source names no order, and the purchases they could undo."""
    driver = await raw(connection)
    returns = [Return(*row) for row in await driver.fetch(_UNTOLD_RETURNS, store_id)]
    purchases = [Purchase(*row) for row in await driver.fetch(_REFUNDABLE_LINES, store_id)] if returns else []
    return returns, purchases


async def record_matches(
    connection: AsyncConnection, store_id: str, returns: Sequence[Return], matched: dict[str, Purchase]
) -> None:
    """Write down which order each return undoes, where that changed."""
    driver = await raw(connection)
    await driver.execute("CREATE TEMP TABLE stage_matches (refund_id text, order_id text, item_id text) ON COMMIT DROP")
    found = [(each.refund_id, matched.get(each.refund_id)) for each in returns]
    rows = [(refund, line.order_id, line.item_id) if line else (refund, None, None) for refund, line in found]
    await driver.copy_records_to_table("stage_matches", records=rows)
    await driver.execute(
        """
        UPDATE refunds SET order_id = found.order_id, item_id = found.item_id, updated_at = now()
        FROM stage_matches AS found
        WHERE refunds.store_id = $1 AND refunds.refund_id = found.refund_id
          AND (refunds.order_id, refunds.item_id) IS DISTINCT FROM (found.order_id, found.item_id)
        """,
        store_id,
    )


async def settle_totals(connection: AsyncConnection, store_id: str) -> None:
    """Orders' totals from their lines, lines' refunds, customers' spend: of what was just touched."""
    for statement in (_ORDER_TOTALS, _REFUNDED_LINES, _CUSTOMER_TOTALS):
        await connection.execute(text(statement), {"store": store_id})


async def _merge(connection: AsyncConnection, store_id: str, target: _Target, *, erased: int) -> Merged:
    staged = await _staged(connection, target) + erased
    updated = (await connection.execute(text(target.update()), {"store": store_id})).rowcount
    inserted = (await connection.execute(text(target.insert()), {"store": store_id})).rowcount
    return Merged(table=target.table, staged=staged, inserted=inserted, updated=updated, erased=erased)


async def _staged(connection: AsyncConnection, target: _Target) -> int:
    counted = await connection.execute(text(f"SELECT count(*) FROM new_{target.table}"))  # noqa: S608
    return int(counted.scalar_one())


def _row(record: Record) -> tuple[Any, ...]:
    match record:
        case OrderLine():
            return (
                *(record.order_id, record.line_id, record.product_id, record.title, record.category, record.vendor),
                *(record.kind.value, record.quantity, record.unit_price, record.discount, record.amount),
            )
        case Order():
            return (
                *(record.order_id, record.customer_id, record.ordered_at, record.order_number, record.channel),
                *(record.currency, record.financial_status, record.fulfillment_status, record.country),
                _array(record.tracking_numbers),
            )
        case Customer():
            return (
                *(record.customer_id, record.email, record.first_name, record.last_name, record.phone),
                *(record.country, record.created_at),
            )
        case Refund():
            return (
                *(record.refund_id, record.document_id, record.customer_id, record.order_id, record.line_id),
                *(record.product_id, record.kind.value, record.quantity, record.amount, record.refunded_at),
            )
        case Ticket():
            return (
                *(record.ticket_id, record.customer_id, record.channel, record.topic, record.status),
                *(record.created_at, record.resolved_at, record.satisfaction),
            )


def _array(texts: tuple[str, ...]) -> str | None:
    """As Postgres writes an array; None for an empty one, which says nothing."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}" if texts else None


async def money(connection: AsyncConnection, store_id: str) -> tuple[Decimal, Decimal]:
    """Money of the store: paid for all its orders, and given back."""
    paid, back = (
        await connection.execute(
            text(
                "SELECT (SELECT coalesce(sum(total_price), 0) FROM orders WHERE store_id = :store),"
                " (SELECT coalesce(sum(amount), 0) FROM refunds WHERE store_id = :store)"
            ),
            {"store": store_id},
        )
    ).one()
    return paid, back
