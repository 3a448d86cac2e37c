"""Reading CSV files as shops and spreadsheets write them, damaged ones included."""

import gzip
import random
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import AppError, InvalidInput, RowsRejected, UnreadableFile, WrongColumns
from app.domain.records import Customer, Order, OrderLine, Record, Refund
from app.sources import csv_file
from app.sources.base import ReadingAccount, RejectedRow
from app.sources.csv_file import BATCH_SIZE, CsvSource
from app.sources.csv_presets import PRESETS, BadValueError
from app.sources.csv_values import number_reader

HEADER = "customer_id,order_date,amount\n"


def log_source(*paths: Path, **options: object) -> CsvSource:
    return CsvSource(paths, preset="transactions", **options)  # type: ignore[arg-type]


def records_of(source: CsvSource) -> list[Record]:
    return [record for batch in source.batches() for record in batch.records]


def read(path: Path, content: str | bytes, **options: object) -> tuple[list[Record], ReadingAccount]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = log_source(path, **options)
    return records_of(source), source.account


def amounts(records: Sequence[Record]) -> list[Decimal]:
    return [record.amount for record in records if isinstance(record, OrderLine)]


def times(records: Sequence[Record]) -> list[datetime]:
    return [record.ordered_at for record in records if isinstance(record, Order)]


def assert_adds_up(account: ReadingAccount) -> None:
    tallies = [*account.taken.values(), *account.set_aside.values()]
    assert account.read.rows == sum(tally.rows for tally in tallies) + account.n_rejected
    assert account.read.money == sum((tally.money for tally in tallies), Decimal(0)) + account.rejected_money


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


# --- how files are written


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("cp1252"),
        lambda text: gzip.compress(text.encode("utf-8")),
        lambda text: gzip.compress(text.encode("cp1252")),
        lambda text: text.replace("\n", "\r\n").encode("utf-8"),
        lambda text: text.replace("\n", "\r").encode("utf-8"),
        lambda text: text.rstrip("\n").encode("utf-8"),
        lambda text: text.replace("\n", "\n\n").encode("utf-8"),
        *(lambda text, sign=sign: text.replace(",", sign).encode() for sign in ";\t|"),
    ],
)
def test_the_way_a_file_is_written_does_not_change_what_it_says(log: Path, encode: Callable[[str], bytes]) -> None:
    records, account = read(log, encode("customer_id,order_date,country\nZoë,2011-01-31,Österreich €\n"))
    assert records[0] == Customer(customer_id="Zoë", country="Österreich €")
    assert (account.read.rows, account.n_rejected) == (1, 0)


def test_a_file_that_is_not_utf8_is_noted(log: Path) -> None:
    _, account = read(log, (HEADER + "a,2011-01-31,1\n").encode() * 1 + "Zoë,2011-01-31,1\n".encode("latin-1"))
    assert any("not UTF-8" in note for note in account.notes)
    records, account = read(log, HEADER.encode() + b"\x81,2011-01-31,1\n")
    assert account.notes[0].endswith("latin-1.")
    assert records[0] == Customer(customer_id="\x81")


def test_gzip_goes_by_content_as_well_as_by_name(tmp_path: Path) -> None:
    for name in ("log.csv", "log.csv.gz", "log.CSV.GZ"):
        records, _ = read(tmp_path / name, gzip.compress((HEADER + "a,2011-01-31,1\n").encode()))
        assert len(records) == 3


def test_names_of_columns_match_whatever_their_case_and_blanks_and_others_are_ignored(log: Path) -> None:
    records, _ = read(log, ' Order_Date ,"a, b",AMOUNT,Customer_ID,,\n2011-01-31,?,5,x,,\n')
    assert amounts(records) == [Decimal(5)]


def test_quoted_fields_may_hold_delimiters_quotes_and_line_ends(log: Path) -> None:
    records, account = read(log, 'customer_id;order_date;product\na;2011-01-31;"5"" nails;\nlong"\n')
    assert [record.product_id for record in records if isinstance(record, OrderLine)] == ['5" nails;\nlong']
    assert account.n_rejected == 0


