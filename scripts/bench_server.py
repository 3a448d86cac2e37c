"""What the load of the benchmarks is put on, one worker each.

    python -m scripts.bench_server app --body FILE     the service, with one more route that answers FILE
    python -m scripts.bench_server bare --body FILE    Starlette with nothing but that route

They listen on PORT. The extra route is `/bench/constant`; in the service it stands behind the same middleware and key
check as every other.
"""

import argparse
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.dependencies import Reader
from app.core.config import load_settings
from app.core.logging import configure_logging
from app.main import create_app

CONSTANT = "/bench/constant"


def service(body: bytes) -> FastAPI:
    settings = load_settings()
    configure_logging(level=settings.log_level, json_logs=settings.logs_as_json)
    app = create_app(settings)

    async def constant(_caller: Reader) -> Response:
        return Response(body, media_type="application/json")

    app.get(CONSTANT)(constant)
    return app


def bare(body: bytes) -> Starlette:
    async def constant(_request: Request) -> Response:
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route(CONSTANT, constant)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("app", "bare"))
    parser.add_argument("--body", type=Path, required=True)
    wanted = parser.parse_args()
    body = wanted.body.read_bytes()
    app = service(body) if wanted.what == "app" else bare(body)
    uvicorn.run(app, port=load_settings().port, loop="uvloop", http="httptools", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
