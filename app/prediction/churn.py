"""Will they come back? The model of a step that did best on the shop's own past, and what it says of each horizon.

Two numbers are told. `p_no_purchase` in 30 or 90 days is what it says. The risk score is the chance that a customer
does not order within a time of their own, three times as long as they usually take: for who comes every ninety days a
month without an order is nothing, and under the first number alone nine customers in ten of any shop would be critical.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.core.errors import NotEnoughHistory
from app.prediction.chances import (
    BLENDS,
    ChanceModel,
    Family,
    Segments,
    Window,
    features_of,
    fit_chances,
    share_sampled,
    shop_rhythm,
    staying_away,
    until,
    window,
)
from app.prediction.evaluation import ChurnMeasures, ReliabilityBin, churn_measures, reliability_bins
from app.prediction.purchases import Floats, Ints, Purchases
from app.prediction.season import Season, find_season
from app.prediction.side_by_side import side_by_side
from app.prediction.standing import STEP_DAYS, ShopRhythm, Standing

#: Windows learned from at most, one step apart: six, or a year of them where a whole year and more is known, so that
#: every season has been seen; and the days of records that the first must have before it.
FEW_WINDOWS, MOST_WINDOWS, LEAST_HISTORY_DAYS = 6, 12, 60
#: Windows held out, the latest, to choose by.
HELD_OUT = 3
#: Fewer customers who came, or who stayed away, in the windows learned from are too few for the blend.
LEAST_FOR_BLEND = 300
#: And fewer than these for anything but their share.
LEAST_FOR_MORE = 10
#: A horizon of their own is so many usual gaps, from 30 days to a year.
GAPS_AHEAD, LEAST_HORIZON, MOST_HORIZON = 3.0, 30, 365
#: Steps that reach the longest horizon.
MOST_STEPS = -(-MOST_HORIZON // STEP_DAYS)
#: A season is left out where it made the log loss on the past worse than by this share.
_SEASON_MAY_COST = 0.005
#: What a served model has to be better than.
BASELINES = (Family.recency_logistic, Family.rfm_logistic)


class Level(StrEnum):
    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


LEVELS = tuple(Level)
_DECIMALS = 6
#: A score from which the next level begins, which it is of.
LEVEL_BOUNDS = (0.3, 0.5, 0.7)


def levels(scores: Floats) -> NDArray[np.int64]:
    """Position in LEVELS of each score."""
    return np.digitize(scores, LEVEL_BOUNDS)


def own_horizon(stands: Standing, fixed_days: int | None = None) -> Ints:
    """Days within which each customer is to be seen again. fixed_days : the same for all, where the shop wants that"""
    if fixed_days is not None:
        return np.full(len(stands.customers), fixed_days, dtype=np.int64)
    days: Ints = np.rint(GAPS_AHEAD * stands.usual_gap).astype(np.int64)
    return days.clip(LEAST_HORIZON, MOST_HORIZON)


#: Fits a family to windows: `fit_chances`.
Fit = Callable[..., ChanceModel]
#: Finds the rules of segments in what was known before a day.
FindSegments = Callable[[int], Segments | None]


class Past:
    """A shop's past as it is learned from, each part made once: windows, its rhythm, its season and what is fitted to
    them as of days.
    """

    def __init__(self, purchases: Purchases) -> None:
        self.purchases = purchases
        self._rhythms: dict[int, ShopRhythm] = {}
        self._windows: dict[tuple[int, float], Window] = {}
        self._seasons: dict[int, Season] = {}
        self._fitted: dict[tuple[int, Family, Segments | None, Fit], ChanceModel] = {}

    def rhythm(self, day: int) -> ShopRhythm:
        if day not in self._rhythms:
            self._rhythms[day] = shop_rhythm(self.purchases, day)
        return self._rhythms[day]

    def season(self, day: int) -> Season:
        if day not in self._seasons:
            self._seasons[day] = find_season(self.purchases, self.rhythm(day), known=day)
        return self._seasons[day]

    def window(self, day: int, *, known: int) -> Window:
        """A window as it is learned from when `known` begins: of a large shop, a sample."""
        share = share_sampled(len(self.purchases.known(known)))
        if (day, share) not in self._windows:
            self._windows[day, share] = window(self.purchases, self.rhythm(day), day=day, share=share)
        return self._windows[day, share]

    def rules_day(self, known: int) -> int:
        """Before which day the rules of segments are found: before every window that is learned from when `known`
        begins, and before those of the cuts of the year before it on which that is measured.
        """
        return max(self.purchases.first_day + LEAST_HISTORY_DAYS, known - MOST_HORIZON - STEP_DAYS * MOST_WINDOWS)

    def window_days(self, known: int) -> list[int]:
        """The days of the windows that are over when `known` begins, the latest first."""
        days = [known - STEP_DAYS * (number + 1) for number in range(MOST_WINDOWS)]
        there = [day for day in days if day - self.purchases.first_day >= LEAST_HISTORY_DAYS]
        return there if len(there) == MOST_WINDOWS else there[:FEW_WINDOWS]

    def fitted(
        self, day: int, family: Family, segments: Segments | None, *, shifted: bool = True, fit: Fit = fit_chances
    ) -> ChanceModel:
        """A family fitted to all windows that are over when a day begins, of which there must be one.

        segments : by rules found before those windows
        """
        wanted = (day, family, segments, fit)
        if wanted not in self._fitted:
            self._fitted[wanted] = fit(
                [self.window(each, known=day) for each in self.window_days(day)],
                family,
                rhythm=self.rhythm(day),
                season=self.season(day),
                purchases=self.purchases,
                segments=segments,
            )
        return replace(self._fitted[wanted], shifted=shifted)


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate on the windows held out. measures : None where it was not tried; why : or was chosen, or not"""

    family: Family
    seasonal: bool
    measures: ChurnMeasures | None
    chosen: bool
    why: str


