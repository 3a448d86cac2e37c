"""Why a customer is in their segments, and the least that would move them: found by trying, not by reasoning.

What is tried is what a customer could do next, within a year, in at most five orders, for at most ten times their
largest visit. Each try adds the orders to the customer's own records and measures everything anew as of the end of the
day on which it ends (`pipeline.imagined`), so what is said holds for the numbers that scoring would give by then. Days
are counted from the first whole day after `as_of`, which is day 1.

A try *moves* the customer on an axis where their top segment is then another than today's, and another than it would be
by that day had they done nothing. Of those that do, the least effort is told: the fewest orders, then the order of
`_EFFORT`.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.core.errors import CustomerNotFound
from app.domain.features import STAND_INS
from app.pipeline.features import features_of_one, shop_day
from app.pipeline.imagined import Basket, Imagination, Imagined, Ordered, SentBack
from app.pipeline.served import ServedRun, served
from app.segmentation.axes import Feature
from app.segmentation.clustering import FittedAxis
from app.segmentation.explanation import Contributions, average_customer, contributions
from app.segmentation.membership import Array
from app.segmentation.norms import NOTHING_TO_MEASURE, words
from app.segmentation.readings import reading_of
from app.warehouse.behaviour import Behaviour, read_behaviour_of_one
from app.warehouse.engine import Database
from app.warehouse.stores import read_store

CONTINUUM = "A continuum: everyone is in one group."

Kind = Literal["usual_order", "return_item", "return_order", "orders", "unlike", "amount"]
Numbers = Mapping[str, Array]

HORIZON_DAYS = 365
MOST_ORDERS = 5
#: The largest order that is tried, in largest visits.
MOST_VISITS = 10
#: Goods are sent back within so many days of the order.
RETURN_DAYS = 90

#: What is tried first where the number of orders is the same.
_EFFORT: tuple[Kind, ...] = ("usual_order", "return_item", "return_order", "orders", "unlike", "amount")
_WEEK = 7
# Orders of a customer with thousands are tried for fewer days ahead, as each day takes all of them.
_MOST_ROWS = 600_000
_AMOUNTS, _AMOUNTS_BETWEEN = 48, 40
_MONEY = frozenset({"lifetime_value", "avg_order_value", "value_trend", "spend_consistency"})
_RETURNS = frozenset({"refund_rate", "items_returned_pct", "returned_order_ratio"})


@dataclass(frozen=True, slots=True)
class AxisInUse:
    """One axis as a customer is read on it.

    names     : of its segments, in the order of its centers
    one_group : what is said where it has one segment
    """

    name: str
    features: tuple[Feature, ...]
    fitted: FittedAxis
    names: tuple[str, ...]
    one_group: str

    def codes(self, values: Numbers) -> NDArray[np.intp]:
        """(n,) position of the top segment. values : feature -> (n,)"""
        top: NDArray[np.intp] = self.fitted.memberships(self.matrix(values)).argmax(axis=1)
        return top

    def matrix(self, values: Numbers) -> Array:
        return np.column_stack([values[name] for name in self.fitted.features])


@dataclass(frozen=True, slots=True)
class Change:
    """The least that moves a customer.

    to         : position of the segment that it leads to
    orders     : how many it takes, 0 to MOST_ORDERS
    within_days: of a usual order: placed on any day up to this one, it moves them
    after_days : the day on which it is done; None where `within_days` says it
    every_days : between two of several orders
    amount     : of the one order, whole units of the currency
    how        : in what the orders are unlike the usual ones, a name in HOWS
    """

    kind: Kind
    to: int
    orders: int
    within_days: int | None = None
    after_days: int | None = None
    every_days: int | None = None
    amount: int | None = None
    how: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What becomes of them without an order for so many days."""

    to: int
    after_days: int


@dataclass(frozen=True, slots=True)
class Moves:
    """horizon_days : how far ahead was looked"""

    change: Change | None
    waiting: Waiting | None
    horizon_days: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """memberships : {axis: {segment: share}} of the numbers explained; why : {axis: what is told of it}"""

    run_id: int
    as_of: datetime
    memberships: dict[str, dict[str, float]]
    why: dict[str, dict[str, Any]]


