"""source → records → warehouse, in one transaction: all of a source is in, or nothing of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import structlog

from app.core.errors import InvalidInput
from app.core.progress import Progress, unheard
from app.domain.refunds import match_returns
from app.sources.base import Batch, ReadingAccount, Source
from app.warehouse import changes, erasures, load
from app.warehouse.announcements import announce
from app.warehouse.engine import Connection, Database
from app.warehouse.jobs import Job, enqueue
from app.warehouse.pseudonyms import name_everyone
from app.warehouse.stores import Store, ensure_store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a source.

    account         : where every row went, and its money
    merged          : what changed in each table
    repeated_lines  : lines of the product, quantity and price of one before them in their order; each is kept
    returns_matched : of the returns whose source names no order, those whose order was found; out of returns_untold
    paid, refunded  : the store's totals afterwards, in its currency
    """

    store: Store
    account: ReadingAccount
    merged: list[load.Merged]
    repeated_lines: int
    returns_matched: int
    returns_untold: int
    paid: Decimal
    refunded: Decimal
    dry_run: bool


async def read_ahead(source: Source) -> AsyncIterator[Batch]:
    """A source's batches, the next being read in a thread while the database takes in the one before."""
    batches = source.batches()
    coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
    try:
        while (batch := await coming) is not None:
            coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
            yield batch
    finally:
        await asyncio.gather(coming, return_exceptions=True)


async def ingest(
    database: Database,
    source: Source,
    *,
    store_id: str,
    timezone: str,
    currency: str,
    pseudonym_secret: bytes,
    dry_run: bool = False,
    progress: Progress = unheard,
) -> IngestReport:
    """Read a source to its end into a store.

    timezone, currency : of the store if it is new and the source does not say
    pseudonym_secret   : what new customers' pseudonyms are made with, and erased ones are known by
    dry_run            : do all of it, report, and keep nothing
    """
    async with database.transaction(keep=not dry_run) as connection:
        store = await ensure_store(
            connection,
            store_id,
            timezone=source.defaults.timezone or timezone,
            currency=source.defaults.currency or currency,
        )
        if source.defaults.currency not in (None, store.currency):
            raise InvalidInput(
                f"{source.name} is in {source.defaults.currency} and store '{store_id}' in {store.currency}. "
                "Amounts of two currencies cannot be added up; import it into a store of its own with --store."
            )
        await load.open_staging(connection, store_id)
        async for batch in read_ahead(source):
            await load.stage(connection, batch.records)
            progress("reading", batch.progress)
        progress("storing", 0.0)
        await load.settle(connection)
        left_out = await _leave_out_the_erased(connection, store_id, pseudonym_secret)
        loaded = await load.merge(connection, store_id, left_out=left_out)
        progress("matching refunds", 0.0)
        returns, purchases = await load.untold_returns(connection, store_id)
        matched = match_returns(returns, purchases)
        await load.record_matches(connection, store_id, returns, matched)
        progress("adding up", 0.0)
        await load.settle_totals(connection, store_id)
        await name_everyone(connection, store_id, pseudonym_secret)
        paid, refunded = await load.money(connection, store_id)
        if await changes.note_changed(connection, store_id, bereft=loaded.bereft):
            await enqueue(connection, Job.score, store_id)
        await announce(connection, store_id)
    log.info(
        "import.done",
        store_id=store_id,
        source=source.name,
        rows=source.account.read.rows,
        erased=sum(left_out.values()),
        dry_run=dry_run,
    )
    return IngestReport(
        store=store,
        account=source.account,
        merged=loaded.merged,
        repeated_lines=loaded.repeated_lines,
        returns_matched=len(matched),
        returns_untold=len(returns),
        paid=paid,
        refunded=refunded,
        dry_run=dry_run,
    )


async def _leave_out_the_erased(connection: Connection, store_id: str, secret: bytes) -> Mapping[str, int]:
    """Nobody who was erased comes back. Returns the rows that were left out, by table.

    Who is erased from now on is taken out again: that waits until this transaction ends, and then finds them.
    """
    if not await erasures.any_of(connection, store_id):
        return {}
    erased = await erasures.among(connection, store_id, await load.settled_customers(connection), secret=secret)
    return await load.leave_out(connection, store_id, erased)
