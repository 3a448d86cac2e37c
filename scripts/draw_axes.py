"""Draw the axes of a segmentation: `scripts/draw_axes.py --json PATH --out DIR`, with what `segment --json PATH` wrote.

One SVG for each axis, the picture that /api/mcp/segments/axes/{axis} serves, on white.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vl_convert import vegalite_to_svg

from app.api.archetypes.charts import axis_chart
from app.api.theme import CONFIG
from app.core.files import write_whole

VEGA_LITE = "6.4"
_INK = "#16202a"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="PATH", help="what `segment --json` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    for axis in json.loads(wanted.json.read_text())["axes"]:
        chart = axis_chart(axis)
        if chart is None:
            print(f"{axis['axis']}: nothing to draw", file=sys.stderr)
            continue
        path = wanted.out / f"{axis['axis']}.svg"
        write_whole(path, vegalite_to_svg(json.dumps(on_white(chart)), vl_version=VEGA_LITE) + "\n")
        print(path)
    return 0


def on_white(chart: dict[str, Any]) -> dict[str, Any]:
    """The same picture with dark words on a ground of its own, for a page whose colours are not known."""
    config = {
        part: {name: _INK if value == CONFIG["text"]["color"] else value for name, value in of.items()}
        if isinstance(of, dict)
        else of
        for part, of in CONFIG.items()
    }
    return {**chart, "config": {**config, "background": "#ffffff"}, "padding": 12}


if __name__ == "__main__":
    raise SystemExit(main())
