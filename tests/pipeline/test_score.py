"""One customer now: the same numbers as the run, from the run's own scalers, centers and archetypes."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from app.core.errors import CustomerNotFound, DatabaseUnavailable, NothingPublished, OutdatedRun, StoreNotFound
from app.domain.profile_form import ProfileForm
from app.domain.records import Customer, Ticket
from app.domain.value_tiers import value_tiers_from
from app.pipeline.ingest import ingest
from app.pipeline.predict import PredictOptions, predict
from app.pipeline.run import RunResult
from app.pipeline.sample import SampleShop
from app.pipeline.score import score_customer
from app.warehouse.audit import AuditNote
from app.warehouse.checks import check_star
from app.warehouse.customers import read_form
from app.warehouse.engine import Database
from tests.fakes import (
    NOW,
    SECRET,
    STAR,
    a_shop,
    assert_alike,
    assert_same_star,
    at,
    bought,
    dump,
    execute,
    put,
    rows,
    segmented,
    value,
)

# A third and two thirds of this many are whole numbers of gaps between customers, so that the limits of the strength
# bands are customers themselves: the place where a last digit would show.
N_CUSTOMERS = 91

STORED = """
    SELECT customer_id, profile.archetype_id, segment_memberships, profile.dominant_segments, membership_strengths,
        feature_vectors, interpretation, profile.lifetime_value::float8, fact.profile, fold_distance,
        rfm_recency, rfm_frequency, rfm_monetary, rfm_group, memberships, dominant
    FROM customer_profiles AS profile JOIN fact_customer_current AS fact USING (store_id, run_id, customer_id)
    WHERE store_id = :store ORDER BY customer_id
