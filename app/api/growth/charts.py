"""Customers and revenue ahead as Vega-Lite pictures: what was as a line, what is to come dashed in its interval.

How they look: `app.api.theme`.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from app.api.growth.schemas import MonthRow
from app.api.projected import People
from app.api.theme import CONFIG, MORE, SCHEMA, WIDTH
from app.core.dates import in_words
from app.prediction.cohorts import Length, later

_HEIGHT = 180
_PAST_MONTHS = 24


def customers_chart(
    first: date, past: Sequence[int], told: Sequence[MonthRow], people: People, *, level: float
) -> dict[str, Any] | None:
    """Active customers at the end of each month; None where they are not told. first : the month past begins with"""
    if not people.are_told:
        return None
    before = [
        (month, people.count(number) if people.whole else people.index(number)) for month, number in _last(first, past)
    ]
    to_come = [
        (each.month, each.estimated_customers, each.low, each.high)
        if people.whole
        else (each.month, each.index, each.index and each.low_index, each.high_index)
        for each in told
    ]
    what = "Active customers" if people.whole else "Active customers, 100 is now"
    return _chart(what, before, to_come, level=level, unit="" if people.whole else " of 100")


def revenue_chart(
    first: date,
    past: Sequence[float],
    to_come: Sequence[tuple[str, float, float, float]],
    *,
    currency: str,
    level: float,
) -> dict[str, Any] | None:
    """Net revenue by month. to_come : month, point, low and high of each"""
    return _chart(f"Net revenue by month, {currency}", _last(first, past), to_come, level=level, unit=f" {currency}")


def _last(first: date, past: Sequence[Any]) -> list[tuple[str, Any]]:
    told = [(f"{later(first, place, Length.month):%Y-%m}", each) for place, each in enumerate(past)]
    return told[-_PAST_MONTHS:]


def _chart(
    what: str, before: Sequence[tuple[str, Any]], to_come: Sequence[tuple[Any, ...]], *, level: float, unit: str
) -> dict[str, Any] | None:
    if not before or not to_come:
        return None
    ahead = [
        # From where the past ends, so that the lines meet.
        {"month": before[-1][0], "value": before[-1][1], "low": before[-1][1], "high": before[-1][1]},
        *({"month": month, "value": point, "low": low, "high": high} for month, point, low, high in to_come),
    ]
    x = {
        "field": "month",
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {"title": None, "grid": False, "format": "%b %Y", "tickCount": 6},
    }
    y = {"type": "quantitative", "axis": {"title": None, "grid": False, "tickCount": 4}, "scale": {"zero": True}}
    month, point, low, high = to_come[-1]
    return {
        "$schema": SCHEMA,
        "description": (
            f"{what}: {_number(before[-1][1])}{unit} in {_month(before[-1][0])}, the last month that is over; told for "
            f"{_month(month)}: {_number(point)}{unit}, with {100 * level:.0f} % between {_number(low)} and "
            f"{_number(high)}."
        ),
        "config": CONFIG,
        "width": WIDTH,
        "height": _HEIGHT,
        "title": {
            "text": what,
            "subtitle": f"line: so far; dashed: to come; band: {100 * level:.0f} % of what comes should lie in it",
            "anchor": "start",
        },
        "layer": [
            {
                "data": {"values": ahead},
                "mark": {"type": "area", "color": MORE, "opacity": 0.18},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "data": {"values": ahead},
                "mark": {"type": "line", "color": MORE, "strokeWidth": 2, "strokeDash": [5, 4]},
                "encoding": {"x": x, "y": {**y, "field": "value"}},
            },
            {
                "data": {"values": [{"month": month, "value": value} for month, value in before]},
                "mark": {"type": "line", "color": MORE, "strokeWidth": 2},
                "encoding": {"x": x, "y": {**y, "field": "value"}},
            },
        ],
    }


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _month(month: str) -> str:
    return in_words(date.fromisoformat(f"{month}-01")).partition(" ")[2]
