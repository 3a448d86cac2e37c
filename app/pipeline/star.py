"""What a run writes into the star: a discovery, as the rows of each table."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.segmentation.archetypes import BANDS, NONE_CLOSE, archetype_ids, mean_top_membership
from app.segmentation.discovery import DiscoveredAxis, Discovery, Segment
from app.segmentation.membership import STRENGTHS, Array, strength_codes
from app.segmentation.naming import EVERYONE

#: Digits kept of memberships and features in JSON: far below what matters, and equal to 1e-9 when read back.
_DECIMALS = 12


@dataclass(frozen=True, slots=True)
class PlacedAxis:
    """Customers on one axis. names : of its k segments; memberships : (n_customers, k)"""

    axis_name: str
    feature_names: tuple[str, ...]
    names: tuple[str, ...]
    memberships: Array
    in_signature: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """Customers' archetypes. level1, level2, level3 : ids; fold_distance : axes on which they differ from level 1"""

    level1: Sequence[str]
    level2: Sequence[str]
    level3: Sequence[str]
    fold_distance: NDArray[np.int64]


def placed(axis: DiscoveredAxis) -> PlacedAxis:
    return PlacedAxis(
        axis_name=axis.axis.name,
        feature_names=axis.fitted.features,
        names=tuple(segment.name for segment in axis.segments),
        memberships=axis.memberships,
        in_signature=axis.fitted.has_structure,
    )


def star_of(
    discovery: Discovery, customer_ids: Sequence[str], values: Mapping[str, Array], *, snapshot: date
) -> dict[str, pl.DataFrame]:
    """Rows for every table of a run, by table name; the keys store_id and run_id are added on writing.

    values : the metrics and features of `domain.features`, each (n_customers,)
    """
    dimensions, standing = _archetypes(discovery, values)
    facts = customer_rows(customer_ids, values, [placed(axis) for axis in discovery.axes], standing, snapshot=snapshot)
    segment_ids = pl.DataFrame(
        [
            pl.Series(axis.axis.name, [each.segment_id for each in axis.segments])[axis.dominant]
            for axis in discovery.axes
        ]
    )
    current = facts["fact_customer_current"]
    history = current.select(
        *("customer_id", "snapshot_date", "archetype_id", "archetype_level2_id", "archetype_level3_id"),
        *("lifetime_value", "total_orders", "days_since_last_purchase", "customer_tenure_days"),
    ).with_columns(segment_ids=_array(segment_ids))
    return {"dim_segment_master": _segments(discovery), **dimensions, **facts, "fact_customer_history": history}


def customer_rows(
    customer_ids: Sequence[str],
    values: Mapping[str, Array],
    axes: Sequence[PlacedAxis],
    standing: Standing,
    *,
    snapshot: date,
) -> dict[str, pl.DataFrame]:
    """Rows of `fact_customer_current` and `customer_profiles`, of a whole shop or of one customer."""
    dominant = [pl.Series(axis.axis_name, axis.names)[axis.memberships.argmax(axis=1)] for axis in axes]
    words = pl.Series(STRENGTHS, dtype=pl.String)
    strengths = [words[strength_codes(axis.memberships)].alias(axis.axis_name) for axis in axes]
    clear = [axis.memberships for axis in axes if axis.in_signature] or [np.ones((len(customer_ids), 1))]
    named = pl.DataFrame(dominant)
    dominant_json = _json(named)
    money = {name: np.round(values[name], 4) for name in ("lifetime_value", "avg_order_value")}
    current = pl.DataFrame(
        {
            "customer_id": customer_ids,
            "archetype_id": standing.level1,
            "archetype_level2_id": standing.level2,
            "archetype_level3_id": standing.level3,
            "lifetime_value": money["lifetime_value"],
            "total_orders": values["total_orders"].astype(np.int64),
            "days_since_last_purchase": values["recency_days"].astype(np.int64),
            "customer_tenure_days": values["tenure_days"].astype(np.int64),
            "avg_order_value": money["avg_order_value"],
            "dominant_segments": dominant_json,
            "membership_strengths": _json(pl.DataFrame(strengths)),
            "cluster_confidence": np.round(mean_top_membership(clear), _DECIMALS),
            "fold_distance": standing.fold_distance,
            "snapshot_date": [snapshot] * len(customer_ids),
        }
    )
    profiles = pl.DataFrame(
        {
            "customer_id": customer_ids,
            "archetype_id": standing.level1,
            "segment_memberships": _nested_json(
                {axis.axis_name: dict(zip(axis.names, axis.memberships.T, strict=True)) for axis in axes}
            ),
            "dominant_segments": dominant_json,
            "feature_vectors": _nested_json(
                {axis.axis_name: {name: values[name] for name in axis.feature_names} for axis in axes}
            ),
            "interpretation": named.select(pl.concat_str(pl.all(), separator=", ")).to_series(),
            "lifetime_value": money["lifetime_value"],
        }
    )
    return {"fact_customer_current": current, "customer_profiles": profiles}


