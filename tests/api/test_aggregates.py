"""What tells of a shop as a whole is worked out once, is the same for everyone of a view, and says when it is."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from fastapi import FastAPI

from app.api.aggregates import AggregateRoute
from app.api.routes import ROUTERS
from app.core.config import Settings
from app.main import create_app
from app.resources import Resources
from app.warehouse.announcements import announce
from app.warehouse.engine import Database
from app.warehouse.readers import Readers
from tests.api.conftest import KEYS, Clients, client, resources_for
from tests.waiting import until

PROFILE = "/api/mcp/customer/C0000001"


@pytest.fixture
async def keeping(database: Database, settings: Settings, shop: str) -> AsyncIterator[tuple[FastAPI, Resources]]:
    """The app as it is in use: it keeps what it answers."""
    resources = resources_for(database, settings.model_copy(update={"enable_cache": True}), shop)
    app = create_app(resources=resources)
    async with app.router.lifespan_context(app):
        resources = app.state.resources
        await until(lambda: resources.hearing.now)
        yield app, resources


@pytest.fixture
async def ask(keeping: tuple[FastAPI, Resources]) -> AsyncIterator[Clients]:
    app, _ = keeping
    async with AsyncExitStack() as stack:
        opened = {name: await stack.enter_async_context(client(app, key)) for name, key in KEYS.items()}
        yield Clients(**opened, nobody=await stack.enter_async_context(client(app)))


class Reads:
    """How often the database was read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n = 0
        fetch = Readers.fetch

        async def counted(readers: Readers, *of: object) -> object:
            self.n += 1
            return await fetch(readers, *of)  # type: ignore[arg-type]

        monkeypatch.setattr(Readers, "fetch", counted)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


ROUTES = [
    *("/api/mcp/archetypes/top", "/api/mcp/segments", "/api/mcp/segments/axes", "/api/mcp/segments/rfm"),
    *("/api/mcp/churn/aggregate", "/api/mcp/growth/projection?months=3", "/api/mcp/revenue/forecast"),
    *("/api/analytics/cohorts", "/api/analytics/anomalies", "/api/models", "/api/models/churn/backtest"),
]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("whose", ["support", "analytics"])
async def test_asked_again_it_is_the_same_and_reads_nothing(ask: Clients, reads: Reads, path: str, whose: str) -> None:
    first = await getattr(ask, whose).get(path)
    assert first.status_code == 200
    reads.n = 0
    again = await getattr(ask, whose).get(path)
    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]
    assert reads.n == 0


@pytest.mark.parametrize("path", ROUTES)
async def test_kept_or_not_the_answer_is_the_same(
    ask: Clients, database: Database, settings: Settings, shop: str, path: str
) -> None:
    plain = create_app(resources=resources_for(database, settings, shop))
    async with plain.router.lifespan_context(plain):
        for whose in ("support", "analytics"):
            async with client(plain, KEYS[whose]) as asking:
                unkept = (await asking.get(path)).json()
            assert (await getattr(ask, whose).get(path)).json() == unkept


async def test_a_view_never_gets_what_was_kept_for_another(ask: Clients) -> None:
    for path in ROUTES:
        seen = (await ask.support.get(path)).content
        hidden = await ask.analytics.get(path)
        assert hidden.status_code == 200
        assert (await ask.support.get(path)).content == seen
        assert (await ask.campaigns.get(path)).content == hidden.content


async def test_keys_and_scopes_are_checked_before_anything_kept_is_told(ask: Clients) -> None:
    assert (await ask.support.get(ROUTES[0])).status_code == 200
    assert (await ask.nobody.get(ROUTES[0])).status_code == 401
    assert (await ask.privacy.get(ROUTES[0])).status_code == 403


async def test_parameters_make_another_answer_and_what_is_none_does_not(ask: Clients, reads: Reads) -> None:
    two = (await ask.support.get("/api/mcp/archetypes/top?limit=2")).json()
    three = (await ask.support.get("/api/mcp/archetypes/top?limit=3")).json()
    assert (len(two["archetypes"]), len(three["archetypes"])) == (2, 3)
    reads.n = 0
    assert (await ask.support.get("/api/mcp/archetypes/top?nothing=known&limit=2")).json() == two
    assert reads.n == 0


async def test_of_a_parameter_that_is_given_twice_the_last_counts_kept_or_not(ask: Clients) -> None:
    for limits in ((1, 2), (2, 1)):
        asked = "&".join(f"limit={limit}" for limit in limits)
        for _ in range(2):
            told = (await ask.support.get(f"/api/mcp/archetypes/top?{asked}")).json()
            assert len(told["archetypes"]) == limits[-1]


async def test_what_makes_no_sense_is_refused_however_often(ask: Clients) -> None:
    for _ in range(2):
        assert (await ask.support.get("/api/mcp/archetypes/top?limit=0")).status_code == 422
        assert (await ask.support.get("/api/mcp/segments/axes/nonsense")).status_code == 404


