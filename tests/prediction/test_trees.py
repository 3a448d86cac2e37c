"""Trees kept as numbers say what the library's own say."""

import json

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from app.prediction.trees import piece_by_piece, trees_from, trees_of

RNG = np.random.default_rng(8)
VALUES = RNG.normal(size=(2_000, 6))
VALUES[RNG.random(VALUES.shape) < 0.1] = np.nan
SIGNAL = np.nan_to_num(VALUES[:, 0]) + np.nan_to_num(VALUES[:, 1]) ** 2
YES = (SIGNAL + RNG.normal(size=2_000) > 1).astype(np.float64)


@pytest.mark.parametrize("stored", [False, True])
def test_of_a_classifier_the_log_odds(stored: bool) -> None:
    model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=7, random_state=0).fit(VALUES, YES)
    trees = trees_of(model)
    if stored:
        trees = trees_from(json.loads(json.dumps(trees.stored())))
    assert trees.total(VALUES) == pytest.approx(model.decision_function(VALUES), abs=1e-12)


def test_of_a_poisson_regressor_the_logarithm_of_the_mean() -> None:
    model = HistGradientBoostingRegressor(loss="poisson", max_iter=40, random_state=0).fit(VALUES, np.exp(SIGNAL / 4))
    assert np.exp(trees_of(model).total(VALUES)) == pytest.approx(model.predict(VALUES), rel=1e-12)


def test_a_shift_is_added_to_every_sum() -> None:
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(VALUES, YES)
    assert trees_of(model, shift=0.7).total(VALUES) == pytest.approx(trees_of(model).total(VALUES) + 0.7)


def test_a_model_that_did_not_grow_says_its_baseline() -> None:
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5_000, random_state=0).fit(VALUES, YES)
    assert trees_of(model).total(VALUES) == pytest.approx(model.decision_function(VALUES))


@pytest.mark.parametrize("n_times", [1, 6, 13])
def test_what_is_told_piece_by_piece_is_what_is_told_at_once(n_times: int) -> None:
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(VALUES, YES)
    many = np.tile(VALUES, (n_times, 1))
    assert np.array_equal(piece_by_piece(model.decision_function, many), model.decision_function(many))
