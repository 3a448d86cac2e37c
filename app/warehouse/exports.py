"""What leaves as files."""

from typing import BinaryIO

from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.engine import raw
from app.warehouse.runs import served_run

_SEGMENTS = """
    SELECT profile.customer_id, axis.name AS axis, segment.segment_id, share.name AS segment_name,
        share.value::float8 AS membership, profile.dominant_segments ->> axis.name = share.name AS dominant
    FROM customer_profiles AS profile
    CROSS JOIN LATERAL jsonb_each(profile.segment_memberships) AS axis(name, shares)
    CROSS JOIN LATERAL jsonb_each(axis.shares) AS share(name, value)
    JOIN dim_segment_master AS segment
      ON segment.store_id = profile.store_id AND segment.run_id = profile.run_id
     AND segment.axis_name = axis.name AND segment.segment_name = share.name
    WHERE profile.store_id = $1 AND profile.run_id = $2
    ORDER BY profile.customer_id, axis.name, segment.position
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
