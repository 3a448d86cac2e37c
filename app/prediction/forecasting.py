"""What comes next in one series of months or weeks, by whatever would have told its own past best.

A dozen ways of telling stand to choose from, from the last value to exponential smoothing and, for what customers do,
the ageing of those there are. Each is tried where the end
is known: from every earlier month (an origin) the months after it are told from those before it alone, and the errors
are pooled (rolling origins: Tashman 2000). Few origins say little, and the best of many is then the luckiest, so every
way starts with a handicap against the plain one, the profile of the year times its growth, which evidence wears off;
and those that come near the best are averaged (Bates & Granger 1969). Intervals are the errors that the chosen mean
would have made, widened for how few there are (conformal prediction: Vovk 2005).

With no whole year known there is no season to tell: levels and a damped trend stand to choose from alone.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit
from threadpoolctl import threadpool_limits

from app.core.errors import InvalidInput
from app.prediction.cohort_visits import CohortVisits
from app.prediction.cohorts import Length, later, periods_between, start_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: From the periods so far, (n,), and how many are to be told, what they will be.
Teller = Callable[[Floats, int], Floats]

MONTHS_A_YEAR = 12
#: Errors are measured this many periods ahead, from this many of the last origins.
HORIZON = 12
ORIGINS = 24
LEVEL = 0.8
NAIVE, SEASONAL_NAIVE, SEASONAL_NAIVE_YOY = "naive", "seasonal_naive", "seasonal_naive_yoy"
#: What every other way is compared with.
BASELINES = (NAIVE, SEASONAL_NAIVE, SEASONAL_NAIVE_YOY)

#: So many origins must speak for a way until half of its handicap is worn off: one that estimates nothing, one that
#: does (which fits every past), and one of the first year.
DOUBT, DOUBT_OF_FITS, DOUBT_OF_YOUNG = 8, 50, 4
#: Those are averaged whose error is at most this many times the least one, at most so many, the better the more.
_NEAR, _MOST, _SHARPNESS = 1.25, 4, 6
#: A single origin can be hit by chance: no error counts as better or worse than this, in logs.
_MOST_SAID = 0.7
#: Errors that do not go together are taken to be at least so many.
_FEWEST_APART = 2.5
#: With fewer origins than this, errors are no less than what the steps of the series itself suggest.
_FEWEST_ORIGINS = 5
#: A season that was never seen, as a standard deviation of logs: monthly seasons of shops are of .2 to .4.
_UNSEEN_SEASON = 0.3
#: Steps of a series too short to have any.
_UNSEEN_STEP = 0.3
#: Growth of a year lies between these, and each year further ahead carries this much of the one before it.
_GROWTH_LIMITS, _GROWTH_KEPT = (0.25, 4.0), 0.8
_MOST_GROWTH = 10.0
_SMOOTHING = 0.4
_OLDER_YEAR = 0.7
_TINY = 1e-3
#: It is said where the best of the plain ways would have been this much better.
_CLEARLY_WORSE = 1.1
#: So little is nothing.
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Forecaster:
    """One way of telling.

    least    : periods it needs; never chosen with fewer
    most     : periods from which it is no longer chosen; None for no end
    handicap : by how much (in logs of the error) it is taken to be worse than the plain way until errors say otherwise
    doubt    : how many origins must speak for it until half of that is worn off
    parts    : where it is the mean of others, these
    """

    name: str
    words: str
    tell: Teller
    least: int
    most: int | None = None
    handicap: float = 0.0
    doubt: int = DOUBT
    parts: tuple["Forecaster", ...] = ()

    def can(self, n_periods: int) -> bool:
        return n_periods >= self.least and (self.most is None or n_periods < self.most)


@dataclass(frozen=True, slots=True)
class Backtest:
    """What would have been served at each of the last origins, chosen and measured from before it alone.

    mape     : mean of |told - came| / came over all origins and periods ahead, as a share; None where nothing came
    coverage : share of what came that lay within the interval; None with no origin
    """

    n_origins: int
    n_told: int
    mape: float | None
    mape_naive: float | None
    mape_seasonal_naive: float | None
    mape_seasonal_naive_yoy: float | None
    coverage: float | None

    def best_baseline(self) -> float | None:
        """In hindsight."""
        known = [m for m in (self.mape_naive, self.mape_seasonal_naive, self.mape_seasonal_naive_yoy) if m is not None]
        return min(known, default=None)


@dataclass(frozen=True, slots=True)
class Forecast:
    """point, low, high : (horizon,), low <= point <= high, none below nothing; level : share meant to lie between"""

    model: str
    point: Floats
    low: Floats
    high: Floats
    level: float
    backtest: Backtest
    why: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RollingOrigins:
    """What would have been served at each of the last origins, and what is served now.

    origins    : (n_origins,) how many periods were known at each, ascending
    told       : (n_origins, HORIZON) what was served
    spread     : (n_origins, HORIZON) half the width of its interval, in logs
    offset     : (n_origins,) added to both sides before logs are taken, so that nothing has one too
    baselines  : by name, (n_origins, HORIZON)
    point, ahead_spread, now_offset : (horizon,) and a number, the same of what is served now
    shares     : of each way of telling in what is served now
    errors     : by way, its mean error and the plain way's where both can be measured; none where nothing can
    """

    values: Floats
    season: int
    level: float
    origins: Ints
    told: Floats
    spread: Floats
    offset: Floats
    baselines: dict[str, Floats]
    point: Floats
    ahead_spread: Floats
    now_offset: float
    shares: dict[Forecaster, float]
    errors: dict[str, tuple[float, float]]

    def came(self) -> Floats:
        """(n_origins, HORIZON), NaN where it is not known."""
        return _came(self.values, self.origins)

    def backtest(self) -> Backtest:
        came = self.came()
        known = np.isfinite(came)
        apart = np.abs(log_ratio(came, self.told, offset=self.offset[:, None]))
        return Backtest(
            n_origins=len(self.origins),
            n_told=int(known.sum()),
            mape=mean_error(self.told[known], came[known]),
            mape_naive=mean_error(self.baselines[NAIVE][known], came[known]),
            mape_seasonal_naive=mean_error(self.baselines[SEASONAL_NAIVE][known], came[known]),
            mape_seasonal_naive_yoy=mean_error(self.baselines[SEASONAL_NAIVE_YOY][known], came[known]),
            coverage=float((apart <= self.spread)[known].mean()) if known.any() else None,
        )

    def forecast(self) -> Forecast:
        """What is served now, with its interval and its reasons."""
        low, high = interval(self.point, self.ahead_spread, offset=self.now_offset)
        names = sorted(self.shares.items(), key=lambda item: -item[1])
        backtest = self.backtest()
        return Forecast(
            model=names[0][0].name if len(names) == 1 else f"mean of {', '.join(way.name for way, _ in names)}",
            point=self.point,
            low=low,
            high=high,
            level=self.level,
            backtest=backtest,
            why=" ".join((_why(self, names), *_warned(backtest))),
            assumptions=_assumptions(self.values, len(self.point), level=self.level, season=self.season),
        )


def mean_error(told: Floats, came: Floats) -> float | None:
    """Mean of |told - came| / came where something came, as a share; None where nothing did."""
    something = came > _NOTHING
    return float(np.mean(np.abs(told - came)[something] / came[something])) if something.any() else None


def log_ratio(came: Floats, told: Floats, *, offset: float | Floats) -> Floats:
    """ln of what came over what was told, both with `offset` added; below nothing counts as nothing."""
    ratio: Floats = np.log((np.maximum(came, 0) + offset) / (told + offset))
    return ratio


# Ways of telling. Each takes the periods so far, (n,), at least its own least number, and returns (horizon,).


def naive(values: Floats, horizon: int) -> Floats:
    """The last one again."""
    return np.full(horizon, values[-1])


def recent_mean(values: Floats, horizon: int, *, periods: int) -> Floats:
    return np.full(horizon, values[-periods:].mean())


def smoothed(values: Floats, horizon: int) -> Floats:
    """Simple exponential smoothing with a fixed weight: with few periods an estimated one is noise."""
    level = values[0]
    for value in values[1:]:
        level += _SMOOTHING * (value - level)
    return np.full(horizon, level)


def seasonal_naive(values: Floats, horizon: int, *, season: int) -> Floats:
    """The same period a year ago; the last one where there is none."""
    if len(values) < season:
        return naive(values, horizon)
    year_ago: Floats = values[len(values) - season + np.arange(horizon) % season]
    return year_ago


def seasonal_naive_yoy(values: Floats, horizon: int, *, season: int) -> Floats:
    """The same period a year ago times the growth of the year."""
    growth = _growth(values, season)
    return seasonal_naive(values, horizon, season=season) * _years_of(growth, horizon, season, kept=_GROWTH_KEPT)


def profile_yoy(values: Floats, horizon: int, *, season: int, doubt: float = 0.0) -> Floats:
    """The last year's total, parted as years are on average (the last the most), times the growth of the year.

    doubt : periods of no growth that are mixed into the growth
    """
    shares, total = _profile(values, season)
    growth = _growth(values, season, doubt=doubt)
    told: Floats = total * shares[np.arange(horizon) % season]
    return told * _years_of(growth, horizon, season, kept=_GROWTH_KEPT)


def profile_level(values: Floats, horizon: int, *, season: int, periods: int) -> Floats:
    """The same profile at the level of the last few periods: where the year before is no measure any more."""
    shares, _ = _profile(values, season)
    usual = float(shares[-periods:].sum())
    level = max(float(values[-periods:].sum()), 0.0) / usual if usual > _NOTHING else 0.0
    return level * shares[np.arange(horizon) % season]


def _profile(values: Floats, season: int) -> tuple[Floats, float]:
    """(season,) how the years so far parted their totals, the last the most, and the total of the last.

    Of a year without anything nothing is told: shares are 0.
    """
    n_years = len(values) // season
    years = np.maximum(values[len(values) - n_years * season :], 0).reshape(n_years, season)
    totals = years.sum(axis=1)
    if totals[-1] <= 0:
        return np.zeros(season), 0.0
    weights = np.where(totals > 0, _OLDER_YEAR ** np.arange(n_years)[::-1], 0.0)
    shares: Floats = (weights / np.where(totals > 0, totals, 1.0)) @ years / weights.sum()
    return shares, float(totals[-1])


def _growth(values: Floats, season: int, *, doubt: float = 0.0) -> float:
    """The last year, or as many of its periods as the year before has too, over the same periods a year earlier."""
    periods = min(season, len(values) - season)
    if periods < 1:
        return 1.0
    now, before = values[-periods:].sum(), values[-periods - season : len(values) - season].sum()
    if now <= 0 or before <= 0:
        return 1.0
    held_back = np.log(now / before) * periods / (periods + doubt)
    return float(np.clip(np.exp(held_back), *_GROWTH_LIMITS))


def _years_of(growth: float, horizon: int, season: int, *, kept: float) -> Floats:
    """The growth by each period ahead: once in the first year, `kept` as much again in the second, and so on."""
    years = np.cumsum(kept ** np.arange(horizon // season + 1))
    factors: Floats = growth ** years[np.arange(horizon) // season]
    return factors


def damped_trend(values: Floats, horizon: int) -> Floats:
    """Exponential smoothing with a trend that levels off (Gardner & McKenzie 1985), of logs where all are positive."""
    return _exponential_smoothing(values, horizon, season=None)


def ets(values: Floats, horizon: int, *, season: int) -> Floats:
    """The same with seasons, once two are known (Holt 1957, Winters 1960)."""
    return _exponential_smoothing(values, horizon, season=season if len(values) >= 2 * season else None)


def _exponential_smoothing(values: Floats, horizon: int, *, season: int | None) -> Floats:
    # Loaded where it is used: it takes over a second, and most commands never forecast.
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    positive = values.min() > 0

    def tell() -> Any:
        seasonal = "add" if season else None
        model = ExponentialSmoothing(
            np.log(values) if positive else values,
            trend="add",
            damped_trend=True,
            seasonal=seasonal,
            seasonal_periods=season,
            initialization_method="estimated" if len(values) >= 10 else "heuristic",
        )
        told = model.fit().forecast(horizon)
        return np.exp(told) if positive else told

    return _quietly(tell, values, horizon)


def theta(values: Floats, horizon: int, *, season: int) -> Floats:
    """Theta (Assimakopoulos & Nikolopoulos 2000), seasonally adjusted once two seasons are known."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    def tell() -> Any:
        adjust = len(values) >= 2 * season
        method = "multiplicative" if values.min() > 0 else "additive"
        model = ThetaModel(values, period=season, deseasonalize=adjust, use_test=False, method=method)
        return model.fit().forecast(horizon)

    return _quietly(tell, values, horizon)


