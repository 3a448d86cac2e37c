"""What a rescoring reports: what is counted counted anew, what was found as it was found."""

import copy
from typing import Any

import numpy as np
import polars as pl
import pytest

from app.pipeline.report import renewed_report
from tests.fakes import at

AS_OF = at("2024-06-01")


def an_axis(name: str, segments: list[tuple[str, int, str]]) -> dict[str, Any]:
    """segments : (id, count of ten, source)"""
    sources = list(dict.fromkeys(source for *_, source in segments))
    return {
        "axis": name,
        "measures": "how much",
        "status": "active",
        "k": len(segments),
        "silhouette": 0.61,
        "null_silhouette": 0.4,
        "smallest_share": min(count for _, count, _ in segments) / 10,
        "verdict": "clear",
        "drift": {"moved": 3},
        "readings": [
            {
                "source": source,
                "n_customers": sum(count for _, count, of in segments if of == source),
                "share": sum(count for _, count, of in segments if of == source) / 10,
                "smallest_share": min(count for _, count, of in segments if of == source) / 10,
                "tried": [{"k": 2, "silhouette": 0.61}],
                "picture": {"points": [1, 2]},
            }
            for source in sources
        ],
        "segments": [
            {
                "segment_id": each,
                "name": f"name of {each}",
                "count": count,
                "share": count / 10,
                "source": source,
                "interpretation": f"{each} before",
            }
            for each, count, source in segments
        ],
    }


@pytest.fixture
def report() -> dict[str, Any]:
    return {
        "store_id": "shop",
        "currency": "GBP",
        "as_of": "2024-05-01T00:00:00+00:00",
        "orders_after": 7,
        "n_customers": 10,
        "axes": [
            an_axis("value", [("low", 6, "orders"), ("high", 4, "orders")]),
            an_axis("support", [("quiet", 7, "orders"), ("asks", 2, "tickets"), ("asks a lot", 1, "tickets")]),
            {"axis": "price", "measures": "discounts", "status": "no_data", "note": "none"},
        ],
        "redundancy": {"axes": ["value", "support"], "nmi": [[1, 0.1], [0.1, 1]]},
        "archetypes": {
            "levels": {"1": {"count": 9}},
            "most_valuable": [],
            "own_signature_share": 1.0,
            "folded_share": 0.0,
            "band_limits": [0.4, 0.6],
            "order": ["value", "support"],
            "least_members": 5,
            "level3_otherwise": {"arch_1": "arch_1_77"},
        },
        "rfm": {"scores": {}, "groups": []},
        "previous_run_id": 3,
        "since": None,
    }


def archetypes(counts: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "archetype_id": [f"arch_{number}" for number in range(len(counts))],
            "name": [f"kind {number}" for number in range(len(counts))],
            "member_count": counts,
            "population_percentage": [100 * count / 8 for count in counts],
            "avg_ltv": [float(10 * number) for number in range(len(counts))],
            "total_ltv": [10.0 * number * count for number, count in enumerate(counts)],
        }
    )


@pytest.fixture
def star() -> dict[str, pl.DataFrame]:
    """Eight customers: two fewer, all but one of them of few words and low worth."""
    counts = {"low": 7, "high": 1, "quiet": 8, "asks": 0, "asks a lot": 0}
    return {
        "dim_segment_master": pl.DataFrame(
            {
                "segment_id": list(counts),
                "customer_count": list(counts.values()),
                "interpretation": [f"{each} now" for each in counts],
            }
        ),
        "dim_archetype_l1": archetypes([7, 1, 0]),
        "dim_archetype_l2": archetypes([6, 1, 1]),
        "dim_archetype_l3": archetypes([8, 0]),
        "fact_customer_current": pl.DataFrame(
            {
                "rfm_group": ["champions"] * 2 + ["hibernating"] * 6,
                "lifetime_value": [30.0, 50.0, *[1.0] * 6],
                "days_since_last_purchase": [2, 4, *[100] * 6],
                "total_orders": [5, 7, *[1] * 6],
            }
        ),
    }


