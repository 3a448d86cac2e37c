"""What leaves as files."""

from typing import BinaryIO

import polars as pl
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.copying import copy_out
from app.warehouse.engine import raw
from app.warehouse.runs import served_run

_SEGMENTS = """
    SELECT standing.customer_id, segment.axis_name AS axis, segment.segment_id, segment.segment_name,
        standing.memberships[segment.place] AS membership, segment.place = ANY (standing.dominant) AS dominant
    FROM fact_customer_current AS standing
    JOIN dim_segment_master AS segment ON segment.store_id = standing.store_id AND segment.run_id = standing.run_id
    WHERE standing.store_id = $1 AND standing.run_id = $2
    ORDER BY standing.customer_id, segment.axis_name, segment.position
"""


# What begins like a formula a spreadsheet would work out, whoever made up the id.
_FORMULA = r"^[=+\-@\t\r]"
_SAFE = f"CASE WHEN customer_id ~ '{_FORMULA}' THEN '''' || customer_id ELSE customer_id END"


def safe_in_a_sheet(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with ids that no spreadsheet takes for a formula: those that begin like one have a ' in front."""
    told = pl.col("customer_id")
    return rows.with_columns(customer_id=pl.when(told.str.contains(_FORMULA)).then("'" + told).otherwise(told))


async def export_segments(connection: AsyncConnection, store_id: str, out: BinaryIO) -> int:
    """One CSV row per customer, axis and segment of the served run; returns how many.

    An id that begins like a formula has a ' in front.

    customer_id, axis, segment_id, segment_name, membership (0..1), dominant (true or false)
    Raises StoreNotFound or NothingPublished.
    """
    run = await served_run(connection, store_id)
    # Postgres writes booleans as t and f; readers expect words.
    columns = f"{_SAFE} AS customer_id, axis, segment_id, segment_name, membership, dominant::text"
    query = f"SELECT {columns} FROM ({_SEGMENTS}) AS rows"  # noqa: S608
    copied: str = await (await raw(connection)).copy_from_query(
        query, store_id, run.run_id, output=out, format="csv", header=True
    )
    return int(copied.removeprefix("COPY "))


#: What `export predictions` writes, and as what.
PREDICTION_COLUMNS = {
    "customer_id": pl.String,
    "as_of": pl.String,
    "p_no_purchase_30d": pl.Float64,
    "p_no_purchase_90d": pl.Float64,
    "churn_risk_score": pl.Float64,
    "risk_level": pl.String,
    "horizon_days": pl.Int64,
    "expected_spend_90d": pl.Float64,
    "predicted_ltv_12m": pl.Float64,
    "next_order_date": pl.Date,
    "model": pl.String,
}
_PREDICTIONS = """
    SELECT told.customer_id, to_char(told.as_of AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"') AS as_of,
        told.p_no_purchase_30d, told.p_no_purchase_90d, told.churn_risk_score, told.risk_level, told.horizon_days,
        told.expected_spend_90d, told.predicted_ltv_12m, told.next_order_on AS next_order_date,
        model.candidate || ' ' || model.version AS model
    FROM fact_customer_prediction AS told
    JOIN prediction_models AS model
      ON model.store_id = told.store_id AND model.prediction_id = told.prediction_id AND model.name = 'churn'
     AND model.status <> 'candidate'
    WHERE told.store_id = $1
    ORDER BY told.customer_id
"""


async def read_predictions(connection: AsyncConnection, store_id: str) -> pl.DataFrame:
    """The served predictions, PREDICTION_COLUMNS of each customer; empty where none are served."""
    return await copy_out(connection, _PREDICTIONS, (store_id,), PREDICTION_COLUMNS)