def _quietly(tell: Callable[[], Any], values: Floats, horizon: int) -> Floats:
    """What a fitted model tells, however its fit went: a bad one loses on the past. The last one where it has none."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        try:
            told = np.asarray(tell(), dtype=np.float64)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            return naive(values, horizon)
    return told if np.isfinite(told).all() else naive(values, horizon)


def _mean_of(parts: Sequence[Forecaster], values: Floats, horizon: int) -> Floats:
    mean: Floats = np.mean([part.tell(values, horizon) for part in parts], axis=0)
    return mean


def by_cohorts(values: Floats, horizon: int, *, visits: CohortVisits) -> Floats:
    """The visits that a shop's customers bring as they age, with newcomers as their own profile of the year has them;
    each at what one came to in the last year. visits : of the same months as the series, or of more
    """
    n = len(values)
    newcomers = profile_yoy(visits.newcomers[:n], horizon, season=MONTHS_A_YEAR)
    came = float(visits.visits[:, max(0, n - MONTHS_A_YEAR) : n].sum())
    of_one = max(float(values[-MONTHS_A_YEAR:].sum()), 0.0) / came if came else 0.0
    return visits.ahead(n, newcomers) * of_one


def forecasters(season: int = MONTHS_A_YEAR, *, visits: CohortVisits | None = None) -> tuple[Forecaster, ...]:
    """All of them, the plain before the fancy: of equals the first is taken.

    season : periods in a year; visits : by which a series of months can be told too
    """
    profile = Forecaster(
        "profile_yoy",
        "the profile of the year times its growth",
        partial(profile_yoy, season=season),
        season,
    )
    held_back = Forecaster(
        "profile_yoy_held_back",
        "the profile of the year times its growth, held back",
        partial(profile_yoy, season=season, doubt=season / 8),
        season,
        doubt=DOUBT_OF_FITS,
    )
    # With fewer than two years known these take season for trend.
    smoothing = Forecaster(
        "ets",
        "exponential smoothing",
        partial(ets, season=season),
        2 * season,
        handicap=0.3,
        doubt=DOUBT_OF_FITS,
    )
    theta_ = Forecaster("theta", "Theta", partial(theta, season=season), 2 * season, handicap=0.3, doubt=DOUBT_OF_FITS)
    three = (profile, smoothing, theta_)
    of_customers = () if visits is None else (_of_customers(visits),)
    return (
        profile,
        *of_customers,
        held_back,
        Forecaster(
            SEASONAL_NAIVE_YOY,
            "the same period a year ago times the growth of the year",
            partial(seasonal_naive_yoy, season=season),
            season,
            handicap=0.05,
        ),
        Forecaster(
            "profile_level",
            "the profile of the year at the level of the last 3",
            partial(profile_level, season=season, periods=3),
            season,
            handicap=0.2,
        ),
        Forecaster(NAIVE, "the last period again", naive, 1, most=season),
        Forecaster("smoothed", "a smoothed level", smoothed, 2, most=season, handicap=0.05, doubt=DOUBT_OF_YOUNG),
        Forecaster(
            "recent_mean",
            "the mean of the last 3",
            partial(recent_mean, periods=3),
            3,
            most=season,
            handicap=0.05,
            doubt=DOUBT_OF_YOUNG,
        ),
        Forecaster(
            SEASONAL_NAIVE, "the same period a year ago", partial(seasonal_naive, season=season), season, handicap=0.2
        ),
        Forecaster("damped_trend", "a damped trend", damped_trend, 6, most=season, handicap=0.15, doubt=DOUBT_OF_YOUNG),
        Forecaster(
            "profile_ets_theta",
            "the mean of profile, exponential smoothing and Theta",
            partial(_mean_of, three),
            2 * season,
            handicap=0.15,
            doubt=DOUBT_OF_FITS,
            parts=three,
        ),
        smoothing,
        theta_,
        Forecaster("late_naive", "the last period again", naive, season, handicap=0.3),
        Forecaster("late_smoothed", "a smoothed level", smoothed, season, handicap=0.3),
        Forecaster("year_mean", "the mean of the year", partial(recent_mean, periods=season), season, handicap=0.35),
    )


def _of_customers(visits: CohortVisits) -> Forecaster:
    words = "newcomers and how often customers of each age come"
    return Forecaster("cohorts", words, partial(by_cohorts, visits=visits), 2 * MONTHS_A_YEAR)


def rolling_origins(
    values: Floats,
    horizon: int,
    *,
    level: float = LEVEL,
    season: int = MONTHS_A_YEAR,
    judged: int = ORIGINS,
    visits: CohortVisits | None = None,
) -> RollingOrigins:
    """What would have been served at each of the last `judged` origins, and what is served now.

    values : (n,) of whole periods in their order, at least one
    visits : of the customers whom the series is of, in the same months
    """
    values = _checked(values, horizon=horizon, level=level)
    n = len(values)
    ways = forecasters(season, visits=visits)
    # Every origin that is judged looks back on as many before it.
    past = _Past.of(ways, values, season, range(max(1, n - judged - ORIGINS), n))
    first = max(1, n - judged)
    served = np.full((n - past.first, HORIZON), np.nan)
    spread, offset = np.full_like(served, np.nan), np.zeros(len(served))
    for row, origin in enumerate(range(past.first, n)):
        shares, _ = past.choose(origin)
        served[row] = past.mean(shares)[row]
        if origin >= first:
            offset[row] = _offset(values[:origin])
            spread[row] = past.spread(origin, shares, served, level=level, horizon=HORIZON)
    shares, errors = past.choose(n)
    wide = max(horizon, HORIZON)
    point = np.sum([share * _bounded(way.tell(values, wide), values) for way, share in shares.items()], axis=0)
    judged_rows = slice(first - past.first, None)
    return RollingOrigins(
        values=values,
        season=season,
        level=level,
        origins=np.arange(first, n),
        told=served[judged_rows],
        spread=spread[judged_rows],
        offset=offset[judged_rows],
        baselines=baselines(values, range(first, n), season=season),
        point=point[:horizon],
        ahead_spread=past.spread(n, shares, served, level=level, horizon=wide)[:horizon],
        now_offset=_offset(values),
        shares=shares,
        errors=errors,
    )


def forecast(
    values: Floats,
    horizon: int,
    *,
    level: float = LEVEL,
    season: int = MONTHS_A_YEAR,
    judged: int = MONTHS_A_YEAR,
    visits: CohortVisits | None = None,
) -> Forecast:
    """The periods after these, by what would have told the last ones best. values : (n,) whole periods, at least one

    judged : of how many last origins the backtest is; with 0 there is none, which saves half of the time
    visits : of the customers whom the series is of, in the same months

    Raises InvalidInput where there is no period, or one is not a number.
    """
    return rolling_origins(values, horizon, level=level, season=season, judged=judged, visits=visits).forecast()


def backtest_series(
    values: Floats,
    *,
    level: float = LEVEL,
    season: int = MONTHS_A_YEAR,
    judged: int = MONTHS_A_YEAR,
    visits: CohortVisits | None = None,
) -> Backtest:
    """How well what would have been served at the last `judged` origins told what came, beside the baselines."""
    return rolling_origins(values, 1, level=level, season=season, judged=judged, visits=visits).backtest()


def interval(point: Floats, spread: Floats, *, offset: float) -> tuple[Floats, Floats]:
    """Lower and upper end around what is told: `spread` in logs each way, none below nothing."""
    low = np.clip((point + offset) * np.exp(-spread) - offset, 0.0, point)
    return low, np.maximum((point + offset) * np.exp(spread) - offset, point)


def _checked(values: Floats, *, horizon: int, level: float) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InvalidInput("A forecast needs one number for each whole period, at least one, none of them missing.")
    if horizon < 1 or not 0 < level < 1:
        raise InvalidInput("A forecast is of at least one period, and its level lies between 0 and 1.")
    return values


def _bounded(told: Floats, values: Floats) -> Floats:
    """Between nothing and many times what ever was."""
    bounded: Floats = np.clip(told, 0.0, max(float(values.max()), 0.0) * _MOST_GROWTH)
    return bounded


def _offset(values: Floats) -> float:
    """A fiftieth of the usual size."""
    return max(0.02 * float(np.abs(values).mean()), 1e-9)


def _came(values: Floats, origins: NDArray[np.int64]) -> Floats:
    """(n_origins, HORIZON), NaN after the end."""
    padded = np.append(values, np.full(HORIZON, np.nan))
    came: Floats = padded[origins[:, None] + np.arange(HORIZON)]
    return came


def baselines(values: Floats, origins: Sequence[int], *, season: int) -> dict[str, Floats]:
    """By name, what each baseline told at the origins: (n_origins, HORIZON)."""
    ways: dict[str, Teller] = {
        NAIVE: naive,
        SEASONAL_NAIVE: partial(seasonal_naive, season=season),
        SEASONAL_NAIVE_YOY: partial(seasonal_naive_yoy, season=season),
    }
    return {
        name: np.array([tell(values[:origin], HORIZON) for origin in origins]).reshape(-1, HORIZON)
        for name, tell in ways.items()
    }


@dataclass(frozen=True, slots=True)
class _Past:
    """What each way told at the origins first, first + 1, ..., and what came.

    told  : by name, (n_origins, HORIZON), NaN where it could not
    wrong : by name, its error as a share of what came, NaN too where nothing came or nothing is known to have come
    """

    ways: Sequence[Forecaster]
    values: Floats
    season: int
    first: int
    told: dict[str, Floats]
    wrong: dict[str, Floats]

    @classmethod
    def of(cls, ways: Sequence[Forecaster], values: Floats, season: int, origins: range) -> "_Past":
        came = _came(values, np.arange(origins.start, origins.stop))
        told: dict[str, Floats] = {}
        for way in sorted(ways, key=lambda way: len(way.parts)):
            told[way.name] = np.full((len(origins), HORIZON), np.nan)
            if way.parts:
                told[way.name][:] = np.mean([told[part.name] for part in way.parts], axis=0)
                continue
            for row, origin in enumerate(origins):
                if way.can(origin):
                    told[way.name][row] = _bounded(way.tell(values[:origin], HORIZON), values[:origin])
        something = np.where(came > _NOTHING, came, np.nan)
        wrong = {name: np.abs(each - something) / something for name, each in told.items()}
        return cls(ways, values, season, origins.start, told, wrong)

    def _known(self, origin: int) -> NDArray[np.bool_]:
        """(n_origins, HORIZON): told at the last origins before this one, and come by then."""
        origins = self.first + np.arange(len(self.told[NAIVE]))
        since = max(origin - ORIGINS, origin // 2 if origin < 2 * HORIZON else 0)
        return (origins[:, None] >= since) & (origins[:, None] + np.arange(1, HORIZON + 1) <= origin)

    def choose(self, origin: int) -> tuple[dict[Forecaster, float], dict[str, tuple[float, float]]]:
        """The share of each way in what is served, and the errors it was chosen by: its own, and the plain way's."""
        known = self._known(origin)
        able = [way for way in self.ways if way.can(origin)]
        plain = able[0]
        worse, errors = {plain: 0.0}, {}
        for way in able:
            both = known & np.isfinite(self.wrong[way.name]) & np.isfinite(self.wrong[plain.name])
            if not both.any():
                continue
            own, of_plain = (float(self.wrong[name][both].mean()) for name in (way.name, plain.name))
            speak = int(both.any(axis=1).sum())
            ratio = np.clip(np.log((own + _TINY) / (of_plain + _TINY)), -_MOST_SAID, _MOST_SAID)
            worse[way] = float(speak * ratio + way.doubt * way.handicap) / (speak + way.doubt)
            errors[way.name] = (own, of_plain)
        least = min(worse.values())
        near = sorted((way for way in worse if worse[way] <= least + np.log(_NEAR)), key=lambda way: worse[way])[:_MOST]
        weights = np.exp([-_SHARPNESS * worse[way] for way in near])
        return dict(zip(near, (weights / weights.sum()).tolist(), strict=True)), errors

    def mean(self, shares: dict[Forecaster, float]) -> Floats:
        mean: Floats = np.sum([share * self.told[way.name] for way, share in shares.items()], axis=0)
        return mean

    def spread(
        self, origin: int, shares: dict[Forecaster, float], served: Floats, *, level: float, horizon: int
    ) -> Floats:
        """(horizon,) half the width of the interval, in logs.

        By the errors the mean that is served would have made; where it can be measured from few origins only, by those
        of what was served then, and no less than the steps of the series suggest.
        """
        known = self._known(origin)
        offset = _offset(self.values[:origin])
        came = _came(self.values, self.first + np.arange(len(served)))

        def apart(told: Floats) -> Floats:
            rows = np.where(known, np.abs(log_ratio(came, told, offset=offset)), np.nan)
            return rows[np.isfinite(rows).any(axis=1)]

        errors = apart(self.mean(shares))
        suggested = steps_suggest(self.values[:origin], level=level, horizon=horizon, offset=offset)
        if len(errors) < _FEWEST_ORIGINS:
            errors = apart(served)
        measured = errors_suggest(errors, level=level, horizon=horizon)
        if measured is None:
            spread = suggested
        elif len(errors) < _FEWEST_ORIGINS:
            spread = np.maximum(measured, suggested)
        else:
            spread = measured
        if origin < self.season:
            # No whole year has been seen: the season is yet to show.
            unseen = ndtri((1 + level) / 2) * _UNSEEN_SEASON * np.minimum(1, np.arange(1, horizon + 1) / 3)
            spread = np.hypot(spread, unseen)
        return spread


