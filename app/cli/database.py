"""`migrate` and `doctor`: the database's shape, and what is configured, reachable and missing."""

import argparse
from datetime import datetime, timedelta

from app import __version__
from app.cache import answers
from app.cli.options import Commands
from app.cli.output import say, show_table
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.errors import ConfigurationError, Unavailable
from app.embedded import upgrade
from app.resources import open_database
from app.warehouse.engine import Database
from app.warehouse.jobs import worker_seen_at
from app.warehouse.migrate import current_revision, knows, migrate
from app.warehouse.stores import StoreSummary, summaries

_SEEN_OF_LATE = timedelta(minutes=3)
_UNSET = {
    "api_key": "unset; serving needs it, unless ENV is development",
    "admin_key": "unset; serving needs it, unless ENV is development",
    "id_hash_secret": "unset; one made up once is kept in the data folder",
}


def add_commands(commands: Commands, shared: argparse.ArgumentParser) -> None:
    migrating = commands.add_parser(
        "migrate", parents=[shared], help="bring the database to the shape the code expects"
    )
    migrating.add_argument(
        "--upgrade-server",
        action="store_true",
        help="first convert an embedded database made by an older Postgres; the old folder is kept",
    )
    migrating.set_defaults(run=_migrate)
    doctor = commands.add_parser("doctor", parents=[shared], help="say what is configured, reachable and missing")
    doctor.set_defaults(run=_doctor)


async def _migrate(wanted: argparse.Namespace, settings: Settings) -> int:
    if wanted.upgrade_server:
        kept = upgrade(settings.data_dir)
        if kept is None:
            say("The embedded database needs no upgrade of its server.")
        else:
            say(f"The embedded database was converted. The old one is kept in {kept}; remove it when all is well.")
    async with open_database(settings) as database:
        before, after = await migrate(database)
    if before == after:
        say(f"The database is at revision {after} already.")
    else:
        say(f"Migrated from {before or 'nothing'} to revision {after}.")
    return 0


async def _doctor(_wanted: argparse.Namespace, settings: Settings) -> int:
    """Prints no secret: of DATABASE_URL and keys only whether they are set."""
    say(f"customer-intelligence {__version__}, environment {settings.env}")
    say(f"Data folder: {settings.data_dir.resolve()}")
    for name in ("api_key", "admin_key", "id_hash_secret"):
        say(f"{name.upper()}: {'set' if getattr(settings, name) is not None else _UNSET[name]}")
    say(f"SLACK_WEBHOOK_URL: {'set' if settings.slack_webhook_url is not None else 'unset, nothing is told in Slack'}")
    say(f"Redis: {await _redis(settings)}")
    say(
        "Database: the server of DATABASE_URL"
        if settings.database_url
        else "Database: embedded Postgres (DATABASE_URL is unset)"
    )
    try:
        async with open_database(settings) as database:
            await _examine(database)
    except Unavailable as error:
        say(f"  not reachable: {error}")
        return 1
    return 0


async def _redis(settings: Settings) -> str:
    if settings.redis_url is None:
        return "REDIS_URL is unset, each process keeps its own answers"
    if await answers(settings.redis_url.get_secret_value()):
        return "reachable"
    return "does not answer at REDIS_URL; until it does each process keeps its own answers"


async def _examine(database: Database) -> None:
    say(f"  reachable: PostgreSQL {await database.server_version()}")
    at, newest = await current_revision(database)
    if at is not None and not knows(at):
        raise ConfigurationError(
            f"The database is at revision {at}, which this version does not know. It was migrated by a newer version; "
            "use that one."
        )
    if at != newest:
        raise ConfigurationError(
            f"The database is at revision {at or 'none'} and the code expects {newest}. Run `python -m app migrate`."
        )
    say(f"  schema: up to date (revision {at})")
    say(f"Worker: {_worker(await worker_seen_at(database), utc_now())}")
    async with database.snapshot() as connection:
        found = await summaries(connection)
    if not found:
        say("Stores: none yet. Load one with `python -m app import csv` or `python -m app sample`.")
        return
    say()
    show_table(
        "Stores", ("store", "time zone", "customers", "orders", "run", "as of"), [_row(each) for each in found], left=2
    )


def _worker(seen_at: datetime | None, now: datetime) -> str:
    if seen_at is None:
        return "none has run yet. `python -m app serve` has one, or run `python -m app worker`."
    told = f"last seen at {seen_at:%Y-%m-%d %H:%M} UTC"
    if now - seen_at < _SEEN_OF_LATE:
        return told
    return f"{told}, and it looks every minute: none runs now, and what is asked for waits. Run `python -m app worker`."


def _row(store: StoreSummary) -> tuple[object, ...]:
    run = "none" if store.served_run_id is None else str(store.served_run_id)
    as_of = "" if store.as_of is None else f"{store.as_of:%Y-%m-%d %H:%M} UTC"
    return (store.store_id, store.timezone, store.n_customers, store.n_orders, run, as_of)
