"""Who turns to support, when, how, about what, and how it ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.pipeline.sample.chance import Flags, Floats, Ints, Rng, drawn
from app.pipeline.sample.habits import DAYS_OPEN, Habits
from app.pipeline.sample.lines import Lines, Refunds
from app.pipeline.sample.orders import DAY, HOUR, Orders
from app.pipeline.sample.shoppers import LIKED, TICKET_CHANNELS, ShopperType


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    raised: float  # weight among questions of those without a topic of their own
    slow: float  # how many times as long it takes as a plain question
    rating: float  # mean of those who rate, where it was answered at once


LATE_DELIVERY, RETURN = "late delivery", "return or exchange"
TOPICS = (
    Topic("where is my order", 0.30, 1.0, 4.4),
    Topic("product question", 0.26, 0.7, 4.7),
    Topic("discount code", 0.14, 0.5, 4.4),
    Topic(RETURN, 0.10, 2.5, 4.1),
    Topic("technical help", 0.08, 3.0, 4.3),
    Topic("account", 0.07, 0.5, 4.4),
    Topic("damaged or wrong item", 0.05, 3.0, 3.2),
    Topic(LATE_DELIVERY, 0.0, 2.0, 2.9),
)
ANSWERED_HOURS = (14.0, 0.4, 0.3, 20.0)  # median, of TICKET_CHANNELS
# Trouble makes also those write who else never do.
WRITES_WHEN_LATE, WRITES_WHEN_RETURNING = (0.12, 0.60), (0.05, 0.45)  # of others, of those who write
CURIOUS, CURIOUS_REACH, CURIOUS_TOPICS = (
    0.06,
    (0.40, 0.35, 0.10, 0.15),
    ("product question", "discount code", "account"),
)
RATED = 0.45  # of answered tickets
_TOPIC_NUMBER = {topic.name: number for number, topic in enumerate(TOPICS)}


@dataclass(frozen=True, slots=True)
class Tickets:
    """By time; seconds since the shop's opening.

    person       : a buyer of the batch, or `len(own.kind)` + number of one who waits for their first order
    resolved     : -1 where it is not yet
    satisfaction : 0 where it is not rated
    """

    person: Ints
    second: Ints
    channel: Ints
    topic: Ints
    resolved: Ints
    satisfaction: Ints


def raise_tickets(
    rng: Rng,
    own: Habits,
    types: Sequence[ShopperType],
    orders: Orders,
    lines: Lines,
    back: Refunds,
    *,
    account_opened: Ints,
) -> Tickets:
    """account_opened : of those who wait for their first order, in seconds; guests have no account to write from"""
    ordered_on = orders.second // DAY
    has_account = orders.buyer < own.n_buyers
    writes = own.writes[orders.buyer]

    asked = np.repeat(np.arange(len(writes)), rng.poisson(np.where(writes & has_account, own.asks[orders.buyer], 0.0)))
    asked_on = ordered_on[asked] + 1 + rng.exponential(5, len(asked)).astype(np.int64)
    weights = np.array([[t.raised * (LIKED if t.name == kind.about else 1) for t in TOPICS] for kind in types])
    asked_topic = drawn(rng, (weights / weights.sum(axis=1, keepdims=True))[own.kind[orders.buyer[asked]]])

    late = np.flatnonzero(orders.late & has_account & _moved(rng, writes, WRITES_WHEN_LATE))
    late_on = ordered_on[late] + 6 + rng.exponential(4, len(late)).astype(np.int64)

    refund_on = np.zeros(len(writes), dtype=np.int64)
    refund_on[lines.order[back.line]] = back.second // DAY
    returning = np.flatnonzero(
        (refund_on > 0) & ~orders.cancelled & has_account & _moved(rng, writes, WRITES_WHEN_RETURNING)
    )
    span = refund_on[returning] - ordered_on[returning]
    returning_on = ordered_on[returning] + np.maximum(1, (0.6 * span).astype(np.int64))

    curious = np.flatnonzero(rng.random(len(account_opened)) < CURIOUS)
    curious_on = account_opened[curious] // DAY + 1 + rng.exponential(6, len(curious)).astype(np.int64)
    curious_topic = rng.choice([_TOPIC_NUMBER[name] for name in CURIOUS_TOPICS], len(curious))

    person = np.concatenate([orders.buyer[np.concatenate([asked, late, returning])], len(own.kind) + curious])
    day = np.concatenate([asked_on, late_on, returning_on, curious_on])
    topic = np.concatenate(
        [
            asked_topic,
            np.full(len(late), _TOPIC_NUMBER[LATE_DELIVERY]),
            np.full(len(returning), _TOPIC_NUMBER[RETURN]),
            curious_topic,
        ]
    )
    reaches = np.array([t.reaches for t in types] + [CURIOUS_REACH])
    of_kind = np.concatenate([own.kind[person[: len(person) - len(curious)]], np.full(len(curious), len(types))])
    channel = drawn(rng, reaches[of_kind])
    mood = np.concatenate([own.mood, np.zeros(len(account_opened))])[person]
    return _answered(rng, person, day, channel, topic, mood)


def _answered(rng: Rng, person: Ints, day: Ints, channel: Ints, topic: Ints, mood: Floats) -> Tickets:
    """When in the day they come, when they are done, and how they are rated; what comes after the last day is not."""
    n = len(person)
    by_phone = channel == TICKET_CHANNELS.index("phone")  # which is answered in office hours
    hour = np.where(by_phone, 9 + 8 * rng.random(n), 7 + 16 * rng.random(n))
    second = DAY * day + (HOUR * hour).astype(np.int64)
    takes = np.array(ANSWERED_HOURS)[channel] * np.array([t.slow for t in TOPICS])[topic]
    takes = takes * np.exp(0.8 * rng.standard_normal(n))
    done = second + (HOUR * takes).astype(np.int64) + 60
    rating = np.array([t.rating for t in TOPICS])[topic] - 0.35 * np.log1p(takes / 12) + mood
    rating = np.round(rating + 0.8 * rng.standard_normal(n)).clip(1, 5).astype(np.int64)
    is_done = done < DAY * DAYS_OPEN
    rated = is_done & (rng.random(n) < RATED)
    there = np.flatnonzero(second < DAY * DAYS_OPEN)
    there = there[np.argsort(second[there], kind="stable")]
    return Tickets(
        person=person[there],
        second=second[there],
        channel=channel[there],
        topic=topic[there],
        resolved=np.where(is_done, done, -1)[there],
        satisfaction=np.where(rated, rating, 0)[there],
    )


def _moved(rng: Rng, writes: Flags, chances: tuple[float, float]) -> Flags:
    """Whom it makes write: chances of those who else never do, and of those who do."""
    moved: Flags = rng.random(len(writes)) < np.where(writes, chances[1], chances[0])
    return moved
