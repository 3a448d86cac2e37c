"""The load of the benchmarks comes as it says, whatever the answers take, and nothing that goes wrong is left out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from scripts.bench_load import even_load, hardest_load, requests_for

OK, GONE = b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found"
_MORE_THAN_CONNECTIONS = 20


class Server:
    """Answers on loopback as uvicorn does.

    answer : called with how many were asked before; returns the answer's first line, now or as a coroutine; None closes
             the connection instead
    """

    def __init__(self, answer: Callable[[int], object]) -> None:
        self._answer = answer
        self.asked: list[bytes] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            self.asked.append(request)
            said = self._answer(len(self.asked) - 1)
            if asyncio.iscoroutine(said):
                said = await said
            if not isinstance(said, bytes):
                break
            writer.write(said + b"\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()


async def test_an_even_load_asks_as_often_as_it_says() -> None:
    server = Server(lambda _: OK)
    async with server.listening() as port:
        found = await even_load(port, requests_for(["/a", "/b"], port=port, headers=["X: y"]), rate=500, seconds=0.1)
    assert found["requests"] == len(server.asked) == 50
    assert found["not_ok"] == 0
    assert {each.split(b" ")[1] for each in server.asked} == {b"/a", b"/b"}
    assert all(b"\r\nX: y\r\n" in each for each in server.asked)


async def test_answers_that_do_not_come_hold_no_later_request_back() -> None:
    enough = asyncio.Event()

    async def answer(before: int) -> bytes:
        if before + 1 >= _MORE_THAN_CONNECTIONS:
            enough.set()
        await enough.wait()  # nobody is answered before so many have asked
        return OK

    server = Server(lambda before: answer(before))
    async with server.listening() as port:
        requests = requests_for(["/"], port=port, headers=[])
        found = await even_load(port, requests, rate=500, seconds=2 * _MORE_THAN_CONNECTIONS / 500)
    assert found["requests"] == 2 * _MORE_THAN_CONNECTIONS


async def test_answers_other_than_200_are_counted() -> None:
    server = Server(lambda before: GONE if before % 2 else OK)
    async with server.listening() as port:
        requests = requests_for(["/"], port=port, headers=[])
        assert (await even_load(port, requests, rate=500, seconds=0.04))["not_ok"] == 10


async def test_a_connection_that_breaks_instead_of_answering_fails_the_load() -> None:
    server = Server(lambda before: None if before == 3 else OK)
    async with server.listening() as port:
        requests = requests_for(["/"], port=port, headers=[])
        with pytest.raises(ConnectionError):
            await even_load(port, requests, rate=500, seconds=0.1)


async def test_the_hardest_load_asks_each_connection_again_once_it_is_answered() -> None:
    server = Server(lambda _: OK)
    async with server.listening() as port:
        requests = requests_for(["/"], port=port, headers=[])
        found = await hardest_load(port, requests, seconds=0.1, connections=4)
    assert found["requests"] == len(server.asked) >= 4
    assert found["not_ok"] == 0
