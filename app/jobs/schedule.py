"""What is due when: the same for every store, by the settings' schedules, UTC.

A schedule fires in one worker, however many there are, and puts a job into the queue for each store; one that is due
while no worker runs fires when the next begins. One that cannot fire, as while the database is away, is not left until
its next time, which may be a week away: it is fired again until it has.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog
from pgqueuer import PgQueuer
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Schedule

from app.core.config import Settings
from app.jobs.failures import failure_of
from app.warehouse.audit import forget_audit
from app.warehouse.engine import Database
from app.warehouse.erasures import stores_with_open
from app.warehouse.jobs import LOOKING, Job, enqueue, enqueue_discovery, forget_old, forget_repeated, keep_due
from app.warehouse.stores import stores_with_orders

log = structlog.get_logger()

_LONGEST_DELAY_SECONDS = 60.0
_LOOK = "* * * * *"


def add_schedules(manager: PgQueuer, queries: Queries, database: Database, settings: Settings) -> None:
    """Have the manager fire them."""

    @manager.schedule(Job.rescore.value, settings.rescore_schedule)
    async def rescore(due: Schedule) -> None:
        ask = partial(rescore_everywhere, database, audit_days=settings.audit_days)
        await _fire(due, ask, queries, manager.shutdown)

    @manager.schedule(Job.discover.value, settings.discovery_schedule)
    async def discover(due: Schedule) -> None:
        await _fire(due, partial(discover_everywhere, database), queries, manager.shutdown)

    @manager.schedule(Job.predict.value, settings.predict_schedule)
    async def predict(due: Schedule) -> None:
        await _fire(due, partial(predict_everywhere, database), queries, manager.shutdown)

    @manager.schedule(Job.erase.value, _LOOK)
    async def erase(due: Schedule) -> None:
        await _fire(due, partial(complete_erasures, database), queries, manager.shutdown)

    # The manager sleeps until the next is due. Woken every minute, it also finds one whose worker has died firing it.
    @manager.schedule(LOOKING, _LOOK)
    async def look(_due: Schedule) -> None:
        pass


async def _fire(due: Schedule, ask: Callable[[], Awaitable[None]], queries: Queries, ending: asyncio.Event) -> None:
    """Ask for the jobs, as often as it takes; where the worker is to end before it could, the next one does it.

    To the queue a schedule has fired, whatever it raises.
    """
    delay = 1.0
    while True:
        try:
            await ask()
            return
        except Exception as error:
            failure = failure_of(error)
            if not failure.passes:
                raise
        log.warning("schedule.to_be_fired_again", job=due.entrypoint, why=str(failure), seconds=delay)
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await ending.wait()
        if ending.is_set():
            await keep_due(queries, due.id)
            return
        delay = min(2 * delay, _LONGEST_DELAY_SECONDS)


async def rescore_everywhere(database: Database, *, audit_days: int) -> None:
    """Ask for a rescoring of every store that serves a run; and drop what is known of jobs that are past, and of who
    has seen whom more than so many days ago.
    """
    async with database.transaction() as connection:
        await forget_repeated(connection)
        await forget_old(connection)
    async with database.transaction() as connection:
        await forget_audit(connection, kept=timedelta(days=audit_days))
    async with database.transaction() as connection:
        stores = [store_id for store_id, served in await stores_with_orders(connection) if served is not None]
        for store_id in stores:
            await enqueue(connection, Job.rescore, store_id)
    log.info("schedule.fired", job=Job.rescore.value, stores=len(stores))


async def discover_everywhere(database: Database) -> None:
    """Ask for a discovery of every store with orders, unless one waits or is under way."""
    async with database.transaction() as connection:
        stores = [store_id for store_id, _ in await stores_with_orders(connection)]
        for store_id in stores:
            await enqueue_discovery(connection, store_id)
    log.info("schedule.fired", job=Job.discover.value, stores=len(stores))


async def predict_everywhere(database: Database) -> None:
    """Ask for predictions of every store with orders."""
    async with database.transaction() as connection:
        stores = [store_id for store_id, _ in await stores_with_orders(connection)]
        for store_id in stores:
            await enqueue(connection, Job.predict, store_id)
    log.info("schedule.fired", job=Job.predict.value, stores=len(stores))


async def complete_erasures(database: Database) -> None:
    """Ask for the rest of every erasure that was cut short, or had to wait."""
    async with database.transaction() as connection:
        stores = await stores_with_open(connection)
        for store_id in stores:
            await enqueue(connection, Job.erase, store_id)
    if stores:
        log.info("schedule.fired", job=Job.erase.value, stores=len(stores))
