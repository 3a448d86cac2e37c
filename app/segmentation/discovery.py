"""Every axis of a shop, its segments with their names, and the archetypes they combine into."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.core.progress import Progress, unheard
from app.segmentation.archetypes import Archetypes, find_archetypes
from app.segmentation.axes import Axis, AxisStatus, Need, Source
from app.segmentation.clustering import FittedAxis, KRange, fit_axis
from app.segmentation.membership import Array, Kernel
from app.segmentation.naming import interpretation, name_of_undivided, segment_names
from app.segmentation.readings import MIN_READERS, Reading, asks, memberships_in, readers, undivided

#: Silhouette below which an axis's segments blur into each other; the report says so.
BLURRED = 0.3


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of an axis.

    count, share : customers whose dominant segment it is, and their part of all, 0..1
    source       : what its customers are read from
    """

    segment_id: str
    name: str
    interpretation: str
    count: int
    share: float
    source: Source


@dataclass(frozen=True, slots=True)
class DiscoveredAxis:
    """An axis with data: how it was fitted, and where everyone stands on it.

    readings    : one, or one of each source
    memberships : (n_customers, k), rows sum to 1; k counts the segments of all readings
    dominant    : (n_customers,) position of each customer's top segment
    segments    : k of them, reading by reading in the order of the centers
    askers      : customers with tickets enough to be read from them; None where the axis or the shop has no tickets
    """

    axis: Axis
    status: AxisStatus
    readings: tuple[Reading, ...]
    memberships: Array
    dominant: NDArray[np.intp]
    segments: tuple[Segment, ...]
    askers: int | None

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
    """

    axes: tuple[DiscoveredAxis, ...]
    silent: tuple[Axis, ...]
    signature: tuple[DiscoveredAxis, ...]
    archetypes: Archetypes


@dataclass(frozen=True, slots=True)
class DiscoveryOptions:
    """How to segment. sample_size : customers the clusters are fitted on at most; None for the usual limit"""

    k_range: KRange = KRange()
    robust: bool = True
    kernel: Kernel = "exponential"
    sample_size: int | None = None
    archetype_min_members: int = 5
    seed: int = 0


def discover(
    store_id: str,
    features: Mapping[str, Array],
    axes: Sequence[Axis],
    *,
    available: frozenset[Need],
    options: DiscoveryOptions,
    progress: Progress = unheard,
) -> Discovery:
    """Segment a shop.

    features  : name -> (n_customers,), finite; customers sorted by id, so that the seeded samples are reproducible
    available : what the shop's records hold; axes that need more are silent

    Raises InvalidInput if all of them are silent, or a feature is not finite.
    """
    silent = tuple(axis for axis in axes if axis.status(available) is AxisStatus.no_data)
    speaking = [axis for axis in axes if axis not in silent]
    if not speaking:
        lacking = ", ".join(f"{axis.name} (no {axis.need.value})" for axis in silent)
        raise InvalidInput(f"The records of store '{store_id}' say nothing of {lacking}. Ask for other axes.")
    found = []
    for number, axis in enumerate(speaking):
        progress("clustering", number / len(speaking))
        found.append(_discover_axis(store_id, axis, features, available, options))
    progress("archetypes", 0.0)
    signature = tuple(axis for axis in found if axis.has_structure)
    n_customers = len(next(iter(features.values())))
    shares = [axis.memberships for axis in signature] or [np.ones((n_customers, 1))]
    archetypes = find_archetypes(shares, min_members=options.archetype_min_members)
    return Discovery(axes=tuple(found), silent=silent, signature=signature, archetypes=archetypes)


def _discover_axis(
    store_id: str,
    axis: Axis,
    features: Mapping[str, Array],
    available: frozenset[Need],
    options: DiscoveryOptions,
) -> DiscoveredAxis:
    rows = readers(axis, features, available=available)
    readings: list[Reading] = []
    for source, mine in rows.items():
        first = readings[-1].positions.stop if readings else 0
        values = {name: column[mine] for name, column in _of_source(axis, source, features).items()}
        readings.append(Reading(source, _fit(axis, source, values, alone=len(rows) == 1, options=options), first))
    memberships = memberships_in(readings, features)
    dominant = memberships.argmax(axis=1)
    segments = [
        segment
        for reading in readings
        for segment in _segments(store_id, axis, reading, features, dominant, alone=len(readings) == 1)
    ]
    status = axis.status(available)
    if list(rows) == [Source.tickets]:
        status = AxisStatus.active
    askers = int(asks(features).sum()) if axis.ticket_features and Need.tickets in available else None
    return DiscoveredAxis(axis, status, tuple(readings), memberships, dominant, tuple(segments), askers)


def _of_source(axis: Axis, source: Source, features: Mapping[str, Array]) -> dict[str, Array]:
    return {feature.name: features[feature.name] for feature in axis.features_from(source)}


def _fit(
    axis: Axis, source: Source, values: Mapping[str, Array], *, alone: bool, options: DiscoveryOptions
) -> FittedAxis:
    """The segments of one reading. values : of its readers; alone : whether that is everyone"""
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
    )


def _too_few(axis: Axis, n_customers: int, *, alone: bool) -> bool:
    return n_customers < MIN_READERS and (not alone or bool(axis.quiet))


def _segments(
    store_id: str,
    axis: Axis,
    reading: Reading,
    features: Mapping[str, Array],
    dominant: NDArray[np.intp],
    *,
    alone: bool,
) -> list[Segment]:
    """The segments of one reading, their shares of all customers. alone : whether the axis has no other reading"""
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
            segment_id=segment_id(store_id, axis.name, name),
            name=name,
            interpretation=interpretation(axis, medians, share=len(each) / len(columns), source=reading.source),
            count=len(each),
            share=len(each) / len(columns),
            source=reading.source,
        )
        for name, medians, each in zip(names, typical, members, strict=True)
    ]


def segment_id(store_id: str, axis: str, name: str) -> str:
    """The id of a segment of that name: 10 digits, so that the few dozen of a shop never clash."""
    digest = hashlib.sha256(f"{store_id}|{axis}|{name}".encode()).digest()
    return f"seg_{int.from_bytes(digest, 'big') % 10**10:010d}"


def _quantiles(names: Sequence[str], members: Array, share: float) -> dict[str, float]:
    return dict(zip(names, np.quantile(members, share, axis=0).tolist(), strict=True))
