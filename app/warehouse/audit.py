"""Who has changed something, and who has seen identities: written, read, and in time forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import delete, func, text
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
    driver: Any = await raw(connection)
    # Of reads there may be thousands a second: COPY takes a tenth of what INSERT does.
    await driver.copy_records_to_table("audit_log", records=map(_record, notes), columns=_COLUMNS)
    # Who was erased since a note was made must not be named by its being written only now.
    if await connection.scalar(_ERASED_SINCE, {"since": min((note.at for note in notes), default=None)}):
        await connection.execute(_NAME_NO_ONE_ERASED)


_ERASED_SINCE = text("SELECT EXISTS (SELECT FROM erasures WHERE done_at >= :since)")
_NAME_NO_ONE_ERASED = text(
    """
    UPDATE audit_log SET subjects = ARRAY(
        SELECT each FROM unnest(subjects) AS each WHERE EXISTS (
            SELECT FROM customer_pseudonyms AS named
            WHERE named.store_id = audit_log.store_id AND named.pseudonym = each
        )
    )
    WHERE xmin = pg_current_xact_id()::xid
    """
)
_record = attrgetter(*_COLUMNS)


_READ = """
    SELECT audit_id, at, key_id, action, request_id, subjects, object FROM audit_log
    WHERE store_id = $1 AND ($2::bigint IS NULL OR audit_id < $2)
      AND ($3::text IS NULL OR action = $3 OR starts_with(action, $3 || '.'))
      AND ($4::text IS NULL OR key_id = $4)
      AND ($5::text IS NULL OR subjects @> ARRAY[$5::text])
    ORDER BY audit_id DESC LIMIT $6
"""


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
    return await database.rows(_READ, store_id, before, action, key_id, subject, limit)


async def forget_audit(connection: AsyncConnection, *, kept: timedelta) -> int:
    """Delete what is older; returns how much that was."""
    done = await connection.execute(delete(audit_log).where(audit_log.c.at < func.now() - kept))
    return done.rowcount
