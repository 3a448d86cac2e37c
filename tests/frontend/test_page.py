"""What the page promises to whoever has a customer in front of them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from playwright.async_api import Browser, Page, Route, expect

from app.api.customers.charts import history_chart
from app.api.customers.schemas import Delta, History, PastChange, Snapshot
from tests.frontend.conftest import HOSTILE_NAMES, N_CUSTOMERS, Service, Visits, ready
from tests.frontend.reading import faint_text, nameless, overflow

WITHOUT_ORDERS = f"C{N_CUSTOMERS + 1:07}"
RENDERED, EVIDENCE = ".charts svg.marks", "#about svg.marks"
NOT_FOUND, AWAY, REFUSED = "404 (Not Found)", "503 (Service Unavailable)", "401 (Unauthorized)"


def answer(service: Service, path: str, **params: Any) -> Any:
    """What the service itself says."""
    response = httpx.get(service.address + path, params=params, headers={"X-API-Key": service.key})
    return response.raise_for_status().json()


def imagined(service: Service, **changes: float) -> Any:
    """What the service says would be."""
    response = httpx.post(f"{service.address}/api/analytics/what-if", json=changes, headers={"X-API-Key": service.key})
    return response.raise_for_status().json()


def profile_of(service: Service, customer_id: str) -> Any:
    return answer(service, f"/api/mcp/customer/{customer_id}")


def last_day(told: Any) -> str:
    """The last day on the shop's calendar that an answer knows of: "22 Oct 2025"."""
    return day_of(datetime.fromisoformat(told["as_of"]) - timedelta(microseconds=1), told["timezone"])


def day_of(moment: datetime, zone: str) -> str:
    """A moment's day on a zone's calendar, as the page writes it."""
    day = moment.astimezone(ZoneInfo(zone))
    return f"{day.day} {day:%b %Y}".replace("Sep ", "Sept ")


def money(amount: float) -> str:
    return f"${amount:,.2f}" if amount < 999.5 else f"${amount:,.0f}"


@pytest.fixture(scope="session")
def someone(service: Service) -> Any:
    """A customer with several orders and a name nobody is trapped by."""
    best = answer(service, "/api/mcp/archetypes/top", metric="avg_ltv")["archetypes"][0]
    members = answer(service, f"/api/mcp/archetypes/{best['archetype_id']}/members")["members"]
    found = next(m for m in members if m["customer_id"] not in HOSTILE_NAMES and m["total_orders"] >= 3)
    return profile_of(service, found["customer_id"])


async def open_fold(page: Page, name: str) -> None:
    await page.click(f"#fold-{name} > summary")


# The key


async def test_a_key_in_the_fragment_is_taken_and_leaves_the_address(service: Service, visit: Visits) -> None:
    page = await visit.to(service, "/?metric=avg_ltv")
    assert page.url == f"{service.address}/?metric=avg_ltv"
    assert await page.evaluate("Object.values(sessionStorage)") == [service.key]
    assert await page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href") == f"{{}}{page.url}"
    assert service.key not in await page.content()


async def test_without_a_key_the_page_asks_for_one_and_says_where_keys_come_from(
    service: Service, visit: Visits
) -> None:
    page = await visit.blank()
    await page.goto(f"{service.address}/")
    await expect(page.get_by_label("Access key")).to_be_focused()
    await expect(page.locator("main")).to_contain_text("keys create --scope support")
    await page.get_by_label("Access key").fill(service.key)
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Who is in front of you?")


async def test_a_refused_key_brings_the_form_back_and_the_right_one_shows_what_was_asked_for(
    service: Service, visit: Visits, someone: Any
) -> None:
    visit.expect(REFUSED)
    page = await visit.to(service, f"/?customer={someone['customer_id']}", key="ci_live_00000000_" + "0" * 43)
    await expect(page.get_by_role("alert")).to_contain_text("This key was not accepted")
    assert await page.evaluate("sessionStorage.length") == 0
    await page.get_by_label("Access key").fill(f"  {service.key} ")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.locator("h1")).to_have_text(someone["identity"]["name"])


async def test_a_key_that_no_header_can_carry_is_refused_like_any_other(service: Service, visit: Visits) -> None:
    page = await visit.to(service, key="schlüssel")
    await expect(page.get_by_role("alert")).to_contain_text("This key was not accepted")


async def test_a_key_can_be_forgotten(service: Service, visit: Visits) -> None:
    page = await visit.to(service)
    await page.get_by_role("button", name=re.compile("^Key")).click()
    await page.get_by_role("button", name="Forget it and use another").click()
    await expect(page.get_by_label("Access key")).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0


# Finding


async def test_finding_someone_by_name_shows_their_card_with_their_numbers(
    service: Service, visit: Visits, someone: Any
) -> None:
    page = await visit.to(service)
    await page.keyboard.press("/")
    await page.keyboard.type(someone["identity"]["email"])
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text(someone["identity"]["name"])
    assert page.url == f"{service.address}/?customer={someone['customer_id']}", "one match opens directly"
    card = page.locator("article")
    metrics = someone["business_metrics"]
    await expect(card).to_contain_text(money(metrics["lifetime_value"]))
    await expect(card).to_contain_text(f"{metrics['total_orders']} orders")
    await expect(card).to_contain_text(money(metrics["avg_order_value"]))
    await expect(card).to_contain_text(someone["archetype"]["segment_name"])
    await expect(card).to_contain_text(f"Top {someone['ltv_top_percent']:g} %")
    for trait in someone["key_traits"]:
        await expect(card.locator(".traits")).to_contain_text(trait.partition(": ")[2])
    assert someone["timezone"] == "America/Chicago"
    await expect(page.locator(".freshness")).to_have_text(f"Data as of {last_day(someone)}")


async def test_arrow_keys_choose_among_suggestions_and_escape_puts_them_away(service: Service, visit: Visits) -> None:
    page = await visit.to(service)
    await page.keyboard.press("/")
    await page.keyboard.type("@example")
    options = page.get_by_role("option")
    await expect(options).to_have_count(8)
    await expect(page.locator("#news")).to_contain_text("8 customers found")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowUp")
    await expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    await expect(page.locator("#search")).to_have_attribute("aria-activedescendant", "suggestion-1")
    chosen = await options.nth(1).get_attribute("data-id")
    await page.keyboard.press("Escape")
    await expect(options).to_have_count(0)
    await page.keyboard.type(".")
    await expect(options).to_have_count(8)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("article h1")).to_be_focused()
    assert page.url.endswith(f"?customer={chosen}")


async def test_several_matches_make_a_list_with_an_address_and_arrow_keys(service: Service, visit: Visits) -> None:
    page = await visit.blank()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(httpx.URL(request.url).path))
    await page.goto(f"{service.address}/?q=ro#key={service.key}")
    await ready(page)
    found = answer(service, "/api/mcp/customers/search", query="ro", limit=50)["customers"]
    rows = page.locator(".result")
    await expect(rows).to_have_count(len(found))
    bought = next(each for each in found if each["total_orders"] > 0)
    row = rows.nth(found.index(bought))
    await expect(row).to_contain_text(bought["archetype"]["name"])
    await expect(row).to_contain_text(f"{money(bought['ltv'])} spent")
    assert [path for path in asked if path.startswith("/api/")] == ["/api/mcp/customers/search"]
    await rows.first.focus()
    await page.keyboard.press("ArrowDown")
    await expect(rows.nth(1)).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#search")).to_be_focused()


async def test_no_match_says_so_and_what_to_try(service: Service, visit: Visits) -> None:
    page = await visit.to(service, "/?q=nobody-is-called-this")
    await expect(page.locator("h1")).to_have_text("Nobody matches nobody-is-called-this")
    await expect(page.locator("main")).to_contain_text("Check the spelling")


async def test_a_random_customer_gets_an_address_of_their_own(service: Service, visit: Visits) -> None:
    page = await visit.to(service)
    await page.get_by_role("link", name="Random customer", exact=True).click()
    await expect(page.locator("article h1")).to_be_visible()
    assert re.fullmatch(r".*/\?customer=C\d{7}", page.url)


@pytest.mark.parametrize("unknown", ["nobody", "..", "<b>x</b>", "١٢٣", "a/b", "😀" * 30])
async def test_an_unknown_id_says_so(service: Service, visit: Visits, unknown: str) -> None:
    visit.expect(NOT_FOUND)
    page = await visit.to(service, f"/?customer={httpx.QueryParams({'c': unknown})!s}".replace("=c=", "="))
    await expect(page.locator("h1")).to_contain_text(unknown)
    await expect(page.locator("main")).to_contain_text("search by name, e-mail or order number")
    await page.get_by_role("button", name="Find a customer").click()
    await expect(page.locator("#search")).to_be_focused()


