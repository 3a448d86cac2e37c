"""What to do about a customer: whether a discount is in order and how much, what comes beside it, and who follows up.

It is decided here, by a table that a person can read, and never by whoever words the message. A recommendation states
what is known of the customer and nothing else: no urgency, no word of stock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from app.core.errors import InvalidInput
from app.domain.value_tiers import TIERS, Tier

#: No discount is larger, in percent, whoever asks and whatever went wrong.
MOST_PERCENT = 20
#: An order is recent for so many days where the customer's usual gap, or their shop's, is not known.
RECENT_DAYS = 30


class Level(StrEnum):
    """How likely a customer is to stay away."""

    critical = "critical"
    high = "high"
    medium = "medium"
    low = "low"


class Reason(StrEnum):
    """What the contact is about."""

    churn = "churn"
    complaint = "complaint"
    win_back = "win_back"
    loyalty = "loyalty"


class Action(StrEnum):
    welcome = "welcome"
    thank = "thank"
    retain = "retain"
    win_back = "win_back"
    make_good = "make_good"


class Extra(StrEnum):
    """What is given beside a discount, or instead of one."""

    free_shipping = "free_shipping"
    expedited_shipping = "expedited_shipping"


class FollowUp(StrEnum):
    """Who gets in touch again."""

    agent = "agent"
    retention_specialist = "retention_specialist"
    manager = "manager"


@dataclass(frozen=True, slots=True)
class Terms:
    """What may be offered. percent : off the next order; up_to : as far as an agent may go beyond that

    personal : somebody calls or writes themselves, not a campaign
    """

    percent: int
    up_to: int
    extras: tuple[Extra, ...] = ()
    escalate: bool = False
    follow_up: FollowUp | None = None
    personal: bool = False


@dataclass(frozen=True, slots=True)
class OfferPolicy:
    """The terms of every level and value tier, by what the contact is about.

    Raises InvalidInput where one is missing, or a discount is not within 0..MOST_PERCENT.
    """

    terms: Mapping[Reason, Mapping[Level, Mapping[Tier, Terms]]]

    def __post_init__(self) -> None:
        for reason in Reason:
            for level in Level:
                for tier in Tier:
                    terms = self.terms.get(reason, {}).get(level, {}).get(tier)
                    where = f"{reason.value}, {level.value} risk, {tier.value} value"
                    if terms is None:
                        raise InvalidInput(f"The offer policy says nothing of {where}.")
                    if not 0 <= terms.percent <= terms.up_to <= MOST_PERCENT:
                        raise InvalidInput(
                            f"The offer policy gives {terms.percent} to {terms.up_to} % for {where}. "
                            f"A discount is between 0 and {MOST_PERCENT} %."
                        )

    def of(self, level: Level, tier: Tier, reason: Reason) -> Terms:
        return self.terms[reason][level][tier]


# (percent, up to) by value tier, VIP first. Who is likely to come back anyway is offered nothing: they would learn to
# wait for discounts.
_NOTHING = (0, 0)
_PERCENTS: Mapping[Reason, Mapping[Level, tuple[tuple[int, int], ...]]] = {
    Reason.churn: {
        Level.critical: ((20, 20), (15, 20), (15, 15), (10, 10)),
        Level.high: ((15, 20), (15, 15), (15, 15), (10, 10)),
        Level.medium: ((10, 10), (10, 10), (5, 10), _NOTHING),
        Level.low: (_NOTHING, _NOTHING, _NOTHING, _NOTHING),
    },
    Reason.complaint: {
        Level.critical: ((20, 20), (20, 20), (15, 20), (15, 15)),
        Level.high: ((20, 20), (15, 20), (15, 20), (10, 15)),
        Level.medium: ((15, 20), (10, 15), (10, 15), (10, 10)),
        Level.low: ((0, 15), (0, 10), (0, 10), _NOTHING),
    },
    Reason.win_back: {
        Level.critical: ((20, 20), (15, 20), (15, 15), (10, 15)),
        Level.high: ((15, 20), (15, 15), (10, 15), (10, 10)),
        Level.medium: ((10, 10), (10, 10), (10, 10), _NOTHING),
        Level.low: (_NOTHING, _NOTHING, _NOTHING, _NOTHING),
    },
    Reason.loyalty: {
        Level.critical: ((10, 10), (10, 10), (5, 10), _NOTHING),
        Level.high: ((10, 10), (5, 10), (5, 10), _NOTHING),
        Level.medium: ((5, 10), (5, 10), _NOTHING, _NOTHING),
        Level.low: (_NOTHING, _NOTHING, _NOTHING, _NOTHING),
    },
}
_LIKELY_TO_LEAVE = (Level.critical, Level.high)
_WORTH_MOST = (Tier.vip, Tier.high)


def _terms(reason: Reason, level: Level, tier: Tier, percent: int, up_to: int) -> Terms:
    leaving = level in _LIKELY_TO_LEAVE
    if reason is Reason.complaint:
        # Somebody who may be lost over a complaint hears from who can decide.
        return Terms(
            percent,
            up_to,
            extras=(Extra.free_shipping, Extra.expedited_shipping) if leaving else (Extra.free_shipping,),
            escalate=leaving,
            follow_up=FollowUp.manager if leaving or tier is Tier.vip else FollowUp.agent,
            personal=leaving or tier is Tier.vip,
        )
    personal = leaving and (tier is Tier.vip or (tier is Tier.high and level is Level.critical))
    cared_for = leaving and (tier in _WORTH_MOST or level is Level.critical)
    return Terms(
        percent,
        up_to,
        extras=(Extra.expedited_shipping,) if personal and reason is not Reason.loyalty else (),
        follow_up=FollowUp.retention_specialist if personal else FollowUp.agent if cared_for else None,
        personal=personal,
    )


#: The policy in force.
POLICY = OfferPolicy(
    {
        reason: {
            level: {tier: _terms(reason, level, tier, *percents) for tier, percents in zip(TIERS, by_tier, strict=True)}
            for level, by_tier in levels.items()
        }
        for reason, levels in _PERCENTS.items()
    }
)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do. says : in one or two sentences, the second why"""

    action: Action
    terms: Terms
    says: str

    @property
    def discount(self) -> bool:
        return self.terms.percent > 0


