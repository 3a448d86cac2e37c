"""Answers that take long to work out, worked out once: kept in this process, and in Redis for all processes.

A value that is missing is computed by one of those who ask for it while the others wait. Redis is asked for at most
`_PATIENCE_SECONDS`; one that does not answer in that time, or is away, is left alone until it answers again, and until
then each process keeps its own.

What comes out of Redis is believed only if it bears our mark, and that is made with the eras it was worked out in: two
random words in Redis, one of its store and one of all, read before anything is computed. A change ends them. So what
was computed before a change is believed by nobody who has heard of it, however late it is put there.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from cashews import Cache as Cashews
from cashews.exceptions import CacheError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTooSlow

from app import __version__
from app.core.metrics import CACHE, REDIS_UP

log = structlog.get_logger()

#: For one answer of Redis. Over loopback it takes 0.2 ms.
_PATIENCE_SECONDS = 0.1
#: Between two looks whether it is back.
_LOOK_SECONDS = 1.0
#: What another process has computed is kept here no longer than this: in Redis it may have grown old already.
_OF_OTHERS_SECONDS = 30
#: How long the one who computes is waited for by other processes, and how often they look.
_WAIT_SECONDS, _STEP_SECONDS = 10.0, 0.02
_MOST = 2_000
#: Another version may answer in another form, and both serve while the one takes the place of the other.
_PREFIX = f"ci:{__version__}:"
_MARK_BYTES = _ERA_BYTES = 16
#: So that those of a store nobody asks for any more do not stay.
_ERA_SECONDS = 7 * 24 * 3600
_REDIS_AWAY = (CacheError, RedisError, OSError, TimeoutError)

Compute = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and the mark by which a client may ask whether it is still the same."""

    body: bytes
    etag: str


