"""With everything kept that may be: no key is told what was kept for another store or view, nor of who is erased."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.api.aggregates import AggregateRoute
from app.api.routes import ROUTERS
from app.core.config import Settings
from app.core.keys import hash_key, new_key
from app.main import create_app
from app.warehouse.engine import Database
from app.warehouse.keys import add_key
from tests.api.conftest import KEYS, SPARE_STORE, Ask, client, resources_for
from tests.api.every_route import Question, put_to, questions
from tests.api.test_privacy_scan import fewer, known_of
from tests.fakes import a_shop, put, segmented, value
from tests.redis_server import RedisServer
from tests.test_cache import hits
from tests.waiting import until

PROFILE = "/api/mcp/customer/"
KEPT = {f"{PROFILE}{{customer_id}}"} | {
    route.path for router in ROUTERS for route in router.routes if isinstance(route, AggregateRoute)
}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@asynccontextmanager
async def keeping(
    database: Database, settings: Settings, store_id: str, redis: RedisServer | None = None
) -> AsyncIterator[FastAPI]:
    """The app as it is in use."""
    url = None if redis is None else SecretStr(redis.url)
    here = settings.model_copy(update={"enable_cache": True, "redis_url": url})
    app = create_app(resources=resources_for(database, here, store_id))
    async with app.router.lifespan_context(app):
        resources = app.state.resources
        wanted = "memory" if redis is None else "redis"
        await until(lambda: resources.hearing.now and resources.cache.state == wanted)
        yield app


@pytest.fixture(params=["in a process", "in Redis"])
async def kept(
    request: pytest.FixtureRequest, database: Database, settings: Settings, shop: str, redis: RedisServer
) -> AsyncIterator[Sequence[FastAPI]]:
    """A process that serves the shop; and a second, which has from Redis what the first has worked out."""
    shared = redis if request.param == "in Redis" else None
    async with AsyncExitStack() as stack:
        many = 1 if shared is None else 2
        yield [await stack.enter_async_context(keeping(database, settings, shop, shared)) for _ in range(many)]


@pytest.fixture(scope="module")
async def keys(database: Database, spare_shop: str) -> Sequence[str]:
    """One of each view, of the shop and of another whose customers go by the same ids."""
    made = []
    for scope in ("support", "analytics"):
        key_id, key = new_key()
        async with database.transaction() as connection:
            digest = hash_key(key.encode())
            about = {"key_id": key_id, "store_id": SPARE_STORE, "name": "", "scopes": [scope]}
            await add_key(connection, secret_hash=digest, **about)  # type: ignore[arg-type]
        made.append(key)
    return KEYS["support"], *made, KEYS["analytics"], KEYS["campaigns"]


@pytest.fixture(scope="module")
async def rightly(
    app: FastAPI, keys: Sequence[str], database: Database, shop: str
) -> Sequence[tuple[Question, Sequence[Any]]]:
    """Each question, and what each key is told where nothing is kept."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(app, key)) for key in keys]
        return [
            (question, [told(each) for each in await asyncio.gather(*(put_to(asking, question) for asking in clients))])
            for question in await asked_about(app, database, shop)
        ]


async def asked_about(app: FastAPI, database: Database, shop: str) -> Sequence[Question]:
    """Whatever may be answered with what is kept."""
    known = fewer(await known_of(database, shop)) | {"axis": ["value"], "name": ["churn"]}
    known["customer_id"] = ["C0000001", known["customer_id"][0]]
    described = app.openapi()
    paths = {path: {"get": each["get"]} for path, each in described["paths"].items() if path in KEPT}
    assert paths.keys() == KEPT
    return list(questions({**described, "paths": paths}, known))


def told(answer: httpx.Response) -> Any:
    """An answer without its own number."""
    body = answer.json()
    body.pop("request_id", None)
    return answer.status_code, body


async def test_each_key_is_told_what_it_is_told_where_nothing_is_kept(
    rightly: Sequence[tuple[Question, Sequence[Any]]], kept: Sequence[FastAPI], keys: Sequence[str]
) -> None:
    """One after another, again, and in another process; and none has by its mark what was told another."""
    n_differ, of_redis, from_kept = 0, set[str](), set[str]()
    async with AsyncExitStack() as stack:
        first, *others = [[await stack.enter_async_context(client(each, key)) for key in keys] for each in kept]
        for question, right in rightly:
            marks = dict[str, Any]()
            n_told = sum(own[0] == 200 for own in right)
            for number, clients in enumerate((first, first, *others, *others)):
                before = hits("profiles", "hit") + hits("answers", "hit"), hits("redis", "hit")
                answers = [await put_to(asking, question) for asking in clients]
                assert [told(answer) for answer in answers] == right, str(question)
                n_hits = hits("profiles", "hit") + hits("answers", "hit") - before[0]
                if number % 2 and n_hits >= n_told > 0:  # when it is asked again, by every key
                    from_kept.add(question.route)
                if hits("redis", "hit") > before[1]:
                    of_redis.add(question.route)
                for answer, own in zip(answers, right, strict=True):
                    if "etag" in answer.headers:
                        assert marks.setdefault(answer.headers["etag"], own) == own, str(question)
            for asking, own in zip((first, *others)[-1], right, strict=True):
                for mark, its in marks.items():
                    if own[0] == 200:
                        status = (await put_to(asking, question, headers={"If-None-Match": mark})).status_code
                        assert status == (304 if own == its else 200), str(question)
                        n_differ += own != its
    assert n_differ > 100
    # All this was told of what is kept, of every route of which something is.
    assert from_kept == KEPT
    assert of_redis == (KEPT - {f"{PROFILE}{{customer_id}}"} if others else set())


async def test_who_is_erased_is_told_by_no_process_any_more(
    database: Database, settings: Settings, store_id: str
) -> None:
    """Neither by their id nor by their pseudonym, and not as something that one has already."""
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=1)
    whose = "SELECT customer_id FROM customer_pseudonyms WHERE store_id = :s ORDER BY customer_id LIMIT 1"
    customer_id = await value(database, whose, s=store_id)
    named = "SELECT pseudonym FROM customer_pseudonyms WHERE store_id = :s AND customer_id = :c"
    pseudonym = await value(database, named, s=store_id, c=customer_id)
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(keeping(database, settings, store_id)) for _ in range(2)]
        known: list[tuple[Ask, str, str]] = []
        for app in apps:
            for scope, name in (("support", customer_id), ("analytics", pseudonym)):
                asking = await stack.enter_async_context(client(app, KEYS[scope]))
                for _ in range(2):
                    answer = await asking.get(PROFILE + name)
                    assert answer.status_code == 200
                known.append((asking, PROFILE + name, answer.headers["etag"]))
            assert len(app.state.resources.profiles) == 2
        officer = await stack.enter_async_context(client(apps[0], KEYS["privacy"]))
        erased = await officer.post("/api/privacy/erase", json={"customer_id": customer_id})
        assert (erased.status_code, erased.json()["receipts"][0]["state"]) == (200, "done")

        async def gone(asking: Ask, path: str, mark: str) -> bool:
            answers = [await asking.get(path), await asking.get(path, headers={"If-None-Match": mark})]
            return [answer.status_code for answer in answers] == [404, 404]

        here, there = known[:2], known[2:]
        for each in here:  # who has erased it tells it no more from that moment on
            assert await gone(*each)
        for each in there:  # it is told of it
            await until(partial(gone, *each))
        assert [len(app.state.resources.profiles) for app in apps] == [0, 0]
