"""Bands of days: as many false alarms as they say, what is out of line is found, and nothing of later is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.prediction.anomalies import (
    LEAST_DAYS,
    Bands,
    Direction,
    Floats,
    bands,
    closed_days,
    known_days,
)

WEEK = np.array([1.3, 1.2, 1.0, 1.0, 1.0, 0.9, 0.6])
CLOSED_SUNDAYS = np.array([1.4, 1.3, 1.2, 1.1, 1.0, 1.0, 0.0])


def told(counted: Floats, *, events: Floats | None = None, days: int = 90, wide: bool = False) -> Bands:
    """Of a series that is the whole shop's; counts unless events say how many it is the sum of."""
    behind = counted if events is None else events
    return bands(counted, behind, known_days(counted, behind), days=days, whole=events is None, wide=wide)


def poisson(seed: int, level: float, n: int, week: Floats = WEEK) -> Floats:
    return np.random.default_rng(seed).poisson(level * np.resize(week, n)).astype(np.float64)


def share_flagged(series: list[Floats], **arguments: int | bool) -> float:
    outside = np.concatenate([told(each, **arguments).outside for each in series])  # type: ignore[arg-type]
    assert np.isfinite(outside).all()
    return float((np.abs(outside) > 1).mean())


@pytest.mark.parametrize("week", [np.ones(7), WEEK, CLOSED_SUNDAYS], ids=["even", "week", "closed sundays"])
@pytest.mark.parametrize("level", [5, 20, 200])
def test_about_one_ordinary_day_in_a_hundred_is_flagged(level: float, week: Floats) -> None:
    ordinary = [poisson(seed, level, 600, week) for seed in range(12)]
    assert 0.003 <= share_flagged(ordinary, days=365) <= 0.025


def test_in_a_short_history_no_more_are_flagged() -> None:
    assert 0.003 <= share_flagged([poisson(seed, 20, 100) for seed in range(60)], days=70) <= 0.025


@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_of_quiet_days_fewer_are_flagged_never_more(level: float) -> None:
    quiet = [poisson(seed, level, 600) for seed in range(12)]
    outside = np.concatenate([told(each, days=365).outside for each in quiet])
    assert (np.abs(outside[np.isfinite(outside)]) > 1).mean() <= 0.01


def test_a_wider_band_flags_a_tenth_of_that() -> None:
    assert share_flagged([poisson(seed, 50, 600) for seed in range(12)], days=365, wide=True) <= 0.003


def test_where_days_differ_by_more_than_chance_the_band_is_wider_and_flags_no_more() -> None:
    rng = np.random.default_rng(5)
    uneven = [rng.poisson(rng.gamma(20, 50 * np.resize(WEEK, 600) / 20)).astype(np.float64) for _ in range(12)]
    assert 0.003 <= share_flagged(uneven, days=365) <= 0.025
    wide, narrow = (told(each, days=365) for each in (uneven[0], poisson(1, 50, 600)))
    assert np.median(wide.high - wide.low) > 1.3 * np.median(narrow.high - narrow.low)


def test_amounts_are_banded_as_counts_are() -> None:
    rng = np.random.default_rng(5)
    flagged = []
    for seed in range(12):
        orders = poisson(seed, 20, 600)
        revenue = np.array([rng.lognormal(3, 0.6, int(n)).sum() for n in orders])
        found = told(revenue, events=orders, days=365)
        flagged.append((np.abs(found.outside) > 1).mean())
        # In another currency it is the same.
        again = told(1_000 * revenue, events=orders, days=365)
        assert again.outside == pytest.approx(found.outside)
        assert again.high == pytest.approx(1_000 * found.high)
    assert 0.003 <= np.mean(flagged) <= 0.025


# What is out of line


def test_a_spike_is_found_and_does_not_widen_the_bands_after_it() -> None:
    calm = poisson(3, 30, 300)
    spiked = calm.copy()
    spiked[270] = 200
    before, after = told(calm), told(spiked)
    at = 90 - (300 - 270)
    assert after.direction(at) is Direction.high
    assert after.outside[at] > 4
    assert (after.low[at], after.high[at]) == (before.low[at], before.high[at])
    assert after.high[at + 1 :] == pytest.approx(before.high[at + 1 :], rel=0.05)
    assert sum(after.direction(day) is not None for day in range(at + 1, 90)) <= 2


def test_an_outage_is_found_on_each_of_its_days() -> None:
    counted = poisson(4, 40, 300)
    counted[260:265] = 0
    found = told(counted)
    at = 90 - (300 - 260)
    assert [found.direction(day) for day in range(at, at + 5)] == [Direction.low] * 5
    # It does not make the ordinary days after it look like a rise.
    assert [found.direction(day) for day in range(at + 5, at + 12)].count(Direction.high) <= 1


def test_a_day_that_is_always_closed_is_no_outage_and_an_order_on_it_no_level() -> None:
    counted = poisson(6, 100, 300, CLOSED_SUNDAYS)
    found = told(counted)
    sundays = [day for day in range(90) if (300 - 90 + day) % 7 == 6]
    assert all(found.expected[day] < 1 and found.direction(day) is None for day in sundays)


