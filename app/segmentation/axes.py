"""The fourteen axes: what each measures, from which features, and what its segments are called.

The registry is the one place that says which features make an axis, which of them are heavy-tailed (log1p before
scaling) and how a number of each reads to a person. Formulas are in domain/features.py.
"""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from app.core.errors import InvalidInput
from app.segmentation.clustering import Transform


class AxisStatus(StrEnum):
    """active: measured as meant. proxy: read from the next best records (a support axis from orders, categories from
    products). no_data: the shop's records cannot say."""

    active = "active"
    proxy = "proxy"
    no_data = "no_data"


class Source(StrEnum):
    """What a customer is read from on an axis: what they order, or what they ask for help with."""

    orders = "orders"
    tickets = "tickets"


class Need(StrEnum):
    """What a shop's records must hold for an axis to say anything."""

    orders = "orders"
    categories = "categories"
    discounts = "discounts"
    tickets = "tickets"


@dataclass(frozen=True, slots=True)
class Feature:
    """How one feature takes part in an axis.

    low, high : words for customers who have little or much of it; they tell segments of one name apart
    says      : a phrase with the number in it, as `says.format(value)`
    percent   : a share of 1, told in percent
    signed    : low is for what lies below 0, high for what lies above, rather than for the less and the more
    log_slope : the change of a logarithm, told as the change in percent: -1.2 is "-70 %", never less than -100
    telling   : whether its number says something to a person; an index, or a slope over a few visits, does not
    """

    name: str
    low: str
    high: str
    says: str
    transform: Transform = "none"
    percent: bool = False
    signed: bool = False
    log_slope: bool = False
    telling: bool = True

    def phrase(self, value: float) -> str:
        """The number in words: "5 orders", "1 order", "12 % of spend refunded"."""
        told = self.says.format(self._told(value))
        return _ONE_OF_MANY.sub(r"1 \1", told) if told.startswith("1 ") else told

    def number(self, value: float) -> str:
        """The number alone, as the phrase writes it: "5", "12 %"."""
        (told,) = _NUMBER.findall(self.says)
        return str(told).format(self._told(value))

    def _told(self, value: float) -> float:
        if self.log_slope:
            value = math.expm1(min(value, _STEEPEST))
        return 100 * value if self.percent or self.log_slope else value


@dataclass(frozen=True, slots=True)
class Axis:
    """One behaviour.

    ticket_features : what it reads of customers with tickets enough, instead of `features`; empty where tickets have
                      nothing to say
    need     : without these records its status is no_data
    stand_in : where it reads the next best records, which; it is then a proxy
    unless   : records with which it is no proxy; None where it is one whatever there is
    quiet    : of an axis that reads nothing but tickets, what those are called who have too few for it
    """

    name: str
    measures: str
    features: tuple[Feature, ...]
    ticket_features: tuple[Feature, ...] = ()
    need: Need = Need.orders
    stand_in: str = ""
    unless: Need | None = None
    quiet: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        return tuple(feature.transform for feature in self.features)

    def features_from(self, source: Source) -> tuple[Feature, ...]:
        """What it reads of customers who are read from that source."""
        return self.ticket_features if source is Source.tickets and self.ticket_features else self.features

    def status(self, available: frozenset[Need]) -> AxisStatus:
        if self.need not in available:
            return AxisStatus.no_data
        is_proxy = bool(self.stand_in) and self.unless not in available
        return AxisStatus.proxy if is_proxy else AxisStatus.active


_NUMBER = re.compile(r"\{[^}]*\}(?: %|:00)?")
_ONE_OF_MANY = re.compile(r"^1 (order|day|kind|ticket)s\b")

# A hundredfold change from one visit to the next says all that steeper ones would.
_STEEPEST = math.log(100)
_FROM_ORDERS = "read from orders, not from tickets"
_WEEKEND = Feature("weekend_ratio", "weekday", "weekend", "{:.0f} % of orders at weekends", percent=True)
_HOUR = Feature("preferred_hour", "early", "late", "ordering around {:.0f}:00")
_REFUND = Feature("refund_rate", "low_refund", "high_refund", "{:.0f} % of spend refunded", percent=True)
_REPEAT = Feature(
    "repeat_rate", "one_off", "rebuying", "{:.0f} % of purchases are of something bought before", percent=True
)
_RECENCY = Feature("recency_days", "recent", "lapsed", "{:,.0f} days since the last order", "log1p")
_VALUE_TREND = Feature(
    "value_trend",
    "falling_spend",
    "rising_spend",
    "spend changing {:+z.0f} % a visit",
    signed=True,
    log_slope=True,
    telling=False,
)

