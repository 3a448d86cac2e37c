"""How predictions did against what came.

Of chances: whether they tell customers apart (area under the ROC curve: Hanley & McNeil 1982), and whether they are
true (Brier score; logarithmic loss; expected calibration error, beside what luck alone would leave of it). Of money and
of months: how far off, in which order, and how much in all. Arrays are finite and of equal length. A measure that has
no meaning is None: of nobody, of one class, relative to nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.intervals import WITHIN_95, share_interval

Floats = NDArray[np.float64]

BINS = 10
RESAMPLES = 500
#: Worlds drawn for the noise floor of the calibration error.
WORLDS = 200
#: A chance nearer to 0 or 1 than this counts as this in the logarithmic loss, so that one sure error is not endless.
SUREST = 1e-6
#: More customers than this are many: their interval has the variance of DeLong, DeLong & Clarke-Pearson (1988).
MANY = 20_000
#: Of either class, at least, for that variance to be trusted.
_ENOUGH = 30
#: What is winsorised is clipped from above at this percentile.
WINSOR_PERCENTILE = 99.0
_CELLS_AT_ONCE = 1_000_000


def auc(outcome: Floats, score: Floats) -> float | None:
    """Area under the ROC curve: the chance that of a 1 and a 0 the 1 has the higher score. Ties count a half.

    outcome : (n_customers,) 0 or 1
    score   : (n_customers,), in any unit
    """
    n_ones, n_zeros = float(outcome.sum()), float((1 - outcome).sum())
    if not n_ones or not n_zeros:
        return None
    return float((_ranks(score) @ outcome - n_ones * (n_ones + 1) / 2) / (n_ones * n_zeros))


def brier(outcome: Floats, p: Floats) -> float | None:
    """Mean squared distance of the chance of a 1 from what came (Brier 1950): 0 is best, 1 worst."""
    return float(np.mean((p - outcome) ** 2)) if len(p) else None


def log_loss(outcome: Floats, p: Floats) -> float | None:
    """Minus the mean log-likelihood of what came, chances clipped to 1e-6 .. 1 - 1e-6 (SUREST)."""
    if not len(p):
        return None
    clipped = np.clip(p, SUREST, 1 - SUREST)
    return -float(np.mean(np.where(outcome > 0, np.log(clipped), np.log1p(-clipped))))


def ece(outcome: Floats, p: Floats, *, bins: int = BINS) -> float | None:
    """Expected calibration error: by how much the share of ones differs from the mean chance, averaged over customers.

    outcome : (n_customers,) 0 or 1
    p       : (n_customers,) chance of a 1
    bins    : of equal numbers of customers in order of chance, in the order given where that is the same
    """
    if not len(p):
        return None
    return float(_calibration_errors(outcome[None, :], p, bins)[0])


def ece_noise_floor(p: Floats, *, bins: int = BINS, seed: int = 0, resamples: int = WORLDS) -> float | None:
    """The mean calibration error these chances have if they are true: of outcomes drawn from them.

    p, bins   : as for `ece`
    resamples : how many times everyone's outcome is drawn; of more than MANY customers a bin's sum is normal, and its
                mean deviation is told instead
    """
    if not len(p):
        return None
    if len(p) > MANY:
        order, starts, _ = _bins(p, bins)
        spread = np.sqrt(np.add.reduceat((p * (1 - p))[order], starts))
        return float(np.sqrt(2 / np.pi) * spread.sum() / len(p))
    rng = np.random.default_rng(seed)
    errors = [
        _calibration_errors((rng.random((rows, len(p))) < p).astype(np.float64), p, bins)
        for rows in _blocks(resamples, len(p))
    ]
    return float(np.mean(np.concatenate(errors)))


def _calibration_errors(outcomes: Floats, p: Floats, bins: int) -> Floats:
    """(n_worlds,) calibration error of the same chances. outcomes : (n_worlds, n_customers)"""
    order, starts, _ = _bins(p, bins)
    apart = np.add.reduceat(outcomes[:, order] - p[order], starts, axis=1)
    errors: Floats = np.abs(apart).sum(axis=1) / len(p)
    return errors


def _bins(p: Floats, bins: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Customers in order of chance, where each bin starts among them, and how many are in it; none is empty."""
    sizes = np.array([len(each) for each in np.array_split(np.empty(len(p)), bins)])
    sizes = sizes[sizes > 0]
    return np.argsort(p, kind="stable"), np.cumsum(sizes) - sizes, sizes


