"""A customer's past as a Vega-Lite picture: which kind they were, what they were worth, and how likely to stay away.

How pictures look is in `app.api.theme`.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from app.api.anonymous import OTHER_ID
from app.api.customers.schemas import PastChange, Snapshot
from app.api.theme import CONFIG, LESS, MORE, SCHEMA, WIDTH, hues
from app.core.dates import in_words

_BAR, _HEIGHT = 26, 110


def history_chart(
    snapshots: Sequence[Snapshot], changes: Sequence[PastChange], *, currency: str
) -> dict[str, Any] | None:
    """A band in the colour of each kind they were, the line of their value below, and that of their risk, where it was
    predicted; None for fewer than two days.
    """
    if len(snapshots) < 2:
        return None
    spells = _spells(snapshots)
    kinds = list(dict.fromkeys(spell["kind"] for spell in spells))
    values = [{"day": each.date, "value": each.lifetime_value} for each in snapshots]
    # A day's value holds until it ends, so that both pictures end alike.
    values.append({"day": spells[-1]["until"], "value": snapshots[-1].lifetime_value})
    x = {
        "type": "temporal",
        "scale": {"type": "utc", "nice": False},
        "axis": {"title": None, "grid": False, "format": "%-d %b", "tickCount": 5},
    }
    colour = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": kinds, "range": hues(len(kinds))},
        "legend": {
            "title": None,
            "orient": "bottom",
            "direction": "vertical",
            "columns": 1,
            "labelLimit": WIDTH - 30,
            "symbolType": "square",
            "symbolStrokeWidth": 0,
        },
    }
    y: dict[str, Any] = {"type": "quantitative", "axis": {"title": None, "grid": False, "tickCount": 3}}
    risks = [{"day": each.date, "risk": each.churn_risk_score} for each in snapshots]
    told = [each for each in risks if each["risk"] is not None]
    at_risk = {
        "width": WIDTH,
        "height": _HEIGHT,
        "title": {"text": "Risk of staying away", "anchor": "start", "frame": "group"},
        "data": {"values": risks},
        # A day of which nothing was predicted leaves a gap, and one between two such is a point.
        "mark": {"type": "line", "point": True, "invalid": "break-paths-show-path-domains", "color": LESS},
        "encoding": {
            "x": {**x, "field": "day"},
            "y": {**y, "field": "risk", "scale": {"domain": [0, 1]}, "axis": {**y["axis"], "format": "%"}},
        },
    }
    return {
        "$schema": SCHEMA,
        "description": _description(snapshots, changes, currency),
        "config": CONFIG,
        "spacing": 10,
        "vconcat": [
            {
                "width": WIDTH,
                "height": _BAR,
                "title": {"text": "Kind of customer", "anchor": "start", "frame": "group"},
                "data": {"values": spells},
                "mark": {"type": "rect", "cornerRadius": 2},
                "encoding": {
                    "x": {**x, "field": "from", "axis": None},
                    "x2": {"field": "until"},
                    "color": colour,
                },
            },
            {
                "width": WIDTH,
                "height": _HEIGHT,
                "title": {"text": f"Lifetime value, {currency}", "anchor": "start", "frame": "group"},
                "data": {"values": values},
                "mark": {"type": "line", "interpolate": "step-after", "color": MORE, "strokeWidth": 2},
                "encoding": {"x": {**x, "field": "day"}, "y": {**y, "field": "value"}},
            },
            *([at_risk] if told else []),
        ],
    }


def _spells(snapshots: Sequence[Snapshot]) -> list[dict[str, str]]:
    """How long they were of one kind: {kind, from, until}, each until the next begins."""
    starts = [next(spell).date for _, spell in groupby(snapshots, key=lambda each: each.segment_name)]
    kinds = [kind for kind, _ in groupby(each.segment_name for each in snapshots)]
    end = (date.fromisoformat(snapshots[-1].date) + timedelta(days=1)).isoformat()
    return [
        {"kind": kind, "from": start, "until": until}
        for kind, start, until in zip(kinds, starts, [*starts[1:], end], strict=True)
    ]


def _description(snapshots: Sequence[Snapshot], changes: Sequence[PastChange], currency: str) -> str:
    first, last = snapshots[0], snapshots[-1]
    kinds = [each.says for each in changes if each.axis is None and each.date > first.date]
    if {each.archetype_id for each in snapshots} == {first.archetype_id} != {OTHER_ID} and not kinds:
        kinds = ["That did not change."]
    return " ".join(
        (
            f"From {_day(first)} to {_day(last)}: {first.segment_name} at first.",
            *kinds,
            f"Lifetime value {first.lifetime_value:,.2f} {currency} at first, {last.lifetime_value:,.2f} at last.",
            *_risk_described([each.churn_risk_score for each in snapshots if each.churn_risk_score is not None]),
        )
    )


def _risk_described(risks: Sequence[float]) -> Sequence[str]:
    if not risks:
        return ()
    if len(risks) == 1:
        return (f"Risk of staying away {100 * risks[0]:.0f} %.",)
    return (f"Risk of staying away {100 * risks[0]:.0f} % at first, {100 * risks[-1]:.0f} % at last.",)


def _day(snapshot: Snapshot) -> str:
    return in_words(date.fromisoformat(snapshot.date))
