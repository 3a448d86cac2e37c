"""Opens what a process stands on, once, and closes it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from app.audit import Audit
from app.cache import Cache
from app.core.config import Settings
from app.core.errors import AppError, Unavailable
from app.core.keys import BootstrapKeys, Caller, Scope
from app.core.secrets_file import ServingKeys, id_hash_secret, serving_keys
from app.domain.profile_form import ProfileForm
from app.embedded import EmbeddedPostgres
from app.hearing import Hearing
from app.keyring import USES_SECONDS, Keyring
from app.limits import Limits
from app.profile_cache import ProfileCache
from app.warehouse.announcements import Change
from app.warehouse.archetypes import SmallGroups
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from app.warehouse.pseudonyms import name_everyone, store_ids
from app.warehouse.stores import read_served

if TYPE_CHECKING:
    from app.warehouse.predictions import PredictedOfKinds, ServedChurn

log = structlog.get_logger()

_RETRY_SECONDS = 1.0


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of DATABASE_URL; where that is unset, the embedded one under DATA_DIR.

    Raises DatabaseUnavailable or EmbeddedDatabaseError.
    """
    if settings.database_url is not None:
        database = Database(settings.database_url, settings)
        try:
            yield database
        finally:
            await database.close()
        return
    with EmbeddedPostgres(settings.data_dir) as url:
        database = Database(url, settings)
        try:
            yield database
        finally:
            await database.close()


@dataclass(slots=True)
class Resources:
    """What serving stands on.

    secret   : what pseudonyms and cursors are made with
    prepared : whether the database has the shape the code expects and everyone in it a pseudonym
    forms    : what the profiles of a run have in common, by run
    small    : the groups too small to be shown by themselves, by store and run: a run's never change
    churn    : what tells risks, by training: it never changes either
    foretold : what is predicted of the archetypes of a run, by run and training
    signs_read_at : when it was last begun to read how things stand, for the metrics, on the monotonic clock
    signs_reading : held while that is read
    signs_told    : the stores of which it was told
    """

    settings: Settings
    database: Database
    secret: bytes
    keys: BootstrapKeys
    prepared: bool = False
    forms: dict[int, ProfileForm] = field(default_factory=dict)
    small: dict[tuple[str, int], SmallGroups] = field(default_factory=dict)
    churn: dict[int, "ServedChurn"] = field(default_factory=dict)
    foretold: dict[tuple[int, int], "PredictedOfKinds"] = field(default_factory=dict)
    signs_read_at: float = -float("inf")
    signs_reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    signs_told: set[str] = field(default_factory=set)
    hearing: Hearing = field(init=False)
    keyring: Keyring = field(init=False)
    profiles: ProfileCache = field(init=False)
    cache: Cache = field(init=False)
    audit: Audit = field(init=False)
    limits: Limits = field(init=False)
    _served: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.hearing = Hearing(self.database)
        self.keyring = Keyring(self.database, self.keys, self.hearing)
        self.profiles = ProfileCache(self.hearing, enabled=settings.enable_cache)
        self.cache = Cache(
            redis_url=None if settings.redis_url is None else settings.redis_url.get_secret_value(),
            secret=self.secret,
            seconds=settings.cache_ttl,
            enabled=settings.enable_cache,
        )
        self.audit = Audit(self.database)
        self.limits = Limits(settings.rate_limit_per_minute, failures=settings.failed_keys_per_minute)
        self.hearing.forgetting(self._forget)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Hear what changes, look after Redis, and write what is noted, until the block ends."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.cache.close)
            stack.push_async_callback(self.audit.close)
            for work in (self.hearing.run, self.cache.run, self.audit.run, self._note_uses):
                task = asyncio.create_task(_kept_up(work))
                stack.push_async_callback(_end, task)
            yield

    async def served_runs(self, store_id: str) -> str | None:
        """Which run and which predictions of a store are served, as a word for what is read of them; None where nothing
        that is read may be kept: there is no such store, or changes are not heard of.
        """
        if not self.hearing.now:
            return None
        known = self._served.get(store_id)
        if known is None:
            generation = self.hearing.generation
            row = await read_served(self.database, store_id)
            if row is None:
                return None
            known = f"{row['served_run_id']}.{row['served_prediction_id']}"
            if generation == self.hearing.generation:
                self._served[store_id] = known
        return known

    def _forget(self, change: Change | None) -> None:
        if change is None:
            self._served.clear()
            self.cache.forget(None)
        elif change.store_id is not None and not change.customer_ids:
            self._served.pop(change.store_id, None)
            self.cache.forget(change.store_id)

    async def _note_uses(self) -> None:
        while True:
            await asyncio.sleep(USES_SECONDS)
            with suppress(Unavailable):
                await self.keyring.note_uses()

    def for_requests(self) -> "Resources":
        """The same, with a database that nobody waits for longer than one waits for an answer."""
        return replace(self, database=self.database.for_requests())

    async def prepare(self) -> None:
        """Migrate, and name whoever was imported before there were pseudonyms. Raises DatabaseUnavailable."""
        database = self.database.for_work()
        await migrate(database)
        async with database.snapshot() as connection:
            stores = await store_ids(connection)
        for store_id in stores:
            async with database.transaction() as connection:
                n_named = await name_everyone(connection, store_id, self.secret)
            if n_named:
                log.info("pseudonyms.given", store_id=store_id, n_customers=n_named)
        self.prepared = True

    async def prepare_when_possible(self) -> None:
        """`prepare`, tried again until it succeeds. What stands in the way is logged when it is something new."""
        said = ""
        while not self.prepared:
            try:
                await self.prepare()
            except Exception as error:  # a database of another version, for instance, which somebody may mend
                # What an error that is not ours says may be somebody's data.
                why = str(error) if isinstance(error, AppError) else type(error).__name__
                if why != said:
                    if isinstance(error, Unavailable):
                        log.warning("database.not_ready", why=why)
                    else:
                        log.error("database.not_ready", why=why, exc_info=error)
                said = why
                await asyncio.sleep(_RETRY_SECONDS)


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Raises ConfigurationError for keys that may not be served with, EmbeddedDatabaseError; a server of DATABASE_URL
    that is away is no error yet.
    """
    keys = bootstrap_keys(settings, serving_keys(settings))
    secret = id_hash_secret(settings)
    async with open_database(settings) as database:
        yield Resources(settings=settings, database=database, secret=secret, keys=keys)


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    """What goes on beside the requests begins again, whatever ends it."""
    while True:
        try:
            await work()
            return
        except Exception as error:
            log.error("upkeep.failed", what=getattr(work, "__qualname__", ""), exc_info=error)
        await asyncio.sleep(_RETRY_SECONDS)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def bootstrap_keys(settings: Settings, keys: ServingKeys) -> BootstrapKeys:
    """The keys that need no database, each of the store of STORE_ID."""
    given = [
        ("API_KEY", keys.api_key, frozenset({Scope.support})),
        ("ADMIN_KEY", keys.admin_key, frozenset(Scope)),
        ("ANALYTICS_KEY", keys.analytics_key, frozenset({Scope.analytics})),
    ]
    return BootstrapKeys(
        [(key, Caller(settings.store_id, scopes, name)) for name, key, scopes in given if key is not None]
    )
