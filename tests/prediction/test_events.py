"""Days that shops call by name are those of the calendar."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.prediction.events import EVENTS, RELATIVE, event_window, names, next_window


@pytest.mark.parametrize(
    ("name", "year", "first", "last"),
    [
        ("thanksgiving", 2024, date(2024, 11, 28), date(2024, 11, 28)),
        ("black friday", 2024, date(2024, 11, 29), date(2024, 11, 29)),
        ("black friday weekend", 2024, date(2024, 11, 29), date(2024, 12, 2)),
        ("cyber monday", 2024, date(2024, 12, 2), date(2024, 12, 2)),
        ("cyber monday", 2025, date(2025, 12, 1), date(2025, 12, 1)),
        ("easter", 2025, date(2025, 4, 18), date(2025, 4, 21)),
        ("mother's day", 2025, date(2025, 5, 11), date(2025, 5, 11)),
        ("halloween", 2025, date(2025, 10, 1), date(2025, 10, 31)),
        ("halloween day", 2025, date(2025, 10, 31), date(2025, 10, 31)),
        ("singles' day", 2025, date(2025, 11, 11), date(2025, 11, 11)),
        ("christmas", 2025, date(2025, 12, 1), date(2025, 12, 25)),
        ("february", 2024, date(2024, 2, 1), date(2024, 2, 29)),
        ("q4", 2025, date(2025, 10, 1), date(2025, 12, 31)),
        ("year", 2025, date(2025, 1, 1), date(2025, 12, 31)),
    ],
)
def test_events_are_on_the_days_of_the_calendar(name: str, year: int, first: date, last: date) -> None:
    assert event_window(name, year) == (first, last)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Mothers Day", "mother's day"),
        ("Mother\u2019s Day", "mother's day"),
        ("the  Holiday Season", "christmas"),
        ("BFCM", "black friday weekend"),
        ("back-to-school", "back to school"),
        ("back_to_school", "back to school"),
        ("singles day", "singles' day"),
        ("Fourth of July", "independence day"),
        ("nov", "november"),
    ],
)
def test_an_event_is_known_by_other_spellings(written: str, name: str) -> None:
    assert event_window(written, 2025) == event_window(name, 2025)


def test_a_country_has_its_own_mothers_day_and_labor_day() -> None:
    assert event_window("mother's day", 2025, "GB")[0] == date(2025, 3, 30)
    assert event_window("labor day", 2025, "DE")[0] == date(2025, 5, 1)
    assert event_window("labor day", 2025)[0] == date(2025, 9, 1)


def test_an_event_under_way_is_the_next_one_and_one_that_is_over_comes_again_a_year_later() -> None:
    assert next_window("q4", date(2025, 11, 3)) == event_window("q4", 2025)
    assert next_window("halloween day", date(2025, 10, 31)) == event_window("halloween day", 2025)
    assert next_window("halloween day", date(2025, 11, 1)) == event_window("halloween day", 2026)


def test_next_month_and_next_quarter_are_the_whole_ones_after_a_day() -> None:
    assert next_window("next month", date(2025, 12, 31)) == (date(2026, 1, 1), date(2026, 1, 31))
    assert next_window("Next Quarter", date(2025, 11, 3)) == (date(2026, 1, 1), date(2026, 3, 31))
    assert next_window("next year", date(2025, 1, 1)) == (date(2026, 1, 1), date(2026, 12, 31))


@given(st.sampled_from(names()), st.dates(date(1971, 1, 1), date(2098, 12, 31)))
def test_every_event_comes_within_two_years_and_ends_no_earlier_than_it_begins(name: str, after: date) -> None:
    first, last = next_window(name, after)
    assert first <= last
    assert after <= last < after + timedelta(days=2 * 366)


def test_no_two_events_share_a_name() -> None:
    written = [name for event in EVENTS for name in (event.name, *event.aliases)] + list(RELATIVE)
    assert len(written) == len(set(written))


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidInput, match=r"no event 'blck friday'.*black friday.*next month"):
        event_window("blck friday", 2025)
    with pytest.raises(InvalidInput, match="no event"):
        event_window("next month", 2025)


def test_a_year_or_country_without_a_calendar_is_refused() -> None:
    with pytest.raises(InvalidInput, match="1970 to 2099"):
        event_window("q1", 1969)
    with pytest.raises(InvalidInput, match="no calendar of 'ZZ'"):
        event_window("mother's day", 2025, "ZZ")
