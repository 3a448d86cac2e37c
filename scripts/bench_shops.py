"""The shops that are measured: each in a database of its own, made when it is first asked for and then shared."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from app.pipeline.ingest import ingest
from app.pipeline.sample import SIZES, SampleShop
from app.sources.base import Source
from app.sources.csv_file import CsvSource
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from scripts.bench_measured import Measured, Steps, apart, measured, note, open_database

STORE = "bench"
ONLINE_RETAIL = Path(os.environ.get("REAL_DATA_DIR", "")) / "online_retail" / "online_retail.csv.gz"
FILE_STAND_IN = 20_000  # buyers of the built-in shop, where the file is absent

# Whatever a run writes says which run wrote it.
_RUNS_ROWS = """
    SELECT string_agg(format('%I', relname), ', ') FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relkind = 'r' AND attname = 'run_id' AND relname <> 'segmentation_runs'
      AND relnamespace = 'public'::regnamespace
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """url : of its database; the store in it is STORE"""

    name: str
    url: str

    def forget_runs(self) -> None:
        """As before its first discovery."""
        asyncio.run(_forget_runs(self.url))

    def empty(self) -> None:
        """As before anything was imported."""
        asyncio.run(_execute(self.url, "TRUNCATE stores CASCADE"))


class Shops:
    """server : the address of a Postgres server's maintenance database, where databases may be made"""

    def __init__(self, server: str) -> None:
        self._server = f"postgresql://{server.partition('://')[2]}"  # as the driver by itself takes it
        self._made: dict[str, Shop] = {}

    def file(self) -> Shop:
        """Online Retail's where REAL_DATA_DIR has it, else the built-in shop in about that size."""
        return self._shop("file")

    def sized(self, size: str) -> Shop:
        """The built-in shop in one of its sizes."""
        return self._shop(size)

    def of(self, n_customers: int) -> Shop:
        """The built-in shop with so many buyers."""
        return self._shop(str(n_customers))

    def nothing(self) -> Shop:
        """A database with tables and without a store."""
        return self._shop("nothing", load=False)

    def _shop(self, name: str, *, load: bool = True) -> Shop:
        if name not in self._made:
            shop = Shop(name, asyncio.run(_new_database(self._server, f"bench_{name.replace('-', '_')}")))
            if load:
                note(f"loading the shop '{name}'")
                apart(load_into, shop.url, name)
                # Else the server would do both in the midst of what is measured.
                asyncio.run(_execute(shop.url, "VACUUM ANALYZE", "CHECKPOINT"))
            self._made[name] = shop
        return self._made[name]


def source_named(name: str) -> Source:
    """The records of a shop: `file`, a size, or a number of buyers."""
    if name in SIZES:
        return SampleShop(size=SIZES[name])
    if name != "file":
        return SampleShop(customers=int(name))
    if ONLINE_RETAIL.exists():
        return CsvSource([ONLINE_RETAIL], preset="online-retail")
    return SampleShop(customers=FILE_STAND_IN)


def load_into(url: str, name: str) -> Measured:
    """Import the records of a shop into that database."""

    async def work(database: Database, steps: Steps) -> None:
        await ingest(
            database,
            source_named(name),
            store_id=STORE,
            timezone="UTC",
            currency="GBP",
            pseudonym_secret=b"bench",
            progress=steps,
        )

    return measured(url, work)


async def _new_database(server: str, name: str) -> str:
    await _execute(server, f"CREATE DATABASE {name}")
    before, _, query = server.partition("?")
    url = before.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")
    database = open_database(url)
    await migrate(database)
    await database.close()
    return url


async def _forget_runs(url: str) -> None:
    async with _connected(url) as connection:
        await connection.execute("UPDATE stores SET served_run_id = NULL")
        await connection.execute(f"TRUNCATE {await connection.fetchval(_RUNS_ROWS)} CASCADE")
        await connection.execute("DELETE FROM segmentation_runs")


async def _execute(url: str, *statements: str) -> None:
    async with _connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
