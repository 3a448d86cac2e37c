"""The whole flow on one screen: records → features → axes → segments → archetypes → the published star."""

import asyncio
import math
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import structlog

from app.core.config import Settings
from app.core.dates import start_of_day
from app.core.errors import InvalidInput, NotEnoughCustomers
from app.core.progress import Progress, unheard
from app.domain.value_tiers import TierMode
from app.pipeline.earlier import earlier_run
from app.pipeline.features import feature_values
from app.pipeline.lineage import drifts, since
from app.pipeline.placing import last_day
from app.pipeline.report import run_report
from app.pipeline.running import running, score_what_came_meanwhile
from app.pipeline.star import star_of
from app.pipeline.yardstick import yardstick_of
from app.segmentation.axes import Axis, Need, axes_named
from app.segmentation.clustering import KRange
from app.segmentation.discovery import DiscoveryOptions, discover
from app.segmentation.identity import Earlier
from app.warehouse import changes, publish, runs
from app.warehouse.behaviour import Behaviour, read_behaviour
from app.warehouse.engine import Connection, Database
from app.warehouse.standings import read_segments_stood_in
from app.warehouse.stores import Store, last_record_at, orders_since, read_store

log = structlog.get_logger()

MIN_POPULATION = 100
_TURN_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to segment and how.

    as_of          : only records before this moment count; None for the midnight, on the shop's clock, that ends the
                     day of the last record, or now if that is earlier
    axes           : names or aliases; None for all
    min_population : fewer customers with an order than this are refused
    tier_mode      : how lifetime values are cut into tiers
    """

    as_of: datetime | None = None
    axes: tuple[str, ...] | None = None
    min_population: int = MIN_POPULATION
    discovery: DiscoveryOptions = DiscoveryOptions()
    tier_mode: TierMode = TierMode.percentile
    dry_run: bool = False


def discovery_options(
    settings: Settings, k_range: KRange, *, sample_size: int | None = None, threads: int = 1
) -> DiscoveryOptions:
    """How the settings want a store segmented."""
    return DiscoveryOptions(
        k_range=k_range,
        robust=settings.clustering_robust_scaling,
        kernel=settings.fuzzy_kernel.value,
        sample_size=sample_size,
        archetype_min_members=settings.archetype_min_members,
        threads=threads,
    )


@dataclass(frozen=True, slots=True)
class RunResult:
    """run_id : None for a dry run; report : what was found, as stored and printed"""

    run_id: int | None
    report: Mapping[str, Any]


async def segment(
    database: Database,
    store_id: str,
    options: RunOptions,
    *,
    now: datetime,
    run_id: int | None = None,
    progress: Progress = unheard,
) -> RunResult:
    """Discover a store's segments and archetypes and serve them.

    run_id : of the queued run that this is; None for a new one

    Raises StoreNotFound, NotEnoughCustomers, InvalidInput (an axis that does not exist), RunInProgress when the store
    is being segmented already, or RunEnded when the run of run_id was published before. Whatever fails, the run served
    before stays served.
    """
    axes = axes_named(None if options.axes is None else list(options.axes))
    if options.as_of is not None and options.as_of > now:
        raise InvalidInput(f"As of {options.as_of:%Y-%m-%d} lies in the future. Take a day up to today.")
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        as_of = options.as_of or await latest_as_of(connection, store, now=now)
    with _threads_taking_turns():
        return await _segment(database, store, axes, options, as_of=as_of, run_id=run_id, progress=progress)


@contextmanager
def _threads_taking_turns() -> Iterator[None]:
    """A run is thousands of short calls into compiled code and many small writes to the server, after each of which a
    thread waits for the other to let go of the interpreter: by default up to 5 ms, which is longer than most of them.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        # Of two runs at once the second finds it changed, and leaves the changing back to the first.
        if not math.isclose(usual, _TURN_SECONDS):
            sys.setswitchinterval(usual)


async def _segment(
    database: Database,
    store: Store,
    axes: tuple[Axis, ...],
    options: RunOptions,
    *,
    as_of: datetime,
    run_id: int | None,
    progress: Progress,
) -> RunResult:
    store_id = store.store_id
    if options.dry_run:
        found = await _discover(database, store, axes, options, as_of=as_of, progress=progress)
        return RunResult(run_id=None, report=found.report(found.customers()))
    async with running(
        database, store_id, kind="discovery", parameters=_parameters(options), run_id=run_id, progress=progress
    ) as run:
        found = await _discover(database, store, axes, options, as_of=as_of, progress=run.progress)
        run.progress("publishing", 0.0)
        # Beside it, because the server has the most of publishing to do.
        customers = asyncio.create_task(asyncio.to_thread(found.customers))
        reporting = asyncio.create_task(_reported(found, customers))
        try:
            async with database.transaction() as connection:
                await publish.publish(connection, store_id, run.run_id, found.star, customers=customers)
                report = await reporting
                await runs.finish_run(connection, run.run_id, as_of=as_of, report=report, yardstick=found.yardstick)
                await score_what_came_meanwhile(connection, store_id, seen=found.seen)
        finally:
            reporting.cancel()
            await asyncio.gather(customers, reporting, return_exceptions=True)
    log.info("run.published", run_id=run.run_id, store_id=store_id, n_customers=report["n_customers"])
    return RunResult(run_id=run.run_id, report=report)


