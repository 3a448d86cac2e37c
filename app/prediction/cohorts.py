"""Customers by the month or quarter of their first order: how many of them come back, and what they have brought in.

A period counts once it is over. What is still under way would read as a fall, so it is told as nothing at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


class Length(StrEnum):
    """Of the periods that customers are put together by, on the calendar."""

    month = "month"
    quarter = "quarter"

    @property
    def months(self) -> int:
        return 1 if self is Length.month else 3


def start_of(day: date, length: Length) -> date:
    """The first day of the period that a day is in."""
    return date(day.year, day.month - (day.month - 1) % length.months, 1)


def later(start: date, n: int, length: Length) -> date:
    """The first day of the period that begins n periods after one; before it where n is below 0.

    Raises ValueError beyond the calendar's ends.
    """
    months = 12 * start.year + start.month - 1 + n * length.months
    return date(months // 12, months % 12 + 1, 1)


def periods_between(one: date, other: date, length: Length) -> int:
    """How many periods later the period of the other day is."""
    return ((other.year - one.year) * 12 + other.month - one.month) // length.months


@dataclass(frozen=True, slots=True)
class Counted:
    """What a cohort's customers did in one period.

    cohort   : the first day of the period of their first order
    period   : how many periods after that; 0 is that period itself
    customers, orders, paid : those who ordered, how often, and what they paid
    given_back : money, whoever got it
    """

    cohort: date
    period: int
    customers: int
    orders: int
    paid: Decimal
    given_back: Decimal


@dataclass(frozen=True, slots=True)
class Cell:
    """A cohort in a period that is over.

    customers, orders : those who ordered in it, and how often
    net_revenue : paid less given back in it; cumulative : of it and all periods before it
    """

    period: int
    customers: int
    orders: int
    net_revenue: Decimal
    cumulative: Decimal


@dataclass(frozen=True, slots=True)
class Cohort:
    """Customers whose first order was in one period. cells : by period; None for one that is not over yet"""

    start: date
    customers: int
    cells: tuple[Cell | None, ...]

    def share(self, cell: Cell) -> float:
        """Of them, those who ordered in a period: 0..1."""
        return cell.customers / self.customers

    def per_customer(self, amount: Decimal | int) -> float:
        """Of all of them, whether they ordered or not."""
        return float(amount) / self.customers


def first_of(until: date, *, periods: int, length: Length) -> date:
    """The first day of the earliest cohort that is shown: one followed for as many periods, and over.

    until : the first day that is not known in full
    """
    return later(start_of(until, length), -(periods + 1), length)


def cohorts(
    sizes: Mapping[date, int], counted: Iterable[Counted], *, periods: int, length: Length, until: date
) -> list[Cohort]:
    """The cohorts whose own period is over, the earliest first, each with cells 0 to `periods`.

    sizes : customers by cohort, at least one each; a cohort of nobody is left out
    until : the first day that is not known in full
    """
    done: dict[tuple[date, int], Counted] = {(each.cohort, each.period): each for each in counted}
    under_way = start_of(until, length)
    found = []
    for start in sorted(sizes):
        if start >= under_way or not sizes[start]:
            continue
        over = periods_between(start, under_way, length)
        cells: list[Cell | None] = []
        cumulative = Decimal(0)
        for period in range(periods + 1):
            if period >= over:
                cells.append(None)
                continue
            each = done.get((start, period)) or Counted(start, period, 0, 0, Decimal(0), Decimal(0))
            net = each.paid - each.given_back
            cumulative += net
            cells.append(Cell(period, each.customers, each.orders, net, cumulative))
        found.append(Cohort(start, sizes[start], tuple(cells)))
    return found


def together(shown: Sequence[Cohort], period: int) -> tuple[Cell, int] | None:
    """The cohorts that are old enough for a period, as if they were one, and its customers; None where none is.

    What they have brought in so far is of those same cohorts, so that it can fall from one period to the next.
    """
    old_enough = [(each, cell) for each in shown if (cell := each.cells[period]) is not None]
    if not old_enough:
        return None
    cells = [cell for _, cell in old_enough]
    return (
        Cell(
            period=period,
            customers=sum(cell.customers for cell in cells),
            orders=sum(cell.orders for cell in cells),
            net_revenue=sum((cell.net_revenue for cell in cells), Decimal(0)),
            cumulative=sum((cell.cumulative for cell in cells), Decimal(0)),
        ),
        sum(each.customers for each, _ in old_enough),
    )
