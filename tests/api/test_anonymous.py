"""Keys without the right to identities: pseudonyms, shares and no counts, in every answer there is."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from app.api import anonymous
from app.api.anonymous import FEWEST
from app.warehouse.archetypes import SmallGroups, read_small_groups
from app.warehouse.engine import Database
from tests.api.conftest import STORE, Ask, Clients
from tests.api.test_customers import told
from tests.fakes import a_shop, put, rows, segmented

TOP = "/api/mcp/archetypes/top"


def leaves(told: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every name and value in an answer."""
    if isinstance(told, dict):
        for key, each in told.items():
            yield from leaves(each, key)
    elif isinstance(told, list):
        for each in told:
            yield from leaves(each, name)
    else:
        yield name, told


async def test_a_pseudonym_is_the_customer_id_and_the_shops_own_is_unknown(ask: Clients) -> None:
    known = await told(ask.support, "/api/mcp/customer/C0000001")
    hidden = await told(ask.analytics, f"/api/mcp/customer/{known['pseudonym']}")
    assert hidden["customer_id"] == hidden["pseudonym"] == known["pseudonym"]
    assert hidden["identity"] is None
    assert hidden["lifetime_value"] == known["lifetime_value"]
    for path in ("/api/mcp/customer/C0000001", "/api/mcp/customers/C0000001"):
        await told(ask.analytics, path, 404)
    brief = await told(ask.analytics, f"/api/mcp/customers/{known['pseudonym']}")
    assert (brief["customer_id"], brief["name"], brief["email"]) == (known["pseudonym"], None, None)


@pytest.mark.parametrize("query", ["C0000001", "Rosa", "example.net", "@", "a"])
async def test_a_search_knows_pseudonyms_alone(ask: Clients, query: str) -> None:
    assert (await told(ask.analytics, "/api/mcp/customers/search", query=query))["count"] == 0
    pseudonym = (await told(ask.support, "/api/mcp/customer/C0000001"))["pseudonym"]
    found = await told(ask.analytics, "/api/mcp/customers/search", query=pseudonym.lower())
    assert [each["customer_id"] for each in found["customers"]] == [pseudonym]
    for beginning in ("C-", pseudonym[:-1]):
        found = await told(ask.analytics, "/api/mcp/customers/search", query=beginning)
        assert found["count"] == 0, "by beginnings everyone could be listed, and so counted"


async def test_small_archetypes_stand_together_as_other(ask: Clients) -> None:
    everyone = (await told(ask.support, TOP, limit=100))["archetypes"]
    small = [each for each in everyone if each["member_count"] < FEWEST]
    assert small
    shown = {each["archetype_id"]: each for each in (await told(ask.analytics, TOP, limit=100))["archetypes"]}
    assert set(shown) == {each["archetype_id"] for each in everyone} - {each["archetype_id"] for each in small} | {
        "other"
    }
    assert shown["other"]["population_percentage"] == round(sum(each["population_percentage"] for each in small), 1)
    for each in small:
        await told(ask.analytics, f"/api/mcp/archetypes/{each['archetype_id']}", 404)
        await told(ask.analytics, f"/api/mcp/archetypes/{each['archetype_id']}/members", 404)
    await told(ask.analytics, "/api/mcp/archetypes/other", 404)
    segments = (await told(ask.analytics, "/api/mcp/segments"))["segments"]
    assert {each["id"] for each in segments} == set(shown)


async def test_no_small_segment_is_in_the_evidence_of_an_axis(ask: Clients) -> None:
    hidden = 0
    for each in (await told(ask.support, "/api/mcp/segments/axes"))["axes"]:
        seen = await told(ask.analytics, f"/api/mcp/segments/axes/{each['axis']}")
        drawn = json.dumps([seen["chart"], seen["evidence"]])
        for segment in each["segments"]:
            shown = segment["customer_count"] >= FEWEST
            hidden += not shown
            assert (f'"{segment["name"]}"' in drawn) == shown, (each["axis"], segment)
            assert (f' {anonymous.words(segment["name"])}"' in drawn) == shown
    assert hidden, "a shop without a small segment shows nothing"


