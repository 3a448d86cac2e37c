"""History that takes less room the older it is: every day of late, then one day a week."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from app.warehouse.engine import Database
from app.warehouse.history import Day, delete_days, delete_dimensions, read_days
from app.warehouse.stores import hold_history, read_store

log = structlog.get_logger()


async def thin(database: Database, store_id: str, *, now: datetime, daily_days: int) -> int:
    """Forget days that are older than so many, but for the last of each ISO week, and what no day left speaks of.

    now     : days are counted from the shop's day it falls on
    returns : customers' rows that were forgotten; doing it again forgets none

    The days of the served run stay, since the next discovery goes on from them. Raises StoreNotFound.
    """
    async with database.transaction() as connection:
        # A run that is being published is waited for, and the next waits: it neither writes a day anew that is to go,
        # nor is anything of it taken for what nobody speaks of.
        await hold_history(connection, store_id)
        kept = await read_days(connection, store_id)
        store = await read_store(connection, store_id)
        today = now.astimezone(ZoneInfo(store.timezone)).date()
        days = thinned(kept, before=today - timedelta(days=daily_days), served_run_id=store.served_run_id)
        gone = [each for each in kept if each.day in days]
        n_rows = await delete_days(connection, store_id, gone) if gone else 0
        left = {each.run_id for each in await read_days(connection, store_id)}
        n_runs = await delete_dimensions(connection, store_id, kept=left)
    if n_rows or n_runs:
        log.info("history.thinned", store_id=store_id, n_days=len(gone), n_rows=n_rows, n_runs=n_runs)
    return n_rows


def thinned(kept: Sequence[Day], *, before: date, served_run_id: int | None) -> Collection[date]:
    """The days to forget. kept : the earliest first; before : only days before it are"""
    last_of_week = {each.day.isocalendar()[:2]: each.day for each in kept}
    return {
        each.day
        for each in kept
        if each.day < before and each.day != last_of_week[each.day.isocalendar()[:2]] and each.run_id != served_run_id
    }
