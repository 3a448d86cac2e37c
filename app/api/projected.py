"""What answers about customers and revenue ahead have in common: where they come from, and how they are told."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from app.api import anonymous
from app.api.foretold import Model as Foretold
from app.core.errors import GrowthNotProjected, NothingPredicted
from app.core.schemas import Answer
from app.pipeline.growth import CUSTOMERS, GUESTS, REVENUE, Kind, Model
from app.resources import Resources
from app.warehouse.growth import read_projections

# What an index may be told in, in percents of the customers there are; the finest that is of so many of them.
_STEPS, _MANY = (0.01, 0.1, 1.0, 5.0), 5
_WHOLE = 1.0
_INDEX, _RATE, _CENTS = 2, 4, 2
_DIGITS = 2


class GrowthBacktest(Answer):
    """What would have been served at each of the last months, chosen and measured from before it alone, against what
    came. Errors are means of |told - came| / came over up to 12 months ahead; null where nothing can be compared.
    """

    n_origins: int = Field(description="Months from which it was told.")
    n_told: int = Field(description="Months that were told, from all of them.")
    mape: float | None
    mape_naive: float | None = Field(description="Of the last month again.")
    mape_seasonal_naive: float | None = Field(description="Of the same month a year before.")
    mape_seasonal_naive_yoy: float | None = Field(description="Of that times the growth of the year.")
    coverage: float | None = Field(description="Share of what came that lay within its interval.")


class GrowthModel(Foretold):
    why: str
    backtest: GrowthBacktest


@dataclass(frozen=True, slots=True)
class Projected:
    """The projections a store serves. run_id : the segmentation whose kinds they are of; None for none"""

    store_id: str
    currency: str
    timezone: str
    prediction_id: int
    as_of: str
    run_id: int | None
    customers: Model
    revenue: Model
    served_run_id: int | None

    def message(self) -> str | None:
        """That kinds are those of an older segmentation; None where they are not."""
        if self.run_id == self.served_run_id:
            return None
        kinds = "before the shop was segmented" if self.run_id is None else f"of segmentation {self.run_id}"
        return (
            f"Kinds of customer are as {kinds}; run {self.served_run_id} is served by now. "
            f"`python -m app predict --store {self.store_id}` tells its own."
        )


async def projected(resources: Resources, store_id: str) -> Projected:
    """Raises NothingPredicted, or GrowthNotProjected where the history was too short."""
    row = await read_projections(resources.database, store_id)
    if row is None:
        raise NothingPredicted(store_id)
    models = {
        name: Model(name=name, **told) for name, told in (json.loads(row["models"]) if row["models"] else {}).items()
    }
    if models.keys() != {CUSTOMERS, REVENUE}:
        report = json.loads(row["growth"] or "null") or {}
        raise GrowthNotProjected(store_id, reason=report.get("missing"))
    moment: datetime = row["as_of"]
    return Projected(
        store_id=store_id,
        currency=row["currency"],
        timezone=row["timezone"],
        prediction_id=row["prediction_id"],
        as_of=moment.astimezone(UTC).isoformat(),
        run_id=models[CUSTOMERS].parameters["run_id"],
        customers=models[CUSTOMERS],
        revenue=models[REVENUE],
        served_run_id=row["served_run_id"],
    )


def growth_model(model: Model) -> GrowthModel:
    rounded: dict[str, Any] = {
        name: round(value, _RATE) if isinstance(value, float) else value for name, value in model.backtest.items()
    }
    return GrowthModel(
        name=model.name,
        candidate=model.candidate,
        version=model.version,
        status="degraded" if model.status == "degraded" else "served",
        degraded_because=model.why if model.status == "degraded" else None,
        why=model.why,
        backtest=GrowthBacktest(**rounded),
    )


# How numbers of people and money are told


@dataclass(frozen=True, slots=True)
class People:
    """Numbers of customers in somebody's view. n : how many there are now, of which an index is 100

    whole : they may be counted. If not, numbers are told by their index alone, in steps of several customers of a
            shop that has more than a few, and rates in whole percents; with fewer than 20 not at all
    """

    n: int
    whole: bool

    @property
    def step(self) -> float:
        return next((step for step in _STEPS if step * self.n / 100 >= _MANY), _STEPS[-1])

    @property
    def are_told(self) -> bool:
        return self.n > 0 and (self.whole or self.n >= anonymous.FEWEST)

    def count(self, number: float) -> int | None:
        return round(number) if self.whole else None

    def index(self, number: float) -> float | None:
        if not self.are_told:
            return None
        exact = 100 * number / self.n
        return round(exact, _INDEX) if self.whole else _in_steps(exact, self.step)

    def percent(self, value: float) -> float | None:
        """A change of how many there are, in percent."""
        if self.whole:
            return round(value, _INDEX)
        return _in_steps(value, min(self.step, _WHOLE)) if self.are_told else None

    def rate(self, value: float) -> float | None:
        """A share of them, 0 to 1."""
        if self.whole:
            return round(value, _RATE)
        return round(_in_steps(100 * value, min(self.step, _WHOLE)) / 100, _RATE) if self.are_told else None


def _in_steps(percent: float, step: float) -> float:
    return round(round(percent / step) * step, _INDEX)


def money(amount: float, *, whole: bool) -> float:
    """Of the whole shop: for who may not count people to two digits."""
    if whole or not amount:
        return round(amount, _CENTS)
    return float(f"{amount:.{_DIGITS - 1}e}")


def in_words(amount: float, currency: str) -> str:
    """1,234,567 USD as 1,230,000 USD: as much as can be read."""
    if abs(amount) < 1000:
        return f"{amount:,.0f} {currency}"
    digits = int(math.log10(abs(amount))) - 2
    return f"{round(amount / 10**digits) * 10**digits:,.0f} {currency}"


# Kinds of customer


@dataclass(frozen=True, slots=True)
class Group:
    """Kinds that are told as one. places : theirs, in all that is by group; total_ltv : None where it is not told"""

    archetype_id: str
    name: str
    places: tuple[int, ...]
    total_ltv: float | None


def groups(kinds: Sequence[Kind], customers: Sequence[int], *, whole: bool, top_n: int | None = None) -> list[Group]:
    """The kinds worth most first, the rest together as "other", and guests. Every kind is in one of them.

    customers : how many of each are counted; for who may not count people, kinds with too few are of the rest
    """

    def is_told(place: int) -> bool:
        kind = kinds[place]
        members = customers[place] if kind.members is None else kind.members
        return whole or kind.archetype_id == GUESTS or min(members, customers[place]) >= anonymous.FEWEST

    places = [place for place, kind in enumerate(kinds) if kind.archetype_id != GUESTS]
    large = [place for place in places if is_told(place)][:top_n]
    rest = tuple(place for place in places if place not in set(large))
    guests = [place for place in range(len(kinds)) if place not in set(places)]
    worth: Callable[[float], float] = (lambda amount: round(amount, _CENTS)) if whole else anonymous.about

    def group(place: int) -> Group:
        kind = kinds[place]
        return Group(kind.archetype_id, kind.name, (place,), None if kind.total_ltv is None else worth(kind.total_ltv))

    told = [group(place) for place in large]
    if rest:
        spent = [kinds[place].total_ltv or 0.0 for place in rest]
        enough = whole or sum(kinds[place].members or 0 for place in rest) >= anonymous.FEWEST
        told.append(Group(anonymous.OTHER_ID, anonymous.OTHER_NAME, rest, worth(sum(spent)) if enough else None))
    return [*told, *(group(place) for place in guests)]


def to_cents(parts: Sequence[float], total: float) -> list[float]:
    """The parts in cents, so that they add up to the total in cents: the largest takes what rounding leaves."""
    cents = [round(100 * part) for part in parts]
    if cents:
        largest = max(range(len(cents)), key=lambda place: abs(cents[place]))
        cents[largest] += round(100 * total) - sum(cents)
    return [each / 100 for each in cents]
