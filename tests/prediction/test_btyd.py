"""What was published of CDNOW comes out, what was simulated is found again, and what cannot be told is said."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import beta, betainc, gamma, gammaln

from app.core.errors import InvalidInput
from app.prediction.btyd import (
    LEAST,
    BgNbd,
    Floats,
    GammaGamma,
    bg_nbd_from,
    fit_bg_nbd,
    fit_gamma_gamma,
    gamma_gamma_from,
)

#: As published, in weeks and dollars (Fader, Hardie & Lee 2005; Fader & Hardie 2013).
CDNOW = BgNbd(0.243, 4.414, 0.793, 2.426, log_likelihood=-9582.4, converged=True, degenerate=None)
CDNOW_VALUES = GammaGamma(6.25, 3.74, 15.44, log_likelihood=0.0, converged=True, degenerate=None)


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Lives:
    """Customers who did as the model says, (n_customers,): what was seen of them, and what was not."""

    frequency: Floats
    recency: Floats
    age: Floats
    alive: Floats
    ahead: Floats

    @property
    def seen(self) -> tuple[Floats, Floats, Floats]:
        return self.frequency, self.recency, self.age


def live(model: BgNbd, n: int, *, oldest: float, horizon: float, seed: int = 0) -> Lives:
    """ahead : purchases within the horizon after they were seen"""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(model.r, 1 / model.alpha, n)
    leaves = rng.beta(model.a, model.b, n)
    age = rng.uniform(oldest / 2, oldest, n)
    frequency, recency, now, ahead = np.zeros((4, n))
    there, alive = np.ones(n, dtype=bool), np.ones(n)
    while there.any():
        now += rng.exponential(1 / np.maximum(rate, 1e-12))
        seen, later = there & (now <= age), there & (now > age) & (now <= age + horizon)
        left = rng.random(n) < leaves
        frequency += seen
        recency[seen] = now[seen]
        ahead += later
        alive[seen & left] = 0.0
        there &= (now <= age + horizon) & ~left
    return Lives(frequency, recency, age, alive, ahead)


def log_likelihood(model: BgNbd, frequency: Floats, recency: Floats, age: Floats) -> float:
    """Of all customers, as published (equation 3 of the note on it)."""
    r, alpha, a, b = model.r, model.alpha, model.a, model.b
    x = frequency
    log_beta = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    alive = (alpha + age) ** -(r + x)
    left = np.where(x > 0, a / np.maximum(b + x - 1, LEAST) * (alpha + recency) ** -(r + x), 0.0)
    return float(np.sum(gammaln(r + x) - gammaln(r) + r * np.log(alpha) + log_beta + np.log(alive + left)))


def standard_errors(of: Callable[[Floats], float], logs: Floats, step: float = 1e-3) -> Floats:
    """Of the logarithms of parameters, from the curvature of the log-likelihood by differences."""
    steps = np.eye(len(logs)) * step
    curvature = np.array(
        [[of(logs + i + j) - of(logs + i - j) - of(logs - i + j) + of(logs - i - j) for j in steps] for i in steps]
    ) / (4 * step**2)
    errors: Floats = np.sqrt(np.diag(np.linalg.inv(-curvature)))
    return errors


@pytest.fixture(scope="module")
def weeks() -> Lives:
    return live(CDNOW, 6_000, oldest=39.0, horizon=39.0)


# What the model says


def test_of_a_customer_of_cdnow_as_many_purchases_are_expected_as_was_published() -> None:
    expected = CDNOW.expected_purchases(array(2), array(30.43), array(38.86), horizon=39.0)
    assert expected == pytest.approx([1.226], abs=5e-4)


def test_of_a_new_customer_as_many_purchases_are_expected_as_was_published() -> None:
    horizon = array(0.1429, 1, 3, 31.8571, 32, 78)
    nothing = np.zeros(6)
    expected = CDNOW.expected_purchases(nothing, nothing, nothing, horizon=horizon)
    # The spreadsheet has more digits of the parameters.
    assert expected == pytest.approx([0.0078, 0.0532, 0.1506, 1.0405, 1.0437, 1.8576], rel=2e-3, abs=5e-5)


def test_who_bought_nothing_after_the_first_purchase_has_had_no_occasion_to_leave() -> None:
    assert CDNOW.p_alive(np.zeros(3), np.zeros(3), array(0, 10, 10_000)).tolist() == [1, 1, 1]


def test_the_chance_to_be_alive_is_the_published_form() -> None:
    x, recency, age = array(1, 2, 7), array(3, 30.43, 38), array(20, 38.86, 38)
    r, alpha, a, b = CDNOW.r, CDNOW.alpha, CDNOW.a, CDNOW.b
    published = 1 / (1 + a / (b + x - 1) * ((alpha + age) / (alpha + recency)) ** (r + x))
    assert CDNOW.p_alive(x, recency, age) == pytest.approx(published, rel=1e-12)


def test_who_is_silent_for_longer_than_ever_before_has_rather_left_the_more_often_they_came() -> None:
    alive = CDNOW.p_alive(array(1, 5, 20, 100), np.full(4, 20.0), np.full(4, 40.0))
    assert (np.diff(alive) < 0).all()
    assert alive[-1] < 1e-6


def test_nobody_is_dead_or_alive_beyond_measure_however_often_they_came() -> None:
    x, age = np.full(3, 5_000.0), np.full(3, 1_000.0)
    recency = array(1, 990, 1_000)
    alive = CDNOW.p_alive(x, recency, age)
    assert np.isfinite(alive).all() and alive[0] == 0 and alive[2] == pytest.approx(1, abs=1e-3)
    assert np.isfinite(CDNOW.expected_purchases(x, recency, age, horizon=365.0)).all()
    assert CDNOW.p_no_purchase(x, recency, age, horizon=365.0)[0] == 1


def test_a_horizon_is_one_for_all_or_one_for_each() -> None:
    seen = array(0, 2), array(0, 5), array(9, 9)
    for method in (CDNOW.p_no_purchase, CDNOW.expected_purchases):
        each = method(*seen, horizon=array(4, 30))
        assert each.tolist() == [method(*seen, horizon=4.0)[0], method(*seen, horizon=30.0)[1]]


def test_in_no_time_nothing_is_bought() -> None:
    seen = array(0, 2), array(0, 5), array(9, 9)
    assert CDNOW.p_no_purchase(*seen, horizon=0.0).tolist() == [1, 1]
    assert CDNOW.expected_purchases(*seen, horizon=0.0).tolist() == [0, 0]


def test_of_many_simulated_customers_as_many_are_alive_and_come_back_as_was_said() -> None:
    lives = live(CDNOW, 100_000, oldest=39.0, horizon=26.0, seed=1)
    said = [
        (CDNOW.p_alive(*lives.seen), lives.alive),
        (CDNOW.p_no_purchase(*lives.seen, horizon=26.0), (lives.ahead == 0).astype(np.float64)),
        (CDNOW.expected_purchases(*lives.seen, horizon=26.0), lives.ahead),
    ]
    for told, came in said:
        for fewest, most in ((0, 0), (1, 1), (2, 3), (4, 9), (10, 1_000)):
            these = (lives.frequency >= fewest) & (lives.frequency <= most)
            apart = came[these] - told[these]
            assert abs(apart.mean()) <= 4 * came[these].std() / np.sqrt(these.sum())


@pytest.mark.parametrize("a", [1e-4, 0.793, 0.9999, 1.0, 1.00003, 3.0])
@pytest.mark.parametrize("b", [0.01, 2.426, 4_000.0, 10_000.0])
@pytest.mark.parametrize("x", [0, 1, 40, 400])
def test_purchases_to_come_are_the_mean_over_all_the_chances_to_leave(a: float, b: float, x: int) -> None:
    """The published form has no value of its own at a = 1 and overflows where b is in the thousands."""
    r, alpha, age, horizon = 0.243, 4.414, 30.0, 52.0

    def at(log_odds: float) -> float:
        # Of a chance to leave as log odds, where its beta density is smooth however small a and b are.
        log_p, log_rest = -np.logaddexp(0, -log_odds), -np.logaddexp(0, log_odds)
        density = np.exp(a * log_p + (b + x) * log_rest + gammaln(a + b + x) - gammaln(a) - gammaln(b + x))
        return float(density * -np.expm1(-(r + x) * np.log1p(np.exp(log_p) * horizon / (alpha + age))) / np.exp(log_p))

    middle = np.log(a / (b + x))
    ends = [*(middle + array(-20, -5, 0, 3, 6)), middle + 30 / min(b + x, 1)]
    known = sum(quad(at, low, high, limit=200)[0] for low, high in pairwise(ends))
    # Below the first end they are those of who never leaves.
    known += betainc(a, b + x, np.exp(ends[0])) * (r + x) * horizon / (alpha + age)
    model = replace(CDNOW, a=a, b=b)
    one = array(x), array(age), array(age)
    found = model.expected_purchases(*one, horizon=horizon) / model.p_alive(*one)
    assert found == pytest.approx([known], rel=1e-5)


def test_where_nobody_leaves_purchases_go_on_at_the_customers_rate() -> None:
    nobody_leaves = BgNbd(0.8, 50.0, LEAST, 9_000.0, log_likelihood=0.0, converged=True, degenerate=None)
    x, age = array(0, 3, 40, 2_000), array(10, 300, 700, 900)
    expected = nobody_leaves.expected_purchases(x, age, age, horizon=365.0)
    assert expected == pytest.approx((0.8 + x) / (50 + age) * 365, rel=1e-3)


positive = st.floats(-3, 3).map(lambda exponent: 10.0**exponent)


@given(positive, positive, positive, positive, st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_chances_stay_chances_and_a_longer_horizon_never_holds_less(
    r: float, alpha: float, a: float, b: float, seed: int
) -> None:
    model = BgNbd(r, alpha, a, b, log_likelihood=0.0, converged=True, degenerate=None)
    rng = np.random.default_rng(seed)
    frequency = np.floor(np.exp(rng.uniform(0, 6, 30))) - 1
    age = rng.uniform(0, 1_000, 30)
    recency = np.where(frequency > 0, age * rng.random(30), 0.0)
    seen = frequency, recency, age
    alive = model.p_alive(*seen)
    assert ((alive >= 0) & (alive <= 1)).all()
    horizons = array(0, 1, 7, 30, 365, 3_650)
    none = np.stack([model.p_no_purchase(*seen, horizon=horizon) for horizon in horizons])
    expected = np.stack([model.expected_purchases(*seen, horizon=horizon) for horizon in horizons])
    assert ((none >= 0) & (none <= 1)).all()
    assert (np.diff(none, axis=0) <= 0).all()
    assert np.isfinite(expected).all() and (expected >= 0).all()
    assert (np.diff(expected, axis=0) >= -1e-9 * expected[1:] - 1e-9).all()
    # Who is expected to buy so and so often buys at least once no more often than that.
    assert (1 - none <= expected * (1 + 1e-6) + 1e-9).all()


def test_a_model_is_read_back_as_it_was_stored() -> None:
    for model in (CDNOW, replace(CDNOW, degenerate="in words", converged=False)):
        assert bg_nbd_from(json.loads(json.dumps(model.stored()))) == model
    assert gamma_gamma_from(json.loads(json.dumps(CDNOW_VALUES.stored()))) == CDNOW_VALUES


# What is fitted


def test_the_likelihood_is_the_published_form_of_each_customer() -> None:
    # With the gamma and beta functions themselves, which the few purchases of these leave finite.
    x, recency, age = array(0, 0, 1, 2, 5), array(0, 0, 3, 30, 20), array(10, 38, 38, 38, 22)
    found = fit_bg_nbd(x, recency, age)
    r, alpha, a, b = found.r, found.alpha, found.a, found.b
    alive = beta(a, b + x) / beta(a, b) * gamma(r + x) * alpha**r / (gamma(r) * (alpha + age) ** (r + x))
    again = x > 0
    left = (
        beta(a + 1, (b + x - 1)[again]) / beta(a, b)
        * (gamma(r + x) * alpha**r / (gamma(r) * (alpha + recency) ** (r + x)))[again]
    )  # fmt: skip
    alive[again] += left
    assert found.log_likelihood == pytest.approx(np.log(alive).sum(), rel=1e-6)


def test_simulated_customers_lead_back_to_what_made_them(weeks: Lives) -> None:
    found = fit_bg_nbd(*weeks.seen)
    assert found.converged and found.degenerate is None
    assert found.log_likelihood == pytest.approx(log_likelihood(found, *weeks.seen), rel=1e-10)

    def of(logs: Floats) -> float:
        r, alpha, a, b = (float(each) for each in np.exp(logs))
        return log_likelihood(replace(found, r=r, alpha=alpha, a=a, b=b), *weeks.seen)

    logs = np.log([found.r, found.alpha, found.a, found.b])
    errors = standard_errors(of, logs)
    assert (errors < 0.3).all()
    assert (np.abs(logs - np.log([CDNOW.r, CDNOW.alpha, CDNOW.a, CDNOW.b])) < 4 * errors).all()
    # It is the top: a hundredth of an error aside is no higher.
    assert all(of(logs + sign * each) <= found.log_likelihood for each in np.diag(errors / 100) for sign in (-1, 1))


@pytest.mark.parametrize("unit", [7.0, 7 * 86_400.0, 1 / 52])
def test_another_unit_of_time_changes_alpha_and_nothing_else(weeks: Lives, unit: float) -> None:
    frequency, recency, age = weeks.seen
    found, other = fit_bg_nbd(*weeks.seen), fit_bg_nbd(frequency, recency * unit, age * unit)
    assert (other.r, other.alpha / unit, other.a, other.b) == pytest.approx(
        (found.r, found.alpha, found.a, found.b), rel=1e-5
    )
    assert other.p_no_purchase(frequency, recency * unit, age * unit, horizon=4 * unit) == pytest.approx(
        found.p_no_purchase(*weeks.seen, horizon=4.0), rel=1e-6
    )
    # But for the density of a time, which is that of a unit of time.
    assert other.log_likelihood == pytest.approx(found.log_likelihood - frequency.sum() * np.log(unit), rel=1e-9)


def test_shuffling_customers_changes_nothing(weeks: Lives) -> None:
    order = np.random.default_rng(0).permutation(len(weeks.age))
    assert fit_bg_nbd(*(column[order] for column in weeks.seen)) == fit_bg_nbd(*weeks.seen)


def test_customers_who_are_alike_count_each() -> None:
    few = live(CDNOW, 500, oldest=39.0, horizon=0.0)
    once, thrice = fit_bg_nbd(*few.seen), fit_bg_nbd(*(np.tile(column, 3) for column in few.seen))
    assert (thrice.r, thrice.alpha, thrice.a, thrice.b) == pytest.approx((once.r, once.alpha, once.a, once.b), rel=1e-5)
    assert thrice.log_likelihood == pytest.approx(3 * once.log_likelihood)


def test_where_nobody_comes_back_it_is_said() -> None:
    age = array(10, 20, 400)
    found = fit_bg_nbd(np.zeros(3), np.zeros(3), age)
    assert found.degenerate is not None and "second time" in found.degenerate
    assert (found.p_no_purchase(np.zeros(3), np.zeros(3), age, horizon=365.0) > 0.999).all()


def test_where_no_time_has_passed_it_is_said() -> None:
    found = fit_bg_nbd(array(0, 1), np.zeros(2), np.zeros(2))
    assert found.degenerate is not None and "No time has passed" in found.degenerate


def test_where_nobody_leaves_it_is_said() -> None:
    steady = replace(CDNOW, r=1.0, alpha=10.0, a=1e-3, b=1e3)
    lives = live(steady, 2_000, oldest=200.0, horizon=0.0)
    found = fit_bg_nbd(*lives.seen)
    assert found.degenerate is not None and "No dropout to be seen" in found.degenerate
    assert found.p_alive(*lives.seen).mean() > 0.97
    assert (found.r, found.alpha) == pytest.approx((1, 10), rel=0.15)


def test_where_all_leave_with_the_same_chance_it_is_said() -> None:
    # Everyone came back twice in two weeks, and then no more in a year.
    recency = np.random.default_rng(0).uniform(1, 2, 500)
    found = fit_bg_nbd(np.full(500, 2.0), recency, np.full(500, 52.0))
    assert found.degenerate is not None and "do not differ in when they leave: 50 %" in found.degenerate


def test_where_there_is_too_little_to_fit_it_is_said() -> None:
    found = fit_bg_nbd(array(1), array(1), array(2))
    assert found.degenerate is not None and "too few or too alike" in found.degenerate


@pytest.mark.parametrize(
    ("frequency", "recency", "age", "why"),
    [
        ([], [], [], "no purchase histories"),
        ([1, 1], [1], [2, 2], "Give one each"),
        ([1], [np.nan], [2], "recency is NaN"),
        ([1], [1], [np.inf], "age is NaN or infinite"),
        ([-1], [1], [2], "frequency is below 0"),
        ([1.5], [1], [2], "not a whole number"),
        ([1], [3], [2], "more than its age"),
    ],
)
def test_histories_that_cannot_be_are_refused(
    frequency: list[float], recency: list[float], age: list[float], why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        fit_bg_nbd(array(*frequency), array(*recency), array(*age))


# What purchases are worth


def spend(model: GammaGamma, n: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Numbers of purchases and their mean values of customers who did as the model says."""
    rng = np.random.default_rng(seed)
    number = 1.0 + rng.poisson(1.5, n)
    scale = rng.gamma(model.q, 1 / model.v, n)
    return number, rng.gamma(model.p * number, 1 / (scale * number))


