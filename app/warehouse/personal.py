"""What is held of one person, where, and how it is taken away: one list of rules, which export and erasure both walk.

A column about one person is made by `tables._own`, and its table has a rule here; a test walks the schema and fails
where either is missing. What is left of a person is in numbers of many: shares, means, and models.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, Table, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.errors import StoreBusy
from app.core.keys import is_pseudonym
from app.warehouse.stores import hold_history, hold_imports, hold_store
from app.warehouse.tables import (
    audit_log,
    customer_pseudonyms,
    customers,
    customers_changed,
    erasures,
    fact_customer_history,
    fact_customer_prediction,
    fact_customer_standing,
    idempotent_requests,
    jobs,
    metadata,
    order_items,
    orders,
    prediction_runs,
    refunds,
    tickets,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a table holds a person, and what becomes of it. SQL is of :store, :customer and :names, which are whatever
    a document may call them by.

    whose   : which rows of the store are theirs
    shown   : of columns that speak of others as well, the part that is theirs
    emptied : what columns are set to where a row is not about this person alone and stays; of others rows are deleted
    before  : what has to be done first, so that nobody else's rows are harmed and no row goes unseen
    """

    table: Table
    whose: str = "customer_id = :customer"
    shown: Mapping[str, str] = field(default_factory=dict)
    emptied: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()

    @property
    def columns(self) -> list[Column[Any]]:
        return [column for column in self.table.columns if column.info.get("personal")]

    def show(self) -> str:
        """What is theirs, in SQL: of each column about them."""
        shown = ", ".join(f"{self.shown.get(column.name, column.name)} AS {column.name}" for column in self.columns)
        keys = ", ".join(column.name for column in self.table.primary_key)
        return f"SELECT {shown} FROM {self.table.name} WHERE {self._theirs()} ORDER BY {keys}"  # noqa: S608

    def erase(self) -> str:
        if not self.emptied:
            return f"DELETE FROM {self.table.name} WHERE {self._theirs()}"  # noqa: S608
        emptied = ", ".join(f"{column} = {value}" for column, value in self.emptied.items())
        return f"UPDATE {self.table.name} SET {emptied} WHERE {self._theirs()}"  # noqa: S608

    def _theirs(self) -> str:
        return f"store_id = :store AND ({self.whose})"


_THEIR_ORDERS = "SELECT order_id FROM orders WHERE store_id = :store AND customer_id = :customer"


def _named_in(document: str) -> str:
    """The names of theirs that a JSON document holds, wherever in it."""
    return f"""
        SELECT told #>> '{{}}' AS name FROM jsonb_path_query({document}, '$.** ? (@.type() == "string")') AS told
        WHERE told #>> '{{}}' = ANY (CAST(:names AS text[]))
    """  # noqa: S608


def _names_shown(document: str) -> str:
    return f"(SELECT jsonb_agg(DISTINCT name) FROM ({_named_in(document)}) AS named)"  # noqa: S608


_IN_JOB = f"EXISTS ({_named_in('parameters')})"
_IN_ANSWER = f"key = ANY (CAST(:names AS text[])) OR EXISTS ({_named_in('answer')})"
_THEIR_JOBS = f"SELECT job_id FROM jobs WHERE store_id = :store AND {_IN_JOB}"  # noqa: S608
_CROSSED = "jsonb_path_query_array(report, '{path}', jsonb_build_object('customer', CAST(:customer AS text)))"

_AMONG_NAMES = "ARRAY(SELECT each FROM unnest(subjects) AS each WHERE each {} (CAST(:names AS text[])))"

