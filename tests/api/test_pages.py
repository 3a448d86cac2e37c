"""Pages and the API's description: everything from this machine, nothing that a page may not run."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from app.api.customers.schemas import CustomerProfile
from app.api.pages import charts_script
from app.core.config import Settings
from tests.api.conftest import Clients

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("/", "/docs")


@pytest.mark.parametrize("path", [*PAGES, "/health/live", "/nothing", "/api/mcp/customer/random"])
async def test_every_answer_forbids_what_a_page_should_never_do(ask: Clients, path: str) -> None:
    headers = (await ask.nobody.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "server" not in headers


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_and_all_it_loads_come_from_here(ask: Clients, path: str) -> None:
    page = await ask.nobody.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", page.text), "inline script"
    assert not re.search(r"\son\w+=|javascript:", page.text)
    loaded = re.findall(r"<(?:script|link|img)[^>]*\b(?:src|href)=\"([^\"#]+)\"", page.text)
    assert loaded
    for address in loaded:
        if address.startswith("data:"):
            continue
        assert address.startswith("/"), address
        assert (await ask.nobody.get(address)).status_code == 200, address


async def test_no_page_holds_a_key(ask: Clients) -> None:
    for path in PAGES:
        assert "ci_live_" not in (await ask.nobody.get(path)).text


def test_the_charts_script_is_made_once_and_kept(tmp_path: Path) -> None:
    script = charts_script(tmp_path)
    made_at = script.stat().st_mtime_ns
    assert charts_script(tmp_path) == script
    assert script.stat().st_mtime_ns == made_at
    assert [path.name for path in tmp_path.iterdir()] == [script.name]


async def test_the_charts_script_is_one_file_of_ours(ask: Clients, settings: Settings) -> None:
    answer = await ask.nobody.get("/static/vega.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "max-age" in answer.headers["cache-control"]
    assert answer.text == charts_script(settings.data_dir).read_text()
    for name in ("window.vegaEmbed=", "window.vegaLite=", "window.vega="):
        assert name in answer.text


async def test_a_page_that_is_not_there_is_a_problem_like_any_other(
    ask: Clients, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.api.pages._FRONTEND", tmp_path)
    answer = await ask.nobody.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_static_files_are_asked_for_again_and_sent_only_when_changed(ask: Clients) -> None:
    name = next((ROOT / "frontend" / "static").iterdir()).name
    answer = await ask.nobody.get(f"/static/{name}")
    assert answer.headers["cache-control"] == "no-cache"
    again = await ask.nobody.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_the_description_is_complete(app: FastAPI, ask: Clients) -> None:
    told = (await ask.nobody.get("/openapi.json")).json()
    assert told["info"]["title"] == "Customer Intelligence Platform"
    assert told["components"]["securitySchemes"]["X-API-Key"]["name"] == "X-API-Key"
    for path, operations in told["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert ("security" in operation) == bool(operation["x-scopes"])
            for status, answer in operation["responses"].items():
                kind = "application/json" if status in ("200", "202") else "application/problem+json"
                assert list(answer["content"]) == [kind], (path, status)
    assert "HTTPValidationError" not in str(told)


def example_of(app: FastAPI, schema: dict[str, str]) -> dict[str, Any]:
    """What Swagger puts into a body that is needed."""
    described = app.openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return {name: each["examples"][0] for name, each in described["properties"].items()}


async def test_the_examples_of_the_description_work_on_the_built_in_shop(app: FastAPI, ask: Clients) -> None:
    """As Swagger fills them in. Archetypes' ids follow from the shop: there it says where to take one."""
    tried = 0
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            filled, query = path, {}
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    own = "{" + parameter["name"] + "}"
                    filled = filled.replace(own, parameter.get("example", own))
                elif parameter["required"]:
                    query[parameter["name"]] = parameter["example"]
            if "{" in filled:
                assert "take one from" in operation["parameters"][0]["description"]
                continue
            if path == "/api/privacy/erase":
                continue  # it works, and the others would miss whom it erased
            body = operation.get("requestBody", {})
            sent = (
                {"json": example_of(app, body["content"]["application/json"]["schema"])} if "required" in body else {}
            )
            answer = await ask.admin.request(method, filled, params=query, **sent)
            # A discovery of the shop may wait already: nobody here works on it.
            assert answer.status_code in (200, 202) or path == "/api/admin/cluster", (path, answer.text)
            tried += 1
    assert tried >= 12


def test_the_documented_profile_has_every_field_of_a_real_one(app: FastAPI) -> None:
    documented = app.openapi()["components"]["schemas"]["CustomerProfile"]["properties"]
    assert set(documented) == set(CustomerProfile.model_fields)
