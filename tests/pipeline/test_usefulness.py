"""What segments tell of the days to come: nothing of those days is in them, and on real shops they hold their own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.config import Settings
from app.core.errors import InvalidInput, StoreNotFound
from app.domain.records import Customer, Record
from app.pipeline import usefulness as measurement
from app.pipeline.features import shop_day
from app.pipeline.ingest import ingest
from app.pipeline.sample import SampleShop
from app.pipeline.usefulness import outcome_of, usefulness
from app.segmentation.clustering import KRange
from app.segmentation.discovery import DiscoveryOptions
from app.segmentation.usefulness import Codes
from app.sources.base import Source
from app.sources.csv_file import CsvSource
from app.warehouse.behaviour import read_behaviour
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.conftest import own_database
from tests.fakes import NOW, SECRET, a_shop, at, bought, gave_back, put

#: Half of a_shop's orders lie before it.
CUT = date(2024, 2, 10)
QUICK = DiscoveryOptions(k_range=KRange(2, 3))


async def measured(database: Database, store_id: str, *cuts: date) -> dict[str, Any]:
    return await usefulness(database, store_id, cuts, now=NOW, options=QUICK)


def the_last_order(when: str = "2024-06-20 12:00") -> list[Record]:
    """Of somebody new: until then the records reach."""
    return bought("zz", "last", when, ("P1", "1", "5"))


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Codes]]:
    """Fills with the groups and columns of each cut that is measured."""
    seen: list[dict[str, Codes]] = []
    rows_of = measurement.rows_of

    def watched(*arguments: Any) -> Any:
        rows = rows_of(*arguments)
        seen.append({row.name: row.tell.args[0] for row in rows})  # type: ignore[attr-defined]  all are partial
        return rows

    monkeypatch.setattr(measurement, "rows_of", watched)
    return seen


async def test_what_comes_after_a_cut_changes_what_is_told_and_not_the_groups(
    database: Database, store_id: str, groups: list[dict[str, Codes]]
) -> None:
    await put(database, store_id, [*a_shop(140), *the_last_order()])
    before = await measured(database, store_id, CUT)
    later = [
        record for i in range(0, 140, 2) for record in bought(f"c{i:03}", f"l{i}", "2024-04-20", ("P3", "9", "70"))
    ]
    given_back = gave_back("c001", "r1", "2024-03-15", "P1", "1", "2")
    await put(database, store_id, [*later, *given_back, *bought("new", "n1", "2024-03-03", ("P1", "1", "5"))])
    after = await measured(database, store_id, CUT)

    first, second = groups
    assert first.keys() == second.keys()
    for name in first:
        assert np.array_equal(first[name], second[name]), name
    assert before["cuts"][0]["n_customers"] == after["cuts"][0]["n_customers"] > 100
    assert before["cuts"][0]["bought_share"] < after["cuts"][0]["bought_share"]
    assert before["mean"] != after["mean"]


async def test_measuring_again_gives_the_same(database: Database, store_id: str) -> None:
    await put(database, store_id, [*a_shop(130), *the_last_order()])
    assert await measured(database, store_id, CUT) == await measured(database, store_id, CUT)


async def test_what_customers_did_is_counted_by_the_shops_clock(database: Database, store_id: str) -> None:
    """90 days from 2024-03-01 in London, which end at midnight of summer time, 23:00 UTC."""
    records = [
        *[record for who in "abcde" for record in bought(who, f"{who}0", "2024-01-01", ("P1", "1", "10"))],
        *bought("a", "a1", "2024-03-01 00:00", ("P1", "1", "7")),  # its first moment
        *gave_back("a", "ar", "2024-03-05", "P1", "1", "3", order_id="a0"),
        *bought("b", "b1", "2024-02-29 23:59", ("P1", "1", "7")),  # a moment too early
        *bought("c", "c1", "2024-05-29 22:59", ("P1", "2", "4")),  # its last minute
        *bought("d", "d1", "2024-05-29 23:00", ("P1", "1", "7")),  # a moment too late
        *gave_back("e", "er", "2024-03-05", "P1", "1", "10", order_id="e0"),  # nothing but given back
    ]
    await put(database, store_id, records)
    async with database.snapshot() as connection:
        everything = await read_behaviour(connection, store_id, as_of=NOW, timezone="Europe/London")
    first_day = shop_day(at("2024-03-01"), "Europe/London")
    found = outcome_of(everything, ["a", "b", "c", "d", "e"], first_day=first_day)
    assert found.bought.tolist() == [1, 0, 1, 0, 0]
    assert found.spent.tolist() == [4, 0, 8, 0, 0]
    assert outcome_of(everything, ["c", "e"], first_day=first_day).spent.tolist() == [8, 0]


async def test_by_default_the_last_cut_leaves_90_days_of_records(database: Database, store_id: str) -> None:
    await put(database, store_id, [*a_shop(120, first_day="2023-06-05 10:00"), *the_last_order()])
    found = await usefulness(database, store_id, 2, now=NOW, options=QUICK)
    assert [cut["cut"] for cut in found["cuts"]] == ["2023-12-24", "2024-03-23"]  # 2024-06-21 less 180 and 90 days


async def test_a_cut_after_which_nobody_buys_has_nothing_to_tell(database: Database, store_id: str) -> None:
    await put(database, store_id, [*a_shop(120), *the_last_order("2024-12-20 12:00")])
    found = await measured(database, store_id, CUT, date(2024, 9, 1))
    told, silent = found["cuts"]
    assert (silent["bought_share"], silent["note"]) == (0.0, "nobody bought")
    assert {row["auc"] for row in silent["rows"]} == {row["r2"] for row in silent["rows"]} == {None}
    assert [row["auc"] for row in found["mean"]] == [row["auc"] for row in told["rows"]]


async def test_a_cut_after_which_everybody_buys_has_no_auc(database: Database, store_id: str) -> None:
    again = [
        record for i in range(120) for record in bought(f"c{i:03}", f"l{i}", "2024-07-20", ("P3", str(1 + i), "7"))
    ]
    await put(database, store_id, [*a_shop(120), *again, *the_last_order("2024-12-20 12:00")])
    (cut,) = (await measured(database, store_id, date(2024, 6, 1)))["cuts"]
    assert (cut["bought_share"], cut["note"]) == (1.0, "everybody bought")
    assert {row["auc"] for row in cut["rows"]} == {None}
    assert None not in {row["r2"] for row in cut["rows"]}


async def test_cuts_that_cannot_be_measured_are_refused(database: Database, store_id: str) -> None:
    with pytest.raises(StoreNotFound):
        await measured(database, store_id, CUT)
    await put(database, store_id, [Customer("nobody")])
    with pytest.raises(InvalidInput, match="0 customers"):
        await usefulness(database, store_id, 1, now=NOW, options=QUICK)
    await put(database, store_id, [*a_shop(120), *the_last_order()])
    with pytest.raises(
        InvalidInput, match=r"2024-03-24 there are not 90 days .* end with 2024-06-20\. Take 2024-03-23"
    ):
        await measured(database, store_id, CUT, date(2024, 3, 24))
    with pytest.raises(InvalidInput, match="before the cut 2024-01-06; 100 are needed"):
        await measured(database, store_id, date(2024, 1, 6), CUT)


# On shops as they are


@asynccontextmanager
async def shop(embedded_url: str, settings: Settings, source: Source) -> AsyncIterator[Database]:
    async with own_database(embedded_url) as url:
        database = Database(url, settings)
        await migrate(database)
        await ingest(database, source, store_id="shop", timezone="UTC", currency="USD", pseudonym_secret=SECRET)
        yield database
        await database.close()


@pytest.fixture(scope="module")
async def online_retail(embedded_url: str, settings: Settings, real_data_dir: Path) -> Mapping[str, Any]:
    source = CsvSource([real_data_dir / "online_retail" / "online_retail.csv.gz"], preset="online-retail")
    async with shop(embedded_url, settings, source) as database:
        cuts = [date(2011, 3, 1), date(2011, 6, 1), date(2011, 9, 1)]
        return await usefulness(database, "shop", cuts, now=NOW, options=DiscoveryOptions())


@pytest.fixture(scope="module")
async def sample_shop(embedded_url: str, settings: Settings) -> Mapping[str, Any]:
    source = SampleShop(customers=settings.demo_customers)
    async with shop(embedded_url, settings, source) as database:
        return await usefulness(database, "shop", 3, now=NOW, options=DiscoveryOptions())


@pytest.mark.parametrize("name", ["online_retail", "sample_shop"])
def test_archetypes_tell_as_much_as_rfm_quintiles(name: str, request: pytest.FixtureRequest) -> None:
    row = by_name(request.getfixturevalue(name))["archetypes_l1"]
    assert row["auc_against"]["difference"] > -0.01
    assert row["r2_against"]["difference"] > -0.01


def test_memberships_tell_more_than_rfm_quintiles(online_retail: Mapping[str, Any]) -> None:
    row = by_name(online_retail)["memberships"]
    assert row["auc_against"]["difference"] >= 0.015
    assert row["auc_against"]["low"] > 0
    assert row["r2_against"]["difference"] >= 0.03
    assert row["r2_against"]["low"] > 0


def by_name(found: Mapping[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in found["mean"]}
