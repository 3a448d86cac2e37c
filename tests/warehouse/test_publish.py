"""Writing a run's rows: in one transaction, text as it is, many rows or one."""

import asyncio
import json
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import text

from app.pipeline.lineage import SCHEMA, SEGMENT_SCHEMA
from app.warehouse import copying, publish, runs
from app.warehouse.engine import Database
from tests.fakes import STAR, a_shop, at, dump, execute, foretell, foretold, put, rows, segmented, value
from tests.waiting import until_so_many_wait

ODD = 'say "no", or\ntwo lines; {braces} \\N ünï 日本'


def a_star(customers: list[str], *, day: date = date(2024, 5, 1), words: str = "plain") -> dict[str, pl.DataFrame]:
    """The smallest star there is: one axis, one segment, one archetype, these customers."""
    n = len(customers)
    archetype = {
        "archetype_id": ["arch_1"],
        "name": [words],
        "slug": ["kind"],
        "description": [words],
        "member_count": [n],
        "population_percentage": [100.0],
        "avg_ltv": [5.0],
        "total_ltv": [5.0 * n],
        "avg_orders": [1.0],
        "avg_order_value": [5.0],
        "avg_recency_days": [3.0],
    }
    standing = {
        "archetype_id": ["arch_1"] * n,
        "archetype_level2_id": ["arch_1"] * n,
        "archetype_level3_id": ["arch_1"] * n,
        "lifetime_value": [5.0] * n,
        "total_orders": [1] * n,
        "days_since_last_purchase": [3] * n,
        "customer_tenure_days": [3] * n,
        "snapshot_date": [day] * n,
    }
    return {
        "dim_segment_master": pl.DataFrame(
            {
                "segment_id": ["seg_1"],
                "axis_name": ["purchase_value"],
                "position": [0],
                "segment_name": [words],
                "interpretation": [words],
                "cluster_center": ["[0.5]"],
                "scaler_params": ['{"features": ["lifetime_value"]}'],
                "population_percentage": [100.0],
                "customer_count": [n],
                "place": [1],
                "first_feature": [1],
            }
        ),
        "dim_archetype_l1": pl.DataFrame(
            {**archetype, "dominant_segments": ["{}"], "segment_ids": ["{seg_1}"], "folded_count": [0]}
        ),
        "dim_archetype_l2": pl.DataFrame({**archetype, "parent_id": ["arch_1"], "strength_band": ["core"]}),
        "dim_archetype_l3": pl.DataFrame({**archetype, "parent_id": ["arch_1"], "second_segments": ["{}"]}),
        "fact_customer_current": pl.DataFrame(
            {
                "customer_id": customers,
                **standing,
                "avg_order_value": [5.0] * n,
                "cluster_confidence": [0.9] * n,
                "fold_distance": [0] * n,
                "rfm_group": pl.Series([None] * n, dtype=pl.String),
                "memberships": pl.Series([[1.0]] * n, dtype=pl.Array(pl.Float64, 1)),
                "dominant": pl.Series([[1]] * n, dtype=pl.Array(pl.Int16, 1)),
                "features": pl.Series([[5.0]] * n, dtype=pl.Array(pl.Float64, 1)),
                "profile": [words] * n,
            }
        ),
        "fact_customer_history": pl.DataFrame({"customer_id": customers, **standing, "segment_ids": [["seg_1"]] * n}),
        "segment_lineage": pl.DataFrame(schema=SEGMENT_SCHEMA),
        "archetype_lineage": pl.DataFrame(schema=SCHEMA),
    }


def row_of(customer: str, *, worth: float = 5.0, words: str = "plain") -> dict[str, Any]:
    """One customer's row, as scoring hands it over."""
    (row,) = a_star([customer], words=words)["fact_customer_current"].to_dicts()
    return {**row, "lifetime_value": worth, "features": [worth]}


async def published(database: Database, store_id: str, star: dict[str, pl.DataFrame], *, keep: bool = True) -> int:
    async with database.transaction() as connection:
        run_id = await runs.start_run(connection, store_id, {})
    async with database.transaction(keep=keep) as connection:
        await publish.publish(connection, store_id, run_id, star)
        await runs.finish_run(connection, run_id, as_of=at("2024-05-02"), report={}, yardstick={})
    return run_id


