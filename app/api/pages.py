"""Pages and what they load. Everything comes from this machine: no address of another is in any of it."""

import importlib.util
from asyncio import Lock, to_thread
from importlib.metadata import version
from pathlib import Path

import structlog
from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from app.api.dependencies import resources_of
from app.core.errors import InvalidInput
from app.core.files import write_whole

_FRONTEND = Path(__file__).resolve().parents[2] / "frontend"
_SCRIPT = "text/javascript"
_REVALIDATE = {"Cache-Control": "no-cache"}
# The charts' script changes with the package only; a day is long enough, and short enough for an upgrade.
_LONG = {"Cache-Control": "public, max-age=86400"}

# What the bundle's last line does: without it, nothing could reach what is in it.
_CHARTS = "window.vega = vega; window.vegaLite = vegaLite; window.vegaEmbed = vegaEmbed;"

router = APIRouter(include_in_schema=False)
_making_charts = Lock()

log = structlog.get_logger()


def serve_pages(app: FastAPI) -> None:
    """The pages, the API's description for people, and the files both load."""
    app.include_router(router)
    app.mount("/static", _Files(directory=_FRONTEND / "static", check_dir=False))


class _Files(StaticFiles):
    """Asked for again each time, and sent again only when they changed."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(_REVALIDATE)
        return response


@router.api_route("/", methods=["GET", "HEAD"])
async def home() -> Response:
    page = _FRONTEND / "index.html"
    if not page.is_file():
        raise HTTPException(404)
    return FileResponse(page, media_type="text/html", headers=_REVALIDATE)


# Charts


@router.api_route("/static/vega.js", methods=["GET", "HEAD"])
async def charts(request: Request) -> Response:
    """vega, vegaLite and vegaEmbed, made once per installed version and kept under DATA_DIR."""
    async with _making_charts:
        script = await to_thread(charts_script, resources_of(request).settings.data_dir)
    if isinstance(script, str):
        return Response(script, media_type=_SCRIPT, headers=_LONG)
    return FileResponse(script, media_type=_SCRIPT, headers=_LONG)


def charts_script(data_dir: Path) -> Path | str:
    """Where the script is; made if it is not there yet, which takes about two seconds. Itself, where it is not kept."""
    path = data_dir / f"vega-{version('vl-convert-python')}.js"
    if not path.exists():
        from vl_convert import javascript_bundle  # 80 MB, needed once

        # In a function of its own, so that its hundreds of short names do not become the page's.
        script = f"(() => {{\n{javascript_bundle(_CHARTS)}\n}})();\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, script)
        except (OSError, InvalidInput) as error:
            log.warning("charts.not_kept", why=str(error))
            return script
    return path


# The API's description

_DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Customer Intelligence Platform: API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_DOCS_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""


@router.get("/docs")
async def docs() -> Response:
    return HTMLResponse(_DOCS, headers=_REVALIDATE)


@router.get("/docs/start.js")
async def docs_start() -> Response:
    return Response(_DOCS_START, media_type=_SCRIPT, headers=_REVALIDATE)


@router.get("/docs/swagger-ui-bundle.js")
async def docs_script() -> Response:
    return FileResponse(_swagger("swagger-ui-bundle.js"), media_type=_SCRIPT, headers=_LONG)


@router.get("/docs/swagger-ui.css")
async def docs_style() -> Response:
    return FileResponse(_swagger("swagger-ui.css"), media_type="text/css", headers=_LONG)


def _swagger(name: str) -> Path:
    """A file of the package that carries Swagger UI; its Python code is never imported."""
    package = importlib.util.find_spec("fastapi_swagger")
    for folder in (package and package.submodule_search_locations) or []:
        return Path(folder) / "resources" / name
    raise HTTPException(404)
