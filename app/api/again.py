"""What reads and was cut off from the database in the middle is answered from its beginning, once more."""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: What `failures` notes in the scope of a request.
CUT_OFF = "cut_off_from_the_database"

_READS = ("GET", "HEAD")

log = structlog.get_logger()


class AskedAgain:
    """Around the app, inside of what makes its answers. Nothing is written by a GET, so it may be done twice."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _READS:
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if CUT_OFF not in scope:
                await send(message)

        await self._app(scope, receive, sending)
        if scope.pop(CUT_OFF, False):
            log.info("request.asked_again", request_id=scope["request_id"])
            await self._app(scope, receive, send)
