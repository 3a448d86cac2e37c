"""Why a customer's risk is what it is: what each side of their behaviour adds to that of the shop's typical customer.

Shapley values (Shapley 1953) of groups of features, against one fixed reference ("baseline Shapley": Sundararajan &
Najmi, "The many Shapley values for model explanation", 2020). A coalition of groups is a customer who has those as this
one does and the others as the typical customer has them, for every step of the horizon. There are few groups, so all
coalitions are worked out and the values are exact: the typical customer's risk over this customer's horizon and the
contributions add up to the customer's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

from app.prediction.chances import ChanceModel, until
from app.prediction.purchases import Floats
from app.prediction.season import HABITS
from app.prediction.standing import GROUPS, NAMES, STEP_DAYS

#: What memberships in segments are called, as a group.
SEGMENTS = "segments"


@dataclass(frozen=True, slots=True)
class Explained:
    """risk = typical + the sum of by_group. typical : risk of the shop's typical customer over the same horizon"""

    risk: float
    typical: float
    by_group: Mapping[str, float]


def typical_customer(seen: Sequence[Floats]) -> list[list[float]]:
    """Of each step the median of every feature among the shop's customers. seen : of `Churn`"""
    return [np.nanmedian(np.where(np.isnan(values).all(axis=0), 0.0, values), axis=0).tolist() for values in seen]


def explain_risk(
    model: ChanceModel, seen: Sequence[Floats], typical: Sequence[Sequence[float]], *, known: int, horizon_days: int
) -> Explained:
    """seen : of one customer, each (1, features), as many steps as reach the horizon or more; typical : of the shop"""
    groups = _groups(model.names)
    takes, weights = _coalitions(len(groups))
    n_steps = -(-horizon_days // STEP_DAYS)
    own_of_group = np.array([[name in members for name in model.names] for members in groups.values()])
    own = takes @ own_of_group > 0  # (coalitions, features)
    chances = np.empty((n_steps, len(takes)))
    for step in range(n_steps):
        values = np.where(own, seen[step], np.array(typical[step])[None, :])
        chances[step] = model.away(values, known + STEP_DAYS * step)
    risk = until(chances, float(horizon_days))
    added = weights @ risk
    return Explained(
        risk=float(risk[-1]),
        typical=float(risk[0]),
        by_group={name: float(each) for name, each in zip(groups, added, strict=True)},
    )


def _groups(names: Sequence[str]) -> dict[str, frozenset[str]]:
    """The groups that have a feature among a model's. What is no feature of visits is a membership."""
    told = {name: frozenset(members) for name, members in GROUPS.items()}
    told["season"] |= frozenset(HABITS)
    others = frozenset(names) - frozenset(NAMES) - frozenset(HABITS)
    return {**told, SEGMENTS: others} if others else told


@lru_cache
def _coalitions(n_groups: int) -> tuple[NDArray[np.int64], Floats]:
    """Every subset of the groups, none first and all last, and what each counts for each group's value.

    returns : (2^n, n) 1 where a coalition has a group; (n, 2^n) weights, which add up to nothing for each group
    """
    codes = np.arange(2**n_groups)
    takes = (codes[:, None] >> np.arange(n_groups)) & 1
    size = takes.sum(axis=1)
    with_it = np.array([factorial(s - 1) * factorial(n_groups - s) if s else 0 for s in size])
    without = np.array([factorial(s) * factorial(n_groups - s - 1) if s < n_groups else 0 for s in size])
    weights: Floats = np.where(takes.T == 1, with_it, -without) / factorial(n_groups)
    return takes, weights
