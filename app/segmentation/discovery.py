"""Every axis of a shop, its segments with their names, and the archetypes they combine into."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.core.progress import Progress, unheard
from app.segmentation.archetypes import ANY, Archetypes, Codes, find_archetypes
from app.segmentation.axes import FOLLOWING, LEADING, Axis, AxisStatus, Need, Source
from app.segmentation.clustering import FittedAxis, KRange, Labels, fit_axis, on_one_thread, shared
from app.segmentation.identity import (
    NOBODY,
    Change,
    Descent,
    Earlier,
    EarlierAxis,
    changes,
    common_part,
    defined_by,
    descent,
    nearness,
)
from app.segmentation.membership import Array, Kernel
from app.segmentation.naming import distinct_name, interpretation, name_of_undivided, segment_names
from app.segmentation.readings import MIN_READERS, Reading, asks, memberships_in, readers, undivided

#: Silhouette below which an axis's segments blur into each other; the report says so.
BLURRED = 0.3


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of an axis.

    count, share : customers whose dominant segment it is, and their part of all, 0..1
    source       : what its customers are read from
    typical      : feature -> the median of its customers, before any scaling
    named_for    : the same when it was given its name
    """

    segment_id: str
    name: str
    interpretation: str
    count: int
    share: float
    source: Source
    typical: Mapping[str, float]
    named_for: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AxisDescent:
    """How the segments of an axis go on from those of the run before.

    before  : that run's
    placed  : (n_customers,) the segment of each of today's customers by its rules
    changes : per segment, what has changed about it since it was named; nothing for a new one
    """

    before: EarlierAxis
    placed: Labels
    descent: Descent
    changes: tuple[tuple[Change, ...], ...]


@dataclass(frozen=True, slots=True)
class KindsDescent:
    """How archetypes of level 1 go on. placed : (n_customers,) today's customers by the rules of the run before"""

    placed: Codes
    descent: Descent


@dataclass(frozen=True, slots=True)
class DiscoveredAxis:
    """An axis with data: how it was fitted, and where everyone stands on it.

    readings    : one, or one of each source
    memberships : (n_customers, k), rows sum to 1; k counts the segments of all readings
    dominant    : (n_customers,) position of each customer's top segment
    segments    : k of them, reading by reading in the order of the centers
    askers      : customers with tickets enough to be read from them; None where the axis or the shop has no tickets
    lineage     : where its segments come from; None where the run before had nothing to compare
    """

    axis: Axis
    status: AxisStatus
    readings: tuple[Reading, ...]
    memberships: Array
    dominant: NDArray[np.intp]
    segments: tuple[Segment, ...]
    askers: int | None
    lineage: AxisDescent | None = None

    @property
    def has_structure(self) -> bool:
        """Whether any of its readings has: it then tells customers apart, and makes archetypes."""
        return any(reading.fitted.has_structure for reading in self.readings)

    @property
    def main(self) -> Reading:
        """The reading whose numbers are the axis's own: of those looked into for clusters, the one of most customers.

        Where an axis reads tickets alone that is the tickets, however few have any.
        """
        telling = [each for each in self.readings if not (self.axis.quiet and each.source is Source.orders)]
        return max(telling or self.readings, key=self.count)

    @property
    def fitted(self) -> FittedAxis:
        return self.main.fitted

    def undivided(self, reading: Reading) -> bool:
        """Whether a reading has too few customers, beside another or on an axis of tickets alone, to be clustered."""
        return _too_few(self.axis, self.count(reading), alone=len(self.readings) == 1)

    def count(self, reading: Reading) -> int:
        """Customers who are read that way."""
        return sum(segment.count for segment in self.segments[reading.positions])


