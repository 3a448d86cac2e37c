"""Names from behaviour: what a segment's typical customer does, in two words and in one sentence.

An axis names its segments by rules over the members' medians, first match wins, or by rank on one feature. Segments of
an axis that come out with the same name are told apart by the feature on which they differ most.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.features import STAND_INS
from app.segmentation.axes import Axis, Feature, Source


@dataclass(frozen=True, slots=True)
class Rule:
    """`name` holds where the median of `feature` lies in [at_least, below).

    for_most : where nine in ten members lie below; for names that would be false of the others
    """

    name: str
    feature: str
    at_least: float = float("-inf")
    below: float = float("inf")
    for_most: bool = False

    def holds(self, typical: Mapping[str, float], most: Mapping[str, float]) -> bool:
        return self.at_least <= (most if self.for_most else typical)[self.feature] < self.below


@dataclass(frozen=True, slots=True)
class Ranked:
    """Names by rank of the median of `feature`: lowest, those between, highest."""

    feature: str
    lowest: str
    between: str
    highest: str


_NAMES: Mapping[str, tuple[Rule, ...] | Ranked] = {
    "purchase_frequency": (
        Rule("one_time_customer", "total_purchases", below=1.5, for_most=True),
        Rule("infrequent_customer", "total_purchases", below=1.5),
        Rule("weekly_shopper", "avg_days_between_orders", below=10.5),
        Rule("fortnightly_shopper", "avg_days_between_orders", below=21.5),
        Rule("monthly_shopper", "avg_days_between_orders", below=45.5),
        Rule("quarterly_shopper", "avg_days_between_orders", below=120.5),
        Rule("occasional_buyer", "avg_days_between_orders", below=270.5),
        Rule("once_a_year", "avg_days_between_orders"),
    ),
    "purchase_value": Ranked("lifetime_value", "budget_conscious", "mid_tier", "high_value"),
    "category_exploration": Ranked("unique_categories", "focused_buyer", "variety_seeker", "category_explorer"),
    "price_sensitivity": (
        Rule("deal_hunter", "full_price_ratio", below=0.4),
        Rule("value_focused", "full_price_ratio", below=0.9),
        Rule("full_price_buyer", "full_price_ratio"),
    ),
    "purchase_cadence": (
        Rule("weekend_buyer", "weekend_ratio", at_least=0.5),
        Rule("office_hours_buyer", "business_hours_ratio", at_least=0.6),
        Rule("evening_buyer", "preferred_hour", at_least=17.0),
        Rule("early_buyer", "preferred_hour", below=10.0),
        Rule("irregular", "preferred_hour"),
    ),
    "customer_maturity": (
        Rule("new_customer", "tenure_days", below=120.0),
        Rule("established", "tenure_days", below=730.0),
        Rule("long_term_customer", "tenure_days"),
    ),
    "repurchase_behavior": (
        Rule("one_time_buyer", "repeat_visit_ratio", below=0.25, for_most=True),
        Rule("rare_repeater", "repeat_visit_ratio", below=0.25),
        Rule("moderate_repeater", "repeat_visit_ratio", below=0.75),
        Rule("highly_loyal", "repeat_visit_ratio"),
    ),
    "return_behavior": (
        Rule("never_returns", "refund_rate", below=0.005, for_most=True),
        Rule("low_returner", "refund_rate", below=0.05),
        Rule("occasional_returner", "refund_rate", below=0.15),
        Rule("frequent_returner", "refund_rate"),
    ),
    "communication_preference": (
        Rule("in_person", "online_ratio", below=0.5),
        Rule("weekend_online", "weekend_ratio", at_least=0.5),
        Rule("evening_online", "preferred_hour", at_least=17.0),
        Rule("morning_online", "preferred_hour", below=11.0),
        Rule("daytime_online", "preferred_hour"),
    ),
    "problem_complexity_profile": (
        Rule("high_touch_shopper", "refund_rate", at_least=0.1),
        Rule("offer_dependent", "discount_dependency", at_least=0.6),
        Rule("experimenter", "product_switching", at_least=0.5),
        Rule("low_maintenance", "product_switching"),
    ),
    "loyalty_trajectory": (
        Rule("declining", "recency_ratio", at_least=2.0),
        Rule("growing_engagement", "frequency_trend", at_least=0.15),
        Rule("slowing_engagement", "frequency_trend", below=-0.15),
        Rule("growing_baskets", "value_trend", at_least=0.1),
        Rule("shrinking_baskets", "value_trend", below=-0.1),
        Rule("stable", "recency_ratio"),
    ),
    "product_knowledge": (
        Rule("expert_user", "mastery", at_least=0.6),
        Rule("intermediate", "mastery", at_least=0.3),
        Rule("beginner", "mastery"),
    ),
    "value_sophistication": Ranked("avg_item_price", "price_focused", "value_aware", "premium_focused"),
    "support_history": (
        Rule("discontented", "dissatisfied_ratio", at_least=0.5),
        Rule("frequent_requester", "tickets_per_order", at_least=1.0),
        Rule("occasional_requester", "total_tickets"),
    ),
}

#: How segments are named whose customers are read from tickets; axes not named here read nothing else.
_NAMES_FROM_TICKETS: Mapping[str, tuple[Rule, ...] | Ranked] = {
    "communication_preference": (
        Rule("phone_caller", "ticket_phone_ratio", at_least=0.5),
        Rule("chat_first", "ticket_chat_ratio", at_least=0.5),
        Rule("email_preferred", "ticket_email_ratio", at_least=0.5),
        Rule("mixed_channels", "contact_hour"),
    ),
    "problem_complexity_profile": (
        Rule("complex_issues", "hard_ticket_ratio", at_least=0.3),
        Rule("lengthy_issues", "resolution_days", at_least=3.0),
        Rule("varied_questions", "topic_diversity", at_least=0.6),
        Rule("simple_questions", "resolution_days"),
    ),
}

EVERYONE = "everyone"
#: The only segment of a reading beside another: all there is to say of its customers is which reading is theirs.
_UNDIVIDED: Mapping[Source, str] = {Source.orders: "seldom_asks", Source.tickets: "asks_for_help"}
#: Names that say nothing of what a customer does on the axis.
SAYING_NOTHING = frozenset({EVERYONE, *_UNDIVIDED.values()})


def segment_names(
    axis: Axis,
    typical: Sequence[Mapping[str, float]],
    most: Sequence[Mapping[str, float]],
    *,
    source: Source = Source.orders,
) -> list[str]:
    """A name for each segment of an axis's reading from one source, unique on the axis.

    typical : per segment, the median of each of the reading's features among its members, before any scaling
    most    : per segment, the value of each that nine in ten members reach at most
    """
    if len(typical) == 1:
        return [EVERYONE]
    names = _base_names(_naming(axis, source), typical, most)
    alike: dict[str, list[int]] = defaultdict(list)
    for segment, name in enumerate(names):
        alike[name].append(segment)
    for name, segments in alike.items():
        apart = _told_apart(axis.features_from(source), [typical[each] for each in segments])
        for segment, words in zip(segments, apart, strict=True):
            names[segment] = "_".join([*words, name])
    return names


def distinct_name(
    name: str, typical: Mapping[str, float], others: Mapping[str, Mapping[str, float]], features: Sequence[Feature]
) -> str:
    """The name itself if no other segment of the axis has it, else with what sets this one apart from its bearer.

    typical : of this segment; others : the names there are, each with its segment's typical values
    """
    if name not in others:
        return name
    bearer = others[name]
    known = [feature for feature in features if feature.name in bearer]
    for feature in sorted(known, key=lambda each: -_contrast([typical[each.name], bearer[each.name]])):
        mine, theirs = typical[feature.name], bearer[feature.name]
        word = feature.high if mine > theirs else feature.low
        if mine != theirs and _is_true_of(feature, word, mine) and f"{word}_{name}" not in others:
            return f"{word}_{name}"
    number = 2
    while f"group_{number}_{name}" in others:
        number += 1
    return f"group_{number}_{name}"


def name_of_undivided(axis: Axis, source: Source) -> str:
    """What the only segment of a reading is called on an axis that has another reading."""
    return axis.quiet if axis.quiet and source is Source.orders else _UNDIVIDED[source]


def interpretation(axis: Axis, typical: Mapping[str, float], *, share: float, source: Source = Source.orders) -> str:
    """One sentence that states the segment's numbers. A number that only stands in for too little is left out.

    It counts nobody: who may see shares only may read it too.

    share : of the segmented customers, 0..1
    """
    told = [
        feature.phrase(typical[feature.name])
        for feature in axis.features_from(source)
        if STAND_INS.get(feature.name) != typical[feature.name]
    ]
    typically = f", typically {', '.join(told)}" if told else ""
    return f"{100 * share:.1f} % of customers{typically}."


def interpretation_of_nobody(was: str) -> str:
    """The sentence of a segment that nobody is in any more: what they were like stays, how many they are does not.

    was : the sentence that `interpretation` made of those who were in it
    """
    _, of_customers, typically = was.partition(" % of customers")
    return f"{0:.1f}{of_customers}{typically}" if of_customers else was


def _naming(axis: Axis, source: Source) -> tuple[Rule, ...] | Ranked:
    from_tickets = _NAMES_FROM_TICKETS.get(axis.name) if source is Source.tickets else None
    return from_tickets or _NAMES[axis.name]


def _base_names(
    naming: tuple[Rule, ...] | Ranked, typical: Sequence[Mapping[str, float]], most: Sequence[Mapping[str, float]]
) -> list[str]:
    if isinstance(naming, Ranked):
        order = sorted(range(len(typical)), key=lambda segment: typical[segment][naming.feature])
        names = [naming.between] * len(typical)
        names[order[0]], names[order[-1]] = naming.lowest, naming.highest
        return names
    return [next(rule.name for rule in naming if rule.holds(*each)) for each in zip(typical, most, strict=True)]


def _told_apart(telling: Sequence[Feature], alike: Sequence[Mapping[str, float]]) -> list[list[str]]:
    """Words that tell segments of one name apart: the extremes of the feature on which they differ most, then those of
    the next among the segments left. The last one left keeps the bare name.
    """
    words: list[list[str]] = [[] for _ in alike]
    left = list(range(len(alike)))
    features = list(telling)
    while len(left) > 1 and features:
        contrasts = [_contrast([alike[segment][feature.name] for segment in left]) for feature in features]
        if max(contrasts) == 0:
            break
        feature = features.pop(contrasts.index(max(contrasts)))
        values = [each[feature.name] for each in alike]
        lowest, highest = min(left, key=values.__getitem__), max(left, key=values.__getitem__)
        for segment, word in ((lowest, feature.low), (highest, feature.high)):
            if _is_true_of(feature, word, values[segment]):
                words[segment].append(word)
                left.remove(segment)
    # What no feature tells apart is counted.
    for number, segment in enumerate(left[1:], start=2):
        words[segment].append(f"group_{number}")
    return words


def _is_true_of(feature: Feature, word: str, value: float) -> bool:
    """Whether a segment may be called that: not for a number that only stands in, nor rising for what falls least."""
    if value == STAND_INS.get(feature.name):
        return False
    return not feature.signed or (value > 0 if word == feature.high else value < 0)


def _contrast(values: list[float]) -> float:
    """How far apart values lie, against the largest of them: 0 where all are equal, 2 at most."""
    largest = max(abs(value) for value in values)
    return max(values) / largest - min(values) / largest if largest > 0 else 0.0
