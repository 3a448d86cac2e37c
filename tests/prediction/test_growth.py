"""Customers ahead: nobody appears or vanishes, groups add up, and who is due to lapse does unless they order."""

from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput, NotEnoughHistory
from app.prediction.cohorts import Length, later
from app.prediction.growth import (
    ACTIVE_DAYS,
    CHURN_FLOOR,
    QUARTER,
    YEAR,
    CustomerFlows,
    CustomerProjection,
    Ints,
    apportion,
    customer_flows,
    project_customers,
    project_revenue,
    returning,
    what_if,
)

FIRST = date(2022, 1, 1)
DAY = (FIRST - date(1970, 1, 1)).days


def visits(rows: set[tuple[int, int]]) -> tuple[Ints, Ints]:
    """customer and day, sorted; days counted from FIRST."""
    ordered = np.array(sorted(rows), dtype=np.int64).reshape(-1, 2)
    return ordered[:, 0], ordered[:, 1] + DAY


def a_shop(n_months: int, *, seed: int = 0, new_a_month: int = 40, n_groups: int = 1) -> CustomerFlows:
    """Customers who come at random, a few more in November, and order every 100 days until they leave."""
    rng = np.random.default_rng(seed)
    rows: set[tuple[int, int]] = set()
    customer = 0
    for month in range(n_months):
        for _ in range(rng.poisson(new_a_month * (2 if month % 12 == 10 else 1) * 1.01**month)):
            day = int(month * 30.4 + rng.integers(30))
            while True:
                rows.add((customer, day))
                if rng.random() < 0.35:
                    break
                day += 1 + int(rng.exponential(100))
            customer += 1
    who, when = visits(rows)
    group = rng.integers(n_groups, size=customer)
    return customer_flows(who, when, first=FIRST, n_months=n_months, group=group, n_groups=n_groups)


@pytest.fixture(scope="module")
def flows() -> CustomerFlows:
    return a_shop(40, n_groups=3)


@pytest.fixture(scope="module")
def projection(flows: CustomerFlows) -> CustomerProjection:
    return project_customers(flows, 36)


some_visits = st.sets(st.tuples(st.integers(0, 12), st.integers(-500, 1_500)), max_size=60)


@given(some_visits, st.integers(2, 40), st.integers(1, 3))
@settings(deadline=None)
def test_active_is_whoever_ordered_within_a_year_and_each_month_adds_up(
    rows: set[tuple[int, int]], n_months: int, n_groups: int
) -> None:
    who, when = visits(rows)
    group = np.arange(13) % n_groups
    flows = customer_flows(who, when, first=FIRST, n_months=n_months, group=group, n_groups=n_groups)
    for position in range(-1, n_months):
        end = (later(FIRST, position + 1, Length.month) - date(1970, 1, 1)).days
        there = np.unique(who[(when < end) & (when >= end - ACTIVE_DAYS)])
        counted = np.bincount(group[there], minlength=n_groups)
        active = flows.opening if position < 0 else flows.active[:, position]
        assert active.tolist() == counted.tolist()
    before = np.column_stack([flows.opening, flows.active[:, :-1]])
    assert (before + flows.new + flows.won_back - flows.lapsed == flows.active).all()
    assert min(flows.new.min(), flows.won_back.min(), flows.lapsed.min()) >= 0
    assert (flows.due.sum(axis=2) == flows.active).all()
    assert (flows.returned <= flows.due).all()
    # Who was in front and did not order has lapsed.
    in_front = flows.due[:, :-1, 0] - flows.returned[:, :-1, 0]
    assert (in_front == flows.lapsed[:, 1:]).all()


def test_a_customer_is_new_lapses_after_a_year_and_is_won_back() -> None:
    who, when = visits({(0, 0), (0, 800)})
    flows = customer_flows(who, when, first=FIRST, n_months=30)
    assert np.flatnonzero(flows.new[0]).tolist() == [0]
    assert np.flatnonzero(flows.lapsed[0]).tolist() == [12]
    assert np.flatnonzero(flows.won_back[0]).tolist() == [26]
    assert flows.active[0].tolist() == [1] * 12 + [0] * 14 + [1] * 4


def test_an_order_just_before_the_year_is_over_keeps_a_customer() -> None:
    flows = customer_flows(*visits({(0, 0), (0, 380)}), first=FIRST, n_months=14)
    assert flows.lapsed.sum() == flows.won_back.sum() == 0


def test_tenure_is_counted_from_the_first_order_of_those_active_at_the_end() -> None:
    flows = customer_flows(*visits({(0, 0), (0, 380), (1, 10), (2, 390)}), first=FIRST, n_months=14)
    end = (date(2023, 3, 1) - FIRST).days
    assert flows.tenure_days.tolist() == [(end + end - 390) / 2]