@dataclass(frozen=True, slots=True)
class Discovery:
    """A whole shop, segmented.

    axes       : those with data, in the registry's order
    silent     : those asked for that the shop's records say nothing of
    signature  : the axes with structure, which make the archetypes; empty where the shop has none
    archetypes : customers in the order of the features they were found in
    earlier    : the run they go on from; None for a first one
    kinds      : how its archetypes of level 1 go on as these; None where that cannot be said
    """

    axes: tuple[DiscoveredAxis, ...]
    silent: tuple[Axis, ...]
    signature: tuple[DiscoveredAxis, ...]
    archetypes: Archetypes
    earlier: Earlier | None = None
    kinds: KindsDescent | None = None


@dataclass(frozen=True, slots=True)
class DiscoveryOptions:
    """How to segment.

    sample_size : customers the clusters are fitted on at most; None for the usual limit
    threads     : axes that are clustered at a time; what is found does not depend on it
    """

    k_range: KRange = KRange()
    robust: bool = True
    kernel: Kernel = "exponential"
    sample_size: int | None = None
    archetype_min_members: int = 5
    seed: int = 0
    threads: int = 1


def discover(
    store_id: str,
    features: Mapping[str, Array],
    axes: Sequence[Axis],
    *,
    available: frozenset[Need],
    options: DiscoveryOptions,
    earlier: Earlier | None = None,
    progress: Progress = unheard,
) -> Discovery:
    """Segment a shop.

    features  : name -> (n_customers,), finite; customers sorted by id, so that the seeded samples are reproducible
    available : what the shop's records hold; axes that need more are silent
    earlier   : the run that is served now; what goes on from it keeps its id, and its name unless it has changed

    Raises InvalidInput if all of them are silent, or a feature is not finite.
    """
    silent = tuple(axis for axis in axes if axis.status(available) is AxisStatus.no_data)
    speaking = [axis for axis in axes if axis not in silent]
    if not speaking:
        lacking = ", ".join(f"{axis.name} (no {axis.need.value})" for axis in silent)
        raise InvalidInput(f"The records of store '{store_id}' say nothing of {lacking}. Ask for other axes.")
    found = []

    def fitted(axis: Axis) -> DiscoveredAxis:
        before = None if earlier is None else earlier.axes.get(axis.name)
        return _discover_axis(store_id, axis, features, available, options, before)

    progress("clustering", 0.0)
    # Linear algebra on one thread, here too: several axes at a time would otherwise set it back for each other.
    with on_one_thread(), ThreadPoolExecutor(max_workers=options.threads) as pool:
        for axis in pool.map(fitted, speaking):
            found.append(axis)
            progress("clustering", len(found) / len(speaking))
    progress("archetypes", 0.0)
    signature = tuple(axis for axis in found if axis.has_structure)
    n_customers = len(next(iter(features.values())))
    shares = [axis.memberships for axis in signature] or [np.ones((n_customers, 1))]
    names = [axis.axis.name for axis in signature]
    leading = [names.index(name) for name in LEADING if name in names]
    following = [names.index(name) for name in FOLLOWING if name in names]
    archetypes = find_archetypes(
        shares,
        min_members=options.archetype_min_members,
        order=[*leading, *following] or None,
        leading=len(leading) or None,
        served=_served_signatures(earlier, signature) if earlier and set(names) & set(earlier.signature) else None,
    )
    kinds = None if earlier is None else _kinds(earlier, features, signature, archetypes)
    return Discovery(tuple(found), silent, signature, archetypes, earlier=earlier, kinds=kinds)


def _served_signatures(earlier: Earlier, signature: Sequence[DiscoveredAxis]) -> Codes:
    """The archetypes served now in the positions of today's axes; ANY for what is no more."""
    columns = []
    for axis in signature:
        column = np.full(len(earlier.kinds), ANY, dtype=np.int64)
        if axis.lineage is not None and axis.axis.name in earlier.signature:
            was = earlier.signatures[:, earlier.signature.index(axis.axis.name)]
            for position, heir in enumerate(axis.lineage.descent.heir_of):
                if heir != NOBODY:
                    column[was == heir] = position
        columns.append(column)
    return np.stack(columns, axis=1) if columns else np.full((len(earlier.kinds), 1), ANY, dtype=np.int64)


