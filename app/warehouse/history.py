"""Where customers stood on past days: of one of them, and of the whole shop from day to day."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.engine import Database, Row

# Names are those of the run that wrote the row, whose dimensions are kept as long as a row names it; without them, as
# in rows of older versions, there are none. A segment's id tells its axis.
_OF_ONE = """
    WITH past AS (
        SELECT * FROM fact_customer_history
        WHERE store_id = $1 AND customer_id = $2
          AND ($3::date IS NULL OR snapshot_date >= $3) AND ($4::date IS NULL OR snapshot_date <= $4)
    )
    SELECT past.snapshot_date, past.run_id, run.rules_run_id, run.as_of, past.archetype_id, kind.name AS archetype_name,
        kind.member_count, past.archetype_level2_id, level2.member_count AS level2_count, past.archetype_level3_id,
        level3.member_count AS level3_count, past.lifetime_value, past.total_orders, past.days_since_last_purchase,
        past.churn_risk_score, past.p_no_purchase_30d, past.predicted_ltv_12m,
        (SELECT jsonb_object_agg(segment.axis_name, jsonb_build_array(
             segment.segment_id, segment.segment_name, segment.customer_count))
         FROM dim_segment_master AS segment
         WHERE segment.store_id = past.store_id AND segment.run_id = past.run_id
           AND segment.segment_id = ANY (past.segment_ids))::text AS segments
    FROM past
    JOIN segmentation_runs AS run USING (run_id)
    LEFT JOIN dim_archetype_l1 AS kind
      ON kind.store_id = past.store_id AND kind.run_id = past.run_id AND kind.archetype_id = past.archetype_id
    LEFT JOIN dim_archetype_l2 AS level2
      ON level2.store_id = past.store_id AND level2.run_id = past.run_id
     AND level2.archetype_id = past.archetype_level2_id
    LEFT JOIN dim_archetype_l3 AS level3
      ON level3.store_id = past.store_id AND level3.run_id = past.run_id
     AND level3.archetype_id = past.archetype_level3_id
    ORDER BY past.snapshot_date
"""


async def read_history(
    database: Database, store_id: str, customer_id: str, *, first_day: date | None, last_day: date | None
) -> Sequence[Row]:
    """One customer's days, the earliest first; both ends included.

    segments        : {axis: [id, name, customers in it]} as JSON text; None where the run's are not kept
    member_count, … : customers of the archetypes then
    """
    return await database.rows(_OF_ONE, store_id, customer_id, first_day, last_day)


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a shop that is kept. run_id : the run that wrote it; rules_run_id : the discovery it went by"""

    day: date
    run_id: int
    rules_run_id: int


# From day to day over the index, or every customer of every day would be looked at.
_DAYS = """
    WITH RECURSIVE days AS (
        (SELECT snapshot_date AS day, run_id FROM fact_customer_history
         WHERE store_id = :store_id ORDER BY snapshot_date DESC LIMIT 1)
        UNION ALL
        SELECT earlier.* FROM days CROSS JOIN LATERAL (
            SELECT snapshot_date, run_id FROM fact_customer_history
            WHERE store_id = :store_id AND snapshot_date < days.day ORDER BY snapshot_date DESC LIMIT 1
        ) AS earlier
    )
    SELECT days.day, run.run_id, run.rules_run_id
    FROM days JOIN segmentation_runs AS run USING (run_id)
    ORDER BY days.day
"""


async def read_days(connection: AsyncConnection, store_id: str) -> list[Day]:
    """The days of a store that are kept, the earliest first. All rows of a day are of one run."""
    return [Day(*row) for row in await connection.execute(text(_DAYS), {"store_id": store_id})]


_BOTH_DAYS = """
    before AS (
        SELECT customer_id, archetype_id, segment_ids FROM fact_customer_history
        WHERE store_id = :store_id AND snapshot_date = :before
    ), now AS (
        SELECT customer_id, archetype_id, segment_ids FROM fact_customer_history
        WHERE store_id = :store_id AND snapshot_date = :now
    )
"""
_ARCHETYPE_COUNTS = f"""
    WITH {_BOTH_DAYS}
    SELECT before.archetype_id, now.archetype_id, count(*)
    FROM before FULL JOIN now USING (customer_id)
    GROUP BY 1, 2
"""  # noqa: S608  put together from the constants above

