"""Answers that take long to work out, worked out once: kept in this process, and in Redis for all processes.

A value that is missing is computed by one of those who ask for it while the others wait. Redis is asked for at most
`_PATIENCE_SECONDS`; one that does not answer in that time, or is away, is left alone until it answers again, and until
then each process keeps its own. What comes out of Redis is believed only if it bears our mark.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from cashews import Cache as Cashews
from cashews.exceptions import CacheError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.metrics import CACHE, REDIS_UP

log = structlog.get_logger()

#: For one answer of Redis. Over loopback it takes 0.2 ms.
_PATIENCE_SECONDS = 0.1
#: Between two looks whether it is back.
_LOOK_SECONDS = 1.0
#: What another process has computed is kept here no longer than this: it may have been read before a change that this
#: process has heard of already.
_OF_OTHERS_SECONDS = 30
#: How long the one who computes is waited for by other processes, and how often they look.
_WAIT_SECONDS, _STEP_SECONDS = 10.0, 0.02
_FORGET_SECONDS = 5.0
_MOST = 2_000
_PREFIX = "ci:2:"
_MARK_BYTES = 16
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
        self._shared: Cashews | None = None
        if redis_url is not None and enabled:
            self._shared = Cashews()
            self._shared.setup(
                redis_url,
                suppress=False,
                socket_timeout=_PATIENCE_SECONDS,
                socket_connect_timeout=_PATIENCE_SECONDS,
                wait_for_connection_timeout=_PATIENCE_SECONDS,
                health_check_interval=0,
                pickle_type="null",
            )
        # So it is taken to be until it has been reached.
        self._away = self._shared is not None
        self._said_away = False
        self._coming: dict[str, asyncio.Task[Kept]] = {}
        self._changed = dict[str | None, int]()
        self._to_forget = set[str | None]()
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
        self._to_forget.add(store_id)
        self._something_to_forget.set()

    async def run(self) -> None:
        """Forget what is to be forgotten in Redis and look whether it is back, until cancelled."""
        while self._shared is not None:
            self._something_to_forget.clear()
            if self._away and await self._asked(lambda shared: shared.ping(), even_if_away=True) is not None:
                self._to_forget.add(None)  # what changed while it was away it has not been told
            if self._to_forget and (not self._away or None in self._to_forget):
                await self._forget_shared()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._something_to_forget.wait()

    async def close(self) -> None:
        for each in (self._own, self._shared):
            if each is not None:
                with suppress(*_REDIS_AWAY):
                    await each.close()

    def _here(self, store_id: str, named: str) -> str:
        """The name under which a value is kept in this process: what was kept before a change is not found by it."""
        return f"{self._changed.get(None, 0)}:{self._changed.get(store_id, 0)}:{named}"

    def _end(self, here: str, done: "asyncio.Task[Kept]") -> None:
        self._coming.pop(here, None)
        if not done.cancelled():
            done.exception()  # told to those who waited, if any still do

    async def _obtain(self, store_id: str, here: str, named: str, compute: Compute) -> Kept:
        body = await self._from_others(named)
        seconds = _OF_OTHERS_SECONDS
        if body is None:
            token = secrets.token_hex(8)
            locked = await self._asked(lambda shared: shared.set_lock(f"{named}:lock", token, _WAIT_SECONDS))
            if locked is False:
                body = await self._waited_for(named)
            if body is None:
                body, seconds = await compute(), self._seconds
                if here == self._here(store_id, named):
                    marked = self._mark(named, body) + body
                    await self._asked(
                        lambda shared: shared.set(named, marked, expire=self._seconds, tags=[_PREFIX + store_id])
                    )
                if locked:
                    await self._asked(lambda shared: shared.unlock(f"{named}:lock", token))
        found = kept(body)
        await self._own.set(here, found, expire=min(seconds, self._seconds))
        return found

    async def _from_others(self, named: str) -> bytes | None:
        """What is kept in Redis; None where there is nothing, or nothing of ours."""
        if self._shared is None or self._away:
            return None
        value = await self._asked(lambda shared: shared.get(named))
        body = None
        if isinstance(value, bytes) and hmac.compare_digest(
            value[:_MARK_BYTES], self._mark(named, value[_MARK_BYTES:])
        ):
            body = value[_MARK_BYTES:]
        CACHE.labels("redis", "error" if self._away else "miss" if body is None else "hit").inc()
        return body

    async def _waited_for(self, named: str) -> bytes | None:
        """What another process is computing; None where it does not come."""
        until = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < until and not self._away:
            await asyncio.sleep(_STEP_SECONDS)
            if (body := await self._from_others(named)) is not None:
                return body
            if not await self._asked(lambda shared: shared.exists(f"{named}:lock")):
                return None
        return None

    async def _forget_shared(self) -> None:
        assert self._shared is not None  # noqa: S101
        forgotten, self._to_forget = self._to_forget, set()
        try:
            if None in forgotten:
                async with asyncio.timeout(_FORGET_SECONDS):
                    await self._shared.delete_match(f"{_PREFIX}*")
                if self._away:
                    self._away = self._said_away = False
                    REDIS_UP.labels("answers").set(1)
                    log.info("redis.back")
            else:
                async with asyncio.timeout(_FORGET_SECONDS):
                    await self._shared.delete_tags(*(f"{_PREFIX}{store_id}" for store_id in forgotten))
        except _REDIS_AWAY as error:
            self._lose(error)

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
        if not self._said_away:
            self._said_away = True
            REDIS_UP.labels("answers").set(0)
            log.warning(
                "redis.away",
                why=type(error.__cause__ or error).__name__,
                until="it answers, each process keeps its own",
            )

    def _mark(self, named: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, b"cache:v1:" + named.encode() + b"\0" + body, "sha256")[:_MARK_BYTES]


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
