"""What is said of customers and revenue ahead."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from app.api.projected import GrowthModel
from app.core.schemas import Answer

_COUNT = "Null for keys that may not see identities."
_INDEX = "100 is how many there are now; null with fewer than 20 for keys that may not see identities."
_MONEY = "For keys that may not see identities to two digits; null where fewer than 20 orders are behind it."
_RUN = "The segmentation whose kinds of customer are told; null where there was none."


class By(StrEnum):
    archetype = "archetype"


class Row(Answer):
    """Customers over one month, quarter or year: previous + acquired - lapsed = estimated, also in indices."""

    estimated_customers: int | None = Field(description=f"Active at its end. {_COUNT}")
    previous_customers: int | None = Field(description=f"Active before it. {_COUNT}")
    acquired_customers: int | None = Field(description=f"New, or won back after they had lapsed. {_COUNT}")
    new_customers: int | None = Field(description="The same as acquired_customers.")
    lapsed_customers: int | None = Field(description=f"No order within 365 days any more. {_COUNT}")
    low: int | None = Field(description=f"Lower end of the interval of estimated_customers. {_COUNT}")
    high: int | None
    growth_rate: float | None = Field(description="Estimated over previous, less 1; 0 from nobody.")
    index: float | None = Field(description=f"Of estimated_customers. {_INDEX}")
    previous_index: float | None
    acquired_index: float | None
    lapsed_index: float | None
    low_index: float | None
    high_index: float | None


class MonthRow(Row):
    month: str = Field(examples=["2026-01"])


class QuarterRow(Row):
    quarter: str = Field(examples=["2026-Q1"])
    n_months: int = Field(description="How many of its months are projected.")


class YearRow(Row):
    year: str = Field(examples=["2026"])
    n_months: int = Field(description="How many of its months are projected.")


class Projections(Answer):
    monthly: list[MonthRow]
    quarterly: list[QuarterRow]
    yearly: list[YearRow]


class Summary(Answer):
    months: int
    growth_rate_pct: float | None = Field(description="Over all of the months; 0 from nobody.")
    projected_customers: int | None = Field(description=f"At the end of them. {_COUNT}")
    low: int | None
    high: int | None
    index: float | None = Field(description=_INDEX)
    low_index: float | None
    high_index: float | None
    avg_tenure_days: float | None = Field(description="Mean days since the first order of those active now.")
    says: str


class GrowthAssumptions(Answer):
    monthly_churn_rate: float | None = Field(description="Lapsed by those active before, all months together.")
    monthly_acquisition_rate: float | None = Field(description="Acquired alike.")
    churn_measured: bool = Field(description="False where nobody could have lapsed yet: the rate is a floor then.")
    notes: list[str]


class Growth(Answer):
    """How many customers a shop will have, month by month."""

    current_customers: int | None = Field(description=f"Active at the end of counted_on. {_COUNT}")
    counted_on: str = Field(description="The last day of the last whole month.", examples=["2025-09-30"])
    summary: Summary
    projections: Projections
    level: float = Field(description="Share of what comes that is meant to lie between low and high.")
    assumptions: GrowthAssumptions
    model: GrowthModel
    chart: dict[str, Any] | None = Field(description="Vega-Lite: the past, and what is to come with its interval.")
    message: str | None = Field(description="What to bear in mind; null where there is nothing.")
    timezone: str
    run_id: int | None = Field(description=_RUN)
    prediction_id: int
    as_of: str


class Period(Answer):
    name: str | None = Field(description="As it was asked for; null for dates or months.")
    start_date: str
    end_date: str = Field(description="The last day, within.")
    days: int
    begun: bool = Field(description="Whether some of it lies before as_of.")


class Revenue(Answer):
    """Net revenue: what is paid less what goes back, guests' orders among it."""

    point: float | None = Field(description=f"Earned and still to come. {_MONEY}")
    low: float | None
    high: float | None
    earned: float | None = Field(description="Before as_of.")
    to_come: float | None = Field(description="From as_of on.")
    earned_share: float | None = Field(description="Of the point; null of nothing.")
    level: float = Field(description="Share of what comes that is meant to lie between low and high.")
    coverage: float | None = Field(
        description="Share of what came that did, where whole months were told of the shop's own past; null of none."
    )
    year_before: float | None = Field(description="Of the same days a year before; null where not all are known.")
    change_pct: float | None = Field(description="The point against that.")


class KindRevenue(Answer):
    archetype_id: str = Field(description="`guests` for orders of nobody known, `unsegmented` for new customers.")
    segment_name: str
    point: float | None = Field(description=f"They add up to the whole. {_COUNT}")
    earned: float | None
    to_come: float | None
    share: float | None = Field(description="Of the whole; null where that is nothing.")


class Engagement(Answer):
    """Of the customers known today, how many will order in the period at least once."""

    expected_customers: int | None = Field(description=_COUNT)
    low: int | None
    high: int | None
    share: float | None = Field(description="Of all customers known today.")
    share_low: float | None
    share_high: float | None
    new_customers: int | None = Field(
        description=f"Expected beside: who orders first before its end, and in it at least once. {_COUNT}"
    )
    years: list[int] = Field(description="The years before that it is told from; empty for the last months instead.")
    definition: str


class Target(Answer):
    """A kind of customer, by how many orders it is expected to place in the period."""

    rank: int
    archetype_id: str
    segment_name: str
    expected_orders: float | None = Field(description=f"Days with an order. {_COUNT}")
    expected_customers: float | None = Field(description=_COUNT)
    share_of_orders: float | None = Field(description="Of those expected of all customers known today.")
    orders_index: float | None = Field(description="Expected orders for each customer; 1 is the mean of the shop.")


class RevenueForecast(Answer):
    period: Period
    revenue: Revenue
    archetypes: list[KindRevenue] | None = Field(description="With by=archetype, those with most first.")
    engagement: Engagement | None = Field(description="Of a period with a name; null where nothing can be told.")
    targets: list[Target] = Field(description="Of a period with a name: at most ten.")
    says: str
    assumptions: list[str]
    model: GrowthModel
    chart: dict[str, Any] | None = Field(description="Vega-Lite: months so far, and to come with their interval.")
    message: str | None
    currency: str
    timezone: str
    run_id: int | None = Field(description=_RUN)
    prediction_id: int
    as_of: str
