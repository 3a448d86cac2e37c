"""Reading CSV files: from bytes on a disk to records.

    files ── survey ──> encoding, delimiter, columns; how dates and numbers are written
      └───── split ───> cells ── convert ──> values ── preset ──> records, and an entry in the account

Each file is gone through twice. The survey finds what no single row can tell (is 03/04/2011 in March?), and finds a
file damaged at its end before any of its records has been handed out. Neither pass keeps rows in memory.
"""

import codecs
import csv
import gzip
import io
import re
import stat
import textwrap
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.core.errors import InvalidInput, RowsRejected, UnreadableFile, WrongColumns
from app.domain.records import Record
from app.sources.base import Batch, ReadingAccount, RejectedRow, StoreDefaults, Tally
from app.sources.csv_presets import ID_LENGTH, LIMIT, PRESETS, BadValueError, Field, Kind, Taken, to_four_places

BATCH_SIZE = 20_000
REJECTED_KEPT = 100
VALUE_LENGTH = 80
CACHE_SIZE = 1 << 16  # columns repeat their values; this many of each are remembered, however long the file is
HEAD_LENGTH = 1 << 16
NUMERIC = (Kind.number, Kind.quantity)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")

Convert = Callable[[str], Any]


class CsvSource:
    """One or more CSV files of one kind, read in the order given, as one source.

    preset         : a name in PRESETS
    mapping        : field of the preset -> the column it stands in, where that is not the field's own name
    store_timezone : whose local time a time without offset is, unless the preset knows. A time the clocks showed twice
                     is the first of the two; one they skipped is read with the offset from before the skip
    strict         : the first bad row raises RowsRejected

    Raises InvalidInput for a preset, field or timezone that does not exist. `batches` raises UnreadableFile,
    WrongColumns, or InvalidInput for dates that contradict each other, before it yields anything.

    A rejected row counts with its money where its numbers can be read and with 0 where they cannot, so that
    `account.read` is exactly what was taken + set aside + rejected, in rows and in money.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        preset: str,
        mapping: Mapping[str, str] = MappingProxyType({}),
        store_timezone: str = "UTC",
        strict: bool = False,
    ) -> None:
        if preset not in PRESETS:
            raise InvalidInput(f"There is no preset '{preset}'. There are: {', '.join(PRESETS)}.")
        if not paths:
            raise InvalidInput("No file was named. Name at least one CSV file.")
        self._preset = PRESETS[preset]()
        names = [known.name for known in self._preset.fields]
        for name, column in mapping.items():
            if name not in names:
                raise InvalidInput(
                    f"--map {name}={column}: preset '{preset}' has no field '{name}'. Its fields: {', '.join(names)}."
                )
        self.name = f"csv:{preset}"
        self.defaults = StoreDefaults(timezone=self._preset.timezone, currency=self._preset.currency)
        self.account = ReadingAccount()
        self._paths = list(paths)
        self._mapping = mapping
        self._zone = _zone(self._preset.timezone or store_timezone)
        self._strict = strict

    def batches(self) -> Iterator[Batch]:
        """Batches of about BATCH_SIZE records. The last one, which may be empty, has progress 1."""
        sizes = [_size(path) for path in self._paths]
        dates = DateOrder()
        tables = [_survey(path, self._preset.fields, self._mapping, dates) for path in self._paths]
        month_first = dates.decide()
        self.account.notes = [*(note for table in tables for note in table.notes), *dates.notes]

        records: list[Record] = []
        read_before = 0
        for table, size in zip(tables, sizes, strict=True):
            for new in self._records(table, month_first):
                records += new
                if len(records) >= BATCH_SIZE:
                    yield Batch(records, progress=min(1.0, (read_before + table.bytes_read()) / sum(sizes)))
                    records = []
            read_before += size
        self.account.notes += self._preset.notes
        yield Batch(records, progress=1.0)

    def _records(self, table: "Table", month_first: frozenset[str]) -> Iterator[Sequence[Record]]:
        """What each row becomes. Every row is entered in the account."""
        account, preset = self.account, self._preset
        read = readers(zone=self._zone, month_first=month_first, decimal_comma=table.decimal_comma)
        plan = [
            (_converter(known, read[known.kind]), table.columns[known.name])
            if known.name in table.columns
            else (_no_such_column, 0)
            for known in preset.fields
        ]
        preset.open_file(table.columns)

        for row, cells in enumerate(table.rows(), start=1):
            if isinstance(cells, BrokenRow):
                self._reject(RejectedRow(str(table.path), row, "", cells.start, cells.reason), money=Decimal(0))
                continue
            try:
                fate = preset.take(*[convert(cells[column]) for convert, column in plan])
            except BadValueError as bad:
                at_fault = bad.field or self._first_unreadable(plan, cells)
                name, value = table.cell(cells, at_fault)
                rejected = RejectedRow(str(table.path), row, name, value, bad.reason)
                self._reject(rejected, money=self._money_if_readable(plan, cells))
                continue

            account.read.add(fate.money)
            if isinstance(fate, Taken):
                _tally(account.taken, fate.what).add(fate.money)
            else:
                _tally(account.set_aside, fate.why).add(fate.money)
            if fate.records:
                yield fate.records

    def _first_unreadable(self, plan: Sequence[tuple[Convert, int]], cells: list[str]) -> str:
        """The field at fault, "" where every one can be read and only together they make no sense."""
        for (convert, column), known in zip(plan, self._preset.fields, strict=True):
            try:
                convert(cells[column])
            except BadValueError:
                return known.name
        return ""

    def _money_if_readable(self, plan: Sequence[tuple[Convert, int]], cells: list[str]) -> Decimal:
        steps = zip(plan, self._preset.fields, strict=True)
        try:
            return self._preset.money(*[convert(cells[at]) for (convert, at), known in steps if known.kind in NUMERIC])
        except BadValueError:
            return Decimal(0)

    def _reject(self, rejected: RejectedRow, *, money: Decimal) -> None:
        account = self.account
        account.read.add(money)
        account.n_rejected += 1
        account.rejected_money += money
        if len(account.rejected) < REJECTED_KEPT:
            account.rejected.append(rejected)
        if self._strict:
            where = f", column {rejected.column}" if rejected.column else ""
            raise RowsRejected(
                f"'{rejected.file}', row {rejected.row}{where}: '{rejected.value}' {rejected.reason}. "
                "Correct it, or leave out --strict to read the rest."
            )


def _tally(tallies: dict[str, Tally], what: str) -> Tally:
    if what not in tallies:
        tallies[what] = Tally()
    return tallies[what]


# --- One file: opening it, splitting it into rows, and finding out how it is written ---------------------------------


@dataclass(slots=True)
class Table:
    """A file that has been surveyed. columns: field -> position of its column, for the fields that have one."""

    path: Path
    encoding: str
    delimiter: str
    header: list[str]
    columns: dict[str, int]
    decimal_comma: bool
    notes: list[str]
    _on_disk: BinaryIO | None = None

    def rows(self) -> "Iterator[list[str] | BrokenRow]":
        with _open_text(self.path, self.encoding) as (text, on_disk):
            self._on_disk = on_disk
            rows = split(text, self.delimiter)
            next(rows)
            yield from rows

    def bytes_read(self) -> int:
        """By `rows` so far, of the file as it lies on the disk. Only while `rows` is going on."""
        return self._on_disk.tell() if self._on_disk else 0

    def cell(self, cells: list[str], name: str) -> tuple[str, str]:
        """The column of a field, as the header has it, and what stands there, as it can be shown."""
        if name not in self.columns:
            return name, ""
        at = self.columns[name]
        return _shown(self.header[at]), _shown(cells[at])


class BrokenRow(NamedTuple):
    """A line that cannot be split into as many fields as the header has."""

    start: str
    reason: str


def split(text: TextIO, delimiter: str) -> Iterator[list[str] | BrokenRow]:
    """The header, then the rows, each as wide as the header. Blank lines are no rows.

    A quotation mark opened by mistake swallows all lines up to the next one. Where that does not give a well quoted row
    of the right width, only the first line is lost, and reading goes on with the second.
    """
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = 0
    while True:
        try:
            for cells in reader:
                width = width or len(cells)
                if len(cells) == width:
                    lines.row.clear()
                    yield cells
                elif cells:
                    yield lines.lose_the_first(f"has {len(cells)} fields where the header has {width}")
                else:
                    lines.row.clear()
            return
        except csv.Error:
            yield lines.lose_the_first("has a quotation mark that is not closed, or closed too early")


class _Lines:
    """The lines of a file for csv.reader. Those of the current row are kept, so that they can be given back."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self.row: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._text)
        self.row.append(line)
        return line

    def lose_the_first(self, reason: str) -> BrokenRow:
        """Gives back all lines of the row but the first, which is broken for this reason."""
        first, *others = self.row
        self._again.extendleft(reversed(others))
        self.row.clear()
        return BrokenRow(_shown(first), reason)


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """What the operating system and the decompressor have to say, said for people."""
    try:
        yield
    except FileNotFoundError:
        raise UnreadableFile(f"There is no file '{path}'. Check the path.") from None
    except PermissionError:
        raise UnreadableFile(f"Reading '{path}' is not permitted. Allow it, or copy the file elsewhere.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(
            f"'{path}' is damaged or cut short ({error}). Fetch it again, or compress it again."
        ) from None
    except OSError as error:
        raise UnreadableFile(f"'{path}' cannot be read: {error.strerror or error}.") from None


