"""HTTP in and out of analytics."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query

from app.api.aggregates import AggregateRoute
from app.api.analytics import anomalies as out_of_line
from app.api.analytics import cohorts as cohorting
from app.api.analytics import service
from app.api.analytics import what_if as changing
from app.api.analytics.schemas import Anomalies, Changes, Cohorts, Drift, Measure, WhatIf
from app.api.bodies import JsonRoute
from app.api.dependencies import Opened, Reader
from app.api.parameters import Plain
from app.prediction.anomalies import Metric
from app.prediction.cohorts import Length

router = APIRouter(prefix="/api/analytics", tags=["analytics"], route_class=AggregateRoute)
#: With a body, which says what is to be imagined.
imagining = APIRouter(prefix="/api/analytics", tags=["analytics"], route_class=JsonRoute)


@router.get("/drift", summary="Who moves between kinds of customer, and how segments shift")
async def drift(
    caller: Reader,
    resources: Opened,
    days: Annotated[
        Literal["7", "14", "28"] | None, Query(description="Only this window; all three without it.")
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=1000, description="Kinds, and ways between them, that are told of each window.")
    ] = 20,
) -> Drift:
    """Two days of the shop compared, over windows of a week, two and four."""
    return await service.drift(resources, caller, days=None if days is None else int(days), limit=limit)


@router.get("/cohorts", summary="Whether customers come back, by when they first ordered")
async def cohorts(
    caller: Reader,
    resources: Opened,
    by: Annotated[Length, Query(description="What customers are put together by: the month or quarter.")] = (
        Length.month
    ),
    periods: Annotated[int, Query(ge=1, le=36, description="How many after the first they are followed for.")] = 12,
    measure: Annotated[
        Measure,
        Query(description="What the picture shows: who ordered, or per customer orders, revenue, all revenue so far."),
    ] = Measure.retention,
) -> Cohorts:
    """Shares, orders and revenue of each cohort, month by month or quarter by quarter; what is not over is null."""
    return await cohorting.cohorts(resources, caller, by=by, periods=periods, measure=measure)


@router.get("/anomalies", summary="Days that were out of line")
async def anomalies(
    caller: Reader,
    resources: Opened,
    days: Annotated[int, Query(ge=7, le=365, description="How many, up to the last that is over.")] = 90,
    metric: Annotated[Metric, Query(description="What is counted by day.")] = Metric.orders,
    archetype_id: Annotated[
        Plain | None,
        Query(description="One kind of customer, of level 1; take one from `GET /api/mcp/archetypes/top`."),
    ] = None,
) -> Anomalies:
    """Each day with what would have been usual, told by the days before it, and the days that were not."""
    return await out_of_line.anomalies(resources, caller, metric=metric, days=days, archetype_id=archetype_id)


@imagining.post("/what-if", summary="What would change if customers behaved otherwise")
async def what_if(caller: Reader, resources: Opened, changes: Annotated[Changes | None, Body()] = None) -> WhatIf:
    """Customers and revenue as they are projected and as they would be, side by side, with the arithmetic."""
    return await changing.what_if(resources, caller, changes or Changes())
