"""The star.

    stores ─┬─ customers ─┬─ orders ── order_items           what the sources say
            │             ├─ refunds (of an order, where one is found)
            │             ├─ tickets
            │             └─ customer_pseudonyms             what they are called where ids may not be shown
            ├─ api_keys, audit_log                           who may ask, and who has
            ├─ jobs, idempotent_requests                     what is to be done, and what was asked before
            ├─ erasures                                      who is not to come back, by a keyed digest, and the receipt
            ├─ alerts_told                                   what Slack was told, once a day for each reason
            └─ segmentation_runs                             one row per discovery or rescoring
                  ├─ dim_segment_master                      the segments of each axis: centers, scaler, name
                  ├─ dim_archetype_l1 ─┬─ dim_archetype_l2   the kinds of customer
                  │                    └─ dim_archetype_l3
                  ├─ fact_customer_standing                  one row per customer: kind, value, memberships, features
                  ├─ fact_customer_history                   one row per customer and day
                  └─ segment_lineage, archetype_lineage      which group goes on as which from run to run

Dimension and fact rows carry the run that wrote them. `stores.served_run_id` says which run is served; a run's rows are
written and the switch thrown in one transaction that also sweeps the run before, so nobody reads half of two runs.
Predictions are published in the same way, by a run of their own: `stores.served_prediction_id`.
The views `fact_customer_current` and `customer_profiles` (standings, with their segments and features by name),
`customer_intelligence`, `combined_sales` and `order_line_items` are in the migrations, and so is the queue behind
`jobs`: the tables `queue`, `queue_log`, `queue_schedules` and `queue_statistics` are pgqueuer's.

Money is numeric(24,4) in the store's currency; times are UTC; ids are text. Columns about one person are made by
`_own`; where such a table holds somebody, and what erasing them does there, is said in `personal`.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

MONEY = Numeric(24, 4)
TIME = DateTime(timezone=True)


def _store() -> Column[str]:
    return Column("store_id", Text, nullable=False, comment="The shop this row belongs to.")


def _run() -> Column[int]:
    return Column("run_id", BigInteger, nullable=False, comment="The segmentation run that wrote this row.")


def _own(name: str, *about: Any, **more: Any) -> Column[Any]:
    """A column about one person: export shows it and erasure empties it, by the table's rule in `personal`."""
    return Column(name, *about, **more, info={"personal": True})


def _changed() -> Column[object]:
    return _own(
        "updated_at", TIME, nullable=False, server_default=func.now(), comment="When this row last changed, UTC."
    )


def _of_store() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["store_id"], ["stores.store_id"], ondelete="CASCADE")


def _of_run() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["run_id"], ["segmentation_runs.run_id"], ondelete="CASCADE")


def _of_customer() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["store_id", "customer_id"], ["customers.store_id", "customers.customer_id"], ondelete="CASCADE"
    )


