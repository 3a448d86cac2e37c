"""Everyone placed anew by the rules there are, and those alone whose records have changed."""

from datetime import datetime
from typing import Any

import pytest

from app.core.errors import InvalidInput, NothingPublished
from app.pipeline.rescore import rescore, score_changed
from app.pipeline.score import score_customer
from app.warehouse.checks import check_star
from app.warehouse.engine import Database
from tests.fakes import (
    NOW,
    STAR,
    a_shop,
    assert_alike,
    assert_same_star,
    at,
    bought,
    dump,
    put,
    rows,
    segmented,
    value,
)

LEAVE_OUT = ["xmin", "run_id", "updated_at"]
CHANGED = "SELECT customer_id FROM customers_changed WHERE store_id = :s ORDER BY 1"
PROFILES = """
    SELECT customer_id, archetype_id, segment_memberships, dominant_segments, feature_vectors, interpretation
    FROM customer_profiles WHERE store_id = :s ORDER BY 1
"""


async def broken_promises(database: Database, store_id: str) -> list[str]:
    async with database.snapshot() as connection:
        return [f"{each.promise}: {each.found}" for each in await check_star(connection, store_id) if not each.holds]


async def test_of_the_same_records_a_rescoring_says_what_the_discovery_said(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(60))
    found = await segmented(database, store_id, min_population=10)
    before = await dump(database, store_id, STAR, without=LEAVE_OUT, of_run=found.run_id)
    rescored = await rescore(database, store_id, now=NOW, as_of=datetime.fromisoformat(found.report["as_of"]))
    assert rescored.report["rules_run_id"] == found.run_id != rescored.run_id
    assert set(rescored.report["drift"].values()) == {0}
    assert_same_star(await dump(database, store_id, STAR, without=LEAVE_OUT, of_run=rescored.run_id), before)
    assert await broken_promises(database, store_id) == []


async def test_a_rescoring_moves_customers_between_the_segments_there_are(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(60))
    found = await segmented(database, store_id, min_population=10, as_of=at("2024-03-01"))
    later = [bought(f"c{i:03}", f"more{i}", "2024-09-01", ("P1", "9", "90")) for i in range(0, 60, 2)]
    await put(database, store_id, [record for records in later for record in records])
    rescored = await rescore(database, store_id, now=NOW)
    segments = (
        "SELECT segment_id, axis_name, segment_name, place FROM dim_segment_master WHERE run_id = :run ORDER BY 1"
    )
    assert await rows(database, segments, run=found.run_id) == await rows(database, segments, run=rescored.run_id)
    assert max(rescored.report["drift"].values()) > 0
    assert await broken_promises(database, store_id) == []
    customers = {row[0]: row for row in await rows(database, PROFILES, s=store_id)}
    assert len(customers) == 60
    for customer in ("c000", "c001", "c059"):
        await says_the_same(database, store_id, customers[customer])


async def says_the_same(database: Database, store_id: str, profile: tuple[Any, ...]) -> None:
    """As the customer scored alone."""
    customer, archetype, memberships, dominant, features, words = profile
    alone = await score_customer(database, store_id, customer)
    assert (alone.archetype_id, alone.dominant_segments, alone.interpretation) == (archetype, dominant, words)
    assert_alike(alone.fuzzy_memberships, memberships)
    assert_alike(alone.feature_vectors, features)


async def test_who_has_changed_is_scored_and_nobody_else(database: Database, store_id: str) -> None:
    """As of the run's own moment; one of them is new. What is counted of segments and archetypes stays the run's."""
    await put(database, store_id, a_shop(60))
    await segmented(database, store_id, min_population=10)
    assert await score_changed(database, store_id) == 0
    changed = [*(f"c{number:03}" for number in range(25)), "new"]
    orders = [bought(each, f"more-{each}", "2024-02-01", ("P1", "9", "90")) for each in changed]
    await put(database, store_id, [record for records in orders for record in records])
    assert await rows(database, CHANGED, s=store_id) == [(each,) for each in changed]
    before = dict(
        await rows(
            database, "SELECT customer_id, xmin::text FROM fact_customer_current WHERE store_id = :s", s=store_id
        )
    )

    assert await score_changed(database, store_id) == len(changed)
    after = dict(
        await rows(
            database, "SELECT customer_id, xmin::text FROM fact_customer_current WHERE store_id = :s", s=store_id
        )
    )
    assert {each for each in after if after[each] != before.get(each)} == set(changed)
    assert await rows(database, CHANGED, s=store_id) == []
    for profile in await rows(database, PROFILES, s=store_id):
        await says_the_same(database, store_id, profile)
    assert await broken_promises(database, store_id) == []
    assert await score_changed(database, store_id) == 0


async def test_a_run_that_has_seen_the_changes_leaves_nobody_to_score(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=10)
    await put(database, store_id, bought("c001", "more", "2024-02-01", ("P1", "9", "90")))
    assert await rows(database, CHANGED, s=store_id) == [("c001",)]
    await rescore(database, store_id, now=NOW)
    assert await rows(database, CHANGED, s=store_id) == []


async def test_an_archetype_that_nobody_is_in_any_more_stays(database: Database, store_id: str) -> None:
    """As of its first days a shop has few of the customers that its kinds were found from."""
    await put(database, store_id, a_shop(60))
    found = await segmented(database, store_id, min_population=10, min_members=1)
    rescored = await rescore(database, store_id, now=NOW, as_of=at("2024-01-10"))
    assert rescored.report["n_customers"] < found.report["n_customers"]
    kinds = "SELECT count(*), count(*) FILTER (WHERE member_count = 0) FROM dim_archetype_l1 WHERE run_id = :run"
    ((n_before, _),), ((n_now, empty),) = [
        await rows(database, kinds, run=each) for each in (found.run_id, rescored.run_id)
    ]
    assert n_now == n_before and empty > 0
    assert await broken_promises(database, store_id) == []


async def test_a_shop_that_serves_nothing_and_days_without_orders_are_refused(
    database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(40))
    assert await score_changed(database, store_id) == 0
    with pytest.raises(NothingPublished):
        await rescore(database, store_id, now=NOW)
    run = await segmented(database, store_id, min_population=10)
    with pytest.raises(InvalidInput, match="no order before 2020-01-01"):
        await rescore(database, store_id, now=NOW, as_of=at("2020-01-01"))
    with pytest.raises(InvalidInput, match="in the future"):
        await rescore(database, store_id, now=NOW, as_of=at("2030-01-01"))
    assert await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id) == run.run_id
