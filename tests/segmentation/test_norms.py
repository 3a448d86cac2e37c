"""What is unusual in a shop, told with the shop's own number beside it."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.domain.features import FEATURES, GAP_STAND_IN_DAYS, METRICS
from app.segmentation.axes import AXES, Axis, axes_named
from app.segmentation.membership import Array
from app.segmentation.naming import EVERYONE
from app.segmentation.norms import MOST_TRAITS, shop_norms, shop_norms_from, traits, typical_value


def a_shop(n_customers: int = 1_000) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {name: rng.gamma(2, 1, n_customers) for name in (*METRICS, *FEATURES)}


def of_one_segment(axes: Sequence[Axis], names: Sequence[Sequence[str]]) -> dict[str, dict[str, Any]]:
    """{axis: {segment: positions of its members}} from each axis's names, one a customer."""
    return {
        axis.name: {name: np.flatnonzero(np.array(mine) == name) for name in sorted(set(mine))}
        for axis, mine in zip(axes, names, strict=True)
    }


def told(
    values: dict[str, Array],
    customer: dict[str, float],
    *axes: str,
    segment: str = "deal_hunter",
    members: slice | None = None,
) -> list[str]:
    """The traits of one customer who is as the shop's median in all else.

    members : who is in their segment; only the customers most like them, if not given
    """
    chosen = axes_named(list(axes))
    one = {name: np.array([customer.get(name, np.median(column))]) for name, column in values.items()}
    names = [["others"] * len(values["refund_rate"]) for _ in chosen]
    for axis, mine in zip(chosen, names, strict=True):
        if members is not None:
            mine[members] = [segment] * len(mine[members])
            continue
        apart = sum(np.abs(values[name] - one[name]) / (values[name].std() or 1) for name in axis.feature_names)
        for position in np.argsort(apart)[:20]:
            mine[position] = segment
    (mine,) = traits(shop_norms(chosen, values, of_one_segment(chosen, names)), chosen, [[segment]] * len(chosen), one)
    return mine


def test_a_trait_names_the_segment_the_number_and_the_shops_number() -> None:
    values = a_shop() | {"full_price_ratio": np.r_[np.full(290, 0.0), np.full(710, 1.0)]}
    values["discount_rate"] = np.full(1_000, 0.1)
    values["discount_depth"] = np.full(1_000, 0.1)
    values["full_price_ratio"][:20] = -0.1
    mine = told(values, {"full_price_ratio": -0.1}, "price_sensitivity")
    assert mine == ["Deal hunter: -10 % of orders at full price (shop: 71 %)"]


def test_someone_like_the_shops_middle_has_no_traits() -> None:
    assert told(a_shop(), {}, *(axis.name for axis in AXES)) == []


def test_having_what_most_have_is_not_unusual_even_at_the_end_of_the_scale() -> None:
    values = a_shop() | {"refund_rate": np.r_[np.zeros(900), np.linspace(0.1, 1, 100)]}
    assert told(values, {"refund_rate": 0.0}, "return_behavior") == []
    assert told(values, {"refund_rate": 0.9}, "return_behavior") != []


def test_a_number_that_stands_in_for_too_little_is_never_told_and_not_the_shops_either() -> None:
    gaps = np.r_[np.full(600, GAP_STAND_IN_DAYS), np.linspace(10, 90, 400)]
    values = a_shop() | {"avg_days_between_orders": gaps}
    assert told(values, {"avg_days_between_orders": GAP_STAND_IN_DAYS}, "purchase_frequency") == []
    (trait,) = told(values, {"avg_days_between_orders": 10.0}, "purchase_frequency")
    assert trait.endswith(": 10 days between orders (shop: 50)")


def test_far_from_the_middle_by_rank_but_hardly_different_is_not_told() -> None:
    values = a_shop() | {"online_ratio": np.linspace(0.96, 1.0, 1_000)}
    assert told(values, {"online_ratio": 1.0}, "communication_preference") == []


def test_at_most_three_are_told_the_most_unusual_first_each_feature_once() -> None:
    values = a_shop()
    extreme = {name: float(np.quantile(column, 0.999)) for name, column in values.items()}
    extreme["lifetime_value"] = 1e6
    mine = told(values, extreme, *(axis.name for axis in AXES))
    assert len(mine) == MOST_TRAITS
    numbers = [trait.split(": ", 1)[1] for trait in mine]
    assert len(set(numbers)) == MOST_TRAITS


def test_a_number_that_contradicts_the_segments_name_goes_by_the_axis() -> None:
    """Premium by other features, and yet buying cheap: "Premium focused: 5 an item" would be read as a mistake."""
    values = a_shop() | {"avg_item_price": np.linspace(1, 20, 1_000)}
    dear = slice(900, 1_000)
    (trait,) = told(values, {"avg_item_price": 1.0}, "value_sophistication", segment="premium_focused", members=dear)
    assert trait == "Value sophistication: 1.00 an item (shop: 10.50)"
    (trait,) = told(values, {"avg_item_price": 20.0}, "value_sophistication", segment="premium_focused", members=dear)
    assert trait == "Premium focused: 20.00 an item (shop: 10.50)"


