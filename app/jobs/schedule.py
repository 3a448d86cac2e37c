"""What is due when: the same for every store, by the settings' schedules, UTC.

A schedule fires in one worker, however many there are, and puts a job into the queue for each store; one that is due
while no worker runs fires when the next begins.
"""

import structlog
from pgqueuer import PgQueuer
from pgqueuer.domain.models import Schedule

from app.core.config import Settings
from app.warehouse.engine import Database
from app.warehouse.jobs import Job, enqueue, enqueue_discovery, forget_old
from app.warehouse.stores import stores_with_orders

log = structlog.get_logger()


def add_schedules(manager: PgQueuer, database: Database, settings: Settings) -> None:
    """Have the manager fire them."""

    @manager.schedule(Job.rescore.value, settings.rescore_schedule)
    async def rescore(_due: Schedule) -> None:
        await rescore_everywhere(database)

    @manager.schedule(Job.discover.value, settings.discovery_schedule)
    async def discover(_due: Schedule) -> None:
        await discover_everywhere(database)


async def rescore_everywhere(database: Database) -> None:
    """Ask for a rescoring of every store that serves a run; and drop what is known of jobs of long ago."""
    async with database.transaction() as connection:
        await forget_old(connection)
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
