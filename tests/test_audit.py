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
from app.warehouse.audit import AuditNote, forget_audit, read_audit, write_audit
from app.warehouse.engine import Database, Row
from tests.waiting import until


def agent(store_id: str) -> Caller:
    return Caller(store_id, frozenset({Scope.support}), "key00001")


async def entries(database: Database, store_id: str, **wanted: object) -> Sequence[Row]:
    asked = {"before": None, "action": None, "key_id": None, "subject": None, "limit": 100, **wanted}
    return await read_audit(database, store_id, **asked)  # type: ignore[arg-type]


async def test_a_read_is_written_with_who_when_whom_and_the_request(database: Database, store_id: str) -> None:
    audit = Audit(database)
    begin_request("ticket-7")
    audit.read(agent(store_id), "customer.read", ["C-00000001", None])
    await audit.write()
    (row,) = await entries(database, store_id)
    assert (row["key_id"], row["action"], row["request_id"]) == ("key00001", "customer.read", "ticket-7")
    assert row["subjects"] == ["C-00000001"]


async def test_who_sees_no_identities_is_not_written_down(database: Database, store_id: str) -> None:
    audit = Audit(database)
    audit.read(Caller(store_id, frozenset({Scope.analytics}), "k"), "customer.read", ["C-00000001"])
    await audit.write()
    assert await entries(database, store_id) == []


async def test_the_latest_come_first_and_can_be_chosen_by_action_key_and_customer(
    database: Database, store_id: str
) -> None:
    audit = Audit(database)
    for number in range(5):
        audit.read(agent(store_id), "customer.read" if number % 2 else "customers.search", [f"C-0000000{number}"])
    await audit.write()
    async with database.transaction() as connection:
        await write_audit(connection, [noted(agent(store_id), "key.create", about="key00002")])
    assert [row["action"] for row in await entries(database, store_id, limit=2)] == ["key.create", "customers.search"]
    assert len(await entries(database, store_id, action="customer.read")) == 2
    assert len(await entries(database, store_id, action="key")) == 1
    assert len(await entries(database, store_id, action="customer")) == 2
    assert len(await entries(database, store_id, key_id="nobody")) == 0
    (one,) = await entries(database, store_id, subject="C-00000003")
    assert one["subjects"] == ["C-00000003"]
    assert await entries(database, f"{store_id}x") == []


async def test_a_note_of_what_is_undone_is_undone_with_it(database: Database, store_id: str) -> None:
    async with database.transaction(keep=False) as connection:
        await write_audit(connection, [noted(agent(store_id), "key.create")])
    assert await entries(database, store_id) == []


async def test_while_the_database_is_away_notes_wait(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(database)

    def away() -> None:
        raise DatabaseUnavailable("away")

    for number in range(3):
        audit.read(agent(store_id), "customer.read", [f"C-{number}"])
    with monkeypatch.context() as patched:
        patched.setattr(database, "transaction", away)
        with pytest.raises(DatabaseUnavailable):
            await audit.write()
    audit.read(agent(store_id), "customer.read", ["C-3"])
    await audit.close()
    assert [row["subjects"] for row in reversed(await entries(database, store_id))] == [
        [f"C-{number}"] for number in range(4)
    ]


async def test_a_database_that_only_reads_for_a_while_costs_no_note(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.audit._EACH_SECONDS", 0.02)
    audit, tried = Audit(database), 0

    async def refuses(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise ReadOnlySQLTransactionError("cannot execute COPY FROM in a read-only transaction")

    with capture_logs() as log:
        writing = asyncio.create_task(audit.run())
        with monkeypatch.context() as patched:
            patched.setattr("app.audit.write_audit", refuses)
            audit.read(agent(store_id), "customer.read", ["C-00000001"])
            await until(lambda: tried > 2)
        await until(lambda: entries(database, store_id))
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
    assert [line["event"] for line in log] == ["audit.not_written"]
    assert [row["subjects"] for row in await entries(database, store_id)] == [["C-00000001"]]


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
    audit = Audit(database)
    for number in range(12):
        audit.read(agent(store_id), "customer.read", [f"C-{number:02}"])
    await audit.write()
    kept = [row["subjects"][0] for row in reversed(await entries(database, store_id))]
    assert kept == [f"C-{number:02}" for number in range(2, 12)]
    assert AUDIT_DROPPED._value.get() == before + 2


async def test_old_entries_are_forgotten(database: Database, store_id: str) -> None:
    async with database.transaction() as connection:
        long_ago = utc_now() - timedelta(days=400)
        await write_audit(connection, [noted(agent(store_id), "new"), AuditNote(store_id, long_ago, "k", "old", None)])
        assert await forget_audit(connection, kept=timedelta(days=365)) >= 1
    assert [row["action"] for row in await entries(database, store_id)] == ["new"]
