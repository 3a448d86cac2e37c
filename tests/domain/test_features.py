"""What the features promise: numbers a person can check, nothing undefined, and nobody's number depends on others."""

import ast
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import exp, log, sqrt
from random import Random

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import features
from app.domain.features import (
    CHAT,
    EMAIL,
    FEATURES,
    METRICS,
    OPEN,
    OTHER_WAY,
    PHONE,
    STAND_INS,
    UNTOLD,
    WEB_CHANNEL,
    ZERO_WITHOUT_GOODS,
    Moment,
    customer_features,
)
from app.segmentation.axes import AXES

SHARE, COUNT, ANY = (0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)

#: Lowest and highest value of each feature, as the documentation states them.
RANGES = {
    "total_purchases": (1.0, math.inf),
    "orders_per_month": COUNT,
    "avg_days_between_orders": (1.0, math.inf),
    "purchase_consistency": SHARE,
    "lifetime_value": ANY,
    "avg_order_value": ANY,
    "value_trend": (-3.0, 3.0),
    "unique_categories": COUNT,
    "category_diversity": SHARE,
    "exploration_breadth": COUNT,
    "discount_rate": SHARE,
    "full_price_ratio": SHARE,
    "discount_depth": SHARE,
    "weekend_ratio": SHARE,
    "business_hours_ratio": SHARE,
    "preferred_hour": (0.0, 24.0),
    "hour_spread": (0.0, 12.0),
    "tenure_days": COUNT,
    "maturity_score": SHARE,
    "acceleration": (-1.0, 1.0),
    "repeat_rate": SHARE,
    "repeat_visit_ratio": SHARE,
    "loyalty_index": SHARE,
    "refund_rate": SHARE,
    "items_returned_pct": SHARE,
    "returned_order_ratio": SHARE,
    "online_ratio": SHARE,
    "primary_channel_ratio": SHARE,
    "product_switching": SHARE,
    "discount_dependency": SHARE,
    "frequency_trend": ANY,
    "recency_ratio": COUNT,
    "recency_days": COUNT,
    "product_concentration": SHARE,
    "mastery": SHARE,
    "avg_item_price": COUNT,
    "discount_hunt_score": SHARE,
    "spend_consistency": SHARE,
    "total_tickets": COUNT,
    "tickets_per_order": COUNT,
    "days_since_last_ticket": COUNT,
    "dissatisfied_ratio": SHARE,
    "ticket_email_ratio": SHARE,
    "ticket_phone_ratio": SHARE,
    "ticket_chat_ratio": SHARE,
    "contact_hour": (0.0, 24.0),
    "resolution_days": COUNT,
    "topic_diversity": SHARE,
    "hard_ticket_ratio": SHARE,
}
MONEY = {"lifetime_value", "avg_order_value", "avg_item_price"}

WEB, STORE = WEB_CHANNEL, 1
TEA, BREAD, CAKE = 1, 2, 3
DRINKS, FOOD = 1, 2
PARCEL, ADVICE = 1, 2

ORDER = ("customer", "order", "day", "value", "discount", "channel")
LINE = ("customer", "order", "day", "product", "category", "quantity", "amount", "discount")
REFUND = ("customer", "order", "day", "amount", "quantity", "returned")
TICKET = ("customer", "day", "satisfaction", "channel", "topic", "resolved_day")
KEYS = {"customer", "order", "product", "category", "channel", "topic"}

Row = tuple[float, ...]
Measured = dict[int, dict[str, float]]


