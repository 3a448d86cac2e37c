"""A run's dimensions, read whole, so that they can be published again."""

import polars as pl
import pytest

from app.warehouse.copying import copy_in
from app.warehouse.dimensions import read_dimensions
from app.warehouse.engine import Database
from app.warehouse.profiles import read_archetypes, read_segments
from tests.fakes import STAR, a_shop, at, execute, put, rows, segmented

STORE = "dimensions-shop"
ODD = 'say "no", or\ntwo lines; {braces} \\N ünï 日本'


@pytest.fixture(scope="module")
async def runs_of_it(database: Database) -> list[int]:
    """Two runs of one store; in the older, odd words and nothing where nothing is known."""
    await put(database, STORE, a_shop(60))
    options = {"axes": ("purchase_value", "category_exploration"), "min_population": 30, "max_k": 4, "min_members": 2}
    ids = [(await segmented(database, STORE, as_of=at(day), **options)).run_id for day in ("2024-03-01", "2024-05-01")]
    for table, odd in (
        ("dim_segment_master", "interpretation = :w, named_for = NULL"),
        ("dim_archetype_l1", "description = :w, segment_ids = ARRAY['a b', 'c', :w]"),
        ("dim_archetype_l2", "description = '', name = :w || name"),
    ):
        statement = f"UPDATE {table} SET {odd} WHERE store_id = :s AND run_id = :r"  # noqa: S608
        await execute(database, statement, w=ODD, s=STORE, r=ids[0])
    return [run_id for run_id in ids if run_id is not None]


async def of_run(database: Database, run_id: int) -> dict[str, pl.DataFrame]:
    async with database.snapshot() as connection:
        return await read_dimensions(connection, STORE, run_id)


async def test_each_run_has_its_own_however_many_came_after(database: Database, runs_of_it: list[int]) -> None:
    for run_id in runs_of_it:
        found = await of_run(database, run_id)
        assert tuple(found) == STAR[:4]
        for table, frame in found.items():
            query = f"SELECT count(*) FROM {table} WHERE store_id = :s AND run_id = :r"  # noqa: S608
            assert [(frame.height,)] == await rows(database, query, s=STORE, r=run_id)
            assert not {"store_id", "run_id"} & set(frame.columns)
            assert set(frame.dtypes) == {pl.String}
    assert (await of_run(database, runs_of_it[0]))["dim_segment_master"]["interpretation"].unique().to_list() == [ODD]


async def test_they_are_in_the_order_that_rules_are_read_in(database: Database, runs_of_it: list[int]) -> None:
    found = await of_run(database, runs_of_it[1])
    async with database.snapshot() as connection:
        segments = await read_segments(connection, STORE, runs_of_it[1])
        archetypes = await read_archetypes(connection, STORE, runs_of_it[1])
    assert found["dim_segment_master"]["segment_id"].to_list() == [segment.segment_id for segment in segments]
    assert found["dim_archetype_l1"]["archetype_id"].to_list() == list(archetypes.level1)


@pytest.mark.parametrize("table", STAR[:4])
async def test_written_again_as_another_run_they_are_the_same(
    database: Database, runs_of_it: list[int], table: str
) -> None:
    """Arrays, JSON, odd words, the empty text and nothing at all."""
    older, newer = runs_of_it
    everything = (
        f"SELECT (to_jsonb(t) - 'run_id')::text FROM {table} AS t WHERE store_id = :s AND run_id = :r ORDER BY 1"  # noqa: S608
    )
    before = await rows(database, everything, s=STORE, r=older)
    found = (await of_run(database, older))[table]
    copied = found.with_columns(store_id=pl.lit(STORE), run_id=pl.lit(newer))
    driven = everything.replace(":s", "$1").replace(":r", "$2")
    async with database.transaction(keep=False) as connection:
        raw_connection = (await connection.get_raw_connection()).driver_connection
        await connection.exec_driver_sql(f"CREATE TEMPORARY TABLE copied (LIKE {table}) ON COMMIT DROP")
        await copy_in(connection, "copied", copied)
        assert raw_connection is not None
        again = await raw_connection.fetch(driven.replace(f"FROM {table}", "FROM copied"), STORE, newer)
    assert [tuple(row) for row in again] == before
    assert before


async def test_of_a_run_that_there_is_none_of_there_are_none(database: Database, runs_of_it: list[int]) -> None:
    found = await of_run(database, max(runs_of_it) + 1_000)
    assert {frame.height for frame in found.values()} == {0}
    assert all("archetype_id" in frame.columns for table, frame in found.items() if table != "dim_segment_master")
