"""Small stand-ins and shorthands: a source from a list of records, the records of a corner shop, a dump of a store."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import text

from app.domain.profile_form import BETWEEN
from app.domain.records import Customer, Order, OrderLine, Record, Refund
from app.pipeline.ingest import IngestReport, ingest
from app.pipeline.run import RunOptions, RunResult, segment
from app.prediction.churn import LEVELS, levels
from app.segmentation.clustering import KRange
from app.segmentation.discovery import DiscoveryOptions
from app.sources.base import Batch, ReadingAccount, StoreDefaults
from app.warehouse import predictions
from app.warehouse.audit import AuditNote
from app.warehouse.engine import Database

#: What pseudonyms are made with.
SECRET = b"a secret of the tests"
#: What the sources say, and what a run writes.
COMMERCE = ("customers", "orders", "order_items", "refunds", "tickets")
STAR = (
    *("dim_segment_master", "dim_archetype_l1", "dim_archetype_l2", "dim_archetype_l3", "fact_customer_standing"),
    *("fact_customer_current", "customer_profiles", "fact_customer_history"),
)
#: Of these what is read has no xmin of its own, but that of the tables behind it.
VIEWS = ("fact_customer_current", "customer_profiles")


class ListSource:
    """A `Source` of these records, `batch_size` at a time. `between` is called before each batch but the first."""

    name = "list"

    def __init__(
        self,
        records: Sequence[Record],
        *,
        batch_size: int = 1_000,
        between: Callable[[], None] = lambda: None,
        defaults: StoreDefaults = StoreDefaults(),  # noqa: B008  frozen
    ) -> None:
        self.defaults = defaults
        self.account = ReadingAccount()
        self._records, self._batch_size, self._between = list(records), batch_size, between

    def batches(self) -> Iterator[Batch]:
        for start in range(0, len(self._records), self._batch_size):
            if start:
                self._between()
            batch = self._records[start : start + self._batch_size]
            self.account.read.rows += len(batch)
            yield Batch(batch, progress=(start + len(batch)) / len(self._records))


async def put(database: Database, store_id: str, records: Sequence[Record], **arguments: Any) -> IngestReport:
    """Import records into a store of London."""
    arguments = {"timezone": "Europe/London", "currency": "GBP", "pseudonym_secret": SECRET, **arguments}
    return await ingest(database, ListSource(records), store_id=store_id, **arguments)


def erasure_noted(store_id: str) -> Callable[[str], AuditNote]:
    """What the audit log says of an erasure, as `erasing.erase` takes it."""
    return lambda receipt_id: AuditNote(store_id, NOW, "KEY00001", "person.erase", None, object=receipt_id)


#: Later than anything any of these shops did.
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def segmented(
    database: Database, store_id: str, *, max_k: int = 3, min_members: int = 5, now: datetime = NOW, **options: Any
) -> RunResult:
    """Discover and serve a small store's segments."""
    discovery = DiscoveryOptions(k_range=KRange(2, max_k), archetype_min_members=min_members)
    return await segment(database, store_id, RunOptions(discovery=discovery, **options), now=now)


def at(moment: str) -> datetime:
    """`at("2024-03-01")` or `at("2024-03-01 12:30")`, UTC."""
    return datetime.fromisoformat(moment + "+00:00" if " " in moment else moment + " 00:00+00:00")


def bought(
    customer_id: str,
    order_id: str,
    when: str,
    *lines: tuple[str, str, str],
    line_ids: bool = False,
    **about_order: Any,
) -> list[Record]:
    """A customer, their order and its lines, each (product, quantity, unit price)."""
    return [
        Customer(customer_id),
        Order(order_id, customer_id, at(when), **about_order),
        *(
            OrderLine(
                order_id=order_id,
                product_id=product,
                quantity=Decimal(quantity),
                unit_price=Decimal(price),
                amount=Decimal(quantity) * Decimal(price),
                line_id=f"{order_id}-{number}" if line_ids else None,
            )
            for number, (product, quantity, price) in enumerate(lines, start=1)
        ),
    ]


def gave_back(
    customer_id: str, document_id: str, when: str, product: str, quantity: str, price: str, **about: Any
) -> list[Record]:
    """A customer and a refund that names no order unless `about` does."""
    units = Decimal(quantity)
    return [
        Customer(customer_id),
        Refund(document_id, customer_id, product, units, units * Decimal(price), at(when), **about),
    ]


def a_shop(n_customers: int, *, orders_each: int = 3, first_day: str = "2024-01-05 10:00") -> list[Record]:
    """A regular little shop: customer i orders every 7 + i % 40 days, 1 + i % 3 lines of a few products."""
    records: list[Record] = []
    for i in range(n_customers):
        for j in range(orders_each if i % 4 else 1):
            day = at(first_day) + timedelta(days=j * (7 + i % 40) + i % 30, hours=i % 7)
            lines = [(f"P{(i * (j + 1) + line) % 17}", str(1 + i % 5), f"{2 + i % 13}.50") for line in range(1 + i % 3)]
            records += bought(f"c{i:03}", f"o{i:03}-{j}", f"{day:%Y-%m-%d %H:%M}", *lines)
    return records