def test_several_files_are_one_source(tmp_path: Path) -> None:
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    first.write_text(HEADER + "a,2011-01-31,1\n")
    second.write_text("amount;customer_id;order_date\n2,5;a;2011-01-31\n")
    source = log_source(first, second)
    records = records_of(source)
    assert [type(record) for record in records] == [Customer, Order, OrderLine, OrderLine]
    assert source.account.read.money == Decimal("3.5")


def test_a_header_alone_is_zero_rows(log: Path) -> None:
    records, account = read(log, HEADER)
    assert (records, account.read.rows) == ([], 0)


def test_progress_never_falls_and_ends_at_one(tmp_path: Path) -> None:
    paths = [tmp_path / "1.csv.gz", tmp_path / "2.csv"]
    text = HEADER + "".join(f"c{n},2011-01-31,1\n" for n in range(BATCH_SIZE))
    paths[0].write_bytes(gzip.compress(text.encode()))
    paths[1].write_text(text)
    batches = list(log_source(*paths).batches())
    progress = [batch.progress for batch in batches]
    assert progress == sorted(progress)
    assert 0 < progress[0] < 1 and progress[-1] == 1
    assert all(len(batch.records) <= BATCH_SIZE + 3 for batch in batches)
    assert sum(len(batch.records) for batch in batches) == 4 * BATCH_SIZE  # the second file brings only lines


def test_memory_does_not_grow_with_the_file(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "BATCH_SIZE", 500)

    def peak(n_rows: int) -> int:
        log.write_text(HEADER + "".join(f"c{n % 50},2011-01-31,{n % 70}\n" for n in range(n_rows)))
        tracemalloc.start()
        for _ in log_source(log).batches():
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(12_000) < 1.2 * peak(4_000)


# --- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.55", "2.55"),
        (" 2.55 ", "2.55"),
        ("£2.55", "2.55"),
        ("$ 2.55", "2.55"),
        ("-€2.55", "-2.55"),
        ("€-2.55", "-2.55"),
        ("+3", "3"),
        (".5", "0.5"),
        ("5.", "5"),
        ('"1,234.56"', "1234.56"),
        ('"12,345,678"', "12345678"),
        ("1e3", "1000"),
        ("1.5E-2", "0.015"),
        ("1e12", "1000000000000"),
        ("10000000000000", "10000000000000"),
    ],
)
def test_numbers_as_people_write_them(log: Path, text: str, value: str) -> None:
    _, account = read(log, HEADER + f"a,2011-01-31,{text}\n")
    assert (account.read.money, account.n_rejected) == (Decimal(value), 0)


@pytest.mark.parametrize(
    "text",
    [
        *("x", "NaN", "Infinity", "-inf", "1e400", "1e13000", "10000000000001", "--1", "+-1", "1.2.3", ".", "£"),
        *("1_000", "١٢", "2½", "0x1F", "1e", "e5"),
        *("1 000", '"2,55"', '"0,123"', '"1,23,456"', '"1234,567"'),
    ],
)
def test_what_is_not_a_number_is_rejected_with_what_it_says(log: Path, text: str) -> None:
    records, account = read(log, HEADER + f"a,2011-01-31,{text}\nb,2011-01-31,1\n")
    (bad,) = account.rejected
    assert (bad.file, bad.row, bad.column, bad.value) == (str(log), 1, "amount", text.strip('"'))
    assert amounts(records) == [Decimal(1)]


@pytest.mark.parametrize(
    ("text", "value"), [("2,55", "2.55"), ("1.234,56", "1234.56"), ("1.234", "1234"), ("-€ 1.234.567,8", "-1234567.8")]
)
def test_semicolons_come_with_decimal_commas(log: Path, text: str, value: str) -> None:
    _, account = read(log, f"customer_id;order_date;amount\na;2011-01-31;{text}\n")
    assert account.read.money == Decimal(value)


def test_a_file_with_semicolons_and_decimal_points_is_read_by_its_points(log: Path) -> None:
    _, account = read(log, "customer_id;order_date;amount\na;2011-01-31;1.250\nb;2011-01-31;2.55\n")
    assert account.read.money == Decimal("3.8")


