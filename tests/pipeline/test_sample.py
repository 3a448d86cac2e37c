"""What the sample shop promises. One shop of 5,000 customers is made once; properties are tried on small ones."""

import ast
import csv
import io
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.domain.records import Customer, Order, OrderLine, Record, Refund, Ticket
from app.pipeline import sample
from app.pipeline.sample import CATEGORIES, SIZES, TYPES, CustomerTruth, SampleShop, ShopSize, write_truth
from app.sources.base import Batch, Source

CENT = Decimal("0.01")
SHOP_TIME = ZoneInfo("America/Chicago")
FIRST_DAY, LAST_DAY = date(2021, 1, 26), date(2025, 10, 22)


class ReadShop:
    """A sample shop, read to its end and sorted by what the records are."""

    def __init__(self, **arguments: object) -> None:
        self.source = SampleShop(**arguments)
        self.batches: list[Batch] = list(self.source.batches())
        self.records: list[Record] = [record for batch in self.batches for record in batch.records]
        self.customers = [r for r in self.records if isinstance(r, Customer)]
        self.orders = [r for r in self.records if isinstance(r, Order)]
        self.lines = [r for r in self.records if isinstance(r, OrderLine)]
        self.refunds = [r for r in self.records if isinstance(r, Refund)]
        self.tickets = [r for r in self.records if isinstance(r, Ticket)]
        self.truth: list[CustomerTruth] = list(self.source.truth())
        self.order = {order.order_id: order for order in self.orders}

    @cached_property
    def n_orders(self) -> Counter[str]:
        """Of those with an account."""
        return Counter(order.customer_id for order in self.orders if order.customer_id is not None)

    @cached_property
    def spent(self) -> defaultdict[str, float]:
        spent: defaultdict[str, float] = defaultdict(float)
        for line in self.lines:
            spent[self.order[line.order_id].customer_id] += float(line.amount)
        return spent

    @cached_property
    def n_lines(self) -> Counter[str]:
        return Counter(self.order[line.order_id].customer_id for line in self.lines)

    def of_type(self, name: str) -> list[CustomerTruth]:
        return [t for t in self.truth if t.type_name == name]


@pytest.fixture(scope="module")
def shop() -> ReadShop:
    return ReadShop()


small_shops = st.builds(ReadShop, customers=st.integers(1, 40), seed=st.integers(0, 2**32))
on_small_shops = settings(max_examples=40, deadline=None)


def rank_correlation(a: list[float], b: list[float]) -> float:
    def ranks(values: list[float]) -> np.ndarray:
        _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[which]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


# The same arguments, the same shop


def test_the_same_arguments_make_the_same_shop() -> None:
    once, again = ReadShop(customers=300, seed=11), ReadShop(customers=300, seed=11)
    assert once.records == again.records
    assert once.truth == again.truth


def test_another_seed_makes_another_shop() -> None:
    one, other = ReadShop(customers=300, seed=11), ReadShop(customers=300, seed=12)
    assert {o.ordered_at for o in one.orders}.isdisjoint({o.ordered_at for o in other.orders})
    assert one.truth != other.truth


def test_asking_for_the_truth_changes_no_record() -> None:
    source = SampleShop(customers=50)
    list(source.truth())
    assert [b.records for b in source.batches()] == [b.records for b in ReadShop(customers=50).batches]


def test_nothing_looks_at_the_clock() -> None:
    """None of the clock's doors is named in the package: datetime.now, date.today, time.time, np.datetime64("now")."""
    sources = [path.read_text() for path in Path(sample.__path__[0]).glob("*.py")]
    assert len(sources) > 5
    tree = [node for source in sources for node in ast.walk(ast.parse(source))]
    named = {node.attr for node in tree if isinstance(node, ast.Attribute)}
    named |= {node.value for node in tree if isinstance(node, ast.Constant)}
    named |= {name.name for node in tree if isinstance(node, ast.Import | ast.ImportFrom) for name in node.names}
    assert named.isdisjoint({"now", "utcnow", "utc_now", "today", "time"})


