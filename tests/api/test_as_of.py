"""A customer as of a moment of the past: by what was known then and by the rules in force then, whatever came later."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.api.customers.schemas import BriefCustomer, CustomerProfile
from app.core.config import Settings
from app.main import create_app
from app.pipeline.ingest import ingest
from app.pipeline.rescore import rescore
from app.pipeline.sample import SampleShop
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, Ask, client, resources_for
from tests.api.test_customers import told
from tests.fakes import NOW, SECRET, a_shop, at, bought, execute, put, rows, segmented, value

STORE = "as-of-shop"
ZONE = ZoneInfo("America/Chicago")
#: When the shop is found, scored anew, and found anew: midnights of the shop.
RUNS = [
    datetime(year, month, day, tzinfo=ZONE).astimezone(UTC)
    for year, month, day in ((2024, 9, 1), (2025, 1, 10), (2025, 6, 1))
]

AXES = (
    "purchase_value",
    "purchase_frequency",
    "return_behavior",
    "support_history",
    "price_sensitivity",
    "purchase_cadence",
)
OPTIONS = {"max_k": 4, "min_members": 3, "min_population": 50, "axes": AXES}


@pytest.fixture(scope="module")
async def runs(database: Database) -> list[int]:
    source = SampleShop(customers=260)
    await ingest(database, source, store_id=STORE, timezone=ZONE.key, currency="USD", pseudonym_secret=SECRET)
    first = await segmented(database, STORE, as_of=RUNS[0], **OPTIONS)
    second = await rescore(database, STORE, now=NOW, as_of=RUNS[1])
    third = await segmented(database, STORE, as_of=RUNS[2], **OPTIONS)
    return [each.run_id or 0 for each in (first, second, third)]


@pytest.fixture(scope="module")
async def views(database: Database, settings: Settings, runs: list[int]) -> AsyncIterator[tuple[Ask, Ask]]:
    """A support key's and an analytics key's."""
    app = create_app(resources=resources_for(database, settings, STORE))
    async with (
        app.router.lifespan_context(app),
        client(app, KEYS["support"]) as support,
        client(app, KEYS["analytics"]) as analytics,
    ):
        yield support, analytics


Views = tuple[Ask, Ask]
EARLY = "SELECT customer_id FROM orders WHERE store_id = :s ORDER BY order_date LIMIT 1"


async def test_the_rules_are_those_of_the_latest_run_by_then(views: Views, database: Database, runs: list[int]) -> None:
    support, _ = views
    path = f"/api/mcp/customer/{await value(database, EARLY, s=STORE)}"
    for number, moment in enumerate(RUNS):
        for after in (timedelta(0), timedelta(days=20)):
            then = await told(support, path, as_of=(moment + after).isoformat().replace("+00:00", "Z"))
            CustomerProfile.model_validate(then)
            assert (then["run_id"], then["message"]) == (runs[number], None)
            assert datetime.fromisoformat(then["rules_as_of"]) == moment
            assert datetime.fromisoformat(then["as_of"]) == moment + after
    last = await told(support, path, as_of=RUNS[2].astimezone(ZONE).date().isoformat())
    served = await told(support, path)
    assert "rules_as_of" not in served
    own = ("rules_as_of", "churn_risk_reason")
    assert {**served, **{name: last[name] for name in own}} == last


async def test_before_the_first_run_the_oldest_rules_are_used_and_that_is_said(
    views: Views, database: Database, runs: list[int]
) -> None:
    support, analytics = views
    customer = await value(database, EARLY, s=STORE)
    then = await told(support, f"/api/mcp/customer/{customer}", as_of="2024-06-15")
    assert (then["run_id"], then["as_of"]) == (runs[0], "2024-06-15T05:00:00+00:00")
    assert datetime.fromisoformat(then["rules_as_of"]) == RUNS[0]
    said = "No segmentation kept is that old: they are placed by the rules of 1 September 2024, the oldest."
    assert then["message"] == said
    for asking, identity in ((support, customer), (analytics, then["pseudonym"])):
        brief = await told(asking, f"/api/mcp/customers/{identity}", as_of="2024-06-15")
        BriefCustomer.model_validate(brief)
        assert (brief["message"], brief["rules_as_of"]) == (said, then["rules_as_of"])


async def test_a_customer_in_brief_agrees_with_the_whole_of_that_day(views: Views, database: Database) -> None:
    support, analytics = views
    customer = await value(database, EARLY, s=STORE)
    whole = await told(support, f"/api/mcp/customer/{customer}", as_of="2025-02-01")
    brief = await told(support, f"/api/mcp/customers/{customer}", as_of="2025-02-01")
    BriefCustomer.model_validate(brief)
    assert brief["archetype"] == {
        "id": whole["archetype_id"],
        "name": whole["archetype"]["segment_name"],
        "level": 1,
    }
    same = ("total_orders", "avg_order_value", "run_id", "as_of", "rules_as_of", "message")
    assert [brief[name] for name in same] == [whole[name] for name in same]
    assert (brief["ltv"], brief["email"]) == (whole["lifetime_value"], whole["identity"]["email"])
    hidden = await told(analytics, f"/api/mcp/customers/{whole['pseudonym']}", as_of="2025-02-01")
    assert (hidden["customer_id"], hidden["name"], hidden["email"]) == (whole["pseudonym"], None, None)
    assert hidden["total_orders"] == whole["total_orders"]


async def test_before_their_first_order_they_are_as_one_without_orders(views: Views, runs: list[int]) -> None:
    support, _ = views
    then = await told(support, "/api/mcp/customer/C0000001", as_of="2020-01-01")
    CustomerProfile.model_validate(then)
    assert (then["segment_status"], then["total_orders"], then["customer_since"]) == (
        "awaiting_first_purchase",
        0,
        None,
    )
    assert (then["run_id"], then["archetype"]) == (runs[0], None)
    assert then["message"] == "Awaiting first purchase to analyze behavior"
    brief = await told(support, "/api/mcp/customers/C0000001", as_of="2020-01-01")
    assert (brief["archetype"], brief["total_orders"], brief["ltv"]) == (None, 0, 0)


async def test_moments_are_for_who_sees_identities(views: Views) -> None:
    """From one to the next they would tell when each order was placed, to the second."""
    support, analytics = views
    whole = await told(support, "/api/mcp/customer/C0000001", as_of="2025-02-01T12:00:00Z")
    for path in ("customer", "customers"):
        problem = await told(analytics, f"/api/mcp/{path}/{whole['pseudonym']}", 422, as_of="2025-02-01T12:00:00Z")
        assert problem["errors"][0]["field"] == "as_of" and "a day" in problem["detail"]


@pytest.mark.parametrize(
    ("as_of", "says"),
    [
        ("9999-12-31", "future"),
        ("9999-12-31T00:00:00Z", "future"),
        ("2025-02-30", "no such day"),
        ("yesterday", "neither a date nor a moment"),
        ("2025-01-01T12:00:00", "offset from UTC"),
        ("0001-01-01T00:00:00+14:00", "neither a date nor a moment"),
    ],
)
@pytest.mark.parametrize("path", ["/api/mcp/customer/C0000001", "/api/mcp/customers/C0000001"])
async def test_a_day_that_makes_no_sense_is_refused(views: Views, path: str, as_of: str, says: str) -> None:
    support, _ = views
    problem = await told(support, path, 422, as_of=as_of)
    assert problem["errors"][0]["field"] == "as_of"
    assert says in problem["detail"]


async def test_orders_as_of_a_day_are_asked_for_where_days_are(views: Views) -> None:
    support, _ = views
    problem = await told(support, "/api/mcp/customer/C0000001", 422, as_of="2025-02-01", include="orders")
    assert problem["errors"][0]["field"] == "include"
    assert "end_date" in problem["detail"]


async def test_where_nothing_is_segmented_the_orders_of_then_speak(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    for number, day in enumerate(("2024-01-05", "2024-03-05")):
        await put(database, store_id, bought("ada", f"o{number}", day, ("thread", "2", "4.50")))
    then = await told(empty_shop, "/api/mcp/customer/ada", as_of="2024-02-01")
    CustomerProfile.model_validate(then)
    assert (then["segment_status"], then["total_orders"], then["run_id"]) == ("awaiting_segmentation", 1, None)
    assert (then["rules_as_of"], then["as_of"]) == (None, "2024-02-01T00:00:00+00:00")
    await put(database, store_id, a_shop(20))
    await segmented(database, store_id, as_of=at("2024-03-10"), min_population=10, axes=("purchase_value",))
    await execute(database, "UPDATE segmentation_runs SET yardstick = NULL WHERE store_id = :s", s=store_id)
    older = await told(empty_shop, "/api/mcp/customer/ada", as_of="2024-03-20")
    assert (older["segment_status"], older["total_orders"]) == ("awaiting_segmentation", 2)
    assert "older version" in older["message"]


# The future changes nothing

TRUNCATED = """
    DELETE FROM refunds WHERE store_id = :s AND refunded_at >= :d;
    DELETE FROM orders WHERE store_id = :s AND order_date >= :d;
    DELETE FROM tickets WHERE store_id = :s AND created_at >= :d;
    UPDATE tickets SET resolved_at = NULL, satisfaction = NULL, status = 'open'
    WHERE store_id = :s AND resolved_at >= :d;
    UPDATE order_items AS item SET refund_amount = (
        SELECT coalesce(sum(amount), 0) FROM refunds
        WHERE refunds.store_id = item.store_id AND refunds.order_id = item.order_id
          AND refunds.item_id = item.item_id)
    WHERE store_id = :s;
    UPDATE customers AS customer SET
        orders_count = (SELECT count(*) FROM orders AS o
            WHERE o.store_id = :s AND o.customer_id = customer.customer_id),
        total_spent = (SELECT coalesce(sum(total_price), 0) FROM orders AS o
            WHERE o.store_id = :s AND o.customer_id = customer.customer_id)
            - (SELECT coalesce(sum(amount), 0) FROM refunds AS back
            WHERE back.store_id = :s AND back.customer_id = customer.customer_id)
    WHERE store_id = :s
