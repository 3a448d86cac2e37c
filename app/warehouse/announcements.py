"""What has changed, told by who wrote it and heard by every process once it is committed: NOTIFY and LISTEN.

A process that keeps what it has read, to answer faster, drops it when it hears that it has changed.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.engine import Database
from app.warehouse.faults import not_connected

_CHANNEL = "customer_intelligence"
_TELL = text("SELECT pg_notify(:channel, :told)")
#: A longer one is refused by the server.
_LONGEST = 7_000
#: How often a silent connection is asked whether it still is one, and how long it may take over the answer.
_STILL_THERE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Change:
    """store_id : whose data has changed; None where it is the API keys that have

    customer_ids : whose data alone; empty where it may be anyone's of the store
    """

    store_id: str | None
    customer_ids: Sequence[str] = ()


async def announce(connection: AsyncConnection, store_id: str, customer_ids: Sequence[str] = ()) -> None:
    """Tell that a store's data has changed, or that of some customers, when this transaction is committed."""
    told = json.dumps({"store": store_id, "customers": list(customer_ids)})
    if len(told) > _LONGEST:
        told = json.dumps({"store": store_id, "customers": []})
    await connection.execute(_TELL, {"channel": _CHANNEL, "told": told})


async def announce_keys(connection: AsyncConnection) -> None:
    """Tell that API keys have changed, when this transaction is committed."""
    await connection.execute(_TELL, {"channel": _CHANNEL, "told": "{}"})


async def listen(database: Database, *, since: Callable[[], None], heard: Callable[[Change], None]) -> None:
    """Hear of every change until the connection is lost or the task cancelled.

    since : called once from now on nothing is missed; heard : called with each change, in the order of commits

    Raises DatabaseUnavailable when the server cannot be reached, or is a standby, which tells of no changes.
    """
    lost = asyncio.Event()
    async with database.lasting(who="listening", patience_seconds=_STILL_THERE_SECONDS) as connection:
        connection.add_termination_listener(lambda _: lost.set())
        try:
            await connection.add_listener(_CHANNEL, lambda *told: heard(_change(told[-1])))
        except asyncpg.PostgresError as error:
            raise not_connected(error) from error
        since()
        while not lost.is_set():
            try:
                async with asyncio.timeout(_STILL_THERE_SECONDS):
                    await lost.wait()
            except TimeoutError:
                try:
                    await connection.fetchval("SELECT 1")
                except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    return


def _change(told: str) -> Change:
    said = json.loads(told)
    return Change(said.get("store"), said.get("customers", ()))
