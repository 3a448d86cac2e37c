"""The features of a whole shop, from frames in memory, beside the best that plain pandas does with the same frames."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from app.core.clock import utc_now
from app.pipeline.features import feature_values, shop_day
from app.pipeline.run import latest_as_of
from app.warehouse.behaviour import FRAMES, Behaviour, read_behaviour
from app.warehouse.engine import Database
from app.warehouse.stores import read_store
from scripts.bench_discovery import SIZE
from scripts.bench_measured import Measured, Steps, apart, measured, median_ratio, note, peak_mib
from scripts.bench_page import Figure, Section
from scripts.bench_reference_grouped import grouped_features
from scripts.bench_shops import STORE, Shop, Shops

#: Measured beforehand and not counted: what a process does once, such as loading code when it is first needed.
_FIRST_CUSTOMERS = 500
_WITHIN = 1e-9

Columns = Mapping[str, np.ndarray]
"""Values by name, each (n_customers,), customers in order."""


def measure(shops: Shops, repeat: int) -> Section:
    return Section(
        name="features",
        title="Features",
        told="every metric and feature of everyone, from frames in memory to columns in memory, as `segment` computes "
        "them, beside `scripts/bench_reference_grouped.py`: the same in pandas, by groups and whole columns, equal "
        "to 1e-9 in the very runs that are timed.",
        figures=figures(shops.sized(SIZE), repeat, at_least=1.5),
    )


def figures(shop: Shop, repeat: int, *, at_least: float) -> tuple[Figure, ...]:
    """at_least : how many times as fast as pandas it must be

    Raises RuntimeError where pandas gives other numbers.
    """
    ours, theirs = [], []
    with TemporaryDirectory() as folder:
        apart(write_frames, shop.url, folder)
        for number in range(repeat):
            note(f"features of the shop '{shop.name}', {number + 1} of {repeat}")
            ours.append(apart(with_polars, folder))
            theirs.append(apart(with_pandas, folder))
        apart(compare, folder)
    mine, others = [each.seconds for each in ours], [each.seconds for each in theirs]
    times = tuple(other / one for one, other in zip(mine, others, strict=True))
    ratio = f"{median_ratio(others, mine):.2f} times as fast"
    return (
        Figure("features, how many times faster than pandas", times, "{:.2f}", at_least=at_least, ratio=ratio),
        Figure("features", tuple(mine), "{:.2f} s", where=f"peak {max(each.peak_mib for each in ours):,.0f} MiB"),
        Figure(
            "features by pandas",
            tuple(others),
            "{:.2f} s",
            where=f"peak {max(each.peak_mib for each in theirs):,.0f} MiB",
        ),
    )


def write_frames(url: str, folder: str) -> Measured:
    """The frames of a discovery, as files of columns."""

    async def work(database: Database, _: Steps) -> None:
        async with database.snapshot() as connection:
            store = await read_store(connection, STORE)
            as_of = await latest_as_of(connection, store, now=utc_now())
            behaviour = await read_behaviour(connection, STORE, as_of=as_of, timezone=store.timezone)
        for name in FRAMES:
            frame: pl.DataFrame = getattr(behaviour, name)
            _keep(Path(folder) / f"{name}.npz", {each.name: each.to_numpy() for each in frame})
        about = {"as_of": as_of.isoformat(), "timezone": store.timezone}
        (Path(folder) / "about.json").write_text(json.dumps(about))

    return measured(url, work)


def with_polars(folder: str) -> Measured:
    as_of, timezone = _about(folder)

    def features(frames: Mapping[str, pl.DataFrame]) -> Columns:
        behaviour = Behaviour(customer_ids=[], has_categories=True, **frames)
        return feature_values(behaviour, as_of=as_of, timezone=timezone)

    frames = {name: pl.DataFrame(_columns(folder, name), schema=FRAMES[name]) for name in FRAMES}
    first = {name: frame.filter(pl.col("customer") < _FIRST_CUSTOMERS) for name, frame in frames.items()}
    return _timed(features, first, frames, Path(folder) / "polars.npz")


def with_pandas(folder: str) -> Measured:
    as_of, timezone = _about(folder)

    def features(frames: Mapping[str, pd.DataFrame]) -> Columns:
        table = grouped_features(frames, as_of_day=shop_day(as_of, timezone))
        return {name: table[name].to_numpy() for name in table.columns}

    frames = {name: pd.DataFrame(_columns(folder, name)) for name in FRAMES}
    first = {name: frame[frame["customer"] < _FIRST_CUSTOMERS] for name, frame in frames.items()}
    return _timed(features, first, frames, Path(folder) / "pandas.npz")


def compare(folder: str) -> None:
    """Raises RuntimeError naming the features in which the two differ."""
    ours, theirs = (np.load(Path(folder) / f"{name}.npz") for name in ("polars", "pandas"))
    differ = [name for name in ours.files if not np.allclose(ours[name], theirs[name], rtol=_WITHIN, atol=_WITHIN)]
    if differ or set(ours.files) != set(theirs.files):
        raise RuntimeError(f"pandas gives other numbers for {', '.join(differ) or 'other features'}")


def as_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({each.name: each.to_numpy() for each in frame})


def _timed(features: Callable[[Any], Columns], first: object, frames: object, kept: Path) -> Measured:
    features(first)
    started = time.perf_counter()
    found = features(frames)
    seconds = time.perf_counter() - started
    peak = peak_mib()
    _keep(kept, found)
    return Measured(seconds=seconds, peak_mib=peak)


def _keep(file: Path, columns: Columns) -> None:
    np.savez(file, **dict[str, Any](columns))


def _columns(folder: str, name: str) -> dict[str, Any]:
    with np.load(Path(folder) / f"{name}.npz") as kept:
        return {column: kept[column] for column in kept.files}


def _about(folder: str) -> tuple[datetime, str]:
    about = json.loads((Path(folder) / "about.json").read_text())
    return datetime.fromisoformat(about["as_of"]), about["timezone"]
