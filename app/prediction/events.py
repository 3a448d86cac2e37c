"""The days that shops speak of by name: when they are, and when they come next.

What a country's own calendar knows (Thanksgiving, Easter, Mother's Day) is taken from `holidays`; from it the days of
trade are counted. Every window is whole days, first and last both within. Where the calendar of a country does not
know a day it is that of the United States, whose shops made most of these days; Mother's Day of the United Kingdom is
another one, and is known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import holidays

from app.core.errors import InvalidInput, shortened
from app.prediction.cohorts import Length, later

Window = tuple[date, date]

_ONE_DAY = timedelta(days=1)
_CATEGORIES = ("public", "unofficial")
_THURSDAY = 3
_FIRST_YEAR, _LAST_YEAR = 1970, 2099
_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)


@dataclass(frozen=True, slots=True)
class Event:
    """name : how it is written; aliases : what else it is called; window : its days in a year and country"""

    name: str
    aliases: tuple[str, ...]
    window: Callable[[int, str], Window]


def _day(month: int, day: int) -> Callable[[int, str], Window]:
    return _span((month, day), (month, day))


def _span(start: tuple[int, int], end: tuple[int, int]) -> Callable[[int, str], Window]:
    return lambda year, country: (date(year, *start), date(year, *end))


def _months(first: int, n_months: int) -> Callable[[int, str], Window]:
    def window(year: int, country: str) -> Window:
        start = date(year, first, 1)
        return start, later(start, n_months, Length.month) - _ONE_DAY

    return window


def _known(name: str, otherwise: Callable[[int], date]) -> Callable[[int, str], Window]:
    """The day that the country's calendar calls so; `otherwise` where it has none."""

    def window(year: int, country: str) -> Window:
        day = _in_calendar(name, year, country) or otherwise(year)
        return day, day

    return window


def _in_calendar(name: str, year: int, country: str) -> date | None:
    try:
        known = holidays.country_holidays(country, years=year).supported_categories
        wanted = tuple(category for category in _CATEGORIES if category in known)
        calendar = holidays.country_holidays(country, years=year, categories=wanted, language="en_US")
    except NotImplementedError:
        raise InvalidInput(
            f"There is no calendar of {shortened(country)}. Write the country as two letters, such as US or GB."
        ) from None
    # Of a day that is moved to a Monday both are there; the first is the day itself.
    return min(calendar.get_named(name, lookup="exact"), default=None)


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    """weekday : Monday is 0; n : from 1"""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _thanksgiving(year: int) -> date:
    """The fourth Thursday of November, wherever the shop is: Black Friday follows it everywhere."""
    return _in_calendar("Thanksgiving Day", year, "US") or _nth(year, 11, _THURSDAY, 4)


def _after_thanksgiving(first: int, last: int) -> Callable[[int, str], Window]:
    def window(year: int, country: str) -> Window:
        day = _thanksgiving(year)
        return day + first * _ONE_DAY, day + last * _ONE_DAY

    return window


def _easter(year: int) -> date:
    """Easter Sunday of the western churches, which the calendar of the United States names."""
    return holidays.country_holidays("US", years=year, categories=_CATEGORIES).get_named("Easter Sunday")[0]


def _easter_weekend(year: int, country: str) -> Window:
    """From Good Friday to Easter Monday."""
    return _easter(year) - 2 * _ONE_DAY, _easter(year) + _ONE_DAY


def _mothers_day(year: int, country: str) -> Window:
    if country.upper() in ("GB", "UK", "IE"):
        day = _easter(year) - 21 * _ONE_DAY
        return day, day
    return _known("Mother's Day", lambda of: _nth(of, 5, 6, 2))(year, country)


