"""Routes that tell a shop as a whole: worked out once, kept until something changes.

What such a route answers depends on the store, the view its caller has, the parameters it declares and what is in the
database, and on nothing else: one that lists people is none of them.
"""

from collections.abc import Callable, Coroutine
from operator import itemgetter
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.dependencies import needs_of, resources_of
from app.api.tagged import answer_kept
from app.core.keys import Caller
from app.resources import Resources


class AggregateRoute(APIRoute):
    """`APIRouter(route_class=AggregateRoute)`. What its routes return is answered with 200; all else they raise."""

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
                return bytes((await handle(request)).body)

            told = await resources.cache.answer(caller.store_id, key, compute)
            return answer_kept(request, told, identified=caller.identified)

        return kept

    async def _key(self, request: Request, resources: Resources, caller: Caller) -> str | None:
        """What the answer depends on; None where nothing may be kept at the moment."""
        served = await resources.served_runs(caller.store_id)
        if served is None:
            return None
        declared = {field.alias for field in self.dependant.query_params}
        query = parse_qsl(request.url.query, keep_blank_values=True)
        # By name alone: of a parameter that is given twice the last counts.
        asked = sorted((each for each in query if each[0] in declared), key=itemgetter(0))
        return f"{served}:{caller.view}:{request.url.path}?{urlencode(asked)}"