def log_likelihood_of_values(p: float, q: float, v: float, number: Floats, mean: Floats) -> float:
    """Of all customers, as published."""
    px = p * number
    return float(
        np.sum(
            gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(v) + (px - 1) * np.log(mean) + px * np.log(number)
            - (px + q) * np.log(v + number * mean)
        )
    )  # fmt: skip


def test_of_cdnow_purchases_are_expected_to_be_worth_what_was_published() -> None:
    expected = CDNOW_VALUES.expected_value(array(2, 1, 0, 7), array(22.35, 11.77, 0, 73.74))
    # The spreadsheet has more digits of the parameters.
    assert expected == pytest.approx([24.65, 18.91, 35.17, 71.46], abs=0.06)
    assert expected[0] == pytest.approx(6.25 * (15.44 + 2 * 22.35) / (6.25 * 2 + 3.74 - 1), rel=1e-12)


def test_what_purchases_are_worth_is_drawn_to_everyones_mean_the_more_the_fewer_there_are() -> None:
    mean = CDNOW_VALUES.population_mean
    expected = CDNOW_VALUES.expected_value(array(0, 1, 5, 50, 100_000), np.full(5, 100.0))
    assert expected[0] == mean == pytest.approx(6.25 * 15.44 / 2.74)
    assert (np.diff(expected) > 0).all()
    assert expected[-1] == pytest.approx(100, rel=1e-3)
    assert CDNOW_VALUES.expected_value(array(3), array(mean)) == pytest.approx([mean])