async def test_a_member_of_a_small_archetype_is_told_as_other(ask: Clients, database: Database) -> None:
    ((pseudonym,), *_) = await rows(
        database,
        "SELECT pseudonym FROM customer_pseudonyms JOIN fact_customer_current USING (store_id, customer_id) "
        "JOIN dim_archetype_l1 USING (store_id, run_id, archetype_id) WHERE store_id = :s AND member_count < :few",
        s=STORE,
        few=FEWEST,
    )
    profile = await told(ask.analytics, f"/api/mcp/customer/{pseudonym}")
    assert profile["archetype_id"] == profile["archetype"]["archetype_id"] == "other"
    assert profile["archetype_level2_id"] == profile["archetype_level3_id"] == "other"
    assert profile["archetype"]["dominant_segments"] == {}
    assert (await told(ask.analytics, f"/api/mcp/customers/{pseudonym}"))["archetype"]["id"] == "other"


async def test_small_segments_stand_together_as_other(empty_shop: Ask, database: Database, store_id: str) -> None:
    await put(database, store_id, a_shop(30))
    await segmented(database, store_id, min_population=1)
    axes = (await told(empty_shop, "/api/mcp/segments/axes"))["axes"]
    few = {
        axis["axis"]: {each["name"] for each in axis["segments"] if each["customer_count"] < FEWEST} for axis in axes
    }
    assert any(few.values())
    ((run_id,),) = await rows(database, "SELECT served_run_id FROM stores WHERE store_id = :s", s=store_id)
    small = await read_small_groups(database, store_id, run_id, fewer_than=FEWEST)
    assert {axis: names for axis, names in few.items() if names} == dict(small.segments)
    profile = await told(empty_shop, "/api/mcp/customer/c001")
    hidden = anonymous.profile(profile, small)
    for axis, shares in hidden["fuzzy_memberships"].items():
        assert not few[axis] & set(shares)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
        assert hidden["dominant_segments"][axis] in shares
        assert (hidden["axis_sources"][axis] == "other") == (hidden["dominant_segments"][axis] == "other")
    assert not any(name in hidden["interpretation"].split(", ") for names in few.values() for name in names)


def reasons(segment: str, to: str | None, later: str | None) -> dict[str, Any]:
    """Of one axis, as told to who may see everything."""
    change = {"kind": "amount", "amount": 70, "to_segment": to, "says": f"An order would make them {to}."}
    waiting = {"after_days": 9, "to_segment": later, "says": f"Without an order they become {later}."}
    return {
        "segment": segment,
        "membership": 0.123456789,
        "typical_membership": 0.023456789,
        "contributions": [
            {"feature": "visits", "value": 7.5, "typical": 2.1, "contribution": 0.1, "says": "7.5 visits"}
        ],
        "change": None if to is None else change,
        "without_it": None if later is None else waiting,
        "says": f"All of it: {to}, {later}.",
    }


def test_nothing_of_why_tells_what_a_small_segment_is_like_or_how_to_get_there() -> None:
    small = SmallGroups(frozenset(), {"value": frozenset({"few"})}, frozenset(), {})
    own, ahead, idle, neither = (
        anonymous.why({"value": reasons(*each)}, small)["value"]
        for each in (("few", "many", None), ("many", "few", None), ("many", "some", "few"), ("many", "some", "most"))
    )
    assert (own["segment"], own["membership"], own["typical_membership"]) == ("other", None, None)
    assert (own["contributions"], own["change"], own["without_it"]) == ([], None, None)
    assert (ahead["segment"], ahead["change"], ahead["contributions"][0]["contribution"]) == ("many", None, 0.1)
    assert (idle["change"]["to_segment"], idle["without_it"]) == ("some", None)
    assert idle["says"] == "An order would make them some."
    assert neither == {**reasons("many", "some", "most"), "membership": 0.123, "typical_membership": 0.023}
    for each in (own, ahead, idle):
        assert "few" not in json.dumps(each).replace("fewer", "")


async def test_why_tells_shares_to_a_tenth_of_a_percent_and_the_shop_to_two_digits(ask: Clients) -> None:
    known = await told(ask.support, "/api/mcp/customer/C0000001", include="why")
    hidden = await told(ask.analytics, f"/api/mcp/customer/{known['pseudonym']}", include="why")
    assert hidden["why"].keys() == known["why"].keys()
    assert any(each["contributions"] for each in hidden["why"].values())
    for why in hidden["why"].values():
        for share in (why["membership"], why["typical_membership"], *(e["contribution"] for e in why["contributions"])):
            assert share is None or share == round(share, 3)
        for each in why["contributions"]:
            assert each["typical"] == float(f"{each['typical']:.1e}")


