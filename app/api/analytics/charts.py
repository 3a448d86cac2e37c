"""The shop over time as Vega-Lite pictures: who went from kind to kind, and how fast; cohorts; days out of line.

How they look: `app.api.theme`.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from app.api.analytics.schemas import (
    Anomaly,
    ArchetypeMovement,
    Cohort,
    CohortCell,
    DayBand,
    Measure,
    Migration,
    Velocity,
    WhatIfMonth,
)
from app.api.theme import CONFIG, GREY, LESS, MORE, SCHEMA, WIDTH
from app.core.dates import in_words
from app.prediction.anomalies import Direction, Metric
from app.prediction.cohorts import Length

_MOST_KINDS = 8
_CELL, _NAMES = 34, 250
_HEIGHT = 140
# As strong as a colour is, and the grey of those who stayed; words stay readable on both.
_STRONGEST, _STAYED = 0.4, 0.15
# A share of a kind's customers that is as strong as any.
_MANY = 0.25


def migration_chart(
    archetypes: Sequence[ArchetypeMovement], migrations: Sequence[Migration], *, since: date, until: date
) -> dict[str, Any] | None:
    """A row for each kind they left, a column for each they went to, both numbered; None where nobody went anywhere.

    A cell's number is the share of the row's customers; one on the diagonal those who stayed.
    """
    if not migrations:
        return None
    names: dict[str, str] = {}
    for each in migrations:
        for kind, name in ((each.from_id, each.from_name), (each.to_id, each.to_name)):
            if len(names) < _MOST_KINDS:
                names.setdefault(kind, name)
    numbers = {kind: number for number, kind in enumerate(names, start=1)}
    rows = {each.archetype_id: each for each in archetypes}
    cells = [
        _cell(numbers[each.from_id], numbers[each.to_id], each.share_of_kind)
        for each in migrations
        if each.from_id in numbers and each.to_id in numbers and each.from_id != each.to_id
    ]
    stays = [
        {**_cell(number, number, rows[kind].stayed), "strength": _STAYED, "stays": True}
        for kind, number in numbers.items()
        if kind in rows
    ]
    labels = [{"row": number, "label": f"{number}  {names[kind]}"} for kind, number in numbers.items()]
    y = {"field": "row", "type": "ordinal", "axis": None, "scale": {"domain": list(numbers.values())}}
    x = {
        "field": "column",
        "type": "ordinal",
        "scale": {"domain": list(numbers.values())},
        "axis": {"orient": "top", "title": "went to", "labelAngle": 0, "ticks": False, "domain": False},
    }
    first = migrations[0]
    return {
        "$schema": SCHEMA,
        "description": (
            f"Who went from kind to kind between {in_words(since)} and {in_words(until)}. The most, "
            f"{100 * first.share:.1f} % of customers, went from {first.from_name} to {first.to_name}."
        ),
        "config": CONFIG,
        "spacing": 8,
        "hconcat": [
            {
                "width": _NAMES,
                "height": _CELL * len(numbers),
                "title": {"text": "Went from", "anchor": "start"},
                "data": {"values": labels},
                "mark": {"type": "text", "align": "left", "limit": _NAMES},
                "encoding": {"y": y, "x": {"value": 0}, "text": {"field": "label"}},
            },
            {
                "width": max(_CELL, (WIDTH - _NAMES) // len(numbers)) * len(numbers),
                "height": _CELL * len(numbers),
                "data": {"values": [*cells, *stays]},
                "encoding": {"x": x, "y": y},
                "layer": [
                    {
                        "mark": {"type": "rect", "cornerRadius": 3},
                        "encoding": {
                            "color": {
                                "condition": {"test": "datum.stays", "value": GREY},
                                "value": MORE,
                            },
                            "opacity": {"field": "strength", "type": "quantitative", "scale": None, "legend": None},
                        },
                    },
                    {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": {"field": "told"}}},
                ],
            },
        ],
    }


def _cell(row: int, column: int, share: float) -> dict[str, Any]:
    strength = round(min(share / _MANY, 1.0) * _STRONGEST, 3)
    return {"row": row, "column": column, "told": _percent(share), "strength": strength, "stays": False}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "<1 %"


def velocity_chart(told: Sequence[Velocity]) -> dict[str, Any] | None:
    """Percent of customers a day who migrated, week by week; None for fewer than two."""
    if len(told) < 2:
        return None
    values = [{"day": each.day, "velocity": round(100 * each.velocity, 4)} for each in told]
    last = told[-1]
    return {
        "$schema": SCHEMA,
        "description": (
            f"Share of customers who went to another kind, a day, from {in_words(date.fromisoformat(told[0].day))} to "
            f"{in_words(date.fromisoformat(last.day))}: {100 * told[0].velocity:.2f} % at first, "
            f"{100 * max(each.velocity for each in told):.2f} % at most, {100 * last.velocity:.2f} % at last."
        ),
        "config": CONFIG,
        "width": WIDTH,
        "height": _HEIGHT,
        "title": {"text": "Customers who went to another kind, % a day", "anchor": "start"},
        "data": {"values": values},
        "mark": {"type": "line", "point": True, "color": MORE, "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "day",
                "type": "temporal",
                "scale": {"type": "utc"},
                "axis": {"title": None, "grid": False, "format": "%-d %b"},
            },
            "y": {"field": "velocity", "type": "quantitative", "axis": {"title": None, "grid": False, "tickCount": 3}},
        },
    }


_LEAST_CELL, _COHORT_CELL, _COHORT_NAMES = 30, 22, 100
_MEASURES = {
    Measure.retention: "Ordered, % of the cohort",
    Measure.orders: "Orders per customer",
    Measure.revenue: "Net revenue per customer, {currency}",
    Measure.value: "Net revenue so far per customer, {currency}",
}


def cohort_chart(
    cohorts: Sequence[Cohort],
    average: Sequence[CohortCell | None],
    *,
    by: Length,
    measure: Measure,
    currency: str,
) -> dict[str, Any] | None:
    """A row for each cohort, a column for each period after that of the first order; None without a cohort."""
    if not cohorts:
        return None
    cells: list[dict[str, Any]] = [
        {"cohort": each.label, "period": cell.period, "value": _measured(cell, measure)}
        for each in cohorts
        for cell in each.cells
        if cell is not None
    ]
    # Of who ordered first in it everybody ordered: a picture of who comes back begins after that.
    most = max((each["value"] for each in cells if measure is not Measure.retention or each["period"]), default=0)
    for each in cells:
        first = measure is Measure.retention and not each["period"]
        strength = _STAYED if first else _STRONGEST * max(each["value"], 0) / most if most > 0 else 0
        each |= {"told": _short(each["value"], measure), "strength": round(strength, 3), "first": first}
    periods = list(range(len(average)))
    title = _MEASURES[measure].format(currency=currency)
    return {
        "$schema": SCHEMA,
        "description": _cohorts_described(cohorts, average, by=by, measure=measure, title=title),
        "config": CONFIG,
        "width": max(_LEAST_CELL, (WIDTH - _COHORT_NAMES) // len(periods)) * len(periods),
        "height": _COHORT_CELL * len(cohorts),
        "title": {"text": title, "anchor": "start"},
        "data": {"values": cells},
        "encoding": {
            "x": {
                "field": "period",
                "type": "ordinal",
                "scale": {"domain": periods},
                "axis": {
                    "orient": "top",
                    "title": f"{by.value}s after that of the first order",
                    "labelAngle": 0,
                    "ticks": False,
                    "domain": False,
                },
            },
            "y": {
                "field": "cohort",
                "type": "ordinal",
                "scale": {"domain": [each.label for each in cohorts]},
                "axis": {"title": None, "ticks": False, "domain": False, "labelLimit": _COHORT_NAMES},
            },
        },
        "layer": [
            {
                "mark": {"type": "rect", "cornerRadius": 3},
                "encoding": {
                    "color": {"condition": {"test": "datum.first", "value": GREY}, "value": MORE},
                    "opacity": {"field": "strength", "type": "quantitative", "scale": None, "legend": None},
                },
            },
            {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": {"field": "told"}}},
        ],
    }


def _measured(cell: CohortCell, measure: Measure) -> float:
    return {
        Measure.retention: 100 * cell.share,
        Measure.orders: cell.orders_per_customer,
        Measure.revenue: cell.revenue_per_customer,
        Measure.value: cell.cumulative_per_customer,
    }[measure]


def _short(value: float, measure: Measure) -> str:
    """A number of few characters: 12 or <1 of percents, 0.42, 7.3, 120, 1.2k of others."""
    size = abs(value)
    if measure is Measure.retention:
        return f"{value:.0f}" if size >= 1 or not size else "<1"
    if size >= 9_950:
        return f"{value / 1000:.0f}k"
    if size >= 999.5:
        return f"{value / 1000:.1f}k"
    return f"{value:.0f}" if size >= 9.95 or value == round(value) else f"{value:.1f}" if size >= 1 else f"{value:.2f}"


def _cohorts_described(
    cohorts: Sequence[Cohort], average: Sequence[CohortCell | None], *, by: Length, measure: Measure, title: str
) -> str:
    whose = f"{title}, of customers by the {by.value} of their first order, {cohorts[0].label} to {cohorts[-1].label}."
    later = [cell for cell in average[1:] if cell is not None]
    if not later:
        return whose
    told = [
        f"{_short(_measured(cell, measure), measure)} after {cell.period}"
        for cell in dict.fromkeys((later[0], later[-1]))
    ]
    return f"{whose} On average {', '.join(told)} {by.value}{'s' if later[-1].period > 1 else ''}."


def anomaly_chart(
    days: Sequence[DayBand], found: Sequence[Anomaly], *, metric: Metric, unit: str
) -> dict[str, Any] | None:
    """The days as a line in the band of what was usual, those out of line marked; None for fewer than two.

    found : the latest first
    """
    if len(days) < 2:
        return None
    what = metric.value.capitalize() + ("" if unit == metric.value else f", {unit}")
    y = {"type": "quantitative", "axis": {"title": None, "grid": False, "tickCount": 3}, "scale": {"zero": True}}
    x = {
        "field": "day",
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {"title": None, "grid": False, "format": "%-d %b", "tickCount": 5},
    }
    values = [each.model_dump(mode="json") for each in days]
    banded = [each for each in values if each["expected"] is not None]
    marked = [each for each in values if each["flagged"] is not None]
    first, last = (in_words(date.fromisoformat(each.day)) for each in (days[0], days[-1]))
    return {
        "$schema": SCHEMA,
        "description": (
            f"{what} by day from {first} to {last}, with the band of what was usual. "
            + (f"{len(found)} out of line, the latest: {found[0].says}" if found else "None is out of line.")
        ),
        "config": CONFIG,
        "width": WIDTH,
        "height": _HEIGHT,
        "title": {
            "text": what,
            "subtitle": "line: each day; band: what would have been usual; triangles: days out of line",
            "anchor": "start",
        },
        "layer": [
            {
                "data": {"values": banded},
                "mark": {"type": "area", "color": GREY, "opacity": 0.25},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "data": {"values": banded},
                "mark": {"type": "line", "color": GREY, "strokeWidth": 1, "strokeDash": [4, 3]},
                "encoding": {"x": x, "y": {**y, "field": "expected"}},
            },
            {
                "data": {"values": values},
                "mark": {"type": "line", "color": MORE, "strokeWidth": 1.5},
                "encoding": {"x": x, "y": {**y, "field": "actual"}},
            },
            {
                "data": {"values": marked},
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "color": LESS},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "actual"},
                    "shape": {
                        "field": "flagged",
                        "type": "nominal",
                        "legend": None,
                        "scale": {
                            "domain": [each.value for each in Direction],
                            "range": ["triangle-up", "triangle-down"],
                        },
                    },
                },
            },
        ],
    }


def what_if_chart(told: Sequence[WhatIfMonth], *, counted: bool, currency: str) -> dict[str, Any] | None:
    """Customers above revenue, each as projected (dashed) and as it would be; None where nothing is told.

    counted : customers are told by their number, not their index
    """
    if not told or told[0].index is None:
        return None
    what = "Active customers" if counted else "Active customers, 100 is now"
    customers = ("customers", "changed_customers") if counted else ("index", "changed_index")
    pictures = [
        _both(told, *customers, title=what),
        _both(told, "revenue", "changed_revenue", title=f"Net revenue by month, {currency}"),
    ]
    last = told[-1].model_dump()
    return {
        "$schema": SCHEMA,
        "description": (
            f"As projected and as it would be. {what} in {last['month']}: {last[customers[0]]:,.0f} and "
            f"{last[customers[1]]:,.0f}. Net revenue in it: {last['revenue']:,.0f} and {last['changed_revenue']:,.0f} "
            f"{currency}."
        ),
        "config": CONFIG,
        "vconcat": pictures,
    }


def _both(told: Sequence[WhatIfMonth], projected: str, changed: str, *, title: str) -> dict[str, Any]:
    x = {
        "field": "month",
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {"title": None, "grid": False, "format": "%b %Y", "tickCount": 5},
    }
    y = {"type": "quantitative", "axis": {"title": None, "grid": False, "tickCount": 3}, "scale": {"zero": True}}
    values = [
        {"month": row["month"], "projected": row[projected], "changed": row[changed]}
        for row in (each.model_dump() for each in told)
    ]
    return {
        "width": WIDTH,
        "height": _HEIGHT,
        "title": {"text": title, "subtitle": "dashed: as projected; line: as it would be", "anchor": "start"},
        "data": {"values": values},
        "layer": [
            {
                "mark": {
                    "type": "line",
                    "point": {"color": GREY},
                    "color": GREY,
                    "strokeWidth": 1.5,
                    "strokeDash": [4, 3],
                },
                "encoding": {"x": x, "y": {**y, "field": "projected"}},
            },
            {
                "mark": {"type": "line", "point": True, "color": MORE, "strokeWidth": 2},
                "encoding": {"x": x, "y": {**y, "field": "changed"}},
            },
        ],
    }
