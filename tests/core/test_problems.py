"""Problems: every error of ours has its address, title and status, and says nothing of our insides."""

import json
import re
from collections.abc import Iterator

import pytest

from app.core import errors
from app.core.errors import (
    AppError,
    ConfigurationError,
    CustomerNotFound,
    DatabaseUnavailable,
    InvalidParameter,
    RunForgotten,
    StoreBusy,
    StoreNotFound,
    shortened,
)
from app.core.problems import FieldError, invalid_request, plain_problem, problem_of

WHERE = {"instance": "/here", "request_id": "r1"}


def every_error(parent: type[AppError] = AppError) -> Iterator[type[AppError]]:
    for each in parent.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from every_error(each)


def test_every_error_has_an_address_of_its_own() -> None:
    slugs = [each.slug() for each in every_error()]
    assert len(slugs) == len(set(slugs)) > 20
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) for slug in slugs)
    assert CustomerNotFound.slug() == "customer-not-found"
    assert CustomerNotFound.title() == "Customer not found"


def test_a_problem_has_the_members_of_the_standard() -> None:
    told = json.loads(problem_of(CustomerNotFound("c1", store_id="s"), **WHERE).body())
    assert told == {
        "type": "/problems/customer-not-found",
        "title": "Customer not found",
        "status": 404,
        "detail": "Store 's' has no customer 'c1'. Check the id and the store.",
        **WHERE,
    }


def test_a_wrong_parameter_is_named_twice() -> None:
    told = problem_of(InvalidParameter("limit", "too large"), **WHERE)
    assert (told.status, told.detail) == (422, "limit: too large")
    assert told.errors == [FieldError(field="limit", message="too large")]
    several = invalid_request([FieldError(field="a", message="x"), FieldError(field="b", message="y")], **WHERE)
    assert (several.status, several.detail) == (422, "a: x; b: y")


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailable("connection to 10.0.0.7 refused for user shop"),
        ConfigurationError("DATABASE_URL postgresql://shop:hunter2@10.0.0.7 is wrong"),
        StoreNotFound("mine", known=["theirs"]),
    ],
)
def test_a_problem_tells_nothing_of_our_insides_or_of_other_stores(error: AppError) -> None:
    detail = problem_of(error, **WHERE).detail
    assert not re.search(r"10\.0|hunter2|theirs", detail)


@pytest.mark.parametrize("error", [RunForgotten(), StoreBusy("mine")])
def test_what_is_only_in_the_way_for_a_moment_is_told(error: AppError) -> None:
    told = problem_of(error, **WHERE)
    assert (told.status, told.detail) == (503, str(error))


@pytest.mark.parametrize(("status", "slug"), [(404, "not-found"), (413, "content-too-large"), (418, "im-a-teapot")])
def test_what_http_has_a_word_for_keeps_it(status: int, slug: str) -> None:
    told = plain_problem(status, **WHERE)
    assert (told.type, told.status) == (f"/problems/{slug}", status)
    assert told.detail


def test_what_somebody_wrote_is_repeated_short_and_harmless() -> None:
    told = shortened("<b>\u202e\0\U0001f9f5" + "x" * 10_000)
    assert told.isascii()
    assert len(told) < 120
    assert "\\u202e" in told
