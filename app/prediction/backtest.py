"""What the served predictions would have been worth on days of the past, beside what simple models reach.

For each cut everything is made anew from what was known when that day began: the windows learned from, the season, the
choice between candidates, the horizons. Then what came after the cut is held against it. Customers with two visits or
more are told apart as well: one-time buyers are many and easy, and flatter every figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from app.prediction.chances import ChanceModel, Segments, staying_away, until
from app.prediction.churn import (
    LEVEL_BOUNDS,
    LEVELS,
    MOST_HORIZON,
    Churn,
    ChurnModel,
    FindSegments,
    Past,
    predict_churn,
    train_churn,
)
from app.prediction.evaluation import (
    Difference,
    auc_difference,
    churn_measures,
    reliability_bins,
    spend_measures,
)
from app.prediction.linear import fit_logistic
from app.prediction.purchases import Flags, Floats, Ints
from app.prediction.standing import NAMES, STEP_DAYS, Standing, counts, standing
from app.prediction.value import (
    BASELINES as SPEND_BASELINES,
)
from app.prediction.value import (
    SPEND_DAYS,
    TrainedSpend,
    estimate_by,
    train_spend,
)

HORIZONS = (30, 90)
BASELINE_READS: Mapping[str, tuple[str, ...]] = {
    "base_rate": (),
    "recency_logistic": ("log_recency",),
    "rfm_logistic": ("log_recency", "log_visits", "log_spent"),
}
BG_NBD = "bg_nbd"
SERVED = "served"
_SEED = 20_102
#: Customers of a level whose horizon must be over for its share who stayed away to be told.
_FOLLOWED_AT_LEAST = 50


@dataclass(frozen=True, slots=True)
class ChurnCut:
    """What was told of customers on a cut, and what came. Each (n,).

    told     : by model, chance of no visit within the horizon
    repeated : who had two visits or more
    """

    horizon: str
    stayed_away: Floats
    told: Mapping[str, Floats]
    repeated: Flags


def baseline_chances(past: Past, known: int, horizon_days: int, stands: Standing) -> dict[str, Floats]:
    """What the baselines say on a day: logistic regressions on the one latest window of that length, and BG/NBD.

    Where no window is over yet only BG/NBD is there.
    """
    purchases = past.purchases
    told: dict[str, Floats] = {}
    day = known - horizon_days
    before = purchases.known(day)
    if len(before):
        stood = standing(purchases, past.rhythm(day), known=day, customers=before)
        away = (~purchases.bought(before, day, known)).astype(np.float64)
        for name, reads in BASELINE_READS.items():
            columns = [NAMES.index(each) for each in reads]
            model = fit_logistic(stood.values, away, np.ones(len(before)), columns, held=1.0)
            told[name] = 1 / (1 + np.exp(-model.total(stands.values)))
    told[BG_NBD] = _bg_nbd(past, known, stands, horizon_days)
    return told


def _bg_nbd(past: Past, known: int, stands: Standing, horizon: float | Floats) -> Floats:
    fitted = past.rhythm(known).bg_nbd
    return fitted.p_no_purchase(*counts(past.purchases, stands.customers, known), horizon=horizon)


def backtest_churn(
    past: Past, cut: int, *, end: int, find_segments: FindSegments | None = None, fixed_horizon: int | None = None
) -> tuple[ChurnModel, Churn, list[ChurnCut], dict[str, Any]]:
    """end : the day on which the records end. Raises NotEnoughHistory."""
    purchases = past.purchases
    segments = find_segments(past.rules_day(cut)) if find_segments and past.window_days(cut) else None
    model = train_churn(past, cut, find_segments=lambda _: segments)
    told = predict_churn(model, purchases, known=cut, segments=segments, fixed_horizon=fixed_horizon)
    stands = told.stands
    repeated = stands.visits > 1
    cuts = []
    for days in HORIZONS:
        if cut + days > end:
            continue
        away = (~purchases.bought(stands.customers, cut, cut + days)).astype(np.float64)
        served = until(told.chances, float(days))
        cuts.append(ChurnCut(f"{days}d", away, {SERVED: served, **baseline_chances(past, cut, days, stands)}, repeated))
    own, levels_seen = _own_horizon(past, cut, told, end=end)
    if own is not None:
        cuts.append(own)
    return model, told, cuts, levels_seen


def _own_horizon(past: Past, cut: int, told: Churn, *, end: int) -> tuple[ChurnCut | None, dict[str, Any]]:
    """The risk score: measured on whose horizon is over, and by level on everyone, with what is cut off reckoned in."""
    purchases, stands = past.purchases, told.stands
    comes = purchases.next_visit(stands.customers, cut)
    over = cut + told.horizon_days <= end
    share = [float((told.level == code).mean()) for code in range(len(LEVELS))]
    seen = {
        "n": len(stands.customers),
        "n_over": int(over.sum()),
        "median_horizon_days": float(np.median(told.horizon_days)),
        "levels": [
            {
                "level": level.value,
                "share": share[code],
                "n_over": int((over & (told.level == code)).sum()),
                "lapsed": _lapsed(comes, told.horizon_days, over, told.level == code, left=end - cut),
                "bounds": list(zip((0.0, *LEVEL_BOUNDS), (*LEVEL_BOUNDS, 1.0), strict=True))[code],
            }
            for code, level in enumerate(LEVELS)
        ],
    }
    if not over.any():
        return None, seen
    away = (comes >= told.horizon_days).astype(np.float64)[over]
    flat = np.full(int(over.sum()), _flat_rate(past, cut, told))
    models = {
        SERVED: told.risk[over],
        "base_rate": flat,
        BG_NBD: _bg_nbd(past, cut, stands, told.horizon_days.astype(np.float64))[over],
    }
    return ChurnCut("own_horizon", away, models, (stands.visits > 1)[over]), seen


def _flat_rate(past: Past, cut: int, told: Churn) -> float:
    """Share of customers who stayed away for their horizon, in the latest window of that length that is over."""
    days = int(np.median(told.horizon_days))
    before = past.purchases.known(cut - days)
    if not len(before):
        return 0.5
    return float((~past.purchases.bought(before, cut - days, cut)).mean())


def _lapsed(comes: Floats, horizon: Ints, over: Flags, of_level: Flags, *, left: int) -> float | None:
    """Share of a level that stays away for their horizon: Kaplan & Meier (1958), in shares of the horizon.

    Who has not come yet and whose horizon is not over counts for as far as it is.
    """
    if not of_level.any():
        return None
    span = horizon[of_level].astype(np.float64)
    came_at, cut_off = comes[of_level] / span, left / span
    event = (came_at < 1) & (comes[of_level] < left)
    time = np.where(event, came_at, np.minimum(cut_off, 1.0))
    order = np.lexsort((~event, time))
    at_risk = np.arange(len(time), 0, -1)
    kept = np.prod(np.where(event[order], 1 - 1 / at_risk, 1.0))
    if int((cut_off >= 1).sum()) < _FOLLOWED_AT_LEAST:  # too few were followed to the end of their horizon
        return None
    return float(kept)


def measured(cut: ChurnCut) -> dict[str, Any]:
    """Figures of every model on a cut, of everyone and of who has come again, and how far the served one is ahead."""
    return {
        "horizon": cut.horizon,
        "everyone": _measured(cut, np.ones(len(cut.stayed_away), dtype=np.bool_)),
        "repeat_buyers": _measured(cut, cut.repeated) if cut.repeated.any() else None,
    }


def _measured(cut: ChurnCut, who: Flags) -> dict[str, Any]:
    away = cut.stayed_away[who]
    models = {name: asdict(churn_measures(away, chance[who])) for name, chance in cut.told.items()}
    ahead = {
        name: _told(auc_difference(away, cut.told[SERVED][who], chance[who], seed=_SEED))
        for name, chance in cut.told.items()
        if name != SERVED
    }
    bins = [asdict(each) for each in reliability_bins(away, cut.told[SERVED][who])]
    return {"n": int(who.sum()), "models": models, "auc_ahead_of": ahead, "reliability": bins}


def _told(difference: Difference | None) -> dict[str, Any] | None:
    return None if difference is None else asdict(difference)


def backtest_spend(
    past: Past, cut: int, churn: ChurnModel, told: Churn, *, end: int, segments: Segments | None = None
) -> tuple[TrainedSpend, dict[str, Any]] | None:
    """None where ninety days have not passed since. Raises NotEnoughHistory."""
    if cut + SPEND_DAYS > end:
        return None
    trained = train_spend(past, cut, churn, segments=segments)
    stands = told.stands
    actual = past.purchases.spent(stands.customers, cut, cut + SPEND_DAYS)
    expected = {SERVED: estimate_by(past.purchases, trained.model, stands, told.away_90, known=cut)}
    for baseline in SPEND_BASELINES:
        plain = replace(trained.model, estimate=baseline)
        expected[baseline.value] = estimate_by(past.purchases, plain, stands, told.away_90, known=cut)
    low, high = trained.model.interval.around(expected[SERVED])
    inside = (actual >= low) & (actual <= high)
    return trained, {
        "models": {name: asdict(spend_measures(actual, each)) for name, each in expected.items()},
        "served_estimate": trained.model.estimate.value,
        "interval_coverage": float(inside.mean()) if len(inside) else None,
    }


def mean_of(cuts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of models, each averaged over the cuts that have it. cuts : {model: {measure: figure}}"""
    names = dict.fromkeys(name for cut in cuts for name in cut)
    return {
        name: {
            key: _mean([cut[name][key] for cut in cuts if name in cut])
            for key in next(cut[name] for cut in cuts if name in cut)
        }
        for name in names
    }


