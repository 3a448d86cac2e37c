"""COPY, both ways, between the database and columns: as CSV, which Polars reads and writes at C speed, or as it is."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse import binary
from app.warehouse.engine import raw

_ROWS_AT_ONCE = 2_500


async def copy_out(
    connection: AsyncConnection, query: str, arguments: tuple[Any, ...], schema: Mapping[str, Any]
) -> pl.DataFrame:
    """What a query gives. schema : its columns, by name"""
    out = io.BytesIO()
    await (await raw(connection)).copy_from_query(query, *arguments, output=out, format="csv")
    if out.tell() == 0:
        return pl.DataFrame(schema=schema)
    return await asyncio.to_thread(pl.read_csv, out.getvalue(), has_header=False, schema=dict(schema))


async def copy_in(connection: AsyncConnection, table: str, rows: pl.DataFrame) -> None:
    """Rows into a table, by the names of their columns. Every value may be its text; what is missing is null."""
    driver: Any = await raw(connection)

    def text(piece: pl.DataFrame) -> bytes:
        csv = io.BytesIO()
        piece.write_csv(csv, include_header=False)
        return csv.getvalue()

    await driver.copy_to_table(table, source=_pieces(rows, text), columns=rows.columns, format="csv")


async def copy_in_binary(connection: AsyncConnection, table: Table, rows: pl.DataFrame, *, into: str = "") -> None:
    """The same of rows whose columns have the types of the table's, in half the time.

    into : another table of the same columns
    """
    driver: Any = await raw(connection)
    fixed, others = binary.columns_of(rows, table)
    written = partial(binary.rows_of, table=table, fixed=fixed, others=others)
    source = _pieces(rows, written, before=binary.HEAD, after=binary.TAIL)
    await driver.copy_to_table(into or table.name, source=source, columns=[*fixed, *others], format="binary")


async def _pieces(
    rows: pl.DataFrame, write: Callable[[pl.DataFrame], bytes], *, before: bytes = b"", after: bytes = b""
) -> AsyncIterator[bytes]:
    """The rows as they are written, some at a time so that they never stand in memory whole; the next are written in a
    thread while the server takes in those before.
    """
    coming = None
    if before:
        yield before
    try:
        for piece in rows.iter_slices(_ROWS_AT_ONCE):
            ready, coming = coming, asyncio.create_task(asyncio.to_thread(write, piece))
            if ready is not None:
                yield await ready
        if coming is not None:
            yield await coming
    finally:
        if coming is not None:
            await asyncio.gather(coming, return_exceptions=True)
    if after:
        yield after
