"""The shop itself: a source of records, batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import repeat
from zoneinfo import ZoneInfo

import numpy as np

from app.core.errors import InvalidInput
from app.domain.records import Customer, Order, OrderLine, Record, Refund, Ticket
from app.pipeline.sample.catalogue import CATEGORIES, VENDORS, stock
from app.pipeline.sample.chance import Ints, Rng
from app.pipeline.sample.habits import (
    COUNTRIES,
    DAYS_OPEN,
    Habits,
    arrivals,
    draw_countries,
    expected_order_values,
    form_habits,
    season_clocks,
)
from app.pipeline.sample.lines import Lines, Refunds, fill_baskets, take_back
from app.pipeline.sample.orders import DAY, HOUR, Orders, count_parcels, place_orders
from app.pipeline.sample.shoppers import CHANNELS, TICKET_CHANNELS, TYPES, ShopperType
from app.pipeline.sample.sizes import ShopSize, size_of
from app.pipeline.sample.tickets import TOPICS, Tickets, raise_tickets
from app.pipeline.sample.truth import CustomerTruth
from app.sources.base import Batch, ReadingAccount, StoreDefaults, Tally

LAST_DAY = date(2025, 10, 22)
BUYERS_PER_BATCH = 1_200  # a buyer brings about 17 records
TIMEZONE = "America/Chicago"
# fmt: off
FIRST_NAMES = ("Ada", "Bea", "Cleo", "Dora", "Edda", "Fern", "Greta", "Hazel", "Iris", "Kit", "Mabel", "Opal", "Rosa")
LAST_NAMES = ("Applique", "Basting", "Bobbin", "Dresden", "Hemstitch", "Pinwheel", "Sashing", "Selvage", "Thimble")
# fmt: on


@dataclass(frozen=True, slots=True)
class _Part:
    """What one batch holds of the shop: numbers from 0 of its buyers and of those waiting; how many guests, and how
    many orders and lines beyond the first of each, where those are set."""

    number: int
    buyers: range
    waiting: range
    n_guests: int
    more_orders: int | None
    more_lines: int | None
    must_sell: Ints


class SampleShop:
    """A `Source` of made-up records, the same ones for the same arguments. A batch holds all there is of its customers.

    customers : how many buyers, from 1; 29 % more have an account and no order yet, and guests place 4 % of the orders
    size      : instead of customers, what the shop counts in all (see `SIZES`)
    until     : the shop's last day, in full and at its own place; its first is 1,730 days before
    types     : the kinds of buyers there are

    Raises InvalidInput for less than one customer or a negative seed.
    """

    name = "sample"
    defaults = StoreDefaults(timezone=TIMEZONE, currency="USD")

    def __init__(
        self,
        *,
        customers: int = 5000,
        size: ShopSize | None = None,
        seed: int = 7,
        until: date = LAST_DAY,
        types: Sequence[ShopperType] = TYPES,
    ) -> None:
        if seed < 0:
            raise InvalidInput(f"A sample shop cannot be made from the seed {seed}. Give a whole number from 0.")
        self._size = size if size is not None else size_of(customers)
        buyers = self._size.buyers
        note = f"Synthetic: {buyers} made-up buyers, seed {seed}, until {until:%Y-%m-%d}. Nobody in it exists."
        self.account = ReadingAccount(notes=[note])
        self._seed, self._types = seed, types
        self._opening = datetime(until.year, until.month, until.day) - timedelta(days=DAYS_OPEN - 1)  # noqa: DTZ001
        self._clocks = season_clocks(self._opening, types)
        self._goods = stock(np.random.default_rng([seed, 0]), self._size.products)

    def truth(self) -> Iterator[CustomerTruth]:
        """One row per buyer, in the order in which `batches` brings them."""
        for part in self._parts():
            own = self._habits(part)
            n_lines = own.lines * (1 + own.more_orders)
            categories = (1 - (1 - own.taste) ** n_lines[:, None]).sum(axis=1)
            values, at_counter = expected_order_values(own, self._goods), own.channels[:, CHANNELS.index("pos")]
            for i, number in enumerate(part.buyers):
                lapse = own.lapse_day[i]
                yield CustomerTruth(
                    customer_id=_customer_id(number),
                    type_name=self._types[own.kind[i]].name,
                    joined_on=self._day(own.first_day[i]),
                    lapsed_on=self._day(lapse) if lapse < DAYS_OPEN else None,
                    orders_per_year=float(own.orders_per_year[i]),
                    growth_per_year=float(own.growth[i]),
                    expected_orders=float(1 + own.more_orders[i]),
                    expected_order_value=float(values[i]),
                    lines_per_order=float(own.lines[i]),
                    expected_categories=float(categories[i]),
                    dearness=float(own.dear[i]),
                    rebuy_share=float(own.rebuys[i]),
                    discount_proneness=float(own.coupons[i]),
                    return_proneness=float(own.returns[i]),
                    weekend_share=float(own.weekend[i]),
                    usual_hour=float(own.hour[i]),
                    counter_share=float(at_counter[i]),
                    tickets_per_order=float(own.asks[i]) if own.writes[i] else 0.0,
                )

    def waiting_ids(self) -> Iterator[str]:
        """Of the customers without an order."""
        return (_customer_id(self._size.buyers + i) for i in range(self._size.waiting))

    def batches(self) -> Iterator[Batch]:
        parts = self._parts()
        n_orders = n_tickets = 0
        for part in parts:
            # Every batch has its own stream of chance: a shop of any size is made in the memory of one batch.
            rng = np.random.default_rng([self._seed, 2, part.number])
            own = self._habits(part)
            orders = place_orders(
                rng,
                own,
                self._types,
                self._clocks,
                opening_weekday=self._opening.weekday(),
                more_orders=part.more_orders,
            )
            opened, customers = self._customers(rng, part, own, orders)
            lines = fill_baskets(rng, orders, own, self._goods, more_lines=part.more_lines, must_sell=part.must_sell)
            back = take_back(rng, orders, lines, own)
            tickets = raise_tickets(
                rng, own, self._types, orders, lines, back, account_opened=opened[len(part.buyers) :]
            )
            purchases = self._purchases(rng, part, own, orders, lines, back, numbered_from=n_orders)
            requests = self._requests(part, own, tickets, numbered_from=n_tickets)
            n_orders, n_tickets = n_orders + len(orders.buyer), n_tickets + len(requests)
            yield Batch([*customers, *purchases, *requests], progress=(part.number + 1) / len(parts))

    def _parts(self) -> list[_Part]:
        size, n = self._size, -(-self._size.buyers // BUYERS_PER_BATCH)

        def spans(total: int) -> list[range]:
            return [range(total * i // n, total * (i + 1) // n) for i in range(n)]

        def counts(total: int | None) -> list[int] | list[None]:
            return [None] * n if total is None else [len(span) for span in spans(total)]

        parts = zip(
            *(range(n), spans(size.buyers), spans(size.waiting), counts(size.guests)),
            *(counts(size.more_orders), counts(size.more_lines)),
            # In a shop of exact totals every product sells: a part sees to one in n of them.
            [np.arange(i, size.products if size.lines is not None else 0, n) for i in range(n)],
            strict=True,
        )
        return [_Part(*part) for part in parts]

    def _habits(self, part: _Part) -> Habits:
        return form_habits(
            np.random.default_rng([self._seed, 1, part.number]),
            types=self._types,
            n_buyers=len(part.buyers),
            n_guests=part.n_guests,
            clocks=self._clocks,
        )

    def _customers(self, rng: Rng, part: _Part, own: Habits, orders: Orders) -> tuple[Ints, list[Record]]:
        """Accounts are opened minutes before the first order, or some days; those waiting come with the season.

        returns : when each was opened, in seconds, and the customers: buyers, then those waiting
        """
        numbers = [*part.buyers, *(self._size.buyers + i for i in part.waiting)]
        n, n_buyers, n_waiting = len(numbers), len(part.buyers), len(part.waiting)
        first_order = orders.second[np.searchsorted(orders.buyer, np.arange(n_buyers))]
        ahead = rng.integers(60, 1800, n_buyers) + DAY * rng.poisson(rng.exponential(0.8, n_buyers))
        came = arrivals(rng, n_waiting, self._clocks[0], joins=(0, 1)).astype(np.int64)
        opened = np.concatenate(
            [first_order - np.minimum(ahead, first_order), DAY * came + rng.integers(6 * HOUR, DAY, n_waiting)]
        )
        first = [FIRST_NAMES[i] for i in rng.integers(len(FIRST_NAMES), size=n)]
        last = [LAST_NAMES[i] for i in rng.integers(len(LAST_NAMES), size=n)]
        emails = [
            f"{f}.{s}.{number + 1}@example.{'com' if number % 8 else 'net'}".lower()
            for f, s, number in zip(first, last, numbers, strict=True)
        ]
        country = np.concatenate([own.country[:n_buyers], draw_countries(rng, n_waiting)])
        countries = [COUNTRIES[i] for i in country.tolist()]
        self._enter("customer", n)
        ids, times = map(_customer_id, numbers), self._times(opened)
        return opened, list(map(Customer, ids, emails, first, last, repeat(None), countries, times))

    def _purchases(
        self, rng: Rng, part: _Part, own: Habits, orders: Orders, lines: Lines, back: Refunds, *, numbered_from: int
    ) -> list[Record]:
        goods, n_orders = self._goods, len(orders.buyer)
        numbers = range(numbered_from + 1, numbered_from + 1 + n_orders)
        order_ids = [f"O{number:07}" for number in numbers]
        people = [*map(_customer_id, part.buyers), *repeat(None, part.n_guests)]
        customer_ids = [people[i] for i in orders.buyer.tolist()]
        paid = np.bincount(lines.order, weights=lines.amount)
        returned = np.bincount(lines.order[back.line], weights=back.amount, minlength=len(paid))
        countries = [COUNTRIES[i] for i in own.country[orders.buyer].tolist()]
        parcels = count_parcels(rng, orders, np.bincount(lines.order)).tolist()
        heads = map(
            Order,
            order_ids,
            customer_ids,
            self._times(orders.second),
            [f"#{1000 + number}" for number in numbers],
            [CHANNELS[i] for i in orders.channel.tolist()],
            repeat("USD"),
            np.select([returned == 0, returned < paid], ["paid", "partially_refunded"], "refunded").tolist(),
            np.where(orders.handed_over, "fulfilled", "unfulfilled").tolist(),
            countries,
            map(_tracking_numbers, numbers, parcels, countries),
        )
        of_order, products = lines.order.tolist(), lines.product.tolist()
        number_in_order = (np.arange(1, len(of_order) + 1) - np.searchsorted(lines.order, lines.order)).tolist()
        line_ids = [f"{order_ids[i]}-{number}" for i, number in zip(of_order, number_in_order, strict=True)]
        bodies = map(
            OrderLine,
            [order_ids[i] for i in of_order],
            [goods.ids[i] for i in products],
            map(Decimal, lines.quantity.tolist()),
            _money(goods.cents[lines.product]),
            _money(lines.amount),
            line_ids,
            [goods.titles[i] for i in products],
            [CATEGORIES[i].name for i in goods.category[lines.product].tolist()],
            [VENDORS[i] for i in goods.vendor[lines.product].tolist()],
            _money(lines.discount),
        )
        refunded_orders, refunded_lines = lines.order[back.line].tolist(), back.line.tolist()
        refunds = map(
            Refund,
            [f"R-{order_ids[i]}" for i in refunded_orders],
            [customer_ids[i] for i in refunded_orders],
            [goods.ids[i] for i in lines.product[back.line].tolist()],
            map(Decimal, back.quantity.tolist()),
            _money(back.amount),
            self._times(back.second),
            [f"R-{line_ids[i]}" for i in refunded_lines],
            [order_ids[i] for i in refunded_orders],
            [line_ids[i] for i in refunded_lines],
        )
        self._enter("order", n_orders)
        self._enter("order line", len(line_ids), cents=int(lines.amount.sum()))
        self._enter("refund", len(refunded_lines), cents=-int(back.amount.sum()))
        return [*heads, *bodies, *refunds]

    def _requests(self, part: _Part, own: Habits, tickets: Tickets, *, numbered_from: int) -> list[Record]:
        n, n_people = len(tickets.person), len(own.kind)
        waiting = [_customer_id(self._size.buyers + i) for i in part.waiting]
        ids = [*map(_customer_id, part.buyers), *repeat("", n_people - len(part.buyers)), *waiting]
        resolved = self._times(tickets.resolved)
        is_closed = (tickets.resolved >= 0).tolist()
        requests = map(
            Ticket,
            [f"T{number:07}" for number in range(numbered_from + 1, numbered_from + 1 + n)],
            [ids[i] for i in tickets.person.tolist()],
            self._times(tickets.second),
            [TICKET_CHANNELS[i] for i in tickets.channel.tolist()],
            [TOPICS[i].name for i in tickets.topic.tolist()],
            ["closed" if closed else "open" for closed in is_closed],
            [at if closed else None for at, closed in zip(resolved, is_closed, strict=True)],
            [rating or None for rating in tickets.satisfaction.tolist()],
        )
        self._enter("ticket", n)
        return list(requests)

    def _day(self, day: float) -> date:
        return (self._opening + timedelta(days=day)).date()

    def _times(self, seconds: Ints) -> list[datetime]:
        """Moments at the shop's place. `seconds` count from its opening as if every day had 24 hours."""
        zone = ZoneInfo(TIMEZONE)
        moments = np.datetime64(self._opening, "s") + seconds.astype("timedelta64[s]")
        return [moment.replace(tzinfo=zone) for moment in moments.tolist()]

    def _enter(self, what: str, n: int, *, cents: int = 0) -> None:
        for tally in (self.account.read, self.account.taken.setdefault(what, Tally())):
            tally.rows += n
            tally.money += Decimal(cents).scaleb(-2)


def _money(cents: Ints) -> list[Decimal]:
    """Exact, with two decimals. Prices recur, so each amount is made once."""
    distinct, which = np.unique(cents, return_inverse=True)
    amounts = [Decimal(c).scaleb(-2) for c in distinct.tolist()]
    return [amounts[i] for i in which.tolist()]


def _tracking_numbers(order: int, parcels: int, country: str | None) -> tuple[str, ...]:
    """Of the forms that carriers use at home and abroad, with a sender that no carrier knows."""
    numbers = range(2 * order, 2 * order + parcels)
    if country in ("US", None):
        return tuple(f"1ZQUILT{number:011}" for number in numbers)
    return tuple(f"LX{number:09}ZZ" for number in numbers)


def _customer_id(number: int) -> str:
    return f"C{number + 1:07}"
