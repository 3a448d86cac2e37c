"""What is said of an axis: in words that follow the numbers, beside other axes, and as a picture."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import normalized_mutual_info_score

from app.segmentation.axes import AXES, Axis, AxisStatus, Need, Source, axes_named
from app.segmentation.clustering import KRange, Stability, shared
from app.segmentation.discovery import DiscoveredAxis, DiscoveryOptions, Segment, discover
from app.segmentation.evidence import (
    BINS,
    OVERLAPPING,
    Verdict,
    normalised_mutual_information,
    picture,
    redundancy,
    says,
    says_of_overlap,
    told_by,
    verdict,
)
from app.segmentation.membership import Array
from app.segmentation.norms import typical_value
from app.segmentation.readings import Reading, undivided

N = 600
VALUE = axes_named(["value"])[0]


def planted(axis: Axis, k: int, *, spread: float = 0.1, seed: int = 0) -> dict[str, Array]:
    """Features of an axis with k groups along its diagonal, 1 apart; nobody has tickets."""
    rng = np.random.default_rng(seed)
    group = np.arange(N) % k
    values = {name: group + rng.normal(0, spread, N) + 1.0 for name in axis.feature_names}
    return values | {"total_tickets": np.zeros(N)}


def found(values: dict[str, Array], axis: Axis = VALUE) -> DiscoveredAxis:
    options = DiscoveryOptions(k_range=KRange(2, 5))
    return discover("shop", values, [axis], available=frozenset(Need), options=options).axes[0]


def standing(axis: DiscoveredAxis, **numbers: object) -> DiscoveredAxis:
    """The same axis with other numbers behind it."""
    fitted = replace(axis.fitted, **numbers)  # type: ignore[arg-type]
    return replace(axis, readings=(replace(axis.main, fitted=fitted),))


# The verdict


GROUPS = {"has_structure": True, "silhouette": 0.42, "null_silhouette": 0.2, "stability": Stability(0.95, 0.987, 6)}


@pytest.mark.parametrize(
    ("numbers", "expected", "told"),
    [
        (GROUPS, Verdict.real_groups, ["much clearer", "(.42 against .20)", "98 of 100 keep theirs"]),
        (GROUPS | {"null_silhouette": 0.36}, Verdict.real_groups, ["Real groups: these segments are clearer"]),
        (GROUPS | {"stability": Stability(1.0, 1.0, 6)}, Verdict.real_groups, ["and all keep theirs"]),
        (GROUPS | {"silhouette": 0.29}, Verdict.blurred_groups, ["run into each other", "(.29 against .20)"]),
        (GROUPS | {"stability": Stability(0.6, 0.88, 6)}, Verdict.unsteady_groups, ["but only 88 of 100"]),
        (
            GROUPS | {"silhouette": 0.29, "stability": Stability(0.6, 0.88, 6)},
            Verdict.unsteady_groups,
            ["Unsteady groups"],
        ),
        (
            {"has_structure": False, "silhouette": 0.3, "null_silhouette": 0.31, "stability": None},
            Verdict.continuum,
            ["differ by degree", "(.30 against .31)", "one segment"],
        ),
        (
            {"has_structure": False, "silhouette": None, "null_silhouette": None, "stability": None},
            Verdict.one_group,
            ["no split leaves 3 of 100"],
        ),
    ],
)
def test_the_verdict_and_its_words_follow_the_numbers(
    numbers: dict[str, object], expected: Verdict, told: list[str]
) -> None:
    axis = standing(found(planted(VALUE, 3)), **numbers)
    assert verdict(axis, axis.main) is expected
    assert [part for part in told if part not in says(axis, axis.main)] == []


def test_planted_groups_are_real_and_one_cloud_is_a_continuum() -> None:
    groups = found(planted(VALUE, 3))
    assert verdict(groups, groups.main) is Verdict.real_groups
    cloud = found(planted(VALUE, 1))
    assert verdict(cloud, cloud.main) is Verdict.continuum


def test_customers_of_a_few_tickets_are_too_few_and_those_without_any_are_not_asked() -> None:
    support = axes_named(["support_history"])[0]
    values = planted(support, 2)
    values["total_tickets"] = np.where(np.arange(N) < 60, 5.0 + np.arange(N) % 7, 0.0)
    axis = found(values, support)
    told = {reading.source: verdict(axis, reading) for reading in axis.readings}
    assert told == {Source.orders: Verdict.one_group, Source.tickets: Verdict.too_small}
    sentences = {reading.source: says(axis, reading) for reading in axis.readings}
    assert "fewer than 2 tickets" in sentences[Source.orders]
    assert "fewer than 100 customers" in sentences[Source.tickets]


def test_an_axis_is_told_by_the_reading_that_has_groups() -> None:
    axis = found(planted(VALUE, 3))
    groups = axis.main
    continuum = Reading(Source.tickets, replace(groups.fitted, has_structure=False, centers=np.zeros((1, 3))), first=3)
    crowd = Segment("seg_1", "everyone", "", 10 * N, 0.9, Source.tickets, {}, {})
    both = replace(axis, readings=(groups, continuum), segments=(*axis.segments, crowd))
    assert both.main is continuum
    assert told_by(both) is groups
    assert told_by(axis) is axis.main


# Axes that say the same


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=60))
def test_mutual_information_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs).T
    expected = normalized_mutual_info_score(one, other)
    assert normalised_mutual_information(shared(one, other, 4, 6)) == pytest.approx(expected, abs=1e-9)


def test_redundancy_is_symmetric_and_leaves_out_axes_of_one_segment() -> None:
    axes = [
        found(planted(axis, k, seed=number), axis)
        for number, (axis, k) in enumerate(zip(AXES, (2, 3, 1, 4), strict=False))
    ]
    overlaps = redundancy(axes)
    telling = [axis for axis in axes if len(axis.segments) > 1]
    assert overlaps.names == tuple(axis.axis.name for axis in telling)
    assert len(telling) == 3
    assert np.array_equal(overlaps.nmi, overlaps.nmi.T)
    for one, other in combinations(range(3), 2):
        expected = normalized_mutual_info_score(telling[one].dominant, telling[other].dominant)
        assert overlaps.nmi[one, other] == pytest.approx(expected, abs=1e-9)
    first = overlaps.of(overlaps.names[0])
    assert [nmi for _, nmi in first] == sorted((nmi for _, nmi in first), reverse=True)
    assert {name for name, _ in first} == set(overlaps.names[1:])
    assert overlaps.of(AXES[2].name) == []


def test_only_axes_that_overlap_much_are_told_to_say_the_same() -> None:
    told = says_of_overlap([("purchase_value", 0.671), ("purchase_cadence", OVERLAPPING), ("return_behavior", 0.49)])
    assert told == "It says much the same as purchase value (.67 of 1) and purchase cadence (.50 of 1)."
    assert says_of_overlap([("return_behavior", 0.49)]) == ""


# The picture


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_picture_holds_every_customer_once_beside_a_cloud(k: int) -> None:
    axis = found(planted(VALUE, k))
    seen = picture(axis, axis.main, planted(VALUE, k))
    assert seen.density.shape == (len(axis.segments), BINS)
    assert seen.density.sum(axis=1) == pytest.approx([segment.share for segment in axis.segments])
    edges = seen.start + seen.step * np.arange(BINS + 1)
    assert seen.null == pytest.approx(np.diff(norm.cdf(edges)))
    assert edges[0] <= -2.5 + 1e-9 and edges[-1] >= 2.5 - 1e-9


def test_far_groups_stand_apart_in_the_picture_and_one_cloud_is_under_its_line() -> None:
    def apart(values: dict[str, Array]) -> float:
        """Share of the customers who are where the cloud is not."""
        axis = found(values)
        seen = picture(axis, axis.main, values)
        return float(np.maximum(seen.density.sum(axis=0) - seen.null, 0).sum())

    assert apart(planted(VALUE, 3, spread=0.05)) > 0.5
    assert apart(planted(VALUE, 1)) < 0.15


def test_the_ends_of_the_picture_are_named_by_the_feature_that_tells_segments_apart() -> None:
    values = planted(VALUE, 1)
    values["avg_order_value"] = np.where(np.arange(N) % 2, 100.0, 10.0) + np.random.default_rng(1).normal(0, 1, N)
    axis = found(values)
    seen = picture(axis, axis.main, values)
    assert (seen.low, seen.high) == ("small basket", "large basket")
    middle = (seen.density * np.arange(BINS)).sum(axis=1) / seen.density.sum(axis=1)
    large = next(each for each in seen.features if each.feature == "avg_order_value").segments
    assert middle.argmax() == int(np.argmax(large))


def test_what_is_typical_is_told_in_the_features_own_words() -> None:
    values = planted(VALUE, 2)
    axis = found(values)
    for feature, told in zip(VALUE.features, picture(axis, axis.main, values).features, strict=True):
        members = [values[feature.name][axis.dominant == segment] for segment in range(2)]
        assert told.shop == typical_value(feature, values[feature.name])
        assert told.segments == tuple(typical_value(feature, each) for each in members)
        assert told.says == feature.phrase(told.shop)
        assert told.told == tuple(feature.number(value) for value in told.segments)
        assert told.apart[0] < 0 < told.apart[1]


@pytest.mark.parametrize("n", [1, 2, 50])
def test_customers_who_are_all_alike_have_a_picture_too(n: int) -> None:
    values = {name: np.full(n, 0.1) for name in VALUE.feature_names}
    fitted = undivided(VALUE, Source.orders, np.column_stack(list(values.values())), robust=True, kernel="exponential")
    segment = Segment("seg_1", "everyone", "", n, 1.0, Source.orders, {}, {})
    reading = Reading(Source.orders, fitted)
    axis = DiscoveredAxis(
        VALUE, AxisStatus.active, (reading,), np.ones((n, 1)), np.zeros(n, dtype=np.intp), (segment,), None
    )
    seen = picture(axis, reading, values)
    assert np.isfinite(seen.density).all() and seen.density.sum() == pytest.approx(1)
    assert seen.null == pytest.approx(seen.density.sum(axis=0))


def test_a_feature_that_is_the_same_within_segments_does_not_break_the_direction() -> None:
    rng = np.random.default_rng(2)
    values = planted(VALUE, 2) | {"value_trend": np.repeat([0.0, 5.0], N // 2)}
    values["lifetime_value"] = np.repeat([10.0, 500.0], N // 2)
    values["avg_order_value"] = rng.normal(50, 5, N)
    axis = found(values)
    assert np.isfinite(picture(axis, axis.main, values).density).all()


def test_densities_stand_in_the_order_of_the_segments() -> None:
    values = planted(VALUE, 3)
    axis = found(values)
    seen = picture(axis, axis.main, values)
    middle = (seen.density * np.arange(BINS)).sum(axis=1) / seen.density.sum(axis=1)
    assert len(middle) == 3
    assert middle.tolist() == sorted(middle.tolist())
