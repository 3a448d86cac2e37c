"""Cursors: where a list goes on, signed, so that only what we gave out comes back."""

import base64
import binascii
import hmac
import json
from typing import Any

from app.core.errors import InvalidParameter

_SIGNATURE_BYTES = 16


def seal(secret: bytes, purpose: str, position: Any) -> str:
    """A cursor. purpose : the list it belongs to, its filters included; position : plain data"""
    told = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_signature(secret, purpose, told) + told).decode().rstrip("=")


def unseal(secret: bytes, purpose: str, cursor: str) -> Any:
    """The position in a cursor of that list. Raises InvalidParameter for any other."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raw = b""
    signature, told = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    if not told or not hmac.compare_digest(signature, _signature(secret, purpose, told)):
        raise InvalidParameter("cursor", "take it from next_cursor of the page before, with the same other parameters")
    return json.loads(told)


def _signature(secret: bytes, purpose: str, told: bytes) -> bytes:
    return hmac.digest(secret, b"cursor:v1:" + purpose.encode() + b"\0" + told, "sha256")[:_SIGNATURE_BYTES]
