"""Pseudonyms in the database: everyone has one, no two are alike, and they stay."""

import pytest

from app.core.keys import pseudonym
from app.domain.records import Customer
from app.warehouse import pseudonyms
from app.warehouse.engine import Database
from app.warehouse.pseudonyms import name_everyone
from tests.fakes import SECRET, execute, put, rows

NAMED = "SELECT customer_id, pseudonym FROM customer_pseudonyms WHERE store_id = :s ORDER BY customer_id"


async def named(database: Database, store_id: str) -> dict[str, str]:
    return {str(customer): str(name) for customer, name in await rows(database, NAMED, s=store_id)}


async def test_an_import_names_its_customers(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("ada"), Customer('b,"quoted"\nline')])
    assert await named(database, store_id) == {
        each: pseudonym(SECRET, store_id=store_id, customer_id=each) for each in ("ada", 'b,"quoted"\nline')
    }


async def test_a_rehearsed_import_names_nobody(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("ada")], dry_run=True)
    assert await named(database, store_id) == {}


async def test_a_pseudonym_stays_whatever_the_secret_becomes(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("ada")])
    before = await named(database, store_id)
    await put(database, store_id, [Customer("ada"), Customer("bob")], pseudonym_secret=b"another")
    after = await named(database, store_id)
    assert after["ada"] == before["ada"]
    async with database.transaction() as connection:
        assert await name_everyone(connection, store_id, b"another") == 0
    assert after["bob"] == pseudonym(b"another", store_id=store_id, customer_id="bob")


async def test_customers_of_an_older_version_are_named_later(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer(f"c{number}") for number in range(50)])
    before = await named(database, store_id)
    await execute(database, "DELETE FROM customer_pseudonyms WHERE store_id = :s", s=store_id)
    async with database.transaction() as connection:
        assert await name_everyone(connection, store_id, SECRET) == 50
    assert await named(database, store_id) == before


async def test_of_those_whose_digits_clash_one_is_given_more(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two digits of eight left to chance, 600 customers clash for sure; four more tell them apart."""

    def clashing(secret: bytes, *, store_id: str, customer_id: str, digits: int) -> str:
        own = pseudonym(secret, store_id=store_id, customer_id=customer_id, digits=64)[2:]
        return "C-" + ("000000" + own)[:digits]

    monkeypatch.setattr(pseudonyms, "pseudonym", clashing)
    await put(database, store_id, [Customer(f"c{number}") for number in range(600)])
    found = await named(database, store_id)
    lengths = {len(name) - 2 for name in found.values()}
    assert len(found) == len(set(found.values())) == 600
    assert {8, 12} <= lengths
    assert sum(len(name) == 10 for name in found.values()) > 200


async def test_a_customer_who_goes_takes_the_pseudonym_along(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("ada")])
    await execute(database, "DELETE FROM customers WHERE store_id = :s", s=store_id)
    assert await named(database, store_id) == {}
