"""The date by which an order is as likely as not, read off the chance of staying away."""

import numpy as np
import pytest

from app.prediction.chances import until
from app.prediction.next_order import next_order
from app.prediction.standing import STEP_DAYS


def steady(chance: float, n_steps: int = 13) -> np.ndarray:
    return np.full((n_steps, 1), chance)


def test_of_an_even_chance_a_step_the_date_is_a_step_away() -> None:
    assert next_order(steady(0.5)).expected[0] == pytest.approx(STEP_DAYS)


def test_within_a_step_the_chance_falls_evenly() -> None:
    assert next_order(steady(0.25)).expected[0] == pytest.approx(STEP_DAYS / 2)


def test_the_interval_holds_four_orders_in_five() -> None:
    chances = np.array([[0.8], [0.5], [0.7], [0.2], [0.1], *[[0.5]] * 8])
    told = next_order(chances)
    assert until(chances, told.earliest)[0] == pytest.approx(0.9)
    assert until(chances, told.expected)[0] == pytest.approx(0.5)
    assert until(chances, told.latest)[0] == pytest.approx(0.1)


def test_who_is_likelier_to_stay_away_for_a_year_has_no_date() -> None:
    told = next_order(steady(0.99))
    assert np.isnan([told.expected[0], told.earliest[0], told.latest[0]]).all()


def test_an_end_beyond_what_is_told_is_open() -> None:
    told = next_order(steady(0.9))
    assert np.isfinite(told.expected[0]) and np.isnan(told.latest[0])


def test_staying_away_for_longer_is_never_likelier() -> None:
    rng = np.random.default_rng(3)
    chances = rng.uniform(0.05, 0.999, (13, 50))
    kept = np.array([until(chances, float(days)) for days in range(0, 391, 7)])
    assert (kept[0] == 1).all()
    assert (np.diff(kept, axis=0) <= 1e-12).all()
