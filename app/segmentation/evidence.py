"""The evidence of an axis: whether its groups are real, said in plain words, and the numbers to see it by.

A verdict compares the customers with one shapeless cloud, and with themselves drawn again. The picture shows both along
one direction, so that humps can be told from one hump. Redundancy says which axes tell of much the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from app.segmentation.axes import Feature, Source
from app.segmentation.clustering import MIN_SHARE, FittedAxis, shared
from app.segmentation.discovery import BLURRED, DiscoveredAxis
from app.segmentation.membership import Array
from app.segmentation.norms import typical_value
from app.segmentation.readings import MIN_READERS, MIN_TICKETS, Reading

#: By how much a silhouette must beat the cloud's to be told as much clearer.
MUCH = 0.15
#: Share of customers whom resamples leave in their segment, below which the groups are told as unsteady.
STEADY = 0.9
#: Normalised mutual information from which two axes say much the same.
OVERLAPPING = 0.5
BINS = 40
# How far the picture goes at least, in standard deviations on either side: nearly all of the cloud.
_REACH = 2.5
# A spread below this is rounding noise: such points lie in one place.
_FLAT = 1e-9


class Verdict(StrEnum):
    """What the numbers say of the groups on an axis, or in one reading of it."""

    real_groups = "real_groups"
    blurred_groups = "blurred_groups"
    unsteady_groups = "unsteady_groups"
    continuum = "continuum"
    too_small = "too_small"
    one_group = "one_group"


def verdict(found: DiscoveredAxis, reading: Reading) -> Verdict:
    """Of one reading. Groups that do not come back are told before groups that lie close together."""
    fitted = reading.fitted
    if _not_asked(found, reading):
        return Verdict.one_group
    if found.undivided(reading):
        return Verdict.too_small
    if fitted.silhouette is None:
        return Verdict.one_group
    if not fitted.has_structure:
        return Verdict.continuum
    if fitted.stability is not None and fitted.stability.kept < STEADY:
        return Verdict.unsteady_groups
    return Verdict.blurred_groups if fitted.silhouette < BLURRED else Verdict.real_groups


def says(found: DiscoveredAxis, reading: Reading) -> str:
    """The verdict in a sentence or two for whom a silhouette means nothing."""
    fitted = reading.fitted
    match verdict(found, reading):
        case Verdict.one_group if _not_asked(found, reading):
            return f"One group: with fewer than {MIN_TICKETS} tickets there is nothing to tell customers apart by."
        case Verdict.one_group:
            return (
                f"One group: customers are so alike that no split leaves {100 * MIN_SHARE:.0f} of 100 in every segment."
            )
        case Verdict.too_small:
            return f"Too few to tell: with fewer than {MIN_READERS} customers groups would be of chance."
        case Verdict.continuum:
            return (
                f"A continuum: customers differ by degree, no more grouped than one shapeless cloud{_against(fitted)}; "
                "any line drawn here would be arbitrary, so there is one segment."
            )
        case Verdict.unsteady_groups:
            return (
                f"Unsteady groups: {_clearer(fitted)}, but only {_kept(fitted)}; take the lines between them as rough."
            )
        case Verdict.blurred_groups:
            return (
                f"Groups that run into each other: {_clearer(fitted)}, but many customers stand between two; "
                f"{_kept(fitted)}."
            )
        case Verdict.real_groups:
            return f"Real groups: {_clearer(fitted)}, and {_kept(fitted)}."


def says_of_overlap(overlaps: Sequence[tuple[str, float]]) -> str:
    """Which other axes say much the same, in a sentence; empty where none does. overlaps : of `Redundancy.of`"""
    same = [f"{name.replace('_', ' ')} ({_hundredths(nmi)} of 1)" for name, nmi in overlaps if nmi >= OVERLAPPING]
    if not same:
        return ""
    told = same[0] if len(same) == 1 else f"{', '.join(same[:-1])} and {same[-1]}"
    return f"It says much the same as {told}."


def told_by(found: DiscoveredAxis) -> Reading:
    """The reading whose verdict is the axis's: its main one, unless another alone has groups."""
    if found.main.fitted.has_structure == found.has_structure:
        return found.main
    return next(reading for reading in found.readings if reading.fitted.has_structure)


def _not_asked(found: DiscoveredAxis, reading: Reading) -> bool:
    """Those without tickets on an axis that reads nothing else."""
    return bool(found.axis.quiet) and reading.source is Source.orders


