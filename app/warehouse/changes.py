"""Who is to be scored anew: written with what changed about them, removed by a run that has seen the change.

A row says which transaction changed the customer last, and in which run they have been scored since. Scoring leaves it:
a run that read its records before the change is published after the score, and takes it away with the run before; then
they are to be scored once more. A run removes the rows of the transactions that its snapshot of the records could see,
and no others.
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# What this transaction has touched carries its moment. Before a store's first run nobody is scored who could be again.
_NOTE = """
    INSERT INTO customers_changed (store_id, customer_id)
    SELECT :store_id, customer_id FROM (
        SELECT customer_id FROM orders WHERE store_id = :store_id AND updated_at = now()
        UNION
        SELECT orders.customer_id FROM order_items AS item JOIN orders USING (store_id, order_id)
        WHERE item.store_id = :store_id AND item.updated_at = now()
        UNION
        SELECT customer_id FROM refunds WHERE store_id = :store_id AND updated_at = now()
        UNION
        SELECT customer_id FROM tickets WHERE store_id = :store_id AND updated_at = now()
        UNION
        SELECT unnest(CAST(:bereft AS text[]))
    ) AS touched
    WHERE customer_id IS NOT NULL AND EXISTS (SELECT FROM segmentation_runs WHERE store_id = :store_id)
    ORDER BY customer_id
    ON CONFLICT (store_id, customer_id) DO UPDATE SET changed_in = excluded.changed_in, scored_run_id = NULL
"""
# A row that an import holds is being noted anew.
_FORGET = """
    DELETE FROM customers_changed WHERE (store_id, customer_id) IN (
        SELECT store_id, customer_id FROM customers_changed
        WHERE store_id = :store_id
          AND pg_visible_in_snapshot(changed_in::xid8, CAST(CAST(:seen AS text) AS pg_snapshot))
        ORDER BY customer_id FOR UPDATE SKIP LOCKED
    )
"""
# Chosen once, before any is written: asked again in the midst of it, it would pass over those written already, take the
# next and so all there are.
_TAKE = """
    WITH taken AS MATERIALIZED (
        SELECT store_id, customer_id FROM customers_changed
        WHERE store_id = :store_id AND scored_run_id IS DISTINCT FROM :run_id
        ORDER BY customer_id LIMIT :most FOR UPDATE SKIP LOCKED
    )
    UPDATE customers_changed AS changed SET scored_run_id = :run_id FROM taken
    WHERE changed.store_id = taken.store_id AND changed.customer_id = taken.customer_id
    RETURNING changed.customer_id
"""
_HOW_MANY = """
    SELECT count(*) FROM (
        SELECT FROM customers_changed JOIN stores USING (store_id)
        WHERE store_id = :store_id AND scored_run_id IS DISTINCT FROM served_run_id LIMIT :most
    ) AS changed
"""


async def note_changed(connection: AsyncConnection, store_id: str, *, bereft: Sequence[str] = ()) -> int:
    """Write down whose orders, refunds or tickets this transaction has added or changed. Returns how many they are.

    bereft : of whom it took some and gave them to others, which the records themselves do not tell any more
    """
    return (await connection.execute(text(_NOTE), {"store_id": store_id, "bereft": list(bereft)})).rowcount


async def how_many(connection: AsyncConnection, store_id: str, *, most: int) -> int:
    """How many are to be scored in the run that is served; not counted beyond `most`."""
    found = await connection.execute(text(_HOW_MANY), {"store_id": store_id, "most": most})
    return int(found.scalar_one())


async def seen_by(connection: AsyncConnection) -> str:
    """Which transactions this one can see, for `forget`."""
    return str((await connection.execute(text("SELECT pg_current_snapshot()::text"))).scalar_one())


async def forget(connection: AsyncConnection, store_id: str, *, seen: str) -> None:
    """Those whose changes a run has seen need no score of their own."""
    await connection.execute(text(_FORGET), {"store_id": store_id, "seen": seen})


async def take(connection: AsyncConnection, store_id: str, run_id: int, *, most: int) -> Sequence[str]:
    """Some of those to be scored in the served run, sorted, who with this transaction have been; two who take at once
    take different ones.
    """
    rows = await connection.execute(text(_TAKE), {"store_id": store_id, "run_id": run_id, "most": most})
    return sorted(rows.scalars())