# A source like every other


def test_it_is_a_source_that_knows_its_shop() -> None:
    source: Source = SampleShop(customers=1)
    assert source.name == "sample"
    assert (source.defaults.timezone, source.defaults.currency) == ("America/Chicago", "USD")


def test_batches_hold_about_20_000_records_and_progress_rises_to_one() -> None:
    batches = ReadShop(customers=12_000).batches
    assert all(14_000 < len(batch.records) < 26_000 for batch in batches)
    assert all(before.progress < after.progress for before, after in pairwise(batches))
    assert batches[-1].progress == 1


def test_a_batch_holds_all_there_is_of_its_customers(shop: ReadShop) -> None:
    assert len(shop.batches) > 1
    for batch in shop.batches:
        customers = {r.customer_id for r in batch.records if isinstance(r, Customer)}
        orders = {r.order_id for r in batch.records if isinstance(r, Order)}
        lines = {r.line_id for r in batch.records if isinstance(r, OrderLine)}
        told = {r.customer_id for r in batch.records if isinstance(r, Order | Refund | Ticket)}
        assert told - {None} <= customers
        assert {r.order_id for r in batch.records if isinstance(r, OrderLine)} == orders
        assert {r.line_id for r in batch.records if isinstance(r, Refund)} <= lines


@given(small_shops)
@on_small_shops
def test_the_account_says_where_every_record_and_every_cent_went(shop: ReadShop) -> None:
    account = shop.source.account
    bought, returned = sum(line.amount for line in shop.lines), sum((r.amount for r in shop.refunds), Decimal(0))
    assert {what: (tally.rows, tally.money) for what, tally in account.taken.items()} == {
        "customer": (len(shop.customers), 0),
        "order": (len(shop.orders), 0),
        "order line": (len(shop.lines), bought),
        "refund": (len(shop.refunds), -returned),
        "ticket": (len(shop.tickets), 0),
    }
    assert (account.read.rows, account.read.money) == (len(shop.records), bought - returned)
    assert account.n_rejected == 0
    assert not account.set_aside


@pytest.mark.parametrize("arguments", [{"customers": 0}, {"customers": -3}, {"seed": -1}])
def test_a_shop_that_cannot_be_made_is_refused_in_words(arguments: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="cannot be made"):
        SampleShop(**arguments)


# What the records keep, in a shop of any size and seed


@given(small_shops)
@on_small_shops
def test_ids_are_unique_and_refer_to_what_is_there(shop: ReadShop) -> None:
    ids = (
        [c.customer_id for c in shop.customers],
        [c.email for c in shop.customers],
        [o.order_id for o in shop.orders],
        [o.order_number for o in shop.orders],
        [line.line_id for line in shop.lines],
        [r.refund_id for r in shop.refunds],
        [t.ticket_id for t in shop.tickets],
    )
    assert all(len(set(kind)) == len(kind) for kind in ids)
    lines = {line.line_id: line for line in shop.lines}
    for refund in shop.refunds:
        line = lines[refund.line_id]
        assert (refund.order_id, refund.product_id) == (line.order_id, line.product_id)
        assert refund.customer_id == shop.order[line.order_id].customer_id
    assert {o.customer_id for o in shop.orders} - {None} == {t.customer_id for t in shop.truth}
    assert {t.customer_id for t in shop.tickets} <= {c.customer_id for c in shop.customers}
    assert {line.order_id for line in shop.lines} == set(shop.order)


@given(small_shops)
@on_small_shops
def test_amounts_are_exact_to_the_cent(shop: ReadShop) -> None:
    for line in shop.lines:
        assert line.amount == line.quantity * line.unit_price - line.discount
        assert line.amount > 0
        assert line.discount >= 0
        assert line.quantity >= 1
    money = [m for line in shop.lines for m in (line.amount, line.discount, line.unit_price)]
    money += [refund.amount for refund in shop.refunds]
    assert all(m.as_tuple().exponent == -2 for m in money)


