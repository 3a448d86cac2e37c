"""A key opens one store: whatever is another's is answered as if it were nobody's, on every route there is."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from fastapi import FastAPI

from app.core.keys import hash_key, new_key
from app.warehouse import erasures
from app.warehouse.engine import Database
from app.warehouse.jobs import Job, enqueue
from app.warehouse.keys import add_key
from tests.api.conftest import STORE, Ask, Clients, client
from tests.api.every_route import put_to, questions
from tests.api.test_privacy_scan import Secrets, fewer, known_of, leaks, secrets_of
from tests.fakes import SECRET, a_shop, put, segmented, value

#: Of the shop, and like it but of nobody. What is asked for by name is each store's own.
Ids = dict[str, tuple[str, str]]


@pytest.fixture
async def other(app: FastAPI, database: Database, store_id: str) -> AsyncIterator[Ask]:
    """An admin key of another store with customers and segments of its own."""
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=1)
    key_id, key = new_key()
    async with database.transaction() as connection:
        digest = hash_key(key.encode())
        await add_key(connection, key_id=key_id, store_id=store_id, name="", secret_hash=digest, scopes=["admin"])
    async with client(app, key) as asking, asyncio.timeout(60):
        while (await asking.get("/api/admin/keys")).status_code != 200:  # noqa: ASYNC110  until it is heard of
            await asyncio.sleep(0.01)
        yield asking


@pytest.fixture
async def ids(ask: Clients, database: Database, shop: str) -> Ids:
    """{parameter: (of the shop, of nobody)}"""
    known = await known_of(database, shop)
    async with database.transaction() as connection:
        await enqueue(connection, Job.thin, shop)
    job_id = await value(database, "SELECT max(job_id) FROM jobs WHERE store_id = :s", s=shop)
    key_id = (await ask.admin.post("/api/admin/keys", json={"scopes": ["support"]})).json()["key_id"]
    run_id = await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=STORE)
    async with database.transaction() as connection:
        # Of somebody who is not there any more, so that nobody is missed by others who ask the shop.
        receipt = await erasures.note(connection, shop, "erased-before", secret=SECRET, by="KEY00001")
        await erasures.finish(connection, receipt.receipt_id, {})
    email = await value(database, "SELECT min(email) FROM customers WHERE store_id = :s", s=shop)
    pages = (await ask.admin.get("/api/mcp/archetypes/" + known["archetype_id"][0] + "/members?limit=1")).json()
    return {
        "customer_id": ("C0000001", "C9999999"),
        "pseudonym": (known["customer_id"][0], "C-00000000"),
        "archetype_id": (known["archetype_id"][0], "arch_000000"),
        "level2": (known["archetype_id"][2], "arch_000000_none"),
        "job_id": (str(job_id), "999999999"),
        "key_id": (key_id, "zzzzzzzz"),
        "run_id": (str(run_id), "999999999"),
        "receipt_id": (receipt.receipt_id, "00000000-0000-4000-8000-000000000000"),
        "email": (email, "nobody@shop.example"),
        "cursor": (pages["next_cursor"], "x" * len(pages["next_cursor"])),
    }


def parameters(ids: Ids, which: int) -> dict[str, Sequence[Any]]:
    given = {name: [each[which]] for name, each in ids.items()}
    return {
        **given,
        "customer_id": [*given["customer_id"], *given["pseudonym"]],
        "archetype_id": [*given["archetype_id"], *given["level2"]],
        "query": [*given["customer_id"], *given["pseudonym"]],
        "subject": given["pseudonym"],
    }


async def test_what_is_another_stores_is_answered_as_what_is_nobodys(
    app: FastAPI, database: Database, other: Ask, ids: Ids, shop: str
) -> None:
    """In the same words, so that nobody can find out what there is in another store."""
    common = fewer(await known_of(database, shop)) | {"axis": ["value"], "name": ["churn"], "action": ["customer"]}
    secrets = await secrets_of(database, shop)
    foreign, nobodys = (list(questions(app.openapi(), common | parameters(ids, which))) for which in (0, 1))
    n_refused, n_by_body = 0, Counter[str]()
    for there, nowhere in zip(foreign, nobodys, strict=True):
        if (there.path, there.parameters, there.body) == (nowhere.path, nowhere.parameters, nowhere.body):
            continue  # it asks for nothing of the shop's
        answers = [await put_to(other, question) for question in (there, nowhere)]
        told = [plain(answer.json(), ids) for answer in answers]
        assert told[0] == told[1], str(there)
        assert answers[0].status_code == answers[1].status_code, str(there)
        n_refused += answers[0].status_code in (404, 422)
        n_by_body[there.route] += there.body != nowhere.body
        asked = {*there.parameters.values(), *there.path.split("/"), *map(str, (there.body or {}).values())}
        assert not list(leaks(answers[0].json(), Secrets(secrets.words - asked, frozenset()))), str(there)
    assert n_refused > 30
    # By id, by pseudonym and by address.
    assert +n_by_body == {"/api/privacy/export": 3, "/api/privacy/erase": 3}


def plain(answer: Any, ids: Ids) -> Any:
    """An answer without what was asked and without its own number."""
    if isinstance(answer, dict):
        return {plain(name, ids): plain(each, ids) for name, each in answer.items() if name != "request_id"}
    if isinstance(answer, list):
        return [plain(each, ids) for each in answer]
    if isinstance(answer, str):
        for asked in ids.values():
            for each in asked:
                answer = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", "(asked)", answer)
    return answer


async def test_lists_hold_what_is_ones_own_alone(
    app: FastAPI, ask: Clients, database: Database, other: Ask, ids: Ids, shop: str, store_id: str
) -> None:
    """Nothing was asked for here: all there is to see."""
    everywhere = fewer(await known_of(database, shop)) | {"query": ["c0"], "subject": ["C-0"], "action": ["key"]}
    hidden = (await secrets_of(database, shop)).words | {ids[name][0] for name in ("pseudonym", "key_id")}
    described = app.openapi()
    seen = set()
    for question in questions(described, everywhere | {name: ["1"] for name in ids}):
        if question.method == "GET" and "{" not in question.route and question.scopes:
            operation = described["paths"][question.route]["get"]
            needed = {each["name"] for each in operation.get("parameters", []) if each.get("required")}
            if question.parameters.keys() == needed:
                answer = await put_to(other, question)
                if answer.is_success:
                    seen.add(question.route)
                assert not hidden & set(re.findall(r"[\w.@+#-]+", answer.text)), str(question)
    assert len(seen) >= 10
    assert "/api/mcp/customers/search" in seen
    served = await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id)
    assert (await other.get("/api/mcp/archetypes/top")).json()["run_id"] == served
