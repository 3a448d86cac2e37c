"""What a customer's behaviour measures: one narwhals expression set, for a whole shop or for one customer.

The same function runs on Polars on one machine and on PySpark on a cluster, for one customer in real time and for all
of them in a batch. To agree everywhere it works on plain numbers: keys are integers, times are float days since
1970-01-01 on the shop's own clock, hours and weekdays are arithmetic. docs/BEHAVIORAL_MATH.md states each formula, unit
and range.

    orders   one row per order           customer order day value discount channel
    lines    one row per line of goods   customer order day product category quantity amount discount
    refunds  one row per refund          customer order day amount quantity returned
    tickets  one row per support ticket  customer day satisfaction channel topic resolved_day

A *visit* is a day on which the customer ordered: two baskets on one day are one occasion and make no gap of minutes.
Undefined values (a one-time buyer has no gap) take the stand-ins of `STAND_INS`; nothing leaves here undefined.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import narwhals as nw

MONTH_DAYS = 30.4375
PERIOD_DAYS = 30.0
GAP_STAND_IN_DAYS = 365.0
#: Of a customer's mean visit: less than this counts as this in value_trend, so that a free order has a logarithm.
LEAST_RELATIVE_VALUE = 0.01

#: What stands in where a customer has shown too little to tell.
STAND_INS: Mapping[str, float] = MappingProxyType(
    {
        "avg_days_between_orders": GAP_STAND_IN_DAYS,  # one visit: taken for someone who comes once a year
        "purchase_consistency": 0.0,  # fewer than two gaps: no rhythm shown
        "value_trend": 0.0,  # fewer than three visits: no trend shown
        "frequency_trend": 0.0,  # fewer than two gaps: no trend shown
        "acceleration": 0.0,  # one visit: neither faster nor slower
        "loyalty_index": 0.0,  # known for less than one period
        "spend_consistency": 0.0,  # one visit: no consistency shown
        "discount_depth": 0.0,  # never bought at a discount
        "product_switching": 0.0,  # one visit: nothing to switch from
        "days_since_last_ticket": GAP_STAND_IN_DAYS,  # never asked for help
        "dissatisfied_ratio": 0.0,  # never rated a ticket
        **dict.fromkeys(  # never asked for help
            (
                *("ticket_email_ratio", "ticket_phone_ratio", "ticket_chat_ratio", "contact_hour"),
                *("resolution_days", "topic_diversity", "hard_ticket_ratio"),
            ),
            0.0,
        ),
    }
)

#: Features that are 0 where there is nothing to divide: orders without goods (a delivery charge alone), nothing paid.
ZERO_WITHOUT_GOODS = (
    "unique_categories",
    "category_diversity",
    "product_concentration",
    "repeat_rate",
    "mastery",
    "avg_item_price",
    "discount_hunt_score",
    "items_returned_pct",
    "refund_rate",
    "discount_rate",
)

Frame = nw.LazyFrame[Any]

#: More than there are customers, products or categories: two of their keys make one number that tells both.
KEYS = 2**31
# Added to a day, so that it is a key as well if it lies before 1970.
_LONG_AGO = 2**30
#: Customers whose visits are put in order together.
NEIGHBOURS = 4096


#: When customers are looked at, float days since 1970-01-01 on the shop's clock: one moment for everyone, or one each
#: as a frame of `customer` and `as_of_day`.
Moment: TypeAlias = float | Frame


def customer_features(*, orders: Frame, lines: Frame, refunds: Frame, tickets: Frame, as_of_day: Moment) -> Frame:
    """One row per customer with an order: `customer`, the business metrics, and every feature of every axis.

    orders, lines, refunds, tickets : as the module's head says, all before as_of_day
    returns : `customer`, `total_orders`, `lifetime_value`, `avg_order_value`, `recency_days`, `tenure_days` and
              the features, floats, never null or NaN
    """
    goods = goods_totals(lines)
    return features_with_goods(orders=orders, goods=goods, refunds=refunds, tickets=tickets, as_of_day=as_of_day)


def features_with_goods(*, orders: Frame, goods: Frame, refunds: Frame, tickets: Frame, as_of_day: Moment) -> Frame:
    """`customer_features` where the lines have been summed up already. goods : as `goods_totals` returns it"""
    spans = _spans(orders, as_of_day=as_of_day)
    parts = [
        _order_features(orders),
        _rhythm_features(_visits(orders), spans),
        goods,
        _refund_features(refunds),
        _ticket_features(tickets, as_of_day=as_of_day),
    ]
    joined = spans
    for part in parts:
        joined = joined.join(part, on="customer", how="left")
    return _combined(joined)


def _seen_at(frame: Frame, as_of_day: Moment) -> Frame:
    """With the moment of each customer beside it, as `as_of_day`."""
    if isinstance(as_of_day, float):
        return frame.with_columns(as_of_day=nw.lit(as_of_day))
    return frame.join(as_of_day, on="customer", how="left")


def _visits(orders: Frame) -> Frame:
    """One row per customer and day with an order, numbered from 1, with the days since the visit before."""
    days = (
        orders.with_columns(day=nw.col("day").floor())
        .group_by("customer", "day")
        .agg(nw.col("value").sum().alias("visit_value"))
    )
    # In their order within a few thousand customers at a time: a window for each customer takes ten times as long, and
    # one for all would be one machine's work on Spark.
    days = days.with_columns(
        at=nw.col("customer") * KEYS + nw.col("day").cast(nw.Int64),
        one=nw.lit(1.0),
        among=(nw.col("customer") / NEIGHBOURS).floor(),
    ).with_columns(
        since=nw.col("at") - nw.col("at").shift(1).over("among", order_by="at"),
        place=nw.col("one").cum_sum().over("among", order_by="at"),
    )
    return days.with_columns(
        gap=nw.when(nw.col("since") < KEYS // 2).then(nw.col("since").cast(nw.Float64)).otherwise(None),
        number=nw.col("place") - nw.col("place").min().over("customer") + 1,
    )


def _spans(orders: Frame, *, as_of_day: Moment) -> Frame:
    """First and last visit, and the time between and since."""
    spans = (
        orders.with_columns(day=nw.col("day").floor())
        .group_by("customer")
        .agg(
            nw.col("day").min().alias("first_day"),
            nw.col("day").max().alias("last_day"),
            nw.len().cast(nw.Float64).alias("total_orders"),
        )
    )
    # Both in whole days of the shop's calendar; a purchase today is 0 days ago.
    today = nw.col("as_of_day").floor()
    return _seen_at(spans, as_of_day).with_columns(
        recency_days=today - nw.col("last_day"), tenure_days=today - nw.col("first_day")
    )


def _order_features(orders: Frame) -> Frame:
    """Money, clock and channel of the orders."""
    hour = _hour_of_day()
    weekday = (nw.col("day").floor() + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
    discounted = _flag(nw.col("discount") > 0)
    asked = nw.col("value") + nw.col("discount")
    clocked = orders.with_columns(
        hour=_from_quiet(hour),
        weekend=_flag(weekday >= 5),
        business=_flag((weekday < 5) & (hour >= 9) & (hour < 17)),
        discounted=discounted,
        depth=nw.when((nw.col("discount") > 0) & (asked > 0)).then(nw.col("discount") / asked).otherwise(nw.lit(0.0)),
        web=_flag(nw.col("channel") == WEB_CHANNEL),
    ).with_columns(hour_square=_deviation_square("hour"))
    channels = (
        orders.group_by("customer", "channel")
        .agg(nw.len().cast(nw.Float64).alias("channel_orders"))
        .group_by("customer")
        .agg(nw.col("channel_orders").max().alias("main_channel_orders"))
    )
    totals = clocked.group_by("customer").agg(
        nw.col("value").sum().alias("paid"),
        nw.col("discount").sum().alias("discount"),
        nw.col("discounted").sum().alias("discounted_orders"),
        nw.col("depth").sum().alias("depth_sum"),
        nw.col("weekend").mean().alias("weekend_ratio"),
        nw.col("business").mean().alias("business_hours_ratio"),
        nw.col("hour").mean().alias("hour_mean"),
        nw.col("hour_square").mean().alias("hour_variance"),
        nw.col("web").mean().alias("online_ratio"),
    )
    return totals.join(channels, on="customer", how="left")


def _rhythm_features(visits: Frame, spans: Frame) -> Frame:
    """Sums over visits and gaps from which means, spreads and slopes follow; Spark has no filtered aggregates."""
    known = visits.join(spans.select("customer", "first_day", "tenure_days"), on="customer", how="left")
    since_first = nw.col("day") - nw.col("first_day")
    # The first gap stands before the second visit, so gap k belongs to visit k + 1.
    log_gap = (nw.col("gap") + 1).log()
    gap_number = nw.col("number") - 1
    # Against the customer's own mean, so that the trend is the same in any currency.
    mean_value = nw.col("visit_value").mean().over("customer")
    relative = nw.when(mean_value > 0).then(nw.col("visit_value") / mean_value).otherwise(nw.lit(1.0))
    log_value = nw.when(relative > LEAST_RELATIVE_VALUE).then(relative).otherwise(nw.lit(LEAST_RELATIVE_VALUE)).log()
    measured = known.with_columns(
        gap_square=_deviation_square("gap"),
        log_gap=log_gap,
        gap_by_number=log_gap * gap_number,
        value_square=_deviation_square("visit_value"),
        log_value=log_value,
        value_by_number=log_value * nw.col("number"),
        late=_flag((since_first > 0) & (since_first * 2 > nw.col("tenure_days"))),
        period=(since_first / PERIOD_DAYS).floor(),
    )
    sums = measured.group_by("customer").agg(
        nw.col("gap").sum().alias("gap_sum"),
        nw.col("gap_square").sum().alias("gap_square_sum"),
        nw.col("log_gap").sum().alias("log_gap_sum"),
        nw.col("gap_by_number").sum().alias("gap_by_number_sum"),
        nw.col("visit_value").sum().alias("visit_value_sum"),
        nw.col("value_square").sum().alias("value_square_sum"),
        nw.col("log_value").sum().alias("log_value_sum"),
        nw.col("value_by_number").sum().alias("value_by_number_sum"),
        nw.col("late").sum().alias("late_visits"),
        nw.len().cast(nw.Float64).alias("visits"),
    )
    active = (
        measured.filter(nw.col("period") > 0)
        .group_by("customer")
        .agg(nw.col("period").n_unique().cast(nw.Float64).alias("active_periods"))
    )
    return sums.join(active, on="customer", how="left")


def goods_totals(lines: Frame) -> Frame:
    """What is bought, per customer: products and categories counted once per visit, prices per unit.

    `units`, `goods_paid` and `paid_on_offer` are plain sums over the lines; the rest counts products on days.
    """
    # Pairs of keys are taken apart again: to carry the parts along takes longer.
    by_visit = (
        lines.with_columns(day=nw.col("day").floor().cast(nw.Int32), bought=_pair("customer", "product"))
        .group_by("bought", "day")
        .agg(nw.col("category").max())
    )
    products = (
        by_visit.group_by("bought")
        .agg(nw.len().cast(nw.Float64).alias("times"))
        .with_columns(customer=_first_of("bought"), times_square=nw.col("times") * nw.col("times"), one=nw.lit(1.0))
        .group_by("customer")
        .agg(
            nw.col("one").sum().alias("unique_products"),
            nw.col("times").sum().alias("product_purchases"),
            nw.col("times_square").sum().alias("product_square"),
            nw.col("times").max().alias("most_bought"),
        )
    )
    # How many on the first visit: of a visit's day and number of products, as one number, the least tells.
    first_visits = (
        by_visit.with_columns(visit=_first_of("bought") * KEYS + nw.col("day") + _LONG_AGO)
        .group_by("visit")
        .agg(nw.len().cast(nw.Int64).alias("n_products"))
        .with_columns(customer=_first_of("visit"), dated=(nw.col("visit") % KEYS) * KEYS + nw.col("n_products"))
        .group_by("customer")
        .agg(nw.col("dated").min())
        .select("customer", (nw.col("dated") % KEYS).cast(nw.Float64).alias("first_products"))
    )
    categories = (
        by_visit.with_columns(kind=_first_of("bought") * KEYS + nw.col("category"))
        .group_by("kind")
        .agg(nw.len().cast(nw.Float64).alias("times"))
        .with_columns(customer=_first_of("kind"), times_square=nw.col("times") * nw.col("times"), one=nw.lit(1.0))
        .group_by("customer")
        .agg(nw.col("one").sum().alias("unique_categories"), nw.col("times_square").sum().alias("category_square"))
    )
    on_offer = nw.when(nw.col("discount") > 0).then(nw.col("amount")).otherwise(nw.lit(0.0))
    money = (
        lines.with_columns(on_offer=on_offer)
        .group_by("customer")
        .agg(
            nw.col("quantity").sum().alias("units"),
            nw.col("amount").sum().alias("goods_paid"),
            nw.col("on_offer").sum().alias("paid_on_offer"),
        )
    )
    totals = products
    for part in (first_visits, categories, money):
        totals = totals.join(part, on="customer", how="left")
    return totals


def _refund_features(refunds: Frame) -> Frame:
    """Money and goods given back, and how many orders they came from."""
    totals = (
        refunds.with_columns(returned_units=nw.col("quantity") * nw.col("returned"))
        .group_by("customer")
        .agg(nw.col("amount").sum().alias("refunded"), nw.col("returned_units").sum().alias("returned_units"))
    )
    orders = (
        refunds.filter((nw.col("returned") > 0) & (nw.col("order") >= 0))
        .group_by("customer")
        .agg(nw.col("order").n_unique().cast(nw.Float64).alias("returned_orders"))
    )
    return totals.join(orders, on="customer", how="left")


def _ticket_features(tickets: Frame, *, as_of_day: Moment) -> Frame:
    """Requests for help: how they came, how long they took, and how they were rated.

    satisfaction is 1 to 5, 0 where there is no rating; resolved_day is OPEN where it is still to come, UNTOLD where it
    is past and not known.
    """
    tickets = _seen_at(tickets, as_of_day)
    timed = nw.col("resolved_day") > UNTOLD
    done = nw.when(nw.col("resolved_day") > OPEN).then(nw.col("resolved_day")).otherwise(nw.col("as_of_day"))
    taken = nw.when(timed).then(_at_least_zero(done - nw.col("day"))).otherwise(nw.lit(0.0))
    poor = (nw.col("satisfaction") > 0) & (nw.col("satisfaction") <= 2)
    topics = (
        tickets.group_by("customer", "topic")
        .agg(nw.len().cast(nw.Float64).alias("times"))
        .with_columns(times_square=nw.col("times") * nw.col("times"))
        .group_by("customer")
        .agg(nw.col("times_square").sum().alias("topic_square"))
    )
    known = (
        tickets.with_columns(
            rated=_flag(nw.col("satisfaction") > 0),
            dissatisfied=_flag(poor),
            by_email=_flag(nw.col("channel") == EMAIL),
            by_chat=_flag(nw.col("channel") == CHAT),
            by_phone=_flag(nw.col("channel") == PHONE),
            contact=_from_quiet(_hour_of_day()),
            timed=_flag(timed),
            days_taken=taken,
        )
        .with_columns(hard=_flag(poor | (nw.col("days_taken") > LONG_OPEN_DAYS)))
        .group_by("customer")
        .agg(
            nw.len().cast(nw.Float64).alias("total_tickets"),
            nw.col("day").max().alias("last_ticket_day"),
            nw.col("rated").sum().alias("rated_tickets"),
            nw.col("dissatisfied").sum().alias("dissatisfied_tickets"),
            nw.col("by_email").mean().alias("ticket_email_ratio"),
            nw.col("by_chat").mean().alias("ticket_chat_ratio"),
            nw.col("by_phone").mean().alias("ticket_phone_ratio"),
            nw.col("contact").mean().alias("contact_mean"),
            nw.col("timed").sum().alias("timed_tickets"),
            nw.col("days_taken").sum().alias("days_taken"),
            nw.col("hard").mean().alias("hard_ticket_ratio"),
            nw.col("as_of_day").max().alias("seen_day"),
        )
    )
    told = known.join(topics, on="customer", how="left").with_columns(
        days_since_last_ticket=nw.col("seen_day") - nw.col("last_ticket_day"),
        dissatisfied_ratio=_ratio("dissatisfied_tickets", "rated_tickets"),
        contact_hour=_on_the_clock(nw.col("contact_mean")),
        resolution_days=_ratio("days_taken", "timed_tickets"),
        topic_diversity=_diversity("topic_square", "total_tickets"),
    )
    ratios = ("ticket_email_ratio", "ticket_chat_ratio", "ticket_phone_ratio", "hard_ticket_ratio")
    return told.select(
        *("customer", "total_tickets", "days_since_last_ticket", "dissatisfied_ratio"),
        *("contact_hour", "resolution_days", "topic_diversity", *ratios),
    )


def _combined(joined: Frame) -> Frame:
    """The features themselves, from the sums gathered per customer."""
    counted = [
        *("refunded", "returned_units", "returned_orders", "active_periods", "total_tickets"),
        *("unique_products", "first_products", "product_purchases", "most_bought", "units", "goods_paid"),
        *("paid_on_offer", "unique_categories", "category_square", "product_square"),
    ]
    known = joined.with_columns(*(nw.col(name).fill_null(0.0) for name in counted))
    orders, visits = nw.col("total_orders"), nw.col("visits")
    gaps = visits - 1
    tenure, recency = nw.col("tenure_days"), nw.col("recency_days")
    net = nw.col("paid") - nw.col("refunded")
    known = known.with_columns(
        gaps=gaps,
        periods=(tenure / PERIOD_DAYS).floor(),
        asked=nw.col("paid") + nw.col("discount"),
        repeats=nw.col("product_purchases") - nw.col("unique_products"),
        later_purchases=nw.col("product_purchases") - nw.col("first_products"),
        later_new=nw.col("unique_products") - nw.col("first_products"),
        lifetime_value=net,
        avg_order_value=net / orders,
        gap_mean=nw.when(gaps >= 1).then(nw.col("gap_sum") / gaps).otherwise(nw.lit(GAP_STAND_IN_DAYS)),
        gap_slope=_slope("log_gap_sum", "gap_by_number_sum", gaps),
        value_slope=_slope("log_value_sum", "value_by_number_sum", visits),
    )
    gap_spread = _spread("gap_sum", "gap_square_sum", gaps)
    value_spread = _spread("visit_value_sum", "value_square_sum", visits)
    months = nw.when(tenure > PERIOD_DAYS).then(tenure).otherwise(nw.lit(PERIOD_DAYS)) / MONTH_DAYS
    features = known.with_columns(
        total_purchases=orders,
        orders_per_month=orders / months,
        avg_days_between_orders=nw.col("gap_mean"),
        purchase_consistency=nw.when(gaps >= 2).then(1 / (1 + gap_spread)).otherwise(None),
        value_trend=nw.when(visits >= 3).then(nw.col("value_slope")).otherwise(None),
        category_diversity=_diversity("category_square", "product_purchases"),
        exploration_breadth=nw.col("unique_categories") / orders,
        discount_rate=_ratio("discount", "asked"),
        full_price_ratio=1 - nw.col("discounted_orders") / orders,
        discount_depth=_ratio("depth_sum", "discounted_orders"),
        preferred_hour=_on_the_clock(nw.col("hour_mean")),
        hour_spread=nw.col("hour_variance").sqrt(),
        maturity_score=(1 - (-tenure / 365.0).exp()) * (1 - (-orders / 5.0).exp()),
        acceleration=nw.when(gaps >= 1).then(2 * nw.col("late_visits") / gaps - 1).otherwise(None),
        repeat_rate=_ratio("repeats", "product_purchases"),
        repeat_visit_ratio=gaps / visits,
        loyalty_index=_ratio("active_periods", "periods"),
        refund_rate=_share("refunded", "paid"),
        items_returned_pct=_share("returned_units", "units"),
        returned_order_ratio=_share("returned_orders", "total_orders"),
        primary_channel_ratio=nw.col("main_channel_orders") / orders,
        product_switching=_ratio("later_new", "later_purchases"),
        discount_dependency=nw.col("discounted_orders") / orders,
        frequency_trend=nw.when(gaps >= 2).then(-nw.col("gap_slope")).otherwise(None),
        recency_ratio=recency / nw.when(nw.col("gap_mean") > 1).then(nw.col("gap_mean")).otherwise(nw.lit(1.0)),
        product_concentration=1 - _diversity("product_square", "product_purchases"),
        mastery=1 - _ratio_of(nw.lit(1.0), nw.col("most_bought")),
        avg_item_price=_ratio("goods_paid", "units"),
        discount_hunt_score=_ratio("paid_on_offer", "goods_paid"),
        spend_consistency=nw.when(visits >= 2).then(1 / (1 + value_spread)).otherwise(None),
        tickets_per_order=nw.col("total_tickets") / orders,
    )
    stand_ins = {**STAND_INS, **dict.fromkeys(ZERO_WITHOUT_GOODS, 0.0)}
    defined = [nw.col(name).fill_null(stand_in) for name, stand_in in stand_ins.items()]
    return features.with_columns(*defined).select("customer", *METRICS, *FEATURES)


def _pair(one: str, other: str) -> nw.Expr:
    """Two keys as one number, which is grouped by in two thirds of the time. Both are below KEYS."""
    return nw.col(one) * KEYS + nw.col(other)


def _first_of(pair: str) -> nw.Expr:
    """The first key of a `_pair`."""
    return nw.col(pair) // KEYS


def _flag(condition: nw.Expr) -> nw.Expr:
    return nw.when(condition).then(nw.lit(1.0)).otherwise(nw.lit(0.0))


def _at_least_zero(value: nw.Expr) -> nw.Expr:
    return nw.when(value > 0).then(value).otherwise(nw.lit(0.0))


def _ratio_of(part: nw.Expr, whole: nw.Expr) -> nw.Expr:
    """part / whole, undefined where there is no whole."""
    return nw.when(whole > 0).then(part / whole).otherwise(None)


def _ratio(part: str, whole: str) -> nw.Expr:
    return _ratio_of(nw.col(part), nw.col(whole))


def _share(part: str, whole: str) -> nw.Expr:
    """A ratio held within 0..1: a refund can exceed what was paid when its order lies before the data begins."""
    return _ratio(part, whole).clip(0.0, 1.0)


def _diversity(squares: str, total: str) -> nw.Expr:
    """Simpson's diversity, 1 - sum(p^2): the chance that two purchases drawn with replacement differ."""
    return 1 - _ratio_of(nw.col(squares), nw.col(total) * nw.col(total))


