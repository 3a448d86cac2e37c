"""The parameters that several routes take, each checked before anything is asked of the database.

What is refused of a text, the API's description says as well, in JSON Schema's words: `Told` stands beside each check.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.core.errors import InvalidParameter

_LONGEST = 255
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_CONTROL = re.compile(f"[{_CONTROLS}]")
# JSON can spell the halves of a character one by one; alone they are none, and no database takes them.
_HALF = re.compile(r"[\ud800-\udfff]")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _plain(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST} characters")
    if _CONTROL.search(text):
        raise ValueError("it holds a control character")
    if _HALF.search(text):
        raise ValueError("it holds half of a character")
    return text


def _something(text: str) -> str:
    if not (told := _plain(text).strip()):
        raise ValueError("it is empty")
    return told


def _day(text: object) -> object:
    if isinstance(text, str):
        if not _DAY.fullmatch(text):
            raise ValueError("it is not a date; write it as YYYY-MM-DD")
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise ValueError("there is no such day; write a date as YYYY-MM-DD") from None
    return text


def _day_or_moment(text: object) -> object:
    if not isinstance(text, str) or _DAY.fullmatch(text):
        return _day(text)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "it is neither a date nor a moment; write it as YYYY-MM-DD, or with its offset from UTC, such as "
            "2026-03-01T12:00:00Z"
        ) from None


@dataclass(frozen=True)
class Told:
    """What the description says of a text that something else checks. longest : None where the pattern bounds it"""

    pattern: str
    longest: int | None = _LONGEST

    def __get_pydantic_json_schema__(self, core: CoreSchema, told: GetJsonSchemaHandler) -> JsonSchemaValue:
        length = {} if self.longest is None else {"maxLength": self.longest}
        return {**told(core), **length, "pattern": self.pattern}


Plain = Annotated[str, AfterValidator(_plain), Told(f"^[^{_CONTROLS}]*$")]
Something = Annotated[str, AfterValidator(_something), Told(rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$")]
Day = Annotated[date, BeforeValidator(_day)]
DayOrMoment = Annotated[date | datetime, BeforeValidator(_day_or_moment)]

CustomerId = Annotated[
    Plain,
    Path(description="The shop's own id of the customer, or the pseudonym.", examples=["C0000001"]),
]
ArchetypeId = Annotated[Plain, Path(description="Of any level; take one from `GET /api/mcp/archetypes/top`.")]
Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=2_000, description="`next_cursor` of the page before.")]


def plain_id(field: str, text: str) -> str:
    """An id as it may be looked up. Raises InvalidParameter as the route's own parameters do."""
    try:
        return _plain(text)
    except ValueError as error:
        raise InvalidParameter(field, str(error)) from None


def some_of(there: Iterable[str]) -> Told:
    """Of a comma list that `names_among` reads."""
    name = rf"\s*(({'|'.join(there)})\s*)?"
    return Told(f"^{name}(,{name})*$", longest=None)


def at_most(most: int) -> Told:
    """Of a comma list that `comma_list` reads."""
    return Told(f"^[^,{_CONTROLS}]*(,[^,{_CONTROLS}]*){{0,{most - 1}}}$")


def names_among(field: str, listed: str | None, there: Iterable[str]) -> frozenset[str]:
    """The names of a comma list. Raises InvalidParameter for one that is not among those there are."""
    if listed is None:
        return frozenset()
    known = list(there)
    wanted = frozenset(name.strip() for name in listed.split(",") if name.strip())
    if not wanted <= set(known):
        raise InvalidParameter(field, f"takes a comma list of {', '.join(known)}")
    return wanted


def comma_list(field: str, listed: str | None, *, most: int) -> Sequence[str] | None:
    """The parts of a comma list but for empty ones, None where none is given. Raises InvalidParameter for more."""
    if listed is None:
        return None
    parts = listed.split(",")
    if len(parts) > most:
        raise InvalidParameter(field, f"takes {most} at most, separated by commas")
    return [part.strip() for part in parts if part.strip()] or None
