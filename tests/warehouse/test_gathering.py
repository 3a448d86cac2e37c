"""Rows asked for at the same time: few statements, to each asker their own row, and nobody waits for nothing."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from app.core.errors import DatabaseUnavailable
from app.warehouse.engine import Database, Row
from app.warehouse.gathering import Gathering
from app.warehouse.readers import Readers

DICE = random.Random(7)
_PATIENCE_SECONDS = 30
_LETTERS = """
    SELECT asked.number, asked.first || asked.second AS both, pg_backend_pid() AS pid
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (first, second, number)
    WHERE asked.first <> 'nobody'
"""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each statement was about."""
    counted: list[int] = []
    fetch = Readers.fetch

    async def counting(self: Readers, query: str, arguments: Sequence[Any]) -> Sequence[Row]:
        counted.append(len(arguments[0]))
        return await fetch(self, query, arguments)

    monkeypatch.setattr(Readers, "fetch", counting)
    return counted


class Held:
    """Reads that are not answered before they are let go. asked : how many rows each is about"""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.go = asyncio.Event()

    async def fetch(self, _: str, keys: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        self.asked.append(len(keys[0]))
        await self.go.wait()
        return [{"number": place, "said": key} for place, key in enumerate(keys[0], start=1)]


async def a_moment() -> None:
    """For who asks to ask, and for what that begins to begin; nothing that waits for time to pass gets on."""
    for _ in range(2):
        await asyncio.sleep(0)


async def test_who_asks_alone_is_asked_for_at_once() -> None:
    held = Held()
    gathering = Gathering(held, "", at_work=2)  # type: ignore[arg-type]
    asking = asyncio.create_task(gathering.row("a"))
    await a_moment()
    assert held.asked == [1]
    held.go.set()
    row = await asyncio.wait_for(asking, _PATIENCE_SECONDS)
    assert row is not None
    assert row["said"] == "a"


async def test_who_asks_alone_is_asked_for_alone(database: Database, statements: list[int]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        row = await database.row_among(_LETTERS, "a", "b")
        assert row is not None
        assert row["both"] == "ab"
        assert await database.row_among(_LETTERS, "nobody", "b") is None
    assert statements == [1, 1]


async def test_of_many_at_once_each_has_their_own_row(database: Database, statements: list[int]) -> None:
    asked = [(DICE.choice(["a", "b", "nobody"]), str(number)) for number in range(300)]
    async with asyncio.timeout(_PATIENCE_SECONDS):
        rows = await asyncio.gather(*(database.row_among(_LETTERS, *key) for key in asked))
    assert [row and row["both"] for row in rows] == [
        None if first == "nobody" else first + second for first, second in asked
    ]
    assert sum(statements) == 300
    assert len(statements) < 10


async def test_whoever_asks_is_answered_however_the_asking_falls() -> None:
    """Asking when others begin, wait, and have just been answered: no moment is one in which nobody listens."""

    class Fast:
        async def fetch(self, _: str, keys: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
            for _again in range(DICE.randrange(4)):
                await asyncio.sleep(0)
            return [{"number": place, "said": key} for place, key in enumerate(keys[0], start=1)]

    gathering = Gathering(Fast(), "", at_work=2)  # type: ignore[arg-type]

    async def one(name: str) -> None:
        for number in range(200):
            row: Any = await gathering.row(f"{name}{number}")
            assert row["said"] == f"{name}{number}"
            for _again in range(DICE.randrange(3)):
                await asyncio.sleep(0)

    async with asyncio.timeout(_PATIENCE_SECONDS):
        await asyncio.gather(*(one(name) for name in "abc"))


async def test_who_gives_up_takes_nobody_along(database: Database) -> None:
    asking = [asyncio.create_task(database.row_among(_LETTERS, "a", str(number))) for number in range(50)]
    await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    async with asyncio.timeout(_PATIENCE_SECONDS):
        rows = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(row, asyncio.CancelledError) for row in rows[::2])
    assert [row["both"] for row in rows[1::2] if not isinstance(row, BaseException) and row] == [
        f"a{number}" for number in range(1, 50, 2)
    ]


async def test_all_are_told_that_the_database_is_away_and_who_asks_later_is_answered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(Readers, "fetch", away)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            told = await asyncio.gather(
                *(database.row_among(_LETTERS, "a", str(number)) for number in range(20)), return_exceptions=True
            )
        assert all(isinstance(each, DatabaseUnavailable) for each in told)
    row = await asyncio.wait_for(database.row_among(_LETTERS, "a", "b"), _PATIENCE_SECONDS)
    assert row is not None
    assert row["both"] == "ab"


async def test_who_asks_while_the_database_is_found_away_is_told_with_the_others() -> None:
    class Away(Held):
        async def fetch(self, query: str, keys: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
            await super().fetch(query, keys)
            raise DatabaseUnavailable("gone")

    away = Away()
    gathering = Gathering(away, "", at_work=1)  # type: ignore[arg-type]
    asking = [asyncio.create_task(gathering.row("a"))]
    await a_moment()
    asking.append(asyncio.create_task(gathering.row("b")))
    await a_moment()
    away.go.set()
    async with asyncio.timeout(_PATIENCE_SECONDS):
        told = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in told] == [DatabaseUnavailable] * 2
    assert away.asked == [1]


@pytest.mark.parametrize("begun", [False, True], ids=["before it is asked", "while it is asked"])
async def test_who_waits_while_the_service_ends_is_not_left_waiting(begun: bool) -> None:
    held = Held()
    gathering = Gathering(held, "", at_work=2)  # type: ignore[arg-type]
    asking = [asyncio.create_task(gathering.row(str(number))) for number in range(200)]  # more than both take along
    await asyncio.sleep(0)
    if begun:
        await a_moment()
    assert held.asked == ([64, 64] if begun else [])
    at_work = [task for task in asyncio.all_tasks() if "Gathering._read" in repr(task.get_coro())]
    assert [task.cancel() for task in at_work] == [True, True]
    async with asyncio.timeout(_PATIENCE_SECONDS):
        rows = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(row) for row in rows} == {asyncio.CancelledError}


async def test_who_asks_what_cannot_be_read_is_told_and_the_next_is_answered(database: Database) -> None:
    no_number = "SELECT $1::text[] AS anything"
    with pytest.raises(KeyError):
        await asyncio.wait_for(database.row_among(no_number, "a"), _PATIENCE_SECONDS)
    with pytest.raises(ValueError, match="zip"):  # keys of different lengths
        await asyncio.wait_for(
            asyncio.gather(database.row_among(_LETTERS, "a", "b"), *(database.row_among(_LETTERS, "a") for _ in "12")),
            _PATIENCE_SECONDS,
        )
    assert (await database.row_among(_LETTERS, "a", "b")) is not None