@given(st.decimals(-(10**13), 10**13, places=4), st.booleans(), st.booleans(), st.sampled_from(["", "£", "$ ", "€"]))
def test_a_number_survives_every_way_of_writing_it(
    value: Decimal, decimal_comma: bool, thousands: bool, currency: str
) -> None:
    text = f"{abs(value):,.4f}" if thousands else f"{abs(value):.4f}"
    if decimal_comma:
        text = text.translate(str.maketrans(",.", ".,"))
    sign = "-" if value < 0 else ""
    assert number_reader(decimal_comma=decimal_comma)(f"{sign}{currency}{text}") == value


@given(st.text(st.characters(categories=["Nd", "Sc", "P", "L"]), max_size=12))
def test_any_text_is_a_number_within_bounds_or_a_bad_value(text: str) -> None:
    try:
        value = number_reader(decimal_comma=False)(text)
    except BadValueError:
        return
    assert value.is_finite() and abs(value) <= 10**13


# --- dates


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2011-07-01", "2011-06-30 23:00"),
        ("2011-07-01 08:26", "2011-07-01 07:26"),
        ("2011-07-01T08:26:30", "2011-07-01 07:26:30"),
        ("2011-07-01 08:26:30.1234567", "2011-07-01 07:26:30.123456"),
        ("2011-07-01T08:26:30Z", "2011-07-01 08:26:30"),
        ("2011-07-01T08:26:30.5+02:00", "2011-07-01 06:26:30.5"),
        ("2011-07-01 08:26-0530", "2011-07-01 13:56"),
        ("2011-07-01 08:26 +01", "2011-07-01 07:26"),
        ("2011-12-01 08:26", "2011-12-01 08:26"),
        ("31/7/2011 08:26", "2011-07-31 07:26"),
        ("7/31/2011 8:26", "2011-07-31 07:26"),
        ("31.07.2011", "2011-07-30 23:00"),
        ("31-07-2011 12:00 AM", "2011-07-30 23:00"),
        ("7/31/2011 12:30:15 PM", "2011-07-31 11:30:15"),
        ("7/31/2011 1:30pm", "2011-07-31 12:30"),
    ],
)
def test_dates_as_shops_write_them(log: Path, text: str, utc: str) -> None:
    records, account = read(log, HEADER + f'a,"{text}",1\n', store_timezone="Europe/London")
    assert account.rejected == []
    assert times(records) == [datetime.fromisoformat(utc).replace(tzinfo=UTC)]


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "2011-02-30", "2011-13-01", "31/02/2011", "1969-12-31", "2101-01-01", "01/02/11", "11-02-01"),
        *("2011-01-01 25:00", "2011-01-01 13:00 PM", "2011-01-01 10:60", "2011-01-01T10:00+24:00", "2011-01-01 x"),
        *("20110101", "40544", "1/2-2011", "२०११-०१-०१"),
    ],
)
def test_what_is_not_a_date_is_rejected(log: Path, text: str) -> None:
    _, account = read(log, HEADER + f"a,{text},5\n")
    assert [(bad.column, bad.value) for bad in account.rejected] == [("order_date", text)]
    assert account.read.money == account.rejected_money == 5


@pytest.mark.parametrize(
    ("sure", "doubtful", "month"),
    [("13/04/2011", "03/04/2011", 4), ("04/13/2011", "03/04/2011", 3), ("04-13-2011", "03-04-2011", 3)],
)
def test_one_date_without_doubt_decides_for_the_whole_file_wherever_it_stands(
    log: Path, sure: str, doubtful: str, month: int
) -> None:
    for order in ([sure, doubtful], [doubtful, sure]):
        records, _ = read(log, HEADER + "".join(f"{date},{date},1\n" for date in order))
        assert {when.month for when in times(records)} == {4, month}


def test_dates_that_leave_it_open_are_read_month_first_and_noted(log: Path) -> None:
    records, account = read(log, HEADER + "a,03/04/2011,1\n")
    assert times(records) == [datetime(2011, 3, 4, tzinfo=UTC)]
    assert any("03/04/2011" in note and "month first" in note for note in account.notes)


def test_dots_and_dashes_that_leave_it_open_are_read_day_first_and_noted(log: Path) -> None:
    records, account = read(log, HEADER + "a,03.04.2011,1\na,05-04-2011,1\n")
    assert [(when.day, when.month) for when in times(records)] == [(3, 4), (5, 4)]
    assert sum("day first" in note for note in account.notes) == 2


