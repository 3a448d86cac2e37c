"""What every request passes: its id, its line in the log, its place in the metrics, the headers of every answer, how
much may be sent and how long that may take, and the last catch.
"""

import asyncio
import os
import re
import time

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.tagged import KEEPS
from app.core.metrics import FAILED, IN_FLIGHT, REFUSED, REQUEST_SECONDS
from app.core.problems import MEDIA_TYPE, plain_problem
from app.core.requests import begin_request, method_told

#: Of a request's body, bytes. What is asked here takes a few dozen.
_LARGEST_BODY = 256 * 1024
#: How long a body may take to come.
BODY_SECONDS = 20.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_INSTANCE_SHOWN = 200
#: Pages load nothing but our own files, run no inline script, and stand in nobody's frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _POLICY.encode()),
]
_NO_STORE = (b"cache-control", b"no-store")

#: Answers that depend on who asks. A cache on the way knows addresses, and not that the key makes the difference.
_OF_THE_CALLER = ("/api/", "/health", "/metrics")
#: Asked every few seconds by machines, for which a line each would bury all others.
_UNREMARKABLE = ("/health/live", "/health/ready", "/metrics")

_BODILESS = {"GET", "HEAD", "OPTIONS", "DELETE"}

log = structlog.get_logger()


def instance_of(scope: Scope) -> str:
    """The path asked for, as it came: encoded, so that nothing in it can do harm, and short."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0].decode("ascii", "replace")
    return path if len(path) <= _INSTANCE_SHOWN else path[:_INSTANCE_SHOWN] + "..."


class RequestFrame:
    """Around the whole app. No exception gets past it: what nobody answered becomes a problem of status 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        scope["request_id"] = request_id
        begin_request(request_id)
        told = [(b"x-request-id", request_id.encode()), *_HEADERS]
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), *told]
                if KEEPS not in scope and scope["path"].startswith(_OF_THE_CALLER):
                    headers.append(_NO_STORE)
                message["headers"] = headers
            await send(message)

        IN_FLIGHT.inc()
        try:
            if scope["method"] in _BODILESS:
                await self._app(scope, receive, sending)
            elif refused := _refused(scope):
                REFUSED.labels("body").inc()
                await _tell(scope, *refused, sending)
            else:
                await self._app(scope, _bounded(receive), sending)
        except Exception:
            FAILED.inc()
            log.exception("request.failed", request_id=request_id)
            if status:  # too late for another answer: the connection is cut
                raise
            await _tell(
                scope, 500, "Something of ours went wrong. It has been logged under this request's id.", sending
            )
        finally:
            IN_FLIGHT.dec()
            seconds = time.perf_counter() - began
            route, method = getattr(scope.get("route"), "path", "unmatched"), method_told(scope["method"])
            REQUEST_SECONDS.labels(method, route, str(status)).observe(seconds)
            say = log.debug if route in _UNREMARKABLE else log.info
            caller = scope.get("caller")
            say(
                "request",
                request_id=request_id,
                method=method,
                route=route,
                status=status,
                ms=round(1000 * seconds, 1),
                **({} if caller is None else {"store": caller.store_id, "key_id": caller.key_id}),
            )


_TOO_LARGE = f"A request's body may have up to {_LARGEST_BODY:,} bytes."


def _refused(scope: Scope) -> tuple[int, str] | None:
    """Why a body is not even looked at, by what its headers say of it: a status and a reason."""
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.lower() != b"identity":
            return 415, "A request's body is taken as it is: send it without Content-Encoding."
        if name == b"content-length" and value.isdigit() and int(value[:20]) > _LARGEST_BODY:
            return 413, _TOO_LARGE
    return None


def _bounded(receive: Receive) -> Receive:
    """What comes of a body, up to a size and for a time. Raises HTTPException for more."""
    taken, whole, until = 0, False, asyncio.get_running_loop().time() + BODY_SECONDS

    async def receiving() -> Message:
        nonlocal taken, whole
        if whole:  # what comes now is that who asked has gone, whenever that may be
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            REFUSED.labels("body").inc()
            raise HTTPException(
                408, f"The body did not come within {BODY_SECONDS:g} seconds. Send it again.", {"Connection": "close"}
            ) from None
        whole = not message.get("more_body", False)
        taken += len(message.get("body", b""))
        if taken > _LARGEST_BODY:
            REFUSED.labels("body").inc()
            raise HTTPException(413, _TOO_LARGE)
        return message

    return receiving


async def _tell(scope: Scope, status: int, detail: str, send: Send) -> None:
    body = plain_problem(status, detail, instance=instance_of(scope), request_id=scope["request_id"]).body()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    """The caller's, where it is one; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return os.urandom(8).hex()
