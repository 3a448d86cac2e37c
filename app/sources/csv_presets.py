"""What one row of a CSV file becomes, for each kind of file we know.

A preset names the fields it wants; the reader finds their columns and converts their text; the preset then decides the
row's fate. It never sees the file, so the rules can be read, and tested, on plain values.

A new preset is a class with `name`, `fields`, `money` and `take`, and a line in PRESETS.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum, auto
from typing import ClassVar, NamedTuple

from app.domain.records import Customer, LineKind, Order, OrderLine, Record, Refund, RefundKind, Ticket

LIMIT = Decimal(10) ** 13  # beyond this a number is a slip of the keyboard, not a price, a quantity or an amount
ID_LENGTH = 255
FOUR_PLACES = Decimal("0.0001")
_EXACT = Context(prec=64)  # enough not to round a product twice
_ZERO = Decimal(0)
_ONE = Decimal(1)


class BadValueError(Exception):
    """A value that makes its row unreadable. `field` is None where the one who raises it does not know the field."""

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


class Kind(Enum):
    """How the text of a field is to be read, and so what `take` receives.

    id       : str of 1 to 255 characters
    text     : str
    number   : Decimal, any sign, as exact as written
    quantity : Decimal, any sign but never 0, to 4 decimals
    moment   : datetime in UTC
    """

    id = auto()
    text = auto()
    number = auto()
    quantity = auto()
    moment = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """column_needed: the header must have it. value_needed: so must every row; elsewhere an empty value is None."""

    name: str
    kind: Kind
    column_needed: bool = False
    value_needed: bool = False


class Taken(NamedTuple):
    """A row that became `records`; it is counted as `what`, with `money` signed as in the file."""

    what: str
    money: Decimal
    records: Sequence[Record]


class SetAside(NamedTuple):
    """A row that could be read and is left out by the rule `why`; `records` is what it tells all the same."""

    why: str
    money: Decimal
    records: Sequence[Record] = ()


def to_four_places(value: Decimal, *, field: str | None = None) -> Decimal:
    """What is kept of an amount: 4 decimals, half to even. Raises BadValueError, blaming `field`, beyond LIMIT."""
    if abs(value) > LIMIT:
        raise BadValueError(f"makes an amount beyond {LIMIT:,}", field=field)
    return value.quantize(FOUR_PLACES, ROUND_HALF_EVEN)


class Preset:
    """One reading of one source: it remembers the orders and customers it has told of, and so serves only once.

    fields   : in the order in which `take` receives their values
    timezone : of the times in the file, where the kind of file decides it; None leaves it to the store
    notes    : for people, see ReadingAccount
    money    : (values of the number and quantity fields, in their order) -> money of the row, signed, 4 decimals
    take     : (values of all fields) -> the row's fate

    `money` and `take` raise BadValueError for a row that cannot be used.
    """

    name: ClassVar[str]
    timezone: ClassVar[str | None] = None
    currency: ClassVar[str | None] = None
    fields: ClassVar[tuple[Field, ...]]

    money: Callable[..., Decimal]
    take: Callable[..., Taken | SetAside]

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._profiles: dict[str, tuple[str | None, str | None]] = {}
        self._orders: dict[str, tuple[datetime, str]] = {}
        self._an_order_was_shared = False

    def open_file(self, found: Collection[str]) -> None:
        """Told before the first row of each file, with the names of the fields that have a column in it."""

    def _customer(self, customer_id: str, *, country: str | None, email: str | None = None) -> Sequence[Record]:
        """The customer, if there is something new to tell. An empty value does not undo one told before."""
        told = self._profiles.get(customer_id)
        if told is not None and told != (country, email):
            country, email = country or told[0], email or told[1]
        if told == (country, email):
            return ()
        self._profiles[customer_id] = (country, email)
        return (Customer(customer_id=customer_id, email=email, country=country),)

    def _order(
        self,
        order_id: str,
        *,
        customer_id: str,
        ordered_at: datetime,
        country: str | None,
        channel: str | None = None,
        order_number: str | None = None,
    ) -> Sequence[Record]:
        """The head of the order: told once, and again when a row puts it at an earlier time."""
        told = self._orders.get(order_id)
        if told is not None:
            told_at, owner = told
            if customer_id != owner:
                self._note_shared(order_id, owner, customer_id)
                customer_id = owner
            if ordered_at >= told_at:
                return ()
        self._orders[order_id] = (ordered_at, customer_id)
        order = Order(
            order_id=order_id,
            customer_id=customer_id,
            ordered_at=ordered_at,
            order_number=order_number,
            channel=channel,
            currency=self.currency,
            country=country,
        )
        return (order,)

    def _note_shared(self, order_id: str, *customers: str) -> None:
        if not self._an_order_was_shared:
            self._an_order_was_shared = True
            self.notes.append(
                f"Orders name more than one customer (the first is {order_id}, of {' and '.join(customers)}); "
                "each counts for the customer its first row names."
            )


_RATINGS = range(1, 6)
_GOODS = (LineKind.goods, "goods line")
_SHIPPING = (LineKind.shipping, "shipping line")
_MANUAL = (LineKind.manual, "manual line")
_NOT_GOODS = {
    **dict.fromkeys(("POST", "DOT", "C2"), _SHIPPING),
    # Entered by hand: manual, discount, samples, bad debt, bank charges, a marketplace's fee, a charity's share.
    **dict.fromkeys(("M", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK"), _MANUAL),
}


class OnlineRetail(Preset):
    """Invoice lines of the UCI data set Online Retail. Times are London's, money is in pounds.

    The first rule that applies is a row's fate:

    1. it cannot be read: rejected. So is a price below zero, unless rule 2 applies
    2. no CustomerID: set aside
    3. a UnitPrice of 0 (stock corrections, free items): set aside, but the customer is known
    4. an InvoiceNo beginning with C, or a quantity below zero: a refund; a credit where the StockCode is not goods
    5. a line of an order; shipping or manual where the StockCode is not goods
    """

    name = "online-retail"
    timezone = "Europe/London"
    currency = "GBP"
    fields = (
        Field("InvoiceNo", Kind.id, column_needed=True, value_needed=True),
        Field("StockCode", Kind.id, column_needed=True, value_needed=True),
        Field("Description", Kind.text, column_needed=True),
        Field("Quantity", Kind.quantity, column_needed=True, value_needed=True),
        Field("InvoiceDate", Kind.moment, column_needed=True, value_needed=True),
        Field("UnitPrice", Kind.number, column_needed=True, value_needed=True),
        Field("CustomerID", Kind.id, column_needed=True),
        Field("Country", Kind.text, column_needed=True),
    )

    def money(self, quantity: Decimal, price: Decimal) -> Decimal:
        return to_four_places(_EXACT.multiply(quantity, price), field="UnitPrice")

    def take(
        self,
        invoice: str,
        code: str,
        description: str | None,
        quantity: Decimal,
        at: datetime,
        price: Decimal,
        customer: str | None,
        country: str | None,
    ) -> Taken | SetAside:
        money = self.money(quantity, price)
        code = code.upper()
        if customer is None:
            return SetAside("no customer id", money)
        if price < 0:
            raise BadValueError("is below zero", field="UnitPrice")
        if customer.endswith(".0") and customer[:-2].isdecimal():  # a spreadsheet took the id for a number
            customer = customer[:-2]
        who = self._customer(customer, country=country)
        if not price:
            return SetAside("price of zero", money, who)
        if invoice[0] in "Cc" or quantity < 0:
            credit = code in _NOT_GOODS
            refund = Refund(
                document_id=invoice,
                customer_id=customer,
                product_id=code,
                quantity=abs(quantity),
                amount=abs(money),
                refunded_at=at,
                kind=RefundKind.credit if credit else RefundKind.returned,
            )
            return Taken("credit" if credit else "return", money, (*who, refund))

        order = self._order(invoice, customer_id=customer, ordered_at=at, country=country, order_number=invoice)
        kind, what = _NOT_GOODS.get(code, _GOODS)
        line = OrderLine(
            order_id=invoice,
            product_id=code,
            quantity=quantity,
            unit_price=price.quantize(FOUR_PLACES, ROUND_HALF_EVEN),
            amount=money,
            title=description,
            kind=kind,
        )
        return Taken(what, money, (*who, *order, line))


class Transactions(Preset):
    """A plain event log: who, when, and as much of what and how much as there is.

    - Without an order id, rows of one customer at the very same time are one order, "<customer>@<time in UTC>".
    - Money is the amount, which is after discount; where there is no amount, quantity * price - discount; where the
      file has neither, 0. An empty amount or price in a file that has the column makes the row unreadable.
    - An amount or a quantity below zero is money going back: a refund.
    - No quantity is a quantity of 1.
    - No product is a manual line of the product "unspecified": its money counts, and features about products leave it
      out instead of finding a customer who keeps buying the same thing.
    """

    name = "transactions"
    fields = (
        Field("customer_id", Kind.id, column_needed=True, value_needed=True),
        Field("order_date", Kind.moment, column_needed=True, value_needed=True),
        Field("order_id", Kind.id),
        Field("amount", Kind.number),
        Field("quantity", Kind.quantity),
        Field("price", Kind.number),
        Field("product", Kind.id),
        Field("category", Kind.text),
        Field("channel", Kind.text),
        Field("discount", Kind.number),
        Field("country", Kind.text),
        Field("email", Kind.text),
    )

    def __init__(self) -> None:
        super().__init__()
        self._money_field: str | None = None
        self._noted_no_money = False

    def open_file(self, found: Collection[str]) -> None:
        self._money_field = next((name for name in ("amount", "price") if name in found), None)
        if self._money_field is None and not self._noted_no_money:
            self._noted_no_money = True
            self.notes.append(
                "There is neither an amount nor a price column, so every row counts 0 money. "
                "If there is one under another name, say --map amount=COLUMN."
            )

    def money(
        self, amount: Decimal | None, quantity: Decimal | None, price: Decimal | None, discount: Decimal | None
    ) -> Decimal:
        """Below zero for money that went back, however the file writes it."""
        quantity = _ONE if quantity is None else quantity
        if price is not None and price < 0:
            raise BadValueError("is below zero", field="price")
        if discount is not None and discount < 0:
            raise BadValueError("is below zero", field="discount")
        if amount is None:
            if price is None:
                if self._money_field is not None:
                    raise BadValueError("is empty", field=self._money_field)
                return _ZERO
            amount = _EXACT.subtract(_EXACT.multiply(abs(quantity), price), discount or _ZERO)
            if amount < 0:
                raise BadValueError("is more than quantity * price", field="discount")
        return to_four_places(-abs(amount) if quantity < 0 else amount, field=self._money_field)

    def take(
        self,
        customer: str,
        at: datetime,
        order_id: str | None,
        amount: Decimal | None,
        quantity: Decimal | None,
        price: Decimal | None,
        product: str | None,
        category: str | None,
        channel: str | None,
        discount: Decimal | None,
        country: str | None,
        email: str | None,
    ) -> Taken | SetAside:
        money = self.money(amount, quantity, price, discount)
        is_refund = money < 0 or (quantity is not None and quantity < 0)
        count = _ONE if quantity is None else abs(quantity)
        if order_id is None:
            order_id = f"{customer}@{at.isoformat().replace('+00:00', 'Z')}"
            if len(order_id) > ID_LENGTH:
                raise BadValueError(
                    f"is too long to name an order after (its id would pass {ID_LENGTH})", field="customer_id"
                )
        asked = price if price is not None else (money + (discount or _ZERO)) / count
        unit_price = to_four_places(asked, field=self._money_field)

        who = self._customer(customer, country=country, email=email.lower() if email else None)
        if is_refund:
            refund = Refund(
                document_id=order_id,
                customer_id=customer,
                product_id=product,
                quantity=count,
                amount=abs(money),
                refunded_at=at,
            )
            return Taken("return", money, (*who, refund))

        order = self._order(order_id, customer_id=customer, ordered_at=at, country=country, channel=channel)
        line = OrderLine(
            order_id=order_id,
            product_id=product or "unspecified",
            quantity=count,
            unit_price=unit_price,
            amount=money,
            category=category,
            discount=to_four_places(discount or _ZERO),
            kind=LineKind.goods if product else LineKind.manual,
        )
        return Taken("goods line" if product else "line without a product", money, (*who, *order, line))


class Tickets(Preset):
    """A helpdesk's export, one row per request for help. No money is in it.

    - Channel, topic and status are kept as they are written.
    - A satisfaction that is not a whole number from 1 to 5 makes the row unreadable; none at all is no rating.
    - A customer the store does not know is made known by the ticket, and has no orders yet.
    """

    name = "tickets"
    fields = (
        Field("ticket_id", Kind.id, column_needed=True, value_needed=True),
        Field("customer_id", Kind.id, column_needed=True, value_needed=True),
        Field("created_at", Kind.moment, column_needed=True, value_needed=True),
        Field("channel", Kind.text),
        Field("topic", Kind.text),
        Field("status", Kind.text),
        Field("resolved_at", Kind.moment),
        Field("satisfaction", Kind.number),
    )

    def __init__(self) -> None:
        super().__init__()
        self._noted_no_end = False

    def open_file(self, found: Collection[str]) -> None:
        if "resolved_at" not in found and not self._noted_no_end:
            self._noted_no_end = True
            self.notes.append(
                "There is no resolved_at column, so a ticket counts as open unless its status says closed, resolved, "
                "solved or done. If there is one under another name, say --map resolved_at=COLUMN."
            )

    def money(self, _satisfaction: Decimal | None) -> Decimal:
        return _ZERO

    def take(
        self,
        ticket_id: str,
        customer: str,
        at: datetime,
        channel: str | None,
        topic: str | None,
        status: str | None,
        resolved_at: datetime | None,
        satisfaction: Decimal | None,
    ) -> Taken:
        if satisfaction is not None and satisfaction not in _RATINGS:
            raise BadValueError("is not a rating from 1 to 5", field="satisfaction")
        ticket = Ticket(
            ticket_id=ticket_id,
            customer_id=customer,
            created_at=at,
            channel=channel,
            topic=topic,
            status=status,
            resolved_at=resolved_at,
            satisfaction=None if satisfaction is None else int(satisfaction),
        )
        return Taken("ticket", _ZERO, (*self._customer(customer, country=None), ticket))


PRESETS: dict[str, type[Preset]] = {preset.name: preset for preset in (OnlineRetail, Transactions, Tickets)}
