"""The kinds of buyer: what is typical of each."""

from dataclasses import dataclass

CHANNELS = ("web", "pos", "shopify_draft_order")
TICKET_CHANNELS = ("email", "chat", "phone", "contact_form")


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
    likes: tuple[str, ...]  # categories bought LIKED times as much as by others, again so for each mention
    writers: float  # share of those who turn to support when they have a question
    asks: float  # tickets for each order of those
    reaches: tuple[float, float, float, float]  # shares of TICKET_CHANNELS
    about: str  # the topic they raise LIKED times as much as others


# fmt: off
TYPES = (
    #            name                  share  orders regular growth stays  joins      lines  season
    #      dear focus rebuys coupons returns weekend hour  channels       likes
    #      writers asks reaches               about
    ShopperType("one-time gift buyer",  .331,   .12,   1.0,   0.0,   .4, (.00, 1.00),  2.8,  1.6,
           .52,  1.6,   .03,   .20,   .025,    .36,   14, (.90, .08, .02), ("gifts", "kits"),
           .08,  .40, (.45, .35, .05, .15), "where is my order"),
    ShopperType("holiday quilter",      .185,   .75,   2.0,   0.0,  2.2, (.00, 1.00),  5.2,  3.5,
           .50,  1.2,   .08,   .25,   .020,    .34,   16, (.75, .22, .03), ("kits", "fabric"),
           .12,  .30, (.55, .20, .15, .10), "where is my order"),
    ShopperType("bargain hunter",       .170,   .90,    .8,   0.0,  1.6, (.00, 1.00),  6.3,  1.0,
           .22,  1.1,   .08,   .72,   .035,    .30,   21, (.95, .04, .01), ("precuts", "thread"),
           .25,  .40, (.20, .70, .02, .08), "discount code"),
    ShopperType("lapsed enthusiast",    .125,  3.10,   1.2,  -0.5,   .5, (.00,  .75),  6.3,   .7,
           .52,   .8,   .12,   .30,   .030,    .30,   19, (.85, .12, .03), ("fabric", "books"),
           .20,  .25, (.60, .20, .10, .10), "product question"),
    ShopperType("new enthusiast",       .050,  2.50,   1.3,   0.8,  3.0, (.78, 1.00),  5.6,   .7,
           .50,   .7,   .10,   .38,   .030,    .33,   20, (.90, .08, .02), ("patterns", "rulers"),
           .35,  .40, (.25, .60, .05, .10), "product question"),
    ShopperType("premium machine owner", .060, 1.10,   1.6,   0.1,  2.5, (.00, 1.00),  4.0,   .6,
           .82,  1.2,   .15,   .08,   .030,    .18,   11, (.45, .25, .30), ("machines", "machines", "feet"),
           .70,  .80, (.18, .05, .75, .02), "technical help"),
    ShopperType("steady monthly maker", .015,  5.30,   4.0,   0.0,  1.8, (.00, 1.00),  6.2,   .3,
           .50,   .9,   .35,   .22,   .015,    .22,   10, (.75, .20, .05), ("thread", "batting"),
           .20,  .10, (.70, .15, .10, .05), "product question"),
    ShopperType("weekly guild regular", .004,  20.0,   5.0,   0.0,  2.0, (.00,  .95),  3.8,   .2,
           .55,   .5,   .28,   .15,   .010,    .08,   13, (.15, .75, .10), ("notions", "fabric"),
           .20,  .03, (.30, .00, .65, .05), "product question"),
    ShopperType("serial returner",      .060,  1.60,   1.0,   0.0,  1.5, (.00, 1.00),  6.0,   .8,
           .62,   .8,   .04,   .40,   .270,    .40,   22, (.97, .02, .01), ("rulers", "precuts"),
           .80,  .50, (.60, .30, .02, .08), "return or exchange"),
)
# fmt: on
LIKED = 6.0
