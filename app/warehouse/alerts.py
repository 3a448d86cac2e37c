"""What is worth telling of a store, and what it was told already."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.tables import alerts_told, fact_customer_history


class Kind(StrEnum):
    """migration: many customers changed their archetype. drift: the shares of an axis's segments shifted."""

    migration = "migration"
    drift = "drift"


@dataclass(frozen=True, slots=True)
class Move:
    """Customers from an archetype to another, by their names then and now; None for one whose name is not kept."""

    source: str | None
    target: str | None
    customers: int


@dataclass(frozen=True, slots=True)
class Migration:
    """Who changed their archetype.

    since    : the day compared with
    compared : customers who were there on both days
    moves    : the largest first
    """

    since: date
    compared: int
    moves: Sequence[Move]

    @property
    def share(self) -> float:
        """Of all compared, 0..1."""
        return sum(move.customers for move in self.moves) / max(self.compared, 1)


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


# No further back than the week before: what changed in months would be told as of a week.
_SINCE = text("""
    SELECT max(snapshot_date) FROM fact_customer_history
    WHERE store_id = :store_id AND snapshot_date BETWEEN CAST(:day AS date) - 13 AND CAST(:day AS date) - 7
""")
_MOVES = text("""
    SELECT was.name, became.name, count(*)
    FROM fact_customer_history AS before
    JOIN fact_customer_history AS today USING (store_id, customer_id)
    LEFT JOIN dim_archetype_l1 AS was
      ON (was.store_id, was.run_id, was.archetype_id) = (before.store_id, before.run_id, before.archetype_id)
    LEFT JOIN dim_archetype_l1 AS became
      ON (became.store_id, became.run_id, became.archetype_id) = (today.store_id, today.run_id, today.archetype_id)
    WHERE before.store_id = :store_id AND before.snapshot_date = :since AND today.snapshot_date = :day
      AND before.archetype_id <> today.archetype_id
    GROUP BY before.archetype_id, today.archetype_id, was.name, became.name
    ORDER BY count(*) DESC, was.name, became.name
""")
_COMPARED = text("""
    SELECT count(*)
    FROM fact_customer_history AS before
    JOIN fact_customer_history AS today USING (store_id, customer_id)
    WHERE before.store_id = :store_id AND before.snapshot_date = :since AND today.snapshot_date = :day
""")


async def read_migration(connection: AsyncConnection, store_id: str, day: date) -> Migration | None:
    """Who changed their archetype within a week, to that day; None where no day about a week before it is kept."""
    since = (await connection.execute(_SINCE, {"store_id": store_id, "day": day})).scalar_one()
    if since is None:
        return None
    days = {"store_id": store_id, "since": since, "day": day}
    compared = (await connection.execute(_COMPARED, days)).scalar_one()
    moves = [Move(*row) for row in await connection.execute(_MOVES, days)]
    return Migration(since=since, compared=compared, moves=moves)


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