def _hour_of_day() -> nw.Expr:
    """The hour of `day`, 0 to 24, to the second.

    A day's fraction carries rounding noise, which would move an order of 17:00 sharp into or out of office hours.
    """
    return ((nw.col("day") - nw.col("day").floor()) * 86_400 + 0.5).floor() / 3_600


def _from_quiet(hour: nw.Expr) -> nw.Expr:
    """Counted from 04:00 to 28:00, when shops are quietest: the mean of 23:30 and 00:30 is midnight, not noon."""
    return (hour + 20) % 24 + 4


def _on_the_clock(hour: nw.Expr) -> nw.Expr:
    """An hour of 4..28 as one of 0..24; midnight is 0, also where rounding leaves a hair less than 24."""
    return nw.when(hour > 24 - 1e-6).then(_at_least_zero(hour - 24)).otherwise(hour)


def _deviation_square(name: str) -> nw.Expr:
    """Squared distance from the customer's own mean; a mean of squares less a squared mean would cancel to noise."""
    deviation = nw.col(name) - nw.col(name).mean().over("customer")
    return deviation * deviation


def _spread(total: str, squares: str, count: nw.Expr) -> nw.Expr:
    """Coefficient of variation (population form) from a sum and a sum of squared deviations; 0 where the mean is 0."""
    return _ratio_of((nw.col(squares) / count).sqrt(), nw.col(total) / count).fill_null(0.0)


