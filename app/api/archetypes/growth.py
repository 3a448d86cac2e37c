"""Kinds of customer ahead, in the caller's view."""

import math
from collections.abc import Sequence
from datetime import timedelta

from app.api import anonymous
from app.api.archetypes.charts import growth_chart
from app.api.archetypes.schemas import ArchetypesGrowth, ArchetypeShare, GrowingArchetype
from app.api.projected import Group, People, groups, growth_model, projected
from app.core.dates import in_words
from app.core.keys import Caller
from app.pipeline.growth import customers_from
from app.prediction.cohorts import Length, later
from app.prediction.growth import CustomerProjection
from app.resources import Resources

_KINDS_OF_TODAY = (
    "Kinds are as customers are placed today: who goes from one to another is not told, so that a kind of customers "
    "who have not ordered for long mostly lapses."
)
_PERCENTAGE, _SIZE, _COARSE_SIZE, _TENURE = 2, 4, 2, 1


async def growth(resources: Resources, caller: Caller, *, months: int, top_n: int) -> ArchetypesGrowth:
    """The archetypes of level 1 worth most, and all others as one. Raises NothingPredicted or GrowthNotProjected."""
    served = await projected(resources, caller.store_id)
    told = customers_from(served.customers, months)
    now = told.groups.active_now.tolist()
    whole = caller.identified
    found = groups(served.customers.kinds(), now, whole=whole, top_n=top_n)
    named = [group.places for group in found if group.archetype_id != anonymous.OTHER_ID]
    largest = max((sum(now[place] for place in places) for places in named), default=0)
    rows = [_row(rank, group, told, whole=whole, largest=largest) for rank, group in enumerate(found, start=1)]
    enough = whole or told.active_now >= anonymous.FEWEST
    return ArchetypesGrowth(
        months=months,
        counted_on=(told.first - timedelta(days=1)).isoformat(),
        current_customers=told.active_now if whole else None,
        current_distribution=_distribution(found, now, whole=whole) if enough else {},
        projected_distribution={
            f"{later(told.first, month, Length.month):%Y-%m}": _distribution(
                found, told.groups.active[:, month].tolist(), whole=whole
            )
            for month in range(months if enough else 0)
        },
        archetypes=rows if enough else [],
        archetypes_total=len(served.customers.kinds()) if whole else None,
        assumptions=[*told.assumptions, _KINDS_OF_TODAY],
        model=growth_model(served.customers),
        says=_says(rows if enough else [], told),
        chart=growth_chart(rows, until=later(told.first, months - 1, Length.month)) if enough else None,
        message=served.message(),
        currency=served.currency,
        timezone=served.timezone,
        run_id=served.run_id,
        prediction_id=served.prediction_id,
        as_of=served.as_of,
    )


def _distribution(found: Sequence[Group], customers: Sequence[int], *, whole: bool) -> dict[str, ArchetypeShare]:
    total = sum(customers)
    told = {}
    for group in found:
        number = sum(customers[place] for place in group.places)
        percentage = 100 * number / total if total else 0.0
        told[group.archetype_id] = ArchetypeShare(
            member_count=number if whole else None,
            percentage=round(percentage, _PERCENTAGE) if whole else anonymous.share(percentage),
        )
    return told


def _row(rank: int, group: Group, told: CustomerProjection, *, whole: bool, largest: int) -> GrowingArchetype:
    places = list(group.places)
    of_groups = told.groups
    now, end = int(of_groups.active_now[places].sum()), int(of_groups.active[places, -1].sum())
    people = People(now, whole=whole)
    size = now / largest if largest and group.archetype_id != anonymous.OTHER_ID else None
    return GrowingArchetype(
        rank=rank,
        archetype_id=group.archetype_id,
        segment_name=group.name,
        total_ltv=group.total_ltv,
        current_members=people.count(now),
        projected_members=people.count(end),
        acquired=people.count(int(of_groups.acquired[places].sum())),
        lapsed=people.count(int(of_groups.lapsed[places].sum())),
        growth_rate_pct=people.percent(100 * (end / now - 1)) if now else None,
        relative_size=None
        if size is None or not (whole or people.are_told)
        else round(size, _SIZE if whole else _COARSE_SIZE),
        monthly_churn_rate=people.rate(_churn(places, told)) if now else None,
        avg_tenure_days=_tenure(places, told, people),
    )


def _churn(places: Sequence[int], told: CustomerProjection) -> float:
    """Of one kind as it was told; of several together what lapses by who is there before."""
    if len(places) == 1:
        return float(told.groups.monthly_churn_rate[places[0]])
    active = told.groups.active[list(places)]
    before = told.groups.active_now[list(places)].sum() + active[:, :-1].sum()
    return float(told.groups.lapsed[list(places)].sum() / before) if before else 0.0


def _tenure(places: Sequence[int], told: CustomerProjection, people: People) -> float | None:
    known = [place for place in places if math.isfinite(told.groups.avg_tenure_days[place])]
    n = sum(int(told.groups.active_now[place]) for place in known)
    if not n or not people.are_told:
        return None
    days = sum(float(told.groups.avg_tenure_days[place] * told.groups.active_now[place]) for place in known) / n
    return round(days, _TENURE) if people.whole else anonymous.mean(days)


# In words


def _says(rows: Sequence[GrowingArchetype], told: CustomerProjection) -> str:
    named = [(row.growth_rate_pct, row) for row in rows if row.archetype_id != anonymous.OTHER_ID]
    changes = sorted(
        ((change, row) for change, row in named if change is not None), key=lambda item: (-item[0], item[1].rank)
    )
    if not changes:
        return "No kind of customer has enough active customers to be told by itself."
    (most, up), (least, down) = changes[0], changes[-1]
    when = in_words(later(told.first, len(told.active) - 1, Length.month)).partition(" ")[2]
    if len(changes) == 1:
        return f"By the end of {when} {up.segment_name} changes by {_percent(most)}."
    return (
        f"By the end of {when} of these {up.segment_name} changes most upwards ({_percent(most)}) and "
        f"{down.segment_name} most downwards ({_percent(least)})."
        if most > 0 > least
        else f"By the end of {when} these change by {_percent(least)} ({down.segment_name}) to {_percent(most)} "
        f"({up.segment_name})."
    )


def _percent(value: float) -> str:
    return f"{value:+.1f} %" if value else "0 %"
