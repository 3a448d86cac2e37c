"""Pseudonyms, given to every customer once and kept: eight digits of a keyed digest, more where eight are taken."""

import csv
import io
from collections.abc import Collection
from typing import Any

from sqlalchemy import ARRAY, Text, any_, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.keys import LONGEST_PSEUDONYM, SHORTEST_PSEUDONYM, pseudonym
from app.warehouse.announcements import announce
from app.warehouse.engine import raw
from app.warehouse.tables import customer_pseudonyms, stores

_DIGITS_MORE = 4
_UNNAMED = """
    SELECT customer_id FROM customers
    WHERE store_id = :store AND NOT EXISTS (
        SELECT FROM customer_pseudonyms AS known
        WHERE known.store_id = customers.store_id AND known.customer_id = customers.customer_id
    )
    ORDER BY customer_id
"""
_STAGING = (
    "DROP TABLE IF EXISTS new_pseudonyms",
    "CREATE TEMP TABLE new_pseudonyms (customer_id text, pseudonym text) ON COMMIT DROP",
)
# Who comes second keeps waiting for a longer one; whoever another transaction named meanwhile is named.
_TAKE = """
    INSERT INTO customer_pseudonyms (store_id, customer_id, pseudonym)
    SELECT :store, customer_id, pseudonym FROM new_pseudonyms ORDER BY customer_id
    ON CONFLICT DO NOTHING
"""


async def name_everyone(connection: AsyncConnection, store_id: str, secret: bytes) -> int:
    """Give every customer of a store who has none a pseudonym; returns how many that were."""
    unnamed = (await connection.execute(text(_UNNAMED), {"store": store_id})).scalars().all()
    n_named = len(unnamed)
    for digits in range(SHORTEST_PSEUDONYM, LONGEST_PSEUDONYM + 1, _DIGITS_MORE):
        if not unnamed:
            break
        for statement in _STAGING:
            await connection.execute(text(statement))
        staged = io.StringIO()
        csv.writer(staged).writerows(
            (each, pseudonym(secret, store_id=store_id, customer_id=each, digits=digits)) for each in unnamed
        )
        driver: Any = await raw(connection)
        source = io.BytesIO(staged.getvalue().encode())
        await driver.copy_to_table("new_pseudonyms", source=source, columns=("customer_id", "pseudonym"), format="csv")
        await connection.execute(text(_TAKE), {"store": store_id})
        unnamed = (await connection.execute(text(_UNNAMED), {"store": store_id})).scalars().all()
    if n_named:
        await announce(connection, store_id)
    return n_named


async def store_ids(connection: AsyncConnection) -> list[str]:
    """Every store there is."""
    return list((await connection.execute(select(stores.c.store_id).order_by(stores.c.store_id))).scalars())


async def read_pseudonyms(connection: AsyncConnection, store_id: str, customer_ids: Collection[str]) -> dict[str, str]:
    """{customer_id: pseudonym} of some customers; of whom there is none, nothing."""
    table = customer_pseudonyms
    some = table.c.customer_id == any_(literal(sorted(customer_ids), ARRAY(Text)))
    query = select(table.c.customer_id, table.c.pseudonym).where(table.c.store_id == store_id, some)
    found = await connection.execute(query)
    return {row.customer_id: row.pseudonym for row in found}
