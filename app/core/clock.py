"""The one place that reads the clock. Everything else takes `as_of`."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)
