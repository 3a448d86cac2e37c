"""Measures are those of the textbooks, say None where they mean nothing, and do not take luck for error."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as log_loss_score

from app.prediction import evaluation
from app.prediction.evaluation import (
    MANY,
    Difference,
    Floats,
    auc,
    auc_difference,
    brier,
    churn_measures,
    ece,
    ece_noise_floor,
    forecast_measures,
    log_loss,
    reliability_bins,
    spend_measures,
)

NOBODY = np.empty(0)


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def shop(n: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Chances, and outcomes drawn from them."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1.5, 1.0, n)
    return (rng.random(n) < p).astype(np.float64), p


def two_scores(n: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Outcomes, and two scores that share the customers' chances but not their noise."""
    outcome, p = shop(n, seed)
    noise = np.random.default_rng([seed, 1]).normal(size=(2, n))
    return outcome, p + 0.3 * noise[0], p + 0.4 * noise[1]


# Chances


def test_of_three_ones_and_two_zeros_four_and_a_half_pairs_of_six_are_in_order() -> None:
    assert auc(array(1, 1, 0, 1, 0), array(0.9, 0.5, 0.5, 0.7, 0.6)) == 4.5 / 6


@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(0, 3))
@settings(deadline=None)
def test_measures_of_chances_are_those_of_scikit_learn(seed: int, n: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    outcome = rng.permutation(np.arange(n) % 2).astype(np.float64)
    p = rng.uniform(0.01, 0.99, n).round(decimals)
    assert auc(outcome, p) == pytest.approx(roc_auc_score(outcome, p))
    assert brier(outcome, p) == pytest.approx(brier_score_loss(outcome, p))
    assert log_loss(outcome, p) == pytest.approx(log_loss_score(outcome, np.clip(p, 1e-6, 1 - 1e-6)))


def test_one_sure_error_is_bad_but_not_endless() -> None:
    assert log_loss(array(1, 0), array(0, 0)) == pytest.approx(-math.log(1e-6) / 2, rel=1e-5)


@pytest.mark.parametrize("everyone", [0.0, 1.0])
def test_where_everyone_does_the_same_nobody_is_told_apart(everyone: float) -> None:
    outcome, score = np.full(5, everyone), np.arange(5.0)
    assert auc(outcome, score) is None
    assert auc_difference(outcome, score, -score) is None
    found = churn_measures(outcome, np.full(5, 0.3))
    assert (found.n, found.base_rate, found.auc) == (5, everyone, None)
    assert found.brier == pytest.approx((everyone - 0.3) ** 2)


def test_of_nobody_nothing_is_said() -> None:
    found = churn_measures(NOBODY, NOBODY)
    assert found.n == 0
    assert {found.base_rate, found.auc, found.brier, found.log_loss, found.ece, found.ece_noise_floor} == {None}
    assert reliability_bins(NOBODY, NOBODY) == []
    assert auc_difference(NOBODY, NOBODY, NOBODY) is None


def test_all_measures_are_those_of_the_parts() -> None:
    outcome, p = shop(500)
    found = churn_measures(outcome, p)
    assert (found.n, found.base_rate) == (500, outcome.mean())
    assert (found.auc, found.brier, found.log_loss) == (auc(outcome, p), brier(outcome, p), log_loss(outcome, p))
    assert (found.ece, found.ece_noise_floor) == (ece(outcome, p), ece_noise_floor(p))


# Calibration


def test_a_chance_of_a_half_of_which_half_come_is_in_error_by_nothing() -> None:
    assert ece(np.arange(100) % 2 * 1.0, np.full(100, 0.5)) == 0


def test_the_error_of_two_bins_is_worked_out_by_hand() -> None:
    # The lower three: .2 on average, of whom one came; the upper two: .7, of whom both did.
    p, outcome = array(0.6, 0.1, 0.8, 0.2, 0.3), array(1, 0, 1, 1, 0)
    assert ece(outcome, p, bins=2) == pytest.approx((3 * (1 / 3 - 0.2) + 2 * (1 - 0.7)) / 5)


def test_an_error_in_one_direction_shows_in_full() -> None:
    outcome, p = shop(20_000)
    assert ece(outcome, p - 0.1) == pytest.approx(0.1, abs=0.01)


def test_true_chances_are_in_error_by_the_noise_floor_and_false_ones_by_more() -> None:
    errors = [ece(*shop(1_000, seed)) for seed in range(30)]
    floor = ece_noise_floor(shop(1_000)[1])
    assert floor is not None
    assert np.mean([error for error in errors if error is not None]) == pytest.approx(floor, rel=0.1)
    outcome, p = shop(1_000)
    wrong = ece(outcome, p**2)
    assert wrong is not None and wrong > 3 * floor


def test_the_noise_floor_of_many_customers_is_what_draws_of_them_come_to() -> None:
    p = shop(MANY + 1)[1]
    worlds = np.random.default_rng(5).random((100, len(p))) < p
    drawn = np.mean([ece(world.astype(np.float64), p) for world in worlds])
    assert ece_noise_floor(p) == pytest.approx(drawn, rel=0.1)


def test_the_noise_floor_falls_with_the_root_of_the_customers() -> None:
    floors = [ece_noise_floor(shop(n)[1]) for n in (500, 2_000, 8_000)]
    few, more, many = (floor for floor in floors if floor is not None)
    assert few / more == pytest.approx(2, rel=0.15)
    assert more / many == pytest.approx(2, rel=0.15)


def test_sure_chances_have_no_noise_and_a_seed_draws_the_same() -> None:
    assert ece_noise_floor(np.arange(100) % 2 * 1.0) == 0
    _, p = shop(300)
    assert ece_noise_floor(p, seed=1) == ece_noise_floor(p, seed=1) != ece_noise_floor(p, seed=2)


@pytest.mark.parametrize("n", [1, 7, 10, 103, 5_000])
def test_bins_hold_everyone_once_and_rise(n: int) -> None:
    outcome, p = shop(n)
    bins = reliability_bins(outcome, p)
    assert len(bins) == min(n, 10)
    assert sum(each.n for each in bins) == n
    assert max(each.n for each in bins) - min(each.n for each in bins) <= 1
    assert sum(each.n * each.observed for each in bins) == pytest.approx(outcome.sum())
    assert (np.diff([each.mean_predicted for each in bins]) >= 0).all()
    assert all(0 <= each.low <= each.observed <= each.high <= 1 for each in bins)
    weighted = sum(each.n * abs(each.observed - each.mean_predicted) for each in bins) / n
    assert ece(outcome, p) == pytest.approx(weighted)


def test_the_interval_of_a_bin_is_that_of_wilson() -> None:
    # Of 10 customers none, and one: as in Brown, Cai & DasGupta's setting, by the formula with z = 1.96.
    (none,) = reliability_bins(np.zeros(10), np.full(10, 0.1), bins=1)
    assert (none.low, none.high) == pytest.approx((0, 0.2775), abs=1e-4)
    (one,) = reliability_bins(np.r_[1.0, np.zeros(9)], np.full(10, 0.1), bins=1)
    assert (one.low, one.high) == pytest.approx((0.0179, 0.4042), abs=1e-4)


def test_intervals_of_bins_hold_the_truth_as_often_as_they_say() -> None:
    held = [
        each.low <= each.mean_predicted <= each.high for s in range(40) for each in reliability_bins(*shop(2_000, s))
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


# Which of two tells better


def test_a_score_differs_from_itself_by_nothing() -> None:
    for n in (200, MANY + 1):
        outcome, one, _ = two_scores(n)
        assert auc_difference(outcome, one, one) == Difference(0.0, 0.0, 0.0)
        # Nor from itself in another unit.
        assert auc_difference(outcome, one, np.exp(one)) == Difference(0.0, 0.0, 0.0)


@pytest.mark.parametrize("n", [3_000, MANY + 1])
def test_the_difference_is_that_of_the_areas_and_turns_with_the_sides(n: int) -> None:
    outcome, one, other = two_scores(n)
    found, turned = auc_difference(outcome, one, other), auc_difference(outcome, other, one)
    assert found is not None and turned is not None
    assert found.difference == pytest.approx(roc_auc_score(outcome, one) - roc_auc_score(outcome, other))
    assert 0 < found.low < found.difference < found.high
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-found.difference, -found.high, -found.low))


