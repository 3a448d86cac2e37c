"""HTTP in and out of growth."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.aggregates import AggregateRoute
from app.api.dependencies import Opened, Reader
from app.api.growth import revenue as earning
from app.api.growth import service
from app.api.growth.schemas import By, Growth, RevenueForecast
from app.api.parameters import Day, Something
from app.prediction.growth import MOST_MONTHS

router = APIRouter(prefix="/api/mcp", tags=["growth"], route_class=AggregateRoute)


@router.get("/growth/projection", summary="How many customers there will be")
async def projection(
    caller: Reader,
    resources: Opened,
    months: Annotated[int, Query(ge=1, le=MOST_MONTHS, description="How many, from the one under way on.")] = 12,
) -> Growth:
    """Active customers month by month: who is acquired, who lapses, and what that rests on."""
    return await service.projection(resources, caller, months=months)


@router.get("/revenue/forecast", summary="What a period will bring in")
async def forecast(
    caller: Reader,
    resources: Opened,
    period: Annotated[
        Something | None,
        Query(
            description="By name: `Q4`, `next month`, `this year`, `black friday`, `december 2026`; the next one where "
            "no year is said.",
            examples=["Q4"],
        ),
    ] = None,
    start_date: Annotated[Day | None, Query(description="Or its first day, with `end_date`.")] = None,
    end_date: Annotated[Day | None, Query(description="Its last day, within.")] = None,
    months: Annotated[
        int | None,
        Query(ge=1, le=MOST_MONTHS, description="Or so many months from the one under way on; 3 with nothing said."),
    ] = None,
    by: Annotated[By | None, Query(description="Tell kinds of customer, too.")] = None,
) -> RevenueForecast:
    """Net revenue with its interval, what of it is earned already; of a period with a name, who is going to order."""
    return await earning.forecast(
        resources, caller, period=period, start=start_date, end=end_date, months=months, by=by
    )