def _kinds(
    earlier: Earlier, features: Mapping[str, Array], signature: Sequence[DiscoveredAxis], archetypes: Archetypes
) -> KindsDescent | None:
    placed = earlier.placed(features, len(archetypes.level1))
    if placed is None:
        return None
    n_now = len(archetypes.signatures)
    together = shared(placed, archetypes.level1, len(earlier.kinds), n_now)
    names = [axis.axis.name for axis in signature]
    ids = [[segment.segment_id for segment in axis.segments] for axis in signature]
    now = [defined_by(row, names, ids) for row in archetypes.signatures]
    alike = common_part(earlier.kinds, now)
    # An archetype that is everyone says nothing of its customers, and one of other axes something else; what comes of
    # either is somebody else.
    heritable = np.array(
        [
            [bool(old.defined_by.keys() & each.keys()) or not (old.defined_by or each) for each in now]
            for old in earlier.kinds
        ]
    )
    return KindsDescent(placed, descent(together, alike, heritable=heritable, certain=alike == 1.0))


def _discover_axis(
    store_id: str,
    axis: Axis,
    features: Mapping[str, Array],
    available: frozenset[Need],
    options: DiscoveryOptions,
    before: EarlierAxis | None,
) -> DiscoveredAxis:
    rows = readers(axis, features, available=available)
    readings: list[Reading] = []
    for source, mine in rows.items():
        first = readings[-1].positions.stop if readings else 0
        values = {name: column[mine] for name, column in _of_source(axis, source, features).items()}
        was = before.reading(source) if before else None
        served = was.fitted if was else None
        fitted = _fit(axis, source, values, alone=len(rows) == 1, options=options, served=served)
        readings.append(Reading(source, fitted, first))
    memberships = memberships_in(readings, features)
    dominant = memberships.argmax(axis=1)
    segments = [
        segment
        for reading in readings
        for segment in _segments(axis, reading, features, dominant, alone=len(readings) == 1)
    ]
    lineage = None if before is None else _lineage(axis, before, readings, features, dominant, segments)
    segments = _named(store_id, axis, segments, lineage)
    status = axis.status(available)
    if list(rows) == [Source.tickets]:
        status = AxisStatus.active
    askers = int(asks(features).sum()) if axis.ticket_features and Need.tickets in available else None
    return DiscoveredAxis(axis, status, tuple(readings), memberships, dominant, tuple(segments), askers, lineage)


def _of_source(axis: Axis, source: Source, features: Mapping[str, Array]) -> dict[str, Array]:
    return {feature.name: features[feature.name] for feature in axis.features_from(source)}


def _fit(
    axis: Axis,
    source: Source,
    values: Mapping[str, Array],
    *,
    alone: bool,
    options: DiscoveryOptions,
    served: FittedAxis | None,
) -> FittedAxis:
    """The segments of one reading. values : of its readers; alone : whether that is everyone; served : the one now"""
    table = np.column_stack(list(values.values()))
    if _too_few(axis, len(table), alone=alone) or (axis.quiet and source is Source.orders):
        return undivided(axis, source, table, robust=options.robust, kernel=options.kernel)
    return fit_axis(
        axis.name,
        tuple(values),
        tuple(feature.transform for feature in axis.features_from(source)),
        table,
        k_range=options.k_range,
        robust=options.robust,
        kernel=options.kernel,
        sample_size=options.sample_size,
        seed=options.seed,
        served=served,
    )


def _too_few(axis: Axis, n_customers: int, *, alone: bool) -> bool:
    return n_customers < MIN_READERS and (not alone or bool(axis.quiet))


