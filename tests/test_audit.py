"""Whose identities were seen is written down, by whom and in which request, and what cannot be written is not lost."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from asyncpg.exceptions import ReadOnlySQLTransactionError
from structlog.testing import capture_logs

from app.audit import Audit, noted
from app.core.clock import utc_now
from app.core.errors import DatabaseUnavailable
from app.core.keys import Caller, Scope
from app.core.metrics import AUDIT_DROPPED
from app.core.requests import begin_request
from app.domain.records import Customer
from app.pipeline.erasing import erase
from app.warehouse.audit import _OF_ONE, AuditNote, forget_audit, read_audit, write_audit
from app.warehouse.engine import Database, Row
from app.warehouse.erasures import State
from app.warehouse.personal import RULES
from app.warehouse.stores import hold_imports
from tests.fakes import SECRET, erasure_noted, execute, put, rows
from tests.waiting import until, until_so_many_wait


def agent(store_id: str) -> Caller:
    return Caller(store_id, frozenset({Scope.support}), "key00001")


async def shop_of(database: Database, store_id: str, n_customers: int) -> list[str]:
    """A shop of so many customers; their pseudonyms."""
    await put(database, store_id, [Customer(f"c{number:03}") for number in range(n_customers)])
    named = "SELECT pseudonym FROM customer_pseudonyms WHERE store_id = :s ORDER BY customer_id"
    return [pseudonym for (pseudonym,) in await rows(database, named, s=store_id)]


async def entries(database: Database, store_id: str, **wanted: object) -> Sequence[Row]:
    asked = {"before": None, "action": None, "key_id": None, "subject": None, "limit": 100, **wanted}
    return await read_audit(database, store_id, **asked)  # type: ignore[arg-type]


async def test_a_read_is_written_with_who_when_whom_and_the_request(database: Database, store_id: str) -> None:
    audit = Audit(database)
    (ada,) = await shop_of(database, store_id, 1)
    begin_request("ticket-7")
    audit.read(agent(store_id), "customer.read", [ada, None])
    await audit.write()
    (row,) = await entries(database, store_id)
    assert (row["key_id"], row["action"], row["request_id"]) == ("key00001", "customer.read", "ticket-7")
    assert row["subjects"] == [ada]


async def test_who_sees_no_identities_is_not_written_down(database: Database, store_id: str) -> None:
    audit = Audit(database)
    audit.read(Caller(store_id, frozenset({Scope.analytics}), "k"), "customer.read", ["C-00000001"])
    await audit.write()
    assert await entries(database, store_id) == []


async def test_the_latest_come_first_and_can_be_chosen_by_action_key_and_customer(
    database: Database, store_id: str
) -> None:
    audit, everyone = Audit(database), await shop_of(database, store_id, 5)
    for number, pseudonym in enumerate(everyone):
        audit.read(agent(store_id), "customer.read" if number % 2 else "customers.search", [pseudonym])
    await audit.write()
    async with database.transaction() as connection:
        await write_audit(connection, [noted(agent(store_id), "key.create", about="key00002")])
    assert [row["action"] for row in await entries(database, store_id, limit=2)] == ["key.create", "customers.search"]
    assert len(await entries(database, store_id, action="customer.read")) == 2
    assert len(await entries(database, store_id, action="key")) == 1
    assert len(await entries(database, store_id, action="customer")) == 2
    assert len(await entries(database, store_id, key_id="nobody")) == 0
    (one,) = await entries(database, store_id, subject=everyone[3])
    assert one["subjects"] == [everyone[3]]
    assert await entries(database, f"{store_id}x") == []


async def test_a_note_of_what_is_undone_is_undone_with_it(database: Database, store_id: str) -> None:
    async with database.transaction(keep=False) as connection:
        await write_audit(connection, [noted(agent(store_id), "key.create")])
    assert await entries(database, store_id) == []


async def test_while_the_database_is_away_notes_wait(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit, everyone = Audit(database), await shop_of(database, store_id, 4)

    def away() -> None:
        raise DatabaseUnavailable("away")

    for pseudonym in everyone[:3]:
        audit.read(agent(store_id), "customer.read", [pseudonym])
    with monkeypatch.context() as patched:
        patched.setattr(database, "transaction", away)
        with pytest.raises(DatabaseUnavailable):
            await audit.write()
    audit.read(agent(store_id), "customer.read", everyone[3:])
    await audit.close()
    assert [row["subjects"] for row in reversed(await entries(database, store_id))] == [[each] for each in everyone]


async def test_a_database_that_only_reads_for_a_while_costs_no_note(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit._EACH_SECONDS", 0.02)
    (ada,) = await shop_of(database, store_id, 1)
    audit, tried = Audit(database), 0

    async def refuses(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise ReadOnlySQLTransactionError("cannot execute COPY FROM in a read-only transaction")

    with capture_logs() as log:
        writing = asyncio.create_task(audit.run())
        with monkeypatch.context() as patched:
            patched.setattr("app.audit.write_audit", refuses)
            audit.read(agent(store_id), "customer.read", [ada])
            await until(lambda: tried > 2)
        await until(lambda: entries(database, store_id))
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
    assert [line["event"] for line in log] == ["audit.not_written"]
    assert [row["subjects"] for row in await entries(database, store_id)] == [[ada]]


async def test_what_cannot_be_written_in_the_end_is_counted_and_ends_nothing_else(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_: object) -> None:
        raise ReadOnlySQLTransactionError("cannot execute COPY FROM in a read-only transaction")

    before = AUDIT_DROPPED._value.get()
    audit = Audit(database)
    audit.read(agent(store_id), "customer.read", ["C-00000001"])
    monkeypatch.setattr("app.audit.write_audit", refuses)
    await audit.close()
    assert AUDIT_DROPPED._value.get() == before + 1


async def test_too_many_that_wait_are_given_up_from_the_oldest_on_and_counted(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit._MOST", 10)
    before = AUDIT_DROPPED._value.get()
    audit, everyone = Audit(database), await shop_of(database, store_id, 12)
    for pseudonym in everyone:
        audit.read(agent(store_id), "customer.read", [pseudonym])
    await audit.write()
    kept = [row["subjects"][0] for row in reversed(await entries(database, store_id))]
    assert kept == everyone[2:]
    assert AUDIT_DROPPED._value.get() == before + 2


async def test_old_entries_are_forgotten(database: Database, store_id: str) -> None:
    async with database.transaction() as connection:
        long_ago = utc_now() - timedelta(days=400)
        await write_audit(connection, [noted(agent(store_id), "new"), AuditNote(store_id, long_ago, "k", "old", None)])
        assert await forget_audit(connection, kept=timedelta(days=365)) >= 1
    assert [row["action"] for row in await entries(database, store_id)] == ["new"]


async def test_whom_it_is_about_is_found_without_reading_all_of_it(database: Database, store_id: str) -> None:
    await execute(
        database,
        "INSERT INTO audit_log (store_id, at, key_id, action, subjects) "
        "SELECT :s, now(), 'key00001', 'customer.read', ARRAY['C-' || n] FROM generate_series(1, 20000) AS n",
        s=store_id,
    )
    await execute(database, "ANALYZE audit_log")
    (rule,) = [each for each in RULES if each.table.name == "audit_log"]
    erasing = rule.erase().replace(":names", "'{C-7,C-8}'").replace(":store", f"'{store_id}'")
    reading = _OF_ONE
    for number, given in enumerate((f"'{store_id}'", "NULL", "NULL", "NULL", "20", "'C-7'"), start=1):
        reading = reading.replace(f"${number}", given)
    for statement in (erasing, reading):
        plan = str(await rows(database, f"EXPLAIN {statement}"))
        assert "idx_audit_log_subjects" in plan
    assert len(await entries(database, store_id, subject="C-7")) == 1


async def erased(database: Database, store_id: str) -> None:
    """The first customer of `shop_of`, gone."""
    asked = {"secret": SECRET, "by": "KEY00001", "noted": erasure_noted(store_id), "patience_seconds": 10.0}
    (receipt,) = await erase(database, store_id, customer_id="c000", **asked)  # type: ignore[arg-type]
    assert receipt.state is State.done


async def test_a_note_that_is_written_after_an_erasure_does_not_name_who_was_erased(
    database: Database, store_id: str
) -> None:
    audit, (gone, there) = Audit(database), await shop_of(database, store_id, 2)
    audit.read(agent(store_id), "customers.search", [gone, there])
    await erased(database, store_id)
    await audit.write()
    assert [row["subjects"] for row in await entries(database, store_id, action="customers.search")] == [[there]]


async def test_neither_does_one_that_was_made_while_the_erasure_waited(database: Database, store_id: str) -> None:
    audit, (gone,) = Audit(database), await shop_of(database, store_id, 1)
    async with database.transaction() as importing:
        await hold_imports(importing, store_id)
        erasing = asyncio.create_task(erased(database, store_id))
        await until_so_many_wait(database, 1)
        audit.read(agent(store_id), "customer.read", [gone])
    await erasing
    await audit.write()
    assert [row["subjects"] for row in await entries(database, store_id, action="customer.read")] == [[]]


@pytest.mark.parametrize("minutes", [-1, 1])
async def test_neither_does_one_of_a_process_whose_clock_is_wrong(
    database: Database, store_id: str, minutes: int
) -> None:
    (gone,) = await shop_of(database, store_id, 1)
    note = AuditNote(store_id, utc_now() + timedelta(minutes=minutes), "key00001", "customer.read", None, [gone])
    await erased(database, store_id)
    async with database.transaction() as connection:
        await write_audit(connection, [note])
    assert [row["subjects"] for row in await entries(database, store_id, action="customer.read")] == [[]]


async def test_an_erasure_waits_for_notes_that_are_being_written(database: Database, store_id: str) -> None:
    (gone,) = await shop_of(database, store_id, 1)
    async with database.transaction() as connection:
        await write_audit(connection, [noted(agent(store_id), "customer.read", subjects=[gone])])
        erasing = asyncio.create_task(erased(database, store_id))
        await until_so_many_wait(database, 1)
    await erasing
    assert [row["subjects"] for row in await entries(database, store_id, action="customer.read")] == [[]]
