"""What is left out for those who may not see identities: counts, and every group too small to hide in."""

import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from app.resources import Resources
from app.warehouse.archetypes import SmallGroups, read_small_groups

#: A group with fewer customers is not shown by itself.
FEWEST = 20
OTHER_ID, OTHER_NAME = "other", "Other"
_SMALL = f"Groups with fewer than {FEWEST} customers are told together, so that nobody can be singled out."
_SMALL_AHEAD = f"What would move them leads to a group with fewer than {FEWEST} customers."
_SHARE_DECIMALS = 3
OTHER_DESCRIPTION = f"All that have fewer than {FEWEST} customers, together."

_RUNS_REMEMBERED = 64
# "1,234 customers (12.3 %) with ..." is how runs of older versions began descriptions and interpretations.
_COUNT = re.compile(r"\b[\d,]+ customers? \(([\d.]+) %\)")
# "12 of the 100 customers it takes ..." is how an axis says that too few have tickets.
_SOME_OF_IT_TAKES = re.compile(r"\b[\d,]+ of the (\d+) customers it takes\b")
_DIGITS_OF_A_SUM, _DIGITS_OF_A_MEAN = 1, 2
#: Members of a group that are listed: as many as the smallest group has, so that nobody can be counted.
LISTED = FEWEST


async def small_groups(resources: Resources, store_id: str, run_id: int) -> SmallGroups:
    """The groups of a run that are not shown by themselves; read once a run."""
    known = resources.small.get((store_id, run_id))
    if known is None:
        known = await read_small_groups(resources.database, store_id, run_id, fewer_than=FEWEST)
        while len(resources.small) >= _RUNS_REMEMBERED:
            resources.small.pop(next(iter(resources.small)))
        resources.small[store_id, run_id] = known
    return known


def uncounted(text: str) -> str:
    """A description without the number of customers: the share says enough."""
    return _COUNT.sub(r"\1 % of customers", text)


def note(text: str) -> str:
    """A note on an axis without the number of customers: that they are too few says enough."""
    return _SOME_OF_IT_TAKES.sub(r"fewer than the \1 customers it takes", text)


def about(amount: float) -> float:
    """A sum to one digit: a more exact one, over the mean, would tell how many it is the sum of."""
    return _to_digits(amount, _DIGITS_OF_A_SUM)


def mean(value: float) -> float:
    """A mean to two digits: the exact one is a fraction whose denominator is how many it is the mean of."""
    return _to_digits(value, _DIGITS_OF_A_MEAN)


def _to_digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


def chance(value: float) -> float:
    """A share of people that came of chances, in whole percents: finer, it is a fraction of how many they are."""
    return round(value, 2)


def interval(low: float, high: float) -> tuple[float, float]:
    """An interval of a share, widened to steps of five percent: how wide it is would tell of how many it is."""
    return (
        max(0.0, math.floor(round(20 * low, 6)) / 20),
        min(1.0, math.ceil(round(20 * high, 6)) / 20),
    )


def description(percentage: float) -> str:
    """Of a group: its share alone. What it is like stands in its traits, and what it spends beside it, rounded."""
    return f"{share(percentage):.1f} % of customers."


def without_small(told: Sequence[str], small: SmallGroups) -> list[str]:
    """Traits, without those that go by the name of a small segment."""
    names = {words(name) for few in small.segments.values() for name in few}
    return [trait for trait in told if trait.partition(":")[0] not in names]


def words(name: str) -> str:
    """A segment's name as traits tell it."""
    return name.replace("_", " ").capitalize()


def share(percentage: float) -> float:
    return round(percentage, 1)


def axis(told: Mapping[str, Any], small: SmallGroups) -> dict[str, Any]:
    """An axis as a run's report tells it, for its picture and evidence: without small segments and readings, what they
    are like, and anything that is a fraction of a number of customers.
    """
    few = small.segments.get(told["axis"], frozenset())
    readings = [each for each in told.get("readings", []) if each["n_customers"] >= FEWEST]
    return {
        **told,
        "segments": [
            {**each, "share": share(100 * each["share"]) / 100} for each in told["segments"] if each["name"] not in few
        ],
        "readings": [_reading(each, told["segments"], few) for each in readings],
    }


