"""A run's rows in, and the switch: all of it in the caller's one transaction.

The new rows are written beside those served, then the store is pointed at them and the rows of runs before are swept.
Until the transaction commits everyone sees the old run, after it the new one; killed before, it leaves nothing.
"""

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import polars as pl
from sqlalchemy import delete, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.engine import raw
from app.warehouse.tables import (
    archetype_lineage,
    customer_profiles,
    dim_archetype_l1,
    dim_archetype_l2,
    dim_archetype_l3,
    dim_segment_master,
    fact_customer_current,
    fact_customer_history,
    segment_lineage,
    stores,
)

# Parents first; swept in the opposite order.
_OF_A_RUN = (
    dim_segment_master,
    dim_archetype_l1,
    dim_archetype_l2,
    dim_archetype_l3,
    fact_customer_current,
    customer_profiles,
)
_ROWS_AT_ONCE = 20_000
# Beside the rows of the new run there are only those served before it, since every run sweeps the ones before.
_CARRY_RFM = """
    UPDATE fact_customer_current AS new
    SET rfm_previous_group = CASE WHEN old.rfm_group <> new.rfm_group THEN old.rfm_group
                             ELSE old.rfm_previous_group END,
        rfm_changed_on = CASE WHEN old.rfm_group <> new.rfm_group THEN new.snapshot_date ELSE old.rfm_changed_on END
    FROM fact_customer_current AS old
    WHERE new.store_id = :store_id AND new.run_id = :run_id
      AND old.store_id = :store_id AND old.customer_id = new.customer_id AND old.run_id <> :run_id
      AND (old.rfm_group <> new.rfm_group OR old.rfm_previous_group IS NOT NULL)
"""
# The same of one row that takes the place of another: names on the right are of the row there is.
_KEEP_RFM = (
    ", rfm_previous_group = CASE WHEN fact_customer_current.rfm_group <> excluded.rfm_group"
    " THEN fact_customer_current.rfm_group ELSE fact_customer_current.rfm_previous_group END"
    ", rfm_changed_on = CASE WHEN fact_customer_current.rfm_group <> excluded.rfm_group"
    " THEN excluded.snapshot_date ELSE fact_customer_current.rfm_changed_on END"
)


async def publish(connection: AsyncConnection, store_id: str, run_id: int, star: Mapping[str, pl.DataFrame]) -> None:
    """Write a run and serve it.

    star : rows by table name, without store_id and run_id; which RFM group a customer was in before is found here
    """
    for table in _OF_A_RUN:
        await _copy(connection, store_id, run_id, table.name, star[table.name])
    for table in (segment_lineage, archetype_lineage):
        await _copy(connection, store_id, run_id, table.name, star[table.name])
    await _take_snapshot(connection, store_id, run_id, star[fact_customer_history.name])
    await connection.execute(update(stores).where(stores.c.store_id == store_id).values(served_run_id=run_id))
    await connection.execute(text(_CARRY_RFM), {"store_id": store_id, "run_id": run_id})
    for table in reversed(_OF_A_RUN):
        await connection.execute(delete(table).where(table.c.store_id == store_id, table.c.run_id != run_id))
    # Who reads them has planned for what was there before: nothing, at a store's first run.
    await connection.execute(text("ANALYZE " + ", ".join(table.name for table in _OF_A_RUN)))


async def replace_customer(
    connection: AsyncConnection, store_id: str, run_id: int, rows: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put one customer's rows of the served run in place of those there are. Hold the run first (`hold_served_run`).

    rows : of fact_customer_current and of customer_profiles, {column: value}, JSON as text; what they do not name, such
           as what was predicted, stays as it is
    """
    for table in (fact_customer_current, customer_profiles):
        await _put_row(connection, store_id, run_id, table.name, rows[table.name])


async def _put_row(connection: AsyncConnection, store_id: str, run_id: int, table: str, row: Mapping[str, Any]) -> None:
    driver: Any = await raw(connection)
    await driver.execute(_replacing(table, tuple(row)), store_id, run_id, *row.values())


@cache
def _replacing(table: str, columns: tuple[str, ...]) -> str:
    """An upsert of one row, by its keys. columns : besides store_id and run_id"""
    names = ", ".join(("store_id", "run_id", *columns))
    numbers = ", ".join(f"${number}" for number in range(1, len(columns) + 3))
    new = ", ".join(f"{column} = excluded.{column}" for column in columns if column != "customer_id")
    changed = {customer_profiles.name: ", updated_at = now()", fact_customer_current.name: _KEEP_RFM}[table]
    return (
        f"INSERT INTO {table} ({names}) VALUES ({numbers}) "  # noqa: S608  names of our own columns
        f"ON CONFLICT (store_id, customer_id, run_id) DO UPDATE SET {new}{changed}"
    )


async def _take_snapshot(connection: AsyncConnection, store_id: str, run_id: int, history: pl.DataFrame) -> None:
    """Today's row of every customer's history; a second run of one day replaces the first's."""
    table = fact_customer_history
    days = history["snapshot_date"].unique().to_list()
    await connection.execute(delete(table).where(table.c.store_id == store_id, table.c.snapshot_date.in_(days)))
    await _copy(connection, store_id, run_id, table.name, history)


async def _copy(connection: AsyncConnection, store_id: str, run_id: int, table: str, rows: pl.DataFrame) -> None:
    """COPY rows in as CSV, some at a time so that the text of a whole shop never stands in memory."""
    driver: Any = await raw(connection)
    for piece in rows.iter_slices(_ROWS_AT_ONCE):
        keyed = piece.with_columns(store_id=pl.lit(store_id), run_id=pl.lit(run_id))
        csv = io.BytesIO()
        keyed.write_csv(csv, include_header=False)
        csv.seek(0)
        await driver.copy_to_table(table, source=csv, columns=keyed.columns, format="csv")
