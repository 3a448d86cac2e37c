"""RFM scores by the shop's own fifths, and the ten groups."""

import json
from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.rfm import CELLS, FIFTHS, GROUPS, RfmScores, grid, rfm_quintiles, rfm_quintiles_from

FIVE = range(1, FIFTHS + 1)

customers = st.tuples(
    st.integers(0, 1_500), st.integers(1, 12), st.integers(-500, 50_000).map(lambda cents: cents / 100)
)
shops = st.lists(customers, min_size=1, max_size=200).map(lambda shop: np.array(shop, dtype=np.float64).T)


def scored(shop: Any) -> RfmScores:
    return rfm_quintiles(*shop).scores(*shop)


def columns(scores: RfmScores) -> Any:
    return np.array([scores.recency, scores.frequency, scores.monetary])


def test_every_pair_of_scores_lies_in_exactly_one_group() -> None:
    cells = Counter(cell for each in CELLS.values() for cell in product(each.recency, each.frequency))
    assert cells == dict.fromkeys(product(FIVE, FIVE), 1)
    assert set(CELLS) == set(GROUPS)


@pytest.mark.parametrize(
    ("recency", "frequency", "group"),
    [
        ("12", "12", "hibernating"),
        ("12", "34", "at_risk"),
        ("12", "5", "cant_lose_them"),
        ("3", "12", "about_to_sleep"),
        ("3", "3", "needs_attention"),
        ("34", "45", "loyal"),
        ("4", "1", "promising"),
        ("5", "1", "new_customers"),
        ("45", "23", "potential_loyalists"),
        ("5", "45", "champions"),
    ],
)
def test_scores_lead_to_the_groups_marketers_know(recency: str, frequency: str, group: str) -> None:
    r, f = np.array(list(product(map(int, recency), map(int, frequency)))).T
    assert {GROUPS[code].value for code in RfmScores(r, f, np.ones_like(r)).groups} == {group}


def test_each_group_says_its_scores_in_one_sentence() -> None:
    for group, cells in CELLS.items():
        assert cells.meaning.endswith(
            f": recency {' or '.join(map(str, cells.recency))}, frequency {' or '.join(map(str, cells.frequency))}."
        )
        assert cells.meaning.count(".") == 1, group
    assert len({cells.says for cells in CELLS.values()}) == len(CELLS)


def test_of_a_thousand_different_customers_each_score_takes_two_hundred() -> None:
    rng = np.random.default_rng(0)
    shop = np.array([rng.permutation(np.arange(1_000.0)) for _ in range(3)])
    for scores in columns(scored(shop)):
        assert np.bincount(scores).tolist() == [0, 200, 200, 200, 200, 200]


@given(shops)
def test_scores_are_1_to_5_and_follow_the_behaviour(shop: Any) -> None:
    for better, scores in zip((-shop[0], shop[1], shop[2]), columns(scored(shop)), strict=True):
        assert set(scores) <= set(FIVE)
        assert scores[better == better.min()].max() == 1
        order = np.argsort(better, kind="stable")
        steps, rises = np.diff(scores[order]), np.diff(better[order])
        assert (steps >= 0).all(), "who is better never scores less"
        assert (steps[rises == 0] == 0).all(), "equal customers share a score"


@given(shops)
def test_a_score_counts_the_whole_fifths_of_the_shop_that_are_worse(shop: Any) -> None:
    for better, scores in zip((-shop[0], shop[1], shop[2]), columns(scored(shop)), strict=True):
        n_worse = (better[:, None] > better).sum(axis=1)
        assert scores.tolist() == [1 + FIFTHS * n // len(better) for n in n_worse.tolist()]


@given(shops, st.sampled_from([0.25, 2.0, 1024.0]), st.randoms(use_true_random=False))
def test_neither_units_nor_the_order_of_customers_matter(shop: Any, factor: float, chance: Any) -> None:
    here = columns(scored(shop))
    assert (columns(scored(factor * shop)) == here).all()
    shuffled = list(range(shop.shape[1]))
    chance.shuffle(shuffled)
    assert (columns(scored(shop[:, shuffled])) == here[:, shuffled]).all()


@given(shops)
def test_one_customer_alone_scores_as_among_all_also_by_quintiles_from_storage(shop: Any) -> None:
    quintiles = rfm_quintiles(*shop)
    kept = rfm_quintiles_from(json.loads(json.dumps(quintiles.stored(), allow_nan=False)))
    among_all = quintiles.scores(*shop)
    for number in range(shop.shape[1]):
        alone = kept.scores(*shop[:, number : number + 1])
        assert (columns(alone)[:, 0] == columns(among_all)[:, number]).all()
        assert alone.groups[0] == among_all.groups[number]


def test_many_who_bought_once_score_1_and_leave_the_next_scores_empty() -> None:
    orders = np.repeat([1.0, 2.0, 3.0, 9.0], [70, 12, 8, 10])
    quintiles = rfm_quintiles(np.arange(100.0), orders, np.arange(100.0))
    assert quintiles.orders.tolist() == [1, 1, 1, 2]
    scores = quintiles.scores(np.arange(100.0), orders, np.arange(100.0)).frequency
    assert dict(zip(orders.tolist(), scores.tolist(), strict=True)) == {1.0: 1, 2.0: 4, 3.0: 5, 9.0: 5}


def test_where_all_are_alike_all_score_1() -> None:
    same = np.full((3, 40), 7.0)
    assert (columns(scored(same)) == 1).all()


@given(shops)
def test_the_grid_of_fifths_is_the_scores(shop: Any) -> None:
    scores = scored(shop)
    codes = grid(*shop, bins=(FIFTHS, FIFTHS, FIFTHS))
    assert codes.dtype == np.int64
    assert (codes == ((scores.recency - 1) * FIFTHS + scores.frequency - 1) * FIFTHS + scores.monetary - 1).all()


@given(shops, st.tuples(*[st.integers(1, 8)] * 3))
def test_a_grid_has_as_many_cells_as_its_bins_and_parts_customers_by_each(shop: Any, bins: Any) -> None:
    codes = grid(*shop, bins=bins)
    assert codes.shape == (shop.shape[1],)
    recency, frequency, monetary = np.unravel_index(codes, bins)  # raises beyond the last cell
    for number, own in enumerate((recency, frequency, monetary)):
        alone = grid(*shop, bins=tuple(n if each == number else 1 for each, n in enumerate(bins)))
        assert (alone == own).all()
