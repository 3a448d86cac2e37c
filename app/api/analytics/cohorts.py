"""Cohorts, in the caller's view."""

from collections.abc import Sequence
from datetime import UTC, date
from zoneinfo import ZoneInfo

from app.api import anonymous
from app.api.analytics.charts import cohort_chart
from app.api.analytics.schemas import Cohort, CohortCell, Cohorts, Measure
from app.api.analytics.service import counted_until
from app.core.dates import in_words
from app.core.keys import Caller
from app.prediction import cohorts as cohorting
from app.prediction.cohorts import Length
from app.resources import Resources
from app.warehouse.cohorts import read_cohorts
from app.warehouse.stores import first_order_at, read_store

_SHARE, _MEAN = 4, 4
_COARSE_SHARE = 2


async def cohorts(resources: Resources, caller: Caller, *, by: Length, periods: int, measure: Measure) -> Cohorts:
    """Raises StoreNotFound."""
    async with resources.database.snapshot() as connection:
        store = await read_store(connection, caller.store_id)
        as_of = await counted_until(connection, store)
        zone = ZoneInfo(store.timezone)
        until = as_of.astimezone(zone).date()
        first = cohorting.first_of(until, periods=periods, length=by)
        counted = await read_cohorts(
            connection, store.store_id, length=by, first=first, as_of=as_of, timezone=store.timezone
        )
        begun = await first_order_at(connection, store.store_id)
    sizes = {each.cohort: each.customers for each in counted if each.period == 0}
    found = cohorting.cohorts(sizes, counted, periods=periods, length=by, until=until)
    shown = [each for each in found if caller.identified or each.customers >= anonymous.FEWEST]
    told = [_cohort(each, by, whole=caller.identified) for each in shown]
    average = [_average(shown, period, whole=caller.identified) for period in range(periods + 1)]
    return Cohorts(
        by=by,
        periods=periods,
        measure=measure,
        cohorts=told,
        average=average,
        says=_says(average, by) if shown or not found else "No cohort is large enough to be told.",
        chart=cohort_chart(told, average, by=by, measure=measure, currency=store.currency),
        message=_message(
            by,
            until=until,
            begun=None if begun is None or begun >= as_of else begun.astimezone(zone).date(),
            earliest=shown[0].start if shown else None,
            hidden=len(shown) < len(found),
        ),
        currency=store.currency,
        timezone=store.timezone,
        run_id=store.served_run_id,
        as_of=as_of.astimezone(UTC).isoformat(),
    )


def _cohort(each: cohorting.Cohort, by: Length, *, whole: bool) -> Cohort:
    return Cohort(
        starts_on=each.start.isoformat(),
        label=_label(each.start, by),
        customers=each.customers if whole else None,
        cells=[None if cell is None else _cell(cell, each.customers, whole=whole) for cell in each.cells],
    )


def _average(shown: Sequence[cohorting.Cohort], period: int, *, whole: bool) -> CohortCell | None:
    found = cohorting.together(shown, period)
    return None if found is None else _cell(*found, whole=whole)


def _cell(cell: cohorting.Cell, customers: int, *, whole: bool) -> CohortCell:
    """Coarse where people may not be counted: a sum over a mean, or a fine share, would tell how many they are."""

    def mean(amount: float) -> float:
        return round(amount / customers, _MEAN) if whole else anonymous.mean(amount / customers)

    return CohortCell(
        period=cell.period,
        share=round(cell.customers / customers, _SHARE if whole else _COARSE_SHARE),
        orders=cell.orders if whole else None,
        orders_per_customer=mean(cell.orders),
        net_revenue=round(float(cell.net_revenue), 2) if whole else None,
        revenue_per_customer=mean(float(cell.net_revenue)),
        cumulative_per_customer=mean(float(cell.cumulative)),
    )


def _label(start: date, by: Length) -> str:
    """March 2026, or Q1 2026."""
    if by is Length.quarter:
        return f"Q{(start.month + 2) // 3} {start.year}"
    return in_words(start).partition(" ")[2]


# In words


def _says(average: Sequence[CohortCell | None], by: Length) -> str:
    later = [each for each in average[1:] if each is not None]
    if not later:
        return f"No {by.value} after a first order is over yet."
    told = f"Of new customers {_percent(later[0].share)} order again in the {by.value} after that of their first order"
    if len(later) > 1:
        last = later[-1]
        told += f", and {_percent(last.share)} in the {_ordinal(last.period)}"
    return f"{told}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or not share else "under 1 %"


def _ordinal(n: int) -> str:
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _message(by: Length, *, until: date, begun: date | None, earliest: date | None, hidden: bool) -> str | None:
    """begun : the day of the first order there is; earliest : the first day of the first cohort shown"""
    if begun is None:
        return "No orders are known yet. Customers are put together by their first."
    told = []
    if hidden:
        told.append(f"Cohorts of fewer than {anonymous.FEWEST} customers are left out.")
        told += ["`by=quarter` puts more of them together."] if by is Length.month else []
    under_way = cohorting.start_of(until, by)
    if begun >= under_way:
        told.append(f"The {by.value} of the first order, {_label(under_way, by)}, is not over yet.")
    elif until > under_way:
        told.append(f"{_label(under_way, by)} is not over yet, and not told.")
    if earliest is not None and cohorting.start_of(begun, by) == earliest:
        told.append(
            f"Orders are known from {in_words(begun)} on: the first cohort may hold customers who had ordered before."
        )
    return " ".join(told) or None
