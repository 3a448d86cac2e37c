"""Ten times the documents' customers, orders and lines."""

from scripts import bench_discovery, bench_features
from scripts.bench_page import Section
from scripts.bench_shops import Shops


def measure(shops: Shops, repeat: int) -> Section:
    shop = shops.sized(bench_discovery.TENFOLD)
    return Section(
        name="tenfold",
        title="Ten times the documents' size",
        told="the built-in shop of 935,640 buyers with 12,217,360 order lines (`sample --size documents-x10`); "
        "discovery and features as above.",
        figures=(
            *bench_discovery.figures(shop, repeat, at_most_seconds=80, at_most_gib=6),
            *bench_features.figures(shop, repeat, at_least=2.5),
        ),
    )