async def test_a_star_is_served_as_written(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(3))
    run_id = await published(database, store_id, a_star(["c000", "c001", "c002"]))
    assert await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id) == run_id
    query = "SELECT customer_id, archetype_name, archetype_level, ltv::float8, churn_risk, cluster_confidence "
    found = await rows(database, query + "FROM customer_intelligence WHERE store_id = :s ORDER BY 1", s=store_id)
    assert found == [(f"c00{i}", "plain", 1, 5.0, None, 0.9) for i in range(3)]


async def test_words_are_served_as_written(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    await published(database, store_id, a_star(["c000"], words=ODD))
    for table, column in (
        *(("dim_segment_master", "segment_name"), ("dim_archetype_l1", "name"), ("dim_archetype_l2", "description")),
        *(("customer_profiles", "interpretation"), ("fact_customer_standing", "profile")),
    ):
        query = f"SELECT {column} FROM {table} WHERE store_id = :s"  # noqa: S608
        assert await value(database, query, s=store_id) == ODD


async def test_profiles_put_back_the_names_of_the_numbers_that_were_written(database: Database, store_id: str) -> None:
    """Two axes; the second is read from orders for one customer and from tickets for the other."""
    await put(database, store_id, a_shop(2))
    star = a_star(["c000", "c001"])
    segments = [
        ("seg_1", "purchase_value", 0, "low", "orders", ["worth"], 1, 1),
        ("seg_2", "purchase_value", 1, ODD, "orders", ["worth"], 2, 1),
        ("seg_3", "support_history", 0, "quiet", "orders", ["silence", "days"], 3, 2),
        ("seg_4", "support_history", 1, "asks", "tickets", ["tickets"], 4, 4),
        ("seg_5", "support_history", 2, "asks_often", "tickets", ["tickets"], 5, 4),
    ]
    columns = ["segment_id", "axis_name", "position", "segment_name", "source", "features", "place", "first_feature"]
    master = pl.DataFrame(segments, schema=columns, orient="row").select(
        pl.exclude("features"),
        scaler_params=pl.Series([json.dumps({"features": features}) for *_, features, _, _ in segments]),
        interpretation=pl.lit("plain"),
        cluster_center=pl.lit("[0.5]"),
        population_percentage=pl.lit(20.0),
        customer_count=pl.lit(1),
    )
    current = star["fact_customer_current"].with_columns(
        memberships=np.array([[0.25, 0.75, 0.123456789012, 0.876543210988, 0], [1, 0, 0, 0.5, 0.5]]),
        dominant=np.array([[2, 3], [1, 5]], dtype=np.int16),
        features=np.array([[5, -1e-12, 12, 3], [6.5, 0, 13, 4]]),
    )
    run_id = await published(
        database, store_id, {**star, "dim_segment_master": master, "fact_customer_current": current}
    )
    query = """
        SELECT customer_id, run_id, archetype_id, segment_memberships, feature_vectors, interpretation,
            dominant_segments, lifetime_value, churn_risk_score
        FROM customer_profiles WHERE store_id = :s ORDER BY 1
    """
    standing = """
        SELECT customer_id, dominant_segments, membership_strengths FROM fact_customer_current
        WHERE store_id = :s ORDER BY 1
    """
    assert await rows(database, standing, s=store_id) == [
        (
            *("c000", {"purchase_value": ODD, "support_history": "quiet"}),
            {"purchase_value": "strong", "support_history": "strong"},
        ),
        (
            *("c001", {"purchase_value": "low", "support_history": "asks_often"}),
            {"purchase_value": "strong", "support_history": "balanced"},
        ),
    ]
    of_orders = {"quiet": 0.123456789012, "asks": 0.876543210988, "asks_often": 0}
    assert await rows(database, query, s=store_id) == [
        (
            *("c000", run_id, "arch_1", {"purchase_value": {"low": 0.25, ODD: 0.75}, "support_history": of_orders}),
            {"purchase_value": {"worth": 5}, "support_history": {"silence": -1e-12, "days": 12}},
            *(f"{ODD}, quiet", {"purchase_value": ODD, "support_history": "quiet"}, 5, None),
        ),
        (
            *("c001", run_id, "arch_1"),
            {"purchase_value": {"low": 1, ODD: 0}, "support_history": {"quiet": 0, "asks": 0.5, "asks_often": 0.5}},
            {"purchase_value": {"worth": 6.5}, "support_history": {"tickets": 4}},
            *("low, asks_often", {"purchase_value": "low", "support_history": "asks_often"}, 5, None),
        ),
    ]


async def test_a_rehearsal_leaves_nothing(database: Database, store_id: str) -> None:
    """Every COPY is inside the transaction, also the first."""
    await put(database, store_id, a_shop(1))
    await published(database, store_id, a_star(["c000"]), keep=False)
    assert not any((await dump(database, store_id, STAR)).values())
    assert await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id) is None


