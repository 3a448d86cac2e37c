"""What would change if customers behaved otherwise, in the caller's view."""

from app.api.analytics.charts import what_if_chart
from app.api.analytics.schemas import Changes, Sides, WhatIf, WhatIfMonth
from app.api.projected import People, Projected, growth_model, in_words, money, projected
from app.core.dates import in_words as day_in_words
from app.core.keys import Caller
from app.pipeline.growth import customers_from, revenue_from
from app.prediction.cohorts import Length, later
from app.prediction.growth import Floats, Scenario
from app.prediction.growth import what_if as would_be
from app.resources import Resources

_SHARE, _COARSE_SHARE = 4, 2


async def what_if(resources: Resources, caller: Caller, changes: Changes) -> WhatIf:
    """Raises NothingPredicted or GrowthNotProjected."""
    served = await projected(resources, caller.store_id)
    customers = customers_from(served.customers, changes.months)
    revenue = revenue_from(served.revenue, changes.months)
    repeat = served.revenue.parameters["repeat_share"]
    told = would_be(customers, revenue, repeat_share=repeat["share"], **changes.model_dump(exclude={"months"}))
    people = People(customers.active_now, whole=caller.identified)
    monthly = _monthly(told, people)
    before, after = (float(each.sum()) for each in _money(told))
    earned = Sides(
        unchanged=money(before, whole=people.whole),
        changed=money(after, whole=people.whole),
        change_pct=round(100 * (after / before - 1), 2 if people.whole else 0) if before > 0 else None,
    )
    counted = _customers(told, people)
    return WhatIf(
        changes=changes,
        customers=counted,
        revenue=earned,
        monthly=monthly,
        repeat_share=round(repeat["share"], _SHARE if people.whole else _COARSE_SHARE),
        assumptions=[
            f"Of what was paid from {repeat['first_day']} to {repeat['last_day']} {100 * repeat['share']:.0f} % was "
            "for orders after a customer's first; guests' orders count as first ones.",
            *told.assumptions,
            *dict.fromkeys((*customers.assumptions, *revenue.assumptions)),
        ],
        says=_says(told, counted, earned, people, served),
        models=[growth_model(served.customers), growth_model(served.revenue)],
        chart=what_if_chart(monthly, counted=people.whole, currency=served.currency),
        message=served.message(),
        currency=served.currency,
        timezone=served.timezone,
        run_id=served.run_id,
        prediction_id=served.prediction_id,
        as_of=served.as_of,
    )


def _money(told: Scenario) -> tuple[Floats, Floats]:
    """By month, as projected and as it would be."""
    assert told.revenue is not None and told.changed_revenue is not None  # noqa: S101  revenue was given
    return told.revenue, told.changed_revenue


def _monthly(told: Scenario, people: People) -> list[WhatIfMonth]:
    revenue, changed = _money(told)
    return [
        WhatIfMonth(
            month=f"{later(told.first, month, Length.month):%Y-%m}",
            customers=people.count(told.active[month]),
            changed_customers=people.count(told.changed_active[month]),
            acquired=people.count(told.acquired[month]),
            changed_acquired=people.count(told.changed_acquired[month]),
            lapsed=people.count(told.lapsed[month]),
            changed_lapsed=people.count(told.changed_lapsed[month]),
            index=people.index(float(told.active[month])),
            changed_index=people.index(float(told.changed_active[month])),
            revenue=money(float(revenue[month]), whole=people.whole),
            changed_revenue=money(float(changed[month]), whole=people.whole),
        )
        for month in range(len(told.active))
    ]


def _customers(told: Scenario, people: People) -> Sides:
    before, after = int(told.active[-1]), int(told.changed_active[-1])
    change = 100 * (after / before - 1) if before else None
    return Sides(
        unchanged=people.count(before) if people.whole else people.index(before),
        changed=people.count(after) if people.whole else people.index(after),
        change_pct=None if change is None else people.percent(change),
    )


def _says(told: Scenario, customers: Sides, revenue: Sides, people: People, served: Projected) -> str:
    when = day_in_words(later(told.first, len(told.active) - 1, Length.month)).partition(" ")[2]
    said = []
    if customers.change_pct is not None and customers.unchanged is not None and customers.changed is not None:
        unit, instead = (" active customers", "") if people.whole else (" % of today's active customers", " %")
        said.append(
            f"At the end of {when} {customers.changed:,.0f}{unit} instead of {customers.unchanged:,.0f}{instead} "
            f"({_percent(customers.change_pct)})"
        )
    if revenue.change_pct is not None and revenue.unchanged is not None and revenue.changed is not None:
        said.append(
            f"net revenue until then of {in_words(revenue.changed, served.currency)} instead of "
            f"{in_words(revenue.unchanged, served.currency)} ({_percent(revenue.change_pct)})"
        )
    return f"{'; '.join(said)}." if said else "Nothing is projected that could change."


def _percent(value: float) -> str:
    return f"{value:+.1f} %" if value else "0 %"
