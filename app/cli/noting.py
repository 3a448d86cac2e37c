"""What is done by hand on the machine itself, for the audit log."""

from collections.abc import Sequence

from app.cli.options import COMMAND_LINE
from app.core.clock import utc_now
from app.warehouse.audit import AuditNote


def noted(store_id: str, action: str, *, about: str | None = None, subjects: Sequence[str] = ()) -> AuditNote:
    """A note of something that happens now. about : a key or a receipt; subjects : pseudonyms of customers"""
    return AuditNote(store_id, utc_now(), COMMAND_LINE, action, None, subjects, about)
