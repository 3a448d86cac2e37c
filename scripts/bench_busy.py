"""How fast profiles are read while a discovery runs, against a quiet service."""

import asyncio
import statistics
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from app.warehouse.engine import Database
from app.warehouse.jobs import discovery_asked, enqueue_discovery
from app.warehouse.runs import discovery_running
from scripts.bench_discovery import SIZE, discover
from scripts.bench_measured import apart, median_ratio, note, open_database
from scripts.bench_page import Figure, Section
from scripts.bench_service import load, serving
from scripts.bench_serving import settings_for, write_paths
from scripts.bench_shops import STORE, Shop, Shops

RATE = 50
SECONDS = 30
ASKED = 5_000  # different customers, in turn
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 60
#: Discoveries that must have been published, the last of them perhaps after the reading, or hardly anything went on.
_FEWEST = 2


def measure(shops: Shops, repeat: int) -> Section:
    shop = shops.sized(SIZE)
    apart(discover, shop.url)
    with tempfile.TemporaryDirectory() as folder:
        figures = _figures(shop, Path(folder), repeat)
    return Section(
        name="busy",
        title="Reading during a discovery",
        told=f"profiles by id, {RATE} requests a second for {SECONDS} s, evenly and whatever the answers take: each "
        "one's time counts from when it was due. One service, one worker, over the shop of the documents' size; quiet, "
        "and while its worker does discoveries of that shop one after the other, from when the first has begun; "
        f"at least {_FEWEST} must be published.",
        figures=figures,
    )


def _figures(shop: Shop, folder: Path, repeat: int) -> tuple[Figure, ...]:
    settings = settings_for(shop, str(folder))
    paths = folder / "paths"
    write_paths(paths, ASKED)
    options = ("--rate", str(RATE), "--seconds", str(SECONDS))
    key = settings["API_KEY"]
    quiet, busy = [], []
    with serving(["app", "serve"], settings, ready="/health") as port:
        load(port, paths, "--seconds", "3", key=key)  # what a service does once is not of interest
        for number in range(repeat):
            note(f"reading, quiet and during discoveries, {number + 1} of {repeat}")
            quiet.append(load(port, paths, *options, key=key))
            with _discoveries(shop.url):
                busy.append(load(port, paths, *options, key=key))
    wrong = sum(each["not_ok"] for each in (*quiet, *busy))
    if wrong:
        raise RuntimeError(f"{wrong:.0f} requests were not answered with 200")

    def p99(found: list[dict[str, float]]) -> tuple[float, ...]:
        return tuple(each["p99_ms"] for each in found)

    def others(found: list[dict[str, float]]) -> str:
        half, slowest = (statistics.median(each[name] for each in found) for name in ("p50_ms", "slowest_ms"))
        return f"median {half:.1f} ms, slowest {slowest:.0f} ms"

    times = tuple(one / other for one, other in zip(p99(busy), p99(quiet), strict=True))
    ratio = f"{median_ratio(p99(busy), p99(quiet)):.1f} times quiet"
    return (
        Figure("p99 during a discovery, times quiet", times, "{:.1f}", at_most=3, ratio=ratio),
        Figure("p99 during a discovery", p99(busy), "{:.1f} ms", where=others(busy)),
        Figure("p99, quiet", p99(quiet), "{:.1f} ms", where=others(quiet)),
    )


@contextmanager
def _discoveries(url: str) -> Iterator[None]:
    """Discoveries one after the other, asked of the service's own worker, until the block ends and the last of them."""
    stop, begun = threading.Event(), threading.Event()

    async def ask() -> None:
        database = open_database(url)
        before = await _published(database)
        while not stop.is_set() or await _under_way(database):
            if not begun.is_set() and await _is_at_it(database):
                begun.set()
            if not stop.is_set() and not await _under_way(database):
                async with database.transaction() as connection:
                    await enqueue_discovery(connection, STORE)
            await asyncio.sleep(_LOOK_SECONDS)
        published = await _published(database) - before
        await database.close()
        if published < _FEWEST:
            raise RuntimeError(f"{published} discoveries were published meanwhile, not the {_FEWEST} that it takes")

    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(asyncio.run, ask())
        try:
            if not begun.wait(_PATIENCE_SECONDS):
                raise RuntimeError("no discovery has begun")
            yield
        finally:
            stop.set()
        asking.result()


async def _is_at_it(database: Database) -> bool:
    async with database.snapshot() as connection:
        return await discovery_running(connection, STORE) is not None


async def _published(database: Database) -> int:
    (row,) = await database.rows("SELECT count(*) AS n FROM segmentation_runs WHERE status = 'published'")
    return int(row["n"])


async def _under_way(database: Database) -> bool:
    async with database.snapshot() as connection:
        return await discovery_asked(connection, STORE) is not None
