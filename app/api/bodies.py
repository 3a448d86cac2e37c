"""Bodies: whatever one says it is, it is read as JSON, which is all that any route takes, and strictly."""

import json
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.dependencies import needs_of
from app.core.errors import UnreadableBody

_SAYS = b"content-type"
#: How deep lists and objects may lie in each other. What is asked here has three levels at most.
_DEEPEST = 32
#: Beyond this a float no longer tells whole numbers apart.
_EXACT = 2.0**53
#: One without an end reaches to the end of the body: looked for anew from each quote, it would take minutes.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonRoute(APIRoute):
    """`APIRouter(route_class=JsonRoute)`. What `curl -d` sends calls itself a form, and would be refused for that."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle: Callable[[Request], Coroutine[Any, Any, Response]] = super().get_route_handler()
        needs = needs_of(self)

        async def as_json(request: Request) -> Response:
            if needs is not None:
                await needs(request)  # nothing is read of who may not ask
            headers: list[Any] = [(name, value) for name, value in request.scope["headers"] if name != _SAYS]
            scope = {**request.scope, "headers": [*headers, (_SAYS, b"application/json")]}
            return await handle(_Strict(scope, request.receive))

        return as_json


class _Strict(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


def read_json(body: bytes) -> Any:
    """A JSON document. Raises UnreadableBody for what is none, and for what reads differently from place to place: keys
    said twice, numbers that JSON does not have or no computer holds, NUL, half characters, and endless nesting.
    """
    _must_be_shallow(body)
    try:
        told = json.loads(body.decode("utf-8"), parse_constant=_no_number, parse_float=_number, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise UnreadableBody(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise UnreadableBody(
            f"line {error.lineno}, column {error.colno}: {error.msg[0].lower()}{error.msg[1:]}"
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise UnreadableBody("a number in it is too long") from error
    _must_be_text(told)
    return told


def _must_be_shallow(body: bytes) -> None:
    depth = 0
    for each in _STRINGS.sub(b"", body):
        if each in b"[{":
            depth += 1
            if depth > _DEEPEST:
                raise UnreadableBody(f"lists and objects lie more than {_DEEPEST} deep in each other")
        elif each in b"]}":
            depth -= 1


def _must_be_text(told: Any) -> None:
    if isinstance(told, str):
        if "\0" in told:
            raise UnreadableBody("a text in it holds the character NUL")
        if _SURROGATE.search(told):
            raise UnreadableBody("a text in it holds half a character")
    elif isinstance(told, list):
        for each in told:
            _must_be_text(each)
    elif isinstance(told, dict):
        for name, each in told.items():
            _must_be_text(name)
            _must_be_text(each)


def _no_number(word: str) -> Any:
    raise UnreadableBody(f"{word} is no number of JSON")


def _number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise UnreadableBody("a number in it is too large")
    # JSON has one kind of number: 5.0 is 5, also where a whole one is wanted.
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        raise UnreadableBody("an object in it says a name twice")
    return told
