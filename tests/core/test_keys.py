"""Keys open what they should and nothing else; pseudonyms are stable, different, and mean nothing by themselves."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.keys import (
    BootstrapKeys,
    Caller,
    Scope,
    View,
    hash_key,
    is_placeholder,
    is_pseudonym,
    key_id_of,
    new_key,
    pseudonym,
    same_key,
)

SECRET = b"secret of the tests"


def test_a_new_key_names_itself_and_no_two_are_alike() -> None:
    made = [new_key() for _ in range(200)]
    for key_id, key in made:
        assert re.fullmatch(r"ci_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}", key)
        assert key_id_of(key.encode()) == key_id
    assert len({key for _, key in made}) == len(made)


@given(st.binary(max_size=200))
def test_what_is_no_key_of_ours_has_no_id(presented: bytes) -> None:
    found = key_id_of(presented)
    assert found is None or presented.startswith(f"ci_live_{found}_".encode())


@pytest.mark.parametrize("change", ["short", "long id", "sign", "line end", "other beginning"])
def test_a_key_that_is_off_by_a_little_is_none(change: str) -> None:
    _, key = new_key()
    changed = {
        "short": key[:40],
        "long id": key.replace("ci_live_", "ci_live_x"),
        "sign": key[:-1] + "-",
        "line end": key + "\n",
        "other beginning": key.replace("live", "test"),
    }[change]
    assert key_id_of(changed.encode()) is None


def test_only_the_key_itself_has_its_hash() -> None:
    _, key = new_key()
    assert same_key(key.encode(), hash_key(key.encode()))
    assert not same_key(key.encode() + b"x", hash_key(key.encode()))
    assert key not in hash_key(key.encode())


def test_a_key_of_the_settings_opens_its_callers_store_alone() -> None:
    agent, admin = Caller("a", frozenset({Scope.support}), "k"), Caller("a", frozenset(Scope), "k")
    keys = BootstrapKeys([("one", agent), ("two", admin)])
    assert (keys.caller(b"one"), keys.caller(b"two"), keys.caller(b"three"), keys.caller(b"")) == (
        agent,
        admin,
        None,
        None,
    )


@pytest.mark.parametrize("scope", Scope)
def test_support_and_admin_see_identities_and_the_others_pseudonyms(scope: Scope) -> None:
    view = Caller("s", frozenset({scope}), "k").view
    assert view is (View.identified if scope in (Scope.support, Scope.admin) else View.pseudonymous)


def test_admin_may_do_anything_and_others_what_they_hold() -> None:
    assert Caller("s", frozenset({Scope.admin}), "k").may([Scope.privacy])
    assert Caller("s", frozenset({Scope.support}), "k").may([Scope.analytics, Scope.support])
    assert not Caller("s", frozenset({Scope.support}), "k").may([Scope.analytics])


@pytest.mark.parametrize("key", ["changeme", "CHANGE-ME", "secret", "your-secret-api-key-here", "<your-key>", "admin"])
def test_an_examples_key_is_known_for_one(key: str) -> None:
    assert is_placeholder(key)


def test_a_key_someone_thought_of_is_no_placeholder() -> None:
    assert not any(is_placeholder(key) for key in (new_key()[1], "test-key-1", "k", "quilts-and-wool"))


def test_a_pseudonym_is_stable_and_differs_by_store_customer_and_secret() -> None:
    own = pseudonym(SECRET, store_id="a", customer_id="1")
    assert own == pseudonym(SECRET, store_id="a", customer_id="1")
    assert is_pseudonym(own)
    others = {
        pseudonym(SECRET, store_id="b", customer_id="1"),
        pseudonym(SECRET, store_id="a", customer_id="2"),
        pseudonym(b"other", store_id="a", customer_id="1"),
    }
    assert own not in others
    assert len(others) == 3


def test_a_longer_pseudonym_begins_with_the_shorter() -> None:
    long = pseudonym(SECRET, store_id="a", customer_id="1", digits=16)
    assert len(long) == 18
    assert long.startswith(pseudonym(SECRET, store_id="a", customer_id="1"))


@pytest.mark.parametrize("text", ["", "C-", "C-123", "c-5A3B2F18", "C-5a3b2f18", "C-5A3B2F18\n", "C-" + "0" * 65])
def test_what_is_no_pseudonym_is_known_for_none(text: str) -> None:
    assert not is_pseudonym(text)
