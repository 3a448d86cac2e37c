"""Rows in the binary form of COPY, which Postgres takes in at twice the speed of text: numbers as they are, in blocks.

A row is its columns' count, then each column as its length and that many bytes. Columns of fixed length are laid out
for all rows at once, in front; the others are put behind, row by row. (PostgreSQL documentation, COPY, "Binary Format";
the forms of single values are those of the server's send and receive functions.)
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, Date, Double, Integer, Numeric, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TAIL = b"\xff\xff"

_FLOAT8, _INT2, _TEXT = 701, 21, 25  # the types' numbers in pg_type
_NULL = (-1).to_bytes(4, "big", signed=True)
_POSTGRES_EPOCH = date(2000, 1, 1).toordinal() - date(1970, 1, 1).toordinal()
_BASE, _GROUPS = 10_000, 5  # numeric is written in groups of four digits: four before the point, one behind it
_TOO_MUCH = 1e16

_Fixed = tuple[NDArray[Any], Any]


def columns_of(rows: pl.DataFrame, table: Table) -> tuple[list[str], list[str]]:
    """The columns of fixed length and the others: in that order `rows_of` writes them."""
    fixed = [name for name in rows.columns if _is_fixed(rows[name], table.c[name].type)]
    return fixed, [name for name in rows.columns if name not in fixed]


def rows_of(rows: pl.DataFrame, table: Table, fixed: Sequence[str], others: Sequence[str]) -> bytes:
    """The rows without head and tail. fixed, others : of `columns_of`, for all of the rows that these are some of

    Lists of numbers are columns of polars' Array type, lists of texts of its Array or List type; JSON is text. A column
    without nulls among all the rows may be of fixed length; what has nulls is not.
    """
    blocks = [_block(rows[name], table.c[name].type) for name in fixed]
    form = np.dtype([("columns", ">i2"), *((name, block.dtype) for name, block in zip(fixed, blocks, strict=True))])
    laid_out = np.zeros(rows.height, dtype=form)
    laid_out["columns"] = len(fixed) + len(others)
    for name, block in zip(fixed, blocks, strict=True):
        laid_out[name] = block
    whole, width = laid_out.tobytes(), form.itemsize
    parts = [[whole[start : start + width] for start in range(0, len(whole), width)]]
    parts += [_written(rows[name], table.c[name].type) for name in others]
    return b"".join([part for row in zip(*parts, strict=True) for part in row])


def _is_fixed(column: pl.Series, kind: TypeEngine[Any]) -> bool:
    if isinstance(kind, ARRAY):
        return isinstance(column.dtype, pl.Array) and (
            not isinstance(kind.item_type, Text) or _one_length(column.dtype.inner) is not None
        )
    return not isinstance(kind, Text | JSONB) and column.null_count() == 0 and column.dtype != pl.Null


def _one_length(kind: Any) -> int | None:
    """Of an Enum whose texts all have so many bytes; None for anything else."""
    lengths = set(kind.categories.str.len_bytes()) if isinstance(kind, pl.Enum) else set()
    return lengths.pop() if len(lengths) == 1 else None


def _block(column: pl.Series, kind: TypeEngine[Any]) -> NDArray[Any]:
    """(n,) records of a length and what has that length."""
    if isinstance(kind, ARRAY):
        return _lists(column, kind)
    if isinstance(kind, Numeric) and not isinstance(kind, Double):
        return _numerics(column.to_numpy(), scale=kind.scale or 0)
    if isinstance(kind, Date):
        return _lengths(column.to_physical().to_numpy() - _POSTGRES_EPOCH, ">i4")
    return _lengths(column.to_numpy(), _FORMS[_plain(kind)])


_FORMS = {Double: ">f8", BigInteger: ">i8", Integer: ">i4", SmallInteger: ">i2"}


def _plain(kind: TypeEngine[Any]) -> type[TypeEngine[Any]]:
    # From the narrowest class: BigInteger and SmallInteger are Integers to SQLAlchemy.
    return next(each for each in (Double, BigInteger, SmallInteger, Integer) if isinstance(kind, each))


def _lengths(values: NDArray[Any], form: str) -> NDArray[Any]:
    block = np.empty(len(values), dtype=[("length", ">i4"), ("value", form)])
    block["length"], block["value"] = np.dtype(form).itemsize, values
    return block


def _lists(column: pl.Series, kind: ARRAY[Any]) -> NDArray[Any]:
    """Arrays of one dimension, all of one length: its head, then each element as a length and a value."""
    if isinstance(column.dtype, pl.Array) and isinstance(column.dtype.inner, pl.Enum):
        texts = np.array([each.encode() for each in column.dtype.inner.categories])
        number, form = _TEXT, str(texts.dtype)
        values = texts[column.explode().to_physical().to_numpy()].reshape(len(column), -1)
    else:
        number, form = (_FLOAT8, ">f8") if isinstance(kind.item_type, Double) else (_INT2, ">i2")
        values = column.to_numpy()
    n_rows, n_values = values.shape
    element = np.dtype([("length", ">i4"), ("value", form)])
    head = [("length", ">i4"), ("dimensions", ">i4"), ("nulls", ">i4"), ("type", ">i4"), ("size", ">i4")]
    block = np.empty(n_rows, dtype=[*head, ("from", ">i4"), ("elements", element, (n_values,))])
    block["length"] = block.dtype.itemsize - 4
    block["dimensions"], block["nulls"], block["type"], block["size"], block["from"] = 1, 0, number, n_values, 1
    block["elements"]["length"], block["elements"]["value"] = element.itemsize - 4, values
    return block


def _numerics(values: NDArray[Any], *, scale: int) -> NDArray[Any]:
    """Amounts of up to sixteen digits before the point and four behind it."""
    if scale != 4:
        raise ValueError("amounts are written with four digits behind the point, one group")
    if not (np.abs(values) < _TOO_MUCH).all():
        raise ValueError("an amount has more than sixteen digits before the point")
    before = np.floor(np.abs(values))
    behind = np.round((np.abs(values) - before) * _BASE).astype(np.int64)
    head = [("length", ">i4"), ("groups", ">i2"), ("weight", ">i2"), ("sign", ">u2"), ("scale", ">i2")]
    block = np.empty(len(values), dtype=[*head, ("digits", ">i2", (_GROUPS,))])
    block["length"], block["groups"], block["weight"], block["scale"] = block.dtype.itemsize - 4, _GROUPS, 3, scale
    block["sign"] = np.where(values < 0, 0x4000, 0)
    left = before.astype(np.int64) + behind // _BASE
    block["digits"][:, -1] = behind % _BASE
    for group in reversed(range(_GROUPS - 1)):
        block["digits"][:, group] = left % _BASE
        left //= _BASE
    return block


def _written(column: pl.Series, kind: TypeEngine[Any]) -> list[bytes]:
    """Each value with its length; of a column with few different ones each is written once."""
    if column.dtype == pl.Null:
        return [_NULL] * len(column)
    write = _writer(kind)
    values = column.to_list()
    if isinstance(kind, ARRAY):
        return [_NULL if each is None else write(each) for each in values]
    known: dict[Any, bytes] = {None: _NULL}
    for each in values:
        if each not in known:
            known[each] = write(each)
    return [known[each] for each in values]


def _writer(kind: TypeEngine[Any]) -> Callable[[Any], bytes]:
    if isinstance(kind, ARRAY):
        known: dict[str, bytes] = {}

        def texts(value: Sequence[str]) -> bytes:
            elements = [known.get(each) or known.setdefault(each, _sized(each.encode())) for each in value]
            head = b"".join(number.to_bytes(4, "big") for number in (1, 0, _TEXT, len(value), 1))
            return _sized(head + b"".join(elements)) if value else _sized(bytes(8) + _TEXT.to_bytes(4, "big"))

        return texts
    if isinstance(kind, JSONB):
        return lambda value: _sized(b"\1" + value.encode())
    if isinstance(kind, Text):
        return lambda value: _sized(value.encode())
    if isinstance(kind, Date):
        return lambda value: _sized((value.toordinal() - _DAYS_TO_2000).to_bytes(4, "big", signed=True))
    raise TypeError(f"{kind} is written where no value is missing")


_DAYS_TO_2000 = date(2000, 1, 1).toordinal()


def _sized(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
