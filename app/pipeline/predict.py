"""From records to published predictions: train on the shop's own past, choose, tell everyone, publish."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import structlog
from threadpoolctl import threadpool_limits

from app import __version__
from app.core.dates import start_of_day
from app.core.errors import AppError, InvalidInput, NotEnoughHistory, PredictionInProgress
from app.core.progress import Progress, unheard
from app.domain.value_tiers import TIERS, Tier, TierMode, value_tiers
from app.pipeline.features import shop_day
from app.pipeline.growth import NOTHING_BESIDE, Beside, TrainedGrowth, read_beside, train_growth
from app.pipeline.purchases import purchases_of
from app.pipeline.run import latest_as_of
from app.pipeline.tastes import Tastes
from app.prediction.backtest import proof
from app.prediction.chances import Family
from app.prediction.churn import LEVELS, Churn, ChurnModel, Level, Past, Tried, predict_churn, train_churn, trend
from app.prediction.explanation import typical_customer
from app.prediction.next_order import next_order
from app.prediction.purchases import Floats, Purchases
from app.prediction.side_by_side import side_by_side
from app.prediction.standing import NAMES
from app.prediction.value import SPEND_DAYS, SpendModel, TrainedSpend, estimate_by, train_spend
from app.warehouse import predictions
from app.warehouse.behaviour import Behaviour, read_behaviour, with_records_between
from app.warehouse.engine import Connection, Database
from app.warehouse.exports import PREDICTION_COLUMNS
from app.warehouse.stores import Store, read_store

log = structlog.get_logger()

#: Of what is stored of the models that tell customers anew: another number where it is made of other parts.
PARAMETERS_FORMAT = 2
_EPOCH = date(1970, 1, 1)
_DECIMALS, _MONEY_DECIMALS = 6, 4
#: Of columns that can be all null, or hold small numbers.
_TYPES = {
    "horizon_days": pl.Int16,
    **dict.fromkeys(
        ("expected_spend_90d", "expected_spend_low", "expected_spend_high", "predicted_ltv_12m"), pl.Float64
    ),
    **dict.fromkeys(("next_order_on", "next_order_earliest", "next_order_latest"), pl.Date),
}
#: Whoever has bought since is told anew so many at a time.
_TOLD_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """as_of : only records before this moment count; None as for a discovery
    horizon_days : of the risk score, the same for all; None for each customer's own
    threads : how many cores it may take
    tier_mode : how lifetime values are cut into tiers
    """

    as_of: datetime | None = None
    horizon_days: int | None = None
    threads: int = 1
    tier_mode: TierMode = TierMode.percentile


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a shop as of a moment.

    rows   : of `fact_customer_prediction`, sorted by customer_id
    models : of `prediction_models`
    spend_missing : why spend cannot be told of anybody; None where it is
    """

    as_of: datetime
    rows: pl.DataFrame
    models: list[dict[str, Any]]
    churn: ChurnModel
    told: Churn
    spend: TrainedSpend | None
    spend_missing: str | None
    past: Past
    growth: TrainedGrowth | None


@dataclass(frozen=True, slots=True)
class PredictResult:
    prediction_id: int
    report: Mapping[str, Any]


async def predict(
    database: Database, store_id: str, options: PredictOptions, *, now: datetime, progress: Progress = unheard
) -> PredictResult:
    """Train, choose and publish a store's predictions; until it is done, and if it fails, those before stay served.

    Raises StoreNotFound, InvalidInput for a moment that lies ahead, NotEnoughHistory, or PredictionInProgress.
    """
    _check_moment(options.as_of, now=now)
    begun = time.monotonic()
    async with database.session_lock(predictions.lock_key(store_id)) as free:
        if not free:
            raise PredictionInProgress(store_id=store_id)
        async with database.transaction() as connection:
            await read_store(connection, store_id)
            prediction_id = await predictions.start(connection, store_id, as_of=options.as_of or now)
        try:
            store, behaviour, as_of, latest, beside = await read_records(
                database, store_id, as_of=options.as_of, now=now, progress=progress
            )
            told = await asyncio.to_thread(
                tell,
                store,
                behaviour,
                beside,
                as_of=as_of,
                horizon_days=options.horizon_days,
                threads=options.threads,
                progress=progress,
            )
            progress("publishing", 0.0)
            report = report_of(told)
            async with database.transaction() as connection:
                # Held before it is asked who was told what: of who is deleted later the report would go on telling.
                await predictions.hold_to_publish(connection, store_id)
                before = await predictions.read_levels(connection, store_id)
                report["crossed"] = crossed(told, before, mode=options.tier_mode)
                anew = await predictions.publish(
                    connection, store_id, prediction_id, rows=told.rows, models=told.models, report=report, as_of=as_of
                )
                if options.as_of is None:
                    if anew:
                        by_now = now + timedelta(seconds=time.monotonic() - begun)
                        latest = max(latest, await latest_as_of(connection, store, now=by_now))
                    await _tell_since(database, connection, store, anew, as_of=as_of, latest=latest)
        except Exception as error:
            async with database.transaction() as connection:
                await predictions.fail(connection, prediction_id, _failure(error))
            raise
    log.info("predictions.published", prediction_id=prediction_id, store_id=store_id, n_customers=told.rows.height)
    return PredictResult(prediction_id, report)


