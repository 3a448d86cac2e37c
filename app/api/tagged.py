"""Answers that say what they are, so that who has them already is told so instead (ETag, 304)."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from app.cache import Kept, etag_of

JSON = "application/json"
#: Of what holds no identity: the browser of who asked may keep it, and asks each time whether it still holds.
REVALIDATED = "private, no-cache"
#: Set in a request's scope where an answer says itself how it may be kept.
KEEPS = "says_how_it_may_be_kept"
#: For `responses=` of routes that answer so; what else the API's description says of them it adds itself.
TAGGED: dict[int | str, dict[str, Any]] = {304: {"description": "What you have by its ETag is still what is told."}}


def has(scope: Scope, etag: bytes) -> bool:
    """Whether who asks already has the answer with this mark."""
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            return value == b"*" or etag.removeprefix(b"W/") in [
                each.strip().removeprefix(b"W/") for each in value.split(b",")
            ]
    return False


def answer(request: Request, told: str | bytes, *, identified: bool) -> Response:
    """A JSON answer with its mark, or 304. identified : whether it may name people, and so is kept by nobody"""
    body = told.encode() if isinstance(told, str) else told
    return answer_kept(request, Kept(body, etag_of(body)), identified=identified)


def answer_kept(request: Request, told: Kept, *, identified: bool) -> Response:
    headers = {"etag": told.etag}
    if not identified:
        request.scope[KEEPS] = True
        headers |= {"cache-control": REVALIDATED, "vary": "X-API-Key, Accept-Encoding"}
    if has(request.scope, told.etag.encode()):
        return Response(status_code=304, headers=headers)
    return Response(told.body, headers=headers, media_type=JSON)
