"""The same answers elsewhere: the built-in shop, backed up, restored into every server there is, and asked again."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.core.backup_file import reading
from app.core.config import Settings
from app.main import create_app
from app.pipeline.backup import back_up, restore
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, client, resources_for
from tests.conftest import own_database
from tests.fakes import SECRET, rows

CUSTOMERS = ("C0000001", "C0000017", "C0000200", "C0000400")
OF_A_CUSTOMER = ("", "?include=churn,orders,why", "/orders", "/churn-risk", "/history")
#: The parameters of the routes that need some.
NEEDED = {"/api/mcp/customers/search": "?query=an"}
#: What they tell is of now, of the server, of anyone at random, or of what has been asked.
OF_NOW = ("/health", "/metrics", "/api/mcp/customer/random", "/api/admin/audit", "/api/admin/keys")


@pytest.fixture
async def restored(
    database: Database, shop: str, settings: Settings, target_url: str, tmp_path: Path
) -> AsyncIterator[Database]:
    """The database that everything stands in, brought to a server."""
    known = settings.model_copy(update={"id_hash_secret": SecretStr(SECRET.decode())})
    await back_up(database, known, tmp_path / "shop.backup", now=datetime(2026, 1, 2, tzinfo=UTC))
    async with own_database(target_url) as url:
        other = Database(url, settings)
        with reading(tmp_path / "shop.backup") as backup:
            await restore(other, known, backup)
        yield other
        await other.close()


def addresses(app: FastAPI) -> list[str]:
    """Every answer that needs no id, and those about some customers."""
    paths = [path for path, methods in app.openapi()["paths"].items() if "get" in methods and "{" not in path]
    general = [path + NEEDED.get(path, "") for path in paths if not path.startswith(OF_NOW)]
    assert len(general) > 12
    return general + [f"/api/mcp/customer/{each}{more}" for each in CUSTOMERS for more in OF_A_CUSTOMER]


async def answer(asking: Ask, address: str) -> tuple[int, bytes]:
    # Problems repeat the request's id.
    told = await asking.get(address, headers={"X-Request-ID": "the-same"})
    # What is as of now has parts of a second; what is as of a run has none.
    return told.status_code, re.sub(rb'"as_of":"[^"]+\.\d{6}\+00:00"', b'"as_of":"now"', told.content)


async def test_a_restored_shop_gives_the_same_answers_to_the_last_byte(
    app: FastAPI, restored: Database, settings: Settings, shop: str
) -> None:
    other = create_app(resources=resources_for(restored, settings, shop))
    good = 0
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(other.router.lifespan_context(other))
        for scope in ("support", "analytics", "admin"):
            before = await stack.enter_async_context(client(app, KEYS[scope]))
            after = await stack.enter_async_context(client(other, KEYS[scope]))
            for address in addresses(app):
                expected = await answer(before, address)
                assert await answer(after, address) == expected, address
                good += expected[0] == 200
    assert good > 80


async def test_everybody_goes_by_the_same_pseudonym(database: Database, restored: Database, shop: str) -> None:
    names = "SELECT customer_id, pseudonym FROM customer_pseudonyms WHERE store_id = :store ORDER BY 1"
    expected = await rows(database, names, store=shop)
    assert len(expected) >= 400
    assert await rows(restored, names, store=shop) == expected
