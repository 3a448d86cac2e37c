"""A file into the store, and its shop's discovery: each beside the least, or the plainest, that does such a thing."""

from app.core.clock import utc_now
from app.pipeline.features import feature_values
from app.pipeline.run import latest_as_of
from app.segmentation.axes import AXES, Need
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Database, raw
from app.warehouse.stores import read_store
from scripts.bench_discovery import discover
from scripts.bench_measured import Measured, Steps, apart, measured, median_ratio, median_steps, note
from scripts.bench_page import Figure, Section
from scripts.bench_references import copy_raw_rows, plain_segmentation
from scripts.bench_shops import FILE_STAND_IN, ONLINE_RETAIL, STORE, Shop, Shops, load_into


def measure(shops: Shops, repeat: int) -> Section:
    name = (
        "Online Retail, 541,909 rows"
        if ONLINE_RETAIL.exists()
        else f"the built-in shop of {FILE_STAND_IN:,} buyers (Online Retail is absent)"
    )
    return Section(
        name="import",
        title="A file, imported and segmented",
        told=f"{name}, with `import` and `segment`. An import stands beside splitting the file into rows and copying "
        "them into Postgres as they are. A discovery stands beside KMeans of k 2 to 6 with ten starts and silhouettes "
        "of everyone, on features it is given, with nothing compared and nothing stored.",
        figures=(*_imports(shops, repeat), *_discoveries(shops.file(), repeat)),
    )


def _imports(shops: Shops, repeat: int) -> tuple[Figure, ...]:
    shop = shops.nothing()
    ours, theirs = [], []
    for number in range(repeat):
        note(f"import, {number + 1} of {repeat}")
        shop.empty()
        ours.append(apart(load_into, shop.url, "file"))
        theirs.append(apart(copy_raw, shop.url))
    return _figures("import", ours, theirs, seconds=15)


def _discoveries(shop: Shop, repeat: int) -> tuple[Figure, ...]:
    ours, theirs = [], []
    for number in range(repeat):
        note(f"discovery of the file's shop, {number + 1} of {repeat}")
        shop.forget_runs()
        ours.append(apart(discover, shop.url))
        theirs.append(apart(segment_plainly, shop.url))
    return _figures("discovery", ours, theirs, seconds=15)


def _figures(what: str, ours: list[Measured], theirs: list[Measured], *, seconds: float) -> tuple[Figure, ...]:
    mine, others = [each.seconds for each in ours], [each.seconds for each in theirs]
    ratio = f"{median_ratio(mine, others):.2f} times its reference"
    return (
        Figure(what, tuple(mine), "{:.1f} s", at_most=seconds, ratio=ratio, where=median_steps(ours)),
        Figure(f"{what}, peak memory", tuple(each.peak_mib for each in ours), "{:,.0f} MiB", at_most=1024),
    )


def copy_raw(url: str) -> Measured:
    async def work(database: Database, _: Steps) -> None:
        async with database.transaction(keep=False) as connection:
            await copy_raw_rows(await raw(connection), ONLINE_RETAIL if ONLINE_RETAIL.exists() else None)

    return measured(url, work)


def segment_plainly(url: str) -> Measured:
    async def work(database: Database, _: Steps) -> None:
        async with database.snapshot() as connection:
            store = await read_store(connection, STORE)
            as_of = await latest_as_of(connection, store, now=utc_now())
            behaviour = await read_behaviour(connection, STORE, as_of=as_of, timezone=store.timezone)
        values = feature_values(behaviour, as_of=as_of, timezone=store.timezone)
        plain_segmentation([[values[name] for name in axis.feature_names] for axis in AXES if axis.need is Need.orders])

    return measured(url, work)
