"""scripts/draw_axes.py: an SVG for each axis that has a picture."""

import json
import subprocess
import sys
from pathlib import Path

from tests.api.test_charts import axis

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "draw_axes.py"


def test_every_axis_with_a_picture_becomes_an_svg_on_white(tmp_path: Path) -> None:
    silent = {"axis": "support_history", "measures": "what help they have needed", "note": "no tickets"}
    (tmp_path / "run.json").write_text(json.dumps({"axes": [axis(orders=3), silent]}))
    done = subprocess.run(
        [sys.executable, SCRIPT, "--json", tmp_path / "run.json", "--out", tmp_path / "drawn"],
        cwd=SCRIPT.parents[1],
        env={"PYTHONPATH": str(SCRIPT.parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["purchase_frequency.svg"]
    drawn = (tmp_path / "drawn" / "purchase_frequency.svg").read_text()
    assert drawn.startswith("<svg") and "one shapeless cloud" in drawn and 'fill="#ffffff"' in drawn
    assert "support_history: nothing to draw" in done.stderr
