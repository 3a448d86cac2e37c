"""Is what a store serves whole? Counts and cross-checks its star, and says what does not hold.

python scripts/test_star_schema.py --store uk
"""

import argparse
import asyncio
import sys

from app.core.config import load_settings
from app.core.errors import AppError
from app.core.logging import configure_logging
from app.resources import open_database
from app.warehouse.checks import check_star


async def examine(store_id: str) -> int:
    async with open_database(load_settings()) as database, database.snapshot() as connection:
        checks = await check_star(connection, store_id)
    for check in checks:
        print(f"{'ok    ' if check.holds else 'BROKEN'}  {check.promise}: {check.found}")
    return 0 if all(check.holds for check in checks) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="the shop; STORE_ID by default")
    wanted = parser.parse_args()
    settings = load_settings()
    configure_logging(level=settings.log_level, json_logs=settings.json_logs)
    try:
        return asyncio.run(examine(wanted.store or settings.store_id))
    except AppError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
