"""Rows in the binary form of COPY come out as they went in, to the last bit and digit."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Date,
    Double,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import CreateTable

from app.warehouse import copying
from app.warehouse.copying import copy_in_binary
from app.warehouse.engine import Database

TRIP = Table(
    "trip",
    MetaData(),
    Column("number", BigInteger),
    Column("count", Integer),
    Column("code", SmallInteger),
    Column("share", Double),
    Column("amount", Numeric(24, 4)),
    Column("word", Text),
    Column("day", Date),
    Column("changed_on", Date),
    Column("told", JSONB),
    Column("shares", ARRAY(Double)),
    Column("places", ARRAY(SmallInteger)),
    Column("words", ARRAY(Text)),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
ODD = [
    "",
    " ",
    'say "no"',
    "O'Hara",
    "a,b",
    "two\r\nlines",
    "\t",
    "\\N",
    "\\.",
    "{x}",
    "日本",
    "ünï",
    "NULL",
    "%s",
    '"',
]


async def round_trip(database: Database, rows: pl.DataFrame) -> list[dict[str, Any]]:
    async with database.transaction(keep=False) as connection:
        await connection.execute(CreateTable(TRIP))
        await copy_in_binary(connection, TRIP, rows)
        found = await connection.execute(
            text(f"SELECT {', '.join(rows.columns)} FROM trip ORDER BY number")  # noqa: S608  names of ours
        )
        return [dict(row._mapping) for row in found]


def some(n: int) -> dict[str, Any]:
    return {
        "word": pl.Series([ODD[number % len(ODD)] for number in range(n)], dtype=pl.String),
        "number": pl.Series([2**62 - n + number for number in range(n)], dtype=pl.Int64),
        "changed_on": pl.Series(
            [None if number < n - 2 else date(1999, 12, 31) + timedelta(days=number) for number in range(n)],
            dtype=pl.Date,
        ),
        "day": pl.Series([date(1969, 7, 20) + timedelta(days=9_000 * number) for number in range(n)], dtype=pl.Date),
        "count": pl.Series([(-1) ** number * number for number in range(n)], dtype=pl.Int64),
        "code": pl.Series([number - 5 for number in range(n)], dtype=pl.Int64),
        "share": pl.Series([number / 7 - 1e-300 for number in range(n)], dtype=pl.Float64),
        "told": pl.Series([None if number % 4 else '{"a": ["ü", null]}' for number in range(n)], dtype=pl.String),
        "shares": pl.Series([[0.1 * number, 1 / 3] for number in range(n)], dtype=pl.Array(pl.Float64, 2)),
        "places": pl.Series([[number, 300, -2] for number in range(n)], dtype=pl.Array(pl.Int64, 3)),
        "words": pl.Series([ODD[: number % 3] for number in range(n)], dtype=pl.List(pl.String)),
    }


@pytest.mark.parametrize("n_rows", [0, 1, 15])
async def test_what_goes_in_comes_out(database: Database, n_rows: int) -> None:
    rows = pl.DataFrame(some(n_rows))
    expected = rows.to_dicts()
    for row in expected:
        row["told"] = None if row["told"] is None else {"a": ["ü", None]}
    assert await round_trip(database, rows) == expected


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 13, 14])
async def test_pieces_of_which_some_lack_nothing_are_written_like_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """The last rows have a day in a column in which all others have none."""
    rows = pl.DataFrame(some(15))
    whole = await round_trip(database, rows)
    monkeypatch.setattr(copying, "_ROWS_AT_ONCE", at_once)
    assert await round_trip(database, rows) == whole
    assert [row["changed_on"] is None for row in whole] == [True] * 13 + [False] * 2


async def test_amounts_are_exact_to_the_fourth_digit(database: Database) -> None:
    told = [
        "0",
        "0.0001",
        "-0.0001",
        "9999.9999",
        "10000",
        "-10000.5",
        "123456789.0123",
        "99999999999.9999",
        "1e12",
        "-8e15",
    ]
    rows = pl.DataFrame({"number": range(len(told)), "amount": [float(each) for each in told]})
    found = await round_trip(database, rows)
    assert [row["amount"] for row in found] == [Decimal(each) for each in told]
    rounded = await round_trip(database, pl.DataFrame({"number": [1, 2], "amount": [-0.00004, 19.99996]}))
    assert [str(row["amount"]) for row in rounded] == ["0.0000", "20.0000"]


@pytest.mark.parametrize("amount", [1e16, -1e17, 1e300, float("inf"), float("nan")])
async def test_an_amount_too_large_is_refused_rather_than_cut(database: Database, amount: float) -> None:
    with pytest.raises(ValueError, match="more than sixteen digits"):
        await round_trip(database, pl.DataFrame({"number": [1], "amount": [amount]}))


async def test_a_column_of_nothing_is_nothing(database: Database) -> None:
    rows = pl.DataFrame({"number": [1, 2], "word": [None, None], "changed_on": [None, None]})
    assert await round_trip(database, rows) == rows.to_dicts()
