"""What the generator knows of a customer and a model may only guess."""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from datetime import date
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class CustomerTruth:
    """The habits of a buyer.

    joined_on            : when they first came; their first order is within a week of it, on a weekday they like
    lapsed_on            : the day they left for good; None for those who are customers still
    orders_per_year      : while they stay, at their first order; it changes by the factor exp(growth_per_year) a year
    expected_orders      : to the shop's last day, the first included
    expected_order_value : mean of what they pay for an order after discounts, before refunds, in dollars
    lines_per_order      : mean
    expected_categories  : of the lines expected in all their orders, how many categories those may be expected to be of
    dearness             : of two products, how often they take the dearer
    rebuy_share          : of lines, once there is something to buy again
    discount_proneness   : share of their orders with a coupon; their liking for sale items follows it
    return_proneness     : chance that a line comes back
    weekend_share        : of orders
    usual_hour           : of the day, around which they order
    counter_share        : of orders placed at the counter
    tickets_per_order    : questions to support for each order, beside those that lateness and returns bring; 0 for
                           those who never turn to support unless there is trouble
    """

    customer_id: str
    type_name: str
    joined_on: date
    lapsed_on: date | None
    orders_per_year: float
    growth_per_year: float
    expected_orders: float
    expected_order_value: float
    lines_per_order: float
    expected_categories: float
    dearness: float
    rebuy_share: float
    discount_proneness: float
    return_proneness: float
    weekend_share: float
    usual_hour: float
    counter_share: float
    tickets_per_order: float


def write_truth(truth: Iterable[CustomerTruth], waiting: Iterable[str], out: BinaryIO) -> int:
    """One CSV row per customer; of those without an order there is nothing to know but their id. Returns how many."""
    columns = [field.name for field in fields(CustomerTruth)]
    blank = [None] * (len(columns) - 1)
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    n = 0
    for each in truth:
        writer.writerow(astuple(each))
        n += 1
    for customer_id in waiting:
        writer.writerow([customer_id, *blank])
        n += 1
    text.flush()
    text.detach()
    return n
