"""One axis: scaling, the choice of k, and whether there is anything to see."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, silhouette_score

from app.core.errors import InvalidInput
from app.segmentation import clustering
from app.segmentation.clustering import (
    MANY,
    MIN_SHARE,
    NULL_MARGIN,
    REFITS,
    REFITS_OF_MANY,
    STABLE,
    TIE,
    FittedAxis,
    KRange,
    Scaler,
    Stability,
    Transform,
    TriedK,
    adjusted_rand,
    fit_axis,
    fit_scaler,
    fitted_axis,
    nearest,
    shared,
    silhouettes,
)
from app.segmentation.membership import Array, Kernel

PLAIN: tuple[Transform, ...] = ("none", "none", "none", "none")


def fit(
    values: Array,
    k_range: KRange = KRange(2, 6),
    *,
    robust: bool = True,
    kernel: Kernel = "exponential",
    sample_size: int | None = None,
    seed: int = 0,
    served: FittedAxis | None = None,
) -> FittedAxis:
    """An axis of features without a logarithm."""
    width = values.shape[1]
    return fit_axis(
        "axis",
        tuple("abcd"[:width]),
        PLAIN[:width],
        values,
        k_range=k_range,
        robust=robust,
        kernel=kernel,
        sample_size=sample_size,
        seed=seed,
        served=served,
    )


def planted(k: int, *, each: int = 80, seed: int = 0) -> tuple[Array, np.ndarray]:
    """k far groups on a circle, and who is of which."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(k), each)
    # Turned, so that both features tell the groups apart; one of mere noise would weigh as much once scaled.
    angle = 0.6 + 2 * np.pi * truth / k
    return np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.08, (len(truth), 2)), truth


def same_groups(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


# Scaling


def test_the_documents_worked_value_is_standardised_with_the_populations_mean_and_spread() -> None:
    scaler = fit_scaler(np.array([[25.0], [65.0]]), ("none",), robust=False)
    assert (scaler.mean.item(), scaler.scale.item()) == (45.0, 20.0)
    assert scaler.apply(np.array([[15.3]])).item() == pytest.approx(-1.485, abs=1e-12)


@pytest.mark.parametrize("n", [40, 100, 101, 150, 1_000])
def test_one_outlier_of_a_million_million_neither_stretches_the_scale_nor_is_a_cluster(n: int) -> None:
    values = np.random.default_rng(n).normal(10, 2, size=(n, 1))
    wild = values.copy()
    wild[n // 2] = 1e12
    scaler = fit_scaler(wild, ("none",), robust=True)
    assert scaler.scale.item() == pytest.approx(fit_scaler(values, ("none",), robust=True).scale.item(), rel=0.2)
    assert abs(scaler.apply(np.array([[1e12], [-1e12]]))).max() < 4
    fitted = fit(wild)
    sizes = np.bincount(fitted.memberships(wild).argmax(axis=1), minlength=fitted.n_segments)
    assert sizes.min() >= MIN_SHARE * n


def test_without_robust_scaling_an_outlier_counts_as_it_is() -> None:
    values = np.array([[0.0]] * 99 + [[100.0]])
    scaler = fit_scaler(values, ("none",), robust=False)
    assert scaler.apply(values).max() == pytest.approx((100 - values.mean()) / values.std())
    assert np.isinf(scaler.low).all() and np.isinf(scaler.high).all()


@pytest.mark.parametrize("robust", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e15, -1e-9])
def test_a_constant_feature_has_unit_scale(robust: bool, value: float) -> None:
    values = np.full((1_000, 1), value)
    scaler = fit_scaler(values, ("none",), robust=robust)
    assert scaler.scale.item() == 1.0
    assert abs(scaler.apply(values)).max() <= 1e-15 * abs(value) * 1_000


def test_a_negative_value_of_a_logarithmic_feature_counts_as_0() -> None:
    scaler = fit_scaler(np.array([[0.0], [10.0]]), ("log1p",), robust=False)
    assert scaler.apply(np.array([[-5.0]])) == scaler.apply(np.array([[0.0]]))


# Silhouettes


@given(data=st.data())
@settings(deadline=None)
def test_silhouettes_are_those_of_scikit_learn_with_duplicates_and_clusters_of_one(data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 40))
    coordinate = st.one_of(st.integers(0, 3).map(float), st.floats(-10, 10))
    points = np.array(data.draw(st.lists(st.tuples(coordinate, coordinate), min_size=n, max_size=n)))
    labels = np.array(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    n_clusters = len(set(labels.tolist()))
    (found,) = silhouettes(points, [labels])
    if n_clusters == 1:
        assert found == 0.0
    elif n_clusters == n:
        assert found == 0.0  # each alone; scikit-learn refuses
    else:
        expected = silhouette_score(cdist(points, points), labels, metric="precomputed")
        assert found == pytest.approx(expected, abs=1e-9)


def test_several_labelings_at_once_score_as_each_alone_over_more_rows_than_a_block() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(1_300, 3))
    labelings = [rng.integers(0, k, 1_300) for k in (2, 5, 3)] + [np.zeros(1_300, dtype=np.int64)]
    together = silhouettes(points, labelings)
    assert together == pytest.approx([silhouettes(points, [labels])[0] for labels in labelings], abs=1e-12)
    assert together[0] == pytest.approx(silhouette_score(points, labelings[0]), abs=1e-9)


