"""One cell of a CSV file: from its text to a value, and how a whole file writes its dates and numbers."""

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from app.core.errors import InvalidInput
from app.sources.csv_presets import ID_LENGTH, LIMIT, BadValueError, Field, Kind, to_four_places

CACHE_SIZE = 1 << 16  # columns repeat their values; this many of each are remembered, however long the file is
_EXAMPLE_LENGTH = 80

Convert = Callable[[str], Any]


def converter(wanted: Field, read: Convert) -> Convert:
    """Text of a cell -> value, None where it is empty. Raises BadValueError."""

    @lru_cache(CACHE_SIZE)
    def convert(text: str) -> Any:
        text = text.strip()
        if not text:
            if wanted.value_needed:
                raise BadValueError("is empty")
            return None
        if "\0" in text:
            raise BadValueError("contains a NUL character")
        return read(text)

    return convert


def no_such_column(_: str) -> None:
    return None


def readers(*, zone: tzinfo, month_first: Collection[str], decimal_comma: bool) -> dict[Kind, Convert]:
    """For each kind, how text that is not empty and has no blanks around it is read."""
    number = number_reader(decimal_comma=decimal_comma)

    def quantity(text: str) -> Decimal:
        value = to_four_places(number(text))
        if not value:
            raise BadValueError("is zero")
        return value

    return {
        Kind.id: _id,
        Kind.text: str,
        Kind.number: number,
        Kind.quantity: quantity,
        Kind.moment: moment_reader(zone=zone, month_first=month_first),
    }


def _id(text: str) -> str:
    if len(text) > ID_LENGTH:
        raise BadValueError(f"is longer than {ID_LENGTH} characters")
    return text


def number_reader(*, decimal_comma: bool) -> Callable[[str], Decimal]:
    """Numbers as people write them: "1,234.56", or with decimal_comma "1.234,56"; "£2.55", "-€ 2", "1e3".

    Only ASCII digits. Thousands come in threes, so that "2,55" read the wrong way round fails instead of being 255.
    """
    point, comma = (",", ".") if decimal_comma else (".", ",")
    pattern = re.compile(
        rf"([+-]?)\s*[£$€]?\s*([+-]?)([1-9]\d{{0,2}}(?:[{comma}]\d{{3}})+|\d*)(?:[{point}](\d*))?([eE][+-]?\d{{1,4}})?",
        re.ASCII,
    )

    def number(text: str) -> Decimal:
        match = pattern.fullmatch(text)
        if match is None:
            raise BadValueError("is not a number")
        sign, inner_sign, whole, fraction, exponent = match.groups("")
        try:  # what the pattern lets through and Decimal does not: two signs, no digits
            value = Decimal(f"{sign}{inner_sign}{whole.replace(comma, '')}.{fraction}{exponent}")
        except InvalidOperation:
            raise BadValueError("is not a number") from None
        if abs(value) > LIMIT:
            raise BadValueError(f"is beyond {LIMIT:,}")
        return value

    return number


class DecimalSign:
    """Whether a file with semicolons writes 2,55 or 2.55. Without a number that tells, it is the comma."""

    def __init__(self) -> None:
        self._comma_seen = self._point_seen = False

    def look_at(self, text: str) -> None:
        if re.search(r"\.(\d{1,2}|\d{4,})\s*$", text):  # not three digits: those are thousands
            self._point_seen = True
        elif "," in text:
            self._comma_seen = True

    def is_comma(self) -> bool:
        return self._comma_seen or not self._point_seen


_TIME = (
    r"(?:[ T]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<offset>Z|[+-]\d\d(?::?[0-5]\d)?))?)?"
)
_DATE = r"(?P<one>\d{1,2})(?P<sign>[/.-])(?P<two>\d{1,2})(?P=sign)(?P<year>\d{4})"
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)" + _TIME, re.ASCII)
_YEAR_LAST = re.compile(_DATE + _TIME, re.ASCII)
_YEAR_LAST_BEGINS = re.compile(r"\s*" + _DATE, re.ASCII)


def moment_reader(*, zone: tzinfo, month_first: Collection[str]) -> Callable[[str], datetime]:
    """Dates and times -> UTC. zone: of those without an offset. month_first: what DateOrder decided."""

    def moment(text: str) -> datetime:
        match = _YEAR_FIRST.fullmatch(text) or _YEAR_LAST.fullmatch(text)
        if match is None:
            raise BadValueError("is not a date; YYYY-MM-DD HH:MM:SS would be one")
        part = match.groupdict("")
        if match.re is _YEAR_FIRST:
            month, day = part["month"], part["day"]
        else:
            month, day = (part["one"], part["two"]) if part["sign"] in month_first else (part["two"], part["one"])
        hour = int(part["hour"] or 0)
        if part["half"]:
            if not 1 <= hour <= 12:
                raise BadValueError("is not a time of a twelve-hour clock")
            hour = hour % 12 + (12 if part["half"] in "Pp" else 0)
        try:
            local = datetime(
                int(part["year"]),
                int(month),
                int(day),
                hour,
                int(part["minute"] or 0),
                int(part["second"] or 0),
                int(part["fraction"][:6].ljust(6, "0")),
                tzinfo=_offset(part["offset"]) if part["offset"] else zone,
            )
        except ValueError:
            raise BadValueError("is a date or time that does not exist") from None
        if not 1970 <= local.year <= 2100:
            raise BadValueError("is outside the years 1970 to 2100")
        return local.astimezone(UTC)

    return moment


def _offset(text: str) -> tzinfo:
    """Z, +01, +0100 or +01:00. Raises ValueError from 24 hours on."""
    if text == "Z":
        return UTC
    ahead = timedelta(hours=int(text[1:3]), minutes=int(text[3:].removeprefix(":") or 0))
    return timezone(-ahead if text[0] == "-" else ahead)


class DateOrder:
    """Whether 03/04/2011 is in March or in April, from the dates of all files that leave no doubt.

    Asked for each sign (/ . -) by itself. Where every date leaves it open, slashes are read month first, as in the US,
    and dots and dashes day first; a note says so.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._example: dict[tuple[str, str], str] = {}
        self._last = ""

    def look_at(self, text: str) -> None:
        if text == self._last:  # files are mostly sorted by time
            return
        self._last = text
        match = _YEAR_LAST_BEGINS.match(text)
        if match is None:
            return
        one, two = int(match["one"]), int(match["two"])
        if 12 < one <= 31 and two <= 12:
            first = "day"
        elif 12 < two <= 31 and one <= 12:
            first = "month"
        elif one != two and one <= 12 and two <= 12:
            first = "either"
        else:
            return
        self._example.setdefault((match["sign"], first), text.strip()[:_EXAMPLE_LENGTH])

    def decide(self) -> frozenset[str]:
        """The signs whose dates have the month first. Raises InvalidInput where some have and others have not."""
        month_first = set()
        for sign in "/.-":
            day, month, either = (self._example.get((sign, first)) for first in ("day", "month", "either"))
            if day and month:
                raise InvalidInput(
                    f"Dates contradict each other: '{day}' has the day first, '{month}' has the month first. "
                    "Write all of them one way, best as YYYY-MM-DD."
                )
            if month or (sign == "/" and either and not day):
                month_first.add(sign)
            order = "month first" if sign in month_first else "day first"
            if day or month:
                self.notes.append(f"Dates like {day or month} were read {order}.")
            elif either:
                self.notes.append(
                    f"Dates like {either} were read {order}; no date of the file says which it is. "
                    "If that is wrong, write them as YYYY-MM-DD."
                )
        return frozenset(month_first)
