"""What features contribute to a membership adds up, and owes nothing to the order anything is listed in."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.segmentation.clustering import FittedAxis, Scaler
from app.segmentation.explanation import average_customer, contributions
from app.segmentation.membership import Array, Kernel

N_CUSTOMERS = 5


def axis_of(centers: Array, kernel: Kernel = "exponential", scaler: Scaler | None = None) -> FittedAxis:
    n_features = centers.shape[1]
    endless = np.full(n_features, np.inf)
    plain = Scaler(("none",) * n_features, -endless, endless, np.zeros(n_features), np.ones(n_features))
    names = tuple(f"f{number}" for number in range(n_features))
    return FittedAxis("axis", names, scaler or plain, centers, kernel, 0.5, 0.1, 0.2, has_structure=True)


@st.composite
def customers_on_an_axis(draw: st.DrawFn) -> tuple[FittedAxis, Array]:
    """An axis of 1 to 5 segments and 1 to 4 features, and customers with raw features."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_segments, n_features = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    scaler = Scaler(
        transforms=tuple(draw(st.sampled_from(["none", "log1p"])) for _ in range(n_features)),
        low=np.full(n_features, 0.0),
        high=rng.uniform(4, 9, n_features),
        mean=rng.uniform(0.5, 3, n_features),
        scale=rng.uniform(0.1, 2, n_features),
    )
    centers = rng.normal(0, draw(st.sampled_from([0.1, 1, 10])), (n_segments, n_features))
    kernel = draw(st.sampled_from(["exponential", "gaussian"]))
    return axis_of(centers, kernel, scaler), rng.uniform(0, 12, (N_CUSTOMERS, n_features))


@given(customers_on_an_axis())
def test_the_average_and_the_contributions_make_the_membership(case: tuple[FittedAxis, Array]) -> None:
    axis, values = case
    parts = contributions(axis, values)
    assert parts.by_feature.shape == (N_CUSTOMERS, len(axis.features), axis.n_segments)
    np.testing.assert_allclose(parts.memberships, axis.memberships(values), rtol=0, atol=1e-12)
    np.testing.assert_allclose(parts.average + parts.by_feature.sum(axis=1), parts.memberships, rtol=0, atol=1e-12)


@given(customers_on_an_axis())
def test_what_one_segment_gains_the_others_lose(case: tuple[FittedAxis, Array]) -> None:
    parts = contributions(*case)
    np.testing.assert_allclose(parts.by_feature.sum(axis=2), 0, atol=1e-12)


@given(customers_on_an_axis(), st.data())
def test_a_feature_that_is_the_averages_contributes_nothing(
    case: tuple[FittedAxis, Array], data: st.DataObject
) -> None:
    axis, values = case
    feature = data.draw(st.integers(0, len(axis.features) - 1))
    values[:, feature] = average_customer(axis)[feature]
    assert np.abs(contributions(axis, values).by_feature[:, feature]).max() < 1e-12


@given(customers_on_an_axis())
def test_the_average_customer_has_the_average_membership(case: tuple[FittedAxis, Array]) -> None:
    axis, _ = case
    parts = contributions(axis, average_customer(axis)[None, :])
    np.testing.assert_allclose(parts.memberships[0], parts.average, rtol=0, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_features_that_do_the_same_contribute_the_same(seed: int, n_features: int) -> None:
    rng = np.random.default_rng(seed)
    centers, values = rng.normal(0, 1, (3, n_features)), rng.normal(0, 2, (N_CUSTOMERS, n_features))
    centers[:, 1], values[:, 1] = centers[:, 0], values[:, 0]
    parts = contributions(axis_of(centers), values).by_feature
    np.testing.assert_allclose(parts[:, 0], parts[:, 1], rtol=0, atol=1e-12)


@given(customers_on_an_axis(), st.data())
def test_the_order_of_features_and_segments_changes_nothing_else(
    case: tuple[FittedAxis, Array], data: st.DataObject
) -> None:
    axis, values = case
    scaler = axis.scaler
    features = list(data.draw(st.sampled_from(list(permutations(range(len(axis.features)))))))
    segments = list(data.draw(st.permutations(range(axis.n_segments))))
    limits = {name: getattr(scaler, name)[features] for name in ("low", "high", "mean", "scale")}
    other = replace(
        axis,
        centers=axis.centers[segments][:, features],
        scaler=Scaler(tuple(scaler.transforms[each] for each in features), **limits),
    )
    parts, same = contributions(axis, values), contributions(other, values[:, features])
    np.testing.assert_allclose(same.by_feature, parts.by_feature[:, features][:, :, segments], rtol=0, atol=1e-12)


def test_two_features_share_what_they_do_together() -> None:
    """Worked by hand: the coalitions' memberships in the first segment, and the mean of both orders of joining."""
    axis = axis_of(np.array([[1.0, 1.0], [-1.0, -1.0]]))

    def first(x: float, y: float) -> float:
        near, far = np.hypot(x - 1, y - 1), np.hypot(x + 1, y + 1)
        return float(np.exp(-near) / (np.exp(-near) + np.exp(-far)))

    none, one, other, both = first(0, 0), first(2, 0), first(0, -1), first(2, -1)
    parts = contributions(axis, np.array([[2.0, -1.0]]))
    assert parts.average[0] == none == 0.5
    assert parts.by_feature[0, 0, 0] == pytest.approx(((one - none) + (both - other)) / 2, abs=1e-12)
    assert parts.by_feature[0, 1, 0] == pytest.approx(((other - none) + (both - one)) / 2, abs=1e-12)


def test_of_a_log_scaled_feature_the_average_is_that_of_the_logarithm() -> None:
    endless = np.array([np.inf, np.inf])
    scaler = Scaler(("none", "log1p"), -endless, endless, np.array([4.0, np.log(8.0)]), np.array([2.0, 3.0]))
    axis = axis_of(np.zeros((1, 2)), scaler=scaler)
    np.testing.assert_allclose(average_customer(axis), [4.0, 7.0])
