"""When people order, through which channel, and what becomes of the parcel."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from app.pipeline.sample.chance import Flags, Floats, Ints, Rng, drawn
from app.pipeline.sample.habits import DAYS_OPEN, YEAR, Habits
from app.pipeline.sample.shoppers import CHANNELS, ShopperType

DAY, HOUR = 86_400, 3_600  # in seconds
CANCELLED = 0.006  # of orders not placed at the counter
LATE = 0.06  # of orders sent
SENT_AGAIN = 0.3  # of late ones
IN_TWO_PARCELS = 0.25  # of orders of many lines
MANY_LINES = 12


@dataclass(frozen=True, slots=True)
class Orders:
    """By person (see `Habits`), then time, which is in seconds since the shop's opening.

    sent : by a carrier, before the shop's last day ends; late : some of those
    """

    buyer: Ints
    second: Ints
    channel: Ints
    cancelled: Flags
    sent: Flags
    late: Flags

    @property
    def handed_over(self) -> Flags:
        """Sent, or taken home from the counter."""
        handed_over: Flags = self.sent | (self.channel == CHANNELS.index("pos"))
        return handed_over


def place_orders(
    rng: Rng,
    own: Habits,
    types: Sequence[ShopperType],
    clocks: Floats,
    *,
    opening_weekday: int,
    more_orders: int | None,
) -> Orders:
    """Everyone's first order and those after it, or exactly so many after it, taken at random from some more."""
    evenness = np.array([t.regularity for t in types])[own.kind]
    pace = 1.0 if more_orders is None else 1.1 * max(more_orders, 1) / max(own.more_orders.sum(), 1.0)
    while True:
        who, on, is_first = _days(rng, own, evenness, clocks, opening_weekday, pace=pace)
        later = np.flatnonzero(~is_first)
        if more_orders is None or len(later) >= more_orders:
            break
        pace *= 1.1 * (more_orders + 1) / (len(later) + 1)
    if more_orders is not None:
        kept = np.sort(np.concatenate([np.flatnonzero(is_first), rng.choice(later, more_orders, replace=False)]))
        who, on = who[kept], on[kept]

    channel = drawn(rng, own.channels[who])
    opens, hours = np.where(channel == 0, 6, 9), np.where(channel == 0, 17.99, 9)  # the web stays up, staff go home
    usual = ((own.hour[who] - opens) / hours).clip(0.1, 0.9)
    second = (DAY * on + HOUR * (opens + hours * rng.beta(10 * usual, 10 - 10 * usual))).astype(np.int64)
    at_counter = channel == CHANNELS.index("pos")
    cancelled = (rng.random(len(who)) < CANCELLED) & ~at_counter
    leaves = second + rng.integers(DAY // 2, 5 * DAY // 2, len(who))
    sent = ~at_counter & ~cancelled & (leaves < DAY * DAYS_OPEN)
    late = sent & (rng.random(len(who)) < LATE)
    placed = Orders(who, second, channel, cancelled, sent, late)
    by_time = np.lexsort((second, who))
    return Orders(*(getattr(placed, field.name)[by_time] for field in fields(placed)))


def count_parcels(rng: Rng, orders: Orders, n_lines: Ints) -> Ints:
    """0 for what no carrier took, 2 for a large order in two parcels or a late one sent again."""
    chance = np.where(orders.late, SENT_AGAIN, np.where(n_lines >= MANY_LINES, IN_TWO_PARCELS, 0.0))
    parcels: Ints = orders.sent * (1 + (rng.random(len(n_lines)) < chance))
    return parcels


def _days(
    rng: Rng, own: Habits, evenness: Floats, clocks: Floats, opening_weekday: int, *, pace: float
) -> tuple[Ints, Ints, Flags]:
    """Who orders on which day, and whether for the first time.

    Gaps are gamma distributed on a clock of the buyer's own, which follows their season and their growing rate.
    """
    expected, rate = pace * own.more_orders, pace * own.orders_per_year
    is_buyer = np.arange(len(own.kind)) < own.n_buyers
    # More than fit in before they leave.
    n_drawn = np.where(is_buyer, np.ceil(expected + 6 * np.sqrt(expected) + 6), 1).astype(np.int64)
    who, begins = np.repeat(np.arange(len(n_drawn)), n_drawn), np.cumsum(n_drawn) - n_drawn
    is_first = np.zeros(len(who), dtype=np.bool_)
    is_first[begins] = True
    turns = np.cumsum(np.where(is_first, 0, rng.gamma(evenness[who]) / evenness[who]))
    turns -= turns[begins][who]
    growth = own.growth[who]
    stretch = 1 + growth * turns / rate[who]  # a rate that shrinks never gets round to some orders
    years = np.where(stretch > 0, np.log(stretch.clip(1e-9)) / growth, np.inf)
    days, day = np.arange(clocks.shape[1]), np.empty(len(who))
    for i, clock in enumerate(clocks):
        mine = own.kind[who] == i
        day[mine] = np.interp(own.joined[who[mine]] + YEAR * years[mine], clock, days, right=np.inf)
    kept = is_first | (day < own.lapse_day.clip(max=DAYS_OPEN + 7)[who])
    who, is_first, on = who[kept], is_first[kept], np.where(is_first, own.first_day[who], day)[kept].astype(np.int64)

    on_weekend = rng.random(len(who)) < own.weekend[who]
    weekday = np.where(on_weekend, rng.integers(5, 7, len(who)), rng.integers(0, 5, len(who)))
    on -= (opening_weekday + on - weekday) % 7
    on[on < 0] += 7
    kept = is_first | (on < DAYS_OPEN)
    return who[kept], on[kept], is_first[kept]
