"""The run served now, as a new one goes on from it."""

from app.core.errors import OutdatedRun
from app.pipeline.served import ServedRun, served
from app.segmentation.archetypes import ANY
from app.segmentation.identity import Earlier, EarlierAxis, EarlierKind, EarlierSegment
from app.warehouse.engine import Connection, Database
from app.warehouse.stores import Store


async def earlier_run(database: Database, connection: Connection, store: Store) -> Earlier | None:
    """None where nothing is served, or what an older version published and this one cannot read."""
    if store.served_run_id is None:
        return None
    try:
        return _earlier(await served(database, connection, store.store_id, store.served_run_id))
    except OutdatedRun:
        return None


def _earlier(run: ServedRun) -> Earlier:
    axes = {
        each.axis.name: EarlierAxis(
            readings=each.readings,
            segments=tuple(
                EarlierSegment(segment.segment_id, segment.segment_name, source, segment.named_for or {})
                for segment, source in zip(each.segments, each.sources, strict=True)
            ),
        )
        for each in run.axes
    }
    signature = tuple(each.axis.name for each in run.axes if each.has_structure)
    kinds = []
    for row, archetype_id in zip(run.signatures, run.archetypes.level1, strict=True):
        ids = {
            name: axes[name].segments[code].segment_id
            for name, code in zip(signature, row.tolist(), strict=True)
            if code != ANY
        }
        kinds.append(
            EarlierKind(
                archetype_id=archetype_id,
                name=run.archetypes.names[archetype_id],
                defined_by=ids,
                usual=run.archetypes.usual[archetype_id],
            )
        )
    return Earlier(run.run.run_id, axes, tuple(kinds), signature, run.signatures, run.order)