async def test_nothing_is_visible_before_the_switch(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(2))
    await published(database, store_id, a_star(["c000"]))
    before = await dump(database, store_id, STAR)
    async with database.transaction() as connection:
        run_id = await runs.start_run(connection, store_id, {})
    async with database.transaction() as connection:
        await publish.publish(connection, store_id, run_id, a_star(["c000", "c001"]))
        assert await dump(database, store_id, STAR) == before
    assert len((await dump(database, store_id, STAR))["customer_profiles"]) == 2


async def test_more_rows_than_are_written_at_once_all_arrive(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_ROWS_AT_ONCE", 4)
    await put(database, store_id, a_shop(11))
    everyone = [f"c{i:03}" for i in range(11)]
    await published(database, store_id, a_star(everyone))
    for table in ("fact_customer_current", "customer_profiles", "fact_customer_history"):
        query = f"SELECT customer_id FROM {table} WHERE store_id = :s ORDER BY 1"  # noqa: S608
        assert [customer for (customer,) in await rows(database, query, s=store_id)] == everyone


async def test_who_was_deleted_while_the_run_was_under_way_is_left_out(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(2))
    await published(database, store_id, a_star(["c000", "gone", "c001"]))
    for table in ("fact_customer_standing", "fact_customer_history"):
        query = f"SELECT customer_id FROM {table} WHERE store_id = :s ORDER BY 1"  # noqa: S608
        assert await rows(database, query, s=store_id) == [("c000",), ("c001",)]


async def test_who_is_deleted_takes_along_what_runs_wrote_of_them(database: Database, store_id: str) -> None:
    other = f"{store_id}-other"
    for store in (store_id, other):
        await put(database, store, a_shop(2))
        await published(database, store, a_star(["c000", "c001"], day=date(2024, 5, 1)))
        await published(database, store, a_star(["c000", "c001"], day=date(2024, 5, 2)))
    for table in ("order_items", "orders", "customers"):
        of_one = "order_id IN (SELECT order_id FROM orders WHERE store_id = :s AND customer_id = 'c000')"
        of_one = of_one if table == "order_items" else "customer_id = 'c000'"
        await execute(database, f"DELETE FROM {table} WHERE store_id = :s AND {of_one}", s=store_id)  # noqa: S608
    for table, days in (("fact_customer_standing", 1), ("fact_customer_history", 2)):
        query = f"SELECT store_id, customer_id FROM {table} WHERE store_id IN (:s, :o) ORDER BY 1, 2"  # noqa: S608
        left = [(store_id, "c001")] * days + [(other, "c000")] * days + [(other, "c001")] * days
        assert await rows(database, query, s=store_id, o=other) == left


async def without_orders(database: Database, store_id: str) -> None:
    """A shop of one customer who may be deleted."""
    await put(database, store_id, a_shop(1))
    for table in ("order_items", "orders"):
        await execute(database, f"DELETE FROM {table} WHERE store_id = :s", s=store_id)  # noqa: S608


@pytest.mark.parametrize("published_before", [False, True], ids=["the first of its day", "its day anew"])
async def test_who_deletes_a_customer_waits_for_a_run_being_published(
    database: Database, store_id: str, published_before: bool
) -> None:
    await without_orders(database, store_id)
    if published_before:
        await published(database, store_id, a_star(["c000"]))
    star, begun = a_star(["c000"]), asyncio.Event()
    async with database.transaction() as connection:
        run_id = await runs.start_run(connection, store_id, {})

    async def customers() -> pl.DataFrame:
        begun.set()
        done, _ = await asyncio.wait({deleting}, timeout=1.3)  # longer than a server waits to look for a deadlock
        assert not done
        return star["fact_customer_current"]

    async def delete_meanwhile() -> None:
        await begun.wait()
        await execute(database, "DELETE FROM customers WHERE store_id = :s", s=store_id)

    deleting = asyncio.create_task(delete_meanwhile())
    rest = {name: rows for name, rows in star.items() if name != "fact_customer_current"}
    async with database.transaction() as connection:
        await publish.publish(connection, store_id, run_id, rest, customers=customers())
    await deleting
    for table in ("fact_customer_standing", "fact_customer_history"):
        assert await value(database, f"SELECT count(*) FROM {table} WHERE store_id = :s", s=store_id) == 0  # noqa: S608


async def test_who_deletes_a_customer_waits_for_a_run_that_is_switched_to(database: Database, store_id: str) -> None:
    await without_orders(database, store_id)
    async with database.transaction() as connection:
        run_id = await runs.start_run(connection, store_id, {})
    async with database.transaction() as connection:
        await publish.publish(connection, store_id, run_id, a_star(["c000"]))
        deleting = asyncio.create_task(execute(database, "DELETE FROM customers WHERE store_id = :s", s=store_id))
        done, _ = await asyncio.wait({deleting}, timeout=0.3)
        assert not done
    await deleting
    for table in ("fact_customer_standing", "fact_customer_history"):
        assert await value(database, f"SELECT count(*) FROM {table} WHERE store_id = :s", s=store_id) == 0  # noqa: S608


@pytest.mark.parametrize("first", ["the run", "the training", "a customer's going"])
async def test_whoever_writes_a_day_of_history_at_once_waits_and_none_is_given_up(
    database: Database, store_id: str, first: str
) -> None:
    """A run that publishes the day anew, a training that tells of it, and the deletion of some who are in it."""
    await put(database, store_id, a_shop(9))
    for table in ("order_items", "orders"):
        await execute(database, f"DELETE FROM {table} WHERE store_id = :s", s=store_id)  # noqa: S608
    everyone = [f"c00{number}" for number in range(9)]
    # As they lie in the table their order is another than that of their ids.
    backwards, day = everyone[::-1], date(2024, 5, 31)
    await published(database, store_id, a_star(backwards, day=day))

    async def run() -> None:
        await published(database, store_id, a_star(backwards, day=day))

    async def training() -> None:
        closing = at("2024-05-31 23:00")  # of the day, in London
        await foretell(database, store_id, [foretold(each, as_of=closing) for each in everyone], as_of=closing)

    async def going() -> None:
        some = "DELETE FROM customers WHERE store_id = :s AND customer_id IN ('c000', 'c004', 'c008')"
        await execute(database, some, s=store_id)

    at_once = {"the run": run, "the training": training, "a customer's going": going}
    queue = [at_once.pop(first), *at_once.values()]
    held = "SELECT FROM fact_customer_history WHERE store_id = :s AND customer_id = 'c004' FOR UPDATE"
    async with database.transaction() as connection:
        await connection.execute(text(held), {"s": store_id})
        working = []
        for number, each in enumerate(queue, start=1):
            working.append(asyncio.create_task(each()))
            await until_so_many_wait(database, number)
    await asyncio.gather(*working)
    left = "SELECT customer_id, churn_risk_score FROM fact_customer_history WHERE store_id = :s ORDER BY 1"
    assert await rows(database, left, s=store_id) == [(f"c00{number}", 0.6) for number in (1, 2, 3, 5, 6, 7)]


async def test_a_customer_is_not_deleted_where_a_row_of_theirs_could_go_unseen(
    database: Database, store_id: str
) -> None:
    await without_orders(database, store_id)
    with pytest.raises(Exception, match="read committed"):
        async with database.transaction() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            await connection.execute(text("DELETE FROM customers WHERE store_id = :s"), {"s": store_id})
    assert await value(database, "SELECT count(*) FROM customers WHERE store_id = :s", s=store_id) == 1


async def test_more_may_be_gone_than_a_statement_takes_parameters(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    await published(database, store_id, a_star(["c000", *(f"gone{number}" for number in range(33_000))]))
    query = "SELECT customer_id FROM fact_customer_standing WHERE store_id = :s"
    assert await rows(database, query, s=store_id) == [("c000",)]


async def test_the_history_of_other_days_stays(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(2))
    await published(database, store_id, a_star(["c000", "c001"], day=date(2024, 5, 1)))
    await published(database, store_id, a_star(["c000"], day=date(2024, 5, 2)))
    await published(database, store_id, a_star(["c001"], day=date(2024, 5, 1)))
    query = "SELECT snapshot_date::text, customer_id FROM fact_customer_history WHERE store_id = :s ORDER BY 1, 2"
    assert await rows(database, query, s=store_id) == [("2024-05-01", "c001"), ("2024-05-02", "c000")]


async def test_another_stores_run_is_left_alone(database: Database, store_id: str) -> None:
    other = f"{store_id}-other"
    for store in (store_id, other):
        await put(database, store, a_shop(1))
    await published(database, other, a_star(["c000"]))
    before = await dump(database, other, STAR)
    await published(database, store_id, a_star(["c000"]))
    assert await dump(database, other, STAR) == before


async def test_replacing_a_customer_touches_nobody_else(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(2))
    run_id = await published(database, store_id, a_star(["c000", "c001"]))
    before = await dump(database, store_id, STAR)
    async with database.transaction() as connection:
        await publish.replace_customer(connection, store_id, run_id, row_of("c001", worth=7.5, words="replaced"))
    after = await dump(database, store_id, STAR)
    changed = {table: len(set(after[table]) - set(before[table])) for table in STAR}
    assert changed == {**dict.fromkeys(STAR, 0), **dict.fromkeys(STAR[4:7], 1)}
    query = """
        SELECT fact.profile, profile.lifetime_value, feature_vectors -> 'purchase_value' -> 'lifetime_value'
        FROM customer_profiles AS profile JOIN fact_customer_current AS fact USING (store_id, customer_id)
        WHERE store_id = :s ORDER BY customer_id
    """
    assert await rows(database, query, s=store_id) == [("plain", 5, 5), ("replaced", 7.5, 7.5)]


async def test_replacing_a_customer_keeps_what_was_predicted_of_them(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    run_id = await published(database, store_id, a_star(["c000"]))
    await foretell(database, store_id, [foretold("c000", 0.3)])
    async with database.transaction() as connection:
        await publish.replace_customer(connection, store_id, run_id, row_of("c000"))
    assert (
        await value(database, "SELECT churn_risk_score FROM customer_profiles WHERE store_id = :s", s=store_id) == 0.3
    )


def with_groups(groups: dict[str, str | None], *, day: date) -> dict[str, pl.DataFrame]:
    """The smallest star of customers in these RFM groups; None as rows of older versions have it."""
    star = a_star(list(groups), day=day)
    current = star["fact_customer_current"].with_columns(rfm_group=pl.Series(list(groups.values()), dtype=pl.String))
    return {**star, "fact_customer_current": current}


async def groups_of(database: Database, store_id: str) -> dict[str, tuple[str | None, str | None, str | None]]:
    """{customer: (group, the one before, the day it changed)}"""
    query = """
        SELECT customer_id, rfm_group, rfm_previous_group, rfm_changed_on::text
        FROM fact_customer_current WHERE store_id = :s
    """
    return {customer: (now, before, day) for customer, now, before, day in await rows(database, query, s=store_id)}


async def test_who_changes_group_from_run_to_run_keeps_the_one_before_and_the_day(
    database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(3))
    runs_of_groups: list[tuple[date, dict[str, str | None]]] = [
        (date(2024, 5, 1), {"c000": "champions", "c001": "loyal"}),
        (date(2024, 5, 2), {"c000": "at_risk", "c001": "loyal", "c002": "promising"}),
        (date(2024, 5, 3), {"c000": "at_risk", "c001": "loyal", "c002": "loyal"}),
    ]
    found = []
    for day, groups in runs_of_groups:
        await published(database, store_id, with_groups(groups, day=day))
        found.append(await groups_of(database, store_id))
    assert found == [
        {"c000": ("champions", None, None), "c001": ("loyal", None, None)},
        {
            "c000": ("at_risk", "champions", "2024-05-02"),
            "c001": ("loyal", None, None),
            "c002": ("promising", None, None),
        },
        {
            "c000": ("at_risk", "champions", "2024-05-02"),
            "c001": ("loyal", None, None),
            "c002": ("loyal", "promising", "2024-05-03"),
        },
    ]


async def test_a_run_of_an_older_version_is_nothing_to_have_changed_from(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    await published(database, store_id, with_groups({"c000": None}, day=date(2024, 5, 1)))
    await published(database, store_id, with_groups({"c000": "loyal"}, day=date(2024, 5, 2)))
    assert await groups_of(database, store_id) == {"c000": ("loyal", None, None)}


@pytest.mark.parametrize("column", ["rfm_recency", "rfm_frequency", "rfm_monetary"])
@pytest.mark.parametrize("score", [0, 6])
async def test_a_score_beyond_1_to_5_is_refused(database: Database, store_id: str, column: str, score: int) -> None:
    await put(database, store_id, a_shop(1))
    star = a_star(["c000"])
    current = star["fact_customer_current"].with_columns(pl.lit(score).alias(column))
    with pytest.raises(Exception, match="ck_fact_customer_standing_rfm_scores"):
        await published(database, store_id, {**star, "fact_customer_current": current})


async def test_a_replaced_customer_keeps_the_group_before_and_the_day(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(3))
    first = {"c000": "champions", "c001": "loyal"}
    run_id = await published(database, store_id, with_groups(dict(first), day=date(2024, 5, 1)))
    found = []
    for day, customer, group in (
        (date(2024, 5, 2), "c000", "at_risk"),
        (date(2024, 5, 3), "c000", "at_risk"),
        (date(2024, 5, 4), "c000", "champions"),
        (date(2024, 5, 4), "c002", "promising"),
    ):
        current = {**row_of(customer), "rfm_group": group, "snapshot_date": day}
        async with database.transaction() as connection:
            await publish.replace_customer(connection, store_id, run_id, current)
        found.append((await groups_of(database, store_id))[customer])
    assert found == [
        ("at_risk", "champions", "2024-05-02"),
        ("at_risk", "champions", "2024-05-02"),
        ("champions", "at_risk", "2024-05-04"),
        ("promising", None, None),
    ]
    assert (await groups_of(database, store_id))["c001"] == ("loyal", None, None)


async def test_replacing_many_customers_is_replacing_each_of_them(database: Database, store_id: str) -> None:
    """Among them one who was not there yet; whoever is not named stays untouched, and so does what was predicted."""
    stores = [store_id, f"{store_id}-other"]
    first: dict[str, str | None] = {"c000": "champions", "c001": "loyal", "c002": "loyal"}
    later = with_groups({"c000": "at_risk", "c001": "loyal", "c003": "promising"}, day=date(2024, 5, 2))
    many = later["fact_customer_current"].with_columns(lifetime_value=pl.lit(7.5), profile=pl.lit(ODD))
    for store in stores:
        await put(database, store, a_shop(4))
        run_id = await published(database, store, with_groups(first, day=date(2024, 5, 1)))
        await foretell(database, store, [foretold(f"c00{number}", 0.3) for number in range(3)])
        untouched = "SELECT xmin::text FROM fact_customer_standing WHERE store_id = :s AND customer_id = 'c002'"
        before = await value(database, untouched, s=store)
        async with database.transaction() as connection:
            if store == store_id:
                await publish.replace_customers(connection, store, run_id, many)
            else:
                for row in many.to_dicts():
                    await publish.replace_customer(connection, store, run_id, row)
        assert await value(database, untouched, s=store) == before
    leave_out = ["xmin", "run_id", "store_id", "updated_at"]
    together, one_by_one = [await dump(database, store, STAR, without=leave_out) for store in stores]
    assert together == one_by_one
    assert await groups_of(database, store_id) == {
        "c000": ("at_risk", "champions", "2024-05-02"),
        "c001": ("loyal", None, None),
        "c002": ("loyal", None, None),
        "c003": ("promising", None, None),
    }
    scores = "SELECT customer_id, churn_risk_score FROM customer_profiles WHERE store_id = :s ORDER BY 1"
    assert await rows(database, scores, s=store_id) == [("c000", 0.3), ("c001", 0.3), ("c002", 0.3), ("c003", None)]


async def test_archetype_sums_and_means_are_those_of_their_members(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=10)
    for level, column in ((1, "archetype_id"), (2, "archetype_level2_id"), (3, "archetype_level3_id")):
        wrong = await rows(
            database,
            f"""
            SELECT archetype_id FROM dim_archetype_l{level} AS archetype JOIN (
                SELECT {column} AS id, count(*) AS n, sum(lifetime_value) AS worth, avg(total_orders) AS orders,
                    sum(total_orders) AS n_orders, avg(days_since_last_purchase) AS recency
                FROM fact_customer_current WHERE store_id = :s GROUP BY 1
            ) AS members ON id = archetype_id
            WHERE store_id = :s AND (
                member_count <> n OR abs(total_ltv - worth) > 0.0001 OR abs(avg_ltv - worth / n) > 0.0001
                OR abs(avg_orders - orders) > 1e-9 OR abs(avg_order_value - worth / n_orders) > 0.0001
                OR abs(avg_recency_days - recency) > 1e-9 OR abs(population_percentage - 100.0 * n / 40) > 1e-9
            )
            """,  # noqa: S608
            s=store_id,
        )
        assert wrong == []
        sizes = f"SELECT sum(member_count) FROM dim_archetype_l{level} WHERE store_id = :s"  # noqa: S608
        assert await value(database, sizes, s=store_id) == 40
