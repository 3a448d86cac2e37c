"""A whole shop placed anew by the rules of the run it serves, and those of it whose records have changed.

Discovery finds rules; scoring applies them. A rescoring moves customers between the segments there are, and never a
segment: that is what makes two days of history comparable. It is published like any run, as one, in one switch.

    everyone as the shop's last day ended → that day's history, and what is served
    who has bought, returned or written since → as of now, in the same switch
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import structlog

from app.core.dates import start_of_day
from app.core.errors import InvalidInput, NothingPublished
from app.core.progress import Progress, unheard
from app.pipeline.features import feature_values
from app.pipeline.placing import PlacedAxis, Standing, last_day
from app.pipeline.predict_some import predict_some
from app.pipeline.report import renewed_report
from app.pipeline.run import RunResult, latest_as_of
from app.pipeline.running import running, score_what_came_meanwhile
from app.pipeline.served import ServedRun, served
from app.pipeline.star import archetype_profiles, customer_rows, group_figures, history_rows, standing_rows
from app.segmentation.drift import psi
from app.segmentation.membership import Array
from app.segmentation.naming import interpretation, interpretation_of_nobody
from app.warehouse import changes, publish, runs
from app.warehouse.behaviour import Behaviour, read_behaviour, read_behaviour_of, with_records_between
from app.warehouse.dimensions import read_dimensions
from app.warehouse.engine import Connection, Database
from app.warehouse.stores import Store, orders_since, read_store

log = structlog.get_logger()

_SCORED_AT_ONCE = 1_000


async def rescore(
    database: Database, store_id: str, *, now: datetime, as_of: datetime | None = None, progress: Progress = unheard
) -> RunResult:
    """Place every customer of a store by the rules of its served run, and serve the result.

    as_of : only records before this moment count; None for the midnight, on the shop's clock, that ended its last whole
            day, so that history keeps whole days, whenever it is placed. Who has records since is then served as of
            now. Of everyone else the two are the same, because orders are counted in whole days from now; only the
            age of tickets is not

    Segments and archetypes keep their ids and names; what is counted of them is counted anew, and one that nobody is in
    stays, empty. Raises StoreNotFound, NothingPublished, OutdatedRun, InvalidInput (a moment to come, or before the
    first order), or RunInProgress. Whatever fails, the run served before stays served.
    """
    if as_of is not None and as_of > now:
        raise InvalidInput(f"As of {as_of:%Y-%m-%d} lies in the future. Take a day up to today.")
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        if store.served_run_id is None:
            raise NothingPublished(store_id)
        latest = as_of or await latest_as_of(connection, store, now=now)
        # On its very first day a shop has no whole one.
        today = latest.astimezone(ZoneInfo(store.timezone)).date()
        moments = sorted({as_of or start_of_day(today, store.timezone), latest})
    parameters = {"as_of": as_of.isoformat() if as_of else None}
    async with running(database, store_id, kind="rescoring", parameters=parameters, progress=progress) as run:
        run.progress("reading", 0.0)
        async with database.snapshot() as connection, database.snapshot(beside=connection) as beside:
            store = await read_store(connection, store_id)  # another run may have been published since
            rules = await served(database, connection, store_id, store.served_run_id or 0)
            discovered = await runs.read_run(connection, runs.rules_of(rules.run))
            dimensions = await read_dimensions(connection, store_id, rules.run.run_id)
            for moment in moments:
                behaviour = await read_behaviour(
                    connection, store_id, as_of=moment, timezone=store.timezone, beside=beside
                )
                if behaviour.customer_ids:
                    break
            orders_after = await orders_since(connection, store_id, latest)
            seen = await changes.seen_by(connection)
        if not behaviour.customer_ids:
            raise InvalidInput(f"Store '{store_id}' has no order before {moment:%Y-%m-%d}. Take a later day.")
        run.progress("scoring", 0.0)
        # In a thread, so that meanwhile the run can say how far it is.
        star, fold_distance = await asyncio.to_thread(_star, store, rules, dimensions, behaviour, as_of=moment)
        report = renewed_report(rules.run.report, star, fold_distance, as_of=moment, orders_after=orders_after)
        report["rules_run_id"] = discovered.run_id
        report["drift"] = _shifts(report, discovered.report)
        run.progress("publishing", 0.0)
        async with database.transaction() as connection:
            await publish.publish(connection, store_id, run.run_id, star)
            await runs.finish_run(
                connection, run.run_id, as_of=moment, report=report, yardstick=rules.yardstick.stored()
            )
            if moment < latest:
                since = await with_records_between(connection, store_id, moment, latest)
                for first in range(0, len(since), _SCORED_AT_ONCE):
                    some = since[first : first + _SCORED_AT_ONCE]
                    await _place(database, connection, store, rules, run.run_id, some, as_of=latest)
            await score_what_came_meanwhile(connection, store_id, seen=seen)
    log.info("run.rescored", run_id=run.run_id, store_id=store_id, n_customers=report["n_customers"])
    return RunResult(run_id=run.run_id, report=report)


async def score_changed(database: Database, store_id: str, *, now: datetime, as_of: datetime | None = None) -> int:
    """Score everyone whose records have changed since they were, by the rules of the served run.

    as_of : only records before this moment count; None as for a discovery, so that a purchase of today counts today

    returns : how many. Nothing is done where nothing is served. Whoever is scored is no longer to be in this run, in
    one transaction: done twice, or cut short and done again, it ends the same. Raises StoreNotFound or OutdatedRun.
    """
    scored = 0
    while n_scored := await _score_some(database, store_id, now=now, as_of=as_of):
        scored += n_scored
    return scored


async def _score_some(database: Database, store_id: str, *, now: datetime, as_of: datetime | None) -> int:
    async with database.transaction() as connection:
        store = await runs.hold_served_run(connection, store_id)
        if store.served_run_id is None:
            return 0
        rules = await served(database, connection, store_id, store.served_run_id)
        run_id = rules.run.run_id
        customer_ids = await changes.take(connection, store_id, run_id, most=_SCORED_AT_ONCE)
        if not customer_ids:
            return 0
        moment = as_of or await latest_as_of(connection, store, now=now)
        await _place(database, connection, store, rules, run_id, customer_ids, as_of=moment)
    return len(customer_ids)


async def _place(
    database: Database,
    connection: Connection,
    store: Store,
    rules: ServedRun,
    run_id: int,
    customer_ids: Sequence[str],
    *,
    as_of: datetime,
) -> None:
    """Write where some customers stand in a run that goes by those rules, and what is expected of them."""
    store_id = store.store_id
    behaviour = await read_behaviour_of(connection, store_id, customer_ids, as_of=as_of, timezone=store.timezone)
    values = None
    if behaviour.customer_ids:
        current, _, _, values = await asyncio.to_thread(_scored, store, rules, behaviour, as_of=as_of)
        await publish.replace_customers(connection, store_id, run_id, current)
    # Whose only orders went to somebody else is of no kind any more.
    await publish.remove_customers(connection, store_id, run_id, set(customer_ids) - set(behaviour.customer_ids))
    await predict_some(database, connection, store, customer_ids, as_of=as_of, behaviour=behaviour, values=values)


def _scored(
    store: Store, rules: ServedRun, behaviour: Behaviour, *, as_of: datetime
) -> tuple[pl.DataFrame, pl.DataFrame, "_Placed", Mapping[str, Array]]:
    """Rows of `fact_customer_standing`, what history keeps of them, and what they come from."""
    values = feature_values(behaviour, as_of=as_of, timezone=store.timezone)
    axes, standing = rules.place(values)
    standings = standing_rows(behaviour.customer_ids, values, standing, snapshot=last_day(as_of, store.timezone))
    current = customer_rows(standings, values, axes, standing, as_of=as_of, yardstick=rules.yardstick)
    return current, standings, (axes, standing), values


_Placed = tuple[list[PlacedAxis], Standing]


def _star(
    store: Store, rules: ServedRun, dimensions: Mapping[str, pl.DataFrame], behaviour: Behaviour, *, as_of: datetime
) -> tuple[dict[str, pl.DataFrame], Any]:
    """Every table of the run, and everyone's distance from their archetype."""
    current, standings, (axes, standing), values = _scored(store, rules, behaviour, as_of=as_of)
    star = {
        "dim_segment_master": _segments(dimensions["dim_segment_master"], axes, values),
        **{
            table: _renewed(dimensions[table], of_level, values)
            for table, of_level in (
                ("dim_archetype_l1", standing.level1),
                ("dim_archetype_l2", standing.level2),
                ("dim_archetype_l3", standing.level3),
            )
        },
        "fact_customer_current": current,
        "fact_customer_history": history_rows(standings, axes, [axis.segments for axis in rules.axes]),
    }
    star["dim_archetype_l1"] = _told(star["dim_archetype_l1"], standing)
    return star, standing.fold_distance


