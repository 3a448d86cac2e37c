"""What is said of archetypes and segments."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from app.api.projected import GrowthModel
from app.core.schemas import Answer

_VERDICT = (
    "real_groups, blurred_groups (they run into each other), unsteady_groups (they do not quite come back), continuum, "
    "one_group (nothing to tell apart) or too_small. Null for runs of before."
)


class Metric(StrEnum):
    """What archetypes are ranked by."""

    total_ltv = "total_ltv"
    avg_ltv = "avg_ltv"
    member_count = "member_count"


class FeatureChange(Answer):
    """Of a segment that goes on: what is typical of its customers, then and now."""

    feature: str
    before: float
    now: float
    says: str


class AxisChange(Answer):
    """Of an archetype that goes on: an axis on which most of its members have another segment; null where it says no
    more.
    """

    axis: str
    before: str
    now: str | None
    says: str


class Step(Answer):
    """From a segment or archetype of the run before to one of this. Who is in which is asked of today's customers."""

    fate: str = Field(description="continued, split, merged, born or retired.")
    previous_id: str | None = Field(description="Null for one that is born.")
    previous_name: str | None
    id: str | None = Field(description="Null for one that is retired.")
    name: str | None
    share_of_previous: float | None = Field(description="Of the old one's customers who are in the new one, 0 to 1.")
    share_of_current: float | None = Field(description="Of the new one's customers who were in the old one, 0 to 1.")
    renamed: bool = Field(description="It goes on under another name, because what it is like has changed.")
    changes: list[FeatureChange | AxisChange]
    says: str | None = Field(description="Null where it would name a group too small to be shown.")


class PastStep(Step):
    axis: str = Field(description="An axis, or `archetypes`.")
    run_id: int
    previous_run_id: int
    as_of: str


class Lineage(Answer):
    """Steps of one run after the other, the latest first. run_id and as_of are of the served run."""

    steps: list[PastStep]
    next_cursor: str | None
    run_id: int
    as_of: str


class Drift(Answer):
    """How many customers known to this run and the one before changed their segment, and why. Shares are 0 to 1."""

    common: int | None = Field(description="Customers known to both. Null for keys that may not see identities.")
    changed: float = Field(description="Their segment is another one.")
    moved: float = Field(description="Their behaviour is another: the rules of the run before, too, move them.")
    refitted: float = Field(description="The rules are others: behaving as they do now, they stand elsewhere.")
    rand_changed: float = Field(description="Adjusted Rand index of the same comparison: 1 the same groups, 0 chance.")
    rand_moved: float
    rand_refitted: float


class ArchetypeSummary(Answer):
    archetype_id: str
    segment_name: str
    slug: str
    description: str
    level: int
    member_count: int | None = Field(description="Null for keys that may not see identities.")
    population_percentage: float
    avg_ltv: float | None
    total_ltv: float | None
    avg_lifetime_value: float | None = Field(description="The same as avg_ltv.")
    total_revenue: float | None = Field(description="The same as total_ltv.")
    avg_orders: float | None
    avg_order_value: float | None
    churn_rate: float | None = Field(
        description="Mean risk of its customers, each within their own horizon, 0 to 1. Null until predictions are "
        "published, as are the three below."
    )
    avg_predicted_ltv_12m: float | None = Field(description="Expected of a customer in the next twelve months.")
    total_predicted_ltv_12m: float | None
    expected_spend_90d: float | None = Field(description="Expected of a customer in the next 90 days.")
    dominant_segments: dict[str, str]
    defined_by: list[str] | None = Field(
        description="The axes whose segment every one of its kind goes by; on others it is what most of them have."
    )
    key_traits: list[str]


class TopArchetypes(Answer):
    archetypes: list[ArchetypeSummary]
    metric: Metric
    total_archetypes: int
    population: str = Field(description="What the percentages are of.")
    currency: str
    timezone: str = Field(description="The shop's: its days and hours are meant.")
    run_id: int
    prediction_id: int | None = Field(description="The predictions that are served; null before the first.")
    as_of: str


class ArchetypeMetrics(Answer):
    avg_ltv: float
    total_ltv: float
    avg_orders: float
    avg_order_value: float
    avg_recency_days: float
    churn_rate: float | None = Field(description="Mean risk of its customers; null until predictions are published.")
    avg_predicted_ltv_12m: float | None = Field(description="Expected of a customer in the next twelve months.")
    total_predicted_ltv_12m: float | None
    expected_spend_90d: float | None = Field(description="Expected of a customer in the next 90 days.")


