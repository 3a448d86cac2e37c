"""The app: what it stands on, its routes, its pages, and one way to fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from app import __version__
from app.api.again import AskedAgain
from app.api.customers.plain import PlainProfiles
from app.api.failures import answer_failures
from app.api.middleware import RequestFrame
from app.api.openapi import describe
from app.api.pages import serve_pages
from app.api.routes import ROUTERS
from app.api.tracing import NOTHING_BY_ITSELF, Traced, exporting_to
from app.core.config import Settings, load_settings
from app.resources import Resources, open_resources

#: Bytes of an answer below which packing takes longer than sending, and how hard it is packed.
_WORTH_PACKING, _PACKED = 1_400, 5

_ABOUT = (
    "Who a shop's customers are, what kind of customer they are, and what they are worth. Press **Authorize** and give "
    "a key; what it shows depends on its scopes: `support` sees identities, `analytics` pseudonyms and shares. The "
    "examples are those of the built-in shop."
)


def create_app(settings: Settings | None = None, resources: Resources | None = None) -> FastAPI:
    """The whole service.

    settings  : those of the environment, if not given
    resources : opened already, and closed by who opened them; without them the app opens its own when it starts

    Raises ConfigurationError where traces are to be sent and what sends them is not installed.
    """

    chosen = resources.settings if resources is not None else settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            opened = resources
            if opened is None:
                opened = await stack.enter_async_context(open_resources(chosen))
            app.state.resources = serving = opened.for_requests()
            # Meanwhile questions that need the database are answered with 503.
            preparing = asyncio.create_task(_prepare(serving))
            await stack.enter_async_context(serving.at_work())
            try:
                yield
            finally:
                preparing.cancel()
                with suppress(asyncio.CancelledError):
                    await preparing

    app = FastAPI(
        title="Customer Intelligence Platform",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NOTHING_BY_ITSELF,
    )
    for router in ROUTERS:
        app.include_router(router)
    serve_pages(app)
    answer_failures(app, ROUTERS)
    describe(app, ROUTERS)
    app.add_middleware(GZipMiddleware, minimum_size=_WORTH_PACKING, compresslevel=_PACKED)
    # Not packed: its 7 KB go out in a connection's first window either way.
    app.add_middleware(PlainProfiles)
    app.add_middleware(AskedAgain)
    if origins := chosen.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=["X-API-Key", "X-Request-ID", "Content-Type", "Idempotency-Key", "If-None-Match"],
            expose_headers=["X-Request-ID", "ETag", "Retry-After"],
        )
    app.add_middleware(RequestFrame)
    if collector := chosen.otel_exporter_otlp_endpoint:
        app.add_middleware(Traced, provider=exporting_to(str(collector)))
    return app


async def _prepare(resources: Resources) -> None:
    await resources.prepare_when_possible()
    # Scoring loads a second's worth of libraries, which the first customer scored would otherwise wait for.
    await asyncio.to_thread(import_module, "app.pipeline.score")
