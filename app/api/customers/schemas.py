"""What is said of customers."""

from typing import Any, Literal

from pydantic import Field

from app.api.foretold import Model
from app.core.schemas import Answer

Shares = dict[str, dict[str, float]]


class Identity(Answer):
    """Who they are; null for keys that may not see it."""

    name: str | None
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None
    country: str | None


class Archetype(Answer):
    """What kind of customer they are. "other" stands for kinds too small to be shown to a key without identities."""

    archetype_id: str
    segment_name: str
    description: str
    level: int
    dominant_segments: dict[str, str]
    member_count: int | None = Field(description="Null for keys that may not see identities.")
    population_percentage: float
    population: str = Field(description="What the percentage is of.")
    key_traits: list[str]


class BusinessMetrics(Answer):
    lifetime_value: float = Field(description="Paid less given back, up to as_of.")
    total_orders: int
    avg_order_value: float
    days_since_last_purchase: int | None
    customer_tenure_days: int | None
    usual_gap_days: float | None = Field(description="Between two orders; null for who ordered once.")
    churn_risk_score: float | None = Field(default=None, description="As in `churn_risk`.")


class Cutoffs(Answer):
    """Lifetime values from which a tier begins; null where nobody stands out."""

    mode: Literal["percentile", "absolute"]
    vip: float | None
    high: float | None
    standard: float | None


class Rfm(Answer):
    """Recency, frequency and monetary value by fifths of the shop; 5 is the latest, the most orders, the most value."""

    recency_score: int | None = Field(description="1 to 5; null beside a group too small to be shown.")
    frequency_score: int | None
    monetary_score: int | None
    group: str = Field(description='One of GET /api/mcp/segments/rfm; "other" where it is too small to be shown.')
    previous_group: str | None = Field(description="The group before this one; null until it first changes.")
    changed_on: str | None = Field(description="The shop's day as of which it changed.", examples=["2011-05-03"])


class RiskFactors(Answer):
    recency_days: int | None = Field(description="Since the last order.")
    order_frequency: str | None = Field(
        description="once, weekly, fortnightly, monthly, quarterly, twice a year, or yearly or less."
    )
    orders_per_month: float | None
    value_tier: str | None = Field(description="Null for who has no standing.")
    engagement_trend: str = Field(description="rising, steady, fading or new: the last half-year against before.")


class Confidence(Answer):
    """What came of customers of the shop's past who were told much the same; nulls, and why, where nothing is known."""

    of: str | None = Field(description="Which chance: churn_risk_score, or p_no_purchase_30d.")
    low: float | None = Field(description="Ends of the interval of the share who stayed away.")
    high: float | None
    level: float | None = Field(description="Of the interval: .95.")
    n: int | None = Field(description="Customers behind it. Null for keys that may not see identities.")
    mean_predicted: float | None = Field(description="What they were told on average.")
    says: str


class Offer(Answer):
    """What may be offered, by the offer policy."""

    action: str = Field(description="welcome, thank, or retain.")
    percent: int = Field(description="Off the next order; 0 for no discount.")
    up_to: int = Field(description="As far as an agent may go.")
    extras: list[str]
    follow_up: str | None = Field(description="Who gets in touch again.")
    personal: bool = Field(description="By a call or a letter of their own, not by a campaign.")


class CustomerRisk(Answer):
    """How likely one customer is to stay away."""

    customer_id: str
    risk_level: Literal["critical", "high", "medium", "low"] = Field(
        description="Of churn_risk_score: critical from .7, high from .5, medium from .3."
    )
    risk_level_3: Literal["high", "medium", "low"] = Field(description="The same in three: critical is high.")
    churn_risk_score: float = Field(description="Chance of no order within horizon_days, 0 to 1.")
    definition: str
    horizon_days: int = Field(description="Three times their usual gap, from 30 days to a year, unless set for all.")
    p_no_purchase_30d: float = Field(description="Chance of no order within 30 days.")
    p_no_purchase_90d: float
    factors: RiskFactors
    confidence: Confidence
    recommendation: str | None = Field(description="Null for who has no standing, as is offer.")
    offer: Offer | None
    model: Model | None
    as_of: str = Field(description="Only their records before this moment were used.")
    prediction_id: int


class RiskContribution(Answer):
    group: str = Field(description="recency, frequency, rhythm, value, basket, season or segments.")
    contribution: float = Field(description="Share of risk that it adds, or takes where it is below 0.")
    says: str = Field(examples=["The time since their last order: +12.4 points"])


