"""What is told of a series: the plain ways exactly, the choice no worse than the best of them, intervals that hold."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.prediction.forecasting import (
    HORIZON,
    Floats,
    backtest_series,
    damped_trend,
    errors_suggest,
    ets,
    forecast,
    forecasters,
    naive,
    profile_yoy,
    rolling_origins,
    seasonal_naive,
    seasonal_naive_yoy,
    shares_of_months,
    theta,
    whole_months,
)

YEAR = np.array([5.0, 4, 6, 7, 6, 5, 5, 8, 9, 12, 20, 13])
short = st.lists(st.floats(0, 1e6), min_size=1, max_size=16).map(np.array)


def a_shop(n: int, *, noise: float, seed: int = 0, growth: float = 0.01, season: float = 0.35) -> Floats:
    rng = np.random.default_rng(seed)
    profile = np.log(YEAR) - np.log(YEAR).mean()
    profile *= season / profile.std()
    month = np.arange(n)
    return np.exp(8 + growth * month + profile[month % 12] + noise * rng.normal(size=n))


def test_a_year_that_repeats_is_told_exactly_by_all_that_know_of_years() -> None:
    twice = np.tile(YEAR, 2)
    for tell in (seasonal_naive, seasonal_naive_yoy, profile_yoy):
        assert tell(twice, 36, season=12) == pytest.approx(np.tile(YEAR, 3))
    assert forecast(np.tile(YEAR, 3), 12).point == pytest.approx(YEAR, rel=1e-3)


def test_growth_of_the_year_lifts_the_same_months_a_year_ago() -> None:
    told = seasonal_naive_yoy(np.concatenate([YEAR, 1.2 * YEAR]), 13, season=12)
    assert told[:12] == pytest.approx(1.2**2 * YEAR)
    # The second year carries eight tenths of the growth of the first.
    assert told[12] == pytest.approx(1.2 ** (2 + 0.8) * YEAR[0])


def test_growth_is_of_the_months_both_years_have() -> None:
    told = seasonal_naive_yoy(np.concatenate([YEAR, 2 * YEAR[:3]]), 1, season=12)
    assert told == pytest.approx([2 * YEAR[3]])


def test_the_profile_of_several_years_is_less_noisy_than_the_last_year() -> None:
    errors = {"profile": 0.0, "last year": 0.0}
    for seed in range(30):
        known, came = a_shop(48, noise=0.2, seed=seed), a_shop(60, noise=0.0)[48:]
        errors["profile"] += np.abs(profile_yoy(known, 12, season=12) / came - 1).mean()
        errors["last year"] += np.abs(seasonal_naive_yoy(known, 12, season=12) / came - 1).mean()
    assert errors["profile"] < 0.9 * errors["last year"]


def test_with_no_year_known_the_seasonal_ways_say_the_last_one_again() -> None:
    assert seasonal_naive(YEAR[:5], 3, season=12).tolist() == [6.0, 6, 6]
    assert naive(YEAR, 2).tolist() == [13.0, 13]


@pytest.mark.parametrize("n", [6, 14, 24, 40])
@pytest.mark.parametrize("kind", ["as it is", "with nothing in between", "all alike", "nothing"])
def test_fitted_ways_tell_something_of_any_series(n: int, kind: str) -> None:
    values = a_shop(n, noise=0.1)
    values = {
        "as it is": values,
        "with nothing in between": np.where(np.arange(n) % 3 == 0, 0, values),
        "all alike": np.ones(n),
        "nothing": np.zeros(n),
    }[kind]
    for told in (damped_trend(values, 36), ets(values, 36, season=12), theta(values, 36, season=12)):
        assert told.shape == (36,)
        assert np.isfinite(told).all()


@given(short, st.sampled_from([1, 5, 36]), st.sampled_from([0.5, 0.8, 0.95]))
@settings(max_examples=40, deadline=None)
def test_any_series_is_told_without_gaps_and_within_its_interval(values: Floats, horizon: int, level: float) -> None:
    told = forecast(values, horizon, level=level)
    assert told.point.shape == told.low.shape == told.high.shape == (horizon,)
    assert np.isfinite(told.high).all()
    assert (told.low >= 0).all()
    assert (told.low <= told.point).all()
    assert (told.point <= told.high).all()
    assert told.why
    assert told.assumptions


@pytest.mark.parametrize("n", [4, 15, 40])
def test_what_is_told_of_the_first_month_does_not_depend_on_how_many_are_asked_for(n: int) -> None:
    values = a_shop(n, noise=0.1)
    one, many = forecast(values, 1), forecast(values, 36)
    for each, other in ((one.point, many.point), (one.low, many.low), (one.high, many.high)):
        assert each[0] == other[0]


def test_the_unit_of_money_changes_nothing() -> None:
    values = a_shop(30, noise=0.1)
    one, hundred = forecast(values, 12), forecast(100 * values, 12)
    assert hundred.point == pytest.approx(100 * one.point, rel=1e-3)
    assert hundred.high == pytest.approx(100 * one.high, rel=1e-3)


def test_what_is_served_at_an_origin_is_what_its_own_past_would_have_served() -> None:
    values = a_shop(32, noise=0.15)
    later = rolling_origins(values, 1, judged=4)
    for row, origin in enumerate(later.origins):
        then = forecast(values[:origin], HORIZON)
        assert later.told[row] == pytest.approx(then.point)
        high = (later.told[row] + later.offset[row]) * np.exp(later.spread[row]) - later.offset[row]
        assert high == pytest.approx(then.high)


def test_a_way_that_was_never_tried_is_not_served() -> None:
    # At 25 months exponential smoothing and Theta have one origin, however well it went.
    for n in (24, 25):
        chosen = rolling_origins(a_shop(n, noise=0.05), 12).shares
        assert not {"ets", "theta"} & {way.name for way in chosen}
    for n in (1, 2, 13, 25):
        served = rolling_origins(a_shop(n, noise=0.05), 1)
        able = [way for way in forecasters() if way.can(n)]
        assert all(way is not None and (way.name in served.errors or way.name == able[0].name) for way in served.shares)


SHOPS: dict[str, Callable[[int, int], Floats]] = {
    "season and growth": lambda n, seed: a_shop(n, noise=0.1, seed=seed),
    "noisy": lambda n, seed: a_shop(n, noise=0.25, seed=seed),
    "no season": lambda n, seed: a_shop(n, noise=0.1, seed=seed, season=0.0),
    "level shift": lambda n, seed: a_shop(n, noise=0.1, seed=seed) * np.where(np.arange(n) < n * 0.6, 1, 0.6),
}


def test_over_many_shops_what_is_served_is_as_good_as_the_best_baseline_and_intervals_cover_four_fifths() -> None:
    served, best, covered, told = [], [], 0.0, 0
    for shop in SHOPS.values():
        for n in (14, 24, 36):
            for seed in range(2):
                found = backtest_series(shop(n, seed), judged=12 if n > 14 else 6)
                baseline = found.best_baseline()
                assert found.mape is not None and baseline is not None and found.coverage is not None
                served.append(found.mape)
                best.append(baseline)
                covered += found.coverage * found.n_told
                told += found.n_told
    assert np.mean(served) < 1.1 * np.mean(best)
    assert 0.75 < covered / told < 0.9


def test_where_something_plain_would_have_been_clearly_better_the_reasons_say_so() -> None:
    said = []
    fell = np.where(np.arange(30) < 18, 1, 0.3)
    for values in (a_shop(36, noise=0.05), a_shop(30, noise=0.05, season=0.0) * fell):
        told = forecast(values, 1)
        best = told.backtest.best_baseline()
        assert told.backtest.mape is not None and best is not None
        said.append("the best of the plain ways" in told.why)
        assert said[-1] == (told.backtest.mape > 1.1 * best)
    assert said == [False, True]


def test_shops_of_two_years_are_told_by_their_year_and_not_by_their_trend() -> None:
    # There smoothing takes season for trend, and is wrong by a third and more.
    found = [backtest_series(a_shop(24, noise=0.05, growth=0.02, seed=seed), judged=12) for seed in range(4)]
    mape, naive_, yoy = (
        np.mean([getattr(each, name) for each in found]) for name in ("mape", "mape_naive", "mape_seasonal_naive_yoy")
    )
    assert mape < 0.3 * naive_
    assert mape < 1.2 * yoy


def test_months_in_which_nothing_came_are_left_out_of_the_error() -> None:
    found = backtest_series(np.zeros(20))
    assert found.mape is None
    assert found.best_baseline() is None
    one_zero = backtest_series(np.where(np.arange(20) == 18, 0, YEAR[np.arange(20) % 12]))
    assert one_zero.mape is not None
    assert np.isfinite(one_zero.mape)


def test_one_period_is_told_and_its_interval_says_that_it_is_a_guess() -> None:
    told = forecast(np.array([100.0]), 3)
    assert told.point.tolist() == [100.0, 100, 100]
    assert told.high[0] / told.low[0] > 1.5
    assert told.backtest.n_origins == 0
    assert told.backtest.mape is None
    assert any("rests on the steps" in each for each in told.assumptions)


def test_a_shop_closed_for_months_is_told_and_the_answer_says_so() -> None:
    told = forecast(np.concatenate([a_shop(30, noise=0.1), np.zeros(4)]), 12)
    assert np.isfinite(told.high).all()
    assert any("last 4 periods" in each for each in told.assumptions)
    closed = forecast(np.concatenate([a_shop(14, noise=0.1), np.zeros(14)]), 12)
    assert closed.point == pytest.approx(np.zeros(12), abs=1e-6)


def test_weeks_are_told_by_their_year_of_fifty_two() -> None:
    weeks = np.tile(np.linspace(1, 2, 52), 3)
    assert forecast(weeks, 4, season=52, judged=2).point == pytest.approx(weeks[:4], rel=0.02)


def test_fewer_origins_and_a_higher_level_make_intervals_wider() -> None:
    errors = np.abs(np.random.default_rng(0).normal(size=(24, HORIZON)))
    many, few, high = (
        errors_suggest(each, level=level, horizon=24)
        for each, level in ((errors, 0.8), (errors[:6], 0.8), (errors, 0.95))
    )
    assert many is not None and few is not None and high is not None
    assert few[0] > many[0]
    assert (high > many).all()
    assert (np.diff(many) >= 0).all()
    assert errors_suggest(np.full((1, HORIZON), np.nan), level=0.8, horizon=3) is None


@pytest.mark.parametrize(
    ("values", "horizon", "level"), [([], 3, 0.8), ([1.0, np.nan], 3, 0.8), ([1.0], 0, 0.8), ([1.0], 3, 1.0)]
)
def test_no_period_a_missing_one_or_no_level_is_refused(values: list[float], horizon: int, level: float) -> None:
    with pytest.raises(InvalidInput):
        forecast(np.array(values), horizon, level=level)


@given(st.dates(date(2019, 1, 1), date(2024, 12, 31)), st.integers(0, 400))
def test_days_are_put_into_whole_months_alone(first_day: date, n_days: int) -> None:
    months = whole_months(first_day, np.ones(n_days))
    assert months.first.day == 1
    for position, total in enumerate(months.values):
        assert total == (months.month(position + 1) - months.month(position)).days
        assert first_day <= months.month(position)
        assert months.month(position + 1) <= first_day + timedelta(days=n_days)
    left_out = n_days - months.values.sum()
    assert left_out <= 60


def test_a_month_that_is_not_over_is_no_month() -> None:
    months = whole_months(date(2025, 1, 15), np.ones(60))
    assert (months.first, months.values.tolist()) == (date(2025, 2, 1), [28.0])


@given(st.integers(0, 364), st.integers(0, 364), st.integers(0, 364), st.booleans())
def test_periods_of_days_that_follow_each_other_add_up(one: int, two: int, three: int, shaped: bool) -> None:
    day, after, last = sorted((one, two, three))
    first = date(2025, 1, 1)
    past = np.random.default_rng(0).random(731) if shaped else None

    def shares(start: int, end: int) -> Floats:
        if start > end:
            return np.zeros(12)
        start_on, end_on = first + timedelta(days=start), first + timedelta(days=end)
        return shares_of_months(first, 12, start=start_on, end=end_on, days_from=date(2023, 1, 1), days=past)

    assert shares(day, after) + shares(after + 1, last) == pytest.approx(shares(day, last))
    assert shares(0, 364).tolist() == [1.0] * 12


def test_days_of_a_month_weigh_half_as_they_did_the_year_before_once_it_is_known() -> None:
    december = (date(2025, 12, 1), 1)
    window = {"start": date(2025, 12, 20), "end": date(2025, 12, 31)}
    assert shares_of_months(*december, **window) == pytest.approx([12 / 31])
    last_year = np.zeros(366)
    last_year[-12:] = 1.0  # everything came after the 19th
    told = shares_of_months(*december, **window, days_from=date(2024, 1, 1), days=last_year)
    assert told == pytest.approx([(12 / 31 + 1) / 2])
