"""Customers: read ready, or scored where the served run has nothing ready, and told in the caller's view."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import ModuleType
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson

from app.api import anonymous, foretold
from app.api.customers import risk
from app.api.customers.schemas import (
    BriefArchetype,
    BriefCustomer,
    ChurnRisk,
    FoundCustomers,
    LineItem,
    Order,
    Orders,
)
from app.audit import noted
from app.core.clock import utc_now
from app.core.cursors import seal, unseal
from app.core.dates import in_words, start_of_day
from app.core.errors import (
    CustomerNotFound,
    InvalidParameter,
    NoCustomers,
    NothingPredicted,
    NothingPublished,
    NotPredicted,
    OutdatedPredictions,
    OutdatedRun,
)
from app.core.keys import Caller, is_pseudonym, pseudonym
from app.domain.profile_form import Figures, ProfileForm, figures, with_risk
from app.domain.value_tiers import value_tiers_from
from app.resources import Resources
from app.warehouse import customers
from app.warehouse.announcements import Change
from app.warehouse.archetypes import read_archetype_object
from app.warehouse.audit import AuditNote
from app.warehouse.engine import Row
from app.warehouse.predictions import ServedChurn
from app.warehouse.stores import read_store

if TYPE_CHECKING:
    from app.pipeline.score import CustomerProfile

AWAITING_FIRST_PURCHASE = "Awaiting first purchase to analyze behavior"
LATEST_ORDERS = 50

#: What `exclude` may name, and the fields it leaves out.
PARTS: Mapping[str, tuple[str, ...]] = {
    "memberships": (
        *("fuzzy_memberships", "dominant_segments", "axis_sources"),
        *("membership_strength", "interpretation"),
    ),
    "archetype": ("archetype", "archetype_id", "archetype_level2_id", "archetype_level3_id", "fold_distance"),
    "traits": ("key_traits",),
    "churn": ("churn_risk", "churn_risk_score", "churn_risk_reason"),
    "identity": ("identity",),
}
#: What `include` may name.
EXTRAS = ("churn", "orders", "why")

_FORMS_REMEMBERED = 64
_EVERYONE = "segmented customers"
_SAME_SHARE = 1e-8
_SHARES = 6  # decimals of a chance
_SAME_RISK = 1e-4
_TOLD_ANEW = "Their records have changed since: what makes up the risk is told when they are next scored."


def _json(told: object) -> str:
    return orjson.dumps(told).decode()


# One customer in full


@dataclass(frozen=True, slots=True)
class ToldProfile:
    """text : JSON, in the caller's view; stored : read as it is kept, so that it stays the same until that changes"""

    text: str
    customer_id: str
    pseudonym: str
    stored: bool


async def profile(
    resources: Resources,
    caller: Caller,
    customer_id: str,
    *,
    as_of: date | datetime | None = None,
    without: frozenset[str] = frozenset(),
    extras: frozenset[str] = frozenset(),
) -> ToldProfile:
    """A customer's profile.

    as_of   : as they stood when that day of the shop began, or at that moment; None for what is served
    without : names among PARTS
    extras  : names among EXTRAS

    Raises CustomerNotFound, or InvalidParameter for a day that lies ahead, for orders as of a day, and for a moment
    where the caller may not see identities.
    """
    if as_of is not None and "orders" in extras:
        raise InvalidParameter("include", "orders are told as they are now; with as_of, take /orders with end_date")
    if isinstance(as_of, datetime) and not caller.identified:
        # From one moment to the next it would tell the second and the amount of each order.
        raise InvalidParameter("as_of", "with a key that sees no identities it takes a day, as in 2026-03-01")
    row = await find(resources, caller, customer_id)
    return await _profile(resources, caller, customer_id, row, as_of=as_of, without=without, extras=extras)