async def test_an_id_that_makes_no_sense_is_told_in_the_services_own_words(service: Service, visit: Visits) -> None:
    visit.expect("422")
    page = await visit.to(service, f"/?customer={'x' * 300}")
    await expect(page.locator("h1")).to_have_text("This cannot be looked up")


@pytest.mark.parametrize("customer_id", HOSTILE_NAMES)
async def test_hostile_names_are_text_wherever_they_stand(service: Service, visit: Visits, customer_id: str) -> None:
    page = await visit.to(service, f"/?customer={customer_id}", width=360)
    name = profile_of(service, customer_id)["identity"]["name"]
    assert await page.locator("h1").text_content() == name
    assert await overflow(page) == 0
    await page.keyboard.press("/")
    await page.keyboard.type(HOSTILE_NAMES[customer_id][1])
    await expect(page.get_by_role("option").first).to_contain_text(HOSTILE_NAMES[customer_id][1])
    assert await overflow(page) == 0
    assert await page.locator("main script, main img, [role=listbox] script, [role=listbox] img").count() == 0


# Going about


async def test_the_back_button_returns_to_where_one_was(service: Service, visit: Visits) -> None:
    page = await visit.to(service)
    await page.get_by_role("link", name="Spent each").click()
    await expect(page.get_by_role("link", name="Spent each")).to_have_attribute("aria-current", "true")
    first = page.locator(".archetype h3 a").first
    name = await first.inner_text()
    await first.click()
    await expect(page.locator("h1")).to_have_text(name)
    member = page.locator(".members a").first
    customer = await member.inner_text()
    await member.click()
    await expect(page.locator("h1")).to_have_text(customer)
    assert (await page.title()).startswith(customer)
    await page.go_back()
    await expect(page.locator("h1")).to_have_text(name)
    await page.go_back()
    await expect(page.locator("h1")).to_have_text("Who is in front of you?")
    assert page.url == f"{service.address}/?metric=avg_ltv"
    await page.go_forward()
    await expect(page.locator("h1")).to_have_text(name)


