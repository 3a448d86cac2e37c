"""What the measures of a shop's drift promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.segmentation.drift import LEAST_SHARE, Discovered, Kinship, Move, kinship, movement, psi


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


# Who moved

SAME = Kinship(same=True)
groups = st.sampled_from("abcd")
two_days_of_people = st.lists(st.tuples(st.none() | groups, st.none() | groups, st.integers(0, 50)), max_size=30)
lineages = st.none() | st.lists(st.tuples(st.none() | groups, st.none() | groups), max_size=8)


def kin(steps: list[tuple[str | None, str | None]] | None) -> Kinship:
    return SAME if steps is None else kinship({2: Discovered(1, steps)}, before=1, now=2)


@given(two_days_of_people, lineages)
def test_everyone_who_was_there_is_somewhere_now_or_gone(
    counts: list[tuple[str | None, str | None, int]], steps: list[tuple[str | None, str | None]] | None
) -> None:
    moved = movement(counts, kin(steps))
    for group in "abcd":
        there = sum(n for before, _, n in counts if before == group)
        left = sum(n for before, now, n in counts if before == group and now is None)
        assert sum(flow.count for flow in moved.flows if flow.before == group) == there - left
    assert moved.compared + moved.gone == sum(n for before, _, n in counts if before)
    assert moved.compared + moved.new == sum(n for _, now, n in counts if now)
    assert sum(moved.count(move) for move in Move) == moved.compared
    assert 0 <= moved.share(Move.migrated) <= 1
    assert moved.velocity(7) == moved.share(Move.migrated) / 7


@given(st.lists(st.tuples(groups, st.integers(0, 50))), lineages)
def test_where_everyone_stays_the_velocity_is_0(
    sizes: list[tuple[str, int]], steps: list[tuple[str | None, str | None]] | None
) -> None:
    moved = movement([(group, group, n) for group, n in sizes], kin(steps))
    assert moved.velocity(7) == 0
    assert moved.count(Move.by_discovery) == 0


@given(groups, groups, lineages)
def test_only_who_could_have_stayed_has_migrated(
    before: str, now: str, steps: list[tuple[str | None, str | None]] | None
) -> None:
    """By a discovery that follows the groups: theirs goes on, and the one they are in goes on from another."""
    moved = kin(steps).move(before, now)
    assert (moved is Move.stayed) == (before == now)
    if moved is Move.migrated and steps is not None:
        assert any(one == before and other is not None for one, other in steps)
        assert any(one is not None and other == now for one, other in steps)
        assert (before, now) not in steps


def test_lineage_that_leads_nowhere_is_not_followed() -> None:
    known = {2: Discovered(1, [("a", "a")]), 4: Discovered(3, [("a", "a")]), 5: Discovered(6, [("a", "a")])}
    assert kinship(known, before=1, now=2).heirs == {"a": frozenset("a")}
    for before, now in ((1, 4), (2, 1), (1, 5), (7, 2)):
        assert kinship(known, before=before, now=now) == Kinship(same=False)
