"""Linear predictors of standardised features."""

import numpy as np
import pytest

from app.prediction.linear import fit_logistic, linear_from

RNG = np.random.default_rng(3)


def test_what_hardly_differed_tells_nothing_of_who_differs() -> None:
    n = 4_000
    told = RNG.normal(size=n)
    hardly = 1 - 1e-6 * RNG.random(n) * (told > 0)
    yes = (RNG.random(n) < 1 / (1 + np.exp(-told))).astype(float)
    model = fit_logistic(np.column_stack([told, hardly]), yes, np.ones(n), [0, 1], held=1.0)
    usual, unlike = model.total(np.array([[0.0, 1.0], [0.0, 0.4]]))
    assert unlike == pytest.approx(usual, abs=0.1)


def test_beyond_what_was_seen_a_feature_counts_as_a_little_beyond_it() -> None:
    told = RNG.uniform(-1, 1, size=3_000)
    yes = (RNG.random(3_000) < 1 / (1 + np.exp(-2 * told))).astype(float)
    model = fit_logistic(told[:, None], yes, np.ones(3_000), [0], held=1.0)
    least, most, beyond = model.total(np.array([[-1.0], [1.0], [50.0]]))
    assert most < beyond < most + (most - least) / 2


def test_what_is_unknown_counts_as_the_mean_and_what_is_stored_says_the_same() -> None:
    told = RNG.normal(size=(2_000, 1))
    yes = (RNG.random(2_000) < 0.3).astype(float)
    model = fit_logistic(told, yes, np.ones(2_000), [0], held=1.0)
    rows = np.array([[np.nan], [told.mean()], [0.7]])
    unknown, mean, _ = model.total(rows)
    assert unknown == pytest.approx(mean)
    assert linear_from(model.stored()).total(rows).tolist() == model.total(rows).tolist()