def _segments(segments: pl.DataFrame, axes: list[PlacedAxis], values: Mapping[str, Array]) -> pl.DataFrame:
    """The segments as they are, with whom they hold now. What nobody is in says what those were like who were."""
    n_customers = len(values["lifetime_value"])
    told = {}
    for axis in axes:
        dominant = axis.memberships.argmax(axis=1)
        for position, (name, source) in enumerate(zip(axis.names, axis.sources, strict=True)):
            mine = dominant == position
            typical = {
                feature.name: float(np.median(values[feature.name][mine]))
                for feature in axis.axis.features_from(source)
                if mine.any()
            }
            told[axis.axis.name, name] = (int(mine.sum()), axis.axis, typical, source)
    rows = []
    for axis_name, name, was in segments.select("axis_name", "segment_name", "interpretation").iter_rows():
        count, of_axis, typical, source = told[axis_name, name]
        share = count / n_customers
        of_members = interpretation(of_axis, typical, share=share, source=source) if count else None
        rows.append((of_members or interpretation_of_nobody(was), 100 * share, count))
    columns = ["interpretation", "population_percentage", "customer_count"]
    return segments.with_columns(pl.DataFrame(rows, schema=columns, orient="row"))


def _renewed(dimension: pl.DataFrame, of_customers: Any, values: Mapping[str, Array]) -> pl.DataFrame:
    """An archetype table with its members counted. of_customers : everyone's archetype on that level"""
    numbers = dict(zip(dimension["archetype_id"], range(dimension.height), strict=True))
    group = pl.Series(of_customers).replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
    return dimension.with_columns(pl.DataFrame(group_figures(group, values, n_groups=dimension.height)))


