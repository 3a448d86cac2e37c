"""The audit log, page by page."""

import json

from app.api.admin.schemas import AuditEntry, AuditLog
from app.core.cursors import seal, unseal
from app.core.keys import Caller
from app.resources import Resources
from app.warehouse.audit import read_audit


async def entries(
    resources: Resources,
    caller: Caller,
    *,
    action: str | None,
    key_id: str | None,
    subject: str | None,
    limit: int,
    cursor: str | None,
) -> AuditLog:
    """Raises InvalidParameter for a cursor of another list."""
    purpose = json.dumps(["audit", caller.store_id, action, key_id, subject])
    before = None if cursor is None else unseal(resources.secret, purpose, cursor)
    rows = await read_audit(
        resources.database,
        caller.store_id,
        before=before,
        action=action,
        key_id=key_id,
        subject=subject,
        limit=limit + 1,
    )
    more = len(rows) > limit
    return AuditLog(
        entries=[
            AuditEntry(
                at=row["at"].isoformat(timespec="milliseconds"),
                key_id=row["key_id"],
                action=row["action"],
                request_id=row["request_id"],
                subjects=row["subjects"],
                object=row["object"],
            )
            for row in rows[:limit]
        ],
        next_cursor=seal(resources.secret, purpose, rows[limit - 1]["audit_id"]) if more else None,
    )
