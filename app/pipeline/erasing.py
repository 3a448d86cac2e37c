"""One person, erased: noted first, so that no import brings them back, then taken out of every table.

The two are transactions of their own. Whatever ends a process between them, the note stands, in the audit log too; a
worker, which looks every minute, or whoever asks again, does the rest. Done twice it comes to the same, and to the same
receipt.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from app.core.errors import CustomerNotFound, EmailNotFound, StoreBusy
from app.warehouse import erasures, personal
from app.warehouse.announcements import announce
from app.warehouse.audit import AuditNote, write_audit
from app.warehouse.engine import Database
from app.warehouse.erasures import Receipt, State
from app.warehouse.stores import read_store

log = structlog.get_logger()

#: How long a worker waits for its turn before it lets it be for a minute.
_WORKER_PATIENCE_SECONDS = 20.0
_AGAIN_SECONDS = 0.2


async def erase(
    database: Database,
    store_id: str,
    *,
    customer_id: str | None = None,
    email: str | None = None,
    secret: bytes,
    by: str,
    noted: Callable[[str], AuditNote],
    patience_seconds: float,
) -> Sequence[Receipt]:
    """Erase a customer, or all who share an e-mail address; one receipt for each.

    customer_id      : or the pseudonym; of one who was erased before the id alone is known again
    secret           : what tombstones are made with
    by               : who asks: the public id of a key, or the command line
    noted            : what the audit log says of it, given a receipt's id
    patience_seconds : how long an import, or a run being published, is waited for, all together. Where it takes longer
                       the receipt and those after it are returned open; a worker ends them

    Raises StoreNotFound, CustomerNotFound or EmailNotFound.
    """
    receipts = await request(
        database, store_id, customer_id=customer_id, email=email, secret=secret, by=by, noted=noted
    )
    ended: list[Receipt] = []
    give_up_at = time.monotonic() + patience_seconds
    try:
        for receipt in receipts:
            ended.append(await complete(database, receipt, patience_seconds=give_up_at - time.monotonic()))
    except StoreBusy:
        # The others would wait for the same.
        for receipt in receipts[len(ended) :]:
            log.info("erasure.waits", store_id=store_id, receipt_id=receipt.receipt_id)
        ended += receipts[len(ended) :]
    return ended


async def request(
    database: Database,
    store_id: str,
    *,
    customer_id: str | None,
    email: str | None,
    secret: bytes,
    by: str,
    noted: Callable[[str], AuditNote],
) -> Sequence[Receipt]:
    """Note who is to be erased. From then on an import leaves them out; nothing of them is removed yet."""
    async with database.transaction() as connection:
        await read_store(connection, store_id)
        found = await personal.find(connection, store_id, customer_id=customer_id, email=email)
        receipts = [await erasures.note(connection, store_id, each, secret=secret, by=by) for each in found]
        if not receipts and customer_id is not None:
            before = await erasures.of_tombstone(connection, store_id, customer_id, secret=secret)
            receipts = [] if before is None else [before]
        await write_audit(connection, [noted(receipt.receipt_id) for receipt in receipts])
    if receipts:
        return receipts
    raise EmailNotFound(store_id=store_id) if customer_id is None else CustomerNotFound(customer_id, store_id=store_id)


async def complete(database: Database, receipt: Receipt, *, patience_seconds: float) -> Receipt:
    """Do what an open receipt asks for; one that is done stays as it is. Raises StoreBusy."""
    if receipt.state is State.done:
        return receipt
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            return await _complete(database, receipt, patience_seconds=give_up_at - time.monotonic())
        except StoreBusy:
            if time.monotonic() + _AGAIN_SECONDS > give_up_at:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


async def _complete(database: Database, receipt: Receipt, *, patience_seconds: float) -> Receipt:
    async with (
        database.transaction() as connection,
        personal.in_turn(connection, receipt.store_id, patience_seconds=patience_seconds),
    ):
        customer_id = await erasures.take(connection, receipt.receipt_id)
        if customer_id is not None:
            rows = await personal.remove(connection, receipt.store_id, customer_id)
            await erasures.finish(connection, receipt.receipt_id, rows)
            await announce(connection, receipt.store_id)
            log.info("person.erased", store_id=receipt.store_id, receipt_id=receipt.receipt_id, rows=sum(rows.values()))
        return await erasures.read(connection, receipt.store_id, receipt.receipt_id)


async def complete_open(database: Database, store_id: str) -> None:
    """Do what every open receipt of a store asks for; what has to wait is left for another time."""
    async with database.snapshot() as connection:
        receipts = await erasures.read_open(connection, store_id)
    for receipt in receipts:
        try:
            await complete(database, receipt, patience_seconds=_WORKER_PATIENCE_SECONDS)
        except StoreBusy:
            log.info("erasure.waits", store_id=store_id, receipt_id=receipt.receipt_id)
            return
