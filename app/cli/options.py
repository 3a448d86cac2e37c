"""Options that several commands share."""

import argparse
import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from app.core.config import STORE_NAME, Settings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = Any


#: Who asks, where what is asked for is noted with who asked.
COMMAND_LINE = "command line"


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=store_name, metavar="NAME", help="the shop; STORE_ID by default")


def store_of(wanted: argparse.Namespace, settings: Settings) -> str:
    return wanted.store or settings.store_id


def store_name(text: str) -> str:
    """For argparse: the short name of a store."""
    if not re.fullmatch(STORE_NAME, text):
        raise argparse.ArgumentTypeError(
            f"{text!a} cannot name a store; take 1 to 64 letters, digits, dots, dashes and underscores"
        )
    return text


def day(text: str) -> date:
    """For argparse: a date as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date; write it as YYYY-MM-DD") from None


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """For argparse: a whole number within limits."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least or (most is not None and int(text) > most):
            limits = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!a} is not a whole number {limits}")
        return int(text)

    return read
