"""Days begin where they begin, whatever the clocks do that night."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.core.dates import in_words, start_of_day

#: Nights on which clocks change: at one or two, and forwards or backwards at midnight.
CHANGES = {
    "Europe/London": [date(2024, 3, 31), date(2024, 10, 27)],
    "America/New_York": [date(2024, 3, 10), date(2024, 11, 3)],
    "America/Santiago": [date(2024, 9, 8)],
    "Atlantic/Azores": [date(2024, 10, 27)],
    "Asia/Beirut": [date(2024, 3, 31), date(2024, 10, 27)],
}
ENDS = [date(2023, 12, 31), date(2024, 1, 1), date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), date(2025, 3, 1)]


@pytest.mark.parametrize("zone", ["UTC", *CHANGES])
def test_a_day_begins_with_its_first_moment_and_ends_where_the_next_begins(zone: str) -> None:
    days = [day + timedelta(days=n) for day in (*CHANGES.get(zone, []), *ENDS) for n in (-1, 0, 1)]
    for day in days:
        begins = start_of_day(day, zone)
        assert begins.tzinfo is UTC
        assert begins.astimezone(ZoneInfo(zone)).date() == day
        assert (begins - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() == day - timedelta(days=1)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2024, 3, 31), 23), (date(2024, 10, 27), 25), (date(2024, 2, 29), 24)], ids=str
)
def test_a_night_of_the_clocks_makes_a_day_shorter_or_longer(day: date, hours: int) -> None:
    after = start_of_day(day + timedelta(days=1), "Europe/London")
    assert after - start_of_day(day, "Europe/London") == timedelta(hours=hours)


def test_the_ends_of_the_calendar_have_a_beginning_near_them() -> None:
    assert start_of_day(date.min, "Pacific/Auckland") < datetime(1, 1, 4, tzinfo=UTC)
    assert start_of_day(date.max, "America/Los_Angeles") > datetime(9999, 12, 28, tzinfo=UTC)


def test_a_day_in_words_is_english() -> None:
    assert (in_words(date(2024, 2, 29)), in_words(date(2025, 12, 31))) == ("29 February 2024", "31 December 2025")
