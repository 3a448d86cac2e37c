"""A profile asked for by its id and nothing else, as a sidebar does at every ticket: answered before routing begins.

The same keys, limits and notes, the same service and the same answer as the route in `router`, which takes each request
that has a query, and describes it. Routing, and reading four parameters that are not there, takes the framework longer
than reading the profile takes Postgres; and one that is kept in this process (`app.profile_cache`) needs neither.
"""

from types import SimpleNamespace

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.customers import service
from app.api.dependencies import READERS, resources_of
from app.api.failures import answer_error
from app.api.parameters import plain_id
from app.api.tagged import KEEPS, REVALIDATED, answer, has
from app.core.errors import AppError
from app.core.keys import Caller
from app.core.metrics import CACHE
from app.profile_cache import KeptProfile

_FOLDER = "/api/mcp/customer/"
_RANDOM = f"{_FOLDER}random"
#: What the request is called in logs and metrics: as the route in `router`.
_ROUTE = SimpleNamespace(path=_FOLDER + "{customer_id}")

_HIT, _MISS = CACHE.labels("profiles", "hit"), CACHE.labels("profiles", "miss")
_JSON = (b"content-type", b"application/json")
_KEPT_BY_WHO_ASKS = [(b"cache-control", REVALIDATED.encode()), (b"vary", b"X-API-Key, Accept-Encoding")]


class PlainProfiles:
    """Around the routes; whatever it does not answer is theirs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]:
            path: str = scope["path"]
            if path.startswith(_FOLDER) and path != _RANDOM and "/" not in path[len(_FOLDER) :] and path != _FOLDER:
                scope["route"] = _ROUTE
                request = Request(scope)
                try:
                    told = await _told(request, path[len(_FOLDER) :])
                except AppError as error:
                    told = answer_error(request, error)
                if isinstance(told, KeptProfile):
                    await _send(scope, told, send)
                else:
                    await told(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _told(request: Request, customer_id: str) -> KeptProfile | Response:
    caller = await READERS(request)
    resources = resources_of(request)
    name = (caller.store_id, caller.view, customer_id)
    kept = resources.profiles.get(name)
    if kept is not None:
        _HIT.inc()
        resources.audit.read(caller, "customer.read", (kept.pseudonym,))
        return kept
    _MISS.inc()
    generation = resources.profiles.generation
    told = await service.profile(resources, caller, plain_id("customer_id", customer_id))
    answered = answer(request, told.text, identified=caller.identified)
    # Under the name it is shown by alone: under another it would outlive whom it names.
    if told.stored and customer_id == (told.customer_id if caller.identified else told.pseudonym):
        resources.profiles.keep(
            name,
            told.text.encode(),
            answered.headers["etag"].encode(),
            customer_id=told.customer_id,
            pseudonym=told.pseudonym,
            generation=generation,
        )
    return answered


async def _send(scope: Scope, kept: KeptProfile, send: Send) -> None:
    caller: Caller = scope["caller"]
    headers = [(b"etag", kept.etag)]
    if not caller.identified:
        scope[KEEPS] = True
        headers += _KEPT_BY_WHO_ASKS
    if has(scope, kept.etag):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    headers += [_JSON, (b"content-length", str(len(kept.body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": kept.body})
