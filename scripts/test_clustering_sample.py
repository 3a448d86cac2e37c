"""Score some customers now and compare with what the run stored of them.

python scripts/test_clustering_sample.py --store uk --customer-ids 17850,13047
"""

import argparse
import sys

from app.cli import guarded
from app.cli.options import add_store, store_of
from app.core.config import Settings
from app.engine import EcommerceClusteringEngine
from app.resources import open_database
from app.warehouse.migrate import migrate
from app.warehouse.profiles import stored_memberships

#: The largest difference between a membership scored now and the stored one that counts as equal.
TOLERANCE = 1e-9


async def compare(wanted: argparse.Namespace, settings: Settings) -> int:
    store_id = store_of(wanted, settings)
    worst = 0.0
    async with open_database(settings) as database:
        await migrate(database)
        engine = EcommerceClusteringEngine(settings=settings, database=database)
        for customer_id in filter(None, wanted.customer_ids.split(",")):
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
    add_store(parser)
    parser.add_argument("--customer-ids", required=True, metavar="A,B", help="the shop's ids, separated by commas")
    return guarded(compare, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