async def _profile(
    resources: Resources,
    caller: Caller,
    customer_id: str,
    row: Row,
    *,
    as_of: date | datetime | None = None,
    without: frozenset[str] = frozenset(),
    extras: frozenset[str] = frozenset(),
) -> ToldProfile:
    """The same of someone who has been found. customer_id : as it was asked for"""
    moment = None if as_of is None else _moment_of(as_of, row["timezone"])
    stored = False
    if moment is not None:
        text = await _then(resources, caller, row, moment)
    elif row["own"] is not None and row["archetype"] is not None:
        form = await _form(resources, caller.store_id, row["run_id"])
        if form is None:
            again = await _look_up(resources, caller, customer_id)
            return await _profile(resources, caller, customer_id, again, without=without, extras=extras)
        stored = True
        served = await _served(resources, row)
        theirs = form.filled(row["own"], row["memberships"].split(","), row["dominant"])
        predicted = risk.told(row, served, figures(row["own"]))
        text = _segmented(
            row, row["run_id"], row["archetype_id"], row["archetype"], theirs, _stored_rfm(row), predicted
        )
    else:
        text = await _worked_out(resources, caller, row)
    if caller.identified and not without and extras <= {"churn"}:
        return ToldProfile(text, row["customer_id"], row["pseudonym"], stored)
    told = json.loads(text)
    if "why" in extras:
        told = await _with_why(resources, caller, row, told, moment)
    if not caller.identified:
        small = await anonymous.small_groups(resources, caller.store_id, told["run_id"] or 0)
        told = anonymous.profile(told, small)
    for part in without:
        for field in PARTS[part]:
            told.pop(field, None)
        if part == "traits" and told.get("archetype"):
            told["archetype"]["key_traits"] = []
        if part == "churn":
            told["business_metrics"].pop("churn_risk_score")
    if "orders" in extras:
        latest = await _orders(resources, caller, customer_id, row)
        told["orders"] = latest.model_dump()
    return ToldProfile(_json(told), row["customer_id"], row["pseudonym"], stored)


async def random_profile(resources: Resources, caller: Caller, **options: Any) -> str:
    """The profile of someone, anyone. Raises NoCustomers, or TooManyRequests."""
    # Where a digest of chance lies among the digests of everyone.
    point = pseudonym(utc_now().isoformat().encode(), store_id=caller.store_id, customer_id="anyone")
    customer_id = await customers.random_customer(resources.database, caller.store_id, point)
    if customer_id is None:
        raise NoCustomers(caller.store_id)
    resources.limits.draw(caller)
    return (await profile(resources, caller, await _seen_as(resources, caller, customer_id), **options)).text


async def _seen_as(resources: Resources, caller: Caller, customer_id: str) -> str:
    """What this caller may call a customer."""
    if caller.identified:
        return customer_id
    row = await customers.read_profile(resources.database, caller.store_id, customer_id)
    return str(row["pseudonym"]) if row else customer_id


async def refreshed_profile(resources: Resources, caller: Caller, customer_id: str) -> str:
    """Score a customer as of now, keep that, and tell it.

    Raises CustomerNotFound, NothingPublished, or OutdatedRun.
    """
    row = await find(resources, caller, customer_id)
    if row["orders_count"] > 0:
        if row["run_id"] is None:
            raise NothingPublished(caller.store_id)
        with suppress(CustomerNotFound):  # whose orders all lie ahead: nothing to score yet
            note = noted(caller, "customer.refresh", subjects=[row["pseudonym"]] if row["pseudonym"] else [])
            await _score(resources, caller.store_id, row["customer_id"], as_of=None, latest=True, note=note)
            resources.hearing.tell(Change(caller.store_id, [row["customer_id"]]))
    row = await _look_up(resources, caller, customer_id)
    return (await _profile(resources, caller, customer_id, row)).text


async def churn_risk(resources: Resources, caller: Caller, customer_id: str) -> ChurnRisk:
    """A customer's risk, and what each side of what they do adds to it.

    Raises CustomerNotFound, NothingPredicted, or NotPredicted for who nothing is predicted of.
    """
    row = await find(resources, caller, customer_id)
    told = json.loads((await _profile(resources, caller, customer_id, row)).text)
    if told["churn_risk"] is None:
        if row["served_prediction_id"] is None:
            raise NothingPredicted(caller.store_id)
        raise NotPredicted(customer_id, reason=told["churn_risk_reason"])
    as_of = datetime.fromisoformat(told["churn_risk"]["as_of"])
    some = await asyncio.to_thread(_explaining)
    why, message = None, None
    try:
        why = await some.explain_churn(
            resources.database, caller.store_id, row["customer_id"], now=utc_now(), as_of=as_of
        )
    except CustomerNotFound:  # who is gone by now: named as they were asked for
        raise CustomerNotFound(customer_id, store_id=caller.store_id) from None
    except OutdatedPredictions as error:
        message = str(error)
    # Where records of before have come in since, what is explained is another score than the one that is served.
    if why is not None and abs(why["churn_risk_score"] - told["churn_risk_score"]) >= _SAME_RISK:
        why, message = None, _TOLD_ANEW
    return ChurnRisk(
        **told["churn_risk"],
        typical_customer=None if why is None else round(why["typical_customer"], _SHARES),
        contributions=None if why is None else risk.contributions(why["by_group"]),
        message=message,
        currency=told["currency"],
        timezone=told["timezone"],
        run_id=told["run_id"],
    )