async def test_a_crowd_at_the_first_miss_has_it_worked_out_once(ask: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.api.archetypes import service

    n, top = 0, service.top

    async def slow(*of: object, **more: object) -> object:
        nonlocal n
        n += 1
        await asyncio.sleep(0.1)
        return await top(*of, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(service, "top", slow)
    told = await asyncio.gather(*(ask.support.get("/api/mcp/archetypes/top?limit=7") for _ in range(32)))
    assert {each.status_code for each in told} == {200}
    assert len({each.content for each in told}) == 1
    assert n == 1


async def test_a_change_is_seen_by_whoever_asks_next(
    ask: Clients, keeping: tuple[FastAPI, Resources], database: Database, shop: str, reads: Reads
) -> None:
    _, resources = keeping
    await ask.support.get(ROUTES[0])
    generation = resources.hearing.generation
    async with database.transaction() as connection:
        await announce(connection, shop)
    await until(lambda: resources.hearing.generation > generation)
    reads.n = 0
    assert (await ask.support.get(ROUTES[0])).status_code == 200
    assert reads.n > 0


async def test_while_changes_are_not_heard_of_everything_is_read_anew(
    ask: Clients, keeping: tuple[FastAPI, Resources], reads: Reads
) -> None:
    _, resources = keeping
    await ask.support.get(ROUTES[0])
    await ask.support.get(PROFILE)
    resources.hearing.now = False
    resources.hearing.tell(None)
    for path in (ROUTES[0], PROFILE):
        for _ in range(2):
            reads.n = 0
            assert (await ask.support.get(path)).status_code == 200
            assert reads.n > 0
    resources.hearing.now = True


@pytest.mark.parametrize("path", [ROUTES[0], PROFILE, f"{PROFILE}?exclude=churn"])
@pytest.mark.parametrize("whose", ["support", "analytics"])
async def test_who_has_an_answer_already_is_told_so(ask: Clients, path: str, whose: str) -> None:
    asking = getattr(ask, whose)
    if whose == "analytics":
        pseudonym = (await ask.support.get(PROFILE)).json()["pseudonym"]
        path = path.replace("C0000001", pseudonym)
    for _ in range(2):
        answer = await asking.get(path)
        tag = answer.headers["etag"]
        for same in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            told = await asking.get(path, headers={"If-None-Match": same})
            assert (told.status_code, told.content) == (304, b"")
            assert told.headers["etag"] == tag
        assert (await asking.get(path, headers={"If-None-Match": '"other"'})).content == answer.content


async def test_a_browser_keeps_what_names_nobody_and_asks_each_time(ask: Clients) -> None:
    assert (await ask.support.get(ROUTES[0])).headers["cache-control"] == "no-store"
    told = await ask.analytics.get(ROUTES[0])
    assert told.headers["cache-control"] == "private, no-cache"
    assert "X-API-Key" in told.headers["vary"]


async def test_a_long_answer_is_packed_for_who_can_unpack_it(ask: Clients) -> None:
    plain = await ask.support.get(ROUTES[2], headers={"Accept-Encoding": "identity"})
    packed = await ask.support.get(ROUTES[2], headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.headers["etag"] == plain.headers["etag"]


async def test_a_kept_profile_is_the_same_is_counted_and_its_reading_is_noted(
    ask: Clients, keeping: tuple[FastAPI, Resources], reads: Reads
) -> None:
    _, resources = keeping
    first = await ask.support.get(PROFILE)
    reads.n = 0
    noted = len(resources.audit)
    again = await ask.support.get(PROFILE)
    assert again.content == first.content
    assert reads.n == 0
    assert len(resources.audit) == noted + 1


async def test_a_profile_scored_anew_is_told_anew_at_once(ask: Clients) -> None:
    before = (await ask.support.get(PROFILE)).json()
    refreshed = (await ask.support.post(f"{PROFILE}/refresh")).json()
    assert (await ask.support.get(PROFILE)).json() == refreshed
    assert refreshed["customer_id"] == before["customer_id"]


def test_no_route_that_lists_people_is_kept() -> None:
    """Whose identities are seen is noted each time, and that is where they are read."""
    kept = [route.path_format for router in ROUTERS for route in router.routes if isinstance(route, AggregateRoute)]
    assert len(kept) >= 15
    for listing in ("/members", "/at-risk", "/search", "/customer", "/orders"):
        assert not [path for path in kept if listing in path]


async def test_flushing_forgets_what_is_kept(ask: Clients, reads: Reads) -> None:
    await ask.support.get(PROFILE)
    told = (await ask.admin.post("/api/admin/cache/flush")).json()
    assert told["profiles"] >= 1
    reads.n = 0
    await ask.support.get(PROFILE)
    assert reads.n > 0
    assert json.dumps(told)
