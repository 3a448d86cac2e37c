"""Every route there is, asked with keys that may not see identities: no answer holds a person, nor how many they are.

The routes and their parameters are read from the API's description, so that a new one is looked through as well.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from app.core.keys import Scope
from app.domain.records import Customer, Order, Record, Ticket
from app.main import create_app
from app.segmentation.axes import AXES
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, STORE, Ask, Clients, client, resources_for
from tests.api.every_route import Question, put_to, questions
from tests.api.test_anonymous import leaves
from tests.fakes import a_shop, at, put, rows, segmented

#: Names under which an answer counts people, or what a few of them did.
COUNTED = re.compile(r"n|count|customers|members|people|n_.+|.+_(n|count|counts|customers|members|people)")
#: What goes by such a name and counts no people.
NOT_PEOPLE = {
    "count": "what a list holds",
    "n_months": "months",
    "n_origins": "days that were forecast from",
    "n_told": "months that were forecast",
}
SAID = re.compile(r"\b\d[\d,]* (?:customers?|people|persons|members|buyers)\b")
#: What keys that see no identities may hold.
SCOPES = {Scope.analytics.value, Scope.campaigns.value}
SMALL = "marked-shop"


@dataclass(frozen=True)
class Secrets:
    """What may be in no answer. words : by themselves; phrases : with blanks in them"""

    words: frozenset[str]
    phrases: frozenset[str]


async def secrets_of(database: Database, store_id: str) -> Secrets:
    people = await rows(
        database,
        "SELECT customer_id, email, first_name, last_name, first_name || ' ' || last_name, phone FROM customers "
        "WHERE store_id = :s",
        s=store_id,
    )
    orders = await rows(database, "SELECT order_id, order_number FROM orders WHERE store_id = :s", s=store_id)
    parcels = await rows(database, "SELECT unnest(tracking_numbers) FROM orders WHERE store_id = :s", s=store_id)
    tickets = await rows(database, "SELECT ticket_id FROM tickets WHERE store_id = :s", s=store_id)
    told = {each for row in (*people, *orders, *parcels, *tickets) for each in row if each}
    return Secrets(frozenset(each for each in told if " " not in each), frozenset(each for each in told if " " in each))


def leaks(answer: Any, secrets: Secrets) -> Iterator[str]:
    """What of an answer may not be told, each with where it stands."""
    text = json.dumps(answer, ensure_ascii=False)
    yield from sorted(secrets.words & set(re.findall(r"[\w.@+#-]+", text)))
    yield from sorted(phrase for phrase in secrets.phrases if phrase in text)
    yield from re.findall(r"[^\s\"]*@[^\s\"]*", text)
    for name, value in leaves(answer):
        if tells_how_many(name, value):
            yield f"{name}: {value}"


def tells_how_many(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return bool(SAID.search(value)) and "fewer than" not in value
    if type(value) not in (int, float):
        return False
    if name == "population_percentage":  # finer, it is a fraction of how many they are
        return bool(round(value, 1) != value)
    return bool(COUNTED.fullmatch(name)) and name not in NOT_PEOPLE


async def known_of(database: Database, store_id: str) -> dict[str, Sequence[Any]]:
    """What may be asked for: of each kind of customer somebody, kinds and segments small and large, and more."""
    someone = await rows(
        database,
        "SELECT pseudonym FROM ("
        "SELECT DISTINCT ON (archetype_id) pseudonym, member_count FROM fact_customer_current "
        "JOIN customer_pseudonyms USING (store_id, customer_id) "
        "JOIN dim_archetype_l1 USING (store_id, run_id, archetype_id) "
        "WHERE store_id = :s ORDER BY archetype_id, pseudonym"
        ") AS one_of_each ORDER BY member_count DESC, pseudonym",
        s=store_id,
    )
    stranger = await rows(
        database,
        "SELECT pseudonym FROM customers JOIN customer_pseudonyms USING (store_id, customer_id) WHERE store_id = :s "
        "AND orders_count = 0 LIMIT 1",
        s=store_id,
    )
    kinds = [
        await rows(
            database,
            f"SELECT archetype_id FROM {level} JOIN stores USING (store_id) WHERE store_id = :s "  # noqa: S608
            "AND run_id = served_run_id ORDER BY member_count DESC",
            s=store_id,
        )
        for level in ("dim_archetype_l1", "dim_archetype_l2", "dim_archetype_l3")
    ]
    models = await rows(
        database,
        "SELECT name FROM prediction_models JOIN stores USING (store_id) WHERE store_id = :s "
        "AND prediction_id = served_prediction_id ORDER BY name",
        s=store_id,
    )
    pseudonyms = [each for (each,) in (*someone[:2], *someone[-3:], *stranger)]
    archetypes = [each for found in kinds for (each,) in (found[0], found[-1])]
    return {
        "customer_id": pseudonyms,
        "archetype_id": archetypes,
        "axis": [axis.name for axis in AXES],
        "name": [each for (each,) in models],
        "query": pseudonyms[:2],
        "include": ["churn,why"],
        "exclude": ["memberships,churn", "archetype,traits,identity"],
        "as_of": ["2025-06-01"],
        "start_date": ["2025-09-01"],
        "end_date": ["2025-12-31"],
        "level": ["critical,high,medium,low", "low"],
        "period": ["Q4", "black friday"],
        "min_ltv": [0, 100],
        "cursor": [],  # those that are answered are followed
        "search_terms": ["a"],
    }


def fewer(known: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """One of everything."""
    return {name: values[:1] for name, values in known.items()}


async def answers(asking: Ask, app: FastAPI, known: Mapping[str, Sequence[Any]]) -> dict[Question, httpx.Response]:
    """What every route that such a key may ask says, and its next page."""
    found = {}
    for question in questions(app.openapi(), known, SCOPES):
        answer = found[question] = await put_to(asking, question)
        if is_told(answer) and (cursor := answer.json().get("next_cursor")):
            more = replace(question, parameters={**question.parameters, "cursor": cursor})
            found[more] = await put_to(asking, more)
    return found


def is_told(answer: httpx.Response) -> bool:
    return answer.status_code < 300 and "json" in answer.headers["content-type"]


def leaking(found: Mapping[Question, httpx.Response], secrets: Secrets) -> list[tuple[str, str]]:
    """Where something leaks, and what. That nothing is known of what was asked for may be said in its words."""
    leaked = []
    for question, answer in found.items():
        if "json" in answer.headers["content-type"]:
            text = answer.text
            if not is_told(answer):
                asked = {*question.parameters.values(), *map(unquote, question.path.split("/"))} - {""}
                for each in sorted(asked, key=len, reverse=True):
                    text = text.replace(each, "")
            leaked += [(str(question), leak) for leak in leaks(json.loads(text), secrets)]
    return leaked


def unanswered(found: Mapping[Question, httpx.Response]) -> set[str]:
    """The routes of which nothing was seen."""
    return {each.route for each in found} - {each.route for each, answer in found.items() if answer.is_success}


@pytest.mark.parametrize("scope", sorted(SCOPES))
async def test_no_answer_holds_a_person_or_how_many_they_are(
    app: FastAPI, ask: Clients, database: Database, scope: str
) -> None:
    known = await known_of(database, STORE)
    if scope != Scope.analytics.value:
        known = fewer(known)  # it is the same view
    found = await answers(getattr(ask, scope), app, known)
    assert unanswered(found) == {"/metrics"}, "say in known_of what they may be asked"
    assert leaking(found, await secrets_of(database, STORE)) == []


async def test_who_is_asked_for_by_name_or_id_is_not_there(app: FastAPI, ask: Clients, database: Database) -> None:
    """What a key may not see it cannot ask for either."""
    secrets = await secrets_of(database, STORE)
    person = await rows(
        database,
        "SELECT customer_id, email, last_name, phone, order_id, order_number FROM orders "
        "JOIN customers USING (store_id, customer_id) WHERE store_id = :s ORDER BY order_id LIMIT 1",
        s=STORE,
    )
    raw = [each for each in person[0] if each]
    known = fewer(await known_of(database, STORE)) | {"customer_id": raw, "archetype_id": raw, "query": raw}
    found = await answers(ask.analytics, app, known)
    about = {
        "/api/mcp/customer/{customer_id}",
        "/api/mcp/customers/{customer_id}",
        "/api/mcp/archetypes/{archetype_id}",
    }
    assert all(answer.status_code == 404 for question, answer in found.items() if question.route in about)
    for question, answer in found.items():
        if question.route == "/api/mcp/customers/search":
            assert (answer.status_code, answer.json()["customers"]) == (200, [])
            found[question] = httpx.Response(200, json=answer.json() | {"query": ""})  # what was asked, repeated
    assert leaking(found, secrets) == []


# A shop of people who cannot be mistaken for anything else


def marked_shop(n_customers: int) -> list[Record]:
    """A regular little shop, with names, addresses and numbers of which each is found wherever it turns up."""
    records: list[Record] = []
    for record in a_shop(n_customers):
        match record:
            case Customer(customer_id):
                mark = customer_id.removeprefix("c")
                records.append(
                    Customer(
                        f"Zq{mark}id",
                        email=f"zq{mark}@mail.example",
                        first_name=f"Zqfirst{mark}",
                        last_name=f"Zqlast{mark}",
                        phone=f"+44 7700 90{mark}",
                    )
                )
            case Order(order_id, customer_id) if customer_id:
                mark = customer_id.removeprefix("c")
                records.append(replace(record, customer_id=f"Zq{mark}id", order_number=f"Zq{order_id}number"))
            case _:
                records.append(record)
    tickets = [
        Ticket(f"Zqticket{i}", f"Zq{i:03}id", at("2024-02-01"), channel="email") for i in range(0, n_customers, 3)
    ]
    return [*records, *tickets]


@pytest.fixture(scope="module")
async def small(database: Database, settings: Settings) -> AsyncIterator[tuple[FastAPI, Ask]]:
    """An analytics key's view of it: with so few customers there are many groups that are too small to be shown."""
    await put(database, SMALL, marked_shop(90))
    await segmented(database, SMALL, min_population=1)
    app = create_app(resources=resources_for(database, settings, SMALL))
    async with app.router.lifespan_context(app), client(app, KEYS["analytics"]) as asking:
        yield app, asking