def _explaining() -> ModuleType:
    """Loaded when first asked for, as `_scoring` says."""
    from app.pipeline import predict_some

    return predict_some


async def find(resources: Resources, caller: Caller, customer_id: str) -> Row:
    """Whom a request asks for, which is noted: once, however often they are looked up for it."""
    row = await _look_up(resources, caller, customer_id)
    resources.audit.read(caller, "customer.read", [row["pseudonym"]])
    return row


async def _look_up(resources: Resources, caller: Caller, customer_id: str) -> Row:
    """Those who may not see identities know customers by their pseudonym alone."""
    row = None
    if caller.identified:
        row = await customers.read_profile(resources.database, caller.store_id, customer_id)
    if row is None and is_pseudonym(customer_id):
        row = await customers.read_profile_by_pseudonym(resources.database, caller.store_id, customer_id)
    if row is None:
        raise CustomerNotFound(customer_id, store_id=caller.store_id)
    return row


async def _form(resources: Resources, store_id: str, run_id: int) -> ProfileForm | None:
    """What the profiles of a run have in common, read once a run; None where the run is forgotten by now."""
    known = resources.forms.get(run_id)
    if known is None:
        row = await customers.read_form(resources.database, store_id, run_id)
        if row["axes"] is None:
            return None
        axes: dict[str, tuple[list[str], list[str]]] = {}
        for axis, name, source in zip(row["axes"], row["names"], row["sources"], strict=True):
            names, sources = axes.setdefault(axis, ([], []))
            names.append(name)
            sources.append(source)
        cutoffs = value_tiers_from(json.loads(row["tiers"])).cutoffs()
        known = ProfileForm([(axis, *told) for axis, told in axes.items()], cutoffs=cutoffs)
        while len(resources.forms) >= _FORMS_REMEMBERED:
            resources.forms.pop(next(iter(resources.forms)))
        resources.forms[run_id] = known
    return known


async def _served(resources: Resources, row: Row) -> ServedChurn | None:
    """What tells the customer's risk."""
    return await foretold.churn_model(resources, row["store_id"], row["served_prediction_id"])


def _segmented(
    row: Row,
    run_id: int,
    archetype_id: str,
    archetype: str,
    told: str,
    rfm: Mapping[str, Any] | None,
    predicted: Mapping[str, Any],
) -> str:
    """The head, and behind it what the run tells of them. What a customer was before is known after that is written,
    and so is what is predicted.
    """
    head = {**_head(row, "segmented", None), "archetype_id": archetype_id, "run_id": run_id, "rfm": rfm, **predicted}
    return _told(head, archetype, with_risk(told, predicted["churn_risk_score"]))


def _told(head: Mapping[str, Any], archetype: str, told: str) -> str:
    return f'{_json(head)[:-1]},"archetype":{archetype},{told}}}'


async def _segmented_by(
    resources: Resources, row: Row, scored: "CustomerProfile", *, predicted: Mapping[str, Any] | None = None
) -> str:
    """Of someone scored and not kept. predicted : what is said instead of what is predicted of them"""
    archetype = await _archetype_object(resources, row["store_id"], scored.run_id, scored.archetype_id)
    if predicted is None:
        of = risk.figures_of(json.loads(f"{{{scored.text}}}"))
        predicted = risk.told(row, await _served(resources, row), of)
    rfm = _scored_rfm(scored)
    return _segmented(row, scored.run_id, scored.archetype_id, archetype, scored.text, rfm, predicted)


def _stored_rfm(row: Row) -> dict[str, Any] | None:
    """None in a run of an older version."""
    if row["rfm_group"] is None:
        return None
    return {
        "recency_score": row["rfm_recency"],
        "frequency_score": row["rfm_frequency"],
        "monetary_score": row["rfm_monetary"],
        "group": row["rfm_group"],
        "previous_group": row["rfm_previous_group"],
        "changed_on": row["rfm_changed_on"],
    }