async def _reported(found: "_Found", customers: Awaitable[pl.DataFrame]) -> dict[str, Any]:
    return await asyncio.to_thread(found.report, await customers)


async def latest_as_of(connection: Connection, store: Store, *, now: datetime) -> datetime:
    """The moment up to which a store's records are complete, UTC: the end of its last recorded day, or of this minute.

    To the minute, so that customers scored one after the other have one moment in common.
    """
    this_minute = datetime.fromtimestamp(math.ceil(now.timestamp() / 60) * 60, UTC)
    last = await last_record_at(connection, store.store_id)
    if last is None:
        return this_minute
    next_day = (last.astimezone(ZoneInfo(store.timezone)) + timedelta(days=1)).date()
    midnight = start_of_day(next_day, store.timezone)
    return min(midnight, this_minute)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is left to do when it is called for, and what for.

    star      : rows by table, but for those of `fact_customer_current`
    customers : those
    report    : of them
    seen      : the records it was found in, for `changes.forget`
    """

    star: dict[str, pl.DataFrame]
    customers: Callable[[], pl.DataFrame]
    report: Callable[[pl.DataFrame], dict[str, Any]]
    yardstick: dict[str, Any]
    seen: str


async def _discover(
    database: Database,
    store: Store,
    axes: tuple[Axis, ...],
    options: RunOptions,
    *,
    as_of: datetime,
    progress: Progress,
) -> _Found:
    progress("reading", 0.0)

    async with database.snapshot() as connection, database.snapshot(beside=connection) as beside:
        store = await read_store(connection, store.store_id)  # another run may have been published since
        behaviour = await read_behaviour(
            connection, store.store_id, as_of=as_of, timezone=store.timezone, beside=beside
        )
        orders_after = await orders_since(connection, store.store_id, as_of)
        earlier = await earlier_run(database, connection, store)
        stood = (
            None
            if earlier is None
            else await read_segments_stood_in(connection, store.store_id, earlier.run_id, list(earlier.axes))
        )
        seen = await changes.seen_by(connection)
    n_customers = len(behaviour.customer_ids)
    if n_customers < options.min_population or n_customers == 0:
        raise NotEnoughCustomers(
            found=n_customers, needed=max(options.min_population, 1), store_id=store.store_id, as_of=as_of
        )

    # In a thread, so that meanwhile the run can say how far it is.
    return await asyncio.to_thread(
        _found_in,
        store,
        behaviour,
        axes,
        options,
        as_of=as_of,
        earlier=earlier,
        stood=stood,
        orders_after=orders_after,
        seen=seen,
        progress=progress,
    )


def _found_in(
    store: Store,
    behaviour: Behaviour,
    axes: tuple[Axis, ...],
    options: RunOptions,
    *,
    as_of: datetime,
    earlier: Earlier | None,
    stood: pl.DataFrame | None,
    orders_after: int,
    seen: str,
    progress: Progress,
) -> _Found:
    progress("features", 0.0)
    values = feature_values(behaviour, as_of=as_of, timezone=store.timezone)
    discovery = discover(
        store.store_id,
        values,
        axes,
        available=needs_met(behaviour),
        options=options.discovery,
        earlier=earlier,
        progress=progress,
    )
    progress("profiles", 0.0)
    yardstick = yardstick_of(discovery.axes, values, options.tier_mode)
    star, customers = star_of(
        discovery,
        behaviour.customer_ids,
        values,
        snapshot=last_day(as_of, store.timezone),
        as_of=as_of,
        yardstick=yardstick,
    )

    def report(current: pl.DataFrame) -> dict[str, Any]:
        told = run_report(
            store, discovery, {**star, "fact_customer_current": current}, values, as_of=as_of, orders_after=orders_after
        )
        drifted = drifts(discovery, behaviour.customer_ids, stood)
        told["axes"] = [{**axis, "drift": drifted.get(axis["axis"])} for axis in told["axes"]]
        told["previous_run_id"] = None if earlier is None else earlier.run_id
        told["since"] = None if earlier is None else since(star["segment_lineage"], star["archetype_lineage"])
        return told

    return _Found(star=star, customers=customers, report=report, yardstick=yardstick.stored(), seen=seen)


def needs_met(behaviour: Behaviour) -> frozenset[Need]:
    """What a shop's records hold, as axes ask for it."""
    held = {
        Need.orders: True,
        Need.categories: behaviour.has_categories,
        Need.discounts: behaviour.has_discounts,
        Need.tickets: behaviour.has_tickets,
    }
    return frozenset(need for need, there in held.items() if there)


def _parameters(options: RunOptions) -> dict[str, Any]:
    plain = asdict(replace(options, as_of=None))
    plain["as_of"] = options.as_of.isoformat() if options.as_of else None
    return plain
