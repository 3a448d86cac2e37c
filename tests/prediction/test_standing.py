"""How a customer stands on a day: hand-worked, and told by nothing that came later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.prediction.chances import shop_rhythm
from app.prediction.churn import GAPS_AHEAD, own_horizon
from app.prediction.standing import GAP_STAND_IN_DAYS, GROUPS, NAMES, shop_gap, standing
from tests.prediction.shops import OPENS, buy_till_you_die, shop_of

SHOP = buy_till_you_die(400, days=400, seed=4)
CUT = OPENS + 300
RHYTHM = shop_rhythm(SHOP, CUT)


def of(name: str, days: list[int], *, seen: int) -> float:
    """One feature of a customer with visits on these days, among the others of the shop."""
    one = shop_of(np.zeros(len(days), dtype=np.int64), np.array(days))
    return float(standing(one, RHYTHM, known=seen).column(name)[0])


def test_recency_and_tenure_count_from_the_last_and_the_first_visit() -> None:
    stands = standing(shop_of(np.array([0, 0]), np.array([100, 130])), RHYTHM, known=150)
    assert (stands.recency[0], stands.age[0], stands.visits[0]) == (20, 50, 2)
    assert of("log_recency", [100, 130], seen=150) == pytest.approx(np.log(21))
    assert of("recency_share", [100, 130], seen=150) == pytest.approx(20 / 50)


def test_the_usual_gap_of_few_gaps_is_drawn_to_the_shops() -> None:
    one = standing(shop_of(np.zeros(2, dtype=np.int64), np.array([100, 130])), RHYTHM, known=150)
    assert one.usual_gap[0] == pytest.approx((30 + RHYTHM.gap_days) / 2)
    many = standing(shop_of(np.zeros(11, dtype=np.int64), np.arange(11) * 30), RHYTHM, known=310)
    assert abs(many.usual_gap[0] - 30) < abs(one.usual_gap[0] - 30)


def test_a_one_time_buyer_has_no_spread_and_no_last_gap() -> None:
    assert np.isnan(of("gap_spread", [100], seen=150))
    assert np.isnan(of("log_last_gap", [100], seen=150))
    assert np.isfinite(of("log_usual_gap", [100], seen=150))


def test_visits_of_the_last_days_are_counted_up_to_the_day_they_are_seen_on() -> None:
    days = [0, 130, 149]
    assert [of(f"visits_{window}d", days, seen=150) for window in (30, 90, 180, 365)] == [2, 2, 3, 3]


def test_the_month_of_last_year_is_the_one_that_now_begins() -> None:
    assert of("same_month_last_year", [400, 500], seen=765) == 1  # day 400 = 765 - 365
    assert of("same_month_last_year", [399, 500], seen=765) == 0
    assert of("near_month_last_year", [380, 500], seen=765) == 1


def test_seen_later_in_silence_a_customer_has_only_grown_older() -> None:
    now, later = (standing(SHOP, RHYTHM, known=CUT, seen=day) for day in (CUT, CUT + 60))
    assert later.recency.tolist() == (now.recency + 60).tolist()
    assert later.age.tolist() == (now.age + 60).tolist()
    assert later.visits.tolist() == now.visits.tolist()
    for unmoved in ("log_visits", "log_usual_gap", "log_spent", "log_products", "gap_trend"):
        assert np.array_equal(later.column(unmoved), now.column(unmoved), equal_nan=True), unmoved
    assert (later.column("visits_30d") == 0).all()
    assert (later.column("bg_nbd_alive") <= now.column("bg_nbd_alive") + 1e-7).all()


def test_groups_name_every_feature_once() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(set(NAMES))


def test_a_shop_where_nobody_came_twice_has_a_gap_to_lend() -> None:
    assert shop_gap(shop_of(np.arange(3), np.array([1, 2, 3])), 10)[0] == GAP_STAND_IN_DAYS


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(OPENS + 90, OPENS + 390), seed=st.integers(0, 500))
def test_the_future_cut_off_changes_no_feature(cut: int, seed: int) -> None:
    whole = buy_till_you_die(80, days=400, seed=seed)
    then = whole.before(cut)
    told, known = (standing(shop, shop_rhythm(shop, cut), known=cut, seen=cut + 30) for shop in (whole, then))
    assert told.customers.tolist() == known.customers.tolist()
    assert np.array_equal(told.values, known.values, equal_nan=True)


def test_a_horizon_is_three_usual_gaps_within_a_month_and_a_year() -> None:
    stands = standing(SHOP, RHYTHM, known=CUT)
    days = own_horizon(stands)
    assert days.min() >= 30 and days.max() <= 365
    inside = (days > 30) & (days < 365)
    assert days[inside] == pytest.approx(GAPS_AHEAD * stands.usual_gap[inside], abs=0.5)
    assert set(own_horizon(stands, 30).tolist()) == {30}
