"""What a period will bring in, and who will order in it, in the caller's view."""

from datetime import date, timedelta

import numpy as np

from app.api import anonymous
from app.api.growth.charts import revenue_chart
from app.api.growth.schemas import By, Engagement, KindRevenue, Period, Revenue, RevenueForecast, Target
from app.api.projected import Group, People, Projected, groups, growth_model, money, projected, to_cents
from app.api.projected import in_words as amount_in_words
from app.core.dates import in_words
from app.core.errors import InvalidInput, InvalidParameter
from app.core.keys import Caller
from app.pipeline import engagement as engaging
from app.pipeline.growth import GUESTS, PeriodRevenue, known_days, revenue_between, revenue_from
from app.prediction.cohorts import Length, later
from app.prediction.events import Window
from app.resources import Resources

_MONTHS = 3
_MONTH_DAYS = 30
_MOST_TARGETS = 10
_SHARE, _COARSE, _INDEX, _PEOPLE = 4, 2, 2, 1


async def forecast(
    resources: Resources,
    caller: Caller,
    *,
    period: str | None,
    start: date | None,
    end: date | None,
    months: int | None,
    by: By | None,
) -> RevenueForecast:
    """Raises NothingPredicted, GrowthNotProjected, or InvalidParameter."""
    _one_of(period, start, end, months)
    served = await projected(resources, caller.store_id)
    window = _window(served, period, start, end, months)
    told = revenue_between(served.revenue, *window)
    whole = caller.identified
    hidden = not whole and _few(told.orders)
    engaged = None if period is None else _engagement(served, window)
    projection = revenue_from(served.revenue, max(told.months, 1))
    revenue = _revenue(served, told, whole=whole, hidden=hidden)
    return RevenueForecast(
        period=Period(
            name=period,
            start_date=told.start.isoformat(),
            end_date=told.end.isoformat(),
            days=(told.end - told.start).days + 1,
            begun=told.start < served.revenue.known,
        ),
        revenue=revenue,
        archetypes=_by_kind(served, told, whole=whole, hidden=hidden) if by is By.archetype else None,
        engagement=None if engaged is None else _engaged(engaged, window, served.revenue.known, whole=whole),
        targets=[] if engaged is None else _targets(served, engaged, whole=whole),
        says=_says(revenue, told, served.currency),
        assumptions=[*projection.assumptions, *_of_period(told, served)],
        model=growth_model(served.revenue),
        chart=_chart(served, told, whole=whole),
        message=_message(served, told, hidden=hidden),
        currency=served.currency,
        timezone=served.timezone,
        run_id=served.run_id,
        prediction_id=served.prediction_id,
        as_of=served.as_of,
    )


def _one_of(period: str | None, start: date | None, end: date | None, months: int | None) -> None:
    if period is not None and (start or end):
        raise InvalidParameter("period", "takes the place of start_date and end_date; give the one or the others")
    if months is not None and (period is not None or start or end):
        raise InvalidParameter("months", "takes the place of a period and of dates; give only one of them")
    if (start is None) != (end is None):
        missing, given = ("start_date", "end_date") if start is None else ("end_date", "start_date")
        raise InvalidParameter(missing, f"is needed with {given}")
    if start is not None and end is not None and end < start:
        raise InvalidParameter("end_date", "lies before start_date")


def _window(served: Projected, period: str | None, start: date | None, end: date | None, months: int | None) -> Window:
    model = served.revenue
    earliest, latest = known_days(model)
    if period is not None:
        try:
            window = engaging.named_window(period, model.known, model.parameters["country"])
        except InvalidInput as error:
            unknown = "There are:" in str(error)
            beside = f" Or: {', '.join(engaging.CURRENT)}; or one of a year, such as q4 2025." if unknown else ""
            raise InvalidParameter("period", f"{error}{beside}") from None
        if window[1] < earliest or window[1] > latest:
            raise InvalidParameter("period", f"it is told of days from {earliest} to {latest}")
        return window
    if start is None or end is None:
        first = date.fromisoformat(model.parameters["first"])
        return first, later(first, months or _MONTHS, Length.month) - timedelta(days=1)
    if start < earliest:
        raise InvalidParameter("start_date", f"it is told of days from {earliest} on")
    if end > latest:
        raise InvalidParameter("end_date", f"it is told of days up to {latest}")
    return start, end


