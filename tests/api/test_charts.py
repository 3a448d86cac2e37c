"""The picture of an axis: Vega-Lite draws it, and it shows what the report holds."""

import json
import re
from typing import Any

import pytest
from vl_convert import vegalite_to_svg, vegalite_to_vega

from app.api import anonymous
from app.api.archetypes.charts import CLOUD, axis_chart
from app.warehouse.archetypes import SmallGroups

BINS = 40


def picture(k: int) -> dict[str, Any]:
    return {
        "start": -2.5,
        "step": 0.125,
        "density": [[1 / BINS / k] * BINS for _ in range(k)],
        "null": [1 / BINS] * BINS,
        "low": "few",
        "high": 'many "or more"',
        "features": [
            {
                "feature": "total_purchases",
                "says": "2 orders",
                "shop": 2.4567,
                "segments": [1.2345 * (n + 1) for n in range(k)],
                "told": [f"{n + 1}" for n in range(k)],
                "apart": [n - 1.3 for n in range(k)],
            }
        ],
    }


def reading(source: str, k: int, n_customers: int = 1_000) -> dict[str, Any]:
    return {"source": source, "k": k, "n_customers": n_customers, "tried": [], "picture": picture(k)}


def axis(**ks: int) -> dict[str, Any]:
    """An axis as a report tells it. ks : source -> segments"""
    return {
        "axis": "purchase_frequency",
        "measures": "how often they buy",
        "says": "Real groups.",
        "readings": [reading(source, k) for source, k in ks.items()],
        "segments": [
            {"name": f"kind_{n}_of_{source}", "source": source, "share": 0.1234}
            for source, k in ks.items()
            for n in range(k)
        ],
    }


def small(*names: str) -> SmallGroups:
    return SmallGroups(
        archetypes=frozenset(), segments={"purchase_frequency": frozenset(names)}, rfm=frozenset(), percentage={}
    )


def words_of(chart: Any) -> str:
    svg = vegalite_to_svg(json.dumps(chart), vl_version="6.4")
    return " ".join(re.findall(r"<text[^>]*>([^<]+)</text>", svg))


@pytest.mark.parametrize(
    "ks", [{"orders": 1}, {"orders": 2}, {"orders": 6}, {"orders": 33}, {"orders": 2, "tickets": 3}]
)
@pytest.mark.parametrize("version", ["5.20", "6.4"])
def test_every_picture_is_one_that_vega_lite_draws(ks: dict[str, int], version: str) -> None:
    chart = axis_chart(axis(**ks))
    vega = vegalite_to_vega(json.dumps(chart), vl_version=version)
    assert vega["background"] == "transparent"
    told = words_of(chart)
    assert told.count(CLOUD) == len(ks)
    for source, k in ks.items():
        # A long legend is not cut short.
        assert len(re.findall(rf"12 % Kind \d+ of {source}", told)) == k
    assert told.count("Shop: 2 orders") == sum(k > 1 for k in ks.values()), "one segment is the shop itself"
    assert told.count('many "or more"') == len(ks) or told.count("many &quot;or more&quot;") == len(ks)


def test_segments_and_the_cloud_are_all_in_the_picture_and_nothing_is_lost_by_smoothing() -> None:
    told = axis(orders=3)
    told["readings"][0]["picture"]["density"][0] = [0.3, *[0.0] * (BINS - 1)]
    where = axis_chart(told)["concat"][0]["vconcat"][0]  # type: ignore[index]
    customers, cloud = (layer["data"]["values"] for layer in where["layer"])
    assert sum(each["share"] for each in customers) == pytest.approx(0.3 + 2 / 3, abs=1e-4)
    assert sum(each["share"] for each in cloud) == pytest.approx(1, abs=1e-4)


def test_words_take_their_colour_from_the_config_alone() -> None:
    chart = axis_chart(axis(orders=3, tickets=2))
    assert chart is not None
    painted = json.dumps({key: each for key, each in chart.items() if key != "config"})
    assert not re.search(r'"(labelColor|titleColor|subtitleColor)"', painted)
    assert "#000" not in painted and "black" not in painted


@pytest.mark.parametrize("told", [{"axis": "a", "readings": []}, {"axis": "a"}, {"axis": "a", "readings": [{"k": 2}]}])
def test_without_a_picture_in_the_report_there_is_none(told: dict[str, Any]) -> None:
    assert axis_chart(told) is None


# For those who may not see small groups


def test_a_small_segment_is_nowhere_in_the_picture_and_its_numbers_cannot_be_worked_out() -> None:
    told = axis(orders=3)
    told["readings"][0]["picture"]["density"][1] = [0.00017] * BINS
    seen = anonymous.axis(told, small("kind_1_of_orders"))
    chart = json.dumps(axis_chart(seen))
    assert "Kind 0" in chart and "Kind 2" in chart and "Kind 1" not in chart
    assert "other" not in chart
    picture = seen["readings"][0]["picture"]
    assert len(picture["density"]) == 2
    (feature,) = picture["features"]
    assert feature["shop"] is None and feature["says"] is None
    assert len(feature["segments"]) == len(feature["told"]) == len(feature["apart"]) == 2
    assert "Shop" not in words_of(json.loads(chart))


def test_shares_are_coarse_in_a_picture_for_those_who_may_not_count() -> None:
    told = axis(orders=2)
    told["readings"][0]["picture"]["density"] = [[7 / 613] * BINS, [1 / 613] * BINS]
    seen = anonymous.axis(told, small())
    for row in seen["readings"][0]["picture"]["density"]:
        assert len(row) == BINS / 2
        assert all(abs(200 * share - round(200 * share)) < 1e-9 for share in row)
    assert [each["share"] for each in seen["segments"]] == [pytest.approx(0.123)] * 2
    assert seen["readings"][0]["picture"]["features"][0]["shop"] == 2.5


def test_a_reading_of_few_customers_is_not_drawn() -> None:
    told = axis(orders=2, tickets=2)
    told["readings"][1]["n_customers"] = 19
    chart = axis_chart(anonymous.axis(told, small("kind_0_of_tickets", "kind_1_of_tickets")))
    assert "ickets" not in json.dumps(chart)