class SubArchetype(Answer):
    """One of level 2 (by how clearly its members belong) or 3 (by what else they are close to)."""

    archetype_id: str
    segment_name: str
    slug: str
    description: str
    member_count: int | None
    population_percentage: float
    strength_band: str | None = None
    second_segments: dict[str, str] | None = None


class SubArchetypes(Answer):
    level2: list[SubArchetype]
    level3: list[SubArchetype]


class ArchetypeDetail(Answer):
    archetype_id: str
    segment_name: str
    slug: str
    description: str
    level: int
    parent_id: str | None = Field(description="Of level 2 and 3: the archetype of level 1.")
    member_count: int | None
    population_percentage: float
    population: str
    metrics: ArchetypeMetrics
    dominant_segments: dict[str, str]
    defined_by: list[str] | None = Field(description="Axes; of level 2 and 3 those of the archetype above.")
    key_traits: list[str]
    strength_band: str | None
    second_segments: dict[str, str] | None
    sub_archetypes: SubArchetypes | None = Field(description="Of level 1 only.")
    lineage: list[Step] = Field(description="Since the run before; of level 1 only.")
    currency: str
    timezone: str
    run_id: int
    prediction_id: int | None = Field(description="The predictions that are served; null before the first.")
    as_of: str


class Member(Answer):
    customer_id: str
    name: str | None = Field(description="Null for keys that may not see identities.")
    lifetime_value: float
    total_orders: int
    days_since_last_purchase: int
    cluster_confidence: float
    fold_distance: int


class Members(Answer):
    archetype_id: str
    members: list[Member]
    next_cursor: str | None
    run_id: int
    as_of: str


class Characteristics(Answer):
    recency_days: float | None
    frequency: float | None
    monetary_avg: float | None


class Kind(Answer):
    """An archetype of level 1 in a short form."""

    id: str
    name: str
    slug: str
    customer_count: int | None
    avg_ltv: float | None
    characteristics: Characteristics
    churn_risk_avg: float | None = Field(
        description="Mean risk of its customers; null until predictions are published."
    )
    avg_predicted_ltv_12m: float | None = Field(description="Expected of a customer in the next twelve months.")
    total_predicted_ltv_12m: float | None
    expected_spend_90d: float | None = Field(description="Expected of a customer in the next 90 days.")


class Kinds(Answer):
    segments: list[Kind]
    run_id: int
    prediction_id: int | None = Field(description="The predictions that are served; null before the first.")
    as_of: str


class RfmGroup(Answer):
    group: str
    meaning: str = Field(description="One sentence, with the scores of recency and frequency.")
    customer_count: int | None = Field(description="Null for keys that may not see identities.")
    population_percentage: float
    avg_ltv: float | None = Field(description="Null, as the other means, where there is nobody to take it of.")
    avg_recency_days: float | None
    avg_orders: float | None


class RfmScores(Answer):
    """What each score says, in one sentence."""

    recency: str
    frequency: str
    monetary: str


class RfmGroups(Answer):
    """All ten, also those without customers; groups too small to be shown stand together as "other"."""

    groups: list[RfmGroup]
    scores: RfmScores
    population: str = Field(description="What the percentages are of.")
    currency: str
    timezone: str = Field(description="The shop's: its days and hours are meant.")
    run_id: int
    as_of: str


class AxisSegment(Answer):
    segment_id: str
    name: str
    source: str = Field(description="What its customers are read from: orders or tickets.")
    interpretation: str
    customer_count: int | None
    population_percentage: float


class Stability(Answer):
    """How far segments come back when the shop's customers are drawn again, with replacement, and fitted anew."""

    adjusted_rand: float = Field(description="Agreement beyond chance (Hubert & Arabie): 1 the same groups, 0 chance.")
    kept: float = Field(description="Share of customers who stay in their segment.")
    refits: int


class AxisReading(Answer):
    """The customers of an axis who are read from one source; they are clustered among themselves."""

    source: str = Field(description="orders or tickets.")
    n_customers: int | None = Field(description="Null for keys that may not see identities.")
    population_percentage: float
    k: int
    silhouette: float | None
    null_silhouette: float | None
    smallest_share: float | None = Field(description="Of its smallest segment, of all customers, 0 to 1.")
    has_structure: bool
    stability: Stability | None = Field(description="Null where there is one segment, and for runs of before.")
    verdict: str | None = Field(description=_VERDICT)
    says: str | None = Field(description="The verdict in a sentence or two.")
    note: str


class Overlap(Answer):
    """Another axis, and how much the two say of each other."""

    axis: str
    nmi: float = Field(description="Normalised mutual information of the segments: 0 nothing, 1 all.")