class Cache:
    """store_id, key : what an answer is of; key holds the run it is of and everything it depends on

    redis_url : where answers are shared; None for this process alone
    secret    : what marks what is put there
    """

    def __init__(self, *, redis_url: str | None, secret: bytes, seconds: int, enabled: bool = True) -> None:
        self._secret, self._seconds, self._enabled = secret, seconds, enabled
        self._own = Cashews()
        self._own.setup(f"mem://?size={_MOST}&check_interval=0")
        self._redis_url = redis_url or ""
        self._shared = _connected(self._redis_url) if redis_url is not None and enabled else None
        # So it is taken to be until it has been reached.
        self._away = self._shared is not None
        self._said_away = False
        self._coming: dict[str, asyncio.Task[Kept]] = {}
        self._changed = dict[str | None, int]()
        # Whose era is to be ended, each with a token of when that was found. What changed before there was this
        # process, nobody may have heard of.
        self._to_forget: dict[str | None, object] = {None: object()}
        self._something_to_forget = asyncio.Event()

    @property
    def state(self) -> Literal["redis", "memory", "degraded", "off"]:
        """off, memory (Redis is not asked for), redis, or degraded (Redis is away)."""
        if not self._enabled:
            return "off"
        if self._shared is None:
            return "memory"
        return "degraded" if self._away else "redis"

    async def answer(self, store_id: str, key: str, compute: Compute) -> Kept:
        """What is kept, or what compute returns, which then is kept. Raises what compute raises."""
        if not self._enabled:
            return kept(await compute())
        named = f"{_PREFIX}{store_id}:{key}"
        here = self._here(store_id, named)
        found: Kept | None = await self._own.get(here)
        CACHE.labels("answers", "miss" if found is None else "hit").inc()
        if found is not None:
            return found
        coming = self._coming.get(here)
        if coming is None:
            # A task of its own: whoever began it may be cut off, and the others still wait for it.
            coming = asyncio.create_task(self._obtain(store_id, here, named, compute))
            self._coming[here] = coming
            coming.add_done_callback(lambda done: self._end(here, done))
        return await asyncio.shield(coming)

    def forget(self, store_id: str | None) -> None:
        """Drop what is kept of a store, or everything: here at once, in Redis in a moment."""
        self._changed[store_id] = self._changed.get(store_id, 0) + 1
        self._to_forget[store_id] = object()
        self._something_to_forget.set()

    async def run(self) -> None:
        """Forget what is to be forgotten in Redis and look whether it is back, until cancelled."""
        while self._shared is not None:
            self._something_to_forget.clear()
            if self._away or self._to_forget:
                await self._catch_up()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._something_to_forget.wait()

    async def close(self) -> None:
        """What is being worked out is broken off, and its lock given up, or others would wait for it."""
        coming = list(self._coming.values())
        for each in coming:
            each.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        for kept_in in (self._own, self._shared):
            if kept_in is not None:
                with suppress(*_REDIS_AWAY):
                    await kept_in.close()

    def _here(self, store_id: str, named: str) -> str:
        """The name under which a value is kept in this process: what was kept before a change is not found by it."""
        return f"{self._changed.get(None, 0)}:{self._changed.get(store_id, 0)}:{named}"

    def _end(self, here: str, done: "asyncio.Task[Kept]") -> None:
        self._coming.pop(here, None)
        if not done.cancelled():
            done.exception()  # told to those who waited, if any still do

    async def _obtain(self, store_id: str, here: str, named: str, compute: Compute) -> Kept:
        body, eras = await self._from_others(store_id, named)
        seconds, token = _OF_OTHERS_SECONDS, ""
        try:
            if body is None and eras is not None:
                token = secrets.token_hex(8)
                if await self._asked(lambda shared: shared.set_lock(f"{named}:lock", token, _WAIT_SECONDS)) is False:
                    token = ""
                    body, eras = await self._waited_for(store_id, named)
            if body is None:
                body, seconds = await compute(), self._seconds
                if eras is not None:
                    marked = self._mark(named, eras, body) + body
                    await self._asked(lambda shared: shared.set(named, marked, expire=self._seconds))
        finally:
            if token:  # also where it was not told in time whether we have the lock
                await self._asked(lambda shared: shared.unlock(f"{named}:lock", token), even_if_away=True)
        found = kept(body)
        await self._own.set(here, found, expire=min(seconds, self._seconds))
        return found

    async def _from_others(self, store_id: str, named: str) -> tuple[bytes | None, bytes | None]:
        """What is kept in Redis, None where there is nothing, or nothing of ours; and the eras it is now, None where
        nothing may be put there.
        """
        if self._shared is None or self._away:
            return None, None
        if self._to_forget:
            await self._catch_up()
        value, *found = await self._look(named, _era_of(None), _era_of(store_id))
        body = eras = None
        # What has changed while it was asked is not told there yet.
        if not self._to_forget and [isinstance(each, bytes) and len(each) for each in found] == [_ERA_BYTES] * 2:
            eras = b"".join(found)
            if isinstance(value, bytes) and hmac.compare_digest(
                value[:_MARK_BYTES], self._mark(named, eras, value[_MARK_BYTES:])
            ):
                body = value[_MARK_BYTES:]
        CACHE.labels("redis", "error" if self._away else "miss" if body is None else "hit").inc()
        return body, eras

    async def _look(self, named: str, *eras: str) -> Sequence[Any]:
        """What Redis holds under a name, and the eras, begun where there is none; nothing where it does not answer."""
        found = await self._asked(lambda shared: shared.get_many(named, *eras))
        if found and None in found[1:]:
            await self._asked(lambda shared: _begin(shared, eras))
            found = await self._asked(lambda shared: shared.get_many(named, *eras))
        return found or (None,)

    async def _waited_for(self, store_id: str, named: str) -> tuple[bytes | None, bytes | None]:
        """What another process is computing, None where it does not come; and the eras it is by then."""
        until = time.monotonic() + _WAIT_SECONDS
        eras = None
        while time.monotonic() < until and not self._away:
            await asyncio.sleep(_STEP_SECONDS)
            body, eras = await self._from_others(store_id, named)
            if body is not None or not await self._asked(lambda shared: shared.exists(f"{named}:lock")):
                return body, eras
        return None, eras

    async def _catch_up(self) -> None:
        """Tell Redis of every change it has not been told of. If it takes that, it is not away."""
        if self._away and self._shared is not None:
            # By new connections: each that has died since would be taken for a Redis that is away once more.
            before, self._shared = self._shared, _connected(self._redis_url)
            with suppress(*_REDIS_AWAY):
                await before.close()
        told = dict(self._to_forget)
        if not await self._asked(lambda shared: _end_eras(shared, told), even_if_away=True):
            return
        for store_id, found in told.items():
            if self._to_forget.get(store_id) is found:  # else it has changed once more meanwhile
                del self._to_forget[store_id]
        if self._away:
            self._away = self._said_away = False
            REDIS_UP.labels("answers").set(1)
            log.info("redis.back")

    async def _asked(self, ask: Callable[[Cashews], Awaitable[Any]], *, even_if_away: bool = False) -> Any:
        """What Redis answers; None where it does not."""
        if self._shared is None or (self._away and not even_if_away):
            return None
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await ask(self._shared)
        except _REDIS_AWAY as error:
            self._lose(error)
            return None

    def _lose(self, error: BaseException) -> None:
        self._away = True
        cause = error if isinstance(error, TimeoutError) else error.__cause__ or error
        if not isinstance(cause, (TimeoutError, RedisTooSlow)):
            # It may come back with what it held a while ago, or another in its place; one that is slow forgets nothing.
            self._to_forget[None] = object()
        if not self._said_away:
            self._said_away = True
            REDIS_UP.labels("answers").set(0)
            log.warning(
                "redis.away",
                why=type(cause).__name__,
                until="it answers, each process keeps its own",
            )

    def _mark(self, named: str, eras: bytes, body: bytes) -> bytes:
        return hmac.digest(self._secret, b"cache:v2:" + eras + named.encode() + b"\0" + body, "sha256")[:_MARK_BYTES]


