"""Connections whose requests must begin in time and within bounds: the server itself would wait for a head without end,
and keep all of it; and for the rest of a body that was answered before it had come.

What a request's head says is looked at when it is whole. Until then it takes room and a connection, whoever sends it.
"""

import asyncio
import os

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.core.metrics import REFUSED
from app.core.problems import MEDIA_TYPE, plain_problem

#: Of a request's line and headers, bytes. A chunk that is read at once may go beyond it.
LARGEST_HEAD = 64 * 1024
#: How long they may take to come, from the connection on or from when the last request was whole; and what is left of
#: a body, once it is answered.
HEAD_SECONDS = 20.0

log = structlog.get_logger()


class Guarded(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`."""

    _waiting = True  # for a head
    _began = False  # whether anything of it has come
    _bytes = 0
    _heads = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        waited, heads = self._waiting, self._heads
        self._began = True
        if waited and self._timer is None:
            self._begin_timer()
        super().data_received(data)
        if waited and self._heads == heads:
            self._bytes += len(data)
            if self._bytes > LARGEST_HEAD:
                self._refuse(431, f"A request's line and headers may have up to {LARGEST_HEAD:,} bytes.")

    def on_headers_complete(self) -> None:
        self._waiting, self._bytes = False, 0
        self._heads += 1
        self._end_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._waiting, self._began = True, False
        if self._answered():  # no answer comes any more from which the next head would be waited for
            self._begin_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._waiting and self._answered():
            self._begin_timer()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def _too_slow(self) -> None:
        self._timer = None
        if self._waiting and self._began:
            self._refuse(408, f"The headers did not come within {HEAD_SECONDS:g} seconds. Send them again.")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        if self.transport.is_closing():
            return
        REFUSED.labels("head").inc()
        request_id = os.urandom(8).hex()
        log.info("connection.refused", request_id=request_id, status=status)
        body = plain_problem(status, detail, instance="", request_id=request_id).body()
        head = [
            STATUS_LINE[status],
            b"content-type: %b\r\n" % MEDIA_TYPE.encode(),
            b"content-length: %d\r\n" % len(body),
            b"x-request-id: %b\r\n" % request_id.encode(),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"".join([*head, body]))
        self.transport.close()

    def _answered(self) -> bool:
        """Whether the request that came last has its whole answer."""
        return self.cycle.response_complete

    def _begin_timer(self) -> None:
        self._end_timer()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
