"""What is in an order, and what of it comes back. Money is in cents."""

from dataclasses import dataclass

import numpy as np

from app.pipeline.sample.catalogue import CATEGORIES, Catalogue
from app.pipeline.sample.chance import Ints, Rng, drawn, exactly
from app.pipeline.sample.habits import COUPONS_PERCENT, DAYS_OPEN, SALES_PERCENT, Habits, sale_chance
from app.pipeline.sample.orders import DAY, HOUR, Orders


@dataclass(frozen=True, slots=True)
class Lines:
    """By order."""

    order: Ints
    product: Ints
    quantity: Ints
    amount: Ints
    discount: Ints


def fill_baskets(
    rng: Rng, orders: Orders, own: Habits, goods: Catalogue, *, more_lines: int | None, must_sell: Ints
) -> Lines:
    """more_lines : exactly so many beyond one an order, or None; must_sell : products that are in some basket, if any
    line has room for them"""
    n_orders = len(orders.buyer)
    wanted = (own.lines[orders.buyer] - 1) * rng.gamma(2, 0.5, n_orders)
    more = rng.poisson(wanted)
    if more_lines is not None:
        more = exactly(rng, more, wanted, more_lines)
    order = np.repeat(np.arange(n_orders), 1 + more)
    buyer, n = orders.buyer[order], len(order)

    category = drawn(rng, own.taste[buyer])
    one, other = np.searchsorted(goods.reach, category + rng.random((2, n))).clip(max=len(goods.cents) - 1)
    takes_dearer = rng.random(n) < own.dear[buyer]
    product = np.where(takes_dearer == (goods.cents[one] >= goods.cents[other]), one, other)
    # A repeat points at a line of the buyer's earlier orders, which may be a repeat itself: follow it to the first.
    buyer_begins, order_begins = np.searchsorted(buyer, buyer), np.searchsorted(order, order)
    earlier = order_begins - buyer_begins
    repeats = (rng.random(n) < own.rebuys[buyer]) & (earlier > 0)
    source = np.where(repeats, buyer_begins + (rng.random(n) * earlier).astype(np.int64), np.arange(n))
    while not np.array_equal(source, source[source]):
        source = source[source]
    if len(must_sell):
        _put_in(product, rng.permutation(np.flatnonzero(~repeats)), must_sell, goods)
    product = product[source]

    quantity = 1 + rng.poisson(np.array([c.quantity - 1 for c in CATEGORIES])[goods.category[product]])
    coupon = np.where(rng.random(n_orders) < own.coupons[orders.buyer], rng.choice(COUPONS_PERCENT, n_orders), 0)
    sale = np.where(rng.random(n) < sale_chance(own.coupons[buyer]), rng.choice(SALES_PERCENT, n), 0)
    full = quantity * goods.cents[product]
    amount = full * (100 - coupon[order]) * (100 - sale) // 10_000
    return Lines(order, product, quantity, amount, full - amount)


def _put_in(product: Ints, lines: Ints, must_sell: Ints, goods: Catalogue) -> None:
    """Exchange the products of some of these lines: for one of their category where there is one, else for any."""
    homeless = []
    for category in np.unique(goods.category[must_sell]):
        wanted = must_sell[goods.category[must_sell] == category]
        room = lines[goods.category[product[lines]] == category][: len(wanted)]
        product[room] = wanted[: len(room)]
        homeless.append(wanted[len(room) :])
        lines = lines[~np.isin(lines, room)]
    rest = np.concatenate(homeless)[: len(lines)]
    product[lines[: len(rest)]] = rest


@dataclass(frozen=True, slots=True)
class Refunds:
    """Of lines, by their position."""

    line: Ints
    quantity: Ints
    amount: Ints
    second: Ints


def take_back(rng: Rng, orders: Orders, lines: Lines, own: Habits) -> Refunds:
    """A cancelled order goes back whole on its day; else what comes back of an order comes together, weeks later."""
    n_orders, midnight = len(orders.buyer), orders.second // DAY * DAY
    weeks_later = midnight + DAY * (3 + rng.gamma(2, 9, n_orders)).astype(np.int64)
    weeks_later += rng.integers(9 * HOUR, 17 * HOUR, n_orders)
    same_day = np.minimum(orders.second + rng.integers(300, 4 * HOUR, n_orders), midnight + DAY - 1)
    at = np.where(orders.cancelled, same_day, weeks_later)[lines.order]

    cancelled = orders.cancelled[lines.order]
    comes_back = rng.random(len(at)) < own.returns[orders.buyer[lines.order]]
    line = np.flatnonzero((cancelled | comes_back) & (at < DAY * DAYS_OPEN))
    bought = lines.quantity[line]
    in_part = ~cancelled[line] & (bought > 1) & (rng.random(len(line)) < 0.4)
    quantity = np.where(in_part, rng.integers(1, np.maximum(bought, 2)), bought)
    return Refunds(line, quantity, lines.amount[line] * quantity // bought, at[line])
