"""Predictions in, and the switch; and who a store's served predictions and models are."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
from sqlalchemy import ARRAY, Text, any_, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.announcements import announce
from app.warehouse.copying import copy_in
from app.warehouse.engine import Database, Row, raw
from app.warehouse.stores import hold_history, hold_store
from app.warehouse.tables import fact_customer_prediction, prediction_models, prediction_runs, stores

_KEPT = 8
#: Of so many months the first is kept as well: what it forecast for the month is compared with what came.
_MONTHS_KEPT = 3
_MONEY = ("expected_spend_90d", "expected_spend_low", "expected_spend_high", "predicted_ltv_12m")
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
# A minute more, for whoever had begun to tell before and read after. What a training published, it had before this one
# began, however short a time ago.
_TOLD_ANEW = """
    SELECT told.customer_id FROM fact_customer_prediction AS told
    JOIN prediction_runs AS run ON run.store_id = told.store_id AND run.prediction_id = :prediction_id
    LEFT JOIN prediction_runs AS theirs ON theirs.prediction_id = told.prediction_id
    WHERE told.store_id = :store_id AND told.updated_at >= run.started_at - interval '1 minute'
      AND told.updated_at IS DISTINCT FROM theirs.finished_at
    ORDER BY told.customer_id
"""
_FORGET_OLD = """
    DELETE FROM prediction_runs WHERE store_id = :store_id AND prediction_id IN (
        SELECT prediction_id FROM prediction_runs
        WHERE store_id = :store_id AND prediction_id <> :prediction_id ORDER BY prediction_id DESC OFFSET :kept
    ) AND prediction_id NOT IN (
        SELECT min(prediction_id) FROM prediction_runs WHERE store_id = :store_id AND status = 'published'
        GROUP BY date_trunc('month', as_of) ORDER BY 1 DESC LIMIT :months
    )
"""


def lock_key(store_id: str) -> int:
    """The advisory lock that who trains a store's predictions holds: a signed 64-bit number."""
    digest = hashlib.sha256(f"predictions of {store_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def read_levels(connection: AsyncConnection, store_id: str) -> dict[str, str]:
    """{customer_id: risk level} as it is served."""
    table = fact_customer_prediction
    rows = await connection.execute(select(table.c.customer_id, table.c.risk_level).where(table.c.store_id == store_id))
    return {row.customer_id: row.risk_level for row in rows}


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


async def hold_to_publish(connection: AsyncConnection, store_id: str) -> None:
    """From here on, until this transaction ends, nobody of the store is told anew or deleted."""
    await hold_history(connection, store_id)
    await hold_store(connection, store_id)


async def publish(
    connection: AsyncConnection,
    store_id: str,
    prediction_id: int,
    *,
    rows: pl.DataFrame,
    models: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any],
    as_of: datetime,
) -> Sequence[str]:
    """Write predictions and serve them, all in the caller's transaction. Hold the store first (`hold_to_publish`).

    rows   : of `fact_customer_prediction` without store and prediction
    models : of `prediction_models` without those

    returns : who was told anew since the training began, of whom these rows may be older
    """
    table, keys = stores, {"store_id": store_id, "prediction_id": prediction_id}
    await connection.execute(insert(prediction_models), [{**keys, **model} for model in models]) if models else None
    await connection.execute(
        update(table).where(table.c.store_id == store_id).values(served_prediction_id=prediction_id)
    )
    facts = fact_customer_prediction
    anew = (await connection.execute(text(_TOLD_ANEW), keys)).scalars().all()
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
    await connection.execute(text(_FORGET_OLD), {**keys, "kept": _KEPT, "months": _MONTHS_KEPT})
    await connection.execute(text(f"ANALYZE {facts.name}"))
    await announce(connection, store_id)
    return anew


_SERVED_RUN = text(
    "SELECT run.prediction_id, run.as_of, run.report FROM stores JOIN prediction_runs AS run "
    "ON run.prediction_id = stores.served_prediction_id WHERE stores.store_id = :store_id"
).columns(report=JSONB)


@dataclass(frozen=True, slots=True)
class ServedPredictions:
    """What was found of a shop when the predictions that are served were trained."""

    prediction_id: int
    as_of: datetime
    report: Mapping[str, Any]


