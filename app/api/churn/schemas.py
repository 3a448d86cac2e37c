"""What is said of the risk of a shop's customers."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from app.api.foretold import Model
from app.core.schemas import Answer

_COUNT = "Null for keys that may not see identities."
_RUN = "The segmentation that is served; null before the first."


class Sort(StrEnum):
    """What customers are listed by, the largest first."""

    ltv_at_risk = "ltv_at_risk"
    risk = "risk"
    ltv = "ltv"


class Interval(Answer):
    low: float
    high: float
    level: float = Field(description="Share of such intervals that hold what comes: .95.")


class LevelCount(Answer):
    """Customers of one level."""

    count: int | None = Field(description=f"Of those counted. {_COUNT}")
    percentage: float | None = Field(
        description="Of those counted; null for a level of fewer than 20 with a key that may not see identities."
    )
    estimated_total: int | None = Field(description=f"Of all customers: the same as count where all are. {_COUNT}")
    estimated_total_interval: Interval | None = Field(description="Of a sample; null where everybody is counted.")


class Distribution(Answer):
    """Customers by level: critical from .7, high from .5, medium from .3 of churn_risk_score."""

    critical: LevelCount
    high: LevelCount
    medium: LevelCount
    low: LevelCount
    other: float | None = Field(description="Percentage in the levels that are too small to be shown by themselves.")


class LtvAtRisk(Answer):
    """What is at stake with customers of high and critical risk. Rounded for keys that may not see identities."""

    historic: float | None = Field(description="Lifetime value times risk.")
    predicted_12m: float | None = Field(description="What they are expected to spend in twelve months all the same.")


class TierRisk(Answer):
    """Customers of one tier of lifetime value."""

    ltv_tier: str | None = Field(
        description="vip, high, standard or low; null for who is not in the served segmentation."
    )
    count: int | None = Field(description=_COUNT)
    percentages: dict[str, float | None] = Field(description="By level, of the tier; null where few are.")
    ltv_at_risk: LtvAtRisk


class ChurnAggregate(Answer):
    """The risk of all customers with an order. All is as of `as_of`, but for who has ordered since."""

    total_customers: int | None = Field(description=f"Of whom something is predicted. {_COUNT}")
    sample_size: int | None = Field(description=f"So many are counted. {_COUNT}")
    churn_risk_distribution: Distribution
    estimated_churn_30_days: float | None = Field(
        description=f"Customers who will not order within 30 days, as the sum of their chances. {_COUNT}"
    )
    estimated_churn_30_days_interval: Interval | None
    estimated_churn_30_days_share: float | None = Field(
        description="The same as a share of customers, 0 to 1; null where it would tell of a few."
    )
    estimated_churn_90_days: float | None
    estimated_churn_90_days_interval: Interval | None
    estimated_churn_90_days_share: float | None
    ltv_at_risk: LtvAtRisk
    by_value_tier: list[TierRisk] = Field(description="VIPs first; tiers too small to be shown are left out.")
    note: str = Field(description="How it is counted.")
    chart: dict[str, Any] = Field(description="Vega-Lite: levels of everybody and of each tier, as stacked bars.")
    model: Model | None
    currency: str
    timezone: str
    run_id: int | None = Field(description=_RUN)
    prediction_id: int
    as_of: str


class AtRiskArchetype(Answer):
    id: str
    name: str


class AtRiskCustomer(Answer):
    customer_id: str
    name: str | None = Field(description=_COUNT)
    email: str | None = Field(description=_COUNT)
    archetype: AtRiskArchetype | None = Field(description="Null for who is not in the served segmentation.")
    risk_level: Literal["critical", "high", "medium", "low"]
    churn_risk_score: float
    ltv: float
    ltv_at_risk: float = Field(description="Lifetime value times risk.")
    predicted_ltv_12m: float | None
    ltv_tier: str | None
    total_orders: int
    days_since_last_purchase: int | None


class AtRisk(Answer):
    """Customers at risk, page by page, with what they come to together: the totals are of all who match."""

    customers: list[AtRiskCustomer]
    count: int | None = Field(description=f"All who match. {_COUNT}")
    share: float | None = Field(description="Of customers of whom something is predicted, 0 to 1.")
    total_ltv: float | None = Field(description="Rounded for keys that may not see identities.")
    total_ltv_at_risk: float | None = Field(description="Lifetime value times risk.")
    total_predicted_ltv_12m: float | None
    levels: list[str] = Field(description="Those asked for.")
    sort: Sort
    next_cursor: str | None
    message: str | None = Field(description="Why nobody is listed; null where somebody is.")
    model: Model | None
    currency: str
    timezone: str
    run_id: int | None = Field(description=_RUN)
    prediction_id: int
    as_of: str
