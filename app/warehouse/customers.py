"""Customers as they are served: one of them in full, their orders, those a search finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from app.warehouse.engine import Database, Row

# Everything about one customer that is read rather than computed, by primary keys alone. Who has no account date has
# been a customer since their first order.
_PROFILE = """
    SELECT customer.store_id, customer.customer_id, named.pseudonym, customer.first_name, customer.last_name,
        customer.email, customer.phone, customer.country, customer.orders_count, customer.total_spent,
        store.currency, store.timezone,
        (coalesce(customer.created_at, (
            SELECT min(order_date) FROM orders AS o
            WHERE o.store_id = customer.store_id AND o.customer_id = customer.customer_id
        )) AT TIME ZONE store.timezone)::date::text AS customer_since,
        store.served_run_id AS run_id, standing.archetype_id, archetype.profile AS archetype,
        standing.profile AS own, array_to_string(standing.memberships, ',') AS memberships, standing.dominant,
        standing.rfm_recency, standing.rfm_frequency, standing.rfm_monetary, standing.rfm_group,
        standing.rfm_previous_group, standing.rfm_changed_on::text AS rfm_changed_on,
        store.served_prediction_id, told.as_of AS told_as_of, told.p_no_purchase_30d, told.p_no_purchase_90d,
        told.churn_risk_score, told.horizon_days, told.risk_level, told.engagement_trend, told.expected_spend_90d,
        told.expected_spend_low, told.expected_spend_high, told.predicted_ltv_12m,
        told.next_order_on::text AS next_order_on, told.next_order_earliest::text AS next_order_earliest,
        told.next_order_latest::text AS next_order_latest
    FROM customers AS customer
    JOIN stores AS store ON store.store_id = customer.store_id
    LEFT JOIN customer_pseudonyms AS named
      ON named.store_id = customer.store_id AND named.customer_id = customer.customer_id
    LEFT JOIN fact_customer_prediction AS told
      ON told.store_id = customer.store_id AND told.customer_id = customer.customer_id
    LEFT JOIN fact_customer_current AS standing
      ON standing.store_id = customer.store_id AND standing.customer_id = customer.customer_id
     AND standing.run_id = store.served_run_id
    LEFT JOIN dim_archetype_l1 AS archetype
      ON archetype.store_id = standing.store_id AND archetype.run_id = standing.run_id
     AND archetype.archetype_id = standing.archetype_id
"""
# Of many at once, but planned as the query of one: LIMIT keeps the planner from joining whole tables.
_PROFILES = """
    SELECT asked.number, found.*
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (store_id, name, number),
        LATERAL ({profile} WHERE {store} = asked.store_id AND {name} = asked.name LIMIT 1) AS found
"""
_BY_ID = _PROFILES.format(profile=_PROFILE, store="customer.store_id", name="customer.customer_id")
_BY_PSEUDONYM = _PROFILES.format(profile=_PROFILE, store="named.store_id", name="named.pseudonym")


async def read_profile(database: Database, store_id: str, customer_id: str) -> Row | None:
    """One customer by the shop's own id.

    own, memberships, dominant : what `ProfileForm.filled` takes, memberships as one text with commas; own is None where
                the served run has none of them, or is of an older version
    archetype : the ready object of their archetype
    rfm_...   : scores and group in the served run, and the group before; None where it has none of them, or is of an
                older version
    told_as_of and all after it : of their prediction; None where there is none. served_prediction_id : the training
                whose predictions are served, None before the first
    """
    return await database.row_among(_BY_ID, store_id, customer_id)


_FORM = """
    SELECT array_agg(axis_name ORDER BY place) AS axes, array_agg(segment_name ORDER BY place) AS names,
        array_agg(source ORDER BY place) AS sources,
        (SELECT yardstick -> 'tiers' FROM segmentation_runs WHERE run_id = $2) AS tiers
    FROM dim_segment_master WHERE store_id = $1 AND run_id = $2