@dataclass(frozen=True, slots=True)
class ChurnModel:
    """The model that is served, and why.

    known_day     : it was made from what was known when this day began
    training_days : the windows it was fitted to, the latest first
    tried         : every candidate, the simplest first
    degraded      : why a baseline is served although the shop is large enough for more; None where it is not so
    held_out_days : the windows it was chosen on, the latest first
    bins          : of the chosen one on those
    """

    chances: ChanceModel
    known_day: int
    training_days: tuple[int, ...]
    tried: tuple[Tried, ...]
    degraded: str | None
    held_out_days: tuple[int, ...]
    bins: tuple[ReliabilityBin, ...]


@dataclass(slots=True)
class _Score:
    """What a candidate said on the windows held out, one after the other."""

    away: list[Floats] = field(default_factory=list)
    told: list[Floats] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)

    def add(self, held_out: Window, chance: Floats) -> None:
        self.away.append(held_out.stayed_away)
        self.told.append(chance)
        self.weights.append(held_out.weights)

    @property
    def log_loss(self) -> float:
        """Mean over the windows, so that each counts as much."""
        losses = [
            float(np.average(-(y * np.log(p) + (1 - y) * np.log1p(-p)), weights=w))
            for y, p, w in zip(self.away, self.told, self.weights, strict=True)
        ]
        return float(np.mean(losses))

    def everyone(self) -> tuple[Floats, Floats]:
        """Outcomes and chances, a sampled customer as often as they stand for others."""
        often = [np.rint(weights).astype(np.int64) for weights in self.weights]
        away = [np.repeat(y, n) for y, n in zip(self.away, often, strict=True)]
        told = [np.repeat(p, n) for p, n in zip(self.told, often, strict=True)]
        return np.concatenate(away), np.concatenate(told)


