"""How the time of the year lifts and lowers a shop's trade, beyond what its customers' own states explain.

The past is cut into steps of `STEP_DAYS` days that end where the records end. One logistic regression over all of them
says who bought in a step, from how they stood when it began, with an intercept for each step: the shop's *pace* then.
The pace is taken apart, as a Gaussian process (Rasmussen & Williams 2006, chapter 5), into a level that wanders and a
season that comes back each year, whose strengths the shop's own past tells (by marginal likelihood).

A shop that has not lived a whole year cannot know its season. It is lent the season of retail trade at large, with as
much doubt as that deserves; every month it lives through replaces a part of it by its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from typing import Any

import numpy as np

from app.prediction.purchases import Floats, Ints, Purchases
from app.prediction.standing import STEP_DAYS, ShopRhythm, standing

#: Sales of general merchandise, apparel, furniture and other goods in the United States by month, 1998, in millions of
#: dollars, not adjusted (GAFO in U.S. Census Bureau, Estimates of Monthly Retail and Food Services Sales).
TRADE_BY_MONTH = (50857, 50826, 56882, 58450, 61233, 59649, 59692, 63661, 58762, 62872, 71703, 104476)
_DAYS_OF_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # of 1998
#: Of the trade's season a shop is taken to follow so much, give or take so much.
TRADE_FOLLOWED, TRADE_DOUBT = 1.0, 0.3

_FEATURES = ("log_recency", "log_visits", "log_tenure", "log_spent", "overdue", "visits_30d", "log_usual_gap")
_MOST_STEPS = 60
_DECIMALS = 7  # as in `standing`
_CUSTOMERS_A_STEP = 4_000
_RIDGE = 0.1
_YEAR_STEPS = 365.25 / STEP_DAYS
#: How alike two days of the year are: e^-2 for days as far apart as can be, within this length.
_YEARLY_LENGTH = 0.7
_LEVEL_DOUBT = 2.0
#: What is tried for the level's step, the noise of a step, and the height of the shop's own season, in log-odds.
_WANDERING = (0.01, 0.03, 0.06, 0.1, 0.15, 0.22, 0.3)
_NOISE = (0.0, 0.05, 0.1, 0.2)
_SEASON = (0.0, 0.1, 0.2, 0.4, 0.7)


@dataclass(frozen=True, slots=True)
class Season:
    """What the time of the year adds to the log-odds of buying within a step, by the day on which the step begins.

    first_day : whose effect is `effects[0]`; the others follow day by day
    observed_steps : how many the shop's past had to tell it by; fewer than a year of them, and the trade's is in it
    usual : the mean effect on the days of all visits it was found from
    """

    first_day: int
    effects: Floats
    observed_steps: int
    usual: float = 0.0

    def effect(self, day: int) -> float:
        """Of the step that begins on a day; beyond what is known, of the same day in the nearest year that is."""
        place = day - self.first_day
        while place >= len(self.effects):
            place -= 365
        while place < 0:
            place += 365
        return float(self.effects[place])

    def effects_on(self, days: Ints) -> Floats:
        """`effect` of each of many days."""
        places = days - self.first_day
        beyond = np.maximum(places - (len(self.effects) - 1), 0)
        before = np.maximum(-places, 0)
        found: Floats = self.effects[places - 365 * -(-beyond // 365) + 365 * -(-before // 365)]
        return found

    def stored(self) -> dict[str, Any]:
        return {
            "first_day": self.first_day,
            "effects": self.effects.tolist(),
            "observed_steps": self.observed_steps,
            "usual": self.usual,
        }


def season_from(stored: dict[str, Any]) -> Season:
    """The season that `Season.stored` was taken from."""
    return Season(stored["first_day"], np.array(stored["effects"]), stored["observed_steps"], stored["usual"])


#: Columns of `habits`.
HABITS = ("season_habit", "season_match")
#: So many visits at any time of the year are lent to each customer.
_VISITS_LENT = 1.0


def habits(purchases: Purchases, season: Season, customers: Ints, *, known: int, day: int | Ints) -> Floats:
    """Whether customers come in the shop's season, and how well the step that begins on a day fits them.

    day     : one for all, or (n,) each their own
    returns : (n, 2): mean effect of the season on the days they came before `known`, 0 for who comes at any time; and
              that times the effect of the step
    """
    # Whole numbers of the smallest digit that is kept: sums of them are the same whoever else is summed before.
    units = np.rint((season.effects_on(purchases.visits.day) - season.usual) * 10**_DECIMALS).astype(np.int64)
    running = np.concatenate([[0], np.cumsum(units)])
    begin, end = purchases.starts(customers), purchases.visits_before(known, customers)
    habit = (running[end] - running[begin]) / (end - begin + _VISITS_LENT) / 10**_DECIMALS
    return np.column_stack([habit, habit * season.effects_on(np.atleast_1d(day))])


def trade_season(days: Ints) -> Floats:
    """The trade's season over the step that begins on each day, in logarithms, 0 on average over the year."""
    daily = np.array(TRADE_BY_MONTH) / np.array(_DAYS_OF_MONTH)
    by_month = np.log(daily / daily.mean())
    epoch = date(1970, 1, 1).toordinal()
    every = np.arange(int(days.min()), int(days.max()) + STEP_DAYS)
    month = np.array([date.fromordinal(epoch + int(day)).month - 1 for day in every])
    running = np.concatenate([[0.0], np.cumsum(by_month[month])])
    begin = (days - every[0]).astype(np.int64)
    mean: Floats = (running[begin + STEP_DAYS] - running[begin]) / STEP_DAYS
    return mean


