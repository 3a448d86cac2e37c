"""Options that several commands share."""

import argparse
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from app.core.config import Settings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = Any


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", metavar="NAME", help="the shop; STORE_ID by default")


def store_of(wanted: argparse.Namespace, settings: Settings) -> str:
    return wanted.store or settings.store_id


def day(text: str) -> date:
    """For argparse: a date as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date; write it as YYYY-MM-DD") from None


def positive(text: str) -> int:
    """For argparse: a whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def start_of(wanted: date, timezone: str) -> datetime:
    """Midnight at which a day of the shop begins, UTC."""
    return datetime.combine(wanted, datetime.min.time(), ZoneInfo(timezone)).astimezone(UTC)
