"""Alerts: what is told, to whom and in which words; and that nothing is told twice without saying so, or never."""

import asyncio
import logging
import re
import socket
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from app.core.config import Settings
from app.core.errors import AlertNotTold, AlertRefused, AppError, StoreNotFound
from app.domain.records import Customer
from app.jobs import slack as wire
from app.jobs.alerts import tell
from app.warehouse import alerts, runs
from app.warehouse.engine import Database
from tests.fakes import NOW, at, execute, put, rows
from tests.jobs.slack import BROKEN, SECRET_PATH, SILENCE, FakeSlack, Reply

DAY = date(2025, 5, 14)
WEEK_BEFORE = DAY - timedelta(days=7)
NAMES = {"a": "Steady <loyal> & co", "b": "On their way out", "c": "See example.com *now*"}
#: The archetypes of customers: of three in ten it changes; and of those who are there today, some are new.
THEN, TODAY = "aaaabbbbcc" * 20, "aabbbbbbca" * 20
NEWCOMERS = "a" * 20
BUSY: Reply = (429, "rate_limited", {"retry-after": "7"})


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as played:
        yield played


def listening(settings: Settings, url: str, *, share: float = 0.2, psi: float = 0.25) -> Settings:
    about = {"slack_webhook_url": SecretStr(url), "alert_migration_share": share, "drift_threshold": psi}
    return settings.model_copy(update=about)


async def publish_day(
    database: Database,
    store_id: str,
    day: date,
    kinds: Sequence[str],
    drift: Mapping[str, float] | None = None,
    *,
    discovery: bool = False,
) -> None:
    """A run that is served and took a snapshot of that day: customer number i is of the archetype kinds[i].

    discovery : it found archetypes of its own; else it goes by those of the run before, if there is one
    """
    query = (
        "SELECT run.rules_run_id FROM stores JOIN segmentation_runs AS run ON run.run_id = served_run_id"
        " WHERE stores.store_id = :s"
    )
    rules = await rows(database, query, s=store_id)
    async with database.transaction() as connection:
        kind: runs.Kind = "discovery" if discovery or not rules else "rescoring"
        run_id = await runs.start_run(connection, store_id, {}, kind=kind)
        report = {"drift": dict(drift or {}), "rules_run_id": run_id if discovery or not rules else rules[0][0]}
        await runs.finish_run(connection, run_id, as_of=at(f"{day + timedelta(days=1)}"), report=report, yardstick={})
    for archetype_id, name in NAMES.items():
        await execute(
            database,
            "INSERT INTO dim_archetype_l1 (store_id, run_id, archetype_id, name, slug, description, member_count,"
            " population_percentage, avg_ltv, total_ltv, avg_orders, avg_order_value, avg_recency_days,"
            " dominant_segments, segment_ids, folded_count)"
            " VALUES (:s, :r, :a, :name, :a, '', 1, 0, 0, 0, 1, 0, 0, '{}', '{}', 0)",
            s=store_id,
            r=run_id,
            a=archetype_id,
            name=name,
        )
    await execute(
        database, "DELETE FROM fact_customer_history WHERE store_id = :s AND snapshot_date = :d", s=store_id, d=day
    )
    await execute(
        database,
        "INSERT INTO fact_customer_history (store_id, customer_id, snapshot_date, run_id, archetype_id,"
        " archetype_level2_id, archetype_level3_id, lifetime_value, total_orders, days_since_last_purchase,"
        " customer_tenure_days, segment_ids)"
        " SELECT :s, 'c' || i, :d, :r, kind, kind, kind, 1, 1, 1, 1, '{}'"
        " FROM unnest(CAST(:kinds AS text[])) WITH ORDINALITY AS stood(kind, i)",
        s=store_id,
        d=day,
        r=run_id,
        kinds=list(kinds),
    )
    await execute(database, "UPDATE stores SET served_run_id = :r WHERE store_id = :s", s=store_id, r=run_id)


@pytest.fixture
async def moved(database: Database, store_id: str) -> str:
    """A store of 200 customers, 60 of whom changed their archetype within the week, and 20 who are new."""
    await open_store(database, store_id)
    await publish_day(database, store_id, WEEK_BEFORE, THEN)
    await publish_day(database, store_id, DAY, TODAY + NEWCOMERS)
    return store_id


async def open_store(database: Database, store_id: str) -> None:
    await put(database, store_id, [Customer(f"c{i + 1}") for i in range(len(TODAY + NEWCOMERS))], timezone="UTC")


async def told(database: Database, store_id: str) -> list[tuple[object, ...]]:
    query = "SELECT kind, day, told_at FROM alerts_told WHERE store_id = :s ORDER BY kind, day"
    return await rows(database, query, s=store_id)


