"""What answers about growth are made of: parts add up, to what the shop earned too, and every shop has an answer."""

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from app.pipeline.engagement import Engagement, engagements, named_window
from app.pipeline.growth import (
    GUESTS,
    NOTHING_BESIDE,
    UNSEGMENTED,
    Beside,
    Kind,
    Model,
    TrainedGrowth,
    customers_from,
    known_days,
    revenue_between,
    revenue_from,
    train_growth,
)
from app.pipeline.purchases import purchases_of
from app.prediction.cohorts import Length, later
from app.prediction.growth import project_customers
from app.warehouse.behaviour import FRAMES, Behaviour
from app.warehouse.days import GuestDays
from app.warehouse.stores import Store

FIRST = date(2022, 1, 1)
DAY = (FIRST - date(1970, 1, 1)).days
STORE = Store("shop", "UTC", "USD", None)
Order = tuple[int, int, float]


def behaviour(orders: list[Order], refunds: list[Order] | None = None) -> Behaviour:
    """orders, refunds : customer, days after FIRST, and an amount"""
    frames = {name: pl.DataFrame(schema=schema) for name, schema in FRAMES.items()}
    rows = sorted(orders)
    frames["orders"] = pl.DataFrame(
        [(who, number, DAY + day + 0.5, paid, 0.0, 0) for number, (who, day, paid) in enumerate(rows)],
        schema=FRAMES["orders"],
        orient="row",
    )
    frames["refunds"] = pl.DataFrame(
        [(who, -1, DAY + day + 0.5, amount, 1.0, 1.0) for who, day, amount in refunds or []],
        schema=FRAMES["refunds"],
        orient="row",
    )
    n_customers = max((who for who, *_ in orders), default=-1) + 1
    return Behaviour([f"c{number:05}" for number in range(n_customers)], **frames, has_categories=False)


def a_shop(n_days: int, *, a_day: float = 1.5, seed: int = 0) -> list[Order]:
    """Customers who come at random and order every 60 days until they leave, more of them in November."""
    rng = np.random.default_rng(seed)
    orders: list[Order] = []
    customer = 0
    for day in range(n_days):
        november = (FIRST + timedelta(days=day)).month == 11
        for _ in range(rng.poisson(a_day * (2 if november else 1))):
            at = day
            while at < n_days:
                orders.append((customer, at, round(float(rng.lognormal(3.5, 0.5)), 2)))
                if rng.random() < 0.4:
                    break
                at += 1 + int(rng.exponential(60))
            customer += 1
    return orders


def trained(
    orders: list[Order], n_days: int, refunds: list[Order] | None = None, beside: Beside = NOTHING_BESIDE
) -> TrainedGrowth:
    found = behaviour(orders, refunds)
    return train_growth(STORE, found, purchases_of(found), DAY + n_days, beside)


def models(told: TrainedGrowth) -> tuple[Model, Model]:
    """As they are read back: customers and revenue."""
    names = ("name", "candidate", "version", "status", "why", "backtest", "parameters")
    of_customers, of_revenue = (
        Model(**json.loads(json.dumps({name: each[name] for name in names}, allow_nan=False))) for each in told.models
    )
    return of_customers, of_revenue


N_DAYS = 1_200


@pytest.fixture(scope="module")
def beside() -> Beside:
    """Three kinds, a tenth of customers of none, and a guest order of 10 every third day, the last given back."""
    n = len(behaviour(a_shop(N_DAYS)).customer_ids)
    placed = [(f"c{number:05}", f"arch_{number % 3}") for number in range(n) if number % 10]
    kinds = [Kind(f"arch_{kind}", f"Kind {kind}", 100, 1000.0 * (3 - kind), 10.0) for kind in range(3)]
    days = np.arange(DAY, DAY + N_DAYS, 3)
    guests = GuestDays(days, np.ones(len(days), dtype=np.int64), np.full(len(days), 10.0))
    guests.orders[-1], guests.revenue[-1] = 0, -10.0
    return Beside(7, kinds, pl.DataFrame(placed, schema=["customer_id", "archetype_id"], orient="row"), guests)


@pytest.fixture(scope="module")
def told(beside: Beside) -> TrainedGrowth:
    return trained(a_shop(N_DAYS), N_DAYS, [(0, 30, 5.0), (1, N_DAYS - 1, 7.0)], beside)