Counts = list[tuple[str | None, str | None, int]]


async def archetype_counts(connection: AsyncConnection, store_id: str, *, before: date, now: date) -> Counts:
    """(archetype then, archetype now, customers) of two days; None for the day on which they were not there."""
    found = await connection.execute(text(_ARCHETYPE_COUNTS), {"store_id": store_id, "before": before, "now": now})
    return [(was, is_now, n) for was, is_now, n in found]


# Customers who stand alike on every axis are counted first: taken apart by axis they are fourteen times as many.
_SEGMENT_COUNTS = f"""
    WITH {_BOTH_DAYS}, alike AS MATERIALIZED (
        SELECT before.segment_ids AS was, now.segment_ids AS is_now, count(*) AS n
        FROM before FULL JOIN now USING (customer_id)
        GROUP BY 1, 2
    )
    SELECT axis.number, alike.was[axis.before], alike.is_now[axis.now], sum(alike.n)::bigint
    FROM alike, unnest(CAST(:places_before AS int[]), CAST(:places_now AS int[])) WITH ORDINALITY
        AS axis(before, now, number)
    GROUP BY 1, 2, 3
"""  # noqa: S608


async def segment_counts(
    connection: AsyncConnection,
    store_id: str,
    *,
    before: date,
    now: date,
    axes_before: Sequence[str],
    axes_now: Sequence[str],
) -> dict[str, Counts]:
    """{axis: (segment then, segment now, customers)} of the axes that both days have.

    axes_before, axes_now : in the order of each day's run
    """
    both = [axis for axis in axes_now if axis in axes_before]
    found = await connection.execute(
        text(_SEGMENT_COUNTS),
        {
            "store_id": store_id,
            "before": before,
            "now": now,
            "places_before": [axes_before.index(axis) + 1 for axis in both],
            "places_now": [axes_now.index(axis) + 1 for axis in both],
        },
    )
    counts: dict[str, Counts] = {axis: [] for axis in both}
    for number, was, is_now, n in found:
        counts[both[number - 1]].append((was, is_now, n))
    return counts


_SEGMENTS = """
    SELECT run.run_id, axis.told ->> 'axis', segment.told ->> 'segment_id', (segment.told ->> 'count')::bigint
    FROM segmentation_runs AS run
    CROSS JOIN LATERAL jsonb_array_elements(run.report -> 'axes') WITH ORDINALITY AS axis(told, place)
    CROSS JOIN LATERAL jsonb_array_elements(axis.told -> 'segments') WITH ORDINALITY AS segment(told, place)
    WHERE run.run_id = ANY (:run_ids)
    ORDER BY run.run_id, axis.place, segment.place
"""


async def segments_of_runs(
    connection: AsyncConnection, run_ids: Collection[int]
) -> dict[int, dict[str, dict[str, int]]]:
    """{run: {axis: {segment id: customers}}} as the runs found them, axes in the order of `segment_ids`."""
    found: dict[int, dict[str, dict[str, int]]] = {run_id: {} for run_id in run_ids}
    for run_id, axis, segment_id, count in await connection.execute(text(_SEGMENTS), {"run_ids": sorted(run_ids)}):
        found[run_id].setdefault(axis, {})[segment_id] = count
    return found


_NAMES = """
    SELECT run_id, archetype_id, name, member_count FROM dim_archetype_l1
    WHERE store_id = :store_id AND run_id = ANY (:run_ids)
"""


async def archetypes_of_runs(
    connection: AsyncConnection, store_id: str, run_ids: Collection[int]
) -> dict[int, dict[str, tuple[str, int]]]:
    """{run: {archetype: (name, customers)}} of level 1; nothing of runs whose dimensions are not kept."""
    found: dict[int, dict[str, tuple[str, int]]] = {run_id: {} for run_id in run_ids}
    rows = await connection.execute(text(_NAMES), {"store_id": store_id, "run_ids": sorted(run_ids)})
    for run_id, archetype_id, name, members in rows:
        found[run_id][archetype_id] = (name, members)
    return found


