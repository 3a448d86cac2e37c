"""Shops whose customers behave by a rule: what is to be found in them is known."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.prediction.purchases import Floats, Ints, Purchases, Refunds, Visits

#: The day on which they open.
OPENS = (date(2022, 1, 3) - date(1970, 1, 1)).days


def shop_of(customer: Ints, day: Ints, paid: Floats | None = None, *, n: int | None = None) -> Purchases:
    """Visits of one line each, whatever their order; two on one day are one."""
    keys, first = np.unique(np.stack([customer, day]), axis=1, return_index=True)
    spent = np.full(len(first), 20.0) if paid is None else paid[first]
    ones = np.ones(len(first))
    visits = {
        "customer": keys[0],
        "day": keys[1],
        "paid": spent,
        "discount": np.zeros(len(first)),
        "lines": ones,
        "new_products": ones,
        "units": ones,
    }
    nobody = {"customer": np.zeros(0), "day": np.zeros(0), "amount": np.zeros(0)}
    return purchases_from(visits, nobody, n or int(keys[0].max()) + 1)


def buy_till_you_die(
    n_customers: int,
    *,
    days: int = 500,
    seed: int = 1,
    season: float = 0.0,
    mean_gap: float = 60.0,
    spread: float = 1.5,
    leaves: float = 0.12,
) -> Purchases:
    """Customers who come at a rate of their own until they leave, as BG/NBD has them.

    season : how much more they come in the middle of December than in June, in logarithms
    """
    rng = np.random.default_rng(seed)
    first = OPENS + rng.integers(0, days - 60, n_customers)
    rate = rng.gamma(spread, 1 / (spread * mean_gap), n_customers)
    chance_to_leave = rng.beta(1.0, 1 / leaves - 1, n_customers)
    who, when, worth = [np.arange(n_customers)], [first.astype(np.float64)], [rng.lognormal(3, 0.6, n_customers)]
    now, here = first.astype(np.float64), np.ones(n_customers, dtype=np.bool_)
    usual = rng.lognormal(3, 0.6, n_customers)
    for _ in range(200):
        here &= rng.random(n_customers) >= chance_to_leave
        fastest = rate * np.exp(abs(season) / 2)
        now = now + rng.exponential(1 / fastest)
        here &= now < OPENS + days
        if not here.any():
            break
        pace = np.exp(season / 2 * np.cos(2 * np.pi * (now - _MIDWINTER) / 365.25))
        comes = here & (rng.random(n_customers) < pace / np.exp(abs(season) / 2))
        who.append(np.flatnonzero(comes))
        when.append(now[comes])
        worth.append((usual * rng.lognormal(0, 0.3, n_customers))[comes])
    customer = np.concatenate(who)
    return shop_of(customer, np.floor(np.concatenate(when)).astype(np.int64), np.concatenate(worth), n=n_customers)


_MIDWINTER = (date(2022, 12, 15) - date(1970, 1, 1)).days


def purchases_from(visits: Mapping[str, NDArray[Any]], refunds: Mapping[str, NDArray[Any]], n: int) -> Purchases:
    """From plain columns, sorted. visits, refunds : those of `Visits` and `Refunds`, by name"""
    return Purchases(n, Visits(**_typed(visits)), Refunds(**_typed(refunds)))


def _typed(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    keys = ("customer", "day")
    return {name: np.asarray(each, dtype=np.int64 if name in keys else np.float64) for name, each in columns.items()}
