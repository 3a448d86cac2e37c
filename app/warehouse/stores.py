"""The shops this service knows."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ScalarSelect, Table, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import StoreNotFound
from app.warehouse.engine import Database, Row
from app.warehouse.tables import customers, orders, refunds, segmentation_runs, stores, tickets


@dataclass(frozen=True, slots=True)
class Store:
    """timezone : IANA name; currency : ISO 4217; served_run_id : the published run, None before the first"""

    store_id: str
    timezone: str
    currency: str
    served_run_id: int | None


async def ensure_store(connection: AsyncConnection, store_id: str, *, timezone: str, currency: str) -> Store:
    """The store, added with this time zone and currency if it is new."""
    new = upsert(stores).values(store_id=store_id, timezone=timezone, currency=currency)
    await connection.execute(new.on_conflict_do_nothing())
    return await read_store(connection, store_id)


async def read_store(connection: AsyncConnection, store_id: str, *, hold: bool = False) -> Store:
    """Raises StoreNotFound, naming the stores there are. hold : until the transaction ends nobody changes it"""
    columns = (stores.c.store_id, stores.c.timezone, stores.c.currency, stores.c.served_run_id)
    query = select(*columns).where(stores.c.store_id == store_id)
    row = (await connection.execute(query.with_for_update(read=True) if hold else query)).one_or_none()
    if row is None:
        known = (await connection.execute(select(stores.c.store_id).order_by(stores.c.store_id))).scalars().all()
        raise StoreNotFound(store_id, known=known)
    return Store(*row)


async def read_served(database: Database, store_id: str) -> Row | None:
    """served_run_id and served_prediction_id of a store, each None before the first; None where there is no store."""
    return await database.row(_SERVED, store_id)


_SERVED = "SELECT served_run_id, served_prediction_id FROM stores WHERE store_id = $1"


_LOCK_IMPORTS = text("SELECT pg_advisory_xact_lock(hashtextextended('import ' || :store, 0))")


async def hold_imports(connection: AsyncConnection, store_id: str) -> None:
    """Until this transaction ends no other brings in records of the store, or takes somebody's away. Waits its turn."""
    await connection.execute(_LOCK_IMPORTS, {"store": store_id})


_LOCK_HISTORY = text("SELECT pg_advisory_xact_lock(hashtextextended('history ' || :store, 0))")


async def hold_history(connection: AsyncConnection, store_id: str) -> None:
    """Until this transaction ends no other writes days of the store's history. Waits its turn.

    Whoever takes more than one takes them in this order: imports, history, the store, rows. The trigger that a
    customer's deletion sets off takes this one, too.
    """
    await connection.execute(_LOCK_HISTORY, {"store": store_id})


async def hold_store(connection: AsyncConnection, store_id: str) -> None:
    """Until this transaction ends nobody publishes into the store, or scores or tells its customers."""
    query = select(stores.c.store_id).where(stores.c.store_id == store_id)
    await connection.execute(query.with_for_update(key_share=True))


async def last_record_at(connection: AsyncConnection, store_id: str) -> datetime | None:
    """When the store's latest order, refund or ticket happened, UTC; None where there is none."""
    newest = [
        select(func.max(at)).where(at.table.c.store_id == store_id).scalar_subquery()
        for at in (orders.c.order_date, refunds.c.refunded_at, tickets.c.created_at)
    ]
    # GREATEST passes over nulls.
    last: datetime | None = (await connection.execute(select(func.greatest(*newest)))).scalar_one()
    return last


async def first_order_at(connection: AsyncConnection, store_id: str) -> datetime | None:
    """When the store's first order was placed, UTC; None where there is none."""
    query = select(func.min(orders.c.order_date)).where(orders.c.store_id == store_id)
    first: datetime | None = (await connection.execute(query)).scalar_one()
    return first


async def orders_since(connection: AsyncConnection, store_id: str, moment: datetime) -> int:
    """How many of a store's orders were placed at or after a moment."""
    query = select(func.count()).where(orders.c.store_id == store_id, orders.c.order_date >= moment)
    return int((await connection.execute(query)).scalar_one())


async def timezone_of(database: Database, store_id: str) -> str | None:
    """A store's time zone; None where the store is new."""
    async with database.snapshot() as connection:
        return (
            await connection.execute(select(stores.c.timezone).where(stores.c.store_id == store_id))
        ).scalar_one_or_none()


async def has_orders(connection: AsyncConnection, store_id: str) -> bool:
    some = select(orders.c.order_id).where(orders.c.store_id == store_id).exists()
    return bool((await connection.execute(select(some))).scalar_one())


async def stores_with_orders(connection: AsyncConnection) -> list[tuple[str, int | None]]:
    """The stores there is something to segment in, each with the run it serves."""
    some = select(orders.c.order_id).where(orders.c.store_id == stores.c.store_id).exists()
    query = select(stores.c.store_id, stores.c.served_run_id).where(some).order_by(stores.c.store_id)
    return [(store_id, run_id) for store_id, run_id in await connection.execute(query)]


@dataclass(frozen=True, slots=True)
class StoreSummary:
    store_id: str
    timezone: str
    n_customers: int
    n_orders: int
    served_run_id: int | None
    as_of: datetime | None


async def summaries(connection: AsyncConnection) -> list[StoreSummary]:
    """Every store with what it holds and which run it serves."""

    def count(table: Table) -> ScalarSelect[int]:
        return select(func.count()).where(table.c.store_id == stores.c.store_id).scalar_subquery()

    query = (
        select(
            *(stores.c.store_id, stores.c.timezone, count(customers), count(orders)),
            *(stores.c.served_run_id, segmentation_runs.c.as_of),
        )
        .outerjoin(segmentation_runs, segmentation_runs.c.run_id == stores.c.served_run_id)
        .order_by(stores.c.store_id)
    )
    return [StoreSummary(*row) for row in await connection.execute(query)]