def _segments(discovery: Discovery) -> pl.DataFrame:
    rows = [
        {
            "segment_id": segment.segment_id,
            "axis_name": axis.axis.name,
            "position": position,
            "segment_name": segment.name,
            "interpretation": segment.interpretation,
            "cluster_center": _dumped(axis.fitted.centers[position].tolist()),
            "scaler_params": _dumped(axis.fitted.scaler_params()),
            "population_percentage": 100 * segment.share,
            "customer_count": segment.count,
        }
        for axis in discovery.axes
        for position, segment in enumerate(axis.segments)
    ]
    return pl.DataFrame(rows)


def _archetypes(discovery: Discovery, values: Mapping[str, Array]) -> tuple[dict[str, pl.DataFrame], Standing]:
    """The three dimension tables, and everyone's place in them."""
    found = discovery.archetypes
    axes = discovery.signature
    # Where no axis has structure there is one archetype of one made-up column: everyone.
    rows = [list(zip(axes, row, strict=False)) for row in found.signatures]
    segments = [[axis.segments[code] for axis, code in row] for row in rows]
    signatures = [[segment.segment_id for segment in row] or ["everyone"] for row in segments]
    level1_ids = archetype_ids(signatures)
    names = _archetype_names(discovery)

    level1 = _dimension(found.level1, values, level1_ids, names).with_columns(
        dominant_segments=pl.Series(
            [_dumped({axis.axis.name: axis.segments[code].name for axis, code in row}) for row in rows]
        ),
        segment_ids=pl.Series(["{" + ",".join(row) + "}" for row in signatures]),
        folded_count=np.bincount(found.level1[found.fold_distance > 0], minlength=len(level1_ids)),
    )
    parents2 = found.level2_of[:, 0]
    bands = [BANDS[band] for band in found.level2_of[:, 1]]
    level2_ids = [f"{level1_ids[parent]}_{band}" for parent, band in zip(parents2, bands, strict=True)]
    level2 = _dimension(
        found.level2,
        values,
        level2_ids,
        [f"{names[p]}, {band.title()}" for p, band in zip(parents2, bands, strict=True)],
    ).with_columns(parent_id=pl.Series([level1_ids[p] for p in parents2]), strength_band=pl.Series(bands))

    leaning = [
        {axis.axis.name: axis.segments[code] for axis, code in zip(axes, row, strict=False) if code != NONE_CLOSE}
        for row in found.seconds
    ]
    level3_ids = _level3_ids(level1_ids, found.level3_of, leaning)
    level3_names = [
        names[parent] + (", Leaning " + " and ".join(_words(s.name) for s in seconds.values()) if seconds else "")
        for parent, seconds in zip(found.level3_of, leaning, strict=True)
    ]
    level3 = _dimension(found.level3, values, level3_ids, level3_names).with_columns(
        parent_id=pl.Series([level1_ids[p] for p in found.level3_of]),
        second_segments=pl.Series([_dumped({axis: s.name for axis, s in seconds.items()}) for seconds in leaning]),
    )
    standing = Standing(
        level1=pl.Series(level1_ids)[found.level1].to_list(),
        level2=pl.Series(level2_ids)[found.level2].to_list(),
        level3=pl.Series(level3_ids)[found.level3].to_list(),
        fold_distance=found.fold_distance,
    )
    return {"dim_archetype_l1": level1, "dim_archetype_l2": level2, "dim_archetype_l3": level3}, standing


