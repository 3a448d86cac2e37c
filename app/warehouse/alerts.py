"""What a rescoring found of a store that is worth telling, and what of it was told already."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.tables import alerts_told, segmentation_runs


class Kind(StrEnum):
    """migration: many customers changed their archetype. drift: the shares of an axis's segments shifted. risk: some of
    the most valuable customers have become critical."""

    migration = "migration"
    drift = "drift"
    risk = "risk"


@dataclass(frozen=True, slots=True)
class Shifts:
    """How far the shares of segments had shifted as of a moment. by_axis : population stability index"""

    run_id: int
    as_of: datetime
    by_axis: Mapping[str, float]


def lock_key(store_id: str) -> int:
    """The advisory lock that who is telling of a store holds: a signed 64-bit number."""
    digest = hashlib.sha256(f"alerts of {store_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def read_shifts(connection: AsyncConnection, store_id: str) -> Shifts | None:
    """What the latest rescoring found, whether or not a discovery is served since; None before the first."""
    table = segmentation_runs
    query = select(table.c.run_id, table.c.as_of, table.c.report["drift"]).where(
        table.c.store_id == store_id, table.c.status == "published", table.c.kind == "rescoring"
    )
    found = (await connection.execute(query.order_by(table.c.run_id.desc()).limit(1))).one_or_none()
    return None if found is None else Shifts(*found)


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
