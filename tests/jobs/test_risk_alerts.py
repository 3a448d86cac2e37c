"""Who of the most valuable has become critical is told in Slack: once, by pseudonym, and only where it is wanted."""

from collections.abc import AsyncIterator
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from app.core.config import Settings
from app.core.errors import AlertNotTold, AlertRefused
from app.domain.records import Customer
from app.jobs.risk_alerts import tell
from app.warehouse import predictions
from app.warehouse.engine import Database
from tests.fakes import NOW, put, rows, value
from tests.jobs.slack import FakeSlack

CROSSED = [
    {"customer_id": "ada", "tier": "vip", "before": "medium"},
    {"customer_id": "bea", "tier": "high", "before": "high"},
]


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as played:
        yield played


def listening(settings: Settings, slack: FakeSlack) -> Settings:
    return settings.model_copy(update={"slack_webhook_url": SecretStr(slack.url)})


async def published(database: Database, store_id: str, crossed: list[dict[str, str]]) -> None:
    await put(database, store_id, [Customer("ada", email="ada@example.com"), Customer("bea")])
    nobody = pl.DataFrame(schema={"customer_id": pl.String})
    async with database.transaction() as connection:
        number = await predictions.start(connection, store_id, as_of=NOW)
        report: dict[str, Any] = {"crossed": crossed}
        await predictions.publish(connection, store_id, number, rows=nobody, models=[], report=report, as_of=NOW)


async def test_it_is_told_once_by_pseudonym(
    database: Database, store_id: str, settings: Settings, slack: FakeSlack
) -> None:
    await published(database, store_id, CROSSED)
    assert await tell(database, store_id, settings=listening(settings, slack), now=NOW) == 2
    assert await tell(database, store_id, settings=listening(settings, slack), now=NOW) == 0
    (said,) = slack.messages
    query = "SELECT customer_id, pseudonym FROM customer_pseudonyms WHERE store_id = :s"
    names = dict(await rows(database, query, s=store_id))
    assert f"{names['ada']} (VIP, was medium); {names['bea']} (high value, was high)." in said["text"]
    assert "2 valuable customers have become a critical risk" in said["text"]
    assert "ada@" not in str(said) and " ada" not in said["text"]
    told = "SELECT kind FROM alerts_told WHERE store_id = :s AND told_at IS NOT NULL"
    assert await value(database, told, s=store_id) == "risk"


async def test_nothing_is_told_where_nobody_has_become_critical_or_slack_is_not_set(
    database: Database, store_id: str, settings: Settings, slack: FakeSlack
) -> None:
    await published(database, store_id, [])
    assert await tell(database, store_id, settings=listening(settings, slack), now=NOW) == 0
    await published(database, store_id, CROSSED)
    assert await tell(database, store_id, settings=settings, now=NOW) == 0
    assert slack.messages == []


async def test_what_slack_does_not_take_is_told_later_or_given_up(
    database: Database, store_id: str, settings: Settings, slack: FakeSlack
) -> None:
    await published(database, store_id, CROSSED)
    slack.replies.extend([(429, "rate_limited", {"retry-after": "7"}), (404, "no_service", {})])
    with pytest.raises(AlertNotTold):
        await tell(database, store_id, settings=listening(settings, slack), now=NOW)
    with pytest.raises(AlertRefused):
        await tell(database, store_id, settings=listening(settings, slack), now=NOW)
    assert await tell(database, store_id, settings=listening(settings, slack), now=NOW) == 2
