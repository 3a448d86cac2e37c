"""What the benchmarks compare with: the least that must be done, or the plain way of doing it."""

import csv
import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from app.pipeline.sample import SampleShop
from app.segmentation.clustering import on_one_thread
from scripts.bench_shops import FILE_STAND_IN


async def copy_raw_rows(driver: Any, file: Path | None) -> None:
    """Split a CSV file into rows and COPY them as text; for the built-in shop, its records as text."""
    await driver.execute("CREATE TEMP TABLE raw_rows (cells text[]) ON COMMIT DROP")
    rows = _rows_of(file) if file else _rows_of_sample()
    while batch := list(itertools.islice(rows, 20_000)):
        await driver.copy_records_to_table("raw_rows", records=[(cells,) for cells in batch])


def _rows_of(file: Path) -> Iterator[list[str]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
        yield from csv.reader(text)


def _rows_of_sample() -> Iterator[list[str]]:
    for batch in SampleShop(customers=FILE_STAND_IN).batches():
        yield from ([repr(record)] for record in batch.records)


def plain_segmentation(axes: list[list[NDArray[np.float64]]]) -> list[int]:
    """k of each axis by the best silhouette of KMeans on standardised features."""
    chosen = []
    for columns in axes:
        scaled = StandardScaler().fit_transform(np.column_stack(columns))
        scores = {}
        for k in range(2, 7):
            with on_one_thread():  # left to itself it takes every core for these small arrays, and is slower
                labels = KMeans(n_clusters=k, n_init=10, random_state=0).fit_predict(scaled)
            scores[k] = silhouette_score(scaled, labels)
        chosen.append(max(scores, key=lambda k: scores[k]))
    return chosen
