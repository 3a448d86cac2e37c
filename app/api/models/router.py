"""HTTP in and out of models."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.api.aggregates import AggregateRoute
from app.api.dependencies import Opened, Reader
from app.api.models import service
from app.api.models.schemas import ModelBacktest, Models
from app.api.parameters import Plain

router = APIRouter(prefix="/api/models", tags=["models"], route_class=AggregateRoute)


@router.get("", summary="The models behind predictions")
async def models(caller: Reader, resources: Opened) -> Models:
    """What tells each thing, since when, and how well it would have told the shop's own past, baselines beside it."""
    return await service.models(resources, caller)


@router.get("/{name}/backtest", summary="What one model would have been worth")
async def backtest(
    name: Annotated[Plain, Path(description="Take one from `GET /api/models`.", examples=["churn"])],
    caller: Reader,
    resources: Opened,
) -> ModelBacktest:
    """All that were tried, on days of the shop's past, and how often what the served one told came true."""
    return await service.backtest(resources, caller, name)
