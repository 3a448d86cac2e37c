"""What holds of every answer there is: it is JSON that anybody can read, and its pages are ours alone to turn."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from fastapi import FastAPI

from app.core.config import Settings
from app.core.keys import hash_key, new_key
from app.main import create_app
from app.warehouse import erasures
from app.warehouse.engine import Database
from app.warehouse.jobs import Job, enqueue
from app.warehouse.keys import add_key
from tests.api.conftest import KEYS, Clients, client, resources_for, sample_shop
from tests.api.every_route import Question, put_to, questions
from tests.api.test_bad_input import assert_problem
from tests.api.test_privacy_scan import fewer, known_of
from tests.fakes import SECRET, value

#: What nobody has to know to ask.
ELSE = {
    **{name: ["1"] for name in ("job_id", "run_id", "key_id", "receipt_id", "subject")},
    **{name: ["nobody@shop.example"] for name in ("email", "search_terms")},
    "action": ["customer"],
    "cursor": [""],
    "level": [""],
    "period": ["Q4"],
    "min_ltv": ["1"],
}
#: What tells nothing in JSON here: no job has failed, and metrics are turned off.
UNTOLD = {"/api/admin/jobs/{job_id}/replay", "/metrics"}


@pytest.fixture(scope="module")
async def whole_shop(database: Database) -> str:
    """Of which nothing has been erased or has failed yet."""
    return await sample_shop(database, "whole", customers=200)


@pytest.fixture
async def whole(database: Database, settings: Settings, whole_shop: str) -> AsyncIterator[FastAPI]:
    """For a key that may ask everything, and does."""
    app = create_app(resources=resources_for(database, settings, whole_shop))
    async with app.router.lifespan_context(app):
        yield app


async def made(database: Database, store_id: str) -> dict[str, Sequence[Any]]:
    """What is asked for by an id that is given only when there is something to ask for."""
    key_id, key = new_key()
    digest = hash_key(key.encode())
    async with database.transaction() as connection:
        await add_key(connection, key_id=key_id, store_id=store_id, name="", secret_hash=digest, scopes=["support"])
        await enqueue(connection, Job.thin, store_id)
        receipt = await erasures.note(connection, store_id, "erased-before", secret=SECRET, by=key_id)
        await erasures.finish(connection, receipt.receipt_id, {})
    job_id = await value(database, "SELECT max(job_id) FROM jobs WHERE store_id = :s", s=store_id)
    return {"key_id": [key_id], "job_id": [job_id], "receipt_id": [receipt.receipt_id]}


def no_number(word: str) -> float:
    raise AssertionError(f"{word} is no number of JSON")


async def test_no_answer_holds_a_number_that_json_does_not_have(
    whole: FastAPI, database: Database, whole_shop: str
) -> None:
    known = ELSE | dict(await known_of(database, whole_shop)) | await made(database, whole_shop)
    told, asked = set(), set()
    async with client(whole, KEYS["admin"]) as asking:
        for question in questions(whole.openapi(), known):
            answer = await put_to(asking, question)
            assert answer.status_code < 500, str(question)
            asked.add(question.route)
            if "json" in answer.headers.get("content-type", ""):
                json.loads(answer.text, parse_constant=no_number)
                if answer.status_code < 300:
                    told.add(question.route)
    assert asked - told == UNTOLD, "say what they may be asked"


async def test_a_cursor_that_was_tampered_with_is_refused_wherever_one_is_taken(
    app: FastAPI, ask: Clients, database: Database, shop: str
) -> None:
    first = first_pages(app, ELSE | fewer(await known_of(database, shop)) | {"customer_id": ["C0000001"]})
    assert {"/api/admin/audit", "/api/admin/jobs", "/api/privacy/receipts"} <= first.keys()
    for _ in range(2):
        await ask.admin.get("/api/mcp/customer/C0000001")
    await app.state.resources.audit.write()
    cursors = {}
    for route, question in first.items():
        answer = await put_to(ask.admin, question)
        assert answer.status_code == 200, str(question)
        if cursor := answer.json()["next_cursor"]:
            cursors[route] = cursor
    assert len(cursors) >= 4 and "/api/admin/audit" in cursors
    for route, question in first.items():
        own = [route] if route in cursors else []
        foreign = [cursor for other, cursor in cursors.items() if other != route]
        for wrong in (*foreign, *(changed for each in own for changed in tampered(cursors[each]))):
            asked = Question("GET", route, question.path, {**question.parameters, "cursor": wrong})
            problem = assert_problem(await put_to(ask.admin, asked), 422)
            assert problem["errors"][0]["field"] == "cursor", str(asked)


def first_pages(app: FastAPI, known: dict[str, Sequence[Any]]) -> dict[str, Question]:
    """{route: what asks for its first page, of one} of every route that has pages"""
    described = app.openapi()
    found: dict[str, Question] = {}
    for question in questions(described, known):
        operation = described["paths"][question.route][question.method.lower()]
        if "cursor" in {each["name"] for each in operation.get("parameters", [])}:
            one = Question("GET", question.route, question.path, {**question.parameters, "limit": "1"})
            found.setdefault(question.route, one)
    return found


def tampered(cursor: str) -> list[str]:
    """With a letter changed in its signature and in what it says, cut short, and with more."""
    flipped = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in (0, 10, len(cursor) - 4)]
    return [*flipped, cursor[:-4], cursor + "AAAA"]
