"""A run's rows in, and the switch: all of it in the caller's one transaction.

The new rows are written beside those served, then the store is pointed at them and the rows of runs before are swept.
Dimensions of runs before stay, for the days of history they say something of; `pipeline.thinning` sweeps the others.
Until the transaction commits everyone sees the old run, after it the new one; killed before, it leaves nothing.
"""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl
from sqlalchemy import ARRAY, Text, any_, delete, literal, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.announcements import announce
from app.warehouse.copying import copy_in, copy_in_binary, copy_out
from app.warehouse.engine import raw
from app.warehouse.stores import hold_history
from app.warehouse.tables import (
    archetype_lineage,
    dim_archetype_l1,
    dim_archetype_l2,
    dim_archetype_l3,
    dim_segment_master,
    fact_customer_history,
    fact_customer_standing,
    segment_lineage,
    stores,
)

# Parents first. Dimensions stay: they say by which rules, and under which names, customers stood on days gone by.
_DIMENSIONS = (dim_segment_master, dim_archetype_l1, dim_archetype_l2, dim_archetype_l3)
#: Customers' rows go by the name of the view that puts the names back into them.
_CURRENT = "fact_customer_current"
#: What the planner is told of a run: a sample of 300 rows for each, which is enough to see that all are of one run.
_STATISTICS = 10
_GONE = """
    SELECT past.customer_id FROM fact_customer_history AS past
    WHERE past.store_id = :store_id AND past.run_id = :run_id AND past.snapshot_date = ANY (CAST(:days AS date[]))
      AND NOT EXISTS (SELECT FROM customers AS customer
                      WHERE customer.store_id = past.store_id AND customer.customer_id = past.customer_id)
"""
# What was told of the day that is written anew stays with it.
_FORETOLD = """
    UPDATE fact_customer_history AS past
    SET churn_risk_score = told.churn_risk_score, p_no_purchase_30d = told.p_no_purchase_30d,
        predicted_ltv_12m = told.predicted_ltv_12m
    FROM fact_customer_prediction AS told JOIN stores AS store ON store.store_id = told.store_id
    WHERE told.store_id = :store_id AND past.store_id = told.store_id AND past.customer_id = told.customer_id
      AND past.run_id = :run_id
      AND past.snapshot_date = ((told.as_of - interval '1 microsecond') AT TIME ZONE store.timezone)::date
"""
# Of whoever was of another RFM group before: which, and since when.
_RFM_BEFORE = """
    SELECT customer_id, rfm_group, rfm_previous_group, rfm_changed_on FROM fact_customer_standing
    WHERE store_id = $1 AND rfm_group IS NOT NULL
      AND run_id = (SELECT served_run_id FROM stores WHERE store_id = $1)
"""
_RFM_COLUMNS = {
    "customer_id": pl.String,
    "rfm_group_before": pl.String,
    "previous": pl.String,
    "changed_on": pl.Date,
}
# The same of one row that takes the place of another: names on the right are of the row there is.
_KEEP_RFM = (
    ", rfm_previous_group = CASE WHEN fact_customer_standing.rfm_group <> excluded.rfm_group"
    " THEN fact_customer_standing.rfm_group ELSE fact_customer_standing.rfm_previous_group END"
    ", rfm_changed_on = CASE WHEN fact_customer_standing.rfm_group <> excluded.rfm_group"
    " THEN excluded.snapshot_date ELSE fact_customer_standing.rfm_changed_on END"
)


async def publish(
    connection: AsyncConnection,
    store_id: str,
    run_id: int,
    star: Mapping[str, pl.DataFrame],
    *,
    customers: Awaitable[pl.DataFrame] | None = None,
) -> None:
    """Write a run and serve it.

    star      : rows by table name, without store_id and run_id, of the lineage tables where there is a lineage; which
                RFM group a customer was in before is found here
    customers : those of `fact_customer_current` where the star has none: they are waited for when all others are in
    """
    for table in (*_DIMENSIONS, segment_lineage, archetype_lineage):
        if table.name in star:
            await _copy(connection, store_id, run_id, table.name, star[table.name])
    # Before the store, which the switch takes: as whoever writes history does.
    await hold_history(connection, store_id)
    await _take_snapshot(connection, store_id, run_id, star[fact_customer_history.name])
    current = star[_CURRENT] if customers is None else await customers
    current = await _with_rfm_before(connection, store_id, current)
    await copy_in_binary(connection, fact_customer_standing, _keyed(current, store_id, run_id))
    await connection.execute(update(stores).where(stores.c.store_id == store_id).values(served_run_id=run_id))
    await _leave_out_who_has_gone(connection, store_id, run_id, star[fact_customer_history.name])
    table = fact_customer_standing
    await connection.execute(delete(table).where(table.c.store_id == store_id, table.c.run_id != run_id))
    # Who reads them has planned for what was there before: nothing, at a store's first run. The dimensions of a
    # rescoring are like those there are, and with every run that is kept it takes longer to look at them all.
    anew = (*_DIMENSIONS, table) if segment_lineage.name in star else (table,)
    await connection.execute(text(f"SET LOCAL default_statistics_target = {_STATISTICS}"))
    await connection.execute(text("ANALYZE " + ", ".join(each.name for each in anew)))
    await announce(connection, store_id)


