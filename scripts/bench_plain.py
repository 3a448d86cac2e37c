"""A discovery beside a whole segmentation the plain way: pandas customer by customer, then scikit-learn."""

from app.core.clock import utc_now
from app.pipeline.run import latest_as_of
from app.warehouse.engine import Database, raw
from app.warehouse.stores import read_store
from scripts.bench_discovery import discover
from scripts.bench_measured import Measured, Steps, apart, measured, median_ratio, median_steps, note
from scripts.bench_page import Figure, Section
from scripts.bench_reference_looped import looped_pipeline
from scripts.bench_shops import STORE, Shop, Shops

SIZES = (2_000, 8_000)
WANTED = 80


def measure(shops: Shops, repeat: int) -> Section:
    figures = []
    for size in SIZES:
        figures += _figures(shops.of(size), repeat, size, limited=size == SIZES[-1])
    return Section(
        name="plain",
        title="Against pandas and scikit-learn, plainly",
        told="the same records out of Postgres, the same features customer by customer in pandas, KMeans of k 2 to 6 "
        "with ten starts and a silhouette over 10,000 customers on each axis, a row each back into Postgres "
        "(`scripts/bench_reference_looped.py`), at sizes it can finish. The built-in shop.",
        figures=tuple(figures),
    )


def _figures(shop: Shop, repeat: int, size: int, *, limited: bool) -> list[Figure]:
    ours, theirs = [], []
    for number in range(repeat):
        note(f"plain segmentation of {size:,} customers, {number + 1} of {repeat}")
        shop.forget_runs()
        ours.append(apart(discover, shop.url))
        theirs.append(apart(segment_plainly, shop.url))
    mine, others = [each.seconds for each in ours], [each.seconds for each in theirs]
    times = tuple(other / one for one, other in zip(mine, others, strict=True))
    return [
        Figure(
            f"{size:,} customers: how many times faster",
            times,
            "{:.0f}",
            at_least=WANTED if limited else None,
            ratio=f"{median_ratio(others, mine):.0f} times as fast",
        ),
        Figure(f"{size:,} customers: a discovery", tuple(mine), "{:.2f} s", where=median_steps(ours)),
        Figure(
            f"{size:,} customers: the plain way",
            tuple(others),
            "{:.0f} s",
            ratio=f"{1000 * sum(others) / len(others) / size:.1f} ms a customer",
            where=median_steps(theirs),
        ),
    ]


def segment_plainly(url: str) -> Measured:
    async def work(database: Database, steps: Steps) -> None:
        async with database.snapshot() as connection:
            store = await read_store(connection, STORE)
            as_of = await latest_as_of(connection, store, now=utc_now())
        async with database.transaction() as connection:
            driver = await raw(connection)
            await looped_pipeline(driver, STORE, as_of=as_of, timezone=store.timezone, progress=steps)

    return measured(url, work)
