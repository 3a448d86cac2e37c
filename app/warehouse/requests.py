"""What was asked under a key of the asker's own: who asks again, not sure to have been heard, does nothing twice."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import InvalidParameter
from app.warehouse.tables import idempotent_requests as table

HEADER = "Idempotency-Key"

_KEPT = timedelta(hours=24)


async def answered_before(
    connection: AsyncConnection, store_id: str, key: str, request: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """What the same request was answered under this key; None where it is new. Asked at once, one waits for the other.

    request : what is asked, and of whom: plain data

    Raises InvalidParameter when something else was asked under the key.
    """
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    await connection.execute(delete(table).where(table.c.store_id == store_id, table.c.asked_at < func.now() - _KEPT))
    new = upsert(table).values(store_id=store_id, key=key, request=digest).on_conflict_do_nothing()
    if (await connection.execute(new.returning(table.c.key))).scalar_one_or_none() is not None:
        return None
    query = select(table.c.request, table.c.answer).where(table.c.store_id == store_id, table.c.key == key)
    before, answer = (await connection.execute(query)).one()
    if before != digest:
        raise InvalidParameter(HEADER, "something else was asked under this key; take a new key for a new request")
    kept: Mapping[str, Any] | None = answer
    return kept


async def keep_answer(connection: AsyncConnection, store_id: str, key: str, answer: Mapping[str, Any]) -> None:
    await connection.execute(
        update(table).where(table.c.store_id == store_id, table.c.key == key).values(answer=dict(answer))
    )