async def read_served_run(connection: AsyncConnection, store_id: str) -> ServedPredictions | None:
    """None before the first."""
    row = (await connection.execute(_SERVED_RUN, {"store_id": store_id})).one_or_none()
    return None if row is None else ServedPredictions(*row)


_SERVED_ID = text("SELECT served_prediction_id FROM stores WHERE store_id = :store_id")
_HOLD = text("SELECT served_prediction_id FROM stores WHERE store_id = :store_id FOR SHARE")
_PARAMETERS = text(
    "SELECT name, parameters FROM prediction_models "
    "WHERE store_id = :store_id AND prediction_id = :prediction_id AND parameters IS NOT NULL"
).columns(parameters=JSONB)


async def served_id(connection: AsyncConnection, store_id: str) -> int | None:
    """The training whose predictions are served; None before the first."""
    found: int | None = await connection.scalar(_SERVED_ID, {"store_id": store_id})
    return found


async def hold_served(connection: AsyncConnection, store_id: str) -> int | None:
    """The same, which stays the one until the transaction ends."""
    found: int | None = await connection.scalar(_HOLD, {"store_id": store_id})
    return found


async def read_parameters(connection: AsyncConnection, store_id: str, prediction_id: int) -> dict[str, Any]:
    """What the served models of a training are made of, by name."""
    rows = await connection.execute(_PARAMETERS, {"store_id": store_id, "prediction_id": prediction_id})
    return {row.name: row.parameters for row in rows}


async def replace(
    connection: AsyncConnection, store_id: str, prediction_id: int, columns: Mapping[str, Sequence[Any]]
) -> None:
    """Put the predictions of some customers in place of those there are. Hold them first (`hold_served`).

    columns : of `fact_customer_prediction` without store and prediction, each with a value for every customer
    """
    driver: Any = await raw(connection)
    exact = [map(_exact, values) if name in _MONEY else values for name, values in columns.items()]
    told = [(store_id, prediction_id, *row) for row in zip(*exact, strict=True)]
    await driver.executemany(_replacing(tuple(columns)), told)
    await announce(connection, store_id, columns["customer_id"])


def _exact(amount: float | None) -> Decimal | None:
    return None if amount is None else Decimal(f"{amount:.4f}")


@cache
def _replacing(columns: tuple[str, ...]) -> str:
    """An upsert of one row, by its keys. columns : besides store_id and prediction_id"""
    names = ("store_id", "prediction_id", *columns)
    values = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    new = ", ".join(f"{name} = excluded.{name}" for name in names if name not in ("store_id", "customer_id"))
    return (
        f"INSERT INTO fact_customer_prediction ({', '.join(names)}) VALUES ({values}) "  # noqa: S608
        f"ON CONFLICT (store_id, customer_id) DO UPDATE SET {new}, updated_at = now()"
    )


async def remove(connection: AsyncConnection, store_id: str, customer_ids: Collection[str]) -> None:
    """Take the predictions of some customers away."""
    table = fact_customer_prediction
    whom = table.c.customer_id == any_(literal(sorted(customer_ids), ARRAY(Text)))
    await connection.execute(table.delete().where(table.c.store_id == store_id, whom))
    await announce(connection, store_id, sorted(customer_ids))


# What is served of them


_OF_TRAINING = """
    SELECT run.as_of, model.candidate, model.version, model.status, model.why, model.backtest::text AS backtest
    FROM prediction_runs AS run
    JOIN prediction_models AS model
      ON model.prediction_id = run.prediction_id AND model.name = 'churn' AND model.status <> 'candidate'
    WHERE run.store_id = $1 AND run.prediction_id = $2
"""


@dataclass(frozen=True, slots=True, eq=False)
class ServedChurn:
    """What tells the risks of a training. as_of : of the training; who has ordered since may be told as of later

    candidate, version, status, why : as its row says
    backtest : by horizon, what it reached on the shop's own past
    """

    prediction_id: int
    as_of: datetime
    candidate: str
    version: str
    status: str
    why: str
    backtest: Mapping[str, Any]


async def read_churn_model(database: Database, store_id: str, prediction_id: int) -> ServedChurn | None:
    """None where the training, or the model of it, is forgotten by now."""
    row = await database.row(_OF_TRAINING, store_id, prediction_id)
    if row is None:
        return None
    told = {name: row[name] for name in ("as_of", "candidate", "version", "status", "why")}
    return ServedChurn(prediction_id, **told, backtest=json.loads(row["backtest"] or "{}"))


