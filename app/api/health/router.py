"""HTTP in and out of the service's own state. No key is needed; one shows more."""

from fastapi import APIRouter

from app.api.dependencies import Anyone, Opened
from app.api.health import service
from app.api.health.schemas import Alive, Health

router = APIRouter(tags=["health"])


@router.get("/health", summary="What is up and what is loaded", response_model_exclude_unset=True)
async def health(caller: Anyone, resources: Opened) -> Health:
    return await service.health(resources, caller)


@router.get("/health/live", summary="The process runs")
async def live() -> Alive:
    return Alive()


@router.get("/health/ready", summary="Requests can be answered")
async def ready(resources: Opened) -> Alive:
    await service.ready(resources)
    return Alive()
