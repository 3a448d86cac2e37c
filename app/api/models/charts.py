"""How reliable chances are, as a Vega-Lite picture. How pictures look is in `app.api.theme`."""

import math
from collections.abc import Sequence
from typing import Any

from app.api.models.schemas import Bin
from app.api.theme import CONFIG, GREY, MORE, SCHEMA

_SIDE = 300


def reliability_chart(bins: Sequence[Bin], *, title: str) -> dict[str, Any] | None:
    """What came of customers against what they were told; on the diagonal both are the same. None without bins."""
    if not bins:
        return None
    ends = [value for each in bins for value in (each.mean_predicted, each.low, each.high)]
    lowest, highest = math.floor(10 * min(ends)) / 10, math.ceil(10 * max(ends)) / 10
    lowest = min(lowest, highest - 0.1)
    scale = {"domain": [lowest, highest], "nice": False}
    axis = {"grid": False, "format": "%", "tickCount": 5}
    x = {"type": "quantitative", "scale": scale, "axis": {**axis, "title": "were told"}}
    y = {"type": "quantitative", "scale": scale, "axis": {**axis, "title": "stayed away"}}
    values = [each.model_dump() for each in bins]
    first, last = bins[0], bins[-1]
    counted = [each.n for each in bins if each.n is not None]
    of = f"{sum(counted):,} customers; " if counted else ""
    return {
        "$schema": SCHEMA,
        "description": (
            f"{title}. Of those who were told {100 * first.mean_predicted:.0f} %, {100 * first.observed:.0f} % stayed "
            f"away; of those who were told {100 * last.mean_predicted:.0f} %, {100 * last.observed:.0f} %."
        ),
        "config": CONFIG,
        "width": _SIDE,
        "height": _SIDE,
        "title": {
            "text": title,
            "subtitle": f"{of}bars: 95 % intervals; on the line what was told came true",
            "anchor": "start",
        },
        "layer": [
            {
                "data": {"values": [{"told": each, "came": each} for each in (lowest, highest)]},
                "mark": {"type": "line", "color": GREY, "strokeDash": [4, 3]},
                "encoding": {"x": {**x, "field": "told"}, "y": {**y, "field": "came"}},
            },
            {
                "data": {"values": values},
                "mark": {"type": "rule", "color": MORE, "strokeWidth": 2, "opacity": 0.5},
                "encoding": {
                    "x": {**x, "field": "mean_predicted"},
                    "y": {**y, "field": "low"},
                    "y2": {"field": "high"},
                },
            },
            {
                "data": {"values": values},
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": MORE},
                "encoding": {
                    "x": {**x, "field": "mean_predicted"},
                    "y": {**y, "field": "observed"},
                    "tooltip": [
                        {"field": name, "type": "quantitative"}
                        for name in ("n", "mean_predicted", "observed", "low", "high")
                        if counted or name != "n"
                    ],
                },
            },
        ],
    }
