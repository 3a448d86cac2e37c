"""Unmistakable words planted in everything a request can hold, and in what goes wrong: none of them turns up in a log,
a metric, a trace, the audit log, or raw in a problem.
"""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text

from app.api.tracing import Traced
from app.core.config import Settings
from app.core.errors import shortened
from app.core.logging import configure_logging
from app.main import create_app
from app.resources import Resources
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, client, resources_for
from tests.api.every_route import Question, questions
from tests.cli.test_serve import ROOT, environment
from tests.fakes import rows
from tests.waiting import until

#: Begins and ends so that nothing else does, and holds what nobody should repeat as it is.
MARK = "kanarienvogel"
PROFILE = "/api/mcp/customer/C0000001"
KNOWN = {
    **{name: ["C0000001"] for name in ("customer_id", "key_id", "subject", "query", "search_terms")},
    **{name: ["1"] for name in ("job_id", "run_id", "min_ltv", "receipt_id")},
    **{name: ["2025-06-01"] for name in ("as_of", "start_date", "end_date")},
    **{name: [""] for name in ("include", "exclude", "level", "cursor")},
    "archetype_id": ["arch_000000"],
    "axis": ["value"],
    "name": ["churn"],
    "period": ["Q4"],
    "action": ["key"],
    "email": ["nobody@shop.example"],
}


def canary(place: str) -> str:
    """Of a place, such that it can be told where it got out."""
    return f"{MARK} of {place} <b>\u202e'\";"


#: What was looked for and is not there may be named, in so many letters and escaped.
REPEATED = {canary(name) for name in ("customer_id", "email", "period")}
HEADERS = {
    "X-Request-ID": f"{MARK} of x-request-id",
    "User-Agent": f"{MARK} of user-agent",
    "Referer": f"http://{MARK}.example/of/referer?q={MARK}",
    "Cookie": f"session={MARK}-of-cookie",
    "Authorization": f"Bearer {MARK}-of-authorization",
    "Origin": f"http://{MARK}-of-origin.example",
    "X-Forwarded-For": f"{MARK}-of-forwarded-for",
    "X-Forwarded-Host": f"{MARK}-of-forwarded-host",
    "Forwarded": f'for="{MARK}-of-forwarded"',
    "If-None-Match": f'W/"{MARK}-of-if-none-match"',
    "Idempotency-Key": f"{MARK}-of-idempotency-key",
    "Accept-Language": f"{MARK}-of-accept-language",
    "Traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
    "Tracestate": f"shop={MARK}-of-tracestate",
    "Baggage": f"customer={MARK}-of-baggage",
    f"X-{MARK}": f"{MARK}-of-header",
}


@dataclass
class Sinks:
    """Where words could get out to. log : as it would be written; others : what libraries log"""

    log: io.BytesIO | io.StringIO
    spans: InMemorySpanExporter
    others: io.StringIO = field(default_factory=io.StringIO)

    def logged(self) -> str:
        written = self.log.getvalue()
        return (written.decode() if isinstance(written, bytes) else written) + self.others.getvalue()

    def traced(self) -> str:
        return "\n".join(
            f"{span.to_json()} {span.context.trace_state} {dict(span.attributes or {})} {span.status.description}"
            for span in self.spans.get_finished_spans()
        )


@contextmanager
def watched(*, level: str, as_json: bool, spans: InMemorySpanExporter) -> Iterator[Sinks]:
    sinks = Sinks(io.BytesIO() if as_json else io.StringIO(), spans)
    before = structlog.get_config()
    configure_logging(level=level, json_logs=as_json)
    factory = structlog.BytesLoggerFactory if as_json else structlog.PrintLoggerFactory
    structlog.configure(logger_factory=factory(file=sinks.log))  # type: ignore[arg-type]
    handler = logging.StreamHandler(sinks.others)
    handler.setLevel(level)
    logging.getLogger().addHandler(handler)
    try:
        yield sinks
    finally:
        logging.getLogger().removeHandler(handler)
        structlog.configure(**before)


