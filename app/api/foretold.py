"""What answers say of predictions, whatever they tell: which model it is, and what it reached on the shop's past."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from app.core.schemas import Answer
from app.resources import Resources
from app.warehouse.predictions import PredictedOfKinds, ServedChurn, read_churn_model, read_predicted_of_kinds

#: Horizons of a backtest, and what each is a chance of.
OWN_HORIZON = "own_horizon"

_REMEMBERED = 64


class Model(Answer):
    """The model that says it."""

    name: str = Field(examples=["churn"])
    candidate: str = Field(description="How it tells it: one of those in GET /api/models.", examples=["blend"])
    version: str = Field(description="Of this service, which trained it.")
    status: Literal["served", "degraded"] = Field(
        description="degraded: a baseline is served, because nothing did better on the shop's own past."
    )
    degraded_because: str | None


async def churn_model(resources: Resources, store_id: str, prediction_id: int | None) -> ServedChurn | None:
    """What tells the risks of a training, read once; None where it is forgotten by now, or there is none."""
    if prediction_id is None:
        return None
    known = resources.churn.get(prediction_id)
    if known is None:
        known = await read_churn_model(resources.database, store_id, prediction_id)
        if known is not None:
            while len(resources.churn) >= _REMEMBERED:
                resources.churn.pop(next(iter(resources.churn)))
            resources.churn[prediction_id] = known
    return known


async def predicted_of_kinds(
    resources: Resources, store_id: str, *, run_id: int, prediction_id: int | None
) -> PredictedOfKinds:
    """What is predicted of the archetypes of a run, read once a run and training; nothing where nothing is served."""
    if prediction_id is None:
        return {}
    known = resources.foretold.get((run_id, prediction_id))
    if known is None:
        known = await read_predicted_of_kinds(resources.database, store_id, run_id)
        while len(resources.foretold) >= _REMEMBERED:
            resources.foretold.pop(next(iter(resources.foretold)))
        resources.foretold[run_id, prediction_id] = known
    return known


def model_of(served: ServedChurn | None) -> dict[str, Any] | None:
    """The fields of `Model`."""
    if served is None:
        return None
    return {
        "name": "churn",
        "candidate": served.candidate,
        "version": served.version,
        "status": served.status,
        "degraded_because": served.why if served.status == "degraded" else None,
    }


def horizons(backtest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """{horizon: what was reached}, the shortest first and a customer's own last."""
    found = {name: told for name, told in backtest.items() if isinstance(told, Mapping) and told.get("measures")}
    return dict(sorted(found.items(), key=lambda item: _length(item[0])))


def _length(horizon: str) -> tuple[bool, int, str]:
    days = horizon.removesuffix("d")
    return not days.isdigit(), int(days) if days.isdigit() else 0, horizon
