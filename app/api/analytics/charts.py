"""Drift as Vega-Lite pictures: who went from kind to kind, and how fast over time. How they look: `app.api.theme`."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from app.api.analytics.schemas import ArchetypeMovement, Migration, Velocity
from app.api.theme import CONFIG, GREY, MORE, SCHEMA, WIDTH
from app.core.dates import in_words

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