"""


async def read_form(database: Database, store_id: str, run_id: int) -> Row:
    """What the profiles of a run have in common: axis, name and source of each segment, in the order of customers'
    memberships, and the tiers of lifetime value as stored.
    """
    row = await database.row(_FORM, store_id, run_id)
    assert row is not None  # noqa: S101  an aggregate has a row
    return row


async def read_profile_by_pseudonym(database: Database, store_id: str, pseudonym: str) -> Row | None:
    return await database.row_among(_BY_PSEUDONYM, store_id, pseudonym)


# Digests are evenly spread, so whoever stands next to a random point is as good as drawn; the second half of the union
# goes round the end. Of a store with a run, someone it has placed: asked of one after the other by key, which EXISTS,
# hashed, would answer by reading everyone.
_RANDOM = """
    WITH served AS (SELECT served_run_id AS run_id FROM stores WHERE store_id = $1)
    (SELECT named.customer_id FROM customer_pseudonyms AS named, served
    WHERE named.store_id = $1 AND named.pseudonym >= $2 AND (served.run_id IS NULL OR (
        SELECT true FROM fact_customer_current AS placed
        WHERE placed.store_id = $1 AND placed.customer_id = named.customer_id AND placed.run_id = served.run_id))
    ORDER BY named.pseudonym LIMIT 1)
    UNION ALL
    (SELECT named.customer_id FROM customer_pseudonyms AS named, served
    WHERE named.store_id = $1 AND (served.run_id IS NULL OR (
        SELECT true FROM fact_customer_current AS placed
        WHERE placed.store_id = $1 AND placed.customer_id = named.customer_id AND placed.run_id = served.run_id))
    ORDER BY named.pseudonym LIMIT 1)
    LIMIT 1
"""


async def random_customer(database: Database, store_id: str, point: str) -> str | None:
    """The shop's id of a customer near a random pseudonym; None where there is nobody."""
    row = await database.row(_RANDOM, store_id, point)
    return None if row is None else str(row["customer_id"])


_UNTIL = """
    SELECT count(*) AS n_orders, min(order_date) AS first_order_at, max(order_date) AS last_order_at,
        coalesce(sum(total_price), 0) - (
            SELECT coalesce(sum(amount), 0) FROM refunds
            WHERE store_id = $1 AND customer_id = $2 AND refunded_at < $3
        ) AS spent
    FROM orders WHERE store_id = $1 AND customer_id = $2 AND order_date < $3
"""


@dataclass(frozen=True, slots=True)
class OrdersUntil:
    """What a customer's orders come to before a moment. spent : net of what was refunded by then"""

    n_orders: int
    first_order_at: datetime
    last_order_at: datetime
    spent: Decimal


async def orders_until(database: Database, store_id: str, customer_id: str, moment: datetime) -> OrdersUntil | None:
    """None for who had not ordered by then."""
    row = await database.row(_UNTIL, store_id, customer_id, moment)
    return None if row is None or not row["n_orders"] else OrdersUntil(*(row[name] for name in _UNTIL_COLUMNS))


_UNTIL_COLUMNS = ("n_orders", "first_order_at", "last_order_at", "spent")


_SINCE_THEN = """
    SELECT (coalesce(CASE WHEN customer.created_at < $3 THEN customer.created_at END, (
        SELECT min(order_date) FROM orders AS o
        WHERE o.store_id = $1 AND o.customer_id = $2 AND o.order_date < $3
    )) AT TIME ZONE store.timezone)::date::text AS customer_since
    FROM customers AS customer JOIN stores AS store USING (store_id)
    WHERE customer.store_id = $1 AND customer.customer_id = $2
"""


async def customer_since_then(database: Database, store_id: str, customer_id: str, moment: datetime) -> str | None:
    """The day since when they were a customer, as known at a moment; None where they were none yet."""
    row = await database.row(_SINCE_THEN, store_id, customer_id, moment)
    return None if row is None else row["customer_since"]


