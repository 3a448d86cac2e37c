"""A whole segmentation the plain way: pandas customer by customer, then scikit-learn, then rows back one by one.

It does the same job as a discovery: the same records out of Postgres, the same features (a test compares all of them),
k of 2 to 6 on each axis by KMeans with ten starts and a silhouette over 10,000 customers, memberships by the same
formula, and a row for each customer back into Postgres. It does less besides: no null to compare with, no archetypes,
no lineage, no texts, and its rows are visible one after the other.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from app.core.progress import Progress, unheard
from app.domain.features import (
    GAP_STAND_IN_DAYS,
    LEAST_RELATIVE_VALUE,
    LONG_OPEN_DAYS,
    MONTH_DAYS,
    PERIOD_DAYS,
    STAND_INS,
    ZERO_WITHOUT_GOODS,
)
from app.segmentation.axes import AXES
from app.segmentation.clustering import on_one_thread

SILHOUETTE_CUSTOMERS = 10_000
STARTS = 10
MOST_SEGMENTS = 6

_ONE_DAY = pd.Timedelta(days=1)
_QUERIES = {
    "orders": "SELECT order_id, customer_id, order_date AS at, total_price AS value, discount_amount AS discount, "
    "coalesce(source, 'web') AS channel FROM orders "
    "WHERE store_id = $1 AND order_date < $2 AND customer_id IS NOT NULL",
    "lines": "SELECT order_id, product_id AS product, coalesce(category, product_id) AS category, quantity, "
    "line_total AS amount, discount_amount AS discount FROM order_items WHERE store_id = $1 AND kind = 'goods'",
    "refunds": "SELECT customer_id, order_id, amount, quantity, kind FROM refunds "
    "WHERE store_id = $1 AND refunded_at < $2 AND customer_id IS NOT NULL",
    "tickets": "SELECT customer_id, created_at AS at, satisfaction, channel, topic, resolved_at, status FROM tickets "
    "WHERE store_id = $1 AND created_at < $2",
}
_NUMBERS = ("value", "discount", "quantity", "amount", "satisfaction")
_TIMES = ("at", "resolved_at")
_TABLE = """
    CREATE TABLE plain_profiles (
        customer_id text PRIMARY KEY, segment_memberships jsonb, dominant_segments jsonb, feature_vectors jsonb,
        lifetime_value numeric
    )
"""
_INSERT = """
    INSERT INTO plain_profiles VALUES ($1, $2, $3, $4, $5) ON CONFLICT (customer_id) DO UPDATE SET
        segment_memberships = excluded.segment_memberships, dominant_segments = excluded.dominant_segments,
        feature_vectors = excluded.feature_vectors, lifetime_value = excluded.lifetime_value
"""

Frames = Mapping[str, pd.DataFrame]


async def looped_pipeline(
    driver: Any, store_id: str, *, as_of: datetime, timezone: str, progress: Progress = unheard
) -> int:
    """Segment a store into the table plain_profiles, made anew; returns how many customers.

    driver : an asyncpg connection in no transaction
    """
    await driver.execute("DROP TABLE IF EXISTS plain_profiles")
    await driver.execute(_TABLE)
    progress("reading", 0.0)
    frames = await read_frames(driver, store_id, as_of=as_of, timezone=timezone)
    progress("features", 0.0)
    features = looped_features(frames, as_of=as_of, timezone=timezone)
    progress("clustering", 0.0)
    with on_one_thread():  # left to itself it takes every core for these small arrays, and is several times slower
        memberships = {axis.name: _memberships(features[list(axis.feature_names)].to_numpy()) for axis in AXES}
    progress("storing", 0.0)
    await driver.executemany(
        _INSERT, [_row(customer, number, features, memberships) for number, customer in enumerate(features.index)]
    )
    return len(features)


async def read_frames(driver: Any, store_id: str, *, as_of: datetime, timezone: str) -> Frames:
    """orders, lines, refunds and tickets before as_of, times on the shop's own clock."""
    frames = {}
    for name, query in _QUERIES.items():
        statement = await driver.prepare(query)
        rows = await statement.fetch(*(store_id, as_of)[: len(statement.get_parameters())])
        frame = pd.DataFrame([tuple(row) for row in rows], columns=[each.name for each in statement.get_attributes()])
        for column in frame.columns.intersection(_NUMBERS):
            frame[column] = frame[column].astype(float)
        for column in frame.columns.intersection(_TIMES):
            frame[column] = pd.to_datetime(frame[column], utc=True).dt.tz_convert(timezone).dt.tz_localize(None)
        frames[name] = frame
    owned = frames["orders"][["order_id", "customer_id", "at"]]
    return {**frames, "lines": frames["lines"].merge(owned, on="order_id")}


