"""Linear predictors of standardised features, as plain numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, PoissonRegressor

from app.prediction.purchases import Floats

_BEYOND = 0.5  # standard deviations
_LEAST_SCALE = 1e-4


@dataclass(frozen=True, slots=True)
class Linear:
    """A sum of standardised features, before any link; what is not known counts as the mean.

    columns : (n_used,) which of all columns; center, scale, slopes : (n_used,)
    least, most : (n_used,) a scaled feature outside counts as this: a little beyond what was seen, so that somebody
                  unlike
                  everyone it was fitted to is not told what no one has shown
    """

    columns: NDArray[np.int64]
    center: Floats
    scale: Floats
    slopes: Floats
    intercept: float
    least: Floats
    most: Floats

    def total(self, values: Floats) -> Floats:
        """values : (n, all columns), NaN where unknown; returns (n,)"""
        scaled = (values[:, self.columns] - self.center) / self.scale
        summed: Floats = np.nan_to_num(scaled.clip(self.least, self.most)) @ self.slopes + self.intercept
        return summed

    def stored(self) -> dict[str, Any]:
        return {
            "columns": self.columns.tolist(),
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
            "slopes": self.slopes.tolist(),
            "intercept": self.intercept,
            "least": self.least.tolist(),
            "most": self.most.tolist(),
        }


def linear_from(stored: Mapping[str, Any]) -> Linear:
    """What `Linear.stored` was taken from."""
    numbers = {
        name: np.array(stored[name], dtype=np.float64) for name in ("center", "scale", "slopes", "least", "most")
    }
    return Linear(np.array(stored["columns"], dtype=np.int64), intercept=stored["intercept"], **numbers)


def fit_logistic(values: Floats, yes: Floats, weights: Floats, columns: Sequence[int], *, held: float) -> Linear:
    """Log-odds of yes. held : the squared penalty on standardised slopes, the smaller the looser"""
    center, scale, scaled = _standardised(values, weights, columns)
    n, n_yes = float(weights.sum()), float((yes * weights).sum())
    if not columns or n_yes in (0.0, n):
        # Half a case of either kind, so that the fewer they are the less certain they make.
        flat = float(np.log((n_yes + 0.5) / (n - n_yes + 0.5)))
        return _linear(columns, center, scale, scaled, np.zeros(len(columns)), flat)
    model = LogisticRegression(C=1 / held, solver="newton-cholesky", max_iter=200)
    model.fit(scaled, yes, sample_weight=weights)
    return _linear(columns, center, scale, scaled, model.coef_[0], float(model.intercept_[0]))


def fit_poisson(values: Floats, amounts: Floats, weights: Floats, columns: Sequence[int], *, held: float) -> Linear:
    """Logarithm of the mean of amounts that are at least 0, and not all of them 0."""
    center, scale, scaled = _standardised(values, weights, columns)
    model = PoissonRegressor(alpha=held, solver="newton-cholesky", max_iter=200)
    model.fit(scaled, amounts, sample_weight=weights)
    return _linear(columns, center, scale, scaled, model.coef_, float(model.intercept_))


def _linear(
    columns: Sequence[int], center: Floats, scale: Floats, scaled: Floats, slopes: Floats, intercept: float
) -> Linear:
    return Linear(
        columns=np.array(columns, dtype=np.int64),
        center=center,
        scale=scale,
        slopes=slopes,
        intercept=intercept,
        least=scaled.min(axis=0, initial=0.0) - _BEYOND,
        most=scaled.max(axis=0, initial=0.0) + _BEYOND,
    )


def _standardised(values: Floats, weights: Floats, columns: Sequence[int]) -> tuple[Floats, Floats, Floats]:
    chosen = values[:, list(columns)]
    known = ~np.isnan(chosen)
    mass = np.maximum((weights[:, None] * known).sum(axis=0), 1e-12)
    center = (weights[:, None] * np.where(known, chosen, 0.0)).sum(axis=0) / mass
    deviation = np.where(known, chosen - center, 0.0)
    scale = np.sqrt((weights[:, None] * deviation**2).sum(axis=0) / mass)
    # What hardly differs tells nothing, and divided by how little it does anything that differs would be far outside.
    scale = np.where(scale > _LEAST_SCALE, scale, 1.0)
    return center, scale, deviation / scale
