"""A TCP proxy that fails as networks do: `async with Proxy("127.0.0.1", port) as proxy`, then `proxy.fail(mode)`.

A change of mode is felt at once by the connections there are, and Mode.open mends what is not cut by then.
"""

import asyncio
import socket
import struct
from enum import StrEnum

_CHUNK_BYTES = 65_536
_NO_GOODBYE = struct.pack("ii", 1, 0)


class Mode(StrEnum):
    open = "open"
    latency = "latency"  # each chunk comes `by` seconds late
    slow = "slow"  # `by` bytes a second
    blackhole = "blackhole"  # connections are accepted, and nothing goes through
    cut = "cut"  # they are closed, new ones as well
    reset = "reset"  # the same, by RST


class Proxy:
    """port : where it listens; n_accepted : connections so far"""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._mode, self._by = Mode.open, 0.0
        self._through = asyncio.Event()
        self._through.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.n_accepted = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.fail(Mode.cut)
        await asyncio.gather(*self._serving)

    def fail(self, mode: Mode, *, by: float = 0.0) -> None:
        self._mode, self._by = mode, by
        if mode is Mode.blackhole:
            self._through.clear()
        else:
            self._through.set()
        if mode in (Mode.cut, Mode.reset):
            for writer in self._writers:
                self._end(writer)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_GOODBYE)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.n_accepted += 1
        if self._mode in (Mode.cut, Mode.reset):
            self._end(writer)
            return
        server_reader, server_writer = await asyncio.open_connection(*self._upstream)
        both = {writer, server_writer}
        self._writers |= both
        pumps = self._pump(reader, server_writer), self._pump(server_reader, writer)
        await asyncio.gather(*pumps)
        self._writers -= both

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on what comes, until either side hangs up."""
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                if self._mode is Mode.latency:
                    await asyncio.sleep(self._by)
                elif self._mode is Mode.slow:
                    await asyncio.sleep(len(chunk) / self._by)
                await self._through.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
