"""How pictures look, whatever they show.

The colours hold on light and dark ground and for the colour-blind; words take theirs from the config, and so does the
legend its shape: who embeds a picture may replace it.
"""

from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH = 440

# After Okabe and Ito, tuned to be seen on white and on near black. More than these cannot be told apart: they repeat.
_HUES = ("#2b7bba", "#e08a1e", "#1f9e77", "#c2649b", "#7a68c9", "#a3822a")
GREY = "#868e96"
MORE, LESS = "#2b7bba", "#e08a1e"

#: Words of one grey that can be read on white and on black.
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
    "view": {"stroke": None},
    "text": {"color": "#767676", "fontSize": 12},
    "title": {"color": "#767676", "subtitleColor": "#767676", "fontSize": 13, "subtitleFontSize": 12},
    "axis": {"labelColor": "#767676", "titleColor": "#767676", "domainColor": "#767676", "tickColor": "#767676"},
    "legend": {
        "labelColor": "#767676",
        "titleColor": "#767676",
        "labelFontSize": 12,
        "columns": 2,
        "labelLimit": WIDTH // 2 - 20,
        "symbolLimit": 0,
    },
}


def hues(n: int) -> list[str]:
    return [_HUES[number % len(_HUES)] for number in range(n)]


def nominal(field: str) -> dict[str, Any]:
    return {"field": field, "type": "nominal"}


def words(name: str) -> str:
    return name.replace("_", " ").capitalize()
