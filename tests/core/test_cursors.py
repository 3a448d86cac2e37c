"""Cursors: what we gave out comes back as it was, and nothing else does."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.cursors import seal, unseal
from app.core.errors import InvalidParameter

SECRET = b"secret of the tests"


@given(st.lists(st.one_of(st.integers(), st.text(), st.none())))
def test_a_position_comes_back_as_it_was(position: list[object]) -> None:
    cursor = seal(SECRET, "list", position)
    assert unseal(SECRET, "list", cursor) == position
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?#% ")


@pytest.mark.parametrize(("secret", "purpose"), [(b"other", "list"), (SECRET, "other list")])
def test_a_cursor_of_another_list_or_service_is_refused(secret: bytes, purpose: str) -> None:
    with pytest.raises(InvalidParameter, match="next_cursor"):
        unseal(secret, purpose, seal(SECRET, "list", [1]))


def test_a_cursor_with_any_byte_changed_is_refused() -> None:
    cursor = seal(SECRET, "list", [1, "a"])
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for place in range(len(raw)):
        changed = bytes(raw[:place]) + bytes([raw[place] ^ 1]) + bytes(raw[place + 1 :])
        with pytest.raises(InvalidParameter):
            unseal(SECRET, "list", base64.urlsafe_b64encode(changed).decode().rstrip("="))


@given(st.text())
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        unseal(SECRET, "list", text)
