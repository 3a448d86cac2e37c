"""The benchmarks: how long the main jobs take, where the time goes, and how that compares with a plain way.

    python -m scripts.bench [--repeat 3] [--only discovery,features] [--json FILE [--add]]
        [--markdown docs/BENCHMARKS.md]

Each subject is a file of its own (bench_<subject>.py), each job a process of its own, run `repeat` times in turns with
what it is compared with, so that the ratios hold on a noisy machine. It takes about an hour, and the subject
plain-documents, measured only where it is named, another; what is found is written after every subject. With --add what
FILE holds of other subjects stays, in it and on the page, each with the day and the commit it is of.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from app.core.clock import utc_now
from app.core.logging import configure_logging
from app.embedded import EmbeddedPostgres
from scripts import (
    bench_answering,
    bench_busy,
    bench_discovery,
    bench_features,
    bench_import,
    bench_plain,
    bench_predicting,
    bench_rescoring,
    bench_serving,
    bench_tenfold,
)
from scripts.bench_page import Section, machine, markdown, plain, section_from
from scripts.bench_shops import Shops

#: What is measured, by the names that `--only` takes, in this order.
SUBJECTS: Mapping[str, Callable[[Shops, int], Section]] = {
    "import": bench_import.measure,
    "discovery": bench_discovery.measure,
    "plain": bench_plain.measure,
    "features": bench_features.measure,
    "rescoring": bench_rescoring.measure,
    "predicting": bench_predicting.measure,
    "serving": bench_serving.measure,
    "answering": bench_answering.measure,
    "busy": bench_busy.measure,
    "tenfold": bench_tenfold.measure,
    "plain-documents": bench_plain.measure_documents,
}
#: What is measured only where `--only` names it.
TAKES_AN_HOUR = ("plain-documents",)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each job (%(default)s)")
    parser.add_argument("--only", type=subjects, metavar="a,b", default=_usual(), help=", ".join(SUBJECTS))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--add", action="store_true", help="to what FILE of --json holds of other subjects")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    wanted = parser.parse_args()
    if wanted.add and not wanted.json:
        parser.error("--add needs the FILE of --json to add to")
    configure_logging(level="WARNING", json_logs=False)
    found = sections_in(wanted.json) if wanted.add and wanted.json.exists() else {}
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        shops = Shops(server)
        for subject in wanted.only:
            section = SUBJECTS[subject](shops, wanted.repeat)
            found[subject] = replace(section, measured=_measured(wanted.repeat))
            sections = [found[name] for name in SUBJECTS if name in found]
            page = markdown(sections)
            if wanted.json:
                wanted.json.write_text(json.dumps([plain(each) for each in sections], indent=2) + "\n")
            if wanted.markdown:
                wanted.markdown.write_text(page)
    print(page)
    return 0


def sections_in(file: Path) -> dict[str, Section]:
    """By name, what a run before wrote with --json."""
    return {each["name"]: section_from(each) for each in json.loads(file.read_text())}


def _measured(repeat: int) -> str:
    """When, of what and where."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)  # noqa: S607
    of = f" at commit {told.stdout.strip()}" if told.returncode == 0 else ""
    return f"Measured on {utc_now():%Y-%m-%d}{of}, {repeat} runs each, on {machine()}."


def _usual() -> list[str]:
    return [name for name in SUBJECTS if name not in TAKES_AN_HOUR]


def subjects(text: str) -> list[str]:
    """For argparse: names of subjects, in the order in which they are measured."""
    names = text.split(",")
    for name in names:
        if name not in SUBJECTS:
            raise argparse.ArgumentTypeError(f"'{name}' is not measured; there are {', '.join(SUBJECTS)}")
    return [name for name in SUBJECTS if name in names]


if __name__ == "__main__":
    sys.exit(main())