"""


@dataclass(frozen=True)
class Shop:
    """stored : per customer what the database keeps of them; texts : and the text of their profile"""

    store_id: str
    result: RunResult
    stored: dict[str, tuple[Any, ...]]
    texts: dict[str, dict[str, Any]]


async def shop_of(database: Database, store_id: str, result: RunResult) -> Shop:
    """A store as it is served."""
    stored = {row[0]: row for row in await rows(database, STORED, store=store_id)}
    # Put together from the database alone.
    form = await read_form(database, store_id, result.run_id)
    segments = list(zip(form["axes"], form["names"], form["sources"], strict=True))
    axes = [
        (
            axis,
            [name for each, name, _ in segments if each == axis],
            [source for each, _, source in segments if each == axis],
        )
        for axis in dict.fromkeys(form["axes"])
    ]
    profiles = ProfileForm(axes, cutoffs=value_tiers_from(json.loads(form["tiers"])).cutoffs())
    texts = {
        customer: json.loads(f"{{{profiles.filled(row[8], row[-2], row[-1])}}}") for customer, row in stored.items()
    }
    return Shop(store_id, result, stored, texts)


@pytest.fixture(scope="module")
async def shop(database: Database) -> Shop:
    """A segmented store. Signatures of two are kept, so that there are several forms on levels 2 and 3."""
    store_id = "score-shop"
    await ingest(
        database,
        SampleShop(customers=N_CUSTOMERS),
        store_id=store_id,
        timezone="UTC",
        currency="USD",
        pseudonym_secret=SECRET,
    )
    result = await segmented(database, store_id, max_k=5, min_members=2, min_population=50)
    return await shop_of(database, store_id, result)


async def test_every_customer_scores_as_the_run_placed_them(database: Database, shop: Shop) -> None:
    """And when kept, everything served stays what it is: the archetypes of all three levels among it."""
    leave_out = ["xmin", "updated_at"]
    before = await dump(database, shop.store_id, STAR, without=leave_out)
    for customer_id, stored in shop.stored.items():
        profile = await score_customer(database, shop.store_id, customer_id, keep=True)
        _, archetype, memberships, dominant, strengths, features, words, worth, _, _, *rfm, _, _ = stored
        assert profile.archetype_id == archetype
        assert_alike(profile.fuzzy_memberships, memberships)
        assert_alike(profile.feature_vectors, features)
        assert (profile.dominant_segments, profile.membership_strength) == (dominant, strengths)
        assert (profile.interpretation, profile.lifetime_value) == (words, pytest.approx(worth, abs=1e-9))
        assert_alike(json.loads(f"{{{profile.text}}}"), shop.texts[customer_id])
        assert [*profile.rfm_scores, profile.rfm_group] == rfm
        assert (profile.customer_id, profile.store_id, profile.run_id) == (
            customer_id,
            shop.store_id,
            shop.result.run_id,
        )
        assert profile.as_of.isoformat() == shop.result.report["as_of"]
    assert len(shop.stored) == N_CUSTOMERS
    assert_same_star(await dump(database, shop.store_id, STAR, without=leave_out), before)


@pytest.fixture(scope="module")
async def asking_shop(database: Database) -> Shop:
    """A segmented store with customers enough who have two tickets."""
    store_id = "asking-shop"
    source = SampleShop(customers=1_500)
    await ingest(database, source, store_id=store_id, timezone="UTC", currency="USD", pseudonym_secret=SECRET)
    result = await segmented(database, store_id)
    return await shop_of(database, store_id, result)


ASKING = "SELECT customer_id FROM tickets WHERE store_id = :store GROUP BY 1 HAVING count(*) >= 2"
READ_FROM_TICKETS = ("communication_preference", "problem_complexity_profile", "support_history")


async def test_who_has_two_tickets_is_read_from_them_and_no_one_else(database: Database, asking_shop: Shop) -> None:
    asking = {customer for (customer,) in await rows(database, ASKING, store=asking_shop.store_id)}
    for customer_id, text in asking_shop.texts.items():
        sources = text["axis_sources"]
        read_from_tickets = {axis for axis, source in sources.items() if source == "tickets"}
        assert read_from_tickets == (set(READ_FROM_TICKETS) if customer_id in asking else set())
        assert len(sources) == 14


async def test_everyone_scores_as_the_run_placed_them_whatever_they_are_read_from(
    database: Database, asking_shop: Shop
) -> None:
    asking = {customer for (customer,) in await rows(database, ASKING, store=asking_shop.store_id)}
    known = list(asking_shop.stored)
    some = [*[each for each in known if each in asking][:25], *[each for each in known if each not in asking][:15]]
    for customer_id in some:
        profile = await score_customer(database, asking_shop.store_id, customer_id)
        _, archetype, memberships, dominant, strengths, features, *_ = asking_shop.stored[customer_id]
        assert profile.archetype_id == archetype
        assert_alike(profile.fuzzy_memberships, memberships)
        assert_alike(profile.feature_vectors, features)
        assert (profile.dominant_segments, profile.membership_strength) == (dominant, strengths)
        assert_alike(json.loads(f"{{{profile.text}}}"), asking_shop.texts[customer_id])


async def test_a_second_ticket_moves_a_customer_to_the_other_reading(database: Database, asking_shop: Shop) -> None:
    query = """
        SELECT min(customer_id) FROM (
            SELECT customer_id FROM tickets JOIN fact_customer_current USING (store_id, customer_id)
            WHERE store_id = :store GROUP BY 1 HAVING count(*) = 1
        ) AS one
    """
    customer = await value(database, query, store=asking_shop.store_id)
    before = await score_customer(database, asking_shop.store_id, customer)
    assert before.dominant_segments["support_history"] == "self_service"
    last = await value(database, "SELECT max(created_at) FROM tickets WHERE store_id = :s", s=asking_shop.store_id)
    await put(database, asking_shop.store_id, [Ticket("one-more", customer, last)], timezone="UTC", currency="USD")
    try:
        after = await score_customer(database, asking_shop.store_id, customer)
    finally:
        await execute(
            database, "DELETE FROM tickets WHERE store_id = :s AND ticket_id = 'one-more'", s=asking_shop.store_id
        )
    for axis in READ_FROM_TICKETS:
        shares = after.fuzzy_memberships[axis]
        assert sum(shares.values()) == pytest.approx(1)
        assert after.dominant_segments[axis] != before.dominant_segments[axis]
        assert all(share == 0 or before.fuzzy_memberships[axis][name] == 0 for name, share in shares.items())
    others = set(after.dominant_segments) - set(READ_FROM_TICKETS)
    assert all(after.fuzzy_memberships[axis] == before.fuzzy_memberships[axis] for axis in others)


async def test_the_star_holds_together_with_two_readings(database: Database, asking_shop: Shop) -> None:
    async with database.snapshot() as connection:
        assert [check for check in await check_star(connection, asking_shop.store_id) if not check.holds] == []


async def test_the_sample_has_what_makes_scoring_hard(shop: Shop) -> None:
    """Folded customers, and several forms on levels 2 and 3: else the promise above is kept too easily."""
    levels = shop.result.report["archetypes"]["levels"]
    assert levels[1]["count"] < levels[2]["count"]
    assert levels[1]["count"] < levels[3]["count"]
    assert any(row[9] > 0 for row in shop.stored.values())


async def test_scoring_writes_nothing_unless_asked(database: Database, shop: Shop) -> None:
    before = await dump(database, shop.store_id, STAR)
    await score_customer(database, shop.store_id, next(iter(shop.stored)))
    assert await dump(database, shop.store_id, STAR) == before


async def test_keeping_a_score_replaces_that_customers_rows_alone(database: Database, shop: Shop) -> None:
    someone = next(iter(shop.stored))
    before = await dump(database, shop.store_id, STAR)
    await score_customer(database, shop.store_id, someone, keep=True)
    after = await dump(database, shop.store_id, STAR)
    for table in STAR:
        written = set(after[table]) - set(before[table])
        assert len(written) == (table in STAR[4:7]), table
        assert len(after[table]) == len(before[table])
        assert all(f'"customer_id": "{someone}"' in row for row in written)


async def test_later_orders_count_when_scored_as_of_later(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    result = await segmented(database, store_id, min_population=10)
    old = await score_customer(database, store_id, "c001")
    new_order = bought("c001", "late", "2024-12-01 10:00", ("P1", "3", "100"))
    await put(database, store_id, new_order)

    assert (await score_customer(database, store_id, "c001")).lifetime_value == old.lifetime_value
    now = await score_customer(database, store_id, "c001", as_of=at("2024-12-02"), keep=True)
    assert now.lifetime_value == old.lifetime_value + 300
    assert (now.run_id, now.as_of) == (result.run_id, at("2024-12-02"))
    query = """
        SELECT lifetime_value, total_orders, days_since_last_purchase, snapshot_date::text
        FROM fact_customer_current WHERE store_id = :store AND customer_id = 'c001'
    """
    assert await rows(database, query, store=store_id) == [(now.lifetime_value, 4, 1, "2024-12-01")]


async def test_a_customer_who_came_after_the_run_is_placed_too(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    await put(database, store_id, bought("new", "n1", "2024-12-01 10:00", ("P1", "3", "100")))
    with pytest.raises(CustomerNotFound):
        await score_customer(database, store_id, "new")
    profile = await score_customer(database, store_id, "new", as_of=at("2024-12-02"), keep=True)
    assert all(sum(shares.values()) == pytest.approx(1) for shares in profile.fuzzy_memberships.values())
    query = "SELECT count(*) FROM customer_intelligence WHERE store_id = :store AND customer_id = 'new'"
    assert await rows(database, query, store=store_id) == [(1,)]


@pytest.mark.parametrize("customer_id", ["c001", "new"])
async def test_the_star_holds_together_after_a_customer_was_kept_as_of_later(
    database: Database, store_id: str, customer_id: str
) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    await put(database, store_id, bought(customer_id, "late", "2024-12-01 10:00", ("P1", "3", "100")))
    await score_customer(database, store_id, customer_id, as_of=at("2024-12-02"), keep=True)
    async with database.snapshot() as connection:
        assert [check for check in await check_star(connection, store_id) if not check.holds] == []


async def test_scoring_as_of_the_past_uses_nothing_after_it(database: Database, store_id: str) -> None:
    await put(database, store_id, bought("ada", "o1", "2024-01-10", ("tea", "1", "7")))
    await put(database, store_id, [*a_shop(30), *bought("ada", "o2", "2024-04-01", ("tea", "1", "90"))])
    await segmented(database, store_id, min_population=10)
    profile = await score_customer(database, store_id, "ada", as_of=at("2024-04-01") - timedelta(seconds=1))
    assert profile.lifetime_value == 7


async def test_a_shop_of_one_kind_has_a_place_for_everyone(database: Database, store_id: str) -> None:
    same = [record for i in range(30) for record in bought(f"c{i}", f"o{i}", "2024-03-01", ("tea", "1", "2"))]
    await put(database, store_id, same)
    await segmented(database, store_id, min_population=10)
    profile = await score_customer(database, store_id, "c7", keep=True)
    assert all(list(shares.values()) == [1] for shares in profile.fuzzy_memberships.values())


async def test_an_unknown_customer_is_not_found(database: Database, shop: Shop) -> None:
    with pytest.raises(CustomerNotFound, match=f"'{shop.store_id}' has no customer 'nobody'"):
        await score_customer(database, shop.store_id, "nobody")


async def test_a_customer_without_orders_is_not_found(database: Database, store_id: str) -> None:
    await put(database, store_id, [*a_shop(30), Customer("waiting")])
    await segmented(database, store_id, min_population=10)
    with pytest.raises(CustomerNotFound):
        await score_customer(database, store_id, "waiting")


async def test_a_customer_of_another_store_is_not_found(database: Database, shop: Shop, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    with pytest.raises(CustomerNotFound):
        await score_customer(database, store_id, next(iter(shop.stored)))


async def test_a_store_that_was_not_segmented_yet_says_so(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(3))
    with pytest.raises(NothingPublished, match=f"segment --store {store_id}"):
        await score_customer(database, store_id, "c001")


async def test_an_unknown_store_says_so(database: Database, store_id: str) -> None:
    with pytest.raises(StoreNotFound, match=store_id):
        await score_customer(database, store_id, "c001")


async def test_someone_who_is_scored_and_kept_is_predicted_anew(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(60, orders_each=5))
    await segmented(database, store_id, min_population=10)
    await predict(database, store_id, PredictOptions(), now=NOW)
    query = "SELECT churn_risk_score FROM customer_profiles WHERE store_id = :store AND customer_id = 'c001'"
    before = await value(database, query, store=store_id)
    await execute(
        database,
        "UPDATE fact_customer_prediction SET churn_risk_score = .25 WHERE store_id = :store AND customer_id = 'c001'",
        store=store_id,
    )
    await score_customer(database, store_id, "c001")
    assert await value(database, query, store=store_id) == 0.25
    await score_customer(database, store_id, "c001", keep=True)
    assert await value(database, query, store=store_id) == before


async def test_a_run_of_an_older_version_is_refused_in_words(database: Database, store_id: str) -> None:
    """It kept less than is needed to describe one customer."""
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    await execute(database, "UPDATE segmentation_runs SET yardstick = NULL WHERE store_id = :store", store=store_id)
    with pytest.raises(OutdatedRun, match=r"older version.*segment --store"):
        await score_customer(database, store_id, "c001")


async def test_a_run_that_kept_no_fifths_is_of_an_older_version(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    await execute(
        database, "UPDATE segmentation_runs SET yardstick = yardstick - 'rfm' WHERE store_id = :store", store=store_id
    )
    with pytest.raises(OutdatedRun):
        await score_customer(database, store_id, "c001")


RFM = """
    SELECT customer_id, rfm_group, rfm_previous_group, rfm_changed_on::text, snapshot_date::text
    FROM fact_customer_current WHERE store_id = :store ORDER BY customer_id