def errors_suggest(errors: Floats, *, level: float, horizon: int) -> Floats | None:
    """(horizon,) how far errors go at this level, by how far ahead they are; None where too few are known.

    errors : (n_origins, HORIZON) in logs, without sign, NaN where unknown

    The usual size of each horizon is taken with its neighbours, never falls and beyond the last grows by the root;
    relative to it all are pooled. What is told h periods ahead at h origins in a row has the same periods in it and
    misses together, so that errors are as many as there are origins over h; and for how few they are the interval is
    widened as that of a mean is (Student 1908).
    """
    ahead = np.arange(1, max(HORIZON, horizon) + 1)
    sizes = np.full(len(ahead), np.nan)
    for place in range(HORIZON):
        near = errors[:, max(0, place - 1) : place + 2]
        near = near[np.isfinite(near)]
        if len(near) >= 3:
            sizes[place] = np.sqrt((near**2).mean())
    known = np.flatnonzero(np.isfinite(sizes))
    if not len(known):
        return None
    last = known[-1]
    sizes[: last + 1] = np.maximum.accumulate(np.nan_to_num(sizes[: last + 1], nan=sizes[known[0]]))
    sizes[last:] = sizes[last] * np.sqrt(ahead[last:] / ahead[last])
    sizes = np.maximum(sizes, 1e-4)
    relative = errors / sizes[:HORIZON]
    quantile = np.quantile(relative[np.isfinite(relative)], level)
    upper = (1 + level) / 2
    few = stdtrit(np.maximum(len(errors) / ahead, _FEWEST_APART), upper) / ndtri(upper)
    spread: Floats = (quantile * few * sizes)[:horizon]
    return spread


