"""What is said of the models behind predictions."""

from typing import Any, Literal

from pydantic import Field

from app.core.schemas import Answer

_FIGURES = "By name; those of a candidate that was not tried are not there. Two digits for keys without identities."


class Baseline(Answer):
    """A candidate that is not served, beside the one that is."""

    candidate: str
    figures: dict[str, int | float | None] = Field(description=_FIGURES)


class ServedModel(Answer):
    """What tells one thing, and how well it would have told the shop's own past."""

    name: str = Field(examples=["churn"])
    tells: str = Field(description="What it tells, in words.")
    candidate: str = Field(examples=["blend"])
    version: str = Field(description="Of this service, which trained it.")
    status: Literal["served", "degraded"] = Field(
        description="degraded: a baseline is served, because nothing did better on the shop's own past."
    )
    why: str = Field(description="Why it is this one.")
    trained_from: str | None = Field(description="First day of the windows it was fitted to.")
    trained_to: str | None = Field(description="The day on which what was known of them ends.")
    features: list[str] = Field(description="What it reads; docs/PREDICTIONS.md says what each means.")
    horizon: str | None = Field(
        description="Of the figures: a number of days; months for a forecast.", examples=["30d"]
    )
    figures: dict[str, int | float | None] = Field(description=_FIGURES)
    baselines: list[Baseline] = Field(description="The other candidates, tried on the same days.")


class Models(Answer):
    models: list[ServedModel] = Field(description="One for each thing that is told.")
    prediction_id: int
    as_of: str = Field(description="Only what happened before this moment was learned from.")


class Candidate(Answer):
    """A candidate, as it did on one horizon."""

    candidate: str
    status: Literal["served", "degraded", "candidate"]
    why: str = Field(description="Why it is served, or is not.")
    measures: dict[str, int | float | None] = Field(description=_FIGURES)


class Bin(Answer):
    """Customers who were told much the same. Intervals are wider for keys that may not see identities."""

    n: int | None = Field(description="Null for keys that may not see identities.")
    mean_predicted: float
    observed: float = Field(description="Share of them of whom it came true.")
    low: float = Field(description="Ends of its 95 % interval.")
    high: float


class Slice(Answer):
    """A part of the customers, and what came of it."""

    by: str = Field(examples=["level"])
    name: str = Field(examples=["critical"])
    low: float | None = Field(description="Of the scores that belong to it.")
    high: float | None
    share: float | None = Field(description="Of customers, 0 to 1.")
    n: int | None = Field(description="Whose horizon is over. Null for keys that may not see identities.")
    observed: float | None = Field(description="Share of them of whom it came true; null where few are.")


class HorizonProof(Answer):
    """How the candidates did on days of the past, each told by what was known when that day began."""

    horizon: str = Field(description="A number of days, own_horizon, or months.", examples=["30d"])
    days: list[str] = Field(description="Those of the past that were told, the latest first.")
    seasonal: bool | None = Field(
        description="Whether the season is part of the served one; null where that is no matter."
    )
    interval_coverage: float | None = Field(
        description="Share of customers within the served interval, where it has one, each within that of the others."
    )
    candidates: list[Candidate] = Field(description="The served one first.")
    reliability: list[Bin] = Field(description="Of the served one, from low chances to high.")
    slices: list[Slice]
    says: str
    chart: dict[str, Any] | None = Field(description="Vega-Lite: what came against what was told; null without bins.")


class ModelBacktest(Answer):
    """What one model, and all that were tried beside it, would have been worth."""

    name: str
    tells: str
    candidate: str
    version: str
    status: Literal["served", "degraded"]
    why: str
    trained_from: str | None
    trained_to: str | None
    horizons: list[HorizonProof] = Field(description="The shortest first, customers' own last.")
    message: str | None = Field(description="Why there is none; null where there is.")
    prediction_id: int
    as_of: str
