"""Do segments tell what customers will do next, and do they tell it as well as RFM?

Customers are grouped by what they did before a day; then what they did after it is told from their group alone, by its
mean over other customers (cross-fitting: Stone 1974). A grouping that knows nothing scores nothing however fine it is,
and a fine one pays for the few customers it has in each group. Two things are told: whether a customer buys, scored by
the area under the ROC curve (the chance that of a buyer and another the buyer is put higher; Hanley & McNeil 1982), and
ln(1 + spend), scored by R². Differences have percentile intervals from resamples of the customers (Efron 1979), the
same ones for both sides.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from app.domain.rfm import grid, rfm_quintiles
from app.segmentation.archetypes import split
from app.segmentation.axes import LEADING
from app.segmentation.discovery import Discovery
from app.segmentation.membership import Array

Codes = NDArray[np.int64]
#: What would come of a target, (n_customers,), told in folds, (n_customers,), of which each is told from the others.
Teller = Callable[[Array, Codes], Array]

FOLDS = 10
#: Ways of cutting customers into folds that scores are the mean of.
DEALS = 3
RESAMPLES = 500
#: The row every other is compared with.
RFM_QUINTILES = "rfm_quintiles"
#: A membership below this counts as this in its log-odds.
LEAST_SHARE = 1e-6
_MOST_BINS = 10
_RESAMPLES_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One way of telling. n_groups : None where it is no grouping"""

    name: str
    n_groups: int | None
    tell: Teller


@dataclass(frozen=True, slots=True)
class Told:
    """What a row said of each customer before it was known.

    bought, spend : (DEALS, n_customers), the chance to buy and ln(1 + spend)
    """

    name: str
    n_groups: int | None
    bought: Array
    spend: Array


@dataclass(frozen=True, slots=True)
class Cut:
    """What customers did after one day, and what was told of it.

    positions : (n_customers,) which of all customers measured on any day these are
    bought    : (n_customers,) 1 who ordered, else 0
    spend     : (n_customers,) ln(1 + what they spent)
    told      : the same rows on every day, RFM_QUINTILES among them
    """

    positions: Codes
    bought: Array
    spend: Array
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Against:
    """A difference from RFM quintiles, and its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Score:
    """How well a row tells. auc, r2 : None where there is nothing to tell apart: everyone did the same"""

    name: str
    n_groups: float | None
    auc: float | None
    auc_against: Against | None
    r2: float | None
    r2_against: Against | None


def rows_of(found: Discovery, values: Mapping[str, Array]) -> list[Row]:
    """RFM and what was found, each as finely as it is and as finely as the other, all from before the day.

    values : features and metrics by name, (n_customers,)
    """
    rfm = (values["recency_days"], values["total_orders"], values["lifetime_value"])
    quintiles = grid(*rfm, bins=(5, 5, 5))
    level1 = found.archetypes.level1
    columns = fingerprint([axis.memberships for axis in found.signature], n_customers=len(level1))
    return [
        _grouped(RFM_QUINTILES, quintiles),
        _grouped("rfm_as_many", rfm_in(_n_groups(level1), *rfm)),
        _grouped("rfm_groups", rfm_quintiles(*rfm).scores(*rfm).groups),
        _grouped("archetypes_l1", level1),
        _grouped("archetypes_l1_as_many", level1_in(_n_groups(quintiles), found)),
        _grouped("archetypes_l2", found.archetypes.level2),
        _grouped("archetypes_l3", found.archetypes.level3),
        Row("memberships", None, partial(tell_by_line, columns)),
        Row("all_features", None, partial(tell_by_trees, np.column_stack(list(values.values())))),
    ]


def _grouped(name: str, groups: Codes) -> Row:
    return Row(name, _n_groups(groups), partial(tell_by_groups, groups))


def _n_groups(groups: Codes) -> int:
    return len(np.unique(groups))


def rfm_in(n_groups: int, recency_days: Array, orders: Array, value: Array) -> Codes:
    """The RFM grid whose number of populated cells is nearest; of several the one with the most equal bins."""

    def apart(bins: tuple[int, int, int]) -> tuple[int, int, tuple[int, ...]]:
        cells = len(np.unique(steps[0, bins[0]] + steps[1, bins[1]] + steps[2, bins[2]]))
        return abs(cells - n_groups), max(bins) - min(bins), bins

    ones = np.ones_like(orders)
    tried = range(1, _MOST_BINS + 1)
    steps = {}
    for bins in tried:
        steps[0, bins] = grid(recency_days, ones, ones, bins=(bins, 1, 1)) * _MOST_BINS**2
        steps[1, bins] = grid(ones, orders, ones, bins=(1, bins, 1)) * _MOST_BINS
        steps[2, bins] = grid(ones, ones, value, bins=(1, 1, bins))
    nearest = min(product(tried, tried, tried), key=apart)
    return grid(recency_days, orders, value, bins=nearest)


def level1_in(n_groups: int, found: Discovery) -> Codes:
    """Level 1 split on until its number of kinds is nearest: the same splits, of kinds with more or fewer members."""
    order = found.archetypes.order
    shares = [axis.memberships for axis in found.signature] or [np.ones((len(found.archetypes.level1), 1))]
    leading = sum(axis.axis.name in LEADING for axis in found.signature) or None

    def kinds(least: int) -> Codes:
        return split(shares, order, least=least, leading=leading)[1]

    # The more members a kind takes, the fewer kinds.
    few, many = len(shares[0]), 1
    while few - many > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _n_groups(kinds(middle)) >= n_groups else (middle, many)
    return min(kinds(few), kinds(many), key=lambda groups: abs(_n_groups(groups) - n_groups))


def fingerprint(memberships: Sequence[Array], *, n_customers: int) -> Array:
    """Of every segment but the last of each axis, its share and its log-odds against the last.

    memberships : one (n_customers, k) for each axis; with none there are no columns
    returns     : (n_customers, 2 (k - 1) for each axis)
    """
    parts = [np.empty((n_customers, 0))]
    for shares in memberships:
        logs = np.log(np.maximum(shares, LEAST_SHARE))
        parts += [shares[:, :-1], logs[:, :-1] - logs[:, -1:]]
    return np.hstack(parts)


def tell_by_groups(groups: Codes, target: Array, folds: Codes) -> Array:
    """The mean of everyone's group over the other folds; of a group they have nobody of, the mean of all in them."""
    _, groups = np.unique(groups, return_inverse=True)

    def tell(others: NDArray[np.bool_]) -> Array:
        sizes = np.bincount(groups[others], minlength=groups.max() + 1)
        sums = np.bincount(groups[others], weights=target[others], minlength=len(sizes))
        means = np.where(sizes > 0, sums / np.maximum(sizes, 1), target[others].mean())
        told: Array = means[groups[~others]]
        return told

    return _told_in_folds(tell, len(target), folds)


