"""What a run found, as it is stored, printed and written with --json."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from app.segmentation.axes import AxisStatus, Source
from app.segmentation.clustering import MIN_SHARE
from app.segmentation.discovery import BLURRED, DiscoveredAxis, Discovery
from app.segmentation.readings import MIN_READERS, MIN_TICKETS, Reading
from app.warehouse.stores import Store

#: The sizes an archetype is useful at: enough members to speak of, few enough to be one kind.
USEFUL_SIZES = (5, 500)
MOST_VALUABLE = 10


def run_report(
    store: Store, discovery: Discovery, star: Mapping[str, pl.DataFrame], *, as_of: datetime, orders_after: int
) -> dict[str, Any]:
    """Plain data: per axis what was tried and found, and how the archetypes cover the shop. Shares are 0..1.

    orders_after : orders of the store that as_of leaves out
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
    return {
        "store_id": store.store_id,
        "currency": store.currency,
        "as_of": as_of.isoformat(),
        "orders_after": orders_after,
        "n_customers": n_customers,
        "axes": [_axis(axis) for axis in discovery.axes] + silent,
        "archetypes": {
            "levels": {level: _level(star[f"dim_archetype_l{level}"], n_customers) for level in (1, 2, 3)},
            **_folding(discovery),
            "most_valuable": _most_valuable(star["dim_archetype_l1"]),
        },
    }


def _most_valuable(archetypes: pl.DataFrame) -> list[dict[str, Any]]:
    """The archetypes whose members are worth most together, the first ten."""
    columns = ("archetype_id", "name", "member_count", "population_percentage", "avg_ltv", "total_ltv")
    return archetypes.sort("total_ltv", descending=True).head(MOST_VALUABLE).select(columns).to_dicts()


def _axis(found: DiscoveredAxis) -> dict[str, Any]:
    """One axis. Its silhouettes are those of its main reading; k and smallest_share are of all its segments."""
    fitted = found.fitted
    return {
        "axis": found.axis.name,
        "measures": found.axis.measures,
        "status": found.status.value,
        "k": len(found.segments),
        "silhouette": fitted.silhouette,
        "null_silhouette": fitted.null_silhouette,
        "smallest_share": min(segment.share for segment in found.segments),
        "has_structure": found.has_structure,
        "note": _note(found),
        "readings": [_reading(found, reading) for reading in found.readings],
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


def _reading(found: DiscoveredAxis, reading: Reading) -> dict[str, Any]:
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
        "note": _structure(found, reading),
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


def _folding(discovery: Discovery) -> dict[str, Any]:
    distance = discovery.archetypes.fold_distance
    folded = distance[distance > 0]
    by_axes = np.bincount(folded) if len(folded) else np.zeros(0, dtype=np.int64)
    return {
        "own_signature_share": discovery.archetypes.kept_share,
        "folded_share": float(len(folded) / len(distance)),
        "mean_fold_distance": float(folded.mean()) if len(folded) else 0.0,
        "band_limits": list(discovery.archetypes.band_limits),
        "folded_by_distance": {str(axes): int(n) for axes, n in enumerate(by_axes) if n},
    }
