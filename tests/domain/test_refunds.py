"""Which purchase a refund undoes. Plain values, and properties over any mix of purchases and returns."""

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.refunds import Purchase, Return, match_returns

DAY_ONE = datetime(2024, 1, 1, tzinfo=UTC)


def purchase(
    order: str, *, day: float = 0, quantity: int = 1, price: str = "2.50", customer: str = "ada", product: str = "tea"
) -> Purchase:
    amount = quantity * Decimal(price)
    return Purchase(customer, product, order, f"{order}-1", DAY_ONE + timedelta(days=day), Decimal(quantity), amount)


def back(
    refund: str, *, day: float = 10, quantity: int = 1, price: str = "2.50", customer: str = "ada", product: str = "tea"
) -> Return:
    amount = quantity * Decimal(price)
    return Return(customer, product, refund, DAY_ONE + timedelta(days=day), Decimal(quantity), amount)


def orders_matched(returns: list[Return], purchases: list[Purchase]) -> dict[str, str]:
    return {refund: line.order_id for refund, line in match_returns(returns, purchases).items()}


def test_a_return_undoes_the_purchase() -> None:
    assert orders_matched([back("r")], [purchase("o")]) == {"r": "o"}


def test_a_return_of_something_never_bought_has_no_purchase() -> None:
    assert orders_matched([back("r", product="coffee")], [purchase("o")]) == {}


def test_a_return_of_another_customer_has_no_purchase() -> None:
    assert orders_matched([back("r", customer="bea")], [purchase("o")]) == {}


def test_a_return_before_the_purchase_has_no_purchase() -> None:
    assert orders_matched([back("r", day=0)], [purchase("o", day=1)]) == {}


def test_a_return_on_the_paper_of_an_order_undoes_that_order_and_not_a_later_one() -> None:
    purchases = [purchase("o1", day=1), purchase("o2", day=5)]
    assert orders_matched([replace(back("r"), document_id="o1")], purchases) == {"r": "o1"}
    assert orders_matched([replace(back("r"), document_id="C9")], purchases) == {"r": "o2"}


def test_a_return_without_a_product_is_matched_by_its_paper_alone() -> None:
    purchases = [purchase("o1", day=1), purchase("o2", day=5)]
    returns = [replace(back("r"), product_id=None, document_id="o1"), replace(back("s"), product_id=None)]
    assert orders_matched(returns, purchases) == {"r": "o1"}


def test_an_order_and_its_cancellation_at_the_same_moment_match() -> None:
    assert orders_matched([back("r", day=1)], [purchase("o", day=1)]) == {"r": "o"}


def test_an_order_cancelled_minutes_later_matches_in_full() -> None:
    minutes = 12 / (24 * 60)
    ordered = purchase("581483", quantity=80_995, price="2.08")
    cancelled = back("C581484", day=minutes, quantity=80_995, price="2.08")
    assert orders_matched([cancelled], [purchase("before", day=-30), ordered]) == {"C581484": "581483"}


def test_the_latest_purchase_is_preferred() -> None:
    purchases = [purchase("old", day=1), purchase("new", day=5), purchase("after", day=20)]
    assert orders_matched([back("r", day=10)], purchases) == {"r": "new"}


def test_the_very_price_is_preferred_to_a_later_purchase() -> None:
    purchases = [purchase("exact", day=1, price="2.50"), purchase("later", day=5, price="2.60")]
    assert orders_matched([back("r", price="2.50")], purchases) == {"r": "exact"}


def test_the_latest_at_the_very_price_is_preferred() -> None:
    purchases = [purchase("one", day=1), purchase("two", day=3), purchase("dear", day=5, price="9")]
    assert orders_matched([back("r")], purchases) == {"r": "two"}


def test_the_price_is_of_one_unit_not_of_the_line() -> None:
    purchases = [purchase("six", day=1, quantity=6, price="2.50"), purchase("one", day=5, price="15")]
    assert orders_matched([back("r", quantity=2, price="2.50")], purchases) == {"r": "six"}


def test_a_purchase_with_enough_left_is_preferred_to_a_later_one_without() -> None:
    purchases = [purchase("five", day=1, quantity=5), purchase("one", day=5, quantity=1)]
    assert orders_matched([back("r", quantity=3)], purchases) == {"r": "five"}


def test_what_was_undone_once_is_gone() -> None:
    purchases = [purchase("old", day=1), purchase("new", day=5)]
    returns = [back("a", day=10), back("b", day=11), back("c", day=12)]
    assert orders_matched(returns, purchases) == {"a": "new", "b": "old"}


def test_parts_of_a_purchase_come_back_one_after_another() -> None:
    returns = [back("a", day=10, quantity=2), back("b", day=11, quantity=3), back("c", day=12)]
    assert orders_matched(returns, [purchase("o", quantity=5)]) == {"a": "o", "b": "o"}


def test_a_return_of_more_than_any_purchase_falls_on_the_latest_and_uses_it_up() -> None:
    purchases = [purchase("old", day=1, quantity=2), purchase("new", day=5, quantity=2)]
    returns = [back("a", day=10, quantity=3), back("b", day=11, quantity=2), back("c", day=12)]
    assert orders_matched(returns, purchases) == {"a": "new", "b": "old"}


