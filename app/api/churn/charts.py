"""The levels of risk as a Vega-Lite picture. How pictures look is in `app.api.theme`."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.theme import CONFIG, SCHEMA, WIDTH

_ROW, _SHOWN = 30, 7.0
#: Colours of the levels, and those of their words: each is read on its own colour.
_COLOURS = {"critical": ("#DC2626", "#fff"), "high": ("#F59E0B", "#111"), "medium": ("#3B82F6", "#111")} | {
    "low": ("#10B981", "#111"),
    "other": ("#868e96", "#111"),
}


def level_chart(rows: Sequence[tuple[str, Mapping[str, float | None]]]) -> dict[str, Any]:
    """A stacked bar for each group of customers, the riskiest first. rows : (whose, {level: percent})"""
    values = []
    for whose, percents in rows:
        start = 0.0
        for place, level in enumerate(_COLOURS):
            percent = percents.get(level)
            if not percent:
                continue
            values.append(
                {
                    "whose": whose,
                    "level": level.capitalize(),
                    "order": place,
                    "percent": round(percent, 1),
                    "middle": round(start + percent / 2, 3),
                    "told": f"{percent:.0f} %" if percent >= _SHOWN else "",
                    "ink": _COLOURS[level][1],
                }
            )
            start += percent
    shown = [level for level in _COLOURS if any(each["level"] == level.capitalize() for each in values)]
    y = {
        "field": "whose",
        "type": "nominal",
        "sort": [whose for whose, _ in rows],
        "axis": {"title": None, "ticks": False, "domain": False, "labelLimit": 120},
    }
    x = {"type": "quantitative", "scale": {"domain": [0, 100]}, "axis": None}
    everyone = rows[0][1] if rows else {}
    return {
        "$schema": SCHEMA,
        "description": "Customers by their risk of staying away: "
        + (", ".join(f"{level} {everyone[level] or 0:.1f} %" for level in everyone if everyone[level]) or "nobody")
        + ".",
        "config": CONFIG,
        "width": WIDTH - 100,
        "height": _ROW * max(len(rows), 1),
        "title": {"text": "Risk of staying away, % of customers", "anchor": "start"},
        "data": {"values": values},
        "encoding": {"y": y},
        "layer": [
            {
                "mark": {"type": "bar", "height": _ROW - 8},
                "encoding": {
                    "x": {**x, "field": "percent", "stack": "zero"},
                    "order": {"field": "order", "type": "quantitative"},
                    "color": {
                        "field": "level",
                        "type": "nominal",
                        "scale": {
                            "domain": [level.capitalize() for level in shown],
                            "range": [_COLOURS[level][0] for level in shown],
                        },
                        "legend": {
                            "title": None,
                            "orient": "bottom",
                            "columns": len(shown) or 1,
                            "symbolType": "square",
                            "symbolStrokeWidth": 0,
                        },
                    },
                },
            },
            {
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {
                    "x": {**x, "field": "middle"},
                    "text": {"field": "told"},
                    "color": {"field": "ink", "type": "nominal", "scale": None, "legend": None},
                },
            },
        ],
    }
