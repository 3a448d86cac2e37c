"""What the sample shop promises. One shop of 5,000 customers is made once; properties are tried on small ones."""

import ast
import inspect
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.domain.records import Customer, Order, OrderLine, Record, Refund
from app.pipeline import sample
from app.pipeline.sample import CATEGORIES, TYPES, CustomerTruth, SampleShop
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
        self.truth: list[CustomerTruth] = self.source.truth()
        self.order = {order.order_id: order for order in self.orders}

    @cached_property
    def n_orders(self) -> Counter[str]:
        return Counter(order.customer_id for order in self.orders)

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
    source.truth()
    assert [b.records for b in source.batches()] == [b.records for b in ReadShop(customers=50).batches]


def test_nothing_looks_at_the_clock() -> None:
    """None of the clock's doors is named in the module: datetime.now, date.today, time.time, np.datetime64("now")."""
    tree = list(ast.walk(ast.parse(inspect.getsource(sample))))
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
        assert {r.customer_id for r in batch.records if isinstance(r, Order | Refund)} <= customers
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
    )
    assert all(len(set(kind)) == len(kind) for kind in ids)
    lines = {line.line_id: line for line in shop.lines}
    for refund in shop.refunds:
        line = lines[refund.line_id]
        assert (refund.order_id, refund.product_id) == (line.order_id, line.product_id)
        assert refund.customer_id == shop.order[line.order_id].customer_id
    assert {o.customer_id for o in shop.orders} == {t.customer_id for t in shop.truth}
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
    times += [c.created_at for c in shop.customers]
    assert all(until - timedelta(days=1730) <= at.astimezone(SHOP_TIME).date() <= until for at in times)
    created = {c.customer_id: c.created_at for c in shop.customers}
    assert all(created[o.customer_id] <= o.ordered_at for o in shop.orders)


def test_a_last_day_given_as_a_time_counts_in_full() -> None:
    noon = datetime(2024, 3, 10, 12, tzinfo=SHOP_TIME)
    assert ReadShop(customers=50, until=noon).records == ReadShop(customers=50, until=noon.date()).records


@given(small_shops)
@on_small_shops
def test_who_has_lapsed_does_not_come_back(shop: ReadShop) -> None:
    left = {t.customer_id: t.lapsed_on for t in shop.truth if t.lapsed_on}
    for order in shop.orders:
        assert order.ordered_at.date() <= left.get(order.customer_id, LAST_DAY)
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
    assert all(order.country == countries[order.customer_id] for order in shop.orders)


def test_at_the_model_shops_size_it_has_the_model_shops_totals() -> None:
    """Within 4 % of its orders and lines, and 1 % of the products that sold."""
    source = SampleShop(customers=93_564)
    products = {r.product_id for batch in source.batches() for r in batch.records if isinstance(r, OrderLine)}
    rows = {what: tally.rows for what, tally in source.account.taken.items()}
    assert rows["customer"] == 93_564 + 27_415
    assert rows["order"] == pytest.approx(200_729, rel=0.04)
    assert rows["order line"] == pytest.approx(1_221_736, rel=0.04)
    assert len(products) == pytest.approx(22_318, rel=0.01)


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


# The truth shows in the records


def test_every_buyer_has_a_truth_and_every_type_its_share(shop: ReadShop) -> None:
    assert [t.customer_id for t in shop.truth] == list(dict.fromkeys(o.customer_id for o in shop.orders))
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
