"""HTTP in and out of customers. Fixed paths stand before those with an id in them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.api.customers import history as past
from app.api.customers import service
from app.api.customers.schemas import BriefCustomer, ChurnRisk, CustomerProfile, FoundCustomers, History, Orders
from app.api.dependencies import Agent, Opened, Reader
from app.api.parameters import (
    Cursor,
    CustomerId,
    Day,
    DayOrMoment,
    Limit,
    Plain,
    Something,
    at_most,
    comma_list,
    names_among,
    some_of,
)
from app.api.tagged import TAGGED, answer
from app.core.errors import ScopeMissing
from app.core.keys import Caller, Scope

router = APIRouter(prefix="/api/mcp", tags=["customers"])

_JSON = "application/json"
_SEARCH_TERMS = 10

AsOf = Annotated[
    DayOrMoment | None,
    Query(
        description="As they stood when this day of the shop began (YYYY-MM-DD), or at this moment (with its offset): "
        "by records before it alone, and the rules in force then.",
        examples=["2026-03-01"],
    ),
]
Include = Annotated[
    Annotated[str, some_of(service.EXTRAS)] | None,
    Query(description="Comma list of churn (there by default), orders and why."),
]
Exclude = Annotated[
    Annotated[str, some_of(service.PARTS)] | None,
    Query(description="Comma list of memberships, archetype, traits, churn, identity: left out."),
]


def _parts(caller: Caller, include: str | None, exclude: str | None) -> tuple[frozenset[str], frozenset[str]]:
    """What is left out, and what comes with it."""
    without = names_among("exclude", exclude, service.PARTS)
    extras = names_among("include", include, service.EXTRAS)
    if "orders" in extras and not caller.identified:
        raise ScopeMissing(needed=[Scope.support], held=sorted(caller.scopes))
    return without, extras


@router.get("/customer/random", summary="Someone, in full", response_model=CustomerProfile)
async def random_customer(
    caller: Reader, resources: Opened, include: Include = None, exclude: Exclude = None
) -> Response:
    """A customer drawn by chance, among those the served segmentation has placed."""
    without, extras = _parts(caller, include, exclude)
    return Response(await service.random_profile(resources, caller, without=without, extras=extras), media_type=_JSON)


@router.get("/customer/{customer_id}", summary="One customer in full", response_model=CustomerProfile, responses=TAGGED)
async def customer(
    request: Request,
    customer_id: CustomerId,
    caller: Reader,
    resources: Opened,
    include: Include = None,
    exclude: Exclude = None,
    as_of: AsOf = None,
) -> Response:
    """Who they are, what kind of customer they are, where they stand on every axis, and what they are worth."""
    without, extras = _parts(caller, include, exclude)
    told = await service.profile(resources, caller, customer_id, as_of=as_of, without=without, extras=extras)
    return answer(request, told.text, identified=caller.identified)


@router.post("/customer/{customer_id}/refresh", summary="Score a customer anew", response_model=CustomerProfile)
async def refresh(customer_id: CustomerId, caller: Agent, resources: Opened) -> Response:
    """Places the customer by their latest orders on the served segmentation, and keeps that."""
    return Response(await service.refreshed_profile(resources, caller, customer_id), media_type=_JSON)


@router.get("/customer/{customer_id}/orders", summary="A customer's orders, newest first")
async def orders(
    customer_id: CustomerId,
    caller: Agent,
    resources: Opened,
    search_terms: Annotated[
        Annotated[Plain, at_most(_SEARCH_TERMS)] | None,
        Query(description="Comma list; any of them in a title, product id, vendor, category or order number."),
    ] = None,
    start_date: Annotated[Day | None, Query(description="First day of the shop's calendar.")] = None,
    end_date: Annotated[Day | None, Query(description="Last day, included.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = service.LATEST_ORDERS,
    cursor: Cursor = None,
) -> Orders:
    return await service.orders(
        resources,
        caller,
        customer_id,
        terms=comma_list("search_terms", search_terms, most=_SEARCH_TERMS),
        first_day=start_date,
        last_day=end_date,
        limit=limit,
        cursor=cursor,
    )


@router.get("/customer/{customer_id}/churn-risk", summary="Whether a customer will come back, and why")
async def churn_risk(customer_id: CustomerId, caller: Reader, resources: Opened) -> ChurnRisk:
    """The risk that is in their profile, and what each side of what they do adds to it."""
    return await service.churn_risk(resources, caller, customer_id)


@router.get("/customer/{customer_id}/history", summary="A customer's past, day by day")
async def history(
    customer_id: CustomerId,
    caller: Reader,
    resources: Opened,
    days: Annotated[int, Query(ge=1, le=3_660, description="How many days back from the latest.")] = past.DAYS,
    start_date: Annotated[Day | None, Query(description="First day of the shop's calendar, instead of days.")] = None,
    end_date: Annotated[Day | None, Query(description="Last day, included.")] = None,
) -> History:
    """Which kind of customer they were and in which segments, when that changed, and what they were worth."""
    return await past.history(resources, caller, customer_id, days=days, first_day=start_date, last_day=end_date)


@router.get("/customers/search", summary="Find customers")
async def search(
    caller: Reader,
    resources: Opened,
    query: Annotated[
        Something,
        Query(
            description="Part of a name or e-mail, or the beginning of an id or order number; for keys that may not "
            "see identities, a pseudonym in full.",
            examples=["C00000"],
        ),
    ],
    limit: Limit = 10,
) -> FoundCustomers:
    return await service.search(resources, caller, query, limit=limit)


@router.get("/customers/{customer_id}", summary="One customer in a few numbers")
async def brief(customer_id: CustomerId, caller: Reader, resources: Opened, as_of: AsOf = None) -> BriefCustomer:
    return await service.brief(resources, caller, customer_id, as_of=as_of)
