"""A run's rows in, and the switch: all of it in the caller's one transaction.

The new rows are written beside those served, then the store is pointed at them and the rows of runs before are swept.
Dimensions of runs before stay, for the days of history they say something of; `pipeline.thinning` sweeps the others.
Until the transaction commits everyone sees the old run, after it the new one; killed before, it leaves nothing.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl
from sqlalchemy import delete, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.copying import copy_in
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

# Parents first. Dimensions stay: they say by which rules, and under which names, customers stood on days gone by.
_DIMENSIONS = (dim_segment_master, dim_archetype_l1, dim_archetype_l2, dim_archetype_l3)
_FACTS = (fact_customer_current, customer_profiles)
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

    star : rows by table name, without store_id and run_id, of the lineage tables where there is a lineage; which RFM
           group a customer was in before is found here
    """
    for table in (*_DIMENSIONS, *_FACTS):
        await _copy(connection, store_id, run_id, table.name, star[table.name])
    for table in (segment_lineage, archetype_lineage):
        if table.name in star:
            await _copy(connection, store_id, run_id, table.name, star[table.name])
    await _take_snapshot(connection, store_id, run_id, star[fact_customer_history.name])
    await connection.execute(update(stores).where(stores.c.store_id == store_id).values(served_run_id=run_id))
    await connection.execute(text(_CARRY_RFM), {"store_id": store_id, "run_id": run_id})
    for table in _FACTS:
        await connection.execute(delete(table).where(table.c.store_id == store_id, table.c.run_id != run_id))
    # Who reads them has planned for what was there before: nothing, at a store's first run. The dimensions of a
    # rescoring are like those there are, and with every run that is kept it takes longer to look at them all.
    anew = (*_DIMENSIONS, *_FACTS) if segment_lineage.name in star else _FACTS
    await connection.execute(text("ANALYZE " + ", ".join(table.name for table in anew)))


async def replace_customer(
    connection: AsyncConnection, store_id: str, run_id: int, rows: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put one customer's rows of the served run in place of those there are. Hold the run first (`hold_served_run`).

    rows : of fact_customer_current and of customer_profiles, {column: value}, JSON as text; what they do not name, such
           as what was predicted, stays as it is
    """
    for table in (fact_customer_current, customer_profiles):
        await _put_row(connection, store_id, run_id, table.name, rows[table.name])


async def replace_customers(
    connection: AsyncConnection, store_id: str, run_id: int, rows: Mapping[str, pl.DataFrame]
) -> None:
    """The same of many customers, from frames of those tables. Hold the run first (`hold_served_run`)."""
    for table in (fact_customer_current, customer_profiles):
        of_some = rows[table.name].with_columns(store_id=pl.lit(store_id), run_id=pl.lit(run_id))
        # Through a table of this transaction's own: COPY knows no conflicts.
        waiting = f"scored_{table.name}"
        columns = ", ".join(of_some.columns)
        driver: Any = await raw(connection)
        await driver.execute(f"CREATE TEMPORARY TABLE {waiting} (LIKE {table.name} INCLUDING DEFAULTS) ON COMMIT DROP")
        await copy_in(connection, waiting, of_some)
        instead = _instead(table.name, of_some.columns)
        await driver.execute(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {waiting} {instead}")  # noqa: S608


async def _put_row(connection: AsyncConnection, store_id: str, run_id: int, table: str, row: Mapping[str, Any]) -> None:
    driver: Any = await raw(connection)
    await driver.execute(_replacing(table, tuple(row)), store_id, run_id, *row.values())


@cache
def _replacing(table: str, columns: tuple[str, ...]) -> str:
    """An upsert of one row, by its keys. columns : besides store_id and run_id"""
    names = ", ".join(("store_id", "run_id", *columns))
    numbers = ", ".join(f"${number}" for number in range(1, len(columns) + 3))
    return f"INSERT INTO {table} ({names}) VALUES ({numbers}) {_instead(table, columns)}"  # noqa: S608  our own columns


def _instead(table: str, columns: Sequence[str]) -> str:
    """What makes an INSERT take the place of the customer's row there is."""
    keys = {"store_id", "run_id", "customer_id"}
    new = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in keys)
    changed = {customer_profiles.name: ", updated_at = now()", fact_customer_current.name: _KEEP_RFM}[table]
    return f"ON CONFLICT (store_id, customer_id, run_id) DO UPDATE SET {new}{changed}"


async def _take_snapshot(connection: AsyncConnection, store_id: str, run_id: int, history: pl.DataFrame) -> None:
    """Today's row of every customer's history; a second run of one day replaces the first's."""
    table = fact_customer_history
    days = history["snapshot_date"].unique().to_list()
    await connection.execute(delete(table).where(table.c.store_id == store_id, table.c.snapshot_date.in_(days)))
    await _copy(connection, store_id, run_id, table.name, history)


async def _copy(connection: AsyncConnection, store_id: str, run_id: int, table: str, rows: pl.DataFrame) -> None:
    await copy_in(connection, table, rows.with_columns(store_id=pl.lit(store_id), run_id=pl.lit(run_id)))
