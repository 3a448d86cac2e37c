"""Who is who from one run to the next: what goes on keeps its id, what splits, merges, comes and goes is told."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from app.segmentation.axes import Axis, Need, axes_named
from app.segmentation.clustering import KRange, adjusted_rand, shared
from app.segmentation.discovery import Discovery, DiscoveryOptions, discover
from app.segmentation.identity import (
    MOSTLY,
    NO_CRUMB,
    NOBODY,
    SAME,
    Descent,
    Drift,
    Earlier,
    EarlierKind,
    Fate,
    changes,
    common_part,
    descent,
    drift,
)
from app.segmentation.membership import Array
from app.segmentation.readings import memberships_in
from tests.segmentation.earlier import earlier_of

TWO_AXES = axes_named(["frequency", "value"])
(FREQUENCY, VALUE) = TWO_AXES
GAP = "avg_days_between_orders"


# From counts alone


def told(found: Descent) -> set[tuple[str, int | None, int | None]]:
    return {(step.fate.value, step.before, step.now) for step in found.steps}


def found_from(together: Sequence[Sequence[float]]) -> Descent:
    counts = np.array(together, dtype=np.float64)
    return descent(counts, np.zeros_like(counts))


def test_groups_that_hold_the_same_customers_go_on_whatever_their_numbers() -> None:
    found = found_from([[0, 0, 50], [40, 2, 0], [0, 30, 1]])
    assert found.heir_of.tolist() == [1, 2, 0]
    assert told(found) == {("continued", 0, 2), ("continued", 1, 0), ("continued", 2, 1)}
    (step,) = [each for each in found.steps if each.now == 0]
    assert (step.of_before, step.of_now, step.count) == (pytest.approx(40 / 42), 1.0, 40)


def test_one_whose_customers_are_two_now_has_split_and_the_larger_part_keeps_its_id() -> None:
    found = found_from([[60, 40, 0], [0, 0, 100]])
    assert told(found) == {("split", 0, 0), ("split", 0, 1), ("continued", 1, 2)}
    assert found.heir_of.tolist() == [0, NOBODY, 1]


def test_two_whose_customers_are_one_now_have_merged_and_it_keeps_the_id_of_the_larger() -> None:
    found = found_from([[40, 0], [60, 0], [0, 100]])
    assert told(found) == {("merged", 0, 0), ("merged", 1, 0), ("continued", 2, 1)}
    assert found.heir_of.tolist() == [1, 2]


def test_a_crumb_that_leaves_is_no_split() -> None:
    found = found_from([[90, 10], [0, 100]])
    assert told(found) == {("continued", 0, 0), ("continued", 1, 1)}


def test_what_comes_from_everywhere_is_born_and_what_goes_everywhere_is_retired() -> None:
    found = found_from([[90, 0, 0, 20], [0, 90, 0, 20], [0, 0, 90, 20], [18, 18, 18, 0]])
    assert found.heir_of.tolist() == [0, 1, 2, NOBODY]
    assert told(found) >= {("born", None, 3), ("retired", 3, None)}
    (born,) = [each for each in found.steps if each.fate is Fate.born]
    (retired,) = [each for each in found.steps if each.fate is Fate.retired]
    assert (born.count, born.of_before, born.of_now) == (60, None, None)
    assert (retired.count, retired.of_before, retired.of_now) == (54, None, None)


def test_what_is_child_and_part_at_once_is_told_as_a_split() -> None:
    found = found_from([[89, 77], [69, 65]])
    assert told(found) == {("split", 0, 0), ("split", 0, 1), ("merged", 1, 0)}


def test_an_old_group_that_holds_nobody_any_more_is_retired() -> None:
    assert told(found_from([[50], [0]])) == {("continued", 0, 0), ("retired", 1, None)}


def test_where_customers_say_nothing_the_nearer_goes_on() -> None:
    halves = np.array([[50.0, 50.0], [50.0, 50.0]])
    for near in ([[0.9, 0.1], [0.1, 0.9]], [[0.1, 0.9], [0.9, 0.1]]):
        assert descent(halves, np.array(near)).heir_of.tolist() == np.argmax(near, axis=0).tolist()


def test_who_may_not_inherit_takes_nobodys_place() -> None:
    together = np.array([[100.0, 60.0]])
    nothing = np.zeros_like(together)
    assert descent(together, nothing).heir_of.tolist() == [0, NOBODY]
    found = descent(together, nothing, heritable=np.array([[False, True]]))
    assert found.heir_of.tolist() == [NOBODY, 0]
    assert told(found) == {("split", 0, 0), ("split", 0, 1)}


def test_what_is_the_same_by_definition_goes_on_however_few_customers_it_shares() -> None:
    together = np.array([[90.0, 10.0], [0.0, 100.0]])
    crossed = np.array([[False, True], [False, False]])
    found = descent(together, np.zeros_like(together), certain=crossed)
    assert found.heir_of.tolist() == [NOBODY, 0]
    assert told(found) == {("continued", 0, 1), ("born", None, 0), ("retired", 1, None)}


def random_counts(seed: int, n_before: int, n_now: int) -> tuple[Array, Array]:
    """Customers of any two runs, from the same groups to nothing in common, and how near the groups lie."""
    rng = np.random.default_rng(seed)
    before = rng.integers(0, n_before, 300)
    mostly = rng.integers(0, n_now, n_before)[before]
    now = np.where(rng.random(300) < rng.random(), mostly, rng.integers(0, n_now, 300))
    return shared(before, now, n_before, n_now), rng.random((n_before, n_now))


counts = st.builds(random_counts, st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 7))


@given(found_in=counts)
@settings(deadline=None)
def test_what_holds_of_any_two_runs(found_in: tuple[Array, Array]) -> None:
    together, near = found_in
    found = descent(together, near)

    # No id is given to two, and only to one that shares customers enough or is part of a split or a merger.
    heirs = [heir for heir in found.heir_of.tolist() if heir != NOBODY]
    assert len(set(heirs)) == len(heirs)

    # Every group of either run is told of.
    assert {step.before for step in found.steps} - {None} == set(range(len(together)))
    assert {step.now for step in found.steps} - {None} == set(range(together.shape[1]))
    assert len(told(found)) == len(found.steps)

    before, now = together.sum(axis=1), together.sum(axis=0)
    for step in found.steps:
        if step.before is None or step.now is None:
            assert step.fate is (Fate.born if step.before is None else Fate.retired)
            assert (step.of_before, step.of_now) == (None, None)
            continue
        both = together[step.before, step.now]
        assert step.count == both > 0
        assert step.of_before == both / before[step.before] and step.of_now == both / now[step.now]
        if step.fate is Fate.split:
            assert step.of_now >= MOSTLY and step.of_before >= NO_CRUMB
            assert any(each.before == step.before for each in found.steps if each is not step and each.now is not None)
        elif step.fate is Fate.merged:
            assert step.of_before >= MOSTLY and step.of_now >= NO_CRUMB
            # The other part, too, is told of: as a part, or, where it is a child as well, as that.
            assert any(each.now == step.now for each in found.steps if each is not step and each.before is not None)
        else:
            assert step.fate is Fate.continued and found.heir_of[step.now] == step.before
            assert both / (before[step.before] + now[step.now] - both) >= SAME
    # What is born has inherited nothing, and what is retired has no heir.
    assert all(found.heir_of[step.now] == NOBODY for step in found.steps if step.fate is Fate.born)
    assert not {step.before for step in found.steps if step.fate is Fate.retired} & set(heirs)


@given(found_in=counts, data=st.data())
@settings(deadline=None)
def test_numbering_old_and_new_groups_otherwise_changes_nothing_but_the_numbers(
    found_in: tuple[Array, Array], data: st.DataObject
) -> None:
    together, near = found_in
    old = np.array(data.draw(st.permutations(range(len(together)))))
    new = np.array(data.draw(st.permutations(range(together.shape[1]))))
    usual, other = descent(together, near), descent(together[old][:, new], near[old][:, new])
    heirs = np.array([NOBODY if heir == NOBODY else old[heir] for heir in other.heir_of])
    assert heirs.tolist() == usual.heir_of[new].tolist()
    back = {
        replace(
            step,
            before=None if step.before is None else int(old[step.before]),
            now=None if step.now is None else int(new[step.now]),
        )
        for step in other.steps
    }
    assert back == set(usual.steps)


# Drift

labels = st.lists(st.integers(0, 4), min_size=2, max_size=60)


@given(one=labels, data=st.data())
def test_the_adjusted_rand_index_is_that_of_scikit_learn(one: list[int], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.integers(0, 3), min_size=len(one), max_size=len(one)))
    found = adjusted_rand(shared(np.array(one), np.array(other), 5, 4))
    assert found == pytest.approx(adjusted_rand_score(one, other), abs=1e-12)


def test_drift_tells_customers_who_moved_from_rules_that_did() -> None:
    was = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    placed = np.array([0, 0, 0, 1, 1, 1, 1, 1])  # one behaves otherwise now
    now = np.array([1, 1, 0, 0, 0, 0, 0, 0])  # and the line is drawn elsewhere, past another; old 0 is new 1
    found = drift(was, placed, now, np.array([1, 0]), 2)
    assert found == Drift(
        common=8,
        changed=0.25,
        moved=0.125,
        refitted=0.125,
        rand_changed=pytest.approx(adjusted_rand_score(was, now)),
        rand_moved=pytest.approx(adjusted_rand_score(was, placed)),
        rand_refitted=pytest.approx(adjusted_rand_score(placed, now)),
    )


def test_who_is_in_a_segment_that_goes_on_as_none_has_changed_theirs() -> None:
    was = np.array([0, 0, 0, 0])
    found = drift(was, was, np.array([0, 0, 0, 1]), np.array([0, NOBODY]), 1)
    assert found is not None and (found.changed, found.moved, found.refitted) == (0.25, 0.0, 0.25)


def test_without_a_customer_in_common_there_is_no_drift() -> None:
    nobody = np.array([], dtype=np.int64)
    assert drift(nobody, nobody, nobody, np.array([0]), 1) is None


# From one discovery to the next


def a_shop(
    levels: Sequence[float] = (0.1, 0.5, 0.9),
    *,
    each: int = 80,
    gaps: Sequence[float] = (9, 60, 200),
    seed: int = 0,
    axes: tuple[Axis, ...] = TWO_AXES,
) -> dict[str, Array]:
    """As many kinds of customer as there are levels, which all features of the axes follow; `gaps` apart in days.

    Row i is the same customer in every shop of as many.
    """
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(levels)), each)
    level = np.array(levels, dtype=np.float64)[kind]
    names = dict.fromkeys(feature.name for axis in axes for feature in axis.features)
    values = {name: np.exp(3 * level) * rng.normal(1, 0.01, len(level)) for name in names}
    values["total_purchases"] = 2 + np.round(100 * level)
    if GAP in values:
        gap = np.array(gaps, dtype=np.float64)[np.arange(len(levels)) % len(gaps)]
        values[GAP] = gap[kind] * rng.normal(1, 0.002, len(level))
    return values


def run(
    values: dict[str, Array],
    earlier: Earlier | None = None,
    *,
    axes: tuple[Axis, ...] = (FREQUENCY,),
    **options: object,
) -> Discovery:
    chosen = DiscoveryOptions(**{"k_range": KRange(2, 4), **options})
    return discover("shop", values, axes, available=frozenset({Need.orders}), options=chosen, earlier=earlier)


def segments_by_id(found: Discovery) -> dict[str, str]:
    return {segment.segment_id: segment.name for axis in found.axes for segment in axis.segments}


def ids_of(found: Discovery, axis: int = 0) -> np.ndarray:
    return np.array([segment.segment_id for segment in found.axes[axis].segments])[found.axes[axis].dominant]


def fates(found: Discovery, axis: int = 0) -> list[str]:
    lineage = found.axes[axis].lineage
    assert lineage is not None
    return sorted(step.fate.value for step in lineage.descent.steps)


def renumbered(earlier: Earlier, order: list[int]) -> Earlier:
    """The same run, the segments of its first axis in another order."""
    name, axis = next(iter(earlier.axes.items()))
    (reading,) = axis.readings
    fitted = replace(reading.fitted, centers=reading.fitted.centers[order])
    other = replace(
        axis, readings=(replace(reading, fitted=fitted),), segments=tuple(axis.segments[each] for each in order)
    )
    column = earlier.signature.index(name)
    signatures = earlier.signatures.copy()
    signatures[:, column] = np.argsort(order)[signatures[:, column]]
    return replace(earlier, axes={**earlier.axes, name: other}, signatures=signatures)


@pytest.fixture(scope="module")
def first() -> Discovery:
    return run(a_shop(), axes=TWO_AXES)


def test_a_first_run_goes_on_from_nothing(first: Discovery) -> None:
    assert first.earlier is None and first.kinds is None
    assert [axis.lineage for axis in first.axes] == [None, None]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_run_of_the_same_records_keeps_ids_and_names_whatever_its_seed(first: Discovery, seed: int) -> None:
    again = run(a_shop(), earlier_of(first), axes=TWO_AXES, seed=seed)
    for axis in range(2):
        assert fates(again, axis) == ["continued"] * 3
        assert np.array_equal(ids_of(again, axis), ids_of(first, axis))
    assert segments_by_id(again) == segments_by_id(first)
    assert again.kinds is not None and sorted(again.kinds.descent.heir_of) == [0, 1, 2]
    assert {step.fate for step in again.kinds.descent.steps} == {Fate.continued}


@given(order=st.permutations(range(3)))
@settings(deadline=None, max_examples=6)
def test_how_the_run_before_numbered_its_segments_changes_nothing(first: Discovery, order: list[int]) -> None:
    again = run(a_shop(), renumbered(earlier_of(first), order), axes=TWO_AXES)
    assert np.array_equal(ids_of(again), ids_of(first)) and segments_by_id(again) == segments_by_id(first)
    assert again.kinds is not None and {step.fate for step in again.kinds.descent.steps} == {Fate.continued}


@pytest.mark.parametrize("seed", range(3))
def test_other_customers_of_the_same_kinds_keep_the_segments(first: Discovery, seed: int) -> None:
    """Drawn with replacement; everyone is then placed by the rules that these few gave."""
    values, rng = a_shop(), np.random.default_rng(seed)
    drawn = rng.integers(0, 240, 240)
    again = run({name: column[drawn] for name, column in values.items()}, earlier_of(first), axes=TWO_AXES)
    assert segments_by_id(again) == segments_by_id(first)
    for axis, found in enumerate(again.axes):
        ids = np.array([segment.segment_id for segment in found.segments])
        assert np.array_equal(ids[memberships_in(found.readings, values).argmax(axis=1)], ids_of(first, axis))


def test_what_behaves_otherwise_is_renamed_keeps_its_id_and_says_so() -> None:
    before = run(a_shop(gaps=(9, 60, 200)))
    after = run(a_shop(gaps=(35, 60, 200)), earlier_of(before))
    assert np.array_equal(ids_of(after), ids_of(before)) and fates(after) == ["continued"] * 3
    was, now = segments_by_id(before), segments_by_id(after)
    (renamed,) = [each for each in was if was[each] != now[each]]
    assert (was[renamed], now[renamed]) == ("weekly_shopper", "monthly_shopper")
    (axis,) = after.axes
    assert axis.lineage is not None
    told_of = dict(zip((segment.segment_id for segment in axis.segments), axis.lineage.changes, strict=True))
    (change,) = told_of.pop(renamed)
    assert (change.feature, change.says) == (GAP, "9 → 35 days between orders")
    assert (change.before, change.now) == (pytest.approx(9, abs=0.1), pytest.approx(35, abs=0.2))
    assert set(told_of.values()) == {()}


def test_a_hairs_breadth_across_a_limit_renames_nobody() -> None:
    before = run(a_shop(gaps=(10, 60, 200)))
    moved = a_shop(gaps=(11, 60, 200))
    assert "fortnightly_shopper" in segments_by_id(run(moved)).values()
    after = run(moved, earlier_of(before))
    assert segments_by_id(after) == segments_by_id(before)
    assert "weekly_shopper" in segments_by_id(after).values()


def test_what_changes_a_little_from_run_to_run_is_named_anew_in_the_end() -> None:
    """Each run compares with what the segment was named for, not with the run before."""
    found = run(a_shop(gaps=(9, 60, 200)))
    (short,) = [each for each, name in segments_by_id(found).items() if name == "weekly_shopper"]
    called = []
    for gap in (10, 11, 12, 13, 14, 15):
        found = run(a_shop(gaps=(gap, 60, 200)), earlier_of(found))
        called.append(segments_by_id(found)[short])
    assert called == ["weekly_shopper"] * 3 + ["fortnightly_shopper"] * 3


def test_names_stay_unique_where_one_grows_into_anothers() -> None:
    before = run(a_shop(gaps=(9, 35, 200)))
    after = run(a_shop(gaps=(30, 35, 200)), earlier_of(before))
    was, now = segments_by_id(before), segments_by_id(after)
    assert len(set(now.values())) == 3 and set(was) == set(now)
    (kept,) = [each for each, name in was.items() if name == "monthly_shopper"]
    (other,) = [each for each, name in was.items() if name == "weekly_shopper"]
    assert now[kept] == "monthly_shopper"
    assert now[other].endswith("_monthly_shopper")


def test_one_kind_of_customer_that_becomes_two_has_split() -> None:
    before = run(a_shop((0.1, 0.8, 0.8), gaps=(9, 60, 60)))
    after = run(a_shop((0.1, 0.65, 0.95), gaps=(9, 60, 60)), earlier_of(before))
    assert fates(after) == ["continued", "split", "split"]
    assert set(segments_by_id(before)) < set(segments_by_id(after)) and len(segments_by_id(after)) == 3
    # Nobody of the others has another id.
    assert np.array_equal(ids_of(after)[:80], ids_of(before)[:80])


def test_two_kinds_of_customer_that_become_one_have_merged() -> None:
    before = run(a_shop((0.1, 0.65, 0.95), gaps=(9, 60, 60)))
    after = run(a_shop((0.1, 0.65, 0.95), gaps=(9, 60, 60)), earlier_of(before), k_range=KRange(2, 2))
    assert fates(after) == ["continued", "merged", "merged"]
    assert set(segments_by_id(after)) < set(segments_by_id(before))


def test_the_id_of_one_that_split_off_is_no_old_ones_whatever_its_name() -> None:
    """The old weekly shoppers are monthly shoppers now, and others are the weekly ones."""
    before = run(a_shop((0.1, 0.8, 0.8), gaps=(9, 60, 60)))
    after = run(a_shop((0.1, 0.65, 0.95), gaps=(35, 9, 60)), earlier_of(before))
    now = segments_by_id(after)
    assert set(segments_by_id(before)) <= set(now) and len(now) == 3
    (weekly,) = [each for each, name in now.items() if name == "weekly_shopper"]
    (was_weekly,) = [each for each, name in segments_by_id(before).items() if name == "weekly_shopper"]
    assert weekly != was_weekly and now[was_weekly] == "monthly_shopper"


def shapeless(n_customers: int = 240) -> dict[str, Array]:
    return {name: np.full(n_customers, 5.0) for name in a_shop()}


def test_everyone_of_an_axis_without_structure_becomes_nobody_in_particular() -> None:
    before = run(shapeless())
    ((everyone, name),) = segments_by_id(before).items()
    assert name == "everyone"
    after = run(a_shop(), earlier_of(before))
    assert everyone not in segments_by_id(after) and len(segments_by_id(after)) == 3
    again = run(shapeless(), earlier_of(after))
    assert not set(segments_by_id(again)) & set(segments_by_id(after))
    assert list(segments_by_id(again).values()) == ["everyone"]


def test_everyone_goes_on_as_everyone() -> None:
    before = run(shapeless())
    after = run(shapeless(), earlier_of(before))
    assert segments_by_id(after) == segments_by_id(before) and fates(after) == ["continued"]
    assert after.kinds is not None and after.kinds.descent.heir_of.tolist() == [0]


def test_the_kind_that_everyone_was_becomes_none_in_particular() -> None:
    """Nor does one of several go on as the kind that everyone is when there is nothing to tell them apart by."""
    before = run(shapeless())
    after = run(a_shop(), earlier_of(before))
    assert after.kinds is not None and set(after.kinds.descent.heir_of) == {NOBODY}
    again = run(shapeless(), earlier_of(after))
    assert again.kinds is not None and again.kinds.descent.heir_of.tolist() == [NOBODY]


def test_a_run_of_other_features_has_nothing_to_be_compared_with(first: Discovery) -> None:
    earlier = earlier_of(first)
    axis = earlier.axes[FREQUENCY.name]
    (reading,) = axis.readings
    fitted = replace(reading.fitted, features=("of_an_older_version", *reading.fitted.features[1:]))
    other = replace(axis, readings=(replace(reading, fitted=fitted),))
    again = run(a_shop(), replace(earlier, axes={**earlier.axes, FREQUENCY.name: other}), axes=TWO_AXES)
    assert again.axes[0].lineage is None and again.kinds is None
    assert fates(again, 1) == ["continued"] * 3


def test_an_axis_the_run_before_did_not_have_begins_afresh(first: Discovery) -> None:
    alone = run(a_shop(), axes=(FREQUENCY,))
    again = run(a_shop(), earlier_of(alone), axes=TWO_AXES)
    assert again.axes[0].lineage is not None and again.axes[1].lineage is None
    assert segments_by_id(again) == segments_by_id(first)


def drifted(before: Discovery, after: Discovery) -> Drift:
    lineage = after.axes[0].lineage
    assert lineage is not None
    found = drift(
        before.axes[0].dominant,
        lineage.placed,
        after.axes[0].dominant,
        lineage.descent.heir_of,
        len(before.axes[0].segments),
    )
    assert found is not None
    return found


def test_where_nothing_has_changed_nobody_has_moved() -> None:
    before = run(a_shop())
    assert drifted(before, run(a_shop(), earlier_of(before))) == Drift(240, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)


def test_customers_who_behave_otherwise_under_the_same_rules_have_moved() -> None:
    before, values = run(a_shop()), a_shop()
    places = np.arange(240)
    places[[0, 80]] = places[[80, 0]]  # two of different kinds, the one as the other was
    found = drifted(before, run({name: column[places] for name, column in values.items()}, earlier_of(before)))
    assert (found.changed, found.moved, found.refitted) == (2 / 240, 2 / 240, 0.0)
    assert found.rand_refitted == 1.0 > found.rand_moved == found.rand_changed


def test_customers_who_behave_as_before_under_other_rules_have_not_moved() -> None:
    before = run(a_shop())
    found = drifted(before, run(a_shop(), earlier_of(before), k_range=KRange(2, 2)))
    assert (found.moved, found.rand_moved) == (0.0, 1.0)
    assert found.refitted == found.changed == pytest.approx(1 / 3)


# Parts


def test_what_two_archetypes_have_in_common_is_of_the_segments_that_define_either() -> None:
    kinds = [
        EarlierKind("arch_1", "One", {"value": "seg_1", "frequency": "seg_2"}, {}),
        EarlierKind("arch_2", "Everyone", {}, {}),
    ]
    now = [{"value": "seg_1", "frequency": "seg_2"}, {"value": "seg_1", "frequency": "seg_3"}, {}]
    assert common_part(kinds, now).tolist() == [[1.0, 1 / 3, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("feature", "before", "now", "is_told"),
    [
        (GAP, 10.0, 14.0, False),
        (GAP, 10.0, 14.1, True),
        (GAP, 14.1, 10.0, True),
        (GAP, 0.0, 1.0, True),
        ("purchase_consistency", 0.5, 0.59, False),
        ("purchase_consistency", 0.5, 0.61, True),
        ("value_trend", -0.05, 0.04, False),
        ("value_trend", -0.05, 0.06, True),
    ],
)
def test_a_change_is_told_from_a_tenth_of_a_share_or_four_tenths_of_a_number(
    feature: str, before: float, now: float, is_told: bool
) -> None:
    features = [each for axis in TWO_AXES for each in axis.features]
    found = changes(features, {feature: before}, {feature: now})
    assert [change.feature for change in found] == ([feature] if is_told else [])