def _slope(total: str, by_number: str, count: nw.Expr) -> nw.Expr:
    """Least-squares slope of y over 1..n, from sum(y) and sum(y * number).

    sum((x - mean)^2) over 1..n is n (n^2 - 1) / 12.
    """
    covariance = nw.col(by_number) - nw.col(total) * (count + 1) / 2
    return _ratio_of(12 * covariance, count * (count * count - 1))


#: Code of the web channel in `orders.channel`; the other channels are numbered from 1, unknown counts as web.
WEB_CHANNEL = 0

#: Codes of the ways a ticket comes in, in `tickets.channel`; any other way is OTHER_WAY.
EMAIL, CHAT, PHONE, OTHER_WAY = 0, 1, 2, 3
#: What stands in `tickets.resolved_day` of a ticket that is not resolved, and of one that is at a time nobody told.
OPEN, UNTOLD = -1.0, -2.0
#: A ticket that takes longer is a hard one.
LONG_OPEN_DAYS = 7.0

METRICS = ("total_orders", "lifetime_value", "avg_order_value", "recency_days", "tenure_days")

FEATURES = (
    "total_purchases",
    "orders_per_month",
    "avg_days_between_orders",
    "purchase_consistency",
    "value_trend",
    "unique_categories",
    "category_diversity",
    "exploration_breadth",
    "discount_rate",
    "full_price_ratio",
    "discount_depth",
    "weekend_ratio",
    "business_hours_ratio",
    "preferred_hour",
    "hour_spread",
    "maturity_score",
    "acceleration",
    "repeat_rate",
    "repeat_visit_ratio",
    "loyalty_index",
    "refund_rate",
    "items_returned_pct",
    "returned_order_ratio",
    "online_ratio",
    "primary_channel_ratio",
    "product_switching",
    "discount_dependency",
    "frequency_trend",
    "recency_ratio",
    "product_concentration",
    "mastery",
    "avg_item_price",
    "discount_hunt_score",
    "spend_consistency",
    "total_tickets",
    "tickets_per_order",
    "days_since_last_ticket",
    "dissatisfied_ratio",
    "ticket_email_ratio",
    "ticket_phone_ratio",
    "ticket_chat_ratio",
    "contact_hour",
    "resolution_days",
    "topic_diversity",
    "hard_ticket_ratio",
)