stores = Table(
    "stores",
    metadata,
    Column("store_id", Text, nullable=False, comment="Short name of the shop, as given with --store."),
    Column("timezone", Text, nullable=False, comment="IANA name; hours, weekdays and days are the shop's own."),
    Column("currency", Text, nullable=False, comment="ISO 4217 code of every amount of this store."),
    Column("served_run_id", BigInteger, comment="The published run that answers are read from; null before the first."),
    Column("served_prediction_id", BigInteger, comment="The predictions that are served; null before the first."),
    Column("created_at", TIME, nullable=False, server_default=func.now(), comment="When the store was added, UTC."),
    PrimaryKeyConstraint("store_id"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_code"),
    comment="The shops this service knows.",
)

customers = Table(
    "customers",
    metadata,
    _store(),
    _own("customer_id", Text, nullable=False, comment="The shop's own id of the customer."),
    _own("email", Text, comment="Lower case; null where the source has none."),
    _own("first_name", Text, comment="Given name."),
    _own("last_name", Text, comment="Family name."),
    _own("phone", Text, comment="As the source writes it."),
    _own("country", Text, comment="Country of the latest record."),
    _own(
        "total_spent", MONEY, nullable=False, server_default=text("0"), comment="Paid for all orders, less all refunds."
    ),
    _own("orders_count", Integer, nullable=False, server_default=text("0"), comment="Orders placed."),
    _own("created_at", TIME, comment="When the shop first knew them, where the source says."),
    _changed(),
    PrimaryKeyConstraint("store_id", "customer_id"),
    _of_store(),
    CheckConstraint("orders_count >= 0", name="orders_count"),
    Index("idx_customer_email", "store_id", "email"),
    Index("idx_customer_created", "store_id", "created_at"),
    comment="Everyone the shop knows, with or without an order.",
)

customer_pseudonyms = Table(
    "customer_pseudonyms",
    metadata,
    _store(),
    _own("customer_id", Text, nullable=False, comment="The shop's own id of the customer."),
    _own("pseudonym", Text, nullable=False, comment="C- and digits of a keyed digest of the id: 8 or more."),
    PrimaryKeyConstraint("store_id", "customer_id"),
    _of_customer(),
    Index("uq_customer_pseudonyms_pseudonym", "store_id", "pseudonym", unique=True),
    comment="What customers are called where their ids may not be shown.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, nullable=False, comment="The key's public part; names it in lists, opens nothing."),
    _store(),
    Column("name", Text, nullable=False, server_default=text("''"), comment="What it is for, in its owner's words."),
    Column("secret_hash", Text, nullable=False, comment="SHA-256 of the whole key, hex; the key itself is not kept."),
    Column("scopes", ARRAY(Text), nullable=False, comment="support, analytics, campaigns, privacy, admin."),
    Column("created_at", TIME, nullable=False, server_default=func.now(), comment="UTC."),
    Column("expires_at", TIME, comment="From when on it opens nothing, UTC; null where it does not expire."),
    Column("last_used_at", TIME, comment="When it last opened something, UTC, to the minute; null where it never did."),
    Column("revoked_at", TIME, comment="When it was revoked, UTC; null while it opens."),
    Column("replaced_by", Text, comment="The public part of the key that took its place; null where none has."),
    PrimaryKeyConstraint("key_id"),
    _of_store(),
    CheckConstraint("cardinality(scopes) > 0", name="scopes"),
    Index("idx_api_keys_store", "store_id", "created_at"),
    comment="Who may ask the API, and for what. Each key belongs to one store.",
)

# Without references: what was done stays written when the store or the key is gone.
audit_log = Table(
    "audit_log",
    metadata,
    Column("audit_id", BigInteger, Identity(always=True), nullable=False, comment="Counts up."),
    _store(),
    Column("at", TIME, nullable=False, server_default=func.now(), comment="UTC."),
    Column("key_id", Text, nullable=False, comment="The key it was done with; API_KEY, ... of the settings' keys."),
    Column("action", Text, nullable=False, comment="What was done: customer.read, key.create, ..."),
    Column("request_id", Text, comment="Names the request in the logs; null for the command line."),
    _own(
        "subjects",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="Pseudonyms of the customers it was about, those who are erased left out.",
    ),
    Column("object", Text, comment="What else it was about: a key, a job, a run, a receipt."),
    PrimaryKeyConstraint("audit_id"),
    Index("idx_audit_log_store", "store_id", "audit_id"),
    Index("idx_audit_log_subjects", "subjects", postgresql_using="gin"),
    comment="Who has changed something, and who has seen identities.",
)

orders = Table(
    "orders",
    metadata,
    _store(),
    _own("order_id", Text, nullable=False, comment="The shop's own id of the order."),
    _own("customer_id", Text, comment="Who ordered; null for a guest, who has no account."),
    _own("order_number", Text, comment="The number people quote."),
    _own("order_date", TIME, nullable=False, comment="When it was placed, UTC."),
    _own("total_price", MONEY, nullable=False, server_default=text("0"), comment="Sum of its lines, after discounts."),
    _own("discount_amount", MONEY, nullable=False, server_default=text("0"), comment="Taken off all its lines."),
    _own("source", Text, comment="Channel: web, pos, shopify_draft_order; null where unknown."),
    _own("currency", Text, comment="ISO 4217 code, where the source says."),
    _own("financial_status", Text, comment="As the source writes it (paid, refunded, ...)."),
    _own("fulfillment_status", Text, comment="As the source writes it (fulfilled, partial, ...)."),
    _own("country", Text, comment="Where it went."),
    _own("region", Text, comment="State or province it went to."),
    _own(
        "tracking_numbers",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="The carriers' numbers of its parcels; empty where none is known.",
    ),
    _changed(),
    PrimaryKeyConstraint("store_id", "order_id"),
    _of_store(),
    _of_customer(),
    CheckConstraint("total_price >= 0 AND discount_amount >= 0", name="money"),
    Index("idx_orders_customer", "store_id", "customer_id"),
    Index("idx_orders_created", "store_id", "order_date"),
    Index("idx_orders_number", "store_id", "order_number", postgresql_ops={"order_number": "text_pattern_ops"}),
    comment="One row per order.",
)

order_items = Table(
    "order_items",
    metadata,
    _store(),
    _own("order_id", Text, nullable=False, comment="The order it belongs to."),
    _own(
        "item_id",
        Text,
        nullable=False,
        comment="The source's id of the line; where it has none, product/quantity@price#n, n counting like lines.",
    ),
    _own("product_id", Text, nullable=False, comment="Stock code or product id."),
    _own("product_title", Text, comment="What it was called when sold."),
    _own("product_type", Text, comment="Type, where the source has one beside the category."),
    _own("category", Text, comment="Category; null where the source has none."),
    _own("vendor", Text, comment="Maker or supplier."),
    _own("kind", Text, nullable=False, comment="goods, shipping, or manual (entered by hand: fees, corrections)."),
    _own("quantity", MONEY, nullable=False, comment="Units."),
    _own("price", MONEY, nullable=False, comment="Asked for one unit."),
    _own("discount_amount", MONEY, nullable=False, server_default=text("0"), comment="Taken off the line."),
    _own("line_total", MONEY, nullable=False, comment="Paid for the line, after the discount."),
    _own(
        "refund_amount",
        MONEY,
        nullable=False,
        server_default=text("0"),
        comment="Given back of it, by matched refunds.",
    ),
    _changed(),
    PrimaryKeyConstraint("store_id", "order_id", "item_id"),
    ForeignKeyConstraint(["store_id", "order_id"], ["orders.store_id", "orders.order_id"], ondelete="CASCADE"),
    CheckConstraint("kind IN ('goods', 'shipping', 'manual')", name="kind"),
    CheckConstraint(
        "quantity >= 0 AND price >= 0 AND discount_amount >= 0 AND line_total >= 0 AND refund_amount >= 0",
        name="money",
    ),
    comment="One row per line of an order; found by order through the primary key.",
)

refunds = Table(
    "refunds",
    metadata,
    _store(),
    _own(
        "refund_id",
        Text,
        nullable=False,
        comment="The source's id; where it has none, document/product/quantity@amount#n.",
    ),
    _own("document_id", Text, nullable=False, comment="The paper it stands on: credit note, cancelled invoice."),
    _own("customer_id", Text, comment="Who got the money back; null for a guest."),
    _own("order_id", Text, comment="The order it undoes; null where none was found."),
    _own("item_id", Text, comment="The line it undoes; null where none was found or none is meant."),
    _own("order_inferred", Boolean, nullable=False, comment="The source names no order; we looked for it."),
    _own("product_id", Text, comment="What came back; null for a credit that belongs to no product."),
    _own("kind", Text, nullable=False, comment="return of goods, or credit (discount, fee, correction)."),
    _own("quantity", MONEY, nullable=False, comment="Units."),
    _own("amount", MONEY, nullable=False, comment="Given back, positive."),
    _own("refunded_at", TIME, nullable=False, comment="When, UTC."),
    _changed(),
    PrimaryKeyConstraint("store_id", "refund_id"),
    _of_store(),
    _of_customer(),
    ForeignKeyConstraint(["store_id", "order_id"], ["orders.store_id", "orders.order_id"]),
    ForeignKeyConstraint(
        ["store_id", "order_id", "item_id"],
        ["order_items.store_id", "order_items.order_id", "order_items.item_id"],
    ),
    CheckConstraint("kind IN ('return', 'credit')", name="kind"),
    CheckConstraint("quantity >= 0 AND amount >= 0", name="money"),
    CheckConstraint("item_id IS NULL OR order_id IS NOT NULL", name="matched"),
    Index("idx_refunds_customer", "store_id", "customer_id"),
    Index("idx_refunds_refunded", "store_id", "refunded_at"),
    Index("idx_refunds_order", "store_id", "order_id", "item_id"),
    comment="Money given back, one row per line of a refund.",
)

tickets = Table(
    "tickets",
    metadata,
    _store(),
    _own("ticket_id", Text, nullable=False, comment="The helpdesk's own id."),
    _own("customer_id", Text, nullable=False, comment="Who asked."),
    _own("channel", Text, comment="email, chat, phone, ..."),
    _own("topic", Text, comment="What it was about, as the helpdesk tags it."),
    _own("status", Text, comment="open, closed, ..."),
    _own("created_at", TIME, nullable=False, comment="When it was opened, UTC."),
    _own("resolved_at", TIME, comment="When it was closed, UTC."),
    _own("satisfaction", SmallInteger, comment="1 (poor) to 5 (good); null where unrated."),
    _changed(),
    PrimaryKeyConstraint("store_id", "ticket_id"),
    _of_customer(),
    CheckConstraint("satisfaction BETWEEN 1 AND 5", name="satisfaction"),
    Index("idx_tickets_customer", "store_id", "customer_id"),
    Index("idx_tickets_created", "store_id", "created_at"),
    comment="Requests for help.",
)

segmentation_runs = Table(
    "segmentation_runs",
    metadata,
    Column("run_id", BigInteger, Identity(always=True), nullable=False, comment="Counts up."),
    _store(),
    Column(
        "kind",
        Text,
        nullable=False,
        server_default=text("'discovery'"),
        comment="discovery: segments found anew; rescoring: everyone placed again by the rules of the run before.",
    ),
    Column(
        "status",
        Text,
        nullable=False,
        comment="queued (a worker is to begin it), running, published or failed.",
    ),
    Column("progress", JSONB, comment="{step, done}: the step under way and the share of it done; null before any."),
    Column("as_of", TIME, comment="Only records before this moment were used, UTC."),
    Column(
        "started_at",
        TIME,
        nullable=False,
        server_default=func.now(),
        comment="UTC; while it is queued, when it was asked for.",
    ),
    Column("finished_at", TIME, comment="UTC; null while running or when the process was killed."),
    Column("parameters", JSONB, nullable=False, comment="What was asked for."),
    Column("report", JSONB, comment="What was found: per axis, and the archetypes."),
    Column(
        "yardstick", JSONB, comment="The shop's norms, value tiers and fifths; null or less in runs of older versions."
    ),
    Column("failure", Text, comment="Why it failed, in one line."),
    Column(
        "rules_run_id",
        BigInteger,
        Computed("coalesce((report ->> 'rules_run_id')::bigint, run_id)", persisted=True),
        comment="The discovery whose rules it goes by: itself, unless its report names another.",
    ),
    PrimaryKeyConstraint("run_id"),
    _of_store(),
    CheckConstraint("status IN ('queued', 'running', 'published', 'failed')", name="status"),
    CheckConstraint("kind IN ('discovery', 'rescoring')", name="kind"),
    Index("idx_runs_store", "store_id", "run_id"),
    comment="Every discovery and rescoring, with what it was asked and what it found.",
)

customers_changed = Table(
    "customers_changed",
    metadata,
    _store(),
    _own("customer_id", Text, nullable=False, comment="Whose records changed since they were last scored."),
    _own(
        "changed_in",
        Text,
        nullable=False,
        server_default=text("pg_current_xact_id()::text"),
        comment="The transaction that changed them: a run that has seen it has scored them too.",
    ),
    _own("scored_run_id", BigInteger, comment="The run they have been scored in since; null before they were."),
    PrimaryKeyConstraint("store_id", "customer_id"),
    _of_customer(),
    comment="Who is to be scored anew: written with what changed, removed by a run that has seen it.",
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", BigInteger, autoincrement=False, nullable=False, comment="Its id in the queue."),
    _store(),
    Column("job", Text, nullable=False, comment="What is to be done."),
    _own("parameters", JSONB, nullable=False, comment="What was asked for."),
    Column("asked_at", TIME, nullable=False, server_default=func.now(), comment="UTC."),
    PrimaryKeyConstraint("job_id"),
    _of_store(),
    Index("idx_jobs_store", "store_id", "job_id"),
    comment="Every job of the last weeks; where it stands is in the queue and its log.",
)

idempotent_requests = Table(
    "idempotent_requests",
    metadata,
    _store(),
    _own("key", Text, nullable=False, comment="As sent in the header Idempotency-Key."),
    _own("request", Text, nullable=False, comment="SHA-256 of what was asked, in hexadecimal."),
    _own("answer", JSONB, comment="What was answered."),
    Column("asked_at", TIME, nullable=False, server_default=func.now(), comment="UTC."),
    PrimaryKeyConstraint("store_id", "key"),
    _of_store(),
    comment="What was asked under a key of the asker's own, so that asking again does nothing twice.",
)

erasures = Table(
    "erasures",
    metadata,
    Column("receipt_id", Text, nullable=False, comment="A UUID; names the receipt, and nobody."),
    _store(),
    Column(
        "tombstone",
        Text,
        nullable=False,
        comment="HMAC-SHA256 of the customer's id under ID_HASH_SECRET, hex: imports know by it whom to leave out.",
    ),
    _own("customer_id", Text, comment="Whom to erase; null as soon as that is done."),
    Column("state", Text, nullable=False, comment="requested or done."),
    Column(
        "requested_at", TIME, nullable=False, server_default=func.now(), comment="When it was first asked for, UTC."
    ),
    Column("done_at", TIME, comment="When everything was gone, UTC; null until then."),
    Column("requested_by", Text, nullable=False, comment="The public id of the key that asked, or the command line."),
    Column("rows", JSONB, nullable=False, server_default=text("'{}'"), comment="{table: rows removed or emptied}."),
    PrimaryKeyConstraint("receipt_id"),
    _of_store(),
    CheckConstraint("state IN ('requested', 'done')", name="state"),
    CheckConstraint("(state = 'done') = (customer_id IS NULL AND done_at IS NOT NULL)", name="forgotten"),
    Index("uq_erasures_tombstone", "store_id", "tombstone", unique=True),
    Index("idx_erasures_store", "store_id", "requested_at", "receipt_id"),
    comment="Who was erased, told by a keyed digest alone, and what of them was removed.",
)

dim_segment_master = Table(
    "dim_segment_master",
    metadata,
    _store(),
    _run(),
    Column("segment_id", Text, nullable=False, comment="seg_ and digits; the same behaviour keeps its id."),
    Column("axis_name", Text, nullable=False, comment="One of the fourteen axes."),
    Column("position", SmallInteger, nullable=False, comment="Row of its center among the axis's centers, from 0."),
    Column("segment_name", Text, nullable=False, comment="Name from behaviour, unique on its axis."),
    Column("interpretation", Text, nullable=False, comment="One sentence that states its numbers."),
    Column(
        "source",
        Text,
        nullable=False,
        server_default=text("'orders'"),
        comment="What its customers are read from: orders or tickets.",
    ),
    Column("cluster_center", JSONB, nullable=False, comment="Center in scaled units, a number per feature."),
    Column("scaler_params", JSONB, nullable=False, comment="Features, transforms, limits, mean, scale, kernel."),
    Column("population_percentage", Double, nullable=False, comment="Share of segmented customers, 0 to 100."),
    Column("customer_count", Integer, nullable=False, comment="Customers whose dominant segment it is."),
    Column("named_for", JSONB, comment="{feature: its customers' median} when it got its name; null in old rows."),
    Column("place", SmallInteger, nullable=False, comment="Of its share in customers' memberships, from 1."),
    Column("first_feature", SmallInteger, nullable=False, comment="Where what it is read by begins in their features."),
    PrimaryKeyConstraint("store_id", "run_id", "segment_id"),
    _of_store(),
    _of_run(),
    CheckConstraint("population_percentage BETWEEN 0 AND 100", name="share"),
    CheckConstraint("customer_count >= 0", name="customer_count"),
    CheckConstraint("source IN ('orders', 'tickets')", name="source"),
    Index("uq_segment_name", "store_id", "run_id", "axis_name", "segment_name", unique=True),
    comment="The segments of every axis, enough to place a customer on it.",
)


def _archetype_columns() -> list[Column[object]]:
    return [
        Column("archetype_id", Text, nullable=False, comment="arch_ and digits from the signature."),
        Column("name", Text, nullable=False, comment="Name from behaviour, unique on its level."),
        Column("slug", Text, nullable=False, comment="The name, for addresses."),
        Column("description", Text, nullable=False, comment="One sentence that states its numbers."),
        Column("member_count", Integer, nullable=False, comment="Customers of this kind, folded ones included."),
        Column("population_percentage", Double, nullable=False, comment="Share of segmented customers, 0 to 100."),
        Column("avg_ltv", MONEY, nullable=False, comment="Mean lifetime value of its members."),
        Column("total_ltv", MONEY, nullable=False, comment="Sum of their lifetime values."),
        Column("avg_orders", Double, nullable=False, comment="Mean number of orders."),
        Column("avg_order_value", MONEY, nullable=False, comment="Their lifetime value by their orders."),
        Column("avg_recency_days", Double, nullable=False, comment="Mean days since the last order."),
    ]


def _archetype_rules() -> list[CheckConstraint | ForeignKeyConstraint | PrimaryKeyConstraint]:
    return [
        PrimaryKeyConstraint("store_id", "run_id", "archetype_id"),
        _of_store(),
        _of_run(),
        CheckConstraint("member_count >= 0", name="member_count"),
        CheckConstraint("population_percentage BETWEEN 0 AND 100", name="share"),
    ]


def _of_archetype(column: str, level: int) -> ForeignKeyConstraint:
    table = f"dim_archetype_l{level}"
    return ForeignKeyConstraint(
        ["store_id", "run_id", column], [f"{table}.store_id", f"{table}.run_id", f"{table}.archetype_id"]
    )


dim_archetype_l1 = Table(
    "dim_archetype_l1",
    metadata,
    _store(),
    _run(),
    *_archetype_columns(),
    Column(
        "dominant_segments",
        JSONB,
        nullable=False,
        comment="{axis: segment name}: its signature, and on the other axes what most of its members have.",
    ),
    Column("segment_ids", ARRAY(Text), nullable=False, comment="Its signature as segment ids, in the axes' order."),
    Column("defined_by", ARRAY(Text), comment="The axes its signature is of; null in rows of older versions."),
    Column("folded_count", Integer, nullable=False, comment="Members whose own segments are not the signature's."),
    Column("key_traits", JSONB, comment="What sets its members apart from the shop, as sentences; null in old rows."),
    Column("profile", Text, comment="Itself as the JSON object that is served; null in rows of older versions."),
    *_archetype_rules(),
    CheckConstraint("folded_count BETWEEN 0 AND member_count", name="folded_count"),
    comment="Level 1: customers who share the dominant segment of every axis with structure.",
)

dim_archetype_l2 = Table(
    "dim_archetype_l2",
    metadata,
    _store(),
    _run(),
    *_archetype_columns(),
    Column("parent_id", Text, nullable=False, comment="Its archetype on level 1."),
    Column("strength_band", Text, nullable=False, comment="core, typical or edge: how clearly members belong."),
    *_archetype_rules(),
    _of_archetype("parent_id", 1),
    CheckConstraint("strength_band IN ('core', 'typical', 'edge')", name="strength_band"),
    comment="Level 2: level 1 by how clearly its members belong.",
)

dim_archetype_l3 = Table(
    "dim_archetype_l3",
    metadata,
    _store(),
    _run(),
    *_archetype_columns(),
    Column("parent_id", Text, nullable=False, comment="Its archetype on level 1."),
    Column("second_segments", JSONB, nullable=False, comment="{axis: the segment its members are also close to}."),
    *_archetype_rules(),
    _of_archetype("parent_id", 1),
    comment="Level 3: level 1 by the second segment, on the axes where it is close.",
)


def _standing_columns() -> list[Column[object]]:
    """Where a customer stands, as both fact tables keep it."""
    return [
        _own("archetype_id", Text, nullable=False, comment="Level 1."),
        _own("archetype_level2_id", Text, nullable=False, comment="Level 2."),
        _own("archetype_level3_id", Text, nullable=False, comment="Level 3."),
        _own("lifetime_value", MONEY, nullable=False, comment="Paid less given back, to as_of; can be below 0."),
        _own("total_orders", Integer, nullable=False, comment="Orders placed, to as_of."),
        _own("days_since_last_purchase", Integer, nullable=False, comment="Whole days of the shop's calendar."),
        _own("customer_tenure_days", Integer, nullable=False, comment="Days since the first order."),
    ]


# What a run writes of each customer is kept small, and free of references, which are looked up row by row: for a large
# shop they are most of the time that publishing takes. Rows of a customer who is deleted go by a trigger on `customers`
# (migration 0014), and publishing leaves out who has gone; `warehouse/checks.py` asks the database for the rest.
fact_customer_standing = Table(
    "fact_customer_standing",
    metadata,
    _store(),
    _run(),
    _own("customer_id", Text, nullable=False, comment="Who."),
    *_standing_columns(),
    _own("avg_order_value", MONEY, nullable=False, comment="lifetime_value / total_orders."),
    _own("cluster_confidence", Double, nullable=False, comment="Mean top membership over the axes, 0 to 1."),
    _own("fold_distance", SmallInteger, nullable=False, comment="Axes on which they differ from their archetype."),
    _own("snapshot_date", Date, nullable=False, comment="The shop's day that as_of closes."),
    _own("rfm_recency", SmallInteger, comment="1 to 5, 5 for who bought latest; null in rows of older versions."),
    _own("rfm_frequency", SmallInteger, comment="1 to 5, 5 for the most orders; null in rows of older versions."),
    _own("rfm_monetary", SmallInteger, comment="1 to 5, 5 for who is worth most; null in rows of older versions."),
    _own("rfm_group", Text, comment="The group of those scores: champions, ...; null in rows of older versions."),
    _own("rfm_previous_group", Text, comment="The group before this one; null until it first changes."),
    _own("rfm_changed_on", Date, comment="The shop's day as of which it changed; null until it first does."),
    _own(
        "memberships", ARRAY(Double), comment="Share in each segment, by dim_segment_master.place; each axis sums to 1."
    ),
    _own("dominant", ARRAY(SmallInteger), comment="Place of the top segment of each axis."),
    _own("features", ARRAY(Double), comment="Before any scaling; an axis's begin at dim_segment_master.first_feature."),
    _own("profile", Text, comment="What is served of them beside what everyone of the run shares; null in old rows."),
    _changed(),
    PrimaryKeyConstraint("store_id", "customer_id", "run_id"),
    CheckConstraint("total_orders > 0", name="total_orders"),
    CheckConstraint("cluster_confidence BETWEEN 0 AND 1", name="confidence"),
    CheckConstraint("fold_distance >= 0", name="fold_distance"),
    CheckConstraint(
        "rfm_recency BETWEEN 1 AND 5 AND rfm_frequency BETWEEN 1 AND 5 AND rfm_monetary BETWEEN 1 AND 5",
        name="rfm_scores",
    ),
    Index("idx_intelligence_updated", "store_id", "updated_at"),
    Index("idx_intelligence_archetype", "store_id", "archetype_id"),
    comment="Every segmented customer as they stand in the served run, in numbers.",
)

fact_customer_history = Table(
    "fact_customer_history",
    metadata,
    _store(),
    _own("customer_id", Text, nullable=False, comment="Who."),
    _own("snapshot_date", Date, nullable=False, comment="The shop's day."),
    _run(),
    *_standing_columns(),
    _own("segment_ids", ARRAY(Text), nullable=False, comment="Their own dominant segments, in the axes' order."),
    _own("churn_risk_score", Double, comment="As it was told on that day, 0 to 1; null where nothing was."),
    _own("p_no_purchase_30d", Double, comment="As it was told on that day, 0 to 1; null where nothing was."),
    _own("predicted_ltv_12m", MONEY, comment="As it was told on that day; null where nothing was."),
    PrimaryKeyConstraint("store_id", "customer_id", "snapshot_date"),
    Index("idx_history_day", "store_id", "snapshot_date"),
    comment="Where each customer stood on each day a snapshot was taken.",
)


def _lineage_columns() -> list[Column[object]]:
    """From a group of the run before to one of this, as both lineage tables keep it."""
    return [
        Column("step", Integer, nullable=False, comment="Counts the run's rows, from 0."),
        Column("previous_run_id", BigInteger, nullable=False, comment="The run that was served before."),
        Column("fate", Text, nullable=False, comment="continued, split, merged, born or retired."),
        Column("previous_id", Text, comment="Its id then; null for one that is born."),
        Column("previous_name", Text, comment="Its name then."),
        Column("current_id", Text, comment="Its id now; null for one that is retired."),
        Column("current_name", Text, comment="Its name now."),
        Column("share_of_previous", Double, comment="Of the old group's customers in the new one, 0 to 1."),
        Column("share_of_current", Double, comment="Of the new group's customers who were in the old one, 0 to 1."),
        Column("previous_customers", Integer, comment="Customers of the old group, placed by its rules today."),
        Column("current_customers", Integer, comment="Customers of the new group."),
        Column("renamed", Boolean, nullable=False, comment="It goes on under another name: its behaviour changed."),
        Column("changes", JSONB, nullable=False, comment="What changed about it: before, now, in words."),
        Column("says", Text, nullable=False, comment="All of it in one or two sentences."),
    ]


def _lineage_rules() -> list[CheckConstraint | ForeignKeyConstraint | PrimaryKeyConstraint]:
    return [
        PrimaryKeyConstraint("store_id", "run_id", "step"),
        _of_store(),
        _of_run(),
        CheckConstraint("fate IN ('continued', 'split', 'merged', 'born', 'retired')", name="fate"),
    ]


segment_lineage = Table(
    "segment_lineage",
    metadata,
    _store(),
    _run(),
    Column("axis_name", Text, nullable=False, comment="One of the fourteen axes."),
    *_lineage_columns(),
    *_lineage_rules(),
    comment="Where the segments of each run come from, run by run.",
)

archetype_lineage = Table(
    "archetype_lineage",
    metadata,
    _store(),
    _run(),
    *_lineage_columns(),
    *_lineage_rules(),
    comment="Where the level-1 archetypes of each run come from, run by run.",
)

alerts_told = Table(
    "alerts_told",
    metadata,
    _store(),
    Column("kind", Text, nullable=False, comment="What it is about: migration, drift or risk."),
    Column("day", Date, nullable=False, comment="The shop's day it is of."),
    Column("told_at", TIME, comment="When it was told, UTC; null from just before until it is known to be."),
    PrimaryKeyConstraint("store_id", "kind", "day"),
    _of_store(),
    CheckConstraint("kind IN ('migration', 'drift', 'risk')", name="kind"),
    comment="The alerts a shop was sent: one of a kind and a day.",
)

prediction_runs = Table(
    "prediction_runs",
    metadata,
    Column("prediction_id", BigInteger, Identity(always=True), nullable=False, comment="Counts up."),
    _store(),
    Column("status", Text, nullable=False, comment="running, published or failed."),
    Column("progress", JSONB, comment="{step, done}: the step under way and the share of it done; null before any."),
    Column("as_of", TIME, comment="Only records before this moment were used, UTC."),
    Column("started_at", TIME, nullable=False, server_default=func.now(), comment="UTC."),
    Column("finished_at", TIME, comment="UTC; null while running or when the process was killed."),
    _own("report", JSONB, comment="What was found of the shop: levels, growth, revenue, what falls short."),
    Column("failure", Text, comment="Why it failed, in one line."),
    PrimaryKeyConstraint("prediction_id"),
    _of_store(),
    CheckConstraint("status IN ('running', 'published', 'failed')", name="status"),
    Index("idx_prediction_runs_store", "store_id", "prediction_id"),
    comment="Each training of a store's predictions.",
)

prediction_models = Table(
    "prediction_models",
    metadata,
    _store(),
    Column("prediction_id", BigInteger, nullable=False, comment="The training it is of."),
    Column("name", Text, nullable=False, comment="What it tells: churn, spend, next_order, customers, revenue."),
    Column("candidate", Text, nullable=False, comment="How: rfm_logistic, bg_nbd, blend, ..."),
    Column("version", Text, nullable=False, comment="Of this service, which made it."),
    Column("status", Text, nullable=False, comment="served, degraded (served, a baseline) or candidate."),
    Column("why", Text, nullable=False, comment="Why it is served, or is not."),
    Column("trained_from", Date, comment="First day of the windows it was fitted to."),
    Column("trained_to", Date, comment="The day on which what was known of them ends."),
    Column("features", ARRAY(Text), nullable=False, comment="What it reads."),
    Column(
        "backtest",
        JSONB(none_as_null=True),
        comment="What it reached on the shop's own past; null where it was not tried.",
    ),
    Column("parameters", JSONB(none_as_null=True), comment="The fitted model, of a served one."),
    PrimaryKeyConstraint("store_id", "prediction_id", "name", "candidate"),
    _of_store(),
    ForeignKeyConstraint(["prediction_id"], ["prediction_runs.prediction_id"], ondelete="CASCADE"),
    CheckConstraint("status IN ('served', 'degraded', 'candidate')", name="status"),
    comment="Every model that was tried, with its proof; those that are served with what they are made of.",
)

# Kept small and free of references, like `fact_customer_standing`: one row per customer, of the served predictions.
fact_customer_prediction = Table(
    "fact_customer_prediction",
    metadata,
    _store(),
    _own("customer_id", Text, nullable=False, comment="Who."),
    Column("prediction_id", BigInteger, nullable=False, comment="The training whose models say it."),
    _own("as_of", TIME, nullable=False, comment="Only their records before this moment were used, UTC."),
    _own("p_no_purchase_30d", Double, nullable=False, comment="Chance of no order within 30 days, 0 to 1."),
    _own("p_no_purchase_90d", Double, nullable=False, comment="Chance of no order within 90 days, 0 to 1."),
    _own("churn_risk_score", Double, nullable=False, comment="Chance of no order within horizon_days, 0 to 1."),
    _own("horizon_days", SmallInteger, nullable=False, comment="Their own: three usual gaps, 30 to 365."),
    _own("risk_level", Text, nullable=False, comment="low, medium, high or critical, of churn_risk_score."),
    _own("engagement_trend", Text, nullable=False, comment="rising, steady, fading or new."),
    _own("expected_spend_90d", MONEY, comment="In the next 90 days, net of refunds; null where it cannot be told."),
    _own("expected_spend_low", MONEY, comment="Lower end of its 80 % interval."),
    _own("expected_spend_high", MONEY, comment="Upper end of its 80 % interval."),
    _own("predicted_ltv_12m", MONEY, comment="In the next twelve months; null where it cannot be told."),
    _own("next_order_on", Date, comment="By which an order is as likely as not; null beyond a year."),
    _own("next_order_earliest", Date, comment="From when it is to be expected, at 80 %."),
    _own("next_order_latest", Date, comment="Until when, at 80 %; null beyond a year."),
    _changed(),
    PrimaryKeyConstraint("store_id", "customer_id"),
    CheckConstraint(
        "p_no_purchase_30d BETWEEN 0 AND 1 AND p_no_purchase_90d BETWEEN 0 AND 1 AND churn_risk_score BETWEEN 0 AND 1",
        name="chances",
    ),
    CheckConstraint("risk_level IN ('low', 'medium', 'high', 'critical')", name="risk_level"),
    CheckConstraint("engagement_trend IN ('rising', 'steady', 'fading', 'new')", name="engagement_trend"),
    CheckConstraint("horizon_days BETWEEN 1 AND 365", name="horizon_days"),
    Index("idx_predictions_risk", "store_id", "churn_risk_score", "customer_id"),
    comment="What every customer is expected to do, by the served predictions.",
)

# The switch points at a run, and a run belongs to a store: the two tables refer to each other.
stores.append_constraint(
    ForeignKeyConstraint(
        ["served_run_id"],
        ["segmentation_runs.run_id"],
        name="fk_stores_served_run",
        use_alter=True,
        ondelete="SET NULL",
    )
)
stores.append_constraint(
    ForeignKeyConstraint(
        ["served_prediction_id"],
        ["prediction_runs.prediction_id"],
        name="fk_stores_served_prediction",
        use_alter=True,
        ondelete="SET NULL",
    )
)