# The moment is that of scoring, which the text ends with; it is not the run's of those who were scored anew.
_BRIEF = """
    SELECT customer.customer_id, named.pseudonym, customer.email, customer.first_name, customer.last_name,
        coalesce(standing.lifetime_value, customer.total_spent) AS ltv,
        coalesce(standing.total_orders, customer.orders_count) AS total_orders,
        standing.avg_order_value, standing.archetype_id, archetype.name AS archetype_name,
        told.churn_risk_score AS churn_risk, store.served_run_id AS run_id,
        substring(standing.profile FROM '[^\t]+$') AS as_of,
        store.currency, store.timezone
    FROM customers AS customer
    JOIN stores AS store ON store.store_id = customer.store_id
    LEFT JOIN customer_pseudonyms AS named
      ON named.store_id = customer.store_id AND named.customer_id = customer.customer_id
    LEFT JOIN fact_customer_prediction AS told
      ON told.store_id = customer.store_id AND told.customer_id = customer.customer_id
    LEFT JOIN fact_customer_current AS standing
      ON standing.store_id = customer.store_id AND standing.customer_id = customer.customer_id
     AND standing.run_id = store.served_run_id
    LEFT JOIN dim_archetype_l1 AS archetype
      ON archetype.store_id = standing.store_id AND archetype.run_id = standing.run_id
     AND archetype.archetype_id = standing.archetype_id
"""
_BRIEF_BY_ID = f"{_BRIEF} WHERE customer.store_id = $1 AND customer.customer_id = $2"
_BRIEF_BY_PSEUDONYM = f"{_BRIEF} WHERE named.store_id = $1 AND named.pseudonym = $2"
# Who is meant is settled before anything else of them is read. Ids and order numbers from their beginning, the latter
# by ranges of their index; names and e-mails anywhere, in one text, since every customer's is looked through.
_ORDERS_LOOKED_AT = 1_000
_LAST_SIGN = chr(0x10FFFF)
_SEARCH = f"""
    WITH quoting AS (
        SELECT customer_id FROM orders
        WHERE store_id = $1 AND order_number = ANY ($3::text[]) AND customer_id IS NOT NULL
        LIMIT {_ORDERS_LOOKED_AT}
    ), meant AS (
        SELECT customer_id, total_spent FROM customers
        WHERE store_id = $1 AND (
            starts_with(lower(customer_id), lower($2))
            OR position(lower($2) in lower(concat_ws(' ', first_name, last_name, email))) > 0)
        UNION
        SELECT customer_id, total_spent FROM customers WHERE store_id = $1 AND customer_id IN (
            SELECT customer_id FROM (
                SELECT o.customer_id FROM unnest($3::text[], $4::text[]) AS number(first, beyond)
                JOIN orders AS o
                  ON o.store_id = $1 AND o.order_number ~>=~ number.first AND o.order_number ~<~ number.beyond
                WHERE o.customer_id IS NOT NULL
                LIMIT {_ORDERS_LOOKED_AT}
            ) AS quoted
            UNION ALL SELECT customer_id FROM quoting
            UNION ALL
            SELECT customer_id FROM customer_pseudonyms WHERE store_id = $1 AND pseudonym = upper($2))
    ), chosen AS MATERIALIZED (
        SELECT customer_id,
            lower(customer_id) = lower($2) OR customer_id IN (SELECT customer_id FROM quoting) AS exactly
        FROM meant ORDER BY exactly DESC, total_spent DESC, customer_id LIMIT $5
    )
    {_BRIEF}
    JOIN chosen ON chosen.customer_id = customer.customer_id
    WHERE customer.store_id = $1
    ORDER BY chosen.exactly DESC, customer.total_spent DESC, customer.customer_id
"""  # noqa: S608  put together from the constants above


async def read_brief(database: Database, store_id: str, customer_id: str) -> Row | None:
    """One customer in a few numbers, by the shop's own id."""
    return await database.row(_BRIEF_BY_ID, store_id, customer_id)


async def read_brief_by_pseudonym(database: Database, store_id: str, pseudonym: str) -> Row | None:
    return await database.row(_BRIEF_BY_PSEUDONYM, store_id, pseudonym)


async def search_customers(database: Database, store_id: str, query: str, *, limit: int) -> Sequence[Row]:
    """Whose id, name, e-mail or order number it is; the exact id or number first, then by what they spent."""
    firsts = sorted({sign + number for sign in ("", "#") for number in (query, query.upper())})
    beyond = [first + _LAST_SIGN for first in firsts]
    return await database.rows(_SEARCH, store_id, query, firsts, beyond, limit)


