"""The benchmarks: how long the main jobs take, where the time goes, and how that compares with a plain way.

    python -m scripts.bench [--repeat 3] [--only discovery,features] [--json FILE] [--markdown docs/BENCHMARKS.md]

Each subject is a file of its own (bench_<subject>.py), each job a process of its own, run `repeat` times in turns with
what it is compared with, so that the ratios hold on a noisy machine. It takes about an hour, and the subject
plain-documents, measured only where it is named, another; what is found is written after every subject.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from app.core.logging import configure_logging
from app.embedded import EmbeddedPostgres
from scripts import (
    bench_busy,
    bench_discovery,
    bench_features,
    bench_import,
    bench_plain,
    bench_rescoring,
    bench_serving,
    bench_tenfold,
)
from scripts.bench_page import Section, machine, markdown
from scripts.bench_shops import Shops

#: What is measured, by the names that `--only` takes, in this order.
SUBJECTS: Mapping[str, Callable[[Shops, int], Section]] = {
    "import": bench_import.measure,
    "discovery": bench_discovery.measure,
    "plain": bench_plain.measure,
    "features": bench_features.measure,
    "rescoring": bench_rescoring.measure,
    "serving": bench_serving.measure,
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
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    wanted = parser.parse_args()
    configure_logging(level="WARNING", json_logs=False)
    found: list[Section] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        shops = Shops(server)
        for subject in wanted.only:
            found.append(SUBJECTS[subject](shops, wanted.repeat))
            page = markdown(found, repeat=wanted.repeat)
            if wanted.json:
                wanted.json.write_text(json.dumps(plain(found, wanted.repeat), indent=2) + "\n")
            if wanted.markdown:
                wanted.markdown.write_text(page)
    print(page)
    return 0


def _usual() -> list[str]:
    return [name for name in SUBJECTS if name not in TAKES_AN_HOUR]


def subjects(text: str) -> list[str]:
    """For argparse: names of subjects, in the order in which they are measured."""
    names = text.split(",")
    for name in names:
        if name not in SUBJECTS:
            raise argparse.ArgumentTypeError(f"'{name}' is not measured; there are {', '.join(SUBJECTS)}")
    return [name for name in SUBJECTS if name in names]


def plain(sections: Sequence[Section], repeat: int) -> dict[str, object]:
    figures = {section.name: [figure.plain() for figure in section.figures] for section in sections}
    return {"machine": machine(), "repeat": repeat, "figures": figures}


if __name__ == "__main__":
    sys.exit(main())