def recommend(
    level: Level,
    tier: Tier,
    *,
    n_orders: int,
    recency_days: int | None,
    usual_gap_days: float | None,
    reason: Reason,
    policy: OfferPolicy = POLICY,
) -> Recommendation:
    """recency_days : since the last order, None before the first; usual_gap_days : between orders, None where unknown

    Who has just ordered for the first time is welcomed without a discount, whatever their level says: of one order a
    level knows little. A complaint is made good all the same.
    """
    terms = policy.of(level, tier, reason)
    if reason is not Reason.complaint and _is_new(n_orders, recency_days, usual_gap_days):
        terms, action = Terms(0, 0), Action.welcome
    else:
        action = _action(terms, level, reason)
    doing = _doing(action, terms, level)
    return Recommendation(action, terms, f"{doing} {_because(level, tier, n_orders, recency_days, usual_gap_days)}")


def _is_new(n_orders: int, recency_days: int | None, usual_gap_days: float | None) -> bool:
    if n_orders == 0 or recency_days is None:
        return True
    return n_orders == 1 and recency_days <= (RECENT_DAYS if usual_gap_days is None else usual_gap_days)


def _action(terms: Terms, level: Level, reason: Reason) -> Action:
    if reason is Reason.complaint:
        return Action.make_good
    if level is Level.low or (reason is Reason.loyalty and not terms.percent):
        return Action.thank
    return {Reason.win_back: Action.win_back, Reason.loyalty: Action.thank}.get(reason, Action.retain)


@cache  # of the few terms there are
def _doing(action: Action, terms: Terms, level: Level) -> str:
    offer = _offer(terms)
    match action:
        case Action.welcome:
            return "Welcome them and offer help with their order; no discount."
        case Action.thank if not offer:
            return "Thank them, and suggest what goes with what they bought; no discount."
        case Action.thank:
            told = f"Thank them with {offer}"
        case Action.make_good:
            told = f"Apologise and make it good with {offer}" if offer else "Apologise and put it right; no discount"
        case Action.win_back:
            told = f"Invite them back with {offer}" if offer else "Invite them back; no discount"
        case _:
            told = f"Ask what they need and offer {offer}" if offer else "Ask what they need; no discount"
    if terms.follow_up is not None and (terms.personal or level in _LIKELY_TO_LEAVE):
        who = terms.follow_up.value.replace("_", " ")
        told += f", and have {'an' if who[0] in 'aeiou' else 'a'} {who} get in touch"
        told += " personally" if terms.personal else ""
    return f"{told}."


def _offer(terms: Terms) -> str:
    """What is given, in words; nothing where nothing is."""
    shipping = (
        "free expedited shipping"
        if set(terms.extras) == set(Extra)
        else " and ".join(each.value.replace("_", " ") for each in terms.extras)
    )
    range_of = f"{terms.percent} %" if terms.percent == terms.up_to else f"{terms.percent} to {terms.up_to} %"
    discount = f"{range_of} off their next order" if terms.percent else ""
    return " and ".join(each for each in (discount, shipping) if each)


def _because(level: Level, tier: Tier, n_orders: int, recency_days: int | None, usual_gap_days: float | None) -> str:
    value = "VIP" if tier is Tier.vip else f"{tier.value} value"
    if n_orders == 0 or recency_days is None:
        return "They have not ordered yet."
    ordered = "once" if n_orders == 1 else f"{n_orders} times"
    days = f"{recency_days} day{'' if recency_days == 1 else 's'} ago"
    ago = {0: "today", 1: "yesterday"}.get(recency_days, days)
    usually = ""
    if n_orders > 1 and usual_gap_days is not None:
        usually = f" (usually every {round(usual_gap_days)} days)" if round(usual_gap_days) > 1 else ""
    last = f", last {ago}" if n_orders > 1 else f", {ago}"
    return f"They have ordered {ordered}{last}{usually}; {value}, {level.value} risk of staying away."