async def test_many_who_changed_their_archetype_within_a_week_are_told_of_in_words(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    assert await tell(database, moved, settings=listening(settings, slack.url), now=NOW) == 1
    (message,) = slack.messages
    assert message["text"] == (
        f"Customers of {moved} are on the move: 14 May 2025\n"
        "30.0 % of the customers are of another archetype than on 7 May 2025; more than 20.0 % is worth a look. "
        "Most went from Steady &lt;loyal&gt; &amp; co to On their way out (20.0 %); "
        "from See example.com *now* to Steady &lt;loyal&gt; &amp; co (10.0 %)."
    )
    assert [block["text"]["text"] for block in message["blocks"]][1:] == message["text"].split("\n")[1:]
    assert all(block["text"]["verbatim"] for block in message["blocks"])
    assert slack.paths == [SECRET_PATH]
    assert await told(database, moved) == [("migration", DAY, NOW)]


async def test_axes_whose_segments_shifted_are_told_of_the_largest_first(
    database: Database, settings: Settings, store_id: str, slack: FakeSlack
) -> None:
    await open_store(database, store_id)
    drift = {"purchase_value": 0.26, "return_behavior": 0.25, "purchase_frequency": 1.2}
    await publish_day(database, store_id, DAY, THEN, discovery=True)
    await publish_day(database, store_id, DAY, THEN, drift)
    assert await tell(database, store_id, settings=listening(settings, slack.url), now=NOW) == 1
    (message,) = slack.messages
    assert message["text"].split("\n")[1] == (
        "The shares of the segments have shifted by more than 0.25 (population stability index) since they were "
        "found: purchase frequency 1.20, purchase value 0.26. It is time to find segments anew."
    )
    assert await told(database, store_id) == [("drift", DAY, NOW)]


async def test_both_reasons_make_one_message(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    await publish_day(database, moved, DAY, TODAY, {"purchase_value": 0.3})
    assert await tell(database, moved, settings=listening(settings, slack.url), now=NOW) == 2
    assert len(slack.messages) == 1 and len(slack.messages[0]["blocks"]) == 3


async def test_nobody_is_named_in_a_message(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    await execute(database, "UPDATE customers SET email = 'ada@example.com' WHERE store_id = :s", s=moved)
    await tell(database, moved, settings=listening(settings, slack.url), now=NOW)
    words = str(slack.messages).replace(moved, "")
    assert not re.search(r"\bc\d|@|http", words)


async def test_what_the_settings_bear_is_not_told(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    await publish_day(database, moved, DAY, TODAY, {"purchase_value": 0.3})
    bearing = listening(settings, slack.url, share=0.3, psi=0.3)
    assert await tell(database, moved, settings=bearing, now=NOW) == 0
    assert slack.messages == [] and await told(database, moved) == []


async def test_without_an_address_nothing_is_sent_or_noted(database: Database, settings: Settings, moved: str) -> None:
    assert settings.slack_webhook_url is None
    assert await tell(database, moved, settings=settings, now=NOW) == 0
    assert await told(database, moved) == []


async def test_a_store_that_serves_nothing_or_is_new_has_nothing_to_tell(
    database: Database, settings: Settings, store_id: str, slack: FakeSlack
) -> None:
    with pytest.raises(StoreNotFound):
        await tell(database, store_id, settings=listening(settings, slack.url), now=NOW)
    await open_store(database, store_id)
    assert await tell(database, store_id, settings=listening(settings, slack.url), now=NOW) == 0
    await publish_day(database, store_id, DAY, THEN)
    assert await tell(database, store_id, settings=listening(settings, slack.url), now=NOW) == 0
    assert slack.messages == []


@pytest.mark.parametrize(("days_before", "compared"), [(6, False), (7, True), (13, True), (14, False)])
async def test_a_day_is_compared_with_one_a_week_before_and_not_with_one_long_gone(
    database: Database, settings: Settings, store_id: str, slack: FakeSlack, days_before: int, compared: bool
) -> None:
    await open_store(database, store_id)
    await publish_day(database, store_id, DAY - timedelta(days=days_before), "b" * 200)
    await publish_day(database, store_id, DAY, "a" * 200)
    assert await tell(database, store_id, settings=listening(settings, slack.url), now=NOW) == compared


async def test_a_day_is_told_once_and_the_next_day_again(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    mine = listening(settings, slack.url)
    assert await tell(database, moved, settings=mine, now=NOW) == 1
    assert await tell(database, moved, settings=mine, now=NOW) == 0
    await publish_day(database, moved, DAY, TODAY, {"purchase_value": 0.3})
    assert await tell(database, moved, settings=mine, now=NOW) == 1
    assert len(slack.messages) == 2 and "another archetype" not in str(slack.messages[1])

    await publish_day(database, moved, DAY + timedelta(days=1), TODAY)
    assert await tell(database, moved, settings=mine, now=NOW) == 1
    assert len(slack.messages) == 3


async def test_two_at_once_tell_once(database: Database, settings: Settings, moved: str, slack: FakeSlack) -> None:
    mine = listening(settings, slack.url)
    done = await asyncio.gather(
        *(tell(database, moved, settings=mine, now=NOW) for _ in range(2)), return_exceptions=True
    )
    assert len(slack.messages) == 1
    # The other came while the first was telling, or after it.
    assert 1 in done and all(each in (0, 1) or isinstance(each, AlertNotTold) for each in done)


@pytest.mark.parametrize(
    ("reply", "error", "wait", "may_be_twice"),
    [
        (BUSY, AlertNotTold, 7, False),
        ((429, "rate_limited", {"retry-after": "999999"}), AlertNotTold, 3600, False),
        ((429, "rate_limited", {"retry-after": "soon"}), AlertNotTold, 60, False),
        ((500, "internal_error", {}), AlertNotTold, 60, True),
        ((503, "<html>", {"retry-after": "20"}), AlertNotTold, 20, True),
        (SILENCE, AlertNotTold, 60, True),
        (BROKEN, AlertNotTold, 60, True),
        ((404, "no_service", {}), AlertRefused, None, False),
        ((403, "action_prohibited", {}), AlertRefused, None, False),
        ((410, "channel_is_archived", {}), AlertRefused, None, False),
        ((400, "invalid_payload", {}), AlertRefused, None, False),
        ((200, "<html>Please sign in</html>", {}), AlertRefused, None, False),
        ((200, "", {}), AlertRefused, None, False),
        ((302, "", {"location": "{elsewhere}"}), AlertRefused, None, False),
    ],
    ids=lambda value: None if isinstance(value, int | None) else str(value)[:40],
)
async def test_what_slack_does_not_take_is_told_later_and_its_address_stays_a_secret(
    database: Database,
    settings: Settings,
    moved: str,
    slack: FakeSlack,
    reply: Reply,
    error: type[AppError],
    wait: int | None,
    may_be_twice: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(wire, "TIMEOUT_SECONDS", 0.3)
    caplog.set_level(logging.DEBUG)
    mine = listening(settings, slack.url)
    async with FakeSlack() as elsewhere:
        if not isinstance(reply, str):
            status, body, headers = reply
            reply = (status, body, {name: said.format(elsewhere=elsewhere.url) for name, said in headers.items()})
        slack.replies.append(reply)
        with pytest.raises(error) as refused:
            await tell(database, moved, settings=mine, now=NOW)
        assert elsewhere.messages == []
    assert getattr(refused.value, "retry_after_seconds", None) == wait
    assert moved in str(refused.value)

    # What is not known to be told is told the next time, which says so where Slack may have it.
    assert await tell(database, moved, settings=mine, now=NOW) == 1
    assert len(slack.messages) == 2
    assert ("may stand here twice" in slack.messages[1]["text"]) == may_be_twice
    assert "may stand here twice" not in slack.messages[0]["text"]
    assert await told(database, moved) == [("migration", DAY, NOW)]

    printed = capsys.readouterr()
    trace = "".join(traceback.format_exception(refused.value))
    written = "\n".join((caplog.text, printed.out, printed.err, trace, repr(mine)))
    assert "alert.not_told" in printed.out + printed.err
    for secret in ("a-secret-part", "/services", "<html>"):
        assert secret not in written


async def test_a_page_that_repeats_the_address_is_not_repeated(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    slack.replies.append((404, f"{SECRET_PATH} was not found on this server", {}))
    with pytest.raises(AlertRefused, match="HTTP 404") as refused:
        await tell(database, moved, settings=listening(settings, slack.url), now=NOW)
    assert "a-secret-part" not in str(refused.value)


async def test_nothing_is_sent_where_a_name_leads_inside_when_it_is_called(
    database: Database, settings: Settings, moved: str, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolved(host: str | bytes | None, *arguments: Any, **named: Any) -> Any:
        return found("127.0.0.1" if host in ("hooks.example.com", b"hooks.example.com") else host, *arguments, **named)

    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    named = slack.url.replace("127.0.0.1", "hooks.example.com")
    with pytest.raises(AlertRefused, match="its name leads to this machine or its own network"):
        await tell(database, moved, settings=listening(settings, named), now=NOW)
    assert (slack.messages, await told(database, moved)) == ([], [])


async def test_a_proxy_may_be_inside(
    database: Database, settings: Settings, moved: str, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", slack.url.removesuffix(SECRET_PATH))
    outside = f"http://hooks.example.com{SECRET_PATH}"
    assert await tell(database, moved, settings=listening(settings, outside), now=NOW) == 1
    assert slack.paths == [outside]


async def test_slack_away_is_a_reason_to_try_again(database: Database, settings: Settings, moved: str) -> None:
    async with FakeSlack() as gone:
        url = gone.url
    with pytest.raises(AlertNotTold, match="cannot be reached"):
        await tell(database, moved, settings=listening(settings, url), now=NOW)
    assert await told(database, moved) == []


async def test_a_process_that_ended_between_telling_and_noting_it_is_made_good_by_telling_again(
    database: Database, settings: Settings, moved: str, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ends(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    mine = listening(settings, slack.url)
    with monkeypatch.context() as patched, pytest.raises(asyncio.CancelledError):
        patched.setattr(alerts, "confirm", ends)
        await tell(database, moved, settings=mine, now=NOW)
    assert await told(database, moved) == [("migration", DAY, None)]

    # The job is run again, meets a busy Slack, and is run once more: what is open stays open until it is told.
    slack.replies.append(BUSY)
    with pytest.raises(AlertNotTold):
        await tell(database, moved, settings=mine, now=NOW)
    assert await tell(database, moved, settings=mine, now=NOW) == 1
    assert ["may stand here twice" in message["text"] for message in slack.messages] == [False, True, True]
    assert await told(database, moved) == [("migration", DAY, NOW)]


async def test_a_move_of_few_is_not_told_by_itself(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    few = "b" * 19 + "a" * (len(THEN) - 19)
    await publish_day(database, moved, WEEK_BEFORE, "a" * len(THEN))
    await publish_day(database, moved, DAY, few)
    mine = listening(settings, slack.url, share=0.05)
    assert await tell(database, moved, settings=mine, now=NOW) == 1
    assert slack.messages[0]["text"].endswith(
        "9.5 % of the customers are of another archetype than on 7 May 2025; more than 5.0 % is worth a look."
    )


async def test_of_a_handful_of_customers_nothing_is_told(
    database: Database, settings: Settings, store_id: str, slack: FakeSlack
) -> None:
    await open_store(database, store_id)
    mine = listening(settings, slack.url)
    await publish_day(database, store_id, WEEK_BEFORE, "a" * 19)
    await publish_day(database, store_id, DAY, "b" * 19 + NEWCOMERS)
    assert await tell(database, store_id, settings=mine, now=NOW) == 0
    await publish_day(database, store_id, WEEK_BEFORE, "a" * 20)
    await publish_day(database, store_id, DAY, "b" * 20 + NEWCOMERS)
    assert await tell(database, store_id, settings=mine, now=NOW) == 1


async def test_archetypes_that_a_discovery_drew_anew_are_not_told_as_customers_who_moved(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    await publish_day(database, moved, DAY, TODAY, discovery=True)
    assert await tell(database, moved, settings=listening(settings, slack.url), now=NOW) == 0


async def test_a_shift_is_told_also_where_the_discovery_it_led_to_is_served_already(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    await publish_day(database, moved, DAY, TODAY, {"purchase_value": 0.3})
    await publish_day(database, moved, DAY, TODAY, discovery=True)
    mine = listening(settings, slack.url)
    assert await tell(database, moved, settings=mine, now=NOW) == 1
    assert slack.messages[0]["text"].endswith("found: purchase value 0.30. Segments have been found anew since.")
    # The discovery is of the day after where the shop has sold since midnight; there is no rescoring of that yet.
    await publish_day(database, moved, DAY + timedelta(days=1), TODAY, discovery=True)
    assert await tell(database, moved, settings=mine, now=NOW) == 0


async def test_what_could_not_be_told_is_told_once_a_discovery_of_the_day_after_is_served(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    await publish_day(database, moved, DAY, TODAY + NEWCOMERS, {"purchase_value": 0.3})
    await publish_day(database, moved, DAY + timedelta(days=1), TODAY + NEWCOMERS, discovery=True)
    assert await tell(database, moved, settings=listening(settings, slack.url), now=NOW) == 2
    assert await told(database, moved) == [("drift", DAY, NOW), ("migration", DAY, NOW)]


async def test_a_past_day_segmented_again_is_not_told_with_the_moves_of_the_latest(
    database: Database, settings: Settings, moved: str, slack: FakeSlack
) -> None:
    await publish_day(database, moved, DAY - timedelta(days=1), TODAY)
    assert await tell(database, moved, settings=listening(settings, slack.url), now=NOW) == 0


async def test_a_long_name_is_cut(database: Database, settings: Settings, moved: str, slack: FakeSlack) -> None:
    await execute(database, "UPDATE dim_archetype_l1 SET name = repeat('x', 5000) WHERE store_id = :s", s=moved)
    assert await tell(database, moved, settings=listening(settings, slack.url), now=NOW) == 1
    assert all(len(block["text"]["text"]) < 3000 for block in slack.messages[0]["blocks"])
