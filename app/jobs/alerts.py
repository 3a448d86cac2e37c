"""Alerts: a store whose customers are on the move is told of in Slack, once a day at most for each reason.

    latest rescoring, history → what shifted → more than the settings bear → not told yet → one message

Slack cannot tell a message it has from a new one. So what is about to be told is noted first and confirmed after, and
who tells holds a lock of the store: a job that runs twice, at once or later, tells once. A process that ends between
the two, or an answer that never comes, leaves open whether Slack has the message. Then it is told again and says that
it may stand there twice: twice is a nuisance, never is a shop that nobody looked at.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import structlog

from app.api.anonymous import FEWEST
from app.core.config import Settings
from app.core.errors import AlertNotTold, AlertRefused
from app.jobs.slack import RETRY_AFTER_SECONDS, Outcome, escaped, post
from app.pipeline.drift import Migrations, migrations
from app.pipeline.placing import last_day
from app.warehouse import alerts
from app.warehouse.alerts import Kind
from app.warehouse.engine import Connection, Database
from app.warehouse.stores import read_store

log = structlog.get_logger()

_WEEK = 7  # days that customers are compared over
_MOVES_TOLD = 3
_NAME_TOLD = 80  # characters of a name; Slack takes 3,000 in all


async def tell(database: Database, store_id: str, *, settings: Settings, now: datetime) -> int:
    """Tell what is worth telling of the latest rescoring and was not told yet. Returns of how many kinds (0, 1 or 2).

    Worth telling: of 20 customers or more, more than ALERT_MIGRATION_SHARE changed their archetype within a week, or
    the shares of an axis's segments shifted by more than DRIFT_THRESHOLD. Nothing is looked at while SLACK_WEBHOOK_URL
    is unset.

    Raises StoreNotFound; AlertNotTold, which passes and says when to try again; AlertRefused, which does not.
    """
    url = settings.slack_webhook_url
    if url is None:
        return 0
    async with database.session_lock(alerts.lock_key(store_id)) as free:
        if not free:
            raise AlertNotTold(store_id, reason="it is being told just now", retry_after_seconds=RETRY_AFTER_SECONDS)
        async with database.snapshot() as connection:
            found = await _found(connection, store_id, settings)
        if found is None:
            return 0
        day, reasons = found
        async with database.transaction() as connection:
            to_tell = await alerts.begin(connection, store_id, day, reasons)
        if not to_tell:
            return 0
        message = _message(store_id, day, [reasons[kind] for kind in to_tell], again=any(to_tell.values()))
        answer = await post(url, message)
        if answer.outcome is Outcome.told:
            async with database.transaction() as connection:
                await alerts.confirm(connection, store_id, day, to_tell, told_at=now)
        elif answer.outcome is not Outcome.unknown:
            # What an earlier attempt left open stays open.
            begun_now = [kind for kind, begun_before in to_tell.items() if not begun_before]
            async with database.transaction() as connection:
                await alerts.withdraw(connection, store_id, day, begun_now)
    facts = {"store_id": store_id, "day": day.isoformat(), "kinds": [kind.value for kind in to_tell]}
    if answer.outcome is Outcome.told:
        log.info("alert.told", **facts)
        return len(to_tell)
    log.warning("alert.not_told", **facts, outcome=answer.outcome.value, said=answer.said)
    if answer.outcome is Outcome.refused:
        raise AlertRefused(store_id, answer=answer.said)
    raise AlertNotTold(store_id, reason=answer.said, retry_after_seconds=answer.retry_after_seconds)


async def _found(connection: Connection, store_id: str, settings: Settings) -> tuple[date, Mapping[Kind, str]] | None:
    """The day of the latest rescoring, and what is worth telling of it, in words; None where there is none."""
    store = await read_store(connection, store_id)
    # Where shares shifted too far a discovery follows at once: by now it may be served, of a later day.
    shifts = await alerts.read_shifts(connection, store_id)
    if shifts is None:
        return None
    day = last_day(shifts.as_of, store.timezone)
    reasons: dict[Kind, str] = {}
    moved = await migrations(connection, store_id, days=_WEEK, until=day)
    if moved is not None and moved.span.now.day == day and _are_many(moved, settings.alert_migration_share):
        reasons[Kind.migration] = _of_migration(moved, bearable=settings.alert_migration_share)
    far = {axis: psi for axis, psi in shifts.by_axis.items() if psi > settings.drift_threshold}
    if far:
        found_anew = shifts.run_id != store.served_run_id
        reasons[Kind.drift] = _of_drift(far, bearable=settings.drift_threshold, found_anew=found_anew)
    return day, reasons


def _are_many(moved: Migrations, bearable: float) -> bool:
    """Whether more of the customers migrated than is borne; of a handful the share would tell who."""
    return moved.movement.compared >= FEWEST and moved.share > bearable


def _of_migration(moved: Migrations, *, bearable: float) -> str:
    # Who reads the channel is not known: what so few did is not told, as to a key that sees no identities.
    most = [
        f"from {_name(moved.name(flow.before))} to {_name(moved.name(flow.now))} "
        f"({_percent(flow.count / moved.movement.compared)})"
        for flow in moved.top(_MOVES_TOLD)
        if flow.count >= FEWEST
    ]
    return (
        f"{_percent(moved.share)} of the customers are of another archetype than on {_day(moved.span.before.day)}; "
        f"more than {_percent(bearable)} is worth a look." + (f" Most went {'; '.join(most)}." if most else "")
    )


def _of_drift(far: Mapping[str, float], *, bearable: float, found_anew: bool) -> str:
    largest_first = sorted(far.items(), key=lambda item: (-item[1], item[0]))
    axes = ", ".join(f"{axis.replace('_', ' ')} {psi:.2f}" for axis, psi in largest_first)
    since = "Segments have been found anew since." if found_anew else "It is time to find segments anew."
    return (
        f"The shares of the segments have shifted by more than {bearable:g} (population stability index) since they "
        f"were found: {axes}. {since}"
    )


def _message(store_id: str, day: date, reasons: Sequence[str], *, again: bool) -> dict[str, Any]:
    """As Slack takes it: blocks for people, and the same as `text` for notifications."""
    head = f"Customers of {store_id} are on the move: {_day(day)}"
    notes = ["This may stand here twice: an attempt before was cut short."] if again else []
    lines = [escaped(line) for line in (head, *reasons, *notes)]
    # Verbatim: what looks like an address in a name does not become a link.
    blocks = [
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": f"*{line}*" if line is lines[0] else line, "verbatim": True},
        }
        for line in lines
    ]
    return {"text": "\n".join(lines), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _name(name: str) -> str:
    return name if len(name) <= _NAME_TOLD else name[: _NAME_TOLD - 1] + "…"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
