"""`demo`: the built-in shop, loaded, segmented and predicted where nothing is yet, and served."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.cli.options import Commands
from app.cli.output import progress, say
from app.cli.serve import add_worker, address_of, listening, prepare, serve
from app.core.clock import utc_now
from app.core.config import Environment, Settings
from app.core.dates import start_of_day
from app.core.logging import configure_logging
from app.core.secrets_file import serving_keys
from app.resources import Resources, open_resources
from app.warehouse.predictions import served_id
from app.warehouse.runs import read_yardstick
from app.warehouse.stores import StoreSummary, first_order_at, last_record_at, read_store, summaries

_ARCHETYPES_SHOWN = 3
#: Segments are found as of so many weeks ago, and everyone is placed by them since: who has moved can be asked from the
#: first start on.
_WEEKS_BACK = (4, 3, 2, 1)


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    demo = commands.add_parser(
        "demo",
        parents=[shared],
        help="load the built-in shop, segment it and serve it",
        description="Load the built-in quilting shop into the store STORE_ID if that is empty, segment it if it is not "
        "yet, and serve it until stopped. A second start finds everything in place.",
    )
    add_worker(demo)
    demo.set_defaults(run=_run, serves=True)


async def _run(wanted: argparse.Namespace, settings: Settings) -> int:
    if "env" not in settings.model_fields_set:
        # A made-up shop on this machine: keys that are unset are made up too, as in development.
        settings = settings.model_copy(update={"env": Environment.development})
    if "log_level" not in settings.model_fields_set:
        # A line a request, and those of runs, would bury the keys.
        settings = settings.model_copy(update={"log_level": "WARNING"})
        configure_logging(level=settings.log_level, json_logs=settings.logs_as_json)
    with listening(settings) as listener:
        async with open_resources(settings) as resources:
            await prepare(resources)
            await _fill(resources)
            await serve(resources, listener, when_up=_say_how, works=not wanted.no_worker)
    return 0


async def _fill(resources: Resources) -> None:
    """Load and segment the store, as far as that is not done."""
    settings = resources.settings
    store = await _look(resources)
    if store is not None and store.n_orders:
        say(f"Store '{settings.store_id}' is in place with {store.n_orders:,} orders.")
    else:
        # The sample shop and the segmentation load a second's worth of libraries, which a second start does without.
        from app.pipeline.ingest import ingest
        from app.pipeline.sample import SampleShop

        say(f"Loading the built-in shop of {settings.demo_customers:,} customers into store '{settings.store_id}' ...")
        with progress() as listener:
            await ingest(
                resources.database,
                SampleShop(customers=settings.demo_customers),
                store_id=settings.store_id,
                timezone=settings.store_timezone,
                currency=settings.currency,
                pseudonym_secret=resources.secret,
                progress=listener,
            )
        store = None
    weeks = await _weeks_ago(resources)
    if store is None or store.as_of in weeks:
        await _segment(resources, weeks)
    elif not await _is_served(resources, store):
        await _segment(resources, ())
    async with resources.database.snapshot() as connection:
        predicted = await served_id(connection, settings.store_id)
    if predicted is None:
        await _predict(resources)


async def _look(resources: Resources) -> StoreSummary | None:
    async with resources.database.snapshot() as connection:
        found = {each.store_id: each for each in await summaries(connection)}
    return found.get(resources.settings.store_id)


async def _is_served(resources: Resources, store: StoreSummary) -> bool:
    """Whether there is a run, and not one of an older version, which kept less than is served now."""
    if store.served_run_id is None:
        return False
    async with resources.database.snapshot() as connection:
        return await read_yardstick(connection, store.served_run_id) is not None


async def _segment(resources: Resources, weeks: Sequence[datetime]) -> None:
    """weeks : moments of the past, the earliest first, that are looked at before now; where one is served, a start was
    cut short
    """
    from app.domain.value_tiers import TierMode
    from app.pipeline.rescore import rescore
    from app.pipeline.run import RunOptions, discovery_options, segment
    from app.segmentation.clustering import KRange

    settings, database = resources.settings, resources.database
    now = utc_now()
    since = f" as of {weeks[0]:%Y-%m-%d}, and placing everyone week by week since" if weeks else ""
    say(f"Looking for segments{since} ...")
    options = RunOptions(
        min_population=1,
        discovery=discovery_options(
            settings, KRange(dynamic=settings.enable_dynamic_k_range), threads=os.cpu_count() or 1
        ),
        tier_mode=TierMode(settings.ltv_tier_mode.value),
    )
    with progress() as listener:
        first = weeks[0] if weeks else None
        result = await segment(database, settings.store_id, replace(options, as_of=first), now=now, progress=listener)
        for as_of in (*weeks[1:], None) if weeks else ():
            result = await rescore(database, settings.store_id, now=now, as_of=as_of, progress=listener)
    found = result.report
    axes = [axis for axis in found["axes"] if axis.get("has_structure")]
    kinds = found["archetypes"]["most_valuable"]
    say(
        f"Found segments on {len(axes)} axes and {found['archetypes']['levels'][1]['count']} kinds of customer among "
        f"{found['n_customers']:,}, most valuable:"
    )
    for kind in kinds[:_ARCHETYPES_SHOWN]:
        say(f"  {kind['name']}: {kind['member_count']:,} customers, {found['currency']} {kind['total_ltv']:,.0f}")


async def _predict(resources: Resources) -> None:
    """Tell who comes back and what they will spend, as far as the shop is old enough to learn it from."""
    from app.cli.predict import predict_options
    from app.core.errors import NotEnoughHistory
    from app.pipeline.predict import predict

    settings = resources.settings
    say("Learning from the shop's past who comes back, and for how much ...")
    options = predict_options(settings)
    try:
        with progress() as listener:
            result = await predict(resources.database, settings.store_id, options, now=utc_now(), progress=listener)
    except NotEnoughHistory as error:
        say(str(error))
        return
    levels, n = result.report["levels"], result.report["n_customers"]
    say(f"Of {n:,} customers {levels['critical']:,} are a critical risk and {levels['low']:,} a low one.")


async def _weeks_ago(resources: Resources) -> list[datetime]:
    """So many weeks before the end of the shop's last day, on its clock, where it had orders; the earliest first."""
    async with resources.database.snapshot() as connection:
        store = await read_store(connection, resources.settings.store_id)
        first, last = [await at(connection, store.store_id) for at in (first_order_at, last_record_at)]
    if first is None or last is None:
        return []
    day = last.astimezone(ZoneInfo(store.timezone)).date() + timedelta(days=1)
    weeks = [start_of_day(day - timedelta(weeks=weeks), store.timezone) for weeks in _WEEKS_BACK]
    return [each for each in weeks if each > first]


def _say_how(settings: Settings) -> None:
    """Where the page is, the keys, and three questions that work as they stand."""
    keys = serving_keys(settings)
    address = address_of(settings)
    say()
    say(f"Page:            {address}/#key={keys.api_key}")
    say(f"API description: {address}/docs")
    say(f"Support key:     {keys.api_key}")
    if keys.analytics_key is not None:
        say(f"Analytics key:   {keys.analytics_key}")
    say(f"Admin key:       {keys.admin_key}")
    say("Try:")
    say(f"  curl {address}/health")
    say(f"  curl -H 'X-API-Key: {keys.api_key}' {address}/api/mcp/customer/random")
    say(f"  curl -H 'X-API-Key: {keys.api_key}' '{address}/api/mcp/archetypes/top?metric=total_ltv&limit=3'")
    say("Ctrl-C stops it.")