@dataclass(frozen=True)
class Watched:
    """The shop, with metrics and traces."""

    app: FastAPI
    traced: Traced
    resources: Resources
    spans: InMemorySpanExporter

    def asking(self, key: str | None = None) -> httpx.AsyncClient:
        headers = {} if key is None else {"X-API-Key": key}
        transport = httpx.ASGITransport(self.traced)
        return httpx.AsyncClient(transport=transport, base_url="http://shop.test", headers=headers)

    async def metrics(self) -> str:
        async with client(self.app) as asking:
            return (await asking.get("/metrics")).text


@pytest.fixture
async def shop_watched(database: Database, settings: Settings, spare_shop: str) -> AsyncIterator[Watched]:
    """Over a database whose address holds a password."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    url = with_password(database.url)
    bounds = {"enable_prometheus_metrics": True, "enable_cache": True, "database_url": url}
    own = Database(url, settings)
    resources = resources_for(own, settings.model_copy(update=bounds), spare_shop)
    app = create_app(resources=resources)
    async with app.router.lifespan_context(app):
        yield Watched(app, Traced(app, provider), app.state.resources, spans)
    await own.close()


def with_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}:{MARK}-of-password{at or '@'}{place}"


def planted(app: FastAPI) -> Iterator[tuple[Question, bytes | None, set[str]]]:
    """Every route with a canary in each thing it takes, one at a time: the question, a body to be sent as it is, and
    the canaries that a problem may repeat, shortened.
    """
    for question in questions(app.openapi(), KNOWN):
        names = [part[1:-1] for part in question.route.split("/") if part.startswith("{")]
        for name in names:
            word = canary(name)
            path = question.route.replace(f"{{{name}}}", quote(word, safe=""))
            yield replace(question, path=path.replace("{", "").replace("}", "")), None, {word}
        for name in question.parameters:
            parameters = {**question.parameters, name: canary(name)}
            yield replace(question, parameters=parameters), None, {canary(name)} & REPEATED
        yield replace(question, parameters={**question.parameters, canary("a name"): canary("its value")}), None, set()
        if question.body is not None:
            for name in question.body or {"months": 1}:
                yield replace(question, body={**question.body, name: canary(name)}), None, {canary(name)} & REPEATED
            word = canary("a field")
            yield replace(question, body={**question.body, word: canary("its value")}), None, {word}
            yield replace(question, body={**question.body, word * 1_000: 1}), None, {word * 1_000}
            for broken in (f'{{"{canary("half")}', f'["{MARK}"', f"{MARK} of no json", f'{{"{MARK}": 1, "{MARK}": 2}}'):
                yield question, broken.encode(), set()


def assert_unrepeated(answer: httpx.Response, may: set[str], asked: str) -> None:
    """What is told of a problem holds no canary but those it may, and these as harmless as can be."""
    problem = answer.json()
    instance = problem.pop("instance")
    assert instance.isascii() and "<" not in instance and '"' not in instance and len(instance) <= 203, asked
    told = json.dumps(problem, ensure_ascii=False)
    for word in may:
        for form in (shortened(word), ascii(word)[1:-1][:60]):
            told = told.replace(json.dumps(form, ensure_ascii=False)[1:-1], "")
    assert MARK not in told, (asked, told)
    assert MARK not in str({**answer.headers, "x-request-id": answer.headers["x-request-id"]}), asked


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
async def test_nothing_that_is_asked_gets_out(shop_watched: Watched, database: Database, as_json: bool) -> None:
    n_problems = 0
    with watched(level="INFO", as_json=as_json, spans=shop_watched.spans) as sinks:
        for key in (KEYS["admin"], f"{MARK}-of-key"):
            async with shop_watched.asking(key) as asking:
                for question, body, may in planted(shop_watched.app):
                    if key != KEYS["admin"] and question.method == "GET" and question.parameters:
                        continue  # it goes no further than the key
                    content = json.dumps(question.body) if body is None else body
                    sent = {} if question.body is None else {"content": content}
                    answer = await asking.request(
                        question.method, question.path, params=question.parameters, headers=HEADERS, **sent
                    )
                    assert answer.status_code < 500, str(question)
                    if answer.status_code >= 400:
                        n_problems += 1
                        assert_unrepeated(answer, may, str(question))
                for path in (f"/{MARK}", f"/static/{MARK}.js", f"/api/{quote(canary('a path'))}"):
                    for method in ("GET", "POST", "DELETE"):
                        assert_unrepeated(await asking.request(method, path, headers=HEADERS), set(), path)
        await shop_watched.resources.audit.write()
        seen = {"log": sinks.logged(), "metrics": await shop_watched.metrics(), "traces": sinks.traced()}
    audit = await rows(database, "SELECT row_to_json(a)::text FROM audit_log AS a")
    assert n_problems > 200
    assert seen["log"].count("request_id") > 400
    assert "ci_http_request_duration_seconds" in seen["metrics"]
    assert seen["traces"].count('"name": "GET /api/mcp/customer/{customer_id}"') > 1
    assert len(audit) > 0
    for place, told in {**seen, "audit": str(audit)}.items():
        assert MARK not in told, (place, around(told))
        for secret in KEYS.values():
            assert secret not in told, place


def around(told: str) -> str:
    at = told.find(MARK)
    return told[max(0, at - 300) : at + 100]


# When something goes wrong


async def raises(*_: object, **__: object) -> Any:
    try:
        raise KeyError(canary("a cause"))
    except KeyError as error:
        raise RuntimeError(f"Could not greet {canary('an exception')}") from error


async def raises_a_group(*_: object, **__: object) -> Any:
    failure = ValueError(canary("one of a group"))
    failure.add_note(canary("a note"))
    raise ExceptionGroup(canary("a group"), [failure])


def asks_wrongly(database: Database, how: str) -> Any:
    async def ask(*_: object, **__: object) -> Any:
        word = canary("a value")
        if how == "reading":
            return await database.rows("SELECT CAST(CAST($1 AS text) AS integer)", word)
        if how == "reading, before it is sent":
            return await database.rows("SELECT CAST($1 AS integer)", word)
        async with database.transaction() as connection:
            if how == "writing twice":
                statement = (
                    "INSERT INTO stores (store_id, timezone, currency) VALUES (:w, 'UTC', 'USD'), (:w, 'UTC', 'USD')"
                )
                return await connection.execute(text(statement), {"w": word})
            return await connection.execute(text("SELECT CAST(CAST(:w AS text) AS integer)"), {"w": word})

    return ask


FAULTS = ["exception", "group", "reading", "reading, before it is sent", "writing", "writing twice"]
#: What is written from WARNING on is written from INFO on as well: that a failure is part of it is seen by one.
LOGS = [(fault, as_json, "INFO") for fault in FAULTS for as_json in (True, False)] + [("exception", True, "WARNING")]


@pytest.mark.parametrize(("fault", "as_json", "level"), LOGS)
async def test_nothing_that_an_error_says_gets_out(
    shop_watched: Watched, monkeypatch: pytest.MonkeyPatch, fault: str, as_json: bool, level: str
) -> None:
    failing = {"exception": raises, "group": raises_a_group}.get(fault) or asks_wrongly(
        shop_watched.resources.database, fault
    )
    monkeypatch.setattr("app.api.customers.service.customers.read_profile", failing)
    monkeypatch.setattr("app.api.archetypes.service.archetypes.read_archetypes", failing)
    failed = list[str]()
    with watched(level=level, as_json=as_json, spans=shop_watched.spans) as sinks:
        async with shop_watched.asking(KEYS["support"]) as asking:
            for path in (PROFILE, f"{PROFILE}?include=churn", "/api/mcp/archetypes/top"):
                answer = await asking.get(path, headers=HEADERS)
                problem = answer.json()
                assert (answer.status_code, problem["title"]) == (500, "Internal Server Error")
                assert set(problem) == {"type", "title", "status", "detail", "instance", "request_id"}
                assert_unrepeated(answer, set(), path)
                failed.append(problem["request_id"])
        seen = {"log": sinks.logged(), "metrics": await shop_watched.metrics(), "traces": sinks.traced()}
    assert "request.failed" in seen["log"]
    assert all(request_id in seen["log"] for request_id in failed)
    assert '"http.response.status_code": 500' in seen["traces"]
    for place, told in seen.items():
        assert MARK not in told, (place, around(told))


async def test_the_address_of_a_database_that_is_away_is_told_without_its_password(settings: Settings) -> None:
    spans = InMemorySpanExporter()
    url = f"postgresql://shop:{MARK}-of-password@127.0.0.1:1/none"
    here = settings.model_copy(update={"database_url": url, "enable_prometheus_metrics": True})
    database = Database(url, here)
    app = create_app(resources=resources_for(database, here, "shop", prepared=False))
    with watched(level="INFO", as_json=True, spans=spans) as sinks:
        async with app.router.lifespan_context(app), client(app, KEYS["admin"]) as asking:
            for path in (PROFILE, "/api/admin/keys", "/health", "/metrics"):
                answer = await asking.get(path)
                assert answer.status_code == (200 if path == "/metrics" else 503)
                assert MARK not in answer.text
    await database.close()
    assert "database.not_ready" in sinks.logged()
    assert MARK not in sinks.logged()


async def test_what_keeps_a_database_from_being_ready_is_told_by_kind_and_place(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    resources = resources_for(database, settings, "shop", prepared=False)
    monkeypatch.setattr("app.resources.migrate", asks_wrongly(database, "writing"))
    with watched(level="INFO", as_json=True, spans=InMemorySpanExporter()) as sinks:
        preparing = asyncio.create_task(resources.prepare_when_possible())
        try:
            await until(lambda: "database.not_ready" in sinks.logged(), seconds=30)
        finally:
            preparing.cancel()
            with suppress(asyncio.CancelledError):
                await preparing
    assert "DBAPIError" in sinks.logged()
    assert "test_canaries.py" in sinks.logged()
    assert MARK not in sinks.logged()


SERVES_AND_FAILS = f"""
import argparse, asyncio, gc, sys
from collections.abc import AsyncIterator
from typing import Any
import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from app.api.middleware import RequestFrame
from app.cli import guarded
from app.core.config import Settings
from tests.serving import served