async def test_no_answer_about_a_small_shop_does_either(small: tuple[FastAPI, Ask], database: Database) -> None:
    app, asking = small
    known = await known_of(database, SMALL)
    # Nothing has been predicted of it: what tells of that says so, and no more.
    found = await answers(asking, app, {**known, "name": ["churn"]})
    secrets = await secrets_of(database, SMALL)
    assert len(secrets.words) > 4 * 90
    assert len([answer for answer in found.values() if answer.is_success]) > 100
    assert leaking(found, secrets) == []


# What is kept to answer faster


async def test_what_is_kept_for_who_sees_identities_is_not_told_to_others(
    database: Database, settings: Settings, shop: str
) -> None:
    app = create_app(resources=resources_for(database, settings.model_copy(update={"enable_cache": True}), shop))
    person = await rows(
        database,
        "SELECT customer_id, pseudonym FROM fact_customer_current JOIN customer_pseudonyms "
        "USING (store_id, customer_id) WHERE store_id = :s LIMIT 1",
        s=STORE,
    )
    known = fewer(await known_of(database, STORE)) | {"customer_id": person[0]}
    secrets = await secrets_of(database, STORE)
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        resources = app.state.resources
        async with asyncio.timeout(30):
            while not resources.hearing.now:  # noqa: ASYNC110  until then nothing is kept
                await asyncio.sleep(0.01)
        seen = await answers(support, app, known)
        assert len(resources.profiles) == 1
        assert leaking(seen, secrets), "who sees identities is told some"
        hidden = await answers(analytics, app, known)
        assert leaking(hidden, secrets) == []
        told = {str(question): answer.content for question, answer in hidden.items()}
        n_marked = 0
        for question, answer in seen.items():
            if answer.is_success and (mark := answer.headers.get("etag")):
                n_marked += 1
                again = await put_to(analytics, question, headers={"If-None-Match": mark})
                assert again.status_code != 304 or told[str(question)] == answer.content, str(question)
        assert n_marked > 30