def test_a_note_that_too_few_have_tickets_does_not_say_how_many() -> None:
    told = "read from orders, not from tickets: 12 of the 100 customers it takes have 2 or more tickets"
    assert "12" not in anonymous.note(told)
    assert anonymous.note(told).endswith("fewer than the 100 customers it takes have 2 or more tickets")


RFM = "/api/mcp/segments/rfm"


async def test_small_rfm_groups_stand_together_as_other(ask: Clients) -> None:
    everyone = (await told(ask.support, RFM))["groups"]
    small = [each for each in everyone if each["customer_count"] < FEWEST]
    assert 0 < len(small) < len(everyone)
    shown = {each["group"]: each for each in (await told(ask.analytics, RFM))["groups"]}
    assert set(shown) == {each["group"] for each in everyone} - {each["group"] for each in small} | {"other"}
    share = sum(each["population_percentage"] for each in small)
    assert shown["other"]["population_percentage"] == pytest.approx(share, abs=0.06)
    enough = sum(each["customer_count"] for each in small) >= FEWEST
    for each in shown.values():
        assert each["customer_count"] is None
        for name in ("avg_ltv", "avg_recency_days", "avg_orders"):
            told_mean = each[name]
            assert (told_mean is not None) == (enough or each["group"] != "other")
            assert told_mean is None or anonymous.mean(told_mean) == told_mean


async def test_someone_of_a_small_rfm_group_is_told_as_other_and_their_scores_not_at_all(
    ask: Clients, database: Database
) -> None:
    small = {each["group"] for each in (await told(ask.support, RFM))["groups"] if each["customer_count"] < FEWEST}
    found = await rows(
        database,
        "SELECT DISTINCT ON (rfm_group) rfm_group, pseudonym FROM fact_customer_current "
        "JOIN customer_pseudonyms USING (store_id, customer_id) WHERE store_id = :s",
        s=STORE,
    )
    assert small & {group for group, _ in found}
    for group, pseudonym in found:
        known, hidden = [
            (await told(asking, f"/api/mcp/customer/{pseudonym}"))["rfm"] for asking in (ask.support, ask.analytics)
        ]
        assert known["group"] == group
        if group in small:
            assert hidden == {**dict.fromkeys(known), "group": "other"}
        else:
            assert hidden == known


async def test_the_group_before_is_other_where_it_is_small() -> None:
    small = SmallGroups(frozenset(), {}, frozenset({"champions"}), {})
    scores = {"recency_score": 3, "frequency_score": 4, "monetary_score": 4}
    known = {**scores, "group": "loyal", "previous_group": "champions", "changed_on": "2011-05-03"}
    assert anonymous.rfm(known, small) == {**known, "previous_group": "other"}
    assert anonymous.rfm(None, small) is None


def within_rounding(value: float, digits: int) -> tuple[float, float]:
    """Between what and what a number lay that was rounded to so many digits."""
    half = 0.5 * 10 ** (math.floor(math.log10(value)) - digits + 1)
    return value - half, value + half


async def test_sums_and_means_leave_open_how_many_they_are_of(ask: Clients) -> None:
    """Worked out as an attacker would: a sum over a mean, within rounding, and a mean as the fraction that it is."""
    everyone = (await told(ask.support, TOP, limit=100))["archetypes"]
    counts = {each["archetype_id"]: each["member_count"] for each in everyone}
    shown = [
        each for each in (await told(ask.analytics, TOP, limit=100))["archetypes"] if each["archetype_id"] in counts
    ]
    assert shown
    for each in shown:
        least, most = within_rounding(each["total_ltv"], 1)
        lower, upper = within_rounding(each["avg_ltv"], 2)
        possible = []
        for count in range(1, 401):
            sums = count * lower <= most and count * upper >= least
            fewest, greatest = within_rounding(each["avg_orders"], 2)
            fraction = math.floor(greatest * count) >= math.ceil(fewest * count)
            if sums and fraction:
                possible.append(count)
        assert counts[each["archetype_id"]] in possible
        assert len(possible) > 1, each
