"""Customers and revenue ahead: worked out when predictions are trained, kept as plain JSON, read back to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtri

from app import __version__
from app.core.errors import NotEnoughHistory
from app.pipeline.engagement import engagements
from app.prediction.cohort_visits import cohort_visits
from app.prediction.cohorts import Length, later
from app.prediction.forecasting import (
    HORIZON,
    NAIVE,
    SEASONAL_NAIVE,
    SEASONAL_NAIVE_YOY,
    Backtest,
    Forecast,
    forecasters,
    whole_months,
)
from app.prediction.growth import (
    CHURN_FLOOR,
    LEAST_MONTHS,
    MOST_MONTHS,
    Amount,
    CustomerFlows,
    CustomerProjection,
    GroupProjection,
    RevenueProjection,
    customer_flows,
    project_customers,
    project_revenue,
)
from app.prediction.purchases import Floats, Ints, Purchases
from app.warehouse.behaviour import Behaviour
from app.warehouse.days import GuestDays, guest_days
from app.warehouse.engine import Connection
from app.warehouse.growth import read_kind_of, read_kinds
from app.warehouse.stores import Store

_EPOCH = date(1970, 1, 1)
#: So many days of the past are kept, and whole months.
PAST_DAYS, PAST_MONTHS = 3 * 365 + 1, 36
_REPEAT_DAYS = 365
UNSEGMENTED, GUESTS = "unsegmented", "guests"
CUSTOMERS, REVENUE = "customers", "revenue"
_BASELINES = {NAIVE, "late_naive", SEASONAL_NAIVE, SEASONAL_NAIVE_YOY}
#: How it is said that errors are known up to a year ahead: of no use to who asks for less.
_FAR = f"Errors are measured up to {HORIZON} "
_CENTS, _FINE = 2, 6
#: Days that one is compared with, and how far it goes from them where so many are not known.
_AROUND, _UNSEEN_CHANCE = 29, 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A level-1 archetype of the run that was served when predictions were trained, or one of the groups beside them.

    members, total_ltv, avg_ltv : as the run counts them; None of customers and orders that are of no archetype
    """

    archetype_id: str
    name: str
    members: int | None = None
    total_ltv: float | None = None
    avg_ltv: float | None = None


_UNSEGMENTED = Kind(UNSEGMENTED, "Not segmented")
_GUESTS = Kind(GUESTS, "Guests")


@dataclass(frozen=True, slots=True)
class Beside:
    """What is read beside what customers did. run_id : the run served; None before the first

    kind_of : `customer_id`, `archetype_id`; None before the first run
    """

    run_id: int | None
    kinds: Sequence[Kind]
    kind_of: pl.DataFrame | None
    guests: GuestDays


_NO_DAYS = np.empty(0, dtype=np.int64)
NOTHING_BESIDE = Beside(None, (), None, GuestDays(_NO_DAYS, _NO_DAYS, np.empty(0)))


async def read_beside(connection: Connection, store: Store, *, as_of: datetime) -> Beside:
    guests = await guest_days(connection, store.store_id, as_of=as_of, timezone=store.timezone)
    run_id = store.served_run_id
    if run_id is None:
        return Beside(None, (), None, guests)
    kinds = [Kind(*row) for row in await read_kinds(connection, store.store_id, run_id)]
    return Beside(run_id, kinds, await read_kind_of(connection, store.store_id, run_id), guests)


# Training.


@dataclass(frozen=True, slots=True)
class TrainedGrowth:
    """models : rows of `prediction_models`; none where the history is too short. report : plain enough for JSON"""

    models: list[dict[str, Any]]
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Daily:
    """What the shop earned. first : the first day with an order; orders : (n_days,)

    revenue : (n_groups + 1, n_days) net of refunds by the day they were made; the last row is of guests
    """

    first: int
    orders: Ints
    revenue: Floats

    @property
    def first_day(self) -> date:
        return _day(self.first)