def _scored_rfm(scored: "CustomerProfile") -> dict[str, Any]:
    """Of someone scored and not kept, or as of another day: nothing came before."""
    recency, frequency, monetary = scored.rfm_scores
    return {
        "recency_score": recency,
        "frequency_score": frequency,
        "monetary_score": monetary,
        "group": scored.rfm_group,
        "previous_group": None,
        "changed_on": None,
    }


def _head(row: Row, status: str, message: str | None) -> dict[str, Any]:
    first, last = row["first_name"], row["last_name"]
    return {
        "customer_id": row["customer_id"],
        "pseudonym": row["pseudonym"],
        "identity": {
            "name": _full_name(row),
            "first_name": first,
            "last_name": last,
            "email": row["email"],
            "phone": row["phone"],
            "country": row["country"],
        },
        "customer_since": row["customer_since"],
        "segment_status": status,
        "message": message,
        "currency": row["currency"],
        "timezone": row["timezone"],
    }


async def _worked_out(resources: Resources, caller: Caller, row: Row) -> str:
    """The profile of someone for whom nothing is stored."""
    if row["orders_count"] == 0:
        return _json(_awaiting_first_order(row, None))
    if row["run_id"] is None:
        return _json(await _unsegmented(resources, caller, row, _not_segmented(caller.store_id), None))
    try:
        # Where none of the run's records speaks of them, their orders came later.
        scored = await _score(resources, caller.store_id, row["customer_id"], as_of=None, latest=True)
    except OutdatedRun as error:
        return _json(await _unsegmented(resources, caller, row, str(error), None))
    except CustomerNotFound:  # no order before that moment
        return _json(_awaiting_first_order(row, None))
    return await _segmented_by(resources, row, scored)


def _not_segmented(store_id: str) -> str:
    return (
        f"No segmentation has been published yet. Run `python -m app segment --store {store_id}`; "
        "until then only the orders speak."
    )


async def _then(resources: Resources, caller: Caller, row: Row, moment: datetime) -> str:
    """The profile as of a moment: of what was known then alone, but for who they are."""
    if moment > utc_now():
        raise InvalidParameter("as_of", "it lies in the future; take a day up to today")
    store_id, customer_id = caller.store_id, row["customer_id"]
    since = await customers.customer_since_then(resources.database, store_id, customer_id, moment)
    known = {**row, "customer_since": since, "run_id": None}
    _, score = await asyncio.to_thread(_scoring)
    try:
        then = await score.score_then(resources.database, store_id, customer_id, as_of=moment)
    except OutdatedRun as error:
        told = await _unsegmented(resources, caller, known, str(error), moment)
        return _json({**told, "rules_as_of": None})
    if then.rules is None:
        told = await _unsegmented(resources, caller, known, _not_segmented(store_id), moment)
        return _json({**told, "rules_as_of": None})
    of_rules = {"run_id": then.rules.run_id, "rules_as_of": _moment(then.rules.as_of)}
    scored = then.scored
    if scored is None:
        told = _awaiting_first_order(known, moment)
        return _json({**told, **of_rules})
    archetype = await _archetype_object(resources, store_id, scored.run_id, scored.archetype_id)
    message = None
    if then.rules.as_of > moment:
        day = then.rules.as_of.astimezone(ZoneInfo(row["timezone"])).date()
        message = f"No segmentation kept is that old: they are placed by the rules of {in_words(day)}, the oldest."
    head = {
        **_head(known, "segmented", message),
        "archetype_id": scored.archetype_id,
        **of_rules,
        "rfm": _scored_rfm(scored),
        **risk.nothing(risk.OF_A_PAST_DAY),
    }
    return _told(head, archetype, scored.text)


async def _with_why(
    resources: Resources, caller: Caller, row: Row, told: dict[str, Any], moment: datetime | None
) -> dict[str, Any]:
    """A profile with its reasons, which are those of its own numbers. moment : of the past; None for what is served"""
    if told["segment_status"] != "segmented":
        return {**told, "why": None}
    as_of = datetime.fromisoformat(told["as_of"])
    why = await asyncio.to_thread(_why)
    explained = await why.explain_customer(
        resources.database, caller.store_id, row["customer_id"], run_id=told["run_id"], as_of=as_of
    )
    if not _alike(explained.memberships, told["fuzzy_memberships"]):
        # Records of before as_of have come in since the profile was written: both are told of those there are now.
        if moment is not None:
            told = json.loads(await _then(resources, caller, row, moment))
            explained = await why.explain_customer(
                resources.database, caller.store_id, row["customer_id"], run_id=told["run_id"], as_of=as_of
            )
            return {**told, "why": explained.why}
        scored = await _score(resources, caller.store_id, row["customer_id"], as_of=as_of, latest=False)
        told = json.loads(await _segmented_by(resources, row, scored))
        explained = await why.explain_customer(
            resources.database, caller.store_id, row["customer_id"], run_id=scored.run_id, as_of=as_of
        )
    return {**told, "why": explained.why}