def _few(orders: int) -> bool:
    """What is earned with few orders is what somebody paid."""
    return 0 < orders < anonymous.FEWEST


def _revenue(served: Projected, told: PeriodRevenue, *, whole: bool, hidden: bool) -> Revenue:
    def amount(value: float | None) -> float | None:
        return None if value is None or hidden else money(value, whole=whole)

    share = told.earned / told.point if told.point > 0 else None
    before = told.year_before
    comparable = before is not None and before > 0 and (whole or not _few(told.orders_before))
    change = 100 * (told.point / before - 1) if before is not None and comparable else None
    coverage = served.revenue.backtest["coverage"]
    return Revenue(
        point=amount(told.point),
        low=amount(told.low),
        high=amount(told.high),
        earned=amount(told.earned),
        to_come=amount(told.point - told.earned),
        earned_share=None if share is None or hidden else round(share, _SHARE if whole else _COARSE),
        level=served.revenue.parameters["total"]["level"],
        coverage=None if coverage is None else round(coverage, _COARSE),
        year_before=None if not whole and _few(told.orders_before) else amount(before),
        change_pct=None if change is None or hidden else round(change, 1 if whole else 0),
    )


def _groups(served: Projected, *, whole: bool) -> list[Group]:
    """Kinds as customers are active in them now; guests with them."""
    active = served.customers.parameters["groups"]["active_now"]
    kinds = served.revenue.kinds()
    return groups(kinds, [*active, *([0] * (len(kinds) - len(active)))], whole=whole)


def _by_kind(served: Projected, told: PeriodRevenue, *, whole: bool, hidden: bool) -> list[KindRevenue]:
    """With most first. They add up to the whole to the cent, what is earned alike."""
    found = _groups(served, whole=whole)
    points, earned = (
        to_cents([float(values[list(group.places)].sum()) for group in found], total)
        for values, total in ((told.by_group, told.point), (told.earned_by_group, told.earned))
    )
    kinds = [
        KindRevenue(
            archetype_id=group.archetype_id,
            segment_name=group.name,
            point=point if whole else None,
            earned=so_far if whole else None,
            to_come=round(point - so_far, 2) if whole else None,
            share=None if told.point <= 0 or hidden else round(point / told.point, _SHARE if whole else _COARSE),
        )
        for group, point, so_far in zip(found, points, earned, strict=True)
    ]
    by_point = sorted(range(len(kinds)), key=lambda place: (-points[place], kinds[place].archetype_id))
    return [kinds[place] for place in by_point]


def _engagement(served: Projected, window: Window) -> engaging.Engagement | None:
    wanted = [day.isoformat() for day in window]
    for told in served.customers.parameters["events"]:
        if told["window"] == wanted:
            return engaging.Engagement.from_stored(told)
    return None


def _engaged(told: engaging.Engagement, window: Window, known: date, *, whole: bool) -> Engagement:
    expected = float(told.customers.sum())
    people = People(told.known, whole=whole)
    share, low, high = (people.rate(each / max(told.known, 1)) for each in (expected, told.low, told.high))
    return Engagement(
        expected_customers=round(expected) if whole else None,
        low=int(told.low) if whole else None,
        high=int(np.ceil(told.high)) if whole else None,
        share=share,
        share_low=low,
        share_high=high,
        new_customers=round(told.new_customers) if whole else None,
        years=list(told.years),
        definition=_definition(told, window, known),
    )


def _targets(served: Projected, told: engaging.Engagement, *, whole: bool) -> list[Target]:
    """Kinds with most orders expected first; what is put together as "other" is no kind to turn to."""
    kinds = [group for group in _groups(served, whole=whole) if group.archetype_id not in (GUESTS, anonymous.OTHER_ID)]
    members = np.array([kind.members or 0 for kind in served.customers.kinds()], dtype=np.float64)
    all_, mean = float(told.orders.sum()), float(told.orders.sum()) / max(told.known, 1)
    ranked = sorted(kinds, key=lambda group: (-told.orders[list(group.places)].sum(), group.archetype_id))
    found = []
    for rank, group in enumerate(ranked[:_MOST_TARGETS], start=1):
        places = list(group.places)
        orders, people = float(told.orders[places].sum()), float(members[places].sum())
        found.append(
            Target(
                rank=rank,
                archetype_id=group.archetype_id,
                segment_name=group.name,
                expected_orders=round(orders, _PEOPLE) if whole else None,
                expected_customers=round(float(told.customers[places].sum()), _PEOPLE) if whole else None,
                share_of_orders=round(orders / all_, _SHARE if whole else _COARSE) if all_ else None,
                orders_index=_index(orders / people / mean, whole=whole) if people and mean else None,
            )
        )
    return found


