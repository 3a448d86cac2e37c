"""Writing a run's rows: in one transaction, text as it is, many rows or one."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from app.warehouse import publish, runs
from app.warehouse.engine import Database
from tests.fakes import STAR, a_shop, at, dump, put, rows, segmented, value

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
                "scaler_params": ["{}"],
                "population_percentage": [100.0],
                "customer_count": [n],
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
                "dominant_segments": ["{}"] * n,
                "membership_strengths": ["{}"] * n,
                "cluster_confidence": [0.9] * n,
                "fold_distance": [0] * n,
            }
        ),
        "customer_profiles": pl.DataFrame(
            {
                "customer_id": customers,
                "archetype_id": ["arch_1"] * n,
                "segment_memberships": ["{}"] * n,
                "dominant_segments": ["{}"] * n,
                "feature_vectors": ["{}"] * n,
                "interpretation": [words] * n,
                "lifetime_value": [5.0] * n,
            }
        ),
        "fact_customer_history": pl.DataFrame({"customer_id": customers, **standing, "segment_ids": ["{seg_1}"] * n}),
    }


def rows_of(customer: str, *, words: str = "plain") -> dict[str, dict[str, Any]]:
    """One customer's two rows, as scoring hands them over."""
    star = a_star([customer], words=words)
    return {table: star[table].to_dicts()[0] for table in ("fact_customer_current", "customer_profiles")}


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
        *(("customer_profiles", "interpretation"),),
    ):
        query = f"SELECT {column} FROM {table} WHERE store_id = :s"  # noqa: S608
        assert await value(database, query, s=store_id) == ODD


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
    monkeypatch.setattr(publish, "_ROWS_AT_ONCE", 4)
    await put(database, store_id, a_shop(11))
    await published(database, store_id, a_star([f"c{i:03}" for i in range(11)]))
    assert len((await dump(database, store_id, STAR))["fact_customer_current"]) == 11


async def test_a_customer_that_does_not_exist_is_refused_whole(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    await published(database, store_id, a_star(["c000"]))
    before = await dump(database, store_id, STAR)
    with pytest.raises(Exception, match="fk_fact_customer_current_customers"):
        await published(database, store_id, a_star(["c000", "nobody"]))
    assert await dump(database, store_id, STAR) == before


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
        await publish.replace_customer(connection, store_id, run_id, rows_of("c001", words="replaced"))
    after = await dump(database, store_id, STAR)
    changed = {table: len(set(after[table]) - set(before[table])) for table in STAR}
    assert changed == {**dict.fromkeys(STAR, 0), "fact_customer_current": 1, "customer_profiles": 1}
    query = "SELECT interpretation FROM customer_profiles WHERE store_id = :s ORDER BY customer_id"
    assert await rows(database, query, s=store_id) == [("plain",), ("replaced",)]


async def test_replacing_a_customer_keeps_what_was_predicted_of_them(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    run_id = await published(database, store_id, a_star(["c000"]))
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE customer_profiles SET churn_risk_score = 0.3 WHERE store_id = :s"), {"s": store_id}
        )
        await publish.replace_customer(connection, store_id, run_id, rows_of("c000"))
    assert (
        await value(database, "SELECT churn_risk_score FROM customer_profiles WHERE store_id = :s", s=store_id) == 0.3
    )


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
