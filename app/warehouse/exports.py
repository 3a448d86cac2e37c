"""What leaves as files."""

from typing import BinaryIO

from sqlalchemy.ext.asyncio import AsyncConnection

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


async def export_segments(connection: AsyncConnection, store_id: str, out: BinaryIO) -> int:
    """One CSV row per customer, axis and segment of the served run; returns how many.

    customer_id, axis, segment_id, segment_name, membership (0..1), dominant (true or false)
    Raises StoreNotFound or NothingPublished.
    """
    run = await served_run(connection, store_id)
    # Postgres writes booleans as t and f; readers expect words.
    query = f"SELECT customer_id, axis, segment_id, segment_name, membership, dominant::text FROM ({_SEGMENTS}) AS rows"  # noqa: S608
    copied: str = await (await raw(connection)).copy_from_query(
        query, store_id, run.run_id, output=out, format="csv", header=True
    )
    return int(copied.removeprefix("COPY "))
