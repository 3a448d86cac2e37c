"""Bodies: whatever one says it is, it is read as JSON, which is all that any route takes."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

_SAYS = b"content-type"


class JsonRoute(APIRoute):
    """`APIRouter(route_class=JsonRoute)`. What `curl -d` sends calls itself a form, and would be refused for that."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle: Callable[[Request], Coroutine[Any, Any, Response]] = super().get_route_handler()

        async def as_json(request: Request) -> Response:
            headers: list[Any] = [(name, value) for name, value in request.scope["headers"] if name != _SAYS]
            scope = {**request.scope, "headers": [*headers, (_SAYS, b"application/json")]}
            return await handle(Request(scope, request.receive))

        return as_json
