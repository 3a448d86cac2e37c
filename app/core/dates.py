"""Days as people write them, and when they begin."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def in_words(day: date) -> str:
    """3 May 2026, in English whatever the machine speaks."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def start_of_day(day: date, timezone: str) -> datetime:
    """Midnight at which a day of the shop begins, UTC; the ends of the calendar as near as they can be told."""
    day = min(max(day, date.min + timedelta(days=2)), date.max - timedelta(days=2))
    return datetime.combine(day, datetime.min.time(), ZoneInfo(timezone)).astimezone(UTC)
