"""Who is to be scored anew: exactly whose records changed, until a score or a run has seen it."""

from collections.abc import Sequence

import pytest
from sqlalchemy import func, text, update

from app.domain.records import Customer, Record, Ticket
from app.warehouse import changes
from app.warehouse.engine import Database
from app.warehouse.tables import orders
from tests.fakes import a_shop, at, bought, execute, gave_back, put, rows

SHOP = [
    *bought("ada", "a1", "2024-03-01", ("tea", "2", "10"), ("jam", "1", "5"), line_ids=True),
    *bought("bea", "b1", "2024-03-02", ("tea", "1", "10"), line_ids=True),
    *bought("cleo", "c1", "2024-03-03", ("oil", "1", "7"), line_ids=True),
    Ticket("t1", "dora", at("2024-03-04"), status="open"),
    Customer("dora"),
]

GOODS = [("tea", "1", "9")]


async def noted(database: Database, store_id: str) -> set[str]:
    """Who is to be scored in the run that is served."""
    query = """
        SELECT customer_id FROM customers_changed JOIN stores USING (store_id)
        WHERE store_id = :s AND (scored_run_id IS NULL OR scored_run_id IS DISTINCT FROM served_run_id)
    """
    found = await rows(database, query, s=store_id)
    return {customer for (customer,) in found}


async def open_shop(database: Database, store_id: str, records: Sequence[Record] = SHOP) -> None:
    """A shop with a run, of whatever kind, so that changes are noted from now on."""
    await put(database, store_id, records)
    await execute(
        database,
        "INSERT INTO segmentation_runs (store_id, status, parameters) VALUES (:s, 'published', '{}')",
        s=store_id,
    )


async def serve(database: Database, store_id: str) -> int:
    """Have the shop's run served."""
    ((run_id,),) = await rows(database, "SELECT run_id FROM segmentation_runs WHERE store_id = :s", s=store_id)
    await execute(database, "UPDATE stores SET served_run_id = :r WHERE store_id = :s", r=run_id, s=store_id)
    return int(run_id)


async def test_before_any_run_nobody_is_noted(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(5))
    assert await noted(database, store_id) == set()


CHANGES: dict[str, tuple[list[Record], set[str]]] = {
    "another order": (bought("bea", "b2", "2024-03-05", ("jam", "1", "5")), {"bea"}),
    "an order of somebody new": (bought("eve", "e1", "2024-03-05", ("jam", "1", "5")), {"eve"}),
    "another line of an order": (bought("bea", "b1", "2024-03-02", ("tea", "1", "10"), ("oil", "1", "7")), {"bea"}),
    "a line that costs something else": (
        bought("cleo", "c1", "2024-03-03", ("oil", "1", "8"), line_ids=True),
        {"cleo"},
    ),
    "an order that was placed earlier": (bought("bea", "b1", "2024-02-29", ("tea", "1", "10"), line_ids=True), {"bea"}),
    "a refund of an order": (gave_back("ada", "C1", "2024-03-06", "tea", "1", "10"), {"ada"}),
    "a refund of nothing we know": (gave_back("bea", "C2", "2024-03-06", "car", "1", "10"), {"bea"}),
    "a ticket": ([Ticket("t2", "cleo", at("2024-03-07"), channel="chat")], {"cleo"}),
    "a ticket that was resolved": (
        [Ticket("t1", "dora", at("2024-03-04"), status="closed", resolved_at=at("2024-03-05"))],
        {"dora"},
    ),
    "an order that is somebody else's": (bought("bea", "a1", "2024-03-01"), {"ada", "bea"}),
    "a ticket that is somebody else's": ([Ticket("t1", "bea", at("2024-03-04"))], {"bea", "dora"}),
    "records of several": (
        [
            *bought("ada", "a2", "2024-03-05", ("jam", "1", "5")),
            *bought("bea", "b1", "2024-03-02", ("tea", "1", "10"), line_ids=True),
            Ticket("t3", "dora", at("2024-03-07")),
        ],
        {"ada", "dora"},
    ),
    "the very same records": (SHOP, set()),
    "a name": ([Customer("ada", first_name="Ada")], set()),
    "somebody new without records": ([Customer("flo")], set()),
}