class ChurnRisk(CustomerRisk):
    """The same with what makes it up: typical_customer and the contributions add up to the score."""

    typical_customer: float | None = Field(description="Risk of the shop's typical customer over the same days.")
    contributions: list[RiskContribution] | None = Field(
        description="Shapley values, the largest first; null where their records have changed since."
    )
    message: str | None
    currency: str
    timezone: str
    run_id: int | None


class ExpectedSpend(Answer):
    """In the next 90 days, net of refunds."""

    expected: float
    low: float = Field(description="Ends of the interval.")
    high: float
    level: float = Field(description="Of the interval: .8.")


class NextOrder(Answer):
    """When the next order is to be expected, in days of the shop."""

    expected_on: str | None = Field(description="By which it is as likely to have come as not.")
    earliest_on: str | None = Field(description="Ends of its 80 % interval.")
    latest_on: str | None = Field(description="Null beyond a year.")
    reason: str | None = Field(description="Why there is no day; null where there is.")


class LineItem(Answer):
    title: str
    vendor: str | None
    quantity: int | float
    price: str
    line_total: str
    refund_amount: str
    product_id: str
    category: str | None


class Order(Answer):
    order_id: str
    order_number: str | None
    created_at: str = Field(examples=["2025-10-23T05:00:00Z"])
    total_price: str = Field(examples=["18.69"])
    discount_amount: str
    refunded_amount: str
    currency: str
    line_items: list[LineItem]
    tracking_numbers: list[str]
    fulfillment_status: str | None
    financial_status: str | None


class Orders(Answer):
    """A page of a customer's orders, newest first. Money is text, so that no cent is lost on the way."""

    customer_id: str
    orders: list[Order]
    total_orders: int = Field(description="Of the customer, whatever is searched for.")
    total_spent: str = Field(description="Of the customer, net of refunds.")
    matching_orders: int
    next_cursor: str | None
    run_id: int | None
    as_of: str | None


class Contribution(Answer):
    """What one feature does for the membership in the customer's top segment."""

    feature: str
    value: float
    typical: float = Field(description="Of the shop's average customer, to two digits.")
    contribution: float = Field(description="Share of membership that it adds, or takes where it is below 0.")
    says: str = Field(examples=["12 days between orders (average: 180): +34 points"])


class Change(Answer):
    """The least that moves a customer to another segment; what does not apply is null."""

    to_segment: str
    kind: Literal["usual_order", "return_item", "return_order", "orders", "unlike", "amount"]
    orders: int
    within_days: int | None = Field(description="A usual order on any day up to this one; day 1 is tomorrow.")
    after_days: int | None = Field(description="The day on which the last of it is done.")
    every_days: int | None = Field(description="Between two of the orders.")
    amount: int | None = Field(description="Paid for the one order.")
    how: str | None = Field(description="In what the orders are unlike the usual ones.", examples=["full_price"])
    says: str = Field(examples=["One more order within 40 days would make them a weekly shopper."])


class WithoutIt(Answer):
    """What becomes of a customer who does nothing."""

    to_segment: str
    after_days: int
    says: str


class AxisWhy(Answer):
    """Why a customer is in their top segment of one axis: `typical_membership` and the contributions add up to theirs.

    For keys that may not see identities, a small segment is "other" and its numbers are null.
    """

    segment: str
    membership: float | None
    typical_membership: float | None = Field(description="In that segment, of the shop's average customer.")
    contributions: list[Contribution] = Field(description="The largest first; none where there is one segment.")
    change: Change | None
    without_it: WithoutIt | None
    says: str


class PastSegment(Answer):
    segment_id: str
    name: str


class Snapshot(Answer):
    """Where a customer stood when a day of the shop ended; of the latest day, by what had come of it so far."""

    date: str = Field(examples=["2026-05-03"])
    archetype_id: str
    segment_name: str = Field(description="Of the archetype, as it was called then.")
    archetype_level2_id: str
    archetype_level3_id: str
    segments: dict[str, PastSegment] = Field(
        description="By axis, as they were called then: all of them on the first day, then those that are others."
    )
    lifetime_value: float
    total_orders: int
    days_since_last_purchase: int
    churn_risk_score: float | None = Field(description="As it was predicted on that day; null where nothing was.")
    p_no_purchase_30d: float | None
    predicted_ltv_12m: float | None


