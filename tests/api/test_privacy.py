"""What is held of one person, shown and erased over HTTP, with a key that may."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.api.privacy import service
from app.api.privacy.schemas import Erased, Export, Receipt, Receipts
from app.core.config import Settings
from app.domain.records import Customer
from app.main import create_app
from app.warehouse.engine import Database
from app.warehouse.personal import RULES
from app.warehouse.stores import hold_imports
from tests.api.conftest import KEYS, Ask, Clients, client, resources_for
from tests.api.test_bad_input import REFUSED, UNKNOWN, assert_problem
from tests.fakes import bought, put, rows, value

EXPORT, ERASE, RECEIPTS = "/api/privacy/export", "/api/privacy/erase", "/api/privacy/receipts"
ADA = [
    Customer("ada", email="ada@canary.test", first_name="Ada", last_name="Canary", phone="555-canary"),
    *bought("ada", "ada-o1", "2024-03-01", ("tea", "2", "3.50"), order_number="#1815"),
]


@pytest.fixture
async def store(database: Database, store_id: str) -> str:
    home = [Customer(each, email="home@shop.test") for each in ("bea", "cay")]
    await put(database, store_id, [*ADA, *home, *bought("bea", "bea-o1", "2024-03-02", ("tea", "1", "4"))])
    return store_id


@pytest.fixture
async def officer(database: Database, settings: Settings, store: str) -> AsyncIterator[Ask]:
    """A privacy key's view of a small store; no worker runs."""
    app = create_app(resources=resources_for(database, settings, store))
    async with app.router.lifespan_context(app), client(app, KEYS["privacy"]) as asking:
        yield asking


async def told(asked: Any) -> Any:
    assert asked.status_code == 200, asked.text
    return asked.json()


async def test_an_export_has_every_table_and_what_each_column_says(officer: Ask, store: str) -> None:
    found = Export.model_validate(await told(await officer.post(EXPORT, json={"customer_id": "ada"})))
    assert found.store_id == store
    (person,) = found.people
    assert person.customer_id == "ada"
    assert {each.table for each in person.tables} == {rule.table.name for rule in RULES}
    assert all(each.about and all(each.columns.values()) for each in person.tables)
    there = {each.table: each.rows for each in person.tables}
    assert there["customers"][0]["email"] == "ada@canary.test"
    assert there["customers"][0]["total_spent"] == "7.0000"
    assert there["orders"][0]["order_number"] == "#1815"
    assert there["fact_customer_standing"] == []
    assert "bea" not in json.dumps(there)
    assert (await officer.post(EXPORT, json={"customer_id": "ada"})).headers["cache-control"] == "no-store"


def all_but_the_notes(export: dict[str, Any]) -> list[Any]:
    """That somebody was exported is noted as well, and so stands in the next export."""
    return [
        [person["customer_id"], [table for table in person["tables"] if table["table"] != "audit_log"]]
        for person in export["people"]
    ]


async def test_a_pseudonym_and_an_address_name_people_too(officer: Ask, database: Database, store: str) -> None:
    by_id = await told(await officer.post(EXPORT, json={"customer_id": "ada"}))
    named = "SELECT pseudonym FROM customer_pseudonyms WHERE store_id = :s AND customer_id = 'ada'"
    for whom in ({"customer_id": await value(database, named, s=store)}, {"email": "ADA@canary.test"}):
        assert all_but_the_notes(await told(await officer.post(EXPORT, json=whom))) == all_but_the_notes(by_id)
    home = await told(await officer.post(EXPORT, json={"email": "home@shop.test"}))
    assert [person["customer_id"] for person in home["people"]] == ["bea", "cay"]


async def test_somebody_erased_is_gone_and_the_receipt_does_not_say_who(officer: Ask, database: Database) -> None:
    answer = await officer.post(ERASE, json={"customer_id": "ada"})
    (receipt,) = Erased.model_validate(await told(answer)).receipts
    assert (receipt.state, receipt.rows["orders"]) == ("done", 1)
    assert not any(word in answer.text for word in ("ada", "canary", "1815"))
    assert_problem(await officer.post(EXPORT, json={"customer_id": "ada"}), 404)
    again = await officer.post(ERASE, json={"customer_id": "ada"})
    assert await told(again) == answer.json()
    one = await told(await officer.get(f"{RECEIPTS}/{receipt.receipt_id}"))
    assert Receipt.model_validate(one) == receipt


async def test_who_has_exported_and_erased_whom_is_in_the_audit_log(
    officer: Ask, database: Database, store: str
) -> None:
    named = "SELECT pseudonym FROM customer_pseudonyms WHERE store_id = :s AND customer_id = 'ada'"
    pseudonym = await value(database, named, s=store)

    async def noted(action: str) -> list[tuple[Any, ...]]:
        as_admin = {"X-API-Key": KEYS["admin"]}
        found = await told(await officer.get("/api/admin/audit", params={"action": action}, headers=as_admin))
        return [(each["key_id"], each["action"], each["subjects"], each["object"]) for each in found["entries"]]

    await told(await officer.post(EXPORT, json={"customer_id": "ada"}))
    assert await noted("person.export") == [("privacy", "person.export", [pseudonym], None)]
    (receipt,) = (await told(await officer.post(ERASE, json={"customer_id": "ada"})))["receipts"]
    assert await noted("person") == [
        ("privacy", "person.erase", [], receipt["receipt_id"]),
        ("privacy", "person.export", [], None),
    ]


async def test_all_who_share_an_address_are_erased(officer: Ask, database: Database, store: str) -> None:
    found = Erased.model_validate(await told(await officer.post(ERASE, json={"email": "home@shop.test"})))
    assert len(found.receipts) == 2
    left = await rows(database, "SELECT customer_id FROM customers WHERE store_id = :s", s=store)
    assert left == [("ada",)]
    assert_problem(await officer.post(ERASE, json={"email": "home@shop.test"}), 404)


