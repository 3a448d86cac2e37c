"""Kinds of customer: who is of which, on three levels, and what they are called by."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.segmentation.archetypes import (
    ANY,
    FOLLOWING_TIMES,
    NONE_CLOSE,
    STAYS,
    Archetypes,
    Codes,
    archetype_ids,
    bands,
    close_seconds,
    defining,
    find_archetypes,
    least_members,
    mean_top_membership,
    nearest_bands,
    place,
)
from app.segmentation.membership import Array


def small_shop() -> list[Array]:
    """Eight customers on two axes of two segments: four of kind (0, 0), three of (1, 1), and one of (0, 1)."""
    first = [[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 3 + [[0.55, 0.45]]
    second = [[0.8, 0.2]] * 4 + [[0.45, 0.55]] * 3 + [[0.3, 0.7]]
    return [np.array(first), np.array(second)]


def test_a_shop_worked_out_by_hand() -> None:
    found = find_archetypes(small_shop(), min_members=3)

    # The first axis splits five from three. Among the five one is of the second axis's other segment, among the three
    # nobody is of its first: neither is split again, and what the eighth customer does on the second axis says nothing.
    assert found.least == 3 and found.order == (0, 1)
    assert found.signatures.tolist() == [[0, ANY], [1, ANY]]
    assert found.level1.tolist() == [0, 0, 0, 0, 1, 1, 1, 0]
    assert found.fold_distance.tolist() == [0] * 8 and (found.fold_distance == 0).mean() == 1.0

    # Clarity is .85, .675 and, for the eighth, .625: core, typical and edge. One edge is too thin and joins the core,
    # the only band of its archetype that stands.
    assert found.band_limits == pytest.approx((0.675, 0.85))
    assert found.level2.tolist() == [0, 0, 0, 0, 1, 1, 1, 0]
    assert found.level2_of.tolist() == [[0, 0], [1, 1]]

    # The three are close to segment 0 of the second axis, which has no part in what they are. The eighth is close to
    # segment 1 of the first, and too alone to stand.
    assert found.level3.tolist() == [0, 0, 0, 0, 1, 1, 1, 0]
    assert found.level3_of.tolist() == [0, 1]
    assert found.seconds.tolist() == [[NONE_CLOSE, NONE_CLOSE], [NONE_CLOSE, NONE_CLOSE]]


def test_who_is_in_a_thin_segment_goes_with_the_standing_one_they_belong_to_most() -> None:
    shares = np.array([[0.8, 0.1, 0.1]] * 4 + [[0.1, 0.1, 0.8]] * 5 + [[0.3, 0.5, 0.2], [0.1, 0.6, 0.3]])
    found = find_archetypes([shares], min_members=3)
    assert found.signatures.tolist() == [[2], [0]]
    assert found.level1.tolist() == [1] * 4 + [0] * 5 + [1, 0]
    assert found.fold_distance.tolist() == [0] * 9 + [1, 1] and (found.fold_distance == 0).mean() == 9 / 11


def test_folded_customers_do_not_lean_to_the_archetype_they_were_folded_into() -> None:
    # Two pairs in thin segments, whose close second is segment 0: what their archetype is already.
    first = (
        [[0.8, 0.1, 0.1, 0.0]] * 5 + [[0.1, 0.0, 0.1, 0.8]] * 3 + [[0.4, 0.5, 0.1, 0]] * 2 + [[0.4, 0.1, 0.5, 0]] * 2
    )
    found = find_archetypes([np.array(first)], min_members=3)
    assert found.signatures.tolist() == [[0], [3]]
    assert found.level1.tolist() == [0] * 5 + [1] * 3 + [0] * 4
    assert found.seconds.tolist() == [[NONE_CLOSE], [NONE_CLOSE]]


def test_where_every_segment_may_stand_nobody_is_folded() -> None:
    found = find_archetypes(small_shop(), min_members=1)
    assert found.signatures.tolist() == [[0, 0], [1, ANY], [0, 1]]  # the most common first
    assert found.level1.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert found.fold_distance.tolist() == [0] * 8 and (found.fold_distance == 0).mean() == 1.0


def test_a_kind_is_told_apart_on_as_many_axes_as_it_has_customers_for() -> None:
    """Of two thirds the second axis tells two kinds; of the rest nine in ten are of one, and it has no part in them."""
    first = np.repeat([[0.9, 0.1], [0.1, 0.9]], [60, 30], axis=0)
    second = np.concatenate(
        [np.repeat([[0.9, 0.1], [0.1, 0.9]], [30, 30], axis=0), [[0.9, 0.1]] * 27, [[0.1, 0.9]] * 3]
    )
    found = find_archetypes([first, second], min_members=5)
    assert sorted(found.signatures.tolist()) == [[0, 0], [0, 1], [1, ANY]]
    # Who differs from most on an axis that defines their kind no more than theirs is no further from it.
    assert found.fold_distance.tolist() == [0] * 90


@pytest.mark.parametrize(("n_customers", "least"), [(1, 5), (100, 5), (400, 7), (4_338, 22), (10_000, 33)])
def test_a_larger_shop_has_larger_kinds_and_no_shop_smaller_ones_than_asked_for(n_customers: int, least: int) -> None:
    assert least_members(n_customers, at_least=5) == least


def two_axes_that_agree_on_nothing(n_each: int) -> list[Array]:
    """Four equal kinds: every pair of segments of two axes."""
    sides = np.array([[0.9, 0.1], [0.1, 0.9]])
    return [sides[np.repeat([0, 0, 1, 1], n_each)], sides[np.tile(np.repeat([0, 1], n_each), 2)]]


@pytest.mark.parametrize(("n_each", "n_kinds"), [(5 * FOLLOWING_TIMES - 1, 2), (5 * FOLLOWING_TIMES, 4)])
def test_an_axis_that_follows_splits_only_kinds_of_several_times_the_customers(n_each: int, n_kinds: int) -> None:
    shop = two_axes_that_agree_on_nothing(n_each)
    assert len(find_archetypes(shop, min_members=5).signatures) == 4
    assert len(find_archetypes(shop, min_members=5, leading=1).signatures) == n_kinds


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_axis_that_leads_splits_first(order: tuple[int, int]) -> None:
    found = find_archetypes(two_axes_that_agree_on_nothing(9), min_members=5, order=order, leading=1)
    assert found.order == order
    assert (found.signatures[:, order[0]] != ANY).all() and (found.signatures[:, order[1]] == ANY).all()


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


def own_segments(shop: list[Array]) -> Codes:
    return np.stack([shares.argmax(axis=1) for shares in shop], axis=1)


@given(shop=shops, min_members=st.integers(1, 12), data=st.data())
@settings(deadline=None)
def test_what_holds_of_any_shop(shop: list[Array], min_members: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shop))))
    leading = data.draw(st.integers(0, len(shop)))
    found = find_archetypes(shop, min_members=min_members, order=order, leading=leading)
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

    # No archetype has fewer members than the least, unless it is everyone; the most common come first.
    of_parent = sizes(found.level1)
    assert found.least == least_members(n_customers, at_least=min_members) >= min_members
    assert len(of_parent) == 1 or of_parent.min() >= found.least
    assert of_parent.tolist() == sorted(of_parent, reverse=True)
    assert (sizes(found.level2) >= np.minimum(min_members, of_parent[found.level2_of[:, 0]])).all()
    assert (sizes(found.level3) >= np.minimum(min_members, of_parent[found.level3_of])).all()

    # Each group of a level is another thing.
    for rows in (found.signatures, found.level2_of, np.column_stack([found.level3_of, found.seconds])):
        assert len(np.unique(rows, axis=0)) == len(rows)

    # Nothing leans to what it is, nor on an axis that has no part in what it is.
    theirs = found.signatures[found.level3_of]
    leans = found.seconds != NONE_CLOSE
    assert not (leans & ((found.seconds == theirs) | (theirs == ANY))).any()

    # Only the axes that define a customer's kind count for how far they are from it.
    theirs, own = found.signatures[found.level1], own_segments(shop)
    assert np.array_equal(found.fold_distance, ((theirs != ANY) & (theirs != own)).sum(axis=1))
    assert (found.fold_distance == 0).mean() == pytest.approx((found.fold_distance == 0).mean())


@given(shop=shops, min_members=st.integers(1, 12), data=st.data())
@settings(deadline=None)
def test_every_kind_is_split_by_the_next_axis_exactly_where_two_of_its_segments_hold_enough(
    shop: list[Array], min_members: int, data: st.DataObject
) -> None:
    """The rule, told of the groups that came out: those alike on the axes up to one were a kind before it."""
    order = data.draw(st.permutations(range(len(shop))))
    leading = data.draw(st.integers(0, len(shop)))
    found = find_archetypes(shop, min_members=min_members, order=order, leading=leading)
    theirs, own = found.signatures[found.level1], own_segments(shop)
    for depth, axis in enumerate(order):
        least = found.least if depth < leading else FOLLOWING_TIMES * found.least
        before = theirs[:, order[:depth]]
        for kind in np.unique(before, axis=0):
            members = np.flatnonzero((before == kind).all(axis=1))
            counts = np.bincount(own[members, axis], minlength=shop[axis].shape[1])
            standing = np.flatnonzero(counts >= least)
            if len(standing) < 2:
                assert set(theirs[members, axis]) == {ANY}
                continue
            assert set(theirs[members, axis]) == set(standing)
            shares = shop[axis][members]
            # With the one of those that they belong to most.
            assert (shares[np.arange(len(members)), theirs[members, axis]] == shares[:, standing].max(axis=1)).all()


@given(shop=shops, min_members=st.integers(1, 12), data=st.data())
@settings(deadline=None)
def test_placing_finds_everyone_where_the_splits_put_them(
    shop: list[Array], min_members: int, data: st.DataObject
) -> None:
    """All at once, one by one, and whatever the order the archetypes are kept in."""
    order = data.draw(st.permutations(range(len(shop))))
    found = find_archetypes(shop, min_members=min_members, order=order, leading=data.draw(st.integers(0, len(shop))))
    assert np.array_equal(place(shop, found.signatures, order), found.level1)
    alone = [
        int(place([shares[[each]] for shares in shop], found.signatures, order)[0]) for each in range(len(shop[0]))
    ]
    assert alone == found.level1.tolist()
    kept = np.array(data.draw(st.permutations(range(len(found.signatures)))))
    assert np.array_equal(kept[place(shop, found.signatures[kept], order)], found.level1)


@given(shop=shops, min_members=st.integers(1, 12))
@settings(deadline=None)
def test_anyone_at_all_can_be_placed(shop: list[Array], min_members: int) -> None:
    """Whoever was not there when the splits were made, too: a member of any segment, on any axis."""
    found = find_archetypes(shop, min_members=min_members)
    strangers = random_shop(1, 50, [shares.shape[1] for shares in shop])
    placed = place(strangers, found.signatures, found.order)
    assert placed.shape == (50,) and placed.min() >= 0 and placed.max() < len(found.signatures)


@given(shop=shops, min_members=st.integers(1, 12), data=st.data())
@settings(deadline=None, max_examples=40)
def test_how_segments_are_numbered_changes_nothing_but_the_numbers(
    shop: list[Array], min_members: int, data: st.DataObject
) -> None:
    # Of segments that somebody belongs to in equal parts the first is theirs, so that ties depend on the numbering.
    rng = np.random.default_rng(0)
    shop = [shares + rng.uniform(0, 1e-6, shares.shape) for shares in shop]
    numbered = [np.array(data.draw(st.permutations(range(shares.shape[1])))) for shares in shop]
    one = find_archetypes(shop, min_members=min_members)
    other = find_archetypes(
        [shares[:, places] for shares, places in zip(shop, numbered, strict=True)], min_members=min_members
    )
    back = other.signatures.copy()
    for axis, places in enumerate(numbered):
        defined = back[:, axis] != ANY
        back[defined, axis] = places[back[defined, axis]]
    assert np.array_equal(back[other.level1], one.signatures[one.level1])
    assert np.array_equal(other.fold_distance, one.fold_distance)
    assert np.array_equal(other.level2_of[other.level2, 1], one.level2_of[one.level2, 1])
    for mine, others in ((one.level1, other.level1), (one.level3, other.level3)):
        pairs = set(zip(mine.tolist(), others.tolist(), strict=True))
        assert len(pairs) == len(set(mine.tolist())) == len(set(others.tolist()))


@given(shop=shops, min_members=st.integers(1, 12))
@settings(deadline=None)
def test_what_enough_members_of_a_kind_lean_to_is_a_form_of_it(shop: list[Array], min_members: int) -> None:
    found = find_archetypes(shop, min_members=min_members)
    theirs = found.signatures[found.level1]
    leans = defining(close_seconds(shop), theirs)
    forms = np.column_stack([found.level1, leans])
    _, form, counts = np.unique(forms, axis=0, return_inverse=True, return_counts=True)
    to_itself = ((leans != NONE_CLOSE) & (leans == theirs)).any(axis=1)
    own = (counts[form.ravel()] >= min_members) & ~to_itself
    assert np.array_equal(found.seconds[found.level3[own]], leans[own])


@given(shop=shops, min_members=st.integers(1, 12), data=st.data())
@settings(deadline=None, max_examples=40)
def test_kinds_that_are_served_are_found_again_in_the_same_shop(
    shop: list[Array], min_members: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(shop))))
    leading = data.draw(st.integers(0, len(shop)))
    found = find_archetypes(shop, min_members=min_members, order=order, leading=leading)
    again = find_archetypes(shop, min_members=min_members, order=order, leading=leading, served=found.signatures)
    for field in fields(Archetypes):
        assert np.array_equal(getattr(found, field.name), getattr(again, field.name))


@given(shop=shops, min_members=st.integers(1, 12), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=60)
def test_whatever_is_served_no_kind_has_fewer_members_than_asked_for(
    shop: list[Array], min_members: int, seed: int
) -> None:
    other = random_shop(seed, 200, [shares.shape[1] for shares in shop])
    served = find_archetypes(other, min_members=1).signatures
    found = find_archetypes(shop, min_members=min_members, served=served)
    members = sizes(found.level1)
    assert len(members) == 1 or members.min() >= max(min_members, STAYS * found.least)
    assert np.array_equal(place(shop, found.signatures, found.order), found.level1)


@pytest.mark.parametrize(
    ("n_second", "is_served", "n_kinds"),
    [(30, False, 2), (29, False, 1), (18, True, 2), (17, True, 1), (44, None, 1), (45, None, 2)],
)
def test_a_kind_comes_with_more_members_than_it_stays_with(n_second: int, is_served: bool | None, n_kinds: int) -> None:
    """Of 8,100 customers a kind takes 30: 45 where it is new beside one that is served, and 18 to stay."""
    shares = np.repeat([[0.9, 0.1], [0.1, 0.9]], [8_100 - n_second, n_second], axis=0)
    served = {True: np.array([[0], [1]]), False: None, None: np.array([[ANY]])}[is_served]
    found = find_archetypes([shares], min_members=5, served=served)
    assert found.least == 30 and len(found.signatures) == n_kinds


@given(shop=shops, min_members=st.integers(1, 12))
@settings(deadline=None, max_examples=20)
def test_the_same_shop_gives_the_same_kinds(shop: list[Array], min_members: int) -> None:
    one, other = (find_archetypes(shop, min_members=min_members) for _ in range(2))
    for field in fields(Archetypes):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


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
    assert found.fold_distance.tolist() == [0] * n_customers and (found.fold_distance == 0).mean() == 1.0


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


def test_where_no_two_segments_hold_enough_everyone_is_of_one_kind() -> None:
    shares = np.array([[0.8, 0.1, 0.1]] * 2 + [[0.1, 0.8, 0.1]] * 2 + [[0.1, 0.2, 0.7]])
    found = find_archetypes([shares], min_members=50)
    assert found.signatures.tolist() == [[ANY]]
    assert_one_kind(found, 5)


def test_without_an_axis_there_is_nothing_to_find() -> None:
    with pytest.raises(ValueError, match="at least one axis"):
        find_archetypes([], min_members=5)


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


@given(
    signatures=st.lists(st.lists(st.sampled_from("abcd"), max_size=3), min_size=1, max_size=30, unique_by=tuple),
    least_digits=st.integers(1, 6),
    data=st.data(),
)
def test_an_id_is_nobody_elses_and_that_of_its_signature(
    signatures: list[list[str]], least_digits: int, data: st.DataObject
) -> None:
    ids = archetype_ids(signatures, least_digits=least_digits)
    assert len(set(ids)) == len(ids)
    # Whatever stands beside it, as long as no other begins with the same digits.
    order = data.draw(st.permutations(range(len(signatures))))
    assert archetype_ids([signatures[each] for each in order], least_digits=least_digits) == [ids[n] for n in order]

    taken = set(data.draw(st.lists(st.sampled_from(ids))))
    others = archetype_ids(signatures, least_digits=least_digits, taken=taken)
    assert not taken & set(others) and len(set(others)) == len(others)
    for own, other in zip(ids, others, strict=True):
        assert other.startswith(own)
