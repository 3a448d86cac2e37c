"""The service's own state: little without a key, more with one."""

from app import __version__
from app.api.health.schemas import Health
from tests.api.conftest import Ask, Clients
from tests.api.test_customers import told


async def test_without_a_key_health_says_no_more_than_that_it_is_well(ask: Clients) -> None:
    answer = await told(ask.nobody, "/health")
    assert set(answer) == {"status", "version", "timestamp"}
    assert (answer["status"], answer["version"]) == ("healthy", __version__)
    wrong = await ask.nobody.get("/health", headers={"X-API-Key": "wrong"})
    assert set(wrong.json()) == set(answer)


async def test_with_a_key_health_says_what_is_loaded(ask: Clients) -> None:
    answer = await told(ask.support, "/health")
    Health.model_validate(answer)
    assert (answer["database"], answer["data_source"]) == ("connected", "embedded")
    assert len(answer["axes"]) == 14
    assert answer["active_axes"] == sum(status != "no_data" for status in answer["axes"].values()) >= 13
    data = answer["data_status"]
    assert data["customers_segmented"] == 400
    assert data["customers_loaded"] > 400
    assert data["archetypes_available"] > 1
    assert data["predictions"]["n"] == 400
    assert data["predictions"]["as_of"] == (await told(ask.support, "/api/mcp/churn/aggregate"))["as_of"]
    assert set(answer["jobs"]) == {"waiting", "running", "failed", "worker_seen_at"}


async def test_counts_are_for_those_who_see_identities(ask: Clients) -> None:
    data = (await told(ask.analytics, "/health"))["data_status"]
    assert (data["customers_loaded"], data["customers_segmented"], data["predictions"]["n"]) == (None, None, None)
    assert data["archetypes_available"] > 1


async def test_an_empty_store_is_healthy_and_holds_nothing(empty_shop: Ask) -> None:
    answer = await told(empty_shop, "/health")
    assert answer["active_axes"] == 0
    nothing = {"customers_loaded": 0, "customers_segmented": 0, "archetypes_available": 0, "predictions": None}
    assert answer["data_status"] == nothing
    assert answer["jobs"] == {"waiting": 0, "running": 0, "failed": 0, "worker_seen_at": None}


async def test_alive_and_ready_need_no_key(ask: Clients) -> None:
    assert await told(ask.nobody, "/health/live") == {"status": "ok"}
    assert await told(ask.nobody, "/health/ready") == {"status": "ok"}
