"""What every error says over HTTP: the body of RFC 9457."""

from http import HTTPStatus
from typing import Any

from pydantic import Field

from app.core.errors import AppError, InvalidParameter, RunForgotten, StoreBusy, StoreNotFound, Unavailable
from app.core.schemas import Answer

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
#: Called otherwise by some versions of Python, and a problem is to have one name.
_NAMES = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large"}


class FieldError(Answer):
    field: str = Field(description="The parameter, as it is written in the request.")
    message: str = Field(description="What it must be.")


class Problem(Answer):
    """What went wrong, with what, and what to do about it."""

    type: str = Field(examples=["/problems/customer-not-found"])
    title: str = Field(examples=["Customer not found"])
    status: int = Field(examples=[404])
    detail: str
    instance: str = Field(description="The path asked for.", examples=["/api/mcp/customer/C9999999"])
    request_id: str = Field(description="Names the request in the logs; the same as in X-Request-ID.")
    errors: list[FieldError] | None = Field(default=None, description="Of a request that makes no sense: each field.")

    def body(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


def problem_of(error: AppError, **where: Any) -> Problem:
    """where : instance and request_id"""
    errors = [FieldError(field=error.field, message=error.message)] if isinstance(error, InvalidParameter) else None
    return Problem(
        type=f"/problems/{error.slug()}",
        title=error.title(),
        status=error.status,
        detail=_told(error),
        errors=errors,
        **where,
    )


def invalid_request(errors: list[FieldError], **where: Any) -> Problem:
    """A request whose parameters make no sense."""
    return Problem(
        type=f"/problems/{InvalidParameter.slug()}",
        title=InvalidParameter.title(),
        status=InvalidParameter.status,
        detail="; ".join(f"{each.field}: {each.message}" for each in errors),
        errors=errors,
        **where,
    )


def plain_problem(status: int, detail: str | None = None, **where: Any) -> Problem:
    """What HTTP itself has a word for: an unknown path, a method that is not allowed, a failure of ours."""
    name = HTTPStatus(status)
    phrase = _NAMES.get(name, name.phrase)
    slug = phrase.lower().replace(" ", "-").replace("'", "")
    told = detail or f"{name.description or phrase}."
    return Problem(type=f"/problems/{slug}", title=phrase, status=status, detail=told, **where)


def _told(error: AppError) -> str:
    """Its message, unless that speaks of our own insides or of other stores."""
    if isinstance(error, RunForgotten | StoreBusy):
        return str(error)
    if isinstance(error, Unavailable):
        return f"The database cannot do this at the moment. Try again in {RETRY_AFTER_SECONDS} seconds."
    if isinstance(error, StoreNotFound):
        return "The store of this key holds nothing yet. Load it with `python -m app import csv` or `... sample`."
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "Something of ours is wrong. It has been logged under this request's id."
    return str(error)