def train_growth(
    store: Store, behaviour: Behaviour, purchases: Purchases, known: int, beside: Beside = NOTHING_BESIDE
) -> TrainedGrowth:
    """Everything that is answered of growth. known : the day on which records end, since 1970-01-01

    Customers of no archetype are one group, guests, of whom only the money is known, are another.
    """
    kinds, group = _groups(behaviour.customer_ids, beside)
    daily = _daily(behaviour, purchases, beside.guests, group, n_groups=len(kinds), known=known)
    months = whole_months(daily.first_day, daily.revenue.sum(axis=0))
    n_months = len(months.values)
    try:
        visits = purchases.visits
        flows = customer_flows(
            visits.customer, visits.day, first=months.first, n_months=n_months, group=group, n_groups=len(kinds)
        )
    except NotEnoughHistory:
        why = NotEnoughHistory(
            f"looking ahead takes {LEAST_MONTHS} whole calendar months of orders", found=known - daily.first
        )
        return TrainedGrowth([], {"missing": str(why), "months": n_months})
    customers = project_customers(flows, MOST_MONTHS)
    monthly = np.array([whole_months(daily.first_day, each).values for each in daily.revenue])
    by_age = cohort_visits(visits.customer, visits.day, first=months.first, n_months=n_months)
    revenue = project_revenue(months.first, monthly, MOST_MONTHS, visits=by_age)
    country = country_of(store.timezone)
    shared = {"run_id": beside.run_id, "known": _day(known).isoformat(), "country": country}
    told = engagements(purchases, group, n_groups=len(kinds), known=known, country=country)
    of_customers = {
        **shared,
        "kinds": [asdict(each) for each in kinds],
        "events": [each.stored() for each in told],
        **_stored_customers(customers, flows),
    }
    of_revenue = {
        **shared,
        "kinds": [asdict(each) for each in (*kinds, _GUESTS)],
        "repeat_share": _repeat_share(purchases, daily, known),
        **_stored_revenue(revenue, daily, monthly, known=known),
    }
    between = {"trained_from": months.first, "trained_to": _day(known)}
    models = [
        {**_model(CUSTOMERS, customers.acquisition, customers.backtest, n_months), **between}
        | {"parameters": of_customers},
        {**_model(REVENUE, revenue.total, revenue.total.backtest, n_months), **between} | {"parameters": of_revenue},
    ]
    report = {each["name"]: {"model": each["candidate"], "degraded": each["status"] == "degraded"} for each in models}
    return TrainedGrowth(models, {**report, "missing": None, "months": n_months})


def _groups(customer_ids: Sequence[str], beside: Beside) -> tuple[list[Kind], Ints]:
    """The kinds, and the place among them of each customer's: (n_customers,). Nobody's kind is not among them."""
    kinds = list(beside.kinds)
    if beside.kind_of is None:
        return [_UNSEGMENTED], np.zeros(len(customer_ids), dtype=np.int64)
    places = pl.DataFrame({"archetype_id": [each.archetype_id for each in kinds], "place": range(len(kinds))})
    found = (
        pl.DataFrame({"customer_id": customer_ids})
        .join(beside.kind_of, on="customer_id", how="left", maintain_order="left")
        .join(places, on="archetype_id", how="left", maintain_order="left")["place"]
    )
    if found.null_count():
        kinds.append(_UNSEGMENTED)
    return kinds, found.fill_null(len(kinds) - 1).cast(pl.Int64).to_numpy()


