"""Customers placed anew by the rules there are: a thousand whose records changed, and a whole shop."""

import asyncio
import time

from app.core.clock import utc_now
from app.pipeline.rescore import rescore, score_changed
from app.warehouse.engine import Database, raw
from scripts.bench_discovery import SIZE, discover
from scripts.bench_measured import Measured, Steps, apart, measured, median_ratio, median_steps, note, open_database
from scripts.bench_page import Figure, Section
from scripts.bench_serving import score_one_by_one
from scripts.bench_shops import STORE, Shop, Shops

BATCH = 1_000
# Scattered over the shop, others each time.
_CHANGED = """
    INSERT INTO customers_changed (store_id, customer_id)
    SELECT store_id, customer_id FROM fact_customer_current WHERE store_id = $1
    ORDER BY md5(customer_id) LIMIT $2 OFFSET $3
    ON CONFLICT (store_id, customer_id) DO UPDATE SET changed_in = excluded.changed_in, scored_run_id = NULL
"""


def measure(shops: Shops, repeat: int) -> Section:
    shop = shops.sized(SIZE)
    apart(discover, shop.url)
    return Section(
        name="rescoring",
        title="Customers scored anew",
        told=f"in the shop of the documents' size. {BATCH:,} customers whose records changed are scored and stored as "
        "one batch, as the worker does it after an import; beside them, as many one after the other. The whole shop is "
        "placed anew against fixed centers and published; beside it, a discovery.",
        figures=(*_batches(shop, repeat), *_everyone(shop, repeat)),
    )


def _batches(shop: Shop, repeat: int) -> tuple[Figure, ...]:
    firsts, nexts, singly = [], [], []
    for number in range(repeat):
        note(f"{BATCH:,} customers scored in one batch, {number + 1} of {repeat}")
        first, following = apart(score_two_batches, shop.url)
        firsts.append(first)
        nexts.append(following)
        singly.append(sum(apart(score_one_by_one, shop.url, BATCH)))
    what = f"{BATCH:,} customers scored and stored in one batch"
    return (
        Figure(
            what,
            tuple(nexts),
            "{:.2f} s",
            at_most=0.5,
            ratio=f"{median_ratio(singly, nexts):.0f} times as fast as one after the other",
        ),
        Figure(f"{what}, the first of a new process", tuple(firsts), "{:.2f} s", where="reads the rules of the run"),
        Figure(f"{BATCH:,} customers one after the other", tuple(singly), "{:.1f} s"),
    )


def _everyone(shop: Shop, repeat: int) -> tuple[Figure, ...]:
    ours, discoveries = [], []
    for number in range(repeat):
        note(f"everyone scored anew, {number + 1} of {repeat}")
        ours.append(apart(score_everyone, shop.url))
        discoveries.append(apart(discover, shop.url))
    seconds = [each.seconds for each in ours]
    ratio = median_ratio(seconds, [each.seconds for each in discoveries])
    return (
        Figure(
            "the whole shop scored anew and published",
            tuple(seconds),
            "{:.1f} s",
            ratio=f"{ratio:.2f} of a discovery",
            where=median_steps(ours),
        ),
        Figure("its peak memory", tuple(each.peak_mib / 1024 for each in ours), "{:.2f} GiB"),
    )


def score_two_batches(url: str) -> list[float]:
    """Seconds for a first batch in this process and for a second."""

    async def times() -> list[float]:
        database = open_database(url)
        found = []
        for number in range(2):
            async with database.transaction() as connection:
                await (await raw(connection)).execute(_CHANGED, STORE, BATCH, number * BATCH)
            began = time.perf_counter()
            n_scored = await score_changed(database, STORE, now=utc_now())
            found.append(time.perf_counter() - began)
            if n_scored != BATCH:
                raise RuntimeError(f"{n_scored} customers were scored, not {BATCH}")
        await database.close()
        return found

    return asyncio.run(times())


def score_everyone(url: str) -> Measured:
    async def work(database: Database, steps: Steps) -> None:
        await rescore(database, STORE, now=utc_now(), progress=steps)

    return measured(url, work)
