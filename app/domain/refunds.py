"""Which purchase a refund undoes, where the shop's paper does not say."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Purchase:
    """A line that could be refunded."""

    customer_id: str
    product_id: str
    order_id: str
    item_id: str
    bought_at: datetime
    quantity: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Return:
    """A refund of which the source does not say which line it undoes.

    product_id  : None where it does not name a product either
    document_id : the paper it stands on, which in some files is the order itself
    """

    customer_id: str
    product_id: str | None
    refund_id: str
    refunded_at: datetime
    quantity: Decimal
    amount: Decimal
    document_id: str | None = None


def match_returns(returns: Iterable[Return], purchases: Iterable[Purchase]) -> dict[str, Purchase]:
    """The purchase each return undoes, by refund id; returns without one are absent.

    A return undoes an earlier purchase of the same customer and product of which enough is left: of the order on whose
    paper it stands, where there is such an order; else the latest at the very price given back if there is one, else
    the latest at any price. Only where no single purchase has enough left does it fall on one with anything left. A
    return without a product is matched by its paper alone. What is undone once is gone: no purchase is given back more
    often than it was bought. Ties are settled by id, so the order of the inputs changes nothing.
    """
    by_product: dict[tuple[str, str | None], list[Purchase]] = defaultdict(list)
    by_paper: dict[tuple[str, str | None], list[Purchase]] = defaultdict(list)
    for purchase in sorted(purchases, key=lambda line: (line.bought_at, line.order_id, line.item_id), reverse=True):
        by_product[purchase.customer_id, purchase.product_id].append(purchase)
        by_paper[purchase.customer_id, purchase.order_id].append(purchase)

    left = {(line.order_id, line.item_id): line.quantity for lines in by_product.values() for line in lines}
    matched: dict[str, Purchase] = {}
    for back in sorted(returns, key=lambda each: (each.refunded_at, each.refund_id)):
        on_paper = by_paper.get((back.customer_id, back.document_id), [])
        named = [line for line in on_paper if back.product_id in (None, line.product_id)]
        earlier = [
            line
            for line in named or by_product.get((back.customer_id, back.product_id), [])
            if line.bought_at <= back.refunded_at and left[line.order_id, line.item_id] > 0
        ]
        enough = [line for line in earlier if left[line.order_id, line.item_id] >= back.quantity]
        at_the_price = [line for line in enough if line.amount * back.quantity == back.amount * line.quantity]
        chosen = next(iter(at_the_price or enough or earlier), None)
        if chosen is not None:
            key = (chosen.order_id, chosen.item_id)
            left[key] = max(left[key] - back.quantity, Decimal(0))
            matched[back.refund_id] = chosen
    return matched