def find_season(
    purchases: Purchases, rhythm: ShopRhythm, *, known: int, ahead: int = 2 * 365, least_history: int = STEP_DAYS
) -> Season:
    """The season as the visits before `known` tell it, for steps that begin from there up to `ahead` days on, and for
    those of the past.

    least_history : days of records before the first step that is looked at
    """
    n_steps = min(_MOST_STEPS, (known - purchases.first_day - least_history) // STEP_DAYS)
    first_day = known - STEP_DAYS * max(n_steps, 12)
    days = np.arange(first_day, known + ahead)
    lent = TRADE_FOLLOWED * (trade_season(days) - trade_season(days).mean())
    if n_steps < 3:
        return _season(purchases, first_day, lent, max(n_steps, 0), known=known)
    begins = [known - STEP_DAYS * (step + 1) for step in reversed(range(n_steps))]
    pace, doubt = _pace(purchases, rhythm, begins)
    effects = _season_of(np.array(begins), pace, doubt, days)
    return _season(purchases, first_day, effects, n_steps, known=known)


def _season(purchases: Purchases, first_day: int, effects: Floats, n_steps: int, *, known: int) -> Season:
    """In the digits that are kept, so that who is told later is told by the same."""
    season = Season(first_day, effects.round(_DECIMALS), n_steps)
    on_visits = season.effects_on(purchases.visits.day[purchases.visits.day < known])
    return replace(season, usual=round(float(on_visits.mean()), _DECIMALS) if len(on_visits) else 0.0)


def _pace(purchases: Purchases, rhythm: ShopRhythm, begins: Sequence[int]) -> tuple[Floats, Floats]:
    """The intercept of each step, and its standard error; what customers' states explain is the same in all."""
    features, bought, steps = [], [], []
    for step, day in enumerate(begins):
        known = purchases.known(day)
        if len(known) > _CUSTOMERS_A_STEP:
            rng = np.random.default_rng((step, _CUSTOMERS_A_STEP))
            known = np.sort(rng.choice(known, _CUSTOMERS_A_STEP, replace=False))
        features.append(standing(purchases, rhythm, known=day, customers=known).columns(_FEATURES))
        bought.append(purchases.bought(known, day, day + STEP_DAYS))
        steps.append(np.full(len(known), step))
    x, y, step_of = np.vstack(features), np.concatenate(bought).astype(np.float64), np.concatenate(steps)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    return _step_intercepts(x, y, step_of, n_steps=len(begins))


def _step_intercepts(x: Floats, y: Floats, step_of: Ints, *, n_steps: int) -> tuple[Floats, Floats]:
    """Newton's method for a logistic regression with an intercept for each step, solved by blocks."""
    slopes: Floats = np.zeros(x.shape[1])
    intercepts: Floats = np.zeros(n_steps)
    information: Floats = np.ones(n_steps)
    for _ in range(60):
        chance = 1 / (1 + np.exp(-(x @ slopes + intercepts[step_of])))
        weight = np.maximum(chance * (1 - chance), 1e-6)
        off = y - chance
        by_slope = x.T @ off - _RIDGE * slopes
        by_step = np.bincount(step_of, off, n_steps) - _RIDGE * (intercepts - intercepts.mean())
        information = np.bincount(step_of, weight, n_steps).astype(np.float64) + _RIDGE
        crossed = np.stack([np.bincount(step_of, weight * column, n_steps) for column in x.T])
        schur = (x * weight[:, None]).T @ x + _RIDGE * np.eye(x.shape[1]) - (crossed / information) @ crossed.T
        move = np.linalg.solve(schur, by_slope - crossed @ (by_step / information))
        moves = (by_step - crossed.T @ move) / information
        longest = max(np.abs(move).max(initial=0.0), np.abs(moves).max())
        damping = min(1.0, 3.0 / max(longest, 1e-12))
        slopes += damping * move
        intercepts += damping * moves
        if longest < 1e-7:
            break
    return intercepts, 1 / np.sqrt(information)


def _season_of(begins: Ints, pace: Floats, doubt: Floats, days: Ints) -> Floats:
    """The posterior mean of the seasonal part for steps that begin on each of `days`, 0 on average over a year."""
    t, trade = begins / STEP_DAYS, trade_season(begins)
    centred = trade - trade_season(days).mean()
    residual = pace - pace.mean() - TRADE_FOLLOWED * (centred - centred.mean())
    level_age = t - t[0] + 1
    best = None
    for wandering, noise, height in product(_WANDERING, _NOISE, _SEASON):
        seasonal = _seasonal(t, t, centred, centred, height)
        level = _LEVEL_DOUBT**2 + wandering**2 * np.minimum(level_age[:, None], level_age[None, :])
        cholesky = np.linalg.cholesky(seasonal + level + np.diag(doubt**2 + noise**2))
        whitened = np.linalg.solve(cholesky, residual)
        likelihood = -0.5 * whitened @ whitened - np.log(np.diag(cholesky)).sum()
        # Weak priors: levels wander by about .1 a step; seasons of more than half a unit and loud noise are rare.
        prior = -0.5 * np.log(wandering / 0.1) ** 2 - 0.5 * (height / 0.5) ** 2 - 0.5 * (noise / 0.15) ** 2
        if best is None or likelihood + prior > best[0]:
            best = (likelihood + prior, cholesky, height)
    assert best is not None  # noqa: S101  the grid is not empty
    _, cholesky, height = best
    weights = np.linalg.solve(cholesky.T, np.linalg.solve(cholesky, residual))
    of_trade = trade_season(days) - trade_season(days).mean()
    own = _seasonal(days / STEP_DAYS, t, of_trade, centred, height) @ weights
    effects = TRADE_FOLLOWED * of_trade + own
    centred_effects: Floats = effects - effects.mean()
    return centred_effects


def _seasonal(t: Floats, other: Floats, trade: Floats, other_trade: Floats, height: float) -> Floats:
    """Covariance of the seasonal parts of steps: of how far the trade is followed, and of the shop's own year."""
    turn = np.sin(np.pi * (t[:, None] - other[None, :]) / _YEAR_STEPS)
    own = height**2 * np.exp(-2 * turn**2 / _YEARLY_LENGTH**2)
    followed: Floats = TRADE_DOUBT**2 * trade[:, None] * other_trade[None, :] + own
    return followed