def test_a_cluster_without_a_point_in_the_sample_does_not_count() -> None:
    points = np.array([[0.0], [0.1], [5.0], [5.2]])
    without, gapped = silhouettes(points, [np.array([0, 0, 1, 1]), np.array([0, 0, 3, 3])])
    assert without == gapped


# The choice of k


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("robust", [True, False])
def test_planted_groups_are_found(k: int, robust: bool) -> None:
    values, truth = planted(k)
    fitted = fit(values, robust=robust)
    assert fitted.has_structure and fitted.n_segments == k
    assert same_groups(fitted.memberships(values).argmax(axis=1), truth)
    assert fitted.smallest_share == pytest.approx(1 / k)
    assert fitted.silhouette is not None and fitted.null_silhouette is not None
    assert fitted.silhouette >= fitted.null_silhouette + 0.05


def uneven(seed: int) -> Array:
    """Five groups, one of 2 %, at places and distances of chance."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(5), [9, 60, 90, 120, 121])
    return rng.uniform(-3, 3, (5, 2))[group] + rng.normal(0, 0.5, (400, 2))


@pytest.mark.parametrize("seed", range(8))
def test_k_is_the_finest_of_those_that_beat_their_cloud_by_most(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "STABLE", 0.0)  # so that none is passed over for not coming back
    fitted = fit(uneven(seed), robust=False)
    assert [each.k for each in fitted.tried] == [2, 3, 4, 5, 6]
    real = [each for each in fitted.tried if each.smallest_share >= MIN_SHARE and each.excess >= NULL_MARGIN]
    assert fitted.has_structure == bool(real)
    if real:
        best = max(each.excess for each in real)
        chosen = max((each for each in real if each.excess >= best - TIE), key=lambda each: each.k)
        assert fitted.n_segments == chosen.k
        assert (fitted.silhouette, fitted.null_silhouette) == (chosen.silhouette, chosen.null_silhouette)


def test_a_k_that_does_not_come_back_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    values, _ = planted(4)
    kept = {4: 0.5, 3: 0.95}

    def stability(_values: Array, _scaler: Scaler, centers: Array, *_: object, **__: object) -> Stability:
        return Stability(adjusted_rand=0.5, kept=kept.get(len(centers), 0.1), refits=1)

    monkeypatch.setattr(clustering, "_stability", stability)
    assert fit(values, KRange(3, 4)).n_segments == 3
    kept[3] = 0.6
    assert fit(values, KRange(3, 4)).n_segments == 3, "where none comes back, the one that comes back for most"
    kept[3] = 0.4
    assert fit(values, KRange(3, 4)).n_segments == 4


def tried(k: int, excess: float, share: float = 0.2) -> TriedK:
    return TriedK(k, silhouette=0.3 + excess, null_silhouette=0.3, smallest_share=share)


@pytest.mark.parametrize(
    ("excesses", "served", "order"),
    [
        ({2: 0.1, 3: 0.2, 4: 0.15}, None, [3, 4, 2]),
        ({2: 0.1, 3: 0.2, 4: 0.195}, None, [4, 3, 2]),
        ({2: 0.1, 3: 0.2, 4: 0.185}, None, [3, 4, 2]),
        ({2: 0.04, 3: 0.2}, None, [3]),
        ({2: 0.04, 3: 0.049}, None, []),
        ({2: 0.155, 3: 0.25}, 2, [2, 3]),
        ({2: 0.145, 3: 0.25}, 2, [3, 2]),
        ({2: 0.1, 3: 0.2}, 5, [3, 2]),
    ],
    ids=[
        "the best first",
        "the finest that ties",
        "no tie",
        "no structure left out",
        "none",
        "stays",
        "goes",
        "gone",
    ],
)
def test_k_are_looked_at_in_order_of_their_excess(
    excesses: dict[int, float], served: int | None, order: list[int]
) -> None:
    found = clustering._by_merit([tried(k, excess) for k, excess in excesses.items()], served)
    assert [each.k for each in found] == order


def test_a_k_with_a_segment_below_3_percent_is_not_looked_at() -> None:
    found = [tried(2, 0.1), tried(3, 0.5, share=0.029)]
    assert [each.k for each in clustering._by_merit(found, None)] == [2]


def test_a_k_that_is_served_stands_down_to_2_percent() -> None:
    found = [tried(2, 0.1), tried(3, 0.5, share=0.021), tried(4, 0.6, share=0.029)]
    assert [each.k for each in clustering._by_merit(found, 3)] == [3, 2]
    assert [each.k for each in clustering._by_merit([tried(2, 0.1), tried(3, 0.5, share=0.019)], 3)] == [2]


# Whether they come back


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=2, max_size=60))
def test_the_adjusted_rand_index_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs).T
    assert adjusted_rand(shared(one, other, 4, 6)) == pytest.approx(adjusted_rand_score(one, other), abs=1e-9)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_planted_groups_come_back_in_refits_on_resamples(k: int) -> None:
    fitted = fit(planted(k)[0])
    assert fitted.stability is not None
    assert fitted.stability.adjusted_rand > 0.95 and fitted.stability.kept > 0.98
    assert fitted.stability.refits == REFITS


def test_the_cuts_of_a_cloud_do_not_come_back_as_groups_do() -> None:
    values = np.random.default_rng(4).normal(size=(600, 3))
    scaler = fit_scaler(values, PLAIN[:3], robust=True)
    cut = clustering._kmeans_centers(scaler.apply(values), 5, seed=0)
    found = clustering._stability(
        values, scaler, cut, PLAIN[:3], robust=True, sample_size=None, rng=np.random.default_rng(1)
    )
    assert found.adjusted_rand < 0.7 and found.kept < STABLE


def test_one_segment_has_no_stability() -> None:
    assert fit(one_cloud("round", np.random.default_rng(0))).stability is None


# A segmentation after another


@pytest.mark.parametrize("data", range(3))
def test_the_same_values_from_another_seed_come_to_the_same_centers_as_are_served(data: int) -> None:
    values = uneven(data)
    served = fit(values)
    assert served.has_structure
    for seed in (1, 2):
        again = fit(values, seed=seed, served=served)
        assert again.centers == pytest.approx(served.centers, abs=1e-6)


def test_an_axis_served_with_other_features_is_no_start() -> None:
    values = planted(3)[0]
    other = replace(fit(values), features=("x", "y"))
    assert np.array_equal(fit(values, served=other).centers, fit(values).centers)


def one_cloud(shape: str, rng: np.random.Generator) -> Array:
    cloud = rng.normal(size=(600, 2))
    if shape == "elongated":
        return cloud * [8.0, 1.0] @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    return cloud


@pytest.mark.parametrize("shape", ["round", "elongated"])
@pytest.mark.parametrize("seed", range(2))
def test_one_cloud_is_one_segment_without_structure(shape: str, seed: int) -> None:
    values = one_cloud(shape, np.random.default_rng(seed))
    fitted = fit(values)
    assert not fitted.has_structure and fitted.n_segments == 1
    assert fitted.silhouette is not None and fitted.null_silhouette is not None
    assert fitted.memberships(values).tolist() == [[1.0]] * len(values)


def alone(fitted: FittedAxis, values: Array) -> bool:
    """Whether the axis is one segment because nothing could be tried, and every customer has a place in it."""
    return (
        not fitted.has_structure
        and fitted.n_segments == 1
        and fitted.silhouette is None
        and fitted.null_silhouette is None
        and fitted.smallest_share == 1.0
        and fitted.memberships(values).tolist() == [[1.0]] * len(values)
    )


def test_where_no_k_keeps_3_percent_there_is_one_segment() -> None:
    values = np.array([[0.0, 0.0]] * 98 + [[50.0, 50.0], [50.0, 50.0]])
    assert alone(fit(values, robust=False), values)


@pytest.mark.parametrize("robust", [True, False])
@pytest.mark.parametrize("n", [1, 2, 5, 300])
def test_customers_who_are_all_alike_are_one_segment(n: int, robust: bool) -> None:
    values = np.full((n, 3), 0.1)
    assert alone(fit(values, robust=robust), values)


def test_rounding_noise_is_no_structure() -> None:
    values = np.array([[0.1 + 0.2], [0.3]] * 150)
    assert values[0] != values[1]
    assert alone(fit(values), values)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_fewer_customers_than_clusters_asked_for_still_have_a_place(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(n, 2))
    memberships = fit(values, KRange(2, 20)).memberships(values)
    assert np.abs(memberships.sum(axis=1) - 1).max() < 1e-12
    assert alone(fit(values, KRange(8, 20)), values)


def test_more_clusters_are_tried_than_there_are_distinct_customers_without_a_warning() -> None:
    values = np.repeat([[0.0, 0.0], [0.0, 1.0], [4.0, 2.0]], 50, axis=0)
    fitted = fit(values, KRange(2, 6))
    assert fitted.has_structure and fitted.n_segments == 3


def test_a_small_sample_may_lack_a_group_without_a_warning() -> None:
    values = np.repeat([[0.0], [1.0], [2.0]], [400, 400, 30], axis=0)
    assert fit(values, KRange(2, 6), sample_size=6).memberships(values).shape[0] == 830


@pytest.mark.parametrize(("smallest", "largest"), [(3, 3), (4, 4), (3, 4)])
def test_given_limits_of_k_are_kept(smallest: int, largest: int) -> None:
    values, _ = planted(2)
    fitted = fit(values, KRange(smallest, largest))
    assert fitted.silhouette is not None
    assert not fitted.has_structure or smallest <= fitted.n_segments <= largest
    assert fit(planted(3)[0], KRange(3, 3)).n_segments == 3


@pytest.mark.parametrize(
    ("n_customers", "largest"),
    [(1, 2), (100, 2), (449, 2), (450, 3), (800, 4), (1_250, 5), (1_800, 6), (93_564, 6)],
)
def test_the_largest_k_tried_grows_with_the_shop_and_stays_within_2_and_6(n_customers: int, largest: int) -> None:
    assert list(KRange().candidates(n_customers)) == list(range(2, largest + 1))
    assert list(KRange(dynamic=False).candidates(n_customers)) == [2, 3, 4, 5, 6]
    assert list(KRange(largest=4).candidates(n_customers)) == [2, 3, 4]
    assert list(KRange(3, 9).candidates(n_customers)) == [3, 4, 5, 6, 7, 8, 9]


def test_a_smallest_k_above_the_usual_limit_is_tried_all_the_same() -> None:
    assert list(KRange(smallest=4).candidates(200)) == [4]
    assert list(KRange(smallest=8).candidates(100_000)) == [8]


def test_limits_of_k_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(InvalidInput, match="fewest clusters to try, 5, is more than the most, 2"):
        KRange(5, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_no_number_is_refused_by_name(bad: float) -> None:
    values = planted(2)[0]
    values[7, 1] = bad
    with pytest.raises(InvalidInput, match=r"Axis 'axis' .* b is NaN or infinite"):
        fit(values)


# What discovery is used for


def test_two_fits_give_equal_centers_bit_for_bit() -> None:
    values = np.random.default_rng(5).gamma(2, size=(1_500, 3))
    assert np.array_equal(fit(values, KRange(2, 4)).centers, fit(values, KRange(2, 4)).centers)


def test_centers_stand_in_order_of_the_first_feature_then_the_next() -> None:
    values = np.repeat([[0.1, 3.0], [0.1, 1.0], [-2.0, 5.0]], 50, axis=0)
    centers = fit(values, KRange(3, 3), robust=False).centers
    assert np.lexsort(np.round(centers, 6).T[::-1]).tolist() == [0, 1, 2]


def test_the_order_of_the_customers_does_not_matter() -> None:
    values, _ = planted(4)
    order = np.random.default_rng(2).permutation(len(values))
    one, other = fit(values), fit(values[order])
    assert one.centers == pytest.approx(other.centers, abs=1e-6)
    assert one.memberships(values)[order] == pytest.approx(other.memberships(values[order]), abs=1e-6)


def test_clusters_fitted_on_a_sample_hold_for_everyone() -> None:
    values, truth = planted(4, each=600)
    fitted = fit(values, KRange(2, 5), sample_size=200)
    assert same_groups(fitted.memberships(values).argmax(axis=1), truth)
    # The scaler is of everyone, so centers are comparable.
    assert fitted.centers == pytest.approx(fit(values, KRange(2, 5)).centers, abs=0.1)


def test_a_silhouette_measured_on_a_sample_is_near_that_of_everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    values, _ = planted(3, each=400)
    everyone = fit(values, KRange(2, 4)).silhouette
    monkeypatch.setattr(clustering, "SILHOUETTE_SAMPLE", 300)
    assert fit(values, KRange(2, 4)).silhouette == pytest.approx(everyone, abs=0.02)


@pytest.mark.parametrize("kernel", ["exponential", "gaussian"])
@pytest.mark.parametrize("robust", [True, False])
def test_an_axis_read_back_from_json_is_the_same_bit_for_bit(robust: bool, kernel: Kernel) -> None:
    values, _ = planted(3)
    fitted = fit(values, KRange(2, 4), robust=robust, kernel=kernel)
    params = json.loads(json.dumps(fitted.scaler_params(), allow_nan=False))
    back = fitted_axis("axis", params, json.loads(json.dumps(fitted.centers.tolist())))
    assert np.array_equal(back.memberships(values), fitted.memberships(values))
    assert back.scaler_params() == fitted.scaler_params()
    for name in ("low", "high", "mean", "scale"):
        assert np.array_equal(getattr(back.scaler, name), getattr(fitted.scaler, name))


def test_one_customer_alone_is_placed_as_among_all() -> None:
    values = np.random.default_rng(8).gamma(2, size=(500, 4))
    values[:250] += [6.0, 0.0, 6.0, 0.0]
    fitted = fit(values, KRange(2, 3))
    assert fitted.has_structure
    together = fitted.memberships(values)
    assert all(np.array_equal(fitted.memberships(values[[i]])[0], together[i]) for i in range(500))


def test_the_dominant_segment_is_that_of_the_nearest_center() -> None:
    values, _ = planted(5)
    fitted = fit(values)
    assert np.array_equal(
        fitted.memberships(values).argmax(axis=1), nearest(fitted.scaler.apply(values), fitted.centers)
    )


def test_clusters_are_found_on_one_thread_from_the_first_of_a_process_on() -> None:
    script = """
