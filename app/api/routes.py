"""The table of contents: every area's routes."""

from fastapi import APIRouter

from app.api.admin.router import router as admin
from app.api.analytics.router import imagining
from app.api.analytics.router import router as analytics
from app.api.archetypes.router import people as archetypes_people
from app.api.archetypes.router import router as archetypes
from app.api.churn.router import people as churn_people
from app.api.churn.router import router as churn
from app.api.customers.router import router as customers
from app.api.growth.router import router as growth
from app.api.health.router import router as health
from app.api.models.router import router as models
from app.api.privacy.router import router as privacy

ROUTERS: tuple[APIRouter, ...] = (
    *(health, customers, archetypes, archetypes_people, churn, churn_people, growth, analytics, imagining),
    *(models, privacy, admin),
)