DISTANCE = np.array([0, 0, 0, 0, 0, 1, 1, 3])


@pytest.fixture
def renewed(report: dict[str, Any], star: dict[str, pl.DataFrame]) -> dict[str, Any]:
    before = copy.deepcopy(report)
    found = renewed_report(report, star, DISTANCE, as_of=AS_OF, orders_after=2)
    assert report == before, "the report of the run before was changed"
    return found


def test_customers_and_the_moment_are_those_of_the_rescoring(renewed: dict[str, Any]) -> None:
    assert (renewed["as_of"], renewed["orders_after"], renewed["n_customers"]) == (AS_OF.isoformat(), 2, 8)


def test_segments_are_counted_anew(renewed: dict[str, Any]) -> None:
    value, support, _ = renewed["axes"]
    told = [(each["segment_id"], each["count"], each["share"], each["interpretation"]) for each in value["segments"]]
    assert told == [("low", 7, 7 / 8, "low now"), ("high", 1, 1 / 8, "high now")]
    assert [each["count"] for each in support["segments"]] == [8, 0, 0]
    assert (value["smallest_share"], support["smallest_share"]) == (1 / 8, 0)
    counted = [
        (each["source"], each["n_customers"], each["share"], each["smallest_share"]) for each in support["readings"]
    ]
    assert counted == [("orders", 8, 1.0, 1.0), ("tickets", 0, 0.0, 0.0)]


def test_what_was_found_at_the_discovery_stays(report: dict[str, Any], renewed: dict[str, Any]) -> None:
    counted = {"segments", "readings", "smallest_share"}
    for before, now in zip(report["axes"], renewed["axes"], strict=True):
        assert list(now) == list(before)
        assert {name: told for name, told in now.items() if name not in counted} == {
            name: told for name, told in before.items() if name not in counted
        }
        for was, reading in zip(before.get("readings", []), now.get("readings", []), strict=True):
            assert (reading["tried"], reading["picture"]) == (was["tried"], was["picture"])
        for was, segment in zip(before.get("segments", []), now.get("segments", []), strict=True):
            assert (segment["name"], segment["source"]) == (was["name"], was["source"])
    for name in ("store_id", "currency", "redundancy", "previous_run_id", "since"):
        assert renewed[name] == report[name]
    for rule in ("band_limits", "order", "least_members", "level3_otherwise"):
        assert renewed["archetypes"][rule] == report["archetypes"][rule]


def test_archetypes_are_counted_anew(renewed: dict[str, Any]) -> None:
    told = renewed["archetypes"]
    assert told["levels"][1] == {"count": 3, "smallest": 0, "largest": 7, "in_useful_sizes": 7 / 8}
    assert [told["levels"][level]["largest"] for level in (2, 3)] == [6, 8]
    assert [each["archetype_id"] for each in told["most_valuable"]] == ["arch_1", "arch_0", "arch_2"]
    assert (told["own_signature_share"], told["folded_share"]) == (5 / 8, 3 / 8)
    assert told["mean_fold_distance"] == pytest.approx(5 / 3)
    assert told["folded_by_distance"] == {"1": 2, "3": 1}


def test_groups_of_recency_frequency_and_worth_are_counted_anew(renewed: dict[str, Any]) -> None:
    groups = {each["group"]: each for each in renewed["rfm"]["groups"]}
    assert len(groups) == 10
    champions = groups["champions"]
    assert (champions["count"], champions["share"]) == (2, 2 / 8)
    assert (champions["avg_ltv"], champions["avg_recency_days"], champions["avg_orders"]) == (40.0, 3.0, 6.0)
    assert (groups["hibernating"]["count"], groups["hibernating"]["avg_recency_days"]) == (6, 100.0)
    nobody = [each for name, each in groups.items() if name not in ("champions", "hibernating")]
    assert {(each["count"], each["avg_ltv"]) for each in nobody} == {(0, None)}