def _daily(
    behaviour: Behaviour, purchases: Purchases, guests: GuestDays, group: Ints, *, n_groups: int, known: int
) -> _Daily:
    visits, refunds = purchases.visits, purchases.refunds
    ordered = guests.day[guests.orders > 0]
    first = min(int(days.min()) for days in (visits.day, ordered) if len(days))
    n_days = known - first
    revenue = np.zeros((n_groups + 1, n_days))
    for rows, days, amounts in (
        (group[visits.customer], visits.day, visits.paid),
        (group[refunds.customer], refunds.day, -refunds.amount),
        (np.full(len(guests.day), n_groups), guests.day, guests.revenue),
    ):
        # What went back before the first order we know of was of an order before it.
        inside = (days >= first) & (days < known)
        np.add.at(revenue, (rows[inside], days[inside] - first), amounts[inside])
    of_customers = behaviour.orders["day"].floor().cast(pl.Int64).to_numpy() - first
    orders = np.bincount(of_customers, minlength=n_days)[:n_days]
    placed = (guests.day >= first) & (guests.day < known)
    np.add.at(orders, guests.day[placed] - first, guests.orders[placed])
    return _Daily(first, orders, revenue)


def _repeat_share(purchases: Purchases, daily: _Daily, known: int) -> dict[str, Any]:
    """Of what was paid in the last year, that of orders after a customer's first. Nobody knows this of guests' orders,
    which count as first ones.
    """
    since = max(known - _REPEAT_DAYS, daily.first)
    visits = purchases.visits
    recent = visits.day >= since
    repeat = float(visits.paid[recent & np.isfinite(purchases.gap)].sum())
    paid = float(visits.paid[recent].sum() + np.maximum(daily.revenue[-1, since - daily.first :], 0).sum())
    share = min(max(repeat / paid, 0.0), 1.0) if paid > 0 else 0.0
    return {"share": round(share, _FINE), "first_day": _day(since).isoformat(), "last_day": _day(known - 1).isoformat()}


def _model(name: str, told: Forecast, backtest: Backtest, n_months: int) -> dict[str, Any]:
    names = set(told.model.removeprefix("mean of ").split(", "))
    others = [way.words for way in forecasters() if way.name not in _BASELINES and way.can(n_months)]
    degraded = names <= _BASELINES and backtest.n_origins > 0 and bool(others)
    why = f"No other way told the past better than the plainest. {told.why}" if degraded else told.why
    return {
        "name": name,
        "candidate": told.model,
        "version": __version__,
        "status": "degraded" if degraded else "served",
        "why": why,
        "features": [],
        "backtest": asdict(backtest),
    }


def country_of(timezone: str) -> str:
    """Whose calendar names a shop's days: of the two that differ in them, by where its clock stands."""
    return "GB" if timezone in ("Europe/London", "GB", "Europe/Belfast") else "US"


def _day(number: int) -> date:
    return _EPOCH + timedelta(days=number)


# Into JSON and back. Of what is not known there, NaN, JSON knows null.


def _stored_customers(told: CustomerProjection, flows: CustomerFlows) -> dict[str, Any]:
    groups = told.groups
    return {
        **{name: getattr(told, name).tolist() for name in ("acquired", "lapsed", "active", "low", "high")},
        "first": told.first.isoformat(),
        "active_now": told.active_now,
        "level": told.level,
        "churn_measured": told.churn_measured,
        "avg_tenure_days": told.avg_tenure_days,
        "past": {
            "first": flows.month(max(0, flows.n_months - PAST_MONTHS)).isoformat(),
            **{
                name: of_groups.sum(axis=0)[-PAST_MONTHS:].tolist()
                for name, of_groups in (
                    ("active", flows.active),
                    ("new", flows.new),
                    ("won_back", flows.won_back),
                    ("lapsed", flows.lapsed),
                )
            },
        },
        "groups": {
            **{name: getattr(groups, name).tolist() for name in ("active_now", "acquired", "lapsed", "active")},
            "avg_tenure_days": _nullable(groups.avg_tenure_days),
        },
        "acquisition": _stored_forecast(told.acquisition),
        **_parted(told.assumptions),
    }


