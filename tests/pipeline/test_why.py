"""What is said would move a customer moves them, and slightly less does not: put into the database, and scored."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from app.core.config import Settings
from app.core.errors import CustomerNotFound
from app.pipeline import why as module
from app.pipeline.features import feature_values, features_of_one, shop_day
from app.pipeline.imagined import Basket, Imagination, Imagined, Ordered, SentBack
from app.pipeline.ingest import ingest
from app.pipeline.run import RunOptions, segment
from app.pipeline.sample import SampleShop
from app.pipeline.score import score_customer
from app.pipeline.served import ServedRun, served
from app.pipeline.why import CONTINUUM, Change, Future, Try, explain_customer, habits_of, points
from app.sources.csv_file import CsvSource
from app.warehouse.behaviour import FRAMES, Behaviour, read_behaviour_of_one
from app.warehouse.engine import Database
from app.warehouse.migrate import migrate
from app.warehouse.stores import read_store
from tests.conftest import own_database
from tests.fakes import NOW, SECRET, bought, execute, put, rows, segmented

KINDS = {"usual_order", "return_item", "return_order", "orders", "unlike", "amount"}


@dataclass
class Shop:
    """A segmented store. tried : kinds of change that were confirmed there"""

    database: Database
    store_id: str
    timezone: str
    run: ServedRun
    as_of: datetime
    customers: list[str]
    tried: set[str] = field(default_factory=set)

    def moment(self, day: float) -> datetime:
        """What the shop's clock shows so many days after 1970-01-01, UTC."""
        shown = datetime(1970, 1, 1) + timedelta(seconds=round(day * 86_400))  # noqa: DTZ001  a local clock reading
        return shown.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC)


async def shop_of(database: Database, store_id: str) -> Shop:
    async with database.snapshot() as connection:
        store = await read_store(connection, store_id)
        assert store.served_run_id is not None
        run = await served(database, connection, store_id, store.served_run_id)
    customers = [
        customer
        for (customer,) in await rows(
            database,
            "SELECT customer_id FROM orders JOIN customer_profiles USING (store_id, customer_id) "
            "WHERE store_id = :s GROUP BY customer_id ORDER BY count(*), customer_id",
            s=store_id,
        )
    ]
    return Shop(database, store_id, store.timezone, run, run.run.as_of, customers)


@pytest.fixture(scope="module")
async def sample(database: Database) -> Shop:
    await ingest(
        database,
        SampleShop(customers=150, seed=7),
        store_id="why-shop",
        timezone="UTC",
        currency="USD",
        pseudonym_secret=SECRET,
    )
    await segmented(database, "why-shop", max_k=4)
    return await shop_of(database, "why-shop")


@pytest.fixture(scope="module")
async def online_retail(embedded_url: str, settings: Settings, real_data_dir: Path) -> AsyncIterator[Shop]:
    async with own_database(embedded_url) as url:
        database = Database(url, settings)
        await migrate(database)
        source = CsvSource([real_data_dir / "online_retail" / "online_retail.csv.gz"], preset="online-retail")
        await ingest(database, source, store_id="uk", timezone="UTC", currency="USD", pseudonym_secret=SECRET)
        await segment(database, "uk", RunOptions(), now=NOW)
        yield await shop_of(database, "uk")
        await database.close()


# What is imagined, done


