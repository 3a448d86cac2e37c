"""How many customers a shop will have, and what they will bring in, month by month.

A customer is active with an order in the last ACTIVE_DAYS days, at the end of a month. Every month, of the past and of
what is to come, and for every group:

    active before + acquired (new and won back) - lapsed = active after

Who lapses when is known a year ahead but for those who order again: whoever ordered last in May lapses next May. So
the active customers stand in a row by the months they have left; each month some of every place order and go to the
back of the row, the others move up, and who was in front lapses. The shares that order are the last year's, by place,
and by month of the year once two are known. Acquisition is a series and is forecast as one.

The total is projected first; groups share in it, so that they add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from app.core.errors import InvalidInput, NotEnoughHistory
from app.prediction.cohort_visits import CohortVisits
from app.prediction.cohorts import Length, later, periods_between
from app.prediction.forecasting import (
    BASELINES,
    HORIZON,
    LEVEL,
    MONTHS_A_YEAR,
    Backtest,
    Forecast,
    RollingOrigins,
    baselines,
    errors_suggest,
    forecast,
    interval,
    log_ratio,
    mean_error,
    rolling_origins,
    shares_of_months,
    steps_suggest,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Whoever ordered within so many days is active.
ACTIVE_DAYS = 365
#: Months an active customer has left at most.
PLACES = 12
MOST_MONTHS = 36
LEAST_MONTHS = 2
#: What is said of churn where nobody could have lapsed yet.
CHURN_FLOOR = 0.005
QUARTER, YEAR = 3, 12

_FEWEST_ORIGINS = 5
#: So many customers of the shop at large are mixed into what a group or a month of the year is measured by.
_MIXED_IN = 50
_SEASON_LIMITS = (0.3, 3.0)
_MOST_RETURN = 0.98
_NEVER = 2**40


@dataclass(frozen=True, slots=True)
class CustomerFlows:
    """Who came and went, by group and month.

    first       : the first day of the first month
    opening     : (n_groups,) active when it began
    new, won_back, lapsed, active : (n_groups, n_months); active at the end of each
    due         : (n_groups, n_months, PLACES) of the active at the end of a month, who would lapse in the 1st, 2nd, ...
                  month after it with no other order
    returned    : the same, who of them ordered in the month after it; 0 in the last month, which has none yet
    tenure_days : (n_groups,) mean days since the first order of those active at the end; NaN of nobody
    """

    first: date
    opening: Ints
    new: Ints
    won_back: Ints
    lapsed: Ints
    active: Ints
    due: Ints
    returned: Ints
    tenure_days: Floats

    @property
    def n_months(self) -> int:
        return int(self.active.shape[1])

    def acquired(self) -> Ints:
        return self.new + self.won_back

    def month(self, position: int) -> date:
        """The first day of a month; from n_months on of those to come."""
        return later(self.first, position, Length.month)


def customer_flows(
    customer: Ints, day: Ints, *, first: date, n_months: int, group: Ints | None = None, n_groups: int = 1
) -> CustomerFlows:
    """Counts who came and went in `n_months` whole calendar months from `first` on.

    customer, day : (n_visits,) one for each customer and day with an order, sorted by customer, then day; days since
                    1970-01-01. What is after the last month is not looked at
    group         : (n_customers,) from 0 up to n_groups; None for one of all

    Raises NotEnoughHistory with fewer than two months.
    """
    if n_months < LEAST_MONTHS:
        raise NotEnoughHistory("looking ahead takes two whole calendar months of orders", found=_days_of(day))
    end = later(first, n_months, Length.month)
    before_end = day < (end - date(1970, 1, 1)).days
    customer, day = customer[before_end], day[before_end]
    of = np.zeros(len(day), dtype=np.int64) if group is None else np.asarray(group, dtype=np.int64)[customer]
    came = _month_of(day, first)
    # In this month they lapse, unless they order before it is over.
    lapses = _month_of(day + ACTIVE_DAYS, first)
    follows = np.append(customer[1:] == customer[:-1], False)
    following = np.where(follows, np.append(came[1:], 0), _NEVER)
    first_ever = np.append(True, ~follows[:-1])[: len(day)]
    back = np.append(False, follows[:-1] & (came[1:] > lapses[:-1]))[: len(day)]

    def count(month: Ints, chosen: NDArray[np.bool_]) -> Ints:
        chosen = chosen & (month >= 0) & (month < n_months)
        cells = np.bincount(of[chosen] * n_months + month[chosen], minlength=n_groups * n_months)
        return cells.reshape(n_groups, n_months)

    new, won_back, lapsed = count(came, first_ever), count(came, back), count(lapses, following > lapses)
    open_ = (came < 0) & (following >= 0) & (lapses >= 0)
    opening = np.bincount(of[open_], minlength=n_groups)
    due, returned = (np.zeros((n_groups, n_months, PLACES), dtype=np.int64) for _ in range(2))
    for place in range(PLACES):
        month = lapses - 1 - place
        there = (came <= month) & (following > month)
        due[:, :, place] = count(month, there)
        returned[:, :, place] = count(month, there & (following == month + 1))
    return CustomerFlows(
        first=first,
        opening=opening,
        new=new,
        won_back=won_back,
        lapsed=lapsed,
        active=opening[:, None] + np.cumsum(new + won_back - lapsed, axis=1),
        due=due,
        returned=returned,
        tenure_days=_tenure(day, of, first_ever, (following == _NEVER) & (lapses >= n_months), end, n_groups),
    )


def _month_of(day: Ints, first: date) -> Ints:
    """How many months after the first one."""
    months: Ints = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months - periods_between(date(1970, 1, 1), first, Length.month)


def _days_of(day: Ints) -> int:
    return int(day.max() - day.min()) + 1 if len(day) else 0


def _tenure(
    day: Ints, of: Ints, first_ever: NDArray[np.bool_], active: NDArray[np.bool_], end: date, n_groups: int
) -> Floats:
    """active : (n_visits,) the last visit of everyone active at the end"""
    began = day[first_ever][np.cumsum(first_ever) - 1] if len(day) else day
    days = (end - date(1970, 1, 1)).days - began[active]
    sums = np.bincount(of[active], weights=days, minlength=n_groups)
    sizes = np.bincount(of[active], minlength=n_groups)
    mean: Floats = np.divide(sums, sizes, out=np.full(n_groups, np.nan), where=sizes > 0)
    return mean


# The row that active customers stand in.


@dataclass(frozen=True, slots=True)
class Returning:
    """What share of each place orders in a month.

    by_place : (PLACES,); by_month : (12,) times this, January first
    by_group : (n_groups,) times this
    measured : whether anyone has yet stood in front, so that lapses are seen
    seasonal : whether two years are known
    """

    by_place: Floats
    by_month: Floats
    by_group: Floats
    measured: bool
    seasonal: bool

    def shares(self, month: date) -> Floats:
        """(n_groups, PLACES) in one month."""
        shares: Floats = self.by_place * self.by_month[month.month - 1] * self.by_group[:, None]
        return np.clip(shares, 0.0, _MOST_RETURN)


def returning(flows: CustomerFlows, *, known: int | None = None, by_group: bool = True) -> Returning:
    """As measured in the last year of the first `known` months (all of them by default)."""
    known = flows.n_months if known is None else known
    last_year = slice(max(0, known - 1 - MONTHS_A_YEAR), known - 1)
    due, returned = (each[:, last_year].sum(axis=1) for each in (flows.due, flows.returned))
    by_place = _by_place(due.sum(axis=0), returned.sum(axis=0))
    by_month = np.ones(MONTHS_A_YEAR)
    seasonal = known > 2 * MONTHS_A_YEAR
    if seasonal:
        span = slice(max(0, known - 1 - 3 * MONTHS_A_YEAR), known - 1)
        expected = flows.due[:, span].sum(axis=0) @ by_place
        seen = flows.returned[:, span].sum(axis=(0, 2))
        months = np.array([flows.month(position + 1).month - 1 for position in range(span.start, span.stop)])
        seen_by, expected_by = (np.bincount(months, weights=each, minlength=MONTHS_A_YEAR) for each in (seen, expected))
        # Against the three years' own level: the last year's is in the places.
        level = (seen.sum() + _MIXED_IN) / (expected.sum() + _MIXED_IN)
        by_month = np.clip((seen_by / level + _MIXED_IN) / (expected_by + _MIXED_IN), *_SEASON_LIMITS)
    groups = np.ones(len(flows.active))
    if by_group:
        groups = (returned.sum(axis=1) + _MIXED_IN) / (due @ by_place + _MIXED_IN)
    measured = bool(flows.due[:, : known - 1, 0].any())
    return Returning(by_place, by_month, groups, measured=measured, seasonal=seasonal)


def _by_place(due: Ints, returned: Ints) -> Floats:
    """Shares by place; of one nobody stood in yet, that of the next one behind it where somebody did."""
    if not due.any():
        return np.zeros(PLACES)
    shares = (returned + returned.sum() / due.sum()) / (due + 1)
    seen = np.flatnonzero(due)
    nearest = seen[np.minimum(np.searchsorted(seen, np.arange(PLACES)), len(seen) - 1)]
    by_place: Floats = shares[nearest]
    return by_place


def _move_up(row: Floats, shares: Floats, acquired: Floats) -> tuple[Floats, Floats]:
    """The row a month later, and who lapsed. row, shares : (n_groups, PLACES); acquired, lapsed : (n_groups,)"""
    ordered = row * shares
    stay = row - ordered
    back = ordered.sum(axis=1) + acquired
    return np.column_stack([stay[:, 1:], back]), stay[:, 0]


# What is to come.


@dataclass(frozen=True, slots=True)
class GroupProjection:
    """(n_groups, n_months) of each; they add up to the total's, month by month.

    active_now, share, relative_size : (n_groups,) at the start; the share of all, and next to the largest group
    growth_rate_pct, monthly_churn_rate, avg_tenure_days : (n_groups,); NaN where nobody was there
    """

    active_now: Ints
    share: Floats
    relative_size: Floats
    acquired: Ints
    lapsed: Ints
    active: Ints
    growth_rate_pct: Floats
    monthly_churn_rate: Floats
    avg_tenure_days: Floats


@dataclass(frozen=True, slots=True)
class PeriodRow:
    """One month, quarter or year of the calendar.

    n_months    : how many of its months are projected: of a period cut short by the start or the end, fewer
    previous    : active before the first of them; customers, low, high : active at the end of the last
    growth_rate : customers over previous, less 1; 0 from nobody
    """

    first: date
    n_months: int
    previous: int
    acquired: int
    lapsed: int
    customers: int
    low: int
    high: int
    growth_rate: float


@dataclass(frozen=True, slots=True)
class CustomerProjection:
    """acquired, lapsed, active, low, high : (n_months,) whole customers, low <= active <= high.

    first               : the first day of the first month to come
    growth_rate_pct     : of the whole time, in percent; 0 from nobody
    monthly_churn_rate  : lapsed over those active before, all months together; monthly_acquisition_rate alike
    churn_measured      : False where nobody could have lapsed yet, so that the rate is at least CHURN_FLOOR
    avg_tenure_days     : None of nobody
    """

    first: date
    active_now: int
    acquired: Ints
    lapsed: Ints
    active: Ints
    low: Ints
    high: Ints
    level: float
    growth_rate_pct: float
    monthly_churn_rate: float
    monthly_acquisition_rate: float
    churn_measured: bool
    avg_tenure_days: float | None
    groups: GroupProjection
    acquisition: Forecast
    backtest: Backtest
    assumptions: tuple[str, ...]

    def previous(self) -> Ints:
        """(n_months,) active before each month."""
        return np.append(self.active_now, self.active[:-1])

    def rows(self, months: int = 1) -> list[PeriodRow]:
        """By month, or by QUARTER or YEAR of the calendar."""
        of = [_period_of(later(self.first, at, Length.month), months) for at in range(len(self.active))]
        rows = []
        for period in sorted(set(of)):
            at = [position for position, each in enumerate(of) if each == period]
            before, after = int(self.previous()[at[0]]), int(self.active[at[-1]])
            rows.append(
                PeriodRow(
                    first=period,
                    n_months=len(at),
                    previous=before,
                    acquired=int(self.acquired[at].sum()),
                    lapsed=int(self.lapsed[at].sum()),
                    customers=after,
                    low=int(self.low[at[-1]]),
                    high=int(self.high[at[-1]]),
                    growth_rate=after / before - 1 if before else 0.0,
                )
            )
        return rows


def _period_of(month: date, months: int) -> date:
    return date(month.year, month.month - (month.month - 1) % months, 1)


def project_customers(flows: CustomerFlows, months: int, *, level: float = LEVEL) -> CustomerProjection:
    """The months after the last one. months : 1 to MOST_MONTHS

    Raises InvalidInput for other months.
    """
    if not 1 <= months <= MOST_MONTHS:
        raise InvalidInput(f"Customers are projected 1 to {MOST_MONTHS} months ahead, not {months}.")
    series = flows.acquired().sum(axis=0).astype(np.float64)
    served = rolling_origins(series, months, level=level)
    acquisition = served.forecast()
    ways = returning(flows)
    start = flows.n_months
    acquired_to_come, lapsed_to_come = _projected(flows, start, acquisition.point, months)
    active_now = int(flows.active[:, -1].sum())
    acquired = np.diff(np.rint(np.append(0.0, np.cumsum(acquired_to_come)))).astype(np.int64)
    lapsed = np.diff(np.rint(np.append(0.0, np.cumsum(lapsed_to_come)))).astype(np.int64)
    active = np.empty(months, dtype=np.int64)
    before = active_now
    for month in range(months):
        lapsed[month] = min(lapsed[month], before)
        before = active[month] = before + acquired[month] - lapsed[month]
    spread, offset, backtest = _reach(flows, served, months)
    low, high = interval(active.astype(np.float64), spread, offset=offset)
    previous = np.append(active_now, active[:-1])
    churn = _over(lapsed.sum(), previous.sum())
    tenure, sizes = np.nan_to_num(flows.tenure_days), flows.active[:, -1]
    return CustomerProjection(
        first=flows.month(start),
        active_now=active_now,
        acquired=acquired,
        lapsed=lapsed,
        active=active,
        low=np.floor(low).astype(np.int64),
        high=np.ceil(high).astype(np.int64),
        level=level,
        growth_rate_pct=100 * (active[-1] / active_now - 1) if active_now else 0.0,
        monthly_churn_rate=churn if ways.measured else max(churn, CHURN_FLOOR),
        monthly_acquisition_rate=_over(acquired.sum(), previous.sum()),
        churn_measured=ways.measured,
        avg_tenure_days=float(tenure @ sizes / sizes.sum()) if active_now else None,
        groups=_by_group(flows, ways, acquired, lapsed),
        acquisition=acquisition,
        backtest=backtest,
        assumptions=_assumptions(flows, ways, acquisition, months),
    )


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _projected(flows: CustomerFlows, known: int, acquired: Floats, months: int) -> tuple[Floats, Floats]:
    """(months,) acquired and lapsed of all groups together, from the first `known` months alone."""
    ways = returning(flows, known=known, by_group=False)
    row = flows.due[:, known - 1].sum(axis=0, dtype=np.float64)[None]
    lapsed = np.empty(months)
    for ahead in range(months):
        shares = ways.shares(flows.month(known + ahead))[:1]
        row, gone = _move_up(row, shares, acquired[ahead : ahead + 1])
        lapsed[ahead] = gone[0]
    return acquired[:months], lapsed


def _reach(flows: CustomerFlows, served: RollingOrigins, months: int) -> tuple[Floats, float, Backtest]:
    """(months,) half the width of the interval in logs, what is added before logs, and how well it did before."""
    active = flows.active.sum(axis=0).astype(np.float64)
    n = len(active)
    level = served.level
    # The first two months tell a projection too little to be judged by.
    origins = [int(origin) for origin in served.origins if origin >= LEAST_MONTHS]
    told = np.full((len(origins), HORIZON), np.nan)
    came = np.full((len(origins), HORIZON), np.nan)
    for row, origin in enumerate(origins):
        acquired = served.told[origin - int(served.origins[0])]
        _, lapsed = _projected(flows, origin, acquired, HORIZON)
        told[row] = np.maximum(active[origin - 1] + np.cumsum(acquired - lapsed), 0.0)
        came[row, : n - origin] = active[origin : origin + HORIZON]

    def spread(known: int, horizon: int) -> Floats:
        """From the first `known` months alone."""
        offset = _offset(active[:known])
        rows = np.array(origins, dtype=np.int64)[:, None]
        seen = rows + np.arange(1, HORIZON + 1) <= known
        apart = np.where(seen, np.abs(log_ratio(came, told, offset=offset)), np.nan)
        apart = apart[np.isfinite(apart).any(axis=1)]
        measured = errors_suggest(apart, level=level, horizon=horizon)
        suggested = steps_suggest(active[:known], level=level, horizon=horizon, offset=offset)
        if measured is None:
            return suggested
        return measured if len(apart) >= _FEWEST_ORIGINS else np.maximum(measured, suggested)

    within = []
    for row, origin in enumerate(origins):
        if origin < n - MONTHS_A_YEAR:
            continue
        ahead = n - origin
        gap = np.abs(log_ratio(came[row, :ahead], told[row, :ahead], offset=_offset(active[:origin])))
        within.append(gap <= spread(origin, HORIZON)[:ahead])
    last = [row for row, origin in enumerate(origins) if origin >= n - MONTHS_A_YEAR]
    known = np.isfinite(came[last])
    of_active = baselines(active, [origins[row] for row in last], season=MONTHS_A_YEAR)
    naive, seasonal_naive, seasonal_naive_yoy = (
        mean_error(of_active[name][known], came[last][known]) for name in BASELINES
    )
    backtest = Backtest(
        n_origins=len(last),
        n_told=int(known.sum()),
        mape=mean_error(told[last][known], came[last][known]),
        mape_naive=naive,
        mape_seasonal_naive=seasonal_naive,
        mape_seasonal_naive_yoy=seasonal_naive_yoy,
        coverage=float(np.concatenate(within).mean()) if within else None,
    )
    return spread(n, months), _offset(active), backtest


def _offset(active: Floats) -> float:
    """One customer, or a two-hundredth of them."""
    return max(1.0, 0.005 * float(active.mean()))


def _by_group(flows: CustomerFlows, ways: Returning, acquired: Ints, lapsed: Ints) -> GroupProjection:
    """Shares each month's customers out: by what each group acquired last year, and by who stands in front in it."""
    n_groups, months = len(flows.active), len(acquired)
    now = flows.active[:, -1]
    share = now / now.sum() if now.sum() else np.full(n_groups, 1 / n_groups)
    came = flows.acquired()[:, -MONTHS_A_YEAR:].sum(axis=1)
    gained = (came + _MIXED_IN * share) / (came.sum() + _MIXED_IN)
    row = flows.due[:, -1].astype(np.float64)
    active = now.copy()
    by_acquired, by_lapsed, by_active = (np.empty((n_groups, months), dtype=np.int64) for _ in range(3))
    for month in range(months):
        by_acquired[:, month] = apportion(int(acquired[month]), gained)
        shares = ways.shares(flows.month(flows.n_months + month))
        row, gone = _move_up(row, shares, by_acquired[:, month].astype(np.float64))
        by_lapsed[:, month] = apportion(int(lapsed[month]), gone, most=active)
        active = active + by_acquired[:, month] - by_lapsed[:, month]
        by_active[:, month] = active
    previous = np.column_stack([now, by_active[:, :-1]]).sum(axis=1)
    churn = np.divide(by_lapsed.sum(axis=1), previous, out=np.full(n_groups, np.nan), where=previous > 0)
    growth = np.divide(by_active[:, -1], now, out=np.full(n_groups, np.nan), where=now > 0)
    return GroupProjection(
        active_now=now,
        share=share,
        relative_size=now / max(now.max(), 1),
        acquired=by_acquired,
        lapsed=by_lapsed,
        active=by_active,
        growth_rate_pct=100 * (growth - 1),
        monthly_churn_rate=churn if ways.measured else np.maximum(churn, CHURN_FLOOR),
        avg_tenure_days=flows.tenure_days,
    )


