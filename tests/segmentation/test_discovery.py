"""A whole shop: planted kinds of customer are found again, and nothing that a shop can be breaks it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.domain.features import FEATURES, METRICS
from app.segmentation import clustering
from app.segmentation.axes import AXES, Axis, Need, axes_named
from app.segmentation.clustering import KRange
from app.segmentation.discovery import Discovery, DiscoveryOptions, discover, segment_id
from app.segmentation.membership import Array

EVERYTHING = frozenset(Need)
TWO_AXES = axes_named(["value", "maturity"])


def planted_shop(n_types: int, *, each: int = 60, seed: int = 0) -> tuple[dict[str, Array], np.ndarray]:
    """Every metric and feature of a shop whose types of customer stand apart in all of them, and who is of which.

    Everyone has tickets enough to be read from them.
    """
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(n_types), each)
    values = {}
    for name in (*METRICS, *FEATURES):
        level = rng.permutation(np.linspace(0.1, 0.9, n_types))[truth] + rng.normal(0, 0.01, len(truth))
        values[name] = np.round(1 + 50 * level) if name in METRICS else level
    values["total_tickets"] += 2
    return values, truth


def shapeless_shop(n_customers: int, *, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: np.exp(rng.normal(0, 0.2, n_customers)) for name in (*METRICS, *FEATURES)}


def discovered(
    values: dict[str, Array], axes: tuple[Axis, ...] = AXES, available: frozenset[Need] = EVERYTHING, **options: object
) -> Discovery:
    chosen = {"k_range": KRange(2, 4), **options}
    return discover("shop", values, axes, available=available, options=DiscoveryOptions(**chosen))


@pytest.fixture(scope="module")
def three_types() -> tuple[Discovery, np.ndarray]:
    values, truth = planted_shop(3)
    return discovered(values), truth


def test_planted_types_of_customer_are_the_archetypes(three_types: tuple[Discovery, np.ndarray]) -> None:
    found, truth = three_types
    assert [axis.fitted.n_segments for axis in found.axes] == [3] * 14
    assert found.signature == found.axes and found.silent == ()
    assert len(found.archetypes.signatures) == 3 and (found.archetypes.fold_distance == 0).mean() == 1.0
    assert len(set(zip(truth.tolist(), found.archetypes.level1.tolist(), strict=True))) == 3


def test_each_segment_counts_its_members_and_has_an_id_and_a_name_of_its_own(
    three_types: tuple[Discovery, np.ndarray],
) -> None:
    found, _ = three_types
    for axis in found.axes:
        assert [segment.count for segment in axis.segments] == np.bincount(axis.dominant).tolist()
        assert sum(segment.share for segment in axis.segments) == pytest.approx(1)
        assert np.array_equal(axis.dominant, axis.memberships.argmax(axis=1))
        assert len({segment.name for segment in axis.segments}) == 3
        for segment in axis.segments:
            assert segment.segment_id == segment_id("shop", axis.axis.name, segment.name)
            assert segment.interpretation.startswith(f"{100 * segment.share:.1f} % of customers")
    ids = [segment.segment_id for axis in found.axes for segment in axis.segments]
    assert len(set(ids)) == len(ids) == 42
    assert all(len(each) == len("seg_0123456789") for each in ids)


def test_a_segments_id_belongs_to_its_store_and_axis() -> None:
    assert segment_id("a", "purchase_value", "mid_tier") == segment_id("a", "purchase_value", "mid_tier")
    assert segment_id("a", "purchase_value", "mid_tier") != segment_id("b", "purchase_value", "mid_tier")
    assert segment_id("a", "purchase_value", "mid_tier") != segment_id("a", "value_sophistication", "mid_tier")


def test_two_discoveries_of_one_shop_are_equal_bit_for_bit() -> None:
    values, _ = planted_shop(4, seed=3)
    one, other = (discovered(values, TWO_AXES, archetype_min_members=2) for _ in range(2))
    for left, right in zip(one.axes, other.axes, strict=True):
        assert np.array_equal(left.memberships, right.memberships) and left.segments == right.segments
    assert np.array_equal(one.archetypes.level3, other.archetypes.level3)


def test_the_order_of_the_customers_does_not_change_what_is_found() -> None:
    values, truth = planted_shop(3, seed=5)
    order = np.random.default_rng(1).permutation(len(truth))
    one = discovered(values, TWO_AXES)
    other = discovered({name: column[order] for name, column in values.items()}, TWO_AXES)
    for left, right in zip(one.axes, other.axes, strict=True):
        assert left.segments == right.segments
        assert np.array_equal(left.dominant[order], right.dominant)
    assert np.array_equal(one.archetypes.level1[order], other.archetypes.level1)


def test_a_shop_without_structure_has_everyone_in_one_archetype() -> None:
    found = discovered(shapeless_shop(400), TWO_AXES)
    assert found.signature == ()
    assert [[segment.name for segment in axis.segments] for axis in found.axes] == [["everyone"], ["everyone"]]
    assert found.archetypes.level1.tolist() == [0] * 400


def test_axes_the_records_say_nothing_of_are_silent() -> None:
    values, _ = planted_shop(2)
    found = discovered(values, axes_named(["sensitivity", "value", "support_history"]), frozenset({Need.orders}))
    assert [axis.name for axis in found.silent] == ["price_sensitivity", "support_history"]
    assert [axis.axis.name for axis in found.axes] == ["purchase_value"]


def test_asking_only_for_silent_axes_is_refused_with_what_is_lacking() -> None:
    values, _ = planted_shop(2)
    with pytest.raises(InvalidInput, match=r"say nothing of support_history \(no tickets\)"):
        discovered(values, axes_named(["support_history"]), frozenset({Need.orders}))


def test_progress_is_told_axis_by_axis() -> None:
    heard: list[tuple[str, float]] = []
    discover(
        "shop",
        shapeless_shop(30),
        TWO_AXES,
        available=EVERYTHING,
        options=DiscoveryOptions(),
        progress=lambda step, done: heard.append((step, done)),
    )
    assert heard == [("clustering", 0.0), ("clustering", 0.5), ("clustering", 1.0), ("archetypes", 0.0)]


def assert_sound(found: Discovery, n_customers: int) -> None:
    for axis in found.axes:
        assert axis.memberships.shape == (n_customers, axis.fitted.n_segments)
        assert np.isfinite(axis.memberships).all() and np.isfinite(axis.fitted.centers).all()
        assert np.abs(axis.memberships.sum(axis=1) - 1).max() < 1e-9
        assert sum(segment.count for segment in axis.segments) == n_customers
        assert min(segment.count for segment in axis.segments) > 0
    for groups in (found.archetypes.level1, found.archetypes.level2, found.archetypes.level3):
        assert groups.shape == (n_customers,) and groups.min() >= 0


nasty_numbers = st.sampled_from([0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 0.3, 0.1 + 0.2, -1.0, 365.0, 1e12, -1e12, 1e-12])


@pytest.mark.parametrize("robust", [True, False])
@pytest.mark.parametrize("kernel", ["exponential", "gaussian"])
@given(data=st.data())
@settings(deadline=None, max_examples=10)
def test_whatever_the_numbers_everyone_has_a_place(robust: bool, kernel: str, data: st.DataObject) -> None:
    n_customers = data.draw(st.sampled_from([1, 2, 3, 5, 34, 60]))
    columns = st.lists(nasty_numbers, min_size=n_customers, max_size=n_customers)
    values = {name: np.array(data.draw(columns)) for axis in TWO_AXES for name in axis.feature_names}
    assert_sound(discovered(values, TWO_AXES, robust=robust, kernel=kernel), n_customers)


@pytest.mark.parametrize("n_customers", [1, 2, 150])
def test_customers_who_are_all_alike_are_of_one_kind(n_customers: int) -> None:
    values = {name: np.full(n_customers, 3.7) for name in (*METRICS, *FEATURES)}
    found = discovered(values)
    assert_sound(found, n_customers)
    assert found.signature == () and len(found.archetypes.signatures) == 1


def test_one_outlier_changes_nobody_elses_place() -> None:
    values, _ = planted_shop(3, each=100)
    wild = {name: column.copy() for name, column in values.items()}
    wild["lifetime_value"][0] = wild["tenure_days"][0] = 1e12
    found, usual = discovered(wild, TWO_AXES), discovered(values, TWO_AXES)
    assert_sound(found, 300)
    assert np.array_equal(found.archetypes.level1[1:], usual.archetypes.level1[1:])


def test_clusters_fitted_on_few_hold_for_all() -> None:
    values, truth = planted_shop(3, each=200)
    found = discovered(values, TWO_AXES, sample_size=90)
    assert_sound(found, 600)
    assert len(set(zip(truth.tolist(), found.archetypes.level1.tolist(), strict=True))) == 3


def test_axes_clustered_one_or_two_at_a_time_are_the_same_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more customers than starts are tried on all of."""
    monkeypatch.setattr(clustering, "MANY", 400)
    monkeypatch.setattr(clustering, "TRIED_OF_MANY", 300)
    axes = axes_named(["value", "maturity", "frequency", "support_history"])
    planted, _ = planted_shop(3, each=400)
    shapeless = shapeless_shop(1_200)
    values = {name: column * shapeless[name] for name, column in planted.items()}
    one, two, again = (discovered(values, axes, threads=threads) for threads in (1, 2, 2))
    assert any(axis.has_structure for axis in one.axes)
    for other in (two, again):
        for left, right in zip(one.axes, other.axes, strict=True):
            assert np.array_equal(left.memberships, right.memberships) and left.segments == right.segments
            assert left.fitted.tried == right.fitted.tried and left.fitted.stability == right.fitted.stability
        for level in ("level1", "level2", "level3", "signatures"):
            assert np.array_equal(getattr(one.archetypes, level), getattr(other.archetypes, level))
