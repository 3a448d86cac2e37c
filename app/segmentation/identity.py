"""Who is who from one run to the next: segments and archetypes that are matched to those served before.

Cluster numbers mean nothing from run to run. Today's customers are placed twice, by the rules of the served run and by
the new ones, so that what is compared is where the lines are drawn, not how customers moved. An old and a new group are
the same one as far as they hold the same customers and lie in the same place; the best one-to-one matching of all of
them (Kuhn 1955) says which new group goes on as which old one and keeps its id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from app.segmentation.archetypes import ANY, Codes, place
from app.segmentation.axes import Feature, Source
from app.segmentation.clustering import Labels, adjusted_rand, in_units_of, shared
from app.segmentation.membership import Array
from app.segmentation.readings import Reading, memberships_in

#: Customers two groups share, of those in either, from which the new one goes on as the old one.
SAME = 1 / 3
#: A child is mostly its parent's: at least this share of it; and no crumb: at least this share of the parent.
MOSTLY, NO_CRUMB = 0.5, 0.2
#: How much lying in the same place counts beside sharing customers: it decides where these say little.
_PLACE_WEIGHT = 0.1
#: More than all else a pair can earn.
_SURE_WEIGHT = 2.0
#: From when a typical number has changed enough to be told: a share or an index by so much, else so many times.
SHARE_CHANGED, TIMES_CHANGED = 0.1, 1.4
NOBODY = -1


class Fate(Enum):
    """What became of a group, or where one comes from."""

    continued = "continued"
    split = "split"
    merged = "merged"
    born = "born"
    retired = "retired"


@dataclass(frozen=True, slots=True)
class Step:
    """From one old group to one new one.

    before, now : their numbers; None for one that is born or retired
    of_before   : the share of the old group's customers who are in the new one, 0..1; None without an old group
    of_now      : the share of the new group's who were in the old one; None without a new one
    count       : customers in both; of one born or retired all of its own
    """

    fate: Fate
    before: int | None
    now: int | None
    of_before: float | None
    of_now: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Descent:
    """How a run's groups descend from those before.

    heir_of : (n_now,) the old group each goes on as, whose id it keeps; NOBODY for a new one
    steps   : every old and every new group is in one at least
    """

    heir_of: Codes
    steps: tuple[Step, ...]


def descent(
    together: Array,
    nearness: Array,
    *,
    heritable: NDArray[np.bool_] | None = None,
    certain: NDArray[np.bool_] | None = None,
) -> Descent:
    """Match new groups to old ones.

    together  : (n_before, n_now) customers of today who are in each old group by the old rules and in each new one
    nearness  : (n_before, n_now) how near they lie, 0..1
    heritable : (n_before, n_now) whether the new group may go on as the old one; None where any may
    certain   : (n_before, n_now) whether it does, however many customers they share: by definition the same

    Numbering the groups otherwise changes nothing but the numbers.
    """
    before, now = together.sum(axis=1), together.sum(axis=0)
    either = before[:, None] + now[None, :] - together
    alike = np.divide(together, either, out=np.zeros_like(together), where=either > 0)
    of_before = np.divide(together, before[:, None], out=np.zeros_like(together), where=before[:, None] > 0)
    of_now = np.divide(together, now[None, :], out=np.zeros_like(together), where=now[None, :] > 0)

    child = (of_now >= MOSTLY) & (of_before >= NO_CRUMB)
    child &= (child.sum(axis=1) >= 2)[:, None]
    part = (of_before >= MOSTLY) & (of_now >= NO_CRUMB)
    part &= (part.sum(axis=0) >= 2)[None, :]
    allowed = np.ones(together.shape, dtype=np.bool_) if heritable is None else heritable
    sure = np.zeros(together.shape, dtype=np.bool_) if certain is None else certain
    kin = allowed & (sure | child | part | (alike >= SAME))
    # Whoever may not inherit is left out of the matching, so that it takes nobody's place.
    merit = alike + _PLACE_WEIGHT * nearness + np.where(sure, _SURE_WEIGHT, 0.0)
    rows, columns = linear_sum_assignment(np.where(kin, merit, 0.0), maximize=True)
    heir_of = np.full(together.shape[1], NOBODY, dtype=np.int64)
    for old, new in zip(rows, columns, strict=True):
        if kin[old, new]:
            heir_of[new] = old

    def step(fate: Fate, old: int, new: int) -> Step:
        return Step(fate, old, new, float(of_before[old, new]), float(of_now[old, new]), int(together[old, new]))

    steps: list[Step] = []
    for new in range(together.shape[1]):
        for old in range(together.shape[0]):
            if child[old, new]:
                steps.append(step(Fate.split, old, new))
            elif part[old, new]:
                steps.append(step(Fate.merged, old, new))
            elif heir_of[new] == old:
                steps.append(step(Fate.continued, old, new))
    seen_before, seen_now = {each.before for each in steps}, {each.now for each in steps}
    steps += [Step(Fate.born, None, new, None, None, int(now[new])) for new in range(len(now)) if new not in seen_now]
    steps += [
        Step(Fate.retired, old, None, None, None, int(before[old]))
        for old in range(len(before))
        if old not in seen_before
    ]
    return Descent(heir_of, tuple(steps))


@dataclass(frozen=True, slots=True)
class Drift:
    """How many customers known to both runs changed their segment on an axis, and why. Shares are 0..1.

    common     : customers known to both
    changed    : whose segment is another now
    moved      : whose behaviour is another: the old rules, too, put them elsewhere now
    refitted   : whom the new rules put elsewhere than the old ones do, behaving as they do now
    rand_*     : the adjusted Rand index of the same comparisons: 1 the same groups
    """

    common: int
    changed: float
    moved: float
    refitted: float
    rand_changed: float
    rand_moved: float
    rand_refitted: float


def drift(was: Labels, placed: Labels, now: Labels, heir_of: Codes, n_before: int) -> Drift | None:
    """was : (n,) each common customer's segment in the run before; placed : today by its rules; now : by the new ones

    heir_of, n_before : of the axis's descent. None without a common customer.
    """
    if not len(was):
        return None
    as_old = np.where(heir_of >= 0, heir_of, n_before + np.arange(len(heir_of)))[now]
    n_now = len(heir_of)
    return Drift(
        common=len(was),
        changed=float((as_old != was).mean()),
        moved=float((placed != was).mean()),
        refitted=float((as_old != placed).mean()),
        rand_changed=adjusted_rand(shared(was, now, n_before, n_now)),
        rand_moved=adjusted_rand(shared(was, placed, n_before, n_before)),
        rand_refitted=adjusted_rand(shared(placed, now, n_before, n_now)),
    )


# What a run remembers of the one before


@dataclass(frozen=True, slots=True)
class EarlierSegment:
    """named_for : feature -> its members' median when it was given its name; empty where it was not kept"""

    segment_id: str
    name: str
    source: Source
    named_for: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EarlierAxis:
    readings: tuple[Reading, ...]
    segments: tuple[EarlierSegment, ...]

    def reading(self, source: Source) -> Reading | None:
        return next((each for each in self.readings if each.source is source), None)

    def placed(self, features: Mapping[str, Array]) -> Labels | None:
        """(n_customers,) the segment of anyone by that run's rules; None where it read features there are no more."""
        if not self.can_place(features):
            return None
        result: Labels = memberships_in(self.readings, features).argmax(axis=1)
        return result

    def can_place(self, features: Mapping[str, Array]) -> bool:
        return all(name in features for reading in self.readings for name in reading.fitted.features)