def _index(value: float, *, whole: bool) -> float:
    return round(value, _INDEX) if whole else anonymous.mean(value)


def _chart(served: Projected, told: PeriodRevenue, *, whole: bool) -> dict[str, object] | None:
    past, days = served.revenue.parameters["past"], served.revenue.parameters["days"]
    if not whole and _few(round(sum(days["orders"]) * _MONTH_DAYS / len(days["orders"]))):
        return None
    total = np.array(past["by_group"], dtype=np.float64).sum(axis=0)
    projection = revenue_from(served.revenue, max(told.months, _MONTHS))
    first, forecast_ = projection.first, projection.total
    point, low, high = (
        [money(float(each), whole=whole) for each in ends] for ends in (forecast_.point, forecast_.low, forecast_.high)
    )
    to_come = [
        (f"{later(first, place, Length.month):%Y-%m}", *told_of)
        for place, told_of in enumerate(zip(point, low, high, strict=True))
    ]
    return revenue_chart(
        date.fromisoformat(past["first"]),
        [money(float(each), whole=whole) for each in total],
        to_come,
        currency=served.currency,
        level=forecast_.level,
    )


# In words


def _definition(told: engaging.Engagement, window: Window, known: date) -> str:
    days = f"from {in_words(window[0])} to {in_words(window[1])}"
    days = f"on {in_words(window[0])}" if window[0] == window[1] else days
    by = "by how long ago they last ordered and how often they have"
    if told.years:
        years = ", ".join(str(year) for year in sorted(told.years))
        how = f"in the same days of {years} the share of those known as long before that ordered, {by}"
    else:
        how = (
            "too little is known of the same days of earlier years, so that it is told by who ordered within 30 days "
            f"in the last months, {by}, and by how many days these are"
        )
    begun = " Who has ordered in it already counts." if window[0] < known else ""
    return f"Customers known before {in_words(known)} with at least one order {days}: {how}.{begun}"


def _says(revenue: Revenue, told: PeriodRevenue, currency: str) -> str:
    days = in_words(told.start) if told.start == told.end else f"{in_words(told.start)} to {in_words(told.end)}"
    if revenue.point is None or revenue.low is None or revenue.high is None:
        return f"{days}: too few orders to tell what they came to."
    if told.months == 0:
        return f"{days}: {amount_in_words(revenue.point, currency)}, all of it earned."
    low, high = (amount_in_words(each, currency) for each in (revenue.low, revenue.high))
    so_far = f"; {100 * revenue.earned_share:.0f} % of it is earned already" if revenue.earned_share else ""
    interval = f"between {low} and {high} at {100 * revenue.level:.0f} %"
    return f"{days}: about {amount_in_words(revenue.point, currency)}, {interval}{so_far}."


def _of_period(told: PeriodRevenue, served: Projected) -> list[str]:
    said = ["Net revenue is what is paid less what goes back, on the day it does; guests' orders are in it."]
    if told.months and told.start < served.revenue.known:
        said.append("What is to come of a month under way is its share of that month as told before it began.")
    if told.start.day > 1 or (told.end + timedelta(days=1)).day > 1:
        said.append(
            "Days of a month bring in what they did in years before, so far as these are known; the interval is wider "
            "by what days differ by. Its coverage was measured on whole months."
        )
    if told.months > 1:
        said.append("Ends of intervals are added up month by month, as if months missed together.")
    return said


def _message(served: Projected, told: PeriodRevenue, *, hidden: bool) -> str | None:
    said: list[str] = []
    earliest, _ = known_days(served.revenue)
    if told.start < earliest:
        said.append(f"Records begin on {in_words(earliest)}; what was earned before is not in this.")
    if hidden:
        said.append(f"Amounts are left out: fewer than {anonymous.FEWEST} orders are behind what is earned.")
    if older := served.message():
        said.append(older)
    return " ".join(said) or None