def _reading(told: Mapping[str, Any], segments: Sequence[Mapping[str, Any]], few: Iterable[str]) -> dict[str, Any]:
    names = [each["name"] for each in segments if each.get("source", "orders") == told["source"]]
    kept = [position for position, name in enumerate(names) if name not in few]
    hidden = dict(told)
    if told.get("tried") is not None:
        # The share of the smallest segment is told with the segments, where it may be.
        hidden["tried"] = [
            {**each, "smallest_share": None if len(kept) < len(names) else round(each["smallest_share"], 3)}
            for each in told["tried"]
        ]
    if told.get("picture") is not None:
        hidden["picture"] = _picture(told["picture"], kept)
    return hidden


def _picture(told: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Half as fine, in half percents. kept : positions of the segments that may be shown

    Where a segment is left out so is the shop's number: with those of the others it would tell that of the one left
    out.
    """
    whole = len(kept) == len(told["density"])
    features = [
        {
            **each,
            "shop": mean(each["shop"]) if whole else None,
            "says": each["says"] if whole else None,
            "segments": [mean(each["segments"][position]) for position in kept],
            "told": [each["told"][position] for position in kept],
            "apart": [round(2 * each["apart"][position]) / 2 for position in kept],
        }
        for each in told["features"]
    ]
    return {
        **told,
        "step": 2 * told["step"],
        "density": [[_half_percents(share) for share in _in_pairs(told["density"][position])] for position in kept],
        "null": _in_pairs(told["null"]),
        "features": features,
    }


def _in_pairs(bins: Sequence[float]) -> list[float]:
    return [round(one + other, 5) for one, other in zip(bins[::2], bins[1::2], strict=True)]


def _half_percents(share: float) -> float:
    return round(200 * share) / 200


def archetype(told: Mapping[str, Any], small: SmallGroups) -> dict[str, Any]:
    """The archetype object of a profile."""
    if told["archetype_id"] in small.archetypes:
        return {
            **told,
            "archetype_id": OTHER_ID,
            "segment_name": OTHER_NAME,
            "description": OTHER_DESCRIPTION,
            "dominant_segments": {},
            "member_count": None,
            "population_percentage": share(small.percentage[told["level"]]),
            "key_traits": [],
        }
    return {
        **told,
        "description": description(told["population_percentage"]),
        "member_count": None,
        "population_percentage": share(told["population_percentage"]),
        "dominant_segments": dominant(told["dominant_segments"], small),
        "key_traits": without_small(told["key_traits"], small),
    }


def archetype_id(told: str | None, small: SmallGroups) -> str | None:
    return OTHER_ID if told in small.archetypes else told


def dominant(told: Mapping[str, str], small: SmallGroups) -> dict[str, str]:
    """{axis: segment name}, small segments as "other"."""
    return {axis: OTHER_ID if name in small.segments.get(axis, ()) else name for axis, name in told.items()}


def sources(told: Mapping[str, Any], small: SmallGroups) -> dict[str, str] | None:
    """{axis: what a customer is read from}: with a small segment, that might tell of a source with few customers."""
    if told.get("axis_sources") is None:  # nobody's of a run, or a run of an older version
        return None
    shown = dominant(told["dominant_segments"], small)
    return {axis: OTHER_ID if shown.get(axis) == OTHER_ID else source for axis, source in told["axis_sources"].items()}


def memberships(told: Mapping[str, Mapping[str, float]], small: SmallGroups) -> dict[str, dict[str, float]]:
    """{axis: {segment name: share}}, the shares of small segments together."""
    return {axis: _merged(shares, small.segments.get(axis, frozenset())) for axis, shares in told.items()}


def _merged(shares: Mapping[str, float], few: Iterable[str]) -> dict[str, float]:
    kept = {name: value for name, value in shares.items() if name not in few}
    if len(kept) < len(shares):
        kept[OTHER_ID] = round(sum(value for name, value in shares.items() if name not in kept), 9)
    return kept


def rfm(told: Mapping[str, Any] | None, small: SmallGroups) -> dict[str, Any] | None:
    """The RFM object of a profile. The scores of a small group would name it."""
    if told is None:
        return None
    group, before = (OTHER_ID if told[name] in small.rfm else told[name] for name in ("group", "previous_group"))
    scores = ("recency_score", "frequency_score", "monetary_score")
    shown = {name: None if group == OTHER_ID else told[name] for name in scores}
    return {**told, **shown, "group": group, "previous_group": before}


def why(told: Mapping[str, Any], small: SmallGroups) -> dict[str, Any]:
    """{axis: why}. Of a small segment neither what leads there nor what it is like is told."""
    return {axis: _why(each, small.segments.get(axis, frozenset())) for axis, each in told.items()}


def _why(told: Mapping[str, Any], few: Container[str]) -> dict[str, Any]:
    if told["segment"] in few:
        return {
            **told,
            "segment": OTHER_ID,
            "membership": None,
            "typical_membership": None,
            "contributions": [],
            "change": None,
            "without_it": None,
            "says": _SMALL,
        }
    shown = {
        name: None if told[name] is None or told[name]["to_segment"] in few else told[name]
        for name in ("change", "without_it")
    }
    says = [each["says"] for each in shown.values() if each is not None]
    return {
        **told,
        **shown,
        "membership": round(told["membership"], _SHARE_DECIMALS),
        "typical_membership": round(told["typical_membership"], _SHARE_DECIMALS),
        "contributions": [
            {**each, "contribution": round(each["contribution"], _SHARE_DECIMALS)} for each in told["contributions"]
        ],
        "says": told["says"] if all(shown[name] == told[name] for name in shown) else " ".join(says) or _SMALL_AHEAD,
    }


def drift(told: Mapping[str, Any]) -> dict[str, Any]:
    """Without how many customers it is of, and in whole percents: finer, a fraction tells what it is a fraction of."""
    return {name: None if name == "common" else round(value, 2) for name, value in told.items()}


def step(told: Mapping[str, Any], large: Container[tuple[str, str]]) -> dict[str, Any]:
    """From one run to the next, of groups that may be shown themselves.

    large : (axis, name) of the segments that may be named
    """
    shares = {
        # In whole percents, or the share of a small group would tell how many it has.
        name: None if told[name] is None else round(told[name], 2)
        for name in ("share_of_previous", "share_of_current")
    }
    changes = [_axis_change(each, large) if "axis" in each else _feature_change(each) for each in told["changes"]]
    named = [each["says"] for each in changes] == [each["says"] for each in told["changes"]]
    return {**told, **shares, "changes": changes, "says": told["says"] if named else None}


def _feature_change(told: Mapping[str, Any]) -> dict[str, Any]:
    """Of a segment's typical numbers, as exact as its interpretation is: what they read, not the values themselves."""
    return {**told, "before": mean(told["before"]), "now": mean(told["now"])}


def _axis_change(told: Mapping[str, Any], large: Container[tuple[str, str]]) -> dict[str, Any]:
    axis = told["axis"]
    before, now = (
        told[name] if told[name] is None or (axis, told[name]) in large else OTHER_ID for name in ("before", "now")
    )
    if (before, now) == (told["before"], told["now"]):
        return dict(told)
    return {**told, "before": before, "now": now, "says": f"{axis}: {before or 'any'} → {now or 'any'}"}


def profile(told: Mapping[str, Any], small: SmallGroups) -> dict[str, Any]:
    """A whole profile, told for those who may see everything."""
    hidden = {**told, "customer_id": told["pseudonym"], "identity": None}
    if told["archetype"] is not None:
        hidden["archetype"] = archetype(told["archetype"], small)
    for level in ("archetype_id", "archetype_level2_id", "archetype_level3_id"):
        hidden[level] = archetype_id(told[level], small)
    if told["fuzzy_memberships"] is not None:
        hidden["fuzzy_memberships"] = memberships(told["fuzzy_memberships"], small)
        hidden["dominant_segments"] = dominant(told["dominant_segments"], small)
        hidden["axis_sources"] = sources(told, small)
        hidden["interpretation"] = ", ".join(hidden["dominant_segments"].values())
    hidden["key_traits"] = without_small(told["key_traits"], small)
    hidden["rfm"] = rfm(told["rfm"], small)
    if told["churn_risk"] is not None:
        hidden["churn_risk"] = churn_risk(told["churn_risk"], told["pseudonym"])
    if told.get("why") is not None:
        hidden["why"] = why(told["why"], small)
    return hidden


def churn_risk(told: Mapping[str, Any], pseudonym: str) -> dict[str, Any]:
    """The risk of one customer: without how many of the shop's past stand behind it."""
    sure = told["confidence"]
    if sure["low"] is not None:
        low, high = interval(sure["low"], sure["high"])
        about = chance(sure["mean_predicted"])
        sure = {
            **sure,
            "low": low,
            "high": high,
            "n": None,
            "mean_predicted": about,
            "says": f"Of those of the shop's past who were told about {100 * about:.0f} %, {100 * low:.0f} to "
            f"{100 * high:.0f} % stayed away.",
        }
    return {**told, "customer_id": pseudonym, "confidence": sure}
