"""A discovery beside a whole segmentation the plain way: pandas customer by customer, then scikit-learn."""

import statistics

from app.core.clock import utc_now
from app.pipeline.run import latest_as_of
from app.warehouse.engine import Database, raw
from app.warehouse.stores import read_store
from scripts.bench_discovery import SIZE, discover
from scripts.bench_measured import Measured, Steps, apart, measured, median_steps, note
from scripts.bench_page import Figure, Section
from scripts.bench_reference_looped import looped_pipeline
from scripts.bench_shops import STORE, Shop, Shops

#: The second is as many as took the system that this one replaces 15 to 20 minutes.
SIZES = (5_000, 27_415)
WANTED = 80
_TOLD = (
    "the same records out of Postgres, the same features customer by customer in pandas, KMeans of k 2 to 6 with ten "
    "starts and a silhouette over 10,000 customers on each axis, a row each back into Postgres "
    "(`scripts/bench_reference_looped.py`). KMeans has one thread, with which it is faster. The plain way uses one "
    "core, a discovery all of them. "
)


def measure(shops: Shops, repeat: int) -> Section:
    figures = [_figures(shops.of(size), repeat, f"{size:,} customers", size) for size in SIZES]
    return Section(
        name="plain",
        title="Against pandas and scikit-learn, plainly",
        told=f"{_TOLD}At two sizes, because a discovery looks longest at what does not grow with the shop.",
        figures=tuple(figure for of_size in figures for figure in of_size),
    )


def measure_documents(shops: Shops, repeat: int) -> Section:
    """About twenty minutes for each run."""
    shop = shops.sized(SIZE)
    return Section(
        name="plain-documents",
        title="Against pandas and scikit-learn, plainly, at the documents' size",
        told=f"{_TOLD}The built-in shop of 93,564 buyers.",
        figures=_figures(shop, repeat, "93,564 customers", 93_564),
    )


def _figures(shop: Shop, repeat: int, what: str, n_customers: int) -> tuple[Figure, ...]:
    ours, theirs = [], []
    for number in range(repeat):
        note(f"plain segmentation of {what}, {number + 1} of {repeat}")
        shop.forget_runs()
        ours.append(apart(discover, shop.url))
        theirs.append(apart(segment_plainly, shop.url))
    mine, others = [each.seconds for each in ours], [each.seconds for each in theirs]
    times = tuple(other / one for one, other in zip(mine, others, strict=True))
    each = 1000 * statistics.median(others) / n_customers
    limit = WANTED if n_customers > SIZES[0] else None
    return (
        Figure(f"{what}: how many times as fast", times, "{:.0f}", at_least=limit),
        Figure(f"{what}: a discovery", tuple(mine), "{:.2f} s", where=median_steps(ours)),
        Figure(
            f"{what}: the plain way",
            tuple(others),
            "{:.0f} s",
            ratio=f"{each:.1f} ms a customer",
            where=median_steps(theirs),
        ),
    )


def segment_plainly(url: str) -> Measured:
    async def work(database: Database, steps: Steps) -> None:
        async with database.snapshot() as connection:
            store = await read_store(connection, STORE)
            as_of = await latest_as_of(connection, store, now=utc_now())
        async with database.transaction() as connection:
            driver = await raw(connection)
            await looped_pipeline(driver, STORE, as_of=as_of, timezone=store.timezone, progress=steps)

    return measured(url, work)
