"""Kinds of customer: who is of which, on three levels, and what they are called by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.segmentation.archetypes import (
    NONE_CLOSE,
    Archetypes,
    archetype_ids,
    bands,
    close_seconds,
    find_archetypes,
    likeliest,
    mean_top_membership,
    nearest_bands,
)
from app.segmentation.membership import Array


def small_shop() -> list[Array]:
    """Eight customers on two axes of two segments: four of kind (0, 0), three of (1, 1), and one of (0, 1)."""
    first = [[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 3 + [[0.55, 0.45]]
    second = [[0.8, 0.2]] * 4 + [[0.45, 0.55]] * 3 + [[0.3, 0.7]]
    return [np.array(first), np.array(second)]


def test_a_shop_worked_out_by_hand() -> None:
    found = find_archetypes(small_shop(), min_members=3)

    # The eighth customer's own kind has one member. (0, 0) is likely to .55 * .3 = .165, (1, 1) to .45 * .7 = .315.
    assert found.signatures.tolist() == [[0, 0], [1, 1]]
    assert found.level1.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.fold_distance.tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert found.kept_share == 7 / 8

    # Clarity is .85, .675 and, for the eighth, .625: core, typical and edge. One edge is too thin and joins typical.
    assert found.band_limits == pytest.approx((0.675, 0.85))
    assert found.level2.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.level2_of.tolist() == [[0, 0], [1, 1]]

    # The three of (1, 1) are close to segment 0 of the second axis. The eighth is close to the archetype's own segment
    # of the first, which is nothing to lean to, and is too alone to stand without.
    assert found.level3.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.level3_of.tolist() == [0, 1]
    assert found.seconds.tolist() == [[NONE_CLOSE, NONE_CLOSE], [NONE_CLOSE, 0]]


def test_folded_customers_do_not_lean_to_the_archetype_they_were_folded_into() -> None:
    # Two pairs of rare kinds, whose close second on the first axis is segment 0: what their archetype is already.
    first = [[0.8, 0.1, 0.1]] * 5 + [[0.4, 0.5, 0.1]] * 2 + [[0.4, 0.1, 0.5]] * 2
    found = find_archetypes([np.array(first), np.array([[0.9, 0.1]] * 9)], min_members=3)
    assert found.level1.tolist() == [0] * 9
    assert found.seconds.tolist() == [[NONE_CLOSE, NONE_CLOSE]]


def test_where_every_signature_may_stand_none_is_folded() -> None:
    found = find_archetypes(small_shop(), min_members=1)
    assert found.signatures.tolist() == [[0, 0], [1, 1], [0, 1]]  # the most common first
    assert found.level1.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert found.fold_distance.tolist() == [0] * 8 and found.kept_share == 1.0


def random_shop(seed: int, n_customers: int, widths: list[int]) -> list[Array]:
    rng = np.random.default_rng(seed)
    sharpness = rng.uniform(0.2, 3)
    shop = [rng.dirichlet(np.full(width, sharpness), size=n_customers) for width in widths]
    # Ties and copies are the rule in a shop where many have bought once.
    copies = rng.integers(0, n_customers, n_customers // 2)
    return [np.concatenate([np.round(shares, 1), shares[copies]])[:n_customers] for shares in shop]


def sizes(groups: np.ndarray) -> np.ndarray:
    return np.bincount(groups)


shops = st.builds(
    random_shop, st.integers(0, 10_000), st.integers(1, 120), st.lists(st.integers(1, 5), min_size=1, max_size=4)
)


@given(shop=shops, min_members=st.integers(1, 12))
@settings(deadline=None)
def test_what_holds_of_any_shop(shop: list[Array], min_members: int) -> None:
    found = find_archetypes(shop, min_members=min_members)
    n_customers = len(shop[0])

    # Everyone is in exactly one group of each level, and no group is empty.
    for groups, n_groups in (
        (found.level1, len(found.signatures)),
        (found.level2, len(found.level2_of)),
        (found.level3, len(found.level3_of)),
    ):
        assert groups.shape == (n_customers,)
        assert len(sizes(groups)) == n_groups and sizes(groups).min() >= 1

    # Levels 2 and 3 nest in level 1.
    assert np.array_equal(found.level2_of[found.level2, 0], found.level1)
    assert np.array_equal(found.level3_of[found.level3], found.level1)

    # No group is smaller than the least size, unless a whole level-1 archetype is.
    of_parent = sizes(found.level1)
    own_signatures = np.unique(np.stack([shares.argmax(axis=1) for shares in shop], axis=1), axis=0, return_counts=True)
    if own_signatures[1].max() >= min_members:
        assert of_parent.min() >= min_members
    assert (sizes(found.level2) >= np.minimum(min_members, of_parent[found.level2_of[:, 0]])).all()
    assert (sizes(found.level3) >= np.minimum(min_members, of_parent[found.level3_of])).all()

    # Each group of a level is another thing.
    for rows in (found.signatures, found.level2_of, np.column_stack([found.level3_of, found.seconds])):
        assert len(np.unique(rows, axis=0)) == len(rows)

    # Nothing leans to what it is.
    assert not (found.seconds == found.signatures[found.level3_of]).any()

    # The folded went where they most likely belong.
    own = np.stack([shares.argmax(axis=1) for shares in shop], axis=1)
    assert np.array_equal(found.fold_distance, (own != found.signatures[found.level1]).sum(axis=1))
    assert found.kept_share == pytest.approx((found.fold_distance == 0).mean())
    for customer in np.flatnonzero(found.fold_distance):
        logs = [np.log(np.maximum(shares[customer], np.finfo(float).tiny)) for shares in shop]
        likelihood = [sum(log[code] for log, code in zip(logs, row, strict=True)) for row in found.signatures]
        assert likelihood[found.level1[customer]] >= max(likelihood) - 1e-9


@given(shop=shops, data=st.data())
@settings(deadline=None, max_examples=40)
def test_the_order_of_the_customers_does_not_matter(shop: list[Array], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shop[0]))))
    one = find_archetypes(shop, min_members=3)
    other = find_archetypes([shares[order] for shares in shop], min_members=3)
    for name in ("level1", "level2", "level3", "fold_distance"):
        assert np.array_equal(getattr(one, name)[order], getattr(other, name))
    for name in ("signatures", "level2_of", "level3_of", "seconds"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def assert_one_kind(found: Archetypes, n_customers: int) -> None:
    for groups in (found.level1, found.level3):
        assert groups.tolist() == [0] * n_customers
    assert found.fold_distance.tolist() == [0] * n_customers and found.kept_share == 1.0


def test_a_single_customer_is_a_kind() -> None:
    assert_one_kind(find_archetypes([np.array([[0.2, 0.8]]), np.array([[0.6, 0.3, 0.1]])], min_members=5), 1)


def test_a_shop_with_one_segment_for_all_has_one_kind_clearly() -> None:
    found = find_archetypes([np.ones((7, 1))], min_members=5)
    assert_one_kind(found, 7)
    assert found.level2_of.tolist() == [[0, 0]] and found.seconds.tolist() == [[NONE_CLOSE]]


def test_on_a_single_axis_the_kinds_are_its_segments() -> None:
    shares = np.array([[0.9, 0.1]] * 6 + [[0.1, 0.9]] * 9)
    found = find_archetypes([shares], min_members=5)
    assert found.signatures.tolist() == [[1], [0]]
    assert found.level1.tolist() == [1] * 6 + [0] * 9


def test_where_no_signature_is_common_enough_the_most_common_stand() -> None:
    shares = np.array([[0.8, 0.1, 0.1]] * 2 + [[0.1, 0.8, 0.1]] * 2 + [[0.1, 0.2, 0.7]])
    found = find_archetypes([shares], min_members=50)
    assert found.signatures.tolist() == [[0], [1]]
    assert found.level1.tolist() == [0, 0, 1, 1, 1]


def test_without_an_axis_there_is_nothing_to_find() -> None:
    with pytest.raises(ValueError, match="at least one axis"):
        find_archetypes([], min_members=5)


def test_a_share_of_0_makes_a_signature_unlikely_and_not_impossible() -> None:
    found = likeliest([np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])], np.array([[1, 0], [0, 0], [2, 2]]))
    assert found.tolist() == [1]


def test_folding_more_customers_than_a_block_holds_gives_each_their_own() -> None:
    rng = np.random.default_rng(0)
    shop = [rng.dirichlet(np.ones(3), size=4_500) for _ in range(3)]
    signatures = np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 1, 2]])
    together = likeliest(shop, signatures)
    alone = [int(likeliest([shares[[each]] for shares in shop], signatures)[0]) for each in range(0, 4_500, 450)]
    assert together[::450].tolist() == alone


def test_of_two_equal_shares_the_second_is_not_the_dominant_one() -> None:
    shares = np.array([[0.5, 0.5, 0.0], [0.4, 0.2, 0.4], [0.2, 0.4, 0.4], [0.6, 0.4, 0.0], [0.0, 0.41, 0.59]])
    assert close_seconds([shares])[:, 0].tolist() == [1, 2, 2, NONE_CLOSE, 1]


def test_clarity_of_one_customer_alone_is_that_among_all_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    shop = [rng.dirichlet(np.ones(3), size=400) for _ in range(13)]
    together = mean_top_membership(shop)
    assert all(mean_top_membership([shares[[each]] for shares in shop])[0] == together[each] for each in range(400))
    assert together == pytest.approx(np.mean([shares.max(axis=1) for shares in shop], axis=0))


def test_bands_begin_at_their_limits() -> None:
    assert bands(np.array([0.49, 0.5, 0.69, 0.7, 1.0]), (0.5, 0.7)).tolist() == [2, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("standing", "nearest"),
    [([0, 1, 2], [0, 1, 2]), ([0, 2], [0, 0, 2]), ([1], [1, 1, 1]), ([1, 2], [1, 1, 2]), ([0], [0, 0, 0])],
)
def test_a_band_that_does_not_stand_joins_the_nearest(standing: list[int], nearest: list[int]) -> None:
    assert nearest_bands(np.array(standing)).tolist() == nearest


# Ids


def test_ids_are_six_digits_and_the_same_in_every_run() -> None:
    ids = archetype_ids([["seg_1", "seg_2"], ["seg_1", "seg_3"]])
    assert all(len(each) == len("arch_880996") and each.startswith("arch_") and each[5:].isdigit() for each in ids)
    assert archetype_ids([["seg_1", "seg_3"], ["seg_9"], ["seg_1", "seg_2"]])[::2] == ids[::-1]


def test_ids_that_clash_grow_until_they_differ() -> None:
    signatures = [[f"seg_{number}"] for number in range(40)]
    ids = archetype_ids(signatures, prefix="", least_digits=1)
    assert len(set(ids)) == 40
    assert min(map(len, ids)) >= 1 and max(map(len, ids)) >= 2  # ten digits cannot tell forty apart
    full = archetype_ids(signatures, prefix="", least_digits=20)
    assert all(long.startswith(short) for long, short in zip(full, ids, strict=True))


def test_a_hundred_thousand_signatures_have_ids_of_their_own() -> None:
    assert len(set(archetype_ids([[str(number)] for number in range(100_000)]))) == 100_000


def test_two_signatures_alike_are_refused_rather_than_waited_for() -> None:
    with pytest.raises(ValueError, match="all different"):
        archetype_ids([["seg_1"], ["seg_1"]])
