"""The API's description: what FastAPI knows of the routes, and which scopes each needs, read from what checks them."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.api.aggregates import AggregateRoute
from app.api.dependencies import needs_of
from app.api.tagged import TAGGED
from app.core.keys import Scope
from app.core.problems import MEDIA_TYPE, Problem

_SCHEME = "X-API-Key"
_ERRORS = {
    "400": "The body is no JSON, or none that is taken: too deep, a name said twice, NaN.",
    "401": "No valid key.",
    "403": "The key lacks the scope.",
    "404": "There is none.",
    "408": "The body did not come in time.",
    "409": "It cannot be done as things stand.",
    "413": "The body is too large.",
    "415": "The body is packed; send it as it is.",
    "422": "A parameter makes no sense; `errors` names it.",
    "429": "Asked too often; ask again after `Retry-After`.",
    "503": "The database is away; try again after `Retry-After`.",
}
_OF_A_KEY = ("401", "403", "404", "409", "429")
#: Of what may have a body, whether it is read or not, and of what reads one.
_OF_SENDING, _OF_A_BODY = ("413", "415"), ("400", "408", "422")
_HEADERS = {
    "X-Request-ID": ("The request's own, or one given to it: names it in the logs.", {"type": "string"}),
    "Retry-After": ("After how many seconds it is worth asking again.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("What kind of key is wanted.", {"type": "string"}),
    "ETag": ("Sent back in `If-None-Match`, it has an answer sent again only when it is another.", {"type": "string"}),
}
_OF_STATUS = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag of an answer you have: 304 where it still holds.",
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
    components["headers"] = {
        # A 200 has an ETag where changes are heard of, and only of some routes.
        name: {"description": described, "required": name != "ETag", "schema": schema}
        for name, (described, schema) in _HEADERS.items()
    }
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for left in ("HTTPValidationError", "ValidationError"):
        schemas.pop(left, None)
    for route in routes:
        for method in route.methods or ():
            operation = told["paths"][route.path_format][method.lower()]
            if isinstance(route, AggregateRoute):
                operation["responses"] |= {"304": dict(TAGGED[304])}
            _complete(operation, scopes_of(route), sends=method != "GET")
    return told


def _complete(operation: dict[str, Any], scopes: tuple[Scope, ...] | None, *, sends: bool) -> None:
    operation["x-scopes"] = [scope.value for scope in scopes or ()]
    responses = operation["responses"]
    for parameter in operation.get("parameters", []):
        if examples := parameter["schema"].pop("examples", None):
            parameter["example"] = examples[0]  # what Swagger fills in
    statuses = {"503"}
    if scopes is not None:
        statuses.update(_OF_A_KEY)
        operation["security"] = [{_SCHEME: []}]
        needed = ", ".join(f"`{scope}`" for scope in operation["x-scopes"])
        described = operation.get("description", "")
        operation["description"] = f"{described}\n\nScope: one of {needed}; `admin` has all.".strip()
    if operation.get("parameters"):
        statuses.add("422")
    if sends:
        statuses.update(_OF_SENDING)
    if "requestBody" in operation:
        statuses.update(_OF_A_BODY)
    responses.pop("422", None)  # the framework's, which speaks of another form
    for status in statuses:
        responses.setdefault(status, {"description": _ERRORS[status]})
    for status, response in responses.items():
        if status in _ERRORS:
            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        names = ["X-Request-ID", *_OF_STATUS.get(status, ())]
        if "304" in responses and status in ("200", "304"):
            names.append("ETag")
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    if "304" in responses:
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
    operation["responses"] = dict(sorted(responses.items()))
