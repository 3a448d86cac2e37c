"""The chance of staying away for a step: learned from the past alone, true on average, and the same when read back."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from app.prediction.chances import (
    ChanceModel,
    Family,
    Segments,
    Window,
    chance_model_from,
    fit_chances,
    share_sampled,
    shop_rhythm,
    staying_away,
    until,
    window,
)
from app.prediction.purchases import Purchases
from app.prediction.season import find_season
from app.prediction.standing import STEP_DAYS
from tests.prediction.shops import OPENS, buy_till_you_die, shop_of

SHOP = buy_till_you_die(2_500, days=500, seed=6)
KNOWN = OPENS + 450
DAYS = [KNOWN - STEP_DAYS * (number + 1) for number in range(4)]


def windows_of(shop: Purchases, *, share: float = 1.0) -> list[Window]:
    return [window(shop, shop_rhythm(shop, day), day=day, share=share) for day in DAYS]


def fitted(
    shop: Purchases,
    family: Family,
    *,
    share: float = 1.0,
    windows: Sequence[Window] | None = None,
    segments: Segments | None = None,
) -> ChanceModel:
    rhythm = shop_rhythm(shop, KNOWN)
    return fit_chances(
        windows or windows_of(shop, share=share),
        family,
        rhythm=rhythm,
        season=find_season(shop, rhythm, known=KNOWN),
        purchases=shop,
        segments=segments,
    )


@pytest.mark.parametrize("family", [Family.rfm_logistic, Family.bg_nbd, Family.blend])
def test_on_average_as_many_stay_away_as_are_told_to(family: Family) -> None:
    stands, chances, _ = staying_away(fitted(SHOP, family), SHOP, known=KNOWN, steps=1)
    away = ~SHOP.bought(stands.customers, KNOWN, KNOWN + STEP_DAYS)
    assert chances[0].mean() == pytest.approx(away.mean(), abs=0.02)


def test_a_sample_of_those_who_stayed_away_stands_for_all_of_them() -> None:
    everyone, some = (fitted(SHOP, Family.blend, share=share) for share in (1.0, 0.25))
    told = [staying_away(model, SHOP, known=KNOWN, steps=1)[1][0] for model in (everyone, some)]
    assert told[1].mean() == pytest.approx(told[0].mean(), abs=0.01)
    assert np.corrcoef(*told)[0, 1] > 0.97


@pytest.mark.parametrize(("n_customers", "share"), [(100, 1.0), (20_000, 1.0), (20_001, 0.5), (93_564, 0.125)])
def test_of_a_large_shop_a_half_a_quarter_or_less_of_them_is_enough(n_customers: int, share: float) -> None:
    assert share_sampled(n_customers) == share


@pytest.mark.parametrize("family", list(Family))
def test_the_future_cut_off_changes_no_chance(family: Family) -> None:
    whole, then = (
        staying_away(fitted(shop, family), shop, known=KNOWN, steps=4)[1] for shop in (SHOP, SHOP.before(KNOWN))
    )
    assert np.array_equal(whole, then)


@pytest.mark.parametrize("family", [Family.rfm_logistic, Family.bg_nbd, Family.blend])
def test_a_model_read_back_says_the_same_of_one_as_the_batch_of_all(family: Family) -> None:
    model = fitted(SHOP, family)
    read_back = chance_model_from(json.loads(json.dumps(model.stored())))
    everyone = staying_away(model, SHOP, known=KNOWN, steps=6)[1]
    for customer in (0, 17, 400):
        (who,) = SHOP.known(KNOWN)[customer : customer + 1]
        theirs = SHOP.visits.customer == who
        alone = shop_of(np.zeros(theirs.sum(), dtype=np.int64), SHOP.visits.day[theirs], SHOP.visits.paid[theirs])
        one = staying_away(read_back, alone, known=KNOWN, steps=6)[1]
        assert one[:, 0] == pytest.approx(everyone[:, customer], abs=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_shop_is_told_in_parts_what_it_is_told_at_once(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    model = fitted(SHOP, Family.blend)
    whole = staying_away(model, SHOP, known=KNOWN, steps=3)
    monkeypatch.setattr("app.prediction.chances._CUSTOMERS_AT_ONCE", 700)
    parts = staying_away(model, SHOP, known=KNOWN, steps=3, threads=threads)
    assert parts[1] == pytest.approx(whole[1], abs=1e-12)
    assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(whole[2], parts[2], strict=True))


def test_of_who_has_come_again_a_blend_goes_halfway_to_bg_nbd() -> None:
    model = fitted(SHOP, Family.blend)
    assert model.rhythm.bg_nbd.degenerate is None and model.drawn_to is not None
    stands, drawn, _ = staying_away(model, SHOP, known=KNOWN, steps=1)
    own = staying_away(replace(model, drawn_to=None), SHOP, known=KNOWN, steps=1)[1]
    once = stands.visits == 1
    assert np.array_equal(drawn[0, once], own[0, once])
    says = replace(model, family=Family.bg_nbd, linear=None, trees=None, drawn_to=None, boosting=None)
    bg_nbd = staying_away(says, SHOP, known=KNOWN, steps=1)[1]
    apart = [np.corrcoef(each[0, ~once], bg_nbd[0, ~once])[0, 1] for each in (own, drawn)]
    assert apart[1] > apart[0]


def test_to_a_bg_nbd_that_does_not_fit_the_shop_nobody_is_drawn() -> None:
    rhythm = shop_rhythm(SHOP, KNOWN)
    unfit = replace(rhythm, bg_nbd=replace(rhythm.bg_nbd, degenerate="No dropout to be seen."))
    season = find_season(SHOP, rhythm, known=KNOWN)
    model = fit_chances(windows_of(SHOP), Family.blend, rhythm=unfit, season=season, purchases=SHOP)
    assert model.drawn_to is None


def test_segments_are_read_by_the_family_that_is_named_for_them() -> None:
    rng = np.random.default_rng(4)
    tastes = rng.normal(size=(SHOP.n_customers, 2))
    # Who likes the second kind of goods comes more often: nothing of that is in their visits' features alone.
    segments = Segments(("taste:0", "taste:1"), lambda _, customers: tastes[customers])
    model = fitted(SHOP, Family.blend_segments, segments=segments)
    assert model.names[-2:] == segments.names
    _, chances, _ = staying_away(model, SHOP, known=KNOWN, steps=1, segments=segments)
    assert np.isfinite(chances).all()


def test_the_season_moves_the_odds_by_what_it_has_more_than_the_windows_had() -> None:
    model = fitted(SHOP, Family.rfm_logistic)
    with_it, without = (
        staying_away(each, SHOP, known=KNOWN, steps=1)[1][0] for each in (model, replace(model, shifted=False))
    )
    odds = np.log(with_it / (1 - with_it)) - np.log(without / (1 - without))
    season = model.season
    expected = np.mean([season.effect(day) for day in DAYS]) - season.effect(KNOWN)
    assert odds == pytest.approx(np.full(len(odds), expected), abs=0.02)


def test_a_window_in_which_everyone_came_is_told_of_too() -> None:
    one = window(SHOP, shop_rhythm(SHOP, DAYS[0]), day=DAYS[0])
    everyone_came = replace(one, stayed_away=np.zeros(len(one.stayed_away)))
    model = fitted(SHOP, Family.blend, windows=[everyone_came])
    _, chances, _ = staying_away(model, SHOP, known=KNOWN, steps=1)
    assert (chances < 0.01).all() and (chances > 0).all()


def test_until_takes_one_horizon_or_one_each() -> None:
    chances = np.array([[0.5, 0.9], [0.4, 0.8]])
    assert until(chances, 60.0).tolist() == pytest.approx([0.2, 0.72])
    assert until(chances, np.array([30.0, 45.0])).tolist() == pytest.approx([0.5, 0.9 * 0.8**0.5])
    assert until(chances, 0.0).tolist() == [1.0, 1.0]
