"""Why a customer is in their segment: what each feature of an axis contributes to their membership in it.

Shapley values (Shapley 1953) of the features, against the shop's average customer as the one fixed reference ("baseline
Shapley": Sundararajan & Najmi, "The many Shapley values for model explanation", 2020). A coalition of features is a
customer who has those as this one does and the others as the average has them. With three to five features all
coalitions are computed, so the values are exact: the average customer's membership and the contributions add up to the
customer's own.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from app.segmentation.clustering import FittedAxis
from app.segmentation.membership import Array, membership


@dataclass(frozen=True, slots=True)
class Contributions:
    """Customers' memberships in every segment of one axis, taken apart.

    memberships : (n_customers, k) their own
    average     : (k,) of the average customer, all of whose scaled features are 0
    by_feature  : (n_customers, n_features, k); average + by_feature.sum(axis=1) = memberships
    """

    memberships: Array
    average: Array
    by_feature: Array


def contributions(axis: FittedAxis, values: Array) -> Contributions:
    """values : (n_customers, n_features) raw features"""
    scaled = axis.scaler.apply(values)
    n_customers, n_features = scaled.shape
    takes, weights = _coalitions(n_features)
    points = (takes[:, None, :] * scaled[None, :, :]).reshape(-1, n_features)
    worth = membership(cdist(points, axis.centers), axis.kernel).reshape(len(takes), n_customers, -1)
    return Contributions(
        memberships=worth[-1],
        average=membership(cdist(np.zeros((1, n_features)), axis.centers), axis.kernel)[0],
        by_feature=np.einsum("fc,cnk->nfk", weights, worth),
    )


def average_customer(axis: FittedAxis) -> Array:
    """(n_features,) the raw features of the average customer: the mean, of a log-scaled feature that of its logarithm.

    Stand-ins count, as they do in the scale.
    """
    logarithmic = np.array([transform == "log1p" for transform in axis.scaler.transforms])
    result: Array = np.where(logarithmic, np.expm1(np.where(logarithmic, axis.scaler.mean, 0.0)), axis.scaler.mean)
    return result


@lru_cache
def _coalitions(n_features: int) -> tuple[NDArray[np.bool_], Array]:
    """All coalitions of features, and the weight of each one's worth in each feature's value.

    takes   : (2**n_features, n_features); the first takes none, the last all
    weights : (n_features, 2**n_features) |S|! (n - |S| - 1)! / n! of the coalition S that a feature joins: plus for the
              coalition with it, minus for the one without
    """
    takes = (np.arange(2**n_features)[:, None] >> np.arange(n_features)) & 1 == 1
    n = n_features
    chance = np.array([factorial(size) * factorial(n - size - 1) / factorial(n) for size in range(n)])
    sizes = takes.sum(axis=1)
    joined, missing = chance[np.maximum(sizes - 1, 0)], chance[np.minimum(sizes, n - 1)]
    return takes, np.where(takes, joined[:, None], -missing[:, None]).T
