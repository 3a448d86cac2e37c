"""Slack, played on loopback: `async with FakeSlack() as slack`; it answers what it is told to and keeps what it got."""

import asyncio
import json
from collections import deque
from types import TracebackType
from typing import Any

#: What Slack answers when it has taken a message.
TAKEN = (200, "ok", {})
#: No answer at all, and a connection that ends in the middle.
SILENCE, BROKEN = "silence", "broken"
Reply = tuple[int, str, dict[str, str]] | str

SECRET_PATH = "/services/T0000/B0000/a-secret-part"


class FakeSlack:
    """`replies` are given one after the other, then TAKEN; `messages` holds the bodies that came, `paths` where to."""

    def __init__(self, *replies: Reply) -> None:
        self.replies: deque[Reply] = deque(replies)
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{SECRET_PATH}"

    async def __aenter__(self) -> "FakeSlack":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            assert headers["content-type"] == "application/json"
            self.paths.append(request.split(" ")[1])
            self.messages.append(json.loads(body))
            reply = self.replies.popleft() if self.replies else TAKEN
            if reply == SILENCE:
                await reader.read()  # until the other side gives up
            elif reply != BROKEN:
                status, text, more = reply
                answer = {"content-length": str(len(text.encode())), "connection": "close", **more}
                lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in answer.items()), "", text]
                writer.write("\r\n".join(lines).encode())
                await writer.drain()
        finally:
            writer.close()