"""
#: Runs of after that day, where there is one of before it to go by.
UNDONE = """
    DELETE FROM fact_customer_standing WHERE store_id = :s AND run_id IN (
        SELECT run_id FROM segmentation_runs WHERE store_id = :s AND as_of > :d);
    DELETE FROM segmentation_runs WHERE store_id = :s AND as_of > :d
"""
PATHS: tuple[tuple[str, dict[str, str]], ...] = (
    ("/api/mcp/customer/", {}),
    ("/api/mcp/customer/", {"include": "why"}),
    ("/api/mcp/customers/", {}),
)


#: Of whom something came soon after that day: an order, a refund, the end of a request that was open. Then anyone.
SOON = """
    (SELECT customer_id FROM orders WHERE store_id = :s AND order_date >= :d ORDER BY order_date LIMIT 2) UNION
    (SELECT customer_id FROM refunds WHERE store_id = :s AND refunded_at >= :d AND customer_id IN (
        SELECT customer_id FROM orders WHERE store_id = :s AND order_date < :d) ORDER BY refunded_at LIMIT 2) UNION
    (SELECT customer_id FROM tickets WHERE store_id = :s AND created_at < :d AND resolved_at >= :d LIMIT 2) UNION
    (SELECT customer_id FROM customers WHERE store_id = :s ORDER BY md5(customer_id || CAST(:d AS text)) LIMIT 3)
