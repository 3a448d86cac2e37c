"""The built-in synthetic shop: a made-up store for quilters, of any size, whose truth is known.

    types, categories -> catalogue -> habits of each buyer (= the truth) -> orders -> lines -> refunds

A buyer is of one type, and the type says around where their habits lie. One hidden trait, keenness, bends several
habits of a buyer at once, as in real shops: the keen come more often, stay longer, buy wider and need fewer coupons.
The proportions are those of a shop with 93,564 buyers, 200,729 orders, 1,221,736 lines and 22,318 products.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import repeat
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput
from app.domain.records import Customer, Order, OrderLine, Record, Refund
from app.sources.base import Batch, ReadingAccount, StoreDefaults, Tally

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class ShopperType:
    """What is typical of one kind of buyer. Shares are of 1."""

    name: str
    share: float  # of all buyers
    orders_per_year: float  # while they stay, at their first order
    regularity: float  # of gaps: 1 leaves them to chance, 5 is nearly even, below 1 comes in bursts
    growth: float  # of log rate, a year
    stays_years: float  # mean time until they lapse
    joins: tuple[float, float]  # the part of the shop's life in which they first buy
    lines: float  # of an order
    season: float  # how far they follow the shop's year: 0 not at all, 1 as the shop, 3 mostly in autumn
    dear: float  # of two products, how often they take the dearer
    focus: float  # on few categories: .5 buys everything, 2 sticks to one or two
    rebuys: float  # share of lines that repeat an earlier product
    coupons: float  # share of orders
    returns: float  # share of lines
    weekend: float  # share of orders
    hour: float  # of the day, around which they order
    channels: tuple[float, float, float]  # shares of CHANNELS
    likes: tuple[str, str]  # categories bought LIKED times as much as by others


@dataclass(frozen=True, slots=True)
class Category:
    name: str
    stocked: float  # share of the catalogue
    sold: float  # weight among the lines of a buyer without likes
    price: float  # median, in dollars
    spread: float  # of log price
    quantity: float  # mean of a line
    noun: str


# fmt: off
CHANNELS = ("web", "pos", "shopify_draft_order")
TYPES = (
    #            name                  share  orders regular growth stays  joins      lines  season
    #      dear focus rebuys coupons returns weekend hour  channels       likes
    ShopperType("one-time gift buyer",  .331,   .12,   1.0,   0.0,   .4, (.00, 1.00),  2.8,  1.6,
           .52,  1.6,   .03,   .20,   .025,    .36,   14, (.90, .08, .02), ("gifts", "kits")),
    ShopperType("holiday quilter",      .185,   .85,   2.0,   0.0,  2.2, (.00, 1.00),  5.2,  3.5,
           .50,  1.2,   .08,   .25,   .020,    .34,   16, (.75, .22, .03), ("kits", "fabric")),
    ShopperType("bargain hunter",       .170,  1.00,    .8,   0.0,  1.6, (.00, 1.00),  6.3,  1.0,
           .22,  1.1,   .08,   .72,   .035,    .30,   21, (.95, .04, .01), ("precuts", "thread")),
    ShopperType("lapsed enthusiast",    .125,  3.40,   1.2,  -0.5,   .5, (.00,  .75),  6.3,   .7,
           .52,   .8,   .12,   .30,   .030,    .30,   19, (.85, .12, .03), ("fabric", "books")),
    ShopperType("new enthusiast",       .050,  2.70,   1.3,   0.8,  3.0, (.78, 1.00),  5.6,   .7,
           .50,   .7,   .10,   .38,   .030,    .33,   20, (.90, .08, .02), ("patterns", "rulers")),
    ShopperType("premium machine owner", .060, 1.20,   1.6,   0.1,  2.5, (.00, 1.00),  4.0,   .6,
           .82,  1.2,   .15,   .08,   .030,    .18,   11, (.45, .25, .30), ("machines", "feet")),
    ShopperType("steady monthly maker", .015,  5.50,   4.0,   0.0,  1.8, (.00, 1.00),  6.2,   .3,
           .50,   .9,   .35,   .22,   .015,    .22,   10, (.75, .20, .05), ("thread", "batting")),
    ShopperType("weekly guild regular", .004,  20.0,   5.0,   0.0,  2.0, (.00,  .95),  3.8,   .2,
           .55,   .5,   .28,   .15,   .010,    .08,   13, (.15, .75, .10), ("notions", "fabric")),
    ShopperType("serial returner",      .060,  1.70,   1.0,   0.0,  1.5, (.00, 1.00),  6.0,   .8,
           .62,   .8,   .04,   .40,   .270,    .40,   22, (.97, .02, .01), ("rulers", "precuts")),
)
LIKED = 6.0
CATEGORIES = (
    #        name       stocked sold price spread quantity noun
    Category("fabric",     .46,  .40,  6.2, .25, 2.6, "Cotton, half yard"),
    Category("precuts",    .08,  .08, 24.0, .40, 1.2, "Charm Pack"),
    Category("thread",     .12,  .12,  7.9, .35, 1.8, "Thread Spool"),
    Category("batting",    .02,  .04, 28.0, .50, 1.2, "Batting"),
    Category("patterns",   .10,  .10, 11.5, .25, 1.1, "Quilt Pattern"),
    Category("books",      .04,  .04, 24.0, .30, 1.0, "Book"),
    Category("notions",    .07,  .09,  9.0, .60, 1.3, "Notions Set"),
    Category("rulers",     .03,  .04, 19.0, .40, 1.1, "Ruler"),
    Category("kits",       .03,  .02, 68.0, .45, 1.0, "Quilt Kit"),
    Category("feet",      .025,  .02, 32.0, .50, 1.1, "Presser Foot"),
    Category("gifts",     .015,  .03, 15.0, .50, 1.3, "Gift"),
    Category("machines",  .010, .001, 950., .60, 1.0, "Sewing Machine"),
)
SEASON_BY_MONTH = np.array((.95, .85, .85, .80, .80, .75, .80, .95, 1.15, 1.40, 1.60, 1.15))
COUNTRIES = ("US", "CA", "GB", "AU", "DE", "NZ", None)
COUNTRY_SHARES = (.715, .060, .030, .025, .012, .008, .150)
FIRST_NAMES = ("Ada", "Bea", "Cleo", "Dora", "Edda", "Fern", "Greta", "Hazel", "Iris", "Kit", "Mabel", "Opal", "Rosa")
LAST_NAMES = ("Applique", "Basting", "Bobbin", "Dresden", "Hemstitch", "Pinwheel", "Sashing", "Selvage", "Thimble")
VENDORS = ("Alder Mills", "Birch & Daughters", "Cedar Studio", "Elm Works", "Fir Textiles", "Hazel House", "Juniper Co",
           "Larch Looms", "Maple Press", "Oak & Iron", "Pine Notions", "Rowan Prints", "Spruce Supply", "Willow Lane")
TINTS = ("Amber", "Berry", "Cocoa", "Dusk", "Ember", "Frost", "Indigo", "Moss", "Rust", "Sage", "Slate", "Teal")
MOTIFS = ("Bird", "Block", "Dot", "Fern", "Floral", "Lattice", "Leaf", "Paisley", "Plaid", "Star", "Stripe", "Vine")
# fmt: on

LAST_DAY, DAYS_OPEN = date(2025, 10, 22), 1731  # from 2021-01-26, both included
MODEL_BUYERS, MODEL_WAITING, MODEL_PRODUCTS = 93_564, 27_415, 22_318
NEWCOMERS_GROWTH = 0.2  # of log newcomers, a year
COUPONS_PERCENT, SALES_PERCENT = np.array((10, 15, 20, 25)), np.array((20, 30, 40))
CANCELLED = 0.006  # of orders not placed at the counter
BUYERS_PER_BATCH = 1_200  # a buyer brings about 17 records
YEAR, DAY, HOUR = 365.25, 86_400, 3_600  # in days, seconds, seconds


@dataclass(frozen=True, slots=True)
class CustomerTruth:
    """What the generator knows of a buyer and a model may only guess.

    orders_per_year      : while they stay, at their first order; it changes by the factor exp(growth_per_year) a year
    expected_order_value : mean of what they pay for an order after discounts, before refunds, in dollars
    discount_proneness   : share of their orders with a coupon; their liking for sale items follows it
    return_proneness     : chance that a line comes back
    lapsed_on            : the day they left for good; None for those who are customers still
    """

    customer_id: str
    type_name: str
    orders_per_year: float
    growth_per_year: float
    expected_order_value: float
    discount_proneness: float
    return_proneness: float
    lapsed_on: date | None


class SampleShop:
    """A `Source` of made-up records, the same ones for the same arguments. A batch holds all there is of its customers.

    customers : how many buyers, from 1; 29 % more have an account and no order yet
    until     : the shop's last day, in full and at its own place; its first is 1,730 days before

    Raises InvalidInput for less than one customer or a negative seed.
    """

    name = "sample"
    defaults = StoreDefaults(timezone="America/Chicago", currency="USD")

    def __init__(self, *, customers: int = 5000, seed: int = 7, until: date = LAST_DAY) -> None:
        if customers < 1:
            raise InvalidInput(f"A sample shop of {customers} customers cannot be made. Ask for 1 or more.")
        if seed < 0:
            raise InvalidInput(f"A sample shop cannot be made from the seed {seed}. Give a whole number from 0.")
        note = f"Synthetic: {customers} made-up buyers, seed {seed}, until {until:%Y-%m-%d}. Nobody in it exists."
        self.account = ReadingAccount(notes=[note])
        self._buyers, self._waiting, self._seed = customers, round(customers * MODEL_WAITING / MODEL_BUYERS), seed
        self._opening = datetime(until.year, until.month, until.day) - timedelta(days=DAYS_OPEN - 1)  # noqa: DTZ001
        self._clocks = _season_clocks(self._opening)
        self._goods = _catalogue(np.random.default_rng([seed, 0]), buyers=customers)
        self._habits = _habits(np.random.default_rng([seed, 1]), buyers=customers, clocks=self._clocks)

    def truth(self) -> list[CustomerTruth]:
        """One row per buyer, in the order in which `batches` brings them."""
        own = self._habits
        return [
            CustomerTruth(
                customer_id=_customer_id(i),
                type_name=TYPES[own.kind[i]].name,
                orders_per_year=float(own.orders_per_year[i]),
                growth_per_year=float(own.growth[i]),
                expected_order_value=value,
                discount_proneness=float(own.coupons[i]),
                return_proneness=float(own.returns[i]),
                lapsed_on=(self._opening + timedelta(days=lapse)).date() if lapse < DAYS_OPEN else None,
            )
            for i, (value, lapse) in enumerate(
                zip(_expected_order_values(own, self._goods).tolist(), own.lapse_day.tolist(), strict=True)
            )
        ]

    def batches(self) -> Iterator[Batch]:
        n_batches = -(-self._buyers // BUYERS_PER_BATCH)
        n_orders = 0
        for i in range(n_batches):
            # Every batch has its own stream of chance: a shop of any size is made in the memory of one batch.
            rng = np.random.default_rng([self._seed, 2, i])
            buyers = range(self._buyers * i // n_batches, self._buyers * (i + 1) // n_batches)
            waiting = range(self._waiting * i // n_batches, self._waiting * (i + 1) // n_batches)
            orders = _orders(rng, np.array(buyers), self._habits, self._clocks, self._opening.weekday())
            customers = self._customers(rng, buyers, waiting, orders)
            purchases = self._purchases(rng, orders, numbered_from=n_orders)
            n_orders += len(orders.buyer)
            yield Batch([*customers, *purchases], progress=(i + 1) / n_batches)

    def _customers(self, rng: Rng, buyers: range, waiting: range, orders: "_Orders") -> list[Record]:
        """Accounts are opened minutes before the first order, or some days; those waiting come with the season."""
        numbers = [*buyers, *(self._buyers + i for i in waiting)]
        n = len(numbers)
        first_order = orders.second[np.searchsorted(orders.buyer, np.array(buyers))]
        ahead = rng.integers(60, 1800, len(buyers)) + DAY * rng.poisson(rng.exponential(0.8, len(buyers)))
        came = _arrivals(rng, len(waiting), self._clocks[0], joins=(0, 1)).astype(np.int64)
        opened = [first_order - np.minimum(ahead, first_order), DAY * came + rng.integers(6 * HOUR, DAY, len(waiting))]
        first = [FIRST_NAMES[i] for i in rng.integers(len(FIRST_NAMES), size=n)]
        last = [LAST_NAMES[i] for i in rng.integers(len(LAST_NAMES), size=n)]
        emails = [
            f"{f}.{s}.{number + 1}@example.{'com' if number % 8 else 'net'}".lower()
            for f, s, number in zip(first, last, numbers, strict=True)
        ]
        country = [*self._habits.country[buyers.start : buyers.stop], *_countries(rng, len(waiting))]
        countries = [COUNTRIES[i] for i in country]
        self._enter("customer", n)
        ids, times = map(_customer_id, numbers), self._times(np.concatenate(opened))
        return list(map(Customer, ids, emails, first, last, repeat(None), countries, times))

    def _purchases(self, rng: Rng, orders: "_Orders", *, numbered_from: int) -> list[Record]:
        goods = self._goods
        lines = _lines(rng, orders, self._habits, goods)
        back = _refunds(rng, orders, lines, self._habits)

        numbers = range(numbered_from + 1, numbered_from + 1 + len(orders.buyer))
        order_ids = [f"O{number:07}" for number in numbers]
        customer_ids = [_customer_id(i) for i in orders.buyer.tolist()]
        paid = np.bincount(lines.order, weights=lines.amount)
        returned = np.bincount(lines.order[back.line], weights=back.amount, minlength=len(paid))
        heads = map(
            Order,
            order_ids,
            customer_ids,
            self._times(orders.second),
            [f"#{1000 + number}" for number in numbers],
            [CHANNELS[i] for i in orders.channel],
            repeat("USD"),
            np.select([returned == 0, returned < paid], ["paid", "partially_refunded"], "refunded").tolist(),
            np.where(orders.cancelled, "unfulfilled", "fulfilled").tolist(),
            [COUNTRIES[i] for i in self._habits.country[orders.buyer]],
        )
        of_order, products = lines.order.tolist(), lines.product.tolist()
        number_in_order = (np.arange(1, len(of_order) + 1) - np.searchsorted(lines.order, lines.order)).tolist()
        line_ids = [f"{order_ids[i]}-{number}" for i, number in zip(of_order, number_in_order, strict=True)]
        bodies = map(
            OrderLine,
            [order_ids[i] for i in of_order],
            map(_product_id, products),
            map(Decimal, lines.quantity.tolist()),
            _money(goods.cents[lines.product]),
            _money(lines.amount),
            line_ids,
            [goods.titles[i] for i in products],
            [CATEGORIES[i].name for i in goods.category[lines.product]],
            [VENDORS[i] for i in goods.vendor[lines.product]],
            _money(lines.discount),
        )
        refunded_orders, refunded_lines = lines.order[back.line].tolist(), back.line.tolist()
        refunds = map(
            Refund,
            [f"R-{order_ids[i]}" for i in refunded_orders],
            [customer_ids[i] for i in refunded_orders],
            map(_product_id, lines.product[back.line].tolist()),
            map(Decimal, back.quantity.tolist()),
            _money(back.amount),
            self._times(back.second),
            [f"R-{line_ids[i]}" for i in refunded_lines],
            [order_ids[i] for i in refunded_orders],
            [line_ids[i] for i in refunded_lines],
        )
        self._enter("order", len(order_ids))
        self._enter("order line", len(line_ids), cents=int(lines.amount.sum()))
        self._enter("refund", len(refunded_lines), cents=-int(back.amount.sum()))
        return [*heads, *bodies, *refunds]

    def _times(self, seconds: Ints) -> list[datetime]:
        """Moments at the shop's place. `seconds` count from its opening as if every day had 24 hours."""
        zone = ZoneInfo("America/Chicago")
        moments = np.datetime64(self._opening, "s") + seconds.astype("timedelta64[s]")
        return [moment.replace(tzinfo=zone) for moment in moments.tolist()]

    def _enter(self, what: str, n: int, *, cents: int = 0) -> None:
        for tally in (self.account.read, self.account.taken.setdefault(what, Tally())):
            tally.rows += n
            tally.money += Decimal(cents).scaleb(-2)


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """Products by category and, within it, by popularity. reach: the category's number + cumulative share within it."""

    category: Ints
    cents: Ints
    reach: Floats
    vendor: Ints
    titles: list[str]


