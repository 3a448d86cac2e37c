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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.core.errors import InvalidInput, RowsRejected, UnreadableFile, WrongColumns
from app.domain.records import Record
from app.sources.base import Batch, ReadingAccount, RejectedRow, StoreDefaults, Tally
from app.sources.csv_presets import PRESETS, BadValueError, Field, Kind, Taken
from app.sources.csv_values import Convert, DateOrder, DecimalSign, converter, no_such_column, readers

BATCH_SIZE = 20_000
REJECTED_KEPT = 100
VALUE_LENGTH = 80
HEAD_LENGTH = 1 << 16
NUMERIC = (Kind.number, Kind.quantity)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


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
            (converter(known, read[known.kind]), table.columns[known.name])
            if known.name in table.columns
            else (no_such_column, 0)
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


def _survey(path: Path, fields: Sequence[Field], mapping: Mapping[str, str], dates: DateOrder) -> Table:
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
    path: Path, encoding: str, fields: Sequence[Field], mapping: Mapping[str, str], dates: DateOrder
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


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(f"There is no timezone '{name}'. Name one such as Europe/London or UTC.") from None
