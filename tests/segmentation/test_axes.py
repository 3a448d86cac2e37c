"""The registry of axes: what there is, what each needs, and how it is asked for."""

import math

import pytest

from app.core.errors import InvalidInput
from app.domain.features import FEATURES, METRICS
from app.segmentation.axes import AXES, AxisStatus, Feature, Need, Source, axes_named

NAMES = [
    "purchase_frequency",
    "purchase_value",
    "category_exploration",
    "price_sensitivity",
    "purchase_cadence",
    "customer_maturity",
    "repurchase_behavior",
    "return_behavior",
    "communication_preference",
    "problem_complexity_profile",
    "loyalty_trajectory",
    "product_knowledge",
    "value_sophistication",
    "support_history",
]


def statuses(*held: Need) -> dict[str, str]:
    return {axis.name: axis.status(frozenset({Need.orders, *held})).value for axis in AXES}


def test_there_are_the_documents_fourteen_axes_in_their_order() -> None:
    assert [axis.name for axis in AXES] == NAMES


def test_each_axis_has_three_to_five_features_that_are_measured() -> None:
    for axis in AXES:
        assert len(axis.ticket_features) in (0, 3, 4), axis.name
        assert {feature.name for feature in axis.ticket_features} <= set(FEATURES), axis.name
        assert 3 <= len(axis.features) <= 5, axis.name
        assert len(set(axis.feature_names)) == len(axis.features), axis.name
        assert set(axis.feature_names) <= {*FEATURES, *METRICS}, axis.name
        assert len(axis.transforms) == len(axis.features)


def test_every_feature_measured_takes_part_in_an_axis() -> None:
    assert set(FEATURES) <= {each.name for axis in AXES for each in (*axis.features, *axis.ticket_features)}


def test_three_axes_read_tickets_where_there_are_enough() -> None:
    assert [axis.name for axis in AXES if axis.ticket_features] == [NAMES[8], NAMES[9], NAMES[13]]
    for axis in AXES:
        assert axis.features_from(Source.orders) == axis.features
        assert axis.features_from(Source.tickets) == (axis.ticket_features or axis.features)


def test_words_that_tell_segments_apart_are_all_different_on_an_axis() -> None:
    for axis in AXES:
        features = dict.fromkeys((*axis.features, *axis.ticket_features))
        words = [word for feature in features for word in (feature.low, feature.high)]
        assert len(set(words)) == len(words), axis.name


def test_without_tickets_thirteen_axes_speak_and_the_support_axes_stand_in() -> None:
    found = statuses(Need.categories, Need.discounts)
    assert found.pop("support_history") == "no_data"
    assert [name for name, status in found.items() if status == "proxy"] == NAMES[8:13]
    assert {status for name, status in found.items() if name in NAMES[:8]} == {"active"}


def test_tickets_alone_make_no_proxy_active_for_as_long_as_orders_speak_for_some() -> None:
    found = statuses(Need.categories, Need.discounts, Need.tickets)
    assert [name for name, status in found.items() if status == "proxy"] == [axis.name for axis in AXES[8:13]]
    assert found["support_history"] == "active"
    assert "no_data" not in found.values()


def test_without_discounts_price_sensitivity_is_silent() -> None:
    assert statuses()["price_sensitivity"] == "no_data"


def test_without_categories_exploration_is_read_from_products_and_says_so() -> None:
    assert statuses()["category_exploration"] == "proxy"
    for axis in AXES:
        assert bool(axis.stand_in) == (axis.status(frozenset({Need.orders})) is AxisStatus.proxy)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("frequency", "purchase_frequency"),
        ("value", "purchase_value"),
        ("category", "category_exploration"),
        ("category_affinity", "category_exploration"),
        ("sensitivity", "price_sensitivity"),
        ("cadence", "purchase_cadence"),
        ("maturity", "customer_maturity"),
        ("repurchase", "repurchase_behavior"),
        ("repurchase_inclination", "repurchase_behavior"),
        ("returns", "return_behavior"),
        *((name, name) for name in NAMES),
    ],
)
def test_an_axis_answers_to_its_name_and_its_aliases(alias: str, name: str) -> None:
    assert [axis.name for axis in axes_named([alias])] == [name]


def test_axes_come_once_and_in_the_registrys_order_however_they_are_asked_for() -> None:
    found = axes_named(["returns", "value", "purchase_value", "frequency"])
    assert [axis.name for axis in found] == ["purchase_frequency", "purchase_value", "return_behavior"]
    assert axes_named(None) == AXES


@pytest.mark.parametrize("wanted", [["frequency", "astrology"], ["astrology"], []])
def test_an_axis_that_does_not_exist_is_answered_with_those_that_do(wanted: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        axes_named(wanted)
    assert all(name in str(refused.value) for name in NAMES)
    assert ("astrology" in str(refused.value)) == bool(wanted)


def test_a_phrase_states_shares_in_percent_and_log_slopes_as_a_change() -> None:
    assert Feature("x", "low", "high", "{:.0f} % returned", percent=True).phrase(0.25) == "25 % returned"
    assert Feature("x", "low", "high", "{:,.0f} spent").phrase(1234.4) == "1,234 spent"
    trend = Feature("x", "low", "high", "{:+z.0f} %", log_slope=True)
    assert trend.phrase(math.log(1.25)) == "+25 %"
    assert trend.phrase(math.log(0.5)) == "-50 %"
    assert trend.phrase(-1e-9) == "+0 %"
    assert trend.phrase(1e9) == "+9900 %"


def test_a_quickening_customer_is_said_to_gain_pace() -> None:
    # frequency_trend is minus the slope of the log gap: gaps that halve are a pace that doubles.
    trend = next(f for axis in AXES for f in axis.features if f.name == "frequency_trend")
    assert trend.high == "quickening"
    assert trend.phrase(math.log(2)) == "pace changing +100 % a visit"
