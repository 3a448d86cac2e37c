"""What is predicted of one customer, as answers say it: ready to be written behind their profile."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from app.api import foretold
from app.api.customers.schemas import RiskContribution
from app.core.dates import in_words
from app.domain.offers import Level, Reason, recommend
from app.domain.profile_form import Figures
from app.domain.value_tiers import Tier
from app.prediction.next_order import INTERVAL, NOT_WITHIN_A_YEAR
from app.warehouse.engine import Row
from app.warehouse.predictions import ServedChurn

#: Levels in three, for who knows no critical.
_IN_THREE = {"critical": "high", "high": "high", "medium": "medium", "low": "low"}
_MONTH_DAYS = 365.25 / 12
_SHARES = 6
_LEVEL = 0.95  # of the intervals of a backtest
#: A chance further than this from those of a bin is unlike them.
_ALIKE = 0.1

_MODELS_REMEMBERED, _DAYS_REMEMBERED = 64, 1_024

OF_A_PAST_DAY = (
    "Of a day of the past nothing is predicted anew. What was predicted on days that are kept stands in their history."
)
NO_ORDER_YET = "They have not ordered yet: there is nothing to tell it from."


def nothing(reason: str) -> dict[str, Any]:
    """The fields of who nothing is predicted of."""
    return {
        "churn_risk": None,
        "churn_risk_score": None,
        "churn_risk_reason": reason,
        "predicted_ltv_12m": None,
        "expected_spend_90d": None,
        "next_order": None,
    }


def told(row: Row, served: ServedChurn | None, of: Figures | None) -> dict[str, Any]:
    """The same fields of a customer as they are read. of : what their orders come to; None for who has none"""
    if row["churn_risk_score"] is None:
        return nothing(why_nothing(row, served, ordered=of is not None))
    expected = row["next_order_on"]
    return {
        "churn_risk": _risk(row, served, of),
        "churn_risk_score": row["churn_risk_score"],
        "churn_risk_reason": None,
        "predicted_ltv_12m": _amount(row["predicted_ltv_12m"]),
        "expected_spend_90d": None
        if row["expected_spend_90d"] is None
        else {
            "expected": _amount(row["expected_spend_90d"]),
            "low": _amount(row["expected_spend_low"]),
            "high": _amount(row["expected_spend_high"]),
            "level": INTERVAL,
        },
        "next_order": {
            "expected_on": expected,
            "earliest_on": row["next_order_earliest"],
            "latest_on": row["next_order_latest"],
            "reason": NOT_WITHIN_A_YEAR if expected is None else None,
        },
    }


_SIDES = {
    "recency": "The time since their last order",
    "frequency": "How often they have ordered",
    "rhythm": "The rhythm between their orders",
    "value": "What they spend",
    "basket": "What is in their baskets",
    "season": "The time of the year",
    "segments": "The segments they are in",
}


def contributions(by_group: Mapping[str, float]) -> list[RiskContribution]:
    """What each side of a customer adds to their risk, in shares and in words; by_group : the largest first"""
    return [
        RiskContribution(group=group, contribution=round(share, _SHARES), says=_adds(group, share))
        for group, share in by_group.items()
    ]


def _adds(group: str, share: float) -> str:
    return f"{_SIDES[group]}: {100 * share:+.1f} points"


def why_nothing(row: Row, served: ServedChurn | None, *, ordered: bool) -> str:
    if not ordered:
        return NO_ORDER_YET
    if row["served_prediction_id"] is None:
        return f"Nothing has been predicted yet. Run `python -m app predict --store {row['store_id']}`."
    until = "" if served is None else f" of {_day(served.as_of, row['timezone'])}"
    return f"They were not known yet when the predictions{until} were made; the next ones tell of them."


def _risk(row: Row, served: ServedChurn | None, of: Figures | None) -> dict[str, Any]:
    score, level, days = row["churn_risk_score"], row["risk_level"], row["horizon_days"]
    advice = None
    if of is not None and of.tier is not None:
        advice = recommend(
            Level(level),
            Tier(of.tier),
            n_orders=of.n_orders,
            recency_days=of.recency_days,
            usual_gap_days=of.gap_days,
            reason=Reason.churn,
        )
    return {
        "customer_id": row["customer_id"],
        "risk_level": level,
        "risk_level_3": _IN_THREE[level],
        "churn_risk_score": score,
        "definition": f"The chance of no order in the {days} days from {_day(row['told_as_of'], row['timezone'])} on.",
        "horizon_days": days,
        "p_no_purchase_30d": row["p_no_purchase_30d"],
        "p_no_purchase_90d": row["p_no_purchase_90d"],
        "factors": {
            "recency_days": None if of is None else of.recency_days,
            "order_frequency": None if of is None else _frequency(of),
            "orders_per_month": None if of is None else round(_per_month(of), 2),
            "value_tier": None if of is None else of.tier,
            "engagement_trend": row["engagement_trend"],
        },
        "confidence": _confidence(row, served),
        "recommendation": None if advice is None else advice.says,
        "offer": None
        if advice is None
        else {
            "action": advice.action.value,
            "percent": advice.terms.percent,
            "up_to": advice.terms.up_to,
            "extras": [each.value for each in advice.terms.extras],
            "follow_up": advice.terms.follow_up and advice.terms.follow_up.value,
            "personal": advice.terms.personal,
        },
        "model": foretold.model_of(served),
        "as_of": row["told_as_of"].astimezone(UTC).isoformat(),
        "prediction_id": row["served_prediction_id"],
    }


def _per_month(of: Figures) -> float:
    """Who has come lately only is taken to have been there for a month."""
    return of.n_orders * _MONTH_DAYS / max(of.tenure_days, _MONTH_DAYS)


def _frequency(of: Figures) -> str:
    """In a word where there is one, as "weekly"; of who came once there is no rhythm."""
    if of.n_orders == 1:
        return "once"
    months = 1 / _per_month(of)
    names = ((0.4, "weekly"), (0.75, "fortnightly"), (1.5, "monthly"), (4.5, "quarterly"), (9.0, "twice a year"))
    return next((name for longest, name in names if months < longest), "yearly or less")


def _confidence(row: Row, served: ServedChurn | None) -> Mapping[str, Any]:
    """What came of customers of the shop's past who were told much the same; nulls, and why, where nothing is known."""
    of, bins = (None, ()) if served is None else _proofs(served)
    if of is None:
        return _unsure("Nothing like it could be tried on the shop's own past yet.")
    chance = row[of]
    away, sure = min((abs(mean - chance), number) for number, (mean, _) in enumerate(bins))
    return bins[sure][1] if away <= _ALIKE else _unsure("Too few of the shop's past were told anything near it.")