def _connected(redis_url: str) -> Cashews:
    shared = Cashews()
    shared.setup(
        redis_url,
        suppress=False,
        socket_timeout=_PATIENCE_SECONDS,
        socket_connect_timeout=_PATIENCE_SECONDS,
        wait_for_connection_timeout=_PATIENCE_SECONDS,
        health_check_interval=0,
        pickle_type="null",
    )
    return shared


def _era_of(store_id: str | None) -> str:
    """Where in Redis it is kept; None for that of all stores."""
    return _PREFIX + (store_id or "")


async def _begin(shared: Cashews, eras: Iterable[str]) -> None:
    words = {era: secrets.token_bytes(_ERA_BYTES) for era in eras}
    # Where another was quicker, it is theirs.
    await asyncio.gather(*(shared.set(era, word, expire=_ERA_SECONDS, exist=False) for era, word in words.items()))


async def _end_eras(shared: Cashews, of: Iterable[str | None]) -> bool:
    names = [_era_of(store_id) for store_id in of]
    # Deleted, which a Redis that is full does too. Whoever needs an era begins one, and it is another.
    await (shared.delete_many(*names) if names else shared.ping())
    return True


async def answers(redis_url: str) -> bool:
    """Whether there is a Redis at that address."""
    client = Redis.from_url(redis_url, socket_timeout=_LOOK_SECONDS, socket_connect_timeout=_LOOK_SECONDS)
    try:
        return bool(await client.ping())
    except _REDIS_AWAY:
        return False
    finally:
        await client.aclose()


def kept(body: bytes) -> Kept:
    return Kept(body, etag_of(body))


def etag_of(body: bytes) -> str:
    """Weak, as the same answer may be sent packed or not."""
    return f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
