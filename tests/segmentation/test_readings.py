"""Two readings of one axis, never in one cloud: tickets where customers have enough, orders for everyone else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.segmentation.axes import Axis, AxisStatus, Need, Source, axes_named
from app.segmentation.clustering import KRange
from app.segmentation.discovery import DiscoveredAxis, Discovery, DiscoveryOptions, discover
from app.segmentation.membership import Array
from app.segmentation.readings import MIN_READERS, MIN_TICKETS, memberships_in, reading_of

(SUPPORT,) = axes_named(["support_history"])
(PROXY,) = axes_named(["problem_complexity_profile"])


def a_shop(n_quiet: int = 240, n_asking: int = 150, *, seed: int = 0) -> tuple[dict[str, Array], Array, Array]:
    """A shop in which orders show two groups and tickets three, each whatever the other is.

    returns : the features, each customer's group by orders, and by tickets
    """
    rng = np.random.default_rng(seed)
    n = n_quiet + n_asking
    by_orders, by_tickets = rng.integers(0, 2, n), rng.integers(0, 3, n)
    values = {feature.name: 0.2 + 0.5 * by_orders + rng.normal(0, 0.01, n) for feature in PROXY.features}
    asked = {*SUPPORT.features, *PROXY.ticket_features}
    values |= {feature.name: 0.1 + by_tickets + rng.normal(0, 0.01, n).clip(-0.05, 0.05) for feature in asked}
    asking = rng.permutation(np.arange(n) < n_asking)
    values["total_tickets"] = np.where(asking, MIN_TICKETS + 4.0 * by_tickets, rng.integers(0, MIN_TICKETS, n))
    return values, by_orders, by_tickets


def found_in(values: dict[str, Array], axis: Axis = PROXY, *held: Need) -> Discovery:
    return discover(
        "shop",
        values,
        (axis,),
        available=frozenset(held or Need),
        options=DiscoveryOptions(k_range=KRange(2, 4)),
    )


def only_axis(values: dict[str, Array], axis: Axis = PROXY, *held: Need) -> DiscoveredAxis:
    (found,) = found_in(values, axis, *held).axes
    return found


def asking(values: dict[str, Array]) -> np.ndarray:
    return values["total_tickets"] >= MIN_TICKETS


def groups(of: np.ndarray, truth: np.ndarray) -> int:
    """In how many pairs two labelings meet."""
    return len(set(zip(of.tolist(), truth.tolist(), strict=True)))


@pytest.fixture(scope="module")
def shop() -> tuple[dict[str, Array], DiscoveredAxis]:
    values, *_ = a_shop()
    return values, only_axis(values)


def test_those_who_ask_are_grouped_by_their_tickets_and_the_others_by_their_orders() -> None:
    values, by_orders, by_tickets = a_shop()
    found, ask = only_axis(values), asking(values)
    assert [reading.source for reading in found.readings] == ["orders", "tickets"]
    assert [reading.fitted.n_segments for reading in found.readings] == [2, 3]
    assert groups(found.dominant[~ask], by_orders[~ask]) == 2
    assert groups(found.dominant[ask], by_tickets[ask]) == 3
    assert [found.count(reading) for reading in found.readings] == [240, 150]


def test_nobody_belongs_to_a_segment_of_the_other_reading() -> None:
    values, *_ = a_shop()
    found, ask = only_axis(values), asking(values)
    for reading, others in zip(found.readings, (ask, ~ask), strict=True):
        assert (found.memberships[others, reading.positions] == 0).all()
    assert np.abs(found.memberships.sum(axis=1) - 1).max() < 1e-12


def test_what_those_who_ask_order_changes_nothing_and_neither_do_the_tickets_of_the_others() -> None:
    """No value of one source reaches a center of the other, nor does anyone else's reading."""
    values, *_ = a_shop()
    ask, rng = asking(values), np.random.default_rng(1)
    other = {name: column.copy() for name, column in values.items()}
    for feature in PROXY.features:
        other[feature.name][ask] = rng.gamma(2, 50, ask.sum())
    for feature in PROXY.ticket_features:
        other[feature.name][~ask] = rng.gamma(2, 50, (~ask).sum())
    one, two = only_axis(values), only_axis(other)
    assert np.array_equal(one.memberships, two.memberships)
    assert [segment.name for segment in one.segments] == [segment.name for segment in two.segments]


def test_the_others_are_grouped_as_in_a_shop_of_their_own() -> None:
    values, *_ = a_shop()
    ask = asking(values)
    among_all, alone = only_axis(values), only_axis({name: column[~ask] for name, column in values.items()})
    assert np.array_equal(among_all.memberships[~ask, among_all.readings[0].positions], alone.memberships)
    ids = [segment.segment_id for segment in among_all.segments if segment.source is Source.orders]
    assert ids == [segment.segment_id for segment in alone.segments]