def _blocks(resamples: int, n_customers: int) -> Iterator[int]:
    """Into how many resamples at a time they are cut, so that no block of them is large."""
    at_once = max(1, _CELLS_AT_ONCE // n_customers)
    for start in range(0, resamples, at_once):
        yield min(at_once, resamples - start)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Customers whose chances are alike.

    mean_predicted : of their chances
    observed       : share of ones
    low, high      : its 95 % interval (Wilson 1927)
    """

    n: int
    mean_predicted: float
    observed: float
    low: float
    high: float


def reliability_bins(outcome: Floats, p: Floats, *, bins: int = BINS) -> list[ReliabilityBin]:
    """What came of chances from low to high; fewer bins where there are fewer customers. Arguments as for `ece`"""
    if not len(p):
        return []
    order, starts, sizes = _bins(p, bins)
    ones, chances = np.add.reduceat(outcome[order], starts), np.add.reduceat(p[order], starts)
    return [
        ReliabilityBin(int(n), float(chance / n), float(count / n), *share_interval(float(count), int(n)))
        for n, chance, count in zip(sizes, chances, ones, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ChurnMeasures:
    """How chances of a 1 did. base_rate : share of ones; ece_noise_floor : the ece they would have if they were true"""

    n: int
    base_rate: float | None
    auc: float | None
    brier: float | None
    log_loss: float | None
    ece: float | None
    ece_noise_floor: float | None


def churn_measures(outcome: Floats, p: Floats) -> ChurnMeasures:
    """outcome : (n_customers,) 0 or 1; p : (n_customers,) chance of a 1"""
    return ChurnMeasures(
        n=len(p),
        base_rate=float(outcome.mean()) if len(p) else None,
        auc=auc(outcome, p),
        brier=brier(outcome, p),
        log_loss=log_loss(outcome, p),
        ece=ece(outcome, p),
        ece_noise_floor=ece_noise_floor(p),
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one is higher than the other, and its 95 % interval."""

    difference: float
    low: float
    high: float


def auc_difference(
    outcome: Floats, one: Floats, other: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> Difference | None:
    """The area under the ROC curve of one score less that of another; None where all outcomes are of one class.

    The interval is that of percentiles over resamples of the customers, the same ones for both scores (Efron 1979). Of
    MANY customers it is normal, with DeLong's variance by ranks (Sun & Xu 2014): on as many the two hardly differ.

    outcome    : (n_customers,) 0 or 1
    one, other : (n_customers,) scores of the same customers, in any unit
    """
    area, other_area = auc(outcome, one), auc(outcome, other)
    if area is None or other_area is None:
        return None
    difference = area - other_area
    if len(outcome) > MANY and min(outcome.sum(), (1 - outcome).sum()) >= _ENOUGH:
        reach = WITHIN_95 * _delong_error(outcome, one, other)
        return Difference(difference, difference - reach, difference + reach)
    areas, other_areas = _resampled_auc(outcome, one), _resampled_auc(outcome, other)
    rng = np.random.default_rng(seed)
    n = len(outcome)
    again = []
    for rows in _blocks(resamples, n):
        drawn = np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(rows)])
        again.append(areas(drawn) - other_areas(drawn))
    # A resample may hold one class only, where the other is rare.
    defined = np.concatenate(again)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, (0.025, 0.975))
    return Difference(difference, float(low), float(high))


