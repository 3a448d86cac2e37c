"""What a run found, as it is stored, printed and written with --json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.domain.rfm import CELLS, GROUPS, SCORES
from app.segmentation.axes import AxisStatus, Source
from app.segmentation.clustering import MIN_SHARE, FittedAxis
from app.segmentation.discovery import BLURRED, DiscoveredAxis, Discovery
from app.segmentation.evidence import Redundancy, picture, redundancy, says, says_of_overlap, told_by, verdict
from app.segmentation.membership import Array
from app.segmentation.readings import MIN_READERS, MIN_TICKETS, Reading
from app.warehouse.stores import Store

#: The sizes an archetype is useful at: enough members to speak of, few enough to be one kind.
USEFUL_SIZES = (5, 500)
MOST_VALUABLE = 10
_NMI_DECIMALS = 4


def run_report(
    store: Store,
    discovery: Discovery,
    star: Mapping[str, pl.DataFrame],
    values: Mapping[str, Array],
    *,
    as_of: datetime,
    orders_after: int,
) -> dict[str, Any]:
    """Plain data: per axis what was tried and found, and how the archetypes cover the shop. Shares are 0..1.

    values       : feature -> (n_customers,), those that were segmented
    orders_after : orders of the store that are not counted, of whomever
    """
    n_customers = star["fact_customer_current"].height
    silent = [
        {
            "axis": axis.name,
            "measures": axis.measures,
            "status": AxisStatus.no_data.value,
            "note": f"the store's records hold no {axis.need.value}",
        }
        for axis in discovery.silent
    ]
    overlaps = redundancy(discovery.axes)
    return {
        "store_id": store.store_id,
        "currency": store.currency,
        "as_of": as_of.isoformat(),
        "orders_after": orders_after,
        "n_customers": n_customers,
        "axes": [_axis(axis, overlaps, values) for axis in discovery.axes] + silent,
        "redundancy": {"axes": list(overlaps.names), "nmi": overlaps.nmi.round(_NMI_DECIMALS).tolist()},
        "archetypes": {
            **_sizes(star, n_customers),
            **_folding(discovery.archetypes.fold_distance),
            "band_limits": list(discovery.archetypes.band_limits),
            "order": [
                discovery.signature[axis].axis.name for axis in discovery.archetypes.order if discovery.signature
            ],
            "least_members": discovery.archetypes.least,
            "level3_otherwise": _level3_otherwise(star["dim_archetype_l3"]),
        },
        "rfm": {"scores": dict(SCORES), "groups": _rfm_groups(star["fact_customer_current"])},
    }


def renewed_report(
    report: Mapping[str, Any],
    star: Mapping[str, pl.DataFrame],
    fold_distance: NDArray[np.int64],
    *,
    as_of: datetime,
    orders_after: int,
) -> dict[str, Any]:
    """The report of the run whose rules a rescoring went by, with what is counted counted anew.

    What was tried and found when the segments were discovered stays as it was.
    """
    current = star["fact_customer_current"]
    return {
        **report,
        "as_of": as_of.isoformat(),
        "orders_after": orders_after,
        "n_customers": current.height,
        "axes": [_recounted(axis, star["dim_segment_master"], current.height) for axis in report["axes"]],
        "archetypes": {**report["archetypes"], **_sizes(star, current.height), **_folding(fold_distance)},
        "rfm": {"scores": dict(SCORES), "groups": _rfm_groups(current)},
    }


def _recounted(axis: Mapping[str, Any], segments: pl.DataFrame, n_customers: int) -> dict[str, Any]:
    """An axis of a report with the counts of its segments' rows."""
    if "segments" not in axis:
        return dict(axis)
    rows = {row["segment_id"]: row for row in segments.iter_rows(named=True)}
    told = [
        {
            **segment,
            "count": rows[segment["segment_id"]]["customer_count"],
            "share": rows[segment["segment_id"]]["customer_count"] / n_customers,
            "interpretation": rows[segment["segment_id"]]["interpretation"],
        }
        for segment in axis["segments"]
    ]
    readings = []
    for reading in axis.get("readings", []):
        mine = [segment for segment in told if segment["source"] == reading["source"]]
        count = sum(segment["count"] for segment in mine)
        smallest = min(segment["share"] for segment in mine)
        readings.append({**reading, "n_customers": count, "share": count / n_customers, "smallest_share": smallest})
    return {
        **axis,
        "segments": told,
        "smallest_share": min(segment["share"] for segment in told),
        "readings": readings,
    }