def _segments(
    axis: Axis,
    reading: Reading,
    features: Mapping[str, Array],
    dominant: NDArray[np.intp],
    *,
    alone: bool,
) -> list[Segment]:
    """The segments of one reading, named as if they were new. alone : whether the axis has no other reading"""
    values = _of_source(axis, reading.source, features)
    columns = np.column_stack(list(values.values()))
    of_reading = reading.positions
    members = [columns[dominant == position] for position in range(of_reading.start, of_reading.stop)]
    typical, most = ([_quantiles(tuple(values), each, share) for each in members] for share in (0.5, 0.9))
    names = segment_names(axis, typical, most=most, source=reading.source)
    if reading.fitted.n_segments == 1 and not alone:
        names = [name_of_undivided(axis, reading.source)]
    return [
        Segment(
            segment_id="",
            name=name,
            interpretation=interpretation(axis, medians, share=len(each) / len(columns), source=reading.source),
            count=len(each),
            share=len(each) / len(columns),
            source=reading.source,
            typical=medians,
            named_for=medians,
        )
        for name, medians, each in zip(names, typical, members, strict=True)
    ]


def _lineage(
    axis: Axis,
    before: EarlierAxis,
    readings: Sequence[Reading],
    features: Mapping[str, Array],
    dominant: Labels,
    segments: Sequence[Segment],
) -> AxisDescent | None:
    placed = before.placed(features)
    if placed is None:
        return None
    together = shared(placed, dominant, len(before.segments), len(segments))
    # A segment that is all of its reading says nothing of its customers; what comes of it is somebody else.
    divided = np.array(
        [reading.fitted.n_segments > 1 for reading in readings for _ in range(reading.fitted.n_segments)]
    )
    was = np.array(
        [reading.fitted.n_segments > 1 for reading in before.readings for _ in range(reading.fitted.n_segments)]
    )
    of_source = np.array([[old.source is new.source for new in segments] for old in before.segments])
    found = descent(together, nearness(before, readings), heritable=of_source & (was[:, None] == divided[None, :]))
    changed = tuple(
        ()
        if heir == NOBODY
        else changes(axis.features_from(segment.source), before.segments[heir].named_for, segment.typical)
        for heir, segment in zip(found.heir_of, segments, strict=True)
    )
    return AxisDescent(before, placed, found, changed)


def _named(store_id: str, axis: Axis, segments: Sequence[Segment], lineage: AxisDescent | None) -> list[Segment]:
    """The segments with their ids, and with the names they keep: another only where behaviour has changed."""
    heir_of = [NOBODY] * len(segments) if lineage is None else lineage.descent.heir_of.tolist()
    ids, names = {}, {}
    named_for = {number: segment.typical for number, segment in enumerate(segments)}
    for number, heir in enumerate(heir_of):
        if lineage is not None and heir != NOBODY:
            ids[number] = lineage.before.segments[heir].segment_id
            if not lineage.changes[number]:
                names[number] = lineage.before.segments[heir].name
                # Of when it was named, or what changes a little from run to run would never have changed.
                named_for[number] = lineage.before.segments[heir].named_for or segments[number].typical
    for number, segment in enumerate(segments):
        if number not in names:
            others = {name: segments[each].typical for each, name in names.items()}
            names[number] = distinct_name(segment.name, segment.typical, others, axis.features_from(segment.source))
        if number not in ids:
            ids[number] = segment_id(store_id, axis.name, names[number], taken=set(ids.values()) | _known(lineage))
    return [
        replace(segment, segment_id=ids[each], name=names[each], named_for=named_for[each])
        for each, segment in enumerate(segments)
    ]


def _known(lineage: AxisDescent | None) -> set[str]:
    return set() if lineage is None else {segment.segment_id for segment in lineage.before.segments}


def segment_id(store_id: str, axis: str, name: str, *, taken: Collection[str] = ()) -> str:
    """The id of a new segment of that name: 10 digits, so that the few dozen of a shop never clash.

    taken : ids of segments that are somebody else, such as one that had this name when it was new
    """
    number = 1
    while True:
        told = f"{store_id}|{axis}|{name}" + (f"|{number}" if number > 1 else "")
        found = f"seg_{int.from_bytes(hashlib.sha256(told.encode()).digest(), 'big') % 10**10:010d}"
        if found not in taken:
            return found
        number += 1


def _quantiles(names: Sequence[str], members: Array, share: float) -> dict[str, float]:
    return dict(zip(names, np.quantile(members, share, axis=0).tolist(), strict=True))
