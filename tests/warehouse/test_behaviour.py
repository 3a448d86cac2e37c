"""What is read out for features: the right records, on the shop's clock, all of one moment."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from app.domain.features import CHAT, EMAIL, OPEN, OTHER_WAY, PHONE, UNTOLD
from app.domain.records import Customer, LineKind, OrderLine, Ticket
from app.warehouse.behaviour import Behaviour, read_behaviour, read_behaviour_of_one
from app.warehouse.engine import Database
from tests.fakes import NOW, at, bought, execute, gave_back, put


async def read(
    database: Database,
    store_id: str,
    *,
    as_of: str = "2025-01-01",
    timezone: str = "Europe/London",
    customer_id: str | None = None,
) -> Behaviour:
    """Everyone's behaviour; of one customer if one is named."""
    async with database.snapshot() as connection:
        if customer_id is None:
            return await read_behaviour(connection, store_id, as_of=at(as_of), timezone=timezone)
        return await read_behaviour_of_one(connection, store_id, customer_id, as_of=at(as_of), timezone=timezone)


def dated(frame: pl.DataFrame) -> list[float]:
    return sorted(frame["day"].to_list())


def day(moment: str) -> float:
    return at(moment).timestamp() / 86_400


async def test_customers_with_an_order_are_read_and_numbered_by_id(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("bea", "o2", "2024-01-01", ("tea", "1", "2")),
            *bought("ada", "o1", "2024-01-02", ("tea", "1", "3")),
            Customer("waiting"),
            *gave_back("refunded", "C1", "2024-01-05", "tea", "1", "1"),
        ],
    )
    found = await read(database, store_id)
    assert found.customer_ids == ["ada", "bea"]
    assert found.orders.sort("customer")["value"].to_list() == [3, 2]
    assert found.refunds.height == 0


async def test_only_what_happened_before_as_of_is_read(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01 11:59", ("tea", "5", "2")),
            *bought("ada", "o2", "2024-03-01 12:00", ("jam", "5", "2")),
            *bought("bea", "o3", "2024-03-01 12:01", ("tea", "5", "2")),
            *gave_back("ada", "C1", "2024-03-01 11:59", "tea", "1", "2"),
            *gave_back("ada", "C2", "2024-03-01 12:00", "tea", "1", "2"),
        ],
    )
    for ticket, when in (("t1", "2024-03-01 11:59"), ("t2", "2024-03-01 12:00")):
        await execute(
            database,
            "INSERT INTO tickets (store_id, ticket_id, customer_id, created_at) VALUES (:s, :t, 'ada', :at)",
            s=store_id,
            t=ticket,
            at=at(when),
        )
    found = await read(database, store_id, as_of="2024-03-01 12:00")
    assert found.customer_ids == ["ada"]
    assert (found.orders.height, found.lines.height, found.refunds.height, found.tickets.height) == (1, 1, 1, 1)
    assert found.has_tickets


async def test_days_are_on_the_shops_clock(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "winter", "2024-01-01 23:30", ("tea", "1", "2")),
            *bought("ada", "summer", "2024-07-01 23:30", ("tea", "1", "2")),
        ],
    )
    assert dated((await read(database, store_id)).orders) == [
        pytest.approx(day("2024-01-01 23:30")),
        pytest.approx(day("2024-07-02 00:30")),
    ]
    assert dated((await read(database, store_id, timezone="America/Chicago")).orders) == [
        pytest.approx(day("2024-01-01 17:30")),
        pytest.approx(day("2024-07-01 18:30")),
    ]


async def test_only_goods_are_lines_and_everything_is_paid(database: Database, store_id: str) -> None:
    tea = OrderLine("o1", "tea", Decimal(1), Decimal(2), Decimal(2))
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01"),
            tea,
            replace(tea, product_id="POST", amount=Decimal(5), kind=LineKind.shipping),
            replace(tea, product_id="M", amount=Decimal(1), kind=LineKind.manual),
        ],
    )
    found = await read(database, store_id)
    assert found.lines["amount"].to_list() == [2]
    assert found.orders["value"].to_list() == [8]


