"""An axis as a Vega-Lite picture: where its customers lie against one shapeless cloud, and what its segments are like;
and what kinds of customer change by.

How pictures look is in `app.api.theme`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from app.api.archetypes.schemas import GrowingArchetype
from app.api.theme import CONFIG, GREY, LESS, MORE, SCHEMA, WIDTH, hues, nominal, words
from app.core.dates import in_words

CLOUD = "one shapeless cloud"

_HEIGHT, _ROW, _CELL = 150, 48, 24
# A scaled unit and a half from the shop is as strong a colour as there is; words stay readable on it.
_FAR, _STRONGEST = 1.5, 0.4
_SIDES = ("more than the shop", "as the shop", "less than the shop")
_OWN_COLOURS = {"scale": {"color": "independent", "fill": "independent"}}


def axis_chart(told: Mapping[str, Any]) -> dict[str, Any] | None:
    """The picture of an axis as a run's report tells it; None where there is nothing to draw.

    Of two readings there are two pictures, side by side.
    """
    drawn = [reading for reading in told.get("readings", []) if reading.get("picture")]
    if not drawn:
        return None
    pictures = [
        _reading(reading, _segments(told, reading["source"]), alone=len(told["readings"]) == 1) for reading in drawn
    ]
    return {
        "$schema": SCHEMA,
        "description": f"{words(told['axis'])}: {told['measures']}. {told['says']}",
        "config": CONFIG,
        "concat": pictures,
        "columns": 2,
        "spacing": 36,
        "resolve": _OWN_COLOURS,
    }


def _segments(told: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """{name, label} of those of one reading; labels are in words, with shares first, as long names are cut off."""
    return [
        {"name": each["name"], "label": f"{_percent(each['share'])} {words(each['name'])}"}
        for each in told["segments"]
        if each["source"] == source
    ]


def _reading(reading: Mapping[str, Any], segments: Sequence[Mapping[str, Any]], *, alone: bool) -> dict[str, Any]:
    where = "Where customers lie" if alone else f"Read from {reading['source']}: where customers lie"
    parts = [_density(reading["picture"], segments, title=where)]
    # One segment is the shop itself.
    if reading["k"] > 1:
        parts.append(_typical(reading["picture"], segments))
    return {"vconcat": parts, "spacing": 20, "resolve": _OWN_COLOURS}


def _density(picture: Mapping[str, Any], segments: Sequence[Mapping[str, Any]], *, title: str) -> dict[str, Any]:
    """Segments stacked, so that their outline is the shop, to be held against the line of the cloud."""
    start, step = picture["start"], picture["step"]
    places = [round(start + step * (bin_number + 0.5), 4) for bin_number in range(len(picture["null"]))]
    customers = [
        {"segment": segment["label"], "order": number, "at": at, "share": share}
        for number, (segment, shares) in enumerate(zip(segments, picture["density"], strict=True))
        for at, share in zip(places, _smooth(shares), strict=True)
    ]
    cloud = [{"segment": CLOUD, "at": at, "share": share} for at, share in zip(places, picture["null"], strict=True)]
    labels = [segment["label"] for segment in segments]
    colour = {
        "field": "segment",
        "type": "nominal",
        "scale": {"domain": [*labels, CLOUD], "range": [*hues(len(labels)), GREY]},
        "legend": {
            "title": None,
            "orient": "top",
            "direction": "vertical",
            "symbolType": "square",
            "symbolStrokeWidth": 0,
        },
    }
    low, high = f"\N{LEFTWARDS ARROW} {picture['low']}", f"{picture['high']} \N{RIGHTWARDS ARROW}"
    at = {
        "field": "at",
        "type": "quantitative",
        "scale": {"nice": False, "zero": False, "domain": [places[0], places[-1]]},
        "axis": {
            "values": [places[0], places[-1]],
            "labelExpr": f"datum.index == 0 ? {_quoted(low)} : {_quoted(high)}",
            "labelFlush": True,
            "labelFontSize": 12,
            "labelLimit": WIDTH // 2,
            "ticks": False,
            "grid": False,
            "title": None,
        },
    }
    share = {"field": "share", "type": "quantitative", "axis": None}
    return {
        "width": WIDTH,
        "height": _HEIGHT,
        "title": {"text": title, "anchor": "start"},
        "encoding": {"x": at, "color": colour},
        "layer": [
            {
                "data": {"values": customers},
                "mark": {"type": "area", "interpolate": "monotone", "opacity": 0.85},
                "encoding": {
                    "y": {**share, "stack": "zero"},
                    "order": {"field": "order", "type": "quantitative"},
                },
            },
            {
                "data": {"values": cloud},
                "mark": {"type": "line", "interpolate": "monotone", "strokeWidth": 2},
                "encoding": {"y": share},
            },
        ],
    }


def _smooth(shares: Sequence[float]) -> list[float]:
    """Each bin with a part of its neighbours, so that whole numbers do not make a comb; nothing is lost at the ends."""
    padded = [shares[0], *shares, shares[-1]]
    return [
        round(before / 4 + here / 2 + after / 4, 6)
        for before, here, after in zip(padded, shares, padded[2:], strict=False)
    ]


def _typical(picture: Mapping[str, Any], segments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A table in colours: a row for each feature with the shop's number above it, a column for each segment."""
    values = [
        {
            "row": row,
            "shop": f"Shop: {feature['says']}" if feature["says"] else words(feature["feature"]),
            "segment": segment["label"],
            "told": told,
            "side": _side(apart),
            "far": round(min(abs(apart) / _FAR, 1.0) * _STRONGEST, 3),
            "column": number,
        }
        for row, feature in enumerate(picture["features"])
        for number, (segment, told, apart) in enumerate(zip(segments, feature["told"], feature["apart"], strict=True))
    ]
    y = {"field": "row", "type": "ordinal", "axis": None, "scale": {"paddingInner": 0, "paddingOuter": 0}}
    x = {"field": "column", "type": "ordinal", "axis": None, "scale": {"paddingInner": 0.06, "paddingOuter": 0}}
    lower = (_ROW - _CELL) / 2
    own = {"domain": list(range(len(segments))), "range": hues(len(segments))}
    return {
        "width": WIDTH,
        "height": _ROW * len(picture["features"]),
        "title": {
            "text": "What is typical of each",
            "subtitle": "blue: more than the shop, orange: less",
            "anchor": "start",
        },
        "data": {"values": values},
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "mark": {"type": "rect", "height": _CELL, "yOffset": lower, "cornerRadius": 3},
                "encoding": {
                    "color": {
                        **nominal("side"),
                        "scale": {"domain": list(_SIDES), "range": [MORE, GREY, LESS]},
                        "legend": None,
                    },
                    "opacity": {"field": "far", "type": "quantitative", "scale": None, "legend": None},
                },
            },
            {
                "mark": {"type": "rect", "height": 3, "yOffset": _ROW / 2 - 2, "opacity": 0.85},
                "encoding": {"fill": {**nominal("column"), "scale": own, "legend": None}},
            },
            {
                "mark": {"type": "text", "yOffset": lower},
                "encoding": {"text": {"field": "told"}},
            },
            {
                "transform": [{"filter": "datum.column == 0"}],
                "mark": {"type": "text", "align": "left", "baseline": "top", "yOffset": 7 - _ROW / 2, "fontSize": 11.5},
                "encoding": {"x": {"value": 0}, "text": {"field": "shop"}},
            },
        ],
    }