_SUPPORT = (
    Feature("total_tickets", "few_tickets", "many_tickets", "{:,.0f} tickets", "log1p"),
    Feature("tickets_per_order", "seldom_asking", "often_asking", "{:.1f} tickets an order", "log1p"),
    Feature("days_since_last_ticket", "recent_ticket", "old_ticket", "{:,.0f} days since the last ticket", "log1p"),
    Feature("dissatisfied_ratio", "content", "discontent", "{:.0f} % of ratings poor", percent=True),
)

_CONTACT = (
    Feature("ticket_email_ratio", "seldom_by_email", "by_email", "{:.0f} % of tickets by e-mail", percent=True),
    Feature("ticket_phone_ratio", "seldom_by_phone", "by_phone", "{:.0f} % of tickets by phone", percent=True),
    Feature("ticket_chat_ratio", "seldom_by_chat", "by_chat", "{:.0f} % of tickets by chat", percent=True),
    Feature("contact_hour", "early_asking", "late_asking", "asking around {:.0f}:00"),
)
_PROBLEMS = (
    Feature("resolution_days", "soon_solved", "slowly_solved", "{:.1f} days until solved", "log1p"),
    Feature("topic_diversity", "one_topic", "many_topics", "diversity of topics {:.2f} of 1", telling=False),
    Feature(
        "hard_ticket_ratio", "easy", "hard", "{:.0f} % of tickets rated poor or open for over a week", percent=True
    ),
)

