"""A key may ask so often and no oftener; who has none is soon not listened to, and nobody else is the worse for it."""

import pytest

from app.core.errors import TooManyFailures, TooManyRequests
from app.core.keys import Caller, Scope
from app.limits import Limits
from tests.conftest import StoppedClock


@pytest.fixture(autouse=True)
def by_a_stopped_clock(stopped_clock: StoppedClock) -> None:
    """All that is counted here is counted within one minute."""


def caller(key_id: str, *scopes: Scope) -> Caller:
    return Caller("s", frozenset(scopes or (Scope.support,)), key_id)


def test_a_key_is_told_when_it_has_asked_too_often_and_other_keys_are_not() -> None:
    limits = Limits(5, failures=5)
    for _ in range(5):
        limits.admit(caller("one"))
    with pytest.raises(TooManyRequests) as refused:
        limits.admit(caller("one"))
    assert 1 <= refused.value.retry_after_seconds <= 60
    assert "has asked 5 times" in str(refused.value)
    limits.admit(caller("other"))
    limits.admit(Caller("t", frozenset({Scope.support}), "one"))


def test_an_address_without_a_key_is_told_and_other_addresses_are_not() -> None:
    limits = Limits(5, failures=3)
    for _ in range(3):
        limits.failed("203.0.113.7")
    with pytest.raises(TooManyFailures) as refused:
        limits.failed("203.0.113.7")
    assert 1 <= refused.value.retry_after_seconds <= 60
    limits.failed("203.0.113.8")
    limits.admit(caller("a good key from the same address"))


def test_customers_are_drawn_only_so_often_where_they_are_not_to_be_listed() -> None:
    limits = Limits(0, failures=0)
    for _ in range(60):
        limits.draw(caller("k", Scope.analytics))
    with pytest.raises(TooManyRequests, match="has drawn a customer 60 times"):
        limits.draw(caller("k", Scope.analytics))
    for _ in range(100):
        limits.draw(caller("k", Scope.support))


def test_all_that_is_held_of_somebody_is_shown_only_so_often_to_a_key_whatever_it_may() -> None:
    limits = Limits(0, failures=0)
    for _ in range(30):
        limits.export(caller("k", Scope.admin))
    with pytest.raises(TooManyRequests, match="has exported a person 30 times"):
        limits.export(caller("k", Scope.admin))
    limits.export(caller("other", Scope.privacy))
    limits.admit(caller("k", Scope.admin))


def test_no_limit_is_no_limit() -> None:
    limits = Limits(0, failures=0)
    for _ in range(500):
        limits.admit(caller("k"))
        limits.failed("203.0.113.7")