async def rows(database: Database, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """All rows of a query, seen at one moment."""
    async with database.snapshot() as connection:
        return [tuple(row) for row in await connection.execute(text(query), values)]


async def value(database: Database, query: str, **values: Any) -> Any:
    """The one value of a query."""
    ((found,),) = await rows(database, query, **values)
    return found


async def execute(database: Database, statement: str, **values: Any) -> None:
    async with database.transaction() as connection:
        await connection.execute(text(statement), values)


async def dump(
    database: Database,
    store_id: str,
    tables: Sequence[str] = COMMERCE,
    *,
    without: Sequence[str] = (),
    of_run: int | None = None,
) -> dict[str, list[Any]]:
    """Every row of a store's tables with its xmin, which changes whenever a row is written, even to the same values.

    without : columns to leave out; with "xmin" among them, only what the rows say is compared
    of_run  : only what this run wrote; None for all there is, of runs before as well
    """
    query = "SELECT {system}(to_jsonb(t) - CAST(:without AS text[]))::text FROM {table} AS t WHERE store_id = :store"
    values: dict[str, Any] = {"store": store_id, "without": list(without)}
    if of_run is not None:
        query, values = f"{query} AND run_id = :run", {**values, "run": of_run}
    async with database.snapshot() as connection:
        found = {}
        for table in tables:
            system = "" if "xmin" in without or table in VIEWS else "xmin::text || ' ' || "
            result = await connection.execute(text(query.format(system=system, table=table)), values)
            found[table] = sorted(result.scalars())
    return found


async def fingerprint(database: Database, store_id: str, tables: Sequence[str] = COMMERCE) -> dict[str, Any]:
    """The dump of a large store, as a count and a digest per table."""
    query = (
        "SELECT count(*), md5(string_agg(row, '' ORDER BY row)) FROM "
        "(SELECT md5(xmin::text || t::text) AS row FROM {table} AS t WHERE store_id = :store) AS rows"
    )
    return {table: (await rows(database, query.format(table=table), store=store_id))[0] for table in tables}


def assert_alike(one: Any, other: Any, *, within: float = 1e-9) -> None:
    """Equal, but for the last digits of floats: sums over several threads do not come out the same bit for bit.

    one, other : rows, or dumps, whose rows are JSON
    """
    if isinstance(one, str) and isinstance(other, str) and BETWEEN in one:
        # What is kept of a profile: numbers, JSON and words, printed to the last digit.
        one, other, within = plain_parts(one), plain_parts(other), 1e-9
    if isinstance(one, str) and isinstance(other, str) and one.startswith("{"):
        one, other = json.loads(one), json.loads(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key], within=within)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_alike(left, right, within=within)
    elif isinstance(one, Decimal) and isinstance(other, Decimal):
        assert abs(one - other) <= Decimal("0.0001")
    elif isinstance(one, float) and isinstance(other, float | int):
        assert one == pytest.approx(other, rel=within, abs=within)
    else:
        assert one == other


def plain_parts(own: str) -> list[Any]:
    """The parts of a customer's own text, numbers and JSON as what they say."""

    def plain(part: str) -> Any:
        try:
            return json.loads(part)
        except json.JSONDecodeError:
            return part

    return [plain(part) for part in own.split(BETWEEN)]


def assert_same_star(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Two dumps of a star: memberships and features to 1e-9; of a mean amount the last of four decimals may differ."""
    assert one.keys() == other.keys()
    for table in one:
        assert_alike(one[table], other[table], within=1e-9 if table == "customer_profiles" else 2e-4)


#: A model of churn as a training writes it.
CHURN_MODEL: dict[str, Any] = {
    "name": "churn",
    "candidate": "blend",
    "version": "9.9",
    "status": "served",
    "why": "least log loss on 2 windows held out (0.5)",
    "trained_from": datetime(2024, 1, 1, tzinfo=UTC).date(),
    "trained_to": datetime(2024, 6, 1, tzinfo=UTC).date(),
    "features": ["log_recency"],
    "backtest": None,
    "parameters": None,
}


def foretold(customer_id: str, score: float = 0.6, *, as_of: datetime | None = None, **told: Any) -> dict[str, Any]:
    """What is predicted of a customer, as a training writes it; the level is that of the score."""
    return {
        "customer_id": customer_id,
        "as_of": as_of or at("2024-06-01"),
        "p_no_purchase_30d": score,
        "p_no_purchase_90d": score**3,
        "churn_risk_score": score,
        "horizon_days": 90,
        "risk_level": LEVELS[int(levels(np.array([score]))[0])].value,
        "engagement_trend": "steady",
        "expected_spend_90d": 12.5,
        "expected_spend_low": 1.0,
        "expected_spend_high": 30.0,
        "predicted_ltv_12m": 40.0,
        "next_order_on": datetime(2024, 7, 1, tzinfo=UTC).date(),
        "next_order_earliest": datetime(2024, 6, 8, tzinfo=UTC).date(),
        "next_order_latest": datetime(2024, 11, 1, tzinfo=UTC).date(),
        **told,
    }


async def foretell(
    database: Database,
    store_id: str,
    told: Sequence[Mapping[str, Any]],
    models: Sequence[Mapping[str, Any]] = (CHURN_MODEL,),
    *,
    as_of: datetime | None = None,
) -> int:
    """Publish these predictions; returns the training's id."""
    moment = as_of or at("2024-06-01")
    async with database.transaction() as connection:
        prediction_id = await predictions.start(connection, store_id, as_of=moment)
        rows = pl.DataFrame(list(told), infer_schema_length=None)
        await predictions.hold_to_publish(connection, store_id)
        await predictions.publish(
            connection, store_id, prediction_id, rows=rows, models=models, report={}, as_of=moment
        )
    return prediction_id
