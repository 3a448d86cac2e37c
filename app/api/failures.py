"""The one place where errors become answers."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.api.again import ask_again
from app.api.middleware import instance_of
from app.core.errors import (
    AppError,
    DatabaseUnavailable,
    TooManyFailures,
    TooManyRequests,
    Unavailable,
    UnreadableBody,
    shortened,
)
from app.core.metrics import DATABASE_UNAVAILABLE
from app.core.problems import (
    MEDIA_TYPE,
    RETRY_AFTER_SECONDS,
    FieldError,
    Problem,
    invalid_request,
    plain_problem,
    problem_of,
)

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")

log = structlog.get_logger()


def answer_failures(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Whatever is raised beneath a route of these routers is said in the words of RFC 9457."""
    taken: dict[str, set[str]] = {}
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                taken.setdefault(route.path, set()).update(route.methods or ())
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http(taken))


def _answer(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    return Response(problem.body(), status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def _where(request: Request) -> dict[str, str]:
    return {"instance": instance_of(request.scope), "request_id": request.scope["request_id"]}


async def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101  what it is registered for
    return answer_error(request, error)


def answer_error(request: Request, error: AppError) -> Response:
    headers = {}
    if isinstance(error, Unavailable):
        log.warning("unavailable", request_id=request.scope["request_id"], why=str(error))
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        if isinstance(error, DatabaseUnavailable) and not (error.cut and ask_again(request.scope)):
            DATABASE_UNAVAILABLE.inc()
    elif isinstance(error, TooManyRequests | TooManyFailures):
        headers = {"Retry-After": str(error.retry_after_seconds)}
    elif error.status >= 500:
        log.error("app_error", request_id=request.scope["request_id"], why=str(error), exc_info=error)
    elif error.status == 401:
        headers = {"WWW-Authenticate": "ApiKey"}
    return _answer(problem_of(error, **_where(request)), headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [
        FieldError(field=_field(item["loc"]), message=str(item["msg"]).removeprefix("Value error, "))
        for item in error.errors()
    ]
    return _answer(invalid_request(errors, **_where(request)))


def _field(place: tuple[str | int, ...]) -> str:
    """("query", "limit") is `limit`; ("body", "k", 3) is `k.3`. A name somebody made up is repeated shortened."""
    return ".".join(_name(str(part)) for part in place[1:]) or str(place[0])


def _name(part: str) -> str:
    return part if _PLAIN_NAME.fullmatch(part) else shortened(part)


def _http(taken: Mapping[str, Iterable[str]]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """taken : the methods of each path"""

    async def answered(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        if isinstance(error.__cause__, UnreadableBody):  # what the framework makes of it says nothing
            return answer_error(request, error.__cause__)
        detail = None
        headers = dict(error.headers or {})
        if error.status_code == 404:
            detail = "There is nothing at this address. /docs lists what there is."
        elif error.status_code == 405:
            detail = "This address does not take that method. /docs lists what it takes."
            # Each route knows its own methods alone.
            if methods := taken.get(getattr(request.scope.get("route"), "path", "")):
                headers["Allow"] = ", ".join(sorted(methods))
        elif error.status_code in (408, 413):
            detail = error.detail
        return _answer(plain_problem(error.status_code, detail, **_where(request)), headers)

    return answered
