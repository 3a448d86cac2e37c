"""One customer as they would be: what they would measure had they ordered, or waited, in many ways at once.

Each way is a customer of its own to `domain.features`, who did all that the real one did and what is imagined beside
it, seen at a moment of their own; all of them are measured in one query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import narwhals as nw
import polars as pl

from app.domain.features import features_with_goods, goods_totals
from app.pipeline.features import PreparedQuery, rounded_values
from app.segmentation.membership import Array
from app.warehouse.behaviour import FRAMES, Behaviour


@dataclass(frozen=True, slots=True)
class Basket:
    """What an order holds: one kind of goods, or nothing but its value.

    value, discount : paid, and taken off; of the line as of the order
    product, category : keys of the frames; None where it holds no goods
    quantity        : whole units
    """

    value: float
    discount: float
    channel: int
    product: int | None
    category: int | None
    quantity: float


@dataclass(frozen=True, slots=True)
class Ordered:
    """day : days since 1970-01-01 on the shop's clock, with the hour as a fraction"""

    day: float
    basket: Basket


@dataclass(frozen=True, slots=True)
class SentBack:
    """order : key of an order they have placed; -1 where it is none that is known"""

    day: float
    order: int
    amount: float
    quantity: float


@dataclass(frozen=True, slots=True)
class Imagined:
    """What happens next, all of it before as_of_day, when the customer is looked at."""

    as_of_day: float
    orders: tuple[Ordered, ...] = ()
    returns: tuple[SentBack, ...] = ()


#: The products of the orders imagined, by number of the order: all that counting products depends on, as imagined
#: orders fall on later days than the real ones, each on a day of its own.
_Pattern = tuple[tuple[int, int], ...]

_MOMENTS = {"customer": pl.Int64, "as_of_day": pl.Float64}
_MONEY = ("units", "goods_paid", "paid_on_offer")


class Imagination:
    """Measures what is imagined of one customer."""

    def __init__(self, behaviour: Behaviour) -> None:
        """behaviour : of one customer, with at least one order"""
        self._behaviour = behaviour
        # Of all the lines of a product on one day, one says the same.
        self._lines = behaviour.lines.group_by(
            pl.col("day").floor(), "product", "category", on_offer=pl.col("discount") > 0
        ).agg(pl.col("quantity", "amount", "discount").sum())
        self._patterns: dict[_Pattern, int] = {}
        self._totals: list[pl.DataFrame] = []

    def measured(self, imagined: Sequence[Imagined]) -> dict[str, Array]:
        """The metrics and features, each (len(imagined),), as `features_of_one` has them once it has happened."""
        goods = self._goods(imagined)
        moments = _frame(
            [(number, each.as_of_day) for number, each in enumerate(imagined)],
            _MOMENTS,
        )
        orders = [
            (number, -1, each.day, each.basket.value, each.basket.discount, each.basket.channel)
            for number, one in enumerate(imagined)
            for each in one.orders
        ]
        refunds = [
            (number, each.order, each.day, each.amount, each.quantity, 1.0)
            for number, one in enumerate(imagined)
            for each in one.returns
        ]
        everyone = moments.select("customer")
        frames = {
            "orders": _with(self._behaviour.orders, everyone, _frame(orders, FRAMES["orders"])),
            "goods": goods,
            "refunds": _with(self._behaviour.refunds, everyone, _frame(refunds, FRAMES["refunds"])),
            "tickets": _with(self._behaviour.tickets, everyone, _frame([], FRAMES["tickets"])),
            "as_of_day": moments,
        }
        return rounded_values(_features().collect(frames))

    def _goods(self, imagined: Sequence[Imagined]) -> pl.DataFrame:
        """`goods_totals` of each. Counting products takes the many lines, so each pattern is counted once for all."""
        patterns = [_pattern(each) for each in imagined]
        new = [each for each in dict.fromkeys(patterns) if each not in self._patterns]
        if new:
            self._count(new)
        money = _frame(
            [
                (
                    *(number, self._patterns[pattern]),
                    *(sum(basket.quantity for basket in baskets), sum(basket.value for basket in baskets)),
                    sum(basket.value for basket in baskets if basket.discount > 0),
                )
                for number, (each, pattern) in enumerate(zip(imagined, patterns, strict=True))
                for baskets in ([order.basket for order in each.orders if order.basket.product is not None],)
            ],
            {"number": pl.Int64, "customer": pl.Int64, **{f"more_{name}": pl.Float64 for name in _MONEY}},
        )
        totals = money.join(pl.concat(self._totals), on="customer", how="inner").drop("customer")
        return totals.with_columns(pl.col(name).fill_null(0.0) + pl.col(f"more_{name}") for name in _MONEY).select(
            pl.col("number").alias("customer"), pl.exclude("number", "^more_.*$")
        )

    def _count(self, patterns: Sequence[_Pattern]) -> None:
        first = len(self._patterns)
        self._patterns |= {pattern: number for number, pattern in enumerate(patterns, start=first)}
        everyone = _frame([(self._patterns[pattern],) for pattern in patterns], {"customer": pl.Int64})
        later = max(self._behaviour.orders["day"].to_list())
        lines = [
            (self._patterns[pattern], -1, later + number, product, category, 0.0, 0.0, 0.0)
            for pattern in patterns
            for number, (product, category) in enumerate(pattern, start=1)
        ]
        base = self._lines.select(pl.lit(-1, dtype=pl.Int64).alias("order"), pl.exclude("on_offer"))
        rows = _with(base, everyone, _frame(lines, FRAMES["lines"]))
        self._totals.append(_goods_totals().collect({"lines": rows}))


# Each built once, as that takes longer than running it.
@cache
def _goods_totals() -> PreparedQuery:
    return PreparedQuery({"lines": FRAMES["lines"]}, goods_totals, n_rows="many")


@cache
def _features() -> PreparedQuery:
    no_lines = nw.from_native(pl.LazyFrame(schema=FRAMES["lines"]))
    goods: pl.LazyFrame = goods_totals(no_lines).to_native()
    schemas = {name: schema for name, schema in FRAMES.items() if name != "lines"}
    return PreparedQuery(
        {**schemas, "goods": goods.collect_schema(), "as_of_day": pl.Schema(_MOMENTS)},
        features_with_goods,
        n_rows="many",
    )


def _pattern(imagined: Imagined) -> _Pattern:
    baskets = [each.basket for each in imagined.orders]
    return tuple(
        (each.product, each.category) for each in baskets if each.product is not None and each.category is not None
    )


def _with(real: pl.DataFrame, everyone: pl.DataFrame, imagined: pl.DataFrame) -> pl.DataFrame:
    """What really happened, to everyone, and what is imagined of each."""
    shared = everyone.join(real.select(pl.exclude("customer")), how="cross")
    return pl.concat([shared.select(imagined.columns), imagined])


def _frame(rows: Sequence[tuple[Any, ...]], schema: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")