#: Children first. The views beside show rows of these tables, and keep none.
RULES: tuple[Rule, ...] = (
    Rule(fact_customer_history),
    Rule(fact_customer_standing),
    Rule(fact_customer_prediction),
    Rule(
        prediction_runs,
        whose="""jsonb_path_exists(report, '$.crossed[*] ? (@.customer_id == $customer)',
            jsonb_build_object('customer', CAST(:customer AS text)))""",
        shown={"report": _CROSSED.format(path="$.crossed[*] ? (@.customer_id == $customer)")},
        emptied={
            "report": "jsonb_set(report, '{crossed}', "
            + _CROSSED.format(path="$.crossed[*] ? (@.customer_id != $customer)")
            + ")"
        },
    ),
    Rule(customers_changed),
    Rule(customer_pseudonyms),
    Rule(tickets),
    Rule(
        refunds,
        whose=f"customer_id = :customer OR customer_id IS NULL AND order_id IN ({_THEIR_ORDERS})",
        before=(
            # What others were given back for an order of theirs was given back all the same.
            f"""
            UPDATE refunds SET order_id = NULL, item_id = NULL
            WHERE store_id = :store AND customer_id <> :customer AND order_id IN ({_THEIR_ORDERS})
            """,  # noqa: S608
            # What they were given back for an order of somebody else's is of that order no longer.
            f"""
            UPDATE order_items AS line SET refund_amount = line.refund_amount - theirs.amount
            FROM (
                SELECT order_id, item_id, sum(amount) AS amount FROM refunds
                WHERE store_id = :store AND customer_id = :customer AND item_id IS NOT NULL
                  AND order_id NOT IN ({_THEIR_ORDERS})
                GROUP BY order_id, item_id
            ) AS theirs
            WHERE line.store_id = :store AND line.order_id = theirs.order_id AND line.item_id = theirs.item_id
            """,  # noqa: S608
        ),
    ),
    Rule(order_items, whose=f"order_id IN ({_THEIR_ORDERS})"),
    Rule(orders),
    Rule(customers),
    Rule(
        jobs,
        whose=_IN_JOB,
        shown={"parameters": _names_shown("parameters")},
        # What a worker has to do, or did, for them; pgqueuer's tables know no store.
        before=(
            f"DELETE FROM queue WHERE id IN ({_THEIR_JOBS})",  # noqa: S608
            f"DELETE FROM queue_log WHERE job_id IN ({_THEIR_JOBS})",  # noqa: S608
        ),
    ),
    Rule(
        idempotent_requests,
        whose=_IN_ANSWER,
        shown={"answer": _names_shown("answer")},
    ),
    # What was done stays written, but for whom it was about. After all other rows, since who notes something has theirs
    # first; from here on nobody notes anything until these names are gone for everyone.
    Rule(
        audit_log,
        whose="subjects && CAST(:names AS text[])",
        shown={"subjects": _AMONG_NAMES.format("= ANY")},
        emptied={"subjects": _AMONG_NAMES.format("<> ALL")},
        before=("LOCK TABLE audit_log IN SHARE ROW EXCLUSIVE MODE",),
    ),
    # Emptied by `erasures.finish`, at the very end, with what says that all the rest is.
    Rule(erasures, emptied={"customer_id": "NULL"}),
)

_NAMES = """
    SELECT array_agg(DISTINCT name) AS words, array_agg(DISTINCT name) FILTER (WHERE alone) AS names FROM (
        SELECT CAST(:customer AS text) AS name, true AS alone
        UNION ALL
        SELECT pseudonym, true FROM customer_pseudonyms WHERE store_id = :store AND customer_id = :customer
        UNION ALL
        SELECT email, NOT EXISTS (
            SELECT FROM customers AS other
            WHERE other.store_id = :store AND other.email = customers.email AND other.customer_id <> :customer
        ) FROM customers WHERE store_id = :store AND customer_id = :customer
        UNION ALL
        SELECT unnest(ARRAY[phone, first_name, last_name]), false
        FROM customers WHERE store_id = :store AND customer_id = :customer
        UNION ALL
        SELECT unnest(ARRAY[order_id, order_number]), true
        FROM orders WHERE store_id = :store AND customer_id = :customer
        UNION ALL
        SELECT unnest(tracking_numbers || tracking_numbers::text), false
        FROM orders WHERE store_id = :store AND customer_id = :customer
        UNION ALL
        SELECT unnest(ARRAY[refund_id, document_id]), false
        FROM refunds WHERE store_id = :store AND customer_id = :customer
        UNION ALL
        SELECT ticket_id, true FROM tickets WHERE store_id = :store AND customer_id = :customer
    ) AS called WHERE name IS NOT NULL
"""
# Values that the planner has drawn from the tables are kept apart from them, where anyone may see them who may read the
# tables, until the next sample is drawn.
_SAMPLED = """
    SELECT DISTINCT tablename FROM pg_stats CROSS JOIN LATERAL unnest(
        coalesce(most_common_vals::text::text[], '{}') || coalesce(histogram_bounds::text::text[], '{}')
        || coalesce(most_common_elems::text::text[], '{}')
    ) AS drawn(value)
    WHERE schemaname = current_schema() AND tablename = ANY (CAST(:tables AS text[]))
      AND value = ANY (CAST(:words AS text[]))
"""
#: SQLSTATEs of work that stands in the way of other work: lock_not_available, deadlock_detected.
_IN_THE_WAY = frozenset({"55P03", "40P01"})


