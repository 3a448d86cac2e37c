"""Where everyone stood when a run was published, as columns: what the next discovery is compared with."""

from collections.abc import Sequence

import polars as pl
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.copying import copy_out


async def read_segments_stood_in(
    connection: AsyncConnection, store_id: str, run_id: int, axes: Sequence[str]
) -> pl.DataFrame:
    """Where everyone stood when a run was published: `customer_id`, and by axis the id of their dominant segment.

    axes : the run's, in their order
    """
    columns = ", ".join(f"segment_ids[{place}]" for place in range(1, len(axes) + 1))
    query = f"SELECT customer_id, {columns} FROM fact_customer_history WHERE store_id = $1 AND run_id = $2"  # noqa: S608
    return await copy_out(connection, query, (store_id, run_id), dict.fromkeys(("customer_id", *axes), pl.String))