def _failure(error: Exception) -> str:
    """In one line that may be shown. Of an error that is not ours only its name: its words may hold a customer's."""
    return str(error) if isinstance(error, AppError) else f"Something of ours went wrong: {type(error).__name__}."


async def _tell_since(
    database: Database,
    connection: Connection,
    store: Store,
    anew: Sequence[str],
    *,
    as_of: datetime,
    latest: datetime,
) -> None:
    """Whoever has records since the moment that is published, or was told anew meanwhile, is told as of the latest."""
    from app.pipeline.predict_some import predict_some

    late = await with_records_between(connection, store.store_id, as_of, latest) if as_of < latest else []
    since = sorted({*late, *anew})
    for first in range(0, len(since), _TOLD_AT_ONCE):
        await predict_some(database, connection, store, since[first : first + _TOLD_AT_ONCE], as_of=latest)


def _check_moment(as_of: datetime | None, *, now: datetime) -> None:
    if as_of is not None and as_of > now:
        raise InvalidInput(f"As of {as_of:%Y-%m-%d} lies in the future. Take a day up to today.")


async def read_records(
    database: Database, store_id: str, *, as_of: datetime | None, now: datetime, progress: Progress = unheard
) -> tuple[Store, Behaviour, datetime, datetime, Beside]:
    """A store, its records before a moment, that moment, the one up to which its records are complete, and what growth
    is told by beside.

    as_of : None for the last midnight of the shop before which there are orders, so that what is told, and what history
            keeps of it, is of whole days

    Raises StoreNotFound, or InvalidInput for a moment that lies ahead.
    """
    _check_moment(as_of, now=now)
    progress("reading", 0.0)
    async with database.snapshot() as connection, database.snapshot(beside=connection) as beside:
        store = await read_store(connection, store_id)
        latest = as_of or await latest_as_of(connection, store, now=now)
        today = latest.astimezone(ZoneInfo(store.timezone)).date()
        for moment in sorted({as_of or start_of_day(today, store.timezone), latest}):
            behaviour = await read_behaviour(connection, store_id, as_of=moment, timezone=store.timezone, beside=beside)
            if behaviour.customer_ids:
                break
        known_beside = await read_beside(connection, store, as_of=moment)
    return store, behaviour, moment, latest, known_beside


async def told_as_of(
    database: Database, store_id: str, options: PredictOptions, *, now: datetime, progress: Progress = unheard
) -> pl.DataFrame:
    """What would have been predicted at a moment, from what was known then, in the columns of `export predictions`.

    Nothing is kept. Raises as `predict` does.
    """
    store, behaviour, as_of, *_ = await read_records(
        database, store_id, as_of=options.as_of, now=now, progress=progress
    )
    told = await asyncio.to_thread(
        tell,
        store,
        behaviour,
        None,
        as_of=as_of,
        horizon_days=options.horizon_days,
        threads=options.threads,
        progress=progress,
    )
    model = f"{told.churn.chances.family.value} {__version__}"
    return told.rows.with_columns(
        as_of=pl.lit(as_of.astimezone(UTC).isoformat()),
        next_order_date=pl.col("next_order_on"),
        model=pl.lit(model),
    ).select(*PREDICTION_COLUMNS)


def known_day(as_of: datetime, timezone: str) -> int:
    """The day that begins when the records end: the shop's day of a midnight, else the one after it."""
    return math.ceil(shop_day(as_of, timezone))


