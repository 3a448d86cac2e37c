"""The star schema, the commerce tables and the views."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

VIEWS = {
    "customer_intelligence": """
        SELECT current.store_id, current.customer_id, current.archetype_id, archetype.name AS archetype_name,
               1 AS archetype_level, current.lifetime_value AS ltv, profile.churn_risk_score AS churn_risk,
               current.cluster_confidence, profile.updated_at
        FROM stores
        JOIN fact_customer_current AS current
          ON current.store_id = stores.store_id AND current.run_id = stores.served_run_id
        JOIN dim_archetype_l1 AS archetype
          ON archetype.store_id = current.store_id AND archetype.run_id = current.run_id
         AND archetype.archetype_id = current.archetype_id
        JOIN customer_profiles AS profile
          ON profile.store_id = current.store_id AND profile.customer_id = current.customer_id
         AND profile.run_id = current.run_id
    """,
    "combined_sales": """
        SELECT item.store_id, item.order_id, o.order_number, o.order_date, o.customer_id,
               customer.email AS customer_email, item.item_id, item.product_id, item.product_title, item.product_type,
               item.category, item.vendor, item.kind AS line_kind, item.quantity, item.price, item.discount_amount,
               item.line_total, item.refund_amount, o.total_price AS order_total, o.currency, o.source AS channel,
               o.financial_status, o.fulfillment_status, o.country, o.region, item.updated_at
        FROM order_items AS item
        JOIN orders AS o ON o.store_id = item.store_id AND o.order_id = item.order_id
        JOIN customers AS customer ON customer.store_id = o.store_id AND customer.customer_id = o.customer_id
    """,
    "order_line_items": """
        SELECT store_id, item_id AS id, order_id, product_id, product_title, quantity, price, vendor
        FROM order_items
    """,
}
VIEW_COMMENTS = {
    "customer_intelligence": "One row per segmented customer of the served run, in the integration guide''s columns.",
    "combined_sales": "One row per order line with its order, product, customer and place: 26 columns.",
    "order_line_items": "The order lines under the integration guide''s names.",
}


def upgrade() -> None:
    op.create_table(
        "stores",
        sa.Column("store_id", sa.Text(), nullable=False, comment="Short name of the shop, as given with --store."),
        sa.Column(
            "timezone", sa.Text(), nullable=False, comment="IANA name; hours, weekdays and days are the shop's own."
        ),
        sa.Column("currency", sa.Text(), nullable=False, comment="ISO 4217 code of every amount of this store."),
        sa.Column(
            "served_run_id",
            sa.BigInteger(),
            nullable=True,
            comment="The published run that answers are read from; null before the first.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the store was added, UTC.",
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_stores_currency_code")),
        sa.PrimaryKeyConstraint("store_id", name=op.f("pk_stores")),
        comment="The shops this service knows.",
    )
    op.create_table(
        "customers",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="The shop's own id of the customer."),
        sa.Column("email", sa.Text(), nullable=True, comment="Lower case; null where the source has none."),
        sa.Column("first_name", sa.Text(), nullable=True, comment="Given name."),
        sa.Column("last_name", sa.Text(), nullable=True, comment="Family name."),
        sa.Column("phone", sa.Text(), nullable=True, comment="As the source writes it."),
        sa.Column("country", sa.Text(), nullable=True, comment="Country of the latest record."),
        sa.Column(
            "total_spent",
            sa.Numeric(precision=24, scale=4),
            server_default=sa.text("0"),
            nullable=False,
            comment="Paid for all orders, less all refunds.",
        ),
        sa.Column("orders_count", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="Orders placed."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the shop first knew them, where the source says.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
        sa.CheckConstraint("orders_count >= 0", name=op.f("ck_customers_orders_count")),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_customers_stores"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("store_id", "customer_id", name=op.f("pk_customers")),
        comment="Everyone the shop knows, with or without an order.",
    )
    op.create_index("idx_customer_created", "customers", ["store_id", "created_at"], unique=False)
    op.create_index("idx_customer_email", "customers", ["store_id", "email"], unique=False)
    op.create_table(
        "segmentation_runs",
        sa.Column("run_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Counts up."),
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("status", sa.Text(), nullable=False, comment="running, published or failed."),
        sa.Column(
            "as_of",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Only records before this moment were used, UTC.",
        ),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False, comment="UTC."
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="UTC; null while running or when the process was killed.",
        ),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="What was asked for."),
        sa.Column(
            "report",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="What was found: per axis, and the archetypes.",
        ),
        sa.Column("failure", sa.Text(), nullable=True, comment="Why it failed, in one line."),
        sa.CheckConstraint("status IN ('running', 'published', 'failed')", name=op.f("ck_segmentation_runs_status")),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_segmentation_runs_stores"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_segmentation_runs")),
        comment="Every discovery, with what it was asked and what it found.",
    )
    op.create_index("idx_runs_store", "segmentation_runs", ["store_id", "run_id"], unique=False)
    op.create_table(
        "customer_profiles",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="Who."),
        sa.Column("archetype_id", sa.Text(), nullable=False, comment="Level 1."),
        sa.Column(
            "segment_memberships",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{axis: {segment name: share}}, each axis sums to 1.",
        ),
        sa.Column(
            "dominant_segments",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{axis: segment name}.",
        ),
        sa.Column(
            "feature_vectors",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{axis: {feature: value}}, before any scaling.",
        ),
        sa.Column("interpretation", sa.Text(), nullable=False, comment="The dominant names, joined."),
        sa.Column(
            "lifetime_value",
            sa.Numeric(precision=24, scale=4),
            nullable=False,
            comment="Paid less given back, to as_of.",
        ),
        sa.Column(
            "churn_risk_score",
            sa.Double(),
            nullable=True,
            comment="Chance of lapsing, 0 to 1; null until predictions are published.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
        sa.CheckConstraint("churn_risk_score BETWEEN 0 AND 1", name=op.f("ck_customer_profiles_churn_risk_score")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["segmentation_runs.run_id"],
            name=op.f("fk_customer_profiles_segmentation_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name=op.f("fk_customer_profiles_customers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("store_id", "customer_id", "run_id", name=op.f("pk_customer_profiles")),
        comment="Every segmented customer in full: memberships on every axis and the features behind them.",
    )
    op.create_index("idx_intelligence_updated", "customer_profiles", ["store_id", "updated_at"], unique=False)
    op.create_table(
        "dim_archetype_l1",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        sa.Column("archetype_id", sa.Text(), nullable=False, comment="arch_ and digits from the signature."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name from behaviour, unique on its level."),
        sa.Column("slug", sa.Text(), nullable=False, comment="The name, for addresses."),
        sa.Column("description", sa.Text(), nullable=False, comment="One sentence that states its numbers."),
        sa.Column(
            "member_count", sa.Integer(), nullable=False, comment="Customers of this kind, folded ones included."
        ),
        sa.Column(
            "population_percentage", sa.Double(), nullable=False, comment="Share of segmented customers, 0 to 100."
        ),
        sa.Column(
            "avg_ltv", sa.Numeric(precision=24, scale=4), nullable=False, comment="Mean lifetime value of its members."
        ),
        sa.Column(
            "total_ltv", sa.Numeric(precision=24, scale=4), nullable=False, comment="Sum of their lifetime values."
        ),
        sa.Column("avg_orders", sa.Double(), nullable=False, comment="Mean number of orders."),
        sa.Column(
            "avg_order_value",
            sa.Numeric(precision=24, scale=4),
            nullable=False,
            comment="Their lifetime value by their orders.",
        ),
        sa.Column("avg_recency_days", sa.Double(), nullable=False, comment="Mean days since the last order."),
        sa.Column(
            "dominant_segments",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Its signature: {axis: segment name}.",
        ),
        sa.Column(
            "segment_ids",
            sa.ARRAY(sa.Text()),
            nullable=False,
            comment="Its signature as segment ids, in the axes' order.",
        ),
        sa.Column(
            "folded_count", sa.Integer(), nullable=False, comment="Members whose own signature was too rare to stand."
        ),
        sa.CheckConstraint("folded_count BETWEEN 0 AND member_count", name=op.f("ck_dim_archetype_l1_folded_count")),
        sa.CheckConstraint("member_count > 0", name=op.f("ck_dim_archetype_l1_member_count")),
        sa.CheckConstraint("population_percentage BETWEEN 0 AND 100", name=op.f("ck_dim_archetype_l1_share")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["segmentation_runs.run_id"],
            name=op.f("fk_dim_archetype_l1_segmentation_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_dim_archetype_l1_stores"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("store_id", "run_id", "archetype_id", name=op.f("pk_dim_archetype_l1")),
        comment="Level 1: customers who share the dominant segment of every axis with structure.",
    )
    op.create_table(
        "dim_segment_master",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        sa.Column("segment_id", sa.Text(), nullable=False, comment="seg_ and digits; the same behaviour keeps its id."),
        sa.Column("axis_name", sa.Text(), nullable=False, comment="One of the fourteen axes."),
        sa.Column(
            "position", sa.SmallInteger(), nullable=False, comment="Row of its center among the axis's centers, from 0."
        ),
        sa.Column("segment_name", sa.Text(), nullable=False, comment="Name from behaviour, unique on its axis."),
        sa.Column("interpretation", sa.Text(), nullable=False, comment="One sentence that states its numbers."),
        sa.Column(
            "cluster_center",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Center in scaled units, a number per feature.",
        ),
        sa.Column(
            "scaler_params",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Features, transforms, limits, mean, scale, kernel.",
        ),
        sa.Column(
            "population_percentage", sa.Double(), nullable=False, comment="Share of segmented customers, 0 to 100."
        ),
        sa.Column("customer_count", sa.Integer(), nullable=False, comment="Customers whose dominant segment it is."),
        sa.CheckConstraint("customer_count >= 0", name=op.f("ck_dim_segment_master_customer_count")),
        sa.CheckConstraint("population_percentage BETWEEN 0 AND 100", name=op.f("ck_dim_segment_master_share")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["segmentation_runs.run_id"],
            name=op.f("fk_dim_segment_master_segmentation_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_dim_segment_master_stores"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("store_id", "run_id", "segment_id", name=op.f("pk_dim_segment_master")),
        comment="The segments of every axis, enough to place a customer on it.",
    )
    op.create_index(
        "uq_segment_name", "dim_segment_master", ["store_id", "run_id", "axis_name", "segment_name"], unique=True
    )
    op.create_table(
        "fact_customer_history",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="Who."),
        sa.Column("snapshot_date", sa.Date(), nullable=False, comment="The shop's day."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        sa.Column("archetype_id", sa.Text(), nullable=False, comment="Level 1."),
        sa.Column("archetype_level2_id", sa.Text(), nullable=False, comment="Level 2."),
        sa.Column("archetype_level3_id", sa.Text(), nullable=False, comment="Level 3."),
        sa.Column(
            "lifetime_value",
            sa.Numeric(precision=24, scale=4),
            nullable=False,
            comment="Paid less given back, to as_of; can be below 0.",
        ),
        sa.Column("total_orders", sa.Integer(), nullable=False, comment="Orders placed, to as_of."),
        sa.Column(
            "days_since_last_purchase", sa.Integer(), nullable=False, comment="Whole days of the shop's calendar."
        ),
        sa.Column("customer_tenure_days", sa.Integer(), nullable=False, comment="Days since the first order."),
        sa.Column(
            "segment_ids",
            sa.ARRAY(sa.Text()),
            nullable=False,
            comment="Their own dominant segments, in the axes' order.",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["segmentation_runs.run_id"],
            name=op.f("fk_fact_customer_history_segmentation_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name=op.f("fk_fact_customer_history_customers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("store_id", "customer_id", "snapshot_date", name=op.f("pk_fact_customer_history")),
        comment="Where each customer stood on each day a snapshot was taken.",
    )
    op.create_index("idx_history_day", "fact_customer_history", ["store_id", "snapshot_date"], unique=False)
    op.create_table(
        "orders",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("order_id", sa.Text(), nullable=False, comment="The shop's own id of the order."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="Who ordered."),
        sa.Column("order_number", sa.Text(), nullable=True, comment="The number people quote."),
        sa.Column("order_date", sa.DateTime(timezone=True), nullable=False, comment="When it was placed, UTC."),
        sa.Column(
            "total_price",
            sa.Numeric(precision=24, scale=4),
            server_default=sa.text("0"),
            nullable=False,
            comment="Sum of its lines, after discounts.",
        ),
        sa.Column(
            "discount_amount",
            sa.Numeric(precision=24, scale=4),
            server_default=sa.text("0"),
            nullable=False,
            comment="Taken off all its lines.",
        ),
        sa.Column(
            "source", sa.Text(), nullable=True, comment="Channel: web, pos, shopify_draft_order; null where unknown."
        ),
        sa.Column("currency", sa.Text(), nullable=True, comment="ISO 4217 code, where the source says."),
        sa.Column(
            "financial_status", sa.Text(), nullable=True, comment="As the source writes it (paid, refunded, ...)."
        ),
        sa.Column(
            "fulfillment_status", sa.Text(), nullable=True, comment="As the source writes it (fulfilled, partial, ...)."
        ),
        sa.Column("country", sa.Text(), nullable=True, comment="Where it went."),
        sa.Column("region", sa.Text(), nullable=True, comment="State or province it went to."),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
        sa.CheckConstraint("total_price >= 0 AND discount_amount >= 0", name=op.f("ck_orders_money")),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name=op.f("fk_orders_customers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("store_id", "order_id", name=op.f("pk_orders")),
        comment="One row per order.",
    )
    op.create_index("idx_orders_created", "orders", ["store_id", "order_date"], unique=False)
    op.create_index("idx_orders_customer", "orders", ["store_id", "customer_id"], unique=False)
    op.create_table(
        "tickets",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("ticket_id", sa.Text(), nullable=False, comment="The helpdesk's own id."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="Who asked."),
        sa.Column("channel", sa.Text(), nullable=True, comment="email, chat, phone, ..."),
        sa.Column("topic", sa.Text(), nullable=True, comment="What it was about, as the helpdesk tags it."),
        sa.Column("status", sa.Text(), nullable=True, comment="open, closed, ..."),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When it was opened, UTC."),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True, comment="When it was closed, UTC."),
        sa.Column(
            "satisfaction", sa.SmallInteger(), nullable=True, comment="1 (poor) to 5 (good); null where unrated."
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
        sa.CheckConstraint("satisfaction BETWEEN 1 AND 5", name=op.f("ck_tickets_satisfaction")),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name=op.f("fk_tickets_customers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("store_id", "ticket_id", name=op.f("pk_tickets")),
        comment="Requests for help.",
    )
    op.create_index("idx_tickets_customer", "tickets", ["store_id", "customer_id"], unique=False)
    op.create_table(
        "dim_archetype_l2",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        sa.Column("archetype_id", sa.Text(), nullable=False, comment="arch_ and digits from the signature."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name from behaviour, unique on its level."),
        sa.Column("slug", sa.Text(), nullable=False, comment="The name, for addresses."),
        sa.Column("description", sa.Text(), nullable=False, comment="One sentence that states its numbers."),
        sa.Column(
            "member_count", sa.Integer(), nullable=False, comment="Customers of this kind, folded ones included."
        ),
        sa.Column(
            "population_percentage", sa.Double(), nullable=False, comment="Share of segmented customers, 0 to 100."
        ),
        sa.Column(
            "avg_ltv", sa.Numeric(precision=24, scale=4), nullable=False, comment="Mean lifetime value of its members."
        ),
        sa.Column(
            "total_ltv", sa.Numeric(precision=24, scale=4), nullable=False, comment="Sum of their lifetime values."
        ),
        sa.Column("avg_orders", sa.Double(), nullable=False, comment="Mean number of orders."),
        sa.Column(
            "avg_order_value",
            sa.Numeric(precision=24, scale=4),
            nullable=False,
            comment="Their lifetime value by their orders.",
        ),
        sa.Column("avg_recency_days", sa.Double(), nullable=False, comment="Mean days since the last order."),
        sa.Column("parent_id", sa.Text(), nullable=False, comment="Its archetype on level 1."),
        sa.Column(
            "strength_band", sa.Text(), nullable=False, comment="core, typical or edge: how clearly members belong."
        ),
        sa.CheckConstraint(
            "strength_band IN ('core', 'typical', 'edge')", name=op.f("ck_dim_archetype_l2_strength_band")
        ),
        sa.CheckConstraint("member_count > 0", name=op.f("ck_dim_archetype_l2_member_count")),
        sa.CheckConstraint("population_percentage BETWEEN 0 AND 100", name=op.f("ck_dim_archetype_l2_share")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["segmentation_runs.run_id"],
            name=op.f("fk_dim_archetype_l2_segmentation_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "run_id", "parent_id"],
            ["dim_archetype_l1.store_id", "dim_archetype_l1.run_id", "dim_archetype_l1.archetype_id"],
            name=op.f("fk_dim_archetype_l2_dim_archetype_l1"),
        ),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_dim_archetype_l2_stores"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("store_id", "run_id", "archetype_id", name=op.f("pk_dim_archetype_l2")),
        comment="Level 2: level 1 by how clearly its members belong.",
    )
    op.create_table(
        "dim_archetype_l3",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        sa.Column("archetype_id", sa.Text(), nullable=False, comment="arch_ and digits from the signature."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name from behaviour, unique on its level."),
        sa.Column("slug", sa.Text(), nullable=False, comment="The name, for addresses."),
        sa.Column("description", sa.Text(), nullable=False, comment="One sentence that states its numbers."),
        sa.Column(
            "member_count", sa.Integer(), nullable=False, comment="Customers of this kind, folded ones included."
        ),
        sa.Column(
            "population_percentage", sa.Double(), nullable=False, comment="Share of segmented customers, 0 to 100."
        ),
        sa.Column(
            "avg_ltv", sa.Numeric(precision=24, scale=4), nullable=False, comment="Mean lifetime value of its members."
        ),
        sa.Column(
            "total_ltv", sa.Numeric(precision=24, scale=4), nullable=False, comment="Sum of their lifetime values."
        ),
        sa.Column("avg_orders", sa.Double(), nullable=False, comment="Mean number of orders."),
        sa.Column(
            "avg_order_value",
            sa.Numeric(precision=24, scale=4),
            nullable=False,
            comment="Their lifetime value by their orders.",
        ),
        sa.Column("avg_recency_days", sa.Double(), nullable=False, comment="Mean days since the last order."),
        sa.Column("parent_id", sa.Text(), nullable=False, comment="Its archetype on level 1."),
        sa.Column(
            "second_segments",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{axis: the segment its members are also close to}.",
        ),
        sa.CheckConstraint("member_count > 0", name=op.f("ck_dim_archetype_l3_member_count")),
        sa.CheckConstraint("population_percentage BETWEEN 0 AND 100", name=op.f("ck_dim_archetype_l3_share")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["segmentation_runs.run_id"],
            name=op.f("fk_dim_archetype_l3_segmentation_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "run_id", "parent_id"],
            ["dim_archetype_l1.store_id", "dim_archetype_l1.run_id", "dim_archetype_l1.archetype_id"],
            name=op.f("fk_dim_archetype_l3_dim_archetype_l1"),
        ),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_dim_archetype_l3_stores"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("store_id", "run_id", "archetype_id", name=op.f("pk_dim_archetype_l3")),
        comment="Level 3: level 1 by the second segment, on the axes where it is close.",
    )
    op.create_table(
        "order_items",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("order_id", sa.Text(), nullable=False, comment="The order it belongs to."),
        sa.Column(
            "item_id",
            sa.Text(),
            nullable=False,
            comment="The source's id of the line; where it has none, product/quantity@price#n, n counting like lines.",
        ),
        sa.Column("product_id", sa.Text(), nullable=False, comment="Stock code or product id."),
        sa.Column("product_title", sa.Text(), nullable=True, comment="What it was called when sold."),
        sa.Column(
            "product_type", sa.Text(), nullable=True, comment="Type, where the source has one beside the category."
        ),
        sa.Column("category", sa.Text(), nullable=True, comment="Category; null where the source has none."),
        sa.Column("vendor", sa.Text(), nullable=True, comment="Maker or supplier."),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="goods, shipping, or manual (entered by hand: fees, corrections).",
        ),
        sa.Column("quantity", sa.Numeric(precision=24, scale=4), nullable=False, comment="Units."),
        sa.Column("price", sa.Numeric(precision=24, scale=4), nullable=False, comment="Asked for one unit."),
        sa.Column(
            "discount_amount",
            sa.Numeric(precision=24, scale=4),
            server_default=sa.text("0"),
            nullable=False,
            comment="Taken off the line.",
        ),
        sa.Column(
            "line_total",
            sa.Numeric(precision=24, scale=4),
            nullable=False,
            comment="Paid for the line, after the discount.",
        ),
        sa.Column(
            "refund_amount",
            sa.Numeric(precision=24, scale=4),
            server_default=sa.text("0"),
            nullable=False,
            comment="Given back of it, by matched refunds.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
        sa.CheckConstraint("kind IN ('goods', 'shipping', 'manual')", name=op.f("ck_order_items_kind")),
        sa.CheckConstraint(
            "quantity >= 0 AND price >= 0 AND discount_amount >= 0 AND line_total >= 0 AND refund_amount >= 0",
            name=op.f("ck_order_items_money"),
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "order_id"],
            ["orders.store_id", "orders.order_id"],
            name=op.f("fk_order_items_orders"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("store_id", "order_id", "item_id", name=op.f("pk_order_items")),
        comment="One row per line of an order; found by order through the primary key.",
    )
    op.create_table(
        "fact_customer_current",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="Who."),
        sa.Column("archetype_id", sa.Text(), nullable=False, comment="Level 1."),
        sa.Column("archetype_level2_id", sa.Text(), nullable=False, comment="Level 2."),
        sa.Column("archetype_level3_id", sa.Text(), nullable=False, comment="Level 3."),
        sa.Column(
            "lifetime_value",
            sa.Numeric(precision=24, scale=4),
            nullable=False,
            comment="Paid less given back, to as_of; can be below 0.",
        ),
        sa.Column("total_orders", sa.Integer(), nullable=False, comment="Orders placed, to as_of."),
        sa.Column(
            "days_since_last_purchase", sa.Integer(), nullable=False, comment="Whole days of the shop's calendar."
        ),
        sa.Column("customer_tenure_days", sa.Integer(), nullable=False, comment="Days since the first order."),
        sa.Column(
            "avg_order_value",
            sa.Numeric(precision=24, scale=4),
            nullable=False,
            comment="lifetime_value / total_orders.",
        ),
        sa.Column(
            "dominant_segments",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{axis: segment name}, their own.",
        ),
        sa.Column(
            "membership_strengths",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{axis: strong, moderate, balanced or weak}.",
        ),
        sa.Column(
            "cluster_confidence", sa.Double(), nullable=False, comment="Mean top membership over the axes, 0 to 1."
        ),
        sa.Column(
            "fold_distance",
            sa.SmallInteger(),
            nullable=False,
            comment="Axes on which they differ from their archetype.",
        ),
        sa.Column("snapshot_date", sa.Date(), nullable=False, comment="The shop's day that as_of closes."),
        sa.CheckConstraint("cluster_confidence BETWEEN 0 AND 1", name=op.f("ck_fact_customer_current_confidence")),
        sa.CheckConstraint("fold_distance >= 0", name=op.f("ck_fact_customer_current_fold_distance")),
        sa.CheckConstraint("total_orders > 0", name=op.f("ck_fact_customer_current_total_orders")),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name=op.f("fk_fact_customer_current_customers"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "run_id", "archetype_id"],
            ["dim_archetype_l1.store_id", "dim_archetype_l1.run_id", "dim_archetype_l1.archetype_id"],
            name=op.f("fk_fact_customer_current_dim_archetype_l1"),
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "run_id", "archetype_level2_id"],
            ["dim_archetype_l2.store_id", "dim_archetype_l2.run_id", "dim_archetype_l2.archetype_id"],
            name=op.f("fk_fact_customer_current_dim_archetype_l2"),
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "run_id", "archetype_level3_id"],
            ["dim_archetype_l3.store_id", "dim_archetype_l3.run_id", "dim_archetype_l3.archetype_id"],
            name=op.f("fk_fact_customer_current_dim_archetype_l3"),
        ),
        sa.PrimaryKeyConstraint("store_id", "customer_id", "run_id", name=op.f("pk_fact_customer_current")),
        comment="Every segmented customer as they stand in the served run.",
    )
    op.create_index("idx_intelligence_archetype", "fact_customer_current", ["store_id", "archetype_id"], unique=False)
    op.create_index(
        "idx_intelligence_archetype_l2", "fact_customer_current", ["store_id", "archetype_level2_id"], unique=False
    )
    op.create_index(
        "idx_intelligence_archetype_l3", "fact_customer_current", ["store_id", "archetype_level3_id"], unique=False
    )
    op.create_table(
        "refunds",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column(
            "refund_id",
            sa.Text(),
            nullable=False,
            comment="The source's id; where it has none, document/product/quantity@amount#n.",
        ),
        sa.Column(
            "document_id", sa.Text(), nullable=False, comment="The paper it stands on: credit note, cancelled invoice."
        ),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="Who got the money back."),
        sa.Column("order_id", sa.Text(), nullable=True, comment="The order it undoes; null where none was found."),
        sa.Column(
            "item_id",
            sa.Text(),
            nullable=True,
            comment="The line it undoes; null where none was found or none is meant.",
        ),
        sa.Column(
            "order_inferred", sa.Boolean(), nullable=False, comment="The source names no order; we looked for it."
        ),
        sa.Column(
            "product_id",
            sa.Text(),
            nullable=True,
            comment="What came back; null for a credit that belongs to no product.",
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="return of goods, or credit (discount, fee, correction)."),
        sa.Column("quantity", sa.Numeric(precision=24, scale=4), nullable=False, comment="Units."),
        sa.Column("amount", sa.Numeric(precision=24, scale=4), nullable=False, comment="Given back, positive."),
        sa.Column("refunded_at", sa.DateTime(timezone=True), nullable=False, comment="When, UTC."),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
        sa.CheckConstraint("kind IN ('return', 'credit')", name=op.f("ck_refunds_kind")),
        sa.CheckConstraint("item_id IS NULL OR order_id IS NOT NULL", name=op.f("ck_refunds_matched")),
        sa.CheckConstraint("quantity >= 0 AND amount >= 0", name=op.f("ck_refunds_money")),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name=op.f("fk_refunds_customers"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "order_id", "item_id"],
            ["order_items.store_id", "order_items.order_id", "order_items.item_id"],
            name=op.f("fk_refunds_order_items"),
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "order_id"], ["orders.store_id", "orders.order_id"], name=op.f("fk_refunds_orders")
        ),
        sa.PrimaryKeyConstraint("store_id", "refund_id", name=op.f("pk_refunds")),
        comment="Money given back, one row per line of a refund.",
    )
    op.create_index("idx_refunds_customer", "refunds", ["store_id", "customer_id"], unique=False)
    op.create_index("idx_refunds_order", "refunds", ["store_id", "order_id", "item_id"], unique=False)
    op.create_foreign_key(
        "fk_stores_served_run", "stores", "segmentation_runs", ["served_run_id"], ["run_id"], ondelete="SET NULL"
    )
    for name, definition in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {definition}")
        op.execute(f"COMMENT ON VIEW {name} IS '{VIEW_COMMENTS[name]}'")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    op.drop_constraint("fk_stores_served_run", "stores", type_="foreignkey")
    op.drop_index("idx_refunds_order", table_name="refunds")
    op.drop_index("idx_refunds_customer", table_name="refunds")
    op.drop_table("refunds")
    op.drop_index("idx_intelligence_archetype_l3", table_name="fact_customer_current")
    op.drop_index("idx_intelligence_archetype_l2", table_name="fact_customer_current")
    op.drop_index("idx_intelligence_archetype", table_name="fact_customer_current")
    op.drop_table("fact_customer_current")
    op.drop_table("order_items")
    op.drop_table("dim_archetype_l3")
    op.drop_table("dim_archetype_l2")
    op.drop_index("idx_tickets_customer", table_name="tickets")
    op.drop_table("tickets")
    op.drop_index("idx_orders_customer", table_name="orders")
    op.drop_index("idx_orders_created", table_name="orders")
    op.drop_table("orders")
    op.drop_index("idx_history_day", table_name="fact_customer_history")
    op.drop_table("fact_customer_history")
    op.drop_index("uq_segment_name", table_name="dim_segment_master")
    op.drop_table("dim_segment_master")
    op.drop_table("dim_archetype_l1")
    op.drop_index("idx_intelligence_updated", table_name="customer_profiles")
    op.drop_table("customer_profiles")
    op.drop_index("idx_runs_store", table_name="segmentation_runs")
    op.drop_table("segmentation_runs")
    op.drop_index("idx_customer_email", table_name="customers")
    op.drop_index("idx_customer_created", table_name="customers")
    op.drop_table("customers")
    op.drop_table("stores")
