"""One axis: transform, scale, choose k, cluster, and say whether there is anything to see, and whether it would stay.

Silhouettes of different k do not compare: even one shapeless cloud scores .36 cut in two and .22 cut in five, so the
best silhouette is most often that of k = 2. What compares is by how much the customers' silhouette beats that of one
Gaussian cloud of the same covariance cut into as many (the idea of SigClust: Liu, Hayes, Nobel & Marron 2008; and of
the gap statistic: Tibshirani, Walther & Hastie 2001). k is the one that beats its cloud by most, among those whose
every cluster holds at least 3 % of the customers, because silhouette alone rewards isolating a handful of outliers, and
that resamples of the customers bring back (Hennig 2007). The axis has structure when it beats its cloud by .05.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from app.core.errors import InvalidInput
from app.segmentation.membership import Array, Kernel, membership

Transform = Literal["none", "log1p"]
Labels = NDArray[np.intp]

#: Of customers, that every segment holds at least; one that is served stands a while longer.
MIN_SHARE, STILL_SHARE = 0.03, 0.02
MOST_SEGMENTS = 33  # more than these cannot all hold MIN_SHARE
NULL_MARGIN = 0.05
TIE = 0.01
#: By how much another k has to beat the one served now: twice what counts as structure at all.
STAY = 2 * NULL_MARGIN
#: Share of customers that a refit on a resample leaves in their segment; below it the next best k is looked at. The k
#: served now may fall a little lower: measured on six resamples, it is above the bar one day and below it the next.
STABLE, STILL_STABLE = 0.95, 0.8
REFITS = 6
#: With 10, real shops' axes end in other local optima from one seed to the next.
STARTS = 30
WINSOR_PERCENTILES = (1.0, 99.0)
SILHOUETTE_SAMPLE = 5_000
FIT_SAMPLE = 20_000
#: More customers than this are many: starts are tried on some of them and only the tightest end goes on with all, the
#: cloud they are held against has no more points; and as more customers say the same more surely, fewer starts and
#: refits do. Measured on 93,564 customers: a quarter of the time, and which k is chosen differs no more than from one
#: seed to the next.
MANY, TRIED_OF_MANY = 5_000, 2_500
STARTS_OF_MANY, REFITS_OF_MANY = 8, 4
#: A cloud has no groups that a start could miss: thirty change its silhouettes by .001 in the mean, measured on the
#: axes of 93,564 customers. One alone leaves them .003 off, which is a third of TIE.
STARTS_OF_CLOUD = 3
# Centers reached from those served stand unless others are tighter by more than this.
_AS_TIGHT = 1.05
_BLOCK = 250
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
class TriedK:
    """One k, tried. null_silhouette : of the Gaussian cloud cut into as many; smallest_share : over all customers"""

    k: int
    silhouette: float
    null_silhouette: float
    smallest_share: float

    @property
    def excess(self) -> float:
        """By how much the customers are more clearly grouped than the cloud."""
        return self.silhouette - self.null_silhouette


@dataclass(frozen=True, slots=True)
class Stability:
    """How far refits on resamples of the customers, each from another seed, agree with the fit.

    adjusted_rand : mean adjusted Rand index with it (Hubert & Arabie 1985): 1 the same groups, 0 no better than chance
    kept          : mean share of customers who stay in their segment, segments matched as well as can be
    refits        : how many
    """

    adjusted_rand: float
    kept: float
    refits: int


@dataclass(frozen=True, slots=True)
class FittedAxis:
    """An axis after discovery: enough to place any customer on it.

    centers         : (k, n_features), scaled units, in a fixed order (by the first feature, then the next)
    silhouette      : of the chosen k, -1..1; None where there is one segment because nothing could be tried
    null_silhouette : what the Gaussian cloud reached, cut into as many
    smallest_share  : of the k tried and chosen, over all customers
    has_structure   : False where the axis is a continuum, or no k keeps every segment at MIN_SHARE; it then has one
                      segment and takes no part in archetypes
    stability       : of the segments; None where there is one
    tried           : every k there was, in order; empty in an axis that was read back
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
    stability: Stability | None = None
    tried: tuple[TriedK, ...] = ()

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
            "stability": None if self.stability is None else asdict(self.stability),
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
        stability=Stability(**stored["stability"]) if stored.get("stability") else None,
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
    served: FittedAxis | None = None,
) -> FittedAxis:
    """Discover the segments of one axis.

    values      : (n_customers, n_features), finite; callers sort by customer, because the order of the rows decides
                  which of them the seeded samples and starts pick
    sample_size : clusters are fitted on this many customers at most (FIT_SAMPLE by default) and then hold for all
    served      : the axis as it is served now; of k that do as well its own is kept, and the search starts from its
                  centers too, so that nobody's segment changes for a hair's breadth

    Raises InvalidInput if a value is NaN or infinite.
    """
    undefined = [features[column] for column in np.flatnonzero(~np.isfinite(values).all(axis=0))]
    if undefined:
        raise InvalidInput(f"Axis '{name}' cannot be clustered: {', '.join(undefined)} is NaN or infinite for someone.")
    scaler = fit_scaler(values, transforms, robust=robust)
    scaled = np.round(scaler.apply(values), _DECIMALS)
    rng = np.random.default_rng(seed)
    start = None
    if served is not None and served.has_structure:
        start = in_units_of(scaler, served, features)
    # On one thread: arrays this small are slower on many, several times so where other work wants the cores too, and
    # the order in which threads add up changes the centers' last bits.
    with on_one_thread():
        tried = _clusterings(scaled, k_range.candidates(len(scaled)), rng, start, sample_size=sample_size, seed=seed)
        chosen, stability = None, None
        served_k = None if start is None else len(start)
        for each in _by_merit([each.of for each in tried], served_k):
            clusters = next(clustering for clustering in tried if clustering.of is each)
            # Of each k its own, so that what is found of one does not depend on which others were looked at before.
            resamples = np.random.default_rng([seed, each.k])
            steady = _stability(
                values, scaler, clusters.centers, transforms, robust=robust, sample_size=sample_size, rng=resamples
            )
            if stability is None or steady.kept > stability.kept:
                chosen, stability = clusters, steady
            if steady.kept >= (STILL_STABLE if each.k == served_k else STABLE):
                break
    if chosen is None:
        centers = scaled.mean(axis=0, keepdims=True)
        told = max((each.of for each in tried if each.of.smallest_share >= MIN_SHARE), key=_excess, default=None)
    else:
        # Rounded, so that noise in one feature does not decide an order that belongs to the next.
        centers = chosen.centers[np.lexsort(np.round(chosen.centers, _DECIMALS).T[::-1])]
        told = chosen.of
    return FittedAxis(
        name=name,
        features=features,
        scaler=scaler,
        centers=centers,
        kernel=kernel,
        silhouette=None if told is None else told.silhouette,
        null_silhouette=None if told is None else told.null_silhouette,
        smallest_share=1.0 if told is None else told.smallest_share,
        has_structure=chosen is not None,
        stability=stability,
        tried=tuple(each.of for each in tried),
    )


