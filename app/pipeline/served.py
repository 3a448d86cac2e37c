"""The served run, ready to place customers: its axes, archetypes and yardstick, read once per process and run."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from weakref import WeakKeyDictionary

import numpy as np

from app.core.errors import OutdatedRun
from app.pipeline.placing import PlacedAxis, Standing
from app.pipeline.yardstick import Yardstick, yardstick_from
from app.segmentation.archetypes import (
    BANDS,
    NONE_CLOSE,
    Codes,
    bands,
    close_seconds,
    likeliest,
    mean_top_membership,
    nearest_bands,
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
    names: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def has_structure(self) -> bool:
        return any(reading.fitted.has_structure for reading in self.readings)


@dataclass(frozen=True, slots=True)
class ServedRun:
    """A published run, as needed to place anyone on it by the rules it went by itself.

    signatures : (n_level1, n_axes) position of the dominant segment on each axis with structure, per level-1 archetype
    """

    run: Run
    yardstick: Yardstick
    axes: tuple[_Axis, ...]
    archetypes: StoredArchetypes
    signatures: Codes

    def place(self, values: Mapping[str, Array]) -> tuple[list[PlacedAxis], Standing]:
        """One customer on every axis and among the archetypes. values : metrics and features, each (1,)"""
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
        return placed, self._standing([axis for axis in placed if axis.in_signature])

    def _standing(self, signature: Sequence[PlacedAxis]) -> Standing:
        ids = list(self.archetypes.level1)
        if not signature:
            only = ids[0]
            band = next(iter(self.archetypes.level2.values()))
            return Standing([only], [band], [self.archetypes.level3[only][0][1]], np.zeros(1, dtype=np.int64))
        memberships = [axis.memberships for axis in signature]
        own = np.array([shares.argmax() for shares in memberships])
        same = np.flatnonzero((self.signatures == own).all(axis=1))
        number = int(same[0]) if len(same) else int(likeliest(memberships, self.signatures)[0])
        level1 = ids[number]

        there = np.array([position for position, band in enumerate(BANDS) if (level1, band) in self.archetypes.level2])
        lower, upper = self.run.report["archetypes"]["band_limits"]
        strength = int(nearest_bands(there)[bands(mean_top_membership(memberships), (lower, upper))[0]])

        close = close_seconds(memberships)[0]
        seconds = {
            placed.axis.name: placed.names[code]
            for placed, code in zip(signature, close, strict=True)
            if code != NONE_CLOSE
        }
        forms = self.archetypes.level3[level1]
        # Too rare a set of second segments is read as none being close; without that form, the largest takes them in.
        level3 = next((each for wanted in (seconds, {}) for stored, each in forms if stored == wanted), forms[0][1])
        return Standing(
            level1=[level1],
            level2=[self.archetypes.level2[level1, BANDS[strength]]],
            level3=[level3],
            fold_distance=np.array([(self.signatures[number] != own).sum()]),
        )


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
    # A signature lists segment ids in the order of the axes; here they become positions on each axis.
    positions = {
        segment.segment_id: axis.names.index(segment.segment_name)
        for axis in axes
        for segment in segments
        if segment.axis_name == axis.axis.name
    }
    width = sum(axis.has_structure for axis in axes)
    rows = [[positions[segment] for segment in signature[:width]] for signature in archetypes.level1.values()]
    return ServedRun(
        run=await read_run(connection, run_id),
        yardstick=yardstick_from(stored),
        axes=axes,
        archetypes=archetypes,
        signatures=np.array(rows, dtype=np.int64),
    )


def _axes(segments: Sequence[StoredSegment]) -> tuple[_Axis, ...]:
    """The stored axes, in the registry's order."""
    stored = {name: list(group) for name, group in groupby(segments, key=lambda segment: segment.axis_name)}
    return tuple(
        _Axis(
            axis=axis,
            readings=_readings(axis, stored[axis.name]),
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