async def test_where_no_product_has_a_category_each_is_its_own(database: Database, store_id: str) -> None:
    records = bought("ada", "o1", "2024-03-01", ("tea", "1", "2"), ("jam", "1", "2"))
    await put(database, store_id, records)
    found = await read(database, store_id)
    assert not found.has_categories
    assert found.lines["category"].n_unique() == 2

    await put(database, store_id, [replace(r, category="food") if isinstance(r, OrderLine) else r for r in records])
    found = await read(database, store_id)
    assert found.has_categories
    assert found.lines["category"].n_unique() == 1


async def test_an_unknown_channel_counts_as_the_web(database: Database, store_id: str) -> None:
    orders = [
        bought("ada", f"o{i}", "2024-03-01", ("t", "1", "1"), channel=c) for i, c in enumerate([None, "web", "pos"])
    ]
    await put(database, store_id, [record for order in orders for record in order])
    channels = (await read(database, store_id)).orders["channel"].sort().to_list()
    assert channels[:2] == [0, 0]
    assert channels[2] > 0


async def test_a_refund_whose_order_is_unknown_belongs_to_no_order(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01", ("tea", "5", "2")),
            *gave_back("ada", "C1", "2024-03-05", "tea", "1", "2"),
            *gave_back("ada", "C2", "2024-03-06", "jam", "1", "2"),
        ],
    )
    found = await read(database, store_id)
    order = found.orders["order"].item()
    assert sorted(found.refunds["order"].to_list()) == [-1, order]


def asked(ticket: str, when: str = "2024-03-01", **told: Any) -> Ticket:
    return Ticket(ticket, "ada", at(when), **told)


@pytest.mark.parametrize(
    ("way", "spellings"),
    [
        (EMAIL, ["email", "E-Mail", "mail", "contact_form", "Web form"]),
        (CHAT, ["chat", "Live Chat", "live_chat", "WhatsApp", "Facebook Messenger", "messaging", "SMS"]),
        (PHONE, ["phone", "Telephone", "voice", "Voicemail", "inbound call", "Tel."]),
        (OTHER_WAY, [None, "", "counter", "api", "hotel desk"]),
    ],
)
async def test_however_a_helpdesk_writes_a_channel_it_is_known(
    database: Database, store_id: str, way: int, spellings: list[str | None]
) -> None:
    tickets = [asked(f"t{number}", channel=channel) for number, channel in enumerate(spellings)]
    await put(database, store_id, [*bought("ada", "o1", "2024-03-01", ("tea", "5", "2")), *tickets])
    assert set((await read(database, store_id)).tickets["channel"]) == {way}
    assert set((await read(database, store_id, customer_id="ada")).tickets["channel"]) == {way}


async def test_a_ticket_is_open_until_it_is_resolved_and_that_lies_before_as_of(
    database: Database, store_id: str
) -> None:
    tickets = [
        asked("t1", "2024-03-01", resolved_at=at("2024-03-02"), status="solved", satisfaction=2),
        asked("t2", "2024-03-02", resolved_at=at("2024-03-05"), status="solved", satisfaction=5),
        asked("t3", "2024-03-03", status="unresolved"),
        asked("t4", "2024-03-04", status="Closed"),
    ]
    await put(database, store_id, [*bought("ada", "o1", "2024-03-01", ("tea", "5", "2")), *tickets])
    for customer in (None, "ada"):
        found = await read(database, store_id, as_of="2024-03-05", customer_id=customer)
        assert found.tickets.sort("day")["resolved_day"].to_list() == [day("2024-03-02"), OPEN, OPEN, UNTOLD]
        assert found.tickets.sort("day")["satisfaction"].to_list() == [2, 0, 0, 0]  # rated when it is resolved
    later = (await read(database, store_id, as_of="2024-03-06")).tickets.sort("day")
    assert later["resolved_day"].to_list() == [day("2024-03-02"), day("2024-03-05"), OPEN, UNTOLD]
    assert later["satisfaction"].to_list() == [2, 5, 0, 0]