@dataclass(frozen=True, slots=True)
class _Clustering:
    of: TriedK
    centers: Array


@contextmanager
def on_one_thread() -> Iterator[None]:
    """What this thread computes, it computes by itself."""
    # Only libraries that are loaded by now are held to it, and this one brings some of its own.
    import sklearn.cluster  # noqa: F401

    with threadpool_limits(limits=1):
        yield


def _clusterings(
    scaled: Array,
    candidates: range,
    rng: np.random.Generator,
    start: Array | None,
    *,
    sample_size: int | None,
    seed: int,
) -> list[_Clustering]:
    """Every k there are customers enough for."""
    sample = _sample(scaled, sample_size or FIT_SAMPLE, rng)
    measured = _sample(scaled, SILHOUETTE_SAMPLE, rng)
    ks = [k for k in candidates if 2 <= k <= len(sample)]
    if not ks:
        return []
    centers = [_kmeans_centers(sample, k, seed=seed, n_init=STARTS, start=start, to_the_end=True) for k in ks]
    real = silhouettes(measured, [nearest(measured, each) for each in centers])
    null = _null_silhouettes(scaled, ks, rng, seed=seed)
    shares = [np.bincount(nearest(scaled, each), minlength=len(each)).min() / len(scaled) for each in centers]
    return [
        _Clustering(TriedK(k, silhouette, cloud, float(share)), each)
        for k, silhouette, cloud, share, each in zip(ks, real, null, shares, centers, strict=True)
    ]


