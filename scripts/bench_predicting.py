"""Predictions: a whole shop trained and told, and one customer told by the models that are served."""

import asyncio
import os
import statistics
import time

from app.core.clock import utc_now
from app.pipeline.predict import PredictOptions, predict
from app.pipeline.predict_some import explain_churn, predict_some
from app.pipeline.run import latest_as_of
from app.warehouse.customers import random_customer
from app.warehouse.engine import Database
from app.warehouse.stores import read_store
from scripts.bench_discovery import SIZE
from scripts.bench_measured import Measured, Steps, apart, measured, median_steps, note, open_database
from scripts.bench_page import Figure, Section
from scripts.bench_shops import STORE, Shops

ONES = 100


def measure(shops: Shops, repeat: int) -> Section:
    shop = shops.sized(SIZE)
    trainings, ones, reasons = [], [], []
    for number in range(repeat):
        note(f"predictions of the documents' size, {number + 1} of {repeat}")
        trainings.append(apart(train, shop.url))
        one, reason = apart(tell_ones, shop.url)
        ones.append(one)
        reasons.append(reason)
    return Section(
        name="predicting",
        title="Predictions",
        told="in the shop of the documents' size: everything trained, chosen on its past, proved and published, on "
        f"all cores; then {ONES} customers one after the other, each told anew by the served models and stored (the "
        "median of a process that has told one before), and their risk taken apart.",
        figures=(
            Figure(
                "predictions trained, told of everyone and published",
                tuple(each.seconds for each in trainings),
                "{:.0f} s",
                at_most=90,
                where=median_steps(trainings),
            ),
            Figure("its peak memory", tuple(each.peak_mib / 1024 for each in trainings), "{:.2f} GiB", at_most=3),
            Figure("one customer told anew and stored", tuple(ones), "{:.1f} ms", at_most=20),
            Figure("one customer's risk taken apart", tuple(reasons), "{:.1f} ms"),
        ),
    )


def train(url: str) -> Measured:
    async def work(database: Database, steps: Steps) -> None:
        options = PredictOptions(threads=os.cpu_count() or 1)
        await predict(database, STORE, options, now=utc_now(), progress=steps)

    return measured(url, work)


def tell_ones(url: str) -> tuple[float, float]:
    """Median milliseconds of telling one customer and of taking their risk apart."""

    async def times() -> tuple[float, float]:
        database = open_database(url)
        told: list[float] = []
        explained: list[float] = []
        number = 0
        while len(told) <= ONES:
            customer_id = await random_customer(database, STORE, f"C-{number * 1_500_000:08X}") or ""
            number += 1
            began = time.perf_counter()
            async with database.transaction() as connection:
                store = await read_store(connection, STORE)
                as_of = await latest_as_of(connection, store, now=utc_now())
                had_orders = await predict_some(database, connection, store, [customer_id], as_of=as_of)
            if not had_orders:
                continue
            between = time.perf_counter()
            await explain_churn(database, STORE, customer_id, now=utc_now())
            told.append(1_000 * (between - began))
            explained.append(1_000 * (time.perf_counter() - between))
        await database.close()
        return statistics.median(told[1:]), statistics.median(explained[1:])

    return asyncio.run(times())