def _told(level1: pl.DataFrame, standing: Standing) -> pl.DataFrame:
    """Level 1 with how many of its members were folded in, and itself as it is served."""
    folded = pl.DataFrame({"archetype_id": standing.level1, "folded": standing.fold_distance > 0})
    counts = folded.group_by("archetype_id").agg(folded_count=pl.col("folded").sum().cast(pl.Int64))
    renewed = level1.drop("folded_count").join(counts, on="archetype_id", how="left", maintain_order="left")
    renewed = renewed.with_columns(pl.col("folded_count").fill_null(0))
    dominant = [json.loads(each) for each in renewed["dominant_segments"]]
    key_traits = [json.loads(each or "[]") for each in renewed["key_traits"]]
    return renewed.with_columns(profile=pl.Series(archetype_profiles(renewed, dominant, key_traits), dtype=pl.String))


def _shifts(report: Mapping[str, Any], discovered: Mapping[str, Any]) -> dict[str, float]:
    """Per axis, how far the shares of its segments have shifted since they were discovered."""
    then = {
        axis["axis"]: {each["segment_id"]: each["share"] for each in axis.get("segments", [])}
        for axis in discovered["axes"]
    }
    return {
        axis["axis"]: psi(
            np.array([each["share"] for each in axis["segments"]]),
            np.array([then[axis["axis"]][each["segment_id"]] for each in axis["segments"]]),
        )
        for axis in report["axes"]
        if axis.get("segments")
    }
