"""What customers did period by period, put together by the period of their first order, on the shop's calendar."""

from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.dates import start_of_day
from app.prediction.cohorts import Counted, Length, periods_between

# Days of the shop's calendar are told of those orders alone that are counted: it takes as long as reading all of them.
# Money that went back before the first order we know of was of an order before it: it counts from the start.
_COUNTED = """
    WITH ordered AS (
        SELECT customer_id, order_date, total_price
        FROM orders WHERE store_id = :store_id AND order_date < :as_of AND customer_id IS NOT NULL
    ), members AS (
        SELECT customer_id, date_trunc(:length, min(order_date) AT TIME ZONE CAST(:timezone AS text))::date AS cohort
        FROM ordered GROUP BY customer_id HAVING min(order_date) >= :since
    ), placed AS (
        SELECT cohort, customer_id, total_price,
            date_trunc(:length, order_date AT TIME ZONE CAST(:timezone AS text))::date AS period
        FROM ordered JOIN members USING (customer_id)
    ), sales AS (
        SELECT cohort, period, count(DISTINCT customer_id) AS customers, count(*) AS orders, sum(total_price) AS paid
        FROM placed GROUP BY cohort, period
    ), returns AS (
        SELECT cohort,
            greatest(cohort, date_trunc(:length, refunded_at AT TIME ZONE CAST(:timezone AS text))::date) AS period,
            sum(amount) AS given_back
        FROM refunds JOIN members USING (customer_id)
        WHERE store_id = :store_id AND refunded_at < :as_of GROUP BY 1, 2
    )
    SELECT cohort, period, coalesce(customers, 0), coalesce(orders, 0), coalesce(paid, 0), coalesce(given_back, 0)
    FROM sales FULL JOIN returns USING (cohort, period)
    ORDER BY cohort, period
"""


async def read_cohorts(
    connection: AsyncConnection, store_id: str, *, length: Length, first: date, as_of: datetime, timezone: str
) -> list[Counted]:
    """What the cohorts from the first on did before as_of, the period it falls in among them.

    first : the first day of a period. A cohort's size is its customers in period 0, in which all of them ordered.
    """
    values = {
        "store_id": store_id,
        "length": length.value,
        "since": start_of_day(first, timezone),
        "as_of": as_of,
        "timezone": timezone,
    }
    return [
        Counted(cohort, periods_between(cohort, period, length), *counted)
        for cohort, period, *counted in await connection.execute(text(_COUNTED), values)
    ]
