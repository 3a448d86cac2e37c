"""HTTP in and out of archetypes and segments. Fixed paths stand before those with an id in them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.api.aggregates import AggregateRoute
from app.api.archetypes import growth as growing
from app.api.archetypes import service
from app.api.archetypes.schemas import (
    ArchetypeDetail,
    ArchetypesGrowth,
    Axes,
    Kinds,
    Lineage,
    Members,
    Metric,
    OneAxis,
    RfmGroups,
    TopArchetypes,
)
from app.api.dependencies import Opened, Reader
from app.api.parameters import ArchetypeId, Cursor, Limit, Plain
from app.prediction.growth import MOST_MONTHS

router = APIRouter(prefix="/api/mcp", tags=["archetypes and segments"], route_class=AggregateRoute)
#: Lists of people: read anew each time, and noted.
people = APIRouter(prefix="/api/mcp", tags=["archetypes and segments"])


@router.get("/archetypes/top", summary="The kinds of customer, ranked")
async def top(
    caller: Reader,
    resources: Opened,
    metric: Annotated[Metric, Query(description="What they are ranked by.")] = Metric.total_ltv,
    limit: Limit = 10,
) -> TopArchetypes:
    return await service.top(resources, caller, metric=metric, limit=limit)


@router.get("/archetypes/growth-projection", summary="How many of each kind there will be")
async def growth_projection(
    caller: Reader,
    resources: Opened,
    months: Annotated[int, Query(ge=1, le=MOST_MONTHS, description="How many, from the one under way on.")] = 12,
    top_n: Annotated[int, Query(ge=1, le=1000, description="So many are told by themselves.")] = 10,
) -> ArchetypesGrowth:
    """The kinds worth most by total lifetime value, month by month; all others are told as one."""
    return await growing.growth(resources, caller, months=months, top_n=top_n)


@router.get("/archetypes/{archetype_id}", summary="One kind of customer")
async def archetype(archetype_id: ArchetypeId, caller: Reader, resources: Opened) -> ArchetypeDetail:
    return await service.detail(resources, caller, archetype_id)


@people.get("/archetypes/{archetype_id}/members", summary="Its customers, worth most first")
async def members(
    archetype_id: ArchetypeId, caller: Reader, resources: Opened, limit: Limit = 20, cursor: Cursor = None
) -> Members:
    return await service.members(resources, caller, archetype_id, limit=limit, cursor=cursor)


@router.get("/segments", summary="The kinds of customer in a short form")
async def segments(caller: Reader, resources: Opened) -> Kinds:
    return await service.kinds(resources, caller)


@router.get("/segments/rfm", summary="The ten RFM groups")
async def rfm(caller: Reader, resources: Opened) -> RfmGroups:
    """Customers by recency and frequency, each in fifths of the shop, in groups that marketers know by name."""
    return await service.rfm(resources, caller)


@router.get("/segments/lineage", summary="Where segments and archetypes come from, run by run")
async def lineage(
    caller: Reader,
    resources: Opened,
    axis: Annotated[
        Plain | None, Query(description="One axis by name or alias, or `archetypes`; all of them without it.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="How many runs at most.")] = 10,
    cursor: Cursor = None,
) -> Lineage:
    """The latest run first. A first run has none."""
    return await service.lineage(resources, caller, axis=axis, limit=limit, cursor=cursor)


@router.get("/segments/axes", summary="The axes of behaviour and their segments")
async def axes(caller: Reader, resources: Opened) -> Axes:
    return await service.axes(resources, caller)


@router.get("/segments/axes/{axis}", summary="One axis of behaviour")
async def axis(
    axis: Annotated[Plain, Path(description="Its name or an alias.", examples=["purchase_value"])],
    caller: Reader,
    resources: Opened,
) -> OneAxis:
    return await service.axis(resources, caller, axis)