@given(small_shops)
@on_small_shops
def test_a_product_has_one_price_one_title_one_category_and_one_vendor(shop: ReadShop) -> None:
    facts = defaultdict(set)
    for line in shop.lines:
        facts[line.product_id].add((line.unit_price, line.title, line.category, line.vendor))
    assert all(len(known) == 1 for known in facts.values())


@given(small_shops)
@on_small_shops
def test_no_more_goes_back_than_was_bought_and_never_before(shop: ReadShop) -> None:
    lines = {line.line_id: line for line in shop.lines}
    for refund in shop.refunds:
        line = lines[refund.line_id]
        assert 0 < refund.quantity <= line.quantity
        assert 0 < refund.amount <= line.amount
        assert (refund.amount == line.amount) == (refund.quantity == line.quantity)
        assert shop.order[line.order_id].ordered_at < refund.refunded_at


@given(small_shops)
@on_small_shops
def test_an_order_says_how_much_of_it_went_back(shop: ReadShop) -> None:
    paid, returned = defaultdict(Decimal), defaultdict(Decimal)
    for line in shop.lines:
        paid[line.order_id] += line.amount
    for refund in shop.refunds:
        returned[refund.order_id] += refund.amount
    for order in shop.orders:
        left = paid[order.order_id] - returned[order.order_id]
        expected = "refunded" if left == 0 else "paid" if left == paid[order.order_id] else "partially_refunded"
        assert order.financial_status == expected


@given(small_shops)
@on_small_shops
def test_nobody_in_it_could_be_real(shop: ReadShop) -> None:
    for customer in shop.customers:
        assert customer.email.isascii()
        assert customer.email.rpartition("@")[2] in {"example.com", "example.net"}
        assert customer.phone is None


@given(
    customers=st.integers(1, 40),
    seed=st.integers(0, 1000),
    until=st.dates(date(2010, 1, 1), date(2039, 12, 31)),
)
@on_small_shops
def test_everything_happens_between_the_shops_first_day_and_its_last(customers: int, seed: int, until: date) -> None:
    shop = ReadShop(customers=customers, seed=seed, until=until)
    times = [o.ordered_at for o in shop.orders] + [r.refunded_at for r in shop.refunds]
    times += [c.created_at for c in shop.customers] + [t.created_at for t in shop.tickets]
    times += [t.resolved_at for t in shop.tickets if t.resolved_at]
    assert all(until - timedelta(days=1730) <= at.astimezone(SHOP_TIME).date() <= until for at in times)
    created = {c.customer_id: c.created_at for c in shop.customers}
    assert all(created[o.customer_id] <= o.ordered_at for o in shop.orders if o.customer_id is not None)
    assert all(created[t.customer_id] < t.created_at for t in shop.tickets)


def test_a_last_day_given_as_a_time_counts_in_full() -> None:
    noon = datetime(2024, 3, 10, 12, tzinfo=SHOP_TIME)
    assert ReadShop(customers=50, until=noon).records == ReadShop(customers=50, until=noon.date()).records


@given(small_shops)
@on_small_shops
def test_who_has_lapsed_does_not_come_back(shop: ReadShop) -> None:
    left = {t.customer_id: t.lapsed_on for t in shop.truth if t.lapsed_on}
    for order in shop.orders:
        assert order.ordered_at.date() <= left.get(order.customer_id, LAST_DAY)  # guests leave no trace
    assert all(FIRST_DAY < day <= LAST_DAY for day in left.values())


@pytest.mark.parametrize("seed", range(30))
def test_one_customer_is_a_shop(seed: int) -> None:
    shop = ReadShop(customers=1, seed=seed)
    assert len(shop.customers) == len(shop.truth) == 1
    assert shop.orders
    assert len(shop.lines) >= len(shop.orders)