_MODELS = """
    SELECT run.prediction_id, run.as_of, model.name, model.candidate, model.version, model.status, model.why,
        model.trained_from::text AS trained_from, model.trained_to::text AS trained_to, model.features,
        model.backtest::text AS backtest
    FROM stores AS store
    JOIN prediction_runs AS run ON run.prediction_id = store.served_prediction_id
    LEFT JOIN prediction_models AS model ON model.store_id = store.store_id AND model.prediction_id = run.prediction_id
    WHERE store.store_id = $1
    ORDER BY model.name, model.status = 'candidate', model.candidate
"""


async def read_models(database: Database, store_id: str) -> Sequence[Row]:
    """Every model of the served training by name, the served one of each name first; empty where nothing is served."""
    return [row for row in await database.rows(_MODELS, store_id) if row["name"] is not None]


_SERVED = """
    SELECT store.store_id, store.currency, store.timezone, store.served_run_id AS run_id,
        store.served_prediction_id AS prediction_id, run.as_of,
        (found.yardstick #>> '{tiers,limits,0}')::numeric AS vip,
        (found.yardstick #>> '{tiers,limits,1}')::numeric AS high,
        (found.yardstick #>> '{tiers,limits,2}')::numeric AS standard
    FROM stores AS store
    JOIN prediction_runs AS run ON run.prediction_id = store.served_prediction_id
    LEFT JOIN segmentation_runs AS found ON found.run_id = store.served_run_id
    WHERE store.store_id = $1
"""
# Chances are kept to six decimals. Of a whole number the server makes a decimal at once, of a float by way of its text.
_EXACT_RISK = "((told.churn_risk_score * 1000000)::int8 * 0.000001)"
# Who is not in the served run is worth what they paid. A limit that is null is one that nobody reaches.
# Of the customers themselves something is read only for those few whom the run has not placed.
_VALUED = """
    SELECT told.customer_id, told.risk_level, told.churn_risk_score, told.p_no_purchase_30d, told.p_no_purchase_90d,
        told.predicted_ltv_12m, told.expected_spend_90d, standing.archetype_id, standing.archetype_level2_id,
        standing.archetype_level3_id, standing.days_since_last_purchase,
        coalesce(standing.total_orders, customer.orders_count) AS total_orders,
        coalesce(standing.lifetime_value, customer.total_spent) AS ltv,
        round(greatest(coalesce(standing.lifetime_value, customer.total_spent), 0) * {risk}, 4) AS ltv_at_risk,
        CASE WHEN standing.customer_id IS NULL THEN NULL
             WHEN standing.lifetime_value >= served.vip THEN 'vip'
             WHEN standing.lifetime_value >= served.high THEN 'high'
             WHEN standing.lifetime_value >= served.standard THEN 'standard'
             ELSE 'low' END AS ltv_tier
    FROM served
    JOIN {told} AS told ON told.store_id = served.store_id
    LEFT JOIN fact_customer_standing AS standing
      ON standing.store_id = told.store_id AND standing.customer_id = told.customer_id
     AND standing.run_id = served.run_id
    LEFT JOIN LATERAL (
        SELECT total_spent, orders_count FROM customers
        WHERE standing.customer_id IS NULL AND customers.store_id = told.store_id
          AND customers.customer_id = told.customer_id
    ) AS customer ON true
"""
# What a customer counts for, once for those whom the run has placed and once for the few whom it has not, where there
# are any: apart, the server adds either up on several cores. It takes limits of tiers for conditions, of which it knows
# how few values they have, and a tier for as many as there are customers.
_SUMS = """
    count(*) AS n, sum(told.p_no_purchase_30d) AS away_30,
    sum(told.p_no_purchase_30d * told.p_no_purchase_30d) AS away_30_squared, sum(told.p_no_purchase_90d) AS away_90,
    sum(told.p_no_purchase_90d * told.p_no_purchase_90d) AS away_90_squared, sum(greatest({value}, 0)) AS ltv,
    sum(round(greatest({value}, 0) * {risk}, 4)) AS ltv_at_risk,
    sum(told.predicted_ltv_12m) AS predicted_ltv_12m
"""
_TOTALS = """
    WITH served AS MATERIALIZED ({served}), {drawn} placed AS (
        SELECT told.risk_level, standing.lifetime_value >= (SELECT vip FROM served) AS vip,
            standing.lifetime_value >= (SELECT high FROM served) AS high,
            standing.lifetime_value >= (SELECT standard FROM served) AS standard, {sums_of_placed}
        FROM {told} AS told JOIN fact_customer_standing AS standing USING (store_id, customer_id)
        WHERE told.store_id = $1 AND standing.run_id = (SELECT run_id FROM served)
        GROUP BY told.risk_level, 2, 3, 4
    ), totals AS (
        SELECT risk_level, n, away_30, away_30_squared, away_90, away_90_squared, ltv, ltv_at_risk, predicted_ltv_12m,
            CASE WHEN vip THEN 'vip' WHEN high THEN 'high' WHEN standard THEN 'standard' ELSE 'low' END AS ltv_tier
        FROM placed
        UNION ALL
        SELECT told.risk_level, {sums_of_others}, NULL AS ltv_tier
        FROM {told} AS told JOIN customers USING (store_id, customer_id)
        WHERE told.store_id = $1
            AND (SELECT coalesce(sum(n), 0) FROM placed) < (SELECT count(*) FROM {told} AS own WHERE own.store_id = $1)
            AND NOT EXISTS (
            SELECT FROM fact_customer_standing AS standing
            WHERE standing.store_id = told.store_id AND standing.customer_id = told.customer_id
              AND standing.run_id = (SELECT run_id FROM served))
        GROUP BY told.risk_level
    )
    SELECT served.*, totals.*,
        ({of_all}) AS of_all
    FROM served LEFT JOIN totals ON true
"""
_PREDICTED = "fact_customer_prediction"
# Drawn by a digest of their ids, which has nothing to do with what they do, and is the same when asked again.
_DRAWN = """drawn AS MATERIALIZED (
        SELECT * FROM fact_customer_prediction WHERE store_id = $1
        ORDER BY hashtextextended(customer_id, 0), customer_id LIMIT $2
    ),"""
