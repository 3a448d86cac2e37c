"""Do a store's segments tell what its customers will do next? Found before a day, measured by what came after it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from app.core.dates import start_of_day
from app.core.errors import InvalidInput
from app.core.progress import Progress, unheard
from app.pipeline.features import feature_values, shop_day
from app.pipeline.run import MIN_POPULATION, latest_as_of, needs_met
from app.segmentation.axes import AXES
from app.segmentation.discovery import DiscoveryOptions, discover
from app.segmentation.membership import Array
from app.segmentation.usefulness import DEALS, FOLDS, RESAMPLES, Cut, compare, rows_of, tell
from app.warehouse.behaviour import Behaviour, read_behaviour
from app.warehouse.engine import Database
from app.warehouse.stores import Store, read_store

HORIZON_DAYS = 90
_HORIZON = timedelta(days=HORIZON_DAYS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What customers did in the 90 days from a cut, each (n_customers,).

    bought : 1 who placed an order, else 0
    spent  : in the store's currency: orders less what was given back in those days, at least 0
    """

    bought: Array
    spent: Array


async def usefulness(
    database: Database,
    store_id: str,
    cuts: int | Sequence[date],
    *,
    now: datetime,
    options: DiscoveryOptions,
    progress: Progress = unheard,
) -> dict[str, Any]:
    """How well segments found before each cut tell the 90 days after it, beside RFM; plain enough for JSON.

    cuts : days on the shop's clock; or how many of them, 90 days apart, the last 90 days before the records end

    Raises StoreNotFound, or InvalidInput for a cut with less than 90 days of records after it or too few customers.
    """
    progress("reading", 0.0)
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        end = await latest_as_of(connection, store, now=now)
        days = _days(cuts, end=end.astimezone(ZoneInfo(store.timezone)).date())
        everything = await read_behaviour(connection, store_id, as_of=end, timezone=store.timezone)
        known = {
            day: await read_behaviour(
                connection, store_id, as_of=start_of_day(day, store.timezone), timezone=store.timezone
            )
            for day in days
        }
    for day, behaviour in known.items():
        _refuse_too_few(store_id, day, len(behaviour.customer_ids))
    measured, about = [], []
    for day, behaviour in known.items():
        outcome = outcome_of(
            everything, behaviour.customer_ids, first_day=shop_day(start_of_day(day, store.timezone), store.timezone)
        )
        measured.append(_cut(day, behaviour, everything, outcome, store, options, progress))
        about.append(_about(day, outcome))
    progress("comparing", 0.0)
    by_cut, mean = compare(measured)
    return {
        "store_id": store_id,
        "horizon_days": HORIZON_DAYS,
        "folds": FOLDS,
        "deals": DEALS,
        "resamples": RESAMPLES,
        "cuts": [
            {**told, "rows": [asdict(score) for score in scores]} for told, scores in zip(about, by_cut, strict=True)
        ],
        "mean": [asdict(score) for score in mean],
    }


def outcome_of(everything: Behaviour, customer_ids: Sequence[str], *, first_day: float) -> Outcome:
    """What these customers did in the 90 days from `first_day`, as `shop_day` counts.

    everything : records that reach as far
    """

    def then(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.col("day") >= first_day, pl.col("day") < first_day + HORIZON_DAYS)

    n_all = len(everything.customer_ids)
    orders, refunds = then(everything.orders), then(everything.refunds)
    placed = np.bincount(orders["customer"], minlength=n_all)
    paid = np.bincount(orders["customer"], weights=orders["value"], minlength=n_all)
    given_back = np.bincount(refunds["customer"], weights=refunds["amount"], minlength=n_all)
    mine = np.searchsorted(everything.customer_ids, customer_ids)
    return Outcome(bought=(placed[mine] > 0).astype(np.float64), spent=np.maximum(paid[mine] - given_back[mine], 0.0))


def _cut(
    day: date,
    behaviour: Behaviour,
    everything: Behaviour,
    outcome: Outcome,
    store: Store,
    options: DiscoveryOptions,
    progress: Progress,
) -> Cut:
    """What is told of a cut. Groups come of `behaviour` alone; their means, and the scores, of `outcome`."""

    def in_cut(step: str, done: float) -> None:
        progress(f"{day}: {step}", done)

    in_cut("features", 0.0)
    values = feature_values(behaviour, as_of=start_of_day(day, store.timezone), timezone=store.timezone)
    found = discover(store.store_id, values, AXES, available=needs_met(behaviour), options=options, progress=in_cut)
    spend = np.log1p(outcome.spent)
    rows = rows_of(found, values)
    told = []
    for number, row in enumerate(rows):
        in_cut("telling", number / len(rows))
        told.append(tell(row, outcome.bought, spend))
    return Cut(
        positions=np.searchsorted(everything.customer_ids, behaviour.customer_ids).astype(np.int64),
        bought=outcome.bought,
        spend=spend,
        told=tuple(told),
    )


def _about(day: date, outcome: Outcome) -> dict[str, Any]:
    share = float(outcome.bought.mean())
    return {
        "cut": day.isoformat(),
        "n_customers": len(outcome.bought),
        "bought_share": share,
        "mean_spend": float(outcome.spent.mean()),
        "note": {0.0: "nobody bought", 1.0: "everybody bought"}.get(share),
    }


def _days(cuts: int | Sequence[date], *, end: date) -> list[date]:
    """The cuts, in order. end : the day on which the records end, itself not covered"""
    last = end - _HORIZON
    if isinstance(cuts, int):
        return [last - number * _HORIZON for number in reversed(range(cuts))]
    for day in cuts:
        if day > last:
            raise InvalidInput(
                f"After the cut {day} there are not {HORIZON_DAYS} days of records, which end with "
                f"{end - timedelta(days=1)}. Take {last} or an earlier day."
            )
    return sorted(set(cuts))


def _refuse_too_few(store_id: str, day: date, n_customers: int) -> None:
    if n_customers < MIN_POPULATION:
        raise InvalidInput(
            f"Store '{store_id}' has {n_customers} customers with a purchase before the cut {day}; {MIN_POPULATION} "
            "are needed. Take fewer or later cuts, or import more orders."
        )
