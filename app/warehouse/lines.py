"""One connection to Postgres: how it is opened, and how it ends when nothing comes over it any more."""

import asyncio
import socket
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

#: How long a server may take to let us in, or to answer when asked whether it is there.
CONNECT_SECONDS = 5

#: What connecting fails with, and TimeoutError is one of them.
CANNOT_CONNECT = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

#: How long a server may take to say goodbye.
GOODBYE_SECONDS = 2

_NO_ANSWER = f"no answer within {CONNECT_SECONDS} seconds"
_SILENT_SECONDS = 1.0

# Where the server's machine is gone without a word, the kernel finds out within a minute; and a firewall that forgets
# connections over which nothing goes hears of ours often enough.
_KEPT_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}


class Line(asyncpg.Connection):  # type: ignore[misc]  # the driver says nothing of its types
    """A connection that can be told to hang up later: whatever waits for an answer over it then fails at once.

    It needs nothing of the server for that, which may be what does not answer. To give up a statement in any other
    way, the driver tells the server so, and waits for what it says.

    hung_up   : whether it has, for want of an answer
    opened_at : by the loop's clock, which nobody sets
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.hung_up = False
        self.opened_at: float = self._loop.time()
        self._hanging_up: asyncio.TimerHandle | None = None

    def hang_up_in(self, seconds: float | None) -> None:
        """In place of what it was told before. None : not at all"""
        if self._hanging_up is not None:
            self._hanging_up.cancel()
        self._hanging_up = None if seconds is None else self._loop.call_later(seconds, self._hang_up)

    def _hang_up(self) -> None:
        self.hung_up = True
        self.terminate()

    async def answers(self) -> bool:
        """Whether the server does, when asked over it."""
        self.hang_up_in(CONNECT_SECONDS)
        try:
            await self.execute("SELECT 1")
        except CANNOT_CONNECT:
            return False
        finally:
            self.hang_up_in(None)
        return True


class Server:
    """Where lines lead to.

    Who has waited for a new one in vain speaks for those in the queue behind: for a moment nobody waits again, so that
    a server that is gone without a word keeps requests waiting once, and not turn by turn.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._silent_until = float("-inf")

    async def connect(self, *, name: str, patience_seconds: float | None = None, **settings: str) -> Line:
        """A new line.

        name             : what the server is to list it as
        patience_seconds : for one statement, which fails when it takes longer; None for as long as it takes
        settings         : of the server, for this line

        Raises one of CANNOT_CONNECT.
        """
        clock = asyncio.get_running_loop().time
        if clock() < self._silent_until:
            raise TimeoutError(_NO_ANSWER)
        try:
            line: Line = await asyncpg.connect(
                _for_driver(self._url),
                timeout=CONNECT_SECONDS,
                command_timeout=patience_seconds,
                connection_class=Line,
                server_settings={"application_name": name, "jit": "off", **settings},
            )
        except TimeoutError as error:
            self._silent_until = clock() + _SILENT_SECONDS
            raise TimeoutError(_NO_ANSWER) from error
        over = line._transport.get_extra_info("socket")
        if over.family != socket.AF_UNIX:
            over.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEPT_ALIVE.items():
                if hasattr(socket, option):  # Linux has them all
                    over.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return line


def _for_driver(url: str) -> str:
    """The address as the driver takes it: libpq's, which calls SQLAlchemy's ssl sslmode."""
    address = make_url(f"postgresql://{url.partition('://')[2]}")
    if "ssl" in address.query:
        mode = address.query["ssl"]
        address = address.difference_update_query(["ssl"]).update_query_dict({"sslmode": mode})
    return address.render_as_string(hide_password=False)
