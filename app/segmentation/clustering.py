"""One axis: transform, scale, choose k, cluster, and say whether there is anything to see.

k is chosen by silhouette among the k whose every cluster holds at least 3 % of the customers, because silhouette alone
rewards isolating a handful of outliers. The axis has structure when its silhouette beats, by .05, that of one Gaussian
cloud with the same covariance clustered the same way (the idea of SigClust: Liu, Hayes, Nobel & Marron 2008).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from app.core.errors import InvalidInput
from app.segmentation.membership import Array, Kernel, membership

Transform = Literal["none", "log1p"]
Labels = NDArray[np.intp]

MIN_SHARE = 0.03
MOST_SEGMENTS = 33  # more than these cannot all hold MIN_SHARE
NULL_MARGIN = 0.05
TIE = 0.01
WINSOR_PERCENTILES = (1.0, 99.0)
SILHOUETTE_SAMPLE = 5_000
FIT_SAMPLE = 20_000
# Decimals of a standard deviation that clusters are looked for in. What lies below is rounding noise of the features:
# taken as it is, .3 and .1 + .2 are two tight clusters.
_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Scaler:
    """What turns an axis's raw features into scaled units: transform, winsorise, standardise.

    low, high   : (n_features,) limits after the transform; infinite where outliers are left alone
    mean, scale : (n_features,) of the whole population after winsorising; scale is 1 for a constant feature
    """

    transforms: tuple[Transform, ...]
    low: Array
    high: Array
    mean: Array
    scale: Array

    def apply(self, values: Array) -> Array:
        """(n_customers, n_features) raw features to scaled units."""
        clipped = np.clip(transformed(values, self.transforms), self.low, self.high)
        result: Array = (clipped - self.mean) / self.scale
        return result


@dataclass(frozen=True, slots=True)
class FittedAxis:
    """An axis after discovery: enough to place any customer on it.

    centers         : (k, n_features), scaled units, in a fixed order (by the first feature, then the next)
    silhouette      : of the chosen k, -1..1; None where there is one segment because nothing could be tried
    null_silhouette : what the Gaussian cloud reached
    smallest_share  : of the k tried and chosen, over all customers
    has_structure   : False where the axis is a continuum, or no k keeps every segment at MIN_SHARE; it then has one
                      segment and takes no part in archetypes
    """

    name: str
    features: tuple[str, ...]
    scaler: Scaler
    centers: Array
    kernel: Kernel
    silhouette: float | None
    null_silhouette: float | None
    smallest_share: float
    has_structure: bool

    @property
    def n_segments(self) -> int:
        return len(self.centers)

    def distances(self, values: Array) -> Array:
        """(n_customers, n_features) raw features to (n_customers, k) distances in scaled units."""
        result: Array = cdist(self.scaler.apply(values), self.centers)
        return result

    def memberships(self, values: Array) -> Array:
        """(n_customers, n_features) raw features to (n_customers, k) shares, rows summing to 1."""
        return membership(self.distances(values), self.kernel)

    def scaler_params(self) -> dict[str, Any]:
        """What the segment master keeps of the axis, plain enough for JSON; `fitted_axis` reads it back bit for bit."""
        return {
            "features": list(self.features),
            "transforms": list(self.scaler.transforms),
            "low": [None if np.isinf(limit) else float(limit) for limit in self.scaler.low],
            "high": [None if np.isinf(limit) else float(limit) for limit in self.scaler.high],
            "mean": self.scaler.mean.tolist(),
            "scale": self.scaler.scale.tolist(),
            "kernel": self.kernel,
            "silhouette": self.silhouette,
            "null_silhouette": self.null_silhouette,
            "smallest_share": self.smallest_share,
            "has_structure": self.has_structure,
        }


def fitted_axis(name: str, scaler_params: Mapping[str, Any], centers: Sequence[Sequence[float]]) -> FittedAxis:
    """The axis that `FittedAxis.scaler_params` and its centers were taken from."""
    stored = dict(scaler_params)
    low = [-np.inf if limit is None else limit for limit in stored["low"]]
    high = [np.inf if limit is None else limit for limit in stored["high"]]
    return FittedAxis(
        name=name,
        features=tuple(stored["features"]),
        scaler=Scaler(
            transforms=tuple(stored["transforms"]),
            low=np.array(low),
            high=np.array(high),
            mean=np.array(stored["mean"]),
            scale=np.array(stored["scale"]),
        ),
        centers=np.array(centers),
        kernel=stored["kernel"],
        silhouette=stored["silhouette"],
        null_silhouette=stored["null_silhouette"],
        smallest_share=stored["smallest_share"],
        has_structure=stored["has_structure"],
    )


@dataclass(frozen=True, slots=True)
class KRange:
    """The numbers of clusters to try.

    Given limits are tried as they are. Otherwise 2 to 6, or with `dynamic` 2 to clamp(sqrt(n / 50), 2, 6), so that a
    small shop is not cut into slivers. A given smallest is tried also where it lies above that.

    Raises InvalidInput if the smallest is more than the largest.
    """

    smallest: int | None = None
    largest: int | None = None
    dynamic: bool = True

    def __post_init__(self) -> None:
        if self.smallest is not None and self.largest is not None and self.smallest > self.largest:
            raise InvalidInput(
                f"The fewest clusters to try, {self.smallest}, is more than the most, {self.largest}. Swap them."
            )

    def candidates(self, n_customers: int) -> range:
        smallest = 2 if self.smallest is None else self.smallest
        if self.largest is not None:
            return range(smallest, min(self.largest, MOST_SEGMENTS) + 1)
        limit = int(np.clip(np.sqrt(n_customers / 50), 2, 6)) if self.dynamic else 6
        return range(smallest, max(smallest, limit) + 1)


def transformed(values: Array, transforms: tuple[Transform, ...]) -> Array:
    """Raw features with the logarithm taken of the heavy-tailed ones; values below 0 count as 0 there."""
    result = np.array(values, dtype=np.float64)
    for column, transform in enumerate(transforms):
        if transform == "log1p":
            result[:, column] = np.log1p(np.maximum(result[:, column], 0.0))
    return result


def fit_scaler(values: Array, transforms: tuple[Transform, ...], *, robust: bool) -> Scaler:
    """The population's scaler.

    values : (n_customers, n_features), finite
    robust : winsorise at the 1st and 99th percentile first, so that outliers neither stretch the scale nor become a
             cluster of their own
    """
    plain = transformed(values, transforms)
    n_features = plain.shape[1]
    if robust:
        # Customers' own values, the inner ones: interpolated, the 99th percentile of 100 customers is 1 % outlier.
        low = np.percentile(plain, WINSOR_PERCENTILES[0], axis=0, method="higher")
        high = np.percentile(plain, WINSOR_PERCENTILES[1], axis=0, method="lower")
        low, high = np.minimum(low, high), np.maximum(low, high)
    else:
        low, high = np.full(n_features, -np.inf), np.full(n_features, np.inf)
    clipped = np.clip(plain, low, high)
    mean, spread = clipped.mean(axis=0), clipped.std(axis=0)
    # A constant column's std comes out as rounding noise rather than 0 when its mean is not exact.
    constant = spread <= 1e-12 * np.maximum(np.abs(mean), 1.0)
    return Scaler(transforms, low, high, mean, np.where(constant, 1.0, spread))


def fit_axis(
    name: str,
    features: tuple[str, ...],
    transforms: tuple[Transform, ...],
    values: Array,
    *,
    k_range: KRange,
    robust: bool = True,
    kernel: Kernel = "exponential",
    sample_size: int | None = None,
    seed: int = 0,
) -> FittedAxis:
    """Discover the segments of one axis.

    values      : (n_customers, n_features), finite; callers sort by customer, because the order of the rows decides
                  which of them the seeded samples and starts pick
    sample_size : clusters are fitted on this many customers at most (FIT_SAMPLE by default) and then hold for all

    Raises InvalidInput if a value is NaN or infinite.
    """
    undefined = [features[column] for column in np.flatnonzero(~np.isfinite(values).all(axis=0))]
    if undefined:
        raise InvalidInput(f"Axis '{name}' cannot be clustered: {', '.join(undefined)} is NaN or infinite for someone.")
    scaler = fit_scaler(values, transforms, robust=robust)
    scaled = np.round(scaler.apply(values), _DECIMALS)
    rng = np.random.default_rng(seed)
    # On one thread: arrays this small are slower on many, several times so where other work wants the cores too, and
    # the order in which threads add up changes the centers' last bits.
    with threadpool_limits(limits=1):
        chosen = _best_clustering(scaled, k_range.candidates(len(scaled)), rng, sample_size=sample_size, seed=seed)
        null = None if chosen is None else _null_silhouette(scaled, k_range, rng, seed=seed)
    has_structure = chosen is not None and null is not None and chosen.silhouette >= null + NULL_MARGIN
    if chosen is None or not has_structure:
        centers = scaled.mean(axis=0, keepdims=True)
    else:
        # Rounded, so that noise in one feature does not decide an order that belongs to the next.
        centers = chosen.centers[np.lexsort(np.round(chosen.centers, _DECIMALS).T[::-1])]
    return FittedAxis(
        name=name,
        features=features,
        scaler=scaler,
        centers=centers,
        kernel=kernel,
        silhouette=None if chosen is None else chosen.silhouette,
        null_silhouette=null,
        smallest_share=1.0 if chosen is None else chosen.smallest_share,
        has_structure=has_structure,
    )


@dataclass(frozen=True, slots=True)
class _Clustering:
    centers: Array
    silhouette: float
    smallest_share: float


def _best_clustering(
    scaled: Array, candidates: range, rng: np.random.Generator, *, sample_size: int | None, seed: int
) -> _Clustering | None:
    """The smallest k within TIE of the best silhouette among those that keep MIN_SHARE; None where none does."""
    sample = _sample(scaled, sample_size or FIT_SAMPLE, rng)
    measured = _sample(scaled, SILHOUETTE_SAMPLE, rng)
    ks = [k for k in candidates if 2 <= k <= len(sample)]
    if not ks:
        return None
    centers = [_kmeans_centers(sample, k, seed=seed) for k in ks]
    labels = [nearest(measured, each) for each in centers]
    shares = [np.bincount(nearest(scaled, each), minlength=len(each)).min() / len(scaled) for each in centers]
    tried = [
        _Clustering(each, silhouette, float(share))
        for each, silhouette, share in zip(centers, silhouettes(measured, labels), shares, strict=True)
        if share >= MIN_SHARE
    ]
    if not tried:
        return None
    best = max(each.silhouette for each in tried)
    return next(each for each in tried if each.silhouette >= best - TIE)


def _null_silhouette(scaled: Array, k_range: KRange, rng: np.random.Generator, *, seed: int) -> float:
    """The silhouette that one Gaussian cloud of the same covariance reaches when clustered the same way.

    It is a null for tails like a cloud's: a flat block, one feature or four, beats it by .03 to .08.
    """
    n_points = min(len(scaled), SILHOUETTE_SAMPLE)
    covariance = np.atleast_2d(np.cov(scaled, rowvar=False))
    cloud = rng.multivariate_normal(np.zeros(scaled.shape[1]), covariance, size=n_points, method="eigh")
    chosen = _best_clustering(cloud, k_range.candidates(len(scaled)), rng, sample_size=None, seed=seed)
    return 0.0 if chosen is None else chosen.silhouette


def silhouettes(points: Array, labelings: list[Labels]) -> list[float]:
    """Mean silhouette (Rousseeuw 1987) of several labelings of the same points, their distances computed once.

    points    : (n, d)
    labelings : each (n,), numbered from 0; a labeling that puts all points in one cluster scores 0
    """
    widths = [int(labels.max()) + 1 for labels in labelings]
    hot = np.concatenate([np.eye(width)[labels] for labels, width in zip(labelings, widths, strict=True)], axis=1)
    # In blocks of rows, so that the matrix of distances never stands in memory whole.
    blocks = np.array_split(points, max(1, len(points) // 500))
    sums = np.concatenate([cdist(block, points) @ hot for block in blocks])
    scores, start = [], 0
    for labels, width in zip(labelings, widths, strict=True):
        scores.append(_silhouette(sums[:, start : start + width], labels))
        start += width
    return scores


def _silhouette(sums: Array, labels: Labels) -> float:
    """From each point's summed distance to every cluster (n, k) and its own cluster (n,)."""
    rows = np.arange(len(labels))
    sizes = np.bincount(labels, minlength=sums.shape[1])
    if np.count_nonzero(sizes) < 2:
        return 0.0
    own_size = sizes[labels]
    inside = sums[rows, labels] / np.maximum(own_size - 1, 1)
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    means[rows, labels] = np.inf
    outside = means.min(axis=1)
    widest = np.maximum(inside, outside)
    # A cluster of one scores 0 by definition; so do points that all coincide.
    scores = np.where((own_size > 1) & (widest > 0), (outside - inside) / np.where(widest > 0, widest, 1.0), 0.0)
    return float(scores.mean())


def nearest(points: Array, centers: Array) -> Labels:
    """The number of each point's nearest center."""
    result: Labels = cdist(points, centers).argmin(axis=1)
    return result


def _kmeans_centers(points: Array, k: int, *, seed: int) -> Array:
    """(k, n_features) centers, some of them alike where there are fewer than k distinct points.

    n_init : with fewer starts than 10, real shops' axes end in other local optima from one seed to the next
    """
    # Loading it takes longer than most commands do, and few of them cluster.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # "Fewer distinct clusters than n_clusters": the empty ones then fail MIN_SHARE.
        warnings.simplefilter("ignore", ConvergenceWarning)
        centers: Array = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(points).cluster_centers_
    return centers


def _sample(points: Array, size: int, rng: np.random.Generator) -> Array:
    if len(points) <= size:
        return points
    return points[np.sort(rng.choice(len(points), size=size, replace=False))]
