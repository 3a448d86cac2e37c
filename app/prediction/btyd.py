"""Who still buys, how often and for how much, from nothing but how often, when and for how much they bought before.

BG/NBD (Fader, Hardie & Lee 2005): while a customer is there, purchases come at random at a rate of the customer's own,
and after each purchase but the first they leave for good with a chance of their own. Rates differ between customers as
a gamma distribution does (r, alpha), chances to leave as a beta distribution (a, b). Gamma-Gamma (Fader & Hardie 2013):
what a customer's purchases are worth varies around a mean of their own, as a gamma distribution (p), and the means
differ between customers as an inverse gamma does (q, v). Both are fitted by maximum likelihood.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, digamma, expit, gammaln, hyp2f1
from threadpoolctl import threadpool_limits

from app.core.errors import InvalidInput

Floats = NDArray[np.float64]
#: The value that is to be made small, and its gradient, both of the logarithms of parameters.
_Objective = Callable[[Floats], tuple[float, Floats]]

#: Between which parameters are looked for, with time in mean ages and money in mean values. Where nothing holds one
#: back it runs off for ever: a to 0 and b to infinity where nobody leaves.
LEAST, MOST = 1e-4, 1e4
#: From this b on all customers are as likely to leave.
ALIKE = 1_000.0
#: A chance to leave after a purchase below which it is not told from none.
UNSEEN = 0.05
#: How far the mean of a Gamma-Gamma may lie from that of the customers it was fitted to.
FAR = 2.0
# How close to 1 a is where the closed form of the purchases divides nothing by nothing, and how far off it is asked.
_SINGULAR, _ASIDE = 1e-4, 3e-4
_NODES = 64
# A slope of a customer's mean log-likelihood along a parameter's logarithm at which a search is at the top.
_LEVEL = 1e-5
_BLOCK = 10_000


@dataclass(frozen=True, slots=True)
class BgNbd:
    """A fitted BG/NBD.

    Its methods take, of each customer, (n_customers,): frequency, purchases after the first; recency, time from the
    first to the last; age, time since the first. Any unit of time will do, that of the fit; alpha is in it.

    r, alpha       : shape of the gamma distribution of rates, and the time that goes with it; its mean is r / alpha
    a, b           : of the beta distribution of chances to leave; its mean is a / (a + b)
    log_likelihood : of all customers; in a unit of time k times as long it is ln(k) per repeat purchase higher
    converged      : False where the search gave up before it was at the top
    degenerate     : in words, why not to lean on all of it; None where there is no reason
    """

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    converged: bool
    degenerate: str | None

    def p_alive(self, frequency: Floats, recency: Floats, age: Floats) -> Floats:
        """(n_customers,) chance that the customer has not left; 1 where nothing was bought after the first purchase."""
        again = frequency > 0
        waited = np.log1p((age - recency) / (self.alpha + recency))
        odds_of_left = np.log(self.a / np.where(again, self.b + frequency - 1, 1.0)) + (self.r + frequency) * waited
        alive: Floats = np.where(again, expit(-odds_of_left), 1.0)
        return alive

    def p_no_purchase(self, frequency: Floats, recency: Floats, age: Floats, *, horizon: Floats | float) -> Floats:
        """(n_customers,) chance that nothing is bought in the time to come.

        horizon : how far ahead, one for all or one per customer, >= 0
        """
        # The rate of a customer who is alive is gamma distributed: r + frequency, alpha + age.
        buys_if_alive = -np.expm1(-(self.r + frequency) * np.log1p(horizon / (self.alpha + age)))
        none: Floats = 1 - self.p_alive(frequency, recency, age) * buys_if_alive
        return none

    def expected_purchases(self, frequency: Floats, recency: Floats, age: Floats, *, horizon: Floats | float) -> Floats:
        """(n_customers,) purchases to come on average. horizon : as in `p_no_purchase`

        Of CDNOW's r .243, alpha 4.414, a .793, b 2.426 (weeks), two repeats, the last after 30.43 of 38.86 weeks: 1.226
        in 39 weeks.
        """
        # What is ahead in units of what is known.
        ahead = np.broadcast_to(horizon / (self.alpha + age), frequency.shape)
        if_alive = _purchases_if_alive(self, frequency, ahead)
        expected: Floats = self.p_alive(frequency, recency, age) * if_alive
        return expected

    def stored(self) -> dict[str, Any]:
        """What is kept of it, plain enough for JSON; `bg_nbd_from` reads it back bit for bit."""
        return asdict(self)


def bg_nbd_from(stored: Mapping[str, Any]) -> BgNbd:
    """The model that `BgNbd.stored` was taken from."""
    return BgNbd(**stored)


def _purchases_if_alive(model: BgNbd, frequency: Floats, ahead: Floats) -> Floats:
    """(n_customers,) purchases to come on average of who has not left. ahead : horizon / (alpha + age)"""
    r, a, b = model.r, model.a, model.b
    if abs(a - 1) < _SINGULAR:
        less, more = (_purchases_if_alive(replace(model, a=a + aside), frequency, ahead) for aside in (-_ASIDE, _ASIDE))
        return (less + more) / 2
    # The published form after Euler's transformation: its own is a power that vanishes times one that overflows.
    c = a + b + frequency - 1
    with np.errstate(all="ignore"):
        still = np.exp((1 - a) * np.log1p(ahead)) * hyp2f1(a - 1, a + b - 1 - r, c, ahead / (1 + ahead))
        found: Floats = np.asarray(c / (a - 1) * (1 - still))
    # With b in the thousands it overflows all the same.
    beyond = np.flatnonzero(~np.isfinite(found))
    for x in np.unique(frequency[beyond]):
        these = beyond[frequency[beyond] == x]
        for start in range(0, len(these), _BLOCK):
            block = these[start : start + _BLOCK]
            found[block] = _mean_over_chances(r + x, a, b + x, ahead[block])
    # The purchases of who never leaves are the most there can be.
    clipped: Floats = np.clip(found, 0.0, (r + frequency) * ahead)
    return clipped


def _mean_over_chances(shape: float, a: float, b: float, ahead: Floats) -> Floats:
    """(n_customers,) purchases to come, as the mean over a beta distribution of chances to leave (a, b).

    Of who leaves with chance p they are (1 - (1 + p·ahead)^-shape) / p, which is positive and smooth, so that a Gauss
    rule for the distribution does (Golub & Welsch 1969); where b is large, for which this is, to seven digits or more.
    """
    k = np.arange(1.0, _NODES)
    s = 2 * k + a + b - 2
    diagonal = np.empty(_NODES)
    diagonal[0] = (a - b) / (a + b)
    diagonal[1:] = (a - b) * (a + b - 2) / (s * (s + 2))
    # The first has a factor 0 / 0 where a + b is 1.
    beside = np.empty(_NODES - 1)
    beside[0] = 4 * a * b / ((a + b) ** 2 * (a + b + 1))
    k, s = k[1:], s[1:]
    beside[1:] = 4 * k * (k + b - 1) * (k + a - 1) * (k + a + b - 2) / (s**2 * (s + 1) * (s - 1))
    jacobi = np.diag(diagonal) + np.diag(np.sqrt(beside), 1) + np.diag(np.sqrt(beside), -1)
    roots, vectors = np.linalg.eigh(jacobi)
    # Of a chance of 0 the limit: at this one it is reached.
    chances = np.maximum((1 + roots) / 2, 1e-200)
    purchases = -np.expm1(-shape * np.log1p(ahead[:, None] * chances)) / chances
    mean: Floats = purchases @ vectors[0] ** 2
    return mean


@dataclass(frozen=True, slots=True)
class _Histories:
    """Customers who are alike taken together, in an order that is not that of the customers.

    repeats               : (n_distinct,) numbers of repeat purchases there are
    which                 : (n_rows,) which of them
    recency, age, weights : (n_rows,); weights sum to 1
    """

    repeats: Floats
    which: NDArray[np.intp]
    recency: Floats
    age: Floats
    weights: Floats


def fit_bg_nbd(frequency: Floats, recency: Floats, age: Floats) -> BgNbd:
    """The BG/NBD under which what customers did is likeliest. Arrays as for the methods of `BgNbd`

    Raises InvalidInput if there is nobody, a value is NaN, infinite or below 0, a frequency is not a whole number, or
    a recency is more than its age. Without any repeat purchase there is nothing to find: r is as small as it gets.
    """
    _check("purchase histories", {"frequency": frequency, "recency": recency, "age": age})
    if (frequency != np.floor(frequency)).any():
        raise InvalidInput("A frequency is not a whole number. It counts a customer's purchases after the first.")
    if (recency > age).any():
        raise InvalidInput(
            "A recency is more than its age: a customer's last purchase lies after the moment they are seen from. "
            "Leave out what was bought after it."
        )
    (frequency, recency, age), counts = _alike(frequency, recency, age)
    n_customers, n_repeats = counts.sum(), float(counts @ frequency)
    unit = float(counts @ age / n_customers)
    if not n_repeats or not unit:
        reason = (
            "No time has passed since anyone's first purchase: nothing is known of what comes after it."
            if n_repeats
            else "Nobody bought a second time: how often customers come back and when they leave is not to be seen."
        )
        alpha = unit or 1.0
        likelihood = 0.0 if n_repeats else float(counts @ (-LEAST * np.log1p(age / alpha)))
        return BgNbd(LEAST, alpha, 1.0, 1.0, likelihood, converged=True, degenerate=reason)
    repeats, which = np.unique(frequency, return_inverse=True)
    histories = _Histories(repeats, which, recency / unit, age / unit, counts / n_customers)
    rate = n_repeats / n_customers
    starts = [(0.3, 0.3 / rate, 0.5, 2.0), (1.0, 1.0 / rate, 1.0, 5.0), (3.0, 3.0 / rate, 0.1, 10.0)]
    (r, alpha, a, b), top, converged = _likeliest(lambda logs: _of_histories(logs, histories), starts)
    found = BgNbd(r, alpha * unit, a, b, float(n_customers * top - n_repeats * np.log(unit)), converged, None)
    return replace(found, degenerate=_why_not_bg_nbd(found, {"r": r, "alpha": alpha, "a": a, "b": b}))


def _why_not_bg_nbd(found: BgNbd, scaled: Mapping[str, float]) -> str | None:
    leaves = found.a / (found.a + found.b)
    if (found.b >= ALIKE or _at_an_end(found.a)) and leaves < UNSEEN:
        return (
            f"No dropout to be seen: the model has {100 * leaves:.1g} % of the customers leave after a purchase "
            f"(a {found.a:.3g}, b {found.b:.3g}), so nearly everyone counts as alive."
        )
    if found.b >= ALIKE:
        return (
            f"Customers do not differ in when they leave: {100 * leaves:.2g} % of all do after a purchase "
            f"(b {found.b:.3g})."
        )
    return _ends(scaled)


def _of_histories(logs: Floats, histories: _Histories) -> tuple[float, Floats]:
    """Minus the mean log-likelihood of a customer (their equation 6, in logarithms) and its gradient.

    logs : of r, alpha, a, b
    """
    r, alpha, a, b = np.exp(logs)
    x, which, weights = histories.repeats, histories.which, histories.weights
    # Functions that take long, only of the numbers of repeats there are.
    of_x = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
    before = np.where(x > 0, b + x - 1, 1.0)
    left_of_x = np.where(x > 0, np.log(a / before), -np.inf)
    shape = (r + x)[which]
    log_age, log_recency = np.log(alpha + histories.age), np.log(alpha + histories.recency)
    alive = -shape * log_age
    left = left_of_x[which] - shape * log_recency
    likelihood = weights @ (of_x[which] + np.logaddexp(alive, left))
    p_left = expit(left - alive)
    shares, lefts = np.bincount(which, weights), np.bincount(which, weights * p_left)
    mean_log = weights @ (p_left * log_recency + (1 - p_left) * log_age)
    mean_inverse = (weights * shape) @ (p_left / (alpha + histories.recency) + (1 - p_left) / (alpha + histories.age))
    together = digamma(a + b) - digamma(a + b + x)
    gradient = np.array(
        [
            shares @ (digamma(r + x) - digamma(r)) + np.log(alpha) - mean_log,
            r / alpha - mean_inverse,
            shares @ together + lefts.sum() / a,
            shares @ (together + digamma(b + x) - digamma(b)) - lefts @ (1 / before),
        ]
    )
    return -float(likelihood), -gradient * np.exp(logs)


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """A fitted Gamma-Gamma.

    p              : shape of the gamma distribution of one customer's purchases
    q, v           : shape of the gamma distribution of what scales them, and the money that goes with it
    log_likelihood : of all customers it was fitted to; with money in units k times as large ln(k) per customer higher
    converged      : False where the search gave up before it was at the top
    degenerate     : in words, why not to lean on all of it; None where there is no reason
    """

    p: float
    q: float
    v: float
    log_likelihood: float
    converged: bool
    degenerate: str | None

    @property
    def population_mean(self) -> float:
        """What a purchase is worth on average; infinite where q is 1 or less, which no fit ends at."""
        return self.p * self.v / (self.q - 1) if self.q > 1 else float("inf")

    def expected_value(self, n_purchases: Floats, mean_value: Floats) -> Floats:
        """(n_customers,) what a purchase to come is worth on average: the customer's own mean, drawn to everyone's.

        n_purchases : that the mean is of, >= 0; of 0 it is the population's mean
        mean_value  : of the customer's purchases; below 0 it counts as 0, and without purchases it may be anything
        """
        seen = n_purchases * np.maximum(np.where(n_purchases > 0, mean_value, 0.0), 0.0)
        with np.errstate(divide="ignore"):
            expected = self.p * (self.v + seen) / (self.p * n_purchases + self.q - 1)
        drawn: Floats = np.where(n_purchases > 0, expected, self.population_mean)
        return drawn

    def stored(self) -> dict[str, Any]:
        """What is kept of it, plain enough for JSON; `gamma_gamma_from` reads it back bit for bit."""
        return asdict(self)


def gamma_gamma_from(stored: Mapping[str, Any]) -> GammaGamma:
    """The model that `GammaGamma.stored` was taken from."""
    return GammaGamma(**stored)


@dataclass(frozen=True, slots=True)
class _Values:
    """purchases : (n_distinct,) numbers there are; which : (n_rows,) which of them; mean, weights : (n_rows,)"""

    purchases: Floats
    which: NDArray[np.intp]
    mean: Floats
    weights: Floats


def fit_gamma_gamma(n_purchases: Floats, mean_value: Floats) -> GammaGamma:
    """The Gamma-Gamma under which what customers paid is likeliest.

    Who bought nothing, or nothing that was worth something, is left out. Where values are so unequal that the model has
    no mean, or one FAR from theirs, it is fitted again with its mean held to theirs.

    n_purchases : (n_customers,) that the mean is of, >= 0
    mean_value  : (n_customers,) of the customer's purchases

    Raises InvalidInput if nobody is left, a value is NaN or infinite, or a number of purchases is below 0.
    """
    _check("values of purchases", {"number of purchases": n_purchases, "mean value": mean_value}, signed="mean value")
    worth = (n_purchases > 0) & (mean_value > 0)
    if not worth.any():
        raise InvalidInput(
            "No customer bought anything that was worth more than 0, so there is no value to learn from."
        )
    (number, mean), counts = _alike(n_purchases[worth], mean_value[worth])
    n_customers = counts.sum()
    unit = float(counts @ mean / n_customers)
    purchases, which = np.unique(number, return_inverse=True)
    values = _Values(purchases, which, mean / unit, counts / n_customers)
    starts = [(5.0, 4.0, 3.0 / 5.0), (1.0, 2.0, 1.0), (20.0, 10.0, 9.0 / 20.0)]
    (p, q, v), top, converged = _likeliest(lambda logs: _of_values(logs, values), starts)
    degenerate = _ends({"p": p, "q": q, "v": v})
    if q <= 1 or not 1 / FAR <= p * v / (q - 1) <= FAR:
        degenerate = (
            f"Values are so unequal that the model has no mean of use (q {q:.3g}); it is held to the customers' own."
        )
        (p, over), top, converged = _likeliest(lambda logs: _of_values_held(logs, values), [(5.0, 3.0), (1.0, 1.0)])
        q, v = 1 + over, over / p
    likelihood = float(n_customers * (top - np.log(unit)))
    return GammaGamma(p, q, v * unit, likelihood, converged, degenerate)


def _of_values(logs: Floats, values: _Values) -> tuple[float, Floats]:
    """Minus the mean log-likelihood of a customer's mean value and its gradient. logs : of p, q, v"""
    p, q, v = np.exp(logs)
    x, which, weights = values.purchases, values.which, values.weights
    of_x = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + p * x * np.log(x)
    number, log_mean = x[which], np.log(values.mean)
    total = v + number * values.mean
    log_total = np.log(total)
    both = (p * x + q)[which]
    likelihood = weights @ (of_x[which] + q * np.log(v) + (p * number - 1) * log_mean - both * log_total)
    shares = np.bincount(which, weights)
    gradient = np.array(
        [
            shares @ (x * (digamma(p * x + q) - digamma(p * x) + np.log(x)))
            + (weights * number) @ (log_mean - log_total),
            shares @ digamma(p * x + q) - digamma(q) + np.log(v) - weights @ log_total,
            q / v - weights @ (both / total),
        ]
    )
    return -float(likelihood), -gradient * np.exp(logs)


