"""Segments are called by what their customers do."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.features import STAND_INS
from app.segmentation.axes import AXES, Axis, Source, axes_named
from app.segmentation.naming import (
    EVERYONE,
    interpretation,
    interpretation_of_nobody,
    name_of_undivided,
    segment_names,
)

EVERY_AXIS = pytest.mark.parametrize("axis", AXES, ids=[axis.name for axis in AXES])
FROM_TICKETS = pytest.mark.parametrize(
    "axis", [axis for axis in AXES if axis.ticket_features], ids=lambda axis: axis.name
)
numbers = st.floats(allow_nan=False, allow_infinity=False)


def axis_named(name: str) -> Axis:
    return axes_named([name])[0]


def names(axis: str, *typical: dict[str, float]) -> list[str]:
    """Names of segments that have 1.0 of every feature not given."""
    found = axis_named(axis)
    full = [dict.fromkeys(found.feature_names, 1.0) | each for each in typical]
    return segment_names(found, full, most=full)


@EVERY_AXIS
@given(data=st.data())
def test_any_numbers_give_names_that_are_words_and_unique(axis: Axis, data: st.DataObject) -> None:
    medians = st.fixed_dictionaries(dict.fromkeys(axis.feature_names, numbers))
    drawn = data.draw(st.lists(medians, min_size=1, max_size=6))
    found = segment_names(axis, drawn, most=drawn)
    assert len(set(found)) == len(found)
    for name in found:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*(_[0-9]_[a-z]+(_[a-z]+)*)?", name), name
        assert "cluster" not in name


@FROM_TICKETS
@given(data=st.data())
def test_names_from_tickets_are_words_unique_and_never_those_from_orders(axis: Axis, data: st.DataObject) -> None:
    def drawn(source: Source) -> list[dict[str, float]]:
        medians = st.fixed_dictionaries({feature.name: numbers for feature in axis.features_from(source)})
        return data.draw(st.lists(medians, min_size=2, max_size=4))

    asking, others = drawn(Source.tickets), drawn(Source.orders)
    found = segment_names(axis, asking, most=asking, source=Source.tickets)
    assert len(set(found)) == len(found)
    if not axis.quiet:
        assert not set(found) & set(segment_names(axis, others, most=others))


@FROM_TICKETS
def test_the_only_segment_of_a_reading_is_named_after_who_is_read_that_way(axis: Axis) -> None:
    quiet = "self_service" if axis.name == "support_history" else "seldom_asks"
    assert [name_of_undivided(axis, source) for source in Source] == [quiet, "asks_for_help"]


@pytest.mark.parametrize(
    ("axis", "typical", "name"),
    [
        ("communication_preference", {"ticket_phone_ratio": 0.8}, "phone_caller"),
        ("communication_preference", {"ticket_chat_ratio": 0.6}, "chat_first"),
        ("communication_preference", {"ticket_email_ratio": 0.6}, "email_preferred"),
        ("communication_preference", {}, "mixed_channels"),
        ("problem_complexity_profile", {"hard_ticket_ratio": 0.4}, "complex_issues"),
        ("problem_complexity_profile", {"resolution_days": 5.0}, "lengthy_issues"),
        ("problem_complexity_profile", {"topic_diversity": 0.7}, "varied_questions"),
        ("problem_complexity_profile", {"topic_diversity": 0.2}, "simple_questions"),
    ],
)
def test_a_name_from_tickets_says_how_the_typical_customer_asks(
    axis: str, typical: dict[str, float], name: str
) -> None:
    found = axis_named(axis)
    mine = {feature.name: 0.0 for feature in found.ticket_features} | typical
    other = {feature.name: 0.9 if feature.name == "hard_ticket_ratio" else 0.05 for feature in found.ticket_features}
    names_of_two = segment_names(found, [mine, other], most=[mine, other], source=Source.tickets)
    assert name in names_of_two[0]


@EVERY_AXIS
@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
def test_even_segments_with_equal_numbers_get_names_of_their_own(axis: Axis, k: int) -> None:
    for value in (0.0, 1.0, -3.5, 400.0):
        alike = [dict.fromkeys(axis.feature_names, value)] * k
        found = segment_names(axis, alike, most=alike)
        assert len(set(found)) == k
        assert len([name for name in found if "group_" in name]) >= k - 3


@pytest.mark.parametrize(
    ("axis", "typical", "name"),
    [
        ("frequency", {"total_purchases": 1}, "one_time_customer"),
        ("frequency", {"total_purchases": 30, "avg_days_between_orders": 7}, "weekly_shopper"),
        ("frequency", {"total_purchases": 12, "avg_days_between_orders": 30}, "monthly_shopper"),
        ("frequency", {"total_purchases": 3, "avg_days_between_orders": 400}, "once_a_year"),
        ("sensitivity", {"full_price_ratio": 0.2}, "deal_hunter"),
        ("sensitivity", {"full_price_ratio": 1.0}, "full_price_buyer"),
        ("returns", {"refund_rate": 0.0}, "never_returns"),
        ("loyalty_trajectory", {"recency_ratio": 3.0}, "declining"),
        ("loyalty_trajectory", {"recency_ratio": 1.0, "frequency_trend": 0.3}, "growing_engagement"),
        ("support_history", {"tickets_per_order": 2.0, "dissatisfied_ratio": 0.1}, "frequent_requester"),
    ],
)
def test_a_name_says_what_the_typical_customer_does(axis: str, typical: dict[str, float], name: str) -> None:
    other = dict.fromkeys(axis_named(axis).feature_names, -1e6)
    assert name in names(axis, typical, other)[0]


@pytest.mark.parametrize(
    ("axis", "feature", "median", "of_most", "name"),
    [
        ("returns", "refund_rate", 0.0, 0.0, "never_returns"),
        ("returns", "refund_rate", 0.0, 0.08, "low_returner"),
        ("frequency", "total_purchases", 1.0, 1.0, "one_time_customer"),
        ("frequency", "total_purchases", 1.0, 2.0, "infrequent_customer"),
        ("repurchase", "repeat_visit_ratio", 0.0, 0.5, "rare_repeater"),
    ],
)
def test_never_and_once_are_said_only_where_they_hold_for_nine_in_ten(
    axis: str, feature: str, median: float, of_most: float, name: str
) -> None:
    found = axis_named(axis)
    typical = [dict.fromkeys(found.feature_names, value) for value in (median, 1e6)]
    most = [dict.fromkeys(found.feature_names, value) for value in (of_most, 1e6)]
    assert segment_names(found, typical, most)[0] == name


def test_value_segments_are_named_by_rank_of_what_they_spend() -> None:
    spent = [{"lifetime_value": value} for value in (300.0, 20.0, 9_000.0)]
    assert names("value", *spent) == ["mid_tier", "budget_conscious", "high_value"]


def test_segments_of_one_name_are_told_apart_by_what_differs_most() -> None:
    hours = [{"weekend_ratio": 0.1, "business_hours_ratio": 0.1, "preferred_hour": 18.0, "hour_spread": spread}
             for spread in (0.5, 5.0)]  # fmt: skip
    assert names("cadence", *hours) == ["fixed_hour_evening_buyer", "any_hour_evening_buyer"]


def test_the_middle_one_of_three_keeps_the_bare_name() -> None:
    tenures = [{"tenure_days": days} for days in (200.0, 400.0, 700.0)]
    assert names("maturity", *tenures) == ["recent_established", "established", "long_standing_established"]


def test_nobody_is_called_falling_whose_number_only_stands_in_or_rises() -> None:
    spends = [{"lifetime_value": 1.0}, {"value_trend": 0.0, "lifetime_value": 50.0},
              {"value_trend": -0.3, "lifetime_value": 50.0}, {"lifetime_value": 90.0}]  # fmt: skip
    assert names("value", *spends)[1:3] == ["mid_tier", "falling_spend_mid_tier"]
    spends[1]["value_trend"], spends[2]["value_trend"] = 0.1, 0.4
    assert names("value", *spends)[1:3] == ["mid_tier", "rising_spend_mid_tier"]


def test_two_orders_make_nobody_irregular() -> None:
    quarterly = {"total_purchases": 2.0, "avg_days_between_orders": 90.0}
    found = names("frequency", quarterly | {"purchase_consistency": 0.0}, quarterly | {"purchase_consistency": 0.6})
    assert found == ["quarterly_shopper", "regular_quarterly_shopper"]


@EVERY_AXIS
def test_an_axis_of_one_segment_has_everyone_in_it(axis: Axis) -> None:
    nothing = [dict.fromkeys(axis.feature_names, 0.0)]
    assert segment_names(axis, nothing, most=nothing) == [EVERYONE]


def test_the_sentence_states_the_numbers() -> None:
    typical = {"lifetime_value": 1234.5, "avg_order_value": 99.6, "value_trend": -0.105360516}
    told = interpretation(axis_named("value"), typical, share=0.25)
    assert told == ("25.0 % of customers, typically 1,234 spent in all, 100 an order, spend changing -10 % a visit.")


@EVERY_AXIS
def test_the_sentence_leaves_out_numbers_that_only_stand_in(axis: Axis) -> None:
    shown = {feature.name: STAND_INS.get(feature.name, 7.0) for feature in axis.features}
    told = interpretation(axis, shown, share=0.01)
    for feature in axis.features:
        assert (feature.phrase(shown[feature.name]) in told) == (feature.name not in STAND_INS)


def test_a_one_time_buyer_is_not_said_to_come_once_a_year() -> None:
    typical = {"total_purchases": 1.0, "orders_per_month": 0.4, "recency_days": 90.0, "purchase_consistency": 0.0}
    axis = axis_named("frequency")
    told = interpretation(axis, typical | {"avg_days_between_orders": 365.0}, share=0.5)
    assert "365" not in told and "regularity" not in told


@EVERY_AXIS
@given(data=st.data(), share=st.floats(0, 1))
def test_a_segment_that_nobody_is_in_any_more_says_what_those_were_like_who_were(
    axis: Axis, data: st.DataObject, share: float
) -> None:
    typical = data.draw(st.fixed_dictionaries(dict.fromkeys(axis.feature_names, st.floats(0, 1e6))))
    says = interpretation_of_nobody(interpretation(axis, typical, share=share))
    assert says == interpretation(axis, typical, share=0.0) == interpretation_of_nobody(says)


def test_a_sentence_that_tells_no_share_stays() -> None:
    assert interpretation_of_nobody("Nothing is known.") == "Nothing is known."
