"""The page in a real browser, over the real service, over a real database: a small shop, segmented and told once."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from app.core.clock import utc_now
from app.core.config import Environment, Settings
from app.core.secrets_file import id_hash_secret, serving_keys
from app.main import create_app
from app.pipeline.ingest import ingest
from app.pipeline.predict import PredictOptions, predict
from app.pipeline.run import RunOptions, segment
from app.pipeline.sample import SampleShop
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.conftest import own_database
from tests.serving import served

N_CUSTOMERS = 400
STORE, UNSEGMENTED, EMPTY = "quilts", "fresh", "empty"

#: Customers of the sample shop whose names are replaced by what somebody hostile, or only unlucky, may be called.
HOSTILE_NAMES = {
    "C0000003": ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>"),
    "C0000004": ("\u202emoc.elpmaxe\u202c", "نور الهدى"),
    "C0000005": ("Maximiliane-Charlotte " * 8 + "Anna", "von und zu Langenstein"),
}

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
_MISSING = "no Chromium on PATH: install one, for instance with `apt-get install chromium`"


@dataclass(frozen=True)
class Service:
    """Where the page is, and the keys it takes. pseudonymous : a key that sees no names"""

    address: str
    key: str
    pseudonymous: str
    database_url: str


@pytest.fixture(scope="session")
async def service(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A segmented shop, and what is predicted of it."""
    async with own_database(embedded_url) as url:
        data_dir = tmp_path_factory.mktemp("page")
        settings = _settings(url, data_dir, STORE)
        await _fill(settings)
        with _serving(settings) as one:
            yield one


@pytest.fixture(scope="session")
def empty_service(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The same service for a store without customers."""
    with _serving(_settings(service.database_url, tmp_path_factory.mktemp("empty"), EMPTY)) as one:
        yield one


@pytest.fixture(scope="session")
def fresh_service(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The same service for a store with customers that nobody has segmented."""
    with _serving(_settings(service.database_url, tmp_path_factory.mktemp("fresh"), UNSEGMENTED)) as one:
        yield one


class _serving:  # noqa: N801  used like a function
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> Service:
        keys = serving_keys(self._settings)
        assert keys.api_key and keys.analytics_key and self._settings.database_url
        address = self._stack.enter_context(served(create_app(self._settings)))
        return Service(address, keys.api_key, keys.analytics_key, self._settings.database_url)

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _settings(database_url: str, data_dir: Path, store_id: str) -> Settings:
    return Settings(
        _env_file=None,
        env=Environment.development,
        data_dir=data_dir,
        database_url=database_url,
        store_id=store_id,
        id_hash_secret="a secret of the tests, the same for every store",
    )


async def _fill(settings: Settings) -> None:
    database = Database(settings.database_url, settings)
    try:
        await migrate(database)
        for store_id, customers in ((STORE, N_CUSTOMERS), (UNSEGMENTED, 40)):
            await ingest(
                database,
                SampleShop(customers=customers),
                store_id=store_id,
                timezone="America/Chicago",
                currency="USD",
                pseudonym_secret=id_hash_secret(settings),
            )
        await segment(database, STORE, RunOptions(min_population=1), now=utc_now())
        await predict(database, STORE, PredictOptions(), now=utc_now())
    finally:
        await database.close()
    connection = await asyncpg.connect(settings.database_url)
    try:
        await connection.executemany(
            "UPDATE customers SET first_name = $2, last_name = $3 WHERE store_id = $4 AND customer_id = $1",
            [(customer, first, last, STORE) for customer, (first, last) in HOSTILE_NAMES.items()],
        )
    finally:
        await connection.close()


# The browser


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if chromium is None:
        pytest.skip(_MISSING)
    async with async_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=chromium, args=sandbox)
        yield browser
        await browser.close()


@dataclass
class Visits:
    """Opens pages and hears what the browser complains of.

    expected : parts of complaints that a test brings about on purpose
    """

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    async def blank(self, *, width: int = 1280, height: int = 800, scheme: str = "light", **options: object) -> Page:
        """A page that has gone nowhere yet, in a browser of its own."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            **options,  # type: ignore[arg-type]
        )
        self.contexts.append(context)
        # A violation of the content security policy is an event of the document, and a line in the console.
        await context.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (event) => console.error('CSP', event.violatedDirective, event.blockedURI))"
        )
        page = await context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and self._heard(message.text))
        page.on("pageerror", lambda error: self._heard(str(error)))
        page.on("dialog", lambda dialog: self._heard(f"dialog: {dialog.message}"))
        return page

    async def to(self, service: Service, where: str = "/", *, key: str | None = None, **options: object) -> Page:
        """The page at a place, ready, with the shop's key or another."""
        page = await self.blank(**options)  # type: ignore[arg-type]
        await page.goto(f"{service.address}{where}#key={service.key if key is None else key}")
        await ready(page)
        return page

    def expect(self, complaint: str) -> None:
        self.expected.append(complaint)

    @property
    def unexpected(self) -> list[str]:
        return [each for each in self.complaints if not any(part in each for part in self.expected)]

    async def end(self) -> None:
        """The browser must have nothing to complain of that was not expected."""
        await asyncio.gather(*(context.close() for context in self.contexts))
        assert self.unexpected == []

    def _heard(self, text: str) -> None:
        self.complaints.append(text)


async def ready(page: Page) -> None:
    """The view has arrived. What it fetches for itself, such as an archetype's members, may still be on its way."""
    await page.wait_for_selector("main:not([aria-busy]) #view-title")


@pytest.fixture
async def visit(browser: Browser) -> AsyncIterator[Visits]:
    """Whatever a test does, the browser must have nothing to complain of that the test did not expect."""
    visits = Visits(browser)
    yield visits
    await visits.end()