@dataclass
class Person:
    """A customer, what they do, and the places where things that did not happen have led them so far."""

    shop: Shop
    customer_id: str
    behaviour: Behaviour
    future: Future
    seen: dict[Imagined, dict[str, str]] = field(default_factory=dict)

    async def segments(self, imagined: Imagined) -> dict[str, str]:
        """Their top segments once it has happened: written into the database, scored, and taken out again."""
        if imagined not in self.seen:
            await self._write(imagined)
            try:
                scored = await score_customer(
                    self.shop.database, self.shop.store_id, self.customer_id, as_of=self.shop.moment(imagined.as_of_day)
                )
            finally:
                await self._take_out()
            self.seen[imagined] = dict(scored.dominant_segments)
        return self.seen[imagined]

    async def _write(self, imagined: Imagined) -> None:
        names = {"s": self.shop.store_id, "c": self.customer_id}
        products, categories, sources, orders = await self._keys()
        for number, order in enumerate(imagined.orders):
            basket = order.basket
            await execute(
                self.shop.database,
                "INSERT INTO orders (store_id, order_id, customer_id, order_date, total_price, discount_amount, "
                "source) VALUES (:s, :o, :c, :at, :value, :discount, :source)",
                **names,
                o=f"imagined-{number}",
                at=self.shop.moment(order.day),
                value=basket.value,
                discount=basket.discount,
                source=sources[basket.channel],
            )
            if basket.product is not None and basket.category is not None:
                new = basket.product >= len(products)
                await execute(
                    self.shop.database,
                    "INSERT INTO order_items (store_id, order_id, item_id, product_id, category, kind, quantity, "
                    "price, discount_amount, line_total) "
                    "VALUES (:s, :o, '1', :p, :k, 'goods', :n, 0, :discount, :value)",
                    s=self.shop.store_id,
                    o=f"imagined-{number}",
                    p=f"imagined-{basket.product}" if new else products[basket.product],
                    k=self._category(basket, products, categories),
                    n=basket.quantity,
                    discount=basket.discount,
                    value=basket.value,
                )
        for back in imagined.returns:
            await execute(
                self.shop.database,
                "INSERT INTO refunds (store_id, refund_id, document_id, customer_id, order_id, order_inferred, kind, "
                "quantity, amount, refunded_at) "
                "VALUES (:s, 'imagined', 'imagined', :c, :o, false, 'return', :n, :a, :at)",
                **names,
                o=orders[back.order],
                n=back.quantity,
                a=back.amount,
                at=self.shop.moment(back.day),
            )

    def _category(self, basket: Basket, products: Sequence[str], categories: Sequence[str]) -> str | None:
        """As a shop would write it: none where the customer's goods have none."""
        assert basket.category is not None
        if basket.category < len(categories):
            return categories[basket.category] if self.behaviour.has_categories else None
        return f"imagined-{basket.category}" if self.behaviour.has_categories else None

    async def _take_out(self) -> None:
        for table in ("refunds", "orders"):
            key = "refund_id" if table == "refunds" else "order_id"
            await execute(
                self.shop.database,
                f"DELETE FROM {table} WHERE store_id = :s AND {key} LIKE 'imagined%'",  # noqa: S608
                s=self.shop.store_id,
            )

    async def _keys(self) -> tuple[list[str], list[str], dict[int, str], list[str]]:
        """What the keys of the frames stand for."""
        mine = {"s": self.shop.store_id, "c": self.customer_id, "t": self.shop.as_of}
        orders = await rows(
            self.shop.database,
            "SELECT order_id, source FROM orders WHERE store_id = :s AND customer_id = :c AND order_date < :t",
            **mine,
        )
        items = await rows(
            self.shop.database,
            "SELECT product_id, coalesce(category, product_id) FROM order_items JOIN orders USING (store_id, order_id) "
            "WHERE kind = 'goods' AND store_id = :s AND customer_id = :c AND order_date < :t",
            **mine,
        )
        channels = dict(enumerate(sorted({source or "web" for _, source in orders}), start=1))
        return (
            sorted({product for product, _ in items}),
            sorted({category for _, category in items}),
            {**channels, 0: "web"},
            sorted(order for order, _ in orders),
        )


async def person(shop: Shop, customer_id: str) -> Person:
    async with shop.database.snapshot() as connection:
        behaviour = await read_behaviour_of_one(
            connection, shop.store_id, customer_id, as_of=shop.as_of, timezone=shop.timezone
        )
    values = features_of_one(behaviour, as_of=shop.as_of, timezone=shop.timezone)
    habits = habits_of(behaviour, values, shop.run.yardstick.norms.typical)
    return Person(shop, customer_id, behaviour, Future(int(np.ceil(shop_day(shop.as_of, shop.timezone))), habits))