def test_shares_of_segments_are_of_all_customers_and_their_names_unique() -> None:
    found = only_axis(a_shop()[0])
    assert sum(segment.share for segment in found.segments) == pytest.approx(1)
    assert [segment.source for segment in found.segments] == ["orders"] * 2 + ["tickets"] * 3
    assert len({segment.name for segment in found.segments}) == 5


@given(rows=st.lists(st.integers(0, 389), min_size=1, max_size=5, unique=True))
def test_one_customer_alone_is_placed_as_among_all(
    shop: tuple[dict[str, Array], DiscoveredAxis], rows: list[int]
) -> None:
    values, found = shop
    few = {name: column[rows] for name, column in values.items()}
    assert np.array_equal(memberships_in(found.readings, few), found.memberships[rows])


@pytest.mark.parametrize(("tickets", "source"), [(0.0, "orders"), (1.0, "orders"), (2.0, "tickets"), (9.0, "tickets")])
def test_it_takes_two_tickets_to_be_read_from_them(
    shop: tuple[dict[str, Array], DiscoveredAxis], tickets: float, source: str
) -> None:
    values, found = shop
    one = {name: column[:1] for name, column in values.items()} | {"total_tickets": np.array([tickets])}
    top = memberships_in(found.readings, one).argmax()
    assert found.segments[top].source == source
    assert reading_of(found.readings, one).source == source


@pytest.mark.parametrize(("n_asking", "sources"), [(MIN_READERS - 1, ["orders"]), (MIN_READERS, ["orders", "tickets"])])
def test_tickets_are_read_once_a_hundred_customers_have_enough_of_them(n_asking: int, sources: list[str]) -> None:
    found = only_axis(a_shop(n_asking=n_asking)[0])
    assert [reading.source for reading in found.readings] == sources
    assert (found.status, found.askers) == (AxisStatus.proxy, n_asking)


def test_an_axis_is_a_proxy_until_tickets_speak_for_everyone() -> None:
    assert only_axis(a_shop(n_quiet=1)[0]).status is AxisStatus.proxy
    found = only_axis(a_shop(n_quiet=0)[0])
    assert (found.status, [reading.source for reading in found.readings]) == (AxisStatus.active, ["tickets"])


def test_too_few_to_look_for_groups_are_one_segment() -> None:
    found = only_axis(a_shop(n_quiet=MIN_READERS - 1)[0])
    assert [reading.fitted.n_segments for reading in found.readings] == [1, 3]
    assert found.segments[0].name == "seldom_asks" and found.has_structure


def test_without_tickets_an_axis_is_what_it_is_without_a_ticket_reading() -> None:
    values, *_ = a_shop(n_asking=0)
    one, other = only_axis(values), only_axis(values, replace(PROXY, ticket_features=()))
    assert one.segments == other.segments and np.array_equal(one.memberships, other.memberships)
    none = only_axis(a_shop()[0], PROXY, Need.orders)
    assert [reading.source for reading in none.readings] == ["orders"] and none.askers is None


# The axis that reads tickets alone


def test_who_hardly_asks_serves_themselves_and_the_others_are_grouped() -> None:
    values, _, by_tickets = a_shop()
    found, ask = only_axis(values, SUPPORT), asking(values)
    assert found.segments[0].name == "self_service" and found.segments[0].count == 240
    assert set(found.dominant[~ask]) == {0} and groups(found.dominant[ask], by_tickets[ask]) == 3
    assert found.status is AxisStatus.active and found.has_structure
    assert found.main.source is Source.tickets and found.fitted.silhouette is not None


def test_where_those_who_ask_are_of_one_kind_there_are_two_segments_and_no_structure() -> None:
    values, *_ = a_shop(n_asking=300)
    rng = np.random.default_rng(3)
    for feature in SUPPORT.features:
        values[feature.name] = rng.normal(100, 5, 540)
    values["total_tickets"] = np.where(np.arange(540) < 300, 100 + rng.normal(0, 5, 540), 0)
    found = found_in(values, SUPPORT)
    assert [segment.name for segment in found.axes[0].segments] == ["self_service", "asks_for_help"]
    assert [segment.count for segment in found.axes[0].segments] == [240, 300]
    assert found.signature == ()


@pytest.mark.parametrize("n_asking", [1, MIN_READERS - 1])
def test_a_few_who_ask_are_one_segment(n_asking: int) -> None:
    found = only_axis(a_shop(n_asking=n_asking)[0], SUPPORT)
    assert [segment.name for segment in found.segments] == ["self_service", "asks_for_help"]
    assert not found.has_structure


def test_where_nobody_asks_twice_everyone_is_alike() -> None:
    found = only_axis(a_shop(n_asking=0)[0], SUPPORT)
    assert [segment.name for segment in found.segments] == ["everyone"] and not found.has_structure