def steps_suggest(values: Floats, *, level: float, horizon: int, offset: float) -> Floats:
    """(horizon,) how far the series would go if its steps from period to period added up, though less than freely."""
    steps = np.diff(np.log(np.maximum(values, 0) + offset))
    size = float(np.sqrt((steps**2).mean())) if len(steps) else _UNSEEN_STEP
    if len(steps) < 3:
        size = max(size, _UNSEEN_STEP)
    wide: Floats = ndtri((1 + level) / 2) * np.clip(size, 0.05, 1.0) * np.arange(1, horizon + 1) ** 0.35
    return wide


def _why(served: RollingOrigins, names: Sequence[tuple[Forecaster, float]]) -> str:
    told = ", ".join(f"{way.words} ({share:.0%})" if len(names) > 1 else way.words for way, share in names)
    measured = [f"{way.words} {served.errors[way.name][0]:.1%}" for way, _ in names if way.name in served.errors]
    if not measured:
        return f"Told by {told}: the plainest way, as too few periods are known to compare it with others."
    beside = [
        f"{words} {served.errors[name][0]:.1%}"
        for name, words in (("late_naive", "the last period again"), (NAIVE, "the last period again"))
        if name in served.errors and all(way.name != name for way, _ in names)
    ]
    against = f"; beside {beside[0]}" if beside else ""
    return f"Told by {told}. Mean error where the end is known: {', '.join(measured)}{against}."


