"""A profile set into its run's form is valid JSON, whatever names and texts are in it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.profile_form import BETWEEN, STRENGTH_WORDS, ProfileForm

CUTOFFS = {"mode": "percentile", "vip": 900.5, "high": 100.0, "standard": 5.25}
NAMES = [
    'say "no"',
    "100 %",
    "%s",
    "%%d",
    "back\\slash",
    "\\u0041",
    "日本",
    "ünï",
    "{x}",
    "tab\there",
    "two\nlines",
    "",
]


def own(
    *, strengths: str, traits: list[str] | None = None, gap: str = "24.0", worth: str = "20.25", tier: str = "vip"
) -> str:
    told = json.dumps(traits or [], ensure_ascii=False)
    metrics = (worth, "2", "10.125", "3", "40")
    parts = ("arch_1_core", "arch_1_0", "1", strengths, told, *metrics, gap, tier, "0.5", "2024-05-01T00:00:00+00:00")
    return BETWEEN.join(parts)


def filled(form: ProfileForm, text: str, memberships: list[float], dominant: list[int]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(f"{{{form.filled(text, memberships, dominant)}}}")
    return found


def test_a_profile_says_what_its_numbers_mean() -> None:
    form = ProfileForm(
        [
            ("purchase_value", ["low", "high"], ["orders", "orders"]),
            ("support_history", ["quiet", "asks", "asks a lot"], ["orders", "tickets", "tickets"]),
        ],
        cutoffs=CUTOFFS,
    )
    told = filled(form, own(strengths="03", traits=["big spender"]), [0.25, 0.75, 0.0, 0.125, 0.875], [2, 5])
    assert told == {
        "archetype_level2_id": "arch_1_core",
        "archetype_level3_id": "arch_1_0",
        "fold_distance": 1,
        "fuzzy_memberships": {
            "purchase_value": {"low": 0.25, "high": 0.75},
            "support_history": {"quiet": 0.0, "asks": 0.125, "asks a lot": 0.875},
        },
        "dominant_segments": {"purchase_value": "high", "support_history": "asks a lot"},
        "axis_sources": {"purchase_value": "orders", "support_history": "tickets"},
        "membership_strength": {"purchase_value": "strong", "support_history": "moderate"},
        "interpretation": "high, asks a lot",
        "key_traits": ["big spender"],
        "business_metrics": {
            "lifetime_value": 20.25,
            "total_orders": 2,
            "avg_order_value": 10.125,
            "days_since_last_purchase": 3,
            "customer_tenure_days": 40,
            "usual_gap_days": 24.0,
            "churn_risk_score": None,
        },
        "lifetime_value": 20.25,
        "total_orders": 2,
        "avg_order_value": 10.125,
        "days_since_last_purchase": 3,
        "customer_tenure_days": 40,
        "ltv_tier": "vip",
        "ltv_top_percent": 0.5,
        "ltv_tier_cutoffs": CUTOFFS,
        "as_of": "2024-05-01T00:00:00+00:00",
    }


def test_each_digit_is_a_strength() -> None:
    axes = [(f"axis {number}", ["all"], ["orders"]) for number in range(len(STRENGTH_WORDS))]
    told = filled(ProfileForm(axes, cutoffs=CUTOFFS), own(strengths="0123"), [1.0] * 4, [1, 2, 3, 4])
    assert tuple(told["membership_strength"].values()) == STRENGTH_WORDS


def test_who_has_no_usual_gap_has_none() -> None:
    told = filled(ProfileForm([("a", ["all"], ["orders"])], cutoffs={}), own(strengths="0", gap="null"), [1.0], [1])
    assert told["business_metrics"]["usual_gap_days"] is None


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_told_as_they_are(name: str) -> None:
    """Of an axis, of a segment, of what it is read from, of a tier's limits, and in what is unusual of a customer."""
    form = ProfileForm([(name, [name, f"{name}2"], [name, "orders"])], cutoffs={name: name})
    told = filled(form, own(strengths="0", traits=[name]), [0.75, 0.25], [1])
    assert told["fuzzy_memberships"] == {name: {name: 0.75, f"{name}2": 0.25}}
    assert (told["dominant_segments"], told["axis_sources"]) == ({name: name}, {name: name})
    assert (told["interpretation"], told["key_traits"], told["ltv_tier_cutoffs"]) == (name, [name], {name: name})


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    st.lists(
        st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3, unique=True)),
        min_size=1,
        unique_by=lambda axis: axis[0],
    ),
    st.data(),
)
def test_any_names_make_valid_json(axes: list[tuple[str, list[str]]], data: st.DataObject) -> None:
    shares = [[data.draw(st.floats(0, 1)) for _ in names] for _, names in axes]
    firsts = [1 + sum(len(names) for _, names in axes[:number]) for number in range(len(axes))]
    tops = [data.draw(st.integers(0, len(names) - 1)) for _, names in axes]
    form = ProfileForm([(axis, names, ["orders"] * len(names)) for axis, names in axes], cutoffs=CUTOFFS)
    told = filled(
        form,
        own(strengths="2" * len(axes)),
        [share for of_axis in shares for share in of_axis],
        [first + top for first, top in zip(firsts, tops, strict=True)],
    )
    assert told["fuzzy_memberships"] == {
        axis: dict(zip(names, of_axis, strict=True)) for (axis, names), of_axis in zip(axes, shares, strict=True)
    }
    assert told["dominant_segments"] == {axis: names[top] for (axis, names), top in zip(axes, tops, strict=True)}
    assert told["interpretation"] == ", ".join(told["dominant_segments"].values())