def _clearer(fitted: FittedAxis) -> str:
    much = "much " if (fitted.silhouette or 0.0) - (fitted.null_silhouette or 0.0) >= MUCH else ""
    return f"these segments are {much}clearer than those of one shapeless cloud{_against(fitted)}"


def _against(fitted: FittedAxis) -> str:
    if fitted.silhouette is None or fitted.null_silhouette is None:
        return ""
    return f" ({_hundredths(fitted.silhouette)} against {_hundredths(fitted.null_silhouette)})"


def _hundredths(value: float) -> str:
    """A score of -1 to 1 as it is told: ".42"."""
    return f"{value:z.2f}".replace("0.", ".", 1)


def _kept(fitted: FittedAxis) -> str:
    kept = 0 if fitted.stability is None else math.floor(100 * fitted.stability.kept + 1e-9)
    who = "all" if kept == 100 else f"{kept} of 100"
    return f"{who} keep theirs when the shop's customers are drawn again"


# Axes that say the same


@dataclass(frozen=True, slots=True)
class Redundancy:
    """How much axes say of each other.

    names : axes on which customers are in more than one segment; the others say nothing of anything
    nmi   : (n, n) normalised mutual information of their dominant segments: 0 nothing, 1 all; symmetric
    """

    names: tuple[str, ...]
    nmi: Array

    def of(self, axis: str) -> list[tuple[str, float]]:
        """The other axes and what they share with this one, most first; empty for one that is not among them."""
        if axis not in self.names:
            return []
        row = self.nmi[self.names.index(axis)]
        others = [(name, float(value)) for name, value in zip(self.names, row, strict=True) if name != axis]
        return sorted(others, key=lambda other: -other[1])


def redundancy(axes: Sequence[DiscoveredAxis]) -> Redundancy:
    """Every pair of axes, compared."""
    telling = [axis for axis in axes if len(np.unique(axis.dominant)) > 1]
    values = np.eye(len(telling))
    for one, other in combinations(range(len(telling)), 2):
        a, b = telling[one], telling[other]
        together = shared(a.dominant, b.dominant, len(a.segments), len(b.segments))
        values[one, other] = values[other, one] = normalised_mutual_information(together)
    return Redundancy(tuple(axis.axis.name for axis in telling), values)


def normalised_mutual_information(together: Array) -> float:
    """2 I / (H + H') of two groupings, from how many customers each pair of groups shares.

    together : (n_one, n_other), at least one customer
    returns  : 0 where one tells nothing of the other, 1 where each tells all of it, also where both are one group
    """
    shares = together / together.sum()
    one, other = shares.sum(axis=1), shares.sum(axis=0)
    entropies = _entropy(one) + _entropy(other)
    if entropies == 0.0:
        return 1.0
    # Information is what the two entropies have in common.
    return max(0.0, 2 * (entropies - _entropy(shares.ravel())) / entropies)


def _entropy(shares: Array) -> float:
    there = shares[shares > 0]
    return -float((there * np.log(there)).sum()) + 0.0


# The picture


