"""What is read of served predictions: everybody in sums, those at risk in pages, kinds of customer, models."""

import json
from decimal import Decimal
from typing import Any

import pytest

from app.warehouse.engine import Database
from app.warehouse.predictions import (
    read_at_risk,
    read_churn_model,
    read_models,
    read_predicted_of_kinds,
    read_risk_totals,
)
from tests.fakes import CHURN_MODEL, a_shop, bought, execute, foretell, foretold, put, rows, segmented, value

EVERYBODY: dict[str, Any] = {
    "levels": ["critical", "high", "medium", "low"],
    "min_ltv": None,
    "archetype_id": None,
    "sort": "risk",
    "after": None,
    "limit": 100,
}


async def test_of_a_store_without_predictions_nothing_is_read(database: Database, store_id: str) -> None:
    assert await read_risk_totals(database, store_id) == []
    await put(database, store_id, a_shop(3))
    assert await read_risk_totals(database, store_id) == []
    assert await read_at_risk(database, store_id, **EVERYBODY) == []
    assert await read_models(database, store_id) == []
    assert await read_churn_model(database, store_id, 0) is None
    assert await read_predicted_of_kinds(database, store_id, 0) == {}


async def test_who_is_deleted_is_forgotten_by_what_was_reported_of_a_training(
    database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(4))
    await foretell(database, store_id, [foretold(f"c{n:03}", 0.9) for n in range(4)])
    crossed = [{"customer_id": f"c{n:03}", "tier": "vip", "before": "low"} for n in range(3)]
    report = json.dumps({"crossed": crossed, "n_customers": 4})
    await execute(
        database,
        "UPDATE prediction_runs SET report = CAST(:report AS jsonb) WHERE store_id = :s",
        s=store_id,
        report=report,
    )
    reported = "SELECT report FROM prediction_runs WHERE store_id = :s"
    for gone, left in (("c003", crossed), ("c001", [crossed[0], crossed[2]])):
        await execute(database, "DELETE FROM customers WHERE store_id = :s AND customer_id = :c", s=store_id, c=gone)
        assert await value(database, reported, s=store_id) == {"crossed": left, "n_customers": 4}
    await execute(database, "DELETE FROM customers WHERE store_id = :s", s=store_id)
    assert await value(database, reported, s=store_id) == {"crossed": [], "n_customers": 4}


async def test_sums_are_of_each_level_and_tier(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=1)
    prediction_id = await foretell(database, store_id, [foretold(f"c{n:03}", 0.9 if n % 2 else 0.1) for n in range(40)])
    found = await read_risk_totals(database, store_id)
    assert {(row["prediction_id"], row["of_all"], row["currency"]) for row in found} == {(prediction_id, 40, "GBP")}
    by_level = {level: sum(row["n"] for row in found if row["risk_level"] == level) for level in ("critical", "low")}
    assert by_level == {"critical": 20, "low": 20}
    for row in found:
        score = 0.9 if row["risk_level"] == "critical" else 0.1
        assert row["away_30"] == pytest.approx(score * row["n"])
        assert row["away_30_squared"] == pytest.approx(score**2 * row["n"])
        assert row["ltv_at_risk"] == pytest.approx(row["ltv"] * Decimal(str(score)), abs=Decimal("0.01"))
        assert row["predicted_ltv_12m"] == 40 * row["n"]
    # The tiers are those that profiles tell.
    texts = await rows(
        database, "SELECT split_part(profile, E'\\t', 12) FROM fact_customer_standing WHERE store_id = :s", s=store_id
    )
    told = [tier for (tier,) in texts]
    for tier in ("vip", "high", "standard", "low"):
        assert sum(row["n"] for row in found if row["ltv_tier"] == tier) == told.count(tier)
    drawn = await read_risk_totals(database, store_id, sample=7)
    assert (sum(row["n"] for row in drawn), drawn[0]["of_all"]) == (7, 40)


async def test_who_is_in_no_run_is_worth_what_they_paid(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "5")))
    await foretell(database, store_id, [foretold("ada", 0.5)])
    (row,) = await read_risk_totals(database, store_id)
    assert (row["ltv"], row["ltv_at_risk"], row["ltv_tier"], row["run_id"]) == (10, 5, None, None)
    (row,) = await read_at_risk(database, store_id, **EVERYBODY)
    assert (row["customer_id"], row["ltv"], row["total_orders"], row["archetype_id"]) == ("ada", 10, 1, None)
    assert row["pseudonym"].startswith("C-")


