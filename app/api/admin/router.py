"""HTTP in and out of runs, jobs, keys, the audit log and what is kept."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Path, Query

from app.api.admin import auditing, keeping, service
from app.api.admin.schemas import (
    Accepted,
    ApiKey,
    AuditLog,
    Discovery,
    Flushed,
    Jobs,
    JobStatus,
    Keys,
    MadeKey,
    NewKey,
    Rotation,
    RunStatus,
)
from app.api.bodies import JsonRoute
from app.api.dependencies import Needs, Opened
from app.api.parameters import Cursor, Limit, Plain
from app.core.keys import Caller, Scope
from app.warehouse.jobs import JobState
from app.warehouse.requests import HEADER

router = APIRouter(prefix="/api/admin", tags=["administration"], route_class=JsonRoute)

Admin = Annotated[Caller, Depends(Needs(Scope.admin))]

_LARGEST_ID = 2**63 - 1
JobId = Annotated[
    int, Path(ge=1, le=_LARGEST_ID, description="One of the store's; take one from `GET /api/admin/jobs`.")
]
KeyId = Annotated[
    str, Path(pattern=r"^[0-9A-Za-z]{8}$", description="Its public part; take one from `GET /api/admin/keys`.")
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


@router.get("/keys", summary="The keys of the store")
async def keys(caller: Admin, resources: Opened) -> Keys:
    return await keeping.keys(resources, caller)


@router.post("/keys", status_code=201, summary="Make a key")
async def create_key(caller: Admin, resources: Opened, wanted: Annotated[NewKey, Body()]) -> MadeKey:
    """It is shown in this answer and never again. Asked twice, two are made: an answer with a key in it is not kept."""
    return await keeping.create_key(resources, caller, wanted)


@router.post("/keys/{key_id}/rotate", status_code=201, summary="Put a new key in a key's place")
async def rotate_key(
    key_id: KeyId, caller: Admin, resources: Opened, wanted: Annotated[Rotation | None, Body()] = None
) -> MadeKey:
    """Of the same scopes and name. Both open for a while, then the new one alone."""
    return await keeping.rotate_key(resources, caller, key_id, wanted or Rotation())


@router.post("/keys/{key_id}/revoke", summary="Refuse a key from now on")
async def revoke_key(key_id: KeyId, caller: Admin, resources: Opened) -> ApiKey:
    """At once here, and within half a minute wherever else it is known. Done again, it changes nothing."""
    return await keeping.revoke_key(resources, caller, key_id)


@router.get("/audit", summary="Who has changed something, and who has seen identities")
async def audit(
    caller: Admin,
    resources: Opened,
    action: Annotated[
        Plain | None, Query(description="One action, or all of a kind: `key` for `key.create`, `key.revoke`, ...")
    ] = None,
    key_id: Annotated[Plain | None, Query(description="Done with this key.")] = None,
    subject: Annotated[Plain | None, Query(description="About this customer, by pseudonym.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> AuditLog:
    return await auditing.entries(
        resources, caller, action=action, key_id=key_id, subject=subject, limit=limit, cursor=cursor
    )


@router.post("/cache/flush", summary="Forget what is kept to answer faster")
async def flush(caller: Admin, resources: Opened) -> Flushed:
    """Of this store. Needed only after somebody has changed the database past this service."""
    return await keeping.flush(resources, caller)


@router.post("/jobs/{job_id}/replay", status_code=202, summary="Have a failed job tried again")
async def replay(job_id: JobId, caller: Admin, resources: Opened) -> JobStatus:
    return await service.replay(resources, caller, job_id)