def test_resamples_and_delong_give_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, one, other = two_scores(2_000)
    # Ties too.
    one = one.round(1)
    drawn = auc_difference(outcome, one, other, resamples=4_000)
    monkeypatch.setattr(evaluation, "MANY", 0)
    delong = auc_difference(outcome, one, other)
    assert drawn is not None and delong is not None
    width = drawn.high - drawn.low
    assert (delong.low, delong.high) == pytest.approx((drawn.low, drawn.high), abs=0.08 * width)


def test_delong_is_its_definition_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, one, other = two_scores(200)
    one = one.round(1)

    def pairs(score: Floats) -> Floats:
        apart = score[outcome == 1][:, None] - score[outcome == 0][None, :]
        return np.where(apart > 0, 1.0, np.where(apart == 0, 0.5, 0.0))

    apart = pairs(one) - pairs(other)
    n_ones, n_zeros = apart.shape
    error = np.sqrt(apart.mean(axis=1).var(ddof=1) / n_ones + apart.mean(axis=0).var(ddof=1) / n_zeros)
    monkeypatch.setattr(evaluation, "MANY", 0)
    found = auc_difference(outcome, one, other)
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.959964 * error, rel=1e-6)


def test_a_seed_draws_the_same_resamples() -> None:
    outcome, one, other = two_scores(400)
    assert auc_difference(outcome, one, other, seed=3) == auc_difference(outcome, one, other, seed=3)
    assert auc_difference(outcome, one, other, seed=3) != auc_difference(outcome, one, other, seed=4)


