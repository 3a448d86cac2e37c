"""Visits read as of any day: what adds up before it, and nothing of what came after."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.prediction.purchases import Purchases
from tests.prediction.shops import OPENS, buy_till_you_die, purchases_from, shop_of


def corner() -> Purchases:
    """Ada comes on days 0, 10 and 40 and sends something back on day 12; Bea once, on day 5; Cyd is never seen."""
    visits = {
        "customer": np.array([0, 0, 0, 1]),
        "day": np.array([0, 10, 40, 5]),
        "paid": np.array([10.0, 20.0, 40.0, 7.0]),
        "discount": np.array([0.0, 5.0, 0.0, 0.0]),
        "lines": np.array([1.0, 2.0, 1.0, 3.0]),
        "new_products": np.array([1.0, 1.0, 0.0, 3.0]),
        "units": np.array([1.0, 2.0, 5.0, 3.0]),
    }
    refunds = {"customer": np.array([0]), "day": np.array([12]), "amount": np.array([4.0])}
    return purchases_from(visits, refunds, 3)


EVERYONE = np.arange(3)


def test_who_is_known_had_a_visit_before_the_day() -> None:
    assert corner().known(0).tolist() == []
    assert corner().known(5).tolist() == [0]
    assert corner().known(6).tolist() == [0, 1]


def test_gaps_are_days_between_visits_and_a_first_one_has_none() -> None:
    assert corner().gap.tolist()[1:3] == [10.0, 30.0]
    assert np.isnan(corner().gap[[0, 3]]).all()


@pytest.mark.parametrize(
    ("first", "before", "spent"), [(0, 10, [10, 7, 0]), (10, 13, [16, 0, 0]), (0, 50, [66, 7, 0]), (12, 13, [-4, 0, 0])]
)
def test_spend_is_what_was_paid_less_what_was_given_back_in_those_days(
    first: int, before: int, spent: list[float]
) -> None:
    assert corner().spent(EVERYONE, first, before).tolist() == spent


def test_who_bought_did_so_from_the_first_day_up_to_before_the_last() -> None:
    assert corner().bought(EVERYONE, 10, 40).tolist() == [True, False, False]
    assert corner().bought(EVERYONE, 11, 40).tolist() == [False, False, False]
    assert corner().bought(EVERYONE, 5, np.array([6, 6, 6])).tolist() == [False, True, False]


def test_the_next_visit_is_days_away_or_not_recorded() -> None:
    assert corner().next_visit(EVERYONE, 10).tolist() == [0, np.inf, np.inf]
    assert corner().next_visit(EVERYONE, 3).tolist() == [7, 2, np.inf]


def test_a_shop_without_a_visit_answers_too() -> None:
    nothing = {name: np.zeros(0) for name in ("customer", "day", "paid", "discount", "lines", "new_products", "units")}
    empty = purchases_from(nothing, {name: np.zeros(0) for name in ("customer", "day", "amount")}, 0)
    assert (empty.first_day, empty.end_day, len(empty.known(100))) == (0, 0, 0)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(OPENS, OPENS + 300), seed=st.integers(0, 1_000))
def test_what_a_day_knows_is_the_same_with_the_future_cut_off(cut: int, seed: int) -> None:
    whole = buy_till_you_die(60, days=300, seed=seed)
    then = whole.before(cut)
    known = whole.known(cut)
    assert then.known(cut).tolist() == known.tolist()
    begin, end = whole.starts(known), whole.visits_before(cut, known)
    cut_begin, cut_end = then.starts(known), then.visits_before(cut, known)
    for what in ("paid", "lines", "gap", "log_gap", "log_gap_square"):
        assert whole.total(what, begin, end) == pytest.approx(then.total(what, cut_begin, cut_end))


def test_two_baskets_of_a_day_are_one_visit() -> None:
    assert len(shop_of(np.array([0, 0]), np.array([3, 3])).visits.day) == 1
