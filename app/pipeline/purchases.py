"""What predictions are made of, from a shop's records: visits and refunds, in columns."""

import numpy as np
import polars as pl

from app.prediction.purchases import Flags, Floats, Ints, Purchases, Refunds, Visits
from app.warehouse.behaviour import Behaviour

#: Days lie within so many of 1970-01-01.
_SPAN = 2**30


def purchases_of(behaviour: Behaviour) -> Purchases:
    """Customers count as in the behaviour's customer_ids.

    What an order loses on its own day was never sold: an order of 80,995 units that is cancelled minutes later is a
    visit on which nothing was paid.
    """
    orders, lines, refunds = behaviour.orders, behaviour.lines, behaviour.refunds
    visits, of_order = np.unique(_keys(orders), return_inverse=True)
    n = len(visits)
    of_line = np.searchsorted(visits, _keys(lines))
    returned = _keys(refunds)
    of_refund, at_once = _undone(orders, refunds, visits, returned)
    amounts = _floats(refunds, "amount")
    days, of_day = np.unique(returned[~at_once], return_inverse=True)

    def added(at: Ints, amount: Floats | None = None) -> Floats:
        return np.bincount(at, amount, minlength=n).astype(np.float64)

    return Purchases(
        len(behaviour.customer_ids),
        Visits(
            customer=_customer(visits),
            day=_day(visits),
            paid=added(of_order, _floats(orders, "value")) - added(of_refund[at_once], amounts[at_once]),
            discount=added(of_order, _floats(orders, "discount")),
            lines=added(of_line),
            new_products=added(of_line[_first_bought(lines, of_line)]),
            units=added(of_line, _floats(lines, "quantity")),
        ),
        Refunds(
            customer=_customer(days),
            day=_day(days),
            amount=np.bincount(of_day, amounts[~at_once], minlength=len(days)).astype(np.float64),
        ),
    )


def _undone(orders: pl.DataFrame, refunds: pl.DataFrame, visits: Ints, returned: Ints) -> tuple[Ints, Flags]:
    """The visit of each refund's day, and whether it takes back an order of that very visit."""
    order, refunded = orders["order"].to_numpy(), refunds["order"].to_numpy()
    # A refund without an order is of -1: the place after the last.
    ordered_on = np.full(int(order.max(initial=-1)) + 2, _SPAN)
    ordered_on[order] = _day(_keys(orders))
    at = np.searchsorted(visits, returned)
    there = np.append(visits, -1)[at] == returned
    return at, there & (ordered_on[refunded] == _day(returned))


def _first_bought(lines: pl.DataFrame, of_line: Ints) -> Ints:
    """The lines on which a customer bought a product for the first time, one of each."""
    product = lines["product"].to_numpy()
    pair = lines["customer"].to_numpy() * (int(product.max(initial=0)) + 1) + product
    by_pair = np.lexsort((of_line, pair))
    first: Ints = by_pair[np.diff(pair[by_pair], prepend=-1) != 0]
    return first


def _keys(frame: pl.DataFrame) -> Ints:
    """One number that sorts as customer and day do."""
    keys: Ints = frame["customer"].to_numpy() * (2 * _SPAN) + np.floor(_floats(frame, "day")).astype(np.int64) + _SPAN
    return keys


def _customer(keys: Ints) -> Ints:
    return keys // (2 * _SPAN)


def _day(keys: Ints) -> Ints:
    return keys % (2 * _SPAN) - _SPAN


def _floats(frame: pl.DataFrame, column: str) -> Floats:
    found: Floats = frame[column].to_numpy()
    return found