def _stored_revenue(told: RevenueProjection, daily: _Daily, monthly: Floats, *, known: int) -> dict[str, Any]:
    total = daily.revenue.sum(axis=0)
    begun = _day(known).replace(day=1)
    this_month = (begun - daily.first_day).days
    return {
        "first": told.first.isoformat(),
        "total": _stored_forecast(told.total),
        "by_group": told.by_group.round(4).tolist(),
        "past": {
            "first": later(told.first, -min(PAST_MONTHS, monthly.shape[1]), Length.month).isoformat(),
            "by_group": monthly[:, -PAST_MONTHS:].round(_CENTS).tolist(),
        },
        "this_month": daily.revenue[:, max(this_month, 0) :].round(_CENTS).tolist() if begun < _day(known) else [],
        "days": {
            "first": _day(known - min(PAST_DAYS, len(total))).isoformat(),
            "revenue": total[-PAST_DAYS:].round(_CENTS).tolist(),
            "orders": daily.orders[-PAST_DAYS:].tolist(),
        },
        **_parted(told.assumptions),
    }


def _stored_forecast(told: Forecast) -> dict[str, Any]:
    return {
        "model": told.model,
        "why": told.why,
        "level": told.level,
        **{name: getattr(told, name).round(4).tolist() for name in ("point", "low", "high")},
    }


def _nullable(values: Floats) -> list[float | None]:
    return [None if np.isnan(each) else round(float(each), 2) for each in values]


def _parted(assumptions: Sequence[str]) -> dict[str, list[str]]:
    far = [each for each in assumptions if each.startswith(_FAR)]
    return {"assumptions": [each for each in assumptions if each not in far], "assumptions_far": far}


def _said(told: Mapping[str, Any], months: int) -> tuple[str, ...]:
    # Of customers two say so: the first is of the customers themselves.
    return (*told["assumptions"], *(told["assumptions_far"][:1] if months > HORIZON else ()))


def _forecast_from(told: Mapping[str, Any], backtest: Mapping[str, Any], months: int) -> Forecast:
    point, low, high = (np.array(told[name], dtype=np.float64)[:months] for name in ("point", "low", "high"))
    return Forecast(told["model"], point, low, high, told["level"], Backtest(**backtest), told["why"], ())


@dataclass(frozen=True, slots=True)
class Model:
    """Of a row of `prediction_models`. parameters : as `train_growth` made them"""

    name: str
    candidate: str
    version: str
    status: str
    why: str
    backtest: Mapping[str, Any]
    parameters: Mapping[str, Any]

    @property
    def known(self) -> date:
        """The day on which records end, not in them."""
        return date.fromisoformat(self.parameters["known"])

    def kinds(self) -> list[Kind]:
        """Of the rows of everything that is by group; of revenue the last is of guests."""
        return [Kind(**each) for each in self.parameters["kinds"]]


def customers_from(model: Model, months: int) -> CustomerProjection:
    """As `project_customers` told it, of so many months. months : 1 to MOST_MONTHS"""
    told = model.parameters
    acquired, lapsed, active, low, high = (
        np.array(told[name], dtype=np.int64)[:months] for name in ("acquired", "lapsed", "active", "low", "high")
    )
    now = told["active_now"]
    previous = np.append(now, active[:-1])
    return CustomerProjection(
        first=date.fromisoformat(told["first"]),
        active_now=now,
        acquired=acquired,
        lapsed=lapsed,
        active=active,
        low=low,
        high=high,
        level=told["level"],
        growth_rate_pct=100 * (float(active[-1]) / now - 1) if now else 0.0,
        monthly_churn_rate=_churn(float(lapsed.sum()), float(previous.sum()), measured=told["churn_measured"]),
        monthly_acquisition_rate=_over(float(acquired.sum()), float(previous.sum())),
        churn_measured=told["churn_measured"],
        avg_tenure_days=told["avg_tenure_days"],
        groups=_groups_from(told["groups"], months, measured=told["churn_measured"]),
        acquisition=_forecast_from(told["acquisition"], model.backtest, months),
        backtest=Backtest(**model.backtest),
        assumptions=_said(told, months),
    )