def apportion(total: int, weights: Floats, *, most: Ints | None = None) -> Ints:
    """(n,) whole numbers that add up to `total`, as near to the weights as can be (largest remainders: Hamilton 1792).

    weights : (n,) >= 0; where all are 0, as if they were alike
    most    : (n,) none gets more than this; together at least `total`
    """
    limits = np.full(len(weights), total) if most is None else most
    given = np.zeros(len(weights), dtype=np.int64)
    while (left := total - int(given.sum())) > 0:
        room = np.where(given < limits, weights, 0.0)
        if room.sum() <= 0:
            room = (given < limits).astype(np.float64)
        wanted = left * room / room.sum()
        given += np.minimum(np.floor(wanted).astype(np.int64), limits - given)
        # Ones for the largest remainders, of equals the first; what was over a limit goes round again.
        ones = min(total - int(given.sum()), int((wanted % 1 > 0).sum()))
        first = [at for at in np.argsort(-(wanted % 1), kind="stable") if wanted[at] > 0 and given[at] < limits[at]]
        given[first[:ones]] += 1
    return given


def _assumptions(flows: CustomerFlows, ways: Returning, acquisition: Forecast, months: int) -> tuple[str, ...]:
    said = [
        f"A customer is active with an order in the last {ACTIVE_DAYS} days; each month active before + acquired - "
        "lapsed = active after.",
        f"Acquired are new customers and those won back. {acquisition.why}",
        "Who is active lapses a year after the last order unless another comes; the shares that order again are those "
        "of the last year, by how long they have not" + (", and by month of the year." if ways.seasonal else "."),
    ]
    if not ways.measured:
        said.append(
            f"Nobody could have lapsed yet: the orders do not reach back {ACTIVE_DAYS} days and a month. Churn is not "
            f"measured, and its rate is given as at least {CHURN_FLOOR:.1%} a month."
        )
    if not flows.active[:, -1].any():
        said.append("Nobody is active: there is no one to lapse, and growth from nobody is given as 0.")
    quiet = flows.acquired().sum(axis=0) + flows.returned.sum(axis=(0, 2))
    if not quiet[-1] and not flows.returned[:, -2].any():
        said.append("The last month had no orders. It is taken as part of the past, not as the end of the shop.")
    if len(flows.active) > 1:
        said.append("Groups share in the total: the acquired as last year, the lapsed by who is due to in each.")
    if months > HORIZON:
        said.append(
            f"Errors are measured up to {HORIZON} months ahead; beyond, intervals grow by the root of the time."
        )
    return tuple(said) + acquisition.assumptions


