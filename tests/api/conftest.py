"""A small shop, segmented and predicted once, and clients that ask the app about it with keys of each kind."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.core.config import Settings
from app.core.keys import BootstrapKeys, Caller, Scope
from app.main import create_app
from app.pipeline.ingest import ingest
from app.pipeline.predict import PredictOptions, predict
from app.pipeline.sample import SampleShop
from app.resources import Resources
from app.warehouse.engine import Database
from tests.fakes import NOW, SECRET, segmented, value
from tests.serving import STARTING_SECONDS, served

STORE, SPARE_STORE = "shop", "spare-shop"
#: A key for each kind of caller.
KEYS = {scope.value: f"key-of-{scope.value}" for scope in Scope}
Ask = httpx.AsyncClient


@dataclass(frozen=True)
class Clients:
    """One client per scope, and one without a key."""

    support: Ask
    analytics: Ask
    campaigns: Ask
    privacy: Ask
    admin: Ask
    nobody: Ask


def keys_of(store_id: str) -> BootstrapKeys:
    scopes = {scope: frozenset(Scope) if scope is Scope.admin else frozenset({scope}) for scope in Scope}
    return BootstrapKeys([(KEYS[scope.value], Caller(store_id, held, scope.value)) for scope, held in scopes.items()])


@pytest.fixture(scope="session")
async def shop(database: Database) -> str:
    """The store of the built-in shop, 400 customers, segmented, and its predictions."""
    return await sample_shop(database, STORE, customers=400)


@pytest.fixture(scope="session")
async def spare_shop(database: Database) -> str:
    """Another, half as large, for tests that ask everything that can be asked, also to change or erase something: what
    is in it by the next test is not known.
    """
    return await sample_shop(database, SPARE_STORE, customers=200)


async def sample_shop(database: Database, store_id: str, *, customers: int) -> str:
    """Made once in a database, also where tests of another server come between."""
    if await value(database, "SELECT count(*) FROM stores WHERE store_id = :s", s=store_id):
        return store_id
    await ingest(
        database,
        SampleShop(customers=customers),
        store_id=store_id,
        timezone="America/Chicago",
        currency="USD",
        pseudonym_secret=SECRET,
    )
    await segmented(database, store_id, max_k=5, min_members=3)
    await predict(database, store_id, PredictOptions(), now=NOW)
    return store_id


def resources_for(database: Database, settings: Settings, store_id: str, *, prepared: bool = True) -> Resources:
    return Resources(
        settings=settings.model_copy(update={"store_id": store_id}),
        database=database,
        secret=SECRET,
        keys=keys_of(store_id),
        prepared=prepared,
    )


@pytest.fixture(scope="session")
async def app(database: Database, settings: Settings, shop: str) -> AsyncIterator[FastAPI]:
    app = create_app(resources=resources_for(database, settings, shop))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
def served_shop(database: Database, settings: Settings, shop: str) -> Iterator[str]:
    """The address of the shop over a real port."""
    with serving(database, settings, shop) as address:
        yield address


@contextmanager
def serving(database: Database, settings: Settings, store_id: str) -> Iterator[str]:
    """A store over a real port, as it is served: what it tells is kept. The keys are the same."""
    here = settings.model_copy(
        update={
            "database_url": database.url,
            "store_id": store_id,
            "api_key": SecretStr(KEYS["support"]),
            "admin_key": SecretStr(KEYS["admin"]),
            "enable_cache": True,
        }
    )
    with served(create_app(here)) as address:
        deadline = time.monotonic() + STARTING_SECONDS
        while httpx.get(f"{address}/health/ready").status_code != 200:
            assert time.monotonic() < deadline, "The service is not ready."
            time.sleep(0.05)
        yield address


def client(app: FastAPI, key: str | None = None) -> Ask:
    headers = {} if key is None else {"X-API-Key": key}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test", headers=headers)


@pytest.fixture(scope="session")
async def ask(app: FastAPI) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        opened = {name: await stack.enter_async_context(client(app, key)) for name, key in KEYS.items()}
        yield Clients(**opened, nobody=await stack.enter_async_context(client(app)))


@pytest.fixture
async def empty_shop(database: Database, settings: Settings, store_id: str) -> AsyncIterator[Ask]:
    """A support key's view of a store that is not there yet."""
    app = create_app(resources=resources_for(database, settings, store_id))
    async with app.router.lifespan_context(app), client(app, KEYS["support"]) as asking:
        yield asking
