"""The ready text of a profile: what is served of a customer, whoever asks, written once and put out as it is.

It is the inside of a JSON object, without its braces: the answer's head says who the customer is, which depends on who
asks. A run writes everyone's at once (`profile_texts`), scoring one customer writes theirs (`profile_text`); a test
compares the two.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from app.domain.features import GAP_STAND_IN_DAYS
from app.domain.value_tiers import TIERS
from app.pipeline.placing import PlacedAxis, Standing
from app.pipeline.yardstick import Yardstick
from app.segmentation.membership import STRENGTHS, Array, strength_codes
from app.segmentation.norms import traits

_DECIMALS = 9  # of a share: an axis's shares, as printed, still sum to 1 within a few in the ninth
_CENTS = 4  # as the database keeps money


def profile_texts(
    axes: Sequence[PlacedAxis],
    standing: Standing,
    values: Mapping[str, Array],
    *,
    yardstick: Yardstick,
    as_of: datetime,
) -> pl.Series:
    """One text per customer, in their order. values : the metrics and features, each (n_customers,)"""
    dominant = [pl.Series(axis.axis.name, axis.names)[axis.memberships.argmax(axis=1)] for axis in axes]
    words = pl.Series(STRENGTHS, dtype=pl.String)
    metrics = {
        "lifetime_value": pl.Series(values["lifetime_value"]).round(_CENTS),
        "total_orders": pl.Series(values["total_orders"]).cast(pl.Int64),
        "avg_order_value": pl.Series(values["avg_order_value"]).round(_CENTS),
        "days_since_last_purchase": pl.Series(values["recency_days"]).cast(pl.Int64),
        "customer_tenure_days": pl.Series(values["tenure_days"]).cast(pl.Int64),
    }
    gap = pl.Series(values["avg_days_between_orders"])
    usual_gap = pl.DataFrame({"gap": gap}).select(
        pl.when(pl.col("gap") != GAP_STAND_IN_DAYS).then(pl.col("gap").round(1))
    )
    tiers = yardstick.tiers
    columns: dict[str, Any] = {
        "archetype_level2_id": standing.level2,
        "archetype_level3_id": standing.level3,
        "fold_distance": standing.fold_distance,
        "fuzzy_memberships": _struct(
            {
                axis.axis.name: _struct(dict(zip(axis.names, axis.memberships.T.round(_DECIMALS), strict=True)))
                for axis in axes
            }
        ),
        "dominant_segments": _struct({series.name: series for series in dominant}),
        "axis_sources": _struct(
            {
                axis.axis.name: pl.Series([source.value for source in axis.sources])[axis.memberships.argmax(axis=1)]
                for axis in axes
            }
        ),
        "membership_strength": _struct({axis.axis.name: words[strength_codes(axis.memberships)] for axis in axes}),
        "interpretation": pl.select(pl.concat_str(dominant, separator=", ")).to_series(),
        "key_traits": pl.Series(_traits(axes, values, yardstick), dtype=pl.List(pl.String)),
        "business_metrics": _struct({**metrics, "usual_gap_days": usual_gap.to_series()}),
        **metrics,
        "ltv_tier": pl.Series([tier.value for tier in TIERS])[tiers.codes(values["lifetime_value"])],
        "ltv_top_percent": tiers.top_percent(values["lifetime_value"]),
    }
    told = pl.DataFrame(columns).select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return pl.select(
        pl.format("{}{}", told.str.slice(1, told.str.len_chars() - 2), pl.lit(_tail(yardstick, as_of)))
    ).to_series()


def profile_text(
    axes: Sequence[PlacedAxis],
    standing: Standing,
    values: Mapping[str, Array],
    *,
    strengths: Mapping[str, str],
    yardstick: Yardstick,
    as_of: datetime,
) -> str:
    """The text of one customer: arrays hold one row. strengths : {axis: how clearly their top segment is theirs}"""
    dominant = {axis.axis.name: axis.dominant[0] for axis in axes}
    worth, gap = values["lifetime_value"], float(values["avg_days_between_orders"][0])
    metrics = {
        "lifetime_value": round(float(worth[0]), _CENTS),
        "total_orders": int(values["total_orders"][0]),
        "avg_order_value": round(float(values["avg_order_value"][0]), _CENTS),
        "days_since_last_purchase": int(values["recency_days"][0]),
        "customer_tenure_days": int(values["tenure_days"][0]),
    }
    told = {
        "archetype_level2_id": standing.level2[0],
        "archetype_level3_id": standing.level3[0],
        "fold_distance": int(standing.fold_distance[0]),
        "fuzzy_memberships": {
            axis.axis.name: dict(zip(axis.names, axis.memberships[0].round(_DECIMALS).tolist(), strict=True))
            for axis in axes
        },
        "dominant_segments": dominant,
        "axis_sources": {axis.axis.name: axis.read_from[0].value for axis in axes},
        "membership_strength": strengths,
        "interpretation": ", ".join(dominant.values()),
        "key_traits": _traits(axes, values, yardstick)[0],
        "business_metrics": {**metrics, "usual_gap_days": None if gap == GAP_STAND_IN_DAYS else round(gap, 1)},
        **metrics,
        "ltv_tier": TIERS[int(yardstick.tiers.codes(worth)[0])].value,
        "ltv_top_percent": float(yardstick.tiers.top_percent(worth)[0]),
    }
    return _inside(told) + _tail(yardstick, as_of)


def _tail(yardstick: Yardstick, as_of: datetime) -> str:
    """What is the same for everyone scored at one moment. Nothing is predicted of them before predictions are."""
    same = {
        "ltv_tier_cutoffs": yardstick.tiers.cutoffs(),
        "churn_risk": None,
        "churn_risk_score": None,
        "as_of": as_of.isoformat(),
    }
    return "," + _inside(same)


def _traits(axes: Sequence[PlacedAxis], values: Mapping[str, Array], yardstick: Yardstick) -> list[list[str]]:
    return traits(yardstick.norms, [each.axis for each in axes], [each.dominant for each in axes], values)


def _inside(members: Mapping[str, Any]) -> str:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False, allow_nan=False)[1:-1]


def _struct(columns: Mapping[str, Any]) -> pl.Series:
    return pl.DataFrame(columns).select(pl.struct(pl.all())).to_series()
