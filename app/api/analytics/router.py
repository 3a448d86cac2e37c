"""HTTP in and out of analytics."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from app.api.analytics import service
from app.api.analytics.schemas import Drift
from app.api.dependencies import Opened, Reader

router = APIRouter(prefix="/api/analytics", tags=["analytics"])


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