async def explain_customer(
    database: Database, store_id: str, customer_id: str, *, run_id: int, as_of: datetime
) -> Explanation:
    """Why someone stands where they stand in a published run as of a moment.

    Raises StoreNotFound, OutdatedRun, or CustomerNotFound for an id without an order before as_of.
    """
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        run = await served(database, connection, store_id, run_id)
        behaviour = await read_behaviour_of_one(connection, store_id, customer_id, as_of=as_of, timezone=store.timezone)
    if not behaviour.customer_ids:
        raise CustomerNotFound(customer_id, store_id=store_id)
    return await asyncio.to_thread(_explained, behaviour, run, as_of, store.timezone, store.currency)


def _explained(behaviour: Behaviour, run: ServedRun, as_of: datetime, timezone: str, currency: str) -> Explanation:
    values = features_of_one(behaviour, as_of=as_of, timezone=timezone)
    axes = axes_of(run, values)
    moves = moves_of(axes, behaviour, values, as_of_day=shop_day(as_of, timezone), typical=run.yardstick.norms.typical)
    parts = {axis.name: contributions(axis.fitted, axis.matrix(values)) for axis in axes}
    return Explanation(
        run_id=run.run.run_id,
        as_of=as_of,
        memberships={
            each.axis.name: {
                **dict.fromkeys(each.names, 0.0),
                **dict(zip(axis.names, parts[axis.name].memberships[0].tolist(), strict=True)),
            }
            for each, axis in zip(run.axes, axes, strict=True)
        },
        why={axis.name: told(axis, values, parts[axis.name], moves[axis.name], currency=currency) for axis in axes},
    )


def axes_of(run: ServedRun, values: Numbers) -> list[AxisInUse]:
    """The axes of a run, each by the reading that is the customer's. values : theirs, each (1,)

    Nothing that is tried adds a ticket, so the reading stays theirs.
    """
    axes = []
    for each in run.axes:
        reading = reading_of(each.readings, values)
        axes.append(
            AxisInUse(
                name=each.axis.name,
                features=each.axis.features_from(reading.source),
                fitted=reading.fitted,
                names=each.names[reading.positions],
                one_group=CONTINUUM
                if len(each.readings) == 1
                else f"One group: everyone who is read from {reading.source}.",
            )
        )
    return axes


# What a customer usually does


@dataclass(frozen=True, slots=True)
class Habits:
    """What orders to come are made of.

    hour        : of the day, as its fraction, whole minutes
    asked       : value of their usual order before any discount
    depth       : share taken off their usual order; 0 unless most of their orders have a discount
    offer_depth : share taken off what they buy on offer, else what is usual in the shop; None where neither is known
    unit_price  : asked for one unit of their most usual product
    new_product, new_category : the first keys that nothing has
    gap_days    : between two visits, else what is usual in the shop
    """

    hour: float
    channel: int
    asked: float
    depth: float
    offer_depth: float | None
    product: int | None
    category: int | None
    unit_price: float
    new_product: int
    new_category: int
    has_categories: bool
    gap_days: int
    largest_visit: float

    def basket(self, asked: float, depth: float) -> Basket:
        """Of their most usual product, in whole units that come nearest to the value at its usual price."""
        value = round(asked * (1 - depth), 2)
        quantity = max(1.0, float(round(asked / self.unit_price))) if self.unit_price > 0 else 1.0
        return Basket(value, round(asked - value, 2), self.channel, self.product, self.category, quantity)

    @property
    def usual(self) -> Basket:
        return self.basket(self.asked, self.depth)