def test_what_is_kept_says_what_was_projected_and_rows_add_up(told: TrainedGrowth) -> None:
    of_customers, _ = models(told)
    for months in (1, 12, 36):
        found = customers_from(of_customers, months)
        assert len(found.active) == months
        assert (found.previous() + found.acquired - found.lapsed == found.active).all()
        assert (found.low <= found.active).all() and (found.active <= found.high).all()
        groups = found.groups
        for of_groups, total in (
            (groups.active, found.active),
            (groups.acquired, found.acquired),
            (groups.lapsed, found.lapsed),
        ):
            assert (of_groups.sum(axis=0) == total).all()
        assert groups.active_now.sum() == found.active_now
        far = [each for each in found.assumptions if "Errors are measured up to" in each]
        assert len(far) == (1 if months > 12 else 0)


def test_fewer_months_are_told_as_if_only_these_had_been_projected() -> None:
    orders = a_shop(500)
    of_customers, _ = models(trained(orders, 500))
    found = behaviour(orders)
    visits = purchases_of(found).visits
    from app.prediction.growth import customer_flows

    flows = customer_flows(visits.customer, visits.day, first=FIRST, n_months=16)
    alone, kept = project_customers(flows, 5), customers_from(of_customers, 5)
    assert (alone.active == kept.active).all() and (alone.low == kept.low).all() and (alone.high == kept.high).all()
    assert alone.growth_rate_pct == pytest.approx(kept.growth_rate_pct)
    assert alone.monthly_churn_rate == pytest.approx(kept.monthly_churn_rate)
    assert alone.monthly_acquisition_rate == pytest.approx(kept.monthly_acquisition_rate)
    assert alone.avg_tenure_days == pytest.approx(kept.avg_tenure_days)
    assert alone.groups.monthly_churn_rate == pytest.approx(kept.groups.monthly_churn_rate)
    assert alone.groups.growth_rate_pct == pytest.approx(kept.groups.growth_rate_pct)
    assert alone.assumptions == kept.assumptions


def test_kinds_are_those_of_the_run_and_who_has_none_is_told_beside(told: TrainedGrowth) -> None:
    of_customers, of_revenue = models(told)
    names = [each.archetype_id for each in of_customers.kinds()]
    assert names == ["arch_0", "arch_1", "arch_2", UNSEGMENTED]
    assert [each.archetype_id for each in of_revenue.kinds()] == [*names, GUESTS]
    assert of_customers.parameters["run_id"] == 7
    (alone,) = models(trained(a_shop(200), 200))[0].kinds()
    assert alone.archetype_id == UNSEGMENTED


def test_the_days_of_the_past_come_to_what_the_shop_earned(told: TrainedGrowth, beside: Beside) -> None:
    _, of_revenue = models(told)
    earliest, _ = known_days(of_revenue)
    yesterday = of_revenue.known - timedelta(days=1)
    found = revenue_between(of_revenue, earliest, yesterday)
    orders = [paid for _, day, paid in a_shop(N_DAYS) if FIRST + timedelta(days=day) >= earliest]
    since = (earliest - date(1970, 1, 1)).days
    guests = beside.guests.revenue[beside.guests.day >= since].sum()
    assert found.earned == pytest.approx(sum(orders) + guests - 7.0)
    assert found.orders == len(orders) + int(beside.guests.orders[beside.guests.day >= since].sum())
    assert found.point == found.low == found.high == found.earned
    assert found.months == 0


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-04-01", "2025-06-30"),
        ("2025-04-10", "2025-04-20"),
        ("2024-12-25", "2025-12-24"),
        ("2026-02-27", "2026-03-01"),
    ],
)
def test_kinds_add_up_to_what_all_earn_in_any_days(told: TrainedGrowth, start: str, end: str) -> None:
    _, of_revenue = models(told)
    found = revenue_between(of_revenue, date.fromisoformat(start), date.fromisoformat(end))
    assert found.by_group.sum() == pytest.approx(found.point, abs=0.01)
    assert found.earned_by_group.sum() == pytest.approx(found.earned, abs=0.01)
    assert found.earned <= found.low <= found.point <= found.high