def _catalogue(rng: Rng, *, buyers: int) -> _Catalogue:
    n = max(120, round(MODEL_PRODUCTS * (buyers / MODEL_BUYERS) ** 0.82))
    edges = np.round(n * np.cumsum([0, *(c.stocked for c in CATEGORIES)])).astype(np.int64)
    sizes = np.diff(edges)
    category = np.repeat(np.arange(len(CATEGORIES)), sizes)
    median, spread = (np.array([getattr(c, field) for c in CATEGORIES])[category] for field in ("price", "spread"))
    price = median * np.exp(spread * rng.standard_normal(n))
    popularity = [(10.0 + np.arange(size)) ** -0.95 for size in sizes]  # Zipf, without a runaway first
    titles = [
        f"{TINTS[rng.integers(len(TINTS))]} {MOTIFS[rng.integers(len(MOTIFS))]} {CATEGORIES[c].noun} No. {number}"
        for c, number in zip(category, np.arange(n) - edges[category] + 1, strict=True)
    ]
    # A vendor is known for some categories: each category has six of them, the first two leading.
    vendor = (3 * category + rng.choice(6, n, p=(0.35, 0.25, 0.15, 0.1, 0.1, 0.05))) % len(VENDORS)
    reach = np.concatenate([i + np.cumsum(p) / p.sum() for i, p in enumerate(popularity)])
    return _Catalogue(category, 50 * np.ceil(2 * price).astype(np.int64) - 1, reach, vendor, titles)


