"""The API's description: what FastAPI knows of the routes, and which scopes each needs, read from what checks them."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.api.dependencies import needs_of
from app.core.keys import Scope
from app.core.problems import MEDIA_TYPE, Problem

_SCHEME = "X-API-Key"
_ERRORS = {
    "401": "No valid key.",
    "403": "The key lacks the scope.",
    "404": "There is none.",
    "409": "It cannot be done as things stand.",
    "422": "A parameter makes no sense; `errors` names it.",
    "503": "The database is away; try again after `Retry-After`.",
}


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Make the app tell scopes, keys and problems of these routers in /openapi.json."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app, routes)
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


def scopes_of(route: APIRoute) -> tuple[Scope, ...] | None:
    """The scopes of which a route needs one; None where it needs no key."""
    needs = needs_of(route)
    return None if needs is None else needs.scopes


def _description(app: FastAPI, routes: Sequence[APIRoute]) -> dict[str, Any]:
    told = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    components = told.setdefault("components", {})
    components["securitySchemes"] = {
        _SCHEME: {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key opens one store."}
    }
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for left in ("HTTPValidationError", "ValidationError"):
        schemas.pop(left, None)
    for route in routes:
        for method in route.methods or ():
            _complete(told["paths"][route.path_format][method.lower()], scopes_of(route))
    return told


def _complete(operation: dict[str, Any], scopes: tuple[Scope, ...] | None) -> None:
    operation["x-scopes"] = [scope.value for scope in scopes or ()]
    for parameter in operation.get("parameters", []):
        if examples := parameter["schema"].pop("examples", None):
            parameter["example"] = examples[0]  # what Swagger fills in
    statuses = ["503"]
    if scopes is not None:
        statuses += ["401", "403", "404"]
        operation["security"] = [{_SCHEME: []}]
        needed = ", ".join(f"`{scope}`" for scope in operation["x-scopes"])
        described = operation.get("description", "")
        operation["description"] = f"{described}\n\nScope: one of {needed}; `admin` has all.".strip()
    if operation.get("parameters") or "422" in operation["responses"]:
        statuses.append("422")
    if "202" in operation["responses"]:
        statuses.append("409")
    for status in statuses:
        operation["responses"][status] = {
            "description": _ERRORS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