def tell(
    store: Store,
    behaviour: Behaviour,
    beside: Beside | None = NOTHING_BESIDE,
    *,
    as_of: datetime,
    horizon_days: int | None = None,
    threads: int = 1,
    progress: Progress = unheard,
) -> Told:
    """Train on records before a moment and tell everyone in them. Raises NotEnoughHistory.

    beside : what growth takes besides; None where only customers are to be told, without proofs
    """
    known = known_day(as_of, store.timezone)
    # Each of one thread: the work between two meetings of threads is so short that they would mostly wait.
    with threadpool_limits(1), side_by_side(threads) as pool:
        progress("learning who comes back", 0.0)
        past = Past(purchases_of(behaviour))
        tastes = Tastes(behaviour, store.timezone)
        churn = train_churn(past, known, find_segments=tastes.segments, threads=threads)
        segments = tastes.segments(past.rules_day(known))
        progress("telling who comes back", 0.0)
        told = predict_churn(
            churn, past.purchases, known=known, segments=segments, fixed_horizon=horizon_days, threads=threads
        )
        progress("learning what is spent", 0.0)
        spending = pool.submit(train_spend, past, known, churn, segments=segments)
        if beside is not None:
            proving = pool.submit(proof, past, known, churn, segments=segments, fixed_horizon=horizon_days)
            looking = pool.submit(train_growth, store, behaviour, past.purchases, known, beside)
        spend, missing = None, None
        try:
            spend = spending.result()
        except NotEnoughHistory as error:
            missing = str(error)
        rules = tastes.rules(past.rules_day(known))
        model = spend.model if spend is not None else None
        columns = columns_of(behaviour.customer_ids, past.purchases, told, model, known=known, as_of=as_of)
        rows = pl.DataFrame(columns, schema_overrides=_TYPES)
        proofs, growth = {}, None
        if beside is not None:
            progress("proving it and looking ahead", 0.0)
            proofs, growth = proving.result(), looking.result()
    made_of = {
        "format": PARAMETERS_FORMAT,
        "chances": churn.chances.stored(),
        "tastes": rules.stored() if rules is not None and churn.chances.reads_segments else None,
        "typical": typical_customer(told.seen),
        "fixed_horizon": horizon_days,
    }
    models = [*_churn_rows(churn, made_of, proofs), *_spend_rows(spend), *(growth.models if growth else [])]
    return Told(as_of, rows, models, churn, told, spend, missing, past, growth)


def columns_of(
    customer_ids: Sequence[str],
    purchases: Purchases,
    told: Churn,
    spend: SpendModel | None,
    *,
    known: int,
    as_of: datetime,
) -> dict[str, list[Any]]:
    """The columns of `fact_customer_prediction`, without store and prediction. spend : None where it cannot be told"""
    n = len(told.stands.customers)
    nothing = np.full(n, np.nan)
    expected, low, high, yearly = nothing, nothing, nothing, nothing
    if spend is not None:
        expected = estimate_by(purchases, spend, told.stands, told.away_90, known=known)
        low, high = spend.interval.around(expected)
        yearly = spend.over_a_year(told.stands, expected)
    order = next_order(told.chances)
    # Lists, not series: of one customer a column by itself takes longer than the models do.
    return {
        "customer_id": [customer_ids[who] for who in told.stands.customers.tolist()],
        "as_of": [as_of] * n,
        "p_no_purchase_30d": told.away_30.round(_DECIMALS).tolist(),
        "p_no_purchase_90d": told.away_90.round(_DECIMALS).tolist(),
        "churn_risk_score": told.risk.round(_DECIMALS).tolist(),
        "horizon_days": told.horizon_days.tolist(),
        "risk_level": [LEVELS[code].value for code in told.level.tolist()],
        "engagement_trend": [each.value for each in trend(told.stands)],
        "expected_spend_90d": _amounts(expected),
        "expected_spend_low": _amounts(low),
        "expected_spend_high": _amounts(high),
        "predicted_ltv_12m": _amounts(yearly),
        "next_order_on": _dates(known, order.expected),
        "next_order_earliest": _dates(known, order.earliest),
        "next_order_latest": _dates(known, order.latest),
    }


def _amounts(values: Floats) -> list[float | None]:
    return [None if each != each else each for each in values.round(_MONEY_DECIMALS).tolist()]


def _dates(known: int, days: Floats) -> list[date | None]:
    """Days from `known` as dates of the shop; None where there is none."""
    return [None if each != each else _day(known + int(each)) for each in days.tolist()]


def _day(number: int) -> date:
    return _EPOCH + timedelta(days=number)