def _sizes(star: Mapping[str, pl.DataFrame], n_customers: int) -> dict[str, Any]:
    return {
        "levels": {level: _level(star[f"dim_archetype_l{level}"], n_customers) for level in (1, 2, 3)},
        "most_valuable": _most_valuable(star["dim_archetype_l1"]),
    }


def _rfm_groups(customers: pl.DataFrame) -> list[dict[str, Any]]:
    """All ten groups with the means of their customers; None for the means of a group without any."""
    found = customers.group_by("rfm_group").agg(
        pl.len().alias("count"),
        pl.col("lifetime_value").mean().round(4).alias("avg_ltv"),
        pl.col("days_since_last_purchase").mean().alias("avg_recency_days"),
        pl.col("total_orders").mean().alias("avg_orders"),
    )
    every = pl.DataFrame({"rfm_group": [group.value for group in GROUPS]})
    rows = every.join(found, on="rfm_group", how="left", maintain_order="left").with_columns(
        pl.col("count").fill_null(0)
    )
    return [
        {
            "group": row["rfm_group"],
            "meaning": CELLS[group].meaning,
            "count": row["count"],
            "share": row["count"] / customers.height,
            "avg_ltv": row["avg_ltv"],
            "avg_recency_days": row["avg_recency_days"],
            "avg_orders": row["avg_orders"],
        }
        for group, row in zip(GROUPS, rows.iter_rows(named=True), strict=True)
    ]


def _most_valuable(archetypes: pl.DataFrame) -> list[dict[str, Any]]:
    """The archetypes whose members are worth most together, the first ten."""
    columns = ("archetype_id", "name", "member_count", "population_percentage", "avg_ltv", "total_ltv")
    return archetypes.sort("total_ltv", descending=True).head(MOST_VALUABLE).select(columns).to_dicts()


def _axis(found: DiscoveredAxis, overlaps: Redundancy, values: Mapping[str, Array]) -> dict[str, Any]:
    """One axis. Its silhouettes and stability are those of its main reading, its verdict that of the reading with
    groups; k and smallest_share are of all its segments.
    """
    fitted, overlap = found.fitted, overlaps.of(found.axis.name)
    return {
        "axis": found.axis.name,
        "measures": found.axis.measures,
        "status": found.status.value,
        "k": len(found.segments),
        "silhouette": fitted.silhouette,
        "null_silhouette": fitted.null_silhouette,
        "smallest_share": min(segment.share for segment in found.segments),
        "has_structure": found.has_structure,
        "stability": _stability(fitted),
        "verdict": verdict(found, told_by(found)).value,
        "says": _says(found, overlap),
        "redundancy": [{"axis": other, "nmi": round(nmi, _NMI_DECIMALS)} for other, nmi in overlap],
        "note": _note(found),
        "readings": [_reading(found, reading, values) for reading in found.readings],
        "segments": [
            {
                "segment_id": segment.segment_id,
                "name": segment.name,
                "count": segment.count,
                "share": segment.share,
                "source": segment.source.value,
                "interpretation": segment.interpretation,
            }
            for segment in found.segments
        ],
    }


def _says(found: DiscoveredAxis, overlap: Sequence[tuple[str, float]]) -> str:
    told = [says(found, reading) for reading in found.readings]
    if len(told) > 1:
        told = [f"Read from {reading.source.value}: {each}" for reading, each in zip(found.readings, told, strict=True)]
    return " ".join(filter(None, [*told, says_of_overlap(overlap)]))


def _stability(fitted: FittedAxis) -> dict[str, Any] | None:
    return None if fitted.stability is None else asdict(fitted.stability)