_TOTALS_OF_ALL, _TOTALS_OF_SAMPLE = (
    _TOTALS.format(
        served=_SERVED,
        drawn=drawn,
        told=told,
        of_all=of_all,
        sums_of_placed=_SUMS.format(value="standing.lifetime_value", risk=_EXACT_RISK),
        sums_of_others=_SUMS.format(value="customers.total_spent", risk=_EXACT_RISK),
    )
    for drawn, told, of_all in (
        ("", _PREDICTED, "SELECT coalesce(sum(n), 0)::bigint FROM totals"),
        (_DRAWN, "drawn", "SELECT count(*) FROM fact_customer_prediction AS all_told WHERE all_told.store_id = $1"),
    )
)


async def read_risk_totals(database: Database, store_id: str, *, sample: int | None = None) -> Sequence[Row]:
    """Customers by risk level and value tier: n, sums of chances and of their squares, and of values.

    sample : so many of them; None for everybody. of_all : how many there are
    Every row holds what is served (run_id, prediction_id, as_of, currency, timezone); a shop of whom nobody is
    predicted has one without a level. Empty where no predictions are served.
    ltv_tier : None of who is not in the served run
    """
    if sample is None:
        return await database.rows(_TOTALS_OF_ALL, store_id)
    return await database.rows(_TOTALS_OF_SAMPLE, store_id, sample)