@pytest.mark.parametrize(("records", "whose"), CHANGES.values(), ids=list(CHANGES))
async def test_an_import_notes_exactly_whose_records_it_changed(
    database: Database, store_id: str, records: list[Record], whose: set[str]
) -> None:
    await open_shop(database, store_id)
    await put(database, store_id, records)
    assert await noted(database, store_id) == whose
    # And again, whoever was noted is the only one who is.
    await execute(database, "DELETE FROM customers_changed WHERE store_id = :s", s=store_id)
    await put(database, store_id, records)
    assert await noted(database, store_id) == set()


async def test_a_rehearsal_notes_nobody(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    await put(database, store_id, bought("bea", "b2", "2024-03-05", ("jam", "1", "5")), dry_run=True)
    assert await noted(database, store_id) == set()


async def test_changes_of_one_store_are_noted_in_it_alone(database: Database, store_id: str) -> None:
    for store in (store_id, f"{store_id}-other"):
        await open_shop(database, store)
    await put(database, store_id, bought("bea", "b2", "2024-03-05", ("jam", "1", "5")))
    assert await noted(database, f"{store_id}-other") == set()


async def test_a_change_that_a_run_did_not_see_outlives_it(database: Database, store_id: str) -> None:
    """Two connections: one reads the records while the other is still importing."""
    await open_shop(database, store_id)
    await put(database, store_id, bought("ada", "a2", "2024-03-05", ("jam", "1", "5")))
    async with database.transaction() as importing:
        order = update(orders).where(orders.c.store_id == store_id, orders.c.customer_id == "bea")
        await importing.execute(order.values(total_price=11, updated_at=func.now()))
        assert await changes.note_changed(importing, store_id) == 1
        async with database.snapshot() as reading:
            seen = await changes.seen_by(reading)
    await forget(database, store_id, seen)
    assert await noted(database, store_id) == {"bea"}
    async with database.snapshot() as reading:
        seen = await changes.seen_by(reading)
    await forget(database, store_id, seen)
    assert await noted(database, store_id) == set()


async def test_whoever_changed_again_since_a_run_saw_them_is_still_noted(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    await put(database, store_id, bought("ada", "a2", "2024-03-05", ("jam", "1", "5")))
    async with database.snapshot() as reading:
        seen = await changes.seen_by(reading)
    await put(database, store_id, bought("ada", "a3", "2024-03-06", ("jam", "1", "5")))
    await forget(database, store_id, seen)
    assert await noted(database, store_id) == {"ada"}


async def forget(database: Database, store_id: str, seen: str) -> None:
    async with database.transaction() as connection:
        await changes.forget(connection, store_id, seen=seen)


@pytest.mark.parametrize("kept_from", ["mergejoin", "hashjoin", "hashjoin, hashagg, material, sort, mergejoin"])
async def test_no_more_are_taken_than_asked_for_however_the_server_goes_about_it(
    database: Database, store_id: str, kept_from: str
) -> None:
    await open_shop(database, store_id, a_shop(12))
    run_id = await serve(database, store_id)
    await put(database, store_id, [r for i in range(12) for r in bought(f"c{i:03}", f"x{i}", "2024-05-02", *GOODS)])
    async with database.transaction(keep=False) as connection:
        for way in kept_from.split(", "):
            await connection.execute(text(f"SET LOCAL enable_{way} = off"))
        assert await changes.take(connection, store_id, run_id, most=2) == ["c000", "c001"]
        assert await changes.take(connection, store_id, run_id, most=9) == [f"c{i:03}" for i in range(2, 11)]


async def test_two_who_take_at_once_take_different_ones(database: Database, store_id: str) -> None:
    await open_shop(database, store_id, a_shop(5))
    await put(
        database, store_id, [r for i in range(5) for r in bought(f"c{i:03}", f"x{i}", "2024-04-01", ("a", "1", "1"))]
    )
    run_id = await serve(database, store_id)
    async with database.transaction() as one, database.transaction(keep=False) as other:
        assert await changes.take(one, store_id, run_id, most=2) == ["c000", "c001"]
        assert await changes.take(other, store_id, run_id, most=9) == ["c002", "c003", "c004"]
    # The second gave up: those are still to be scored.
    assert await noted(database, store_id) == {"c002", "c003", "c004"}


async def test_how_many_there_are_is_not_counted_beyond_what_is_asked(database: Database, store_id: str) -> None:
    await open_shop(database, store_id)
    await put(database, store_id, [r for c in "vwxyz" for r in bought(c, f"o{c}", "2024-04-01", ("a", "1", "1"))])
    await serve(database, store_id)
    async with database.snapshot() as connection:
        assert [await changes.how_many(connection, store_id, most=most) for most in (1, 5, 9)] == [1, 5, 5]