def the_try(someone: Person, change: dict[str, Any], *, orders: int) -> Try:
    """What was tried, with so many orders."""
    tries = [
        *someone.future.several(module.HORIZON_DAYS),
        *someone.future.unlike(module.HORIZON_DAYS),
        *someone.future.returns(someone.behaviour),
    ]
    every = change["every_days"]
    alike = [
        each
        for each in tries
        if (each.kind, each.how) == (change["kind"], change["how"])
        and (each.orders == change["orders"])
        and each.end_day == change["after_days"]
        and every in (None, each.every_days)
    ]
    assert alike, change
    found = alike[0]
    return next(
        each
        for each in tries
        if (each.kind, each.how, each.every_days, each.orders) == (found.kind, found.how, found.every_days, orders)
    )


async def assert_confirmed(shop: Shop, customers: Sequence[str]) -> None:
    for customer_id in customers:
        someone = await person(shop, customer_id)
        told = await explain_customer(
            shop.database, shop.store_id, customer_id, run_id=shop.run.run.run_id, as_of=shop.as_of
        )
        for axis, why in told.why.items():
            place = (customer_id, axis, why)
            if why["without_it"] is not None:
                days, to = why["without_it"]["after_days"], why["without_it"]["to_segment"]
                assert (await someone.segments(someone.future.waited(days)))[axis] == to != why["segment"], place
                earlier = shop.as_of if days == 1 else shop.moment(someone.future.first_day + days - 1)
                still = await score_customer(shop.database, shop.store_id, customer_id, as_of=earlier)
                assert still.dominant_segments[axis] == why["segment"], place
            if why["change"] is not None:
                shop.tried.add(why["change"]["kind"])
                assert why["change"]["to_segment"] != why["segment"], place
                for each, moves in boundary(someone, why["change"]):
                    led = (await someone.segments(each.imagined))[axis]
                    idle = (await someone.segments(someone.future.waited(each.end_day)))[axis]
                    if moves:
                        assert led == why["change"]["to_segment"] != idle, (place, each)
                    elif why["change"]["kind"] == "usual_order":
                        assert led != why["change"]["to_segment"] or led == idle, (place, each)
                    else:
                        assert led in (why["segment"], idle), (place, each)


