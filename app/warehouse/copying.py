"""COPY, both ways, between the database and columns: as CSV, which Polars reads and writes at C speed."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from typing import Any

import polars as pl
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.engine import raw

_ROWS_AT_ONCE = 20_000


async def copy_out(
    connection: AsyncConnection, query: str, arguments: tuple[Any, ...], schema: Mapping[str, Any]
) -> pl.DataFrame:
    """What a query gives. schema : its columns, by name"""
    out = io.BytesIO()
    await (await raw(connection)).copy_from_query(query, *arguments, output=out, format="csv")
    if out.tell() == 0:
        return pl.DataFrame(schema=schema)
    return pl.read_csv(out.getvalue(), has_header=False, schema=dict(schema))


async def copy_in(connection: AsyncConnection, table: str, rows: pl.DataFrame) -> None:
    """Rows into a table, by the names of their columns; some at a time, so that their text never stands in memory."""
    driver: Any = await raw(connection)
    await driver.copy_to_table(table, source=_written(rows), columns=rows.columns, format="csv")


async def _written(rows: pl.DataFrame) -> AsyncIterator[bytes]:
    """The rows as CSV, piece by piece; the next is written in a thread while the server takes in the one before."""

    def text(piece: pl.DataFrame) -> bytes:
        csv = io.BytesIO()
        piece.write_csv(csv, include_header=False)
        return csv.getvalue()

    pieces = rows.iter_slices(_ROWS_AT_ONCE)
    coming = None
    try:
        for piece in pieces:
            ready, coming = coming, asyncio.create_task(asyncio.to_thread(text, piece))
            if ready is not None:
                yield await ready
        if coming is not None:
            yield await coming
    finally:
        if coming is not None:
            await asyncio.gather(coming, return_exceptions=True)