@dataclass(frozen=True, slots=True)
class Typical:
    """One feature as the shop and each segment typically have it.

    shop, segments : values as they are told, `norms.typical_value`
    says           : the shop's in words: "2 orders"; told : the segments' in numbers: "1", "11"
    apart          : how far each segment lies from the shop, in scaled units
    """

    feature: str
    says: str
    shop: float
    segments: tuple[float, ...]
    told: tuple[str, ...]
    apart: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Customers of one reading along the direction that tells its segments apart best, and what the segments are like.

    start, step : of the bins, in standard deviations along the direction, 0 the mean
    density     : (k, BINS) share of the reading's customers in each bin, segment by segment; all of it sums to 1
    null        : (BINS,) the same of one Gaussian cloud of the same covariance
    low, high   : words for the two ends, of the feature that goes with the direction most
    """

    start: float
    step: float
    density: Array
    null: Array
    low: str
    high: str
    features: tuple[Typical, ...]

    def stored(self) -> dict[str, Any]:
        """Plain enough for JSON, rounded to what can be seen."""
        return {
            "start": round(self.start, 4),
            "step": round(self.step, 4),
            "density": np.round(self.density, 5).tolist(),
            "null": np.round(self.null, 5).tolist(),
            "low": self.low,
            "high": self.high,
            "features": [
                {
                    "feature": each.feature,
                    "says": each.says,
                    "shop": _significant(each.shop),
                    "segments": [_significant(value) for value in each.segments],
                    "told": list(each.told),
                    "apart": [round(value, 3) for value in each.apart],
                }
                for each in self.features
            ],
        }


def _significant(value: float) -> float:
    return float(f"{value:.6g}")


def picture(found: DiscoveredAxis, reading: Reading, values: Mapping[str, Array]) -> Picture:
    """Of one reading. values : feature -> (n_customers,) of the whole shop"""
    mine = np.isin(found.dominant, np.arange(reading.positions.start, reading.positions.stop))
    dominant = found.dominant[mine] - reading.first
    features = found.axis.features_from(reading.source)
    raw = {feature.name: values[feature.name][mine] for feature in features}
    scaled = reading.fitted.scaler.apply(np.column_stack(list(raw.values())))
    direction = _direction(scaled, dominant, reading.fitted.n_segments)
    along = (scaled - scaled.mean(axis=0)) @ direction
    spread = float(along.std())
    along = along / spread if spread > _FLAT else np.zeros_like(along)
    start, stop = min(-_REACH, float(along.min())), max(_REACH, float(along.max()))
    edges = np.linspace(start, stop, BINS + 1)
    density = np.array(
        [np.histogram(along[dominant == segment], edges)[0] for segment in range(reading.fitted.n_segments)]
    )
    # Along any line a Gaussian cloud is a Gaussian of the same mean and spread: no need to draw one.
    null = np.diff(ndtr(edges)) if spread > _FLAT else density.sum(axis=0) / len(along)
    ends = features[int(np.abs(scaled.T @ along).argmax())]
    return Picture(
        start=start,
        step=(stop - start) / BINS,
        density=density / len(along),
        null=null,
        low=ends.low.replace("_", " "),
        high=ends.high.replace("_", " "),
        features=tuple(_typical(feature, raw[feature.name], dominant, reading.fitted) for feature in features),
    )


def _direction(scaled: Array, dominant: NDArray[np.intp], k: int) -> Array:
    """(n_features,) unit vector: where the segments' means differ most for what they scatter (Fisher 1936), or where
    the customers of a lone segment do. It points to where the feature that goes with it most is high.
    """
    centred = scaled - scaled.mean(axis=0)
    total = centred.T @ centred / len(scaled)
    if k == 1:
        direction = np.linalg.eigh(total)[1][:, -1]
    else:
        sizes = np.bincount(dominant, minlength=k)
        sums = np.array([centred[dominant == segment].sum(axis=0) for segment in range(k)])
        means = sums / np.maximum(sizes, 1)[:, None]
        between = (means.T * sizes) @ means / len(scaled)
        # Half of the scatter is taken as round: a feature that is constant within segments would be all there is to
        # see otherwise.
        within = total - between
        round_scatter = np.eye(len(total)) * max(float(np.trace(within)) / len(total), _FLAT)
        root = np.linalg.cholesky((within + round_scatter) / 2)
        whitened = np.linalg.solve(root, np.linalg.solve(root, between).T)
        direction = np.linalg.solve(root.T, np.linalg.eigh((whitened + whitened.T) / 2)[1][:, -1])
    direction /= np.linalg.norm(direction)
    along = centred.T @ (centred @ direction)
    result: Array = direction if along[np.abs(along).argmax()] >= 0 else -direction
    return result


def _typical(feature: Feature, values: Array, dominant: NDArray[np.intp], fitted: FittedAxis) -> Typical:
    shop = typical_value(feature, values)
    segments = [typical_value(feature, values[dominant == segment]) for segment in range(fitted.n_segments)]
    apart = _scaled(feature, fitted, segments) - _scaled(feature, fitted, [shop])
    return Typical(
        feature=feature.name,
        says=feature.phrase(shop),
        shop=shop,
        segments=tuple(segments),
        told=tuple(feature.number(value) for value in segments),
        apart=tuple(apart.tolist()),
    )


def _scaled(feature: Feature, fitted: FittedAxis, values: Sequence[float]) -> Array:
    """Values of one feature in the axis's scaled units."""
    column = fitted.features.index(feature.name)
    table = np.zeros((len(values), len(fitted.features)))
    table[:, column] = values
    return fitted.scaler.apply(table)[:, column]