def _warned(backtest: Backtest) -> Sequence[str]:
    """That something plain would have done clearly better, which nobody could know before."""
    best = backtest.best_baseline()
    if best is None or backtest.mape is None or backtest.mape <= _CLEARLY_WORSE * best:
        return ()
    return (
        f"What would have been served in each of the last {backtest.n_origins} periods missed by {backtest.mape:.1%}; "
        f"the best of the plain ways, as is known by now, by {best:.1%}.",
    )


def _assumptions(values: Floats, horizon: int, *, level: float, season: int) -> tuple[str, ...]:
    n = len(values)
    said = ["What moved the series so far goes on: no new campaign, price or market is known."]
    if n < season:
        said.append(f"Only {n} periods are known, no whole year: no season is in this.")
    elif n < 2 * season:
        said.append(f"Of two years only {n} periods are known: season and growth are hard to tell apart.")
    if n <= _FEWEST_ORIGINS:
        said.append(
            f"The {level:.0%} interval rests on the steps of the series, as too few errors are known: it is wide."
        )
    if horizon > HORIZON:
        said.append(
            f"Errors are measured up to {HORIZON} periods ahead; beyond, intervals grow by the root of the time, and "
            "each year carries a little less growth than the one before it."
        )
    closed = n - int(np.flatnonzero(values > 0)[-1]) - 1 if (values > 0).any() else n
    if closed == n:
        said.append("Nothing was ever counted, so nothing is told.")
    elif closed > 1:
        said.append(
            f"Nothing was counted in the last {closed} periods. This is taken as part of the series, not as an end: if "
            "the shop has closed, nothing will come."
        )
    return tuple(said)