def _alike(one: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether memberships are the same, as far as they are written."""
    return one.keys() == other.keys() and all(
        shares.keys() == other[axis].keys()
        and all(abs(share - other[axis][name]) < _SAME_SHARE for name, share in shares.items())
        for axis, shares in one.items()
    )


async def _score(
    resources: Resources,
    store_id: str,
    customer_id: str,
    *,
    as_of: datetime | None,
    latest: bool,
    note: AuditNote | None = None,
) -> "CustomerProfile":
    """latest : as of the end of the store's last recorded day; note : who has the score kept, None where it is not"""
    run, score = await asyncio.to_thread(_scoring)
    if latest:
        async with resources.database.snapshot() as connection:
            as_of = await run.latest_as_of(connection, await read_store(connection, store_id), now=utc_now())
    profile: CustomerProfile = await score.score_customer(
        resources.database, store_id, customer_id, as_of=as_of, keep=note is not None, note=note
    )
    return profile


def _why() -> ModuleType:
    """Loaded when first asked for, as `_scoring` says."""
    from app.pipeline import why

    return why


def _scoring() -> tuple[ModuleType, ModuleType]:
    """Polars and its like take a second to load: the first who needs them waits, in a thread, and the others do not."""
    from app.pipeline import run, score

    return run, score


async def _archetype_object(resources: Resources, store_id: str, run_id: int, archetype_id: str) -> str:
    row = await read_archetype_object(resources.database, store_id, run_id, archetype_id)
    if row is None:  # swept by the next run meanwhile
        return "null"
    if row["profile"] is not None:
        return str(row["profile"])
    return _json(
        {
            "archetype_id": row["archetype_id"],
            "segment_name": row["name"],
            "description": row["description"],
            "level": 1,
            "dominant_segments": json.loads(row["dominant_segments"]),
            "member_count": row["member_count"],
            "population_percentage": row["population_percentage"],
            "population": _EVERYONE,
            "key_traits": json.loads(row["key_traits"] or "[]"),
        }
    )


async def _unsegmented(
    resources: Resources, caller: Caller, row: Row, message: str, moment: datetime | None
) -> dict[str, Any]:
    """Someone with orders whom no run has placed: what the orders alone say."""
    until = moment or utc_now()
    found = await customers.orders_until(resources.database, caller.store_id, row["customer_id"], until)
    if found is None:
        return _awaiting_first_order(row, moment)
    zone = ZoneInfo(row["timezone"])
    today, first, last = (each.astimezone(zone).date() for each in (until, found.first_order_at, found.last_order_at))
    metrics = {
        "lifetime_value": _number(found.spent),
        "total_orders": found.n_orders,
        "avg_order_value": _number(customers.per_order(found.spent, found.n_orders)),
        "days_since_last_purchase": (today - last).days,
        "customer_tenure_days": (today - first).days,
    }
    if moment is not None:
        predicted = risk.nothing(risk.OF_A_PAST_DAY)
    else:
        of = Figures(found.n_orders, (today - last).days, (today - first).days, gap_days=None, tier=None)
        predicted = risk.told(row, await _served(resources, row), of)
    return _awaiting(row, "awaiting_segmentation", message, metrics, predicted, until)


def _awaiting_first_order(row: Row, moment: datetime | None) -> dict[str, Any]:
    predicted = risk.nothing(risk.NO_ORDER_YET if moment is None else risk.OF_A_PAST_DAY)
    return _awaiting(row, "awaiting_first_purchase", AWAITING_FIRST_PURCHASE, _no_orders(), predicted, moment)


def _no_orders() -> dict[str, Any]:
    return {
        "lifetime_value": 0.0,
        "total_orders": 0,
        "avg_order_value": 0.0,
        "days_since_last_purchase": None,
        "customer_tenure_days": None,
    }


def _awaiting(
    row: Row,
    status: str,
    message: str,
    metrics: Mapping[str, Any],
    predicted: Mapping[str, Any],
    moment: datetime | None,
) -> dict[str, Any]:
    return {
        **_head(row, status, message),
        "archetype": None,
        "archetype_id": None,
        "archetype_level2_id": None,
        "archetype_level3_id": None,
        "fold_distance": None,
        "fuzzy_memberships": None,
        "dominant_segments": None,
        "axis_sources": None,
        "membership_strength": None,
        "interpretation": None,
        "key_traits": [],
        "business_metrics": {
            **metrics,
            "usual_gap_days": None,
            "churn_risk_score": predicted["churn_risk_score"],
        },
        **metrics,
        "ltv_tier": None,
        "ltv_top_percent": None,
        "ltv_tier_cutoffs": None,
        "rfm": None,
        **predicted,
        "run_id": row["run_id"],
        "as_of": _moment(moment),
    }


# A customer's orders


async def orders(
    resources: Resources,
    caller: Caller,
    customer_id: str,
    *,
    terms: Sequence[str] | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    limit: int = LATEST_ORDERS,
    cursor: str | None = None,
) -> Orders:
    """A page of orders, newest first. Days are the shop's, both included.

    Raises CustomerNotFound, or InvalidParameter for a cursor of another list and an end before its start.
    """
    if first_day is not None and last_day is not None and last_day < first_day:
        raise InvalidParameter("end_date", "it lies before start_date")
    row = await find(resources, caller, customer_id)
    days = {"first_day": first_day, "last_day": last_day}
    return await _orders(resources, caller, customer_id, row, terms=terms, **days, limit=limit, cursor=cursor)


async def _orders(
    resources: Resources,
    caller: Caller,
    customer_id: str,
    row: Row,
    *,
    terms: Sequence[str] | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    limit: int = LATEST_ORDERS,
    cursor: str | None = None,
) -> Orders:
    """The same of someone who has been found. customer_id : as it was asked for"""
    found_id = row["customer_id"]
    purpose = json.dumps(["orders", caller.store_id, found_id, terms, str(first_day), str(last_day)])
    after = None
    if cursor is not None:
        moment, order_id = unseal(resources.secret, purpose, cursor)
        after = (datetime.fromisoformat(moment), order_id)
    rows = await customers.read_orders(
        resources.database,
        caller.store_id,
        found_id,
        first_day=first_day,
        last_day=last_day,
        terms=terms,
        after=after,
        limit=limit + 1,
    )
    if not rows:
        raise CustomerNotFound(customer_id, store_id=caller.store_id)
    about = rows[0]
    found = [each for each in rows if each["order_id"] is not None]
    page, more = found[:limit], len(found) > limit
    ending = page[-1] if page else about
    return Orders(
        customer_id=found_id,
        orders=[_order(each) for each in page],
        total_orders=about["orders_count"],
        total_spent=_money(about["total_spent"]),
        matching_orders=about["matching_orders"],
        next_cursor=seal(resources.secret, purpose, [ending["order_date"].isoformat(), ending["order_id"]])
        if more
        else None,
        run_id=about["run_id"],
        as_of=_moment(utc_now()),
    )


def _order(row: Row) -> Order:
    return Order(
        order_id=row["order_id"],
        order_number=row["order_number"],
        created_at=row["order_date"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        total_price=_money(row["total_price"]),
        discount_amount=_money(row["discount_amount"]),
        refunded_amount=_money(row["refunded_amount"]),
        currency=row["currency"] or row["store_currency"],
        line_items=[_line(item) for item in json.loads(row["line_items"] or "[]")],
        tracking_numbers=row["tracking_numbers"],
        fulfillment_status=row["fulfillment_status"],
        financial_status=row["financial_status"],
    )


def _line(item: Sequence[Any]) -> LineItem:
    title, vendor, quantity, price, line_total, refund_amount, product_id, category = item
    return LineItem(
        title=title,
        vendor=vendor,
        quantity=_quantity(Decimal(quantity)),
        price=_money(Decimal(price)),
        line_total=_money(Decimal(line_total)),
        refund_amount=_money(Decimal(refund_amount)),
        product_id=product_id,
        category=category,
    )


def _quantity(units: Decimal) -> int | float:
    """Whole units as what they are; half a yard as a fraction."""
    return int(units) if units == int(units) else float(units)


# Customers in brief


async def brief(
    resources: Resources, caller: Caller, customer_id: str, *, as_of: date | datetime | None = None
) -> BriefCustomer:
    """as_of : as for a profile. Raises CustomerNotFound, or InvalidParameter for a day that lies ahead."""
    if as_of is not None:
        return _in_brief(json.loads((await profile(resources, caller, customer_id, as_of=as_of)).text))
    row = None
    if caller.identified:
        row = await customers.read_brief(resources.database, caller.store_id, customer_id)
    if row is None and is_pseudonym(customer_id):
        row = await customers.read_brief_by_pseudonym(resources.database, caller.store_id, customer_id)
    if row is None:
        raise CustomerNotFound(customer_id, store_id=caller.store_id)
    resources.audit.read(caller, "customer.read", [row["pseudonym"]])
    (told,) = await _briefs(resources, caller, [row])
    return told


def _in_brief(told: Mapping[str, Any]) -> BriefCustomer:
    """A whole profile, told in the caller's view, in a few numbers."""
    kind, identity = told["archetype"], told["identity"] or {}
    return BriefCustomer(
        customer_id=told["customer_id"],
        name=identity.get("name"),
        email=identity.get("email"),
        archetype=kind and BriefArchetype(id=kind["archetype_id"], name=kind["segment_name"], level=kind["level"]),
        ltv=told["lifetime_value"],
        churn_risk=told["churn_risk_score"],
        total_orders=told["total_orders"],
        avg_order_value=told["avg_order_value"],
        **{name: told[name] for name in ("currency", "timezone", "run_id", "as_of", "rules_as_of", "message")},
    )


async def search(resources: Resources, caller: Caller, query: str, *, limit: int) -> FoundCustomers:
    """Those whose id, name, e-mail or order number it is; for who may not see identities, whose pseudonym."""
    if caller.identified:
        rows = await customers.search_customers(resources.database, caller.store_id, query, limit=limit)
        resources.audit.read(caller, "customers.search", [row["pseudonym"] for row in rows])
    else:
        # In full: by its beginning, everyone could be listed, and so counted.
        row = await customers.read_brief_by_pseudonym(resources.database, caller.store_id, query.upper())
        rows = [] if row is None else [row]
    found = await _briefs(resources, caller, rows)
    served = found[0] if found else None
    return FoundCustomers(
        query=query,
        customers=found,
        count=len(found),
        run_id=served.run_id if served else None,
        as_of=served.as_of if served else None,
    )


async def _briefs(resources: Resources, caller: Caller, rows: Sequence[Row]) -> list[BriefCustomer]:
    small = None
    if rows and not caller.identified:
        small = await anonymous.small_groups(resources, caller.store_id, rows[0]["run_id"] or 0)
    told = []
    for row in rows:
        kind = None
        if row["archetype_id"] is not None:
            hidden = small is not None and row["archetype_id"] in small.archetypes
            kind = BriefArchetype(
                id=anonymous.OTHER_ID if hidden else row["archetype_id"],
                name=anonymous.OTHER_NAME if hidden else row["archetype_name"],
                level=1,
            )
        average = row["avg_order_value"]
        if average is None:
            average = customers.per_order(row["ltv"], row["total_orders"])
        told.append(
            BriefCustomer(
                customer_id=row["customer_id"] if caller.identified else row["pseudonym"],
                name=_full_name(row) if caller.identified else None,
                email=row["email"] if caller.identified else None,
                archetype=kind,
                ltv=_number(row["ltv"]),
                churn_risk=row["churn_risk"],
                total_orders=row["total_orders"],
                avg_order_value=_number(average),
                currency=row["currency"],
                timezone=row["timezone"],
                run_id=row["run_id"],
                # Without a standing the numbers are those of all their orders so far.
                as_of=row["as_of"] or _moment(utc_now()),
            )
        )
    return told


# How things are written


def _moment_of(as_of: date | datetime, timezone: str) -> datetime:
    return as_of if isinstance(as_of, datetime) else start_of_day(as_of, timezone)


def _full_name(row: Row) -> str | None:
    return " ".join(part for part in (row["first_name"], row["last_name"]) if part) or None


def _number(amount: Decimal) -> float:
    return round(float(amount), 4)


def _money(amount: Decimal) -> str:
    """With two decimals, or as many more as it has."""
    plain = amount.normalize()
    exponent = plain.as_tuple().exponent
    decimals = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{amount:.{decimals}f}"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