def test_a_single_one_has_an_interval_too() -> None:
    for n in (100, MANY + 1):
        outcome = np.zeros(n)
        outcome[7] = 1.0
        found = auc_difference(outcome, np.arange(n, dtype=np.float64), np.zeros(n), resamples=50)
        assert found is not None
        assert np.isfinite([found.difference, found.low, found.high]).all()


# Money


def test_spend_is_measured_by_hand() -> None:
    found = spend_measures(array(0, 10, 20, -10), array(5, 10, 10, 0))
    assert (found.n, found.mean_actual, found.mae) == (4, 5.0, 6.25)
    assert found.rmse == pytest.approx(math.sqrt((25 + 0 + 100 + 100) / 4))
    assert found.ratio == pytest.approx(25 / 20)
    # Ranks 2 3 4 1 and 2 3.5 3.5 1.
    assert found.spearman == pytest.approx(np.corrcoef([2, 3, 4, 1], [2, 3.5, 3.5, 1])[0, 1])


def test_one_customer_does_not_decide_what_is_winsorised() -> None:
    rng = np.random.default_rng(0)
    actual = rng.exponential(100, 1_000)
    predicted = actual + rng.normal(0, 10, 1_000)
    calm = spend_measures(actual, predicted)
    wild = spend_measures(np.r_[actual, 1e6], np.r_[predicted, 100.0])
    assert wild.rmse is not None and wild.rmse > 10_000
    assert wild.rmse_winsorised == pytest.approx(calm.rmse_winsorised, rel=0.7)
    # Of a prediction out of all proportion as little.
    (late,) = {spend_measures(actual, np.r_[each, predicted[1:]]).rmse_winsorised for each in (1e4, 1e9)}
    assert late is not None and late < 20


def test_where_there_is_no_order_or_no_total_none_is_said() -> None:
    flat = spend_measures(array(1, 2, 3), np.full(3, 2.0))
    assert (flat.spearman, flat.ratio) == (None, 1.0)
    for actual in (array(0, 0), array(-5, 5), array(-9, 5)):
        assert spend_measures(actual, array(1, 2)).ratio is None
    none = spend_measures(NOBODY, NOBODY)
    assert none.n == 0
    measured = {none.mean_actual, none.rmse, none.rmse_winsorised, none.mae, none.spearman, none.ratio}
    assert measured == {None}


# Months


def test_months_are_off_by_their_share_and_empty_ones_are_left_out() -> None:
    found = forecast_measures(array(100, 200, 0, -50), array(110, 150, 7, -50))
    assert found.n == 4
    assert found.mape == pytest.approx((0.1 + 0.25 + 0) / 3)
    assert found.coverage is None


def test_a_month_on_the_end_of_its_interval_is_inside() -> None:
    actual = array(1, 2, 3, 4)
    found = forecast_measures(actual, actual, low=array(1, 0, 4, 0), high=array(2, 2, 5, 3))
    assert (found.mape, found.coverage) == (0.0, 0.5)


def test_without_months_or_without_anything_in_them_none_is_said() -> None:
    assert forecast_measures(array(0, 0), array(1, 2)).mape is None
    none = forecast_measures(NOBODY, NOBODY, low=NOBODY, high=NOBODY)
    assert (none.n, none.mape, none.coverage) == (0, None, None)
