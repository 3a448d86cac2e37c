"""A discovery as the next one goes on from it: what `app.pipeline.earlier` reads back, without a database."""

from collections.abc import Mapping

import polars as pl

from app.segmentation.archetypes import archetype_ids
from app.segmentation.discovery import Discovery
from app.segmentation.identity import Earlier, EarlierAxis, EarlierKind, EarlierSegment, defined_by
from app.segmentation.naming import EVERYONE


def earlier_of(found: Discovery, star: Mapping[str, pl.DataFrame] | None = None, *, run_id: int = 1) -> Earlier:
    """star : the rows it was written as, for the ids and names of its archetypes; None where these do not matter"""
    names = [axis.axis.name for axis in found.signature]
    ids = [[segment.segment_id for segment in axis.segments] for axis in found.signature]
    says = [[segment.name for segment in axis.segments] for axis in found.signature]
    signatures = found.archetypes.signatures
    defining = [defined_by(row, names, ids) for row in signatures]
    own = archetype_ids([list(each.values()) or [EVERYONE] for each in defining])
    called = own
    if star is not None:
        own, called = (star["dim_archetype_l1"][column].to_list() for column in ("archetype_id", "name"))
    return Earlier(
        run_id=run_id,
        axes={
            axis.axis.name: EarlierAxis(
                readings=axis.readings,
                segments=tuple(
                    EarlierSegment(each.segment_id, each.name, each.source, each.named_for) for each in axis.segments
                ),
            )
            for axis in found.axes
        },
        kinds=tuple(
            EarlierKind(archetype_id, name, segments, defined_by(row, names, says))
            for archetype_id, name, segments, row in zip(own, called, defining, signatures, strict=True)
        ),
        signature=tuple(names),
        signatures=signatures,
        order=found.archetypes.order,
    )
