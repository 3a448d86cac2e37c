"""Who asks, and whether they may: the one place where keys and scopes are checked."""

from typing import Annotated, cast

from fastapi import Depends, Request

from app.core.errors import ScopeMissing, Unauthenticated
from app.core.keys import Caller, Scope, key_id_of, same_key
from app.resources import Resources
from app.warehouse.keys import opening_key

_HEADER = b"x-api-key"


def resources_of(request: Request) -> Resources:
    return cast(Resources, request.app.state.resources)


async def caller_of(request: Request) -> Caller | None:
    """Who the key of a request belongs to; None where it has none, two, or one that opens nothing."""
    presented = [value for name, value in request.scope["headers"] if name == _HEADER]
    if len(presented) != 1:
        return None
    resources = resources_of(request)
    if caller := resources.keys.caller(presented[0]):
        return caller
    key_id = key_id_of(presented[0])
    if key_id is None:
        return None
    found = await opening_key(resources.database, key_id)
    if found is None:
        return None
    store_id, secret_hash, scopes = found
    if not same_key(presented[0], secret_hash):
        return None
    return Caller(store_id, frozenset(scope for scope in Scope if scope.value in scopes))


class Needs:
    """Lets in who holds one of these scopes, or admin. Routes declare it; the API's description reads it from them.

    Raises Unauthenticated or ScopeMissing.
    """

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request) -> Caller:
        caller = await caller_of(request)
        if caller is None:
            raise Unauthenticated
        if not caller.may(self.scopes):
            raise ScopeMissing(needed=self.scopes, held=sorted(caller.scopes))
        return caller


async def _opened(request: Request) -> Resources:
    # Asynchronous though it waits for nothing: anything else is called in a thread, which takes longer than the answer.
    return resources_of(request)


READERS = Needs(Scope.support, Scope.analytics, Scope.campaigns)
#: Anyone who may read customers and kinds of customer, in their own view.
Reader = Annotated[Caller, Depends(READERS)]
#: Who may see identities.
Agent = Annotated[Caller, Depends(Needs(Scope.support))]
#: Whoever asks; None without a valid key.
Anyone = Annotated[Caller | None, Depends(caller_of)]
Opened = Annotated[Resources, Depends(_opened)]