def train_churn(
    past: Past,
    known: int,
    *,
    find_segments: FindSegments | None = None,
    fit: Fit = fit_chances,
    threads: int = 1,
) -> ChurnModel:
    """Choose, on the shop's own past, and fit on all of it that was known when `known` began.

    Raises NotEnoughHistory where no window of a step is over yet, or nobody had bought before it.
    """
    days = past.window_days(known)
    days = [day for day in days if len(past.purchases.known(day))]
    if not days:
        raise NotEnoughHistory(
            f"predictions need {LEAST_HISTORY_DAYS + STEP_DAYS} days of orders",
            found=max(known - past.purchases.first_day, 0) if len(past.purchases.visits.day) else 0,
        )
    segments = find_segments(past.rules_day(known)) if find_segments is not None else None
    families = _families(past, known, days, segments)
    held_out = [day for day in days[:HELD_OUT] if len(days) > 1 and day != days[-1]]
    scores = {(family, seasonal): _Score() for family in families for seasonal in _ways(family)}
    for day in held_out:  # what is made once is made before it is read by several
        past.season(day)
        for before in (day, *past.window_days(day)):
            seen = past.window(before, known=day)
            if segments is not None:
                segments.at(before, seen.customers)
    with side_by_side(threads) as pool:
        tries = [(day, family) for day in held_out for family in families]
        said = pool.map(lambda each: _try(past, each[0], each[1], segments, fit, known=known), tries)
        for (day, family), (in_season, out_of_it) in zip(tries, said, strict=True):
            for seasonal in _ways(family):
                scores[family, seasonal].add(past.window(day, known=known), in_season if seasonal else out_of_it)
    chosen, seasonal = _choose(families, scores) if held_out else (_simplest(families), False)
    model = past.fitted(known, chosen, segments, shifted=seasonal, fit=fit)
    best_score = scores[chosen, seasonal]
    bins = reliability_bins(*best_score.everyone()) if held_out else []
    return ChurnModel(
        chances=model,
        known_day=known,
        training_days=tuple(days),
        tried=_told(families, scores, chosen, seasonal, held_out=len(held_out)),
        degraded=_degraded(families, chosen),
        held_out_days=tuple(held_out),
        bins=tuple(bins),
    )


def _families(past: Past, known: int, days: Sequence[int], segments: Segments | None) -> list[Family]:
    came = sum(float((1 - past.window(day, known=known).stayed_away).sum()) for day in days)
    away = sum(float(past.window(day, known=known).stayed_away.sum()) for day in days)
    simple = [Family.base_rate, Family.recency_logistic, Family.rfm_logistic, Family.bg_nbd]
    if min(came, away) < LEAST_FOR_MORE:
        return [Family.base_rate]
    if min(came, away) < LEAST_FOR_BLEND or len(days) < 2:
        return simple
    return [*simple, Family.blend, *([Family.blend_segments] if segments is not None and segments.names else [])]


def _try(
    past: Past, day: int, family: Family, segments: Segments | None, fit: Fit, *, known: int
) -> tuple[Floats, Floats]:
    """What a family, fitted to what was known when a held-out window began, says of it, in its season and out of it."""
    model = past.fitted(day, family, segments, fit=fit)
    held_out = past.window(day, known=known)
    values = features_of(model, past.purchases, held_out.customers, held_out.values, segments, known=day, day=day)
    told = model.away(values, day)
    shift = model.season.effect(day) - model.season_trained
    return told, 1 / (1 + np.exp(-(np.log(told / (1 - told)) + shift)))


def _ways(family: Family) -> tuple[bool, ...]:
    """Out of the season, and in it; the base rate is what it is whatever the season."""
    return (False,) if family is Family.base_rate else (False, True)


def _choose(families: Sequence[Family], scores: Mapping[tuple[Family, bool], _Score]) -> tuple[Family, bool]:
    """The family with the least log loss, in the season or out of it."""

    def loss(family: Family) -> float:
        return min(scores[family, seasonal].log_loss for seasonal in _ways(family))

    best = min(families, key=loss)
    if True not in _ways(best):
        return best, False
    with_season, without = scores[best, True].log_loss, scores[best, False].log_loss
    return best, with_season <= without * (1 + _SEASON_MAY_COST)


def _simplest(families: Sequence[Family]) -> Family:
    return Family.rfm_logistic if Family.rfm_logistic in families else families[0]


def _degraded(families: Sequence[Family], chosen: Family) -> str | None:
    tried = [family for family in families if family in BLENDS]
    if not tried or chosen in BLENDS or chosen is Family.bg_nbd:
        return None
    return f"On the shop's own past nothing did better than the baseline {chosen.value}, which is served instead."


