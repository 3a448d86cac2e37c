"""Tiers by the shop's own distribution, or by amount."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.value_tiers import TIERS, TierMode, ValueTiers, value_tiers, value_tiers_from

amounts = st.lists(st.floats(-1_000, 1e7, allow_nan=False), min_size=1, max_size=300)


def tier_of(tiers: ValueTiers, amount: float) -> str:
    return TIERS[int(tiers.codes(np.array([amount]))[0])].value


def test_of_a_thousand_customers_the_top_50_are_vip_the_next_150_high_and_the_last_200_low() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, 1_001.0))
    codes = value_tiers(values).codes(values)
    assert np.bincount(codes, minlength=4).tolist() == [50, 150, 600, 200]
    assert values[codes == 0].min() == 951


@given(amounts)
def test_who_is_worth_more_is_never_of_a_lower_tier_nor_further_from_the_top(values: list[float]) -> None:
    ascending = np.sort(np.array(values))
    tiers = value_tiers(ascending)
    assert (np.diff(tiers.codes(ascending)) <= 0).all()
    assert (np.diff(tiers.top_percent(ascending)) <= 0).all()


@given(amounts)
def test_nobody_stands_out_by_being_worth_what_half_of_the_shop_is_worth(values: list[float]) -> None:
    array = np.array(values)
    codes = value_tiers(array).codes(array)
    assert (array[codes <= 1] > np.median(array)).all()


def test_where_all_are_worth_the_same_all_are_standard_and_the_cut_offs_say_nobody_stands_out() -> None:
    tiers = value_tiers(np.full(40, 12.5))
    assert tier_of(tiers, 12.5) == "standard"
    assert tiers.cutoffs() == {"mode": "percentile", "vip": None, "high": None, "standard": 12.5}


@pytest.mark.parametrize(
    ("amount", "tier"),
    [
        (2_000, "vip"),
        (1_999.99, "high"),
        (500, "high"),
        (499.99, "standard"),
        (100, "standard"),
        (99.99, "low"),
        (-5, "low"),
    ],
)
def test_by_amount_the_cut_offs_are_those_of_the_documents(amount: float, tier: str) -> None:
    tiers = value_tiers(np.array([1.0, 2.0]), TierMode.absolute)
    assert tier_of(tiers, amount) == tier
    assert tiers.cutoffs() == {"mode": "absolute", "vip": 2000.0, "high": 500.0, "standard": 100.0}


def test_the_top_percent_counts_those_worth_as_much_or_more() -> None:
    tiers = value_tiers(np.arange(1.0, 1_001.0))
    assert tiers.top_percent(np.array([1_000.0, 969.0, 501.0, 1.0, -3.0, 1e9])).tolist() == pytest.approx(
        [0.1, 3.2, 50.0, 100.0, 100.0, 0.1], abs=0.11
    )


@given(amounts, st.sampled_from(TierMode))
def test_tiers_come_back_from_storage_as_they_were(values: list[float], mode: TierMode) -> None:
    array = np.array(values)
    tiers = value_tiers(array, mode)
    back = value_tiers_from(json.loads(json.dumps(tiers.stored(), allow_nan=False)))
    assert back.cutoffs() == tiers.cutoffs()
    assert (back.codes(array) == tiers.codes(array)).all()
    assert (back.top_percent(array) == tiers.top_percent(array)).all()