def habits_of(behaviour: Behaviour, values: Numbers, typical: Mapping[str, float]) -> Habits:
    """behaviour : of one customer with an order; typical : feature -> what is usual in the shop"""
    orders = behaviour.orders.sort("day")
    asked = sorted((orders["value"] + orders["discount"]).to_list())
    # From 04:00 to 28:00, as `preferred_hour` counts: the middle of 23:30 and 00:30 is one of them.
    hours = sorted(((day % 1) * 24 + 20) % 24 + 4 for day in orders["day"].to_list())
    channels = orders["channel"].value_counts().sort("count", "channel", descending=[True, False])
    own_depth = float(values["discount_depth"][0])
    depth = own_depth if values["discount_dependency"][0] > 0.5 else 0.0
    offer_depth = own_depth or typical.get("discount_depth") or None
    has_gap = values["repeat_visit_ratio"][0] > 0
    gap = float(values["avg_days_between_orders"][0]) if has_gap else typical.get("avg_days_between_orders", 30.0)
    visits = orders.group_by(pl.col("day").floor()).agg(pl.col("value").sum())["value"]
    product, category, unit_price = _usual_product(behaviour.lines)
    lines = behaviour.lines
    return Habits(
        hour=round(hours[len(hours) // 2] % 24 * 60) % 1440 / 1440,
        channel=int(channels["channel"][0]),
        asked=asked[len(asked) // 2],
        depth=depth,
        offer_depth=offer_depth,
        product=product,
        category=category,
        unit_price=unit_price,
        new_product=1 + max(lines["product"].to_list(), default=-1),
        new_category=1 + max(lines["category"].to_list(), default=-1),
        has_categories=behaviour.has_categories,
        gap_days=max(1, round(gap)),
        largest_visit=max(visits.to_list()),
    )


def _usual_product(lines: pl.DataFrame) -> tuple[int | None, int | None, float]:
    """The product of the most visits, the latest of those; its category and the middle of its prices."""
    if not lines.height:
        return None, None, 0.0
    bought = lines.group_by("product").agg(pl.col("day").floor().n_unique().alias("visits"), pl.col("day").max())
    product = int(bought.sort("visits", "day", "product", descending=True)["product"][0])
    its = lines.filter(pl.col("product") == product).sort("day")
    priced = its.filter(pl.col("quantity") > 0)
    prices = sorted(((priced["amount"] + priced["discount"]) / priced["quantity"]).to_list())
    return product, int(its["category"][-1]), prices[len(prices) // 2] if prices else 0.0


# What is tried


@dataclass(frozen=True, slots=True)
class How:
    """In what orders are unlike the usual ones.

    about    : features that change with it; it is tried on the axes that have one of them
    says     : goes on from "one more order"
    weekdays : on which, 0 is Monday
    hour     : of the day; None for the usual one
    basket   : what they hold instead, by the number of the order from 0; None where that cannot be
    """

    about: frozenset[str]
    says: str
    weekdays: range = range(7)
    hour: float | None = None
    basket: Callable[[Habits, int], Basket | None] = lambda habits, _: habits.usual


def _on_offer(habits: Habits, _: int) -> Basket | None:
    return None if habits.offer_depth is None else habits.basket(habits.asked, habits.offer_depth)


def _online(habits: Habits, _: int) -> Basket | None:
    return _but(habits.usual, channel=0)


def _new_product(habits: Habits, number: int) -> Basket | None:
    """Of their usual kind; where there are no categories, each product is a kind of its own."""
    if habits.product is None or not habits.has_categories:
        return _new_kind(habits, number)
    return _but(habits.usual, product=habits.new_product + number)


def _new_kind(habits: Habits, number: int) -> Basket | None:
    if habits.product is None:
        return None
    return _but(habits.usual, product=habits.new_product + number, category=habits.new_category + number)


def _but(basket: Basket, **other: int) -> Basket:
    given = {name: getattr(basket, name) for name in ("value", "discount", "channel", "product", "category")}
    return Basket(**{**given, **other}, quantity=basket.quantity)


_PRICES = frozenset(
    {"discount_rate", "full_price_ratio", "discount_depth", "discount_dependency", "discount_hunt_score"}
)
_GOODS = frozenset(
    {
        *("unique_categories", "category_diversity", "exploration_breadth", "product_switching", "repeat_rate"),
        *("product_concentration", "mastery"),
    }
)
_DAYS = frozenset({"weekend_ratio", "business_hours_ratio"})
_CLOCK = frozenset({"business_hours_ratio", "preferred_hour", "hour_spread"})
_WORKDAYS, _WEEKEND = range(5), range(5, 7)

HOWS: Mapping[str, How] = {
    "full_price": How(_PRICES, "at full price", basket=lambda habits, _: habits.basket(habits.asked, 0.0)),
    "on_offer": How(_PRICES, "on offer", basket=_on_offer),
    "weekend": How(_DAYS, "at the weekend", weekdays=_WEEKEND),
    "weekday": How(_DAYS, "in the week", weekdays=_WORKDAYS),
    "office_hours": How(_CLOCK, "in office hours", weekdays=_WORKDAYS, hour=11 / 24),
    "evening": How(_CLOCK, "in the evening", hour=20 / 24),
    "new_products": How(_GOODS, "of a product new to them", basket=_new_product),
    "new_kinds": How(_GOODS, "of a kind new to them", basket=_new_kind),
    "online": How(frozenset({"online_ratio", "primary_channel_ratio"}), "online", basket=_online),
}


@dataclass(frozen=True, slots=True)
class Try:
    """One way to go on. about : features that an axis must have one of; None where it is tried on every axis"""

    kind: Kind
    end_day: int
    imagined: Imagined
    orders: int = 1
    every_days: int | None = None
    amount: int | None = None
    how: str | None = None
    about: frozenset[str] | None = None

    @property
    def effort(self) -> tuple[int, int]:
        return max(1, self.orders), _EFFORT.index(self.kind)

    def is_for(self, axis: AxisInUse) -> bool:
        return self.about is None or not self.about.isdisjoint(axis.fitted.features)

    def change(self, to: int) -> Change:
        return Change(
            kind=self.kind,
            to=to,
            orders=self.orders,
            after_days=self.end_day,
            every_days=self.every_days if self.orders > 1 else None,
            amount=self.amount,
            how=self.how,
        )


@dataclass(frozen=True, slots=True)
class Future:
    """The days ahead of one customer. first_day : the first whole day after as_of, the shop's; day 1"""

    first_day: int
    habits: Habits

    def waited(self, days: int) -> Imagined:
        """Nothing until the end of that day."""
        return Imagined(float(self.first_day + days))

    def ordered(self, days: Sequence[int], baskets: Sequence[Basket], *, hour: float | None = None) -> Imagined:
        """Orders on these days, seen at the end of the last."""
        at = self.habits.hour if hour is None else hour
        placed = [Ordered(self.first_day + day - 1 + at, each) for day, each in zip(days, baskets, strict=True)]
        return Imagined(float(self.first_day + days[-1]), orders=tuple(placed))

    def usual(self, day: int) -> Try:
        return Try("usual_order", day, self.ordered([day], [self.habits.usual]))

    def of_amount(self, amount: int) -> Try:
        imagined = self.ordered([1], [self.habits.basket(float(amount), 0.0)])
        return Try("amount", 1, imagined, amount=amount, about=_MONEY)

    def several(self, horizon_days: int) -> Iterator[Try]:
        """One to five usual orders: one every usual gap, or one a week."""
        for step in dict.fromkeys([self.habits.gap_days, min(_WEEK, self.habits.gap_days)]):
            for n in range(1, MOST_ORDERS + 1):
                days = [step * number for number in range(1, n + 1)]
                if days[-1] <= horizon_days:
                    baskets = [self.habits.usual] * n
                    yield Try("orders", days[-1], self.ordered(days, baskets), orders=n, every_days=step)

    def unlike(self, horizon_days: int) -> Iterator[Try]:
        """One to five orders with one thing different, one a week or one every usual gap, whichever is shorter."""
        step = min(_WEEK, self.habits.gap_days)
        for name, how in HOWS.items():
            days = self._days(how.weekdays, step=step)
            baskets = [how.basket(self.habits, number) for number in range(MOST_ORDERS)]
            known = [each for each in baskets if each is not None]
            for n in range(1, len(known) + 1):
                if days[n - 1] <= horizon_days:
                    imagined = self.ordered(days[:n], known[:n], hour=how.hour)
                    yield Try("unlike", days[n - 1], imagined, orders=n, every_days=step, how=name, about=how.about)

    def _days(self, weekdays: range, *, step: int) -> list[int]:
        """The first five such days, each at least a step after the one before."""
        days: list[int] = []
        day = 0
        while len(days) < MOST_ORDERS:
            day += step
            while (self.first_day + day - 1 + 3) % 7 not in weekdays:  # 1970-01-01 was a Thursday
                day += 1
            days.append(day)
        return days

    def returns(self, behaviour: Behaviour) -> Iterator[Try]:
        """Their last order sent back, or one item of it, where goods are left of it and it is not long ago."""
        last = behaviour.orders.sort("day", "order").row(-1, named=True)
        goods = behaviour.lines.filter((pl.col("order") == last["order"]) & (pl.col("quantity") > 0))
        gone = behaviour.refunds.filter(pl.col("order") == last["order"])
        returned = gone.filter(pl.col("returned") > 0)
        left = sum(goods["quantity"].to_list()) - sum(returned["quantity"].to_list())
        paid = min(sum(goods["amount"].to_list()), last["value"] - sum(gone["amount"].to_list()))
        paid_left = round(paid, 2)
        if left < 1 or paid_left <= 0 or self.first_day - last["day"] > RETURN_DAYS:
            return
        noon = self.first_day + 0.5
        dearest = round(min(paid_left, max((goods["amount"] / goods["quantity"]).to_list())), 2)
        kinds: tuple[tuple[Kind, float, float], ...] = (
            ("return_item", dearest, 1.0),
            ("return_order", paid_left, left),
        )
        for kind, amount, quantity in kinds:
            back = SentBack(noon, int(last["order"]), amount, quantity)
            yield Try(kind, 1, Imagined(float(self.first_day + 1), returns=(back,)), orders=0, about=_RETURNS)


# What moves them


def moves_of(
    axes: Sequence[AxisInUse],
    behaviour: Behaviour,
    values: Numbers,
    *,
    as_of_day: float,
    typical: Mapping[str, float],
) -> dict[str, Moves]:
    """On each axis the least that moves a customer, and what waiting does.

    behaviour : of one customer with an order; values : their metrics and features now, each (1,)
    typical   : feature -> what is usual in the shop
    """
    future = Future(ceil(as_of_day), habits_of(behaviour, values, typical))
    search = _Search(axes, values, future, Imagination(behaviour))
    horizon = max(1, min(HORIZON_DAYS, _MOST_ROWS // (2 * behaviour.orders.height)))
    days = range(1, horizon + 1)
    waits = search.seen([future.waited(day) for day in days])
    usual = [future.usual(day) for day in days]
    others = [*future.returns(behaviour), *future.several(horizon), *future.unlike(horizon)]
    limit = int(MOST_VISITS * future.habits.largest_visit)
    amounts = [future.of_amount(int(each)) for each in _amounts(limit)]
    tries = search.seen([each.imagined for each in (*usual, *others, *amounts)])

    found: dict[str, Moves] = {}
    brackets: dict[str, tuple[int, int]] = {}
    for axis in axes:
        before, after = waits[axis.name], tries[axis.name]
        now = search.now[axis.name]
        best: tuple[tuple[int, int], Change] | None = None
        within = _within(after[: len(usual)], before, now)
        if within > 0:
            best = usual[0].effort, Change("usual_order", int(after[0]), 1, within_days=within)
        for each, code in zip(others, after[len(usual) :][: len(others)], strict=True):
            moves = code not in (now, before[each.end_day - 1]) and each.is_for(axis)
            if moves and (best is None or each.effort < best[0]):
                best = each.effort, each.change(int(code))
        if amounts and amounts[0].is_for(axis) and (best is None or amounts[0].effort < best[0]):
            hits = np.flatnonzero(_moved(after[len(usual) + len(others) :], now, before[0]))
            if len(hits):
                low = amounts[hits[0] - 1].amount if hits[0] else 0
                brackets[axis.name] = (low or 0, amounts[hits[0]].amount or 0)
        gone = np.flatnonzero(before != now)
        waiting = Waiting(int(before[gone[0]]), int(gone[0]) + 1) if len(gone) else None
        found[axis.name] = Moves(None if best is None else best[1], waiting, horizon)
    before_tomorrow = {name: codes[0] for name, codes in waits.items()}
    for name, change in search.least_amounts(brackets, before_tomorrow).items():
        found[name] = Moves(change, found[name].waiting, horizon)
    return found


def _amounts(limit: int) -> NDArray[np.int64]:
    """Whole amounts up to the limit, each a like step above the one before."""
    if limit < 1:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.round(np.geomspace(1, limit, _AMOUNTS)).astype(np.int64))


def _within(ordered: NDArray[np.intp], waited: NDArray[np.intp], now: int) -> int:
    """The last day up to which an order on any day leads to the one segment to which an order on day 1 leads."""
    moved = _moved(ordered, now, waited) & (ordered == ordered[0])
    stops = np.flatnonzero(~moved)
    return int(stops[0]) if len(stops) else len(moved)


def _moved(codes: NDArray[np.intp], now: int, waited: Any) -> NDArray[np.bool_]:
    moved: NDArray[np.bool_] = (codes != now) & (codes != waited)
    return moved


class _Search:
    """The customer's top segments in whatever is imagined of them. now : axis -> position of today's"""

    def __init__(self, axes: Sequence[AxisInUse], values: Numbers, future: Future, imagination: Imagination) -> None:
        self.now = {axis.name: int(axis.codes(values)[0]) for axis in axes}
        self._axes = {axis.name: axis for axis in axes}
        self._future = future
        self._imagination = imagination

    def seen(self, imagined: Sequence[Imagined]) -> dict[str, NDArray[np.intp]]:
        values = self._imagination.measured(imagined)
        return {name: axis.codes(values) for name, axis in self._axes.items()}

    def least_amounts(self, brackets: Mapping[str, tuple[int, int]], waited: Mapping[str, int]) -> dict[str, Change]:
        """Between an amount that does not move them and a larger one that does, the least of those that do.

        brackets : axis -> the two; waited : axis -> top segment at the end of day 1 without an order
        """
        found: dict[str, Change] = {}
        left = dict(brackets)
        while left:
            # The upper end is tried again, to know where it leads.
            asked = {
                name: sorted({int(each) for each in np.linspace(low, high, _AMOUNTS_BETWEEN + 2)[1:]})
                for name, (low, high) in left.items()
            }
            amounts = sorted({amount for each in asked.values() for amount in each if amount > 0})
            seen = self.seen([self._future.of_amount(amount).imagined for amount in amounts])
            for name, between in asked.items():
                codes = dict(zip(amounts, seen[name].tolist(), strict=True))
                low, high = left[name]
                does = [each for each in between if each > low and codes[each] not in (self.now[name], waited[name])]
                high = does[0]
                low = max([each for each in between if low < each < high], default=low)
                left[name] = (low, high)
                if high - low == 1:
                    found[name] = self._future.of_amount(high).change(codes[high])
                    del left[name]
        return found


# How it is told

_MEMBERSHIP_DECIMALS = 9
_NOUNS = (
    *("shopper", "customer", "buyer", "hunter", "seeker", "explorer", "repeater", "returner", "experimenter"),
    *("user", "beginner", "requester"),
)


def told(axis: AxisInUse, values: Numbers, parts: Contributions, moves: Moves, *, currency: str) -> dict[str, Any]:
    """What is served of one axis. values : the customer's, each (1,); parts : of this customer alone"""
    own = int(parts.memberships[0].argmax())
    head = {
        "segment": axis.names[own],
        "membership": round(float(parts.memberships[0, own]), _MEMBERSHIP_DECIMALS),
        "typical_membership": round(float(parts.average[own]), _MEMBERSHIP_DECIMALS),
    }
    if len(axis.names) == 1:
        return {**head, "contributions": [], "change": None, "without_it": None, "says": axis.one_group}
    change = None if moves.change is None else _told_change(moves.change, axis.names, currency)
    waiting = None if moves.waiting is None else _told_waiting(moves.waiting, axis.names)
    nothing = f"{'Nothing' if waiting is None else 'No order'} within reach moves them: {_tried(moves.horizon_days)}."
    sentences = [nothing if change is None else change["says"], *([] if waiting is None else [waiting["says"]])]
    return {
        **head,
        "contributions": _told_contributions(axis, values, parts.by_feature[0, :, own]),
        "change": change,
        "without_it": waiting,
        "says": " ".join(sentences),
    }


def _tried(horizon_days: int) -> str:
    far = "a year" if horizon_days == HORIZON_DAYS else f"{horizon_days} days"
    return f"up to {MOST_ORDERS} orders within {far} were tried"


def _told_contributions(axis: AxisInUse, values: Numbers, shares: Array) -> list[dict[str, Any]]:
    """The largest first. The average is told to two digits: no more is needed to see on which side of it they are."""
    rows = []
    for feature, average, share in zip(axis.features, average_customer(axis.fitted), shares, strict=True):
        value, typical = float(values[feature.name][0]), float(f"{average:.1e}")
        unknown = feature.name in NOTHING_TO_MEASURE and value == STAND_INS[feature.name]
        phrase = f"too little known, counted as {feature.phrase(value)}" if unknown else feature.phrase(value)
        rows.append(
            {
                "feature": feature.name,
                "value": value,
                "typical": typical,
                "contribution": round(float(share), _MEMBERSHIP_DECIMALS),
                "says": f"{phrase} (average: {feature.number(typical)}): {points(float(share))}",
            }
        )
    return sorted(rows, key=lambda row: -abs(float(row["contribution"])))


def points(share: float) -> str:
    """Of a share, in hundredths: "+34 points", "-1 point"."""
    rounded = round(100 * share)
    return f"{rounded:+d} point{'' if abs(rounded) == 1 else 's'}"


def _told_change(change: Change, names: Sequence[str], currency: str) -> dict[str, Any]:
    return {
        "to_segment": names[change.to],
        "kind": change.kind,
        "orders": change.orders,
        "within_days": change.within_days,
        "after_days": change.after_days,
        "every_days": change.every_days,
        "amount": change.amount,
        "how": change.how,
        "says": f"{_deed(change, currency)} would make them {_a(names[change.to])}.",
    }


def _told_waiting(waiting: Waiting, names: Sequence[str]) -> dict[str, Any]:
    days = "1 day" if waiting.after_days == 1 else f"{waiting.after_days} days"
    return {
        "to_segment": names[waiting.to],
        "after_days": waiting.after_days,
        "says": f"Without an order for {days} they become {_a(names[waiting.to])}.",
    }


def _deed(change: Change, currency: str) -> str:
    if change.kind == "usual_order":
        if change.within_days == 1:
            return "One more order tomorrow"
        return (
            f"One more order within {'a year' if change.within_days == HORIZON_DAYS else f'{change.within_days} days'}"
        )
    if change.kind == "return_item":
        return "Sending back one item of their last order"
    if change.kind == "return_order":
        return "Sending back their last order"
    if change.kind == "amount":
        return f"An order of {change.amount:,} {currency} tomorrow"
    unlike = f" {HOWS[change.how].says}" if change.how is not None else ""
    if change.orders == 1:
        when = "tomorrow" if change.after_days == 1 else f"{change.after_days} days from now"
        return f"One more order{unlike}, {when},"
    count = ("Two", "Three", "Four", "Five")[change.orders - 2]
    pace = {1: "one a day", _WEEK: "one a week"}.get(change.every_days or 0, f"one every {change.every_days} days")
    return f"{count} more orders{unlike}, {pace},"


def _a(segment: str) -> str:
    """A segment as somebody becomes it: "a weekly shopper"; in its own words where it names no person."""
    name = words(segment)
    if not name.endswith(_NOUNS):
        return f"“{name}”"
    lower = name.lower()
    article = "an" if lower[0] in "aeiou" and not lower.startswith(("one ", "user")) else "a"
    return f"{article} {lower}"