def _churn_rows(model: ChurnModel, made_of: Mapping[str, Any], proofs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for every candidate; of one that was tried in season and out of it, the better."""
    best: dict[Family, Tried] = {}
    for tried in model.tried:
        before = best.get(tried.family)
        if before is None or tried.chosen or (not before.chosen and _loss(tried) < _loss(before)):
            best[tried.family] = tried
    days = model.training_days
    held_out = [_day(day).isoformat() for day in model.held_out_days]
    rows = []
    for family, tried in best.items():
        backtest: dict[str, Any] = {}
        if tried.measures is not None:
            backtest["30d"] = {"held_out": held_out, "seasonal": tried.seasonal, "measures": asdict(tried.measures)}
        if tried.chosen and "30d" in backtest:
            backtest["30d"]["reliability"] = [asdict(each) for each in model.bins]
        if tried.chosen:
            backtest |= proofs
        rows.append(
            {
                "name": "churn",
                "candidate": family.value,
                "version": __version__,
                "status": ("degraded" if model.degraded else "served") if tried.chosen else "candidate",
                "why": model.degraded if tried.chosen and model.degraded else tried.why,
                "trained_from": _day(days[-1]),
                "trained_to": _day(model.known_day),
                "features": list(model.chances.names) if tried.chosen else [],
                "backtest": backtest or None,
                "parameters": made_of if tried.chosen else None,
            }
        )
    return rows


def _loss(tried: Tried) -> float:
    return math.inf if tried.measures is None or tried.measures.log_loss is None else tried.measures.log_loss


def _spend_rows(spend: TrainedSpend | None) -> list[dict[str, Any]]:
    if spend is None:
        return []
    model = spend.model
    return [
        {
            "name": "spend",
            "candidate": tried.estimate.value,
            "version": __version__,
            "status": ("degraded" if spend.degraded else "served") if tried.chosen else "candidate",
            "why": spend.degraded if tried.chosen and spend.degraded else tried.why,
            "trained_from": _day(spend.training_days[-1]),
            "trained_to": _day(spend.training_days[0] + SPEND_DAYS),
            "features": list(NAMES) if tried.chosen else [],
            "backtest": tried.measures
            and {
                "90d": {
                    "held_out": [_day(spend.held_out_day).isoformat()],
                    "measures": asdict(tried.measures),
                    "interval_coverage": model.interval.coverage,
                }
            },
            "parameters": model.stored() if tried.chosen else None,
        }
        for tried in spend.tried
    ]


def crossed(told: Told, before: Mapping[str, str], *, mode: TierMode) -> list[dict[str, str]]:
    """Who of the shop's most valuable has become critical since they were told last.

    before  : {customer_id: risk level}; of whom nothing was told before nothing is told here
    returns : customer_id, tier and the level before, the most valuable first
    """
    customers = told.told.stands.customers
    ids = told.rows["customer_id"].to_list()
    worth = told.past.purchases.spent(customers, told.past.purchases.first_day, told.churn.known_day)
    tiers = [TIERS[code] for code in value_tiers(worth, mode).codes(worth)] if len(worth) else []
    found = [
        (float(amount), {"customer_id": customer_id, "tier": tier.value, "before": before[customer_id]})
        for customer_id, level, tier, amount in zip(ids, told.told.level.tolist(), tiers, worth, strict=True)
        if LEVELS[level] is Level.critical
        and tier in (Tier.vip, Tier.high)
        and before.get(customer_id, Level.critical.value) != Level.critical.value
    ]
    return [each for _, each in sorted(found, key=lambda item: -item[0])]


def report_of(told: Told) -> dict[str, Any]:
    """What is told of the shop at large, plain enough for JSON."""
    rows = told.rows
    return {
        "as_of": told.as_of.astimezone(UTC).isoformat(),
        "n_customers": rows.height,
        "levels": {level.value: int((told.told.level == code).sum()) for code, level in enumerate(LEVELS)},
        "churn": {
            "model": told.churn.chances.family.value,
            "seasonal": told.churn.chances.shifted,
            "degraded": told.churn.degraded,
            "training_days": [_day(day).isoformat() for day in told.churn.training_days],
        },
        "spend": {
            "model": told.spend.model.estimate.value if told.spend else None,
            "degraded": told.spend.degraded if told.spend else None,
            "missing": told.spend_missing,
        },
        "growth": told.growth.report if told.growth else None,
    }