def _groups_from(told: Mapping[str, Any], months: int, *, measured: bool) -> GroupProjection:
    now = np.array(told["active_now"], dtype=np.int64)
    acquired, lapsed, active = (
        np.array(told[name], dtype=np.int64).reshape(len(now), -1)[:, :months]
        for name in ("acquired", "lapsed", "active")
    )
    previous = np.column_stack([now, active[:, :-1]]).sum(axis=1)
    churn = [
        _churn(float(gone), float(before), measured=measured) if before else np.nan
        for gone, before in zip(lapsed.sum(axis=1), previous, strict=True)
    ]
    return GroupProjection(
        active_now=now,
        share=now / max(int(now.sum()), 1),
        relative_size=now / max(int(now.max()), 1),
        acquired=acquired,
        lapsed=lapsed,
        active=active,
        growth_rate_pct=np.array([100 * (a[-1] / n - 1) if n else np.nan for a, n in zip(active, now, strict=True)]),
        monthly_churn_rate=np.array(churn),
        avg_tenure_days=np.array(told["avg_tenure_days"], dtype=np.float64),
    )


def revenue_from(model: Model, months: int = MOST_MONTHS) -> RevenueProjection:
    """As `project_revenue` told it, of so many months. months : 1 to MOST_MONTHS"""
    told = model.parameters
    return RevenueProjection(
        first=date.fromisoformat(told["first"]),
        total=_forecast_from(told["total"], model.backtest, months),
        by_group=np.array(told["by_group"], dtype=np.float64)[:, :months],
        assumptions=_said(told, months),
    )


def _churn(lapsed: float, before: float, *, measured: bool) -> float:
    rate = _over(lapsed, before)
    return rate if measured else max(rate, CHURN_FLOOR)


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


# Any days: what has been earned in them, and what is to come.


@dataclass(frozen=True, slots=True)
class PeriodRevenue:
    """Net revenue of the days from `start` to `end`, both within.

    earned, point, low, high : what has been so far, and all of it; by group (n_groups,) they add up to that
    orders      : placed in them so far
    year_before : of the same days a year before, None where not all of it is known; orders_before : placed in them
    months      : how far ahead the last day is, in months of the projection; 0 where nothing is to come
    """

    start: date
    end: date
    earned: float
    orders: int
    point: float
    low: float
    high: float
    earned_by_group: Floats
    by_group: Floats
    year_before: float | None
    orders_before: int
    months: int


def known_days(model: Model) -> tuple[date, date]:
    """The first and the last day that can be asked for."""
    told = model.parameters
    last = later(date.fromisoformat(told["first"]), MOST_MONTHS, Length.month) - timedelta(days=1)
    return date.fromisoformat(told["days"]["first"]), last


def revenue_between(model: Model, start: date, end: date) -> PeriodRevenue:
    """start, end : within `known_days`"""
    told, known = model.parameters, model.known
    days_from = date.fromisoformat(told["days"]["first"])
    revenue, orders = (np.array(told["days"][name], dtype=np.float64) for name in ("revenue", "orders"))
    last = min(end, known - timedelta(days=1))
    earned, earned_by_group, n_orders = 0.0, np.zeros(len(told["kinds"])), 0
    if start <= last:
        within = slice(max((start - days_from).days, 0), (last - days_from).days + 1)
        earned, n_orders = float(revenue[within].sum()), int(orders[within].sum())
        earned_by_group = _earned_by_group(told, max(start, days_from), last, revenue, days_from)
    point = low = high = earned
    by_group = earned_by_group
    months = 0
    if end >= known:
        projection = revenue_from(model)
        rest = projection.between(max(start, known), end, days_from=days_from, days=revenue)
        low, high = _with_chance(rest, _chance_of_days(max(start, known), end, revenue), projection.total.level)
        point, low, high = earned + rest.point, earned + low, earned + high
        by_group = earned_by_group + rest.by_group
        months = 12 * (end.year - projection.first.year) + end.month - projection.first.month + 1
    before = _year_before(start, end, days_from=days_from, n_days=len(revenue))
    return PeriodRevenue(
        start=start,
        end=end,
        earned=earned,
        orders=n_orders,
        point=point,
        low=low,
        high=high,
        earned_by_group=earned_by_group,
        by_group=by_group,
        year_before=None if before is None else float(revenue[before].sum()),
        orders_before=0 if before is None else int(orders[before].sum()),
        months=months,
    )