class AxisReport(Answer):
    """One axis of behaviour: what it measures, whether there are real groups on it, and which."""

    axis: str
    measures: str
    status: str = Field(description="active, proxy (read from the next best records) or no_data.")
    note: str
    has_structure: bool | None = Field(description="Whether its groups are clearer than those of one shapeless cloud.")
    k: int | None
    silhouette: float | None = Field(description="Of the reading with the most customers.")
    null_silhouette: float | None
    smallest_share: float | None = Field(description="Of the smallest segment, 0 to 1.")
    stability: Stability | None = Field(description="Of the reading with the most customers.")
    verdict: str | None = Field(description=_VERDICT)
    says: str | None = Field(description="The verdict in plain words, and which axes say much the same.")
    redundancy: list[Overlap] | None = Field(description="The other axes with segments, most alike first.")
    readings: list[AxisReading] = Field(description="One, or one of each source: orders first.")
    segments: list[AxisSegment]
    drift: Drift | None = Field(description="Null where the run before has nothing to compare.")


class Axes(Answer):
    axes: list[AxisReport]
    run_id: int
    as_of: str


class TriedSplit(Answer):
    """One number of segments that was tried."""

    k: int
    silhouette: float
    null_silhouette: float = Field(description="Of one Gaussian cloud of the same covariance, cut into as many.")
    smallest_share: float | None = Field(description="Null where it may not be shown.")


class TypicalFeature(Answer):
    """What is typical of a feature: of a share the mean, of anything else the median."""

    feature: str
    shop: float | None = Field(description="Of all customers of the reading. Null where a segment may not be shown.")
    segments: dict[str, float] = Field(description="By segment.")


class ReadingEvidence(Answer):
    """What stands behind the segments of one reading."""

    source: str
    tried: list[TriedSplit] = Field(description="Every number of segments there was; empty where none was looked for.")
    features: list[TypicalFeature]


class OneAxis(AxisReport):
    lineage: list[Step] = Field(description="Since the run before.")
    chart: dict[str, Any] | None = Field(
        description="A Vega-Lite 6 picture, its data in it: where customers lie against one shapeless cloud, and what "
        "is typical of each segment. Null for runs of before."
    )
    evidence: list[ReadingEvidence] | None
    run_id: int
    as_of: str


class ArchetypeShare(Answer):
    member_count: int | None = Field(
        description="With an order within 365 days. Null for keys that may not see identities."
    )
    percentage: float = Field(description="Of all who have one, 0 to 100.")


class GrowingArchetype(Answer):
    """A kind of customer, counted by who ordered within 365 days, over all months: now + acquired - lapsed = then."""

    rank: int = Field(description="By total_ltv; those told together come last.")
    archetype_id: str = Field(description="`other` for all that are not told by themselves.")
    segment_name: str
    total_ltv: float | None = Field(description="Of all its customers, also those who have not ordered for long.")
    current_members: int | None = Field(description="Null, as all counts, for keys that may not see identities.")
    projected_members: int | None
    acquired: int | None
    lapsed: int | None
    growth_rate_pct: float | None = Field(description="Null of nobody, as the other rates.")
    relative_size: float | None = Field(
        description="Next to the largest of those told by themselves, which is 1; null of the others."
    )
    monthly_churn_rate: float | None = Field(description="Lapsed by those there before, all months together.")
    avg_tenure_days: float | None = Field(description="Mean days since the first order.")


class ArchetypesGrowth(Answer):
    """How many of each kind of customer there will be. Parts add up to the shop's projection, month by month."""

    months: int
    counted_on: str = Field(description="The last day of the last whole month.", examples=["2025-09-30"])
    current_customers: int | None = Field(description="Null for keys that may not see identities.")
    current_distribution: dict[str, ArchetypeShare] = Field(description="By archetype.")
    projected_distribution: dict[str, dict[str, ArchetypeShare]] = Field(
        description="By month (YYYY-MM) and archetype, at the end of it."
    )
    archetypes: list[GrowingArchetype] = Field(description="As many as `top_n`, and the others as one.")
    archetypes_total: int | None = Field(description="How many there are. Null for keys that may not see identities.")
    assumptions: list[str]
    model: GrowthModel
    says: str
    chart: dict[str, Any] | None = Field(description="Vega-Lite: what each changes by; null where nothing is told.")
    message: str | None = Field(description="What to bear in mind; null where there is nothing.")
    currency: str
    timezone: str
    run_id: int | None = Field(description="The segmentation whose kinds they are; null where there was none.")
    prediction_id: int
    as_of: str