@dataclass(frozen=True, slots=True)
class _Habits:
    """The own habits of every buyer, as in ShopperType. Days count from the shop's first."""

    kind: Ints
    country: Ints
    first_day: Floats
    lapse_day: Floats
    orders_per_year: Floats
    growth: Floats
    lines: Floats
    dear: Floats
    taste: Floats  # (buyers, categories), rows sum to 1
    rebuys: Floats
    coupons: Floats
    returns: Floats
    weekend: Floats
    hour: Floats
    channels: Floats  # (buyers, channels), rows sum to 1


def _habits(rng: Rng, *, buyers: int, clocks: Floats) -> _Habits:
    kind = rng.choice(len(TYPES), buyers, p=[t.share for t in TYPES])
    keen = rng.standard_normal(buyers)

    def typical(field: str) -> Floats:
        of_type: Floats = np.array([getattr(t, field) for t in TYPES], dtype=np.float64)
        return of_type[kind]

    def around(typical_value: Floats, *, keenness: float, own: float) -> Floats:
        return typical_value * np.exp(keenness * keen + own * rng.standard_normal(buyers))

    def share(field: str, *, keenness: float, own: float) -> Floats:
        odds = around(typical(field) / (1 - typical(field)), keenness=keenness, own=own)
        return odds / (1 + odds)

    first_day = np.empty(buyers)
    for i, shopper in enumerate(TYPES):
        first_day[kind == i] = _arrivals(rng, int((kind == i).sum()), clocks[i], joins=shopper.joins)
    stays = YEAR * rng.exponential(around(typical("stays_years"), keenness=0.25, own=0.25))
    country = _countries(rng, buyers)
    channels = rng.gamma(4 * typical("channels"))
    abroad = (country != COUNTRIES.index("US")) & (country != COUNTRIES.index(None))
    channels[abroad, CHANNELS.index("pos")] = 0  # nobody comes to the counter from there
    weights = np.array([[c.sold * (LIKED if c.name in t.likes else 1) for c in CATEGORIES] for t in TYPES])
    focus = around(typical("focus"), keenness=-0.2, own=0.2)
    taste = weights[kind] * np.exp(focus[:, None] * rng.standard_normal((buyers, len(CATEGORIES))))
    return _Habits(
        kind=kind,
        country=country,
        first_day=first_day,
        lapse_day=first_day + 7 + stays,  # a week, so that no order moved to another weekday falls behind their leaving
        orders_per_year=around(typical("orders_per_year"), keenness=0.4, own=0.3).clip(max=52),
        growth=typical("growth") + 0.1 * rng.standard_normal(buyers),
        lines=1 + around(typical("lines") - 1, keenness=0.2, own=0.45),
        dear=share("dear", keenness=0.2, own=0.5),
        taste=taste / taste.sum(axis=1, keepdims=True),
        rebuys=share("rebuys", keenness=0.4, own=0.4),
        coupons=share("coupons", keenness=-0.3, own=0.5),
        returns=share("returns", keenness=-0.1, own=0.5),
        weekend=share("weekend", keenness=-0.2, own=0.7),
        hour=(typical("hour") + 2 * rng.standard_normal(buyers)).clip(7, 23),
        channels=channels / channels.sum(axis=1, keepdims=True),
    )


