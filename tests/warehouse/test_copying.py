"""COPY, both ways: what goes in comes out, whatever text it is."""

from datetime import date

import polars as pl
import pytest

from app.warehouse import copying
from app.warehouse.copying import copy_in, copy_out
from app.warehouse.engine import Database, raw

ODD = [
    *("", " ", "plain", 'say "no"', "O'Hara", "a,b", "two\nlines", "two\r\nlines", "tab\there", "\\", "\\N", "\\."),
    *("{x}", "%s", "日本", "ünï", "NULL", "null", '"', '""', '",', "1e5", "00123", "true", "#", "end\n"),
]
COLUMNS = {"number": pl.Int64, "word": pl.String, "share": pl.Float64, "day": pl.Date, "words": pl.String}


async def round_trip(database: Database, rows: pl.DataFrame) -> pl.DataFrame:
    async with database.transaction(keep=False) as connection:
        driver = await raw(connection)
        await driver.execute(
            "CREATE TEMPORARY TABLE trip (number bigint, share float8, day date, word text, words text[]) "
            "ON COMMIT DROP"
        )
        await copy_in(connection, "trip", rows)
        query = "SELECT number, word, share, day, words FROM trip WHERE number < $1 ORDER BY number"
        return await copy_out(connection, query, (10**9,), COLUMNS)


async def test_what_goes_in_comes_out(database: Database) -> None:
    """By the names of the columns, whatever their order; nothing is not the empty text."""
    words: list[str | None] = [*ODD, None]
    rows = pl.DataFrame(
        {
            "word": words,
            "number": range(len(words)),
            "share": [0.1 * number if number % 3 else None for number in range(len(words))],
            "day": [date(2024, 2, 29) if number % 2 else None for number in range(len(words))],
        }
    ).with_columns(words=pl.lit(None, dtype=pl.String))
    found = await round_trip(database, rows)
    assert found["word"].to_list() == words
    assert found.to_dicts() == rows.select(list(COLUMNS)).to_dicts()


async def test_arrays_go_in_as_what_they_are_written_as(database: Database) -> None:
    literals = ["{}", "{a,b}", '{"a b","c,d"}', '{"say \\"no\\"",NULL,""}', None]
    rows = pl.DataFrame({"number": range(5), "words": literals})
    found = await round_trip(database, rows)
    assert found["words"].to_list() == literals


async def test_one_column_of_nothing_is_as_many_rows(database: Database) -> None:
    async with database.snapshot() as connection:
        found = await copy_out(
            connection, "SELECT CASE WHEN n = $1 THEN 'x' END FROM generate_series(1, 3) AS n", (2,), {"x": pl.String}
        )
    assert found["x"].to_list() == [None, "x", None]


async def test_nothing_comes_out_as_no_rows_of_the_same_columns(database: Database) -> None:
    found = await round_trip(database, pl.DataFrame(schema={"number": pl.Int64, "word": pl.String}))
    assert (found.height, dict(found.schema)) == (0, COLUMNS)


@pytest.mark.parametrize("n_rows", [1, 7, 8, 29])
async def test_rows_keep_their_order_over_pieces(
    database: Database, monkeypatch: pytest.MonkeyPatch, n_rows: int
) -> None:
    monkeypatch.setattr(copying, "_ROWS_AT_ONCE", 7)
    rows = pl.DataFrame({"number": range(n_rows), "word": [f"row {number}" for number in range(n_rows)]})
    found = await round_trip(database, rows)
    assert found["word"].to_list() == rows["word"].to_list()


async def test_a_row_the_table_does_not_take_leaves_none(database: Database) -> None:
    rows = pl.DataFrame({"number": ["1", "2", "three"]})
    with pytest.raises(Exception, match="three"):
        await round_trip(database, rows)
