"""Single rows that many ask for at the same time, read by one statement.

Asking Postgres, and hearing its answer, takes either side longer than reading a row by its key. Who asks while nothing
is under way is asked for at once, alone; who asks meanwhile is asked for with the others when the answer is there. So
nobody waits for company, and the more ask, the less each of them costs.
"""

import asyncio
from collections.abc import Sequence
from contextvars import Context

from app.core.errors import DatabaseUnavailable
from app.warehouse.readers import Readers, Row

#: Rows of one statement.
_MOST = 64

_Asked = tuple[tuple[str, ...], "asyncio.Future[Row | None]"]


class Gathering:
    """query : takes the parts of the keys as lists ($1, $2, ...), and tells of each row under `number` which key it is
    of, counted from 1 and at most once; the keys are text as Postgres takes it

    at_work : of its statements at the same time
    """

    def __init__(self, readers: Readers, query: str, *, at_work: int) -> None:
        self._readers, self._query = readers, query
        self._room = at_work
        # Tasks that will look again for who waits. One that has found nobody is not among them, though it ends later.
        self._at_work = 0
        self._waiting: list[_Asked] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def row(self, *key: str) -> Row | None:
        """None where there is none. Raises DatabaseUnavailable."""
        told: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, told))
        if self._at_work < self._room:
            self._at_work += 1
            # In a context of its own: it works for whoever waits, and outlives the request that began it.
            task = asyncio.create_task(self._read(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        return await told

    async def _read(self) -> None:
        while asked := self._waiting[:_MOST]:
            del self._waiting[:_MOST]
            await self._tell(asked)
        self._at_work -= 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # as the service ends, and perhaps before it began
            self._at_work -= 1
            for _, told in self._waiting:
                told.cancel()

    async def _tell(self, asked: Sequence[_Asked]) -> None:
        try:
            keys = zip(*(key for key, _ in asked), strict=True)
            rows = await self._readers.fetch(self._query, [list(part) for part in keys])
            found = {row["number"]: row for row in rows}
        except asyncio.CancelledError:
            for _, told in asked:
                told.cancel()
            raise
        except Exception as error:
            if isinstance(error, DatabaseUnavailable):
                # Who has asked meanwhile has waited for the same, and would wait as long once more.
                asked = [*asked, *self._waiting]
                self._waiting.clear()
            for _, told in asked:
                if not told.done():  # who waits no longer
                    told.set_exception(error)
        else:
            for number, (_, told) in enumerate(asked, start=1):
                if not told.done():
                    told.set_result(found.get(number))
