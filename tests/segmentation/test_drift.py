"""What the measures of a shop's drift promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.segmentation.drift import LEAST_SHARE, psi


def two_days(least: int = 0) -> st.SearchStrategy[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Counts of the same segments on two days, somebody on each."""

    def pair(n: int) -> st.SearchStrategy[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        counts = st.lists(st.integers(least, 50), min_size=n, max_size=n).filter(any).map(lambda c: np.array(c, float))
        return st.tuples(counts, counts)

    return st.integers(1, 6).flatmap(pair)


def test_a_shift_by_hand() -> None:
    # From 50:50 to 60:40: .1 * ln(.6 / .5) + (-.1) * ln(.4 / .5) = .018232 + .022314.
    assert psi(np.array([0.6, 0.4]), np.array([0.5, 0.5])) == pytest.approx(0.040547, abs=1e-6)


@given(two_days())
def test_a_shift_is_never_below_0_and_the_same_both_ways(days: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    now, then = days
    assert psi(now, then) >= 0
    assert psi(now, then) == pytest.approx(psi(then, now))


# Of at most 6 x 50 customers every share of somebody is above the least, and no two are nearly the same.
@given(two_days(least=1))
def test_a_shift_is_0_exactly_where_the_shares_are_the_same(
    days: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    now, then = days
    same = np.allclose(now / now.sum(), then / then.sum(), atol=1e-12)
    assert (psi(now, then) < 1e-12) == same
    assert psi(3 * now, now) == pytest.approx(0.0, abs=1e-12)


def test_a_segment_that_empties_makes_a_large_shift_but_no_infinite_one() -> None:
    shift = psi(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert shift == pytest.approx(0.5 * math.log(2) + (LEAST_SHARE - 0.5) * math.log(LEAST_SHARE / 0.5))


@pytest.mark.parametrize("bad", [[0.0, 0.0], [-0.1, 1.1], [math.nan, 1.0], [math.inf, 1.0]])
def test_what_is_no_distribution_is_refused(bad: list[float]) -> None:
    with pytest.raises(InvalidInput):
        psi(np.array(bad), np.array([0.5, 0.5]))


def test_two_days_of_different_segments_are_refused() -> None:
    with pytest.raises(InvalidInput, match="the same segments"):
        psi(np.array([1.0]), np.array([0.5, 0.5]))
