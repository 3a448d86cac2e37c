"""Whatever is asked, the metrics have no more rows for it than there are routes."""

import os
import random
import string

import httpx
from fastapi import FastAPI
from prometheus_client import REGISTRY

from app.api.pages import router as pages
from app.api.routes import ROUTERS
from tests.api.conftest import KEYS

#: What HTTP has, and what somebody made up.
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW", "kanarienvogel")


def series() -> set[tuple[str, str]]:
    """The labels there are: method and route."""
    found = set()
    for metric in REGISTRY.collect():
        if metric.name == "ci_http_request_duration_seconds":
            found |= {(each.labels["method"], each.labels["route"]) for each in metric.samples}
    return found


def n_rows() -> int:
    return sum(len(metric.samples) for metric in REGISTRY.collect())


async def asked(app: FastAPI, method: str, path: str, key: str) -> int:
    """As a server would, without the time a client takes."""
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(str(message["status"])))

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": httpx.URL(path=path).raw_path,
        "query_string": b"",
        "headers": [(b"x-api-key", key.encode())],
        "client": ("127.0.0.1", 1),
        "app": app,
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    return statuses[0]


async def test_ten_thousand_paths_are_one_row(app: FastAPI) -> None:
    """Made up, and those there are with something made up in them, asked with every method there is and some more."""
    chance = random.Random(os.environ.get("SEED", "5"))
    routes = {route.path for router in ROUTERS for route in router.routes}  # type: ignore[attr-defined]
    templates = [*(route for route in routes if "{" in route), "/{a}", "/api/{a}", "/api/mcp/{a}/{b}", "/static/{a}"]
    await asked(app, "GET", "/first", KEYS["analytics"])
    before = n_rows()
    statuses = set()
    for number in range(10_000):
        path = chance.choice(templates)
        while "{" in path:
            start, _, rest = path.partition("{")
            word = "".join(chance.choices(string.ascii_letters + string.digits + "-._~", k=12))
            path = start + word + rest.partition("}")[2]
        statuses.add(
            await asked(app, METHODS[number % len(METHODS)], path, "wrong" if number % 3 else KEYS["campaigns"])
        )
    assert {401, 404, 405} <= statuses
    assert not {status for status in statuses if status >= 500}
    told = series()
    # Other tests of this process may have looked at pages.
    of_pages = {route.path for route in pages.routes} | {"/static", "/openapi.json"}  # type: ignore[attr-defined]
    assert {route for _, route in told} <= routes | of_pages | {"unmatched"}
    assert {method for method, _ in told} <= {*METHODS[:8], "other"}
    # A row for each bucket, of each route with each method and status.
    assert n_rows() - before < 16 * len(routes) * len(METHODS)
