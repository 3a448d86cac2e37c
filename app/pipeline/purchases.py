"""What predictions are made of, from a shop's records: visits and refunds, in columns."""

from typing import Any

import polars as pl
from numpy.typing import NDArray

from app.prediction.purchases import Purchases, purchases_from
from app.warehouse.behaviour import Behaviour


def purchases_of(behaviour: Behaviour) -> Purchases:
    """Customers count as in the behaviour's customer_ids.

    What an order loses on its own day was never sold: an order of 80,995 units that is cancelled minutes later is a
    visit on which nothing was paid.
    """
    orders = behaviour.orders.with_columns(_day())
    undone = (
        behaviour.refunds.with_columns(_day())
        .join(orders.select("order", ordered_on="day"), on="order", how="left")
        .with_columns(at_once=pl.col("ordered_on").eq_missing(pl.col("day")))
    )
    at_once = undone.filter("at_once").group_by("customer", "day").agg(undone=pl.col("amount").sum())
    lines = behaviour.lines.with_columns(_day())
    bought = lines.group_by("customer", "day").agg(lines=pl.len().cast(pl.Float64), units=pl.col("quantity").sum())
    new = (
        lines.group_by("customer", "product")
        .agg(pl.col("day").min())
        .group_by("customer", "day")
        .agg(new_products=pl.len().cast(pl.Float64))
    )
    visits = (
        orders.group_by("customer", "day")
        .agg(pl.col("value").sum(), pl.col("discount").sum())
        .join(at_once, on=["customer", "day"], how="left")
        .join(bought, on=["customer", "day"], how="left")
        .join(new, on=["customer", "day"], how="left")
        .fill_null(0.0)
        .sort("customer", "day")
        .select(
            *("customer", "day"),
            *((pl.col("value") - pl.col("undone")).alias("paid"), "discount", "lines", "new_products", "units"),
        )
    )
    refunds = (
        undone.filter(~pl.col("at_once"))
        .group_by("customer", "day")
        .agg(pl.col("amount").sum())
        .sort("customer", "day")
    )
    return purchases_from(_columns(visits), _columns(refunds), len(behaviour.customer_ids))


def _columns(frame: pl.DataFrame) -> dict[str, NDArray[Any]]:
    return {name: frame[name].to_numpy() for name in frame.columns}


def _day() -> pl.Expr:
    return pl.col("day").floor().cast(pl.Int64)
