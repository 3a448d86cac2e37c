"""Visits ahead from newcomers and the ageing of those there are."""

from datetime import date
from functools import partial

import numpy as np
import pytest

from app.prediction.cohort_visits import CohortVisits, cohort_visits
from app.prediction.forecasting import backtest_series, by_cohorts, forecasters, rolling_origins

FIRST = date(2021, 3, 1)
DAY = (FIRST - date(1970, 1, 1)).days
#: Of customers of each age in months, how many come in a month; from the last on as the last.
RATES = np.concatenate([[1.2], [0.5, 0.4], np.full(3, 0.3), np.full(6, 0.2), np.full(12, 0.1), [0.05]])
SEASON = np.array([0.8, 0.7, 0.9, 1.0, 0.9, 0.8, 0.9, 1.0, 1.2, 1.5, 1.4, 0.9])


def by_rates(newcomers: np.ndarray, *, earlier: int = 0) -> CohortVisits:
    """A shop whose customers come exactly as RATES and SEASON say."""
    everyone = np.append(earlier, newcomers)
    n = len(newcomers)
    visits = np.zeros((7, n))
    classes = np.searchsorted([0, 1, 2, 3, 6, 12, 24], np.arange(n + 1), side="right") - 1
    for month in range(n):
        for age in range(month + 2):
            rate = RATES[min(age, len(RATES) - 1)] * SEASON[(FIRST.month - 1 + month) % 12]
            visits[classes[age], month] += everyone[month + 1 - age] * rate
    return CohortVisits(FIRST, earlier, newcomers.astype(float), visits)


def test_whose_customers_come_as_their_age_and_the_season_say_is_told_exactly() -> None:
    shop = by_rates(100 + 10 * np.arange(60.0), earlier=400)
    told = shop.ahead(48, shop.newcomers[48:])
    assert told == pytest.approx(shop.visits[:, 48:].sum(axis=0), rel=1e-6)


def test_more_newcomers_bring_more_visits_for_as_long_as_they_come() -> None:
    shop = by_rates(np.full(48, 100.0))
    usual, more = (shop.ahead(48, np.full(12, each)) for each in (100.0, 150.0))
    assert (np.diff(more / usual) > 0).all()
    assert more[0] / usual[0] > 1.05


def test_what_came_after_the_months_known_is_not_read() -> None:
    rng = np.random.default_rng(5)
    shop = by_rates(rng.integers(50, 150, 48))
    cut = CohortVisits(FIRST, 0, shop.newcomers[:30], shop.visits[:, :30])
    newcomers = np.full(6, 80.0)
    assert shop.ahead(30, newcomers).tolist() == cut.ahead(30, newcomers).tolist()
    values = shop.visits.sum(axis=0)[:30]
    assert by_cohorts(values, 6, visits=shop).tolist() == by_cohorts(values, 6, visits=cut).tolist()


def test_visits_are_counted_by_the_months_since_the_first() -> None:
    # One who came before the first month, one who comes in months 0 and 1, one in month 2 alone, on two days.
    rows = [(0, DAY - 3), (0, DAY + 1), (1, DAY), (1, DAY + 31), (2, DAY + 62), (2, DAY + 63), (3, DAY + 95)]
    customer, day = (np.array(each) for each in zip(*rows, strict=True))
    counted = cohort_visits(customer, day, first=FIRST, n_months=3)
    assert counted.earlier == 1
    assert counted.newcomers.tolist() == [1, 0, 1]
    assert counted.visits[:3].tolist() == [[1, 0, 2], [1, 1, 0], [0, 0, 0]]
    assert counted.visits.sum() == 5  # neither the one before the months nor the one after them


def test_a_month_in_which_newcomers_surge_is_carried_on_where_the_series_alone_knows_nothing_of_it() -> None:
    rng = np.random.default_rng(8)
    newcomers = rng.poisson(200 * 1.02 ** np.arange(60) * np.where(np.arange(60) < 44, 1.0, 1.8)).astype(float)
    shop = by_rates(newcomers)
    visits = shop.visits.sum(axis=0)
    alone, by_age = (backtest_series(visits, visits=each) for each in (None, shop))
    assert by_age.mape is not None and alone.mape is not None
    assert by_age.mape < 0.9 * alone.mape
    shares = rolling_origins(visits, 12, visits=shop).shares
    assert max(shares, key=lambda way: shares[way]).name == "cohorts"


def test_nobody_comes_where_nobody_ever_came() -> None:
    empty = CohortVisits(FIRST, 0, np.zeros(30), np.zeros((7, 30)))
    assert by_cohorts(np.zeros(30), 5, visits=empty).tolist() == [0.0] * 5
    assert (
        cohort_visits(np.array([], dtype=np.int64), np.array([], dtype=np.int64), first=FIRST, n_months=2).earlier == 0
    )


def test_money_follows_visits_at_what_one_came_to_in_the_last_year() -> None:
    shop = by_rates(np.full(40, 100.0))
    visits = shop.visits.sum(axis=0)
    worth = np.where(np.arange(40) < 28, 20.0, 30.0)
    told = partial(by_cohorts, horizon=6, visits=shop)
    assert told(visits * worth) == pytest.approx(30 * told(visits))


def test_cohorts_are_a_way_of_telling_only_where_customers_are_known() -> None:
    assert "cohorts" not in {way.name for way in forecasters()}
    assert "cohorts" in {way.name for way in forecasters(visits=by_rates(np.full(30, 10.0)))}