def boundary(someone: Person, change: dict[str, Any]) -> Iterator[tuple[Try, bool]]:
    """What is said to move them, and what is slightly less."""
    kind = change["kind"]
    assert kind in KINDS
    if kind == "usual_order":
        days = change["within_days"]
        for day in {1, (days + 1) // 2, days}:
            yield someone.future.usual(day), True
        if days < module.HORIZON_DAYS:
            yield someone.future.usual(days + 1), False
    elif kind == "amount":
        yield someone.future.of_amount(change["amount"]), True
        if change["amount"] > 1:
            yield someone.future.of_amount(change["amount"] - 1), False
    else:
        yield the_try(someone, change, orders=change["orders"]), True
        if change["orders"] > 1:
            yield the_try(someone, change, orders=change["orders"] - 1), False


async def test_what_is_said_moves_customers_of_the_sample_shop_and_less_does_not(sample: Shop) -> None:
    await assert_confirmed(sample, [*sample.customers[::15], *sample.customers[-2:]])
    assert sample.tried >= {"usual_order", "orders", "unlike", "amount"}


async def test_what_is_said_moves_customers_of_a_real_shop_and_less_does_not(online_retail: Shop) -> None:
    few = len(online_retail.customers) // 12
    await assert_confirmed(online_retail, [*online_retail.customers[::few], online_retail.customers[-1]])
    assert online_retail.tried >= {"usual_order", "orders", "unlike", "amount"}


async def test_sending_back_moves_whoever_ordered_lately_and_keeps_everything(sample: Shop) -> None:
    lately = [
        customer
        for (customer,) in await rows(
            sample.database,
            "SELECT customer_id FROM orders WHERE store_id = :s AND customer_id IS NOT NULL GROUP BY customer_id "
            "HAVING max(order_date) BETWEEN :from AND :to ORDER BY customer_id",
            **{"s": sample.store_id, "from": sample.as_of - timedelta(days=80), "to": sample.as_of},
        )
    ]
    kinds: dict[str, str] = {}
    for customer_id in lately:
        told = await explain_customer(
            sample.database, sample.store_id, customer_id, run_id=sample.run.run.run_id, as_of=sample.as_of
        )
        change = told.why["return_behavior"]["change"]
        if change is not None and change["kind"] in ("return_item", "return_order"):
            kinds.setdefault(change["kind"], customer_id)
    assert kinds
    await assert_confirmed(sample, list(kinds.values()))


# Measuring what is imagined


def done(behaviour: Behaviour, imagined: Imagined) -> Behaviour:
    """The records once it has happened."""
    first = behaviour.orders.height
    baskets = list(enumerate(imagined.orders, start=first))
    more = {
        "orders": [
            (0, number, each.day, each.basket.value, each.basket.discount, each.basket.channel)
            for number, each in baskets
        ],
        "lines": [
            (
                *(0, number, each.day, each.basket.product, each.basket.category),
                *(each.basket.quantity, each.basket.value, each.basket.discount),
            )
            for number, each in baskets
            if each.basket.product is not None
        ],
        "refunds": [(0, each.order, each.day, each.amount, each.quantity, 1.0) for each in imagined.returns],
    }
    frames = {
        name: pl.concat([getattr(behaviour, name), pl.DataFrame(each, schema=FRAMES[name], orient="row")])
        for name, each in more.items()
    }
    return replace(behaviour, **frames)


async def test_what_is_imagined_measures_as_what_has_happened(sample: Shop) -> None:
    """To the digits that are kept, whatever else is imagined in the same query."""
    for customer_id in sample.customers[::15]:
        someone = await person(sample, customer_id)
        start, behaviour = float(someone.future.first_day), someone.behaviour
        bare = Basket(12.5, 0.0, 0, None, None, 1.0)
        ways = [
            Imagined(start + 0.25),
            *(each.imagined for each in someone.future.several(365)),
            *(each.imagined for each in someone.future.unlike(365)),
            someone.future.of_amount(77).imagined,
            Imagined(start + 3, orders=(Ordered(start + 1.5, bare),), returns=(SentBack(start + 2.5, 0, 3.25, 1.0),)),
        ]
        measured = Imagination(behaviour).measured(ways)
        for number, way in enumerate(ways):
            alone = feature_values(done(behaviour, way), as_of=sample.moment(way.as_of_day), timezone=sample.timezone)
            for name, column in alone.items():
                assert measured[name][number] == pytest.approx(column[0], rel=1e-10, abs=1e-10), (name, way)


async def test_a_customer_whose_orders_hold_no_goods_is_explained_too(database: Database, store_id: str) -> None:
    shop = [
        record for i in range(30) for record in bought(f"c{i}", f"o{i}", f"2024-0{1 + i % 8}-01", ("tea", "1", "2"))
    ]
    await put(database, store_id, shop)
    await execute(
        database, "UPDATE order_items SET kind = 'shipping' WHERE store_id = :s AND order_id = 'o7'", s=store_id
    )
    run = await segmented(database, store_id, min_population=10)
    told = await explain_customer(
        database, store_id, "c7", run_id=run.run_id, as_of=datetime.fromisoformat(run.report["as_of"])
    )
    assert set(told.why) == set(told.memberships)


# How it is told


async def test_the_reasons_are_of_the_memberships_and_the_largest_comes_first(sample: Shop) -> None:
    for customer_id in sample.customers[::30]:
        scored = await score_customer(sample.database, sample.store_id, customer_id)
        told = await explain_customer(
            sample.database, sample.store_id, customer_id, run_id=scored.run_id, as_of=scored.as_of
        )
        assert {axis: each["segment"] for axis, each in told.why.items()} == scored.dominant_segments
        for axis, why in told.why.items():
            shares = [each["contribution"] for each in why["contributions"]]
            assert why["membership"] == pytest.approx(scored.fuzzy_memberships[axis][why["segment"]], abs=1e-8)
            assert why["typical_membership"] + sum(shares) == pytest.approx(why["membership"], abs=1e-8)
            assert [abs(share) for share in shares] == sorted(map(abs, shares), reverse=True)
            if not shares:
                assert (why["membership"], why["change"]) == (1, None), axis
                continue
            values = {each["feature"]: each["value"] for each in why["contributions"]}
            assert values == pytest.approx(scored.feature_vectors[axis], rel=1e-8)
            for each in why["contributions"]:
                assert each["says"].endswith(points(each["contribution"]))
                assert each["typical"] == float(f"{each['typical']:.1e}")


async def test_where_all_are_one_group_there_is_nothing_to_explain(database: Database, store_id: str) -> None:
    same = [record for i in range(30) for record in bought(f"c{i}", f"o{i}", "2024-03-01", ("tea", "1", "2"))]
    await put(database, store_id, same)
    run = await segmented(database, store_id, min_population=10)
    told = await explain_customer(
        database, store_id, "c7", run_id=run.run_id, as_of=datetime.fromisoformat(run.report["as_of"])
    )
    for why in told.why.values():
        assert (why["contributions"], why["change"], why["without_it"]) == ([], None, None)
        assert (why["membership"], why["says"]) == (1, CONTINUUM)


async def test_somebody_without_an_order_by_then_is_not_found(sample: Shop) -> None:
    for customer_id, as_of in (("nobody", sample.as_of), (sample.customers[0], sample.as_of - timedelta(days=9_000))):
        with pytest.raises(CustomerNotFound):
            await explain_customer(
                sample.database, sample.store_id, customer_id, run_id=sample.run.run.run_id, as_of=as_of
            )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            Change("usual_order", 0, 1, within_days=40),
            "One more order within 40 days would make them a weekly shopper.",
        ),
        (Change("usual_order", 0, 1, within_days=1), "One more order tomorrow would make them a weekly shopper."),
        (Change("usual_order", 1, 1, within_days=365), "One more order within a year would make them “Mid tier”."),
        (
            Change("orders", 2, 2, after_days=48, every_days=24),
            "Two more orders, one every 24 days, would make them an occasional buyer.",
        ),
        (
            Change("unlike", 3, 3, after_days=21, every_days=7, how="full_price"),
            "Three more orders at full price, one a week, would make them a one time buyer.",
        ),
        (
            Change("unlike", 0, 1, after_days=9, how="weekend"),
            "One more order at the weekend, 9 days from now, would make them a weekly shopper.",
        ),
        (
            Change("amount", 1, 1, after_days=1, amount=1200),
            "An order of 1,200 EUR tomorrow would make them “Mid tier”.",
        ),
        (
            Change("return_item", 0, 0, after_days=1),
            "Sending back one item of their last order would make them a weekly shopper.",
        ),
    ],
)
def test_a_change_reads_as_a_sentence(change: Change, sentence: str) -> None:
    names = ("weekly_shopper", "mid_tier", "occasional_buyer", "one_time_buyer")
    assert module._told_change(change, names, "EUR")["says"] == sentence


@pytest.mark.parametrize(("share", "text"), [(0.344, "+34 points"), (-0.01, "-1 point"), (-0.001, "+0 points")])
def test_points_are_signed_hundredths(share: float, text: str) -> None:
    assert points(share) == text