def _of_values_held(logs: Floats, values: _Values) -> tuple[float, Floats]:
    """As `_of_values`, where v is such that the mean is 1. logs : of p and q - 1"""
    p, over = np.exp(logs)
    found, gradient = _of_values(np.log([p, 1 + over, over / p]), values)
    of_p, of_q, of_v = gradient
    return found, np.array([of_p - of_v, of_q * over / (1 + over) + of_v])


def _check(what: str, values: Mapping[str, Floats], *, signed: str | None = None) -> None:
    """signed : which of them may be below 0"""
    lengths = {len(each) for each in values.values()}
    if len(lengths) > 1:
        raise InvalidInput(f"There are {what} of {min(lengths)} customers and of {max(lengths)}. Give one each.")
    if lengths == {0}:
        raise InvalidInput(f"There are no {what} to learn from. Give those of at least one customer.")
    for name, each in values.items():
        if not np.isfinite(each).all():
            raise InvalidInput(f"A {name} is NaN or infinite; look for customers without a purchase.")
        if name != signed and (each < 0).any():
            raise InvalidInput(f"A {name} is below 0. Count it from the first purchase on.")


def _alike(*columns: Floats) -> tuple[list[Floats], Floats]:
    """The distinct rows of columns (n_customers,), sorted, and how often each is there: most shops have many customers
    who bought once on the same day.
    """
    order = np.lexsort(columns[::-1])
    in_order = [column[order] for column in columns]
    first = np.r_[True, np.any([column[1:] != column[:-1] for column in in_order], axis=0)]
    starts = np.flatnonzero(first)
    counts = np.diff(np.r_[starts, len(order)]).astype(np.float64)
    return [column[starts] for column in in_order], counts