def test_a_date_beyond_every_calendar_decides_nothing(log: Path) -> None:
    _, account = read(log, HEADER + "a,45/04/2011,1\nb,01/31/2011,1\n")
    assert account.n_rejected == 1


def test_dates_that_contradict_each_other_stop_before_anything_is_read(log: Path) -> None:
    log.write_text(HEADER + "a,13/01/2011,1\nb,01/14/2011,1\n")
    with pytest.raises(InvalidInput, match=r"'13/01/2011'.*'01/14/2011'"):
        next(log_source(log).batches())


@settings(deadline=None)  # files on a busy machine
@given(
    st.integers(86_400, 4_133_894_400),
    st.sampled_from(["UTC", "Europe/London", "America/New_York", "Asia/Kolkata"]),
)
def test_a_time_with_its_offset_is_the_same_moment_in_every_shop(seconds: int, written_in: str) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        text = HEADER + f"a,{moment.astimezone(ZoneInfo(written_in)).isoformat()},1\n"
        records, _ = read(path, text, store_timezone="Asia/Tokyo")
    assert times(records) == [moment]


# --- bad rows


def test_a_bad_row_never_stops_the_rest(log: Path) -> None:
    long_id = "x" * 256
    records, account = read(
        log,
        HEADER
        + "a,2011-01-31\n"  # 1: too few fields
        + "a,2011-01-31,1,1\n"  # 2: too many
        + f"{long_id},2011-01-31,1\n"  # 3
        + "a\0b,2011-01-31,1\n"  # 4
        + " ,2011-01-31,1\n"  # 5
        + f"a,{'9' * 200},1\n"  # 6
        + "good,2011-01-31,1\n"  # 7
        + "a,2011-01",  # 8: the file was cut off
    )
    assert [record.customer_id for record in records if isinstance(record, Customer)] == ["good"]
    assert [(bad.row, bad.column) for bad in account.rejected] == [
        (1, ""),
        (2, ""),
        (3, "customer_id"),
        (4, "customer_id"),
        (5, "customer_id"),
        (6, "order_date"),
        (8, ""),
    ]
    assert all(len(bad.value) <= 80 and "\0" not in bad.value and bad.reason for bad in account.rejected)
    assert account.rejected[0].reason == "has 2 fields where the header has 3"
    assert_adds_up(account)


def test_an_unclosed_quotation_mark_costs_one_row(log: Path) -> None:
    good = "".join(f"g{n},2011-01-31,1\n" for n in range(5))
    for spoiled in ('"a,2011-01-31,1\n', 'a,2011-01-31,"1\n', 'a,"2011-01-31,1\n'):
        for others in (good, good + 'q,2011-01-31,"1"\n', good * 3000):
            n_good = others.count("\n")
            _, account = read(log, HEADER + good + spoiled + others)
            assert (account.read.rows, account.n_rejected) == (5 + 1 + n_good, 1)
            assert account.rejected[0].row == 6


def test_a_file_cut_off_within_quotation_marks_loses_its_last_row_only(log: Path) -> None:
    _, account = read(log, 'customer_id,order_date,country\na,2011-01-31,"UK"\nb,2011-01-31,"United King')
    assert (account.read.rows, account.n_rejected) == (2, 1)
    assert account.rejected[0].reason.startswith("has a quotation mark")


def test_a_rejected_row_is_named_by_the_column_of_the_file(log: Path) -> None:
    _, account = read(log, "Who,order_date\n,2011-01-31\n", mapping={"customer_id": "who"})
    assert account.rejected == [RejectedRow(str(log), 1, "Who", "", "is empty")]


def test_only_the_first_hundred_rejected_rows_are_kept_and_all_are_counted(log: Path) -> None:
    _, account = read(log, HEADER + "a,never,2\n" * 150)
    assert (len(account.rejected), account.n_rejected, account.rejected_money) == (100, 150, Decimal(300))


def test_what_is_shown_of_a_bad_value_is_one_short_line(log: Path) -> None:
    _, account = read(log, HEADER + f'a,2011-01-31,"x\n\x1b[2J{"y" * 100}"\n')
    assert account.rejected[0].value == "x \N{REPLACEMENT CHARACTER}[2J" + "y" * 74


