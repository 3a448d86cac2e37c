"""What was told of a store already."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.tables import alerts_told, fact_customer_history


class Kind(StrEnum):
    """migration: many customers changed their archetype. drift: the shares of an axis's segments shifted."""

    migration = "migration"
    drift = "drift"


def lock_key(store_id: str) -> int:
    """The advisory lock that who is telling of a store holds: a signed 64-bit number."""
    digest = hashlib.sha256(f"alerts of {store_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def day_of_run(connection: AsyncConnection, store_id: str, run_id: int) -> date | None:
    """The shop's day a run took its snapshot of; None where a later run has taken that day over."""
    table = fact_customer_history
    query = select(func.max(table.c.snapshot_date)).where(table.c.store_id == store_id, table.c.run_id == run_id)
    day: date | None = (await connection.execute(query)).scalar_one()
    return day


async def begin(connection: AsyncConnection, store_id: str, day: date, kinds: Collection[Kind]) -> Mapping[Kind, bool]:
    """Note what is about to be told, and return what of it is still to tell, each with whether it was begun before.

    One that was begun before and never confirmed may have been told: the process ended in between.
    """
    if not kinds:
        return {}
    about = [{"store_id": store_id, "kind": kind.value, "day": day} for kind in kinds]
    new = upsert(alerts_told).values(about).on_conflict_do_nothing().returning(alerts_told.c.kind)
    begun = set((await connection.execute(new)).scalars())
    query = select(alerts_told.c.kind).where(*_are(store_id, day, kinds), alerts_told.c.told_at.is_(None))
    open_ = set((await connection.execute(query)).scalars())
    return {kind: kind not in begun for kind in kinds if kind in open_}


async def confirm(
    connection: AsyncConnection, store_id: str, day: date, kinds: Collection[Kind], *, told_at: datetime
) -> None:
    await connection.execute(update(alerts_told).where(*_are(store_id, day, kinds)).values(told_at=told_at))


async def withdraw(connection: AsyncConnection, store_id: str, day: date, kinds: Collection[Kind]) -> None:
    """Of what was begun: it is known not to have been told."""
    unconfirmed = alerts_told.c.told_at.is_(None)
    await connection.execute(delete(alerts_told).where(*_are(store_id, day, kinds), unconfirmed))


def _are(store_id: str, day: date, kinds: Collection[Kind]) -> tuple[ColumnElement[bool], ...]:
    table = alerts_told
    return table.c.store_id == store_id, table.c.day == day, table.c.kind.in_([kind.value for kind in kinds])
