"""The served run, as needed to place one customer on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import CustomerNotFound
from app.warehouse.runs import served_run
from app.warehouse.tables import (
    dim_archetype_l1,
    dim_archetype_l2,
    dim_archetype_l3,
    dim_segment_master,
)


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A row of the segment master.

    scaler_params : the same for each of the axis's segments of one source
    named_for     : feature -> its customers' median when it was named; None in rows of older versions
    """

    segment_id: str
    axis_name: str
    segment_name: str
    source: str
    cluster_center: list[float]
    scaler_params: Mapping[str, Any]
    named_for: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class StoredArchetypes:
    """level1 : id -> segment ids of the signature; names, usual : of level 1, id -> name, and -> {axis: segment name}
    level2 : (parent, band) -> id
    level3 : parent -> [(seconds {axis: segment name}, id)], the largest first
    """

    level1: Mapping[str, list[str]]
    names: Mapping[str, str]
    usual: Mapping[str, Mapping[str, str]]
    level2: Mapping[tuple[str, str], str]
    level3: Mapping[str, list[tuple[Mapping[str, str], str]]]


async def read_segments(connection: AsyncConnection, store_id: str, run_id: int) -> list[StoredSegment]:
    """Every segment of a run, axis by axis, in the order of the centers."""
    table = dim_segment_master
    columns = (
        *(table.c.segment_id, table.c.axis_name, table.c.segment_name, table.c.source),
        *(table.c.cluster_center, table.c.scaler_params, table.c.named_for),
    )
    query = select(*columns).where(table.c.store_id == store_id, table.c.run_id == run_id)
    rows = await connection.execute(query.order_by(table.c.axis_name, table.c.position))
    return [StoredSegment(*row) for row in rows]


async def read_archetypes(connection: AsyncConnection, store_id: str, run_id: int) -> StoredArchetypes:
    """Every archetype of a run, the largest of each level first."""

    async def rows(table: Any, *columns: Any) -> Any:
        of_run = (table.c.store_id == store_id, table.c.run_id == run_id)
        ordered = select(*columns).where(*of_run).order_by(table.c.member_count.desc(), table.c.archetype_id)
        return await connection.execute(ordered)

    one, two, three = dim_archetype_l1, dim_archetype_l2, dim_archetype_l3
    level3: dict[str, list[tuple[Mapping[str, str], str]]] = {}
    for parent, seconds, archetype in await rows(
        three, three.c.parent_id, three.c.second_segments, three.c.archetype_id
    ):
        level3.setdefault(parent, []).append((seconds, archetype))
    return StoredArchetypes(
        level1=dict((await rows(one, one.c.archetype_id, one.c.segment_ids)).all()),
        names=dict((await rows(one, one.c.archetype_id, one.c.name)).all()),
        usual=dict((await rows(one, one.c.archetype_id, one.c.dominant_segments)).all()),
        level2={
            (parent, band): archetype
            for parent, band, archetype in await rows(two, two.c.parent_id, two.c.strength_band, two.c.archetype_id)
        },
        level3=level3,
    )


async def stored_memberships(
    connection: AsyncConnection, store_id: str, customer_id: str
) -> Mapping[str, Mapping[str, float]]:
    """{axis: {segment name: share}} of a customer in the served run. Raises CustomerNotFound where it has none."""
    run = await served_run(connection, store_id)
    query = text(
        "SELECT segment_memberships FROM customer_profiles "
        "WHERE store_id = :store_id AND customer_id = :customer_id AND run_id = :run_id"
    )
    keys = {"store_id": store_id, "customer_id": customer_id, "run_id": run.run_id}
    rows = await connection.execute(query.columns(segment_memberships=JSONB), keys)
    found: Mapping[str, Mapping[str, float]] | None = rows.scalar_one_or_none()
    if found is None:
        raise CustomerNotFound(customer_id, store_id=store_id)
    return found
