"""Rows in the binary form of COPY: what goes in comes out, of every type that runs write."""

import json
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import ARRAY, BigInteger, Column, Date, Double, Integer, MetaData, Numeric, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse import binary, copying
from app.warehouse.copying import copy_in_binary
from app.warehouse.engine import Database, raw

TRIP = Table(
    "trip",
    MetaData(),
    Column("number", BigInteger),
    Column("small", SmallInteger),
    Column("count", Integer),
    Column("share", Double),
    Column("amount", Numeric(24, 4)),
    Column("day", Date),
    Column("word", Text),
    Column("told", JSONB),
    Column("shares", ARRAY(Double)),
    Column("places", ARRAY(SmallInteger)),
    Column("words", ARRAY(Text)),
)
CREATE = """
    CREATE TEMPORARY TABLE trip (number bigint, small smallint, count integer, share float8, amount numeric(24, 4),
        day date, word text, told jsonb, shares float8[], places smallint[], words text[]) ON COMMIT DROP
"""
ODD = ["", " ", 'say "no"', "a,b", "two\nlines", "tab\there", "\\N", "{x}", "日本", "NULL", "ünï", "\u2028"]


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[AsyncConnection]:
    async with database.transaction(keep=False) as connection:
        await (await raw(connection)).execute(CREATE)
        yield connection


async def back(connection: AsyncConnection, rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    """The rows as they are after going in, in the order of their columns."""
    await copy_in_binary(connection, TRIP, rows)
    query = f"SELECT {', '.join(rows.columns)} FROM trip ORDER BY number"  # noqa: S608
    return [tuple(row) for row in await (await raw(connection)).fetch(query)]


async def test_every_type_comes_out_as_it_went_in(connection: AsyncConnection) -> None:
    n = len(ODD)
    rows = pl.DataFrame(
        {
            "word": ODD,
            "number": [2**62 - n + i for i in range(n)],
            "shares": np.arange(3 * n, dtype=float).reshape(n, 3) / 7 - 1,
            "small": [i - 5 for i in range(n)],
            "words": [[word, "again", word][: i % 4] for i, word in enumerate(ODD)],
            "day": [date(1969, 12, 31) if i % 2 else date(2024, 2, 29) for i in range(n)],
            "share": [-1e-300, 1e300, 0.0, 0.1, 1 / 3, *range(n - 5)],
            "places": np.arange(2 * n, dtype=np.int16).reshape(n, 2) - 3,
            "told": [f'{{"i": {i}}}' for i in range(n)],
            "count": [-(2**31) + i for i in range(n)],
        },
        strict=False,
    )
    assert await back(connection, rows) == [(*row[:8], json.loads(row[8]), *row[9:]) for row in rows.rows()]


@pytest.mark.parametrize("texts", [["seg_1", "seg_2", "seg_3"], ["a", "日本", ""]], ids=["alike", "unlike"])
async def test_lists_of_few_texts_come_out_as_they_went_in(connection: AsyncConnection, texts: list[str]) -> None:
    places = np.array([[0, 1], [2, 0], [1, 1]], dtype=np.uint32)
    words = pl.Series(places.ravel()).cat.to(pl.Enum(texts)).reshape(places.shape)
    rows = pl.DataFrame({"number": [1, 2, 3], "words": words})
    told = [[texts[place] for place in row] for row in places]
    assert await back(connection, rows) == [(number, each) for number, each in enumerate(told, start=1)]
    assert binary.columns_of(rows, TRIP)[0] == (["number", "words"] if texts[0] == "seg_1" else ["number"])


async def test_what_is_missing_is_null(connection: AsyncConnection) -> None:
    rows = pl.DataFrame(
        {
            "number": [1, 2, 3],
            "word": ["a", None, ""],
            "day": [None, date(1999, 12, 31), date(2000, 1, 1)],
            "told": pl.Series([None, None, None], dtype=pl.String),
            "words": [["a"], None, []],
        }
    )
    assert await back(connection, rows) == rows.rows()


@pytest.mark.parametrize(
    "amounts",
    [
        ["0", "0.0001", "-0.0001", "0.1", "-12.5"],
        ["9999", "10000", "10000.0001", "-99999999.99", "99999999999999.5", "9999999999999998", "0.99999", "-3.99999"],
        ["-7", "100000000", "99990000", "0.01", "1.005"],
    ],
)
async def test_amounts_are_decimal_to_the_last_of_four_digits(connection: AsyncConnection, amounts: list[str]) -> None:
    rows = pl.DataFrame({"number": range(len(amounts)), "amount": [float(amount) for amount in amounts]})
    found = [amount for _, amount in await back(connection, rows)]
    assert found == [round(Decimal(amount), 4) for amount in amounts]
    driver: Any = await raw(connection)
    assert await driver.fetchval("SELECT bool_and(amount::text = amount::numeric(24, 4)::text) FROM trip")
    assert await driver.fetchval("SELECT sum(amount) FROM trip") == sum(found)


@pytest.mark.parametrize("amount", [1e16, -1e17, float("nan"), float("inf")])
async def test_an_amount_too_large_is_refused_and_not_cut(connection: AsyncConnection, amount: float) -> None:
    rows = pl.DataFrame({"number": [1], "amount": [amount]})
    with pytest.raises(Exception, match="sixteen digits"):
        await back(connection, rows)


async def test_rows_come_whole_however_many_are_written_at_once(
    connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where values of a column are missing in some of the pieces alone: in the last there are none."""
    monkeypatch.setattr(copying, "_ROWS_AT_ONCE", 4)
    rows = pl.DataFrame(
        {
            "number": range(11),
            "word": [None if i == 9 else ODD[i] for i in range(11)],
            "day": [None if i < 5 else date(2024, 1, i) for i in range(11)],
            "shares": np.zeros((11, 2)),
        }
    )
    assert await back(connection, rows) == rows.rows()


async def test_no_rows_are_none(connection: AsyncConnection) -> None:
    rows = pl.DataFrame(schema={"number": pl.Int64, "word": pl.String})
    assert await back(connection, rows) == []