def _season_clocks(opening: datetime) -> Floats:
    """(types, days + 1): how much trade a type has seen when a day begins, in days: a clock that runs fast in autumn.

    It goes on for a week after the last day, from where orders are moved back to the weekday a buyer likes.
    """
    month = (np.datetime64(opening, "D") + np.arange(DAYS_OPEN + 7)).astype("datetime64[M]").astype(np.int64) % 12
    speed = SEASON_BY_MONTH[month] ** np.array([[t.season] for t in TYPES])
    clocks: Floats = np.cumsum(np.pad(speed / speed.mean(axis=1, keepdims=True), ((0, 0), (1, 0))), axis=1)
    return clocks


def _arrivals(rng: Rng, n: int, clock: Floats, *, joins: tuple[float, float]) -> Floats:
    """Days on which newcomers come: with the season, and more every year."""
    days = np.arange(DAYS_OPEN + 1)
    growth = np.exp(NEWCOMERS_GROWTH * days[:-1] / YEAR)
    reach = np.cumsum(np.pad(np.diff(clock[: DAYS_OPEN + 1]) * growth, (1, 0)))
    low, high = np.interp(DAYS_OPEN * np.array(joins), days, reach)
    return np.interp(rng.uniform(low, high, n), reach, days)


def _countries(rng: Rng, n: int) -> Ints:
    return rng.choice(len(COUNTRIES), n, p=COUNTRY_SHARES)