# The scan itself


@pytest.mark.parametrize(
    ("answer", "leak"),
    [
        ({"customers": [{"customer_id": "Zq001id"}]}, "Zq001id"),
        ({"by_id": {"Zq001id": 0.3}}, "Zq001id"),
        ({"chart": {"data": {"values": [{"who": "of Zqlast001, mostly"}]}}}, "Zqlast001"),
        ({"says": "Zqfirst001's next order"}, "Zqfirst001"),
        ({"next": "order Zqo001-0number"}, "Zqo001-0number"),
        ({"parcels": ["1Z999"]}, "1Z999"),
        ({"call": "on +44 7700 90001"}, "+44 7700 90001"),
        ({"contact": "zq001@mail.example"}, "zq001@mail.example"),
        ({"contact": "<someone@else.example>"}, "<someone@else.example>"),
        ({"n": 400}, "n: 400"),
        ({"population_percentage": 12.34}, "population_percentage: 12.34"),
        ({"groups": [{"member_count": 3}]}, "member_count: 3"),
        ({"n_customers": 0}, "n_customers: 0"),
        ({"acquired_customers": 7.0}, "acquired_customers: 7.0"),
        ({"description": "12 customers with large orders"}, "description: 12 customers with large orders"),
    ],
)
def test_the_scan_finds_what_leaks(answer: Any, leak: str) -> None:
    words = {"Zq001id", "Zqfirst001", "Zqlast001", "Zqo001-0number", "zq001@mail.example", "1Z999"}
    assert leak in list(leaks(answer, Secrets(frozenset(words), frozenset({"+44 7700 90001"}))))


@pytest.mark.parametrize(
    "answer",
    [
        {"customer_id": "C-5A3B2F18", "total_orders": 3, "months": 12},
        {"n": None, "n_customers": None, "population_percentage": 12.3},
        {"message": "Groups with fewer than 20 customers are told together."},
        {"count": 3, "is_people": True},
    ],
)
def test_the_scan_finds_nothing_where_nothing_leaks(answer: Any) -> None:
    assert list(leaks(answer, Secrets(frozenset({"Zq001id"}), frozenset()))) == []


async def test_a_new_route_is_looked_through(database: Database, settings: Settings, shop: str) -> None:
    app = create_app(resources=resources_for(database, settings, shop))

    @app.get("/api/mcp/customers/by-worth/{archetype_id}")
    async def by_worth(archetype_id: str, best: Literal["yes", "no"] = "no") -> dict[str, str]:
        return {"customer": "C0000001" if best == "yes" else "C-5A3B2F18"}

    async with app.router.lifespan_context(app), client(app, KEYS["analytics"]) as asking:
        found = await answers(asking, app, fewer(await known_of(database, STORE)))
    ((place, leak),) = leaking(found, await secrets_of(database, STORE))
    assert place.endswith("?best=yes")
    assert leak == "C0000001"
