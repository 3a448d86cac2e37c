"""The season: found where it was planted, nothing where there is none, the trade's where a year has not been seen."""

import json

import numpy as np
import pytest

from app.prediction.chances import shop_rhythm
from app.prediction.season import TRADE_FOLLOWED, Season, find_season, habits, season_from, trade_season
from tests.prediction.shops import OPENS, buy_till_you_die, shop_of

YEARS = 1_200


def season_in(strength: float, *, days: int, seed: int = 2) -> Season:
    shop = buy_till_you_die(3_000, days=days, seed=seed, season=strength)
    return find_season(shop, shop_rhythm(shop, OPENS + days), known=OPENS + days)


def over_the_year(season: Season, first: int) -> np.ndarray:
    return np.array([season.effect(first + day) for day in range(0, 365, 10)])


def test_a_planted_season_is_found_with_its_height_and_its_peak() -> None:
    found = over_the_year(season_in(1.2, days=YEARS), OPENS)
    days = np.arange(0, 365, 10)
    # The step that begins on a day is lifted by the days after it: half a step before midwinter it is lifted most.
    planted = 0.6 * np.cos(2 * np.pi * (days + 15 - 346) / 365.25)
    assert np.corrcoef(found, planted)[0, 1] > 0.9
    assert np.ptp(found) == pytest.approx(1.2, abs=0.45)


def test_a_shop_of_years_without_a_season_is_told_none() -> None:
    assert np.abs(over_the_year(season_in(0.0, days=YEARS), OPENS)).max() < 0.15


def test_a_young_shop_is_lent_the_season_of_the_trade() -> None:
    shop = buy_till_you_die(300, days=130, seed=3)
    found = find_season(shop, shop_rhythm(shop, OPENS + 100), known=OPENS + 100)
    days = np.arange(OPENS + 100, OPENS + 100 + 365, 10)
    told = np.array([found.effect(int(day)) for day in days])
    assert found.observed_steps < 3
    assert told - told.mean() == pytest.approx(
        TRADE_FOLLOWED * (trade_season(days) - trade_season(days).mean()), abs=1e-6
    )


def test_the_trade_is_busiest_before_christmas() -> None:
    days = np.arange(OPENS, OPENS + 365)
    busiest = days[trade_season(days).argmax()] - OPENS
    assert 325 < busiest < 340  # OPENS is the third of January: the step from about 1 December


def test_what_is_stored_is_read_back() -> None:
    season = season_in(0.5, days=500)
    assert over_the_year(season_from(season.stored()), OPENS) == pytest.approx(over_the_year(season, OPENS), abs=1e-6)


def test_a_customers_habits_are_theirs_alone_whoever_else_is_looked_at() -> None:
    shop = buy_till_you_die(500, days=900, seed=3, season=1.0)
    known = OPENS + 860
    season = find_season(shop, shop_rhythm(shop, known), known=known)
    everyone = habits(shop, season, np.arange(shop.n_customers), known=known, day=known)
    assert np.ptp(everyone[:, 0]) > 0.1
    kept = season_from(json.loads(json.dumps(season.stored())))
    for customer in (3, 77, 410):
        theirs = shop.visits.customer == customer
        alone = shop_of(np.zeros(theirs.sum(), dtype=np.int64), shop.visits.day[theirs])
        one = habits(alone, kept, np.array([0]), known=known, day=known)
        assert one[0].tolist() == everyone[customer].tolist()


def test_a_day_beyond_what_is_known_has_the_effect_of_the_same_day_of_a_year_that_is() -> None:
    season = Season(100, np.arange(400.0), 5)
    assert season.effect(100 + 400) == season.effect(100 + 35)
    assert season.effect(90) == season.effect(90 + 365)
