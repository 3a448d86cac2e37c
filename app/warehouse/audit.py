"""Who has changed something, and who has seen identities: written, read, and in time forgotten."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncConnection

from app.warehouse.engine import Database, Row, raw
from app.warehouse.tables import audit_log


@dataclass(frozen=True, slots=True)
class AuditNote:
    """at : when; subjects : pseudonyms of the customers it was about; object : what else it was about"""

    store_id: str
    at: datetime
    key_id: str
    action: str
    request_id: str | None
    subjects: Sequence[str] = ()
    object: str | None = None


_COLUMNS = ("store_id", "at", "key_id", "action", "request_id", "subjects", "object")


async def write_audit(connection: AsyncConnection, notes: Sequence[AuditNote]) -> None:
    """Write notes, without the names of who has been erased since they were made.

    Write them last in a transaction: an erasure, which locks the log after everything else, waits until they are kept.
    """
    driver: Any = await raw(connection)
    # Either this lock comes first, and the erasure then finds the names, or the erasure's, and they are gone by now.
    await driver.execute("LOCK TABLE audit_log IN ROW EXCLUSIVE MODE")
    told = {(note.store_id, each) for note in notes for each in note.subjects}
    named = set(map(tuple, await driver.fetch(_STILL_NAMED, *_columns(told)))) if told else told
    records = [_record(note, [each for each in note.subjects if (note.store_id, each) in named]) for note in notes]
    # Of reads there may be thousands a second: COPY takes a tenth of what INSERT does.
    await driver.copy_records_to_table("audit_log", records=records, columns=_COLUMNS)


_STILL_NAMED = """
    SELECT named.store_id, named.pseudonym FROM unnest($1::text[], $2::text[]) AS told(store_id, pseudonym)
    JOIN customer_pseudonyms AS named ON named.store_id = told.store_id AND named.pseudonym = told.pseudonym
"""


def _columns(pairs: Collection[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _record(note: AuditNote, subjects: Sequence[str]) -> tuple[Any, ...]:
    return note.store_id, note.at, note.key_id, note.action, note.request_id, subjects, note.object


_READ = """
    SELECT audit_id, at, key_id, action, request_id, subjects, object FROM {log}
    WHERE store_id = $1 AND ($2::bigint IS NULL OR audit_id < $2)
      AND ($3::text IS NULL OR action = $3 OR starts_with(action, $3 || '.'))
      AND ($4::text IS NULL OR key_id = $4)
    ORDER BY audit_id DESC LIMIT $5
"""
_OF_ALL = _READ.format(log="audit_log")
# All that is about them first, by its index: else the log is read from its end for as long as it takes to meet so many.
_ABOUT = "WITH about AS MATERIALIZED (SELECT * FROM audit_log WHERE subjects @> ARRAY[$6::text])"
_OF_ONE = f"{_ABOUT} {_READ.format(log='about')}"


async def read_audit(
    database: Database,
    store_id: str,
    *,
    before: int | None,
    action: str | None,
    key_id: str | None,
    subject: str | None,
    limit: int,
) -> Sequence[Row]:
    """The latest first.

    before  : only those older than the one with this number
    action  : one, or all of a kind ("key" for "key.create", "key.revoke", ...)
    subject : a customer's pseudonym
    """
    if subject is None:
        return await database.rows(_OF_ALL, store_id, before, action, key_id, limit)
    return await database.rows(_OF_ONE, store_id, before, action, key_id, limit, subject)


async def forget_audit(connection: AsyncConnection, *, kept: timedelta) -> int:
    """Delete what is older; returns how much that was."""
    done = await connection.execute(delete(audit_log).where(audit_log.c.at < func.now() - kept))
    return done.rowcount
