"""Where the segments and archetypes of published runs come from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.engine import Database, Row

#: What stands for an axis in a step of archetypes of level 1.
ARCHETYPES = "archetypes"

_SAID = """
    previous_run_id, step, fate, previous_id, previous_name, current_id, current_name, share_of_previous,
    share_of_current, previous_customers, current_customers, renamed, changes, says
"""
# Both tables as one; the planner reads of each what the question wants.
_STEPS = f"""
    SELECT store_id, run_id, axis_name AS axis, {_SAID} FROM segment_lineage
    UNION ALL
    SELECT store_id, run_id, '{ARCHETYPES}', {_SAID} FROM archetype_lineage
"""  # noqa: S608  put together from the constants above

_OF_RUN = f"""
    SELECT * FROM ({_STEPS}) AS steps
    WHERE store_id = $1 AND run_id = $2 AND axis = $3
      AND ($4::text IS NULL OR $4 IN (current_id, previous_id))
    ORDER BY step
"""  # noqa: S608


async def read_steps(
    database: Database, store_id: str, run_id: int, *, axis: str, group_id: str | None = None
) -> Sequence[Row]:
    """The steps that led into a run on one axis, or to its ARCHETYPES; none for a first run.

    group_id : only those into that segment or archetype and out of it
    """
    return await database.rows(_OF_RUN, store_id, run_id, axis, group_id)


_PAST = f"""
    WITH steps AS ({_STEPS}), page AS (
        SELECT DISTINCT run_id FROM steps
        WHERE store_id = $1 AND ($2::text IS NULL OR axis = $2) AND ($3::bigint IS NULL OR run_id < $3)
        ORDER BY run_id DESC LIMIT $4
    )
    SELECT served.run_id AS served_run_id, served.as_of AS served_as_of, told.*
    FROM stores AS store JOIN segmentation_runs AS served ON served.run_id = store.served_run_id
    LEFT JOIN (
        SELECT steps.*, run.as_of
        FROM steps JOIN page USING (run_id) JOIN segmentation_runs AS run USING (run_id)
        WHERE steps.store_id = $1 AND ($2::text IS NULL OR steps.axis = $2)
    ) AS told ON true
    WHERE store.store_id = $1
    ORDER BY told.run_id DESC, told.axis = '{ARCHETYPES}', told.step
"""  # noqa: S608


async def read_past_steps(
    database: Database, store_id: str, *, axis: str | None, before: int | None, runs: int
) -> Sequence[Row]:
    """All steps of the latest runs that have any, the latest run first; one row without a step where none has.

    axis   : only that axis, or ARCHETYPES; None for all
    before : only runs before that one
    Empty where nothing is served.
    """
    return await database.rows(_PAST, store_id, axis, before, runs)


_LARGE = """
    SELECT run_id, axis_name, previous_name AS name FROM segment_lineage
    WHERE store_id = $1 AND run_id = ANY($2::bigint[]) AND previous_customers >= $3
    UNION
    SELECT run_id, axis_name, current_name FROM segment_lineage
    WHERE store_id = $1 AND run_id = ANY($2::bigint[]) AND current_customers >= $3
    EXCEPT
    (
        SELECT run_id, axis_name, previous_name FROM segment_lineage
        WHERE store_id = $1 AND run_id = ANY($2::bigint[]) AND previous_customers < $3
        UNION
        SELECT run_id, axis_name, current_name FROM segment_lineage
        WHERE store_id = $1 AND run_id = ANY($2::bigint[]) AND current_customers < $3
    )
"""


async def read_large_segments(
    database: Database, store_id: str, run_ids: Collection[int], *, at_least: int
) -> frozenset[tuple[int, str, str]]:
    """(run, axis, name) of segments that are known to have so many customers, of each run and of the one before it."""
    found = await database.rows(_LARGE, store_id, sorted(run_ids), at_least)
    return frozenset((run_id, axis, name) for run_id, axis, name in found)


_EDGES = """
    SELECT told.run_id, before.rules_run_id, told.axis, told.previous_id, told.current_id
    FROM (
        SELECT store_id, run_id, axis_name AS axis, previous_run_id, previous_id, current_id FROM segment_lineage
        UNION ALL
        SELECT store_id, run_id, '{archetypes}', previous_run_id, previous_id, current_id FROM archetype_lineage
    ) AS told
    LEFT JOIN segmentation_runs AS before ON before.run_id = told.previous_run_id
    WHERE told.store_id = :store_id AND told.run_id > :after AND told.run_id <= :until
    ORDER BY told.run_id
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """From a group to the one it goes on as; None where it is born or retired.

    run_id : the discovery; rules_before : the one whose rules were served before it; axis : or ARCHETYPES
    """

    run_id: int
    rules_before: int | None
    axis: str
    previous_id: str | None
    current_id: str | None


async def read_edges(connection: AsyncConnection, store_id: str, *, after: int, until: int) -> list[Edge]:
    """All that the discoveries after a run and up to another made of the groups before them."""
    query = text(_EDGES.format(archetypes=ARCHETYPES))
    found = await connection.execute(query, {"store_id": store_id, "after": after, "until": until})
    return [Edge(*row) for row in found]
