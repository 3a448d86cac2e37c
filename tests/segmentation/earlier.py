"""A discovery as the next one goes on from it, without a database in between: what `app.pipeline.earlier` reads back."""

from app.segmentation.archetypes import archetype_ids
from app.segmentation.discovery import Discovery
from app.segmentation.identity import Earlier, EarlierAxis, EarlierKind, EarlierSegment, defined_by
from app.segmentation.naming import EVERYONE


def earlier_of(found: Discovery, *, run_id: int = 1) -> Earlier:
    names = [axis.axis.name for axis in found.signature]
    ids = [[segment.segment_id for segment in axis.segments] for axis in found.signature]
    says = [[segment.name for segment in axis.segments] for axis in found.signature]
    signatures = found.archetypes.signatures
    defining = [defined_by(row, names, ids) for row in signatures]
    own = archetype_ids([list(each.values()) or [EVERYONE] for each in defining])
    return Earlier(
        run_id=run_id,
        axes={
            axis.axis.name: EarlierAxis(
                readings=axis.readings,
                segments=tuple(
                    EarlierSegment(each.segment_id, each.name, each.source, each.typical) for each in axis.segments
                ),
            )
            for axis in found.axes
        },
        kinds=tuple(
            EarlierKind(archetype_id, archetype_id, segments, defined_by(row, names, says))
            for archetype_id, segments, row in zip(own, defining, signatures, strict=True)
        ),
        signature=tuple(names),
        signatures=signatures,
        order=found.archetypes.order,
    )