@dataclass(frozen=True, slots=True)
class EarlierKind:
    """An archetype of level 1.

    defined_by : {axis: segment id} of its signature
    usual      : {axis: segment name} that most of its members have, on every axis with structure
    """

    archetype_id: str
    name: str
    defined_by: Mapping[str, str]
    usual: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run served before, as needed to go on from it.

    kinds      : its archetypes, in the order of signatures
    signature  : names of the axes that the signatures' columns stand for
    signatures : (n_kinds, n_axes) as `archetypes.Archetypes` has them; order : of the splits
    """

    run_id: int
    axes: Mapping[str, EarlierAxis]
    kinds: tuple[EarlierKind, ...]
    signature: tuple[str, ...]
    signatures: Codes
    order: tuple[int, ...]

    def placed(self, features: Mapping[str, Array], n_customers: int) -> Codes | None:
        """(n_customers,) everyone's archetype by that run's rules; None where it read features there are no more."""
        if not self.signature:
            return np.zeros(n_customers, dtype=np.int64)
        axes = [self.axes[name] for name in self.signature]
        if not all(axis.can_place(features) for axis in axes):
            return None
        return place([memberships_in(axis.readings, features) for axis in axes], self.signatures, self.order)


def nearness(before: EarlierAxis, readings: Sequence[Reading]) -> Array:
    """(n_before, n_now) exp(-distance) of the centers, in the new readings' units; 0 between sources or features."""
    n_now = sum(reading.fitted.n_segments for reading in readings)
    near = np.zeros((len(before.segments), n_now))
    for reading in readings:
        old = before.reading(reading.source)
        if old is None:
            continue
        centers = in_units_of(reading.fitted.scaler, old.fitted, reading.fitted.features)
        if centers is not None:
            near[old.positions, reading.positions] = np.exp(-cdist(centers, reading.fitted.centers))
    return near


def common_part(before: Sequence[EarlierKind], now: Sequence[Mapping[str, str]]) -> Array:
    """(n_before, n_now) the segments that define both of two archetypes, of those that define either.

    now : {axis: segment id}
    """
    mine = [set(kind.items()) for kind in now]
    return np.array(
        [
            [len(theirs & own) / len(theirs | own) if theirs | own else 1.0 for own in mine]
            for theirs in (set(kind.defined_by.items()) for kind in before)
        ]
    ).reshape(len(before), len(now))


@dataclass(frozen=True, slots=True)
class Change:
    """What is typical of a segment's customers, then and now."""

    feature: str
    before: float
    now: float
    says: str


def changes(features: Sequence[Feature], before: Mapping[str, float], now: Mapping[str, float]) -> tuple[Change, ...]:
    """The features whose typical value is another now, by enough to be told."""
    return tuple(
        Change(
            feature.name,
            before[feature.name],
            now[feature.name],
            f"{feature.number(before[feature.name])} → {feature.phrase(now[feature.name])}",
        )
        for feature in features
        if feature.name in before and _changed(feature, before[feature.name], now[feature.name])
    )


def _changed(feature: Feature, before: float, now: float) -> bool:
    if feature.percent or feature.signed or not feature.telling:
        return abs(now - before) >= SHARE_CHANGED
    low, high = sorted((before, now))
    return high > TIMES_CHANGED * low if low >= 0 else high - low >= SHARE_CHANGED


def defined_by(signature: NDArray[np.int64], names: Sequence[str], ids: Sequence[Sequence[str]]) -> dict[str, str]:
    """{axis: segment id} of one row of `Archetypes.signatures`. names : of its axes; ids : of their segments"""
    return {name: of_axis[code] for name, of_axis, code in zip(names, ids, signature, strict=False) if code != ANY}
