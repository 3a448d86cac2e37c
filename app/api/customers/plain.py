"""A profile asked for by its id and nothing else, as a sidebar does at every ticket: without what parameters cost.

The same key check, the same service and the same answer as the route in `router`, which takes every request that has a
query. Reading four parameters that are not there takes FastAPI longer than reading the profile takes Postgres.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from app.api.customers import service
from app.api.dependencies import READERS, resources_of
from app.api.parameters import plain_id

_FOLDER = "/api/mcp/customer/"
_RANDOM = f"{_FOLDER}random"


class _WithoutQuery(Route):
    """Matches GET of a path with an id, where nothing is asked beside it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"] or scope["path"] == _RANDOM:
            return Match.NONE, {}
        match, child = super().matches(scope)
        return match, {**child, "route": self}


async def _profile(request: Request) -> Response:
    caller = await READERS(request)
    customer_id = plain_id("customer_id", request.path_params["customer_id"])
    return Response(await service.profile(resources_of(request), caller, customer_id), media_type="application/json")


PLAIN_PROFILE = _WithoutQuery(_FOLDER + "{customer_id}", _profile, methods=["GET"], include_in_schema=False)