def _mean(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if known else None


#: Cuts of the past on which a horizon of a year is measured, the earliest that enough is known from before.
_OWN_HORIZON_CUTS = (MOST_HORIZON, 270, 180, 120, 90)
_PROVED_ON = 20_000  # customers at most


def proof(
    past: Past, known: int, model: ChurnModel, *, segments: Segments | None = None, fixed_horizon: int | None = None
) -> dict[str, Any]:
    """What the served family would have told of horizons that a held-out step does not reach, plain enough for JSON.

    segments : by rules found before `Past.rules_day`
    returns  : by horizon cut, measures and reliability; of the own horizon levels too. What cannot be measured yet is
               left out
    """
    found: dict[str, Any] = {}
    cut = known - 90
    fitted = _fitted_on(past, cut, model, segments)
    if fitted is not None:
        some = _some(past, cut)
        stands, chances, _ = staying_away(
            fitted, past.purchases, known=cut, steps=90 // STEP_DAYS, segments=segments, customers=some
        )
        away = (~past.purchases.bought(stands.customers, cut, known)).astype(np.float64)
        found["90d"] = {"cut": _day(cut), **_proved(away, until(chances, 90.0))}
    for back in _OWN_HORIZON_CUTS:
        cut = known - back
        fitted = _fitted_on(past, cut, model, segments)
        if fitted is None:
            continue
        some = _some(past, cut)
        told = predict_churn(
            fitted, past.purchases, known=cut, segments=segments, customers=some, fixed_horizon=fixed_horizon
        )
        own, seen = _own_horizon(past, cut, told, end=known)
        if own is not None:
            found["own_horizon"] = {
                "cut": _day(cut),
                **_proved(own.stayed_away, own.told[SERVED]),
                "levels": seen["levels"],
            }
            break
    return found


def _some(past: Past, cut: int) -> Ints:
    """Customers known before a cut whom proofs are measured on: of a large shop, a sample."""
    known = past.purchases.known(cut)
    if len(known) <= _PROVED_ON:
        return known
    return np.sort(np.random.default_rng((_SEED, cut)).choice(known, _PROVED_ON, replace=False))


def _fitted_on(past: Past, cut: int, model: ChurnModel, segments: Segments | None) -> ChanceModel | None:
    """The served family, fitted to what was known on a cut; None where that is too little."""
    if len(past.window_days(cut)) < 2:
        return None
    return past.fitted(cut, model.chances.family, segments, shifted=model.chances.shifted)


def _proved(away: Floats, chance: Floats) -> dict[str, Any]:
    return {
        "measures": asdict(churn_measures(away, chance)),
        "reliability": [asdict(each) for each in reliability_bins(away, chance)],
    }


def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
