"""The features of `app.domain.features` once more, as plain pandas does them best: by groups and whole columns.

Same frames, same definitions (docs/BEHAVIORAL_MATH.md), equal numbers; a test compares all of them. It is what the
benchmark of features stands beside, so what pandas has a fast way for is done that way.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from app.domain.features import (
    CHAT,
    EMAIL,
    FEATURES,
    GAP_STAND_IN_DAYS,
    LEAST_RELATIVE_VALUE,
    LONG_OPEN_DAYS,
    METRICS,
    MONTH_DAYS,
    OPEN,
    PERIOD_DAYS,
    PHONE,
    STAND_INS,
    UNTOLD,
    WEB_CHANNEL,
    ZERO_WITHOUT_GOODS,
)

Column = Any
"""A pandas Series: the package says nothing of its types."""


def grouped_features(frames: Mapping[str, pd.DataFrame], *, as_of_day: float) -> pd.DataFrame:
    """One row per customer, in their order: the metrics and features by name.

    frames : orders, lines, refunds and tickets as `app.domain.features` describes them
    """
    orders, lines, refunds, tickets = (frames[name] for name in ("orders", "lines", "refunds", "tickets"))
    visits = _visits(orders)
    today = np.floor(as_of_day)
    known = visits.groupby("customer").agg(
        first_day=("day", "min"), last_day=("day", "max"), visits=("day", "size"), total_orders=("visit_orders", "sum")
    )
    known["recency_days"] = today - known["last_day"]
    known["tenure_days"] = today - known["first_day"]
    parts = [
        _of_orders(orders),
        _of_rhythm(visits, known),
        _of_goods(lines),
        _of_refunds(refunds),
        _of_tickets(tickets, as_of_day=as_of_day),
    ]
    return _combined(known.join(parts))


def _visits(orders: pd.DataFrame) -> pd.DataFrame:
    days = orders.assign(day=np.floor(orders["day"]))
    return days.groupby(["customer", "day"], as_index=False).agg(
        visit_value=("value", "sum"), visit_orders=("value", "size")
    )


def _of_orders(orders: pd.DataFrame) -> pd.DataFrame:
    hour, weekday = _hour_of_day(orders["day"]), (np.floor(orders["day"]) + 3) % 7
    asked = orders["value"] + orders["discount"]
    discounted = orders["discount"] > 0
    clocked = pd.DataFrame(
        {
            "customer": orders["customer"],
            "value": orders["value"],
            "discount": orders["discount"],
            "discounted": discounted,
            "depth": (orders["discount"] / asked).where(discounted & (asked > 0), 0.0),
            "weekend": weekday >= 5,
            "business": (weekday < 5) & (hour >= 9) & (hour < 17),
            "hour": _from_quiet(hour),
            "web": orders["channel"] == WEB_CHANNEL,
        }
    )
    clocked["hour_square"] = (clocked["hour"] - clocked.groupby("customer")["hour"].transform("mean")) ** 2
    channels = orders.groupby(["customer", "channel"]).size()
    totals = clocked.groupby("customer").agg(
        paid=("value", "sum"),
        discount=("discount", "sum"),
        discounted_orders=("discounted", "sum"),
        depth_sum=("depth", "sum"),
        weekend_ratio=("weekend", "mean"),
        business_hours_ratio=("business", "mean"),
        hour_mean=("hour", "mean"),
        hour_variance=("hour_square", "mean"),
        online_ratio=("web", "mean"),
    )
    return totals.assign(main_channel_orders=channels.groupby("customer").max())


def _of_rhythm(visits: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    by_customer = visits.groupby("customer")
    gap, number = by_customer["day"].diff(), by_customer.cumcount() + 1
    mean_value = by_customer["visit_value"].transform("mean")
    relative = (visits["visit_value"] / mean_value).where(mean_value > 0, 1.0)
    log_value = np.log(relative.clip(lower=LEAST_RELATIVE_VALUE))
    log_gap = np.log(gap + 1)
    since_first = visits["day"] - by_customer["day"].transform("min")
    measured = pd.DataFrame(
        {
            "customer": visits["customer"],
            "gap_sum": gap,
            "gap_square_sum": (gap - gap.groupby(visits["customer"]).transform("mean")) ** 2,
            "log_gap_sum": log_gap,
            "gap_by_number_sum": log_gap * (number - 1),
            "visit_value_sum": visits["visit_value"],
            "value_square_sum": (visits["visit_value"] - mean_value) ** 2,
            "log_value_sum": log_value,
            "value_by_number_sum": log_value * number,
            "late_visits": (since_first > 0) & (since_first * 2 > visits["customer"].map(known["tenure_days"])),
        }
    )
    periods = visits[["customer"]].assign(period=np.floor(since_first / PERIOD_DAYS))
    active = periods[periods["period"] > 0].drop_duplicates().groupby("customer").size()
    return measured.groupby("customer").sum().assign(active_periods=active)


def _of_goods(lines: pd.DataFrame) -> pd.DataFrame:
    days = lines[["customer", "product", "category"]].assign(day=np.floor(lines["day"]))
    by_visit = days.groupby(["customer", "day", "product"], as_index=False, sort=False)["category"].max()
    by_visit["on_first"] = by_visit["day"] == by_visit.groupby("customer")["day"].transform("min")
    products = by_visit.groupby(["customer", "product"], as_index=False, sort=False).agg(
        times=("day", "size"), on_first=("on_first", "max")
    )
    products["times_square"] = products["times"] ** 2
    categories = by_visit.groupby(["customer", "category"], as_index=False, sort=False).size()
    categories["times_square"] = categories["size"] ** 2
    money = lines[["customer", "quantity", "amount"]].assign(on_offer=lines["amount"].where(lines["discount"] > 0, 0.0))
    bought = products.groupby("customer").agg(
        unique_products=("times", "size"),
        first_products=("on_first", "sum"),
        product_purchases=("times", "sum"),
        product_square=("times_square", "sum"),
        most_bought=("times", "max"),
    )
    kinds = categories.groupby("customer").agg(
        unique_categories=("size", "size"), category_square=("times_square", "sum")
    )
    paid = money.groupby("customer").agg(
        units=("quantity", "sum"), goods_paid=("amount", "sum"), paid_on_offer=("on_offer", "sum")
    )
    return bought.join([kinds, paid])


def _of_refunds(refunds: pd.DataFrame) -> pd.DataFrame:
    given = refunds[["customer", "amount"]].assign(units=refunds["quantity"] * refunds["returned"])
    totals = given.groupby("customer").agg(refunded=("amount", "sum"), returned_units=("units", "sum"))
    of_orders = refunds.loc[(refunds["returned"] > 0) & (refunds["order"] >= 0), ["customer", "order"]]
    return totals.assign(returned_orders=of_orders.drop_duplicates().groupby("customer").size())


def _of_tickets(tickets: pd.DataFrame, *, as_of_day: float) -> pd.DataFrame:
    timed = tickets["resolved_day"] > UNTOLD
    done = tickets["resolved_day"].where(tickets["resolved_day"] > OPEN, as_of_day)
    taken = (done - tickets["day"]).clip(lower=0).where(timed, 0.0)
    poor = (tickets["satisfaction"] > 0) & (tickets["satisfaction"] <= 2)
    told = pd.DataFrame(
        {
            "customer": tickets["customer"],
            "day": tickets["day"],
            "rated": tickets["satisfaction"] > 0,
            "dissatisfied": poor,
            "by_email": tickets["channel"] == EMAIL,
            "by_chat": tickets["channel"] == CHAT,
            "by_phone": tickets["channel"] == PHONE,
            "contact": _from_quiet(_hour_of_day(tickets["day"])),
            "timed": timed,
            "taken": taken,
            "hard": poor | (taken > LONG_OPEN_DAYS),
        }
    )
    known = told.groupby("customer").agg(
        total_tickets=("day", "size"),
        last_day=("day", "max"),
        rated=("rated", "sum"),
        dissatisfied=("dissatisfied", "sum"),
        ticket_email_ratio=("by_email", "mean"),
        ticket_chat_ratio=("by_chat", "mean"),
        ticket_phone_ratio=("by_phone", "mean"),
        contact_mean=("contact", "mean"),
        timed=("timed", "sum"),
        taken=("taken", "sum"),
        hard_ticket_ratio=("hard", "mean"),
    )
    topics = tickets.groupby(["customer", "topic"]).size() ** 2
    known["days_since_last_ticket"] = as_of_day - known["last_day"]
    known["dissatisfied_ratio"] = _ratio(known["dissatisfied"], known["rated"])
    known["contact_hour"] = _on_the_clock(known["contact_mean"])
    known["resolution_days"] = _ratio(known["taken"], known["timed"])
    known["topic_diversity"] = 1 - topics.groupby("customer").sum() / known["total_tickets"] ** 2
    return known.drop(columns=["last_day", "rated", "dissatisfied", "contact_mean", "timed", "taken"])


def _combined(known: pd.DataFrame) -> pd.DataFrame:
    counted = [
        *("refunded", "returned_units", "returned_orders", "active_periods", "total_tickets"),
        *("unique_products", "first_products", "product_purchases", "most_bought", "units", "goods_paid"),
        *("paid_on_offer", "unique_categories", "category_square", "product_square"),
    ]
    known[counted] = known[counted].fillna(0.0)
    orders, visits, paid = known["total_orders"], known["visits"], known["paid"]
    tenure, recency, gaps = known["tenure_days"], known["recency_days"], visits - 1
    purchases, first_products = known["product_purchases"], known["first_products"]
    asked, net = paid + known["discount"], paid - known["refunded"]
    gap_mean = (known["gap_sum"] / gaps).where(gaps >= 1, GAP_STAND_IN_DAYS)
    full_price_ratio = 1 - known["discounted_orders"] / orders
    features = known.assign(
        lifetime_value=net,
        avg_order_value=net / orders,
        total_purchases=orders,
        orders_per_month=orders / (tenure.clip(lower=PERIOD_DAYS) / MONTH_DAYS),
        avg_days_between_orders=gap_mean,
        purchase_consistency=(1 / (1 + _spread(known["gap_sum"], known["gap_square_sum"], gaps))).where(gaps >= 2),
        value_trend=_slope(known["log_value_sum"], known["value_by_number_sum"], visits).where(visits >= 3),
        category_diversity=_diversity(known["category_square"], purchases),
        exploration_breadth=known["unique_categories"] / orders,
        discount_rate=_ratio(known["discount"], asked),
        full_price_ratio=full_price_ratio,
        discount_depth=_ratio(known["depth_sum"], known["discounted_orders"]),
        preferred_hour=_on_the_clock(known["hour_mean"]),
        hour_spread=np.sqrt(known["hour_variance"]),
        maturity_score=(1 - np.exp(-tenure / 365.0)) * (1 - np.exp(-orders / 5.0)),
        acceleration=2 * _ratio(known["late_visits"], gaps) - 1,
        repeat_rate=_ratio(purchases - known["unique_products"], purchases),
        repeat_visit_ratio=gaps / visits,
        loyalty_index=_ratio(known["active_periods"], np.floor(tenure / PERIOD_DAYS)),
        refund_rate=_share(known["refunded"], paid),
        items_returned_pct=_share(known["returned_units"], known["units"]),
        returned_order_ratio=_share(known["returned_orders"], orders),
        primary_channel_ratio=known["main_channel_orders"] / orders,
        product_switching=_ratio(known["unique_products"] - first_products, purchases - first_products),
        discount_dependency=1 - full_price_ratio,
        frequency_trend=-_slope(known["log_gap_sum"], known["gap_by_number_sum"], gaps).where(gaps >= 2),
        recency_ratio=recency / gap_mean.clip(lower=1.0),
        product_concentration=1 - _diversity(known["product_square"], purchases),
        mastery=1 - _ratio(1.0, known["most_bought"]),
        avg_item_price=_ratio(known["goods_paid"], known["units"]),
        discount_hunt_score=_ratio(known["paid_on_offer"], known["goods_paid"]),
        spend_consistency=(1 / (1 + _spread(known["visit_value_sum"], known["value_square_sum"], visits))).where(
            visits >= 2
        ),
        tickets_per_order=known["total_tickets"] / orders,
    )
    stand_ins = {**STAND_INS, **dict.fromkeys(ZERO_WITHOUT_GOODS, 0.0)}
    return features[[*METRICS, *FEATURES]].fillna(stand_ins)


def _ratio(part: Column | float, whole: Column) -> Column:
    return part / whole.where(whole > 0)


def _share(part: Column, whole: Column) -> Column:
    return _ratio(part, whole).clip(0.0, 1.0)


def _diversity(squares: Column, total: Column) -> Column:
    return 1 - _ratio(squares, total**2)


def _spread(total: Column, squares: Column, count: Column) -> Column:
    return _ratio(np.sqrt(squares / count), total / count).fillna(0.0)


def _slope(total: Column, by_number: Column, count: Column) -> Column:
    return _ratio(12 * (by_number - total * (count + 1) / 2), count * (count**2 - 1))


def _hour_of_day(day: Column) -> Column:
    return np.floor((day - np.floor(day)) * 86_400 + 0.5) / 3_600


def _from_quiet(hour: Column) -> Column:
    return (hour + 20) % 24 + 4


def _on_the_clock(hour: Column) -> Column:
    return hour.where(hour <= 24 - 1e-6, (hour - 24).clip(lower=0))
