"""HTTP in and out of the service's own state. No key is needed; one shows more."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from app.api.dependencies import Anyone, Opened
from app.api.health import metering, service
from app.api.health.schemas import Alive, Health
from app.core.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get(
    "/health",
    summary="What is up and what is loaded",
    response_model_exclude_unset=True,
    responses={429: {"description": "A key was shown too often, or too many wrong ones; without one it is answered."}},
)
async def health(caller: Anyone, resources: Opened) -> Health:
    return await service.health(resources, caller)


@router.get(
    "/metrics",
    summary="Metrics in Prometheus' format",
    response_class=PlainTextResponse,
    responses={404: {"description": "ENABLE_PROMETHEUS_METRICS is not set."}},
)
async def metrics(resources: Opened) -> Response:
    """404 unless ENABLE_PROMETHEUS_METRICS is set. No key is needed: let only your own Prometheus reach it."""
    return Response(await metering.exposition(resources), media_type=CONTENT_TYPE)


@router.get("/health/live", summary="The process runs")
async def live() -> Alive:
    return Alive()


@router.get("/health/ready", summary="Requests can be answered")
async def ready(resources: Opened) -> Alive:
    await service.ready(resources)
    return Alive()