# One statement, so that the totals, the page and the run belong to one moment. Days are the shop's own, and told of a
# moment, not the other way round: where clocks go back at midnight a day has two of them, and Postgres takes the later.
# Refunds that name no line count for the order.
_ORDERS = """
    WITH chosen AS (
        SELECT o.*
        FROM orders AS o
        JOIN stores AS store ON store.store_id = o.store_id
        WHERE o.store_id = $1 AND o.customer_id = $2
          AND ($3::date IS NULL OR (o.order_date AT TIME ZONE store.timezone)::date >= $3)
          AND ($4::date IS NULL OR (o.order_date AT TIME ZONE store.timezone)::date <= $4)
          AND ($5::text[] IS NULL OR EXISTS (
              SELECT FROM unnest($5::text[]) AS term
              WHERE position(lower(term) in lower(o.order_number)) > 0 OR EXISTS (
                  SELECT FROM order_items AS item
                  WHERE item.store_id = o.store_id AND item.order_id = o.order_id AND (
                      position(lower(term) in lower(item.product_title)) > 0
                      OR position(lower(term) in lower(item.product_id)) > 0
                      OR position(lower(term) in lower(item.vendor)) > 0
                      OR position(lower(term) in lower(item.category)) > 0))))
    ), page AS (
        SELECT * FROM chosen
        WHERE $6::timestamptz IS NULL OR (order_date, order_id) < ($6, $7::text)
        ORDER BY order_date DESC, order_id DESC LIMIT $8
    )
    SELECT (SELECT count(*) FROM chosen) AS matching_orders, customer.orders_count, customer.total_spent,
        store.currency AS store_currency, store.served_run_id AS run_id,
        page.order_id, page.order_number, page.order_date, page.total_price, page.discount_amount, page.currency,
        page.fulfillment_status, page.financial_status, page.tracking_numbers,
        (SELECT coalesce(sum(refund.amount), 0) FROM refunds AS refund
         WHERE refund.store_id = page.store_id AND refund.order_id = page.order_id) AS refunded_amount,
        (SELECT jsonb_agg(jsonb_build_array(
             coalesce(item.product_title, item.product_id), item.vendor, item.quantity::text, item.price::text,
             item.line_total::text, item.refund_amount::text, item.product_id, item.category
         ) ORDER BY item.item_id)
         FROM order_items AS item
         WHERE item.store_id = page.store_id AND item.order_id = page.order_id)::text AS line_items
    FROM customers AS customer
    JOIN stores AS store ON store.store_id = customer.store_id
    LEFT JOIN page ON true
    WHERE customer.store_id = $1 AND customer.customer_id = $2
    ORDER BY page.order_date DESC, page.order_id DESC
"""


async def read_orders(
    database: Database,
    store_id: str,
    customer_id: str,
    *,
    first_day: date | None,
    last_day: date | None,
    terms: Sequence[str] | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> Sequence[Row]:
    """A customer's orders, newest first, each row with the customer's totals; one row without an order where none fit.

    first_day, last_day : of the shop's calendar, both included
    terms               : any of them in a title, product id, vendor, category or order number
    after               : the moment and id of the order that the page before ended with

    Empty for a customer there is none of.
    """
    moment, order_id = after or (None, None)
    wanted = None if terms is None else list(terms)
    return await database.rows(_ORDERS, store_id, customer_id, first_day, last_day, wanted, moment, order_id, limit)


_COUNTS = """
    SELECT (SELECT count(*) FROM customers WHERE store_id = $1) AS customers_loaded,
        (SELECT count(*) FROM fact_customer_current
         WHERE store_id = $1 AND run_id = store.served_run_id) AS customers_segmented,
        (SELECT count(*) FROM dim_archetype_l1
         WHERE store_id = $1 AND run_id = store.served_run_id) AS archetypes_available,
        run.report -> 'axes' AS axes, store.served_prediction_id AS prediction_id, told.as_of AS predicted_as_of,
        (SELECT count(*) FROM fact_customer_prediction WHERE store_id = $1) AS customers_predicted
    FROM (SELECT $1::text AS store_id) AS asked
    LEFT JOIN stores AS store ON store.store_id = asked.store_id
    LEFT JOIN segmentation_runs AS run ON run.run_id = store.served_run_id
    LEFT JOIN prediction_runs AS told ON told.prediction_id = store.served_prediction_id
"""


async def what_is_loaded(database: Database, store_id: str) -> Row:
    """How much of a store there is. axes : the served run's, as JSON text; None before the first, as prediction_id"""
    return await database.row(_COUNTS, store_id)


def per_order(amount: Decimal, n_orders: int) -> Decimal:
    """Mean value of an order; 0 without one."""
    return amount / n_orders if n_orders else Decimal(0)