def test_a_new_level_is_usual_after_a_few_weeks() -> None:
    level = np.repeat([30.0, 60.0], [250, 60])
    counted = np.random.default_rng(7).poisson(level * np.resize(WEEK, 310)).astype(np.float64)
    found = told(counted, days=60)
    assert sum(found.direction(day) is Direction.high for day in range(10)) >= 6
    assert sum(found.direction(day) is not None for day in range(30, 60)) <= 2
    assert found.expected[32:].mean() == pytest.approx(60, rel=0.1)


def test_a_season_is_expected_once_a_year_is_known() -> None:
    """Twice the usual within two weeks of every December; in the second one it is less of a surprise."""
    days = np.arange(2 * 365)
    usual = 60 * (1 + 1.2 * np.exp(-((((days % 365) - 340) / 8.0) ** 2))) * np.resize(WEEK, len(days))
    counted = np.random.default_rng(9).poisson(usual).astype(np.float64)
    rise = slice(328, 341)
    first, second = told(counted[:365], days=365), told(counted, days=365)
    surprised, foreseen = (int((np.abs(each.outside[rise]) > 1).sum()) for each in (first, second))
    assert surprised >= 5 and foreseen <= surprised - 3
    missed = [
        np.abs(each.expected[rise] - truth[rise]).mean()
        for each, truth in ((first, usual[:365]), (second, usual[365:]))
    ]
    assert missed[1] < 0.7 * missed[0]


# Where too little is known


def test_a_day_is_told_by_the_days_before_it_alone() -> None:
    whole = poisson(11, 25, 500)
    events = whole
    everything = told(whole, days=200)
    for cut in (320, 401, 499):
        until = told(whole[: cut + 1], events=None, days=1)
        at = cut - (500 - 200)
        for name in ("expected", "low", "high"):
            assert getattr(until, name)[0] == getattr(everything, name)[at]
    changed = events.copy()
    changed[450] = 10_000
    assert told(changed, days=200).high[:151] == pytest.approx(everything.high[:151])


def test_there_is_no_band_before_four_weeks_are_known() -> None:
    counted = np.concatenate([np.zeros(400), poisson(12, 10, 40, np.ones(7)) + 1])
    found = told(counted, days=40)
    assert np.isnan(found.expected[:LEAST_DAYS]).all() and np.isfinite(found.expected[LEAST_DAYS:]).all()
    assert all(found.direction(day) is None for day in range(LEAST_DAYS))
    three_weeks = told(counted[:421], days=90)
    assert np.isnan(three_weeks.expected).all()


def test_a_shop_without_anything_and_one_without_days_have_no_bands() -> None:
    for n in (0, 1, 90, 500):
        found = told(np.zeros(n), days=90)
        assert len(found.expected) == min(n, 90)
        assert np.isnan(found.outside).all()


def test_of_a_closed_shop_nothing_is_expected_until_it_has_been_open_for_four_weeks() -> None:
    open_, closed, again = poisson(13, 30, 200), np.zeros(90), poisson(14, 30, 60)
    counted = np.concatenate([open_, closed, again])
    found = told(counted, days=150)
    # Its first days without an order are out of line; later ones are those of a closed shop.
    assert [found.direction(day) for day in range(12)] == [Direction.low] * 12
    assert np.isnan(found.expected[LEAST_DAYS : 90 + LEAST_DAYS]).all()
    assert np.isfinite(found.expected[90 + LEAST_DAYS :]).all()
    assert np.median(found.expected[90 + LEAST_DAYS :]) == pytest.approx(30, rel=0.2)
    assert closed_days(counted)[200 + LEAST_DAYS : 291].all() and closed_days(counted).sum() == 91 - LEAST_DAYS


def test_what_a_shop_began_to_count_later_is_known_from_then_on() -> None:
    orders = np.ones(100)
    tickets = np.concatenate([np.zeros(50), [1.0], np.zeros(49)])
    known = known_days(tickets, orders)
    assert known[:51].sum() == 0 and known[51:].tolist() == list(range(1, 50))


@given(
    arrays(np.float64, st.integers(0, 150), elements=st.integers(0, 10**9).map(float)),
    st.integers(1, 150),
)
@effort(max_examples=60, deadline=None)
def test_whatever_was_counted_a_band_is_whole_and_holds_what_it_does_not_flag(counted: Floats, days: int) -> None:
    found = told(counted, days=days)
    known = np.isfinite(found.expected)
    for name in ("low", "high", "outside"):
        assert (np.isfinite(getattr(found, name)) == known).all()
    assert (found.low[known] >= 0).all() and (found.expected[known] >= 0).all()
    assert (found.low[known] == np.round(found.low[known])).all()
    asked = counted[len(counted) - len(known) :]
    for day in np.flatnonzero(known):
        within = found.low[day] <= asked[day] <= found.high[day]
        assert (found.direction(int(day)) is None) == within