def _likeliest(objective: _Objective, starts: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], float, bool]:
    """Parameters, their mean log-likelihood and whether the search ended there, from the start that leads highest."""
    ends = (np.log(LEAST), np.log(MOST))
    # On one thread: sums of this length take ten times as long on several that others want too.
    with threadpool_limits(limits=1):
        found = [
            minimize(
                objective,
                np.clip(np.log(start), *ends),
                method="L-BFGS-B",
                jac=True,
                bounds=[ends] * len(start),
                options={"maxiter": 1_000, "ftol": 1e-13, "gtol": 1e-7},
            )
            for start in starts
        ]
    best = min(found, key=lambda each: float(each.fun))
    parameters = tuple(float(each) for each in np.exp(best.x))
    # Where the digits end before the last of the slope does, the search takes it for a failure.
    slope = best.x - np.clip(best.x - best.jac, *ends)
    return parameters, -float(best.fun), bool(best.success or np.abs(slope).max() < _LEVEL)


def _at_an_end(parameter: float) -> bool:
    return parameter <= LEAST * 1.01 or parameter >= MOST / 1.01


def _ends(parameters: Mapping[str, float]) -> str | None:
    ended = [f"{name} {value:.3g}" for name, value in parameters.items() if _at_an_end(value)]
    if not ended:
        return None
    where = ", ".join(ended)
    return f"The likeliest model lies at the end of what is tried ({where}): customers are too few or too alike."
