"""Predictions in, and the switch; and who a store's served predictions and models are."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import ARRAY, Text, any_, insert, literal, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.copying import copy_in
from app.warehouse.tables import fact_customer_prediction, prediction_models, prediction_runs, stores

_KEPT = 8
_GONE = """
    DELETE FROM fact_customer_prediction AS told
    WHERE told.store_id = :store_id AND NOT EXISTS (
        SELECT FROM customers AS customer
        WHERE customer.store_id = told.store_id AND customer.customer_id = told.customer_id
    )
"""
# Into the day of history that the moment closes, where there is one.
_INTO_HISTORY = """
    UPDATE fact_customer_history AS past
    SET churn_risk_score = told.churn_risk_score, p_no_purchase_30d = told.p_no_purchase_30d,
        predicted_ltv_12m = told.predicted_ltv_12m
    FROM fact_customer_prediction AS told
    WHERE past.store_id = :store_id AND told.store_id = past.store_id AND told.customer_id = past.customer_id
      AND past.snapshot_date = (
          SELECT ((CAST(:as_of AS timestamptz) - interval '1 microsecond') AT TIME ZONE timezone)::date
          FROM stores WHERE store_id = :store_id
      )
"""
_FORGET_OLD = """
    DELETE FROM prediction_runs WHERE store_id = :store_id AND prediction_id IN (
        SELECT prediction_id FROM prediction_runs
        WHERE store_id = :store_id AND prediction_id <> :prediction_id ORDER BY prediction_id DESC OFFSET :kept
    )
"""


def lock_key(store_id: str) -> int:
    """The advisory lock that who trains a store's predictions holds: a signed 64-bit number."""
    digest = hashlib.sha256(f"predictions of {store_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def start(connection: AsyncConnection, store_id: str, *, as_of: datetime) -> int:
    """The row of a training that begins; one that was left running by a killed process has failed."""
    table = prediction_runs
    await connection.execute(
        update(table)
        .where(table.c.store_id == store_id, table.c.status == "running")
        .values(status="failed", failure="The process that trained it ended before it was done.")
    )
    row = insert(table).values(store_id=store_id, status="running", as_of=as_of).returning(table.c.prediction_id)
    return int((await connection.execute(row)).scalar_one())


async def fail(connection: AsyncConnection, prediction_id: int, failure: str) -> None:
    table = prediction_runs
    await connection.execute(
        update(table)
        .where(table.c.prediction_id == prediction_id)
        .values(status="failed", failure=failure, finished_at=text("now()"))
    )


async def publish(
    connection: AsyncConnection,
    store_id: str,
    prediction_id: int,
    *,
    rows: pl.DataFrame,
    models: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any],
    as_of: datetime,
) -> None:
    """Write predictions and serve them, all in the caller's transaction.

    rows   : of `fact_customer_prediction` without store and prediction
    models : of `prediction_models` without those
    """
    table, keys = stores, {"store_id": store_id, "prediction_id": prediction_id}
    await connection.execute(insert(prediction_models), [{**keys, **model} for model in models]) if models else None
    # Holding the store, so that nobody is told anew or deleted meanwhile.
    await connection.execute(
        update(table).where(table.c.store_id == store_id).values(served_prediction_id=prediction_id)
    )
    facts = fact_customer_prediction
    await connection.execute(facts.delete().where(facts.c.store_id == store_id))
    keyed = rows.with_columns(store_id=pl.lit(store_id), prediction_id=pl.lit(prediction_id))
    await copy_in(connection, facts.name, keyed)
    await connection.execute(text(_GONE), {"store_id": store_id})
    await connection.execute(text(_INTO_HISTORY), {"store_id": store_id, "as_of": as_of})
    runs = prediction_runs
    await connection.execute(
        update(runs)
        .where(runs.c.prediction_id == prediction_id)
        .values(status="published", report=report, finished_at=text("now()"), as_of=as_of)
    )
    await connection.execute(text(_FORGET_OLD), {**keys, "kept": _KEPT})
    await connection.execute(text(f"ANALYZE {facts.name}"))


_SERVED_ID = text("SELECT served_prediction_id FROM stores WHERE store_id = :store_id")
_HOLD = text("SELECT served_prediction_id FROM stores WHERE store_id = :store_id FOR NO KEY UPDATE")
_PARAMETERS = text(
    "SELECT name, parameters FROM prediction_models "
    "WHERE store_id = :store_id AND prediction_id = :prediction_id AND parameters IS NOT NULL"
).columns(parameters=JSONB)


async def served_id(connection: AsyncConnection, store_id: str) -> int | None:
    """The training whose predictions are served; None before the first."""
    found: int | None = await connection.scalar(_SERVED_ID, {"store_id": store_id})
    return found


async def hold_served(connection: AsyncConnection, store_id: str) -> bool:
    """Whether predictions are served; if so they stay these until the transaction ends."""
    return await connection.scalar(_HOLD, {"store_id": store_id}) is not None


async def read_parameters(connection: AsyncConnection, store_id: str, prediction_id: int) -> dict[str, Any]:
    """What the served models of a training are made of, by name."""
    rows = await connection.execute(_PARAMETERS, {"store_id": store_id, "prediction_id": prediction_id})
    return {row.name: row.parameters for row in rows}


async def replace(connection: AsyncConnection, store_id: str, prediction_id: int, rows: pl.DataFrame) -> None:
    """Put the predictions of some customers in place of those there are. Hold them first (`hold_served`)."""
    await remove(connection, store_id, rows["customer_id"].to_list())
    keyed = rows.with_columns(store_id=pl.lit(store_id), prediction_id=pl.lit(prediction_id))
    await copy_in(connection, fact_customer_prediction.name, keyed)


async def remove(connection: AsyncConnection, store_id: str, customer_ids: Collection[str]) -> None:
    """Take the predictions of some customers away."""
    table = fact_customer_prediction
    whom = table.c.customer_id == any_(literal(sorted(customer_ids), ARRAY(Text)))
    await connection.execute(table.delete().where(table.c.store_id == store_id, whom))
