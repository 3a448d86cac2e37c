"""Where the segments and archetypes of a run come from, as rows; and how many customers changed theirs, and why."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from app.segmentation.discovery import AxisDescent, DiscoveredAxis, Discovery
from app.segmentation.identity import NOBODY, EarlierKind, Fate, Step, drift

SCHEMA = {
    "step": pl.Int64,
    "previous_run_id": pl.Int64,
    "fate": pl.String,
    "previous_id": pl.String,
    "previous_name": pl.String,
    "current_id": pl.String,
    "current_name": pl.String,
    "share_of_previous": pl.Float64,
    "share_of_current": pl.Float64,
    "previous_customers": pl.Int64,
    "current_customers": pl.Int64,
    "renamed": pl.Boolean,
    "changes": pl.String,
    "says": pl.String,
}
SEGMENT_SCHEMA = {"axis_name": pl.String, **SCHEMA}


def segment_lineage(discovery: Discovery) -> pl.DataFrame:
    """Rows of `segment_lineage`; none for a first run."""
    rows: list[dict[str, Any]] = []
    for axis in discovery.axes:
        if discovery.earlier is None or axis.lineage is None:
            continue
        found = axis.lineage
        before = [(segment.segment_id, segment.name) for segment in found.before.segments]
        now = [(segment.segment_id, segment.name) for segment in axis.segments]
        sizes = (_sizes(found.placed, len(before)), _sizes(axis.dominant, len(now)))
        for step in found.descent.steps:
            heir = step.now is not None and found.descent.heir_of[step.now] == step.before
            changes = found.changes[step.now] if heir and step.now is not None else ()
            rows.append(
                {
                    "axis_name": axis.axis.name,
                    "step": len(rows),
                    "previous_run_id": discovery.earlier.run_id,
                    **_row(step, before, now, sizes, heir=heir, changes=[asdict(change) for change in changes]),
                }
            )
    return pl.DataFrame(rows, schema=SEGMENT_SCHEMA, orient="row")


def archetype_lineage(
    discovery: Discovery, ids: Sequence[str], names: Sequence[str], now: Sequence[Mapping[str, str]]
) -> pl.DataFrame:
    """Rows of `archetype_lineage`; none for a first run.

    ids, names : of this run's archetypes of level 1; now : {axis: segment name} that most of each one's members have
    """
    rows: list[dict[str, Any]] = []
    earlier, found = discovery.earlier, discovery.kinds
    if earlier is not None and found is not None:
        before = [(kind.archetype_id, kind.name) for kind in earlier.kinds]
        kinds = list(zip(ids, names, strict=True))
        sizes = (_sizes(found.placed, len(before)), _sizes(discovery.archetypes.level1, len(ids)))
        for step in found.descent.steps:
            heir = step.now is not None and found.descent.heir_of[step.now] == step.before
            changes = []
            if heir and step.now is not None and step.before is not None:
                changes = kind_changes(earlier.kinds[step.before], now[step.now])
            rows.append(
                {
                    "step": len(rows),
                    "previous_run_id": earlier.run_id,
                    **_row(step, before, kinds, sizes, heir=heir, changes=changes),
                }
            )
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def kind_changes(before: EarlierKind, now: Mapping[str, str]) -> list[dict[str, Any]]:
    """The axes on which most of an archetype's members have another segment than before, or that say no more."""
    axes = [axis for axis, segment in before.usual.items() if now.get(axis) != segment]
    return [
        {
            "axis": axis,
            "before": before.usual[axis],
            "now": now.get(axis),
            "says": f"{axis}: {before.usual[axis]} → {now.get(axis, 'any')}",
        }
        for axis in axes
    ]