def _null_silhouettes(scaled: Array, ks: Sequence[int], rng: np.random.Generator, *, seed: int) -> list[float]:
    """The silhouettes that one Gaussian cloud of the same covariance reaches, cut into as many the same way,
    but for fewer starts.

    It is a null for tails like a cloud's: a flat block, one feature or four, beats it by .03 to .08.
    """
    n_points = TRIED_OF_MANY if len(scaled) > MANY else len(scaled)
    covariance = np.atleast_2d(np.cov(scaled, rowvar=False))
    cloud = rng.multivariate_normal(np.zeros(scaled.shape[1]), covariance, size=n_points, method="eigh")
    centers = [_kmeans_centers(cloud, k, seed=seed, n_init=STARTS_OF_CLOUD) for k in ks]
    return silhouettes(cloud, [nearest(cloud, each) for each in centers])


def _by_merit(tried: Sequence[TriedK], served_k: int | None) -> list[TriedK]:
    """The k that show structure, best first: the k served now while it is within STAY of the one that beats its cloud
    by most, then the largest within TIE of that, then the others by how far they beat theirs.
    """
    real = [
        each
        for each in tried
        if each.smallest_share >= (STILL_SHARE if each.k == served_k else MIN_SHARE) and each.excess >= NULL_MARGIN
    ]
    best = max((each.excess for each in real), default=0.0)

    def rank(each: TriedK) -> tuple[bool, bool, float]:
        tied = each.excess >= best - TIE
        return not (each.k == served_k and each.excess >= best - STAY), not tied, -each.k if tied else -each.excess

    return sorted(real, key=rank)


def _excess(tried: TriedK) -> float:
    return tried.excess


def _stability(
    values: Array,
    scaler: Scaler,
    centers: Array,
    transforms: tuple[Transform, ...],
    *,
    robust: bool,
    sample_size: int | None,
    rng: np.random.Generator,
) -> Stability:
    """Everything fitted again, scaler and all, on customers drawn with replacement, REFITS times; of many customers
    REFITS_OF_MANY times.
    """
    asked = _sample(values, SILHOUETTE_SAMPLE, rng)
    fitted = nearest(scaler.apply(asked), centers)
    size = min(len(values), sample_size or FIT_SAMPLE)
    rands, kept = [], []
    refits = REFITS if len(values) <= MANY else REFITS_OF_MANY
    for _ in range(refits):
        drawn = values[rng.integers(0, len(values), size)]
        again = fit_scaler(drawn, transforms, robust=robust)
        seed = int(rng.integers(2**31))
        found = nearest(again.apply(asked), _kmeans_centers(again.apply(drawn), len(centers), seed=seed))
        together = shared(fitted, found, len(centers), len(centers))
        rands.append(adjusted_rand(together))
        kept.append(float(together[linear_sum_assignment(together, maximize=True)].sum() / len(asked)))
    return Stability(float(np.mean(rands)), float(np.mean(kept)), refits)


def shared(one: Labels, other: Labels, n_one: int, n_other: int) -> Array:
    """(n_one, n_other) how many customers are in each group of one grouping and each of another."""
    counts = np.bincount(one * n_other + other, minlength=n_one * n_other)
    return counts.reshape(n_one, n_other).astype(np.float64)


def adjusted_rand(together: Array) -> float:
    """The adjusted Rand index (Hubert & Arabie 1985) of two groupings, from how many customers each pair shares."""

    def pairs(counts: Array) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, one, other = pairs(together), pairs(together.sum(axis=1)), pairs(together.sum(axis=0))
    every = pairs(np.array([together.sum()]))
    expected = one * other / every if every else 0.0
    largest = (one + other) / 2
    return 1.0 if largest == expected else (both - expected) / (largest - expected)


