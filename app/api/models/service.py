"""The models of the served predictions, and what they reached, in the caller's view."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from itertools import groupby
from typing import Any, Literal

from app.api import anonymous, foretold
from app.api.models.charts import reliability_chart
from app.api.models.schemas import (
    Baseline,
    Bin,
    Candidate,
    HorizonProof,
    ModelBacktest,
    Models,
    ServedModel,
    Slice,
)
from app.core.dates import in_words
from app.core.errors import ModelNotFound, NothingPredicted
from app.core.keys import Caller
from app.resources import Resources
from app.warehouse.engine import Row
from app.warehouse.predictions import read_models

_TELLS = {
    "churn": "How likely each customer is to stay away",
    "spend": "What each customer will spend",
    "customers": "How many customers the shop will have",
    "revenue": "What the shop will take in",
    "next_order": "When each customer will order next",
}
_DIGITS = 6
#: Of how many they are; and what says it to who knows the figures beside it.
_COUNTS = ("n", "ece_noise_floor")
_OWN = "their own horizon"
#: Of forecasts: the figure that they are chosen by, and what stands for a horizon.
_ERROR, _MONTHS = "mape", "months"
_HELD_AGAINST = "a simple forecast of the same months, held against it"

Proofs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Tried:
    """A candidate and, by horizon, what it reached. row : its own, or that of the served one which tells of it"""

    candidate: str
    status: Literal["served", "degraded", "candidate"]
    why: str
    proofs: Proofs
    row: Row


async def models(resources: Resources, caller: Caller) -> Models:
    """Raises NothingPredicted."""
    found = await _found(resources, caller)
    about = next(iter(found.values()))[0].row
    return Models(
        models=[_served(name, tried, whole=caller.identified) for name, tried in found.items()],
        prediction_id=about["prediction_id"],
        as_of=about["as_of"].astimezone(UTC).isoformat(),
    )


async def backtest(resources: Resources, caller: Caller, name: str) -> ModelBacktest:
    """Raises NothingPredicted, or ModelNotFound."""
    found = await _found(resources, caller)
    if name not in found:
        raise ModelNotFound(name, there=list(found))
    served, *_ = found[name]
    horizons = [_horizon(each, found[name], whole=caller.identified) for each in served.proofs]
    return ModelBacktest(
        **_about(name, served),
        trained_from=served.row["trained_from"],
        trained_to=served.row["trained_to"],
        horizons=horizons,
        message=None if horizons else f"It could not be tried on the shop's own past: {served.why}.",
        prediction_id=served.row["prediction_id"],
        as_of=served.row["as_of"].astimezone(UTC).isoformat(),
    )


async def _found(resources: Resources, caller: Caller) -> dict[str, list[_Tried]]:
    """By name every candidate, the served one first."""
    rows = await read_models(resources.database, caller.store_id)
    if not rows:
        raise NothingPredicted(caller.store_id)
    found = {}
    for name, of_name in groupby(rows, key=lambda row: str(row["name"])):
        tried = [each for row in of_name for each in _tried(row)]
        if tried[0].status != "candidate":
            found[name] = tried
    return found


def _tried(row: Row) -> list[_Tried]:
    """A candidate; of a forecast, whose figures stand side by side in one row, those it was held against as well."""
    told = json.loads(row["backtest"] or "{}")
    proofs = foretold.horizons(told)
    about = (row["candidate"], row["status"], row["why"])
    if proofs or _ERROR not in told:
        return [_Tried(*about, proofs, row)]
    beside = {name.removeprefix(f"{_ERROR}_"): value for name, value in told.items() if name.startswith(f"{_ERROR}_")}
    own = {name: value for name, value in told.items() if name.removeprefix(f"{_ERROR}_") not in beside}
    return [
        _Tried(*about, {_MONTHS: {"measures": own}}, row),
        *(
            _Tried(name, "candidate", _HELD_AGAINST, {_MONTHS: {"measures": {_ERROR: value}}}, row)
            for name, value in beside.items()
        ),
    ]


def _about(name: str, served: _Tried) -> dict[str, Any]:
    return {
        "name": name,
        "tells": _TELLS.get(name, name.replace("_", " ").capitalize()),
        "candidate": served.candidate,
        "version": served.row["version"],
        "status": served.status,
        "why": served.why,
    }


def _served(name: str, tried: Sequence[_Tried], *, whole: bool) -> ServedModel:
    served, *others = tried
    horizon = next(iter(served.proofs), None)

    def figures(of: _Tried) -> dict[str, int | float | None]:
        return _figures(of.proofs.get(horizon or "", {}).get("measures"), whole=whole)

    return ServedModel(
        **_about(name, served),
        trained_from=served.row["trained_from"],
        trained_to=served.row["trained_to"],
        features=list(served.row["features"]),
        horizon=horizon,
        figures=figures(served),
        baselines=[Baseline(candidate=each.candidate, figures=figures(each)) for each in others],
    )


def _figures(measures: Mapping[str, Any] | None, *, whole: bool) -> dict[str, int | float | None]:
    """Numbers alone. For who may not count people without those that tell how many there are."""
    told: dict[str, int | float | None] = {}
    for name, value in (measures or {}).items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            continue
        if whole:
            told[name] = value if value is None or isinstance(value, int) else round(value, _DIGITS)
        else:
            told[name] = None if value is None or name in _COUNTS else anonymous.mean(value)
    return told


def _horizon(horizon: str, tried: Sequence[_Tried], *, whole: bool) -> HorizonProof:
    served = tried[0].proofs[horizon]
    bins = [_bin(each, whole=whole) for each in served.get("reliability") or []]
    days = served.get("held_out") or [day for day in [served.get("cut")] if day]
    within = {foretold.OWN_HORIZON: _OWN, _MONTHS: "the months ahead"}.get(horizon, f"{horizon.removesuffix('d')} days")
    coverage = served.get("interval_coverage")
    return HorizonProof(
        horizon=horizon,
        days=days,
        seasonal=served.get("seasonal"),
        interval_coverage=None if coverage is None else round(coverage, _DIGITS if whole else 2),
        candidates=[
            Candidate(
                candidate=each.candidate,
                status=each.status,
                why=each.why,
                measures=_figures(each.proofs[horizon]["measures"], whole=whole),
            )
            for each in tried
            if horizon in each.proofs
        ],
        reliability=bins,
        slices=[_level(each, whole=whole) for each in served.get("levels") or []],
        says=_says(served, bins, days, within),
        chart=reliability_chart(bins, title=f"No order within {within}"),
    )


def _bin(told: Mapping[str, Any], *, whole: bool) -> Bin:
    low, high = (told["low"], told["high"]) if whole else anonymous.interval(told["low"], told["high"])
    digits = _DIGITS if whole else 2
    return Bin(
        n=told["n"] if whole else None,
        mean_predicted=round(told["mean_predicted"], digits),
        observed=round(told["observed"], digits),
        low=round(low, _DIGITS),
        high=round(high, _DIGITS),
    )


def _level(told: Mapping[str, Any], *, whole: bool) -> Slice:
    """Of a level of risk. For who may not count people few are left out."""
    n, came = told.get("n_over"), told.get("lapsed")
    low, high = told.get("bounds") or (None, None)
    hidden = not whole and (n is None or n < anonymous.FEWEST)
    digits = _DIGITS if whole else 2
    share = told.get("share")
    return Slice(
        by="level",
        name=told["level"],
        low=low,
        high=high,
        share=None if share is None or hidden else round(share, digits),
        n=n if whole else None,
        observed=None if came is None or hidden else round(came, digits),
    )


def _says(served: Mapping[str, Any], bins: Sequence[Bin], days: Sequence[str], within: str) -> str:
    when = f" on {', '.join(in_words(date.fromisoformat(day)) for day in days)}" if days else ""
    if not bins:
        return f"Tried{when}, over {within}."
    held = sum(each.low <= each.mean_predicted <= each.high for each in bins)
    error = served["measures"].get("ece")
    off = "" if error is None else f"; on average what was told is {100 * error:.1f} points off"
    return f"Tried{when}, over {within}: {held} of {len(bins)} groups came as they were told{off}."
