"""Customers ahead, in the caller's view."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from app.api import anonymous
from app.api.growth.charts import customers_chart
from app.api.growth.schemas import (
    Growth,
    GrowthAssumptions,
    MonthRow,
    Projections,
    QuarterRow,
    Summary,
    YearRow,
)
from app.api.projected import People, growth_model, projected
from app.core.dates import in_words
from app.core.keys import Caller
from app.pipeline.growth import customers_from
from app.prediction.growth import ACTIVE_DAYS, QUARTER, YEAR, CustomerProjection, PeriodRow
from app.resources import Resources

_TENURE = 1


async def projection(resources: Resources, caller: Caller, *, months: int) -> Growth:
    """Raises NothingPredicted or GrowthNotProjected."""
    served = await projected(resources, caller.store_id)
    told = customers_from(served.customers, months)
    people = People(told.active_now, whole=caller.identified)
    monthly = [
        MonthRow(month=f"{row.first:%Y-%m}", **fields)
        for row, fields in zip(told.rows(), _rows(told.rows(), people), strict=True)
    ]
    quarters, years = told.rows(QUARTER), told.rows(YEAR)
    past = served.customers.parameters["past"]
    return Growth(
        current_customers=people.count(told.active_now),
        counted_on=(told.first - timedelta(days=1)).isoformat(),
        summary=_summary(told, people),
        projections=Projections(
            monthly=monthly,
            quarterly=[
                QuarterRow(quarter=f"{row.first.year}-Q{(row.first.month + 2) // 3}", n_months=row.n_months, **fields)
                for row, fields in zip(quarters, _rows(quarters, people), strict=True)
            ],
            yearly=[
                YearRow(year=str(row.first.year), n_months=row.n_months, **fields)
                for row, fields in zip(years, _rows(years, people), strict=True)
            ],
        ),
        level=told.level,
        assumptions=GrowthAssumptions(
            monthly_churn_rate=people.rate(told.monthly_churn_rate),
            monthly_acquisition_rate=people.rate(told.monthly_acquisition_rate),
            churn_measured=told.churn_measured,
            notes=list(told.assumptions),
        ),
        model=growth_model(served.customers),
        chart=customers_chart(date.fromisoformat(past["first"]), past["active"], monthly, people, level=told.level),
        message=_message(served.message(), people),
        timezone=served.timezone,
        run_id=served.run_id,
        prediction_id=served.prediction_id,
        as_of=served.as_of,
    )


def _rows(rows: Sequence[PeriodRow], people: People) -> list[dict[str, Any]]:
    """The fields of `Row`. Where people may not be counted what lapsed is told by the others, so that they add up."""
    told = []
    for row in rows:
        previous, index, acquired = (people.index(each) for each in (row.previous, row.customers, row.acquired))
        lapsed = None
        if previous is not None and index is not None and acquired is not None:
            acquired = max(acquired, round(index - previous, 2))
            lapsed = round(previous + acquired - index, 2)
        told.append(
            {
                "estimated_customers": people.count(row.customers),
                "previous_customers": people.count(row.previous),
                "acquired_customers": people.count(row.acquired),
                "new_customers": people.count(row.acquired),
                "lapsed_customers": people.count(row.lapsed),
                "low": people.count(row.low),
                "high": people.count(row.high),
                "growth_rate": people.rate(row.growth_rate),
                "index": index,
                "previous_index": previous,
                "acquired_index": acquired,
                "lapsed_index": lapsed,
                "low_index": people.index(row.low),
                "high_index": people.index(row.high),
            }
        )
    return told


def _summary(told: CustomerProjection, people: People) -> Summary:
    end, low, high = (int(each[-1]) for each in (told.active, told.low, told.high))
    tenure = told.avg_tenure_days if people.are_told else None
    return Summary(
        months=len(told.active),
        growth_rate_pct=people.percent(told.growth_rate_pct),
        projected_customers=people.count(end),
        low=people.count(low),
        high=people.count(high),
        index=people.index(end),
        low_index=people.index(low),
        high_index=people.index(high),
        avg_tenure_days=None if tenure is None else round(tenure, _TENURE) if people.whole else anonymous.mean(tenure),
        says=_says(told, people),
    )


# In words


def _says(told: CustomerProjection, people: People) -> str:
    last = told.rows()[-1]
    when = in_words(last.first).partition(" ")[2]
    if not told.active_now:
        return (
            f"Nobody has ordered within {ACTIVE_DAYS} days; about {last.customers:,} would be active in {when}."
            if (people.whole)
            else f"Nobody has ordered within {ACTIVE_DAYS} days."
        )
    if not people.are_told:
        return f"With fewer than {anonymous.FEWEST} active customers nothing is told."
    change, low, high = (
        people.percent(100 * (each / told.active_now - 1)) for each in (last.customers, last.low, last.high)
    )
    assert change is not None and low is not None and high is not None  # noqa: S101  they are told
    there = f"{last.customers:,} active customers" if people.whole else "Active customers"
    return f"{there} at the end of {when}, {_percent(change)} against now ({_percent(low)} to {_percent(high)})."


def _percent(value: float) -> str:
    return f"{value:+.1f} %" if value else "0 %"


def _message(told: str | None, people: People) -> str | None:
    said = [] if told is None else [told]
    if not people.whole and people.n and not people.are_told:
        said.append(f"Numbers are told of {anonymous.FEWEST} active customers or more.")
    return " ".join(said) or None
