"""The app: what it stands on, its routes, its pages, and one way to fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module

from fastapi import FastAPI

from app import __version__
from app.api.again import AskedAgain
from app.api.customers.plain import PLAIN_PROFILE
from app.api.failures import answer_failures
from app.api.middleware import RequestFrame
from app.api.openapi import describe
from app.api.pages import serve_pages
from app.api.routes import ROUTERS
from app.core.config import Settings, load_settings
from app.resources import Resources, open_resources

_ABOUT = (
    "Who a shop's customers are, what kind of customer they are, and what they are worth. Press **Authorize** and give "
    "a key; what it shows depends on its scopes: `support` sees identities, `analytics` pseudonyms and shares. The "
    "examples are those of the built-in shop."
)


def create_app(settings: Settings | None = None, resources: Resources | None = None) -> FastAPI:
    """The whole service.

    settings  : those of the environment, if not given
    resources : opened already, and closed by who opened them; without them the app opens its own when it starts
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            opened = resources
            if opened is None:
                opened = await stack.enter_async_context(open_resources(settings or load_settings()))
            app.state.resources = opened.for_requests()
            # Meanwhile questions that need the database are answered with 503.
            preparing = asyncio.create_task(_prepare(app.state.resources))
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
    )
    app.router.routes.append(PLAIN_PROFILE)
    for router in ROUTERS:
        app.include_router(router)
    serve_pages(app)
    answer_failures(app)
    describe(app, ROUTERS)
    app.add_middleware(AskedAgain)
    app.add_middleware(RequestFrame)
    return app


async def _prepare(resources: Resources) -> None:
    await resources.prepare_when_possible()
    # Scoring loads a second's worth of libraries, which the first customer scored would otherwise wait for.
    await asyncio.to_thread(import_module, "app.pipeline.score")
