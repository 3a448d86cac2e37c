"""Everything that is held of one person, as they may ask for it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import structlog

from app.core.errors import CustomerNotFound, EmailNotFound
from app.warehouse import personal
from app.warehouse.engine import Database
from app.warehouse.stores import read_store

log = structlog.get_logger()


async def everything_held(
    database: Database,
    store_id: str,
    *,
    customer_id: str | None = None,
    email: str | None = None,
    by: str,
    now: datetime,
) -> dict[str, Any]:
    """All that is held of a customer, or of each who shares an e-mail address, plain enough for JSON.

    customer_id : or the pseudonym
    by          : who asks, for the log: the public id of a key, or the command line
    returns     : store_id, exported_at and people, each a customer_id and tables, as `warehouse.personal.Held` has them

    Raises StoreNotFound, CustomerNotFound or EmailNotFound.
    """
    async with database.snapshot() as connection:
        await read_store(connection, store_id)
        found = await personal.find(connection, store_id, customer_id=customer_id, email=email)
        people = [
            {
                "customer_id": each,
                "tables": [asdict(held) for held in await personal.read_held(connection, store_id, each)],
            }
            for each in found
        ]
    if not people:
        raise (
            EmailNotFound(store_id=store_id)
            if customer_id is None
            else CustomerNotFound(customer_id, store_id=store_id)
        )
    log.info("person.exported", store_id=store_id, by=by, people=len(people))
    return {"store_id": store_id, "exported_at": now.isoformat(timespec="seconds"), "people": people}


def pseudonyms(held: Mapping[str, Any]) -> list[str]:
    """Of those in what `everything_held` returns."""
    return [
        row["pseudonym"]
        for person in held["people"]
        for table in person["tables"]
        if table["table"] == "customer_pseudonyms"
        for row in table["rows"]
    ]