async def _leave_out_who_has_gone(
    connection: AsyncConnection, store_id: str, run_id: int, history: pl.DataFrame
) -> None:
    """Drop the rows of customers who were deleted while the run was under way. Having pointed the store at the run,
    this transaction holds it: whoever deletes a customer from now on waits, and then finds the rows.
    """
    days = history["snapshot_date"].unique().to_list()
    found = await connection.execute(text(_GONE), {"store_id": store_id, "run_id": run_id, "days": days})
    gone = list(found.scalars())
    for table in (fact_customer_standing, fact_customer_history) if gone else ():
        of_run = table.c.store_id == store_id, table.c.run_id == run_id
        # As one array: there may be more than a statement takes parameters.
        await connection.execute(delete(table).where(*of_run, table.c.customer_id == any_(literal(gone, ARRAY(Text)))))


async def _with_rfm_before(connection: AsyncConnection, store_id: str, current: pl.DataFrame) -> pl.DataFrame:
    """The rows with the RFM group that each customer was in before this one."""
    before = await copy_out(connection, _RFM_BEFORE, (store_id,), _RFM_COLUMNS)
    changed = pl.col("rfm_group_before") != pl.col("rfm_group")
    return (
        current.join(before, on="customer_id", how="left", maintain_order="left")
        .with_columns(
            rfm_previous_group=pl.when(changed).then("rfm_group_before").otherwise("previous"),
            rfm_changed_on=pl.when(changed).then("snapshot_date").otherwise("changed_on"),
        )
        .drop("rfm_group_before", "previous", "changed_on")
    )


async def replace_customer(connection: AsyncConnection, store_id: str, run_id: int, row: Mapping[str, Any]) -> None:
    """Put one customer's row of the served run in place of the one there is. Hold the run first (`hold_served_run`).

    row : of fact_customer_standing, {column: value}; what it does not name, such as what was predicted,
          stays as it is
    """
    driver: Any = await raw(connection)
    await driver.execute(_replacing(tuple(row)), store_id, run_id, *row.values())
    await announce(connection, store_id, [row["customer_id"]])


async def replace_customers(connection: AsyncConnection, store_id: str, run_id: int, rows: pl.DataFrame) -> None:
    """The same of many customers. Hold the run first (`hold_served_run`)."""
    keyed = _keyed(rows, store_id, run_id)
    columns = ", ".join(keyed.columns)
    driver: Any = await raw(connection)
    # Through a table of this transaction's own: COPY knows no conflicts.
    await driver.execute(
        "CREATE TEMPORARY TABLE scored (LIKE fact_customer_standing INCLUDING DEFAULTS) ON COMMIT DROP"
    )
    await copy_in_binary(connection, fact_customer_standing, keyed, into="scored")
    await driver.execute(
        f"INSERT INTO fact_customer_standing ({columns}) SELECT {columns} FROM scored {_instead(keyed.columns)}"  # noqa: S608
    )
    # Gone when the transaction ends at the latest, and now, as some more may follow in it.
    await driver.execute("DROP TABLE scored")
    await announce(connection, store_id)


async def remove_customers(
    connection: AsyncConnection, store_id: str, run_id: int, customer_ids: Collection[str]
) -> None:
    """Take customers out of the served run. Hold it first."""
    if customer_ids:
        of_run = fact_customer_standing.c.store_id == store_id, fact_customer_standing.c.run_id == run_id
        whom = fact_customer_standing.c.customer_id.in_(sorted(customer_ids))
        await connection.execute(delete(fact_customer_standing).where(*of_run, whom))
        await announce(connection, store_id)


@cache
def _replacing(columns: tuple[str, ...]) -> str:
    """An upsert of one row, by its keys. columns : besides store_id and run_id"""
    names = ", ".join(("store_id", "run_id", *columns))
    numbers = ", ".join(f"${number}" for number in range(1, len(columns) + 3))
    return f"INSERT INTO fact_customer_standing ({names}) VALUES ({numbers}) {_instead(columns)}"  # noqa: S608


def _instead(columns: Sequence[str]) -> str:
    """What makes an INSERT take the place of the customer's row there is."""
    keys = {"store_id", "run_id", "customer_id"}
    new = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in keys)
    return f"ON CONFLICT (store_id, customer_id, run_id) DO UPDATE SET {new}, updated_at = now(){_KEEP_RFM}"


async def _take_snapshot(connection: AsyncConnection, store_id: str, run_id: int, history: pl.DataFrame) -> None:
    """Today's row of every customer's history; a second run of one day replaces the first's."""
    table = fact_customer_history
    days = history["snapshot_date"].unique().to_list()
    await connection.execute(delete(table).where(table.c.store_id == store_id, table.c.snapshot_date.in_(days)))
    await copy_in_binary(connection, table, _keyed(history, store_id, run_id))
    await connection.execute(text(_FORETOLD), {"store_id": store_id, "run_id": run_id})


async def _copy(connection: AsyncConnection, store_id: str, run_id: int, table: str, rows: pl.DataFrame) -> None:
    await copy_in(connection, table, _keyed(rows, store_id, run_id))


def _keyed(rows: pl.DataFrame, store_id: str, run_id: int) -> pl.DataFrame:
    return rows.with_columns(store_id=pl.lit(store_id), run_id=pl.lit(run_id))