def _size(path: Path) -> int:
    with _one_line_errors(path):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableFile(f"'{path}' is a directory. Name the CSV files in it.")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFile(f"'{path}' is not a regular file, and cannot be read twice. Save it to a file first.")
    return status.st_size


@contextmanager
def _open_bytes(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The content, decompressed if need be, and the file on the disk, whose position is the progress."""
    with _one_line_errors(path), path.open("rb") as on_disk:
        compressed = on_disk.read(2) == b"\x1f\x8b" or path.suffix.lower() == ".gz"
        on_disk.seek(0)
        if not compressed:
            yield on_disk, on_disk
            return
        with gzip.GzipFile(fileobj=on_disk) as content:
            yield io.BufferedReader(content), on_disk


@contextmanager
def _open_text(path: Path, encoding: str) -> Iterator[tuple[TextIO, BinaryIO]]:
    with _open_bytes(path) as (content, on_disk), io.TextIOWrapper(content, encoding, newline="") as text:
        yield text, on_disk


def _survey(path: Path, fields: Sequence[Field], mapping: Mapping[str, str], dates: "DateOrder") -> Table:
    """Reads the whole file once, in the first encoding that fits all of it."""
    with _open_bytes(path) as (content, _):
        start = content.read(3)
    if start == codecs.BOM_UTF8:
        encodings = ["utf-8-sig"]
    elif start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            return _survey_as(path, encoding, fields, mapping, dates)
        except UnicodeDecodeError:
            continue
    raise _not_text(path)


def _survey_as(
    path: Path, encoding: str, fields: Sequence[Field], mapping: Mapping[str, str], dates: "DateOrder"
) -> Table:
    with _open_text(path, encoding) as (text, _):
        head = text.read(HEAD_LENGTH)
        text.seek(0)
        if not head.strip():
            raise UnreadableFile(f"'{path}' is empty. A header line and the rows below it are needed.")
        first_line = re.split(r"[\r\n]", re.sub(r'"[^"]*"', "", head).lstrip(), maxsplit=1)[0]
        delimiter = max(",;\t|", key=first_line.count)
        # A control character below a good header is one bad row; a picture or a spreadsheet has no good header.
        is_garbled = len(_CONTROL.findall(head)) > len(head) / 20
        if _CONTROL.search(first_line) or (is_garbled and delimiter not in first_line):
            raise _not_text(path)

        rows = split(text, delimiter)
        header = next(rows)
        if isinstance(header, BrokenRow):
            raise UnreadableFile(f"The header of '{path}' {header.reason}. Correct the first line.")
        columns = _columns(path, header, fields, mapping)
        notes = [] if encoding.startswith("utf-8") else [f"'{path}' is not UTF-8; it was read as {encoding}."]
        moments = [columns[known.name] for known in fields if known.kind is Kind.moment and known.name in columns]
        numbers = [columns[known.name] for known in fields if known.kind in NUMERIC and known.name in columns]
        signs = DecimalSign()
        for cells in rows:
            if isinstance(cells, BrokenRow):
                continue
            for at in moments:
                dates.look_at(cells[at])
            if delimiter == ";":
                for at in numbers:
                    signs.look_at(cells[at])
        return Table(path, encoding, delimiter, header, columns, delimiter == ";" and signs.is_comma(), notes)


def _columns(path: Path, header: list[str], fields: Sequence[Field], mapping: Mapping[str, str]) -> dict[str, int]:
    """Field -> position of its column. Names match whatever their case and the blanks around them."""
    positions: dict[str, int] = {}
    for at, name in enumerate(header):
        key = _key(name)
        if key and key in positions:
            raise WrongColumns(f"'{path}' has two columns '{_shown(name)}'. Rename or remove one of them.")
        positions[key] = at
    names = {known.name: mapping.get(known.name, known.name) for known in fields}
    missing = [
        names[known.name]
        for known in fields
        if _key(names[known.name]) not in positions and (known.column_needed or known.name in mapping)
    ]
    if missing:
        found = textwrap.shorten(", ".join(name.strip() for name in header), 1000)
        raise WrongColumns(
            f"'{path}' has no column {', '.join(missing)}. It has: {found}. "
            f"Where a column goes by another name, say so with --map FIELD=COLUMN; fields are: {', '.join(names)}."
        )
    return {name: positions[_key(column)] for name, column in names.items() if _key(column) in positions}


def _key(name: str) -> str:
    return name.strip().casefold()


def _not_text(path: Path) -> UnreadableFile:
    return UnreadableFile(f"'{path}' is not text. Save it as CSV in UTF-8 (a spreadsheet can do that).")


def _shown(value: str) -> str:
    """A value as it can be kept and printed: short, on one line, without what databases and terminals choke on."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(value.split()))[:VALUE_LENGTH]


# --- One cell: from text to a value ----------------------------------------------------------------------------------


def _converter(wanted: Field, read: Convert) -> Convert:
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


def _no_such_column(_: str) -> None:
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
        self._example.setdefault((match["sign"], first), text.strip()[:VALUE_LENGTH])

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


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(f"There is no timezone '{name}'. Name one such as Europe/London or UTC.") from None
