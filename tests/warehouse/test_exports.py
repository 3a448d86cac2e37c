"""The file of segments: one row per customer, axis and segment."""

import csv
import io
from collections import defaultdict

import polars as pl
import pytest

from app.core.errors import NothingPublished, StoreNotFound
from app.warehouse.engine import Database
from app.warehouse.exports import export_segments, safe_in_a_sheet
from tests.fakes import a_shop, at, bought, put, rows, segmented

FORMULAS = ["=HYPERLINK(1)", "+cmd|x", "@SUM(1)", "-2+3", "\tTAB", "\rCR"]
ODD = ["a,b", 'say "no"', "two\nlines", " spaced ", "日本", "00123", "NULL"]


@pytest.fixture(scope="module")
async def exported(database: Database) -> tuple[str, int, str]:
    store_id = "exports-shop"
    odd = [record for i, name in enumerate(ODD) for record in bought(name, f"odd-{i}", "2024-03-01", ("tea", "1", "2"))]
    hostile = [
        record for i, name in enumerate(FORMULAS) for record in bought(name, f"f-{i}", "2024-03-01", ("tea", "1", "2"))
    ]
    await put(database, store_id, [*a_shop(40), *odd, *hostile])
    await segmented(database, store_id, min_population=10)
    return (store_id, *await export(database, store_id))


async def export(database: Database, store_id: str) -> tuple[int, str]:
    out = io.BytesIO()
    async with database.snapshot() as connection:
        n = await export_segments(connection, store_id, out)
    return n, out.getvalue().decode()


async def test_it_has_the_promised_header(exported: tuple[str, int, str]) -> None:
    header = exported[2].splitlines()[0]
    assert header == "customer_id,axis,segment_id,segment_name,membership,dominant"


async def test_it_has_a_row_for_every_customer_axis_and_segment(
    database: Database, exported: tuple[str, int, str]
) -> None:
    store_id, n, text = exported
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    segments = await rows(
        database, "SELECT axis_name, segment_id, segment_name FROM dim_segment_master WHERE store_id = :s", s=store_id
    )
    customers = await rows(database, "SELECT customer_id FROM fact_customer_current WHERE store_id = :s", s=store_id)
    assert len(table) == n == len(customers) * len(segments)
    shown = ["'" + customer if customer in FORMULAS else customer for (customer,) in customers]
    expected = {(customer, *segment) for customer in shown for segment in segments}
    assert {(row["customer_id"], row["axis"], row["segment_id"], row["segment_name"]) for row in table} == expected
    assert set(ODD) <= {row["customer_id"] for row in table}


async def test_no_id_is_taken_for_a_formula_by_a_spreadsheet(exported: tuple[str, int, str]) -> None:
    ids = {row["customer_id"] for row in csv.DictReader(io.StringIO(exported[2], newline=""))}
    assert {f"'{name}" for name in FORMULAS} <= ids
    assert not [name for name in ids if name[0] in "=+-@\t\r"]
    table = pl.DataFrame({"customer_id": [*FORMULAS, *ODD], "amount": -1.5})
    safe = safe_in_a_sheet(table)
    assert safe["customer_id"].to_list() == [*(f"'{name}" for name in FORMULAS), *ODD]
    assert safe["amount"].to_list() == table["amount"].to_list()  # a number below nought is one


async def test_memberships_sum_to_1_and_one_segment_of_every_axis_is_dominant(
    exported: tuple[str, int, str],
) -> None:
    by_axis = defaultdict(list)
    for row in csv.DictReader(io.StringIO(exported[2], newline="")):
        by_axis[row["customer_id"], row["axis"]].append((float(row["membership"]), row["dominant"]))
    for found in by_axis.values():
        assert sum(share for share, _ in found) == pytest.approx(1, abs=1e-9)
        assert all(0 <= share <= 1 for share, _ in found)
        assert [word for _, word in sorted(found)] == ["false"] * (len(found) - 1) + ["true"]
    assert {len(found) for found in by_axis.values()} > {1}  # axes of several segments are among them


async def test_it_says_what_is_served(database: Database, exported: tuple[str, int, str]) -> None:
    store_id, _, text = exported
    stored = dict(
        await rows(
            database, "SELECT customer_id, segment_memberships FROM customer_profiles WHERE store_id = :s", s=store_id
        )
    )
    for row in csv.DictReader(io.StringIO(text, newline="")):
        share = stored[row["customer_id"].removeprefix("'")][row["axis"]][row["segment_name"]]
        assert float(row["membership"]) == pytest.approx(share, abs=1e-12)


async def test_exporting_again_gives_the_same_file(database: Database, exported: tuple[str, int, str]) -> None:
    assert await export(database, exported[0]) == exported[1:]


async def test_it_exports_the_served_run_alone(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    await segmented(database, store_id, min_population=10, as_of=at("2024-01-20"), axes=("purchase_value",))
    _, text = await export(database, store_id)
    table = list(csv.DictReader(io.StringIO(text)))
    assert {row["axis"] for row in table} == {"purchase_value"}
    customers = await rows(database, "SELECT customer_id FROM fact_customer_current WHERE store_id = :s", s=store_id)
    assert len({row["customer_id"] for row in table}) == len(customers) < 30


async def test_a_store_without_a_published_run_says_what_to_do(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(3))
    with pytest.raises(NothingPublished, match=f"segment --store {store_id}"):
        await export(database, store_id)


async def test_an_unknown_store_says_so(database: Database, store_id: str) -> None:
    with pytest.raises(StoreNotFound):
        await export(database, store_id)