def _dimension(
    group: NDArray[np.int64], values: Mapping[str, Array], ids: Sequence[str], names: Sequence[str]
) -> pl.DataFrame:
    """The columns all three archetype tables share. group : (n_customers,) number of each customer's archetype"""
    n_groups = len(ids)
    members = np.bincount(group, minlength=n_groups)
    share = members / len(group)

    worth, orders, recency = (
        np.bincount(group, weights=values[name], minlength=n_groups)
        for name in ("lifetime_value", "total_orders", "recency_days")
    )
    descriptions = [
        f"{count:,} customers ({100 * part:.1f} %) with {spent:,.2f} spent over {n_orders:.1f} orders on average, "
        f"the last {days:.0f} days ago."
        for count, part, spent, n_orders, days in zip(
            members, share, worth / members, orders / members, recency / members, strict=True
        )
    ]
    return pl.DataFrame(
        {
            "archetype_id": ids,
            "name": names,
            "slug": [re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names],
            "description": descriptions,
            "member_count": members,
            "population_percentage": 100 * share,
            "avg_ltv": np.round(worth / members, 4),
            "total_ltv": np.round(worth, 4),
            "avg_orders": orders / members,
            "avg_order_value": np.round(worth / orders, 4),
            "avg_recency_days": recency / members,
        }
    )


def _archetype_names(discovery: Discovery) -> list[str]:
    """A name for each level-1 archetype: what its members spend, how often, and what sets them apart from the others.

    Starts from the two axes people ask for first and adds, for archetypes that still share a name, the segment that the
    fewest of them have, until no two are alike.
    """
    axes, signatures = discovery.signature, discovery.archetypes.signatures
    if not axes:
        return [_words(EVERYONE)]
    by_name = {axis.axis.name: number for number, axis in enumerate(axes)}
    lead = [by_name[name] for name in ("purchase_value", "purchase_frequency") if name in by_name]
    chosen = [list(lead) for _ in signatures]
    while True:
        names = [
            ", ".join(_words(axes[number].segments[signature[number]].name) for number in numbers)
            for signature, numbers in zip(signatures, chosen, strict=True)
        ]
        alike: dict[str, list[int]] = {}
        for archetype, name in enumerate(names):
            alike.setdefault(name, []).append(archetype)
        unclear = [archetype for name, group in alike.items() if len(group) > 1 or not name for archetype in group]
        unclear = [archetype for archetype in unclear if len(chosen[archetype]) < len(axes)]
        if not unclear:
            return names
        # How many of those who share its name share each of its segments.
        sharing = {each: (signatures[alike[names[each]]] == signatures[each]).sum(axis=0) for each in unclear}
        for archetype, shared in sharing.items():
            left = [number for number in range(len(axes)) if number not in chosen[archetype]]
            chosen[archetype].append(min(left, key=shared.__getitem__))


def _level3_ids(
    level1_ids: Sequence[str], parents: NDArray[np.int64], leaning: Sequence[Mapping[str, Segment]]
) -> list[str]:
    """Level-1 id and digits of what they lean to; 0 where they lean to nothing."""
    signatures = [
        [level1_ids[parent], *(f"{axis}={segment.segment_id}" for axis, segment in seconds.items())]
        for parent, seconds in zip(parents, leaning, strict=True)
    ]
    digits = archetype_ids(signatures, prefix="")
    return [
        f"{signature[0]}_{own if len(signature) > 1 else 0}" for signature, own in zip(signatures, digits, strict=True)
    ]


def _words(name: str) -> str:
    return name.replace("_", " ").title()


def _dumped(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _json(frame: pl.DataFrame) -> pl.Series:
    """One JSON object per row, its keys the columns."""
    return frame.select(pl.struct(pl.all()).struct.json_encode()).to_series()


def _nested_json(columns: Mapping[str, Mapping[str, Array]]) -> pl.Series:
    """One JSON object of objects of numbers per row: {outer: {inner: number}}."""
    frame = pl.DataFrame(
        {f"{outer}/{inner}": values for outer, inners in columns.items() for inner, values in inners.items()}
    )
    outers = [
        pl.struct(pl.col(f"{outer}/{inner}").round(_DECIMALS).alias(inner) for inner in inners).alias(outer)
        for outer, inners in columns.items()
    ]
    return frame.select(pl.struct(outers).struct.json_encode()).to_series()


def _array(frame: pl.DataFrame) -> pl.Series:
    """One Postgres array literal per row. The values hold nothing that needs quoting."""
    return frame.select(pl.format("{{{}}}", pl.concat_str(pl.all(), separator=","))).to_series()
