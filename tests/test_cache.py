"""Answers are worked out once, shared through Redis, and dropped when something changes; Redis may do what it likes."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cashews import Cache as Cashews
from structlog.testing import capture_logs

from app import __version__
from app.cache import Cache, _connected, answers
from app.core.metrics import CACHE, REDIS_UP
from tests.faults.proxy import Mode, Proxy
from tests.redis_server import RedisServer
from tests.waiting import until

DOCUMENTED = Path(__file__).resolve().parents[1] / "docs" / "reference" / "REDIS_CACHING.md"
SECRET = b"what marks values"
#: For how long Redis is waited for in use, and where nothing is to be lost because a busy machine stands still.
PATIENCE_SECONDS, LONG_PATIENCE_SECONDS = 0.1, 5.0
#: So many who each waited in vain would take twice as long as all may.
MANY = 100
ALL_SECONDS = MANY * PATIENCE_SECONDS / 2


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else is said, and every connection: one that is made anew outlives the moment it is made in."""
    monkeypatch.setattr("app.cache._PATIENCE_SECONDS", LONG_PATIENCE_SECONDS)

    def connected(redis_url: str) -> Cashews:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("app.cache._PATIENCE_SECONDS", LONG_PATIENCE_SECONDS)
            return _connected(redis_url)

    monkeypatch.setattr("app.cache._connected", connected)