def _reading(found: DiscoveredAxis, reading: Reading, values: Mapping[str, Array]) -> dict[str, Any]:
    """Customers read from one source. Shares are of all customers."""
    count, fitted = found.count(reading), reading.fitted
    return {
        "source": reading.source.value,
        "n_customers": count,
        "share": count / len(found.dominant),
        "k": fitted.n_segments,
        "silhouette": fitted.silhouette,
        "null_silhouette": fitted.null_silhouette,
        "smallest_share": min(segment.share for segment in found.segments[reading.positions]),
        "has_structure": fitted.has_structure,
        "stability": _stability(fitted),
        "tried": [asdict(each) for each in fitted.tried],
        "verdict": verdict(found, reading).value,
        "says": says(found, reading),
        "note": _structure(found, reading),
        "picture": picture(found, reading, values).stored(),
    }


def _note(found: DiscoveredAxis) -> str:
    """What to know of an axis. The number of customers in it is kept from who may not see any (`api.anonymous`)."""
    main = found.main
    structure = _structure(found, main) if main.fitted.has_structure == found.has_structure else ""
    if found.askers is None:
        return structure or (found.axis.stand_in if found.status is AxisStatus.proxy else "")
    return "; ".join(part for part in (structure, _sources(found, found.askers)) if part)


def _structure(found: DiscoveredAxis, reading: Reading) -> str:
    fitted = reading.fitted
    if found.axis.quiet and reading.source is Source.orders:
        return f"no_structure: fewer than {MIN_TICKETS} tickets tell nothing more"
    if found.undivided(reading):
        return f"no_structure: fewer than {MIN_READERS} customers, too few to look for groups"
    if fitted.silhouette is None or fitted.null_silhouette is None:
        return f"no_structure: no split tried keeps every segment at {100 * MIN_SHARE:.0f} % of customers"
    if not fitted.has_structure:
        return "no_structure: a continuum, no better split than one cloud of the same shape"
    return "segments blur into each other: try a lower --max-k" if fitted.silhouette < BLURRED else ""


def _sources(found: DiscoveredAxis, askers: int) -> str:
    """From what the customers of a shop with tickets are read."""
    if askers < MIN_READERS:
        enough = f"{askers} of the {MIN_READERS} customers it takes have {MIN_TICKETS} or more tickets"
        return enough if found.axis.quiet else f"{found.axis.stand_in}: {enough}"
    if len(found.readings) == 1:
        return ""
    share = 100 * askers / len(found.dominant)
    others = found.axis.quiet if found.axis.quiet else "read from orders"
    return f"tickets speak for {share:.1f} % of customers; the others are {others}"


def _level(archetypes: pl.DataFrame, n_customers: int) -> dict[str, Any]:
    sizes = archetypes["member_count"].to_numpy()
    useful = (sizes >= USEFUL_SIZES[0]) & (sizes <= USEFUL_SIZES[1])
    return {
        "count": len(sizes),
        "smallest": int(sizes.min()),
        "largest": int(sizes.max()),
        "in_useful_sizes": float(sizes[useful].sum() / n_customers),
    }


def _level3_otherwise(level3: pl.DataFrame) -> dict[str, str]:
    """Of archetypes whose members all lean somewhere: the form that takes in who leans elsewhere, or nowhere.

    It is the largest. A rescoring counts anew and keeps to it, or customers would change their form because others did.
    """
    largest = level3.sort(["member_count", "archetype_id"], descending=[True, False])
    plain = level3.filter(pl.col("second_segments") == "{}")
    without = largest.join(plain, on="parent_id", how="anti").unique("parent_id", keep="first", maintain_order=True)
    return dict(without.select("parent_id", "archetype_id").iter_rows())


def _folding(distance: NDArray[np.int64]) -> dict[str, Any]:
    """distance : (n_customers,) axes on which each differs from their archetype"""
    folded = distance[distance > 0]
    by_axes = np.bincount(folded) if len(folded) else np.zeros(0, dtype=np.int64)
    return {
        "own_signature_share": float(1 - len(folded) / len(distance)),
        "folded_share": float(len(folded) / len(distance)),
        "mean_fold_distance": float(folded.mean()) if len(folded) else 0.0,
        "folded_by_distance": {str(axes): int(n) for axes, n in enumerate(by_axes) if n},
    }
