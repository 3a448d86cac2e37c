"""What customers will spend: in the next ninety days, with an interval, and in the next twelve months.

The geometric mean of four estimates is told, because each is wrong in its own way: a log-linear model, which follows
the few customers who spend a hundred times as much as the others as far as they go; boosted trees, which see what is
not linear and stop at the largest they have seen; the chance of an order times what is spent if there is one; and
BG/NBD with Gamma-Gamma. The first three are fitted by the Poisson quasi-likelihood, whose mean is right for amounts
that are mostly zero and have long tails (Gourieroux, Monfort & Trognon 1984). Served is that, or a plainer estimate
where it was better on the shop's own past.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from app.core.errors import NotEnoughHistory
from app.prediction.btyd import GammaGamma, fit_gamma_gamma, gamma_gamma_from
from app.prediction.chances import Segments, staying_away, until
from app.prediction.churn import ChurnModel, Past
from app.prediction.evaluation import SpendMeasures, spend_measures
from app.prediction.linear import Linear, fit_poisson, linear_from
from app.prediction.purchases import Floats, Ints, Purchases
from app.prediction.standing import NAMES, STEP_DAYS, ShopRhythm, Standing, rhythm_from, standing
from app.prediction.trees import Trees, piece_by_piece, trees_from, trees_of

SPEND_DAYS, LTV_DAYS = 90, 365
INTERVAL = 0.8
_MOST_WINDOWS = 6
#: Days of records before the first window that is learned from.
_LEAST_HISTORY_DAYS = 30
#: Windows that must be over when the one held out begins, for the comparison to be one.
_LEAST_TO_COMPARE = 3
#: The blend is served unless it was worse than the best baseline by more than this share.
_MAY_COST = 0.02
_LEAST_BUYERS = 200
_CUSTOMERS_A_WINDOW, _COMPARED_ON = 15_000, 20_000
_SEED = 20_101
_READS = (
    *("log_spent_90d", "log_spent_365d", "log_spent", "log_visits", "log_recency", "log_visit_value"),
    *("log_tenure", "log_last_value", "refunded_share"),
)
_HELD, _HELD_TREES = 0.01, 10.0
#: Of the mean spend: less than this counts as this, so that it has a logarithm.
_LEAST_SHARE = 1e-6
_BINS = 10
#: Customers at least of whom it is told how many an interval holds.
_LEAST_COVERED = 200


class Estimate(StrEnum):
    """Ways of telling, the baselines first."""

    last_window = "last_window_spend"
    past_rate = "past_rate"
    bg_nbd_gamma_gamma = "bg_nbd_gamma_gamma"
    blend = "blend"


BASELINES = (Estimate.last_window, Estimate.past_rate, Estimate.bg_nbd_gamma_gamma)


@dataclass(frozen=True, slots=True)
class SpendTried:
    estimate: Estimate
    measures: SpendMeasures | None
    chosen: bool
    why: str


@dataclass(frozen=True, slots=True)
class Interval:
    """How far what is spent lies from what is expected, by how much that is.

    expected : (bins,) mean expectation of each bin, ascending
    low, high : (bins,) the 10th and the 90th percentile of what was spent in it
    coverage : share of customers within the interval that the other half of the window held out would have given; None
               where it was taken around another estimate than the one served, or from few
    """

    expected: Floats
    low: Floats
    high: Floats
    coverage: float | None = None

    def around(self, expected: Floats) -> tuple[Floats, Floats]:
        """Ends of the interval around each expectation: between bins in proportion, beyond the last as far as in it."""
        if not len(self.expected):
            return np.full(len(expected), np.nan), np.full(len(expected), np.nan)
        ends = []
        for limit in (self.low, self.high):
            inside = np.interp(expected, np.concatenate([[0.0], self.expected]), np.concatenate([[0.0], limit]))
            beyond = expected > self.expected[-1]
            ratio = limit[-1] / max(self.expected[-1], 1e-12)
            ends.append(np.where(beyond, expected * ratio, inside))
        return np.minimum(ends[0], expected), np.maximum(ends[1], expected)

    def stored(self) -> dict[str, Any]:
        return {
            "expected": self.expected.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "coverage": self.coverage,
        }


@dataclass(frozen=True, slots=True)
class SpendModel:
    """scale : of money, so that what is fitted to is about 1"""

    estimate: Estimate
    scale: float
    line: Linear | None
    line_of_buyers: Linear | None
    trees: Trees | None
    rhythm: ShopRhythm
    gamma_gamma: GammaGamma | None
    interval: Interval
    boosting: HistGradientBoostingRegressor | None = field(default=None, compare=False)

    def expected(self, stands: Standing, bought_before: Floats, away_90: Floats) -> Floats:
        """Spend of each customer in the next ninety days, never below zero.

        bought_before : (n,) spent in the ninety days before; away_90 : (n,) chance of no order
        """
        match self.estimate:
            case Estimate.last_window:
                return np.maximum(bought_before, 0.0)
            case Estimate.past_rate:
                return _past_rate(stands)
            case Estimate.bg_nbd_gamma_gamma:
                return _buy_till_you_die(self.rhythm, self.gamma_gamma, stands, SPEND_DAYS)
            case Estimate.blend:
                line, line_of_buyers, trees = self.line, self.line_of_buyers, self.trees
                assert line is not None and line_of_buyers is not None and trees is not None  # noqa: S101
                values = stands.values
                grown = (
                    np.exp(trees.total(values))
                    if self.boosting is None
                    else piece_by_piece(self.boosting.predict, values)
                )
                parts = (
                    self.scale * np.exp(line.total(values)),
                    self.scale * grown,
                    self.scale * (1 - away_90) * np.exp(line_of_buyers.total(values)),
                    _buy_till_you_die(self.rhythm, self.gamma_gamma, stands, SPEND_DAYS),
                )
                least = self.scale * _LEAST_SHARE
                mean: Floats = np.exp(np.mean([np.log(np.maximum(part, least)) for part in parts], axis=0))
                return mean

    def over_a_year(self, stands: Standing, expected: Floats) -> Floats:
        """Of twelve months, as the model of visits lets them fade: at least what is expected of three."""
        repeats = (stands.visits - 1).astype(np.float64)
        to_last = stands.age - stands.recency
        of_year, of_quarter = (
            self.rhythm.bg_nbd.expected_purchases(repeats, to_last, stands.age, horizon=days)
            for days in (LTV_DAYS, SPEND_DAYS)
        )
        times = np.divide(of_year, of_quarter, out=np.ones_like(of_year), where=of_quarter > 0)
        yearly: Floats = expected * times.clip(1.0, LTV_DAYS / SPEND_DAYS)
        return yearly

    def stored(self) -> dict[str, Any]:
        """Plain enough for JSON; `spend_model_from` reads it back."""
        return {
            "estimate": self.estimate.value,
            "scale": self.scale,
            "line": self.line and self.line.stored(),
            "line_of_buyers": self.line_of_buyers and self.line_of_buyers.stored(),
            "trees": self.trees and self.trees.stored(),
            "rhythm": self.rhythm.stored(),
            "gamma_gamma": self.gamma_gamma and self.gamma_gamma.stored(),
            "interval": self.interval.stored(),
        }


def spend_model_from(stored: Mapping[str, Any]) -> SpendModel:
    """The model that `SpendModel.stored` was taken from."""
    interval = stored["interval"]
    return SpendModel(
        estimate=Estimate(stored["estimate"]),
        scale=stored["scale"],
        line=stored["line"] and linear_from(stored["line"]),
        line_of_buyers=stored["line_of_buyers"] and linear_from(stored["line_of_buyers"]),
        trees=stored["trees"] and trees_from(stored["trees"]),
        rhythm=rhythm_from(stored["rhythm"]),
        gamma_gamma=stored["gamma_gamma"] and gamma_gamma_from(stored["gamma_gamma"]),
        interval=Interval(
            expected=np.array(interval["expected"], dtype=np.float64),
            low=np.array(interval["low"], dtype=np.float64),
            high=np.array(interval["high"], dtype=np.float64),
            coverage=interval["coverage"],
        ),
    )


@dataclass(frozen=True, slots=True)
class TrainedSpend:
    """The model that is served, why, and what it and the others reached on the window held out.

    training_days : the windows it was fitted to, the latest first
    held_out_day  : the window it was chosen on
    """

    model: SpendModel
    training_days: tuple[int, ...]
    held_out_day: int
    tried: tuple[SpendTried, ...]
    degraded: str | None


def window_days(purchases: Purchases, known: int) -> list[int]:
    """The days of past windows of ninety days that are over when `known` begins, the latest first."""
    days = [known - SPEND_DAYS - STEP_DAYS * number for number in range(_MOST_WINDOWS)]
    return [day for day in days if day - purchases.first_day >= _LEAST_HISTORY_DAYS]


def train_spend(past: Past, known: int, churn: ChurnModel, *, segments: Segments | None = None) -> TrainedSpend:
    """Choose on the latest window that is over, and fit on all of them.

    churn : the model of `train_churn` as of the same day, whose family also tells the chances in the window held out

    Raises NotEnoughHistory where no window of ninety days is over yet.
    """
    purchases = past.purchases
    days = [day for day in window_days(purchases, known) if len(purchases.known(day))]
    if not days:
        raise NotEnoughHistory(
            f"expected spend needs {_LEAST_HISTORY_DAYS + SPEND_DAYS} days of orders",
            found=max(known - purchases.first_day, 0) if len(purchases.visits.day) else 0,
        )
    held_out = days[0]
    before = [day for day in days if day <= held_out - SPEND_DAYS]
    able = _enough(purchases, days)
    tried, chosen, interval = _compared(past, held_out, before, churn, segments, able=able)
    model = _fit(past, days, chosen, rhythm=past.rhythm(known), known=known, interval=interval)
    degraded = f"On the shop's own past the baseline {chosen.value} did better, which is served instead."
    return TrainedSpend(
        model=model,
        training_days=tuple(days),
        held_out_day=held_out,
        tried=tried,
        degraded=degraded if able and chosen is not Estimate.blend else None,
    )


def _enough(purchases: Purchases, days: Sequence[int]) -> bool:
    """Whether enough customers spent something in these windows."""
    spent = [purchases.spent(purchases.known(day), day, day + SPEND_DAYS) for day in days]
    return sum(int((amounts > 0).sum()) for amounts in spent) >= _LEAST_BUYERS


def _compared(
    past: Past, held_out: int, before: Sequence[int], churn: ChurnModel, segments: Segments | None, *, able: bool
) -> tuple[tuple[SpendTried, ...], Estimate, Interval]:
    """What each estimate reaches on the window held out, told from what was known when it began.

    able : whether the shop is large enough for the blend
    """
    purchases = past.purchases
    rhythm = past.rhythm(held_out)
    customers = _sample(purchases.known(held_out), day=held_out, most=_COMPARED_ON)
    stands = standing(purchases, rhythm, known=held_out, customers=customers)
    actual = purchases.spent(customers, held_out, held_out + SPEND_DAYS)
    latest = purchases.spent(customers, held_out - SPEND_DAYS, held_out)
    away = _chance_away(past, held_out, churn, segments, customers)
    comparable = len(before) >= _LEAST_TO_COMPARE and _enough(purchases, before)
    told: dict[Estimate, Floats] = {}
    nothing = Interval(np.zeros(0), np.zeros(0), np.zeros(0))
    for estimate in (*BASELINES, *([Estimate.blend] if able and comparable else [])):
        model = _fit(past, before, estimate, rhythm=rhythm, known=held_out, interval=nothing)
        told[estimate] = model.expected(stands, latest, away)
    measured = {estimate: spend_measures(actual, expected) for estimate, expected in told.items()}

    def off(estimate: Estimate) -> float:
        """Of the few who spend most and of the many: either error alone is told by one of the two."""
        errors = measured[estimate].rmse, measured[estimate].rmse_winsorised
        return np.inf if errors[0] is None or errors[1] is None else float(np.sqrt(errors[0] * errors[1]))

    plain = min(BASELINES, key=off)
    if Estimate.blend in measured:
        chosen = Estimate.blend if off(Estimate.blend) <= off(plain) * (1 + _MAY_COST) else plain
    else:
        chosen = Estimate.blend if able else plain
    tried = tuple(
        SpendTried(
            estimate, measured.get(estimate), chosen=estimate is chosen, why=_why(estimate, chosen, measured, able=able)
        )
        for estimate in Estimate
    )
    if chosen in told:
        interval = replace(_interval(told[chosen], actual), coverage=_covered(told[chosen], actual))
    else:
        interval = _interval(told[plain], actual)
    return tried, chosen, interval


def _why(estimate: Estimate, chosen: Estimate, measured: Mapping[Estimate, SpendMeasures], *, able: bool) -> str:
    if estimate not in measured:
        if not able:
            return f"fewer than {_LEAST_BUYERS} customers bought in the windows there are to learn from"
        return "chosen unseen: too little is known from before the window held out to fit it and compare"
    error = measured[estimate].rmse_winsorised
    shown = "no error to tell" if error is None else f"RMSE {error:,.2f}, winsorised at the 99th percentile"
    if estimate is not chosen:
        return f"not chosen: {shown} on the window held out"
    return f"chosen: {shown} on the window held out"


def _sample(customers: Ints, *, day: int, most: int) -> Ints:
    if len(customers) <= most:
        return customers
    return np.sort(np.random.default_rng((_SEED, day)).choice(customers, most, replace=False))


def _chance_away(past: Past, day: int, churn: ChurnModel, segments: Segments | None, customers: Ints) -> Floats:
    """The chance of no order within ninety days, by the served family fitted to what was known then."""
    if not past.window_days(day):
        return np.full(len(customers), 0.5)
    model = past.fitted(day, churn.chances.family, segments, shifted=churn.chances.shifted)
    _, chances, _ = staying_away(
        model, past.purchases, known=day, steps=SPEND_DAYS // STEP_DAYS, segments=segments, customers=customers
    )
    return until(chances, float(SPEND_DAYS))


def _interval(expected: Floats, actual: Floats) -> Interval:
    """What was spent around what was expected, in bins of as many customers each."""
    order = np.argsort(expected, kind="stable")
    parts = [part for part in np.array_split(order, min(_BINS * 2, max(1, len(order) // 50))) if len(part)]
    tail = (1 - INTERVAL) / 2
    middles = np.array([expected[part].mean() for part in parts])
    low = np.array([max(0.0, np.quantile(actual[part], tail)) for part in parts])
    high = np.array([max(0.0, np.quantile(actual[part], 1 - tail)) for part in parts])
    kept = np.concatenate([[True], np.diff(middles) > 0])
    return Interval(middles[kept], np.maximum.accumulate(low[kept]), np.maximum.accumulate(high[kept]))


def _covered(expected: Floats, actual: Floats) -> float | None:
    """How many of each half lie within the interval that is taken from the other; None of few."""
    if len(expected) < _LEAST_COVERED:
        return None
    half = np.arange(len(expected)) % 2 == 0
    inside = np.empty(len(expected), dtype=np.bool_)
    for mine, others in ((half, ~half), (~half, half)):
        low, high = _interval(expected[others], actual[others]).around(expected[mine])
        spent = np.maximum(actual[mine], 0.0)
        inside[mine] = (low <= spent) & (spent <= high)
    return float(inside.mean())


def _fit(
    past: Past, days: Sequence[int], estimate: Estimate, *, rhythm: ShopRhythm, known: int, interval: Interval
) -> SpendModel:
    purchases = past.purchases
    gamma_gamma = _gamma_gamma(purchases, known)
    if estimate is not Estimate.blend:
        return SpendModel(estimate, 1.0, None, None, None, rhythm, gamma_gamma, interval)
    values, spent, bought, weights = [], [], [], []
    for day in days:
        everyone = purchases.known(day)
        customers = _sample(everyone, day=day, most=_CUSTOMERS_A_WINDOW)
        weight = len(everyone) / max(len(customers), 1)
        values.append(standing(purchases, past.rhythm(day), known=day, customers=customers).values)
        spent.append(np.maximum(purchases.spent(customers, day, day + SPEND_DAYS), 0.0))
        bought.append(purchases.bought(customers, day, day + SPEND_DAYS))
        weights.append(np.full(len(customers), weight))
    x, came, w = np.vstack(values), np.concatenate(bought), np.concatenate(weights)
    scale = float(np.average(np.concatenate(spent), weights=w)) or 1.0
    y = np.concatenate(spent) / scale
    columns = [NAMES.index(name) for name in _READS]
    boosting = HistGradientBoostingRegressor(
        loss="poisson",
        max_leaf_nodes=7,
        max_iter=150,
        learning_rate=0.05,
        min_samples_leaf=int(np.clip(len(y) // 100, 40, 300)),
        l2_regularization=_HELD_TREES,
        early_stopping=False,
        random_state=_SEED,
    ).fit(x, y)
    return SpendModel(
        estimate,
        scale,
        line=fit_poisson(x, y, w, columns, held=_HELD),
        line_of_buyers=fit_poisson(x[came], y[came], w[came], columns, held=_HELD),
        trees=trees_of(boosting),
        rhythm=rhythm,
        gamma_gamma=gamma_gamma,
        interval=interval,
        boosting=boosting,
    )


def _gamma_gamma(purchases: Purchases, known: int) -> GammaGamma | None:
    """Of what customers spend per visit; None where nobody has paid anything."""
    n_visits, mean_value = _visit_values(purchases, purchases.known(known), known)
    return fit_gamma_gamma(n_visits, mean_value) if (mean_value > 0).any() else None


def _visit_values(purchases: Purchases, customers: Ints, known: int) -> tuple[Floats, Floats]:
    begin, end = purchases.starts(customers), purchases.visits_before(known, customers)
    n_visits = (end - begin).astype(np.float64)
    net = purchases.spent(customers, purchases.first_day, known)
    return n_visits, np.maximum(net, 0.0) / n_visits


def _past_rate(stands: Standing) -> Floats:
    """What they have spent so far, evenly over the time they are known, for ninety days more."""
    spent = np.expm1(stands.column("log_spent"))
    rate: Floats = spent / np.maximum(stands.age, 30.0) * SPEND_DAYS
    return rate


def _buy_till_you_die(rhythm: ShopRhythm, gamma_gamma: GammaGamma | None, stands: Standing, days: int) -> Floats:
    """Purchases to come by BG/NBD, times what one is worth by Gamma-Gamma."""
    if gamma_gamma is None:
        return np.zeros(len(stands.customers))
    n_visits = stands.visits.astype(np.float64)
    ahead = rhythm.bg_nbd.expected_purchases(n_visits - 1, stands.age - stands.recency, stands.age, horizon=days)
    worth: Floats = ahead * gamma_gamma.expected_value(n_visits, np.expm1(stands.column("log_visit_value")))
    return worth


def estimate_by(purchases: Purchases, model: SpendModel, stands: Standing, away_90: Floats, *, known: int) -> Floats:
    """Expected spend of customers in the ninety days from `known`. away_90 : their chance of no order in them"""
    latest = purchases.spent(stands.customers, known - SPEND_DAYS, known)
    return model.expected(stands, latest, away_90)
