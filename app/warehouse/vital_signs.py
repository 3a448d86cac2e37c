"""How the service stands, as its metrics tell it: jobs, ages, and how far what was foretold has come true."""

from dataclasses import dataclass

from app.warehouse.engine import Database

_JOBS = """
    SELECT count(*) FILTER (WHERE status = 'queued') AS waiting, count(*) FILTER (WHERE status = 'picked') AS running,
        count(*) FILTER (WHERE status = 'failed') AS failed,
        coalesce(extract(epoch FROM now() - min(execute_after) FILTER (WHERE status = 'queued')), 0)::float AS oldest,
        (SELECT extract(epoch FROM now() - max(last_run))::float FROM queue_schedules) AS silent
    FROM queue
"""
# Past the orders of the day it is about nothing is known of whether they come back. Of a shop's own days, so that one
# which has stopped sending orders is not taken for one whose customers have all left.
_STORES = """
    SELECT store.store_id,
        extract(epoch FROM now() - run.as_of)::float AS run_age,
        extract(epoch FROM now() - told.as_of)::float AS predictions_age,
        extract(epoch FROM now() - latest.at)::float AS records_age,
        (SELECT count(*) FROM (
            SELECT FROM customers_changed AS changed WHERE changed.store_id = store.store_id
              AND changed.scored_run_id IS DISTINCT FROM store.served_run_id LIMIT 10000) AS waiting
        )::float AS unscored,
        (SELECT max(value::float) FROM jsonb_each_text(
            CASE WHEN jsonb_typeof(run.report -> 'drift') = 'object' THEN run.report -> 'drift' END)
        ) AS segment_drift,
        (latest.at AT TIME ZONE store.timezone)::date AS last_day, store.timezone
    FROM stores AS store
    LEFT JOIN segmentation_runs AS run ON run.run_id = store.served_run_id
    LEFT JOIN prediction_runs AS told ON told.prediction_id = store.served_prediction_id
    LEFT JOIN LATERAL (
        SELECT max(order_date) AS at FROM orders WHERE orders.store_id = store.store_id
    ) AS latest ON true
    ORDER BY store.store_id
"""
_CHURN = """
    WITH day AS (
        SELECT max(snapshot_date) AS it FROM fact_customer_history
        WHERE store_id = $1 AND snapshot_date BETWEEN $2::date - 37 AND $2::date - 30 AND p_no_purchase_30d IS NOT NULL
    ), came AS (
        SELECT DISTINCT orders.customer_id FROM orders, day
        WHERE orders.store_id = $1 AND orders.order_date >= ((day.it + 1)::timestamp AT TIME ZONE $3)
          AND orders.order_date < ((day.it + 31)::timestamp AT TIME ZONE $3)
    )
    SELECT avg((came.customer_id IS NULL)::int)::float - avg(past.p_no_purchase_30d)::float AS drift
    FROM day JOIN fact_customer_history AS past ON past.store_id = $1 AND past.snapshot_date = day.it
    LEFT JOIN came USING (customer_id)
    WHERE past.p_no_purchase_30d IS NOT NULL
"""
_FORECAST = """
    WITH month AS (
        SELECT date_trunc('month', $2::date + 1)::timestamp - interval '1 month' AS first,
            date_trunc('month', $2::date + 1)::timestamp AS next
    ), told AS (
        SELECT (model.parameters -> 'total' -> 'point' ->> 0)::float AS revenue
        FROM prediction_models AS model, month
        WHERE model.store_id = $1 AND model.name = 'revenue' AND model.parameters IS NOT NULL
          AND (model.parameters ->> 'first')::date = month.first
        ORDER BY model.prediction_id LIMIT 1
    )
    SELECT (
        (SELECT coalesce(sum(total_price), 0) FROM orders WHERE store_id = $1
          AND order_date >= month.first AT TIME ZONE $3 AND order_date < month.next AT TIME ZONE $3)
        - (SELECT coalesce(sum(amount), 0) FROM refunds WHERE store_id = $1
          AND refunded_at >= month.first AT TIME ZONE $3 AND refunded_at < month.next AT TIME ZONE $3)
    )::float / nullif(told.revenue, 0) - 1 AS drift
    FROM told, month
"""


@dataclass(frozen=True, slots=True)
class StoreSigns:
    """Ages in seconds; None where there is nothing to tell.

    unscored      : customers whose records changed since they were scored, 10,000 at most
    churn_drift   : of who was told of a month ago, the share who stayed away less the share foretold
    forecast_drift: revenue of the last whole month as a share of what was forecast as it began, less 1
    segment_drift : the largest PSI of an axis's segment shares against those its rules were found with
    """

    store_id: str
    run_age: float | None
    predictions_age: float | None
    records_age: float | None
    unscored: float
    segment_drift: float | None
    churn_drift: float | None
    forecast_drift: float | None


@dataclass(frozen=True, slots=True)
class VitalSigns:
    """oldest, silent : in seconds, as `app.core.metrics` names them; silent is None where no worker has ever looked"""

    jobs: dict[str, int]
    oldest: float
    silent: float | None
    stores: list[StoreSigns]


async def read_vital_signs(database: Database) -> VitalSigns:
    """Raises DatabaseUnavailable."""
    jobs = await database.row(_JOBS)
    assert jobs is not None  # noqa: S101  an aggregate has a row
    stores = []
    for row in await database.rows(_STORES):
        churn = forecast = None
        if row["last_day"] is not None:
            of = (row["store_id"], row["last_day"], row["timezone"])
            churn, forecast = await database.row(_CHURN, *of), await database.row(_FORECAST, *of)
        stores.append(
            StoreSigns(
                row["store_id"],
                *(row[name] for name in ("run_age", "predictions_age", "records_age", "unscored", "segment_drift")),
                *(None if found is None else found["drift"] for found in (churn, forecast)),
            )
        )
    counts = {state: jobs[state] for state in ("waiting", "running", "failed")}
    return VitalSigns(counts, jobs["oldest"], jobs["silent"], stores)