def test_parts_of_a_period_add_up_to_it(told: TrainedGrowth) -> None:
    _, of_revenue = models(told)
    whole = revenue_between(of_revenue, date(2025, 4, 1), date(2025, 6, 30))
    months = [
        revenue_between(
            of_revenue,
            later(date(2025, 4, 1), n, Length.month),
            later(date(2025, 5, 1), n, Length.month) - timedelta(days=1),
        )
        for n in range(3)
    ]
    assert sum(each.point for each in months) == pytest.approx(whole.point)


def test_a_part_of_a_month_is_told_less_surely_than_the_whole(told: TrainedGrowth) -> None:
    _, of_revenue = models(told)

    def width(start: date, end: date) -> float:
        found = revenue_between(of_revenue, start, end)
        return (found.high - found.low) / found.point

    month = width(date(2025, 6, 1), date(2025, 6, 30))
    assert width(date(2025, 6, 10), date(2025, 6, 10)) > width(date(2025, 6, 10), date(2025, 6, 16)) > month


def test_the_same_days_a_year_before_are_known_where_all_of_them_are(told: TrainedGrowth) -> None:
    _, of_revenue = models(told)
    april = revenue_between(of_revenue, date(2024, 4, 1), date(2024, 4, 30))
    assert revenue_between(of_revenue, date(2025, 4, 1), date(2025, 4, 30)).year_before == pytest.approx(april.earned)
    assert revenue_between(of_revenue, date(2026, 4, 1), date(2026, 4, 30)).year_before is None
    assert revenue_between(of_revenue, date(2022, 4, 14), date(2022, 4, 30)).year_before is None


def test_repeat_orders_are_measured_on_the_shops_own(told: TrainedGrowth) -> None:
    days = 365
    orders = [(who, 10, 30.0) for who in range(50)] + [(who, 100, 10.0) for who in range(30)]
    _, of_revenue = models(trained(orders, days))
    assert of_revenue.parameters["repeat_share"]["share"] == pytest.approx(300 / 1800, abs=1e-6)
    _, of_revenue = models(told)
    assert 0.2 < of_revenue.parameters["repeat_share"]["share"] < 0.7


@pytest.mark.parametrize("n_days", [21, 40, 58])
def test_too_short_a_history_says_so_and_keeps_nothing(n_days: int) -> None:
    told = trained(a_shop(n_days, a_day=10), n_days)
    assert told.models == []
    assert "two whole" not in told.report["missing"] and "2 whole calendar months" in told.report["missing"]
    assert f"there are {n_days}" in told.report["missing"]


def test_a_shop_that_was_closed_for_months_is_told_and_says_what_that_means() -> None:
    orders = a_shop(500)
    of_customers, of_revenue = models(trained(orders, 700))
    assert any("last month had no orders" in each for each in customers_from(of_customers, 12).assumptions)
    assert any("Nothing was counted in the last" in each for each in revenue_from(of_revenue, 12).assumptions)


def test_a_shop_whose_customers_have_all_lapsed_has_nobody_to_lose() -> None:
    of_customers, of_revenue = models(trained(a_shop(100), 800))
    found = customers_from(of_customers, 12)
    assert found.active_now == 0 and found.growth_rate_pct == 0 and found.avg_tenure_days is None
    assert (found.lapsed <= np.append(0, found.active[:-1])).all()
    assert revenue_between(of_revenue, of_revenue.known, of_revenue.known + timedelta(days=30)).point == 0


def test_a_shop_of_guests_alone_beside_one_customer_is_told() -> None:
    days = np.arange(DAY, DAY + 400)
    guests = GuestDays(days, np.ones(400, dtype=np.int64), np.full(400, 10.0))
    _, of_revenue = models(trained([(0, 200, 5.0)], 400, beside=replace(NOTHING_BESIDE, guests=guests)))
    found = revenue_between(of_revenue, date(2022, 2, 1), date(2022, 2, 28))
    assert found.earned == pytest.approx(280)
    assert found.earned_by_group.tolist() == pytest.approx([0, 280])


def test_a_baseline_that_no_other_way_beats_is_degraded() -> None:
    n_days = 330
    told = trained([(who, day, 10.0) for day in range(0, n_days, 2) for who in (day, day + 1)], n_days)
    for each in told.models:
        assert each["status"] in ("served", "degraded")
        degraded = set(each["candidate"].removeprefix("mean of ").split(", ")) <= {
            "naive",
            "late_naive",
            "seasonal_naive",
        }
        assert (each["status"] == "degraded") == degraded
        assert each["why"].startswith("No other way") == degraded
        assert told.report[each["name"]]["degraded"] == degraded