async def test_an_answer_that_comes_late_does_not_replace_a_newer_view(
    service: Service, visit: Visits, someone: Any
) -> None:
    page = await visit.to(service)

    async def late(route: Route) -> None:
        await page.wait_for_timeout(600)
        await route.continue_()

    await page.route("**/api/mcp/customer/random", late)
    await page.get_by_role("link", name="Random customer", exact=True).click()
    await expect(page.locator(".skeleton")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type(someone["customer_id"])
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text(someone["identity"]["name"])
    await page.wait_for_timeout(900)
    await expect(page.locator("h1")).to_have_text(someone["identity"]["name"])


# The card


async def test_the_card_answers_in_order_who_back_worth_kind_and_what_to_do(
    service: Service, visit: Visits, someone: Any
) -> None:
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    headings = await page.locator("article h1, article h2").all_inner_texts()
    assert headings == [
        someone["identity"]["name"],
        "Will they come back?",
        "What are they worth?",
        "What kind of customer?",
        "What to do",
        "Evidence",
    ]
    bottom = await page.locator(".to-do").evaluate("element => element.getBoundingClientRect().bottom")
    assert bottom < 800, "what to do is in sight without scrolling"


@pytest.mark.parametrize(
    ("gap", "since", "tier", "orders", "word", "advice"),
    [
        (24.0, 18, "standard", 9, "In their rhythm", "Nothing special is needed."),
        (24.0, 18, "vip", 9, "In their rhythm", "Serve them first."),
        (24.0, 30, "low", 9, "A little late", "Remind them."),
        (24.0, 48, "low", 9, "A little late", "Remind them."),
        (24.0, 49, "low", 9, "Overdue", "Invite them back."),
        (24.0, 49, "high", 9, "Overdue", "Get in touch in person."),
        (None, 18, "low", 1, "One order so far", "Invite them to a second order."),
    ],
)
async def test_whether_they_are_due_and_what_to_do_follow_from_the_facts_alone(
    service: Service,
    visit: Visits,
    someone: Any,
    gap: float | None,
    since: int,
    tier: str,
    orders: int,
    word: str,
    advice: str,
) -> None:
    metrics = {
        **someone["business_metrics"],
        "usual_gap_days": gap,
        "days_since_last_purchase": since,
        "total_orders": orders,
    }
    profile = {**unforeseen(someone), "business_metrics": metrics, "ltv_tier": tier}
    await shown(service, visit, profile, word, advice, "Read from order dates; not a prediction.")


def unforeseen(profile: Any, reason: str | None = None) -> Any:
    """The same customer as long as nothing is predicted of them."""
    names = ("churn_risk", "churn_risk_score", "predicted_ltv_12m", "expected_spend_90d", "next_order")
    return {**profile, **dict.fromkeys(names), "churn_risk_reason": reason}


def with_risk(profile: Any, score: float = 0.42, *, level: str = "medium", **told: Any) -> Any:
    """The same customer with a risk that a person can check by hand. told : of the risk"""
    risk = {"risk_level": level, "churn_risk_score": score, "horizon_days": 74, **told}
    return {
        **profile,
        "churn_risk": {**profile["churn_risk"], **risk},
        "churn_risk_score": score,
        "predicted_ltv_12m": 1234.5,
        "expected_spend_90d": {"expected": 321.4, "low": 0.0, "high": 987.6, "level": 0.8},
        "next_order": {
            "expected_on": "2025-11-12",
            "earliest_on": "2025-10-29",
            "latest_on": "2026-01-04",
            "reason": None,
        },
    }


@pytest.mark.parametrize(
    ("score", "level", "word", "shape", "number"),
    [
        (0.734, "critical", "Critical risk", "octagon", "73 %"),
        (0.61, "high", "High risk", "triangle", "61 %"),
        (0.42, "medium", "Medium risk", "diamond", "42 %"),
        (0.003, "low", "Low risk", "circle", "under 1 %"),
        (0.9999, "critical", "Critical risk", "octagon", "over 99 %"),
    ],
)
async def test_a_predicted_risk_is_told_by_word_shape_and_number(
    service: Service, visit: Visits, someone: Any, score: float, level: str, word: str, shape: str, number: str
) -> None:
    profile = with_risk(someone, score, level=level)
    page = await shown(service, visit, profile, word, "No order within their own 74 days")
    await expect(page.locator(f".badge.risk-{level} .shape.{shape}")).to_be_visible()
    await expect(page.locator(".headline .figure").first).to_contain_text(number)


async def test_what_is_expected_of_them_says_how_sure_it_is_as_of_when_and_from_which_training(
    service: Service, visit: Visits, someone: Any
) -> None:
    profile = with_risk(someone, as_of="2025-10-23T05:00:00+00:00", prediction_id=7)
    page = await shown(service, visit, profile, "$1,235", "$0 to $988", "Next order expected about 12 Nov 2025")
    await expect(page.locator("article")).to_contain_text("in 20 days.")
    window = page.get_by_role("dialog")
    for name, says in (
        ("about risk of staying away", profile["churn_risk"]["definition"]),
        ("about risk of staying away", profile["churn_risk"]["confidence"]["says"]),
        ("about next 12 months", "$1,234.50"),
        ("about next 90 days", "between $0.00 and $987.60"),
        ("about next order", "between 29 Oct 2025 and 4 Jan 2026"),
    ):
        await page.get_by_role("button", name=name).click()
        await expect(window).to_contain_text(says)
        await expect(window).to_contain_text("From records up to 22 Oct 2025, training 7.")
        await page.keyboard.press("Escape")


async def test_who_is_not_expected_to_order_is_said_to_be_so(service: Service, visit: Visits, someone: Any) -> None:
    reason = "More likely than not there is no order within a year."
    nothing = {"expected_on": None, "earliest_on": None, "latest_on": None, "reason": reason}
    page = await shown(service, visit, {**with_risk(someone), "next_order": nothing}, reason)
    await expect(page.locator("article")).not_to_contain_text("Next order expected")


async def test_days_set_for_everybody_are_not_called_a_customers_own(
    service: Service, visit: Visits, someone: Any
) -> None:
    page = await shown(service, visit, with_risk(someone, horizon_days=90), "No order within 90 days")
    await expect(page.locator("article")).not_to_contain_text("their own")


async def test_what_to_do_is_the_services_own_recommendation_with_its_reason_and_offer(
    service: Service, visit: Visits, someone: Any
) -> None:
    told = "Ask what they need and offer 15 to 20 % off their next order. They have ordered 9 times, last yesterday."
    offer = {
        "action": "retain",
        "percent": 15,
        "up_to": 20,
        "extras": ["expedited_shipping"],
        "follow_up": "retention_specialist",
        "personal": True,
    }
    page = await shown(service, visit, with_risk(someone, recommendation=told, offer=offer))
    to_do = page.locator(".to-do")
    await expect(to_do.locator("strong")).to_have_text("Ask what they need and offer 15 to 20 % off their next order.")
    await expect(to_do).to_contain_text("They have ordered 9 times, last yesterday.")
    await expect(to_do).not_to_contain_text("rule of thumb")
    await to_do.get_by_role("button", name="offer policy").click()
    await expect(page.get_by_role("dialog")).to_contain_text(
        "15 % off the next order, up to 20 % by an agent; expedited shipping; "
        "a retention specialist follows up in person"
    )


@pytest.mark.parametrize(
    "reason",
    [
        "Nothing has been predicted yet. Run `python -m app predict --store quilts`.",
        "They were not known yet when the predictions of 1 June 2024 were made; the next ones tell of them.",
    ],
)
async def test_without_a_prediction_the_card_says_why_and_goes_by_order_dates(
    service: Service, visit: Visits, someone: Any, reason: str
) -> None:
    page = await shown(service, visit, unforeseen(someone, reason), reason.replace("`", ""), width=360, height=740)
    await expect(page.locator("article p", has_text="not a prediction")).to_be_visible()
    await expect(page.locator("#fold-why")).to_have_count(0)
    await expect(page.locator("article")).not_to_contain_text("Next 12 months")
    await expect(page.locator(".to-do")).to_contain_text("A rule of thumb")


async def test_a_degraded_model_is_said_to_be_a_plain_rule_in_words(
    service: Service, visit: Visits, someone: Any
) -> None:
    why = "On the shop's own past nothing did better than the baseline rfm_logistic, which is served instead."
    model = {**someone["churn_risk"]["model"], "status": "degraded", "degraded_because": why}
    page = await shown(service, visit, with_risk(someone, model=model), "Told by a plain rule.")
    await expect(page.locator(".plain-model")).to_contain_text("“recency, frequency and value”")
    await expect(page.locator("article")).not_to_contain_text("rfm_logistic")


async def test_why_this_risk_is_told_side_by_side_when_asked_and_adds_up(
    service: Service, visit: Visits, someone: Any
) -> None:
    told = answer(service, f"/api/mcp/customer/{someone['customer_id']}/churn-risk")
    told |= {"churn_risk_score": 0.62, "typical_customer": 0.5, "message": None}
    told["contributions"] = [
        {"group": "recency", "contribution": 0.15, "says": "The time since their last order: +15.0 points"},
        {"group": "value", "contribution": -0.03, "says": "What they spend: -3.0 points"},
    ]
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.route("**/churn-risk", lambda route: route.fulfill(json=told))
    await open_fold(page, "why")
    fold = page.locator("#fold-why")
    await expect(fold.locator(".signed li .number")).to_have_text(
        ["50.0 %", "+15.0 points", "\u22123.0 points", "62.0 %"]
    )
    more, less = fold.locator(".signed-fill.more"), fold.locator(".signed-fill.less")
    right, left = await more.bounding_box(), await less.bounding_box()
    assert right and left
    assert abs(left["x"] + left["width"] - right["x"]) < 1, "what lowers the risk goes to the other side of one line"
    await expect(fold).to_contain_text(told["confidence"]["says"])
    await expect(fold).to_contain_text(f"training {told['prediction_id']}")
    assert await faint_text(page) == []
    assert len([url for url in asked if url.endswith("/churn-risk")]) == 1
    await fold.get_by_role("link", name="How good it is on this shop's own past").click()
    await expect(page.locator("h1")).to_have_text("How good the predictions are")
    await expect(page.locator("details[open]")).to_contain_text("How likely each customer is to stay away")


async def test_a_risk_that_cannot_be_taken_apart_says_so_and_one_that_cannot_be_read_can_be_asked_for_again(
    service: Service, visit: Visits, someone: Any
) -> None:
    visit.expect("net::ERR_FAILED")
    told = answer(service, f"/api/mcp/customer/{someone['customer_id']}/churn-risk")
    changed = {**told, "contributions": None, "typical_customer": None, "message": "Their records have changed since."}
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    await page.route("**/churn-risk", lambda route: route.abort())
    await open_fold(page, "why")
    fold = page.locator("#fold-why")
    await expect(fold).to_contain_text("The reasons could not be read")
    await page.unroute("**/churn-risk")
    await page.route("**/churn-risk", lambda route: route.fulfill(json=changed))
    await fold.get_by_role("button", name="Try again").click()
    await expect(fold).to_contain_text("Their records have changed since.")
    await expect(fold.locator(".signed")).to_have_count(0)


@pytest.mark.parametrize(
    ("rfm", "line"),
    [
        (
            {"group": "champions", "previous_group": "loyal", "changed_on": "2011-05-03"},
            "RFM: champion (R5 F4 M5), was loyal until 3 May 2011",
        ),
        (
            {"group": "needs_attention", "previous_group": None, "changed_on": None},
            "RFM: in need of attention (R5 F4 M5)",
        ),
        (
            {
                "group": "other",
                "previous_group": "at_risk",
                "changed_on": "2011-05-03",
                **dict.fromkeys(("recency_score", "frequency_score", "monetary_score")),
            },
            "RFM: among the rarer groups, was at risk until 3 May 2011",
        ),
    ],
)
async def test_the_rfm_group_is_told_in_words_with_the_one_before(
    service: Service, visit: Visits, someone: Any, rfm: Any, line: str
) -> None:
    scores = {"recency_score": 5, "frequency_score": 4, "monetary_score": 5}
    page = await shown(service, visit, {**someone, "rfm": {**scores, **rfm}})
    told = page.locator("article p", has_text="RFM: ")
    assert (await told.inner_text()).replace("\n", "").replace(", about rfm group", "") == line


async def test_a_customer_of_an_older_segmentation_has_no_rfm_line(
    service: Service, visit: Visits, someone: Any
) -> None:
    page = await shown(service, visit, {**someone, "rfm": None}, "on average")
    await expect(page.locator("article")).not_to_contain_text("RFM")


async def shown(service: Service, visit: Visits, profile: Any, *texts: str, **options: Any) -> Page:
    page = await visit.blank(**options)
    await page.route(
        f"**/api/mcp/customer/{profile['customer_id']}",
        lambda route: route.fulfill(body=json.dumps(profile), content_type="application/json"),
    )
    await page.goto(f"{service.address}/?customer={profile['customer_id']}#key={service.key}")
    await ready(page)
    for text in texts:
        await expect(page.locator("article")).to_contain_text(text)
    return page


async def test_a_trait_named_after_its_axis_is_called_as_the_axis_is_elsewhere(
    service: Service, visit: Visits, someone: Any
) -> None:
    told = ["Deal hunter: 12 % of orders at full price (shop: 71 %)", "Value sophistication: 5.17 an item (shop: 8.99)"]
    page = await shown(service, visit, {**someone, "key_traits": told})
    await expect(page.locator(".traits li")).to_have_text(
        [told[0], "What kind of price they choose: 5.17 an item (shop: 8.99)"]
    )


async def test_every_number_says_what_it_means_as_of_when_and_from_which_run(
    service: Service, visit: Visits, someone: Any
) -> None:
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    figures = page.locator("article .figure")
    for at in range(await figures.count()):
        await figures.nth(at).focus()
        await page.keyboard.press("Enter")
        window = page.get_by_role("dialog")
        await expect(window).to_be_visible()
        await expect(window).to_contain_text(
            re.compile(f"From records up to {last_day(someone)}, (run {someone['run_id']}|training [0-9]+)\\.")
        )
        await page.keyboard.press("Escape")
        await expect(window).to_be_hidden()
        await expect(figures.nth(at)).to_be_focused()
    assert at > 5


@pytest.mark.parametrize(
    ("zone", "as_of", "closed", "last_order"),
    [
        ("America/Chicago", "2025-10-23T05:00:00+00:00", "22 Oct 2025", "13 Oct 2025"),
        ("America/Chicago", "2025-12-23T06:00:00+00:00", "22 Dec 2025", "13 Dec 2025"),
        ("Pacific/Auckland", "2025-10-22T11:00:00+00:00", "22 Oct 2025", "13 Oct 2025"),
        ("Asia/Kathmandu", "2025-10-22T18:15:00+00:00", "22 Oct 2025", "13 Oct 2025"),
        ("UTC", "2025-10-23T00:00:00+00:00", "22 Oct 2025", "13 Oct 2025"),
        ("UTC", "2025-10-23T14:30:00+00:00", "23 Oct 2025", "13 Oct 2025"),
        ("Nowhere/At_All", "2025-10-23T05:00:00+00:00", "23 Oct 2025", "13 Oct 2025"),
    ],
)
async def test_days_are_those_of_the_shops_calendar_whichever_that_is(
    service: Service, visit: Visits, someone: Any, zone: str, as_of: str, closed: str, last_order: str
) -> None:
    metrics = {**someone["business_metrics"], "days_since_last_purchase": 10}
    # Wherever the reader is.
    page = await shown(
        service,
        visit,
        {**someone, "business_metrics": metrics, "timezone": zone, "as_of": as_of, "customer_since": "2023-03-02"},
        "Customer since 2 Mar 2023",
        timezone_id="Pacific/Kiritimati",
    )
    await expect(page.locator(".freshness")).to_have_text(f"Data as of {closed}")
    await page.get_by_role("button", name="about last order").click()
    await expect(page.get_by_role("dialog")).to_contain_text(f"{last_order}, 10 days ago")
    await expect(page.get_by_role("dialog")).to_contain_text(f"From records up to {closed}, run")


async def test_a_zone_once_told_holds_for_answers_without_one_and_until_then_a_day_is_said_to_be_of_utc(
    service: Service, visit: Visits, someone: Any
) -> None:
    told = answer(service, "/api/mcp/customers/search", query="ro", limit=50)
    assert "timezone" not in told
    in_utc = day_of(datetime.fromisoformat(told["as_of"]) - timedelta(microseconds=1), "UTC")
    page = await visit.to(service, "/?q=ro")
    await expect(page.locator(".freshness")).to_have_text(f"Data as of {in_utc} (UTC)")
    await page.locator(".brand").click()
    await expect(page.locator(".freshness")).to_have_text(f"Data as of {last_day(someone)}")
    await page.go_back()
    await expect(page.locator(".results-view h1")).to_be_visible()
    await expect(page.locator(".freshness")).to_have_text(f"Data as of {last_day(someone)}")
    visit.expect(NOT_FOUND)
    await page.evaluate("history.pushState(null, '', '?customer=nobody'); dispatchEvent(new PopStateEvent('popstate'))")
    await expect(page.locator("h1")).to_contain_text("nobody")
    await expect(page.locator(".freshness")).to_have_text(f"Data as of {last_day(someone)}")


async def test_memberships_are_drawn_and_their_table_has_the_same_numbers(
    service: Service, visit: Visits, someone: Any
) -> None:
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    assert not await page.evaluate("'vegaEmbed' in window && document.querySelector('svg.marks') !== null")
    await open_fold(page, "memberships")
    await expect(page.locator(RENDERED)).to_have_count(2)
    told = " ".join([await chart.get_attribute("aria-label") or "" for chart in await page.locator(".chart").all()])
    bars = await page.locator(f"{RENDERED} .mark-rect path").count()
    await page.keyboard.press("t")
    await expect(page.locator(RENDERED).first).to_be_hidden()
    rows = await page.locator(".memberships tbody tr").all()
    expected = {
        (axis, name): share for axis, shares in someone["fuzzy_memberships"].items() for name, share in shares.items()
    }
    assert len(rows) == len(expected) == bars
    for row in rows:
        axis, segment = await row.get_attribute("data-axis"), await row.get_attribute("data-segment")
        share = expected[axis or "", segment or ""]
        shown = await row.locator("td.number").inner_text()
        number = 1 if shown.startswith("under") else int(shown.removesuffix("\u00a0%"))
        assert abs(number - 100 * share) <= (1 if shown.startswith("under") else 0.5 + 1e-6)
        words = (segment or "").replace("_", " ").capitalize()
        assert f"{words} {shown}" in told, "the alt text has the number as well"
    await page.keyboard.press("T")
    await expect(page.locator(RENDERED).first).to_be_visible()
    assert "open=memberships" in page.url
    await page.reload()
    await expect(page.locator(RENDERED)).to_have_count(2)


async def test_each_axis_says_why_when_asked_and_asks_once(service: Service, visit: Visits, someone: Any) -> None:
    told = answer(service, f"/api/mcp/customer/{someone['customer_id']}", include="why")["why"]
    grouped = [axis for axis, shares in someone["fuzzy_memberships"].items() if len(shares) > 1]
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await open_fold(page, "memberships")
    reasons = page.locator(".reason")
    await expect(reasons).to_have_count(len(grouped))
    assert not any("include=why" in url for url in asked), "nothing is worked out before somebody wants it"
    for number in range(len(grouped)):
        one = reasons.nth(number)
        axis = await one.get_attribute("data-axis") or ""
        await one.locator("summary").focus()
        await page.keyboard.press("Enter")
        await expect(one.locator(".reason-body")).to_contain_text(told[axis]["says"])
        await expect(one.locator("summary")).to_contain_text(told[axis]["segment"].replace("_", " ").capitalize())
        rows = await one.locator(".contributions li").all_inner_texts()
        for row, contribution in zip(rows, told[axis]["contributions"], strict=True):
            assert "".join(row.split()) == "".join(contribution["says"].rsplit(": ", 1)).replace(" ", "")
    assert len([url for url in asked if "include=why" in url]) == 1
    assert await overflow(page) == 0


async def test_reasons_that_cannot_be_read_can_be_asked_for_again(
    service: Service, visit: Visits, someone: Any
) -> None:
    visit.expect("net::ERR_FAILED")
    page = await visit.to(service, f"/?customer={someone['customer_id']}&open=memberships")
    await page.route("**/*include=why*", lambda route: route.abort())
    first = page.locator(".reason").first
    await first.locator("summary").click()
    await expect(first).to_contain_text("The reasons could not be read")
    await page.unroute("**/*include=why*")
    await first.get_by_role("button", name="Try again").click()
    await expect(first.locator(".contributions li").first).to_be_visible()


def a_past(customer_id: str) -> Any:
    """A customer's half year, as the service tells one: of two kinds, the second renamed by a discovery."""
    kinds = ["Small Spend, Rare, Discount Only", "Big Spend, Frequent, Wide Variety, Weekend Shopper", "Top Spend"]
    start = date(2025, 4, 6)
    snapshots = [
        Snapshot(
            date=(start + timedelta(days=7 * week)).isoformat(),
            archetype_id=f"arch_{min(week // 9, 1)}",
            segment_name=kinds[week // 9],
            archetype_level2_id="",
            archetype_level3_id="",
            segments={},
            lifetime_value=40.0 + 35 * (week // 4),
            total_orders=1 + week // 4,
            days_since_last_purchase=week % 4 * 7,
            churn_risk_score=None if week < 4 else 0.61 - 0.01 * (week - 4),
            p_no_purchase_30d=None if week < 4 else 0.8,
            predicted_ltv_12m=None if week < 4 else 120.0,
        )
        for week in range(27)
    ]
    about: dict[str, Any] = {"from_id": "a", "to_id": "b"}
    changes = [
        PastChange(
            date="2025-06-08",
            axis=None,
            from_name=kinds[0],
            to_name=kinds[1],
            by_discovery=False,
            says=f"Moved from {kinds[0]} to {kinds[1]} on 8 June 2025.",
            **about,
        ),
        *(
            PastChange(
                date=f"2025-07-{day:02}",
                axis="purchase_value",
                from_name="small_spend",
                to_name="big_spend",
                by_discovery=False,
                says="",
                **about,
            )
            for day in range(6, 14)
        ),
        PastChange(
            date="2025-08-10",
            axis=None,
            from_name=kinds[1],
            to_name=kinds[2],
            by_discovery=True,
            says=f"{kinds[1]} is called {kinds[2]} since 10 August 2025.",
            **about,
        ),
    ]
    delta = {"archetype_changed": False, "renamed_by_discovery": False, "axes_changed": []}
    return History(
        customer_id=customer_id,
        pseudonym=None,
        snapshots=snapshots,
        changes=changes[::-1],
        deltas=[Delta(days=28, compared_with="2025-09-07", lifetime_value=35.0, orders=1, **delta)],
        chart=history_chart(snapshots, changes, currency="USD"),
        message=None,
        currency="USD",
        timezone="America/Chicago",
        run_id=1,
        as_of="2025-10-06T05:00:00+00:00",
    ).model_dump()


async def shown_past(service: Service, visit: Visits, customer_id: str, **options: Any) -> Page:
    page = await visit.blank(**options)
    await page.route("**/history", lambda route: route.fulfill(json=a_past(customer_id)))
    await page.goto(f"{service.address}/?customer={customer_id}&open=history#key={service.key}")
    await ready(page)
    return page


async def test_a_past_is_fetched_when_it_is_opened_and_says_how_far_back_it_goes(
    service: Service, visit: Visits, someone: Any
) -> None:
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await open_fold(page, "history")
    await expect(page.locator("#fold-history")).to_contain_text(f"Known as of {last_day(someone)} alone so far.")
    assert len([url for url in asked if url.endswith("/history")]) == 1
    await open_fold(page, "history")
    await open_fold(page, "history")
    assert len([url for url in asked if url.endswith("/history")]) == 1
    assert await page.locator("#fold-history svg").count() == 0


@pytest.mark.parametrize("options", [{}, {"width": 360, "height": 740, "scheme": "dark"}], ids=["desktop", "phone"])
async def test_a_past_is_drawn_and_told_the_latest_change_first(
    service: Service, visit: Visits, someone: Any, options: Any
) -> None:
    page = await shown_past(service, visit, someone["customer_id"], **options)
    fold = page.locator("#fold-history")
    await expect(fold.locator("svg.marks")).to_be_visible()
    await expect(fold).to_contain_text(
        "Kept of 27 days, from 6 Apr 2025 to 5 Oct 2025. Since 7 Sept 2025: 1 more order"
    )
    await expect(fold).to_contain_text("$35.00 more spent, risk from 43\u00a0% to 39\u00a0%.")
    await page.keyboard.press("t")
    days = fold.locator(".picture tbody tr")
    await expect(days).to_have_count(27)
    await expect(days.first).to_contain_text("39")
    assert [await days.last.locator("td").nth(place).inner_text() for place in (1, 2)] == ["$40.00", ""]
    await page.keyboard.press("t")
    changes = fold.locator(".past-changes li")
    await expect(changes).to_have_count(8)
    await expect(changes.first).to_contain_text("Wide Variety, Weekend Shopper → Top Spend")
    await expect(changes.first).to_contain_text("The shop was segmented anew that day")
    await expect(changes.nth(1)).to_contain_text("How much they spend: Small spend → Big spend")
    await fold.get_by_role("button", name="Show 2 older changes").click()
    await expect(changes).to_have_count(10)
    await expect(changes.last).to_contain_text("8 Jun 2025")
    told = await fold.locator(".past-chart .chart").get_attribute("aria-label") or ""
    assert "at first" in told and "8 June 2025" in told, "who cannot see the chart is told what it shows"
    assert await overflow(page) == 0
    assert await faint_text(page) == []
    assert await nameless(page) == []


@pytest.mark.parametrize(
    ("rare", "says", "not_said"),
    [
        (False, "Nothing about them has changed.", "is not told"),
        (True, "What leads into or out of the rarer kinds and segments is not told.", "Nothing about them"),
    ],
)
async def test_a_past_without_changes_says_whether_there_were_none(
    service: Service, visit: Visits, someone: Any, rare: bool, says: str, not_said: str
) -> None:
    told = {**a_past(someone["customer_id"]), "changes": []}
    if rare:
        told["snapshots"][-1]["archetype_id"] = "other"
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    await page.route("**/history", lambda route: route.fulfill(json=told))
    await open_fold(page, "history")
    fold = page.locator("#fold-history")
    await expect(fold).to_contain_text(says)
    await expect(fold).not_to_contain_text(not_said)


async def test_a_past_that_cannot_be_read_can_be_asked_for_again(service: Service, visit: Visits, someone: Any) -> None:
    visit.expect("net::ERR_FAILED")
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    await page.route("**/history", lambda route: route.abort())
    await open_fold(page, "history")
    fold = page.locator("#fold-history")
    await expect(fold).to_contain_text("The past could not be read")
    await page.unroute("**/history")
    await fold.get_by_role("button", name="Try again").click()
    await expect(fold).to_contain_text("Known as of")


@pytest.mark.parametrize("options", [{}, {"width": 360, "height": 740, "scheme": "dark"}], ids=["desktop", "phone"])
async def test_the_name_of_an_axis_opens_what_its_segments_rest_on(
    service: Service, visit: Visits, someone: Any, options: Any
) -> None:
    axis = answer(service, "/api/mcp/segments/axes/purchase_frequency")
    assert len(axis["segments"]) > 1
    page = await visit.to(service, f"/?customer={someone['customer_id']}&open=memberships", **options)
    await expect(page.locator(RENDERED)).to_have_count(2)
    name = page.locator(".charts .axis-name", has_text="How often they buy")
    await name.focus()
    await page.keyboard.press("Enter")
    about = page.locator("#about")
    await expect(about).to_contain_text(axis["says"])
    for segment in axis["segments"]:
        await expect(about).to_contain_text(segment["interpretation"])
    drawn = page.locator(EVIDENCE)
    await expect(about.locator(".chart")).to_have_attribute("aria-label", axis["chart"]["description"])
    await expect(drawn).to_contain_text("one shapeless cloud")
    assert await faint_text(page) == []
    assert await nameless(page) == []
    assert await overflow(page) == 0
    box, room = await drawn.bounding_box(), await about.bounding_box()
    assert box and room and box["x"] >= room["x"] and box["x"] + box["width"] <= room["x"] + room["width"]
    await page.keyboard.press("Escape")
    await expect(about).to_be_hidden()
    await expect(name).to_be_focused()


async def test_the_evidence_of_an_axis_opens_from_the_table_too_and_says_when_it_cannot_be_fetched(
    service: Service, visit: Visits, someone: Any
) -> None:
    visit.expect(AWAY)
    page = await visit.to(service, f"/?customer={someone['customer_id']}&open=memberships")
    await page.keyboard.press("t")
    await page.route("**/api/mcp/segments/axes/*", lambda route: route.fulfill(status=503, body="{}"))
    await page.locator("tbody .axis-name").first.click()
    await expect(page.locator("#about")).to_contain_text("could not be fetched")


async def test_a_chart_without_its_library_leaves_the_table(service: Service, visit: Visits, someone: Any) -> None:
    visit.expect("net::ERR_FAILED")
    page = await visit.blank()
    await page.route("**/static/vega.js", lambda route: route.abort())
    await page.goto(f"{service.address}/?customer={someone['customer_id']}&open=memberships#key={service.key}")
    await expect(page.locator(".chart").first).to_contain_text("The table has the same numbers")


async def test_orders_come_when_asked_for_and_can_be_searched(service: Service, visit: Visits, someone: Any) -> None:
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    told = answer(service, f"/api/mcp/customer/{someone['customer_id']}/orders", limit=200)
    await open_fold(page, "orders")
    shown = page.locator(".order")
    await expect(shown).to_have_count(min(10, told["total_orders"]))
    newest = told["orders"][0]
    await expect(shown.first).to_contain_text(newest["order_number"])
    await expect(shown.first).to_contain_text(newest["line_items"][0]["title"])
    await expect(shown.first).to_contain_text(f"${float(newest['total_price']):,.2f}")
    zone = someone["timezone"]
    for at, order in enumerate(told["orders"][:10]):
        placed = datetime.fromisoformat(order["created_at"])
        end = datetime.fromisoformat(someone["as_of"])
        days = (end.astimezone(ZoneInfo(zone)).date() - placed.astimezone(ZoneInfo(zone)).date()).days
        await expect(shown.nth(at).locator("time")).to_contain_text(day_of(placed, zone))
        if 1 < days < 90:
            await expect(shown.nth(at).locator("time")).to_contain_text(f"{days} days ago")
    number = told["orders"][-1]["order_number"]
    await page.get_by_label("Search in these orders").fill(number)
    await expect(page.locator(".order h4").first).to_have_text(number)
    await page.get_by_label("Search in these orders").fill("nothing is called this")
    await expect(page.locator(".order-history")).to_contain_text("No order matches")


async def test_an_orders_day_is_the_shops_and_a_part_of_a_piece_is_not_rounded(
    service: Service, visit: Visits, someone: Any
) -> None:
    path = f"/api/mcp/customer/{someone['customer_id']}/orders"
    told = answer(service, path, limit=1)
    told["orders"][0]["created_at"] = "2025-03-02T04:30:00Z"
    line = told["orders"][0]["line_items"][0]
    told["orders"][0]["line_items"] = [{**line, "quantity": quantity} for quantity in (3, 0.25, 12.5)]
    page = await visit.blank(timezone_id="Asia/Tokyo")
    await page.route(f"**{path}?*", lambda route: route.fulfill(json=told))
    await page.goto(f"{service.address}/?customer={someone['customer_id']}&open=orders#key={service.key}")
    await expect(page.locator(".order time")).to_contain_text("1 Mar 2025")
    await expect(page.locator(".order time")).to_have_attribute("title", "1 Mar 2025, 22:30 (America/Chicago)")
    await expect(page.locator(".quantity")).to_have_text([f"{quantity} \u00d7" for quantity in ("3", "0.25", "12.5")])


async def test_older_orders_come_page_by_page(service: Service, visit: Visits) -> None:
    top = answer(service, "/api/mcp/archetypes/top", limit=100)["archetypes"]
    members = [
        member
        for archetype in top
        for member in answer(service, f"/api/mcp/archetypes/{archetype['archetype_id']}/members", limit=100)["members"]
    ]
    most = max(members, key=lambda member: member["total_orders"])
    assert most["total_orders"] > 10
    page = await visit.to(service, f"/?customer={most['customer_id']}&open=orders")
    await expect(page.locator(".order")).to_have_count(10)
    await page.get_by_role("button", name="Show older orders").click()
    await expect(page.locator(".order")).to_have_count(min(20, most["total_orders"]))
    await expect(page.locator(".order h4").nth(10)).to_be_focused()


async def test_who_has_not_bought_yet_is_described_after_their_first_order(service: Service, visit: Visits) -> None:
    page = await visit.to(service, f"/?customer={WITHOUT_ORDERS}")
    await expect(page.locator("h1")).to_have_text(profile_of(service, WITHOUT_ORDERS)["identity"]["name"])
    await expect(page.locator("main")).to_contain_text("No purchases yet.")
    await expect(page.locator("main")).to_contain_text("We describe a customer after their first order.")
    await expect(page.locator(".tiles")).to_have_count(0)


# Archetypes


async def test_archetypes_are_listed_by_worth_or_size_with_their_numbers(service: Service, visit: Visits) -> None:
    page = await visit.to(service)
    for metric, text in (("total_ltv", "Total spent"), ("avg_ltv", "Spent each"), ("member_count", "Size")):
        await page.get_by_role("navigation", name="Sort by").get_by_role("link", name=text).click()
        told = answer(service, "/api/mcp/archetypes/top", metric=metric)["archetypes"]
        await expect(page.locator(".archetype h3")).to_have_text([each["segment_name"] for each in told])
        first = page.locator(".archetype").first
        await expect(first).to_contain_text(money(told[0]["total_ltv"]))
        await expect(first).to_contain_text(money(told[0]["avg_ltv"]))


async def test_an_archetype_has_a_page_with_its_members_and_the_levels_below(service: Service, visit: Visits) -> None:
    told = answer(service, "/api/mcp/archetypes/top", metric="member_count")["archetypes"][0]
    page = await visit.to(service, f"/?archetype={told['archetype_id']}")
    await expect(page.locator("h1")).to_have_text(told["segment_name"])
    main = page.locator("main")
    await expect(main).to_contain_text("By what they have spent, largest first.")
    shares = re.findall(r"[\d.]+(?=\s%\sof (?:all|customers))", await main.inner_text())
    assert len(shares) == 1, "a share told twice may be rounded twice"
    for segment in told["dominant_segments"].values():
        await expect(page.locator(".signature")).to_contain_text(segment.replace("_", " ").capitalize())
    members = page.locator(".members tbody tr")
    await expect(members).to_have_count(min(20, told["member_count"]))
    if told["member_count"] > 20:
        await page.get_by_role("button", name="Show more").click()
        await expect(members).to_have_count(min(40, told["member_count"]))
    deeper = page.locator(".plain-list a").first
    await deeper.click()
    await expect(page.locator("h1")).to_contain_text(told["segment_name"])
    await page.get_by_role("link", name="The kind it belongs to").click()
    await expect(page.locator("h1")).to_have_text(told["segment_name"])


async def test_an_archetype_of_an_earlier_run_says_that_it_is_gone(service: Service, visit: Visits) -> None:
    visit.expect(NOT_FOUND)
    page = await visit.to(service, "/?archetype=arch_000000")
    await expect(page.locator("h1")).to_have_text("This archetype is not there")


# What lies ahead


def predicted_up_to(told: Any) -> str:
    return f"From records up to {last_day(told)}, training {told['prediction_id']}."


async def test_the_outlook_tells_how_many_are_at_risk_what_they_are_worth_and_who_they_are(
    service: Service, visit: Visits
) -> None:
    told = answer(service, "/api/mcp/churn/aggregate")
    those = answer(service, "/api/mcp/churn/at-risk", limit=20)
    page = await visit.to(service)
    await page.get_by_role("link", name="Outlook").click()
    await expect(page.locator("h1")).to_have_text("Customers at risk")
    await expect(page.get_by_role("link", name="Outlook")).to_have_attribute("aria-current", "page")
    main = page.locator("main")
    shown = {level: each for level, each in told["churn_risk_distribution"].items() if each and each["count"]}
    await expect(page.locator(".levels li")).to_have_count(len(shown))
    for level, each in shown.items():
        row = page.locator(".levels li", has=page.locator(f".risk-{level}"))
        await expect(row).to_contain_text(level.capitalize())
        await expect(row).to_contain_text(f"{each['count']} customer")
    widths = [await piece.evaluate("e => parseFloat(e.style.width)") for piece in await page.locator(".piece").all()]
    assert sum(widths) == pytest.approx(100, abs=0.1)
    await expect(main).to_contain_text(money(told["ltv_at_risk"]["historic"]))
    await expect(main).to_contain_text(predicted_up_to(told))
    rows = page.locator(".members tbody tr")
    await expect(rows).to_have_count(min(20, those["count"]))
    first = those["customers"][0]
    await expect(rows.first).to_contain_text(first["name"])
    await expect(rows.first).to_contain_text(money(first["ltv_at_risk"]))
    await page.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(min(40, those["count"]))
    await expect(rows.nth(20).locator("a")).to_be_focused()
    await page.get_by_role("navigation", name="Sort by").get_by_role("link", name="Spent").click()
    most = answer(service, "/api/mcp/churn/at-risk", limit=1, sort="ltv")["customers"][0]
    await expect(rows.first).to_contain_text(most["name"])
    await rows.first.locator("a").click()
    await expect(page.locator("h1")).to_have_text(most["name"])
    await page.go_back()
    assert page.url.endswith("?outlook=risk&sort=ltv")


async def test_customers_ahead_are_told_as_a_band_and_as_a_table(service: Service, visit: Visits) -> None:
    told = answer(service, "/api/mcp/growth/projection", months=6)
    page = await visit.to(service, "/?outlook=customers&months=6")
    await expect(page.locator(".outlook")).to_contain_text(told["summary"]["says"])
    chart = page.locator(".picture .chart").first
    await expect(chart.locator("svg.marks")).to_be_visible()
    await expect(chart).to_have_attribute("aria-label", told["chart"]["description"])
    await page.keyboard.press("t")
    await expect(chart).to_be_hidden()
    rows = page.locator(".picture tbody tr")
    await expect(rows).to_have_count(6)
    last = told["projections"]["monthly"][-1]
    names = ("estimated_customers", "acquired_customers", "lapsed_customers", "low", "high")
    for place, name in enumerate(names):
        assert await rows.last.locator("td").nth(place).inner_text() == f"{last[name]:,}"
    await page.keyboard.press("T")
    await expect(chart).to_be_visible()
    await page.get_by_role("heading", name="By kind of customer").click()
    await expect(page.locator("details[open] svg.marks")).to_be_visible()


async def test_revenue_is_told_for_the_period_that_is_chosen_and_the_address_keeps_it(
    service: Service, visit: Visits
) -> None:
    told = answer(service, "/api/mcp/revenue/forecast", period="halloween")
    page = await visit.to(service, "/?outlook=revenue")
    await page.get_by_label("Period").select_option("Halloween season")
    await expect(page.locator(".headline")).to_contain_text(money(told["revenue"]["point"]))
    assert page.url.endswith("period=halloween")
    engaged = told["engagement"]
    await page.get_by_role("button", name="about customers who will order").click()
    await expect(page.get_by_role("dialog")).to_contain_text(engaged["definition"])
    await expect(page.get_by_role("dialog")).to_contain_text(f"training {told['prediction_id']}")
    await page.keyboard.press("Escape")
    await page.reload()
    await expect(page.get_by_label("Period")).to_have_value("halloween")
    await page.go_back()
    await expect(page.get_by_label("Period")).to_have_value("")


async def test_a_period_nobody_knows_is_told_in_the_services_own_words(service: Service, visit: Visits) -> None:
    visit.expect("422")
    page = await visit.to(service, "/?outlook=revenue&period=the%20feast%20of%20fools")
    await expect(page.locator("main")).to_contain_text("There is no event")


async def test_sliders_tell_what_would_be_beside_what_is_projected(service: Service, visit: Visits) -> None:
    page = await visit.to(service, "/?outlook=what-if")
    await expect(page.locator(".what-if-says")).to_contain_text("Nothing is changed yet.")
    await expect(page.locator(".picture svg.marks")).to_be_visible()
    before = await page.locator(".tiles.two").bounding_box()
    slider = page.get_by_label("Repeat rate")
    await slider.focus()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    told = imagined(service, repeat_rate_change=0.1)
    await expect(page.locator(".what-if-says")).to_have_text(told["says"])
    await expect(page.locator(".tiles.two")).to_contain_text(money(told["revenue"]["changed"]))
    await expect(slider).to_have_attribute("aria-valuetext", "+10\u00a0%")
    assert page.url.endswith("?outlook=what-if&if=10.0.0.0")
    after = await page.locator(".tiles.two").bounding_box()
    assert before and after and abs(before["y"] - after["y"]) < 30, "words take the place that was kept for them"
    await page.reload()
    await expect(page.locator(".what-if-says")).to_have_text(told["says"])
    await page.get_by_role("button", name="Nothing changes").click()
    await expect(page.locator(".what-if-says")).to_contain_text("Nothing is changed yet.")


async def test_each_model_shows_how_good_it_was_beside_simpler_ways(service: Service, visit: Visits) -> None:
    told = answer(service, "/api/models/churn/backtest")
    page = await visit.to(service, "/?outlook=models&open=churn")
    fold = page.locator("details[open]")
    first = told["horizons"][0]
    served = next(each for each in first["candidates"] if each["status"] != "candidate")
    await expect(fold).to_contain_text(first["says"])
    rows = fold.locator(".horizon").first.locator("tbody").first.locator("tr")
    await expect(rows).to_have_count(len(first["candidates"]))
    await expect(rows.filter(has_text="(served)")).to_contain_text(f"{served['measures']['auc']:.2f}")
    assert "_" not in await fold.inner_text(), "ways of telling have names, not codes"
    await expect(fold.locator("svg.marks")).to_have_count(len([each for each in told["horizons"] if each["chart"]]))
    await page.get_by_role("heading", name="What each customer will spend").click()
    await expect(page.locator("details[open]").last).to_contain_text("RMSE")


async def test_a_key_without_identities_is_told_shares_and_pseudonyms_ahead(service: Service, visit: Visits) -> None:
    seen = []
    for part in ("risk", "customers", "revenue", "what-if", "models&open=churn"):
        page = await visit.to(service, f"/?outlook={part}", key=service.pseudonymous)
        await expect(page.get_by_role("button", name="Key: pseudonyms")).to_be_visible()
        seen.append(await page.content())
        if part == "risk":
            await expect(page.locator(".members a").first).to_have_text(re.compile(r"^C-[0-9A-F]{8,}$"))
            await expect(page.locator(".levels")).not_to_contain_text("customers")
    text = "\n".join(seen)
    assert "null" not in text and "NaN" not in text and "undefined" not in text
    for identity in await _identities(service):
        assert identity not in text


async def test_an_outlook_that_nothing_is_predicted_for_says_what_to_run(
    fresh_service: Service, empty_service: Service, visit: Visits
) -> None:
    visit.expect(NOT_FOUND)
    page = await visit.to(fresh_service, "/?outlook=risk")
    await expect(page.locator("h1")).to_have_text("Nothing has been predicted yet")
    await expect(page.locator("main")).to_contain_text("python -m app predict --store fresh")
    page = await visit.to(empty_service, "/?outlook=revenue")
    await expect(page.locator("h1")).to_have_text("No customers yet")


async def test_a_history_too_short_for_growth_says_so_and_leaves_the_other_parts(
    service: Service, visit: Visits
) -> None:
    visit.expect("409")
    page = await visit.blank()
    problem = {"type": "/problems/growth-not-projected", "detail": "It takes two whole months. Run `x` then."}
    await page.route("**/growth/projection*", _problem(409, problem))
    await page.goto(f"{service.address}/?outlook=customers#key={service.key}")
    await ready(page)
    await expect(page.locator("main")).to_contain_text("It takes two whole months.")
    await page.get_by_role("link", name="At risk").click()
    await expect(page.locator(".levels")).to_be_visible()


async def test_a_degraded_model_is_said_so_in_the_outlook_too(service: Service, visit: Visits) -> None:
    told = answer(service, "/api/mcp/churn/aggregate")
    told["model"] |= {"status": "degraded", "degraded_because": "Nothing did better than the baseline rfm_logistic."}
    page = await visit.blank()
    await page.route("**/churn/aggregate", lambda route: route.fulfill(json=told))
    await page.goto(f"{service.address}/?outlook=risk#key={service.key}")
    await expect(page.locator(".plain-model")).to_contain_text("“recency, frequency and value”")


@pytest.mark.parametrize("part", ["customers", "revenue", "what-if", "models&open=churn"])
async def test_nothing_in_the_outlook_moves_when_charts_arrive(service: Service, visit: Visits, part: str) -> None:
    page = await visit.blank()
    await page.context.add_init_script(
        "window.jumps = 0; new PerformanceObserver((list) => list.getEntries().forEach((each) => {"
        " window.jumps += each.hadRecentInput ? 0 : each.value; })).observe({ type: 'layout-shift', buffered: true });"
    )
    await page.goto(f"{service.address}/?outlook={part}#key={service.key}")
    await ready(page)
    await expect(page.locator(".picture svg.marks").first).to_be_visible()
    await page.wait_for_timeout(150)
    assert await page.evaluate("window.jumps") < 0.05


# Who sees what


async def test_a_key_without_identities_shows_none_anywhere(service: Service, visit: Visits, someone: Any) -> None:
    page = await visit.to(service, key=service.pseudonymous)
    seen = [await page.content()]
    other = page.locator(".archetype", has_text="told together")
    await expect(other).to_have_count(1)
    await expect(other.locator("a")).to_have_count(0)
    await page.locator(".archetype h3 a").first.click()
    await expect(page.locator(".members tbody tr")).to_have_count(20)
    await expect(page.locator(".members-tile")).to_contain_text("The 20 worth most; this key may not see more.")
    await expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    seen.append(await page.content())
    await page.locator(".members a").first.click()
    await expect(page.locator("article h1")).to_have_text(re.compile(r"^C-[0-9A-F]{8,}$"))
    await open_fold(page, "memberships")
    await expect(page.locator(RENDERED)).to_have_count(2)
    await page.locator(".reason summary").first.click()
    await expect(page.locator(".reason-body p").first).not_to_have_text("Trying what they could do next")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await open_fold(page, "orders")
    await expect(page.locator("#fold-orders")).to_contain_text("They need a key with the support scope")
    assert [url for url in asked if "/api/" in url] == []
    seen.append(await page.content())
    await page.goto(f"{service.address}/?q={someone['identity']['last_name']}")
    await ready(page)
    seen.append((await page.content()).replace(someone["identity"]["last_name"], ""))
    visit.expect(NOT_FOUND)
    await page.goto(f"{service.address}/?customer={someone['customer_id']}")
    await ready(page)
    seen.append((await page.content()).replace(someone["customer_id"], ""))
    text = "\n".join(seen)
    for identity in await _identities(service):
        assert identity not in text


async def _identities(service: Service) -> list[str]:
    connection = await asyncpg.connect(service.database_url)
    try:
        rows = await connection.fetch("SELECT customer_id, first_name || ' ' || last_name, email FROM customers")
    finally:
        await connection.close()
    return [value for row in rows for value in row if value]


async def test_a_missing_scope_is_told_with_what_is_needed(service: Service, visit: Visits) -> None:
    visit.expect("403")
    page = await visit.blank()
    problem = {
        "type": "/problems/scope-missing",
        "detail": "This needs a key with the support scope.",
        "request_id": "abc123",
    }
    await page.route("**/api/mcp/customer/random", _problem(403, problem))
    await page.goto(f"{service.address}/?customer=random#key={service.key}")
    await expect(page.locator("h1")).to_have_text("This key is not allowed to see this")
    await expect(page.locator("main")).to_contain_text("This needs a key with the support scope.")
    await expect(page.locator("main")).to_contain_text("abc123")


# When there is nothing, or nobody answers


async def test_an_empty_shop_says_how_to_bring_customers_in(empty_service: Service, visit: Visits) -> None:
    visit.expect(NOT_FOUND)
    page = await visit.to(empty_service)
    await expect(page.locator("h1")).to_have_text("No customers yet")
    await expect(page.locator("main")).to_contain_text("python -m app import csv")
    await page.goto(f"{empty_service.address}/?customer=random")
    await expect(page.locator("h1")).to_have_text("No customers yet")


async def test_a_shop_nobody_has_segmented_says_what_to_run_and_shows_customers_all_the_same(
    fresh_service: Service, visit: Visits
) -> None:
    visit.expect(NOT_FOUND)
    page = await visit.to(fresh_service)
    await expect(page.locator("main")).to_contain_text("python -m app segment --store fresh")
    page = await visit.to(fresh_service, "/?customer=C0000001")
    await expect(page.locator(".freshness")).to_have_text("Not segmented yet")
    await expect(page.locator("article")).to_contain_text("Not described yet")
    await expect(page.locator("article")).to_contain_text("spent")
    await page.locator("article .figure").first.click()
    await expect(page.get_by_role("dialog")).to_contain_text("to today")
    await expect(page.get_by_role("dialog")).not_to_contain_text("From records up to")
    await page.keyboard.press("Escape")
    await open_fold(page, "orders")
    await expect(page.locator(".order").first).to_be_visible()


async def test_when_the_database_is_away_the_page_says_so_and_comes_back_by_itself(
    service: Service, visit: Visits, someone: Any
) -> None:
    visit.expect(AWAY)
    page = await visit.blank()
    problem = {"type": "/problems/database-unavailable", "detail": "The database is away.", "request_id": "abc123"}
    await page.route("**/api/mcp/**", _problem(503, problem, retry_after="1"))
    await page.goto(f"{service.address}/?customer={someone['customer_id']}#key={service.key}")
    await expect(page.locator("h1")).to_have_text("The database is away for the moment")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    await page.unroute_all()
    await expect(page.locator("h1")).to_have_text(someone["identity"]["name"], timeout=4_000)


async def test_when_nobody_answers_the_page_says_so_and_tries_again_on_demand(service: Service, visit: Visits) -> None:
    visit.expect("net::ERR_FAILED")
    page = await visit.blank()
    await page.route("**/api/mcp/**", lambda route: route.abort())
    await page.goto(f"{service.address}/#key={service.key}")
    await expect(page.locator("h1")).to_have_text("The service cannot be reached")
    await page.unroute_all()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("h1")).to_have_text("Who is in front of you?")


@pytest.mark.parametrize("body", ["", "not json", "null"])
async def test_an_answer_that_makes_no_sense_is_our_fault_and_said_so(
    service: Service, visit: Visits, body: str
) -> None:
    page = await visit.blank()
    await page.route("**/api/mcp/**", lambda route: route.fulfill(status=200, body=body))
    await page.goto(f"{service.address}/#key={service.key}")
    await expect(page.locator("h1")).to_have_text("The service could not answer")


def _problem(status: int, told: dict[str, str], *, retry_after: str = "") -> Any:
    async def fulfil(route: Route) -> None:
        headers = {"Content-Type": "application/problem+json", **({"Retry-After": retry_after} if retry_after else {})}
        await route.fulfill(status=status, headers=headers, body=json.dumps({"status": status, **told}))

    return fulfil


# For every eye, hand and screen


async def everywhere(service: Service, visit: Visits, someone: Any, **options: Any) -> list[tuple[str, Page]]:
    """Each kind of view, opened up as far as it goes."""
    archetype = someone["archetype_id"]
    visit.expect(NOT_FOUND)
    places = (
        "/",
        "/?q=ro",
        "/?customer=nobody",
        f"/?customer={WITHOUT_ORDERS}",
        f"/?customer={someone['customer_id']}&open=why.memberships.orders.numbers",
        f"/?archetype={archetype}",
        *(f"/?outlook={part}" for part in ("risk", "customers", "revenue&period=halloween", "what-if")),
        "/?outlook=models&open=churn.spend",
    )

    async def opened(where: str) -> tuple[str, Page]:
        page = await visit.to(service, where, **options)
        if "memberships" in where:
            await expect(page.locator(RENDERED)).to_have_count(2)
            await page.locator(".reason summary").first.click()
            await expect(page.locator(".contributions")).to_be_visible()
            await expect(page.locator(".order").first).to_be_visible()
            await expect(page.locator("#fold-why a")).to_be_visible()
        if "archetype=" in where:
            await expect(page.locator(".members a").first).to_be_visible()
        if "outlook=" in where and "risk" not in where:
            await expect(page.locator(".outlook svg.marks").first).to_be_visible()
        return where, page

    views = await asyncio.gather(*(opened(where) for where in places))
    asking = await visit.blank(**options)
    await asking.goto(service.address)
    await ready(asking)
    return [*views, ("without a key", asking)]


Views = list[tuple[str, Page]]


@pytest.fixture(scope="module")
async def views(service: Service, browser: Browser, someone: Any) -> AsyncIterator[Views]:
    """Every kind of view, opened once; what it is looked at by, its width and its colours, is the tests' to set."""
    visits = Visits(browser)
    yield await everywhere(service, visits, someone)
    await visits.end()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_stands_out_from_its_ground(
    service: Service, visit: Visits, views: Views, someone: Any, scheme: Literal["light", "dark"]
) -> None:
    for where, page in views:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert await faint_text(page) == [], where
    page = await visit.to(service, f"/?customer={someone['customer_id']}", scheme=scheme)
    await page.locator(".tier").click()
    assert await faint_text(page) == []
    for tier in ("vip", "high", "standard", "low"):
        for level in ("critical", "high", "medium", "low"):
            await page.evaluate(
                "([tier, level]) => { document.querySelector('.tier').className = `figure tier tier-${tier}`;"
                " document.querySelector('.badge').className = `badge risk-${level}`; }",
                [tier, level],
            )
            assert await faint_text(page) == [], (tier, level)


@pytest.mark.parametrize("width", [360, 800, 1280])
async def test_nothing_is_wider_than_the_window_however_it_is_drawn(views: Views, width: int) -> None:
    for where, page in views:
        await page.set_viewport_size({"width": width, "height": 800})
        assert await overflow(page) == 0, where


async def test_nothing_is_wider_than_the_narrowest_window_it_is_opened_in(
    service: Service, visit: Visits, someone: Any
) -> None:
    for where, page in await everywhere(service, visit, someone, width=300):
        assert await overflow(page) == 0, where


@pytest.mark.parametrize("width", [300, 360, 800, 1280])
async def test_no_pseudonym_is_wider_than_the_window(service: Service, visit: Visits, width: int) -> None:
    page = await visit.to(service, key=service.pseudonymous, width=width)
    await page.locator(".archetype h3 a").first.click()
    await expect(page.locator(".members a").first).to_be_visible()
    assert await overflow(page) == 0


async def test_everything_that_acts_has_a_name_and_each_view_one_main_heading_and_landmarks(views: Views) -> None:
    for where, page in views:
        assert await nameless(page) == [], where
        assert await page.locator("h1").count() == 1, where
        for landmark in ("banner", "main", "search", "contentinfo"):
            assert await page.get_by_role(landmark).count() == 1, (where, landmark)  # type: ignore[arg-type]


async def test_the_keyboard_gets_to_the_content_first(service: Service, visit: Visits) -> None:
    page = await visit.to(service)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.querySelector('main').contains(document.activeElement)")
    await expect(page.locator("h1")).to_have_text("Who is in front of you?")


async def test_the_theme_follows_the_system_until_one_is_chosen(service: Service, visit: Visits) -> None:
    page = await visit.to(service, scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = await page.evaluate(ground)
    await page.get_by_role("button", name="Theme: auto. Change to light").click()
    light = await page.evaluate(ground)
    assert light != dark
    await page.reload()
    assert await page.evaluate(ground) == light, "the choice is kept"
    await page.get_by_role("button", name="Theme: light. Change to dark").click()
    assert await page.evaluate(ground) == dark


async def test_the_page_paints_within_a_second_and_does_not_jump(service: Service, visit: Visits, someone: Any) -> None:
    page = await visit.to(service, f"/?customer={someone['customer_id']}")
    await page.context.add_init_script(
        "window.jumps = 0; new PerformanceObserver((list) => list.getEntries().forEach((each) => {"
        " window.jumps += each.hadRecentInput ? 0 : each.value; })).observe({ type: 'layout-shift', buffered: true });"
    )
    paints = []
    for _ in range(3):
        await page.reload()
        await ready(page)
        paints.append(await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    assert min(paints) < 1_000
    await open_fold(page, "memberships")
    before = await page.locator("#fold-orders").bounding_box()
    await expect(page.locator(RENDERED)).to_have_count(2)
    after = await page.locator("#fold-orders").bounding_box()
    assert before and after and abs(before["y"] - after["y"]) < 30, "the chart's place was kept for it"
    assert await page.evaluate("window.jumps") < 0.05
