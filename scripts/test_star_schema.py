"""Is what a store serves whole? Counts and cross-checks its star, and says what does not hold.

python scripts/test_star_schema.py --store uk
"""

import argparse
import sys

from app.cli import guarded
from app.cli.options import add_store, store_of
from app.core.config import Settings
from app.resources import open_database
from app.warehouse.checks import check_star
from app.warehouse.migrate import migrate


async def examine(wanted: argparse.Namespace, settings: Settings) -> int:
    async with open_database(settings) as database:
        await migrate(database)
        async with database.snapshot() as connection:
            checks = await check_star(connection, store_of(wanted, settings))
    for check in checks:
        print(f"{'ok    ' if check.holds else 'BROKEN'}  {check.promise}: {check.found} breaches")
    return 0 if all(check.holds for check in checks) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_store(parser)
    return guarded(examine, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
