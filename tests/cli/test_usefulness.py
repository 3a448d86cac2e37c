"""What the figures of usefulness come down to, in words: it says so when segments lose."""

from typing import Any

import pytest

from app.cli.usefulness import verdict


def row(name: str, n_groups: float | None, *, difference: float, low: float, high: float) -> dict[str, Any]:
    against = {"difference": difference, "low": low, "high": high}
    measures = {"auc": 0.726 + difference, "auc_against": against, "r2": 0.24 + difference, "r2_against": against}
    return {"name": name, "n_groups": n_groups, **measures}


def sentences(**against: float) -> list[str]:
    return verdict(
        [
            row("rfm_quintiles", 94.7, difference=0.0, low=0.0, high=0.0),
            row("archetypes_l1", 54.3, **against),
            row("memberships", None, **against),
        ],
        horizon_days=90,
    )


def test_a_verdict_is_a_sentence_with_its_figures() -> None:
    buys, spends, by_memberships, _ = sentences(difference=0.001, low=-0.006, high=0.008)
    assert buys == (
        "Archetypes (54 groups) tell who buys within 90 days as well as RFM quintiles (95 groups): "
        "AUC .727 against .726 (difference +.001, 95 % -.006 to +.008)."
    )
    assert "tell how much customers spend within 90 days as well as" in spends
    assert "R² .241 against .240" in spends
    assert by_memberships.startswith("Memberships tell who buys within 90 days as well as RFM quintiles (95 groups)")


@pytest.mark.parametrize(
    ("low", "high", "how"),
    [
        (0.001, 0.03, " better than "),
        (-0.03, -0.001, " worse than "),
        (-0.02, 0.02, " as well as "),
        (-0.021, 0.01, " neither measurably better nor measurably worse than "),
        (-0.01, 0.021, " neither measurably better nor measurably worse than "),
    ],
)
def test_a_verdict_goes_by_the_interval(low: float, high: float, how: str) -> None:
    for sentence in sentences(difference=(low + high) / 2, low=low, high=high):
        assert how in sentence


def test_where_there_was_nothing_to_tell_apart_nothing_is_said_of_it() -> None:
    rows = [
        row(name, None, difference=0.0, low=0.0, high=0.0) for name in ("rfm_quintiles", "archetypes_l1", "memberships")
    ]
    nothing = [{**each, "auc": None, "auc_against": None} for each in rows]
    buys, spends, *_ = verdict(nothing, horizon_days=90)
    assert "nothing can be said of who buys within 90 days" in buys
    assert "as well as" in spends
