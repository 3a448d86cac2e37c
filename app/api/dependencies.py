"""Who asks, and whether they may: the one place where keys and scopes are checked."""

from collections.abc import Iterator
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.types import Scope as Asked

from app.core.errors import ScopeMissing, Unauthenticated
from app.core.keys import Caller, Scope
from app.core.metrics import REFUSED
from app.resources import Resources

_HEADER = b"x-api-key"
#: Where a request's scope holds who asks, once that is known.
_CALLER = "caller"


def resources_of(request: Request) -> Resources:
    return cast(Resources, request.app.state.resources)


def presented_key(scope: Asked) -> bytes | None:
    """The key of a request; None where it has none, or two."""
    presented = [value for name, value in scope["headers"] if name == _HEADER]
    return presented[0] if len(presented) == 1 else None


async def _admitted(request: Request) -> Caller | None:
    """Who the key of a request belongs to, counted as asking; None where it has none that opens anything, counted as a
    failure of its address. Raises TooManyFailures or TooManyRequests.
    """
    caller: Caller | None = request.scope.get(_CALLER)
    if caller is not None:  # known from a part of the same request
        return caller
    resources = resources_of(request)
    key = presented_key(request.scope)
    caller = None if key is None else await resources.keyring.caller(key)
    if caller is None:
        resources.limits.failed(request.client.host if request.client else "")
        return None
    request.scope[_CALLER] = caller  # before it may be refused: the log says whose request that was
    resources.limits.admit(caller)
    return caller


async def _anyone(request: Request) -> Caller | None:
    # Without a key nothing can be tried out, and who looks whether the service is well is to be told.
    return None if presented_key(request.scope) is None else await _admitted(request)


class Needs:
    """Lets in who holds one of these scopes, or admin. Routes declare it; the API's description reads it from them.

    Raises Unauthenticated, TooManyFailures, ScopeMissing or TooManyRequests.
    """

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request) -> Caller:
        caller = await _admitted(request)
        if caller is None:
            raise Unauthenticated
        if not caller.may(self.scopes):
            REFUSED.labels("no_scope").inc()
            raise ScopeMissing(needed=self.scopes, held=sorted(caller.scopes))
        return caller


def needs_of(route: APIRoute) -> Needs | None:
    """What a route lets in by; None where it needs no key."""
    return next((call for call in _calls(route.dependant) if isinstance(call, Needs)), None)


def _calls(dependant: Dependant) -> Iterator[Any]:
    for each in dependant.dependencies:
        yield each.call
        yield from _calls(each)


async def _opened(request: Request) -> Resources:
    # Asynchronous though it waits for nothing: anything else is called in a thread, which takes longer than the answer.
    return resources_of(request)


READERS = Needs(Scope.support, Scope.analytics, Scope.campaigns)
#: Anyone who may read customers and kinds of customer, in their own view.
Reader = Annotated[Caller, Depends(READERS)]
#: Who may see identities.
Agent = Annotated[Caller, Depends(Needs(Scope.support))]
#: Whoever asks; None without a valid key, and a wrong one is counted as everywhere.
Anyone = Annotated[Caller | None, Depends(_anyone)]
Opened = Annotated[Resources, Depends(_opened)]
