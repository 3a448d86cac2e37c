"""What must hold of every served star, asked of the database itself."""

from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.runs import served_run
from app.warehouse.stores import read_store


@dataclass(frozen=True, slots=True)
class Check:
    """promise : in words; found : the number that should be what the promise says; holds : whether it is"""

    promise: str
    found: int | float
    holds: bool


_SCORED_SINCE = """
    SELECT count(*) FROM fact_customer_current WHERE store_id = :store AND run_id = :run AND snapshot_date <> :day
"""

# Each counts what breaks the promise, of the store's served run.
_BREACHES = {
    "every customer with an order before as_of is segmented": """
        SELECT count(*) FROM (
            SELECT DISTINCT customer_id FROM orders
            WHERE store_id = :store AND order_date < :as_of AND customer_id IS NOT NULL
            EXCEPT
            SELECT customer_id FROM fact_customer_current WHERE store_id = :store AND run_id = :run
        ) AS missing
    """,
    "no customer's row of another run is left": """
        SELECT count(*) FROM fact_customer_current WHERE store_id = :store AND run_id <> :run
    """,
    "memberships of every axis sum to 1": """
        SELECT count(*) FROM (
            SELECT sum(fact.memberships[segment.place]) AS total
            FROM fact_customer_current AS fact
            JOIN dim_segment_master AS segment USING (store_id, run_id)
            WHERE fact.store_id = :store AND fact.run_id = :run
            GROUP BY fact.customer_id, segment.axis_name
        ) AS sums WHERE total IS NULL OR abs(total - 1) > 1e-9
    """,
    "lifetime values agree with orders less refunds": """
        SELECT count(*) FROM fact_customer_current AS fact
        WHERE fact.store_id = :store AND fact.run_id = :run AND fact.snapshot_date = :day AND fact.lifetime_value <> (
            SELECT coalesce(sum(total_price), 0) FROM orders
            WHERE store_id = :store AND customer_id = fact.customer_id AND order_date < :as_of
        ) - (
            SELECT coalesce(sum(amount), 0) FROM refunds
            WHERE store_id = :store AND customer_id = fact.customer_id AND refunded_at < :as_of
        )
    """,
    # Of an axis that the run before did not have, or had from other features, nothing is known. A rescoring has the
    # lineage of the discovery whose rules it goes by.
    "every segment and archetype says where it comes from": """
        WITH rules AS (SELECT rules_run_id AS run_id FROM segmentation_runs WHERE run_id = :run)
        SELECT count(*) FROM (
            SELECT segment_id FROM dim_segment_master
            WHERE store_id = :store AND run_id = :run AND axis_name IN (
                SELECT told ->> 'axis' FROM segmentation_runs, jsonb_array_elements(report -> 'axes') AS told
                WHERE run_id = :run AND jsonb_typeof(told -> 'drift') = 'object'
                UNION SELECT axis_name FROM segment_lineage JOIN rules USING (run_id) WHERE store_id = :store
            )
            EXCEPT SELECT current_id FROM segment_lineage JOIN rules USING (run_id) WHERE store_id = :store
            UNION ALL (
                SELECT kind.archetype_id FROM dim_archetype_l1 AS kind JOIN segmentation_runs AS run USING (run_id)
                WHERE kind.store_id = :store AND kind.run_id = :run
                  AND jsonb_typeof(run.report #> '{since,archetypes}') = 'object'
                EXCEPT SELECT current_id FROM archetype_lineage JOIN rules USING (run_id) WHERE store_id = :store
            )
        ) AS untold
    """,
    "lineage leads to segments and archetypes that there are": """
        WITH rules AS (SELECT rules_run_id AS run_id FROM segmentation_runs WHERE run_id = :run)
        SELECT count(*) FROM (
            SELECT current_id FROM segment_lineage JOIN rules USING (run_id)
            WHERE store_id = :store AND current_id IS NOT NULL
            EXCEPT SELECT segment_id FROM dim_segment_master WHERE store_id = :store AND run_id = :run
            UNION ALL (
                SELECT current_id FROM archetype_lineage JOIN rules USING (run_id)
                WHERE store_id = :store AND current_id IS NOT NULL
                EXCEPT SELECT archetype_id FROM dim_archetype_l1 WHERE store_id = :store AND run_id = :run
            )
        ) AS unknown
    """,
    "customer_intelligence shows every segmented customer": """
        SELECT abs((SELECT count(*) FROM customer_intelligence WHERE store_id = :store)
                 - (SELECT count(*) FROM fact_customer_current WHERE store_id = :store AND run_id = :run))
    """,
}


async def check_star(connection: AsyncConnection, store_id: str) -> list[Check]:
    """Every promise about a store's served run, with the number of rows that break it.

    Raises StoreNotFound or NothingPublished.
    """
    run = await served_run(connection, store_id)
    store = await read_store(connection, store_id)
    day = (run.as_of - timedelta(microseconds=1)).astimezone(ZoneInfo(store.timezone)).date()
    values = {"store": store_id, "run": run.run_id, "as_of": run.as_of, "day": day}
    scored_since = {name: values[name] for name in ("store", "run", "day")}
    values["scored_since"] = (await connection.execute(text(_SCORED_SINCE), scored_since)).scalar_one()
    checks = []
    for promise, query in _BREACHES.items():
        # Only the values a query mentions may be bound to it.
        bound = {name: value for name, value in values.items() if f":{name}" in query}
        breaches = (await connection.execute(text(query), bound)).scalar_one()
        checks.append(Check(promise=promise, found=breaches, holds=breaches == 0))
    return checks
