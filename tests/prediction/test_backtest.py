"""Predictions held against what came: made from before a cut alone, with horizons that are not over reckoned in."""

import numpy as np
import pytest

from app.prediction.backtest import SERVED, _lapsed, backtest_churn, backtest_spend, mean_of, measured, proof
from app.prediction.churn import Past, train_churn
from tests.prediction.shops import OPENS, buy_till_you_die

SHOP = buy_till_you_die(3_000, days=700, seed=31)
CUT, END = OPENS + 420, OPENS + 700


@pytest.fixture(scope="module")
def backtested():
    return backtest_churn(Past(SHOP), CUT, end=END)


def test_every_horizon_has_the_served_model_beside_the_baselines(backtested) -> None:
    _, _, cuts, _ = backtested
    assert [each.horizon for each in cuts] == ["30d", "90d", "own_horizon"]
    for each in cuts[:2]:
        assert list(each.told) == [SERVED, "base_rate", "recency_logistic", "rfm_logistic", "bg_nbd"]


def test_repeat_buyers_are_told_apart(backtested) -> None:
    _, told, cuts, _ = backtested
    figures = measured(cuts[0])
    assert figures["everyone"]["n"] == len(told.stands.customers)
    assert figures["repeat_buyers"]["n"] == int((told.stands.visits > 1).sum())
    assert figures["everyone"]["auc_ahead_of"]["base_rate"]["low"] > 0


def test_each_level_became_what_its_bounds_say(backtested) -> None:
    _, _, _, seen = backtested
    for level in seen["levels"]:
        if level["lapsed"] is not None and level["share"] > 0.03:
            low, high = level["bounds"]
            assert low - 0.05 <= level["lapsed"] <= high + 0.05, level


def test_what_comes_after_a_cut_is_not_used_before_it(backtested) -> None:
    """The same predictions, made where nothing after the cut has happened."""
    _, told, _, _ = backtested
    _, then, cuts, _ = backtest_churn(Past(SHOP.before(CUT)), CUT, end=CUT)
    assert np.array_equal(told.risk, then.risk)
    assert cuts == []


def test_lapses_of_horizons_that_are_not_over_count_for_as_far_as_they_are() -> None:
    rng = np.random.default_rng(5)
    horizon = np.full(20_000, 100, dtype=np.int64)
    comes = rng.exponential(100 / np.log(4), 20_000)  # a quarter stays away for 100 days
    everyone = np.ones(20_000, dtype=np.bool_)
    comes[rng.random(20_000) < 0.0] = np.inf
    assert _lapsed(comes, horizon, everyone, everyone, left=100) == pytest.approx(0.25, abs=0.01)
    # Half of the horizons are twice as long, and only half over: of these only the first half is known.
    longer = np.where(np.arange(20_000) < 10_000, 200, 100).astype(np.int64)
    comes = np.where(np.arange(20_000) < 10_000, 2 * comes, comes)
    assert _lapsed(comes, longer, everyone, everyone, left=100) == pytest.approx(0.25, abs=0.015)


def test_a_level_that_too_few_were_followed_in_is_not_told() -> None:
    few = np.ones(20, dtype=np.bool_)
    assert _lapsed(np.full(20, np.inf), np.full(20, 30, dtype=np.int64), few, few, left=100) is None


def test_spend_is_measured_beside_plain_ways() -> None:
    past = Past(SHOP)
    model, told, _, _ = backtest_churn(past, CUT, end=END)
    found = backtest_spend(past, CUT, model, told, end=END)
    assert found is not None
    assert list(found[1]["models"]) == [SERVED, "last_window_spend", "past_rate", "bg_nbd_gamma_gamma"]
    assert backtest_spend(past, CUT, model, told, end=CUT + 89) is None


def test_a_model_brings_the_proof_of_horizons_that_no_held_out_step_reaches() -> None:
    past = Past(SHOP)
    found = proof(past, END, train_churn(past, END))
    assert set(found) == {"90d", "own_horizon"}
    for each in found.values():
        assert each["measures"]["auc"] > 0.6
        assert sum(part["n"] for part in each["reliability"]) == each["measures"]["n"]


def test_means_are_over_the_cuts_that_have_a_figure() -> None:
    cuts = [{"a": {"auc": 0.5, "ece": None}}, {"a": {"auc": 0.7, "ece": 0.1}, "b": {"auc": None}}]
    assert mean_of(cuts) == {"a": {"auc": pytest.approx(0.6), "ece": pytest.approx(0.1)}, "b": {"auc": None}}
