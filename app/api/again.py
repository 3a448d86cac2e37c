"""What reads and was cut off from the database in the middle is answered from its beginning, once more."""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Where a request's scope holds whether its answer is dropped because another attempt is made; not there before one was
#: cut off.
_DROPPED = "dropped_to_be_asked_again"

_READS = ("GET", "HEAD")

log = structlog.get_logger()


def ask_again(scope: Scope) -> bool:
    """Of a request that was cut off: whether it is asked once more, and what is answered now is not sent."""
    if scope["method"] not in _READS or _DROPPED in scope:
        return False
    scope[_DROPPED] = True
    return True


class AskedAgain:
    """Around the app, inside of what makes its answers. Nothing is written by a GET, so it may be done twice."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _READS:
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if _DROPPED not in scope:
                await send(message)

        await self._app(scope, receive, sending)
        if _DROPPED in scope:
            log.info("request.asked_again", request_id=scope["request_id"])
            await self._app(scope, receive, send)