async def test_topics_are_alike_whatever_their_case_and_none_is_one_of_its_own(
    database: Database, store_id: str
) -> None:
    topics = ["Returns", "returns ", "delivery", None, ""]
    tickets = [asked(f"t{number}", topic=topic) for number, topic in enumerate(topics)]
    await put(database, store_id, [*bought("ada", "o1", "2024-03-01", ("tea", "5", "2")), *tickets])
    for customer in (None, "ada"):
        found = await read(database, store_id, customer_id=customer)
        assert sorted(found.tickets["topic"].value_counts()["count"].to_list()) == [1, 2, 2]


async def test_one_customer_is_read_as_among_all(database: Database, store_id: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01 10:30", ("tea", "5", "2"), ("jam", "1", "3")),
            *bought("bea", "o2", "2024-03-02", ("tea", "5", "2")),
            *gave_back("ada", "C1", "2024-03-05", "tea", "1", "2"),
            asked("t1", channel="phone", topic="returns", resolved_at=at("2024-03-04"), satisfaction=4),
        ],
    )
    alone, among = await read(database, store_id, customer_id="ada"), await read(database, store_id)
    assert alone.customer_ids == ["ada"]
    for name in ("orders", "lines", "refunds", "tickets"):
        mine = getattr(among, name).filter(pl.col("customer") == 0)
        keys = ("order", "product", "category", "topic", *(("channel",) if name == "orders" else ()))
        measures = [c for c in mine.columns if c not in keys]
        assert getattr(alone, name).select(measures).sort(measures).equals(mine.select(measures).sort(measures))
    assert (await read(database, store_id, customer_id="nobody")).customer_ids == []


async def test_a_store_without_records_reads_as_empty_frames(database: Database, store_id: str) -> None:
    await put(database, store_id, [])
    found = await read(database, store_id)
    assert (found.customer_ids, found.orders.height, found.lines.height, found.refunds.height) == ([], 0, 0, 0)
    assert not (found.has_categories or found.has_discounts or found.has_tickets)


async def test_everything_is_read_of_one_moment(database: Database, store_id: str) -> None:
    """An import in the middle of the reading is not half seen."""
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "1", "2")))
    async with database.snapshot() as connection:
        before = await read_behaviour(connection, store_id, as_of=NOW, timezone="UTC")
        await put(database, store_id, bought("bea", "o2", "2024-03-01", ("tea", "1", "2")))
        again = await read_behaviour(connection, store_id, as_of=NOW, timezone="UTC")
    assert before.customer_ids == again.customer_ids == ["ada"]
    assert (await read(database, store_id)).customer_ids == ["ada", "bea"]


@pytest.mark.parametrize("odd", ["a,b", 'say "no"', "two\nlines", " spaced ", "O'Hara", "日本", "\\N", "00123", "NULL"])
async def test_odd_ids_are_read_as_they_are(database: Database, store_id: str, odd: str) -> None:
    await put(
        database,
        store_id,
        [
            *bought(odd, odd, "2024-03-01", (odd, "2", "2"), channel=odd),
            *gave_back(odd, odd, "2024-03-05", odd, "1", "2"),
        ],
    )
    for found in (await read(database, store_id), await read(database, store_id, customer_id=odd)):
        assert found.customer_ids == [odd]
        assert (found.orders.height, found.lines.height, found.refunds.height) == (1, 1, 1)
        assert found.refunds["order"].item() == found.orders["order"].item()


async def test_numbers_are_read_exactly(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "0.125", "80995.0008")))
    found = await read(database, store_id)
    assert found.lines["quantity"].to_list() == [0.125]
    assert found.lines["amount"].to_list() == found.orders["value"].to_list() == [10124.3751]