async def test_whoever_cost_more_than_they_paid_has_nothing_at_risk(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-03-01", ("tea", "2", "5")))
    await execute(database, "UPDATE customers SET total_spent = -3 WHERE store_id = :s", s=store_id)
    await foretell(database, store_id, [foretold("ada", 0.9)])
    (row,) = await read_at_risk(database, store_id, **EVERYBODY)
    assert (row["ltv"], row["ltv_at_risk"], row["total_ltv"], row["total_ltv_at_risk"]) == (-3, 0, 0, 0)


async def test_pages_go_on_where_they_ended_among_equals_too(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(9))
    await foretell(database, store_id, [foretold(f"c{n:03}", 0.8) for n in range(9)])
    met: list[str] = []
    after = None
    while True:
        page = await read_at_risk(database, store_id, **{**EVERYBODY, "after": after, "limit": 2})
        assert page[0]["n"] == 9
        if page[0]["customer_id"] is None:
            break
        met += [row["customer_id"] for row in page]
        after = (page[-1]["key"], page[-1]["pseudonym"])
    assert sorted(met) == [f"c{n:03}" for n in range(9)]


async def test_levels_values_and_kinds_narrow_the_list(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=1)
    await foretell(database, store_id, [foretold(f"c{n:03}", (0.1, 0.4, 0.6, 0.9)[n % 4]) for n in range(40)])
    high = await read_at_risk(database, store_id, **{**EVERYBODY, "levels": ["high"]})
    assert {row["risk_level"] for row in high} == {"high"} and high[0]["n"] == len(high) == 10
    middle = sorted(row["ltv"] for row in await read_at_risk(database, store_id, **EVERYBODY))[20]
    rich = await read_at_risk(database, store_id, **{**EVERYBODY, "min_ltv": middle, "sort": "ltv"})
    assert min(row["ltv"] for row in rich) == rich[-1]["ltv"] == middle
    kind, members = (
        await rows(
            database,
            "SELECT archetype_id, member_count FROM dim_archetype_l2 WHERE store_id = :s ORDER BY 2 LIMIT 1",
            s=store_id,
        )
    )[0]
    assert len(await read_at_risk(database, store_id, **{**EVERYBODY, "archetype_id": kind})) == members


async def test_kinds_are_told_on_every_level(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(60))
    await segmented(database, store_id, min_population=1)
    await foretell(database, store_id, [foretold(f"c{n:03}", 0.5, predicted_ltv_12m=None) for n in range(60)])
    run_id = await value(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id)
    found = await read_predicted_of_kinds(database, store_id, run_id)
    kinds = await rows(
        database,
        "SELECT archetype_id, NULL, member_count FROM dim_archetype_l1 WHERE store_id = :s UNION ALL "
        "SELECT parent_id, archetype_id, member_count FROM dim_archetype_l2 WHERE store_id = :s UNION ALL "
        "SELECT parent_id, archetype_id, member_count FROM dim_archetype_l3 WHERE store_id = :s",
        s=store_id,
    )
    assert {kind: of.n for kind, of in found.items()} == {(one, below): n for one, below, n in kinds}
    for of in found.values():
        assert (of.churn_risk, of.avg_predicted_ltv_12m, of.expected_spend_90d) == (0.5, None, 12.5)


async def test_the_models_are_those_of_the_served_training(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(1))
    proof = {"30d": {"measures": {"n": 1}}}
    models = [
        CHURN_MODEL | {"candidate": "base_rate", "status": "candidate"},
        CHURN_MODEL | {"backtest": proof},
        CHURN_MODEL | {"name": "spend", "candidate": "past_rate", "status": "degraded"},
    ]
    first = await foretell(database, store_id, [foretold("c000")], models)
    served = await foretell(database, store_id, [foretold("c000")], models[:2])
    found = await read_models(database, store_id)
    assert [(row["name"], row["candidate"]) for row in found] == [("churn", "blend"), ("churn", "base_rate")]
    assert {row["prediction_id"] for row in found} == {served}
    for training in (first, served):
        told = await read_churn_model(database, store_id, training)
        assert told is not None and (told.candidate, told.status, told.backtest) == ("blend", "served", proof)