def test_strict_stops_at_the_first_bad_row(log: Path) -> None:
    log.write_text(HEADER + "a,2011-01-31,1\nb,never,1\nc,never,1\n")
    source = log_source(log, strict=True)
    with pytest.raises(RowsRejected, match=r"row 2, column order_date: 'never'"):
        records_of(source)


# --- files that cannot be used


def assert_one_line(error: pytest.ExceptionInfo[AppError], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_missing_file_is_named(log: Path) -> None:
    with pytest.raises(UnreadableFile) as error:
        records_of(log_source(log))
    assert_one_line(error, "There is no file", str(log))


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile) as error:
        records_of(log_source(tmp_path))
    assert_one_line(error, "is a directory")


def test_a_file_that_may_not_be_read_says_so(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    log.write_text(HEADER)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableFile) as error:
        records_of(log_source(log))
    assert_one_line(error, "not permitted")


def test_a_damaged_archive_is_found_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    rng = random.Random(1)
    text = HEADER + "".join(f"{rng.random()},2011-01-31,1\n" for _ in range(30_000))
    whole = gzip.compress(text.encode())
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    wrong_checksum = whole[:-8] + bytes(4) + whole[-4:]
    for content in (whole[:-1000], whole[:5], bytes(flipped), wrong_checksum, b"no archive", whole + b"more"):
        path.write_bytes(content)
        with pytest.raises(UnreadableFile) as error:
            next(log_source(path).batches())
        assert_one_line(error, "damaged or cut short", str(path))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_says_so(log: Path, content: bytes) -> None:
    with pytest.raises(UnreadableFile) as error:
        read(log, content)
    assert_one_line(error, "is empty")


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04\x14\x00\x06\x00" + bytes(range(256)) * 20,
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 20,
        HEADER.encode("utf-16-le"),
        b"\xff\xfea",
        random.Random(1).randbytes(50_000),
    ],
)
def test_what_is_not_text_says_so(log: Path, content: bytes) -> None:
    with pytest.raises(UnreadableFile) as error:
        read(log, content)
    assert_one_line(error, "is not text")


def test_missing_columns_are_named_with_those_there_are(log: Path) -> None:
    with pytest.raises(WrongColumns) as error:
        read(log, "CustomerKey,day,amount\n")
    assert_one_line(error, "customer_id, order_date", "CustomerKey, day, amount", "--map")


def test_a_mapped_column_must_be_there_even_where_the_field_is_optional(log: Path) -> None:
    with pytest.raises(WrongColumns) as error:
        read(log, HEADER, mapping={"email": "E-Mail"})
    assert_one_line(error, "no column E-Mail")


def test_two_columns_of_one_name_are_refused(log: Path) -> None:
    with pytest.raises(WrongColumns) as error:
        read(log, "customer_id,order_date,Amount,amount \n")
    assert_one_line(error, "two columns 'amount'")


