"""Customers over HTTP: one in full, in brief, by chance, found by a search, scored anew."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from app.api.customers import service
from app.api.customers.schemas import BriefCustomer, CustomerProfile, FoundCustomers
from app.api.customers.service import PARTS
from app.core.keys import Caller
from app.domain.records import Customer
from app.warehouse.engine import Database
from tests.api.conftest import STORE, Ask, Clients
from tests.fakes import a_shop, bought, execute, put, rows, segmented, value

PROFILE = "/api/mcp/customer/C0000001"


async def told(asking: Ask, path: str, status: int = 200, **parameters: Any) -> Any:
    answer = await asking.get(path, params=parameters)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_customer_is_told_in_full(ask: Clients, database: Database) -> None:
    profile = await told(ask.support, PROFILE)
    CustomerProfile.model_validate(profile)
    assert profile["customer_id"] == "C0000001"
    assert profile["segment_status"] == "segmented"
    assert profile["message"] is None
    assert profile["identity"]["email"].endswith("@example.net")
    assert profile["identity"]["name"] == f"{profile['identity']['first_name']} {profile['identity']['last_name']}"
    for shares in profile["fuzzy_memberships"].values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
    assert profile["archetype"]["archetype_id"] == profile["archetype_id"]
    stored = await rows(
        database,
        "SELECT archetype_id, archetype_level2_id, lifetime_value, total_orders, run_id FROM fact_customer_current "
        "WHERE store_id = :store AND customer_id = 'C0000001'",
        store=STORE,
    )
    assert (
        profile["archetype_id"],
        profile["archetype_level2_id"],
        pytest.approx(profile["lifetime_value"]),
        profile["total_orders"],
        profile["run_id"],
    ) == tuple(float(each) if not isinstance(each, str | int) else each for each in stored[0])


async def test_the_flat_fields_say_what_the_nested_ones_say(ask: Clients) -> None:
    profile = await told(ask.support, PROFILE)
    for name, number in profile["business_metrics"].items():
        assert name == "usual_gap_days" or profile[name] == number


async def test_a_customer_is_found_by_pseudonym_too(ask: Clients) -> None:
    profile = await told(ask.support, PROFILE)
    assert await told(ask.support, f"/api/mcp/customer/{profile['pseudonym']}") == profile


async def test_what_is_excluded_is_left_out(ask: Clients) -> None:
    whole = await told(ask.support, PROFILE)
    part = await told(ask.support, PROFILE, exclude="memberships, archetype,traits,churn,identity")
    CustomerProfile.model_validate(part)
    gone = set(whole) - set(part)
    assert gone == {
        *("fuzzy_memberships", "dominant_segments", "axis_sources", "membership_strength", "interpretation"),
        *("archetype", "archetype_id", "archetype_level2_id", "archetype_level3_id", "fold_distance"),
        *("key_traits", "churn_risk", "churn_risk_score", "churn_risk_reason", "identity"),
    }
    assert whole["business_metrics"].pop("churn_risk_score") == whole["churn_risk_score"]
    assert all(part[name] == whole[name] for name in part)


async def test_orders_come_with_a_profile_when_asked_for(ask: Clients) -> None:
    profile = await told(ask.support, PROFILE, include="churn,orders")
    assert profile["orders"] | {"as_of": ""} == await told(ask.support, f"{PROFILE}/orders") | {"as_of": ""}
    await told(ask.analytics, "/api/mcp/customer/random", include="orders", status=403)


@pytest.mark.parametrize("parameter", ["include", "exclude"])
async def test_an_unknown_part_is_named_with_those_there_are(ask: Clients, parameter: str) -> None:
    problem = await told(ask.support, PROFILE, 422, **{parameter: "everything"})
    assert problem["errors"][0]["field"] == parameter
    assert "churn" in problem["errors"][0]["message"]


async def test_chance_brings_different_customers_of_the_run(ask: Clients, database: Database) -> None:
    met = {(await told(ask.support, "/api/mcp/customer/random"))["customer_id"] for _ in range(12)}
    assert len(met) > 6
    there = await rows(database, "SELECT customer_id FROM customer_profiles WHERE store_id = :store", store=STORE)
    assert met <= {customer for (customer,) in there}


async def test_a_past_day_gives_the_numbers_of_that_day(ask: Clients) -> None:
    now = await told(ask.support, PROFILE)
    first_order = (await told(ask.support, f"{PROFILE}/orders", limit=200))["orders"][-1]["created_at"][:10]
    past = await told(ask.support, PROFILE, as_of="2025-06-01")
    CustomerProfile.model_validate(past)
    assert past["as_of"] == "2025-06-01T05:00:00+00:00"  # midnight in Chicago
    assert past["total_orders"] <= now["total_orders"]
    day_before = date.fromisoformat(first_order) - timedelta(days=1)
    before = await told(ask.support, PROFILE, as_of=day_before.isoformat())
    assert before["segment_status"] == "awaiting_first_purchase"
    assert before["total_orders"] == 0
    assert await told(ask.support, PROFILE) == now


async def test_a_day_that_lies_ahead_is_refused(ask: Clients) -> None:
    problem = await told(ask.support, PROFILE, 422, as_of="9999-12-31")
    assert "as_of" in problem["detail"]
    assert "future" in problem["detail"]


async def test_someone_without_an_order_awaits_the_first(ask: Clients, database: Database) -> None:
    (nobody,) = (
        await rows(
            database,
            "SELECT customer_id FROM customers WHERE store_id = :store AND orders_count = 0 LIMIT 1",
            store=STORE,
        )
    )[0]
    profile = await told(ask.support, f"/api/mcp/customer/{nobody}")
    CustomerProfile.model_validate(profile)
    assert set(profile) == set(await told(ask.support, PROFILE))
    assert profile["segment_status"] == "awaiting_first_purchase"
    assert profile["message"] == "Awaiting first purchase to analyze behavior"
    assert (profile["archetype"], profile["fuzzy_memberships"], profile["membership_strength"]) == (None, None, None)
    assert (profile["lifetime_value"], profile["total_orders"], profile["avg_order_value"]) == (0, 0, 0)
    assert (profile["days_since_last_purchase"], profile["ltv_tier"]) == (None, None)
    assert (await told(ask.support, f"/api/mcp/customers/{nobody}"))["archetype"] is None


async def test_before_a_segmentation_the_orders_speak(empty_shop: Ask, database: Database, store_id: str) -> None:
    await told(empty_shop, "/api/mcp/customer/random", 404)
    await put(database, store_id, bought("ada", "o1", "2024-01-05", ("thread", "2", "4.50")))
    profile = await told(empty_shop, "/api/mcp/customer/ada")
    CustomerProfile.model_validate(profile)
    assert profile["segment_status"] == "awaiting_segmentation"
    assert "app segment" in profile["message"]
    assert (profile["lifetime_value"], profile["total_orders"], profile["avg_order_value"]) == (9, 1, 9)
    assert profile["days_since_last_purchase"] > 100
    assert profile["run_id"] is None
    assert (await told(empty_shop, "/api/mcp/customer/random"))["customer_id"] == "ada"
    problem = await told_post(empty_shop, "/api/mcp/customer/ada/refresh", 404)
    assert "app segment" in problem["detail"]


async def told_post(asking: Ask, path: str, status: int = 200) -> Any:
    answer = await asking.post(path)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_who_ordered_after_the_run_is_scored_at_once_and_kept_by_a_refresh(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    for number in range(8):
        await put(database, store_id, bought(f"c{number}", f"o{number}", f"2024-01-{number + 1:02}", ("x", "1", "5")))
    await segmented(database, store_id, min_population=1, min_members=1)
    await put(database, store_id, bought("late", "o99", "2024-03-01", ("x", "1", "7")))
    profile = await told(empty_shop, "/api/mcp/customer/late")
    CustomerProfile.model_validate(profile)
    assert profile["segment_status"] == "segmented"
    assert profile["archetype"]["archetype_id"] == profile["archetype_id"]
    assert (profile["total_orders"], profile["days_since_last_purchase"]) == (1, 1)
    kept = "SELECT count(*) FROM customer_profiles WHERE store_id = :store AND customer_id = 'late'"
    assert await value(database, kept, store=store_id) == 0
    assert await told_post(empty_shop, "/api/mcp/customer/late/refresh") == profile
    assert await value(database, kept, store=store_id) == 1
    assert await told(empty_shop, "/api/mcp/customer/late") == profile


async def test_a_profile_that_an_older_version_stored_is_scored_at_once(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    for number in range(8):
        await put(database, store_id, bought(f"c{number}", f"o{number}", f"2024-01-{number + 1:02}", ("x", "1", "5")))
    await segmented(database, store_id, min_population=1, min_members=1)
    ready = await told(empty_shop, "/api/mcp/customer/c1")
    await execute(database, "UPDATE fact_customer_standing SET profile = NULL WHERE store_id = :store", store=store_id)
    await execute(database, "UPDATE dim_archetype_l1 SET profile = NULL WHERE store_id = :store", store=store_id)
    scored = await told(empty_shop, "/api/mcp/customer/c1")
    assert set(scored) == set(ready)
    assert scored["archetype"] == ready["archetype"]


async def test_a_run_of_an_older_version_leaves_the_orders_to_speak(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    for number in range(8):
        await put(database, store_id, bought(f"c{number}", f"o{number}", f"2024-01-{number + 1:02}", ("x", "1", "5")))
    await segmented(database, store_id, min_population=1, min_members=1)
    await execute(database, "UPDATE fact_customer_standing SET profile = NULL WHERE store_id = :store", store=store_id)
    await execute(database, "UPDATE segmentation_runs SET yardstick = NULL WHERE store_id = :store", store=store_id)
    older = await told(empty_shop, "/api/mcp/customer/c1")
    CustomerProfile.model_validate(older)
    await told_post(empty_shop, "/api/mcp/customer/c1/refresh", 409)
    assert older["segment_status"] == "awaiting_segmentation"
    assert "older version" in older["message"]


async def test_a_profile_tells_the_rfm_group_and_scores_that_are_stored(ask: Clients, database: Database) -> None:
    stored = await rows(
        database,
        "SELECT customer_id, rfm_recency, rfm_frequency, rfm_monetary, rfm_group FROM fact_customer_current "
        "WHERE store_id = :store ORDER BY customer_id LIMIT 5",
        store=STORE,
    )
    for customer, recency, frequency, monetary, group in stored:
        rfm = {
            "recency_score": recency,
            "frequency_score": frequency,
            "monetary_score": monetary,
            "group": group,
            "previous_group": None,
            "changed_on": None,
        }
        path = f"/api/mcp/customer/{customer}"
        assert (await told(ask.support, path))["rfm"] == rfm
        assert (await told(ask.support, path, exclude="memberships"))["rfm"] == rfm


async def test_a_refresh_tells_the_group_before_and_the_day_it_changed(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=10)
    kept = "SELECT customer_id FROM fact_customer_current WHERE store_id = :store AND rfm_group = 'hibernating' LIMIT 1"
    path = f"/api/mcp/customer/{(customer_id := await value(database, kept, store=store_id))}"
    before = (await told(empty_shop, path))["rfm"]
    for number in range(9):
        back = bought(customer_id, f"back{number}", f"2024-11-0{number + 1}", ("P1", "3", "10"))
        await put(database, store_id, back)
    assert (await told(empty_shop, path))["rfm"] == before
    refreshed = (await told_post(empty_shop, f"{path}/refresh"))["rfm"]
    assert (refreshed["group"], refreshed["recency_score"], refreshed["frequency_score"]) == ("champions", 5, 5)
    assert (refreshed["previous_group"], refreshed["changed_on"]) == ("hibernating", "2024-11-09")
    assert (await told(empty_shop, path))["rfm"] == refreshed
    past = (await told(empty_shop, path, as_of="2024-10-01"))["rfm"]
    assert (past["group"], past["previous_group"], past["changed_on"]) == ("hibernating", None, None)


async def test_who_has_no_standing_or_one_of_an_older_version_has_no_rfm(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, [*a_shop(30), Customer("waiting")])
    assert (await told(empty_shop, "/api/mcp/customer/c001"))["rfm"] is None
    await segmented(database, store_id, min_population=10)
    assert (await told(empty_shop, "/api/mcp/customer/waiting"))["rfm"] is None
    assert (await told(empty_shop, "/api/mcp/customer/c001"))["rfm"] is not None
    await execute(database, "UPDATE fact_customer_standing SET rfm_group = NULL WHERE store_id = :s", s=store_id)
    older = await told(empty_shop, "/api/mcp/customer/c001")
    CustomerProfile.model_validate(older)
    assert (older["segment_status"], older["rfm"]) == ("segmented", None)


async def test_a_customer_in_brief_agrees_with_the_whole(ask: Clients) -> None:
    whole, brief = await told(ask.support, PROFILE), await told(ask.support, "/api/mcp/customers/C0000001")
    BriefCustomer.model_validate(brief)
    assert brief["archetype"] == {
        "id": whole["archetype_id"],
        "name": whole["archetype"]["segment_name"],
        "level": 1,
    }
    assert (brief["ltv"], brief["total_orders"], brief["avg_order_value"]) == (
        whole["lifetime_value"],
        whole["total_orders"],
        whole["avg_order_value"],
    )
    assert (brief["email"], brief["churn_risk"]) == (whole["identity"]["email"], whole["churn_risk_score"])


@pytest.mark.parametrize("what", ["id", "ID in other case", "first name", "e-mail", "order number", "pseudonym"])
async def test_a_search_finds_a_customer_by_any_of_their_marks(ask: Clients, database: Database, what: str) -> None:
    profile = await told(ask.support, PROFILE)
    number = await value(
        database, "SELECT order_number FROM orders WHERE store_id = :s AND customer_id = 'C0000001' LIMIT 1", s=STORE
    )
    query = {
        "id": "C0000001",
        "ID in other case": "c0000001",
        "first name": profile["identity"]["first_name"].upper(),
        "e-mail": profile["identity"]["email"].split("@")[0],
        "order number": number or "C0000001",
        "pseudonym": profile["pseudonym"],
    }[what]
    found = await told(ask.support, "/api/mcp/customers/search", query=query, limit=100)
    FoundCustomers.model_validate(found)
    assert "C0000001" in [each["customer_id"] for each in found["customers"]]
    assert found["count"] == len(found["customers"])


async def test_a_search_takes_wildcards_as_they_are_written(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer("a_b", email="50%@example.org"), Customer("axb", email="5@example.org")])
    for query, expected in (("a_", ["a_b"]), ("%", ["a_b"]), ("'", []), ("\\", [])):
        found = await told(empty_shop, "/api/mcp/customers/search", query=query)
        assert [each["customer_id"] for each in found["customers"]] == expected


async def test_a_search_shows_no_more_than_asked_for(ask: Clients) -> None:
    found = await told(ask.support, "/api/mcp/customers/search", query="c0000", limit=3)
    assert found["count"] == 3


async def test_an_order_number_finds_its_customer_first_however_many_begin_with_it(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    many = [
        record
        for number in range(1, 131)
        for record in bought(
            f"c{number:03}", f"o{number}", "2024-03-01", ("tea", str(number), "9"), order_number=f"#{number}"
        )
    ]
    await put(database, store_id, many)
    for query in ("12", "#12"):
        found = await told(empty_shop, "/api/mcp/customers/search", query=query, limit=5)
        assert found["customers"][0]["customer_id"] == "c012"


async def test_before_anything_is_published_a_day_in_the_past_counts_only_what_was_before_it(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(
        database,
        store_id,
        [
            *bought("ada", "o1", "2024-03-01", ("tea", "1", "6")),
            *bought("ada", "o2", "2024-05-01", ("tea", "1", "100")),
        ],
    )
    then = await told(empty_shop, "/api/mcp/customer/ada", as_of="2024-04-01")
    assert (then["segment_status"], then["total_orders"], then["lifetime_value"]) == ("awaiting_segmentation", 1, 6)
    assert then["days_since_last_purchase"] == 31
    before = await told(empty_shop, "/api/mcp/customer/ada", as_of="2024-02-01")
    assert (before["segment_status"], before["total_orders"]) == ("awaiting_first_purchase", 0)


async def test_in_brief_a_customer_is_as_of_when_they_were_scored(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    await put(database, store_id, bought("c001", "late", "2024-12-01 10:00", ("P1", "3", "100")))
    full = (await empty_shop.post("/api/mcp/customer/c001/refresh")).json()
    brief = await told(empty_shop, "/api/mcp/customers/c001")
    assert (brief["as_of"], brief["ltv"]) == (full["as_of"], full["lifetime_value"])
    assert brief["as_of"] != (await told(empty_shop, "/api/mcp/customers/c002"))["as_of"]


async def test_someone_whose_orders_all_lie_ahead_is_refreshed_to_what_they_are(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    await put(database, store_id, bought("ahead", "o9", "2199-01-01", ("tea", "1", "6")))
    answer = await empty_shop.post("/api/mcp/customer/ahead/refresh")
    assert (answer.status_code, answer.json()["segment_status"]) == (200, "awaiting_first_purchase")


# Why


async def test_the_reasons_are_those_of_the_very_numbers_they_come_with(ask: Clients) -> None:
    for parameters in ({}, {"as_of": "2025-06-01"}):
        plain = await told(ask.support, PROFILE, **parameters)
        profile = await told(ask.support, PROFILE, include="why", **parameters)
        CustomerProfile.model_validate(profile)
        assert {name: each for name, each in profile.items() if name != "why"} == plain
        assert {axis: each["segment"] for axis, each in profile["why"].items()} == profile["dominant_segments"]
        for axis, why in profile["why"].items():
            assert why["membership"] == pytest.approx(profile["fuzzy_memberships"][axis][why["segment"]], abs=1e-8)
            made = why["typical_membership"] + sum(each["contribution"] for each in why["contributions"])
            assert not why["contributions"] or made == pytest.approx(why["membership"], abs=1e-8)
            assert why["change"] is None or why["change"]["to_segment"] in profile["fuzzy_memberships"][axis]
            assert why["says"].endswith(".")


async def test_reasons_come_without_what_is_excluded_and_by_chance_too(ask: Clients) -> None:
    everything = ",".join(PARTS)
    profile = await told(ask.support, PROFILE, include="why,orders", exclude=everything)
    assert profile["why"]
    assert profile["orders"]
    assert "fuzzy_memberships" not in profile
    assert (await told(ask.analytics, "/api/mcp/customer/random", include="why"))["why"]


async def test_reasons_count_orders_that_came_in_after_the_profile_was_written(
    empty_shop: Ask, database: Database, store_id: str
) -> None:
    """Placed before as_of and imported after the run: the numbers beside the reasons count them as well."""
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=1)
    before = await told(empty_shop, "/api/mcp/customer/c001")
    await put(database, store_id, bought("c001", "late", "2024-02-01 10:00", ("P1", "3", "500")))
    after = await told(empty_shop, "/api/mcp/customer/c001", include="why")
    assert (after["run_id"], after["as_of"]) == (before["run_id"], before["as_of"])
    assert after["lifetime_value"] == before["lifetime_value"] + 1500
    (spent,) = [
        each["value"] for each in after["why"]["purchase_value"]["contributions"] if each["feature"] == "lifetime_value"
    ] or [after["lifetime_value"]]
    assert spent == after["lifetime_value"]
    assert {axis: each["segment"] for axis, each in after["why"].items()} == after["dominant_segments"]


async def test_someone_without_an_order_has_no_reasons(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, [*a_shop(3), Customer("waiting")])
    for customer_id, status in (("waiting", "awaiting_first_purchase"), ("c001", "awaiting_segmentation")):
        profile = await told(empty_shop, f"/api/mcp/customer/{customer_id}", include="why")
        CustomerProfile.model_validate(profile)
        assert (profile["segment_status"], profile["why"]) == (status, None)
        assert profile["message"] == (await told(empty_shop, f"/api/mcp/customer/{customer_id}"))["message"]


async def test_an_unknown_include_names_those_there_are(ask: Clients) -> None:
    problem = await told(ask.support, PROFILE, 422, include="reasons")
    assert problem["errors"] == [{"field": "include", "message": "takes a comma list of churn, orders, why"}]


@pytest.fixture
def noted(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str | None]]]:
    """What is noted to have been read, and of whom, from now on."""
    seen: list[tuple[str, list[str | None]]] = []

    def read(_caller: Caller, action: str, subjects: Iterable[str | None]) -> None:
        seen.append((action, list(subjects)))

    monkeypatch.setattr(app.state.resources.audit, "read", read)
    return seen


async def pseudonym_of(database: Database, store_id: str, customer_id: str) -> str:
    named = "SELECT pseudonym FROM customer_pseudonyms WHERE store_id = :s AND customer_id = :c"
    return str(await value(database, named, s=store_id, c=customer_id))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PROFILE),
        ("GET", f"{PROFILE}?include=orders,why,churn"),
        ("GET", f"{PROFILE}?as_of=2026-01-01&exclude=churn"),
        ("POST", f"{PROFILE}/refresh"),
        ("GET", f"{PROFILE}/orders"),
        ("GET", f"{PROFILE}/history"),
        ("GET", f"{PROFILE}/churn-risk"),
        ("GET", "/api/mcp/customers/C0000001"),
        ("GET", "/api/mcp/customers/C0000001?as_of=2026-01-01"),
    ],
)
async def test_a_request_that_shows_a_customer_is_noted_once(
    ask: Clients, shop: str, database: Database, noted: list[Any], method: str, path: str
) -> None:
    """Also where they are looked up more than once for it; what is asked again is noted again."""
    pseudonym = await pseudonym_of(database, shop, "C0000001")
    for _ in range(2):
        answer = await ask.support.request(method, path)
        assert answer.status_code == 200, answer.text
    assert noted == [("customer.read", [pseudonym])] * 2


async def test_so_is_one_during_which_another_run_was_published(
    ask: Clients, noted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, gone = service._form, [True]

    async def gone_at_first(*arguments: Any) -> Any:
        return None if gone and gone.pop() else await whole(*arguments)

    monkeypatch.setattr(service, "_form", gone_at_first)
    assert (await ask.support.get(PROFILE)).status_code == 200
    assert (gone, len(noted)) == ([], 1)
