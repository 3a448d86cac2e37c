"""How customers stand at a moment, in numbers that tell whether and for how much they will buy.

Everything is read from visits before `known`, the day on which the records end; `seen` is the day from which they are
looked at. Where `seen` lies later, they are customers of whom nothing has been heard in between: how they would stand
on that day if they had not bought, which is what a forecast of more than one month is made of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.prediction.btyd import BgNbd, bg_nbd_from
from app.prediction.purchases import Floats, Ints, Purchases

#: The length of a step: the model says who buys within one, and a longer horizon is several.
STEP_DAYS = 30
YEAR_DAYS = 365
_RECENT_DAYS = (30, 90, 180, 365)
#: So many gaps of the shop's usual length are added to a customer's own when their usual gap is told.
GAPS_LENT = 1.0
#: Sums over one customer, and differences of sums over all, end in other digits: beyond these they do not count, so
#: that a tree's threshold is met by both or by neither.
_DECIMALS = 7
#: Where a BG/NBD knows no leaving, all are alive but for the seventh digit. What is learned from that digit would be
#: told of everybody once it does.
_ALIVE_DECIMALS = 3
#: A probability nearer to 0 or 1 counts as this in its log-odds.
_LEAST_CHANCE = 1e-6

#: The features, by what they are about. docs/PREDICTIONS.md says what each means.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "recency": ("log_recency", "recency_share", "overdue", "bg_nbd_logit", "bg_nbd_alive"),
    "frequency": ("log_visits", "log_tenure", "visit_rate", *(f"visits_{days}d" for days in _RECENT_DAYS)),
    "rhythm": ("log_usual_gap", "gap_spread", "log_last_gap", "gap_trend"),
    "value": (
        *("log_spent", "log_visit_value", "log_last_value", "log_spent_90d", "log_spent_365d"),
        *("refunded_share", "discount_share"),
    ),
    "basket": ("log_lines", "log_products", "lines_per_visit", "bought_again", "log_units"),
    "season": ("same_month_last_year", "near_month_last_year", "same_month_before_that", "months_in_season"),
}
NAMES: tuple[str, ...] = tuple(name for names in GROUPS.values() for name in names)


@dataclass(frozen=True, slots=True)
class Standing:
    """Customers on one day.

    customers : (n,) which of the shop's
    values    : (n, len(NAMES)) features, NaN where a customer has shown nothing to tell it by
    visits, recency, age : (n,) visits so far, and days since the last and the first of them
    usual_gap : (n,) days between visits, with the shop's usual gap lent to who has few of their own
    """

    customers: Ints
    values: Floats
    visits: Ints
    recency: Floats
    age: Floats
    usual_gap: Floats

    def column(self, name: str) -> Floats:
        found: Floats = self.values[:, NAMES.index(name)]
        return found

    def columns(self, names: Sequence[str]) -> Floats:
        found: Floats = self.values[:, [NAMES.index(name) for name in names]]
        return found


@dataclass(frozen=True, slots=True)
class ShopRhythm:
    """What a shop's customers have in common, lent to those who have shown little themselves.

    gap_days, log_gap : mean gap between two visits of one customer, and mean of its logarithm
    bg_nbd            : of their visits
    """

    gap_days: float
    log_gap: float
    bg_nbd: BgNbd

    def stored(self) -> dict[str, Any]:
        return {"gap_days": self.gap_days, "log_gap": self.log_gap, "bg_nbd": self.bg_nbd.stored()}


def rhythm_from(stored: Mapping[str, Any]) -> ShopRhythm:
    """What `ShopRhythm.stored` was taken from."""
    return ShopRhythm(stored["gap_days"], stored["log_gap"], bg_nbd_from(stored["bg_nbd"]))


#: A gap where a shop has seen none: nobody came twice.
GAP_STAND_IN_DAYS = 120.0


def shop_gap(purchases: Purchases, known: int) -> tuple[float, float]:
    """Mean gap between visits before a day, in days, and mean of its logarithm."""
    gaps = purchases.gap[(purchases.visits.day < known) & ~np.isnan(purchases.gap)]
    if not len(gaps):
        return GAP_STAND_IN_DAYS, float(np.log(GAP_STAND_IN_DAYS))
    return float(gaps.mean()), float(np.log(gaps).mean())


def counts(purchases: Purchases, customers: Ints, known: int) -> tuple[Floats, Floats, Floats]:
    """Repeat visits, days from first to last visit, and days since the first: what BG/NBD is fitted to."""
    begin, end = purchases.starts(customers), purchases.visits_before(known, customers)
    first, last = purchases.visits.day[begin], purchases.visits.day[end - 1]
    return (end - begin - 1).astype(np.float64), (last - first).astype(np.float64), (known - first).astype(np.float64)


def standing(
    purchases: Purchases,
    rhythm: ShopRhythm,
    *,
    known: int,
    seen: int | Ints | None = None,
    customers: Ints | None = None,
) -> Standing:
    """Everyone with a visit before `known`, or those of `customers`, who each have one, as they stand on `seen`.

    seen : one day for all, or (n,) each their own; None for the day `known`
    """
    day = known if seen is None else seen
    who = purchases.known(known) if customers is None else customers
    visits = purchases.visits
    begin, end = purchases.starts(who), purchases.visits_before(known, who)
    last = end - 1
    n = end - begin
    age, recency = (day - visits.day[begin]).astype(np.float64), (day - visits.day[last]).astype(np.float64)

    def since(days: int) -> Ints:
        """Where each customer's visits of the last so many days begin."""
        return np.maximum(purchases.visits_before(np.minimum(day - days, known), who), begin)

    def between(first: int | Ints, before: int | Ints) -> Floats:
        low, high = (purchases.visits_before(np.minimum(each, known), who) for each in (first, before))
        return (high - low).astype(np.float64)

    n_gaps = n - 1.0
    log_gaps = purchases.total("log_gap", begin, end)
    log_usual = (log_gaps + GAPS_LENT * rhythm.log_gap) / (n_gaps + GAPS_LENT)
    usual_gap = (purchases.total("gap", begin, end) + GAPS_LENT * rhythm.gap_days) / (n_gaps + GAPS_LENT)
    several = n_gaps >= 2
    spread = np.full(len(who), np.nan)
    mean_log = log_gaps / np.maximum(n_gaps, 1)
    square = purchases.total("log_gap_square", begin, end) / np.maximum(n_gaps, 1) - mean_log**2
    spread[several] = np.sqrt(np.maximum(square[several].round(_DECIMALS), 0.0))
    log_last_gap = np.log(np.maximum(purchases.gap[last], 1.0))  # NaN stays NaN: of one visit there is no gap

    def spent(days: int) -> Floats:
        """Of the last so many days, net of what was given back in them."""
        first = np.minimum(day - days, known)
        return purchases.total("paid", since(days), end) - purchases.given_back(who, first, known)

    paid = purchases.total("paid", begin, end)
    given_back = purchases.given_back(who, None, known)
    net = paid - given_back
    lines, products = purchases.total("lines", begin, end), purchases.total("new_products", begin, end)
    discount = purchases.total("discount", begin, end)
    repeats, to_last, _ = counts(purchases, who, known)
    quiet = rhythm.bg_nbd.p_no_purchase(repeats, to_last, age, horizon=STEP_DAYS).clip(_LEAST_CHANCE, 1 - _LEAST_CHANCE)
    log_recency = np.log1p(recency)
    year_ago, two_ago, three_ago = (day - years * YEAR_DAYS for years in (1, 2, 3))
    last_year, before_that = between(year_ago, year_ago + STEP_DAYS), between(two_ago, two_ago + STEP_DAYS)
    told: dict[str, Floats] = {
        "log_recency": log_recency,
        "recency_share": recency / np.maximum(age, 1.0),
        "overdue": log_recency - log_usual,
        "bg_nbd_logit": np.log(quiet / (1 - quiet)),
        "bg_nbd_alive": rhythm.bg_nbd.p_alive(repeats, to_last, age).round(_ALIVE_DECIMALS),
        "log_visits": np.log(n),
        "log_tenure": np.log1p(age),
        "visit_rate": n / np.maximum(age, 7.0),
        **{f"visits_{days}d": (end - since(days)).astype(np.float64) for days in _RECENT_DAYS},
        "log_usual_gap": log_usual,
        "gap_spread": spread,
        "log_last_gap": log_last_gap,
        "gap_trend": log_last_gap - log_usual,
        "log_spent": _log_money(net),
        "log_visit_value": _log_money(net / n),
        "log_last_value": _log_money(visits.paid[last]),
        "log_spent_90d": _log_money(spent(90)),
        "log_spent_365d": _log_money(spent(365)),
        "refunded_share": (given_back / np.maximum(paid, 1.0)).clip(0.0, 1.0),
        "discount_share": discount / np.maximum(discount + paid, 1.0),
        "log_lines": np.log1p(lines),
        "log_products": np.log1p(products),
        "lines_per_visit": np.log1p(lines / n),
        "bought_again": 1 - products / np.maximum(lines, 1.0),
        "log_units": np.log1p(purchases.total("units", begin, end)),
        "same_month_last_year": last_year,
        "near_month_last_year": between(year_ago - STEP_DAYS, year_ago + 2 * STEP_DAYS),
        "same_month_before_that": before_that,
        # Of the years they have been known for, in how many they came in the month that now begins.
        "months_in_season": (
            (last_year > 0).astype(np.float64) + (before_that > 0) + (between(three_ago, three_ago + STEP_DAYS) > 0)
        )
        / np.clip(np.floor(age / YEAR_DAYS), 1, 3),
    }
    return Standing(
        customers=who,
        values=np.column_stack([told[name] for name in NAMES]).round(_DECIMALS),
        visits=n,
        recency=recency,
        age=age,
        usual_gap=usual_gap,
    )


def _log_money(amount: Floats) -> Floats:
    logged: Floats = np.log1p(np.maximum(amount, 0.0))
    return logged
