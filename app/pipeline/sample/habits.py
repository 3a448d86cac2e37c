"""The own habits of every buyer: drawn around what is typical of their type, and bent together by keenness."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from app.pipeline.sample.catalogue import CATEGORIES, Catalogue
from app.pipeline.sample.chance import Flags, Floats, Ints, Rng
from app.pipeline.sample.shoppers import CHANNELS, LIKED, ShopperType

DAYS_OPEN = 1731  # from the first day to the last, both included
YEAR = 365.25  # in days
NEWCOMERS_GROWTH = 0.2  # of log newcomers, a year
SEASON_BY_MONTH = np.array((0.95, 0.85, 0.85, 0.80, 0.80, 0.75, 0.80, 0.95, 1.15, 1.40, 1.60, 1.15))
COUNTRIES = ("US", "CA", "GB", "AU", "DE", "NZ", None)
COUNTRY_SHARES = (0.715, 0.060, 0.030, 0.025, 0.012, 0.008, 0.150)
COUPONS_PERCENT, SALES_PERCENT = np.array((10, 15, 20, 25)), np.array((20, 30, 40))


@dataclass(frozen=True, slots=True)
class Habits:
    """Of the buyers of a batch, then of its guests, as in ShopperType. Days count from the shop's first.

    n_buyers : the first so many have an account; the others are guests, who come once
    stays    : how much trade of their type goes by while they stay, in days of the type's clock
    """

    n_buyers: int
    kind: Ints
    country: Ints
    first_day: Floats
    lapse_day: Floats
    joined: Floats  # first_day on the type's clock
    stays: Floats
    orders_per_year: Floats
    growth: Floats
    lines: Floats
    dear: Floats
    taste: Floats  # (people, categories), rows sum to 1
    rebuys: Floats
    coupons: Floats
    returns: Floats
    weekend: Floats
    hour: Floats
    channels: Floats  # (people, channels), rows sum to 1
    writes: Flags
    asks: Floats
    mood: Floats  # added to how they rate a ticket

    @property
    def more_orders(self) -> Floats:
        """How many orders after the first they may be expected to place while they stay and the shop is open."""
        expected: Floats = self.orders_per_year * np.expm1(self.growth * self.stays / YEAR) / self.growth
        expected[self.n_buyers :] = 0
        return expected


def form_habits(rng: Rng, *, types: Sequence[ShopperType], n_buyers: int, n_guests: int, clocks: Floats) -> Habits:
    """clocks : (types, days + 1), of `season_clocks`"""
    kind = np.concatenate([_kinds(rng, n_buyers, types), _kinds(rng, n_guests, types, seldom=True)])
    n = len(kind)
    keen = rng.standard_normal(n)

    def typical(field: str) -> Floats:
        of_type: Floats = np.array([getattr(t, field) for t in types], dtype=np.float64)[kind]
        return of_type

    def around(typical_value: Floats, *, keenness: float, own: float) -> Floats:
        bent: Floats = typical_value * np.exp(keenness * keen + own * rng.standard_normal(n))
        return bent

    def share(field: str, *, keenness: float, own: float) -> Floats:
        odds = around(typical(field) / (1 - typical(field)), keenness=keenness, own=own)
        return odds / (1 + odds)

    first_day = np.empty(n)
    for i, shopper in enumerate(types):
        first_day[kind == i] = arrivals(rng, int((kind == i).sum()), clocks[i], joins=shopper.joins)
    stays_days = YEAR * rng.exponential(around(typical("stays_years"), keenness=0.25, own=0.25))
    # A week more, so that no order moved to another weekday falls behind their leaving.
    lapse_day = first_day + 7 + stays_days
    days = np.arange(clocks.shape[1])
    joined, left = np.empty((2, n))
    for i, clock in enumerate(clocks):
        mine = kind == i
        joined[mine] = np.interp(first_day[mine], days, clock)
        left[mine] = np.interp(lapse_day[mine].clip(max=DAYS_OPEN + 7), days, clock)
    country = draw_countries(rng, n)
    channels = rng.gamma(4 * typical("channels"))
    abroad = (country != COUNTRIES.index("US")) & (country != COUNTRIES.index(None))
    channels[abroad, CHANNELS.index("pos")] = 0  # nobody comes to the counter from there
    weights = np.array([[c.sold * LIKED ** t.likes.count(c.name) for c in CATEGORIES] for t in types])
    focus = around(typical("focus"), keenness=-0.2, own=0.2)
    taste = weights[kind] * np.exp(focus[:, None] * rng.standard_normal((n, len(CATEGORIES))))
    return Habits(
        n_buyers=n_buyers,
        kind=kind,
        country=country,
        first_day=first_day,
        lapse_day=lapse_day,
        joined=joined,
        stays=left - joined,
        orders_per_year=around(typical("orders_per_year"), keenness=0.4, own=0.3).clip(max=52),
        growth=typical("growth") + 0.1 * rng.standard_normal(n),
        lines=1 + around(typical("lines") - 1, keenness=0.2, own=0.45),
        dear=share("dear", keenness=0.2, own=0.5),
        taste=taste / taste.sum(axis=1, keepdims=True),
        rebuys=share("rebuys", keenness=0.4, own=0.4),
        coupons=share("coupons", keenness=-0.3, own=0.5),
        returns=share("returns", keenness=-0.1, own=0.5),
        weekend=share("weekend", keenness=-0.2, own=0.7),
        hour=(typical("hour") + 2 * rng.standard_normal(n)).clip(7, 23),
        channels=channels / channels.sum(axis=1, keepdims=True),
        writes=rng.random(n) < typical("writers"),
        asks=around(typical("asks"), keenness=-0.2, own=0.3),
        mood=0.6 * rng.standard_normal(n),
    )


def season_clocks(opening: datetime, types: Sequence[ShopperType]) -> Floats:
    """(types, days + 1): how much trade a type has seen when a day begins, in days: a clock that runs fast in autumn.

    It goes on for a week after the last day, from where orders are moved back to the weekday a buyer likes.
    """
    month = (np.datetime64(opening, "D") + np.arange(DAYS_OPEN + 7)).astype("datetime64[M]").astype(np.int64) % 12
    speed = SEASON_BY_MONTH[month] ** np.array([[t.season] for t in types])
    clocks: Floats = np.cumsum(np.pad(speed / speed.mean(axis=1, keepdims=True), ((0, 0), (1, 0))), axis=1)
    return clocks


def arrivals(rng: Rng, n: int, clock: Floats, *, joins: tuple[float, float]) -> Floats:
    """Days on which newcomers come: with the season, and more every year."""
    days = np.arange(DAYS_OPEN + 1)
    growth = np.exp(NEWCOMERS_GROWTH * days[:-1] / YEAR)
    reach = np.cumsum(np.pad(np.diff(clock[: DAYS_OPEN + 1]) * growth, (1, 0)))
    low, high = np.interp(DAYS_OPEN * np.array(joins), days, reach)
    return np.interp(rng.uniform(low, high, n), reach, days)


def draw_countries(rng: Rng, n: int) -> Ints:
    return rng.choice(len(COUNTRIES), n, p=COUNTRY_SHARES)


def sale_chance(coupons: Floats) -> Floats:
    """Chance that a line is a sale item."""
    return 0.04 + 0.3 * coupons


def expected_order_values(own: Habits, goods: Catalogue) -> Floats:
    """In dollars, worked out from the habits: what the lines would come to on average over endless orders."""
    line: Floats = np.zeros(len(own.kind))
    for i, category in enumerate(CATEGORIES):
        mine = np.flatnonzero(goods.category == i)
        by_price = np.argsort(goods.cents[mine])
        chance, cents = np.diff(goods.reach[mine] - i, prepend=0)[by_price], goods.cents[mine][by_price]
        below = np.cumsum(chance)
        dearer = cents @ (below**2 - (below - chance) ** 2)
        cheaper = 2 * (cents @ chance) - dearer
        line += own.taste[:, i] * category.quantity * (cheaper + own.dear * (dearer - cheaper)) / 100
    line *= 1 - own.coupons * COUPONS_PERCENT.mean() / 100
    line *= 1 - sale_chance(own.coupons) * SALES_PERCENT.mean() / 100
    return own.lines * line


def _kinds(rng: Rng, n: int, types: Sequence[ShopperType], *, seldom: bool = False) -> Ints:
    """Types by their share; of those who come without an account mostly the types that come seldom."""
    weights = np.array([t.share / (t.orders_per_year if seldom else 1) for t in types])
    return rng.choice(len(types), n, p=weights / weights.sum())
