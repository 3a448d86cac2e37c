"""The served run, ready to place customers: its axes, archetypes and yardstick, read once per process and run."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from app.core.errors import OutdatedRun
from app.pipeline.placing import PlacedAxis, Standing
from app.pipeline.yardstick import Yardstick, yardstick_from
from app.segmentation.archetypes import (
    ANY,
    BANDS,
    NONE_CLOSE,
    Codes,
    bands,
    close_seconds,
    defining,
    differing,
    distinct_rows,
    mean_top_membership,
    nearest_bands,
    place,
)
from app.segmentation.axes import AXES, Axis, Source
from app.segmentation.clustering import fitted_axis
from app.segmentation.membership import Array
from app.segmentation.readings import Reading, memberships_in
from app.warehouse.engine import Connection, Database
from app.warehouse.profiles import StoredArchetypes, StoredSegment, read_archetypes, read_segments
from app.warehouse.runs import Run, read_run, read_yardstick

_RUNS_KEPT = 8


@dataclass(frozen=True, slots=True)
class _Axis:
    axis: Axis
    readings: tuple[Reading, ...]
    segments: tuple[StoredSegment, ...]
    names: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def has_structure(self) -> bool:
        return any(reading.fitted.has_structure for reading in self.readings)


@dataclass(frozen=True, slots=True)
class ServedRun:
    """A published run, as needed to place anyone on it by the rules it went by itself.

    signatures : (n_level1, n_axes) position of the segment on each axis with structure, per level-1 archetype; ANY
                 where the axis has no part in it
    order      : those axes in the order archetypes are split by
    by_band    : (n_level1, bands) per level-1 archetype the id of level 2 for each band, or for the nearest there is
    otherwise  : per level-1 archetype the id of level 3 for who leans to what no other form of it does
    """

    run: Run
    yardstick: Yardstick
    axes: tuple[_Axis, ...]
    archetypes: StoredArchetypes
    signatures: Codes
    order: tuple[int, ...]
    by_band: NDArray[np.str_]
    otherwise: Mapping[str, str]

    def place(self, values: Mapping[str, Array]) -> tuple[list[PlacedAxis], Standing]:
        """Customers on every axis and among the archetypes. values : metrics and features, each (n_customers,)"""
        placed = [
            PlacedAxis(
                axis=each.axis,
                names=each.names,
                sources=each.sources,
                memberships=memberships_in(each.readings, values),
                in_signature=each.has_structure,
            )
            for each in self.axes
        ]
        return placed, self._standing([axis for axis in placed if axis.in_signature], n=len(values["lifetime_value"]))

    def _standing(self, signature: Sequence[PlacedAxis], *, n: int) -> Standing:
        ids = list(self.archetypes.level1)
        if not signature:
            level2 = next(iter(self.archetypes.level2.values()))
            return Standing([ids[0]] * n, [level2] * n, [self.otherwise[ids[0]]] * n, np.zeros(n, dtype=np.int64))
        memberships = [axis.memberships for axis in signature]
        own = np.stack([shares.argmax(axis=1) for shares in memberships], axis=1)
        number = place(memberships, self.signatures, self.order)
        theirs = self.signatures[number]
        lower, upper = self.run.report["archetypes"]["band_limits"]
        band = bands(mean_top_membership(memberships), (lower, upper))
        close = defining(close_seconds(memberships), theirs)
        # Few are the ways to stand, whatever the number of customers: each is looked up once.
        ways, mine, _ = distinct_rows(np.column_stack([number, close]))
        level3 = np.array([self._level3(ids[way[0]], way[1:], signature) for way in ways.tolist()])[mine]
        return Standing(
            level1=np.array(ids)[number].tolist(),
            level2=self.by_band[number, band].tolist(),
            level3=level3.tolist(),
            fold_distance=differing(own, theirs),
        )

    def _level3(self, level1: str, close: Sequence[int], signature: Sequence[PlacedAxis]) -> str:
        seconds = {
            placed.axis.name: placed.names[code]
            for placed, code in zip(signature, close, strict=True)
            if code != NONE_CLOSE
        }
        forms = self.archetypes.level3[level1]
        # Too rare a set of second segments is read as none being close.
        return next((each for stored, each in forms if stored == seconds), self.otherwise[level1])


# A published run never changes, so what was read of one stays true; databases count their runs each for itself.
_known: WeakKeyDictionary[Database, OrderedDict[int, ServedRun]] = WeakKeyDictionary()


async def served(database: Database, connection: Connection, store_id: str, run_id: int) -> ServedRun:
    """A published run, from memory where this process has met it before. Raises OutdatedRun for an older version's."""
    known = _known.setdefault(database, OrderedDict())
    if run_id not in known:
        known[run_id] = await _read(connection, store_id, run_id)
        if len(known) > _RUNS_KEPT:
            known.popitem(last=False)
    known.move_to_end(run_id)
    return known[run_id]


