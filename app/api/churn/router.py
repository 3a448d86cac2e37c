"""HTTP in and out of churn."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.aggregates import AggregateRoute
from app.api.churn import service
from app.api.churn.schemas import AtRisk, ChurnAggregate, Sort
from app.api.dependencies import Opened, Reader
from app.api.parameters import Cursor, Limit, Plain, names_among, some_of

router = APIRouter(prefix="/api/mcp/churn", tags=["churn"], route_class=AggregateRoute)
#: Lists of people: read anew each time, and noted.
people = APIRouter(prefix="/api/mcp/churn", tags=["churn"])


@router.get("/aggregate", summary="How many may stay away, and what they are worth")
async def aggregate(
    caller: Reader,
    resources: Opened,
    sample: Annotated[
        int | None,
        Query(
            ge=10,
            le=1_000_000,
            description="Count so many customers drawn by chance, and estimate the rest; everybody without it, and for "
            "keys that may not see identities.",
        ),
    ] = None,
) -> ChurnAggregate:
    """Customers by level of risk, and how many will not order within 30 and 90 days."""
    return await service.aggregate(resources, caller, sample=sample)


@people.get("/at-risk", summary="Who may stay away")
async def at_risk(
    caller: Reader,
    resources: Opened,
    level: Annotated[
        Annotated[str, some_of(service.LEVELS)] | None,
        Query(description="Comma list of critical, high, medium and low; critical and high without it."),
    ] = None,
    min_ltv: Annotated[
        float | None, Query(ge=0, le=1e15, allow_inf_nan=False, description="Lifetime value at least.")
    ] = None,
    archetype_id: Annotated[
        Plain | None,
        Query(description="One kind of customer, of any level; take one from `GET /api/mcp/archetypes/top`."),
    ] = None,
    sort: Annotated[Sort, Query(description="What they are listed by, the largest first.")] = Sort.ltv_at_risk,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> AtRisk:
    """Customers at risk, page by page, with how many there are and what they are worth together."""
    return await service.at_risk(
        resources,
        caller,
        levels=names_among("level", level, service.LEVELS),
        min_ltv=min_ltv,
        archetype_id=archetype_id,
        sort=sort,
        limit=limit,
        cursor=cursor,
    )
