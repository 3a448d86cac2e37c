"""Alerts: who of a shop's most valuable customers has become critical, told in Slack once a day at most.

As in `alerts`, what is about to be told is noted first and confirmed after. Who reads the channel is not known, so
customers go by their pseudonyms: the page finds them by these.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import structlog

from app.core.config import Settings
from app.core.errors import AlertNotTold, AlertRefused
from app.jobs.slack import RETRY_AFTER_SECONDS, Outcome, escaped, post
from app.pipeline.placing import last_day
from app.warehouse import alerts, predictions
from app.warehouse.alerts import Kind
from app.warehouse.engine import Connection, Database
from app.warehouse.pseudonyms import read_pseudonyms
from app.warehouse.stores import read_store

log = structlog.get_logger()

_TOLD = 10
_TIERS = {"vip": "VIP", "high": "high value"}


async def tell(database: Database, store_id: str, *, settings: Settings, now: datetime) -> int:
    """Tell who has become critical in the served predictions, if that was not told yet; returns how many.

    Nothing is looked at while SLACK_WEBHOOK_URL is unset. Raises StoreNotFound; AlertNotTold, which passes and says
    when to try again; AlertRefused, which does not.
    """
    url = settings.slack_webhook_url
    if url is None:
        return 0
    async with database.session_lock(alerts.lock_key(store_id)) as free:
        if not free:
            raise AlertNotTold(store_id, reason="it is being told just now", retry_after_seconds=RETRY_AFTER_SECONDS)
        async with database.snapshot() as connection:
            found = await _found(connection, store_id)
        if found is None:
            return 0
        day, crossed, names = found
        async with database.transaction() as connection:
            to_tell = await alerts.begin(connection, store_id, day, [Kind.risk])
        if not to_tell:
            return 0
        answer = await post(url, _message(store_id, day, crossed, names, again=to_tell[Kind.risk]))
        async with database.transaction() as connection:
            if answer.outcome is Outcome.told:
                await alerts.confirm(connection, store_id, day, to_tell, told_at=now)
            elif answer.outcome is not Outcome.unknown and not to_tell[Kind.risk]:
                await alerts.withdraw(connection, store_id, day, to_tell)
    if answer.outcome is Outcome.told:
        log.info("alert.told", store_id=store_id, day=day.isoformat(), kinds=[Kind.risk.value])
        return len(crossed)
    log.warning("alert.not_told", store_id=store_id, outcome=answer.outcome.value, said=answer.said)
    if answer.outcome is Outcome.refused:
        raise AlertRefused(store_id, answer=answer.said)
    raise AlertNotTold(store_id, reason=answer.said, retry_after_seconds=answer.retry_after_seconds)


async def _found(
    connection: Connection, store_id: str
) -> tuple[date, Sequence[Mapping[str, str]], Mapping[str, str]] | None:
    store = await read_store(connection, store_id)
    served = await predictions.read_served_run(connection, store_id)
    if served is None or not served.report.get("crossed"):
        return None
    crossed = served.report["crossed"]
    names = await read_pseudonyms(connection, store_id, [each["customer_id"] for each in crossed[:_TOLD]])
    return last_day(served.as_of, store.timezone), crossed, names


def _message(
    store_id: str, day: date, crossed: Sequence[Mapping[str, str]], names: Mapping[str, str], *, again: bool
) -> dict[str, Any]:
    """As Slack takes it: blocks for people, and the same as `text` for notifications."""
    many = f"{len(crossed)} valuable customers have" if len(crossed) > 1 else "A valuable customer has"
    head = f"{many} become a critical risk at {store_id}: {day.day} {day:%B %Y}"
    who = [
        f"{names[each['customer_id']]} ({_TIERS[each['tier']]}, was {each['before']})"
        for each in crossed[:_TOLD]
        if each["customer_id"] in names
    ]
    more = len(crossed) - len(who)
    lines = [head, "; ".join(who) + (f"; and {more} more." if more > 0 else ".")]
    if again:
        lines.append("This may stand here twice: an attempt before was cut short.")
    told = [escaped(line) for line in lines]
    blocks = [
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": f"*{line}*" if line is told[0] else line, "verbatim": True},
        }
        for line in told
    ]
    return {"text": "\n".join(told), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
