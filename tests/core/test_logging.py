"""What is logged tells what happened, and of people and secrets nothing."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from app.core.errors import DatabaseUnavailable
from app.core.logging import configure_logging, hear_libraries


@contextmanager
def logged(level: str = "INFO") -> Iterator[io.BytesIO]:
    out, before = io.BytesIO(), structlog.get_config()
    configure_logging(level=level, json_logs=True)
    structlog.configure(logger_factory=structlog.BytesLoggerFactory(file=out))
    try:
        yield out
    finally:
        structlog.configure(**before)


def lines(out: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    "secret",
    [
        "ci_live_abcdefgh_0123456789012345678901234567890123456789012",
        "sk-ant-api03-abcdefghijkl",
        "rosa.sashing@example.net",
        "postgresql://shop:hunter2@db.example/shop",
        "redis://:hunter2@cache.example:6379/0",
    ],
    ids=["our key", "a model's key", "an e-mail", "a database's password", "a cache's password"],
)
def test_what_has_the_form_of_a_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    with logged() as out:
        structlog.get_logger().info("event", why=f"it said {secret}, and more", nothing="else")
    (line,) = lines(out)
    for part in ("ci_live_abc", "sk-ant", "rosa", "hunter2"):
        assert part not in line["why"]
    assert "[hidden]" in line["why"]
    assert "and more" in line["why"]
    assert line["nothing"] == "else"


def test_facts_that_are_secrets_by_their_name_are_hidden() -> None:
    with logged() as out:
        structlog.get_logger().info("event", password="swordfish", email="x", token="y", key_id="abcdefgh")
    (line,) = lines(out)
    assert (line["password"], line["email"], line["token"], line["key_id"]) == (*["[hidden]"] * 3, "abcdefgh")


@contextmanager
def heard(level: str) -> Iterator[io.BytesIO]:
    """The same, with what libraries complain of."""
    root = logging.getLogger()
    before = list(root.handlers)
    with logged(level) as out:
        hear_libraries(level=level)
        try:
            yield out
        finally:
            root.handlers = before


def complain_with(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        logging.getLogger("some.library").error("It failed: %s", text, exc_info=error)


def test_what_a_library_complains_of_is_told_by_kind_and_place() -> None:
    with heard("INFO") as out:
        hear_libraries(level="INFO")  # told twice it is not heard twice
        complain_with("what a customer wrote")
        logging.getLogger("some.library").warning("what %s wrote", "a customer")
        logging.getLogger("some.library").info("what goes well")
    failed, warned = lines(out)
    assert (failed["event"], failed["library"], failed["level"]) == ("library.complains", "some.library", "error")
    assert "in complain_with" in failed["place"]
    assert "builtins.ValueError" in failed["exception"]
    assert (warned["level"], "exception" in warned) == ("warning", False)
    assert b"customer" not in out.getvalue()


def test_at_debug_a_library_is_repeated() -> None:
    with heard("DEBUG") as out:
        complain_with("what the developer sent")
    assert lines(out)[0]["what"] == "It failed: what the developer sent"


def raise_with(text: str) -> None:
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(f"cannot use {text}") from error
    except ValueError:
        structlog.get_logger().exception("it.failed")


def test_of_an_error_nobody_foresaw_its_kind_and_place_are_told_and_not_its_words() -> None:
    with logged() as out:
        raise_with("what a customer wrote")
    (line,) = lines(out)
    assert "what a customer wrote" not in line["exception"]
    for told in ("builtins.ValueError", "builtins.KeyError", "test_logging.py", "in raise_with"):
        assert told in line["exception"]


def test_our_own_errors_say_what_they_say() -> None:
    with logged() as out:
        try:
            raise DatabaseUnavailable("The database does not answer.")
        except DatabaseUnavailable as error:
            structlog.get_logger().error("away", exc_info=error)
    (line,) = lines(out)
    assert "The database does not answer." in line["exception"]


def test_at_debug_an_error_is_told_in_full() -> None:
    with logged("DEBUG") as out:
        raise_with("what the developer sent")
    assert "what the developer sent" in lines(out)[0]["exception"]


def test_a_line_says_when_in_utc_and_how_grave_it_is() -> None:
    with logged() as out:
        structlog.get_logger().warning("event")
        structlog.get_logger().debug("not at this level")
    (line,) = lines(out)
    assert line["level"] == "warning"
    assert line["timestamp"].endswith("Z")