def _resampled_auc(outcome: Floats, score: Floats) -> Callable[[NDArray[np.intp]], Floats]:
    """(n_resamples,) areas from how often each customer is in each resample, (n_resamples, n_customers); NaN where one
    class is all. The scores are sorted once.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)
    is_one = outcome[order] > 0

    def areas(drawn: NDArray[np.intp]) -> Floats:
        ordered = drawn[:, order]
        ones = np.add.reduceat(ordered * is_one, starts, axis=1).astype(np.float64)
        zeros = np.add.reduceat(ordered, starts, axis=1) - ones
        below = np.cumsum(zeros, axis=1) - zeros / 2
        pairs = ones.sum(axis=1) * zeros.sum(axis=1)
        found: Floats = np.divide((ones * below).sum(axis=1), pairs, out=np.full(len(drawn), np.nan), where=pairs > 0)
        return found

    return areas


def _delong_error(outcome: Floats, one: Floats, other: Floats) -> float:
    """Standard error of the difference of two areas of the same customers, by DeLong."""
    ones = outcome > 0
    of_ones, of_zeros = (
        here - there for here, there in zip(_placements(one, ones), _placements(other, ones), strict=True)
    )
    return float(np.sqrt(of_ones.var(ddof=1) / len(of_ones) + of_zeros.var(ddof=1) / len(of_zeros)))


def _placements(score: Floats, ones: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Of each 1 the share of zeros below it, of each 0 the share of ones above it. Ties count a half."""
    among_all = _ranks(score)
    below = (among_all[ones] - _ranks(score[ones])) / (~ones).sum()
    above = 1 - (among_all[~ones] - _ranks(score[~ones])) / ones.sum()
    return below, above


def _ranks(values: Floats) -> Floats:
    """From 1; who ties shares the mean of the ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return ranks


@dataclass(frozen=True, slots=True)
class SpendMeasures:
    """How predicted spend did.

    rmse_winsorised : both clipped from above at the 99th percentile of the actual, so that one customer does not decide
    spearman        : rank correlation, -1..1; None where either side is the same for all
    ratio           : predicted in all for 1 that came; None where nothing came in all, or less
    """

    n: int
    mean_actual: float | None
    rmse: float | None
    rmse_winsorised: float | None
    mae: float | None
    spearman: float | None
    ratio: float | None


def spend_measures(actual: Floats, predicted: Floats) -> SpendMeasures:
    """actual : (n_customers,) money, below 0 where more was refunded than bought; predicted : (n_customers,)"""
    if not len(actual):
        return SpendMeasures(0, None, None, None, None, None, None)
    # A customer's own: interpolated, the 99th percentile of 100 customers is 1 % outlier.
    limit = np.percentile(actual, WINSOR_PERCENTILE, method="lower")
    total = float(actual.sum())
    return SpendMeasures(
        n=len(actual),
        mean_actual=float(actual.mean()),
        rmse=_rms(predicted - actual),
        rmse_winsorised=_rms(np.minimum(predicted, limit) - np.minimum(actual, limit)),
        mae=float(np.abs(predicted - actual).mean()),
        spearman=_spearman(actual, predicted),
        ratio=float(predicted.sum()) / total if total > 0 else None,
    )


def _rms(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _spearman(one: Floats, other: Floats) -> float | None:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


@dataclass(frozen=True, slots=True)
class ForecastMeasures:
    """How forecasts of months did, those of several series taken together.

    n        : months, of which `mape` leaves out those in which nothing came
    mape     : mean of the error relative to what came: .1 is 10 % off
    coverage : share of months inside their interval; None without intervals
    """

    n: int
    mape: float | None
    coverage: float | None


def forecast_measures(
    actual: Floats, forecast: Floats, *, low: Floats | None = None, high: Floats | None = None
) -> ForecastMeasures:
    """actual, forecast : (n_months,); low, high : (n_months,) ends of intervals, which are inside, both or neither"""
    came = actual != 0
    mape = float(np.mean(np.abs(forecast - actual)[came] / np.abs(actual[came]))) if came.any() else None
    coverage = None
    if low is not None and high is not None and len(actual):
        coverage = float(np.mean((low <= actual) & (actual <= high)))
    return ForecastMeasures(len(actual), mape, coverage)