# The proportions of the model shop: 93,564 buyers, 200,729 orders, 1,221,736 lines


def test_orders_and_lines_are_near_the_model_shops(shop: ReadShop) -> None:
    """Within 12 % of 2.145 orders per buyer and 7 % of 6.09 lines per order: 5,000 buyers have heavy tails."""
    assert len(shop.n_orders) == 5000
    assert len(shop.orders) / 5000 == pytest.approx(200_729 / 93_564, rel=0.12)
    assert len(shop.lines) / len(shop.orders) == pytest.approx(1_221_736 / 200_729, rel=0.07)


def test_about_three_in_five_buy_once_and_a_few_very_often(shop: ReadShop) -> None:
    orders = sorted(shop.n_orders.values())
    assert orders.count(1) / len(orders) == pytest.approx(0.60, abs=0.03)
    assert sum(orders[-50:]) / sum(orders) > 0.08
    assert orders[-1] > 50


def test_some_wait_for_their_first_order(shop: ReadShop) -> None:
    """29 % more customers than buyers, as 27,415 are to 93,564."""
    waiting = {c.customer_id for c in shop.customers} - set(shop.n_orders)
    assert len(waiting) == round(5000 * 27_415 / 93_564)


def test_about_15_percent_have_no_country(shop: ReadShop) -> None:
    assert sum(c.country is None for c in shop.customers) / len(shop.customers) == pytest.approx(0.15, abs=0.02)
    countries = {c.customer_id: c.country for c in shop.customers}
    assert all(order.country == countries[order.customer_id] for order in shop.orders if order.customer_id is not None)


def test_about_85_percent_of_lines_went_to_a_known_country(shop: ReadShop) -> None:
    known = sum(shop.order[line.order_id].country is not None for line in shop.lines)
    assert known / len(shop.lines) == pytest.approx(0.85, abs=0.03)


def test_at_the_model_shops_size_it_has_the_model_shops_totals() -> None:
    """Within 4 % of its orders and lines, and 1 % of the products that sold."""
    source = SampleShop(customers=93_564)
    products = {r.product_id for batch in source.batches() for r in batch.records if isinstance(r, OrderLine)}
    rows = {what: tally.rows for what, tally in source.account.taken.items()}
    assert rows["customer"] == 93_564 + 27_415
    assert rows["order"] == pytest.approx(200_729, rel=0.04)
    assert rows["order line"] == pytest.approx(1_221_736, rel=0.04)
    assert len(products) == pytest.approx(22_318, rel=0.01)


@pytest.fixture(scope="module")
def documents() -> Counter[str]:
    """What was counted, batch by batch, in the shop of the documents."""
    source, counted = SampleShop(size=SIZES["documents"]), Counter[str]()
    products, days, buyers = set(), set(), set()
    for batch in source.batches():
        counted["largest batch"] = max(counted["largest batch"], len(batch.records))
        orders = [r for r in batch.records if isinstance(r, Order)]
        products |= {r.product_id for r in batch.records if isinstance(r, OrderLine)}
        days |= {order.ordered_at.date() for order in orders}
        buyers |= {order.customer_id for order in orders}
        counted["guest orders"] += sum(order.customer_id is None for order in orders)
    counted |= Counter({what: tally.rows for what, tally in source.account.taken.items()})
    counted |= Counter({"products sold": len(products), "customers with an order": len(buyers - {None})})
    counted |= Counter({"on the first day": FIRST_DAY in days, "on the last day": LAST_DAY in days, "days": len(days)})
    return counted


def test_the_shop_of_the_documents_has_its_numbers_exactly(documents: Counter[str]) -> None:
    """Guests' orders are orders of the shop, and so in its total."""
    exact = {
        "customer": 93_564 + 27_415,
        "customers with an order": 93_564,
        "order": 200_729,
        "order line": 1_221_736,
        "products sold": 22_318,
        "on the first day": 1,
        "on the last day": 1,
    }
    assert {what: documents[what] for what in exact} == exact
    assert documents["guest orders"] == 8_029
    assert documents["days"] == (LAST_DAY - FIRST_DAY).days + 1


