"""Every axis of a shop, its segments with their names, and the archetypes they combine into."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.core.progress import Progress, unheard
from app.segmentation.archetypes import Archetypes, find_archetypes
from app.segmentation.axes import Axis, AxisStatus, Need
from app.segmentation.clustering import FittedAxis, KRange, fit_axis
from app.segmentation.membership import Array, Kernel
from app.segmentation.naming import interpretation, segment_names

#: Silhouette below which an axis's segments blur into each other; the report says so.
BLURRED = 0.3


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of an axis. count, share : customers whose dominant segment it is, and their part of all, 0..1"""

    segment_id: str
    name: str
    interpretation: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class DiscoveredAxis:
    """An axis with data: how it was fitted, and where everyone stands on it.

    memberships : (n_customers, k), rows sum to 1
    dominant    : (n_customers,) position of each customer's top segment
    segments    : k of them, in the order of the centers
    """

    axis: Axis
    status: AxisStatus
    fitted: FittedAxis
    memberships: Array
    dominant: NDArray[np.intp]
    segments: tuple[Segment, ...]


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
        found.append(_discover_axis(store_id, axis, features, axis.status(available), options))
    progress("archetypes", 0.0)
    signature = tuple(axis for axis in found if axis.fitted.has_structure)
    n_customers = len(next(iter(features.values())))
    shares = [axis.memberships for axis in signature] or [np.ones((n_customers, 1))]
    archetypes = find_archetypes(shares, min_members=options.archetype_min_members)
    return Discovery(axes=tuple(found), silent=silent, signature=signature, archetypes=archetypes)


def _discover_axis(
    store_id: str, axis: Axis, features: Mapping[str, Array], status: AxisStatus, options: DiscoveryOptions
) -> DiscoveredAxis:
    values = np.column_stack([features[name] for name in axis.feature_names])
    fitted = fit_axis(
        axis.name,
        axis.feature_names,
        axis.transforms,
        values,
        k_range=options.k_range,
        robust=options.robust,
        kernel=options.kernel,
        sample_size=options.sample_size,
        seed=options.seed,
    )
    memberships = fitted.memberships(values)
    dominant = memberships.argmax(axis=1)
    members = [values[dominant == segment] for segment in range(fitted.n_segments)]
    typical = [_quantiles(axis, each, 0.5) for each in members]
    names = segment_names(axis, typical, most=[_quantiles(axis, each, 0.9) for each in members])
    counts = np.bincount(dominant, minlength=fitted.n_segments)
    segments = tuple(
        Segment(
            segment_id=segment_id(store_id, axis.name, name),
            name=name,
            interpretation=interpretation(axis, medians, share=count / len(values)),
            count=int(count),
            share=float(count / len(values)),
        )
        for name, medians, count in zip(names, typical, counts, strict=True)
    )
    return DiscoveredAxis(axis, status, fitted, memberships, dominant, segments)


def segment_id(store_id: str, axis: str, name: str) -> str:
    """The id of a segment of that name: 10 digits, so that the few dozen of a shop never clash."""
    digest = hashlib.sha256(f"{store_id}|{axis}|{name}".encode()).digest()
    return f"seg_{int.from_bytes(digest, 'big') % 10**10:010d}"


def _quantiles(axis: Axis, members: Array, share: float) -> dict[str, float]:
    return dict(zip(axis.feature_names, np.quantile(members, share, axis=0).tolist(), strict=True))