def _sale_chance(coupons: Floats) -> Floats:
    """Chance that a line is a sale item."""
    return 0.04 + 0.3 * coupons


def _expected_order_values(own: _Habits, goods: _Catalogue) -> Floats:
    """In dollars, worked out from the habits: what `_lines` would give on average over endless orders."""
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
    line *= 1 - _sale_chance(own.coupons) * SALES_PERCENT.mean() / 100
    return own.lines * line


@dataclass(frozen=True, slots=True)
class _Orders:
    """By buyer, then time, which is in seconds since the shop's opening."""

    buyer: Ints
    second: Ints
    channel: Ints
    cancelled: NDArray[np.bool_]


def _orders(rng: Rng, buyers: Ints, own: _Habits, clocks: Floats, opening_weekday: int) -> _Orders:
    """Gaps are gamma distributed on a clock of the buyer's own, which follows their season and their growing rate."""
    kind, first, rate, growth = own.kind[buyers], own.first_day[buyers], own.orders_per_year[buyers], own.growth[buyers]
    leaves = own.lapse_day[buyers].clip(max=DAYS_OPEN + 7)
    days = np.arange(clocks.shape[1])
    joined, stays = np.empty((2, len(buyers)))
    for i, clock in enumerate(clocks):
        mine = kind == i
        joined[mine] = np.interp(first[mine], days, clock)
        stays[mine] = np.interp(leaves[mine], days, clock) - joined[mine]

    expected = rate * np.expm1(growth * stays / YEAR) / growth
    n_drawn = np.ceil(expected + 6 * np.sqrt(expected) + 6).astype(np.int64)  # more than fit in before they leave
    who, begins = np.repeat(np.arange(len(buyers)), n_drawn), np.cumsum(n_drawn) - n_drawn
    evenness = np.array([t.regularity for t in TYPES])[kind][who]
    is_first = np.zeros(len(who), dtype=np.bool_)
    is_first[begins] = True
    turns = np.cumsum(np.where(is_first, 0, rng.gamma(evenness) / evenness))
    turns -= turns[begins][who]
    stretch = 1 + growth[who] * turns / rate[who]  # a rate that shrinks never gets round to some orders
    years = np.where(stretch > 0, np.log(stretch.clip(1e-9)) / growth[who], np.inf)
    day = np.empty(len(who))
    for i, clock in enumerate(clocks):
        mine = kind[who] == i
        day[mine] = np.interp(joined[who[mine]] + YEAR * years[mine], clock, days, right=np.inf)
    kept = is_first | (day < leaves[who])
    who, is_first, on = who[kept], is_first[kept], np.where(is_first, first[who], day)[kept].astype(np.int64)

    on_weekend = rng.random(len(who)) < own.weekend[buyers][who]
    weekday = np.where(on_weekend, rng.integers(5, 7, len(who)), rng.integers(0, 5, len(who)))
    on -= (opening_weekday + on - weekday) % 7
    on[on < 0] += 7
    kept = is_first | (on < DAYS_OPEN)
    who, on = who[kept], on[kept]

    channel = _drawn(rng, own.channels[buyers][who])
    opens, hours = np.where(channel == 0, 6, 9), np.where(channel == 0, 17.99, 9)  # the web stays up, staff go home
    usual = ((own.hour[buyers][who] - opens) / hours).clip(0.1, 0.9)
    second = (DAY * on + HOUR * (opens + hours * rng.beta(10 * usual, 10 - 10 * usual))).astype(np.int64)
    cancelled = (rng.random(len(who)) < CANCELLED) & (channel != CHANNELS.index("pos"))
    by_time = np.lexsort((second, who))
    return _Orders(buyers[who][by_time], second[by_time], channel[by_time], cancelled[by_time])