def tell_by_line(columns: Array, target: Array, folds: Codes) -> Array:
    """A linear model of the columns over the other folds: logistic where the target is 0 or 1, else ridge.

    Both hold coefficients back by a squared penalty of 1; the columns are in units that are alike.
    """

    def tell(others: NDArray[np.bool_]) -> Array:
        if not columns.shape[1] or np.ptp(target[others]) == 0:
            return np.full((~others).sum(), target[others].mean())
        model = LogisticRegression(solver="newton-cholesky", max_iter=1_000) if _yes_or_no(target) else Ridge()
        return _of(model.fit(columns[others], target[others]), columns[~others])

    return _told_in_folds(tell, len(target), folds)


def tell_by_trees(columns: Array, target: Array, folds: Codes) -> Array:
    """Gradient boosting (Friedman 2001) of the columns over the other folds."""

    def tell(others: NDArray[np.bool_]) -> Array:
        kind = HistGradientBoostingClassifier if _yes_or_no(target) else HistGradientBoostingRegressor
        if np.ptp(target[others]) == 0:
            return np.full((~others).sum(), target[others].mean())
        model = kind(max_iter=30, max_leaf_nodes=6, early_stopping=False, random_state=0)
        return _of(model.fit(columns[others], target[others]), columns[~others])

    return _told_in_folds(tell, len(target), folds)


def _yes_or_no(target: Array) -> bool:
    return bool(np.isin(target, (0.0, 1.0)).all())


def _of(model: Any, columns: Array) -> Array:
    """What a fitted model says: the chance of a 1 where it is a classifier."""
    told: Array = model.predict_proba(columns)[:, 1] if hasattr(model, "predict_proba") else model.predict(columns)
    return told


def _told_in_folds(tell: Callable[[NDArray[np.bool_]], Array], n_customers: int, folds: Codes) -> Array:
    """tell : from who are the others, what the rest will do"""
    told = np.empty(n_customers)
    with threadpool_limits(limits=1):
        for fold in np.unique(folds):
            others = folds != fold
            told[~others] = tell(others)
    return told


def deal(n_customers: int, *, seed: int) -> Codes:
    """(n_customers,) folds of equal size, drawn at random."""
    return np.random.default_rng(seed).permutation(np.arange(n_customers) % FOLDS)


def tell(row: Row, bought: Array, spend: Array) -> Told:
    """What a row says of each customer from the others. bought, spend : (n_customers,), as in `Cut`; at least FOLDS"""
    folds = [deal(len(bought), seed=seed) for seed in range(DEALS)]
    return Told(
        name=row.name,
        n_groups=row.n_groups,
        bought=np.stack([row.tell(bought, each) for each in folds]),
        spend=np.stack([row.tell(spend, each) for each in folds]),
    )