def looped_features(frames: Frames, *, as_of: datetime, timezone: str) -> pd.DataFrame:
    """One row per customer with an order, by id: each customer's rows are taken out and measured by themselves."""
    moment = pd.Timestamp(as_of.astimezone(ZoneInfo(timezone)).replace(tzinfo=None))
    others = {
        name: (frames[name].iloc[:0], dict(iter(frames[name].groupby("customer_id"))))
        for name in ("lines", "refunds", "tickets")
    }
    found = {}
    for customer, orders in frames["orders"].groupby("customer_id"):
        lines, refunds, tickets = (theirs.get(customer, nothing) for nothing, theirs in others.values())
        found[customer] = _features_of(orders, lines, refunds, tickets, moment)
    return pd.DataFrame.from_dict(found, orient="index").sort_index()


def _features_of(
    orders: pd.DataFrame, lines: pd.DataFrame, refunds: pd.DataFrame, tickets: pd.DataFrame, as_of: pd.Timestamp
) -> dict[str, float]:
    visits = orders.groupby(orders["at"].dt.normalize())["value"].sum()
    days = visits.index
    gaps = np.diff(days) / np.timedelta64(1, "D")
    since_first = (days - days[0]) / _ONE_DAY
    n_orders, n_visits, n_gaps = len(orders), len(visits), len(gaps)
    today = as_of.normalize()
    recency, tenure = (today - days[-1]) / _ONE_DAY, (today - days[0]) / _ONE_DAY
    paid, refunded = orders["value"].sum(), refunds["amount"].sum()
    gap_mean = gaps.mean() if n_gaps else GAP_STAND_IN_DAYS
    periods = pd.Series(since_first // PERIOD_DAYS)

    hour = orders["at"].dt.round("s")
    hour = hour.dt.hour + hour.dt.minute / 60 + hour.dt.second / 3600
    quiet_hour = (hour + 20) % 24 + 4
    weekend = orders["at"].dt.day_of_week >= 5
    discounted = orders["discount"] > 0
    asked = orders["value"] + orders["discount"]
    discount_depth = (orders["discount"] / asked)[discounted & (asked > 0)]

    relative = visits / visits.mean() if visits.mean() > 0 else visits * 0 + 1
    features = {
        "total_orders": n_orders,
        "lifetime_value": paid - refunded,
        "avg_order_value": (paid - refunded) / n_orders,
        "recency_days": recency,
        "tenure_days": tenure,
        "total_purchases": n_orders,
        "orders_per_month": n_orders / (max(tenure, PERIOD_DAYS) / MONTH_DAYS),
        "avg_days_between_orders": gap_mean,
        "purchase_consistency": 1 / (1 + _variation(gaps)) if n_gaps >= 2 else None,
        "value_trend": _slope(np.log(relative.clip(lower=LEAST_RELATIVE_VALUE))) if n_visits >= 3 else None,
        "discount_rate": _ratio(orders["discount"].sum(), asked.sum()),
        "full_price_ratio": 1 - discounted.mean(),
        "discount_depth": _ratio(discount_depth.sum(), discounted.sum()),
        "weekend_ratio": weekend.mean(),
        "business_hours_ratio": (~weekend & (hour >= 9) & (hour < 17)).mean(),
        "preferred_hour": _on_the_clock(quiet_hour.mean()),
        "hour_spread": quiet_hour.std(ddof=0),
        "maturity_score": (1 - np.exp(-tenure / 365)) * (1 - np.exp(-n_orders / 5)),
        "acceleration": 2 * ((since_first > 0) & (since_first * 2 > tenure)).sum() / n_gaps - 1 if n_gaps else None,
        "repeat_visit_ratio": n_gaps / n_visits,
        "loyalty_index": _ratio(periods[periods > 0].nunique(), tenure // PERIOD_DAYS),
        "refund_rate": _share(refunded, paid),
        "online_ratio": (orders["channel"] == "web").mean(),
        "primary_channel_ratio": orders["channel"].value_counts().iloc[0] / n_orders,
        "discount_dependency": discounted.mean(),
        "frequency_trend": -_slope(np.log(gaps + 1)) if n_gaps >= 2 else None,
        "recency_ratio": recency / max(gap_mean, 1.0),
        "spend_consistency": 1 / (1 + _variation(visits.to_numpy())) if n_visits >= 2 else None,
        **_of_goods(lines, refunds, orders),
        **_of_tickets(tickets, n_orders, as_of),
    }
    stand_ins = {**STAND_INS, **dict.fromkeys(ZERO_WITHOUT_GOODS, 0.0)}
    return {name: float(stand_ins[name] if value is None else value) for name, value in features.items()}


def _of_goods(lines: pd.DataFrame, refunds: pd.DataFrame, orders: pd.DataFrame) -> dict[str, float | None]:
    by_visit = lines.assign(day=lines["at"].dt.normalize()).groupby(["day", "product"])["category"].max().reset_index()
    times = by_visit["product"].value_counts()
    kinds = by_visit["category"].value_counts()
    first = by_visit.loc[by_visit["day"] == by_visit["day"].min(), "product"].nunique()
    returns = refunds[refunds["kind"] == "return"]
    returned_orders = returns.loc[returns["order_id"].isin(orders["order_id"]), "order_id"].nunique()
    bought, products = len(by_visit), len(times)
    return {
        "unique_categories": len(kinds),
        "category_diversity": _diversity(kinds) if bought else None,
        "exploration_breadth": len(kinds) / len(orders),
        "repeat_rate": _ratio(bought - products, bought),
        "items_returned_pct": _share(returns["quantity"].sum(), lines["quantity"].sum()),
        "returned_order_ratio": _share(returned_orders, len(orders)),
        "product_switching": _ratio(products - first, bought - first),
        "product_concentration": 1 - _diversity(times) if bought else None,
        "mastery": 1 - 1 / times.max() if bought else None,
        "avg_item_price": _ratio(lines["amount"].sum(), lines["quantity"].sum()),
        "discount_hunt_score": _ratio(lines.loc[lines["discount"] > 0, "amount"].sum(), lines["amount"].sum()),
    }


def _of_tickets(tickets: pd.DataFrame, n_orders: int, as_of: pd.Timestamp) -> dict[str, float | None]:
    counts = {"total_tickets": len(tickets), "tickets_per_order": len(tickets) / n_orders}
    if tickets.empty:
        names = ("days_since_last_ticket", "dissatisfied_ratio", "ticket_email_ratio", "ticket_phone_ratio")
        more = ("ticket_chat_ratio", "contact_hour", "resolution_days", "topic_diversity", "hard_ticket_ratio")
        return {**counts, **dict.fromkeys((*names, *more))}
    ways = tickets["channel"].fillna("").map(_way)
    hour = tickets["at"].dt.round("s")
    hour = hour.dt.hour + hour.dt.minute / 60 + hour.dt.second / 3600
    closed = tickets["status"].fillna("").str.contains(r"\b(?:closed|resolved|solved|done)", case=False)
    timed = ~(tickets["resolved_at"].isna() & closed)
    done = tickets["resolved_at"].where(tickets["resolved_at"] < as_of, as_of)
    taken = ((done - tickets["at"]) / _ONE_DAY).clip(lower=0).where(timed, 0.0)
    rated, poor = tickets["satisfaction"] > 0, (tickets["satisfaction"] > 0) & (tickets["satisfaction"] <= 2)
    topics = tickets["topic"].fillna("").str.strip().str.lower().value_counts()
    return {
        **counts,
        "days_since_last_ticket": (as_of - tickets["at"].max()) / _ONE_DAY,
        "dissatisfied_ratio": _ratio(poor.sum(), rated.sum()),
        "ticket_email_ratio": (ways == "email").mean(),
        "ticket_phone_ratio": (ways == "phone").mean(),
        "ticket_chat_ratio": (ways == "chat").mean(),
        "contact_hour": _on_the_clock(((hour + 20) % 24 + 4).mean()),
        "resolution_days": _ratio(taken.sum(), timed.sum()),
        "topic_diversity": _diversity(topics),
        "hard_ticket_ratio": (poor | (taken > LONG_OPEN_DAYS)).mean(),
    }


def _memberships(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_customers, k) for the k of the best silhouette."""
    scaled = StandardScaler().fit_transform(columns)
    best, best_score = None, -np.inf
    for k in range(2, MOST_SEGMENTS + 1):
        fitted = KMeans(n_clusters=k, n_init=STARTS, random_state=0).fit(scaled)
        if len(np.unique(fitted.labels_)) < k:
            continue
        score = silhouette_score(scaled, fitted.labels_, sample_size=SILHOUETTE_CUSTOMERS, random_state=0)
        if score > best_score:
            best, best_score = fitted, score
    if best is None:
        return np.ones((len(columns), 1))
    similarity = np.exp(-best.transform(scaled))
    shares: NDArray[np.float64] = similarity / similarity.sum(axis=1, keepdims=True)
    return shares


def _row(
    customer: str, number: int, features: pd.DataFrame, memberships: Mapping[str, NDArray[np.float64]]
) -> tuple[Any, ...]:
    mine = features.iloc[number].to_dict()
    shares = {
        axis: {f"segment_{k}": float(share) for k, share in enumerate(each[number])}
        for axis, each in memberships.items()
    }
    dominant = {axis: max(each, key=lambda name: each[name]) for axis, each in shares.items()}
    vectors = {axis.name: {name: mine[name] for name in axis.feature_names} for axis in AXES}
    return customer, json.dumps(shares), json.dumps(dominant), json.dumps(vectors), mine["lifetime_value"]


def _way(channel: str) -> str:
    patterns = {"phone": r"phone|call|voice|^tel", "chat": r"chat|messag|messenger|whatsapp|sms", "email": r"mail|form"}
    return next((way for way, pattern in patterns.items() if re.search(pattern, channel, re.IGNORECASE)), "other")


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _share(part: float, whole: float) -> float | None:
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else None


def _diversity(times: Any) -> float:
    return 1 - float((times**2).sum()) / float(times.sum()) ** 2


def _variation(values: NDArray[np.float64]) -> float:
    return float(values.std() / values.mean()) if values.mean() > 0 else 0.0


def _slope(values: Any) -> float:
    return float(np.polyfit(np.arange(1, len(values) + 1), values, 1)[0])


def _on_the_clock(hour: float) -> float:
    return hour if hour <= 24 - 1e-6 else max(hour - 24, 0.0)
