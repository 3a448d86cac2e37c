"""Segment a store for the first time: `python -m app segment` under the name and flags of the segmentation guide.

python scripts/run_initial_clustering.py --store-id linda_quilting --axes purchase_frequency,purchase_value --dry-run
"""

import argparse
import sys

from app.cli import main
from app.cli.segment import add_options


def arguments() -> list[str]:
    """The same flags, handed on; --store-id is their --store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store-id", required=True, metavar="NAME", help="the shop")
    add_options(parser)
    wanted = parser.parse_args()
    rest = sys.argv[1:]
    for position, argument in enumerate(rest):
        if argument == "--store-id":
            del rest[position : position + 2]
            break
        if argument.startswith("--store-id="):
            del rest[position]
            break
    return ["segment", "--store", wanted.store_id, *rest]


if __name__ == "__main__":
    sys.exit(main(arguments()))
