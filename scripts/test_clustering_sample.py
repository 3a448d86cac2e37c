"""Score some customers now and compare with what the run stored of them.

python scripts/test_clustering_sample.py --store uk --customer-ids 17850,13047
"""

import argparse
import asyncio
import sys

from app.core.config import load_settings
from app.core.errors import AppError
from app.core.logging import configure_logging
from app.engine import EcommerceClusteringEngine
from app.resources import open_database
from app.warehouse.profiles import stored_memberships

#: The largest difference between a membership scored now and the stored one that counts as equal.
TOLERANCE = 1e-9


async def compare(store_id: str, customer_ids: list[str]) -> int:
    settings = load_settings()
    worst = 0.0
    async with open_database(settings) as database:
        engine = EcommerceClusteringEngine(settings=settings, database=database)
        for customer_id in customer_ids:
            profile = await engine.calculate_customer_profile(customer_id, store_id)
            async with database.snapshot() as connection:
                stored = await stored_memberships(connection, store_id, customer_id)
            gap = max(
                abs(share - stored[axis][segment])
                for axis, shares in profile.fuzzy_memberships.items()
                for segment, share in shares.items()
            )
            worst = max(worst, gap)
            print(f"{customer_id}: {profile.archetype_id}, {profile.lifetime_value:,.2f}, largest difference {gap:.1e}")
            print(f"  {profile.interpretation}")
    return 0 if worst <= TOLERANCE else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="the shop; STORE_ID by default")
    parser.add_argument("--customer-ids", required=True, metavar="A,B", help="the shop's ids, separated by commas")
    wanted = parser.parse_args()
    settings = load_settings()
    configure_logging(level=settings.log_level, json_logs=settings.json_logs)
    try:
        return asyncio.run(compare(wanted.store or settings.store_id, wanted.customer_ids.split(",")))
    except AppError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
