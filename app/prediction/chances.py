"""The chance that a customer stays away: for one step of `STEP_DAYS` days, and from there for any time.

A model of one step is all that is fitted. Its windows are recent, because what came after a step is known a month later
and not a quarter later; and what it says of longer times hangs together, because staying away for ninety days is
staying away for three steps, each from how the customer would stand if the ones before had passed in silence. Nobody's
future is cut off by where the records end: a step is either over or not used.

Every family gives log-odds. `blend` is the mean of a logistic regression and of boosted trees; it is what a shop with
enough of a past is mostly served by, if it is better on that past than what is simpler. Who has come again has shown a
rhythm, which is what BG/NBD goes by: of them the blend is drawn halfway to it, where that model fits the shop at all.
It costs a little of what there was to learn beyond it, and half of the noise in that.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from app.prediction.btyd import fit_bg_nbd
from app.prediction.linear import Linear, fit_logistic, linear_from
from app.prediction.purchases import Floats, Ints, Purchases
from app.prediction.season import HABITS, Season, habits, season_from
from app.prediction.side_by_side import side_by_side
from app.prediction.standing import (
    NAMES,
    STEP_DAYS,
    ShopRhythm,
    Standing,
    counts,
    rhythm_from,
    shop_gap,
    standing,
)
from app.prediction.trees import Trees, piece_by_piece, trees_from, trees_of

LEAST_CHANCE = 1e-6
_BG_NBD_LOGIT, _LOG_VISITS = NAMES.index("bg_nbd_logit"), NAMES.index("log_visits")
_SEED = 20_100
#: Customers of a window who stayed away and are learned from, about; of those who came, all are.
_AWAY_A_WINDOW = 10_000
#: Customers and steps of a few that are told at once, and customers of many.
_ROWS_AT_ONCE, _CUSTOMERS_AT_ONCE = 2_000, 10_000
_SEEN = 2_000  # customers at least, of whom it is kept what they were told by
_FITTED_TO = 20_000  # customers that a BG/NBD is fitted to at most


class Family(StrEnum):
    """Ways of telling, the simplest first."""

    base_rate = "base_rate"
    recency_logistic = "recency_logistic"
    rfm_logistic = "rfm_logistic"
    bg_nbd = "bg_nbd"
    blend = "blend"
    blend_segments = "blend_segments"


BLENDS = (Family.blend, Family.blend_segments)
#: The squared penalty on standardised slopes.
_HELD, _HELD_BLEND = 1.0, 3.0
#: What the simple ones read, and the logistic half of the blend.
_READS: Mapping[Family, tuple[str, ...]] = {
    Family.base_rate: (),
    Family.recency_logistic: ("log_recency",),
    Family.rfm_logistic: ("log_recency", "log_visits", "log_spent", "log_tenure"),
}
_BLEND_READS = (
    *("log_recency", "log_visits", "log_spent", "log_tenure", "log_usual_gap", "overdue", "recency_share"),
    *("log_visit_value", "log_last_value", "log_spent_90d", "visits_30d", "visits_90d", "bg_nbd_logit"),
    *("bg_nbd_alive", "log_lines", "log_products", "lines_per_visit", "bought_again", "refunded_share"),
    *("same_month_last_year", "near_month_last_year", "months_in_season"),
)


@dataclass(frozen=True, slots=True)
class Segments:
    """Memberships in the segments of axes that do not move with the clock, by rules found before any window.

    names : of the columns
    at    : a day, and n customers known before it -> (n, len(names)), as they stood when it began
    """

    names: tuple[str, ...]
    at: Callable[[int, Ints], Floats]


@dataclass(frozen=True, slots=True)
class Window:
    """Customers on a day of the past, and whether they stayed away in the step from there.

    customers : (n,) which of the shop's
    values    : (n, len(NAMES)) how they stood
    weights   : (n,) how many customers each stands for
    share     : of those who stayed away, how many are in it
    """

    day: int
    customers: Ints
    values: Floats
    stayed_away: Floats
    weights: Floats
    share: float


@dataclass(frozen=True, slots=True)
class ChanceModel:
    """What says who stays away for a step.

    names    : of all features
    linear   : of a logistic family, or of the blend; None for BG/NBD
    trees    : of the blend
    drawn_to : BG/NBD's log-odds as they fit the windows, to which the blend is drawn for who has come again
    rhythm   : the shop's, which the features of customers with little of their own lean on
    season   : the shop's
    shifted  : whether the odds are moved by what the step's season has more than the windows had that it was fitted to
    season_trained : mean effect of the season over those
    boosting : the library's own form of the trees, for batches; None in a model that was read back
    """

    family: Family
    names: tuple[str, ...]
    linear: Linear | None
    trees: Trees | None
    drawn_to: Linear | None
    rhythm: ShopRhythm
    season: Season
    shifted: bool
    season_trained: float
    boosting: HistGradientBoostingClassifier | None = field(default=None, compare=False)

    @property
    def reads_segments(self) -> bool:
        return len(self.names) > len(NAMES) + len(HABITS)

    def away(self, values: Floats, day: int | Ints) -> Floats:
        """Chance of each customer to stay away for the step that begins on a day.

        values : (n, len(names)); day : one for all, or (n,) each their own
        """
        if self.family is Family.bg_nbd:
            logit = values[:, _BG_NBD_LOGIT].copy()
        else:
            assert self.linear is not None  # noqa: S101  of every other family
            logit = self.linear.total(values)
        if self.trees is not None:
            grown = (
                self.trees.total(values)
                if self.boosting is None
                else piece_by_piece(self.boosting.decision_function, values) + self.trees.shift
            )
            logit = (logit + grown) / 2
        if self.drawn_to is not None:
            drawn = (logit + self.drawn_to.total(values)) / 2
            logit = np.where(values[:, _LOG_VISITS] > 0, drawn, logit)
        if self.shifted:
            logit = logit - (self.season.effects_on(np.atleast_1d(day)) - self.season_trained)
        chance: Floats = 1 / (1 + np.exp(-logit))
        return chance.clip(LEAST_CHANCE, 1 - LEAST_CHANCE)

    def stored(self) -> dict[str, Any]:
        """Plain enough for JSON; `chance_model_from` reads it back."""
        return {
            "family": self.family.value,
            "names": list(self.names),
            "linear": self.linear and self.linear.stored(),
            "trees": self.trees and self.trees.stored(),
            "drawn_to": self.drawn_to and self.drawn_to.stored(),
            "rhythm": self.rhythm.stored(),
            "season": self.season.stored(),
            "shifted": self.shifted,
            "season_trained": self.season_trained,
        }


def chance_model_from(stored: Mapping[str, Any]) -> ChanceModel:
    """The model that `ChanceModel.stored` was taken from."""
    return ChanceModel(
        family=Family(stored["family"]),
        names=tuple(stored["names"]),
        linear=stored["linear"] and linear_from(stored["linear"]),
        trees=stored["trees"] and trees_from(stored["trees"]),
        drawn_to=stored["drawn_to"] and linear_from(stored["drawn_to"]),
        rhythm=rhythm_from(stored["rhythm"]),
        season=season_from(stored["season"]),
        shifted=stored["shifted"],
        season_trained=stored["season_trained"],
    )


def shop_rhythm(purchases: Purchases, known: int) -> ShopRhythm:
    """What the visits before a day say of all customers together."""
    customers = purchases.known(known)
    if len(customers) > _FITTED_TO:
        rng = np.random.default_rng((_SEED, known))
        customers = np.sort(rng.choice(customers, _FITTED_TO, replace=False))
    gap_days, log_gap = shop_gap(purchases, known)
    return ShopRhythm(gap_days, log_gap, fit_bg_nbd(*counts(purchases, customers, known)))


def share_sampled(n_customers: int) -> float:
    """How many of the customers who stayed away are learned from: all of a small shop, a half, a quarter and so on."""
    share = 1.0
    while share * n_customers > 2 * _AWAY_A_WINDOW:
        share /= 2
    return share


def window(purchases: Purchases, rhythm: ShopRhythm, *, day: int, share: float = 1.0) -> Window:
    """Customers known before a day, as they stood on it, and what they did in the step from there.

    share : everyone who came is in it, and of those who stayed away so many, each of whom stands for 1 / share
    """
    customers = purchases.known(day)
    came = purchases.bought(customers, day, day + STEP_DAYS)
    if share < 1:
        kept = came | (np.random.default_rng((_SEED, day)).random(len(customers)) < share)
        customers, came = customers[kept], came[kept]
    stands = standing(purchases, rhythm, known=day, customers=customers)
    return Window(day, customers, stands.values, (~came).astype(np.float64), np.where(came, 1.0, 1 / share), share)


def fit_chances(
    windows: Sequence[Window],
    family: Family,
    *,
    rhythm: ShopRhythm,
    season: Season,
    purchases: Purchases,
    segments: Segments | None = None,
    shifted: bool = True,
) -> ChanceModel:
    """windows : all of one share; rhythm : the shop's when the model is used

    Of segments only `blend_segments` takes notice, which needs them.
    """
    names = NAMES
    weights = np.concatenate([each.weights for each in windows])
    sizes = [each.weights.sum() for each in windows]
    trained = float(np.average([season.effect(each.day) for each in windows], weights=sizes))
    if family is Family.bg_nbd:
        return ChanceModel(family, names, None, None, None, rhythm, season, shifted, trained)
    values = np.vstack([each.values for each in windows])
    away = np.concatenate([each.stayed_away for each in windows])
    if family in BLENDS:
        names = (*names, *HABITS)
        fits = [habits(purchases, season, each.customers, known=each.day, day=each.day) for each in windows]
        values = np.hstack([values, np.vstack(fits)])
    if family is Family.blend_segments and segments is not None:
        names = (*names, *segments.names)
        values = np.hstack([values, np.vstack([segments.at(each.day, each.customers) for each in windows])])
    reads = _READS.get(family, (*_BLEND_READS, *names[len(NAMES) :]))
    blended = family in BLENDS
    columns = [names.index(name) for name in reads]
    linear = fit_logistic(values, away, weights, columns, held=_HELD_BLEND if blended else _HELD)
    trees = boosting = drawn_to = None
    if blended and 0 < away.mean() < 1:
        again = values[:, _LOG_VISITS] > 0
        if rhythm.bg_nbd.degenerate is None and again.any():
            drawn_to = fit_logistic(values[again], away[again], weights[again], [_BG_NBD_LOGIT], held=_HELD)
        boosting = _fit_trees(values, away)
        # Of those who stayed away only a share was seen: the odds are as many times higher (King & Zeng 2001).
        trees = trees_of(boosting, shift=-math.log(windows[0].share))
    return ChanceModel(family, names, linear, trees, drawn_to, rhythm, season, shifted, trained, boosting=boosting)


def _fit_trees(values: Floats, away: Floats) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(
        max_leaf_nodes=7,
        max_iter=75,
        learning_rate=0.1,
        max_bins=63,
        # A leaf of a large shop stands on more customers: what it tells of a few is noise there as well.
        min_samples_leaf=int(np.clip(len(away) // 100, 40, 300)),
        l2_regularization=20.0,
        early_stopping=False,
        random_state=_SEED,
    )
    return model.fit(values, away)


def features_of(
    model: ChanceModel,
    purchases: Purchases,
    customers: Ints,
    values: Floats,
    segments: Segments | None,
    *,
    known: int,
    day: int | Ints,
) -> Floats:
    """What a model reads of customers for the step that begins on a day, (n, len(model.names)).

    values : (n, len(NAMES)) how they stand on that day, of `Standing`
    day    : one for all, or (n,) each their own
    """
    parts = [values]
    if model.family in BLENDS:
        parts.append(habits(purchases, model.season, customers, known=known, day=day))
    if model.reads_segments and segments is not None:
        parts.append(segments.at(known, customers))
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def staying_away(
    model: ChanceModel,
    purchases: Purchases,
    *,
    known: int,
    steps: int,
    segments: Segments | None = None,
    customers: Ints | None = None,
    threads: int = 1,
) -> tuple[Standing, Floats, list[Floats]]:
    """How customers stand on the day the records end, and their chance to stay away for each of the steps from there.

    returns : standing of n customers; (steps, n): row j is the chance for step j given silence until it begins; and of
              each step what some of them were told by, evenly chosen, (some, features); of a few customers all
    """
    now = standing(purchases, model.rhythm, known=known, customers=customers)
    n = len(now.customers)
    chances = np.empty((steps, n))
    seen: list[list[Floats]] = [[] for _ in range(steps)]
    parts = np.array_split(np.arange(n), max(1, -(-n // _CUSTOMERS_AT_ONCE)))
    apart = max(1, n // _SEEN)

    def tell(part: Ints) -> list[Floats]:
        some = []
        # Of a few customers all steps at once: it is calls that take time there, and memory where customers are many.
        together = max(1, _ROWS_AT_ONCE // max(len(part), 1))
        for first in range(0, steps, together):
            block = np.arange(first, min(first + together, steps))
            who, day = np.tile(now.customers[part], len(block)), np.repeat(known + STEP_DAYS * block, len(part))
            stands = standing(purchases, model.rhythm, known=known, seen=day, customers=who)
            values = features_of(model, purchases, who, stands.values, segments, known=known, day=day)
            chances[block[:, None], part] = model.away(values, day).reshape(len(block), len(part))
            some += [each[part % apart == 0] for each in np.split(values, len(block))]
        return some

    if segments is not None and model.reads_segments:  # what is made once is made before it is read by several
        segments.at(known, now.customers)
    if len(parts) == 1:  # beginning a worker takes as long as telling one customer
        return now, chances, tell(parts[0])
    with side_by_side(threads) as pool:
        for some in pool.map(tell, parts):
            for step, values in enumerate(some):
                seen[step].append(values)
    return now, chances, [np.vstack(each) for each in seen]


def until(chances: Floats, horizon_days: float | Floats) -> Floats:
    """Chance of each customer to stay away for a time; within a step its logarithm falls evenly.

    chances      : as `staying_away` returns
    horizon_days : one for all or (n,), at most as long as there are steps
    """
    n_steps, n = chances.shape
    log_kept = np.vstack([np.zeros(n), np.cumsum(np.log(chances), axis=0)])
    steps = np.broadcast_to(np.asarray(horizon_days, dtype=np.float64) / STEP_DAYS, (n,))
    whole = np.minimum(steps.astype(np.int64), n_steps - 1)
    column = np.arange(n)
    kept: Floats = np.exp(log_kept[whole, column] + (steps - whole) * np.log(chances[whole, column]))
    return kept