"""


async def test_what_came_later_changes_no_answer_by_a_byte(views: Views, database: Database) -> None:
    """Answers as of random moments, and again when all that is later has never been. It leaves the shop cut short."""
    support, analytics = views
    # Of whom the shop does not say since when it knows them, the first order says it.
    unsaid = "UPDATE customers SET created_at = NULL WHERE store_id = :s AND right(customer_id, 1) < '7'"
    await execute(database, unsaid, s=STORE)
    pseudonyms = dict(
        await rows(database, "SELECT customer_id, pseudonym FROM customer_pseudonyms WHERE store_id = :s", s=STORE)
    )
    chance = random.Random(5)
    first = datetime(2024, 1, 1, tzinfo=UTC)
    moments = [RUNS[1], *(first + timedelta(minutes=chance.randrange(60 * 24 * 640)) for _ in range(4))]
    moments.sort(reverse=True)
    chosen = {
        moment: [who for (who,) in await rows(database, SOON, s=STORE, d=moment) if who is not None]
        for moment in moments
    }

    async def answers(moment: datetime) -> list[bytes]:
        found = []
        for number, customer in enumerate(chosen[moment]):
            for path, options in PATHS if number % 4 == 0 else PATHS[::2]:
                day, second = moment.astimezone(ZONE).date().isoformat(), moment.isoformat().replace("+00:00", "Z")
                for asking, who, when in ((support, customer, second), (analytics, pseudonyms[customer], day)):
                    answer = await asking.get(f"{path}{who}", params={**options, "as_of": when})
                    assert answer.status_code == 200, answer.text
                    found.append(answer.content)
        return found

    before = {moment: await answers(moment) for moment in moments}
    assert len({answer for each in before.values() for answer in each}) > len(moments) * 10
    for moment in moments:
        for statement in TRUNCATED.split(";"):
            await execute(database, statement, s=STORE, d=moment)
        assert await answers(moment) == before[moment]
        if moment >= RUNS[0]:
            for statement in UNDONE.split(";"):
                await execute(database, statement, s=STORE, d=moment)
            assert await answers(moment) == before[moment]