def day_of(text: str) -> float:
    """'2024-04-01 10:00' as days since 1970-01-01."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1)) / timedelta(days=1)  # noqa: DTZ001


@dataclass(frozen=True)
class Line:
    product: int
    category: int
    quantity: float
    amount: float
    discount: float = 0.0


@dataclass(frozen=True)
class Shop:
    """Rows of a tiny shop, column for column as `customer_features` takes them."""

    orders: list[Row] = field(default_factory=list)
    lines: list[Row] = field(default_factory=list)
    refunds: list[Row] = field(default_factory=list)
    tickets: list[Row] = field(default_factory=list)

    def order(
        self, customer: int, at: str, *lines: Line, delivery: float = 0.0, discount: float | None = None, by: int = WEB
    ) -> int:
        """Add an order of these lines and a delivery charge; its discount is that of its lines unless given."""
        number, day = len(self.orders), day_of(at)
        value = sum(line.amount for line in lines) + delivery
        taken_off = sum(line.discount for line in lines) if discount is None else discount
        self.orders.append((customer, number, day, value, taken_off, by))
        self.lines.extend(
            (customer, number, day, each.product, each.category, each.quantity, each.amount, each.discount)
            for each in lines
        )
        return number

    def refund(self, customer: int, at: str, amount: float, *, order: int, quantity: float, returned: bool) -> None:
        self.refunds.append((customer, order, day_of(at), amount, quantity, float(returned)))

    def ticket(
        self,
        customer: int,
        at: str,
        *,
        satisfaction: int = 0,
        by: int = OTHER_WAY,
        about: int = PARCEL,
        resolved: str | float = OPEN,
    ) -> None:
        end = day_of(resolved) if isinstance(resolved, str) else resolved
        self.tickets.append((customer, day_of(at), satisfaction, by, about, end))

    def only(self, *customers: int) -> "Shop":
        return Shop(*([row for row in rows if row[0] in customers] for rows in self.tables))

    def with_rows(self, change: Callable[[Sequence[str], list[Row]], list[Row]]) -> "Shop":
        """The shop with each of its tables changed by `change(column names, rows)`."""
        columns = (ORDER, LINE, REFUND, TICKET)
        return Shop(*(change(names, rows) for names, rows in zip(columns, self.tables, strict=True)))

    @property
    def tables(self) -> tuple[list[Row], list[Row], list[Row], list[Row]]:
        return self.orders, self.lines, self.refunds, self.tickets


def frame(columns: Sequence[str], rows: list[Row]) -> pl.DataFrame:
    schema = {name: pl.Int64 if name in KEYS else pl.Float64 for name in columns}
    return pl.DataFrame(
        {name: [row[at] for row in rows] for at, name in enumerate(columns)}, schema=schema, strict=False
    )


def measured(shop: Shop, as_of_day: Moment) -> Measured:
    table = lazily_measured(shop, as_of_day).collect()
    return {int(row["customer"]): {name: row[name] for name in row if name != "customer"} for row in table.to_dicts()}


def lazily_measured(shop: Shop, as_of_day: Moment) -> pl.LazyFrame:
    orders, lines, refunds, tickets = (
        nw.from_native(frame(columns, rows).lazy())
        for columns, rows in zip((ORDER, LINE, REFUND, TICKET), shop.tables, strict=True)
    )
    table = customer_features(orders=orders, lines=lines, refunds=refunds, tickets=tickets, as_of_day=as_of_day)
    native: pl.LazyFrame = table.to_native()
    return native


# The hand-worked shop, seen at the midnight that begins Monday, July 1st 2024.

JULY = day_of("2024-07-01 00:00")
ANNA, BEN, DORA, NORA = 1, 2, 3, 4


def corner_shop() -> Shop:
    """Four customers.

    Anna comes three times, 10 and then 30 days apart, pays 30, 15 and 45, rebuys tea, sends the bread back.
    Ben comes once, on a Friday at 17:00 sharp, ten days ago.
    Dora comes on days 0, 60, 80 and 90 of the 100 since her first order, always at half price; twice on day 90.
    Nora comes on a Friday at 23:30 and on the Sunday after at 00:30, and asks in the chat as late as that.
    """
    shop = Shop()
    bread = shop.order(ANNA, "2024-04-01 10:00", Line(TEA, DRINKS, 2, 20.0), Line(BREAD, FOOD, 1, 10.0))  # Monday
    shop.order(ANNA, "2024-04-11 12:00", Line(TEA, DRINKS, 1, 10.0), delivery=5.0)  # Thursday
    offer = Line(TEA, DRINKS, 1, 8.0, discount=2.0)
    shop.order(ANNA, "2024-05-11 20:00", offer, Line(CAKE, FOOD, 2, 37.0), by=STORE)  # Saturday
    shop.refund(ANNA, "2024-04-05 09:00", 9.0, order=bread, quantity=1, returned=True)
    shop.ticket(ANNA, "2024-04-03 09:00", satisfaction=2, by=EMAIL, resolved="2024-04-05 09:00")
    shop.ticket(ANNA, "2024-04-04 21:00", satisfaction=3, by=PHONE, resolved="2024-04-09 21:00")
    shop.ticket(ANNA, "2024-06-21 09:00", by=EMAIL, about=ADVICE)

    shop.order(BEN, "2024-06-21 17:00", Line(BREAD, FOOD, 2, 12.0))

    for day in ("2024-03-23 08:00", "2024-05-22 08:00", "2024-06-11 08:00"):
        shop.order(DORA, day, Line(TEA, DRINKS, 1, 10.0, discount=10.0))
    shop.order(DORA, "2024-06-21 08:00", Line(TEA, DRINKS, 1, 5.0, discount=5.0))
    shop.order(DORA, "2024-06-21 16:00", Line(TEA, DRINKS, 1, 15.0, discount=15.0), by=STORE)

    shop.order(NORA, "2024-06-28 23:30", Line(CAKE, FOOD, 1, 20.0))
    shop.order(NORA, "2024-06-30 00:30", Line(CAKE, FOOD, 1, 20.0))
    shop.ticket(NORA, "2024-06-28 23:00", by=CHAT, resolved="2024-06-28 23:00")
    shop.ticket(NORA, "2024-06-30 01:00", by=CHAT, resolved=UNTOLD)
    return shop


@pytest.fixture(scope="module")
def corner() -> Measured:
    return measured(corner_shop(), JULY)


EXAMPLES = [
    # Axis purchase_frequency
    ("total_purchases", ANNA, 3, "three orders"),
    ("total_purchases", DORA, 5, "two baskets on one day are two orders"),
    ("orders_per_month", ANNA, 3 / (91 / 30.4375), "April 1st to July 1st is 91 days"),
    ("orders_per_month", BEN, 1 / (30 / 30.4375), "known for ten days, counted as thirty"),
    ("avg_days_between_orders", ANNA, (10 + 30) / 2, "two gaps"),
    ("avg_days_between_orders", DORA, (60 + 20 + 10) / 3, "two baskets on one day leave no gap"),
    ("purchase_consistency", ANNA, 1 / (1 + 10 / 20), "gaps 10 and 30 lie 10 from their mean of 20"),
    ("purchase_consistency", DORA, 1 / (1 + sqrt((30**2 + 10**2 + 20**2) / 3) / 30), "gaps 60, 20, 10 around 30"),
    ("purchase_consistency", NORA, 0, "a single gap is no rhythm"),
    # Axis purchase_value
    ("lifetime_value", ANNA, 30 + 15 + 45 - 9, "less the bread"),
    ("avg_order_value", ANNA, (90 - 9) / 3, "net, by order"),
    ("avg_order_value", DORA, (10 + 10 + 10 + 5 + 15) / 5, "by order, not by visit"),
    ("value_trend", ANNA, (log(45) - log(30)) / 2, "of three points the slope is half the rise from first to last"),
    ("value_trend", DORA, 1.5 * (log(20) - log(10)) / (2 * 1.5**2 + 2 * 0.5**2), "10, 10, 10, then 20 in a day"),
    # Axis category_exploration
    ("unique_categories", ANNA, 2, "drinks and food"),
    ("category_diversity", ANNA, 1 - (3 / 5) ** 2 - (2 / 5) ** 2, "drinks three times, food twice"),
    ("category_diversity", BEN, 0, "all of one kind"),
    ("exploration_breadth", ANNA, 2 / 3, "two kinds in three orders"),
    # Axis price_sensitivity
    ("discount_rate", ANNA, 2 / (90 + 2), "2 off, 90 paid"),
    ("discount_rate", DORA, 1 / 2, "always half price"),
    ("full_price_ratio", ANNA, 2 / 3, "one order of three was on offer"),
    ("full_price_ratio", DORA, 0, "never at full price"),
    ("discount_depth", ANNA, 2 / (45 + 2), "of the one order on offer"),
    ("discount_depth", DORA, 1 / 2, "the mean over five orders, each at half price"),
    # Axis purchase_cadence
    ("weekend_ratio", ANNA, 1 / 3, "Monday, Thursday, Saturday"),
    ("weekend_ratio", NORA, 1 / 2, "Friday, Sunday"),
    ("business_hours_ratio", ANNA, 2 / 3, "Monday 10:00, Thursday 12:00; Saturday is no office day"),
    ("business_hours_ratio", BEN, 0, "17:00 sharp is after hours"),
    ("business_hours_ratio", DORA, 1 / 5, "08:00 is before hours, Friday 16:00 within"),
    ("preferred_hour", ANNA, (10 + 12 + 20) / 3, "the mean hour"),
    ("preferred_hour", NORA, 0, "half past eleven and half past midnight lie around midnight, not around noon"),
    ("hour_spread", ANNA, sqrt((4**2 + 2**2 + 6**2) / 3), "10, 12 and 20 around 14"),
    ("hour_spread", NORA, 0.5, "half an hour either side of midnight"),
    # Axis customer_maturity
    ("tenure_days", ANNA, 30 + 31 + 30, "April, May, June"),
    ("maturity_score", ANNA, (1 - exp(-91 / 365)) * (1 - exp(-3 / 5)), "91 days and three orders"),
    ("acceleration", ANNA, 2 * 0 / 2 - 1, "both returns, on days 10 and 40, before the middle of 91"),
    ("acceleration", DORA, 2 * 3 / 3 - 1, "all returns, on days 60, 80 and 90, after the middle of 100"),
    # Axis repurchase_behavior
    ("repeat_rate", ANNA, 2 / 5, "of tea, bread, tea, tea, cake two are bought again"),
    ("repeat_rate", DORA, 3 / 4, "tea on four days; a second packet the same day is no return to it"),
    ("repeat_visit_ratio", ANNA, 2 / 3, "all visits but the first"),
    ("repeat_visit_ratio", DORA, 3 / 4, "five orders, four visits"),
    ("loyalty_index", ANNA, 1 / 3, "three months since the first, an order in one of them, on day 40"),
    ("loyalty_index", DORA, 2 / 3, "days 60 and 80 fall in the second month after the first, day 90 in the third"),
    # Axis return_behavior
    ("refund_rate", ANNA, 9 / 90, "gross, so that it is a share of what was paid"),
    ("items_returned_pct", ANNA, 1 / (2 + 1 + 1 + 1 + 2), "one loaf of seven things"),
    ("returned_order_ratio", ANNA, 1 / 3, "one order of three"),
    # Axis communication_preference
    ("online_ratio", ANNA, 2 / 3, "the last was in the store"),
    ("primary_channel_ratio", ANNA, 2 / 3, "mostly on the web"),
    ("primary_channel_ratio", DORA, 4 / 5, "four of five on the web"),
    # Axis problem_complexity_profile
    ("product_switching", ANNA, 1 / 3, "after the first visit: tea, tea and, new to her, cake"),
    ("discount_dependency", ANNA, 1 / 3, "one order of three"),
    # Axis loyalty_trajectory
    ("frequency_trend", ANNA, -(log(1 + 30) - log(1 + 10)), "gaps growing from 10 to 30: slower"),
    ("frequency_trend", DORA, (log(1 + 60) - log(1 + 10)) / 2, "gaps shrinking from 60 to 10 in two steps: quicker"),
    ("recency_ratio", ANNA, (20 + 30 + 1) / 20, "away since May 11th, usually 20 days"),
    ("recency_ratio", BEN, 10 / 365, "seen once: taken for someone who comes once a year"),
    # Axis product_knowledge
    ("product_concentration", ANNA, (3 / 5) ** 2 + (1 / 5) ** 2 + (1 / 5) ** 2, "tea three times, bread, cake"),
    ("product_concentration", BEN, 1, "a single product"),
    ("mastery", ANNA, 1 - 1 / 3, "tea on three visits"),
    ("mastery", BEN, 0, "two loaves at once are bought once"),
    # Axis value_sophistication
    ("avg_item_price", ANNA, (20 + 10 + 10 + 8 + 37) / (2 + 1 + 1 + 1 + 2), "goods without delivery, by the piece"),
    ("discount_hunt_score", ANNA, 8 / (20 + 10 + 10 + 8 + 37), "the tea on offer, of all goods"),
    ("discount_hunt_score", DORA, 1, "everything on offer"),
    ("spend_consistency", ANNA, 1 / (1 + sqrt((0**2 + 15**2 + 15**2) / 3) / 30), "30, 15 and 45 around 30"),
    ("spend_consistency", NORA, 1, "20 and 20"),
    # Axis support_history
    ("total_tickets", ANNA, 3, "three requests"),
    ("tickets_per_order", ANNA, 3 / 3, "one for each order"),
    ("days_since_last_ticket", ANNA, 10 - 9 / 24, "June 21st, 09:00"),
    ("dissatisfied_ratio", ANNA, 1 / 2, "rated 2 and 3, and 3 is not poor; the third is unrated"),
    # Axis communication_preference, from tickets
    ("ticket_email_ratio", ANNA, 2 / 3, "two of three by e-mail"),
    ("ticket_phone_ratio", ANNA, 1 / 3, "one of three by phone"),
    ("ticket_chat_ratio", NORA, 1, "both in the chat"),
    ("contact_hour", ANNA, (9 + 21 + 9) / 3, "the mean hour"),
    ("contact_hour", NORA, 0, "an hour before midnight and an hour after it"),
    # Axis problem_complexity_profile, from tickets
    ("resolution_days", ANNA, (2 + 5 + (10 - 9 / 24)) / 3, "the last is open still, since June 21st, 09:00"),
    ("resolution_days", NORA, 0, "done at once; how long the other took is not known"),
    ("topic_diversity", ANNA, 1 - (2 / 3) ** 2 - (1 / 3) ** 2, "two of a parcel, one of another thing"),
    ("topic_diversity", NORA, 0, "of one thing alone"),
    ("hard_ticket_ratio", ANNA, 2 / 3, "one rated 2, one open for more than a week; five days are not long"),
    ("hard_ticket_ratio", NORA, 0, "neither rated poor nor known to be long open"),
    # Beside the axes
    ("total_orders", DORA, 5, "two baskets on one day are two orders"),
    ("recency_days", ANNA, 20 + 30 + 1, "May 11th to July 1st"),
]


@pytest.mark.parametrize(
    ("feature", "customer", "expected", "why"), EXAMPLES, ids=[f"{name}-{n}" for n, (name, *_) in enumerate(EXAMPLES)]
)
def test_a_hand_worked_number_comes_out(
    corner: Measured, feature: str, customer: int, expected: float, why: str
) -> None:
    assert corner[customer][feature] == pytest.approx(expected, rel=1e-12, abs=1e-12), why


def test_every_feature_of_every_axis_has_a_hand_worked_example_and_a_range() -> None:
    of_axes = {each.name for axis in AXES for each in (*axis.features, *axis.ticket_features)}
    assert of_axes - {feature for feature, *_ in EXAMPLES} == set()
    assert set(RANGES) == of_axes


def test_every_feature_and_metric_has_a_hand_worked_example_and_serves_an_axis_or_a_table() -> None:
    assert {*FEATURES, *METRICS} == {feature for feature, *_ in EXAMPLES}
    assert set(FEATURES) <= {each.name for axis in AXES for each in (*axis.features, *axis.ticket_features)}


# Customers who have shown too little to tell.


def assert_defined(found: Measured) -> None:
    for customer, numbers in found.items():
        for name, value in numbers.items():
            assert value is not None and math.isfinite(value), f"{name} of {customer} is {value}"
            low, high = RANGES.get(name, ANY)
            assert low <= value <= high, f"{name} of {customer} is {value}, outside {low}..{high}"


def test_the_corner_shop_lies_within_the_ranges(corner: Measured) -> None:
    assert set(corner) == {ANNA, BEN, DORA, NORA}
    assert_defined(corner)


def test_a_one_time_buyer_gets_every_stand_in(corner: Measured) -> None:
    assert {name: corner[BEN][name] for name in STAND_INS} == dict(STAND_INS)


def test_a_customer_who_only_ever_paid_for_delivery_has_bought_nothing_and_is_still_a_customer() -> None:
    shop = Shop()
    shop.order(BEN, "2024-05-01 10:00", delivery=5.0)
    shop.order(BEN, "2024-06-01 10:00", delivery=7.0)
    found = measured(shop, JULY)
    assert_defined(found)
    assert {name: found[BEN][name] for name in ZERO_WITHOUT_GOODS} == dict.fromkeys(ZERO_WITHOUT_GOODS, 0.0)
    assert found[BEN]["lifetime_value"] == 12.0
    assert found[BEN]["avg_days_between_orders"] == 31.0


def test_orders_of_the_same_second_are_one_visit() -> None:
    shop = Shop()
    for _ in range(3):
        shop.order(BEN, "2024-06-01 10:00:01", Line(TEA, DRINKS, 1, 4.0))
    found = measured(shop, JULY)
    assert_defined(found)
    assert found[BEN]["total_purchases"] == 3
    assert found[BEN]["avg_days_between_orders"] == STAND_INS["avg_days_between_orders"]
    assert found[BEN]["repeat_visit_ratio"] == found[BEN]["mastery"] == found[BEN]["hour_spread"] == 0


def test_an_order_of_the_last_second_before_midnight_was_yesterday() -> None:
    shop = Shop()
    shop.order(BEN, "2024-06-30 23:59:59.999999", Line(TEA, DRINKS, 1, 4.0))
    found = measured(shop, JULY)
    assert_defined(found)
    assert found[BEN]["recency_days"] == found[BEN]["tenure_days"] == 1
    assert found[BEN]["weekend_ratio"] == 1
    assert found[BEN]["preferred_hour"] == 0, "to the second it is midnight"


@pytest.mark.parametrize("as_of", ["2024-07-01 00:00:00", "2024-07-01 00:00:01", "2024-07-01 23:59"])
def test_an_order_of_the_day_itself_was_zero_days_ago(as_of: str) -> None:
    shop = Shop()
    shop.order(BEN, "2024-07-01 00:00:00", Line(TEA, DRINKS, 1, 4.0))
    found = measured(shop, day_of(as_of))
    assert_defined(found)
    assert found[BEN]["recency_days"] == found[BEN]["tenure_days"] == found[BEN]["maturity_score"] == 0
    assert found[BEN]["weekend_ratio"] == 0


def test_who_gives_back_more_than_they_bought_has_a_negative_worth_and_returns_everything() -> None:
    shop = Shop()
    number = shop.order(BEN, "2024-06-01 10:00", Line(TEA, DRINKS, 1, 4.0))
    shop.refund(BEN, "2024-06-02 10:00", 100.0, order=number, quantity=25, returned=True)
    shop.refund(BEN, "2024-06-02 10:00", 1.0, order=-1, quantity=1, returned=True)
    found = measured(shop, JULY)
    assert_defined(found)
    assert found[BEN]["lifetime_value"] == 4 - 101
    assert found[BEN]["refund_rate"] == found[BEN]["items_returned_pct"] == found[BEN]["returned_order_ratio"] == 1


def test_a_credit_lowers_worth_and_is_no_return() -> None:
    shop = Shop()
    number = shop.order(BEN, "2024-06-01 10:00", Line(TEA, DRINKS, 1, 4.0))
    shop.refund(BEN, "2024-06-02 10:00", 1.0, order=number, quantity=1, returned=False)
    found = measured(shop, JULY)[BEN]
    assert (found["lifetime_value"], found["refund_rate"]) == (3, 1 / 4)
    assert found["items_returned_pct"] == found["returned_order_ratio"] == 0


def test_a_return_of_an_order_nobody_knows_counts_as_goods_but_as_no_order() -> None:
    shop = Shop()
    shop.order(BEN, "2024-06-01 10:00", Line(TEA, DRINKS, 4, 4.0))
    shop.refund(BEN, "2024-06-02 10:00", 1.0, order=-1, quantity=1, returned=True)
    found = measured(shop, JULY)[BEN]
    assert (found["items_returned_pct"], found["returned_order_ratio"]) == (1 / 4, 0)


def test_where_everything_is_free_nothing_is_divided_by_it() -> None:
    shop = Shop()
    for day in ("2024-04-01 10:00", "2024-05-01 10:00", "2024-06-01 10:00"):
        number = shop.order(BEN, day, Line(TEA, DRINKS, 1, 0.0))
    shop.refund(BEN, "2024-06-02 10:00", 0.0, order=number, quantity=1, returned=True)
    found = measured(shop, JULY)
    assert_defined(found)
    assert found[BEN]["value_trend"] == found[BEN]["refund_rate"] == found[BEN]["avg_item_price"] == 0
    assert found[BEN]["spend_consistency"] == 1, "three equal visits"


def test_one_free_order_among_paid_ones_is_a_steep_fall_but_no_bottomless_one() -> None:
    shop = Shop()
    for day, amount in (("2024-04-01 10:00", 30.0), ("2024-05-01 10:00", 30.0), ("2024-06-01 10:00", 0.0)):
        shop.order(BEN, day, Line(TEA, DRINKS, 1, amount))
    # The mean visit is 20, of which a hundredth stands in for nothing: from 30 to 0.2 over two steps.
    assert measured(shop, JULY)[BEN]["value_trend"] == pytest.approx(log(0.2 / 30) / 2, rel=1e-12)


def test_equal_visits_are_even_whatever_their_size() -> None:
    for amount in (0.01, 1 / 3, 1e6 + 0.1, 1e12 + 0.1):
        shop = Shop()
        for day in ("2024-04-01 10:20", "2024-05-01 10:20", "2024-05-31 10:20"):
            shop.order(BEN, day, Line(TEA, DRINKS, 1, amount))
        found = measured(shop, JULY)[BEN]
        assert found["spend_consistency"] == found["purchase_consistency"] == pytest.approx(1, abs=1e-15)
        assert found["hour_spread"] == pytest.approx(0, abs=1e-12)


def test_an_evening_at_ten_to_midnight_and_a_night_at_three_keep_their_hours() -> None:
    for at, hour in (("23:50", 23 + 5 / 6), ("00:00", 0), ("03:00", 3), ("03:59:59", 4 - 1 / 3600), ("04:00", 4)):
        shop = Shop()
        shop.order(BEN, f"2024-06-01 {at}", Line(TEA, DRINKS, 1, 4.0))
        assert measured(shop, JULY)[BEN]["preferred_hour"] == pytest.approx(hour, abs=1e-9)


@pytest.mark.parametrize(
    ("at", "within"), [("08:59:59", 0), ("09:00", 1), ("16:59:59", 1), ("17:00", 0), ("17:00:01", 0)]
)
def test_office_hours_run_from_nine_until_before_five_on_any_weekday(at: str, within: int) -> None:
    shop = Shop()
    for number in range(14):
        shop.order(number, f"2024-06-{3 + number:02d} {at}", Line(TEA, DRINKS, 1, 4.0))
    found = measured(shop, JULY)
    weekdays = [number for number in found if number % 7 < 5]  # June 3rd 2024 was a Monday
    assert {found[number]["business_hours_ratio"] for number in weekdays} == {within}
    assert {found[number]["business_hours_ratio"] for number in found if number % 7 >= 5} == {0}


# Properties, on shops made up at random. Days lie on the minute, money on the cent.

FIRST_DAY, SPAN_DAYS = 19_000, 800
AS_OF = float(FIRST_DAY + SPAN_DAYS)
_DAYS = st.integers(0, SPAN_DAYS * 1440 - 1).map(lambda minute: FIRST_DAY + minute / 1440)
_CENTS = st.one_of(st.just(0.0), st.integers(0, 1_000_000).map(lambda cents: cents / 100))
_HUGE = st.one_of(_CENTS, st.sampled_from([1e-9, 1e12, 1e12 + 0.25, 1e15]))
_FEW = st.integers(0, 4).map(float)


@st.composite
def shops(draw: st.DrawFn, money: st.SearchStrategy[float] = _CENTS, most: int = 4) -> Shop:
    shop = Shop()
    for customer in range(draw(st.integers(1, most))):
        own = []
        for _ in range(draw(st.integers(1, 5))):
            number = customer * 100 + len(own)
            day = draw(_DAYS)
            shop.orders.append((customer, number, day, draw(money), draw(money), draw(st.integers(0, 2))))
            own.append(number)
            for _ in range(draw(st.integers(0, 3))):
                product = draw(st.integers(1, 4))
                line = (customer, number, day, product, product % 3, draw(_FEW), draw(money), draw(money))
                shop.lines.append(line)
        for _ in range(draw(st.integers(0, 2))):
            order = draw(st.sampled_from([-1, *own]))
            shop.refunds.append((customer, order, draw(_DAYS), draw(money), draw(_FEW), float(draw(st.booleans()))))
        for _ in range(draw(st.integers(0, 2))):
            way, topic = draw(st.integers(0, 3)), draw(st.integers(1, 3))
            end = draw(st.one_of(st.sampled_from([OPEN, UNTOLD]), _DAYS))
            shop.tickets.append((customer, draw(_DAYS), float(draw(st.integers(0, 5))), way, topic, end))
    return shop


def assert_same(one: Measured, other: Measured, *, rel: float = 1e-12, abs: float = 1e-12) -> None:
    assert set(one) == set(other)
    for customer, numbers in one.items():
        for name, value in numbers.items():
            assert other[customer][name] == pytest.approx(value, rel=rel, abs=abs), f"{name} of {customer}"


@settings(deadline=None, max_examples=60)
@given(shops(money=_HUGE))
def test_nothing_is_ever_undefined_or_out_of_range(shop: Shop) -> None:
    assert_defined(measured(shop, AS_OF))


@settings(deadline=None, max_examples=25)
@given(shops())
def test_a_customer_alone_measures_as_they_do_among_others(shop: Shop) -> None:
    whole = measured(shop, AS_OF)
    for customer in whole:
        assert_same(measured(shop.only(customer), AS_OF), {customer: whole[customer]})


@settings(deadline=None, max_examples=25)
@given(shops(), shops(most=1))
def test_a_new_customer_changes_nobody_else(shop: Shop, newcomer: Shop) -> None:
    before = measured(shop, AS_OF)
    moved = newcomer.with_rows(lambda names, rows: [(99, *row[1:]) for row in rows])
    joined = Shop(*([*rows, *more] for rows, more in zip(shop.tables, moved.tables, strict=True)))
    after = measured(joined, AS_OF)
    assert set(after) == {*before, 99}
    assert_same(before, {customer: after[customer] for customer in before})


@settings(deadline=None, max_examples=25)
@given(shops(), st.randoms(use_true_random=False))
def test_shuffling_the_rows_changes_nothing(shop: Shop, random: Random) -> None:
    shuffled = shop.with_rows(lambda names, rows: random.sample(rows, len(rows)))
    assert_same(measured(shop, AS_OF), measured(shuffled, AS_OF), rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(shops(), st.integers(-500, 500))
def test_weeks_earlier_or_later_everything_is_the_same(shop: Shop, weeks: int) -> None:
    def shifted(names: Sequence[str], rows: list[Row]) -> list[Row]:
        days = {names.index(name) for name in ("day", "resolved_day") if name in names}
        return [
            tuple(value + 7 * weeks if at in days and value > 0 else value for at, value in enumerate(row))
            for row in rows
        ]

    later = measured(shop.with_rows(shifted), AS_OF + 7 * weeks)
    assert_same(measured(shop, AS_OF), later, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(shops())
def test_ten_times_the_money_is_ten_times_the_worth_and_the_same_customer(shop: Shop) -> None:
    def dearer(names: Sequence[str], rows: list[Row]) -> list[Row]:
        money = {names.index(name) for name in ("value", "amount", "discount") if name in names}
        return [tuple(10 * value if at in money else value for at, value in enumerate(row)) for row in rows]

    expected = {
        customer: {name: 10 * value if name in MONEY else value for name, value in numbers.items()}
        for customer, numbers in measured(shop, AS_OF).items()
    }
    assert_same(measured(shop.with_rows(dearer), AS_OF), expected, rel=1e-9, abs=1e-9)


def test_customers_may_each_be_seen_at_a_moment_of_their_own() -> None:
    shop = corner_shop()
    moments = {ANNA: JULY, BEN: JULY + 0.75, DORA: JULY + 40, NORA: JULY + 400}
    alone = {customer: measured(shop, day)[customer] for customer, day in moments.items()}
    seen_at = pl.DataFrame({"customer": list(moments), "as_of_day": list(moments.values())})
    assert measured(shop, nw.from_native(seen_at.lazy())) == alone


# Other engines. Spark is no part of the test environment; what it lacks is kept out of the source instead.


@settings(deadline=None, max_examples=15)
@given(shops())
def test_the_streaming_engine_agrees_with_the_one_in_memory(shop: Shop) -> None:
    lazy = lazily_measured(shop, AS_OF)
    in_memory = lazy.collect(engine="in-memory").sort("customer")
    streamed = lazy.collect(engine="streaming").sort("customer")
    assert streamed.columns == in_memory.columns
    for name in in_memory.columns:
        assert streamed[name].to_list() == pytest.approx(in_memory[name].to_list(), rel=1e-9, abs=1e-9), name


#: Methods that were found to give the same numbers on Polars, DuckDB and PySpark.
_PORTABLE = {
    *("abs", "alias", "cast", "clip", "cum_sum", "exp", "fill_null", "floor", "log", "max", "mean", "median", "min"),
    *("n_unique", "over", "quantile", "round", "shift", "sqrt", "std", "sum"),
    *("agg", "filter", "group_by", "join", "select", "with_columns"),
}


def _calls() -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(inspect.getsource(features))) if isinstance(node, ast.Call)]


def _method(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else None


def test_features_use_only_what_spark_has_too() -> None:
    expression_or_frame = {name for kind in (nw.Expr, nw.LazyFrame) for name in dir(kind) if not name.startswith("_")}
    namespaces = {"dt", "str", "list", "struct", "cat", "name"}
    tree = ast.parse(inspect.getsource(features))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    of_narwhals = {id(node) for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "nw"}
    methods = {node.attr for node in attributes if id(node) not in of_narwhals}
    assert methods & namespaces == set()
    assert (methods & expression_or_frame) - _PORTABLE == set()


def test_features_never_filter_inside_an_aggregate() -> None:
    aggregates = [call for call in _calls() if _method(call) == "agg"]
    assert len(aggregates) > 5
    inside = {_method(node) for call in aggregates for each in call.args for node in ast.walk(each) if _is_call(node)}
    assert inside.isdisjoint({"filter", "first", "last", "over"})


def test_features_that_look_at_the_row_before_say_in_which_order() -> None:
    for call in _calls():
        if _method(call) == "over":
            earlier = {_method(node) for node in ast.walk(call.func) if _is_call(node)}
            ordered = any(keyword.arg == "order_by" for keyword in call.keywords)
            assert ordered == bool(earlier & {"shift", "cum_sum"}), ast.unparse(call)


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call)