def test_without_purchases_the_mean_value_does_not_matter_and_below_zero_it_is_zero() -> None:
    expected = CDNOW_VALUES.expected_value(array(0, 2, 2), array(np.nan, -10, 0))
    assert expected[0] == CDNOW_VALUES.population_mean
    assert expected[1] == expected[2] > 0


def test_simulated_values_lead_back_to_what_made_them() -> None:
    number, mean = spend(CDNOW_VALUES, 6_000)
    found = fit_gamma_gamma(number, mean)
    assert found.converged and found.degenerate is None
    assert found.log_likelihood == pytest.approx(
        log_likelihood_of_values(found.p, found.q, found.v, number, mean), rel=1e-10
    )

    def of(logs: Floats) -> float:
        p, q, v = (float(each) for each in np.exp(logs))
        return log_likelihood_of_values(p, q, v, number, mean)

    logs = np.log([found.p, found.q, found.v])
    errors = standard_errors(of, logs)
    assert (errors < 0.3).all()
    truth = np.log([CDNOW_VALUES.p, CDNOW_VALUES.q, CDNOW_VALUES.v])
    assert (np.abs(logs - truth) < 4 * errors).all()
    assert found.population_mean == pytest.approx(mean.mean(), rel=0.05)


def test_another_currency_changes_v_and_nothing_else_and_shuffling_nothing() -> None:
    number, mean = spend(CDNOW_VALUES, 3_000)
    found, other = fit_gamma_gamma(number, mean), fit_gamma_gamma(number, mean * 150)
    assert (other.p, other.q, other.v / 150) == pytest.approx((found.p, found.q, found.v), rel=1e-5)
    assert other.log_likelihood == pytest.approx(found.log_likelihood - 3_000 * np.log(150), rel=1e-9)
    order = np.random.default_rng(0).permutation(3_000)
    assert fit_gamma_gamma(number[order], mean[order]) == found