@contextmanager
def impatient() -> Iterator[None]:
    """As in use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cache._PATIENCE_SECONDS", PATIENCE_SECONDS)
        yield


@contextmanager
def standing_still(redis: RedisServer) -> Iterator[None]:
    """It answers nothing, and is not waited for longer than in use."""
    with impatient():
        redis.stand_still()
        try:
            yield
        finally:
            redis.go_on()


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    with redis_server.client() as client:
        client.flushall()
    return redis_server


def names(redis: RedisServer, pattern: str = "ci:*") -> list[bytes]:
    with redis.client() as client:
        return list(client.keys(pattern))


def era_of(store_id: str) -> str:
    return f"ci:{__version__}:{store_id}"


def held(redis: RedisServer) -> dict[bytes, bytes]:
    """All there is in it."""
    with redis.client() as client:
        return {name: client.get(name) or b"" for name in names(redis, "*")}


@asynccontextmanager
async def open_cache(redis: RedisServer | None = None, *, awaited: bool = True, **options: Any) -> AsyncIterator[Cache]:
    """awaited : until it has reached the Redis there is"""
    given = {"redis_url": redis.url if redis else None, "secret": SECRET, "seconds": 60, **options}
    cache = Cache(**given)
    looking = asyncio.create_task(cache.run())
    try:
        if awaited and redis is not None and redis.runs:
            await until(lambda: cache.state == "redis")
        yield cache
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await cache.close()


class Work:
    """Something that takes long: counts how often it is done. seconds : how long"""

    def __init__(self, told: bytes = b"{}", *, seconds: float = 0.0) -> None:
        self.told, self.seconds, self.n = told, seconds, 0

    async def __call__(self) -> bytes:
        self.n += 1
        await asyncio.sleep(self.seconds)
        return self.told


class Fails(Work):
    async def __call__(self) -> bytes:
        await super().__call__()
        raise ValueError("no")


def hits(cache: str, result: str) -> float:
    return float(CACHE.labels(cache, result)._value.get())


async def test_a_hundred_who_ask_at_once_have_it_worked_out_once() -> None:
    work = Work(b"told", seconds=0.05)
    async with open_cache() as cache:
        told = await asyncio.gather(*(cache.answer("s", "k", work) for _ in range(100)))
    assert work.n == 1
    assert {each.body for each in told} == {b"told"}


async def test_who_asks_for_something_else_is_answered_something_else() -> None:
    async with open_cache() as cache:
        assert (await cache.answer("s", "one", Work(b"1"))).body == b"1"
        assert (await cache.answer("s", "two", Work(b"2"))).body == b"2"
        assert (await cache.answer("t", "one", Work(b"3"))).body == b"3"


async def test_what_has_changed_is_worked_out_anew_and_other_stores_answers_stay() -> None:
    mine, others = Work(), Work()
    async with open_cache() as cache:
        for _ in range(2):
            await cache.answer("s", "k", mine)
            await cache.answer("t", "k", others)
        cache.forget("s")
        await cache.answer("s", "k", mine)
        await cache.answer("t", "k", others)
        assert (mine.n, others.n) == (2, 1)
        cache.forget(None)
        await cache.answer("t", "k", others)
        assert others.n == 2


async def test_what_changes_while_it_is_worked_out_is_not_kept() -> None:
    work = Work(seconds=0.1)
    async with open_cache() as cache:
        asking = asyncio.create_task(cache.answer("s", "k", work))
        await asyncio.sleep(0.02)
        cache.forget("s")
        await asking
        await cache.answer("s", "k", work)
    assert work.n == 2


async def test_an_answer_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    work, now = Work(), time.time()
    monkeypatch.setattr("cashews.backends.memory.time", SimpleNamespace(time=lambda: now))
    async with open_cache(seconds=60) as cache:
        await cache.answer("s", "k", work)
        now += 59
        await cache.answer("s", "k", work)
        assert work.n == 1
        now += 2
        await cache.answer("s", "k", work)
    assert work.n == 2


async def test_what_fails_is_told_to_all_who_wait_and_tried_again_by_the_next() -> None:
    work = Fails(seconds=0.02)
    async with open_cache() as cache:
        told = await asyncio.gather(*(cache.answer("s", "k", work) for _ in range(5)), return_exceptions=True)
        assert [type(each) for each in told] == [ValueError] * 5
        assert work.n == 1
        with pytest.raises(ValueError, match="no"):
            await cache.answer("s", "k", work)
        assert work.n == 2


async def test_who_began_it_may_go_away_and_the_others_are_answered() -> None:
    work = Work(b"told", seconds=0.1)
    async with open_cache() as cache:
        first = asyncio.create_task(cache.answer("s", "k", work))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(cache.answer("s", "k", work))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).body == b"told"
    assert work.n == 1


async def test_turned_off_nothing_is_kept() -> None:
    work = Work()
    async with open_cache(enabled=False) as cache:
        await cache.answer("s", "k", work)
        await cache.answer("s", "k", work)
        assert cache.state == "off"
    assert work.n == 2


async def test_what_one_process_has_worked_out_another_need_not(redis: RedisServer) -> None:
    work = Work(b"shared")
    async with open_cache(redis) as one, open_cache(redis) as other:
        before = hits("redis", "hit")
        assert (await one.answer("s", "k", work)).body == b"shared"
        assert (await other.answer("s", "k", work)).body == b"shared"
        assert one.state == "redis"
        assert hits("redis", "hit") == before + 1
    assert work.n == 1


async def test_processes_that_ask_at_once_have_it_worked_out_once(redis: RedisServer) -> None:
    work = Work(b"shared", seconds=0.1)
    async with open_cache(redis) as one, open_cache(redis) as other:
        told = await asyncio.gather(one.answer("s", "k", work), other.answer("s", "k", work))
    assert [each.body for each in told] == [b"shared", b"shared"]
    assert work.n == 1


async def test_what_fails_is_waited_for_by_nobody_in_any_process(redis: RedisServer) -> None:
    work = Fails()
    async with open_cache(redis) as one, open_cache(redis) as other:
        for cache in (one, one, other):
            async with asyncio.timeout(5):
                with pytest.raises(ValueError, match="no"):
                    await cache.answer("s", "k", work)
        assert not names(redis, "*:lock")
    assert work.n == 3


async def test_what_is_broken_off_at_the_end_of_a_process_is_waited_for_by_nobody(redis: RedisServer) -> None:
    async with open_cache(redis) as other:
        async with open_cache(redis) as one:
            asking = asyncio.create_task(one.answer("s", "k", Work(seconds=60)))
            await until(lambda: names(redis, "*:lock"))
        assert not names(redis, "*:lock")
        assert (await other.answer("s", "k", Work(b"told"))).body == b"told"
        with suppress(asyncio.CancelledError):
            await asking


async def test_a_lock_of_which_nobody_was_told_in_time_is_given_up_too(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_cache(redis) as cache:
        shared = cache._shared
        assert shared is not None
        lock = shared.set_lock

        async def told_late(*of: Any) -> None:
            await lock(*of)
            await asyncio.sleep(60)

        monkeypatch.setattr(shared, "set_lock", told_late)
        monkeypatch.setattr("app.cache._PATIENCE_SECONDS", 1.0)
        assert (await cache.answer("s", "k", Work(b"told"))).body == b"told"
        assert not names(redis, "*:lock")


async def test_a_change_is_forgotten_in_redis_too(redis: RedisServer) -> None:
    old, new, others = Work(b"old"), Work(b"new"), Work(b"others")
    async with open_cache(redis) as one, open_cache(redis) as other:
        await one.answer("s", "k", old)
        await one.answer("t", "k", others)
        one.forget("s")
        await until(lambda: not names(redis, era_of("s")))
        assert (await other.answer("s", "k", new)).body == b"new"
        assert (await other.answer("t", "k", new)).body == b"others"


async def test_what_was_worked_out_before_a_change_is_believed_by_nobody_however_late_it_is_put_there(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change comes when everything has been looked at and before it is written, to one who hears of it in time."""
    async with open_cache(redis) as one, open_cache(redis) as other, open_cache(redis) as third:
        shared = one._shared
        assert shared is not None
        await one.answer("s", "another", Work())
        write = shared.set

        async def late(*of: Any, **more: Any) -> Any:
            other.forget("s")
            one.forget("s")
            await until(lambda: not other._to_forget)
            return await write(*of, **more)

        monkeypatch.setattr(shared, "set", late)
        assert (await one.answer("s", "k", Work(b"old"))).body == b"old"
        monkeypatch.setattr(shared, "set", write)
        assert [name for name in names(redis) if name.endswith(b":k")]
        assert (await third.answer("s", "k", Work(b"new"))).body == b"new"