app = FastAPI()
app.add_middleware(RequestFrame)

@app.get("/")
async def begins() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        yield "first"
        raise ValueError("{MARK} of an answer that had begun")
    return StreamingResponse(parts())

async def fails() -> None:
    raise ValueError("{MARK} of a task nobody waits for")

async def work(_wanted: argparse.Namespace, _settings: Settings) -> int:
    with served(app) as address:
        try:
            httpx.get(address)
        except httpx.RemoteProtocolError:
            print("cut")
    task: Any = asyncio.create_task(fails())
    await asyncio.sleep(0)
    del task
    gc.collect()
    asyncio.get_running_loop().call_soon(int, "{MARK} of a callback")
    await asyncio.sleep(0)
    raise LookupError("{MARK} of the end")

sys.exit(guarded(work, argparse.Namespace(serves=True)))
"""


@pytest.mark.parametrize("as_json", ["true", "false"])
def test_nothing_gets_out_by_what_serves_and_its_loop(tmp_path: Path, as_json: str) -> None:
    """They log for themselves, and print where nobody listens to that."""
    ended = subprocess.run(
        [sys.executable, "-c", SERVES_AND_FAILS],
        cwd=ROOT,
        env=environment(tmp_path, JSON_LOGS=as_json),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (1, "cut\n")
    assert "Something of ours went wrong: LookupError." in ended.stderr
    assert ended.stderr.count("library.complains") == 3
    assert "in fails" in ended.stderr
    assert MARK not in ended.stderr, around(ended.stderr)