def test_who_bought_nothing_of_worth_is_left_out() -> None:
    number, mean = spend(CDNOW_VALUES, 1_000)
    more = fit_gamma_gamma(np.r_[number, 0, 3, 2], np.r_[mean, 9, 0, -40])
    assert more == fit_gamma_gamma(number, mean)


def test_values_so_unequal_that_they_have_no_mean_are_held_to_the_customers_own_and_it_is_said() -> None:
    number, mean = spend(replace(CDNOW_VALUES, p=1.2, q=0.7), 4_000)
    found = fit_gamma_gamma(number, mean)
    assert found.degenerate is not None and "unequal" in found.degenerate
    assert found.q > 1
    assert found.population_mean == pytest.approx(mean.mean(), rel=1e-9)
    assert np.isfinite(found.expected_value(np.r_[0, number], np.r_[0, mean])).all()
    assert found.log_likelihood == pytest.approx(
        log_likelihood_of_values(found.p, found.q, found.v, number, mean), rel=1e-9
    )


def test_values_that_are_all_the_same_are_expected_again_and_it_is_said() -> None:
    found = fit_gamma_gamma(array(1, 1, 2, 5), np.full(4, 25.0))
    assert found.degenerate is not None
    assert found.expected_value(array(0, 1, 9), np.full(3, 25.0)) == pytest.approx([25, 25, 25], rel=0.01)


@pytest.mark.parametrize(
    ("number", "mean", "why"),
    [
        ([], [], "no values of purchases"),
        ([1, 2], [5], "Give one each"),
        ([1], [np.nan], "mean value is NaN"),
        ([-1], [5], "number of purchases is below 0"),
        ([1, 0], [-5, 5], "worth more than 0"),
    ],
)
def test_values_that_cannot_be_are_refused(number: list[float], mean: list[float], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        fit_gamma_gamma(array(*number), array(*mean))