def _chance_of_days(start: date, end: date, revenue: Floats) -> float:
    """How far days that are part of a month go from their share of it, as a standard deviation of their sum's logs.

    Measured on how far days of the last year go from the month around them. 0 for whole months.
    """
    after = end + timedelta(days=1)
    n_days = (after - start).days
    first = start if start.day == 1 else later(start.replace(day=1), 1, Length.month)
    part = n_days - max((after.replace(day=1) - first).days, 0)
    if not part:
        return 0.0
    recent = revenue[-365:]
    if len(recent) < _AROUND:
        return _UNSEEN_CHANCE * float(np.sqrt(part)) / n_days
    around = np.convolve(recent, np.full(_AROUND, 1 / _AROUND), mode="valid")
    middle = recent[_AROUND // 2 : _AROUND // 2 + len(around)]
    apart = (middle - around)[around > 0] / around[around > 0]
    of_a_day = float(np.sqrt((apart**2).mean())) if len(apart) else _UNSEEN_CHANCE
    return of_a_day * float(np.sqrt(part)) / n_days


def _with_chance(told: Amount, chance: float, level: float) -> tuple[float, float]:
    """The ends of an interval, wider by that."""
    if told.point <= 0 or chance <= 0:
        return told.low, told.high
    by_chance = float(ndtri((1 + level) / 2)) * chance
    down = np.log(told.point / told.low) if told.low > 0 else np.inf
    up = np.log(told.high / told.point)
    return told.point * float(np.exp(-np.hypot(down, by_chance))), told.point * float(np.exp(np.hypot(up, by_chance)))


def _year_before(start: date, end: date, *, days_from: date, n_days: int) -> slice | None:
    """Where the same days a year before are among those known; None where not all of them are."""
    # Through the month's first days, as 29 February has none a year before.
    first, after = (
        later(day, -12, Length.month) + timedelta(days=day.day - 1) for day in (start, end + timedelta(days=1))
    )
    begin, stop = (first - days_from).days, (after - days_from).days
    return slice(begin, stop) if begin >= 0 and stop <= n_days else None


def _earned_by_group(told: Mapping[str, Any], start: date, last: date, revenue: Floats, days_from: date) -> Floats:
    """(n_groups,), adding up to what all earned. Of a part of a month that is over, groups share as in all of it."""
    past = np.array(told["past"]["by_group"], dtype=np.float64)
    first, n_months = date.fromisoformat(told["past"]["first"]), past.shape[1]
    projected = date.fromisoformat(told["first"])
    by_group = np.zeros(len(past))
    month = start.replace(day=1)
    while month <= last:
        after = later(month, 1, Length.month)
        begin, stop = max(start, month), min(last + timedelta(days=1), after)
        sum_ = float(revenue[(begin - days_from).days : (stop - days_from).days].sum())
        place = 12 * (month.year - first.year) + month.month - first.month
        if month >= projected and told["this_month"]:
            days = np.array(told["this_month"], dtype=np.float64)
            shared = days[:, (begin - month).days : (stop - month).days].sum(axis=1)
        elif 0 <= place < n_months:
            shared = past[:, place]
        else:
            shared = past.sum(axis=1)
        whole = float(shared.sum())
        by_group += shared * (sum_ / whole) if abs(whole) > 1e-9 else np.full(len(past), sum_ / len(past))
        month = after
    return by_group
