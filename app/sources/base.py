"""What every source delivers: a stream of batches of records, and an honest account of what it left out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from app.domain.records import Record


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that could not be read. `row` counts from 1 at the first row below the header."""

    file: str
    row: int
    column: str
    value: str
    reason: str


@dataclass(slots=True)
class Tally:
    """Rows and the money they carry, signed as in the source."""

    rows: int = 0
    money: Decimal = Decimal(0)

    def add(self, money: Decimal) -> None:
        self.rows += 1
        self.money += money


@dataclass(slots=True)
class ReadingAccount:
    """Where every row went. `read` = rows taken + rows set aside + rows rejected, and so does the money.

    taken     : by what they became ("order line", "refund", ...)
    set_aside : by the stated rule that left them out
    rejected  : the first hundred that could not be read; `n_rejected` counts all, `rejected_money` is what they carry
                where it could be read
    notes     : what was found out about the source and acted upon ("dates read month first"), for people
    """

    read: Tally = field(default_factory=Tally)
    taken: dict[str, Tally] = field(default_factory=dict)
    set_aside: dict[str, Tally] = field(default_factory=dict)
    rejected: list[RejectedRow] = field(default_factory=list)
    n_rejected: int = 0
    rejected_money: Decimal = Decimal(0)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StoreDefaults:
    """What a source knows of its shop; used when the store is new."""

    timezone: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records, in the order they were read.

    progress : share of the source read so far, 0..1
    """

    records: list[Record]
    progress: float


class Source(Protocol):
    """Something that can be read once, from start to end.

    `account` is complete when `batches` is exhausted.
    """

    name: str
    defaults: StoreDefaults
    account: ReadingAccount

    def batches(self) -> Iterator[Batch]: ...
