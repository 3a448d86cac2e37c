"""Cohorts: what is over is told in full, and what is not is not told."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from app.prediction.cohorts import (
    Cell,
    Counted,
    Length,
    cohorts,
    first_of,
    later,
    periods_between,
    start_of,
    together,
)

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)


def counted(cohort: date, period: int, customers: int, paid: str, given_back: str = "0") -> Counted:
    return Counted(cohort, period, customers, 2 * customers, Decimal(paid), Decimal(given_back))


SIZES = {JANUARY: 10, FEBRUARY: 4, MARCH: 7}
COUNTED = [
    counted(JANUARY, 0, 10, "100"),
    counted(JANUARY, 1, 3, "30", "50"),
    counted(JANUARY, 2, 2, "5"),
    counted(FEBRUARY, 0, 4, "40"),
    counted(FEBRUARY, 1, 1, "1"),
    counted(MARCH, 0, 7, "70"),
]


@pytest.mark.parametrize(
    ("day", "month", "quarter"),
    [
        ("2026-01-01", "2026-01-01", "2026-01-01"),
        ("2026-03-31", "2026-03-01", "2026-01-01"),
        ("2024-02-29", "2024-02-01", "2024-01-01"),
        ("2025-12-31", "2025-12-01", "2025-10-01"),
    ],
)
def test_a_day_is_in_its_month_and_quarter(day: str, month: str, quarter: str) -> None:
    given = date.fromisoformat(day)
    assert start_of(given, Length.month).isoformat() == month
    assert start_of(given, Length.quarter).isoformat() == quarter


@pytest.mark.parametrize("length", Length)
def test_periods_are_counted_forth_as_they_are_counted_back(length: Length) -> None:
    start = start_of(date(2024, 5, 17), length)
    for n in range(-30, 30):
        there = later(start, n, length)
        assert start_of(there, length) == there
        assert start_of(there - timedelta(days=1), length) == later(start, n - 1, length)
        assert periods_between(start, there, length) == n


def test_what_is_under_way_is_not_told() -> None:
    """Ten days into March: January is followed for one month, February for none, and March is no cohort yet."""
    january, february = cohorts(SIZES, COUNTED, periods=3, length=Length.month, until=date(2026, 3, 11))
    assert (january.start, january.customers) == (JANUARY, 10)
    assert [cell is None for cell in january.cells] == [False, False, True, True]
    assert [cell is None for cell in february.cells] == [False, True, True, True]


def test_a_month_is_over_when_the_next_begins() -> None:
    found = cohorts(SIZES, COUNTED, periods=2, length=Length.month, until=date(2026, 4, 1))
    assert [each.start for each in found] == [JANUARY, FEBRUARY, MARCH]
    before = cohorts(SIZES, COUNTED, periods=2, length=Length.month, until=date(2026, 3, 31))
    assert [each.start for each in before] == [JANUARY, FEBRUARY]


def test_revenue_is_net_adds_up_and_is_of_everyone_of_the_cohort() -> None:
    january, *_ = cohorts(SIZES, COUNTED, periods=2, length=Length.month, until=date(2026, 4, 1))
    assert january.cells == (
        Cell(0, 10, 20, Decimal(100), Decimal(100)),
        Cell(1, 3, 6, Decimal(-20), Decimal(80)),
        Cell(2, 2, 4, Decimal(5), Decimal(85)),
    )
    assert january.cells[1] is not None
    assert january.share(january.cells[1]) == 0.3
    assert january.per_customer(january.cells[1].cumulative) == 8


def test_a_month_in_which_nobody_came_is_nothing_and_not_unknown() -> None:
    (only,) = cohorts({JANUARY: 2}, [counted(JANUARY, 0, 2, "8")], periods=2, length=Length.month, until=MARCH)
    assert only.cells[1] == Cell(1, 0, 0, Decimal(0), Decimal(8))


def test_cohorts_together_are_those_that_are_old_enough() -> None:
    found = cohorts(SIZES, COUNTED, periods=3, length=Length.month, until=date(2026, 4, 1))
    assert together(found, 0) == (Cell(0, 21, 42, Decimal(210), Decimal(210)), 21)
    assert together(found, 1) == (Cell(1, 4, 8, Decimal(-19), Decimal(121)), 14)
    assert together(found, 2) == (Cell(2, 2, 4, Decimal(5), Decimal(85)), 10)
    assert together(found, 3) is None
    assert together([], 0) is None


@pytest.mark.parametrize("periods", [1, 12, 36])
@pytest.mark.parametrize("length", Length)
def test_the_earliest_cohort_is_followed_to_the_end(periods: int, length: Length) -> None:
    until = date(2026, 3, 11)
    first = first_of(until, periods=periods, length=length)
    (found,) = cohorts({first: 1}, [], periods=periods, length=length, until=until)
    assert None not in found.cells and len(found.cells) == periods + 1


def test_a_shop_without_customers_has_no_cohorts() -> None:
    assert cohorts({}, [], periods=12, length=Length.month, until=MARCH) == []
    assert cohorts({JANUARY: 0}, [], periods=12, length=Length.month, until=MARCH) == []
