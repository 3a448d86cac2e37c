"""Features of a whole shop, and of one customer within milliseconds, from the one set of expressions in domain."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Literal
from zoneinfo import ZoneInfo

import narwhals as nw
import polars as pl
import polars.selectors as cs
from polars.io.plugins import register_io_source

from app.domain.features import Frame, customer_features
from app.segmentation.membership import Array
from app.warehouse.behaviour import FRAMES, Behaviour

#: Customers who are measured together: of more, what they are grouped by outgrows the processor's caches, and ten times
#: as many take a sixth longer each.
CUSTOMERS_AT_ONCE = 120_000
_SIGNIFICANT_DIGITS = 12
_MONEY, _MONEY_DECIMALS = ("lifetime_value", "avg_order_value"), 8


def feature_values(
    behaviour: Behaviour, *, as_of: datetime, timezone: str, names: Sequence[str] | None = None
) -> dict[str, Array]:
    """The metrics and features of every customer in `behaviour` with an order, by name, in the order of its
    customer_ids.

    names : only these; None for all
    """
    day = shop_day(as_of, timezone)
    found = []
    for part in _parts({name: getattr(behaviour, name) for name in FRAMES}):
        frames = {name: nw.from_native(frame.lazy()) for name, frame in part.items()}
        # Piece by piece, which takes half the time of frame by frame.
        query = customer_features(**frames, as_of_day=day).to_native()
        wanted = query if names is None else query.select("customer", *names)
        found.append(wanted.collect(engine="streaming"))
    return rounded_values(pl.concat(found))


def _parts(frames: Mapping[str, pl.DataFrame]) -> Iterator[Mapping[str, pl.DataFrame]]:
    """The same of some customers after the other, CUSTOMERS_AT_ONCE at most."""
    last: Any = frames["orders"]["customer"].max()
    n_customers = 0 if last is None else last + 1
    n_parts = math.ceil(n_customers / CUSTOMERS_AT_ONCE)
    if n_parts <= 1:
        yield frames
        return
    size = math.ceil(n_customers / n_parts)
    for first in range(0, n_customers, size):
        mine = pl.col("customer").is_between(first, first + size - 1)
        yield {name: frame.lazy().filter(mine).collect(engine="streaming") for name, frame in frames.items()}


def features_of_one(behaviour: Behaviour, *, as_of: datetime, timezone: str) -> dict[str, Array]:
    """The same of one customer, each (1,): to the last digit what `feature_values` gives, in a sixth of the time."""
    frames = {name: getattr(behaviour, name) for name in FRAMES}
    return rounded_values(_prepared(shop_day(as_of, timezone)).collect(frames))


class PreparedQuery:
    """A query over frames that are handed in later. Building it takes three times as long as running it.

    schemas : name -> the columns of a frame, which are handed in by the same names
    build   : the query over them
    n_rows  : about how many will be handed in: rearranging the query takes longer than a handful of rows gains from it
    """

    def __init__(
        self, schemas: Mapping[str, pl.Schema], build: Callable[..., Frame], *, n_rows: Literal["few", "many"]
    ) -> None:
        self._lock = threading.Lock()
        self._optimizations = pl.QueryOptFlags.none() if n_rows == "few" else pl.QueryOptFlags()
        self._frames: Mapping[str, pl.DataFrame] = {}
        query = build(**{name: nw.from_native(self._source(name, schema)) for name, schema in schemas.items()})
        self._query: pl.LazyFrame = query.to_native()

    def collect(self, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        # One at a time: the query reads whatever is handed in now.
        with self._lock:
            self._frames = frames
            return self._query.collect(engine="in-memory", optimizations=self._optimizations)

    def _source(self, name: str, schema: pl.Schema) -> pl.LazyFrame:
        def rows(
            columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            frame = self._frames[name]
            if columns is not None:
                frame = frame.select(columns)
            if predicate is not None:
                frame = frame.filter(predicate)
            yield frame if n_rows is None else frame.head(n_rows)

        return register_io_source(rows, schema=schema)


# The moment stands in the query; it is the same for all of a store's customers who are scored within a minute.
@lru_cache(maxsize=8)
def _prepared(as_of_day: float) -> PreparedQuery:
    return PreparedQuery(FRAMES, partial(customer_features, as_of_day=as_of_day), n_rows="few")


def rounded_values(table: pl.DataFrame) -> dict[str, Array]:
    """The columns of what `customer_features` gives, in the order of its customers, as they are kept and compared."""
    # Threads add up in any order: the last digits are theirs, and would make the same records give other centers.
    # Money by decimals instead, so that no cent of a large sum is lost.
    money = cs.by_name(*_MONEY, require_all=False)
    others = cs.all() - cs.by_name("customer") - money
    rounded = table.sort("customer").select(
        money.round(_MONEY_DECIMALS), others.as_expr().round_sig_figs(_SIGNIFICANT_DIGITS)
    )
    return {name: rounded[name].to_numpy() for name in rounded.columns}


def shop_day(moment: datetime, timezone: str) -> float:
    """Days since 1970-01-01 on the shop's clock."""
    local: Any = moment.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    return float((local - datetime(1970, 1, 1)) / timedelta(days=1))  # noqa: DTZ001  both are local clock readings
