"""What shares of membership promise, whatever the distances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.core.errors import InvalidInput
from app.segmentation.membership import Kernel, Strength, is_close, membership, strengths, top_two

KERNELS = pytest.mark.parametrize("kernel", ["exponential", "gaussian"])

any_distances = arrays.arrays(
    np.float64,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.floats(min_value=0, allow_nan=False, allow_infinity=False),
)


def test_the_documents_worked_example() -> None:
    shares = membership(np.array([[0.5, 2.0, 3.5]]))
    assert shares[0].round(3).tolist() == [0.786, 0.175, 0.039]


def test_the_gaussian_kernel_is_nearer_to_hard_assignment() -> None:
    # exp(-d**2) of 0.3, 1.2, 2.8, normalised: .9139, .2369 and .0004 over 1.1512.
    shares = membership(np.array([[0.3, 1.2, 2.8]]), "gaussian")
    assert shares[0].round(3).tolist() == [0.794, 0.206, 0.000]


@KERNELS
def test_a_customer_1000_from_every_center_still_has_shares_that_sum_to_1(kernel: Kernel) -> None:
    shares = membership(np.array([[1_000.0, 1_000.0, 1_000.0], [1_000.0, 1_001.0, 2_000.0]]), kernel)
    assert np.abs(shares.sum(axis=1) - 1).max() < 1e-12
    assert shares[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])


@KERNELS
def test_a_customer_midway_between_two_centers_belongs_half_to_each(kernel: Kernel) -> None:
    assert membership(np.array([[1.7, 1.7]]), kernel).tolist() == [[0.5, 0.5]]


@KERNELS
def test_the_only_segment_has_everyone(kernel: Kernel) -> None:
    assert membership(np.array([[0.0], [3.0], [1e9]]), kernel).tolist() == [[1.0], [1.0], [1.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_distance_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(InvalidInput, match="NaN among the features"):
        membership(np.array([[0.5, bad]]))


@KERNELS
@given(distances=any_distances)
def test_shares_are_finite_sum_to_1_and_the_nearest_center_has_the_highest(
    kernel: Kernel, distances: np.ndarray
) -> None:
    shares = membership(distances, kernel)
    assert np.isfinite(shares).all() and (shares >= 0).all()
    assert np.abs(shares.sum(axis=1) - 1).max() < 1e-9
    rows = np.arange(len(shares))
    assert (shares[rows, distances.argmin(axis=1)] == shares.max(axis=1)).all()


@KERNELS
@given(distances=any_distances, data=st.data())
def test_reordering_the_segments_reorders_the_shares(
    kernel: Kernel, distances: np.ndarray, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(distances.shape[1])))
    assert membership(distances[:, order], kernel) == pytest.approx(membership(distances, kernel)[:, order], abs=1e-12)


@KERNELS
def test_the_shares_follow_the_kernels_formula(kernel: Kernel) -> None:
    distances = np.random.default_rng(3).uniform(0, 5, size=(50, 4))
    similarity = np.exp(-distances) if kernel == "exponential" else np.exp(-(distances**2))
    plain = similarity / similarity.sum(axis=1, keepdims=True)
    assert np.abs(membership(distances, kernel) - plain).max() < 1e-12


@pytest.mark.parametrize(
    ("shares", "strength"),
    [
        ([1.0], Strength.strong),
        ([0.9, 0.1], Strength.strong),
        ([0.7, 0.3], Strength.strong),
        ([0.1 + 0.6, 0.3], Strength.strong),  # .7 less a rounding error
        ([0.699, 0.301], Strength.moderate),
        ([0.6, 0.4], Strength.moderate),  # they differ by .2, which in binary comes out a hair less
        ([0.599, 0.401], Strength.balanced),
        ([0.5, 0.5], Strength.balanced),
        ([0.55, 0.3, 0.15], Strength.moderate),
        ([0.4, 0.3, 0.3], Strength.balanced),
        ([0.399, 0.301, 0.3], Strength.weak),
        ([0.39, 0.16, 0.15, 0.15, 0.15], Strength.weak),
    ],
)
def test_strength_is_read_off_the_top_two_shares(shares: list[float], strength: Strength) -> None:
    assert strengths(np.array([shares])) == [strength]


def test_top_two_and_closeness_are_taken_row_by_row() -> None:
    shares = np.array([[0.2, 0.5, 0.3], [0.8, 0.1, 0.1], [0.4, 0.2, 0.4]])
    top, second = top_two(shares)
    assert top.tolist() == [0.5, 0.8, 0.4] and second.tolist() == [0.3, 0.1, 0.4]
    assert is_close(shares).tolist() == [False, False, True]


def test_with_one_segment_there_is_no_second() -> None:
    top, second = top_two(np.ones((2, 1)))
    assert top.tolist() == [1.0, 1.0] and second.tolist() == [0.0, 0.0]
    assert not is_close(np.ones((2, 1))).any()