"""


async def test_who_is_in_another_group_in_a_later_run_says_since_when(database: Database, store_id: str) -> None:
    """Half of the shop comes back: they rise, the others sink."""
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=10, as_of=at("2024-04-01"))
    first = {customer: group for customer, group, *_ in await rows(database, RFM, store=store_id)}
    for number in range(0, 40, 2):
        back = bought(f"c{number:03}", f"back{number}", "2024-11-01", ("P1", "3", "10"))
        await put(database, store_id, back)
    await segmented(database, store_id, min_population=10, as_of=at("2024-12-01"))
    second = await rows(database, RFM, store=store_id)
    expected = [
        (group, first[customer], "2024-11-30") if group != first[customer] else (group, None, None)
        for customer, group, *_ in second
    ]
    assert [tuple(row[1:4]) for row in second] == expected
    assert len({before is None for _, before, _ in expected}) == 2, "some changed and some did not"


async def test_who_is_scored_into_another_group_and_kept_says_since_when(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(40))
    await segmented(database, store_id, min_population=10, as_of=at("2024-04-01"))
    customer_id, was, *_ = next(row for row in await rows(database, RFM, store=store_id) if row[1] == "hibernating")
    for number in range(9):
        back = bought(customer_id, f"back{number}", f"2024-11-0{number + 1}", ("P1", "3", "10"))
        await put(database, store_id, back)

    async def kept(moment: str) -> tuple[Any, ...]:
        await score_customer(database, store_id, customer_id, as_of=at(moment), keep=True)
        return next(row for row in await rows(database, RFM, store=store_id) if row[0] == customer_id)

    rescored = (customer_id, "champions", was, "2024-11-09", "2024-11-09")
    assert await kept("2024-11-10") == rescored
    assert await kept("2024-11-11") == (*rescored[:-1], "2024-11-10")
    await segmented(database, store_id, min_population=10, as_of=at("2024-11-12"))
    assert (await rows(database, RFM, store=store_id))[int(customer_id[1:])] == (*rescored[:-1], "2024-11-11")


async def test_a_score_that_cannot_be_noted_is_not_kept(
    database: Database, store_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    await put(database, store_id, a_shop(20))
    await segmented(database, store_id, min_population=10)
    await put(database, store_id, bought("c001", "new", "2024-12-01", ("P1", "3", "10")))
    note = AuditNote(store_id, NOW, "key00001", "customer.refresh", None)
    asked: dict[str, Any] = {"as_of": at("2024-12-02"), "keep": True, "note": note}
    before = await dump(database, store_id, ["fact_customer_standing"])
    with monkeypatch.context() as patched, pytest.raises(DatabaseUnavailable):
        patched.setattr("app.pipeline.score.write_audit", away)
        await score_customer(database, store_id, "c001", **asked)
    assert await dump(database, store_id, ["fact_customer_standing"]) == before
    await score_customer(database, store_id, "c001", **asked)
    noted = "SELECT action FROM audit_log WHERE store_id = :s"
    assert await rows(database, noted, s=store_id) == [("customer.refresh",)]
    assert await dump(database, store_id, ["fact_customer_standing"]) != before


async def test_a_new_run_is_used_from_the_moment_it_is_published(database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=10)
    first = await score_customer(database, store_id, "c001")
    second_run = await segmented(database, store_id, min_population=10, max_k=2)
    second = await score_customer(database, store_id, "c001")
    assert first.run_id != second.run_id == second_run.run_id
    query = "SELECT segment_memberships FROM customer_profiles WHERE store_id = :store AND customer_id = 'c001'"
    assert_alike(second.fuzzy_memberships, await value(database, query, store=store_id))