def test_it_is_made_in_the_memory_of_a_batch(documents: Counter[str]) -> None:
    assert documents["largest batch"] < 26_000


def test_the_largest_shop_is_ten_times_the_documents_with_the_same_goods() -> None:
    one, ten = SIZES["documents"], SIZES["documents-x10"]
    assert (ten.buyers, ten.waiting, ten.guests) == (10 * one.buyers, 10 * one.waiting, 10 * one.guests)
    assert (ten.orders, ten.lines, ten.products) == (10 * one.orders, 10 * one.lines, one.products)
    assert len(next(SampleShop(size=ten).batches()).records) < 26_000


@given(
    buyers=st.integers(1, 2_500),
    guests=st.integers(0, 60),
    waiting=st.integers(0, 60),
    more_orders=st.integers(0, 300),
    more_lines=st.integers(0, 900),
    seed=st.integers(0, 50),
)
@settings(max_examples=15, deadline=None)
def test_exact_totals_are_exact_whatever_they_are(
    buyers: int, guests: int, waiting: int, more_orders: int, more_lines: int, seed: int
) -> None:
    n_orders = buyers + guests + more_orders
    size = ShopSize(buyers, waiting, guests, products=130, orders=n_orders, lines=n_orders + more_lines)
    shop = ReadShop(size=size, seed=seed)
    assert (len(shop.customers), len(shop.n_orders)) == (buyers + waiting, buyers)
    assert (len(shop.orders), len(shop.lines)) == (n_orders, n_orders + more_lines)
    assert sum(order.customer_id is None for order in shop.orders) == guests
    if len(shop.lines) > 2_000:
        assert len({line.product_id for line in shop.lines}) == 130


@pytest.mark.parametrize(
    "wrong",
    [{"buyers": 0}, {"orders": 11}, {"lines": 19}, {"lines": None}, {"orders": None}],
    ids=lambda wrong: " ".join(wrong),
)
def test_totals_that_contradict_each_other_are_refused_in_words(wrong: dict[str, int | None]) -> None:
    with pytest.raises(InvalidInput, match="cannot be made"):
        replace(ShopSize(buyers=10, waiting=3, guests=2, products=120, orders=20, lines=50), **wrong)


def test_a_smaller_shop_has_fewer_products(shop: ReadShop) -> None:
    assert len({line.product_id for line in shop.lines}) == pytest.approx(2000, rel=0.05)
    assert 50 < len({line.product_id for line in ReadShop(customers=100).lines}) < 500


