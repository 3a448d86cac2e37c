"""What is said of the shop over time."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.api.projected import GrowthModel
from app.core.schemas import Answer
from app.prediction.anomalies import Direction, Metric
from app.prediction.cohorts import Length
from app.prediction.growth import MOST_MONTHS

_COUNT = "Null for keys that may not see identities."
_SHARE = "0 to 1; in whole percents for keys that may not see identities."
_RUN = "The run that is served; null before the first."


class Measure(StrEnum):
    """What of a cohort a picture shows."""

    retention = "retention"
    orders = "orders"
    revenue = "revenue"
    value = "value"


class ArchetypeMovement(Answer):
    """What became of one kind of customer. Shares are of its customers then who are there still."""

    archetype_id: str
    segment_name: str = Field(description="Its name then.")
    customers: int | None = Field(description=_COUNT)
    stayed: float
    migrated: float
    renamed_by_discovery: float = Field(description="Counted elsewhere because the kinds were found anew.")


class Migration(Answer):
    """Customers who went from one kind to another by what they did."""

    from_id: str
    from_name: str
    to_id: str
    to_name: str
    count: int | None = Field(description=_COUNT)
    share: float = Field(description="Of the customers compared.")
    share_of_kind: float = Field(description="Of those who were of the kind that they left.")


class AxisShift(Answer):
    axis: str
    changed: float = Field(description="Share of customers compared who are in another segment by what they did.")
    renamed_by_discovery: float
    psi: float | None = Field(
        description="Of its segments' shares, now against then; null where a discovery in between found others."
    )
    flagged: bool = Field(description="Whether that is above DRIFT_THRESHOLD.")


class Window(Answer):
    """Two days compared. Shares are 0 to 1, of the customers who were there on both."""

    days: int = Field(description="Asked for.")
    compared_with: str = Field(description="The shop's day that the latest is compared with.", examples=["2026-04-26"])
    days_between: int = Field(description="More than asked for where that day itself is not kept.")
    customers_compared: int | None = Field(description=_COUNT)
    new_customers: int | None = Field(description=f"Placed now and not then. {_COUNT}")
    migrated: float = Field(description=f"Who went to another kind by what they did. {_SHARE}")
    renamed_by_discovery: float = Field(
        description="Whose kind is another because a discovery split, merged, retired or added it, not they."
    )
    velocity: float = Field(description="`migrated` by the days between.")
    acceleration: float | None = Field(description="Velocity less that of the window before; null without one.")
    archetypes: list[ArchetypeMovement] = Field(description="The largest first, as many as `limit`.")
    archetypes_total: int = Field(description="How many there are to tell of.")
    migrations: list[Migration] = Field(description="Where most went, as many as `limit`.")
    migrations_total: int
    axes: list[AxisShift]
    chart: dict[str, Any] | None = Field(description="Vega-Lite: the migrations as a heat map; null without any.")
    says: str


class SinceDiscovery(Answer):
    """An axis today against the discovery that found its segments."""

    axis: str
    psi: float
    flagged: bool


class Velocity(Answer):
    day: str
    days: int = Field(description="Since the day it is compared with.")
    velocity: float


class Drift(Answer):
    """How the shop moves, up to its latest day."""

    day: str = Field(description="The latest day of the shop that is kept.", examples=["2026-05-03"])
    windows: list[Window] = Field(description="Those the history is long enough for.")
    missing: list[int] = Field(description="Windows it is too short for.")
    since_discovery: list[SinceDiscovery]
    rules_run_id: int = Field(description="The discovery whose segments these are.")
    threshold: float = Field(description="DRIFT_THRESHOLD: from above it a shift is flagged.")
    velocities: list[Velocity] = Field(description="Week by week, the earliest first.")
    velocity_chart: dict[str, Any] | None = Field(description="Vega-Lite: the velocities; null for fewer than two.")
    message: str | None = Field(description="From when what is missing will be there; null where nothing is.")
    timezone: str
    run_id: int
    as_of: str


class CohortCell(Answer):
    """A cohort in one period that is over. Per customer means of all of the cohort, whether they ordered or not."""

    period: int = Field(description="How many periods after that of the first order; 0 is that period itself.")
    share: float = Field(description=f"Of the cohort, those who ordered in it. {_SHARE}")
    orders: int | None = Field(description="Placed in it. Null for keys that may not see identities.")
    orders_per_customer: float
    net_revenue: float | None = Field(
        description="Paid less given back in it. Null for keys that may not see identities."
    )
    revenue_per_customer: float = Field(description="`net_revenue` by the customers of the cohort.")
    cumulative_per_customer: float = Field(description="The same of this period and all before it together.")


class Cohort(Answer):
    """Customers whose first order was in one month or quarter."""

    starts_on: str = Field(examples=["2026-03-01"])
    label: str = Field(examples=["March 2026"])
    customers: int | None = Field(description=_COUNT)
    cells: list[CohortCell | None] = Field(description="By period; null for one that is not over yet.")


class Cohorts(Answer):
    """Whether customers come back, and what they bring in, by when they first ordered."""

    by: Length
    periods: int = Field(description="How many after the first each cohort is followed for.")
    measure: Measure = Field(description="What `chart` shows.")
    cohorts: list[Cohort] = Field(description="Those whose own period is over, the earliest first.")
    average: list[CohortCell | None] = Field(
        description="By period, all of these cohorts that are old enough together; null where none is."
    )
    says: str
    chart: dict[str, Any] | None = Field(description="Vega-Lite: a heat map of `measure`; null without a cohort.")
    message: str | None = Field(description="What is left out, and what to bear in mind; null where there is nothing.")
    currency: str
    timezone: str
    run_id: int | None = Field(description=_RUN)
    as_of: str


class DayBand(Answer):
    """A day, and what would have been usual. Null where too little is known to tell."""

    day: str
    actual: float | None
    expected: float | None
    low: float | None = Field(description="The least that is usual.")
    high: float | None = Field(description="The most that is usual.")
    flagged: Direction | None = Field(description="Where it is more or less than that.")


class Anomaly(Answer):
    """A day outside its band."""

    day: str
    direction: Direction
    actual: float | None
    expected: float | None
    low: float | None
    high: float | None
    beyond: float | None = Field(description="How much more than `high`, or less than `low`, it is.")
    outside: float | None = Field(
        description="How far from what was expected, 1 at the edge of the band; below 0 for too few. "
        "Null where numbers are not told."
    )
    says: str


class KindAnomalies(Answer):
    """Days on which one kind of customer, as it is made up today, was out of line."""

    archetype_id: str
    segment_name: str
    unit: str | None = Field(description="Of its numbers; null where they are not told.")
    anomalies: list[Anomaly] = Field(description="The latest first.")


class Anomalies(Answer):
    """Days on which a shop, or a kind of customer, did more or less than is usual."""

    metric: Metric
    unit: str | None = Field(
        description="Of all numbers: `orders`, `refunds`, `tickets`, or the currency; `usual days` for keys that may "
        "not see identities, 1 being the mean of what was expected of these days; null where numbers are not told.",
        examples=["orders"],
    )
    archetype_id: str | None = Field(description="The kind of customer these are the days of; null for the whole shop.")
    segment_name: str | None
    band: float = Field(description="Share of days that lie within it when nothing is the matter.")
    days: list[DayBand] = Field(description="The earliest first; whole days of the shop alone.")
    anomalies: list[Anomaly] = Field(description="Those that are flagged, the latest first.")
    expected_by_chance: float = Field(description="So many of `days` would be flagged if nothing were the matter.")
    says: str
    archetypes: list[KindAnomalies] = Field(
        description="Kinds with a day out of line, those with most first. Their bands are wider: `archetypes_band`."
    )
    archetypes_compared: int = Field(description="Kinds of at least 20 customers that were looked at.")
    archetypes_band: float
    chart: dict[str, Any] | None = Field(description="Vega-Lite: the days and their band; null without numbers.")
    message: str | None = Field(description="Why there is no band, or none on some days; null where there is.")
    currency: str
    timezone: str
    run_id: int | None = Field(description=_RUN)
    as_of: str


_Change = Annotated[float, Field(strict=True, ge=-1, le=5)]


class Changes(Answer):
    """What is changed, relative to what is projected: 0.1 for a tenth more, -1 for none at all."""

    repeat_rate_change: _Change = Field(default=0.0, description="Orders after a customer's first.")
    order_value_change: _Change = Field(default=0.0, description="What an order comes to.")
    acquisition_change: _Change = Field(default=0.0, description="Customers who are new or won back.")
    churn_change: _Change = Field(default=0.0, description="The share of active customers who lapse each month.")
    months: Annotated[int, Field(strict=True, ge=1, le=MOST_MONTHS)] = Field(
        default=12, description="How many, from the one under way on."
    )


class Sides(Answer):
    """A number as projected and as it would be."""

    unchanged: float | None
    changed: float | None
    change_pct: float | None = Field(description="Null where nothing is projected, or nothing may be told.")


class WhatIfMonth(Answer):
    month: str = Field(examples=["2026-01"])
    customers: int | None = Field(description=f"Active at its end, as projected. {_COUNT}")
    changed_customers: int | None
    acquired: int | None
    changed_acquired: int | None
    lapsed: int | None
    changed_lapsed: int | None
    index: float | None = Field(description="Of customers, 100 being how many there are now.")
    changed_index: float | None
    revenue: float = Field(description="Net; to two digits for keys that may not see identities.")
    changed_revenue: float


class WhatIf(Answer):
    """What changes of how customers behave would do."""

    changes: Changes
    customers: Sides = Field(
        description="Active at the end; for keys that may not see identities in percents of those active now."
    )
    revenue: Sides = Field(description="Net, of all the months.")
    monthly: list[WhatIfMonth]
    repeat_share: float = Field(description="Of what was paid in the last year, that of orders after a first, 0 to 1.")
    assumptions: list[str] = Field(description="The arithmetic, and what the projections rest on.")
    says: str
    models: list[GrowthModel] = Field(description="Of customers and of revenue.")
    chart: dict[str, Any] | None = Field(description="Vega-Lite: both side by side; null where nothing is told.")
    message: str | None = Field(description="What to bear in mind; null where there is nothing.")
    currency: str
    timezone: str
    run_id: int | None = Field(description="The segmentation they were trained beside; null where there was none.")
    prediction_id: int
    as_of: str
