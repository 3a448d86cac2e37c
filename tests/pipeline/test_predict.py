"""Predictions from records to the served table: whole or not at all, of the past alone, and of one as of all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from app.core.config import Settings
from app.core.errors import (
    CustomerNotFound,
    InvalidInput,
    NotEnoughHistory,
    NothingPredicted,
    OutdatedPredictions,
    PredictionInProgress,
)
from app.domain.records import Record
from app.pipeline import predict as predict_module
from app.pipeline.predict import PredictOptions, Told, predict, told_as_of
from app.pipeline.predict_some import explain_churn, predict_some
from app.pipeline.rescore import score_changed
from app.pipeline.run import latest_as_of
from app.warehouse import predictions
from app.warehouse.engine import Database
from app.warehouse.exports import PREDICTION_COLUMNS
from app.warehouse.stores import read_store
from tests.conftest import own_tables
from tests.fakes import NOW, a_shop, bought, execute, put, rows, segmented, value

STORE = "corner"
LAST = "2024-10-01 12:00"


def shop_of_months() -> list[Record]:
    """A hundred and fifty customers who come every 7 to 46 days, half a year long."""
    return [*a_shop(150, orders_each=6), *bought("zz", "last", LAST, ("P1", "1", "5"))]


@pytest.fixture(scope="module")
async def shop(server_url: str, settings: Settings) -> AsyncIterator[Database]:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        await segmented(database, STORE, axes=("purchase_value",), min_population=1)
        await predict(database, STORE, PredictOptions(), now=NOW)
        yield database


async def told(database: Database, customer_id: str) -> tuple[Any, ...]:
    query = (
        "SELECT p_no_purchase_30d, p_no_purchase_90d, churn_risk_score, horizon_days, risk_level, "
        "expected_spend_90d, predicted_ltv_12m, next_order_on, as_of, prediction_id "
        "FROM fact_customer_prediction WHERE store_id = :s AND customer_id = :c"
    )
    ((found),) = await rows(database, query, s=STORE, c=customer_id)
    return found


async def test_everyone_with_an_order_is_told_and_the_store_points_at_the_training(shop: Database) -> None:
    bought_something = await value(shop, "SELECT count(DISTINCT customer_id) FROM orders WHERE store_id = :s", s=STORE)
    assert await value(shop, "SELECT count(*) FROM fact_customer_prediction WHERE store_id = :s", s=STORE) == (
        bought_something
    )
    served = "SELECT served_prediction_id FROM stores WHERE store_id = :s"
    assert await rows(shop, "SELECT DISTINCT prediction_id FROM fact_customer_prediction") == [
        (await value(shop, served, s=STORE),)
    ]


async def test_every_candidate_is_kept_with_its_proof_and_one_is_served(shop: Database) -> None:
    found = await rows(
        shop,
        "SELECT candidate, status, backtest, parameters IS NOT NULL, why FROM prediction_models "
        "WHERE store_id = :s AND name = 'churn' ORDER BY candidate",
        s=STORE,
    )
    served = [row for row in found if row[1] != "candidate"]
    assert len(served) == 1 and served[0][3]
    assert all(not row[3] for row in found if row not in served)
    assert all(row[4] for row in found)
    assert served[0][2]["30d"]["measures"]["n"] > 0
    assert sum(each["n"] for each in served[0][2]["30d"]["reliability"]) == served[0][2]["30d"]["measures"]["n"]


async def test_the_day_of_history_that_the_moment_closes_keeps_what_was_told(shop: Database) -> None:
    query = (
        "SELECT count(*), count(past.churn_risk_score), "
        "bool_and(past.churn_risk_score = told.churn_risk_score) FROM fact_customer_history AS past "
        "JOIN fact_customer_prediction AS told USING (store_id, customer_id) WHERE past.store_id = :s"
    )
    ((n, n_told, alike),) = await rows(shop, query, s=STORE)
    assert n == n_told > 100 and alike


async def test_the_documents_views_read_the_score(shop: Database) -> None:
    expected = (await told(shop, "c001"))[2]
    for view, column in (
        ("customer_intelligence", "churn_risk"),
        ("customer_profiles", "churn_risk_score"),
        ("fact_customer_current", "churn_risk_score"),
    ):
        query = f"SELECT {column} FROM {view} WHERE store_id = :s AND customer_id = 'c001'"  # noqa: S608
        assert await value(shop, query, s=STORE) == expected


async def test_one_customer_is_told_as_in_the_batch(shop: Database) -> None:
    before = {each: await told(shop, each) for each in ("c001", "c004", "c037", "zz")}
    async with shop.transaction() as connection:
        store = await read_store(connection, STORE)
        as_of = await latest_as_of(connection, store, now=NOW)
        assert await predict_some(shop, connection, store, list(before), as_of=as_of) == 4
    for customer_id, numbers in before.items():
        again = await told(shop, customer_id)
        assert again[:3] == pytest.approx(numbers[:3], abs=2e-6)
        assert again[3:5] == numbers[3:5]
        assert [float(each) for each in again[5:7]] == pytest.approx([float(each) for each in numbers[5:7]], abs=2e-3)
        assert again[7:] == numbers[7:]


async def test_a_risk_is_taken_apart_so_that_it_adds_up(shop: Database) -> None:
    explained = await explain_churn(shop, STORE, "c001", now=NOW)
    score = (await told(shop, "c001"))[2]
    assert explained["churn_risk_score"] == pytest.approx(score, abs=2e-6)
    assert explained["typical_customer"] + sum(explained["by_group"].values()) == pytest.approx(score, abs=2e-6)
    with pytest.raises(CustomerNotFound):
        await explain_churn(shop, STORE, "nobody", now=NOW)


async def test_what_would_have_been_predicted_is_told_from_before_that_moment_alone(
    shop: Database, server_url: str, settings: Settings
) -> None:
    then = datetime(2024, 5, 20, tzinfo=UTC)
    whole = await told_as_of(shop, STORE, PredictOptions(as_of=then), now=NOW)
    assert whole.columns == list(PREDICTION_COLUMNS)
    async with own_tables(server_url, settings) as other:
        past = [each for each in shop_of_months() if getattr(each, "ordered_at", then) < then or not _dated(each)]
        await put(other, STORE, _before(past, then))
        cut = await told_as_of(other, STORE, PredictOptions(as_of=then), now=NOW)
    numbers = pl.col(pl.Float64).round(6)
    assert whole.with_columns(numbers).equals(cut.with_columns(numbers))


def _dated(record: Record) -> bool:
    return hasattr(record, "ordered_at")


def _before(records: list[Record], moment: datetime) -> list[Record]:
    """Without lines of orders that are not there."""
    there = {each.order_id for each in records if _dated(each)}  # type: ignore[union-attr]
    return [each for each in records if getattr(each, "order_id", None) is None or each.order_id in there]


async def test_whoever_buys_is_told_anew_as_their_score_is(server_url: str, settings: Settings) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        await segmented(database, STORE, axes=("purchase_value",), min_population=1)
        await predict(database, STORE, PredictOptions(), now=NOW)
        before, another = await told(database, "c004"), await told(database, "c005")
        await put(database, STORE, bought("c004", "new", "2024-10-05 10:00", ("P1", "1", "9")))
        assert await score_changed(database, STORE, now=NOW) == 1
        after = await told(database, "c004")
        assert after[2] < before[2]
        assert after[8] > before[8]
        assert await told(database, "c005") == another
        await execute(database, "DELETE FROM customers WHERE store_id = :s AND customer_id = 'c004'", s=STORE)
        left = "SELECT count(*) FROM fact_customer_prediction WHERE store_id = :s AND customer_id = 'c004'"
        assert await value(database, left, s=STORE) == 0


async def test_who_is_told_anew_during_a_training_is_as_anew_after_it(
    server_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        await segmented(database, STORE, axes=("purchase_value",), min_population=1)
        await predict(database, STORE, PredictOptions(), now=NOW)
        before = await told(database, "c004")
        loop, train = asyncio.get_running_loop(), predict_module.tell

        async def order() -> None:
            await put(database, STORE, bought("c004", "meanwhile", "2024-10-05 10:00", ("P1", "1", "9")))
            assert await score_changed(database, STORE, now=NOW) == 1

        def slowly(*records: Any, **rest: Any) -> Told:
            asyncio.run_coroutine_threadsafe(order(), loop).result(60)
            return train(*records, **rest)

        monkeypatch.setattr(predict_module, "tell", slowly)
        await predict(database, STORE, PredictOptions(), now=NOW)
        after = await told(database, "c004")
        assert after[2] < before[2]
        assert after[9] == before[9] + 1


async def test_a_training_right_after_another_tells_nobody_a_second_time(
    server_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        await predict(database, STORE, PredictOptions(), now=NOW)
        anew, publish = [], predictions.publish

        async def listening(*arguments: Any, **rest: Any) -> Sequence[str]:
            anew.append(await publish(*arguments, **rest))
            return anew[-1]

        monkeypatch.setattr(predictions, "publish", listening)
        await predict(database, STORE, PredictOptions(), now=NOW)
        async with database.transaction() as connection:
            store = await read_store(connection, STORE)
            assert await predict_some(database, connection, store, ["c001"], as_of=NOW) == 1
        await predict(database, STORE, PredictOptions(), now=NOW)
        assert anew == [[], ["c001"]]


async def test_where_nobody_ever_came_back_everyone_is_told_and_can_be_told_anew(
    server_url: str, settings: Settings
) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, a_shop(60, orders_each=1, first_day="2024-01-05 10:00"))
        await put(database, STORE, bought("zz", "last", LAST, ("P1", "1", "5")))
        await segmented(database, STORE, axes=("purchase_value",), min_population=1)
        await predict(database, STORE, PredictOptions(), now=NOW)
        await put(database, STORE, bought("c004", "new", "2024-10-05 10:00", ("P1", "1", "9")))
        assert await score_changed(database, STORE, now=NOW) == 1
        assert (await told(database, "c004"))[2] < 1
        served = "SELECT candidate FROM prediction_models WHERE name = 'churn' AND status = 'served'"
        assert await rows(database, served) == [("base_rate",)]


async def test_of_an_open_day_what_is_kept_is_of_the_midnight_before_and_who_bought_since_is_told_as_of_now(
    server_url: str, settings: Settings
) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        now = datetime(2024, 10, 1, 15, 0, tzinfo=UTC)  # "zz" ordered at 12:00
        result = await predict(database, STORE, PredictOptions(), now=now)
        midnight = datetime(2024, 9, 30, 23, 0, tzinfo=UTC)  # of London
        assert datetime.fromisoformat(result.report["as_of"]) == midnight
        moments = dict(await rows(database, "SELECT customer_id, as_of FROM fact_customer_prediction"))
        assert moments.pop("zz") == now
        assert set(moments.values()) == {midnight}


async def test_a_training_that_fails_leaves_what_is_served(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    served = "SELECT served_prediction_id FROM stores WHERE store_id = :s"
    before, numbers = await value(shop, served, s=STORE), await told(shop, "c001")

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is full of c001's orders")

    monkeypatch.setattr(predictions, "publish", broken)
    with pytest.raises(RuntimeError):
        await predict(shop, STORE, PredictOptions(), now=NOW)
    assert await value(shop, served, s=STORE) == before
    assert await told(shop, "c001") == numbers
    ((status, failure),) = await rows(
        shop, "SELECT status, failure FROM prediction_runs ORDER BY prediction_id DESC LIMIT 1"
    )
    assert status == "failed" and "c001" not in failure


async def test_two_trainings_of_a_store_do_not_run_at_once(shop: Database) -> None:
    async with shop.session_lock(predictions.lock_key(STORE)):
        with pytest.raises(PredictionInProgress, match="being trained already"):
            await predict(shop, STORE, PredictOptions(), now=NOW)


async def test_one_customer_told_by_two_at_once_is_told_once(shop: Database) -> None:
    async def tell() -> None:
        async with shop.transaction() as connection:
            store = await read_store(connection, STORE)
            as_of = await latest_as_of(connection, store, now=NOW)
            await predict_some(shop, connection, store, ["c001", "c002"], as_of=as_of)

    await asyncio.gather(*(tell() for _ in range(4)))
    query = "SELECT count(*) FROM fact_customer_prediction WHERE store_id = :s AND customer_id IN ('c001', 'c002')"
    assert await value(shop, query, s=STORE) == 2


async def test_who_is_deleted_while_predictions_are_published_is_in_none(server_url: str, settings: Settings) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        await segmented(database, STORE, axes=("purchase_value",), min_population=1)
        await predict(database, STORE, PredictOptions(), now=NOW)

        async def delete(customer_id: str) -> None:
            await execute(
                database, "DELETE FROM customers WHERE store_id = :s AND customer_id = :c", s=STORE, c=customer_id
            )

        gone = [f"c{number:03}" for number in range(20)]
        await asyncio.gather(
            predict(database, STORE, PredictOptions(), now=NOW), *(delete(customer_id) for customer_id in gone)
        )
        left = "SELECT count(*) FROM fact_customer_prediction WHERE store_id = :s AND customer_id < 'c020'"
        assert await value(database, left, s=STORE) == 0


async def test_a_day_that_is_published_anew_keeps_what_was_told_of_it(server_url: str, settings: Settings) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        await segmented(database, STORE, axes=("purchase_value",), min_population=1)
        await predict(database, STORE, PredictOptions(), now=NOW)
        query = "SELECT customer_id, churn_risk_score FROM fact_customer_history ORDER BY customer_id"
        before = await rows(database, query)
        await segmented(database, STORE, axes=("purchase_value",), min_population=1)
        assert await rows(database, query) == before
        assert all(score is not None for _, score in before)


async def test_old_trainings_are_forgotten_but_for_the_first_of_each_of_three_months(
    server_url: str, settings: Settings
) -> None:
    """What the first of a month forecast for it is compared with what came."""
    trained_at = [datetime(2024, 1, 3, tzinfo=UTC) + timedelta(days=5 * number) for number in range(24)]
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        for as_of in trained_at:
            rows_ = pl.DataFrame(schema={"customer_id": pl.String})
            async with database.transaction() as connection:
                number = await predictions.start(connection, STORE, as_of=as_of)
            async with database.transaction() as connection:
                await predictions.publish(connection, STORE, number, rows=rows_, models=[], report={}, as_of=as_of)
        kept = {row["as_of"] for row in await database.rows("SELECT as_of FROM prediction_runs")}
    firsts = {min(at for at in trained_at if at.month == month) for month in (2, 3, 4)}
    assert trained_at[-1].month == 4
    assert kept == {*trained_at[-9:], *firsts}


async def test_predictions_of_another_version_stay_as_they_are_but_for_who_has_no_order_left(
    server_url: str, settings: Settings
) -> None:
    async with own_tables(server_url, settings) as database:
        await put(database, STORE, shop_of_months())
        await predict(database, STORE, PredictOptions(), now=NOW)
        before = await told(database, "c001")
        older = "UPDATE prediction_models SET parameters = parameters - 'format' WHERE name = 'churn'"
        await execute(database, older)
        with pytest.raises(OutdatedPredictions, match=f"python -m app predict --store {STORE}"):
            await explain_churn(database, STORE, "c001", now=NOW)
        await execute(database, "DELETE FROM orders WHERE store_id = :s AND customer_id = 'c002'", s=STORE)
        async with database.transaction() as connection:
            store = await read_store(connection, STORE)
            assert await predict_some(database, connection, store, ["c001", "c002"], as_of=NOW) == 0
        assert await told(database, "c001") == before
        left = "SELECT count(*) FROM fact_customer_prediction WHERE store_id = :s AND customer_id = 'c002'"
        assert await value(database, left, s=STORE) == 0
        await predict(database, STORE, PredictOptions(), now=NOW)
        assert "churn_risk_score" in await explain_churn(database, STORE, "c001", now=NOW)


@pytest.mark.parametrize("as_of", [NOW + timedelta(days=1)])
async def test_a_moment_that_lies_ahead_is_refused(shop: Database, as_of: datetime) -> None:
    with pytest.raises(InvalidInput, match="lies in the future"):
        await predict(shop, STORE, PredictOptions(as_of=as_of), now=NOW)


async def test_before_the_first_order_and_in_a_shop_of_weeks_what_is_missing_is_said(shop: Database) -> None:
    for as_of in (datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 25, tzinfo=UTC)):
        with pytest.raises(NotEnoughHistory, match="90 days of orders"):
            await predict(shop, STORE, PredictOptions(as_of=as_of), now=NOW)


async def test_long_after_the_last_order_everyone_is_told_that_they_are_gone(shop: Database) -> None:
    late = await told_as_of(shop, STORE, PredictOptions(as_of=NOW), now=NOW)
    assert late["p_no_purchase_30d"].min() > 0.5
    assert late["churn_risk_score"].is_between(0, 1).all()


async def test_a_store_without_predictions_says_what_to_run(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(3))
    with pytest.raises(NothingPredicted, match="python -m app predict"):
        await explain_churn(database, store_id, "c001", now=NOW)
    async with database.transaction() as connection:
        store = await read_store(connection, store_id)
        assert await predict_some(database, connection, store, ["c001"], as_of=NOW) == 0