def in_units_of(scaler: Scaler, served: FittedAxis, features: tuple[str, ...]) -> Array | None:
    """The centers of an axis fitted before in the units of another scaler; None where they are of other features."""
    if (served.features, served.scaler.transforms) != (features, scaler.transforms):
        return None
    plain = served.centers * served.scaler.scale + served.scaler.mean
    centers: Array = (plain - scaler.mean) / scaler.scale
    return centers


def silhouettes(points: Array, labelings: list[Labels]) -> list[float]:
    """Mean silhouette (Rousseeuw 1987) of several labelings of the same points, their distances computed once.

    points    : (n, d)
    labelings : each (n,), numbered from 0; a labeling that puts all points in one cluster scores 0
    """
    # Customers who are alike are measured once: of what is counted in orders or days, half of them are.
    columns = np.column_stack([points, *labelings])
    order = np.lexsort(columns.T)
    first = np.r_[True, (columns[order[1:]] != columns[order[:-1]]).any(axis=1)]
    alike = np.diff(np.r_[np.flatnonzero(first), len(points)])
    points, labelings = points[order[first]], [labels[order[first]] for labels in labelings]
    widths = [int(labels.max()) + 1 for labels in labelings]
    hot = np.concatenate([np.eye(width)[labels] for labels, width in zip(labelings, widths, strict=True)], axis=1)
    hot *= alike[:, None]
    sums = np.zeros_like(hot)
    # In blocks of rows, so that the matrix of distances never stands in memory whole; and each pair once.
    for start in range(0, len(points), _BLOCK):
        block, rest = slice(start, start + _BLOCK), slice(start + _BLOCK, None)
        distances = cdist(points[block], points[start:])
        sums[block] += distances @ hot[start:]
        sums[rest] += distances[:, _BLOCK:].T @ hot[block]
    scores, start = [], 0
    for labels, width in zip(labelings, widths, strict=True):
        scores.append(_silhouette(sums[:, start : start + width], labels, alike))
        start += width
    return scores


def _silhouette(sums: Array, labels: Labels, alike: NDArray[np.intp]) -> float:
    """From each point's summed distance to every cluster (n, k), its own cluster and how many are alike, both (n,)."""
    rows = np.arange(len(labels))
    sizes = np.bincount(labels, weights=alike, minlength=sums.shape[1])
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
    return float(scores @ alike / alike.sum())


def nearest(points: Array, centers: Array) -> Labels:
    """The number of each point's nearest center."""
    result: Labels = cdist(points, centers).argmin(axis=1)
    return result


def _kmeans_centers(
    points: Array, k: int, *, seed: int, n_init: int = 10, start: Array | None = None, to_the_end: bool = False
) -> Array:
    """(k, n_features) centers, some of them alike where there are fewer than k distinct points.

    n_init     : starts, of which the tightest end stands; fewer for more points than MANY
    start      : centers to start from as well, where they are k; what they lead to stands unless another start does
                 better
    to_the_end : until nobody changes cluster, so that who starts from there stays there; not only nearly so
    """
    # Loading it takes longer than most commands do, and few of them cluster.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # "Fewer distinct clusters than n_clusters": the empty ones then fail MIN_SHARE.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if len(points) > MANY:
            tried = _sample(points, TRIED_OF_MANY, np.random.default_rng(seed))
            found = KMeans(n_clusters=k, n_init=min(n_init, STARTS_OF_MANY), random_state=seed).fit(tried)
            tolerance = 0 if to_the_end else 1e-4
            found = KMeans(n_clusters=k, n_init=1, init=found.cluster_centers_, tol=tolerance).fit(points)
        else:
            found = KMeans(n_clusters=k, n_init=n_init, random_state=seed).fit(points)
            if to_the_end:
                found = KMeans(n_clusters=k, n_init=1, init=found.cluster_centers_, tol=0).fit(points)
        if start is not None and len(start) == k:
            from_start = KMeans(n_clusters=k, n_init=1, init=start, tol=0).fit(points)
            if from_start.inertia_ <= found.inertia_ * _AS_TIGHT:
                found = from_start
    centers: Array = found.cluster_centers_
    return centers


def _sample(points: Array, size: int, rng: np.random.Generator) -> Array:
    if len(points) <= size:
        return points
    return points[np.sort(rng.choice(len(points), size=size, replace=False))]