# Money.


@dataclass(frozen=True, slots=True)
class Amount:
    """Of one period of days. by_group : (n_groups,), adding up to the point"""

    point: float
    low: float
    high: float
    by_group: Floats


@dataclass(frozen=True, slots=True)
class RevenueProjection:
    """Net revenue of the months to come. first : the first day of the first; by_group : (n_groups, n_months)"""

    first: date
    total: Forecast
    by_group: Floats
    assumptions: tuple[str, ...]

    def between(self, start: date, end: date, *, days_from: date | None = None, days: Floats | None = None) -> Amount:
        """What the days from `start` to `end`, both within, will bring in: of each month the share of its days.

        days_from, days : the daily past, which says how days of a month differ (see `shares_of_months`)

        Ends of an interval are added up too, as if months missed together: it is wide rather than narrow. Raises
        InvalidInput where a day is outside of the months projected.
        """
        months = len(self.total.point)
        after = later(self.first, months, Length.month)
        if not self.first <= start <= end < after:
            raise InvalidInput(
                f"The projection is of {self.first} up to {after}, without that day; {start} to {end} is not within. "
                f"Ask for more months, up to {MOST_MONTHS}, or for other days."
            )
        shares = shares_of_months(self.first, months, start=start, end=end, days_from=days_from, days=days)
        point, low, high = (float(shares @ each) for each in (self.total.point, self.total.low, self.total.high))
        return Amount(point, low, high, by_group=self.by_group @ shares)