def since(segments: pl.DataFrame, archetypes: pl.DataFrame) -> dict[str, Any]:
    """What became of the run before, in short, from the rows of both tables.

    segments   : the steps of those that do not go on as they were: {axis, fate, renamed, says}
    archetypes : how many are kept, of those how many renamed, are new, are gone; None where that cannot be said
    """
    told = segments.filter((pl.col("fate") != Fate.continued.value) | pl.col("renamed"))
    kinds = None
    if archetypes.height:
        before, now = (set(archetypes[name].drop_nulls()) for name in ("previous_id", "current_id"))
        kinds = {
            "kept": len(before & now),
            "renamed": int(archetypes["renamed"].sum()),
            "new": len(now - before),
            "gone": len(before - now),
        }
    steps = told.select(axis="axis_name", fate="fate", renamed="renamed", says="says")
    return {"segments": steps.to_dicts(), "archetypes": kinds}


def _sizes(groups: Any, n: int) -> list[int]:
    sizes: list[int] = np.bincount(groups, minlength=n).tolist()
    return sizes


def _row(
    step: Step,
    before: Sequence[tuple[str, str]],
    now: Sequence[tuple[str, str]],
    sizes: tuple[Sequence[int], Sequence[int]],
    *,
    heir: bool,
    changes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    previous_id, previous_name = (None, None) if step.before is None else before[step.before]
    current_id, current_name = (None, None) if step.now is None else now[step.now]
    renamed = heir and previous_name != current_name
    return {
        "fate": step.fate.value,
        "previous_id": previous_id,
        "previous_name": previous_name,
        "current_id": current_id,
        "current_name": current_name,
        "share_of_previous": step.of_before,
        "share_of_current": step.of_now,
        "previous_customers": None if step.before is None else sizes[0][step.before],
        "current_customers": None if step.now is None else sizes[1][step.now],
        "renamed": renamed,
        "changes": json.dumps(list(changes), ensure_ascii=False),
        "says": _says(step, previous_name, current_name, heir=heir, changes=changes),
    }


def _says(step: Step, before: str | None, now: str | None, *, heir: bool, changes: Sequence[Mapping[str, Any]]) -> str:
    part = f"{100 * (step.of_before or 0):.0f} % of its customers"
    stays = heir and before == now
    told = {
        Fate.continued: f"{now} goes on: {part} are in it still.",
        Fate.split: f"{before} has split: {part} " + ("stay in it." if stays else f"are in {now}."),
        Fate.merged: f"{now} takes in another and keeps {part}."
        if stays
        else f"{before} has merged into {now}: {part}.",
        Fate.born: f"{now} is new: it goes on from none of the run before.",
        Fate.retired: f"{before} is no more: none of this run goes on from it.",
    }[step.fate]
    if heir and before != now:
        told += f" It was called {before}."
    if changes:
        told += " Changed: " + "; ".join(change["says"] for change in changes) + "."
    return told


def drifts(discovery: Discovery, customer_ids: Sequence[str], stood: pl.DataFrame | None) -> dict[str, dict[str, Any]]:
    """{axis: how many customers changed their segment since the run before, and why}.

    stood : of that run, `customer_id` and a column per axis with the id of each one's segment
    """
    if stood is None:
        return {}
    known = pl.DataFrame({"customer_id": customer_ids}).with_row_index("row").join(stood, on="customer_id")
    rows = known["row"].to_numpy()
    told = {}
    for axis in discovery.axes:
        if axis.lineage is None or axis.axis.name not in known.columns:
            continue
        found = drift(
            *_standings(axis, axis.lineage, known[axis.axis.name], rows),
            axis.lineage.descent.heir_of,
            len(axis.lineage.before.segments),
        )
        if found is not None:
            told[axis.axis.name] = asdict(found)
    return told


def _standings(axis: DiscoveredAxis, found: AxisDescent, ids: pl.Series, rows: Any) -> tuple[Any, Any, Any]:
    positions = {segment.segment_id: number for number, segment in enumerate(found.before.segments)}
    was = np.array([positions.get(each, NOBODY) for each in ids.to_list()], dtype=np.int64)
    there = was != NOBODY
    return was[there], found.placed[rows][there], axis.dominant[rows][there]
