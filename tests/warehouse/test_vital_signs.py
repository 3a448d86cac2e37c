"""How far what was foretold has come true, worked out by hand in a shop of ten."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text

from app.warehouse.engine import Database
from app.warehouse.vital_signs import StoreSigns, read_vital_signs
from tests.fakes import bought, put

LAST = date(2024, 3, 31)


async def signs_of(database: Database, store_id: str) -> StoreSigns:
    found = await read_vital_signs(database)
    (one,) = [each for each in found.stores if each.store_id == store_id]
    return one


async def execute(database: Database, statement: str, **values: object) -> None:
    async with database.transaction() as connection:
        await connection.execute(text(statement), values)


async def shop_of_ten(database: Database, store_id: str) -> None:
    """Ten who bought for 10 each on 1 January; of them c0, c1 and c2 again on 20 March, for 20, and c9 on the 31st."""
    records = [
        record
        for number in range(10)
        for record in bought(f"c{number}", f"january-{number}", "2024-01-01", ("x", "1", "10"))
    ]
    for number in range(3):
        records += bought(f"c{number}", f"march-{number}", "2024-03-20", ("x", "2", "10"))
    records += bought("c9", "last", str(LAST), ("x", "4", "10"))
    await put(database, store_id, records)


async def test_a_store_that_has_only_just_been_loaded_tells_its_age_and_no_more(
    database: Database, store_id: str
) -> None:
    await shop_of_ten(database, store_id)
    signs = await signs_of(database, store_id)
    age = (datetime.now(UTC) - datetime(2024, 3, 31, tzinfo=UTC)).total_seconds()
    assert abs((signs.records_age or 0) - age) < timedelta(days=2).total_seconds()
    assert (signs.run_age, signs.predictions_age, signs.segment_drift) == (None, None, None)
    assert (signs.churn_drift, signs.forecast_drift) == (None, None)


async def test_churn_drift_is_who_stayed_away_less_what_was_foretold(database: Database, store_id: str) -> None:
    """A month before the last day, 40 % was told of everyone; 7 of 10 have stayed away since."""
    await shop_of_ten(database, store_id)
    await execute(
        database,
        "INSERT INTO segmentation_runs (store_id, status, parameters) VALUES (:s, 'published', '{}')",
        s=store_id,
    )
    await execute(
        database,
        """
        INSERT INTO fact_customer_history (store_id, customer_id, snapshot_date, run_id, archetype_id,
            archetype_level2_id, archetype_level3_id, lifetime_value, total_orders, days_since_last_purchase,
            customer_tenure_days, segment_ids, p_no_purchase_30d)
        SELECT store_id, customer_id, DATE '2024-02-29',
            (SELECT max(run_id) FROM segmentation_runs WHERE store_id = :s), 'a', 'a', 'a', 10, 1, 59, 59, '{}', 0.4
        FROM customers WHERE store_id = :s
        """,
        s=store_id,
    )
    signs = await signs_of(database, store_id)
    # c0, c1, c2 came within 30 days; c9 on the 31st of March came too late to count.
    assert signs.churn_drift is not None
    assert abs(signs.churn_drift - (7 / 10 - 0.4)) < 1e-9


async def test_forecast_drift_is_revenue_over_what_was_forecast_as_the_month_began(
    database: Database, store_id: str
) -> None:
    """March brought 3 x 20 + 40 = 100; the first training of March said 80, a later one 99."""
    await shop_of_ten(database, store_id)
    for as_of, point in ((datetime(2024, 3, 1, tzinfo=UTC), 80), (datetime(2024, 3, 20, tzinfo=UTC), 99)):
        await execute(
            database,
            """
            WITH run AS (
                INSERT INTO prediction_runs (store_id, status, as_of) VALUES (:s, 'published', :at)
                RETURNING prediction_id
            )
            INSERT INTO prediction_models (store_id, prediction_id, name, candidate, version, status, why, features,
                parameters)
            SELECT :s, prediction_id, 'revenue', 'naive', '1', 'served', '', '{}',
                jsonb_build_object('first', '2024-03-01', 'total', jsonb_build_object('point', jsonb_build_array(
                    CAST(:point AS float), 70))) FROM run
            """,
            s=store_id,
            at=as_of,
            point=point,
        )
    signs = await signs_of(database, store_id)
    assert signs.forecast_drift is not None
    assert abs(signs.forecast_drift - (100 / 80 - 1)) < 1e-9
