"""A shop's records, as every source delivers them and the warehouse keeps them.

Ids are text, money is decimal in the shop's currency, times carry their zone.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class LineKind(StrEnum):
    """What a line of an order is. Only goods take part in product features; all of it is money the customer paid."""

    goods = "goods"
    shipping = "shipping"
    manual = "manual"


class RefundKind(StrEnum):
    """Why money went back. Only returns take part in return behaviour; both lower what the customer is worth."""

    returned = "return"
    credit = "credit"


@dataclass(frozen=True, slots=True)
class Customer:
    customer_id: str
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    country: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """The head of an order. Its totals follow from its lines.

    customer_id is None for a guest: the order is the shop's and takes no part in what is said of customers.
    tracking_numbers are all that are known of its parcels; none at all says nothing.
    """

    order_id: str
    customer_id: str | None
    ordered_at: datetime
    order_number: str | None = None
    channel: str | None = None
    currency: str | None = None
    financial_status: str | None = None
    fulfillment_status: str | None = None
    country: str | None = None
    tracking_numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of an order.

    amount is what the customer paid for the line, discount what was taken off before that; all four numbers are >= 0.
    unit_price is the price asked for one, for people to read; money is counted by amount.
    line_id is the source's own id of the line. Where the source has none it is None, and the warehouse numbers
    lines that are alike, so that reading the same file twice finds the same lines.
    """

    order_id: str
    product_id: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    line_id: str | None = None
    title: str | None = None
    category: str | None = None
    vendor: str | None = None
    discount: Decimal = Decimal(0)
    kind: LineKind = LineKind.goods


@dataclass(frozen=True, slots=True)
class Refund:
    """Money given back to a customer: a returned line, or a credit that belongs to no line.

    document_id is the source's number of the paper it stands on (a credit note, a cancelled invoice).
    refund_id is None where the source has no id of its own, as with OrderLine.line_id.
    order_id is None where the source does not say which order is meant; the warehouse then looks for it.
    customer_id is None for a guest, or where the source names the order alone: it is then the order's.
    """

    document_id: str
    customer_id: str | None
    product_id: str | None
    quantity: Decimal
    amount: Decimal
    refunded_at: datetime
    refund_id: str | None = None
    order_id: str | None = None
    line_id: str | None = None
    kind: RefundKind = RefundKind.returned


@dataclass(frozen=True, slots=True)
class Ticket:
    """A customer's request for help.

    channel, topic and status are as the helpdesk writes them ("email", "return or exchange", "closed").
    satisfaction is the customer's rating from 1 (poor) to 5 (good), None where they gave none.
    """

    ticket_id: str
    customer_id: str
    created_at: datetime
    channel: str | None = None
    topic: str | None = None
    status: str | None = None
    resolved_at: datetime | None = None
    satisfaction: int | None = None


Record = Customer | Order | OrderLine | Refund | Ticket
