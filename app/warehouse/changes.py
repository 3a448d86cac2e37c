"""Who is to be scored anew: written with what changed about them, removed with the score.

A row says which transaction changed the customer last. A run removes the rows of those transactions that its snapshot
of the records could see, and no others: an import that ended meanwhile is still to be scored.
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
    ON CONFLICT (store_id, customer_id) DO UPDATE SET changed_in = excluded.changed_in
"""
_FORGET = """
    DELETE FROM customers_changed
    WHERE store_id = :store_id AND pg_visible_in_snapshot(changed_in::xid8, CAST(CAST(:seen AS text) AS pg_snapshot))
"""
_TAKE = """
    DELETE FROM customers_changed WHERE (store_id, customer_id) IN (
        SELECT store_id, customer_id FROM customers_changed WHERE store_id = :store_id
        ORDER BY customer_id LIMIT :most FOR UPDATE SKIP LOCKED
    )
    RETURNING customer_id
"""


async def note_changed(connection: AsyncConnection, store_id: str, *, bereft: Sequence[str] = ()) -> int:
    """Write down whose orders, refunds or tickets this transaction has added or changed. Returns how many they are.

    bereft : of whom it took some and gave them to others, which the records themselves do not tell any more
    """
    return (await connection.execute(text(_NOTE), {"store_id": store_id, "bereft": list(bereft)})).rowcount


async def how_many(connection: AsyncConnection, store_id: str, *, most: int) -> int:
    """How many are to be scored; not counted beyond `most`."""
    query = text(
        "SELECT count(*) FROM (SELECT FROM customers_changed WHERE store_id = :store_id LIMIT :most) AS changed"
    )
    return int((await connection.execute(query, {"store_id": store_id, "most": most})).scalar_one())


async def seen_by(connection: AsyncConnection) -> str:
    """Which transactions this one can see, for `forget`."""
    return str((await connection.execute(text("SELECT pg_current_snapshot()::text"))).scalar_one())


async def forget(connection: AsyncConnection, store_id: str, *, seen: str) -> None:
    """Those whose changes a run has seen need no score of their own."""
    await connection.execute(text(_FORGET), {"store_id": store_id, "seen": seen})


async def take(connection: AsyncConnection, store_id: str, *, most: int) -> Sequence[str]:
    """Some of those to be scored, sorted, removed with this transaction; two who take at once take different ones."""
    rows = await connection.execute(text(_TAKE), {"store_id": store_id, "most": most})
    return sorted(rows.scalars())