# Who orders in a window


def windows(orders: list[Order], n_days: int) -> dict[tuple[date, date], Engagement]:
    purchases = purchases_of(behaviour(orders))
    group = np.arange(purchases.n_customers) % 2
    found = engagements(purchases, group, n_groups=2, known=DAY + n_days, country="US")
    return {each.window: each for each in found}


@pytest.fixture(scope="module")
def engaged() -> dict[tuple[date, date], Engagement]:
    return windows(a_shop(N_DAYS), N_DAYS)


def test_a_window_is_told_by_the_same_days_of_the_years_before(engaged: dict[tuple[date, date], Engagement]) -> None:
    today = FIRST + timedelta(days=N_DAYS)
    november = engaged[named_window("november", today, "US")]
    assert november.years == (2024, 2023, 2022)
    june = engaged[named_window("june", today, "US")]
    for each in engaged.values():
        assert 0 <= each.low <= each.customers.sum() <= each.high <= each.known
        assert (each.orders >= each.customers - 1e-9).all()
        assert each.new_customers >= 0
    assert november.new_customers > 1.5 * june.new_customers


def test_what_a_window_promises_comes_about_in_a_shop_that_goes_on_as_before() -> None:
    """Told of the month after each of several days, of the customers known then."""
    orders = a_shop(N_DAYS, a_day=4)
    told, came, within = 0.0, 0, []
    for cut in range(N_DAYS - 260, N_DAYS - 60, 40):
        today = FIRST + timedelta(days=cut)
        first, last = window = named_window("next month", today, "US")
        each = windows([order for order in orders if order[1] < cut], cut)[window]
        known = {who for who, day, _ in orders if day < cut}
        n = len({who for who, day, _ in orders if who in known and first <= FIRST + timedelta(days=day) <= last})
        told, came = told + each.customers.sum(), came + n
        within.append(each.low <= n <= each.high)
        assert each.high < 2.5 * each.low
    assert told == pytest.approx(came, rel=0.2)
    assert sum(within) >= 3


def test_who_has_ordered_in_a_window_under_way_counts_already() -> None:
    orders = [(who, day, 10.0) for who in range(60) for day in range(who, 1_000, 90)]
    n_days = (date(2024, 6, 20) - FIRST).days
    told = windows([each for each in orders if each[1] < n_days], n_days)[date(2024, 6, 1), date(2024, 6, 30)]
    already = {who for who, day, _ in orders if date(2024, 6, 1) <= FIRST + timedelta(days=day) < date(2024, 6, 20)}
    assert len(already) <= told.low and told.customers.sum() <= 60


def test_without_the_same_days_in_the_past_the_last_months_tell_it() -> None:
    orders = a_shop(200, a_day=3)
    told = windows(orders, 200)
    assert told and all(each.years == () for each in told.values())
    month, day = told[date(2022, 8, 1), date(2022, 8, 31)], told[date(2022, 11, 25), date(2022, 11, 25)]
    assert month.customers.sum() > 5 * day.customers.sum() > 0


def test_of_a_handful_of_customers_nothing_is_told() -> None:
    assert windows([(who, day, 1.0) for who in range(5) for day in (0, 400)], 500) == {}


def test_engagement_is_kept_as_it_was_told(engaged: dict[tuple[date, date], Engagement]) -> None:
    for each in engaged.values():
        again = Engagement.from_stored(json.loads(json.dumps(each.stored())))
        assert again.window == each.window and again.years == each.years
        assert again.customers == pytest.approx(each.customers, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("This Quarter", ("2025-10-01", "2025-12-31")),
        ("this_year", ("2025-01-01", "2025-12-31")),
        ("Q4", ("2025-10-01", "2025-12-31")),
        ("q4 2024", ("2024-10-01", "2024-12-31")),
        ("black friday", ("2025-11-28", "2025-11-28")),
        ("next year", ("2026-01-01", "2026-12-31")),
    ],
)
def test_names_of_periods_are_days(name: str, window: tuple[str, str]) -> None:
    found: Any = named_window(name, date(2025, 10, 23), "US")
    assert tuple(day.isoformat() for day in found) == window