def test_a_few_products_sell_most_and_every_category_sells(shop: ReadShop) -> None:
    sold = sorted(Counter(line.product_id for line in shop.lines).values(), reverse=True)
    assert 0.3 < sum(sold[: len(sold) // 10]) / sum(sold) < 0.8
    assert {line.category for line in shop.lines} == {c.name for c in CATEGORIES}
    assert len(CATEGORIES) == 12


def test_money_off_is_common_and_money_back_is_not(shop: ReadShop) -> None:
    bought = sum(line.amount for line in shop.lines)
    assert 0.3 < sum(line.discount > 0 for line in shop.lines) / len(shop.lines) < 0.5
    assert Decimal("0.03") < sum(r.amount for r in shop.refunds) / bought < Decimal("0.08")


def test_most_lines_come_back_whole_and_some_in_part(shop: ReadShop) -> None:
    amounts = {line.line_id: line.amount for line in shop.lines}
    whole = sum(refund.amount == amounts[refund.line_id] for refund in shop.refunds) / len(shop.refunds)
    assert 0.6 < whole < 0.95


def test_a_few_orders_are_cancelled_whole_on_their_day(shop: ReadShop) -> None:
    n_lines = Counter(line.order_id for line in shop.lines)
    same_day = Counter(
        r.order_id for r in shop.refunds if r.refunded_at.date() == shop.order[r.order_id].ordered_at.date()
    )
    assert 0.002 < len(same_day) / len(shop.orders) < 0.01
    assert all(n == n_lines[order_id] for order_id, n in same_day.items())
    assert all(shop.order[order_id].financial_status == "refunded" for order_id in same_day)


def test_returns_come_some_weeks_later(shop: ReadShop) -> None:
    days = [(r.refunded_at - shop.order[r.order_id].ordered_at).days for r in shop.refunds]
    assert 14 < statistics.median(days) < 28


def test_autumn_outsells_spring(shop: ReadShop) -> None:
    """Over the three whole years: September to November has at least half as many orders again as March to May."""
    month = Counter(o.ordered_at.month for o in shop.orders if 2022 <= o.ordered_at.year <= 2024)
    assert sum(month[m] for m in (9, 10, 11)) > 1.5 * sum(month[m] for m in (3, 4, 5))


def test_the_shop_grows_from_year_to_year(shop: ReadShop) -> None:
    year = Counter(o.ordered_at.year for o in shop.orders)
    assert year[2022] < year[2023] < year[2024]


def test_channels_keep_their_hours_and_counters_their_country(shop: ReadShop) -> None:
    channels = Counter(o.channel for o in shop.orders)
    assert [name for name, _ in channels.most_common()] == ["web", "pos", "shopify_draft_order"]
    assert all(o.ordered_at.hour >= 6 for o in shop.orders)
    assert all(9 <= o.ordered_at.hour < 18 for o in shop.orders if o.channel != "web")
    assert all(o.country in ("US", None) for o in shop.orders if o.channel == "pos")


# Guests, parcels, tickets


def test_one_order_in_25_is_of_a_guest_who_comes_once(shop: ReadShop) -> None:
    guests = [order for order in shop.orders if order.customer_id is None]
    assert len(guests) / len(shop.orders) == pytest.approx(0.04, abs=0.005)
    assert any(refund.customer_id is None for refund in shop.refunds)


def test_what_a_carrier_took_has_one_or_two_numbers_of_its_own(shop: ReadShop) -> None:
    numbers = [number for order in shop.orders for number in order.tracking_numbers]
    assert len(set(numbers)) == len(numbers)
    for order in shop.orders:
        if order.channel == "pos" or order.fulfillment_status == "unfulfilled":
            assert order.tracking_numbers == ()
        else:
            assert len(order.tracking_numbers) in (1, 2)
        for number in order.tracking_numbers:
            at_home = order.country in ("US", None)
            assert (number[:2], len(number)) == (("1Z", 18) if at_home else ("LX", 13))
    assert 0.02 < sum(len(order.tracking_numbers) == 2 for order in shop.orders) / len(shop.orders) < 0.08


def test_only_the_cancelled_and_the_last_days_orders_are_not_out_of_the_house(shop: ReadShop) -> None:
    cancelled = {r.order_id for r in shop.refunds if r.refunded_at.date() == shop.order[r.order_id].ordered_at.date()}
    for order in shop.orders:
        if order.fulfillment_status == "unfulfilled" and order.order_id not in cancelled:
            assert order.ordered_at.date() > LAST_DAY - timedelta(days=4)


def test_a_ticket_is_closed_after_it_was_opened_or_still_open(shop: ReadShop) -> None:
    for ticket in shop.tickets:
        assert (ticket.status == "closed") == (ticket.resolved_at is not None)
        assert ticket.resolved_at is None or ticket.resolved_at > ticket.created_at
        assert ticket.satisfaction is None or (1 <= ticket.satisfaction <= 5 and ticket.status == "closed")
    rated = [ticket.satisfaction for ticket in shop.tickets if ticket.satisfaction]
    assert 0.3 < len(rated) / len(shop.tickets) < 0.6
    assert set(rated) == {1, 2, 3, 4, 5}
    assert {ticket.channel for ticket in shop.tickets} == {"email", "chat", "phone", "contact_form"}


def test_most_never_write_and_some_do_before_their_first_order(shop: ReadShop) -> None:
    write = {ticket.customer_id for ticket in shop.tickets}
    assert 0.08 < len(write & set(shop.n_orders)) / len(shop.n_orders) < 0.25
    assert 0 < len(write - set(shop.n_orders)) < 0.1 * (len(shop.customers) - len(shop.n_orders))


def test_each_type_writes_in_its_own_way_and_about_its_own_things(shop: ReadShop) -> None:
    kind = {t.customer_id: t.type_name for t in shop.truth}
    channel, topic = defaultdict(Counter), defaultdict(Counter)
    for ticket in shop.tickets:
        channel[kind.get(ticket.customer_id)][ticket.channel] += 1
        topic[kind.get(ticket.customer_id)][ticket.topic] += 1
    assert topic["serial returner"].most_common(1)[0][0] == "return or exchange"
    assert topic["premium machine owner"].most_common(1)[0][0] == "technical help"
    assert channel["premium machine owner"].most_common(1)[0][0] == "phone"
    assert channel["bargain hunter"].most_common(1)[0][0] == "chat"


def test_who_asks_more_by_habit_has_more_tickets(shop: ReadShop) -> None:
    tickets = Counter(ticket.customer_id for ticket in shop.tickets)
    each = [tickets[t.customer_id] / shop.n_orders[t.customer_id] for t in shop.truth]
    assert rank_correlation([t.tickets_per_order for t in shop.truth], each) > 0.4


def test_questions_of_a_return_come_from_those_who_return(shop: ReadShop) -> None:
    back = {refund.customer_id for refund in shop.refunds}
    asking = {t.customer_id for t in shop.tickets if t.topic == "return or exchange" and t.customer_id in shop.n_orders}
    assert len(asking & back) / len(asking) > 2 * len(back) / len(shop.n_orders)


def test_who_waited_too_long_is_less_content(shop: ReadShop) -> None:
    def mean(topic: str) -> float:
        return statistics.fmean(t.satisfaction for t in shop.tickets if t.topic == topic and t.satisfaction)

    assert mean("late delivery") < mean("product question") - 1


# The truth shows in the records


def test_every_buyer_has_a_truth_and_every_type_its_share(shop: ReadShop) -> None:
    accounts = dict.fromkeys(o.customer_id for o in shop.orders if o.customer_id is not None)
    assert [t.customer_id for t in shop.truth] == list(accounts)
    shares = Counter(t.type_name for t in shop.truth)
    for shopper in TYPES:
        assert shares[shopper.name] / len(shop.truth) == pytest.approx(shopper.share, abs=0.02)
    assert sum(shopper.share for shopper in TYPES) == pytest.approx(1)


def test_who_has_the_higher_rate_orders_more_often(shop: ReadShop) -> None:
    rates, orders = [t.orders_per_year for t in shop.truth], [shop.n_orders[t.customer_id] for t in shop.truth]
    assert rank_correlation(rates, orders) > 0.4


def test_orders_are_worth_what_the_truth_expects(shop: ReadShop) -> None:
    """Within 4 % over the shop, and in order from buyer to buyer."""
    expected = [t.expected_order_value for t in shop.truth]
    paid = [shop.spent[t.customer_id] / shop.n_orders[t.customer_id] for t in shop.truth]
    weights = [shop.n_orders[t.customer_id] for t in shop.truth]
    assert np.average(paid, weights=weights) == pytest.approx(np.average(expected, weights=weights), rel=0.04)
    assert rank_correlation(expected, paid) > 0.5


def test_who_is_prone_to_discounts_or_returns_has_more_of_them(shop: ReadShop) -> None:
    reduced = Counter(shop.order[line.order_id].customer_id for line in shop.lines if line.discount)
    back = Counter(r.customer_id for r in shop.refunds)

    def share(of: Counter[str]) -> list[float]:
        return [of[t.customer_id] / shop.n_lines[t.customer_id] for t in shop.truth]

    assert rank_correlation([t.discount_proneness for t in shop.truth], share(reduced)) > 0.4
    assert rank_correlation([t.return_proneness for t in shop.truth], share(back)) > 0.25


def test_the_types_differ_as_their_names_say(shop: ReadShop) -> None:
    def mean(type_name: str, measure: Callable[[CustomerTruth], float]) -> float:
        return statistics.fmean(measure(t) for t in shop.of_type(type_name))

    def most(measure: Callable[[CustomerTruth], float]) -> str:
        return max((t.name for t in TYPES), key=lambda name: mean(name, measure))

    months = defaultdict(list)
    for order in shop.orders:
        months[order.customer_id].append(order.ordered_at.month)
    category = defaultdict(Counter)
    for line in shop.lines:
        category[shop.order[line.order_id].customer_id][line.category] += 1
    back = Counter(r.customer_id for r in shop.refunds)

    assert most(lambda t: shop.n_orders[t.customer_id]) == "weekly guild regular"
    assert most(lambda t: shop.n_orders[t.customer_id] == 1) == "one-time gift buyer"
    assert most(lambda t: t.lapsed_on is not None) == "lapsed enthusiast"
    assert most(lambda t: t.discount_proneness) == "bargain hunter"
    assert most(lambda t: back[t.customer_id] / shop.n_lines[t.customer_id]) == "serial returner"
    assert most(lambda t: category[t.customer_id]["machines"]) == "premium machine owner"
    assert most(lambda t: statistics.fmean(9 <= m <= 12 for m in months[t.customer_id])) == "holiday quilter"


def test_types_overlap(shop: ReadShop) -> None:
    """A rate alone does not tell the type: some bargain hunters come more often than some monthly makers."""
    hunters = sorted(t.orders_per_year for t in shop.of_type("bargain hunter"))
    makers = sorted(t.orders_per_year for t in shop.of_type("steady monthly maker"))
    assert hunters[-len(hunters) // 100] > makers[len(makers) // 20]


def test_habits_go_together(shop: ReadShop) -> None:
    """Within a type the keen order more often, put more in an order and use fewer coupons."""
    hunters = shop.of_type("bargain hunter")
    rates = [t.orders_per_year for t in hunters]
    assert rank_correlation(rates, [t.expected_order_value for t in hunters]) > 0.1
    assert rank_correlation(rates, [t.discount_proneness for t in hunters]) < -0.2


def test_steady_makers_keep_more_even_gaps_than_bargain_hunters(shop: ReadShop) -> None:
    times = defaultdict(list)
    for order in shop.orders:
        times[order.customer_id].append(order.ordered_at)

    def unevenness(type_name: str) -> float:
        spreads = []
        for t in shop.of_type(type_name):
            gaps = [(b - a) / timedelta(days=1) for a, b in pairwise(times[t.customer_id])]
            if len(gaps) >= 4:
                spreads.append(statistics.stdev(gaps) / statistics.fmean(gaps))
        return statistics.median(spreads)

    assert unevenness("steady monthly maker") < 0.8 * unevenness("bargain hunter")


def test_the_truth_is_written_with_a_row_for_every_customer() -> None:
    shop, out = ReadShop(customers=50), io.BytesIO()
    n = write_truth(shop.truth, shop.source.waiting_ids(), out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))
    assert len(rows) == n == len(shop.customers)
    assert {row["customer_id"] for row in rows} == {c.customer_id for c in shop.customers}
    assert list(rows[0]) == [field.name for field in fields(CustomerTruth)]
    assert [float(row["orders_per_year"]) for row in rows[:50]] == [t.orders_per_year for t in shop.truth]
    assert all(row["type_name"] == "" for row in rows[50:])