def test_unknown_presets_fields_and_timezones_are_refused_at_once(log: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        CsvSource([log], preset="nonsense")
    assert_one_line(error, "nonsense", *PRESETS)
    with pytest.raises(InvalidInput) as error:
        log_source(log, mapping={"custmer_id": "x"})
    assert_one_line(error, "custmer_id", "customer_id")
    with pytest.raises(InvalidInput) as error:
        log_source(log, store_timezone="Mars/Olympus")
    assert_one_line(error, "Mars/Olympus")
    with pytest.raises(InvalidInput):
        log_source()


# --- the account

cell = st.sampled_from(
    [
        *("", "A", "B", "POST", "D", "C1", "7", "7.0", "8", "x", "a\0b", "1,5"),
        *("0", "-1", "3", "2.55", "-2.5", "0.00005", "1e12", "1e13", "1e400"),
        *("2011-01-01", "2011-01-01 10:00", "13/01/2011"),
    ]
)
good_row = st.tuples(
    st.sampled_from(["1", "2", "C3"]),
    st.sampled_from(["A", "post", "D", "B", "CRUK"]),
    st.just("x"),
    st.decimals(-1000, 1000, places=1).map(str),
    st.sampled_from(["2011-01-01 10:00", "2011-03-27 01:30", "2011-10-30 01:30:00"]),
    st.decimals(-10, 1000, places=6).map(str),
    st.sampled_from(["", "7", "8", "8.0"]),
    st.sampled_from(["UK", "France", ""]),
)
any_row = good_row | st.lists(cell, min_size=7, max_size=9).map(tuple)
ONLINE_RETAIL = "InvoiceNo\tStockCode\tDescription\tQuantity\tInvoiceDate\tUnitPrice\tCustomerID\tCountry\n"


def account_of(rows: Sequence[tuple[str, ...]], preset: str, header: str) -> tuple[list[Record], ReadingAccount]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_text(header + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
        source = CsvSource([path], preset=preset)
        return records_of(source), source.account


@settings(deadline=None)  # files on a busy machine
@given(st.lists(any_row, max_size=20))
def test_every_row_and_every_penny_is_accounted_for(rows: list[tuple[str, ...]]) -> None:
    records, account = account_of(rows, "online-retail", ONLINE_RETAIL)
    assert_adds_up(account)
    assert account.read.rows == len(rows)
    lines = sum((record.amount for record in records if isinstance(record, OrderLine)), Decimal(0))
    sold = sum((tally.money for key, tally in account.taken.items() if key.endswith("line")), Decimal(0))
    assert lines == sold
    told = {record.order_id for record in records if isinstance(record, Order)}
    assert all(record.order_id in told for record in records if isinstance(record, OrderLine))
    known = {record.customer_id for record in records if isinstance(record, Customer)}
    assert all(record.customer_id in known for record in records if isinstance(record, Order | Refund))


@settings(deadline=None)  # files on a busy machine
@given(st.lists(st.lists(cell, min_size=5, max_size=5).map(tuple), max_size=20))
def test_a_log_too_is_accounted_for(rows: list[tuple[str, ...]]) -> None:
    _, account = account_of(rows, "transactions", "customer_id\torder_date\tamount\tquantity\tprice\n")
    assert_adds_up(account)
    assert account.read.rows == len(rows)


@settings(deadline=None)  # files on a busy machine
@given(st.lists(good_row, max_size=20), st.randoms(use_true_random=False))
def test_shuffling_the_rows_keeps_the_account(rows: list[tuple[str, ...]], rng: random.Random) -> None:
    _, account = account_of(rows, "online-retail", ONLINE_RETAIL)
    shuffled = list(rows)
    rng.shuffle(shuffled)
    _, other = account_of(shuffled, "online-retail", ONLINE_RETAIL)
    assert (account.read, account.taken, account.set_aside) == (other.read, other.taken, other.set_aside)
    assert (account.n_rejected, account.rejected_money) == (other.n_rejected, other.rejected_money)


@settings(deadline=None)  # files on a busy machine
@given(st.decimals(-1000, 1000, places=8), st.decimals(1, 1000, places=3))
def test_amounts_are_exact_to_four_decimals(price: Decimal, quantity: Decimal) -> None:
    _, account = account_of(
        [("a", "2011-01-01", str(abs(price)), str(quantity))],
        "transactions",
        "customer_id\torder_date\tprice\tquantity\n",
    )
    exact = (abs(price) * quantity).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
    assert account.read.money == exact


# --- the real file


def test_online_retail_is_read_to_the_last_row_and_penny(real_data_dir: Path) -> None:
    source = CsvSource([real_data_dir / "online_retail" / "online_retail.csv.gz"], preset="online-retail")
    customers: set[str] = set()
    invoices: set[str] = set()
    for batch in source.batches():
        for record in batch.records:
            if isinstance(record, Customer):
                customers.add(record.customer_id)
            elif isinstance(record, Order):
                invoices.add(record.order_id)
    account = source.account
    assert_adds_up(account)
    assert (account.read.rows, account.read.money) == (541_909, Decimal("9747747.934"))
    assert account.n_rejected == 0
    assert {key: tally.rows for key, tally in account.set_aside.items()} == {
        "no customer id": 135_080,
        "price of zero": 40,
    }
    assert {key: (tally.rows, tally.money) for key, tally in account.taken.items()} == {
        "goods line": (396_340, Decimal("8761066.653")),
        "shipping line": (1_248, Decimal("96396.32")),
        "manual line": (296, Decimal("53944.931")),
        "return": (8_539, Decimal("-474403.33")),
        "credit": (366, Decimal("-136938.76")),
    }
    assert len(customers) == 4_372