EVENTS = (
    Event("new year", ("new years day", "new year's day"), _day(1, 1)),
    Event("valentine's day", ("valentine", "valentines", "valentines day", "st valentine's day"), _day(2, 14)),
    Event("easter", ("easter weekend",), _easter_weekend),
    Event("mother's day", ("mothers day", "mother day"), _mothers_day),
    Event("father's day", ("fathers day",), _known("Father's Day", lambda of: _nth(of, 6, 6, 3))),
    Event("independence day", ("4th of july", "fourth of july", "july 4th"), _day(7, 4)),
    Event("back to school", ("back-to-school", "school start"), _span((7, 15), (9, 7))),
    Event("labor day", ("labour day",), _known("Labor Day", lambda of: _nth(of, 9, 0, 1))),
    Event("halloween", ("hallowe'en", "halloween season"), _span((10, 1), (10, 31))),
    Event("halloween day", (), _day(10, 31)),
    Event("singles' day", ("singles day", "single's day", "11.11", "double eleven"), _day(11, 11)),
    Event("thanksgiving", ("thanksgiving day", "turkey day"), _after_thanksgiving(0, 0)),
    Event("black friday", (), _after_thanksgiving(1, 1)),
    Event("black friday weekend", ("bfcm", "black friday cyber monday", "cyber weekend"), _after_thanksgiving(1, 4)),
    Event("cyber monday", (), _after_thanksgiving(4, 4)),
    Event("cyber week", ("black week", "black friday week"), _after_thanksgiving(-3, 4)),
    Event("christmas", ("xmas", "christmas season", "holiday season", "holidays"), _span((12, 1), (12, 25))),
    Event("christmas day", (), _day(12, 25)),
    Event("boxing day", (), _day(12, 26)),
    Event("new year's eve", ("new years eve", "silvester"), _day(12, 31)),
    Event("q1", ("first quarter", "quarter 1"), _months(1, 3)),
    Event("q2", ("second quarter", "quarter 2"), _months(4, 3)),
    Event("q3", ("third quarter", "quarter 3"), _months(7, 3)),
    Event("q4", ("fourth quarter", "quarter 4", "last quarter"), _months(10, 3)),
    *(
        Event(name, (name[:3],) if len(name) > 3 else (), _months(month, 1))
        for month, name in enumerate(_MONTH_NAMES, start=1)
    ),
    Event("year", ("whole year", "full year"), _months(1, 12)),
)
#: Counted from a day instead of standing in a year: how many months long, on the calendar.
RELATIVE = {"next month": 1, "next quarter": 3, "next year": 12}

_BY_NAME = {name: event for event in EVENTS for name in (event.name, *event.aliases)}


def names() -> list[str]:
    """Of everything that can be asked for, aliases aside."""
    return [*(event.name for event in EVENTS), *RELATIVE]


def event_window(name: str, year: int, country: str = "US") -> Window:
    """The first and the last day of an event in a year.

    name    : in any case, with or without apostrophes; a name or an alias
    country : two letters, whose calendar is asked

    Raises InvalidInput for a name that is not known, with those that are; for a year outside of 1970 to 2099; for a
    country without a calendar. Thanksgiving 2024 was on 28 November, so Black Friday on the 29th.
    """
    event = _BY_NAME.get(_plain(name))
    if event is None:
        raise _unknown(name)
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise InvalidInput(f"Events are known from {_FIRST_YEAR} to {_LAST_YEAR}, not in {year}.")
    return event.window(year, country)


def next_window(name: str, after: date, country: str = "US") -> Window:
    """The event that is under way on a day, or else the next one; of "next month" and its like, the whole one after it.

    Raises InvalidInput as `event_window` does.
    """
    months = RELATIVE.get(_plain(name))
    if months is not None:
        start = date(after.year, after.month - (after.month - 1) % months, 1)
        start = later(start, months, Length.month)
        return start, later(start, months, Length.month) - _ONE_DAY
    this_year = event_window(name, after.year, country)
    return this_year if this_year[1] >= after else event_window(name, after.year + 1, country)


def _plain(name: str) -> str:
    name = " ".join(name.lower().replace("\u2019", "'").replace("_", " ").split()).removeprefix("the ")
    if name in _BY_NAME or name in RELATIVE:
        return name
    return _WITHOUT_APOSTROPHES.get(name.replace("'", "").replace("-", " "), name)


_WITHOUT_APOSTROPHES = {name.replace("'", "").replace("-", " "): name for name in _BY_NAME}


def _unknown(name: str) -> InvalidInput:
    return InvalidInput(f"There is no event {shortened(name)}. There are: {', '.join(names())}.")