async def test_what_one_has_heard_of_it_is_told_by_nobody_else_as_it_was_before(redis: RedisServer) -> None:
    """Not even at once, when Redis has not been told yet."""
    async with open_cache(redis) as one, open_cache(redis) as other:
        await other.answer("s", "k", Work(b"old"))
        one.forget("s")
        assert (await one.answer("s", "k", Work(b"new"))).body == b"new"


async def test_what_there_is_in_redis_is_what_is_documented(redis: RedisServer) -> None:
    told = DOCUMENTED.read_text().partition("| key | holds |\n| --- | --- |\n")[2].partition("\n\n")[0]
    answer, lock, *eras = re.findall(r"^\|[^|`]*`([^`]+)`", told, flags=re.MULTILINE)
    found = set[bytes]()

    class Looks(Work):
        async def __call__(self) -> bytes:
            found.update(names(redis, "*"))
            return await super().__call__()

    async with open_cache(redis) as cache:
        await cache.answer("STORE", answer.removeprefix("ci:VERSION:STORE:"), Looks())
    found.update(names(redis, "*"))
    documented = {each.replace("VERSION", __version__).encode() for each in (answer, answer + lock, *eras)}
    assert found == documented


async def test_another_version_finds_nothing_of_ours(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_cache(redis) as ours:
        await ours.answer("s", "k", Work(b"ours"))
        assert all(name.startswith(f"ci:{__version__}:".encode()) for name in names(redis, "*"))
        monkeypatch.setattr("app.cache._PREFIX", "ci:99.0.0:")
        async with open_cache(redis) as theirs:
            assert (await theirs.answer("s", "k", Work(b"theirs"))).body == b"theirs"


@pytest.mark.parametrize(
    "garbage",
    [b"", b"garbage", b"bytes:" + b"\x00" * 40, b"\x80\x04\x95garbage", b"12345", b"bytes:{}"],
    ids=["empty", "words", "no mark", "a pickle", "a number", "an old form"],
)
async def test_a_value_that_is_not_ours_is_a_miss(redis: RedisServer, garbage: bytes) -> None:
    async with open_cache(redis) as one:
        await one.answer("s", "k", Work(b"ours"))
    (name,) = [each for each in names(redis) if b":k" in each]
    with redis.client() as client:
        client.set(name, garbage)
    async with open_cache(redis) as other:
        assert (await other.answer("s", "k", Work(b"anew"))).body == b"anew"


async def test_a_value_of_another_name_or_made_with_another_secret_is_a_miss(redis: RedisServer) -> None:
    async with open_cache(redis) as one:
        await one.answer("s", "k", Work(b"of k"))
        await one.answer("s", "j", Work(b"of j"))
    of_k, of_j = (next(each for each in names(redis) if each.endswith(b":" + name)) for name in (b"k", b"j"))
    with redis.client() as client:
        client.set(of_k, client.get(of_j) or b"")
    async with open_cache(redis) as other:
        assert (await other.answer("s", "k", Work(b"anew"))).body == b"anew"
    async with open_cache(redis, secret=b"another") as stranger:
        assert (await stranger.answer("s", "j", Work(b"anew"))).body == b"anew"


async def test_a_redis_that_is_killed_costs_no_error_and_is_used_again_when_it_is_back(redis: RedisServer) -> None:
    work = Work(b"told")
    async with open_cache(redis) as cache:
        await cache.answer("s", "before", work)
        redis.kill()
        try:
            began = time.monotonic()
            with impatient():
                for number in range(MANY):
                    assert (await cache.answer("s", f"k{number}", work)).body == b"told"
            assert time.monotonic() - began < ALL_SECONDS
            assert cache.state == "degraded"
            n = work.n
            await cache.answer("s", "k0", work)
            assert work.n == n  # kept in this process
        finally:
            redis.start()
        await until(lambda: cache.state == "redis")
        await cache.answer("s", "after", work)
        assert [each for each in names(redis) if each.endswith(b":after")]


async def test_a_redis_that_was_begun_again_is_lost_once_and_not_once_for_each_connection(redis: RedisServer) -> None:
    async with open_cache(redis) as cache:
        await asyncio.gather(*(cache.answer("s", f"k{number}", Work(seconds=0.05)) for number in range(8)))
        redis.kill()
        await cache.answer("s", "meanwhile", Work())
        redis.start()
        with capture_logs() as log:
            await until(lambda: cache.state == "redis")
            await asyncio.gather(*(cache.answer("s", f"j{number}", Work(seconds=0.05)) for number in range(8)))
        assert [line["event"] for line in log] == ["redis.back"]


async def test_a_redis_that_answers_nothing_costs_one_wait_and_is_left_alone(redis: RedisServer) -> None:
    work = Work(b"told")
    async with open_cache(redis) as cache:
        await cache.answer("s", "before", work)
        with standing_still(redis):
            began = time.monotonic()
            await cache.answer("s", "first", work)
            for number in range(MANY):
                await cache.answer("s", f"k{number}", work)
            assert time.monotonic() - began < ALL_SECONDS
            assert cache.state == "degraded"
        await until(lambda: cache.state == "redis")


async def test_what_changed_while_redis_was_away_is_not_found_there_afterwards(redis: RedisServer) -> None:
    async with open_cache(redis) as cache:
        await cache.answer("s", "k", Work(b"old"))
        with standing_still(redis):
            await cache.answer("s", "other", Work())
            assert cache.state == "degraded"
            cache.forget("s")
        await until(lambda: cache.state == "redis")
        assert (await cache.answer("s", "k", Work(b"new"))).body == b"new"


async def test_a_redis_that_was_slow_for_a_moment_has_lost_nothing_but_what_changed(redis: RedisServer) -> None:
    async with open_cache(redis) as one, open_cache(redis) as other:
        await other.answer("s", "k", Work(b"of s"))
        await other.answer("t", "k", Work(b"of t"))
        with standing_still(redis):
            await one.answer("s", "another", Work())
            assert one.state == "degraded"
            one.forget("s")
        await until(lambda: one.state == "redis")
        assert (await one.answer("t", "k", Work(b"anew"))).body == b"of t"
        assert (await one.answer("s", "k", Work(b"anew"))).body == b"anew"


async def test_a_redis_that_comes_back_with_what_it_held_once_is_not_believed(redis: RedisServer) -> None:
    """As one does that was copied before a change, and has taken the place of the one that was told of it."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy("127.0.0.1", redis.port))
        there = f"redis://127.0.0.1:{proxy.port}/0"
        cache = await stack.enter_async_context(open_cache(redis, redis_url=there))
        other = await stack.enter_async_context(open_cache(redis))
        await cache.answer("s", "k", Work(b"old"))
        copied = held(redis)
        cache.forget("s")
        assert (await cache.answer("s", "k", Work(b"new"))).body == b"new"
        proxy.fail(Mode.cut)
        await cache.answer("s", "another", Work())
        assert cache.state == "degraded"
        with redis.client() as client:
            client.flushall()
            client.mset({**copied})
        proxy.fail(Mode.open)
        await until(lambda: cache.state == "redis")
        assert (await other.answer("s", "k", Work(b"newest"))).body == b"newest"


async def test_what_changed_while_redis_was_away_from_the_start_is_told_it_in_the_end(redis: RedisServer) -> None:
    async with open_cache(redis) as other:
        await other.answer("s", "k", Work(b"old"))
    async with AsyncExitStack() as stack:
        with standing_still(redis):
            cache = await stack.enter_async_context(open_cache(redis, awaited=False))
            await until(lambda: cache._said_away)
            cache.forget("s")
        await until(lambda: cache.state == "redis")
        assert (await cache.answer("s", "k", Work(b"new"))).body == b"new"


async def test_a_redis_without_memory_costs_no_error(redis: RedisServer) -> None:
    with redis.client() as client:
        client.config_set("maxmemory", "1")
        try:
            async with open_cache(redis) as cache:
                assert (await cache.answer("s", "k", Work(b"told"))).body == b"told"
                assert (await cache.answer("s", "k", Work(b"anew"))).body == b"told"
        finally:
            client.config_set("maxmemory", "0")


async def test_whether_a_redis_answers_can_be_asked(redis: RedisServer) -> None:
    assert await answers(redis.url)
    assert not await answers(RedisServer().url)


async def test_a_redis_that_was_never_there_costs_no_error_and_is_told_to_be_away_once() -> None:
    nowhere = RedisServer()
    with capture_logs() as log:
        async with open_cache(nowhere) as cache:
            await until(lambda: log)
            assert REDIS_UP.labels("answers")._value.get() == 0
            for _ in range(2):
                await cache.answer("s", "k", Work())
                cache.forget("s")
    assert [line["event"] for line in log] == ["redis.away"]
    async with open_cache(nowhere) as cache:
        assert (await cache.answer("s", "k", Work(b"told"))).body == b"told"
        assert cache.state == "degraded"
