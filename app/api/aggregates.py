"""Routes that tell a shop as a whole: worked out once, kept until something changes.

What such a route answers depends on the store, the view its caller has, the parameters it declares and what is in the
database, and on nothing else: one that lists people is none of them.
"""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.dependencies import needs_of, resources_of
from app.api.tagged import answer_kept
from app.core.keys import Caller
from app.resources import Resources

_OK = 200


class _NotToBeKept(Exception):
    def __init__(self, response: Response) -> None:
        self.response = response


class AggregateRoute(APIRoute):
    """`APIRouter(route_class=AggregateRoute)`"""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle: Callable[[Request], Coroutine[Any, Any, Response]] = super().get_route_handler()
        needs = needs_of(self)
        if needs is None or self.methods != {"GET"}:
            return handle

        async def kept(request: Request) -> Response:
            caller = await needs(request)
            resources = resources_of(request)
            key = await self._key(request, resources, caller)
            if key is None:
                return await handle(request)

            async def compute() -> bytes:
                response = await handle(request)
                if response.status_code != _OK:
                    raise _NotToBeKept(response)
                return bytes(response.body)

            try:
                told = await resources.cache.answer(caller.store_id, key, compute)
            except _NotToBeKept as not_kept:
                return not_kept.response
            return answer_kept(request, told, identified=caller.identified)

        return kept

    async def _key(self, request: Request, resources: Resources, caller: Caller) -> str | None:
        """What the answer depends on; None where nothing may be kept at the moment."""
        served = await resources.served_runs(caller.store_id)
        if served is None:
            return None
        declared = {field.alias for field in self.dependant.query_params}
        asked = sorted(
            (name, value) for name, value in parse_qsl(request.url.query, keep_blank_values=True) if name in declared
        )
        return f"{served}:{caller.view}:{request.url.path}?{urlencode(asked)}"
