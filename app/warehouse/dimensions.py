"""A run's dimensions, whole: what a rescoring publishes again with the counts of its day."""

import polars as pl
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.copying import copy_out
from app.warehouse.tables import dim_archetype_l1, dim_archetype_l2, dim_archetype_l3, dim_segment_master

_TABLES = (dim_segment_master, dim_archetype_l1, dim_archetype_l2, dim_archetype_l3)
_KEYS = ("store_id", "run_id")


async def read_dimensions(connection: AsyncConnection, store_id: str, run_id: int) -> dict[str, pl.DataFrame]:
    """The rows of every dimension of a run by table name, without store_id and run_id; every value as its text.

    Archetypes are in the order of `profiles.read_archetypes`, segments axis by axis in the order of their centers.
    """
    found = {}
    for table in _TABLES:
        columns = [column.name for column in table.columns if column.name not in _KEYS]
        order = "axis_name, position" if table is dim_segment_master else "member_count DESC, archetype_id"
        query = (
            f"SELECT {', '.join(columns)} FROM {table.name} "  # noqa: S608  names of our own columns
            f"WHERE store_id = $1 AND run_id = $2 ORDER BY {order}"
        )
        found[table.name] = await copy_out(connection, query, (store_id, run_id), dict.fromkeys(columns, pl.String))
    return found