def _quoted(text: str) -> str:
    """As a string of Vega's expressions."""
    return json.dumps(text, ensure_ascii=False)


def _side(apart: float) -> str:
    return _SIDES[1] if apart == 0 else _SIDES[0] if apart > 0 else _SIDES[2]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


_BAR, _MOST_BARS = 24, 20


def growth_chart(told: Sequence[GrowingArchetype], *, until: date) -> dict[str, Any] | None:
    """A bar for each kind with what it changes by in percent, the most upwards first; None where none is told."""
    changes = sorted(
        ((each.growth_rate_pct, each) for each in told if each.growth_rate_pct is not None),
        key=lambda item: (-item[0], item[1].rank),
    )[:_MOST_BARS]
    if not changes:
        return None
    bars = [
        {"kind": f"{place}  {each.segment_name}", "change": change, "told": f"{change:+.1f} %" if change else "0 %"}
        for place, (change, each) in enumerate(changes, start=1)
    ]
    when = in_words(until).partition(" ")[2]
    y = {"field": "kind", "type": "nominal", "sort": None}
    return {
        "$schema": SCHEMA,
        "description": (
            f"Change of active customers by kind until the end of {when}: from {bars[0]['told']} "
            f"({changes[0][1].segment_name}) to {bars[-1]['told']} ({changes[-1][1].segment_name})."
        ),
        "config": CONFIG,
        "width": WIDTH // 2,
        "height": _BAR * len(bars),
        "title": {"text": f"Active customers, change until the end of {when}, %", "anchor": "start"},
        "data": {"values": bars},
        "encoding": {
            "y": {**y, "axis": {"title": None, "ticks": False, "domain": False, "labelLimit": WIDTH // 2}},
            "x": {"field": "change", "type": "quantitative", "axis": {"title": None, "grid": False, "tickCount": 3}},
        },
        "layer": [
            {
                "mark": {"type": "bar", "height": _BAR - 8},
                "encoding": {"color": {"condition": {"test": "datum.change < 0", "value": LESS}, "value": MORE}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 11},
                "encoding": {"x": {"value": WIDTH // 2}, "text": {"field": "told"}},
            },
        ],
    }
