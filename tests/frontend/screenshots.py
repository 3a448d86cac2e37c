"""Pictures of the page, for the README and for eyes: `SCREENSHOTS=folder pytest tests/frontend/screenshots.py`."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.frontend.conftest import Service, Visits
from tests.frontend.test_page import (
    AWAY,
    EVIDENCE,
    NOT_FOUND,
    RENDERED,
    shown,
    shown_past,
    someone,  # noqa: F401  a fixture
    unforeseen,
    with_risk,
)

FOLDER = os.environ.get("SCREENSHOTS", "")
PHONE: dict[str, Any] = {"width": 360, "height": 740}
LONG_NAME = "C0000005"

pytestmark = pytest.mark.skipif(not FOLDER, reason="SCREENSHOTS names no folder to put pictures in")


async def save(page: Page, name: str, *, whole: bool = False) -> None:
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  a test has nobody to keep waiting
    await page.screenshot(path=folder / f"{name}.png", full_page=whole)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pictures_of_customers_and_archetypes(
    service: Service,
    visit: Visits,
    someone: Any,  # noqa: F811
    scheme: str,
) -> None:
    customer = f"/?customer={someone['customer_id']}"
    await save(await visit.to(service, customer, scheme=scheme), f"customer-{scheme}")
    await save(await visit.to(service, customer, scheme=scheme, **PHONE), f"customer-360-{scheme}")
    await save(await visit.to(service, f"/?customer={LONG_NAME}", scheme=scheme, **PHONE), f"long-name-360-{scheme}")
    page = await visit.to(service, f"{customer}&open=memberships", scheme=scheme)
    await expect(page.locator(RENDERED)).to_have_count(2)
    await save(page, f"memberships-{scheme}", whole=True)
    await page.locator(".reason summary").first.click()
    await expect(page.locator(".contributions")).to_be_visible()
    await save(page, f"why-{scheme}", whole=True)
    page = await visit.to(service, f"{customer}&open=memberships", scheme=scheme, **PHONE)
    await page.locator(".reason summary").first.click()
    await expect(page.locator(".contributions")).to_be_visible()
    await page.locator(".reasons").screenshot(path=Path(FOLDER) / f"why-360-{scheme}.png")
    for size, options in (("", {}), ("-360", PHONE)):
        page = await visit.to(service, f"{customer}&open=memberships", scheme=scheme, **options)
        await page.locator(".charts .axis-name").first.click()
        await expect(page.locator(EVIDENCE)).to_be_visible()
        await save(page, f"evidence{size}-{scheme}")
        await page.locator("#about").evaluate("about => about.scrollTo(0, about.scrollHeight)")
        await save(page, f"evidence-end{size}-{scheme}")
    for size, options in (("", {}), ("-360", PHONE)):
        page = await shown_past(service, visit, someone["customer_id"], scheme=scheme, **options)
        await expect(page.locator("#fold-history svg.marks")).to_be_visible()
        await page.locator("#fold-history").screenshot(path=Path(FOLDER) / f"history{size}-{scheme}.png")
    await save(await visit.to(service, f"{customer}&open=orders", scheme=scheme), f"orders-{scheme}", whole=True)
    await save(await visit.to(service, scheme=scheme), f"archetypes-{scheme}")
    await save(await visit.to(service, scheme=scheme, **PHONE), f"archetypes-360-{scheme}")
    archetype = f"/?archetype={someone['archetype_id']}"
    await save(await visit.to(service, archetype, scheme=scheme), f"archetype-{scheme}", whole=True)
    await save(await visit.to(service, "/?q=ro", scheme=scheme), f"results-{scheme}")
    await save(await visit.to(service, key=service.pseudonymous, scheme=scheme), f"pseudonymous-{scheme}")
    page = await visit.to(service, key=service.pseudonymous, scheme=scheme, **PHONE)
    await page.locator(".archetype h3 a").first.click()
    await expect(page.locator(".members a").first).to_be_visible()
    await save(page, f"pseudonymous-members-360-{scheme}", whole=True)
    page = await visit.to(service, scheme=scheme)
    await page.keyboard.press("/")
    await page.keyboard.type("ros")
    await expect(page.get_by_role("option").first).to_be_visible()
    await save(page, f"search-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pictures_of_what_lies_ahead(
    service: Service,
    visit: Visits,
    someone: Any,  # noqa: F811
    scheme: str,
) -> None:
    for size, options in (("", {}), ("-360", PHONE)):
        for part in ("risk", "customers", "revenue&period=halloween", "what-if&if=10.0.0.-10", "models&open=churn"):
            page = await visit.to(service, f"/?outlook={part}", scheme=scheme, **options)
            if not part.startswith("risk"):
                await expect(page.locator(".picture svg.marks").first).to_be_visible()
            await save(page, f"outlook-{part.partition('&')[0]}{size}-{scheme}", whole=True)
        page = await visit.to(service, f"/?customer={someone['customer_id']}&open=why", scheme=scheme, **options)
        await expect(page.locator("#fold-why a")).to_be_visible()
        await save(page, f"why-this-risk{size}-{scheme}", whole=True)
        reason = "Nothing has been predicted yet. Run `python -m app predict --store quilts`."
        page = await shown(service, visit, unforeseen(someone, reason), scheme=scheme, **options)
        await save(page, f"unforeseen{size}-{scheme}")
        why = "On the shop's own past nothing did better than the baseline rfm_logistic, which is served instead."
        model = {**someone["churn_risk"]["model"], "status": "degraded", "degraded_because": why}
        page = await shown(service, visit, with_risk(someone, model=model), scheme=scheme, **options)
        await save(page, f"degraded{size}-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pictures_of_what_can_be_missing(
    service: Service, empty_service: Service, fresh_service: Service, visit: Visits, scheme: str
) -> None:
    visit.expect(NOT_FOUND)
    visit.expect(AWAY)
    await save(await visit.to(empty_service, scheme=scheme), f"empty-shop-{scheme}")
    await save(await visit.to(empty_service, scheme=scheme, **PHONE), f"empty-shop-360-{scheme}")
    await save(await visit.to(fresh_service, scheme=scheme), f"unsegmented-{scheme}")
    await save(await visit.to(fresh_service, "/?customer=C0000001", scheme=scheme), f"unsegmented-customer-{scheme}")
    await save(await visit.to(service, "/?customer=nobody", scheme=scheme), f"unknown-{scheme}")
    await save(await visit.to(service, "/?customer=C0000401", scheme=scheme), f"no-purchases-{scheme}")
    for size, options in (("", {}), ("-360", PHONE)):
        page = await visit.blank(scheme=scheme, **options)
        await page.route("**/api/mcp/**", lambda route: route.fulfill(status=503, body="{}"))
        await page.goto(f"{service.address}/#key={service.key}")
        await page.wait_for_selector("#view-title")
        await save(page, f"error{size}-{scheme}")
    page = await visit.blank(scheme=scheme)
    await page.goto(service.address)
    await page.wait_for_selector("#view-title")
    await save(page, f"key-{scheme}")
