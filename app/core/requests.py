"""Which request is being answered, for whatever is done for it: in logs under its id, and so in the audit log."""

from contextvars import ContextVar

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id() -> str | None:
    """Of the request that is being answered; None outside one."""
    return _REQUEST_ID.get()


def begin_request(named: str) -> None:
    """From here on, in this task and those it begins, what is done is done for this request."""
    _REQUEST_ID.set(named)


def method_told(method: str) -> str:
    """A request's method as it is counted, logged and traced: one that HTTP has, or other."""
    return method if method in _METHODS else "other"
