"""What groups tell of what comes after: noise tells nothing, the truth tells all, and names do not matter."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score, roc_auc_score

from app.domain.rfm import grid
from app.segmentation.axes import AXES, Need
from app.segmentation.discovery import Discovery, DiscoveryOptions, discover
from app.segmentation.membership import Array
from app.segmentation.usefulness import (
    DEALS,
    FOLDS,
    LEAST_SHARE,
    RFM_QUINTILES,
    Codes,
    Cut,
    Row,
    Score,
    Teller,
    auc,
    compare,
    deal,
    fingerprint,
    level1_in,
    r2,
    rfm_in,
    rows_of,
    tell,
    tell_by_groups,
    tell_by_line,
    tell_by_trees,
)

N = 2_000


def a_shop(seed: int = 0, n: int = N) -> tuple[Array, Array]:
    """What customers did: whether they bought, and ln(1 + spend)."""
    rng = np.random.default_rng(seed)
    bought = (rng.random(n) < 0.3).astype(np.float64)
    return bought, bought * rng.normal(4, 0.5, n)


def scored(tellers: dict[str, Teller], bought: Array, spend: Array) -> dict[str, Score]:
    """Of one day; the first is what the others are compared with."""
    names = [RFM_QUINTILES, *list(tellers)[1:]]
    told = tuple(tell(Row(name, 2, each), bought, spend) for name, each in zip(names, tellers.values(), strict=True))
    _, mean = compare([Cut(np.arange(len(bought)), bought, spend, told)])
    return dict(zip(tellers, mean, strict=True))


def score(teller: Teller, bought: Array, spend: Array) -> tuple[float, float]:
    (found,) = scored({"only": teller}, bought, spend).values()
    assert found.auc is not None and found.r2 is not None
    return found.auc, found.r2


@pytest.mark.parametrize("n_groups", [2, 50, 1_000])
def test_noise_tells_nothing_however_fine_it_is(n_groups: int) -> None:
    bought, spend = a_shop()
    noise = np.random.default_rng(1).integers(n_groups, size=N)
    area, told = score(partial(tell_by_groups, noise), bought, spend)
    # Below a half rather than above: without those told of, a group's mean leans the other way.
    assert 0.4 < area < 0.53
    assert told <= 0


@pytest.mark.parametrize("by", [tell_by_line, tell_by_trees])
def test_columns_of_noise_tell_nothing(by: Teller) -> None:
    bought, spend = a_shop()
    area, told = score(partial(by, np.random.default_rng(1).normal(size=(N, 5))), bought, spend)
    assert 0.4 < area < 0.53
    assert told <= 0


def test_the_truth_tells_all() -> None:
    bought, spend = a_shop()
    area, told = score(partial(tell_by_groups, bought.astype(np.int64)), bought, spend)
    assert area == 1.0
    assert told > 0.9
    for by in (tell_by_line, tell_by_trees):
        area, told = score(partial(by, np.stack([bought, spend], axis=1)), bought, spend)
        assert area > 0.999
        assert told > 0.99


def test_who_is_told_of_is_not_learnt_from() -> None:
    # Everyone a group of their own: nobody else is in it, so what is left is the mean of the others.
    bought, _ = a_shop(n=100)
    folds = deal(100, seed=0)
    told = tell_by_groups(np.arange(100), bought, folds)
    assert told.tolist() == [bought[folds != folds[who]].mean() for who in range(100)]


def test_a_group_is_told_by_its_mean_over_the_other_folds() -> None:
    target = np.array([1.0, 0, 1, 1, 0, 0])
    told = tell_by_groups(np.array([7, 7, 7, 7, 3, 3]), target, np.array([0, 1, 1, 2, 0, 0]))
    assert told == pytest.approx([2 / 3, 1, 1, 2 / 3, 2 / 3, 2 / 3])


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_what_groups_are_called_changes_nothing(seed: int) -> None:
    bought, _ = a_shop(seed, n=300)
    rng = np.random.default_rng(seed)
    groups = rng.integers(20, size=300)
    folds = deal(300, seed=seed)
    renamed = rng.permutation(20)[groups] * 10 - 7
    assert (tell_by_groups(renamed, bought, folds) == tell_by_groups(groups, bought, folds)).all()


def test_folds_are_of_equal_size_and_the_same_whenever_they_are_dealt() -> None:
    folds = deal(105, seed=3)
    assert sorted(np.bincount(folds)) == [10] * 5 + [11] * 5
    assert (folds == deal(105, seed=3)).all()
    assert (folds != deal(105, seed=4)).any()
    assert len(np.bincount(folds)) == FOLDS


@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(0, 3))
@settings(deadline=None)
def test_both_measures_are_those_of_scikit_learn_with_ties_and_weights(seed: int, n: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    bought = rng.permutation(np.arange(n) % 2).astype(np.float64)
    told = rng.random(n).round(decimals)
    spend = bought * rng.random(n)
    assert auc(bought, told)[0] == pytest.approx(roc_auc_score(bought, told))
    assert r2(spend, told)[0] == pytest.approx(r2_score(spend, told))
    weights = rng.integers(1, 4, size=(n, 3)).astype(np.float64)
    for column, found in enumerate(auc(bought, told, weights)):
        assert found == pytest.approx(roc_auc_score(bought, told, sample_weight=weights[:, column]))
    for column, found in enumerate(r2(spend, told, weights)):
        assert found == pytest.approx(r2_score(spend, told, sample_weight=weights[:, column]))


def test_a_row_differs_from_itself_by_nothing_and_its_interval_is_nothing_wide() -> None:
    bought, spend = a_shop()
    groups = np.random.default_rng(1).integers(9, size=N)
    found = scored({"one": partial(tell_by_groups, groups), "again": partial(tell_by_groups, groups)}, bought, spend)
    for row in found.values():
        for against in (row.auc_against, row.r2_against):
            assert against is not None
            assert (against.difference, against.low, against.high) == (0.0, 0.0, 0.0)


def test_an_interval_holds_its_difference_and_tells_truth_from_noise() -> None:
    bought, spend = a_shop()
    truth, noise = bought.astype(np.int64), np.random.default_rng(1).integers(9, size=N)
    found = scored({"noise": partial(tell_by_groups, noise), "truth": partial(tell_by_groups, truth)}, bought, spend)
    for against in (found["truth"].auc_against, found["truth"].r2_against):
        assert against is not None
        assert 0.3 < against.low <= against.difference <= against.high


@pytest.mark.parametrize("everyone", [0.0, 1.0])
def test_where_everyone_does_the_same_there_is_nothing_to_tell(everyone: float) -> None:
    bought = np.full(100, everyone)
    columns = np.random.default_rng(0).normal(size=(100, 3))
    for teller in (
        partial(tell_by_groups, np.arange(100) % 4),
        partial(tell_by_line, columns),
        partial(tell_by_trees, columns),
    ):
        found = scored({"only": teller}, bought, 3 * bought)["only"]
        assert (found.auc, found.auc_against, found.r2, found.r2_against) == (None, None, None, None)


def test_a_single_buyer_is_measured() -> None:
    bought = np.zeros(100)
    bought[7] = 1.0
    found = scored({"only": partial(tell_by_line, np.arange(100.0)[:, None])}, bought, 5 * bought)["only"]
    assert found.auc is not None and found.auc_against is not None


def test_the_mean_is_over_the_days_on_which_there_is_something_to_tell() -> None:
    bought, spend = a_shop()
    groups = np.random.default_rng(1).integers(9, size=N)
    row = Row(RFM_QUINTILES, 9, partial(tell_by_groups, groups))
    nobody = np.zeros(N)
    days = [Cut(np.arange(N), each, each * spend, (tell(row, each, each * spend),)) for each in (bought, nobody)]
    (first, second), mean = compare(days)
    assert (second[0].auc, second[0].r2) == (None, None)
    assert (mean[0].auc, mean[0].r2) == (first[0].auc, first[0].r2)


def test_a_customer_of_two_days_is_not_taken_for_two() -> None:
    # The same day twice says nothing new: the interval of the mean is that of the one.
    bought, spend = a_shop()
    rng = np.random.default_rng(1)
    rows = [Row(name, 9, partial(tell_by_groups, rng.integers(9, size=N))) for name in (RFM_QUINTILES, "other")]
    day = Cut(np.arange(N), bought, spend, tuple(tell(row, bought, spend) for row in rows))
    (once,), _ = compare([day])
    _, twice = compare([day, day])
    assert twice == once


# What is compared


@pytest.fixture(scope="module")
def values() -> dict[str, Array]:
    """A shop of 1,000 with two ways of coming and three of paying."""
    rng = np.random.default_rng(0)
    often, much = rng.integers(2, size=1_000), rng.integers(3, size=1_000)
    orders = 1.0 + often * rng.integers(8, 12, size=1_000)
    value = orders * np.exp(1 + 2 * much + rng.normal(0, 0.1, 1_000))
    return {
        **{name: np.zeros(1_000) for axis in AXES for name in (feature.name for feature in axis.features)},
        "total_purchases": orders,
        "total_orders": orders,
        "orders_per_month": orders * rng.uniform(0.9, 1.1, 1_000),
        "lifetime_value": value,
        "avg_order_value": value / orders,
        "recency_days": rng.integers(0, 400, size=1_000).astype(np.float64),
    }


@pytest.fixture(scope="module")
def found(values: dict[str, Array]) -> Discovery:
    axes = [axis for axis in AXES if axis.name in ("purchase_frequency", "purchase_value")]
    return discover("shop", values, axes, available=frozenset({Need.orders}), options=DiscoveryOptions())


def groups_of(rows: list[Row]) -> dict[str, Codes]:
    return {row.name: row.tell.args[0] for row in rows if isinstance(row.tell, partial) and row.n_groups is not None}


def test_what_is_compared_is_what_is_served(found: Discovery, values: dict[str, Array]) -> None:
    groups = groups_of(rows_of(found, values))
    for level in (1, 2, 3):
        assert (groups[f"archetypes_l{level}"] == getattr(found.archetypes, f"level{level}")).all()
    rfm = (values["recency_days"], values["total_orders"], values["lifetime_value"])
    assert (groups[RFM_QUINTILES] == grid(*rfm, bins=(5, 5, 5))).all()


def test_either_is_also_as_fine_as_the_other(found: Discovery, values: dict[str, Array]) -> None:
    sizes = {name: len(np.unique(groups)) for name, groups in groups_of(rows_of(found, values)).items()}
    assert sizes["rfm_as_many"] == sizes["archetypes_l1"]
    assert len(np.unique(level1_in(2, found))) == 2
    assert len(np.unique(level1_in(10**6, found))) >= sizes["archetypes_l1"]


def test_a_grid_of_as_many_cells_as_quintiles_have_is_that_of_quintiles() -> None:
    recency, orders, value = np.random.default_rng(0).random((3, 5_000))
    assert (rfm_in(125, recency, orders, value) == grid(recency, orders, value, bins=(5, 5, 5))).all()


def test_the_fingerprint_is_shares_and_log_odds_without_the_last() -> None:
    found = fingerprint([np.array([[0.2, 0.3, 0.5]]), np.array([[1.0, 0.0]])], n_customers=1)
    expected = [0.2, 0.3, np.log(0.2 / 0.5), np.log(0.3 / 0.5), 1.0, np.log(1 / LEAST_SHARE)]
    assert found.tolist() == [pytest.approx(expected)]
    assert fingerprint([], n_customers=4).shape == (4, 0)


def test_a_shop_without_structure_is_told_by_its_mean() -> None:
    bought, _ = a_shop(n=100)
    folds = deal(100, seed=0)
    told = tell_by_line(np.empty((100, 0)), bought, folds)
    assert (told == tell_by_groups(np.zeros(100, dtype=np.int64), bought, folds)).all()


def test_each_deal_of_folds_is_told_anew() -> None:
    bought, spend = a_shop()
    told = tell(Row("any", 9, partial(tell_by_groups, np.arange(N) % 9)), bought, spend)
    assert told.bought.shape == told.spend.shape == (DEALS, N)
    assert (told.bought[0] != told.bought[1]).any()