def _drawn(rng: Rng, shares: Floats) -> Ints:
    """One column drawn for each row of shares, which sum to 1."""
    column: Ints = (rng.random((len(shares), 1)) > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1)
    return column


@dataclass(frozen=True, slots=True)
class _Lines:
    """By order. Money is in cents."""

    order: Ints
    product: Ints
    quantity: Ints
    amount: Ints
    discount: Ints


def _lines(rng: Rng, orders: _Orders, own: _Habits, goods: _Catalogue) -> _Lines:
    n_orders = len(orders.buyer)
    order = np.repeat(np.arange(n_orders), 1 + rng.poisson((own.lines[orders.buyer] - 1) * rng.gamma(2, 0.5, n_orders)))
    buyer, n = orders.buyer[order], len(order)

    category = _drawn(rng, own.taste[buyer])
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
    product = product[source]

    quantity = 1 + rng.poisson(np.array([c.quantity - 1 for c in CATEGORIES])[goods.category[product]])
    coupon = np.where(rng.random(n_orders) < own.coupons[orders.buyer], rng.choice(COUPONS_PERCENT, n_orders), 0)
    sale = np.where(rng.random(n) < _sale_chance(own.coupons[buyer]), rng.choice(SALES_PERCENT, n), 0)
    full = quantity * goods.cents[product]
    amount = full * (100 - coupon[order]) * (100 - sale) // 10_000
    return _Lines(order, product, quantity, amount, full - amount)


@dataclass(frozen=True, slots=True)
class _Refunds:
    """Of lines, by their position. Money is in cents."""

    line: Ints
    quantity: Ints
    amount: Ints
    second: Ints


def _refunds(rng: Rng, orders: _Orders, lines: _Lines, own: _Habits) -> _Refunds:
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
    return _Refunds(line, quantity, lines.amount[line] * quantity // bought, at[line])


def _money(cents: Ints) -> list[Decimal]:
    """Exact, with two decimals. Prices recur, so each amount is made once."""
    distinct, which = np.unique(cents, return_inverse=True)
    amounts = [Decimal(c).scaleb(-2) for c in distinct.tolist()]
    return [amounts[i] for i in which.tolist()]


def _customer_id(number: int) -> str:
    return f"C{number + 1:07}"


def _product_id(number: int) -> str:
    return f"P{number + 1:06}"