def project_revenue(
    first: date, revenue: Floats, months: int, *, level: float = LEVEL, visits: CohortVisits | None = None
) -> RevenueProjection:
    """The months after the last one.

    first   : the first day of the first month of `revenue`
    revenue : (n_groups, n_months) net of refunds, whole months; one row for a shop as a whole
    visits  : that brought it, in the same months

    Raises NotEnoughHistory with fewer than two months, InvalidInput for other than 1 to MOST_MONTHS.
    """
    revenue = np.atleast_2d(np.asarray(revenue, dtype=np.float64))
    n_groups, known = revenue.shape
    if known < LEAST_MONTHS:
        days = (later(first, known, Length.month) - first).days
        raise NotEnoughHistory("looking ahead takes two whole calendar months of orders", found=days)
    if not 1 <= months <= MOST_MONTHS:
        raise InvalidInput(f"Revenue is projected 1 to {MOST_MONTHS} months ahead, not {months}.")
    total = forecast(revenue.sum(axis=0), months, level=level, visits=visits)
    earned = np.maximum(revenue, 0.0)
    year = _shares(earned[:, -MONTHS_A_YEAR:].sum(axis=1), np.full(n_groups, 1 / n_groups))
    shares = np.repeat(year[:, None], months, axis=1)
    if known >= MONTHS_A_YEAR:
        for ahead in range(months):
            a_year_ago = earned[:, known - MONTHS_A_YEAR + ahead % MONTHS_A_YEAR]
            shares[:, ahead] = (year + _shares(a_year_ago, year)) / 2
    said = total.assumptions
    if n_groups > 1:
        said = (*said, "Groups share in the total as in the last year, half by the same month of it.")
    return RevenueProjection(
        first=later(first, known, Length.month), total=total, by_group=shares * total.point, assumptions=said
    )