def test_a_number_far_beyond_the_segment_goes_by_the_axis() -> None:
    values = a_shop() | {"avg_days_between_orders": np.linspace(1, 120, 1_000)}
    quarterly = slice(300, 400)
    (trait,) = told(
        values, {"avg_days_between_orders": 1.0}, "purchase_frequency", segment="quarterly_shopper", members=quarterly
    )
    assert trait == "Purchase frequency: 1 day between orders (shop: 60)"


def test_an_axis_without_structure_speaks_by_its_own_name() -> None:
    (trait,) = told(a_shop(), {"refund_rate": 50.0}, "return_behavior", segment=EVERYONE)
    assert trait.startswith("Return behavior: ")


def test_an_hour_of_the_shop_reads_as_one() -> None:
    values = a_shop() | {"preferred_hour": np.linspace(14, 20, 1_000), "weekend_ratio": np.full(1_000, 0.2)}
    values["business_hours_ratio"] = np.full(1_000, 0.4)
    values["preferred_hour"][:10] = 8.0
    (trait,) = told(values, {"preferred_hour": 8.0}, "purchase_cadence")
    assert trait == "Deal hunter: ordering around 8:00 (shop: 17:00)"


def test_everyone_is_told_the_same_alone_as_among_all() -> None:
    values = a_shop(200)
    segments = [[f"{axis.name}_{number % 3}" for number in range(200)] for axis in AXES]
    norms = shop_norms(AXES, values, of_one_segment(AXES, segments))
    among_all = traits(norms, AXES, segments, values)
    assert any(among_all)
    for number in range(200):
        alone = {name: column[number : number + 1] for name, column in values.items()}
        assert traits(norms, AXES, [[names[number]] for names in segments], alone) == [among_all[number]]


def test_norms_come_back_from_storage_as_they_were() -> None:
    values = a_shop(77)
    segments = [["x"] * 77 for _ in AXES]
    norms = shop_norms(AXES, values, of_one_segment(AXES, segments))
    back = shop_norms_from(json.loads(json.dumps(norms.stored(), allow_nan=False)))
    assert traits(back, AXES, segments, values) == traits(norms, AXES, segments, values)


@pytest.mark.parametrize("n_customers", [1, 2])
def test_a_shop_of_one_or_two_has_norms_too(n_customers: int) -> None:
    values = a_shop(n_customers)
    segments = [["x"] * n_customers for _ in AXES]
    norms = shop_norms(AXES, values, of_one_segment(AXES, segments))
    assert len(traits(norms, AXES, segments, values)) == n_customers


def test_a_group_is_judged_by_those_of_whom_a_number_is_known() -> None:
    (depth,) = [feature for axis in AXES for feature in axis.features if feature.name == "discount_depth"]
    assert typical_value(depth, np.array([0.0, 0.0, 0.0, 0.2, 0.4])) == pytest.approx(0.3)
    assert typical_value(depth, np.zeros(3)) == 0


def test_nobody_back_yet_is_no_lack_of_knowledge() -> None:
    (steady,) = [feature for axis in AXES for feature in axis.features if feature.name == "loyalty_index"]
    assert typical_value(steady, np.array([0.0, 0.0, 0.0, 0.4])) == pytest.approx(0.1)


def test_what_a_customer_is_not_read_by_tells_nothing_of_them() -> None:
    """The same numbers: told of who is read from tickets, with what is usual among those; not of who is not."""
    (axis,) = axes_named(["communication_preference"])
    values = a_shop() | {"ticket_phone_ratio": np.r_[np.full(100, 0.9), np.full(400, 0.1), np.full(500, 0.5)]}
    names = ["phone_caller"] * 100 + ["email_preferred"] * 400 + ["others"] * 500
    members = of_one_segment([axis], [names])
    norms = shop_norms([axis], values, members, from_tickets={axis.name: {"phone_caller", "email_preferred"}})
    assert norms.typical["ticket_phone_ratio"] == pytest.approx((100 * 0.9 + 400 * 0.1) / 500)
    two = {name: np.full(2, np.median(column)) for name, column in values.items()} | {
        "ticket_phone_ratio": np.full(2, 0.9),
        "online_ratio": np.full(2, 1e6),
    }
    caller, other = traits(norms, [axis], [["phone_caller", "others"]], two)
    assert caller == ["Phone caller: 90 % of tickets by phone (shop: 26 %)"]
    assert len(other) == 1 and "of orders online" in other[0]
    assert shop_norms_from(json.loads(json.dumps(norms.stored()))).stored() == norms.stored()
