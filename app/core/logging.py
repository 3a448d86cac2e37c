"""structlog, to standard error: an event and its facts. Ids, never e-mails, secrets or message text.

What an exception says of itself may repeat what somebody sent, so of those nobody foresaw only their kind and place are
written, but for LOG_LEVEL=DEBUG. Whatever else comes through is looked over for what has the form of a secret.
"""

import logging
import re
import sys
import traceback
from contextlib import suppress
from typing import IO, Any

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from app.core.errors import AppError

_HIDDEN = "[hidden]"

log = structlog.get_logger()
#: Facts of these names are never written, whatever they hold.
_SECRET_NAMES = frozenset(
    {
        *("authorization", "x-api-key", "x_api_key", "api_key", "admin_key", "key", "secret", "token", "password"),
        *("x-webhook-token", "cookie", "email", "e_mail", "phone", "name", "first_name", "last_name", "body", "query"),
    }
)
_SECRET_FORMS = re.compile(
    r"ci_live_[0-9A-Za-z_]+"  # our own keys
    r"|sk-[0-9A-Za-z_-]{8,}"  # those of language models
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"  # user and password in an address
    r"|[^\s@\"'<>()\[\],;:=]+@[^\s@\"'<>()\[\],;:]+\.[A-Za-z]{2,}"  # an e-mail
)


def configure_logging(*, level: str, json_logs: bool) -> None:
    """Lines for people on a console, JSON for machines."""
    told_in_full = level == "DEBUG"
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if told_in_full else _with_kind_and_place,
        _without_secrets,
    ]
    factory: Any
    if json_logs:
        processors.append(structlog.processors.JSONRenderer(serializer=_dumped))
        factory = structlog.BytesLoggerFactory(file=_Unfailing(sys.stderr.buffer))  # type: ignore[arg-type]
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24))
        factory = structlog.PrintLoggerFactory(file=_Unfailing(sys.stderr))  # type: ignore[arg-type]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )


def hear_libraries(*, level: str) -> None:
    """Have what libraries complain of in our own log, for a process that is ours: unheard, Python prints it in full."""
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Libraries)]
    root.addHandler(_Libraries(told_in_full=level == "DEBUG"))


class _Libraries(logging.Handler):
    """The server, its loop, the database's driver. Their words hold values: a task that failed repeats its error."""

    def __init__(self, *, told_in_full: bool) -> None:
        super().__init__(logging.WARNING)
        self._told_in_full = told_in_full

    def emit(self, record: logging.LogRecord) -> None:
        say = log.error if record.levelno >= logging.ERROR else log.warning
        words = {"what": record.getMessage()} if self._told_in_full else {}
        place = f"{record.pathname}:{record.lineno} in {record.funcName}"
        say("library.complains", library=record.name, place=place, exc_info=record.exc_info, **words)


def _dumped(told: Any, **_: Any) -> bytes:
    return orjson.dumps(told, default=str)


def _with_kind_and_place(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """`exc_info` as the kinds of the errors and where they were raised; in words where they are ours."""
    given = event.pop("exc_info", None)
    if given is None or given is False:
        return event
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exc_info()[1]
    if error is not None:
        event["exception"] = "\n".join(_told(error))
    return event


def _told(error: BaseException) -> list[str]:
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None:
        kind = type(current)
        said = f": {current}" if isinstance(current, AppError) else ""
        lines.append(f"{kind.__module__}.{kind.__qualname__}{said}")
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(current.__traceback__)
        ]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return lines


def _without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for fact, value in event.items():
        if fact in _SECRET_NAMES:
            event[fact] = _HIDDEN
        elif isinstance(value, str) and ("@" in value or "ci_live_" in value or "sk-" in value):
            event[fact] = _SECRET_FORMS.sub(_HIDDEN, value)
    return event


class _Unfailing:
    """A stream that loses what it cannot write, as on a full disk; what the lines tell of goes on all the same."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def write(self, text: str | bytes) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()