def test_earlier_returns_choose_first() -> None:
    purchases = [purchase("old", day=1), purchase("new", day=5)]
    assert orders_matched([back("late", day=20), back("early", day=6)], purchases) == {"early": "new", "late": "old"}


def test_without_returns_or_purchases_nothing_matches() -> None:
    assert match_returns([], [purchase("o")]) == {}
    assert match_returns([back("r")], []) == {}


CUSTOMERS, PRODUCTS, PRICES = ("ada", "bea"), ("tea", "jam"), ("1", "2.50", "0")
many_purchases = st.lists(
    st.builds(
        lambda customer, product, day, quantity, price: (customer, product, day, quantity, price),
        *(st.sampled_from(CUSTOMERS), st.sampled_from(PRODUCTS), st.integers(0, 6), st.integers(0, 4)),
        st.sampled_from(PRICES),
    ),
    max_size=12,
).map(
    lambda drawn: [
        purchase(f"o{i}", customer=customer, product=product, day=day, quantity=quantity, price=price)
        for i, (customer, product, day, quantity, price) in enumerate(drawn)
    ]
)
many_returns = st.lists(
    st.tuples(
        *(st.sampled_from(CUSTOMERS), st.sampled_from(PRODUCTS), st.integers(0, 8), st.integers(0, 5)),
        st.sampled_from(PRICES),
    ),
    max_size=12,
).map(
    lambda drawn: [
        back(f"r{i}", customer=customer, product=product, day=day, quantity=quantity, price=price)
        for i, (customer, product, day, quantity, price) in enumerate(drawn)
    ]
)
of_any_history = given(returns=many_returns, purchases=many_purchases)
quickly = settings(max_examples=150, deadline=None)


@of_any_history
@quickly
def test_a_match_is_never_later_nor_another_customers_nor_of_another_product(
    returns: list[Return], purchases: list[Purchase]
) -> None:
    matched = match_returns(returns, purchases)
    for each in returns:
        if each.refund_id in matched:
            line = matched[each.refund_id]
            assert line in purchases
            assert line.bought_at <= each.refunded_at
            assert (line.customer_id, line.product_id) == (each.customer_id, each.product_id)


@of_any_history
@quickly
def test_nothing_is_given_back_more_often_than_it_was_bought(returns: list[Return], purchases: list[Purchase]) -> None:
    """A single return may be of more than any one purchase held; then nothing was left of that purchase after it."""
    matched = match_returns(returns, purchases)
    left = {line.order_id: line.quantity for line in purchases}
    for each in sorted(returns, key=lambda r: (r.refunded_at, r.refund_id)):
        if each.refund_id not in matched:
            continue
        line = matched[each.refund_id]
        assert left[line.order_id] > 0
        mine = [
            other
            for other in purchases
            if (other.customer_id, other.product_id) == (each.customer_id, each.product_id)
            and other.bought_at <= each.refunded_at
        ]
        if left[line.order_id] < each.quantity:
            assert all(left[other.order_id] < each.quantity for other in mine)
        left[line.order_id] = max(left[line.order_id] - each.quantity, Decimal(0))


@of_any_history
@quickly
def test_a_return_stays_unmatched_only_where_nothing_earlier_is_left(
    returns: list[Return], purchases: list[Purchase]
) -> None:
    matched = match_returns(returns, purchases)
    used: defaultdict[str, Decimal] = defaultdict(Decimal)
    for each in sorted(returns, key=lambda r: (r.refunded_at, r.refund_id)):
        if each.refund_id in matched:
            used[matched[each.refund_id].order_id] += each.quantity
            continue
        for line in purchases:
            if (line.customer_id, line.product_id) == (each.customer_id, each.product_id):
                assert line.bought_at > each.refunded_at or used[line.order_id] >= line.quantity


@given(returns=many_returns, purchases=many_purchases, seed=st.integers(0, 2**16))
@quickly
def test_the_order_of_the_inputs_changes_nothing(returns: list[Return], purchases: list[Purchase], seed: int) -> None:
    expected = match_returns(returns, purchases)
    shuffler = random.Random(seed)
    assert match_returns(shuffler.sample(returns, len(returns)), shuffler.sample(purchases, len(purchases))) == expected


@of_any_history
@quickly
def test_returns_of_one_customer_and_product_change_nothing_for_others(
    returns: list[Return], purchases: list[Purchase]
) -> None:
    all_together = match_returns(returns, purchases)
    apart: dict[str, Purchase] = {}
    for customer in CUSTOMERS:
        for product in PRODUCTS:
            mine = [r for r in returns if (r.customer_id, r.product_id) == (customer, product)]
            apart |= match_returns(mine, purchases)
    assert apart == all_together


@of_any_history
@quickly
def test_what_comes_later_changes_no_match_of_what_came_before(
    returns: list[Return], purchases: list[Purchase]
) -> None:
    """So segments as of a day in the past use nothing after it."""
    cut = DAY_ONE + timedelta(days=4)
    then = match_returns(
        [r for r in returns if r.refunded_at < cut], [line for line in purchases if line.bought_at < cut]
    )
    now = match_returns(returns, purchases)
    early = {r.refund_id for r in returns if r.refunded_at < cut}
    assert {refund: line for refund, line in now.items() if refund in early} == then