AXES: tuple[Axis, ...] = (
    Axis(
        "purchase_frequency",
        "how often they buy",
        (
            Feature("total_purchases", "few", "many", "{:,.0f} orders", "log1p"),
            Feature("orders_per_month", "low_rate", "high_rate", "{:.2f} orders a month", "log1p"),
            Feature("avg_days_between_orders", "short_gap", "long_gap", "{:,.0f} days between orders", "log1p"),
            _RECENCY,
            Feature("purchase_consistency", "irregular", "regular", "regularity {:.2f} of 1", telling=False),
        ),
        aliases=("frequency",),
    ),
    Axis(
        "purchase_value",
        "how much they spend",
        (
            Feature("lifetime_value", "low_spend", "high_spend", "{:,.0f} spent in all", "log1p"),
            Feature("avg_order_value", "small_basket", "large_basket", "{:,.0f} an order", "log1p"),
            _VALUE_TREND,
        ),
        aliases=("value",),
    ),
    Axis(
        "category_exploration",
        "how widely they buy",
        (
            Feature("unique_categories", "narrow", "wide", "{:,.0f} kinds of goods", "log1p"),
            Feature("category_diversity", "focused", "diverse", "diversity {:.2f} of 1", telling=False),
            Feature(
                "exploration_breadth", "settled", "exploring", "{:.1f} kinds for each order", "log1p", telling=False
            ),
        ),
        stand_in="the records hold no categories; each product counts as a kind of its own",
        unless=Need.categories,
        aliases=("category", "category_affinity"),
    ),
    Axis(
        "price_sensitivity",
        "how much they wait for discounts",
        (
            Feature("discount_rate", "small_discount", "large_discount", "{:.0f} % taken off", percent=True),
            Feature(
                "full_price_ratio", "often_on_offer", "at_full_price", "{:.0f} % of orders at full price", percent=True
            ),
            Feature("discount_depth", "shallow", "deep", "{:.0f} % off when on offer", percent=True),
        ),
        need=Need.discounts,
        aliases=("sensitivity",),
    ),
    Axis(
        "purchase_cadence",
        "when they buy",
        (
            _WEEKEND,
            Feature("business_hours_ratio", "off_hours", "office_hours", "{:.0f} % in office hours", percent=True),
            _HOUR,
            Feature("hour_spread", "fixed_hour", "any_hour", "spread over {:.1f} hours", telling=False),
        ),
        aliases=("cadence",),
    ),
    Axis(
        "customer_maturity",
        "how long and how far they have come",
        (
            Feature("tenure_days", "recent", "long_standing", "{:,.0f} days since the first order"),
            Feature("maturity_score", "unproven", "proven", "maturity {:.2f} of 1", telling=False),
            Feature("acceleration", "slowing", "accelerating", "pace shifting {:+z.2f}", signed=True, telling=False),
        ),
        aliases=("maturity",),
    ),
    Axis(
        "repurchase_behavior",
        "how loyally they come back",
        (
            _REPEAT,
            Feature(
                "repeat_visit_ratio",
                "seldom_back",
                "often_back",
                "{:.0f} % of visits are returns to the shop",
                percent=True,
            ),
            Feature("loyalty_index", "sporadic", "steady", "active in {:.0f} % of months", percent=True),
        ),
        aliases=("repurchase", "repurchase_inclination"),
    ),
    Axis(
        "return_behavior",
        "how much they send back",
        (
            _REFUND,
            Feature("items_returned_pct", "keeps", "returns", "{:.0f} % of items returned", percent=True),
            Feature(
                "returned_order_ratio",
                "rarely_returning",
                "often_returning",
                "{:.0f} % of orders with a return",
                percent=True,
            ),
        ),
        aliases=("returns",),
    ),
    Axis(
        "communication_preference",
        "through which channel and when they can be reached",
        (
            Feature("online_ratio", "in_person", "online", "{:.0f} % of orders online", percent=True),
            Feature(
                "primary_channel_ratio", "many_channels", "one_channel", "{:.0f} % through one channel", percent=True
            ),
            _HOUR,
            _WEEKEND,
        ),
        ticket_features=_CONTACT,
        stand_in=_FROM_ORDERS,
    ),
    Axis(
        "problem_complexity_profile",
        "how much trouble an order tends to bring",
        (
            _REFUND,
            Feature(
                "product_switching",
                "same_products",
                "new_products",
                "{:.0f} % of later purchases new to them",
                percent=True,
            ),
            Feature(
                "discount_dependency", "pays_full", "needs_offer", "{:.0f} % of orders with a discount", percent=True
            ),
        ),
        ticket_features=_PROBLEMS,
        stand_in=_FROM_ORDERS,
    ),
    Axis(
        "loyalty_trajectory",
        "where they are heading",
        (
            Feature(
                "frequency_trend",
                "slowing",
                "quickening",
                "pace changing {:+z.0f} % a visit",
                signed=True,
                log_slope=True,
                telling=False,
            ),
            _VALUE_TREND,
            Feature("recency_ratio", "on_time", "overdue", "{:.1f} usual gaps since the last order", "log1p"),
            _RECENCY,
        ),
        stand_in=_FROM_ORDERS,
    ),
    Axis(
        "product_knowledge",
        "how well they know what they buy",
        (
            Feature("product_concentration", "broad", "concentrated", "concentration {:.2f} of 1", telling=False),
            _REPEAT,
            Feature("mastery", "first_time", "practised", "mastery {:.2f} of 1", telling=False),
        ),
        stand_in=_FROM_ORDERS,
    ),
    Axis(
        "value_sophistication",
        "what kind of price they choose",
        (
            Feature("avg_item_price", "low_price", "high_price", "{:,.2f} an item", "log1p"),
            Feature("discount_hunt_score", "no_hunt", "offer_hunt", "{:.0f} % of spend on offers", percent=True),
            Feature("spend_consistency", "uneven", "even", "basket regularity {:.2f} of 1", telling=False),
        ),
        stand_in=_FROM_ORDERS,
    ),
    Axis(
        "support_history",
        "what help they have needed",
        _SUPPORT,
        ticket_features=_SUPPORT,
        need=Need.tickets,
        quiet="self_service",
    ),
)

#: The axes that tell most of the next months, and the others, each by how much: the order in which archetypes are split
#: by them. Measured on Online Retail and the sample shop, see docs/BEHAVIORAL_SEGMENTATION.md.
LEADING = (
    "purchase_frequency",
    "loyalty_trajectory",
    "purchase_value",
    "customer_maturity",
    "repurchase_behavior",
)
FOLLOWING = (
    "category_exploration",
    "value_sophistication",
    "price_sensitivity",
    "product_knowledge",
    "return_behavior",
    "problem_complexity_profile",
    "purchase_cadence",
    "communication_preference",
    "support_history",
)

_BY_NAME = {name: axis for axis in AXES for name in (axis.name, *axis.aliases)}


def axes_named(names: list[str] | None) -> tuple[Axis, ...]:
    """The axes asked for, by name or alias, in the registry's order; all of them when None.

    Raises InvalidInput naming an axis that does not exist and those that do.
    """
    if names is None:
        return AXES
    unknown = [name for name in names if name not in _BY_NAME]
    if unknown or not names:
        there = ", ".join(axis.name for axis in AXES)
        raise InvalidInput(f"There is no axis '{', '.join(unknown)}'. There are: {there}.")
    wanted = {_BY_NAME[name].name for name in names}
    return tuple(axis for axis in AXES if axis.name in wanted)
