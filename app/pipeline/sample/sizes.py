"""How much there is in a shop."""

from dataclasses import dataclass, replace

from app.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ShopSize:
    """What a shop counts in all.

    buyers   : customers with an order
    waiting  : customers without one
    guests   : orders of people without an account
    products : in the catalogue
    orders   : the guests' among them, exactly; None for as many as the buyers' habits bring
    lines    : of all orders, exactly; likewise

    Raises InvalidInput where it cannot be: nobody buys, or there are fewer orders than buyers and guests, or fewer
    lines than orders.
    """

    buyers: int
    waiting: int
    guests: int
    products: int
    orders: int | None = None
    lines: int | None = None

    def __post_init__(self) -> None:
        if self.buyers < 1:
            raise InvalidInput(f"A sample shop of {self.buyers} customers cannot be made. Ask for 1 or more.")
        if (self.orders is None) != (self.lines is None):
            raise InvalidInput("A sample shop cannot be made of exactly so many orders or lines alone. Give both.")
        if self.orders is not None and self.lines is not None and not self._first_orders <= self.orders <= self.lines:
            raise InvalidInput(
                f"A sample shop of {self.orders} orders with {self.lines} lines cannot be made of {self.buyers} buyers "
                f"and {self.guests} guests: each orders at least once, and an order has at least one line."
            )

    @property
    def _first_orders(self) -> int:
        return self.buyers + self.guests

    @property
    def more_orders(self) -> int | None:
        """Beyond the first of each buyer and guest."""
        return None if self.orders is None else self.orders - self._first_orders

    @property
    def more_lines(self) -> int | None:
        """Beyond the first of each order."""
        return None if self.lines is None or self.orders is None else self.lines - self.orders


#: The shop of the documents, order for order and line for line. Guests' orders are among its orders.
DOCUMENTS = ShopSize(buyers=93_564, waiting=27_415, guests=8_029, products=22_318, orders=200_729, lines=1_221_736)
SIZES = {
    "documents": DOCUMENTS,
    # The same goods, bought by ten times the people.
    "documents-x10": replace(
        DOCUMENTS, buyers=935_640, waiting=274_150, guests=80_290, orders=2_007_290, lines=12_217_360
    ),
}


def size_of(buyers: int) -> ShopSize:
    """A shop of any size, in the proportions of the documents' one; a smaller shop has fewer products."""
    share = max(buyers, 0) / DOCUMENTS.buyers
    return ShopSize(
        buyers=buyers,
        waiting=round(DOCUMENTS.waiting * share),
        guests=round(DOCUMENTS.guests * share),
        products=max(120, round(DOCUMENTS.products * share**0.82)),
    )
