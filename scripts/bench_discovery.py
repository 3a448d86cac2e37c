"""A shop of the documents' size, segmented from Postgres to Postgres: for the first time, and going on from a run."""

import os

import asyncpg

from app.core.clock import utc_now
from app.core.config import load_settings
from app.pipeline.run import RunOptions, discovery_options, segment
from app.segmentation.clustering import KRange
from app.warehouse.engine import Database, raw
from scripts.bench_measured import Measured, Steps, apart, measured, median_ratio, median_steps, note
from scripts.bench_page import Figure, Section
from scripts.bench_shops import STORE, Shop, Shops

SIZE = "documents"
TENFOLD = "documents-x10"
_READ = ("orders", "order_items", "refunds", "tickets")


def measure(shops: Shops, repeat: int) -> Section:
    return Section(
        name="discovery",
        title="A discovery of the documents' size",
        told="the built-in shop of 93,564 buyers with 1,221,736 order lines (`sample --size documents`), with "
        "`segment`, from Postgres to Postgres. It stands beside the reading alone: the same tables, copied out of "
        "Postgres and dropped.",
        figures=figures(shops.sized(SIZE), repeat, at_most_seconds=10, at_most_gib=1.5),
    )


def figures(shop: Shop, repeat: int, *, at_most_seconds: float, at_most_gib: float) -> tuple[Figure, ...]:
    reading, first, going_on = [], [], []
    for number in range(repeat):
        note(f"discovery of the shop '{shop.name}', {number + 1} of {repeat}")
        shop.forget_runs()
        reading.append(apart(read_only, shop.url))
        first.append(apart(discover, shop.url))
        going_on.append(apart(discover, shop.url))
    found = []
    for what, runs in (("the first discovery", first), ("a discovery that goes on from a served run", going_on)):
        seconds = [each.seconds for each in runs]
        ratio = f"{median_ratio(seconds, [each.seconds for each in reading]):.1f} times the reading alone"
        found += [
            Figure(what, tuple(seconds), "{:.1f} s", at_most=at_most_seconds, ratio=ratio, where=median_steps(runs)),
            Figure(f"{what}, peak memory", _gib(runs), "{:.2f} GiB", at_most=at_most_gib),
        ]
    return tuple(found)


def _gib(runs: list[Measured]) -> tuple[float, ...]:
    return tuple(each.peak_mib / 1024 for each in runs)


def discover(url: str) -> Measured:
    """As `segment` does it without flags."""
    settings = load_settings()
    k_range = KRange(dynamic=settings.enable_dynamic_k_range)
    options = RunOptions(discovery=discovery_options(settings, k_range, threads=os.cpu_count() or 1))

    async def work(database: Database, steps: Steps) -> None:
        await segment(database, STORE, options, now=utc_now(), progress=steps)

    return measured(url, work)


def read_only(url: str) -> Measured:
    async def work(database: Database, _: Steps) -> None:
        async with database.snapshot() as connection:
            driver: asyncpg.Connection = await raw(connection)
            for table in _READ:
                await driver.copy_from_table(table, output=_dropped, format="csv")

    return measured(url, work)


async def _dropped(_: bytes) -> None: ...