@given(some_visits, st.integers(2, 30), st.sampled_from([1, 2, 36]))
@settings(max_examples=25, deadline=None)
def test_for_any_history_each_month_to_come_adds_up_for_all_and_for_every_group(
    rows: set[tuple[int, int]], n_months: int, months: int
) -> None:
    flows = customer_flows(*visits(rows), first=FIRST, n_months=n_months, group=np.arange(13) % 2, n_groups=2)
    told = project_customers(flows, months)
    groups = told.groups
    assert (told.previous() + told.acquired - told.lapsed == told.active).all()
    before = np.column_stack([groups.active_now, groups.active[:, :-1]])
    assert (before + groups.acquired - groups.lapsed == groups.active).all()
    for part, whole in (
        (groups.active, told.active),
        (groups.acquired, told.acquired),
        (groups.lapsed, told.lapsed),
    ):
        assert (part.sum(axis=0) == whole).all()
        assert (part >= 0).all()
    assert (told.low <= told.active).all()
    assert (told.active <= told.high).all()
    for rate in (told.growth_rate_pct, told.monthly_churn_rate, told.monthly_acquisition_rate):
        assert np.isfinite(rate)
    assert groups.share.sum() == pytest.approx(1)


def test_quarters_and_years_add_up_from_their_months(projection: CustomerProjection) -> None:
    months = projection.rows()
    assert len(months) == 36
    for length in (QUARTER, YEAR):
        rows = projection.rows(length)
        assert sum(row.n_months for row in rows) == 36
        assert sum(row.acquired for row in rows) == projection.acquired.sum()
        assert rows[-1].customers == months[-1].customers
        assert all(row.previous + row.acquired - row.lapsed == row.customers for row in rows)
        assert all(row.customers == after.previous for row, after in pairwise(rows))
    assert projection.first == date(2025, 5, 1)
    first = projection.rows(YEAR)[0]
    assert (first.first, first.n_months) == (date(2025, 1, 1), 8)


def test_the_number_of_customers_is_told_better_than_by_saying_it_stays(projection: CustomerProjection) -> None:
    found = projection.backtest
    assert found.n_origins == 12
    assert found.mape is not None and found.mape_naive is not None and found.coverage is not None
    assert found.mape < 0.5 * found.mape_naive
    assert found.mape <= 1.1 * (found.best_baseline() or 0)


def test_what_a_projection_says_of_a_past_month_is_told_from_before_it_alone(flows: CustomerFlows) -> None:
    cut = 30
    names = ("new", "won_back", "lapsed", "active", "due", "returned")
    then = replace(flows, **{name: getattr(flows, name)[:, :cut].copy() for name in names})
    known = returning(flows, known=cut)
    # The last known month has no month after it.
    then.returned[:, -1] = 0
    again = returning(then)
    assert known.by_place.tolist() == again.by_place.tolist()
    assert known.by_month.tolist() == again.by_month.tolist()
    assert known.by_group.tolist() == again.by_group.tolist()


def test_with_no_new_customers_and_no_orders_all_lapse_within_a_year() -> None:
    who = np.arange(240)
    flows = customer_flows(who, DAY + who * 3, first=FIRST, n_months=24)
    told = project_customers(flows, 12)
    assert told.active_now > 0
    assert told.lapsed.sum() == told.active_now
    assert told.churn_measured


def test_churn_that_could_not_be_measured_is_floored_and_flagged() -> None:
    told = project_customers(a_shop(6), 3)
    assert not told.churn_measured
    assert told.monthly_churn_rate == CHURN_FLOOR
    assert any("not measured" in each for each in told.assumptions)


def test_churn_of_zero_is_told_where_it_was_measured() -> None:
    rows = {(who, day) for who in range(30) for day in range(who, 1_090, 30)}
    told = project_customers(customer_flows(*visits(rows), first=FIRST, n_months=35), 6)
    # Nobody ever waited for a year, so nobody ever stood in front.
    assert told.monthly_churn_rate in (0.0, CHURN_FLOOR)
    assert told.lapsed.sum() == 0


def test_a_shop_closed_for_months_is_told_and_the_answer_says_so(flows: CustomerFlows) -> None:
    closed = customer_flows(*visits({(who, who * 3) for who in range(200)}), first=FIRST, n_months=40)
    told = project_customers(closed, 36)
    assert told.active_now == 0
    assert told.growth_rate_pct == 0.0
    assert told.avg_tenure_days is None
    assert any("had no orders" in each for each in told.assumptions)
    assert any("Nobody is active" in each for each in told.assumptions)


def test_more_months_change_nothing_of_the_first(flows: CustomerFlows, projection: CustomerProjection) -> None:
    one = project_customers(flows, 1)
    assert (one.active[0], one.acquired[0], one.low[0], one.high[0]) == (
        projection.active[0],
        projection.acquired[0],
        projection.low[0],
        projection.high[0],
    )


@given(st.integers(0, 500), st.lists(st.floats(0, 50), min_size=1, max_size=12))
def test_what_is_apportioned_is_whole_adds_up_and_is_near_to_its_share(total: int, weights: list[float]) -> None:
    array = np.array(weights)
    given_out = apportion(total, array)
    assert given_out.sum() == total
    if array.sum() > 0:
        assert (np.abs(given_out - total * array / array.sum()) <= 1).all()


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 20)), min_size=1, max_size=12), st.floats(0, 1))
def test_nobody_is_given_more_than_there_is_room_for(parts: list[tuple[float, int]], full: float) -> None:
    weights, most = (np.array(each) for each in zip(*parts, strict=True))
    total = int(full * most.sum())
    given_out = apportion(total, weights, most=most)
    assert given_out.sum() == total
    assert (given_out <= most).all()


