"""Shows and erases what is held of one person, and tells of erasures."""

import json
from datetime import datetime

from app.api.privacy.schemas import Erased, Export, Receipt, Receipts, Whom
from app.audit import noted
from app.core.clock import utc_now
from app.core.cursors import seal, unseal
from app.core.keys import Caller
from app.pipeline.erasing import erase as erase_person
from app.pipeline.held import everything_held, pseudonyms
from app.resources import Resources
from app.warehouse import erasures
from app.warehouse.announcements import Change
from app.warehouse.audit import write_audit

#: An import or a run that is being published may take minutes: who asks is not kept waiting for it.
_PATIENCE_SECONDS = 5.0


async def export(resources: Resources, caller: Caller, whom: Whom) -> Export:
    """Raises StoreNotFound, CustomerNotFound, EmailNotFound, or TooManyRequests."""
    resources.limits.export(caller)
    held = await everything_held(
        resources.database,
        caller.store_id,
        customer_id=whom.customer_id,
        email=whom.email,
        by=caller.key_id,
        now=utc_now(),
    )
    async with resources.database.transaction() as connection:
        await write_audit(connection, [noted(caller, "person.export", subjects=pseudonyms(held))])
    return Export.model_validate(held)


async def erase(resources: Resources, caller: Caller, whom: Whom) -> Erased:
    """Raises StoreNotFound, CustomerNotFound or EmailNotFound."""
    receipts = await erase_person(
        resources.database,
        caller.store_id,
        customer_id=whom.customer_id,
        email=whom.email,
        secret=resources.secret,
        by=caller.key_id,
        noted=lambda receipt_id: noted(caller, "person.erase", about=receipt_id),
        patience_seconds=_PATIENCE_SECONDS,
    )
    resources.hearing.tell(Change(caller.store_id))
    return Erased(receipts=[_told(receipt) for receipt in receipts])


async def receipts(resources: Resources, caller: Caller, *, limit: int, cursor: str | None) -> Receipts:
    """Raises InvalidParameter for a cursor of another list."""
    purpose = json.dumps(["receipts", caller.store_id])
    before = None
    if cursor is not None:
        moment, receipt_id = unseal(resources.secret, purpose, cursor)
        before = datetime.fromisoformat(moment), receipt_id
    async with resources.database.snapshot() as connection:
        found = await erasures.read_page(connection, caller.store_id, before=before, limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    position = [page[-1].requested_at.isoformat(), page[-1].receipt_id] if more else None
    return Receipts(
        receipts=[_told(receipt) for receipt in page],
        next_cursor=seal(resources.secret, purpose, position) if more else None,
    )


async def receipt(resources: Resources, caller: Caller, receipt_id: str) -> Receipt:
    """Raises ReceiptNotFound, also for a receipt of another store."""
    async with resources.database.snapshot() as connection:
        return _told(await erasures.read(connection, caller.store_id, receipt_id))


def _told(receipt: erasures.Receipt) -> Receipt:
    return Receipt(
        receipt_id=receipt.receipt_id,
        state=receipt.state,
        requested_at=receipt.requested_at.isoformat(timespec="seconds"),
        done_at=None if receipt.done_at is None else receipt.done_at.isoformat(timespec="seconds"),
        requested_by=receipt.requested_by,
        rows=dict(receipt.rows),
    )