def _told(
    families: Sequence[Family],
    scores: Mapping[tuple[Family, bool], _Score],
    chosen: Family,
    seasonal: bool,
    *,
    held_out: int,
) -> tuple[Tried, ...]:
    found = []
    best = scores[chosen, seasonal].log_loss if held_out else None
    for family in Family:
        if family not in families:
            found.append(Tried(family, False, None, chosen=False, why=_not_tried(family)))
            continue
        for in_season in _ways(family):
            mine = family is chosen and in_season == seasonal
            if not held_out:
                why = "the only past window is needed to learn from, so nothing could be compared"
                found.append(Tried(family, in_season, None, chosen=mine, why=why))
                continue
            measures = churn_measures(*scores[family, in_season].everyone())
            loss = scores[family, in_season].log_loss
            why = (
                f"least log loss on {held_out} windows held out ({loss:.4f})"
                if mine
                else f"log loss {loss:.4f} on {held_out} windows held out, against {best:.4f} of the chosen one"
            )
            found.append(Tried(family, in_season, measures, chosen=mine, why=why))
    return tuple(found)


def _not_tried(family: Family) -> str:
    if family is Family.blend_segments:
        return "no segments were found before the windows learned from, or too few customers came"
    least = LEAST_FOR_BLEND if family in BLENDS else LEAST_FOR_MORE
    return f"fewer than {least} customers came, or stayed away, in the windows learned from"


@dataclass(frozen=True, slots=True)
class Churn:
    """What is told of n customers.

    stands       : how they stand
    chances      : (MOST_STEPS, n) of staying away, step by step
    horizon_days : (n,) their own
    away_30, away_90, risk : (n,) chance of no order within 30 and 90 days, and within their own horizon
    level        : (n,) position in LEVELS
    seen         : of each step what some of them were told by, (some, features); of a few customers all
    """

    stands: Standing
    chances: Floats
    horizon_days: Ints
    away_30: Floats
    away_90: Floats
    risk: Floats
    level: Ints
    seen: list[Floats]


def predict_churn(
    model: ChurnModel | ChanceModel,
    purchases: Purchases,
    *,
    known: int,
    segments: Segments | None = None,
    customers: Ints | None = None,
    fixed_horizon: int | None = None,
    threads: int = 1,
) -> Churn:
    """What the model says of everyone with a visit before `known`, or of `customers`.

    fixed_horizon : days, the same for all; None for each customer's own
    """
    chances_of = model.chances if isinstance(model, ChurnModel) else model
    stands, chances, seen = staying_away(
        chances_of,
        purchases,
        known=known,
        steps=MOST_STEPS,
        segments=segments,
        customers=customers,
        threads=threads,
    )
    horizon = own_horizon(stands, fixed_horizon)
    # As it is kept: a score that reads .3 is of the level that begins there.
    risk = until(chances, horizon.astype(np.float64)).round(_DECIMALS)
    return Churn(
        stands=stands,
        chances=chances,
        horizon_days=horizon,
        away_30=until(chances, 30.0),
        away_90=until(chances, 90.0),
        risk=risk,
        level=levels(risk),
        seen=seen,
    )


class Trend(StrEnum):
    """How often a customer comes of late, against how often they did before."""

    rising = "rising"
    steady = "steady"
    fading = "fading"
    new = "new"


#: Days that are late; in the time before, a customer must have been known for as many for there to be a trend.
_LATE_DAYS = 180
#: Visits a day of late, over those before, from which it is no longer steady.
_RISES, _FADES = 1.5, 0.67


def trend(stands: Standing) -> list[Trend]:
    """Of each customer: their rate of visits in the last half year against all the time before.

    Half a visit is lent to either time, so that one more or less does not make a trend of few.
    """
    late = stands.column("visits_180d")
    before = stands.visits - late
    days_before = stands.age - _LATE_DAYS
    usual = (before + 0.5) / np.maximum(days_before, 1.0)
    recent = (late + 0.5 * _LATE_DAYS / np.maximum(days_before, 1.0)) / _LATE_DAYS
    times = recent / usual
    named = np.select(
        [days_before < _LATE_DAYS, times >= _RISES, times <= _FADES],
        [Trend.new.value, Trend.rising.value, Trend.fading.value],
        default=Trend.steady.value,
    )
    return [Trend(each) for each in named]