def revenue(n_months: int = 30) -> np.ndarray:
    month = np.arange(n_months)
    return np.stack([100 + 10 * (month % 12), np.where(month % 12 == 10, 900.0, 50.0), np.zeros(n_months)])


def test_revenue_of_groups_adds_up_and_follows_the_year_of_each() -> None:
    told = project_revenue(FIRST, revenue(), 12)
    assert told.by_group.sum(axis=0) == pytest.approx(told.total.point)
    assert told.first == date(2024, 7, 1)
    november = 4
    assert told.by_group[1].argmax() == november
    assert (told.by_group[2] == 0).all()


def test_revenue_of_a_whole_month_is_that_month_and_parts_of_it_add_up_to_it() -> None:
    told = project_revenue(FIRST, revenue(), 12)
    whole = told.between(date(2024, 7, 1), date(2024, 7, 31))
    assert whole.point == pytest.approx(told.total.point[0])
    parts = [told.between(date(2024, 7, 1), date(2024, 7, 9)), told.between(date(2024, 7, 10), date(2024, 7, 31))]
    assert sum(part.point for part in parts) == pytest.approx(whole.point)
    quarter = told.between(date(2024, 10, 1), date(2024, 12, 31))
    assert quarter.point == pytest.approx(told.total.point[3:6].sum())
    assert quarter.low <= quarter.point <= quarter.high
    assert quarter.by_group.sum() == pytest.approx(quarter.point)


def test_days_outside_of_the_months_projected_are_refused() -> None:
    told = project_revenue(FIRST, revenue(), 3)
    for start, end in ((date(2024, 6, 30), date(2024, 7, 2)), (date(2024, 9, 1), date(2024, 10, 1))):
        with pytest.raises(InvalidInput, match="Ask for more months"):
            told.between(start, end)


def test_revenue_below_nothing_in_one_month_does_no_harm() -> None:
    values = revenue()
    values[:, 7] = -200.0
    told = project_revenue(FIRST, values, 36)
    assert np.isfinite(told.total.high).all()
    assert (told.by_group >= 0).all()


def test_changing_nothing_changes_nothing(projection: CustomerProjection) -> None:
    money = project_revenue(date(2022, 1, 1), revenue(40), 36)
    same = what_if(projection, money)
    assert (same.changed_active == projection.active).all()
    assert (same.changed_lapsed == projection.lapsed).all()
    assert same.changed_revenue is not None
    assert same.changed_revenue == pytest.approx(money.total.point)


def test_less_churn_leaves_more_customers_and_every_month_still_adds_up(projection: CustomerProjection) -> None:
    told = what_if(projection, churn_change=-0.2, acquisition_change=0.1)
    assert (told.changed_active > projection.active).all()
    before = np.append(projection.active_now, told.changed_active[:-1])
    assert (before + told.changed_acquired - told.changed_lapsed == told.changed_active).all()
    none = what_if(projection, churn_change=-1.0)
    assert none.changed_lapsed.sum() == 0
    assert any("x (1 -100.0%)" in each for each in none.assumptions)


def test_a_tenth_more_per_order_is_a_tenth_more_revenue_and_repeat_orders_count_by_their_share(
    projection: CustomerProjection,
) -> None:
    money = project_revenue(date(2022, 1, 1), revenue(40), 36)
    more = what_if(projection, money, order_value_change=0.1).changed_revenue
    assert more == pytest.approx(1.1 * money.total.point)
    repeat = what_if(projection, money, repeat_share=0.6, repeat_rate_change=0.5).changed_revenue
    assert repeat == pytest.approx(1.3 * money.total.point)


@pytest.mark.parametrize("change", [-1.5, float("nan")])
def test_a_change_to_less_than_nothing_is_refused(projection: CustomerProjection, change: float) -> None:
    with pytest.raises(InvalidInput, match="churn_change"):
        what_if(projection, churn_change=change)
    with pytest.raises(InvalidInput, match="repeat_share"):
        what_if(projection, repeat_share=1.5)


@pytest.mark.parametrize("months", [0, 37])
def test_only_one_to_thirty_six_months_are_projected(flows: CustomerFlows, months: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 36"):
        project_customers(flows, months)
    with pytest.raises(InvalidInput, match="1 to 36"):
        project_revenue(FIRST, revenue(), months)


def test_with_less_than_two_whole_months_it_says_what_is_missing() -> None:
    with pytest.raises(NotEnoughHistory, match="two whole calendar months"):
        customer_flows(*visits({(0, 3), (0, 9)}), first=FIRST, n_months=1)
    with pytest.raises(NotEnoughHistory, match="two whole calendar months"):
        project_revenue(FIRST, np.array([[5.0]]), 3)