def _shares(amounts: Floats, otherwise: Floats) -> Floats:
    return amounts / amounts.sum() if amounts.sum() > 0 else otherwise


# What if.


@dataclass(frozen=True, slots=True)
class Scenario:
    """Months as projected and as they would be. Each (n_months,); revenue None where none was given.

    active, acquired, lapsed : customers as projected; changed_... : as they would be, whole too
    """

    first: date
    active: Ints
    changed_active: Ints
    acquired: Ints
    changed_acquired: Ints
    lapsed: Ints
    changed_lapsed: Ints
    revenue: Floats | None
    changed_revenue: Floats | None
    assumptions: tuple[str, ...]


def what_if(
    customers: CustomerProjection,
    revenue: RevenueProjection | None = None,
    *,
    repeat_share: float = 0.5,
    repeat_rate_change: float = 0.0,
    order_value_change: float = 0.0,
    acquisition_change: float = 0.0,
    churn_change: float = 0.0,
) -> Scenario:
    """What changes of how customers behave would do. Changes are relative: .1 for a tenth more, -1 for none at all.

    repeat_share : of revenue, what comes from orders after a customer's first

    Raises InvalidInput for a change below -1, or a share outside of 0 to 1.
    """
    changes = {
        "repeat_rate_change": repeat_rate_change,
        "order_value_change": order_value_change,
        "acquisition_change": acquisition_change,
        "churn_change": churn_change,
    }
    wrong = [name for name, change in changes.items() if not (np.isfinite(change) and change >= -1)]
    if wrong or not 0 <= repeat_share <= 1:
        raise InvalidInput(
            f"{wrong[0]} must be -1 (none at all) or more." if wrong else "repeat_share must lie between 0 and 1."
        )
    previous = customers.previous()
    acquired = np.rint(customers.acquired * (1 + acquisition_change)).astype(np.int64)
    lapsed, active = np.empty_like(acquired), np.empty_like(acquired)
    before = customers.active_now
    for month, gone in enumerate(customers.lapsed):
        # With nobody active before there is no rate, and nobody to lapse.
        rate = _over(gone, previous[month]) * (1 + churn_change)
        lapsed[month] = min(round(before * rate), before)
        before = active[month] = before + acquired[month] - lapsed[month]
    money = changed_money = None
    if revenue is not None:
        money = revenue.total.point[: len(active)]
        there, would_be = (
            (np.append(customers.active_now, each[:-1]) + each) / 2 for each in (customers.active, active)
        )
        more = np.divide(would_be, there, out=np.ones(len(active)), where=there > 0)
        orders = 1 + repeat_share * repeat_rate_change
        changed_money = money * more[: len(money)] * orders * (1 + order_value_change)
    return Scenario(
        first=customers.first,
        active=customers.active,
        changed_active=active,
        acquired=customers.acquired,
        changed_acquired=acquired,
        lapsed=customers.lapsed,
        changed_lapsed=lapsed,
        revenue=money,
        changed_revenue=changed_money,
        assumptions=_arithmetic(changes, repeat_share, with_revenue=revenue is not None),
    )


def _arithmetic(changes: dict[str, float], repeat_share: float, *, with_revenue: bool) -> tuple[str, ...]:
    said: Sequence[str] = (
        f"Acquired each month = projected x (1 {changes['acquisition_change']:+.1%}), rounded.",
        f"Lapsed each month = projected churn rate of the month x (1 {changes['churn_change']:+.1%}) x active before.",
        "Active after = active before + acquired - lapsed.",
        "Everything else stays as projected: who is acquired in addition orders as others do, from the first month on.",
    )
    if with_revenue:
        said = (
            *said,
            "Revenue each month = projected x changed over projected mean number of active customers x "
            f"(1 + {repeat_share:.1%} of it from repeat orders x {changes['repeat_rate_change']:+.1%}) x "
            f"(1 {changes['order_value_change']:+.1%} of order value).",
        )
    return tuple(said)