class PastChange(Answer):
    """A kind or segment that is another than the snapshot before."""

    date: str
    axis: str | None = Field(description="Null for the archetype.")
    from_id: str
    from_name: str
    to_id: str
    to_name: str
    by_discovery: bool = Field(description="Split, merged, retired, added or renamed then: not what they did.")
    says: str = Field(examples=["Moved from Small Spend, Rare to Big Spend, Frequent on 3 May 2026."])


class Delta(Answer):
    """The latest snapshot against one about so many days older."""

    days: int = Field(description="7, 14 or 28.")
    compared_with: str = Field(description="The day compared with: the latest kept that is old enough.")
    archetype_changed: bool | None = Field(
        description="By what they did: not where a discovery counts them elsewhere. Null where either day is told as "
        "`other`."
    )
    renamed_by_discovery: bool | None
    axes_changed: list[str]
    lifetime_value: float
    orders: int


class History(Answer):
    """One customer's past, a snapshot a day; older days are kept week by week."""

    customer_id: str
    pseudonym: str | None
    snapshots: list[Snapshot] = Field(description="The earliest first.")
    changes: list[PastChange] = Field(
        description="The latest first; the first day against the one before it that is kept. None into or out of "
        "`other`."
    )
    deltas: list[Delta] = Field(description="Those the history is long enough for.")
    chart: dict[str, Any] | None = Field(description="Vega-Lite: kinds and value over time; null for one day or none.")
    message: str | None = Field(description="Why there is nothing; null where there is something.")
    currency: str
    timezone: str
    run_id: int | None
    as_of: str | None


class CustomerProfile(Answer):
    """One customer in full. What `exclude` names is left out.

    `include=orders` adds the latest orders, `include=why` the reasons for each top segment, by axis.
    """

    customer_id: str
    pseudonym: str | None
    identity: Identity | None = None
    customer_since: str | None
    segment_status: Literal["segmented", "awaiting_first_purchase", "awaiting_segmentation"]
    message: str | None = Field(description="Why something is missing, or not of its time; null where nothing is.")
    archetype: Archetype | None = None
    archetype_id: str | None = None
    archetype_level2_id: str | None = None
    archetype_level3_id: str | None = None
    fold_distance: int | None = None
    fuzzy_memberships: Shares | None = Field(default=None, description="{axis: {segment: share}}; each axis sums to 1.")
    dominant_segments: dict[str, str] | None = None
    axis_sources: dict[str, str] | None = Field(
        default=None, description="{axis: orders or tickets}: what this customer is read from."
    )
    membership_strength: dict[str, str] | None = None
    interpretation: str | None = None
    key_traits: list[str] = Field(default_factory=list)
    business_metrics: BusinessMetrics
    lifetime_value: float
    total_orders: int
    avg_order_value: float
    days_since_last_purchase: int | None
    customer_tenure_days: int | None
    ltv_tier: str | None
    ltv_top_percent: float | None
    ltv_tier_cutoffs: Cutoffs | None
    rfm: Rfm | None = Field(description="Null for who has no standing, and in segmentations of older versions.")
    churn_risk: CustomerRisk | None = None
    churn_risk_score: float | None = None
    churn_risk_reason: str | None = Field(
        default=None, description="Why nothing is predicted of them; null where it is."
    )
    predicted_ltv_12m: float | None = Field(description="What they are expected to spend in the next twelve months.")
    expected_spend_90d: ExpectedSpend | None
    next_order: NextOrder | None
    currency: str
    timezone: str = Field(description="The shop's: its days and hours are meant.")
    run_id: int | None
    as_of: str | None
    rules_as_of: str | None = Field(
        default=None,
        description="With as_of: of when the rules are that they are placed by; later than as_of where none that old "
        "are kept.",
    )
    orders: Orders | None = None
    why: dict[str, AxisWhy] | None = None


class BriefArchetype(Answer):
    id: str
    name: str
    level: int


class BriefCustomer(Answer):
    """One customer in a few numbers."""

    customer_id: str
    name: str | None
    email: str | None
    archetype: BriefArchetype | None
    ltv: float
    churn_risk: float | None = Field(description="Chance of no order within their own horizon, 0 to 1.")
    total_orders: int
    avg_order_value: float
    currency: str
    timezone: str
    run_id: int | None
    as_of: str | None
    rules_as_of: str | None = Field(default=None, description="With as_of: of when the rules are; null without.")
    message: str | None = Field(default=None, description="With as_of: what is missing, or not of its time.")


class FoundCustomers(Answer):
    query: str
    customers: list[BriefCustomer]
    count: int
    run_id: int | None
    as_of: str | None
