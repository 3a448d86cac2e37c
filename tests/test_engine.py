"""The library face, used as the segmentation guide shows it."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.core.config import Settings
from app.core.errors import CustomerNotFound, NotEnoughCustomers, StoreNotFound
from app.domain.records import Record
from app.engine import CustomerProfile, EcommerceClusteringEngine, EcommerceFeatureExtractor
from app.pipeline.sample import SampleShop
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from tests.conftest import own_database
from tests.fakes import a_shop, at, put, value

STORE = "linda_quilting"


def quilting_shop() -> list[Record]:
    """The sample shop, one of whose customers is the guide's C12345."""
    records = [record for batch in SampleShop(customers=120).batches() for record in batch.records]
    return [
        replace(record, customer_id="C12345") if getattr(record, "customer_id", None) == "C0000003" else record
        for record in records
    ]


@pytest.fixture(scope="module")
async def guide_url(server_url: str, settings: Settings) -> AsyncIterator[str]:
    """A database of its own with the guide's shop in it."""
    async with own_database(server_url) as url:
        database = Database(url, settings)
        await migrate(database)
        await put(database, STORE, quilting_shop())
        await database.close()
        yield url


@pytest.fixture
def as_configured(guide_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", guide_url)
    monkeypatch.setenv("ENV", "development")
    return guide_url


async def test_the_guides_programmatic_usage_works_as_shown(as_configured: str, settings: Settings) -> None:
    # Initialize engine
    engine = EcommerceClusteringEngine(
        min_k=2, max_k=6, use_ai_naming=True, anthropic_api_key=os.getenv("ANTHROPIC_API_KEY")
    )

    # Discover segments (one-time setup)
    segments = await engine.discover_multi_axis_segments("linda_quilting")

    # Calculate customer profile
    profile = await engine.calculate_customer_profile(
        customer_id="C12345",
        store_id="linda_quilting",
        store_profile=True,  # Save to database
    )

    # Access fuzzy memberships
    print(profile.fuzzy_memberships["purchase_frequency"])  # noqa: T201
    # Access dominant segments
    print(profile.dominant_segments)  # noqa: T201

    assert isinstance(profile, CustomerProfile)
    names = {segment["name"] for segment in segments["purchase_frequency"]}
    assert set(profile.fuzzy_memberships["purchase_frequency"]) == names
    assert sum(profile.fuzzy_memberships["purchase_frequency"].values()) == pytest.approx(1)
    for axis, shares in profile.fuzzy_memberships.items():
        assert profile.dominant_segments[axis] == max(shares, key=lambda name: shares[name])

    database = Database(as_configured, settings)
    stored = await value(
        database,
        "SELECT segment_memberships FROM customer_profiles WHERE store_id = :s AND customer_id = 'C12345'",
        s=STORE,
    )
    await database.close()
    assert set(stored) == set(profile.fuzzy_memberships) == set(segments)


def test_the_guides_extraction_of_features_works_as_shown() -> None:
    orders_list = [
        {"order_id": 1, "customer_id": "C12345", "store_id": STORE, "order_date": "2024-01-10", "total_price": 30}
        | {"discount_amount": 0, "source": "web"},
        {"order_id": 2, "customer_id": "C12345", "store_id": STORE, "order_date": "2024-02-09", "total_price": 50}
        | {"discount_amount": 5, "source": "pos"},
    ]
    items_list = [
        {"order_id": 1, "product_id": "P1", "category": "fabric", "product_type": "cotton", "quantity": 3, "price": 10}
        | {"refund_amount": 0},
        {"order_id": 2, "product_id": "P2", "category": "thread", "product_type": "silk", "quantity": 5, "price": 11}
        | {"discount_amount": 5, "refund_amount": 10},
    ]
    extractor = EcommerceFeatureExtractor()
    features = extractor.extract_all_features(customer_id="C12345", orders=orders_list, items=items_list)
    assert features["purchase_frequency"]["avg_days_between_orders"] == 30
    assert "orders_per_month" in features["purchase_frequency"]

    then = extractor.extract_all_features("C12345", orders_list, items_list, as_of=at("2024-03-11"))
    # Two orders in the 61 days since the first; a month is 30.4375 days.
    assert then["purchase_frequency"]["orders_per_month"] == pytest.approx(2 / (61 / 30.4375))
    assert then["purchase_value"]["lifetime_value"] == 70
    assert all(isinstance(number, float) for axis in then.values() for number in axis.values())


async def test_discovered_segments_are_those_that_are_served(database: Database, settings: Settings) -> None:
    await put(database, "engine-shop", quilting_shop())
    engine = EcommerceClusteringEngine(min_k=2, max_k=3, settings=settings, database=database)
    segments = await engine.discover_multi_axis_segments("engine-shop")
    for found in segments.values():
        assert sum(segment["count"] for segment in found) == 120
        assert sum(segment["share"] for segment in found) == pytest.approx(1)
        assert len(found) <= 3
        for segment in found:
            assert {"segment_id", "name", "count", "share", "interpretation"} <= set(segment)
            query = "SELECT segment_name FROM dim_segment_master WHERE store_id = 'engine-shop' AND segment_id = :id"
            assert await value(database, query, id=segment["segment_id"]) == segment["name"]


async def test_a_profile_is_kept_only_when_asked_for(database: Database, settings: Settings, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    engine = EcommerceClusteringEngine(2, 3, settings=settings, database=database, min_population=10)
    await engine.discover_multi_axis_segments(store_id)
    query = "SELECT xmin::text FROM fact_customer_current WHERE store_id = :s AND customer_id = 'c001'"
    before = await value(database, query, s=store_id)
    await engine.calculate_customer_profile("c001", store_id)
    assert await value(database, query, s=store_id) == before
    await engine.calculate_customer_profile("c001", store_id, store_profile=True)
    assert await value(database, query, s=store_id) != before


async def test_as_of_the_past_is_passed_on(database: Database, settings: Settings, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    engine = EcommerceClusteringEngine(2, 3, settings=settings, database=database, min_population=10)
    await engine.discover_multi_axis_segments(store_id, as_of=at("2024-03-01"))
    profile = await engine.calculate_customer_profile("c001", store_id)
    assert profile.as_of == at("2024-03-01")
    later = await engine.calculate_customer_profile("c001", store_id, as_of=at("2024-12-01"))
    assert (later.as_of, later.run_id) == (at("2024-12-01"), profile.run_id)


async def test_errors_are_those_of_the_flow(database: Database, settings: Settings, store_id: str) -> None:
    engine = EcommerceClusteringEngine(settings=settings, database=database)
    with pytest.raises(StoreNotFound):
        await engine.discover_multi_axis_segments(store_id)
    await put(database, store_id, a_shop(30))
    with pytest.raises(NotEnoughCustomers):
        await engine.discover_multi_axis_segments(store_id)


@pytest.mark.parametrize("orders", [[], [{"order_id": 1, "order_date": "2030-01-01", "total_price": 5}]])
def test_features_of_nothing_are_refused(orders: list[Mapping[str, Any]]) -> None:
    with pytest.raises(CustomerNotFound):
        EcommerceFeatureExtractor().extract_all_features("C1", orders, [], as_of=at("2024-01-01"))


def test_hours_are_the_shops() -> None:
    order = {"order_id": 1, "order_date": "2024-01-10T20:00:00+00:00", "total_price": 5}

    def hour(timezone: str) -> float:
        found = EcommerceFeatureExtractor(timezone).extract_all_features("C1", [order], [])
        return next(axis["preferred_hour"] for axis in found.values() if "preferred_hour" in axis)

    assert hour("UTC") == pytest.approx(20)
    assert hour("America/Chicago") == pytest.approx(14)
