"""What is said of the shop over time."""

from typing import Any

from pydantic import Field

from app.core.schemas import Answer

_COUNT = "Null for keys that may not see identities."
_SHARE = "0 to 1; in whole percents for keys that may not see identities."


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
