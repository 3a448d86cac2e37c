"""HTTP in and out of what is held of one person."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from app.api.bodies import JsonRoute
from app.api.dependencies import Needs, Opened
from app.api.parameters import Cursor, Limit, Plain
from app.api.privacy import service
from app.api.privacy.schemas import Erased, Export, Receipt, Receipts, Whom
from app.core.keys import Caller, Scope

router = APIRouter(prefix="/api/privacy", tags=["privacy"], route_class=JsonRoute)

Officer = Annotated[Caller, Depends(Needs(Scope.privacy))]


@router.post("/export", summary="Everything held of one person")
async def export(caller: Officer, resources: Opened, whom: Whom) -> Export:
    """Table by table, every column that is about them, and nothing about anybody else."""
    return await service.export(resources, caller, whom)


@router.post("/erase", summary="Erase one person")
async def erase(caller: Officer, resources: Opened, whom: Whom) -> Erased:
    """Removes them from every table, for good: an import that brings their records again leaves them out. Erasing again
    changes nothing and answers the first receipt. While an import of the store is under way the receipt is `requested`,
    and a worker ends it afterwards.
    """
    return await service.erase(resources, caller, whom)


@router.get("/receipts", summary="Who has been erased, without saying who")
async def receipts(caller: Officer, resources: Opened, limit: Limit = 20, cursor: Cursor = None) -> Receipts:
    """The latest first."""
    return await service.receipts(resources, caller, limit=limit, cursor=cursor)


@router.get("/receipts/{receipt_id}", summary="One receipt")
async def receipt(
    receipt_id: Annotated[Plain, Path(description="One of the store's; take one from `GET /api/privacy/receipts`.")],
    caller: Officer,
    resources: Opened,
) -> Receipt:
    return await service.receipt(resources, caller, receipt_id)
