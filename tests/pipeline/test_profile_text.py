"""The ready text of a profile says what the run found, in the documents' shape."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from app.domain.features import FEATURES, GAP_STAND_IN_DAYS, METRICS
from app.domain.profile_form import STRENGTH_WORDS
from app.domain.rfm import rfm_quintiles
from app.domain.value_tiers import value_tiers
from app.pipeline.placing import PlacedAxis, Standing
from app.pipeline.profile_text import own_text, own_texts, profile_form
from app.pipeline.yardstick import Yardstick, yardstick_from
from app.segmentation.axes import Source, axes_named
from app.segmentation.membership import STRENGTHS, Array, strengths
from app.segmentation.norms import shop_norms

AS_OF = datetime(2025, 10, 23, 5, tzinfo=UTC)
N = 60


def placed(memberships: Array) -> list[PlacedAxis]:
    names, sources = ("high_value", "mid %s tier, 100 %", 'bud"get\\'), (Source.orders, Source.tickets, Source.tickets)
    return [
        PlacedAxis(axis, names, sources, memberships, in_signature=True) for axis in axes_named(["value", "frequency"])
    ]


@pytest.fixture(scope="module")
def shop() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    values = {name: rng.gamma(2, 1, N) for name in (*METRICS, *FEATURES)}
    values["total_orders"] = 1.0 + rng.poisson(3, N)
    values["recency_days"], values["tenure_days"] = np.floor(rng.gamma(2, 50, (2, N)))
    values["avg_days_between_orders"] = np.where(rng.random(N) < 0.5, GAP_STAND_IN_DAYS, 24.04)
    values["lifetime_value"] = rng.normal(500, 400, N).round(4)
    memberships = rng.dirichlet((1, 1, 1), N)
    standing = Standing([f"arch_{i}" for i in range(N)], ["arch_1_core"] * N, ["arch_1_0"] * N, rng.integers(0, 3, N))
    return {"axes": placed(memberships), "standing": standing, "values": values}


def yardstick(shop: dict[str, Any]) -> Yardstick:
    members = {
        axis.axis.name: {
            name: np.flatnonzero(axis.memberships.argmax(axis=1) == position)
            for position, name in enumerate(axis.names)
        }
        for axis in shop["axes"]
    }
    norms = shop_norms([axis.axis for axis in shop["axes"]], shop["values"], members)
    values = shop["values"]
    return Yardstick(
        norms=norms,
        tiers=value_tiers(values["lifetime_value"]),
        rfm=rfm_quintiles(values["recency_days"], values["total_orders"], values["lifetime_value"]),
    )


def texts(shop: dict[str, Any]) -> list[str]:
    """Everyone's, filled into what the run's profiles have in common."""
    arguments = (shop["axes"], shop["standing"], shop["values"])
    own = own_texts(*arguments, yardstick=yardstick(shop), as_of=AS_OF).to_list()
    return [filled(shop["axes"], text, number, yardstick(shop)) for number, text in enumerate(own)]


def filled(axes: list[PlacedAxis], own: str, number: int, measure: Yardstick) -> str:
    """The text of the customer of that number."""
    shares = [share for axis in axes for share in axis.memberships[number].tolist()]
    tops = [1 + 3 * place + int(axis.memberships[number].argmax()) for place, axis in enumerate(axes)]
    return profile_form(axes, measure).filled(own, shares, tops)


def test_each_text_is_the_inside_of_an_object_with_the_documents_fields(shop: dict[str, Any]) -> None:
    for number, text in enumerate(texts(shop)):
        told = json.loads(f"{{{text}}}")
        metrics = told["business_metrics"]
        assert metrics["lifetime_value"] == shop["values"]["lifetime_value"][number]
        assert metrics["total_orders"] == shop["values"]["total_orders"][number]
        for name in ("lifetime_value", "total_orders", "avg_order_value", "days_since_last_purchase"):
            assert told[name] == metrics[name]
        assert isinstance(metrics["days_since_last_purchase"], int)
        assert told["customer_tenure_days"] == metrics["customer_tenure_days"]
        assert metrics["usual_gap_days"] in (None, 24.0)
        for axis in shop["axes"]:
            shares = told["fuzzy_memberships"][axis.axis.name]
            assert sum(shares.values()) == pytest.approx(1, abs=1e-8)
            assert shares == pytest.approx(dict(zip(axis.names, axis.memberships[number], strict=True)), abs=1e-8)
            assert told["dominant_segments"][axis.axis.name] == max(shares, key=shares.__getitem__)
            assert told["membership_strength"][axis.axis.name] == strengths(axis.memberships)[number]
            assert told["axis_sources"][axis.axis.name] == axis.read_from[number]
        assert told["interpretation"] == ", ".join(told["dominant_segments"].values())
        assert told["ltv_tier"] in {"vip", "high", "standard", "low"}
        assert 0 < told["ltv_top_percent"] <= 100
        assert told["ltv_tier_cutoffs"].keys() == {"mode", "vip", "high", "standard"}
        assert metrics["churn_risk_score"] is None
        assert told["as_of"] == "2025-10-23T05:00:00+00:00"
        assert len(told["key_traits"]) <= 3


def test_every_strength_has_its_word() -> None:
    assert tuple(each.value for each in STRENGTHS) == STRENGTH_WORDS


def test_a_customer_who_has_come_once_has_no_usual_gap(shop: dict[str, Any]) -> None:
    for number, text in enumerate(texts(shop)):
        once = shop["values"]["avg_days_between_orders"][number] == GAP_STAND_IN_DAYS
        assert (json.loads(f"{{{text}}}")["business_metrics"]["usual_gap_days"] is None) == once


def test_one_customer_alone_gets_the_text_written_among_all(shop: dict[str, Any]) -> None:
    """Also from a yardstick that was stored with the run and read back."""
    kept = yardstick_from(json.loads(json.dumps(yardstick(shop).stored(), allow_nan=False)))
    for number, among_all in enumerate(texts(shop)):
        one = slice(number, number + 1)
        standing = Standing(
            shop["standing"].level1[one],
            shop["standing"].level2[one],
            shop["standing"].level3[one],
            shop["standing"].fold_distance[one],
        )
        values = {name: column[one] for name, column in shop["values"].items()}
        axes = placed(shop["axes"][0].memberships[one])
        own = own_text(axes, standing, values, yardstick=kept, as_of=AS_OF)
        alone = filled(axes, own, 0, kept)
        assert list(json.loads(f"{{{alone}}}").items()) == list(json.loads(f"{{{among_all}}}").items())
