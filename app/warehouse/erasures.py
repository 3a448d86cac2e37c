"""Receipts of erasures: who is not to come back, by a keyed digest alone, and what was removed of them.

A request is noted with its tombstone in a transaction of its own, so that from then on no import brings the person in;
a second one removes what is held (`personal`) and ends the receipt. Between the two the receipt names whom to remove,
and whoever finds it open, a worker or the next request, ends it.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any
from uuid import uuid4

from sqlalchemy import ARRAY, Text, and_, any_, exists, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import ReceiptNotFound
from app.core.keys import tombstone
from app.warehouse.tables import customers, erasures

_LOOKED_UP_AT_ONCE = 10_000


class State(StrEnum):
    """requested : what is held is to be removed; done : it has been"""

    requested = "requested"
    done = "done"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Nothing in it tells who it was.

    requested_by : the public id of the key that asked, or the command line
    rows         : removed or emptied, by table; of a customer who was there again and was erased again, all together
    """

    receipt_id: str
    store_id: str
    state: State
    requested_at: datetime
    done_at: datetime | None
    requested_by: str
    rows: Mapping[str, int]


_COLUMNS = (
    *(erasures.c.receipt_id, erasures.c.store_id, erasures.c.state, erasures.c.requested_at, erasures.c.done_at),
    *(erasures.c.requested_by, erasures.c.rows),
)


async def note(connection: AsyncConnection, store_id: str, customer_id: str, *, secret: bytes, by: str) -> Receipt:
    """Note that a customer is to be erased; returns the receipt, which is the one there is where they were before.

    One that was done is open again if the customer is there again, as after an import with another secret.
    """
    mark = tombstone(secret, store_id=store_id, customer_id=customer_id)
    new = upsert(erasures).values(
        receipt_id=str(uuid4()),
        store_id=store_id,
        tombstone=mark,
        customer_id=customer_id,
        state=State.requested,
        requested_by=by,
    )
    there = exists().where(customers.c.store_id == store_id, customers.c.customer_id == customer_id)
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=["store_id", "tombstone"],
            set_={"state": State.requested, "customer_id": new.excluded.customer_id, "done_at": None},
            where=and_(erasures.c.state == State.done, there),
        )
    )
    found = await of_tombstone(connection, store_id, customer_id, secret=secret)
    assert found is not None  # noqa: S101  it has just been written, or was there
    return found


async def of_tombstone(
    connection: AsyncConnection, store_id: str, customer_id: str, *, secret: bytes
) -> Receipt | None:
    """The receipt of a customer who was erased, or is to be; None of one who never was."""
    mark = tombstone(secret, store_id=store_id, customer_id=customer_id)
    query = select(*_COLUMNS).where(erasures.c.store_id == store_id, erasures.c.tombstone == mark)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _receipt(row)


async def take(connection: AsyncConnection, receipt_id: str) -> str | None:
    """Whom an open receipt is of, who is this transaction's to remove; None where it is done."""
    query = select(erasures.c.customer_id).where(erasures.c.receipt_id == receipt_id).with_for_update()
    found: str | None = (await connection.execute(query)).scalar_one()
    return found


async def finish(connection: AsyncConnection, receipt_id: str, rows: Mapping[str, int]) -> None:
    """From here on the receipt names nobody. Take it first. rows : what was removed, by table"""
    this = erasures.c.receipt_id == receipt_id
    # As it is now: since it was read another may have ended it, and a third opened it again.
    before = (await connection.execute(select(erasures.c.rows).where(this))).scalar_one()
    together = {table: before.get(table, 0) + rows.get(table, 0) for table in {*before, *rows}}
    await connection.execute(
        update(erasures).where(this).values(state=State.done, customer_id=None, done_at=func.now(), rows=together)
    )


async def read(connection: AsyncConnection, store_id: str, receipt_id: str) -> Receipt:
    """Raises ReceiptNotFound, also for another store's."""
    query = select(*_COLUMNS).where(erasures.c.store_id == store_id, erasures.c.receipt_id == receipt_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise ReceiptNotFound(receipt_id)
    return _receipt(row)


async def read_page(
    connection: AsyncConnection, store_id: str, *, before: tuple[datetime, str] | None, limit: int
) -> Sequence[Receipt]:
    """A store's receipts, the latest first. before : the moment and id of the receipt the page before ended with"""
    query = select(*_COLUMNS).where(erasures.c.store_id == store_id)
    if before is not None:
        query = query.where(tuple_(erasures.c.requested_at, erasures.c.receipt_id) < tuple_(*before))
    latest = query.order_by(erasures.c.requested_at.desc(), erasures.c.receipt_id.desc()).limit(limit)
    return [_receipt(row) for row in await connection.execute(latest)]


async def read_open(connection: AsyncConnection, store_id: str) -> Sequence[Receipt]:
    """Those that are still to be done, the oldest first."""
    query = select(*_COLUMNS).where(erasures.c.store_id == store_id, erasures.c.state == State.requested)
    return [_receipt(row) for row in await connection.execute(query.order_by(erasures.c.requested_at))]


async def stores_with_open(connection: AsyncConnection) -> Sequence[str]:
    """The stores in which somebody is still to be erased."""
    query = select(erasures.c.store_id).where(erasures.c.state == State.requested).distinct()
    return (await connection.execute(query.order_by(erasures.c.store_id))).scalars().all()


async def any_of(connection: AsyncConnection, store_id: str) -> bool:
    """Whether anybody has ever been erased from a store."""
    return bool(await connection.scalar(select(exists().where(erasures.c.store_id == store_id))))


async def among(
    connection: AsyncConnection, store_id: str, customer_ids: Collection[str], *, secret: bytes
) -> list[str]:
    """Who of these was erased, or is to be."""
    found, left = [], iter(customer_ids)
    while some := list(islice(left, _LOOKED_UP_AT_ONCE)):
        marks = await asyncio.to_thread(_marks, some, store_id, secret)
        known = select(erasures.c.tombstone).where(
            erasures.c.store_id == store_id, erasures.c.tombstone == any_(literal(list(marks), ARRAY(Text)))
        )
        found += [marks[mark] for mark in (await connection.execute(known)).scalars()]
    return found


def _marks(customer_ids: Collection[str], store_id: str, secret: bytes) -> dict[str, str]:
    """{tombstone: customer_id}"""
    return {tombstone(secret, store_id=store_id, customer_id=each): each for each in customer_ids}


def _receipt(row: Any) -> Receipt:
    return Receipt(**{**row._mapping, "state": State(row.state)})
