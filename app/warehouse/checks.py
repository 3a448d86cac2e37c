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


# What a run writes carries the moment it was published at. Who has bought since the day it is of is placed as of then.
_SCORED_SINCE = """
    SELECT count(*) FROM fact_customer_current WHERE store_id = :store AND run_id = :run AND (
        updated_at <> (SELECT finished_at FROM segmentation_runs WHERE run_id = :run) OR snapshot_date <> :day
    )
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
    "every fact has a profile that tells all axes": """
        SELECT count(*) FROM fact_customer_current AS fact
        CROSS JOIN (
            SELECT count(*) AS segments, count(DISTINCT axis_name) AS axes,
                max(first_feature + jsonb_array_length(scaler_params -> 'features')) - 1 AS features
            FROM dim_segment_master WHERE store_id = :store AND run_id = :run
        ) AS told
        WHERE fact.store_id = :store AND fact.run_id = :run
            AND (cardinality(fact.memberships), cardinality(fact.dominant), cardinality(fact.features))
                IS DISTINCT FROM (told.segments, told.axes, told.features)
    """,
    "nobody without an order is segmented": """
        SELECT count(*) FROM (
            SELECT customer_id FROM fact_customer_current WHERE store_id = :store AND run_id = :run
            EXCEPT
            SELECT customer_id FROM orders WHERE store_id = :store
        ) AS left_over
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
    "everyone is of archetypes that there are": """
        SELECT count(*) FROM fact_customer_standing AS fact
        WHERE fact.store_id = :store AND fact.run_id = :run AND NOT (
            EXISTS (SELECT FROM dim_archetype_l1 AS one WHERE one.store_id = fact.store_id
                AND one.run_id = fact.run_id AND one.archetype_id = fact.archetype_id)
            AND EXISTS (SELECT FROM dim_archetype_l2 AS two WHERE two.store_id = fact.store_id
                AND two.run_id = fact.run_id AND two.archetype_id = fact.archetype_level2_id)
            AND EXISTS (SELECT FROM dim_archetype_l3 AS three WHERE three.store_id = fact.store_id
                AND three.run_id = fact.run_id AND three.archetype_id = fact.archetype_level3_id)
        )
    """,
    "everyone in history is a customer": """
        SELECT count(*) FROM fact_customer_history AS history
        WHERE history.store_id = :store AND NOT EXISTS (
            SELECT FROM customers AS customer
            WHERE customer.store_id = history.store_id AND customer.customer_id = history.customer_id
        )
    """,
    "every day of history was told by a run that there is": """
        SELECT count(*) FROM fact_customer_history AS history
        WHERE history.store_id = :store AND NOT EXISTS (
            SELECT FROM segmentation_runs AS run
            WHERE run.run_id = history.run_id AND run.store_id = history.store_id
        )
    """,
    # Counts are those of the run: each customer scored anew since may have moved one of them by one.
    "archetypes count their members rightly": """
        SELECT count(*) FROM (
            SELECT archetype_id, member_count FROM dim_archetype_l1 WHERE store_id = :store AND run_id = :run
            UNION ALL
            SELECT archetype_id, member_count FROM dim_archetype_l2 WHERE store_id = :store AND run_id = :run
            UNION ALL
            SELECT archetype_id, member_count FROM dim_archetype_l3 WHERE store_id = :store AND run_id = :run
        ) AS told
        FULL JOIN (
            SELECT kind.archetype_id, count(*) AS members FROM fact_customer_current AS fact
            CROSS JOIN LATERAL (
                VALUES (1, fact.archetype_id), (2, fact.archetype_level2_id), (3, fact.archetype_level3_id)
            ) AS kind(level, archetype_id)
            WHERE fact.store_id = :store AND fact.run_id = :run GROUP BY kind.level, kind.archetype_id
        ) AS there USING (archetype_id)
        WHERE abs(coalesce(member_count, 0) - coalesce(members, 0)) > :scored_since
    """,
    "levels 2 and 3 nest in level 1": """
        SELECT count(*) FROM fact_customer_current AS fact
        JOIN dim_archetype_l2 AS two ON two.store_id = fact.store_id AND two.run_id = fact.run_id
            AND two.archetype_id = fact.archetype_level2_id
        JOIN dim_archetype_l3 AS three ON three.store_id = fact.store_id AND three.run_id = fact.run_id
            AND three.archetype_id = fact.archetype_level3_id
        WHERE fact.store_id = :store AND fact.run_id = :run
            AND (two.parent_id <> fact.archetype_id OR three.parent_id <> fact.archetype_id)
    """,
    "segments count their customers rightly": """
        SELECT count(*) FROM (
            SELECT place, customer_count FROM dim_segment_master WHERE store_id = :store AND run_id = :run
        ) AS told
        FULL JOIN (
            SELECT top.place, count(*) AS customers
            FROM fact_customer_standing AS fact, unnest(fact.dominant) AS top(place)
            WHERE fact.store_id = :store AND fact.run_id = :run GROUP BY top.place
        ) AS there USING (place)
        WHERE abs(coalesce(customer_count, 0) - coalesce(customers, 0)) > :scored_since
    """,
    "everyone's top segments are those of their highest shares": """
        SELECT count(*) FROM (
            SELECT FROM fact_customer_standing AS fact
            JOIN dim_segment_master AS segment USING (store_id, run_id)
            WHERE fact.store_id = :store AND fact.run_id = :run
            GROUP BY fact.customer_id, segment.axis_name
            HAVING count(*) FILTER (WHERE segment.place = ANY (fact.dominant)) <> 1
                OR max(fact.memberships[segment.place]) FILTER (WHERE segment.place = ANY (fact.dominant))
                    < max(fact.memberships[segment.place])
        ) AS others
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
