"""Boosted trees as plain arrays: kept as JSON, read back without the library's own format, and quick for one customer.

Fitted by scikit-learn's HistGradientBoosting (after Ke et al., LightGBM, 2017), whose own prediction serves batches. A
test holds the two to the same numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from app.prediction.purchases import Floats

Boosting: TypeAlias = HistGradientBoostingClassifier | HistGradientBoostingRegressor
#: Rows that stay near the processor while a library's trees go over them one after the other.
_ROWS_AT_ONCE = 10_000


def piece_by_piece(told: Callable[[Floats], Floats], values: Floats) -> Floats:
    """What a library's model says of many rows, a third as long as at once. values : (n, n_features); returns (n,)"""
    pieces = np.array_split(values, max(1, -(-len(values) // _ROWS_AT_ONCE)))
    return np.concatenate([told(piece) for piece in pieces])


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of trees, before any link: log-odds of a classifier, the logarithm of a Poisson regressor.

    baseline  : what is added to every sum feature, threshold, left, right, missing_left, value : (n_trees, n_nodes),
    node 0 is the root; a leaf points to itself
    shift     : of the baseline, how much the library's own form of them lacks
    depth     : steps from a root after which every path has ended
    """

    baseline: float
    feature: NDArray[np.int32]
    threshold: Floats
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    value: Floats
    depth: int
    shift: float

    def total(self, values: Floats) -> Floats:
        """values : (n, n_features), NaN where unknown; returns (n,)"""
        n_trees = len(self.feature)
        row, tree = np.arange(len(values))[:, None], np.arange(n_trees)[None, :]
        node = np.zeros((len(values), n_trees), dtype=np.int32)
        for _ in range(self.depth):
            told = values[row, self.feature[tree, node]]
            goes_left = np.where(np.isnan(told), self.missing_left[tree, node], told <= self.threshold[tree, node])
            node = np.where(goes_left, self.left[tree, node], self.right[tree, node])
        summed: Floats = self.baseline + self.value[tree, node].sum(axis=1)
        return summed

    def stored(self) -> dict[str, Any]:
        """Plain enough for JSON: 17 digits, so that what is read back gives the same numbers."""
        return {
            "baseline": self.baseline,
            "depth": self.depth,
            "shift": self.shift,
            **{
                name: getattr(self, name).tolist()
                for name in ("feature", "threshold", "left", "right", "missing_left", "value")
            },
        }


def trees_from(stored: Mapping[str, Any]) -> Trees:
    """The trees that `Trees.stored` was taken from."""
    return Trees(
        baseline=stored["baseline"],
        feature=np.array(stored["feature"], dtype=np.int32),
        threshold=np.array(stored["threshold"], dtype=np.float64),
        left=np.array(stored["left"], dtype=np.int32),
        right=np.array(stored["right"], dtype=np.int32),
        missing_left=np.array(stored["missing_left"], dtype=np.bool_),
        value=np.array(stored["value"], dtype=np.float64),
        depth=stored["depth"],
        shift=stored["shift"],
    )


def trees_of(model: Boosting, *, shift: float = 0.0) -> Trees:
    """The trees of a fitted model, in which no feature is a category. shift : what is to be added to every sum"""
    grown = [predictor[0].nodes for predictor in model._predictors]
    n_nodes = max((len(nodes) for nodes in grown), default=1)
    shape = (max(len(grown), 1), n_nodes)
    itself = np.broadcast_to(np.arange(n_nodes, dtype=np.int32), shape)
    feature, threshold, value = np.zeros(shape, dtype=np.int32), np.zeros(shape), np.zeros(shape)
    left, right, missing_left = itself.copy(), itself.copy(), np.zeros(shape, dtype=np.bool_)
    for tree, nodes in enumerate(grown):
        inner = nodes["is_leaf"] == 0
        at = np.flatnonzero(inner)
        feature[tree, at] = nodes["feature_idx"][inner]
        # A threshold can be infinite, which JSON has no number for.
        threshold[tree, at] = np.nan_to_num(nodes["num_threshold"][inner], posinf=np.finfo(np.float64).max)
        left[tree, at], right[tree, at] = nodes["left"][inner], nodes["right"][inner]
        missing_left[tree, at] = nodes["missing_go_to_left"][inner] == 1
        value[tree, : len(nodes)] = np.where(inner, 0.0, nodes["value"])
    depth = max((int(nodes["depth"].max()) for nodes in grown), default=0)
    baseline = float(np.ravel(model._baseline_prediction)[0]) + shift
    return Trees(baseline, feature, threshold, left, right, missing_left, value, depth, shift)
