"""HTTP in and out of runs and jobs."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Path, Query

from app.api.admin import service
from app.api.admin.schemas import Accepted, Discovery, Jobs, JobStatus, RunStatus
from app.api.bodies import JsonRoute
from app.api.dependencies import Needs, Opened
from app.api.parameters import Cursor, Limit
from app.core.keys import Caller, Scope
from app.warehouse.jobs import JobState
from app.warehouse.requests import HEADER

router = APIRouter(prefix="/api/admin", tags=["administration"], route_class=JsonRoute)

Admin = Annotated[Caller, Depends(Needs(Scope.admin))]

_LARGEST_ID = 2**63 - 1
JobId = Annotated[
    int, Path(ge=1, le=_LARGEST_ID, description="One of the store's; take one from `GET /api/admin/jobs`.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=HEADER,
        pattern=r"^[!-~]{1,255}$",
        description="One of your own for each request you mean: sent again with it, a request is answered as before.",
    ),
]


@router.post("/cluster", status_code=202, summary="Discover segments anew")
async def cluster(
    caller: Admin,
    resources: Opened,
    wanted: Annotated[Discovery | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """A worker does it; until it is done, and if it fails, the run before stays served. One at a time per store."""
    return await service.cluster(resources, caller, wanted or Discovery(), key=idempotency_key)


@router.get("/cluster/status", summary="How far a run is")
async def status(
    caller: Admin,
    resources: Opened,
    run_id: Annotated[int | None, Query(ge=1, le=_LARGEST_ID, description="The latest without it.")] = None,
) -> RunStatus:
    """Of discoveries and rescorings, however they were begun."""
    return await service.run_status(resources, caller, run_id)


@router.get("/jobs", summary="What waits, runs, has failed and is done")
async def jobs(
    caller: Admin,
    resources: Opened,
    status: Annotated[JobState | None, Query(description="Only those that stand so.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Jobs:
    """Of the last month, the latest first."""
    return await service.jobs(resources, caller, state=status, limit=limit, cursor=cursor)


@router.get("/jobs/{job_id}", summary="One job")
async def job(job_id: JobId, caller: Admin, resources: Opened) -> JobStatus:
    return await service.job(resources, caller, job_id)


@router.post("/jobs/{job_id}/replay", status_code=202, summary="Have a failed job tried again")
async def replay(job_id: JobId, caller: Admin, resources: Opened) -> JobStatus:
    return await service.replay(resources, caller, job_id)