async def test_while_an_import_is_under_way_the_receipt_is_open(
    officer: Ask, database: Database, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PATIENCE_SECONDS", 0.05)
    async with database.transaction() as importing:
        await hold_imports(importing, store)
        (receipt,) = (await told(await officer.post(ERASE, json={"customer_id": "ada"})))["receipts"]
    assert (receipt["state"], receipt["done_at"], receipt["rows"]) == ("requested", None, {})
    (done,) = (await told(await officer.post(ERASE, json={"customer_id": "ada"})))["receipts"]
    assert (done["receipt_id"], done["state"]) == (receipt["receipt_id"], "done")


@pytest.mark.parametrize("path", [EXPORT, ERASE], ids=["export", "erase"])
async def test_whom_nobody_knows_is_not_found_and_an_address_is_not_repeated(officer: Ask, path: str) -> None:
    problem = assert_problem(await officer.post(path, json={"customer_id": "nobody"}), 404)
    assert problem["type"] == "/problems/customer-not-found"
    answer = await officer.post(path, json={"email": "who@canary.test"})
    assert assert_problem(answer, 404)["type"] == "/problems/email-not-found"
    assert "canary" not in answer.text
    for hostile in UNKNOWN:
        if hostile.strip():
            problem = assert_problem(await officer.post(path, json={"customer_id": hostile}), 404)
            assert problem["detail"].isascii()


@pytest.mark.parametrize("path", [EXPORT, ERASE], ids=["export", "erase"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"customer_id": "ada", "email": "ada@canary.test"}, "body"),
        ({"customer_id": None}, "body"),
        ({"customer_id": ""}, "customer_id"),
        ({"customer_id": 7}, "customer_id"),
        ({"customer_id": ["ada", "bea"]}, "customer_id"),
        ({"email": " "}, "email"),
        ({"customer_id": "ada", "store_id": "shop"}, "store_id"),
        ({"customer_id": "ada", "state": "done"}, "state"),
        ([], "body"),
    ],
)
async def test_what_names_nobody_or_too_many_is_refused_by_name(
    officer: Ask, database: Database, store: str, path: str, body: Any, field: str
) -> None:
    problem = assert_problem(await officer.post(path, json=body), 422)
    assert field in {each["field"] for each in problem["errors"]}
    assert await value(database, "SELECT count(*) FROM erasures WHERE store_id = :s", s=store) == 0


async def test_an_id_that_can_be_none_is_refused(officer: Ask) -> None:
    for hostile in REFUSED:
        assert_problem(await officer.post(EXPORT, json={"customer_id": hostile}), 400, 422)
    surrogate = b'{"customer_id": "\\ud800"}'
    assert_problem(await officer.post(EXPORT, content=surrogate), 400, 422)


async def test_receipts_are_listed_latest_first_page_by_page(officer: Ask) -> None:
    asked = []
    for who in ("ada", "bea", "cay"):
        (receipt,) = (await told(await officer.post(ERASE, json={"customer_id": who})))["receipts"]
        asked.append(receipt)
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await told(await officer.get(RECEIPTS, params={"limit": 2} | ({"cursor": cursor} if cursor else {})))
        found += Receipts.model_validate(page).model_dump()["receipts"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == asked[::-1]
    assert_problem(await officer.get(RECEIPTS, params={"cursor": "AAAA"}), 422)
    assert_problem(await officer.get(RECEIPTS, params={"limit": 0}), 422)


async def test_people_and_receipts_of_another_store_are_not_there(officer: Ask, ask: Clients) -> None:
    (receipt,) = (await told(await officer.post(ERASE, json={"customer_id": "ada"})))["receipts"]
    assert_problem(await ask.privacy.get(f"{RECEIPTS}/{receipt['receipt_id']}"), 404)
    assert receipt["receipt_id"] not in (await ask.privacy.get(RECEIPTS)).text
    for path in (EXPORT, ERASE):
        assert_problem(await ask.privacy.post(path, json={"customer_id": "bea"}), 404)
        assert_problem(await ask.privacy.post(path, json={"email": "home@shop.test"}), 404)
    await told(await officer.post(EXPORT, json={"customer_id": "bea"}))


async def test_where_nothing_is_held_that_is_said(database: Database, settings: Settings, store_id: str) -> None:
    app = create_app(resources=resources_for(database, settings, store_id))
    async with app.router.lifespan_context(app), client(app, KEYS["privacy"]) as asking:
        for path in (EXPORT, ERASE):
            assert_problem(await asking.post(path, json={"customer_id": "ada"}), 404)
        assert_problem(await asking.get(f"{RECEIPTS}/none"), 404)
        assert await told(await asking.get(RECEIPTS)) == {"receipts": [], "next_cursor": None}


async def test_a_customer_of_the_demo_is_exported_with_what_is_told_of_them(ask: Clients) -> None:
    """Segmented and predicted, as the shop is served."""
    (person,) = (await told(await ask.admin.post(EXPORT, json={"customer_id": "C0000001"})))["people"]
    there = {each["table"]: len(each["rows"]) for each in person["tables"]}
    assert there["fact_customer_standing"] == there["fact_customer_prediction"] == 1
    assert there["orders"] >= 1


async def test_nothing_of_whom_it_is_about_is_logged(officer: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (EXPORT, ERASE):
        for whom in ({"customer_id": "ada"}, {"email": "ada@canary.test"}, {"customer_id": "canary-nobody"}):
            await officer.post(path, json=whom)
    said = capsys.readouterr()
    assert "person.erased" in said.out + said.err
    assert not any(word in said.out + said.err for word in ("canary", "'ada'", "=ada"))
