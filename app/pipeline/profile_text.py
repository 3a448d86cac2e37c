"""The ready text of a profile: what is served of a customer, whoever asks.

It is the inside of a JSON object, without its braces: the answer's head says who the customer is, which depends on who
asks. Most of it is the same for every customer of a run: the names of axes and segments, and what stands around them.
That part is the run's `ProfileForm`, read once; what is a customer's own is written with them, as the text it is put
out as, and set into the form when they are asked for.

A run writes everyone's at once (`own_texts`), scoring one customer writes theirs (`own_text`); a test compares the two.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from app.domain.features import GAP_STAND_IN_DAYS
from app.domain.profile_form import BETWEEN, ProfileForm
from app.domain.value_tiers import TIERS
from app.pipeline.placing import PlacedAxis, Standing
from app.pipeline.yardstick import Yardstick
from app.segmentation.membership import Array, strength_codes
from app.segmentation.norms import worded_traits

_CENTS = 4  # as the database keeps money
_encoded = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def profile_form(axes: Sequence[PlacedAxis], yardstick: Yardstick) -> ProfileForm:
    """The form of a run's profiles, as reading it back gives it."""
    return ProfileForm(
        [(axis.axis.name, list(axis.names), [source.value for source in axis.sources]) for axis in axes],
        cutoffs=yardstick.tiers.cutoffs(),
    )


def own_texts(
    axes: Sequence[PlacedAxis],
    standing: Standing,
    values: Mapping[str, Array],
    *,
    yardstick: Yardstick,
    as_of: datetime,
) -> pl.Series:
    """What is each customer's own, in their order. values : the metrics and features, each (n_customers,)"""
    n_customers = len(values["lifetime_value"])
    gap = pl.Series(values["avg_days_between_orders"])
    tiers = yardstick.tiers
    strengths = np.stack([strength_codes(axis.memberships) for axis in axes], axis=1).astype(np.uint8) + ord("0")
    own = pl.DataFrame(
        {
            "level2": standing.level2,
            "level3": standing.level3,
            "fold_distance": standing.fold_distance,
            "strengths": np.ascontiguousarray(strengths).view(f"S{len(axes)}").ravel().astype(str),
            "traits": _traits_json(axes, values, yardstick),
            "lifetime_value": pl.Series(values["lifetime_value"]).round(_CENTS),
            "total_orders": pl.Series(values["total_orders"]).cast(pl.Int64),
            "avg_order_value": pl.Series(values["avg_order_value"]).round(_CENTS),
            "days_since_last_purchase": pl.Series(values["recency_days"]).cast(pl.Int64),
            "customer_tenure_days": pl.Series(values["tenure_days"]).cast(pl.Int64),
            "usual_gap_days": gap.set(gap == GAP_STAND_IN_DAYS, None).round(1).cast(pl.String).fill_null("null"),
            "tier": pl.Series([tier.value for tier in TIERS])[tiers.codes(values["lifetime_value"])],
            "top_percent": tiers.top_percent(values["lifetime_value"]),
            "as_of": [as_of.isoformat()] * n_customers,
        }
    )
    return own.select(pl.concat_str(pl.all(), separator=BETWEEN)).to_series()


def own_text(
    axes: Sequence[PlacedAxis],
    standing: Standing,
    values: Mapping[str, Array],
    *,
    yardstick: Yardstick,
    as_of: datetime,
) -> str:
    """What is one customer's own: arrays hold one row."""
    worth, gap = values["lifetime_value"], float(values["avg_days_between_orders"][0])
    own = (
        *(standing.level2[0], standing.level3[0], int(standing.fold_distance[0])),
        "".join(str(int(strength_codes(axis.memberships)[0])) for axis in axes),
        _traits_json(axes, values, yardstick)[0],
        round(float(worth[0]), _CENTS),
        int(values["total_orders"][0]),
        round(float(values["avg_order_value"][0]), _CENTS),
        int(values["recency_days"][0]),
        int(values["tenure_days"][0]),
        "null" if gap == GAP_STAND_IN_DAYS else round(gap, 1),
        TIERS[int(yardstick.tiers.codes(worth)[0])].value,
        float(yardstick.tiers.top_percent(worth)[0]),
        as_of.isoformat(),
    )
    return BETWEEN.join(str(each) for each in own)


def _traits_json(axes: Sequence[PlacedAxis], values: Mapping[str, Array], yardstick: Yardstick) -> pl.Series:
    texts, places = worded_traits(
        yardstick.norms, [each.axis for each in axes], [each.dominant for each in axes], values
    )
    encoded = pl.Series([*(_encoded(text) for text in texts), None], dtype=pl.String)  # NO_TRAIT is the last
    told = pl.DataFrame([encoded[of_rank % len(encoded)] for of_rank in places])
    return told.select(pl.lit("[") + pl.concat_str(pl.all(), separator=",", ignore_nulls=True) + "]").to_series()