# Days into months, and months into days.


@dataclass(frozen=True, slots=True)
class Months:
    """Whole calendar months. first : the first day of the first; values : (n_months,)"""

    first: date
    values: Floats

    def month(self, position: int) -> date:
        """The first day of one of them, or of one after or before them."""
        return later(self.first, position, Length.month)


def whole_months(first_day: date, values: Floats) -> Months:
    """The sums of the calendar months that lie wholly in a daily series. values : (n_days,) from first_day on"""
    first = first_day if first_day.day == 1 else later(start_of(first_day, Length.month), 1, Length.month)
    end = first_day + timedelta(days=len(values))
    n_months = max(0, periods_between(first, end, Length.month))
    edges = [(later(first, month, Length.month) - first_day).days for month in range(n_months + 1)]
    running = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return Months(first, np.diff(running[edges]) if n_months else np.empty(0))


def shares_of_months(
    first: date, n_months: int, *, start: date, end: date, days_from: date | None = None, days: Floats | None = None
) -> Floats:
    """(n_months,) share of each month's total that falls on the days from `start` to `end`, both within.

    first     : the first day of the first month
    days_from : the first day of `days`, (n_days,), what came on each day of the past, whole from there on

    Days of a month are taken as alike, and for each year in which the same month is known as it was then, one part the
    more. Months outside the period have a share of 0, those inside of 1: so days of whole months are exactly these.
    """
    shares = np.zeros(n_months)
    for position in range(n_months):
        month = later(first, position, Length.month)
        after = later(month, 1, Length.month)
        day = np.arange((after - month).days)
        covered = (day >= (start - month).days) & (day <= (end - month).days)
        if covered.all() or not covered.any():
            shares[position] = float(covered.all())
            continue
        shapes = [np.full(len(covered), 1 / len(covered))]
        if days is not None and days_from is not None:
            shapes += _same_month(month, len(covered), days_from, days)
        shares[position] = float(np.mean(shapes, axis=0)[covered].sum())
    return shares


def _same_month(month: date, n_days: int, days_from: date, days: Floats) -> list[Floats]:
    """How the days of this month shared its total in each year before: a day that a year lacks is as none."""
    shapes = []
    for year in range(days_from.year, month.year):
        begin = (date(year, month.month, 1) - days_from).days
        length = (later(date(year, month.month, 1), 1, Length.month) - date(year, month.month, 1)).days
        if begin < 0 or begin + length > len(days):
            continue
        of_month = np.zeros(n_days)
        known = np.maximum(days[begin : begin + min(length, n_days)], 0)
        of_month[: len(known)] = known
        if of_month.sum() > 0:
            shapes.append(of_month / of_month.sum())
    return shapes