@lru_cache(_MODELS_REMEMBERED)
def _proofs(served: ServedChurn) -> tuple[str | None, Sequence[tuple[float, Mapping[str, Any]]]]:
    """The chance a model was tried on, and by what it told on average what is said of whom it told so."""
    proofs = foretold.horizons(served.backtest)
    for horizon, of in ((foretold.OWN_HORIZON, "churn_risk_score"), ("30d", "p_no_purchase_30d")):
        if bins := proofs.get(horizon, {}).get("reliability"):
            return of, [(each["mean_predicted"], _sure(of, each)) for each in bins]
    return None, ()


def _sure(of: str, alike: Mapping[str, Any]) -> Mapping[str, Any]:
    low, high, n, mean = (alike[name] for name in ("low", "high", "n", "mean_predicted"))
    return {
        "of": of,
        "low": round(low, 4),
        "high": round(high, 4),
        "level": _LEVEL,
        "n": n,
        "mean_predicted": round(mean, 4),
        "says": f"Of {n:,} customers of the shop's past who were told about {_percent(mean)}, "
        f"{100 * low:.1f} to {_percent(high)} stayed away.",
    }


def _unsure(reason: str) -> dict[str, Any]:
    return {**dict.fromkeys(("of", "low", "high", "level", "n", "mean_predicted")), "says": reason}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _amount(amount: Any) -> float | None:
    return None if amount is None else round(float(amount), 4)


@lru_cache(_DAYS_REMEMBERED)
def _day(moment: datetime, timezone: str) -> str:
    return in_words(moment.astimezone(ZoneInfo(timezone)).date())


def figures_of(told: Mapping[str, Any]) -> Figures | None:
    """Those of a profile that is put together; None before the first order."""
    if not told["total_orders"]:
        return None
    return Figures(
        n_orders=told["total_orders"],
        recency_days=told["days_since_last_purchase"],
        tenure_days=told["customer_tenure_days"],
        gap_days=told["business_metrics"]["usual_gap_days"],
        tier=told["ltv_tier"],
    )