async def _read(connection: Connection, store_id: str, run_id: int) -> ServedRun:
    stored = await read_yardstick(connection, run_id)
    if stored is None:
        raise OutdatedRun(store_id)
    segments = await read_segments(connection, store_id, run_id)
    archetypes = await read_archetypes(connection, store_id, run_id)
    axes = _axes(segments)
    run = await read_run(connection, run_id)
    if "order" not in run.report["archetypes"]:
        raise OutdatedRun(store_id)
    signature = [axis.axis.name for axis in axes if axis.has_structure]
    # A signature lists segment ids; here they become positions on each axis.
    positions = {
        segment.segment_id: (signature.index(axis.axis.name), axis.names.index(segment.segment_name))
        for axis in axes
        for segment in segments
        if segment.axis_name == axis.axis.name and axis.has_structure
    }
    signatures = np.full((len(archetypes.level1), len(signature)), ANY, dtype=np.int64)
    for row, segment_ids in zip(signatures, archetypes.level1.values(), strict=True):
        for axis_number, position in (positions[segment] for segment in segment_ids if segment in positions):
            row[axis_number] = position
    return ServedRun(
        run=run,
        yardstick=yardstick_from(stored),
        axes=axes,
        archetypes=archetypes,
        signatures=signatures,
        order=tuple(signature.index(name) for name in run.report["archetypes"]["order"]),
        by_band=np.array([_by_band(archetypes, level1) for level1 in archetypes.level1]),
        otherwise=_otherwise(archetypes, run.report["archetypes"].get("level3_otherwise", {})),
    )


def _by_band(archetypes: StoredArchetypes, level1: str) -> list[str]:
    there = np.array([position for position, band in enumerate(BANDS) if (level1, band) in archetypes.level2])
    return [archetypes.level2[level1, BANDS[position]] for position in nearest_bands(there)]


def _otherwise(archetypes: StoredArchetypes, told: Mapping[str, str]) -> dict[str, str]:
    """The form of those who lean nowhere, where there is one; else the one that the run tells. Runs of older versions
    tell none: there it is the largest.
    """
    return {
        level1: next((each for stored, each in forms if not stored), told.get(level1, forms[0][1]))
        for level1, forms in archetypes.level3.items()
    }


def _axes(segments: Sequence[StoredSegment]) -> tuple[_Axis, ...]:
    """The stored axes, in the registry's order."""
    stored = {name: list(group) for name, group in groupby(segments, key=lambda segment: segment.axis_name)}
    return tuple(
        _Axis(
            axis=axis,
            readings=_readings(axis, stored[axis.name]),
            segments=tuple(stored[axis.name]),
            names=tuple(segment.segment_name for segment in stored[axis.name]),
            sources=tuple(Source(segment.source) for segment in stored[axis.name]),
        )
        for axis in AXES
        if axis.name in stored
    )


def _readings(axis: Axis, segments: Sequence[StoredSegment]) -> tuple[Reading, ...]:
    """The readings of an axis, from its segments in their order."""
    readings: list[Reading] = []
    for source, of_source in groupby(segments, key=lambda segment: segment.source):
        mine = list(of_source)
        centers = [segment.cluster_center for segment in mine]
        first = readings[-1].positions.stop if readings else 0
        readings.append(Reading(Source(source), fitted_axis(axis.name, mine[0].scaler_params, centers), first))
    return tuple(readings)
