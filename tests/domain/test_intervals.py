"""The interval of a counted share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from app.domain.intervals import share_interval


@pytest.mark.parametrize(("count", "n"), [(0, 12), (3, 12), (81, 263), (5_000, 5_000)])
def test_it_is_that_of_a_library(count: int, n: int) -> None:
    theirs = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert share_interval(count, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_share_lies_in_it_and_it_within_0_and_1(counted: tuple[int, int]) -> None:
    count, n = counted
    low, high = share_interval(count, n)
    assert 0 <= low <= count / n <= high <= 1