def auc(bought: Array, told: Array, weights: Array | None = None) -> Array:
    """(n_resamples,) area under the ROC curve, NaN where all or none bought. Ties count a half.

    bought  : (n_customers,) 0 or 1
    told    : (n_customers,), in any unit
    weights : (n_customers, n_resamples) how often each customer is in each resample; None for everyone once
    """
    weights = np.ones((len(bought), 1)) if weights is None else weights
    order = np.argsort(told, kind="stable")
    starts = np.flatnonzero(np.diff(told[order], prepend=np.nan) != 0)
    of_all = np.add.reduceat(weights[order], starts, axis=0)
    of_buyers = np.add.reduceat(weights[order] * bought[order, None], starts, axis=0)
    of_others = of_all - of_buyers
    below = np.cumsum(of_others, axis=0) - of_others / 2
    pairs = of_buyers.sum(axis=0) * of_others.sum(axis=0)
    return _divided((of_buyers * below).sum(axis=0), pairs)


def r2(actual: Array, told: Array, weights: Array | None = None) -> Array:
    """(n_resamples,) share of the variance that is told, 1 at most, NaN where nothing varies. Shapes as for `auc`"""
    weights = np.ones((len(actual), 1)) if weights is None else weights
    n_customers = weights.sum(axis=0)
    # Against the mean of everyone, so that squaring loses no digits.
    centred = actual - actual.mean()
    varies = centred**2 @ weights - (centred @ weights) ** 2 / n_customers
    if np.ptp(actual) == 0:
        varies = np.zeros_like(varies)
    return 1 - _divided((actual - told) ** 2 @ weights, varies)


def _divided(number: Array, by: Array) -> Array:
    return np.divide(number, by, out=np.full_like(number, np.nan), where=by > 0)


def compare(cuts: Sequence[Cut], *, seed: int = 0) -> tuple[list[list[Score]], list[Score]]:
    """How well each row tells: on each day, and on the mean of the days on which there is anything to tell.

    A customer who is there on several days is in a resample as often on all of them, so that the interval of the mean
    does not take them for several people.
    """
    told = _measured(cuts)
    again = np.concatenate([_measured(cuts, weights) for weights in _resamples(cuts, seed)], axis=-1)
    names = [row.name for row in cuts[0].told]
    sizes = [[row.n_groups for row in cut.told] for cut in cuts]
    by_cut = [_scores(names, *each) for each in zip(sizes, told[..., 0], again, strict=True)]
    mean_sizes = [None if None in each else float(np.mean(each)) for each in zip(*sizes, strict=True)]
    return by_cut, _scores(names, mean_sizes, _mean(told, there=told)[..., 0], _mean(again, there=told))


def _measured(cuts: Sequence[Cut], weights: Array | None = None) -> Array:
    """(n_cuts, n_rows, 2, n_resamples): AUC and R², each the mean of the deals; NaN where there is nothing to tell.

    weights : (n_all, n_resamples); None for everyone once
    """
    found = []
    for cut in cuts:
        mine = None if weights is None else weights[cut.positions]
        aucs = [np.mean([auc(cut.bought, each, mine) for each in row.bought], axis=0) for row in cut.told]
        r2s = [np.mean([r2(cut.spend, each, mine) for each in row.spend], axis=0) for row in cut.told]
        found.append(np.stack([aucs, r2s], axis=1))
    return np.stack(found)


def _resamples(cuts: Sequence[Cut], seed: int) -> Iterator[Array]:
    """(n_all, n_resamples): how often each of all customers is in each resample, a few resamples at a time."""
    n_all = max(int(cut.positions.max()) for cut in cuts) + 1
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE):
        drawn = [np.bincount(rng.integers(n_all, size=n_all), minlength=n_all) for _ in range(_RESAMPLES_AT_ONCE)]
        yield np.stack(drawn, axis=1).astype(np.float64)


def _mean(measured: Array, *, there: Array) -> Array:
    """(n_rows, 2, n_resamples): over the days on which `there` has something to tell; NaN where that is none."""
    # On one day there is something to tell by every row or by none.
    days = ~np.isnan(there[:, 0, :, 0])
    means = [
        measured[days[:, each], :, each].mean(axis=0)
        if days[:, each].any()
        else np.full_like(measured[0, :, 0], np.nan)
        for each in range(measured.shape[2])
    ]
    return np.stack(means, axis=1)


def _scores(names: Sequence[str], sizes: Sequence[float | None], told: Array, again: Array) -> list[Score]:
    """told : (n_rows, 2); again : (n_rows, 2, n_resamples)"""
    base = names.index(RFM_QUINTILES)
    return [
        Score(
            name=name,
            n_groups=size,
            auc=_number(told[row, 0]),
            auc_against=_against(told[row, 0] - told[base, 0], again[row, 0] - again[base, 0]),
            r2=_number(told[row, 1]),
            r2_against=_against(told[row, 1] - told[base, 1], again[row, 1] - again[base, 1]),
        )
        for row, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _against(difference: float, again: Array) -> Against | None:
    # In a resample nobody may buy, where few do.
    defined = again[~np.isnan(again)]
    if np.isnan(difference) or not len(defined):
        return None
    low, high = np.quantile(defined, (0.025, 0.975))
    return Against(float(difference), float(low), float(high))
