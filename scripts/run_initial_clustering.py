"""Segment a store for the first time: `python -m app segment` under the name and flags of the segmentation guide.

python scripts/run_initial_clustering.py --store-id linda_quilting --axes purchase_frequency,purchase_value --dry-run
"""

import argparse
import sys

from app.cli import guarded
from app.cli.options import store_name
from app.cli.segment import add_options, run_segment


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store-id", dest="store", type=store_name, required=True, metavar="NAME", help="the shop")
    parser.add_argument("--debug", action="store_true", help="show a traceback when something fails")
    add_options(parser)
    wanted = parser.parse_args()
    return guarded(run_segment, wanted, debug=wanted.debug)


if __name__ == "__main__":
    sys.exit(main())