# A day is kept while it is younger than the limit, is the last kept of its ISO week, or is of the run that is served,
# from which the next discovery goes on.
_THIN = """
    DELETE FROM fact_customer_history AS past
    USING unnest(CAST(:days AS date[]), CAST(:runs AS bigint[])) AS gone(day, run_id)
    WHERE past.store_id = :store_id AND past.snapshot_date = gone.day AND past.run_id = gone.run_id
"""


async def delete_days(connection: AsyncConnection, store_id: str, days: Sequence[Day]) -> int:
    """Forget everyone's rows of those days; how many they were. A day that another run has written anew stays."""
    of_days = {"days": [each.day for each in days], "runs": [each.run_id for each in days]}
    found = await connection.execute(text(_THIN), {"store_id": store_id, **of_days})
    return int(found.rowcount)


# Facts and profiles name their run's archetypes, levels 2 and 3 those of level 1: in this order.
_DIMENSIONS = ("dim_archetype_l3", "dim_archetype_l2", "dim_archetype_l1", "dim_segment_master")
_FORGOTTEN = """
    SELECT DISTINCT run_id FROM dim_segment_master WHERE store_id = :store_id
      AND run_id IS DISTINCT FROM (SELECT served_run_id FROM stores WHERE store_id = :store_id)
      AND run_id <> ALL (:kept)
"""


async def delete_dimensions(connection: AsyncConnection, store_id: str, *, kept: Collection[int]) -> int:
    """Forget the segments and archetypes of all runs but those and the served one; of how many runs they were."""
    found = await connection.execute(text(_FORGOTTEN), {"store_id": store_id, "kept": sorted(kept)})
    runs = list(found.scalars())
    for table in _DIMENSIONS if runs else ():
        await connection.execute(
            text(f"DELETE FROM {table} WHERE store_id = :store_id AND run_id = ANY (:runs)"),  # noqa: S608
            {"store_id": store_id, "runs": runs},
        )
    return len(runs)


@dataclass(frozen=True, slots=True)
class Rules:
    """A run whose rules are kept."""

    run_id: int
    as_of: datetime


# A run's row stays when its dimensions are forgotten; any other run by the rules of the same discovery tells them too.
# A rescoring may be of a moment before that of the discovery it goes by.
_IN_FORCE = """
    WITH kept AS (
        SELECT run.run_id, run.as_of, run.rules_run_id FROM segmentation_runs AS run
        WHERE run.store_id = :store_id AND run.status = 'published'
          AND EXISTS (SELECT FROM dim_segment_master AS segment
                      WHERE segment.store_id = run.store_id AND segment.run_id = run.run_id)
    ), past AS (
        SELECT run.as_of, run.rules_run_id FROM segmentation_runs AS run
        JOIN segmentation_runs AS rules ON rules.run_id = run.rules_run_id AND rules.as_of <= :as_of
        WHERE run.store_id = :store_id AND run.status = 'published' AND run.as_of <= :as_of
        ORDER BY run.as_of DESC, run.run_id DESC LIMIT 1
    )
    SELECT kept.run_id, coalesce(past.as_of, kept.as_of) AS as_of
    FROM kept LEFT JOIN past ON past.rules_run_id = kept.rules_run_id
    ORDER BY past.rules_run_id IS NULL, kept.as_of > :as_of, abs(extract(epoch FROM kept.as_of - :as_of)),
        kept.run_id DESC
    LIMIT 1
"""


async def rules_in_force(connection: AsyncConnection, store_id: str, as_of: datetime) -> Rules | None:
    """The latest run as of that moment or before; the oldest there is where none is that old; None without any."""
    row = (await connection.execute(text(_IN_FORCE), {"store_id": store_id, "as_of": as_of})).one_or_none()
    return None if row is None else Rules(*row)