import numpy
from threadpoolctl import threadpool_info
from app.segmentation import clustering

found = clustering._kmeans_centers

def watched(*arguments, **options):
    centers = found(*arguments, **options)
    print({each["num_threads"] for each in threadpool_info()})
    return centers

clustering._kmeans_centers = watched
points = numpy.random.default_rng(0).normal(size=(60, 2))
clustering.fit_axis("shape", ("x", "y"), ("none", "none"), points, k_range=clustering.KRange(2, 2))
"""
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert set(told) == {"{1}"}


# Of many customers


def test_of_many_customers_fewer_starts_find_the_groups_there_are() -> None:
    values, truth = planted(4, each=MANY // 4 + 300)
    assert len(values) > MANY
    fitted = fit(values, KRange(3, 4))
    assert fitted.n_segments == 4
    assert same_groups(fitted.memberships(values).argmax(axis=1), truth)
    assert fitted.stability is not None
    assert (fitted.stability.refits, fitted.stability.kept) == (REFITS_OF_MANY, 1.0)


@pytest.mark.parametrize("seed", [0, 7])
def test_of_many_customers_a_fit_is_the_same_bit_for_bit_again(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(clustering, "MANY", 300)
    monkeypatch.setattr(clustering, "TRIED_OF_MANY", 200)
    values = np.random.default_rng(seed).gamma(2, size=(1_500, 3))
    values[:600] += [4.0, 0.0, 4.0]
    one, other = (fit(values, KRange(2, 4), seed=seed) for _ in range(2))
    assert one.has_structure and np.array_equal(one.centers, other.centers)
    assert (one.tried, one.stability) == (other.tried, other.stability)


def test_of_many_customers_nobody_stands_nearer_to_the_center_of_others_than_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tried on a sample, the centers are gone on with until nobody changes sides, so a search from them ends there."""
    monkeypatch.setattr(clustering, "MANY", 300)
    monkeypatch.setattr(clustering, "TRIED_OF_MANY", 200)
    values = np.random.default_rng(3).gamma(2, size=(1_500, 2))
    values[:600] += [5.0, 5.0]
    fitted = fit(values, KRange(2, 3))
    assert fitted.has_structure
    scaled = fitted.scaler.apply(values)
    own = nearest(scaled, fitted.centers)
    means = np.stack([scaled[own == segment].mean(axis=0) for segment in range(fitted.n_segments)])
    assert means == pytest.approx(fitted.centers, abs=1e-6)
    again = fit(values, KRange(2, 3), served=fitted)
    assert again.centers == pytest.approx(fitted.centers, abs=1e-6)
