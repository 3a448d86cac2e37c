"""What the profiles of a run have in common, and how a customer's own part is set into it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Between the parts of a customer's own text. JSON writes this sign in another way, so no part holds one.
BETWEEN = "\t"

#: How clearly a top segment is a customer's own: the words of the digits in their text.
STRENGTH_WORDS = ("strong", "weak", "balanced", "moderate")

_METRICS = (
    "lifetime_value",
    "total_orders",
    "avg_order_value",
    "days_since_last_purchase",
    "customer_tenure_days",
)


#: Where a text leaves room for the risk, which is told with the predictions and not with the run.
NO_RISK = '"churn_risk_score":null}'


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a customer, what their risk is told by.

    gap_days : usual, None for who came once; tier : of value, None for who has no standing
    """

    n_orders: int
    recency_days: int
    tenure_days: int
    gap_days: float | None
    tier: str | None


def figures(own: str) -> Figures:
    """Those of a customer's own text."""
    *_, n_orders, _, recency, tenure, gap, tier, _, _ = own.split(BETWEEN)
    return Figures(int(n_orders), int(recency), int(tenure), None if gap == "null" else float(gap), tier)


def with_risk(text: str, score: float | None) -> str:
    """A filled text with the risk in its place."""
    return text if score is None else text.replace(NO_RISK, f'"churn_risk_score":{score!r}}}', 1)


class ProfileForm:
    """The profiles of one run.

    axes    : in their order, (name, names of its segments, what the customers of each are read from)
    cutoffs : of the tiers of lifetime value

    A customer's memberships are one list of numbers, axis by axis and segment by segment, and their top segments are
    places in that list, from 1, one of each axis.
    """

    def __init__(self, axes: Sequence[tuple[str, Sequence[str], Sequence[str]]], *, cutoffs: Mapping[str, Any]) -> None:
        self._names = [_dumped(name) for _, names, _ in axes for name in names]
        self._sources = [_dumped(source) for _, _, sources in axes for source in sources]
        self._plain_names = [name for _, names, _ in axes for name in names]
        self._words = {str(code): _dumped(word) for code, word in enumerate(STRENGTH_WORDS)}
        memberships = _object({axis: _object(dict.fromkeys(names, "%s")) for axis, names, _ in axes})
        by_axis = _object(dict.fromkeys((axis for axis, _, _ in axes), "%s"))
        metrics = dict.fromkeys(_METRICS, "%s")
        form = _object(
            {
                "archetype_level2_id": '"%s"',
                "archetype_level3_id": '"%s"',
                "fold_distance": "%s",
                "fuzzy_memberships": memberships,
                "dominant_segments": by_axis,
                "axis_sources": by_axis,
                "membership_strength": by_axis,
                "interpretation": "%s",
                "key_traits": "%s",
                "business_metrics": _object({**metrics, "usual_gap_days": "%s", "churn_risk_score": "null"}),
                **metrics,
                "ltv_tier": '"%s"',
                "ltv_top_percent": "%s",
                "ltv_tier_cutoffs": _escaped(_dumped(cutoffs)),
                "as_of": '"%s"',
            }
        )
        self._form = form[1:-1]

    def filled(self, own: str, memberships: Sequence[float | str], dominant: Sequence[int]) -> str:
        """The text of a customer. own : as written with them; memberships, dominant : their lists, the first of numbers
        or of what JSON writes for them
        """
        level2, level3, fold_distance, strengths, traits, *metrics, gap, tier, top, as_of = own.split(BETWEEN)
        top_segments = [place - 1 for place in dominant]
        return self._form % (
            *(level2, level3, fold_distance, *memberships),
            *[self._names[place] for place in top_segments],
            *[self._sources[place] for place in top_segments],
            *[self._words[code] for code in strengths],
            _dumped(", ".join([self._plain_names[place] for place in top_segments])),
            *(traits, *metrics, gap, *metrics, tier, top, as_of),
        )


def _object(members: Mapping[str, str]) -> str:
    """A JSON object of members that are forms themselves; its keys are texts to be put out as they are."""
    return "{" + ",".join(f"{_escaped(_dumped(name))}:{form}" for name, form in members.items()) + "}"


def _escaped(text: str) -> str:
    """A text in a form with places to fill."""
    return text.replace("%", "%%")


_dumped = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
