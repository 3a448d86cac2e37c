"""Who comes back: chosen on the shop's own past, a baseline where nothing is better, no number without support."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.core.errors import NotEnoughHistory
from app.prediction.chances import BLENDS, ChanceModel, Family, fit_chances
from app.prediction.churn import (
    LEVELS,
    MOST_STEPS,
    Level,
    Past,
    Trend,
    levels,
    predict_churn,
    train_churn,
    trend,
)
from app.prediction.evaluation import auc, auc_difference, ece
from app.prediction.standing import standing
from tests.prediction.shops import OPENS, buy_till_you_die, shop_of

SHOP = buy_till_you_die(4_000, days=560, seed=9)
KNOWN = OPENS + 500


@pytest.mark.parametrize(
    ("score", "level"),
    [
        *((0.0, Level.low), (0.2999, Level.low), (0.30, Level.medium), (0.4999, Level.medium)),
        *((0.50, Level.high), (0.6999, Level.high), (0.70, Level.critical), (1.0, Level.critical)),
    ],
)
def test_a_level_begins_at_its_bound(score: float, level: Level) -> None:
    assert LEVELS[levels(np.array([score]))[0]] is level


def test_the_chosen_model_is_the_best_on_windows_held_out_and_says_so() -> None:
    model = train_churn(Past(SHOP), KNOWN)
    tried = [each for each in model.tried if each.measures is not None]
    (chosen,) = [each for each in tried if each.chosen]
    assert chosen.family is model.chances.family
    losses = {each.family: each.measures.log_loss for each in tried if each.measures and each.measures.log_loss}
    assert losses[chosen.family] <= min(losses.values()) * 1.01
    assert all(each.why for each in model.tried)
    assert {each.family for each in model.tried} == set(Family)


def test_predictions_hold_on_what_came_after() -> None:
    told = predict_churn(train_churn(Past(SHOP), KNOWN), SHOP, known=KNOWN)
    away = (~SHOP.bought(told.stands.customers, KNOWN, KNOWN + 30)).astype(np.float64)
    area, error = auc(away, told.away_30), ece(away, told.away_30)
    assert area is not None and area > 0.7
    assert error is not None and error < 0.03


def test_a_model_of_shuffled_labels_is_refused_and_the_baseline_served_as_degraded() -> None:
    rng = np.random.default_rng(0)

    def broken(windows: Any, family: Family, **rest: Any) -> ChanceModel:
        if family is Family.bg_nbd:  # which learns from no labels that could be shuffled
            family = Family.base_rate
        if family in BLENDS:
            windows = [replace(each, stayed_away=rng.permutation(each.stayed_away)) for each in windows]
        return fit_chances(windows, family, **rest)

    model = train_churn(Past(SHOP), KNOWN, fit=broken)
    assert model.chances.family in (Family.recency_logistic, Family.rfm_logistic)
    assert model.degraded is not None and model.chances.family.value in model.degraded
    whole = train_churn(Past(SHOP), KNOWN)
    assert whole.degraded is None


@pytest.mark.parametrize("n", [1, 300])
def test_where_nobody_ever_came_back_one_model_is_served_and_no_chance_is_certain(n: int) -> None:
    once = shop_of(np.arange(n), OPENS + np.arange(n) % 300)
    model = train_churn(Past(once), OPENS + 300)
    (chosen,) = [each for each in model.tried if each.chosen]
    assert chosen.family is Family.base_rate and not chosen.seasonal
    told = predict_churn(model, once, known=OPENS + 300)
    windows = len(model.training_days)
    assert (told.away_30 < 1 - 0.3 / (n * windows)).all()


def test_nothing_that_came_later_changes_what_is_told() -> None:
    whole, then = (
        predict_churn(train_churn(Past(shop), KNOWN), shop, known=KNOWN) for shop in (SHOP, SHOP.before(KNOWN))
    )
    assert np.array_equal(whole.risk, then.risk)
    assert np.array_equal(whole.horizon_days, then.horizon_days)


def test_the_order_of_customers_changes_nothing() -> None:
    n = SHOP.n_customers
    turned = shop_of(n - 1 - SHOP.visits.customer, SHOP.visits.day, SHOP.visits.paid, n=n)
    one, other = (predict_churn(train_churn(Past(shop), KNOWN), shop, known=KNOWN) for shop in (SHOP, turned))
    assert other.risk[::-1] == pytest.approx(one.risk, abs=0.02)


def test_a_small_shop_gets_what_is_simple() -> None:
    small = buy_till_you_die(60, days=300, seed=2)
    model = train_churn(Past(small), OPENS + 280)
    assert model.chances.family not in BLENDS
    assert model.degraded is None


@pytest.mark.parametrize("days", [1, 21, 60])
def test_a_shop_of_weeks_is_told_what_is_missing(days: int) -> None:
    young = shop_of(np.arange(50), OPENS + np.arange(50) % days)
    with pytest.raises(NotEnoughHistory, match="90 days of orders"):
        train_churn(Past(young), OPENS + days)


def test_a_shop_without_orders_is_told_so() -> None:
    nobody = shop_of(np.array([0]), np.array([OPENS])).before(OPENS)
    with pytest.raises(NotEnoughHistory, match="no orders yet"):
        train_churn(Past(nobody), OPENS + 100)


def test_a_shop_closed_for_months_is_told_that_few_come() -> None:
    closed = SHOP.before(OPENS + 200)
    told = predict_churn(train_churn(Past(closed), KNOWN), closed, known=KNOWN)
    assert np.isfinite(told.risk).all()
    assert told.away_30.min() > 0.9


def test_a_shop_where_each_came_once_is_told_of_everybody() -> None:
    once = shop_of(np.arange(800), OPENS + np.random.default_rng(1).integers(0, 300, 800))
    told = predict_churn(train_churn(Past(once), OPENS + 300), once, known=OPENS + 300)
    assert len(told.risk) == 800
    assert told.risk.min() > 0.95


def test_a_fixed_horizon_makes_the_risk_the_literal_chance() -> None:
    model = train_churn(Past(SHOP), KNOWN)
    told = predict_churn(model, SHOP, known=KNOWN, fixed_horizon=30)
    assert told.risk == pytest.approx(told.away_30, abs=1e-6)
    assert told.chances.shape[0] == MOST_STEPS


def test_chances_of_longer_times_are_never_larger() -> None:
    told = predict_churn(train_churn(Past(SHOP), KNOWN), SHOP, known=KNOWN)
    assert (told.away_90 <= told.away_30 + 1e-12).all()


def test_on_a_shop_of_twenty_thousand_it_is_ahead_of_the_baselines_and_calibrated() -> None:
    large = buy_till_you_die(20_000, days=560, seed=11, spread=0.8, leaves=0.2)
    past = Past(large)
    told = predict_churn(train_churn(past, KNOWN), large, known=KNOWN)
    away = (~large.bought(told.stands.customers, KNOWN, KNOWN + 30)).astype(np.float64)
    rfm = fit_chances(
        [past.window(KNOWN - 30, known=KNOWN)],
        Family.rfm_logistic,
        rhythm=past.rhythm(KNOWN),
        season=past.season(KNOWN),
        purchases=large,
    )
    ahead = auc_difference(away, told.away_30, rfm.away(told.stands.values, KNOWN))
    assert ahead is not None and ahead.low > 0
    assert (ece(away, told.away_30) or 1) < 0.012


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([0, 100], Trend.new),
        ([*range(0, 700, 30)], Trend.steady),
        ([*range(0, 400, 30)], Trend.fading),
        ([0, 300, *range(540, 700, 20)], Trend.rising),
    ],
)
def test_the_trend_compares_the_last_half_year_with_all_before(days: list[int], expected: Trend) -> None:
    known = 200 if expected is Trend.new else 700
    one = shop_of(np.zeros(len(days), dtype=np.int64), np.array(days))
    rhythm = Past(SHOP).rhythm(KNOWN)
    assert trend(standing(one, rhythm, known=known)) == [expected]