async def find(
    connection: AsyncConnection, store_id: str, *, customer_id: str | None = None, email: str | None = None
) -> Sequence[str]:
    """The shop's ids of a customer, and of all who share an e-mail address; empty where there is nobody.

    customer_id : or the pseudonym
    """
    if email is not None:
        whose = customers.c.email == email.strip().lower()
        query = select(customers.c.customer_id).where(customers.c.store_id == store_id, whose)
        return (await connection.execute(query.order_by(customers.c.customer_id))).scalars().all()
    told = customer_id or ""
    query = select(customers.c.customer_id).where(customers.c.store_id == store_id, customers.c.customer_id == told)
    found = (await connection.execute(query)).scalars().all()
    if not found and is_pseudonym(told):
        known = customer_pseudonyms
        query = select(known.c.customer_id).where(known.c.store_id == store_id, known.c.pseudonym == told)
        found = (await connection.execute(query)).scalars().all()
    return found


@dataclass(frozen=True, slots=True)
class Held:
    """What a table holds of a person, plain enough for JSON. Amounts are text, since a JSON number need not be exact.

    about   : what the table is
    columns : what each says, by name
    """

    table: str
    about: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]


async def read_held(connection: AsyncConnection, store_id: str, customer_id: str) -> list[Held]:
    """Everything that is held of a customer, table by table, those included that hold nothing."""
    _, names = await _called(connection, store_id, customer_id)
    values = {"store": store_id, "customer": customer_id, "names": names}
    held = []
    for rule in reversed(RULES):
        query = text(rule.show()).columns(**{column.name: column.type for column in rule.columns})
        rows = await connection.execute(query, _mentioned(rule.show(), values))
        held.append(
            Held(
                table=rule.table.name,
                about=rule.table.comment or "",
                columns={column.name: column.comment or "" for column in rule.columns},
                rows=[{name: _plain(value) for name, value in row._mapping.items()} for row in rows],
            )
        )
    return held


@asynccontextmanager
async def in_turn(connection: AsyncConnection, store_id: str, *, patience_seconds: float) -> AsyncIterator[None]:
    """The block may take a customer away: no import of the store is under way, nobody publishes, scores or tells, and
    none begins before it has ended.

    Raises StoreBusy where that takes longer to come about.
    """
    try:
        patience = f"{max(1, round(1000 * patience_seconds))}ms"
        await connection.execute(text("SELECT set_config('lock_timeout', :patience, true)"), {"patience": patience})
        await hold_imports(connection, store_id)
        await hold_history(connection, store_id)
        await hold_store(connection, store_id)
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _IN_THE_WAY:
            raise StoreBusy(store_id) from error
        raise


async def remove(connection: AsyncConnection, store_id: str, customer_id: str) -> dict[str, int]:
    """Take everything away that is held of a customer; returns how many rows that were, by table. Call it `in_turn`."""
    words, names = await _called(connection, store_id, customer_id)
    values = {"store": store_id, "customer": customer_id, "names": names}
    removed = {}
    for rule in RULES:
        if rule.table is not erasures:
            for statement in rule.before:
                await _run(connection, statement, values)
            removed[rule.table.name] = await _run(connection, rule.erase(), values)
    await _draw_samples_anew(connection, words)
    return {table: n_rows for table, n_rows in removed.items() if n_rows}


async def _called(connection: AsyncConnection, store_id: str, customer_id: str) -> tuple[list[str], list[str]]:
    """Everything that tells who a customer is, word by word, and those of the words that name nobody else."""
    row = (await connection.execute(text(_NAMES), {"store": store_id, "customer": customer_id})).one()
    return list(row.words or ()), list(row.names or ())


async def _draw_samples_anew(connection: AsyncConnection, words: Sequence[str]) -> None:
    """Of tables of whose values one of these words was kept. In the tables' order, as whoever writes many rows does."""
    personal = [table.name for table in metadata.tables.values() if any(each.table is table for each in RULES)]
    found = await connection.execute(text(_SAMPLED), {"tables": personal, "words": list(words)})
    sampled = set(found.scalars())
    for table in personal:
        if table in sampled:
            await connection.execute(text(f"ANALYZE {table}"))


async def _run(connection: AsyncConnection, statement: str, values: Mapping[str, Any]) -> int:
    done = await connection.execute(text(statement), _mentioned(statement, values))
    return int(done.rowcount)


def _mentioned(statement: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Only the values a statement mentions may be bound to it."""
    return {name: value for name, value in values.items() if f":{name}" in statement}


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return str(value)
        case datetime() | date():
            return value.isoformat()
        case list():
            return [_plain(each) for each in value]
        case _:
            return value
