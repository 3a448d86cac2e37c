"""A profile is kept until something about it changes, and never beyond."""

import pytest

from app.core.keys import View
from app.hearing import Hearing
from app.profile_cache import ProfileCache
from app.warehouse.announcements import Change
from app.warehouse.engine import Database

NAME = ("s", View.identified, "c1")


@pytest.fixture
def hearing(database: Database) -> Hearing:
    """As one that hears."""
    hearing = Hearing(database)
    hearing.now = True
    return hearing


def keep(cache: ProfileCache, name: tuple[str, View, str] = NAME, *, customer_id: str = "c1") -> None:
    generation = cache.generation
    cache.keep(name, b"{}", b'W/"1"', customer_id=customer_id, pseudonym="C-00000001", generation=generation)


def test_what_is_kept_is_found_under_its_store_view_and_name_alone(hearing: Hearing) -> None:
    cache = ProfileCache(hearing)
    keep(cache)
    kept = cache.get(NAME)
    assert kept is not None
    assert (kept.body, kept.etag, kept.pseudonym) == (b"{}", b'W/"1"', "C-00000001")
    for other in (("t", *NAME[1:]), ("s", View.pseudonymous, "c1"), ("s", View.identified, "c2")):
        assert cache.get(other) is None


def test_a_change_of_a_customer_drops_theirs_in_every_view_and_nobody_elses(hearing: Hearing) -> None:
    cache = ProfileCache(hearing)
    theirs = [NAME, ("s", View.pseudonymous, "C-00000001")]
    others = [("s", View.identified, "c2"), ("t", View.identified, "c1")]
    for name in theirs:
        keep(cache, name)
    for name, customer_id in zip(others, ("c2", "c1"), strict=True):
        keep(cache, name, customer_id=customer_id)
    hearing.tell(Change("s", ["c1"]))
    assert [cache.get(name) for name in theirs] == [None, None]
    assert all(cache.get(name) for name in others)


def test_a_change_of_a_store_drops_all_of_it_and_no_other(hearing: Hearing) -> None:
    cache = ProfileCache(hearing)
    keep(cache)
    keep(cache, ("t", View.identified, "c1"))
    hearing.tell(Change("s"))
    assert cache.get(NAME) is None
    assert cache.get(("t", View.identified, "c1")) is not None


def test_where_anything_may_have_changed_nothing_is_left(hearing: Hearing) -> None:
    cache = ProfileCache(hearing)
    keep(cache)
    hearing.tell(None)
    assert len(cache) == 0


def test_a_change_of_keys_drops_nothing(hearing: Hearing) -> None:
    cache = ProfileCache(hearing)
    keep(cache)
    hearing.tell(Change(None))
    assert cache.get(NAME) is not None


def test_what_was_read_before_a_change_is_not_kept_after_it(hearing: Hearing) -> None:
    cache = ProfileCache(hearing)
    generation = cache.generation
    hearing.tell(Change("s", ["c1"]))
    cache.keep(NAME, b"{}", b'W/"1"', customer_id="c1", pseudonym="C-00000001", generation=generation)
    assert cache.get(NAME) is None


def test_while_changes_are_not_heard_of_nothing_is_kept(hearing: Hearing) -> None:
    hearing.now = False
    cache = ProfileCache(hearing)
    keep(cache)
    assert cache.get(NAME) is None


def test_turned_off_nothing_is_kept(hearing: Hearing) -> None:
    cache = ProfileCache(hearing, enabled=False)
    keep(cache)
    assert len(cache) == 0


def test_those_used_last_stay_where_there_are_too_many(hearing: Hearing) -> None:
    cache = ProfileCache(hearing, most=3)
    names = [("s", View.identified, f"c{number}") for number in range(4)]
    for name in names[:3]:
        keep(cache, name, customer_id=name[2])
    assert cache.get(names[0]) is not None
    keep(cache, names[3], customer_id="c3")
    assert cache.get(names[1]) is None
    assert [cache.get(name) is not None for name in names] == [True, False, True, True]
    hearing.tell(Change("s", ["c0", "c1", "c2", "c3"]))
    assert len(cache) == 0


def test_it_grows_old(hearing: Hearing, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ProfileCache(hearing)
    keep(cache)
    monkeypatch.setattr("app.profile_cache.time.monotonic", lambda: 1e9)
    assert cache.get(NAME) is None
    assert len(cache) == 0
