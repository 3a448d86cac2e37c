"""The proxy fails as it is told to."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.faults.proxy import Mode, Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            while said := await reader.read(1000):
                writer.write(said)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(*server.sockets[0].getsockname()) as proxy:
        yield proxy


async def said_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """The seconds it takes."""
    began = time.monotonic()
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    return time.monotonic() - began


async def test_open_passes_everything_on(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await said_back(reader, writer)
    writer.close()
    assert await reader.read() == b""


async def test_latency_and_slowness_take_their_time_and_lose_nothing(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    proxy.fail(Mode.latency, by=0.05)
    assert await said_back(reader, writer) >= 0.1  # there and back
    proxy.fail(Mode.slow, by=50)
    assert await said_back(reader, writer) >= 0.2  # ten bytes
    writer.close()


async def test_a_black_hole_answers_nobody_and_what_it_held_goes_on_when_it_is_mended(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await said_back(reader, writer)
    proxy.fail(Mode.blackhole)
    _, new = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await reader.readexactly(5)
    proxy.fail(Mode.open)
    assert await reader.readexactly(5) == b"hello"
    for each in (writer, new):
        each.close()


@pytest.mark.parametrize("mode", [Mode.cut, Mode.reset])
async def test_a_cut_ends_connections_there_are_and_new_ones(proxy: Proxy, mode: Mode) -> None:
    old = await asyncio.open_connection("127.0.0.1", proxy.port)
    await said_back(*old)
    proxy.fail(mode)
    new = await asyncio.open_connection("127.0.0.1", proxy.port)
    for reader, writer in (old, new):
        if mode is Mode.cut:
            assert await reader.read() == b""
        else:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        writer.close()
    proxy.fail(Mode.open)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await said_back(reader, writer)
    writer.close()
    assert proxy.n_accepted == 3