# Pseudonyms, which tell customers with the same key apart, are read of those alone who may be on the page.
_AT_RISK = """
    WITH served AS ({served}), matching AS MATERIALIZED (
        SELECT valued.*, {key} AS key FROM ({valued}) AS valued
        WHERE valued.risk_level = ANY ($2::text[]) AND ($3::numeric IS NULL OR valued.ltv >= $3)
          AND ($4::text IS NULL OR $4 IN (
              valued.archetype_id, valued.archetype_level2_id, valued.archetype_level3_id))
    ), totals AS (
        SELECT count(*) AS n, coalesce(sum(ltv_at_risk), 0) AS total_ltv_at_risk,
            coalesce(sum(greatest(ltv, 0)), 0) AS total_ltv, sum(predicted_ltv_12m) AS total_predicted_ltv_12m
        FROM matching
    ), least AS (
        SELECT coalesce(min(key), $5) AS key FROM (
            SELECT key FROM matching WHERE $5::numeric IS NULL OR key < $5 ORDER BY key DESC LIMIT $7
        ) AS nearest
    )
    SELECT served.*, totals.*, page.*,
        (SELECT count(*) FROM fact_customer_prediction AS all_told WHERE all_told.store_id = $1) AS of_all
    FROM served CROSS JOIN totals LEFT JOIN LATERAL (
        SELECT matching.*, named.pseudonym, customer.first_name, customer.last_name, customer.email,
            kind.name AS archetype_name
        FROM matching
        JOIN customer_pseudonyms AS named ON named.store_id = $1 AND named.customer_id = matching.customer_id
        JOIN customers AS customer ON customer.store_id = $1 AND customer.customer_id = matching.customer_id
        LEFT JOIN dim_archetype_l1 AS kind
          ON kind.store_id = $1 AND kind.run_id = served.run_id AND kind.archetype_id = matching.archetype_id
        WHERE matching.key >= (SELECT key FROM least)
          AND ($5 IS NULL OR matching.key < $5 OR (matching.key = $5 AND named.pseudonym > $6))
        ORDER BY matching.key DESC, named.pseudonym LIMIT $7
    ) AS page ON true
    ORDER BY page.key DESC, page.pseudonym
"""
_AT_RISK_BY = {
    sort: _AT_RISK.format(served=_SERVED, valued=_VALUED.format(told=_PREDICTED, risk=_EXACT_RISK), key=key)
    for sort, key in (
        ("ltv_at_risk", "valued.ltv_at_risk"),
        ("risk", "valued.churn_risk_score::numeric"),
        ("ltv", "valued.ltv"),
    )
}


async def read_at_risk(
    database: Database,
    store_id: str,
    *,
    levels: Sequence[str],
    min_ltv: Decimal | None,
    archetype_id: str | None,
    sort: str,
    after: tuple[Decimal, str] | None,
    limit: int,
) -> Sequence[Row]:
    """Customers of those levels, the largest `key` first, each row with the totals of all who match (n, total_...).

    archetype_id : of any level
    sort         : ltv_at_risk, risk or ltv: what `key` is
    after        : key and pseudonym of the customer that the page before ended with

    One row without a customer where none is left; empty where no predictions are served.
    """
    key, pseudonym = after or (None, None)
    return await database.rows(_AT_RISK_BY[sort], store_id, list(levels), min_ltv, archetype_id, key, pseudonym, limit)


_BY_ARCHETYPE = """
    SELECT standing.archetype_id, coalesce(standing.archetype_level2_id, standing.archetype_level3_id) AS below,
        count(*) AS n, avg(told.churn_risk_score) AS churn_risk, avg(told.predicted_ltv_12m) AS avg_predicted_ltv_12m,
        sum(told.predicted_ltv_12m) AS total_predicted_ltv_12m, avg(told.expected_spend_90d) AS expected_spend_90d
    FROM fact_customer_standing AS standing
    JOIN fact_customer_prediction AS told
      ON told.store_id = standing.store_id AND told.customer_id = standing.customer_id
    WHERE standing.store_id = $1 AND standing.run_id = $2
    GROUP BY GROUPING SETS (
        (standing.archetype_id), (standing.archetype_id, standing.archetype_level2_id),
        (standing.archetype_id, standing.archetype_level3_id))
"""


@dataclass(frozen=True, slots=True)
class PredictedOfKind:
    """What is predicted of a kind of customer: means of its members, and a sum. None where value cannot be told.

    n : members of whom anything is predicted
    """

    n: int
    churn_risk: float
    avg_predicted_ltv_12m: float | None
    total_predicted_ltv_12m: float | None
    expected_spend_90d: float | None


#: By archetype of level 1, and of those below it by both ids.
PredictedOfKinds = Mapping[tuple[str, str | None], PredictedOfKind]


async def read_predicted_of_kinds(database: Database, store_id: str, run_id: int) -> PredictedOfKinds:
    """Of every archetype of a run, of all levels. Those of whose members nothing is predicted are not among them."""
    return {
        (row["archetype_id"], row["below"]): PredictedOfKind(
            row["n"],
            row["churn_risk"],
            *(
                None if row[name] is None else float(row[name])
                for name in ("avg_predicted_ltv_12m", "total_predicted_ltv_12m", "expected_spend_90d")
            ),
        )
        for row in await database.rows(_BY_ARCHETYPE, store_id, run_id)
    }
