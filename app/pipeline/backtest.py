"""What a store's predictions would have been worth on days of its past, beside what simple models reach."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from app.core.errors import AppError, InvalidInput, NotEnoughHistory
from app.core.progress import Progress, unheard
from app.pipeline.predict import known_day, read_records
from app.pipeline.purchases import purchases_of
from app.pipeline.tastes import Tastes
from app.prediction.backtest import backtest_churn, backtest_spend, mean_of, measured
from app.prediction.churn import LEAST_HISTORY_DAYS, Past
from app.prediction.cohort_visits import cohort_visits
from app.prediction.forecasting import backtest_series, whole_months
from app.prediction.growth import LEAST_MONTHS
from app.prediction.purchases import Floats, Purchases
from app.prediction.standing import STEP_DAYS
from app.warehouse.behaviour import Behaviour
from app.warehouse.engine import Database
from app.warehouse.stores import Store

_EPOCH = date(1970, 1, 1)
#: Days after the last cut at least: less, and nothing could be measured.
LEAST_AFTER_DAYS = STEP_DAYS
#: Between cuts where their number is given: the longest horizon that every cut is measured on, so that they tell of
#: different days.
BETWEEN_CUTS_DAYS = 90


async def backtest(
    database: Database,
    store_id: str,
    cuts: int | Sequence[date],
    *,
    now: datetime,
    horizon_days: int | None = None,
    progress: Progress = unheard,
) -> dict[str, Any]:
    """How good the predictions of each cut were, plain enough for JSON. What came after a cut is not used before it.

    cuts : days on the shop's clock; or how many of them, 90 days apart, the last 90 days before the records end
    horizon_days : of the risk score, the same for all; None for each customer's own

    Raises StoreNotFound, InvalidInput for a cut with less than 30 days of records after it, or NotEnoughHistory where
    no cut has enough before it.
    """
    store, behaviour, as_of, *_ = await read_records(database, store_id, as_of=None, now=now, progress=progress)
    return await asyncio.to_thread(
        _measured, store, behaviour, cuts, as_of=as_of, horizon_days=horizon_days, progress=progress
    )


def _measured(
    store: Store,
    behaviour: Behaviour,
    cuts: int | Sequence[date],
    *,
    as_of: datetime,
    horizon_days: int | None,
    progress: Progress,
) -> dict[str, Any]:
    end = known_day(as_of, store.timezone)
    days = cut_days(cuts, end=end)
    past = Past(purchases_of(behaviour))
    tastes = Tastes(behaviour, store.timezone)
    told, refused = [], []
    with threadpool_limits(1):
        for number, day in enumerate(days):
            progress(f"{_day(day)}", number / len(days))
            try:
                told.append(_cut(past, tastes, day, end=end, horizon_days=horizon_days))
            except NotEnoughHistory as error:
                refused.append({"cut": _day(day), "why": str(error)})
        if not told:
            raise _nothing_to_tell(refused, past.purchases)
        progress("growth", 1.0)
        growth = growth_backtest(past.purchases, end=end)
    return {
        "store_id": store.store_id,
        "currency": store.currency,
        "as_of": as_of.isoformat(),
        "cuts": told,
        "refused": refused,
        "mean": _means(told),
        "growth": growth,
    }


def cut_days(cuts: int | Sequence[date], *, end: int) -> list[int]:
    """The cuts as days since 1970-01-01, in order. end : the day on which the records end"""
    if isinstance(cuts, int):
        return [end - BETWEEN_CUTS_DAYS * (number + 1) for number in reversed(range(cuts))]
    days = sorted({(day - _EPOCH).days for day in cuts})
    for day in days:
        if day + LEAST_AFTER_DAYS > end:
            raise InvalidInput(
                f"After the cut {_day(day)} there are not {LEAST_AFTER_DAYS} days of records, which end with "
                f"{_day(end - 1)}. Take {_day(end - LEAST_AFTER_DAYS)} or an earlier day."
            )
    return days


def _nothing_to_tell(refused: Sequence[Mapping[str, str]], purchases: Purchases) -> AppError:
    days = purchases.end_day - purchases.first_day
    first = f" ({refused[0]['cut']})" if refused else ""
    return NotEnoughHistory(
        f"no cut{first} has the {LEAST_HISTORY_DAYS + STEP_DAYS} days of orders before it that predictions need",
        found=max(days, 0),
    )


def _cut(past: Past, tastes: Tastes, day: int, *, end: int, horizon_days: int | None) -> dict[str, Any]:
    model, churn, outcomes, levels = backtest_churn(
        past, day, end=end, find_segments=tastes.segments, fixed_horizon=horizon_days
    )
    spend: dict[str, Any] | None = None
    missing = None
    try:
        found = backtest_spend(past, day, model, churn, end=end, segments=tastes.segments(past.rules_day(day)))
        if found is not None:
            trained, spend = found
            spend["degraded"] = trained.degraded
    except NotEnoughHistory as error:
        missing = str(error)
    return {
        "cut": _day(day),
        "n_customers": len(churn.stands.customers),
        "served": model.chances.family.value,
        "seasonal": model.chances.shifted,
        "degraded": model.degraded,
        "training_days": [_day(each) for each in model.training_days],
        "tried": [
            {
                "candidate": each.family.value,
                "seasonal": each.seasonal,
                "chosen": each.chosen,
                "why": each.why,
                "measures": each.measures and asdict(each.measures),
            }
            for each in model.tried
        ],
        "churn": [measured(each) for each in outcomes],
        "levels": levels,
        "spend": spend,
        "spend_missing": missing,
    }


def _means(cuts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every figure of every model, averaged over the cuts that have it."""
    found: dict[str, Any] = {"churn": {}, "spend": None}
    for horizon in dict.fromkeys(each["horizon"] for cut in cuts for each in cut["churn"]):
        of_horizon = [each for cut in cuts for each in cut["churn"] if each["horizon"] == horizon]
        found["churn"][horizon] = {
            who: mean_of([each[who]["models"] for each in of_horizon if each[who] is not None])
            for who in ("everyone", "repeat_buyers")
        }
    spent = [cut["spend"]["models"] for cut in cuts if cut["spend"] is not None]
    if spent:
        found["spend"] = mean_of(spent)
    return found


def growth_backtest(purchases: Purchases, *, end: int) -> dict[str, Any]:
    """Monthly net revenue, orders' days and newcomers: what would have been served at each of the last months."""
    visits = purchases.visits
    if not len(visits.day):
        return {}
    n_days = end - purchases.first_day
    at = visits.day - purchases.first_day
    spent: Floats = np.bincount(at, visits.paid, minlength=n_days).astype(np.float64)
    back = purchases.refunds.day - purchases.first_day
    inside = (back >= 0) & (back < n_days)
    spent -= np.bincount(back[inside], purchases.refunds.amount[inside], minlength=n_days)
    first_day = _EPOCH + timedelta(days=purchases.first_day)
    revenue = whole_months(first_day, spent)
    visited = whole_months(first_day, np.bincount(at, minlength=n_days).astype(np.float64))
    n_months = len(visited.values)
    by_age = cohort_visits(visits.customer, visits.day, first=visited.first, n_months=n_months)
    series = {
        "revenue": (revenue.values, by_age),
        "visits": (visited.values, by_age),
        "new_customers": (by_age.newcomers, None),
    }
    return {
        name: {"months": n_months, **asdict(backtest_series(values, visits=ages))} if n_months >= LEAST_MONTHS else None
        for name, (values, ages) in series.items()
    }


def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=number)).isoformat()
