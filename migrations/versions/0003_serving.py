"""What serving needs: keys, pseudonyms, profiles written ready to serve, and what a run measures one customer by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "customer_pseudonyms",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="The shop's own id of the customer."),
        sa.Column(
            "pseudonym", sa.Text(), nullable=False, comment="C- and digits of a keyed digest of the id: 8 or more."
        ),
        sa.PrimaryKeyConstraint("store_id", "customer_id", name="pk_customer_pseudonyms"),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name="fk_customer_pseudonyms_customers",
            ondelete="CASCADE",
        ),
        comment="What customers are called where their ids may not be shown.",
    )
    op.create_index("uq_customer_pseudonyms_pseudonym", "customer_pseudonyms", ["store_id", "pseudonym"], unique=True)
    op.create_table(
        "api_keys",
        sa.Column(
            "key_id", sa.Text(), nullable=False, comment="The key's public part; names it in lists, opens nothing."
        ),
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column(
            "name",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="What it is for, in its owner's words.",
        ),
        sa.Column(
            "secret_hash",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the whole key, hex; the key itself is not kept.",
        ),
        sa.Column(
            "scopes", sa.ARRAY(sa.Text()), nullable=False, comment="support, analytics, campaigns, privacy, admin."
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False, comment="UTC."
        ),
        sa.Column(
            "revoked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was revoked, UTC; null while it opens.",
        ),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.store_id"], name="fk_api_keys_stores", ondelete="CASCADE"),
        sa.CheckConstraint("cardinality(scopes) > 0", name="ck_api_keys_scopes"),
        comment="Who may ask the API, and for what. Each key belongs to one store.",
    )
    op.create_index("idx_api_keys_store", "api_keys", ["store_id", "created_at"])
    op.create_index(
        "idx_orders_number",
        "orders",
        ["store_id", "order_number"],
        postgresql_ops={"order_number": "text_pattern_ops"},
    )
    op.add_column(
        "segmentation_runs",
        sa.Column(
            "yardstick",
            postgresql.JSONB(),
            comment="The shop's norms and value tiers; null in runs of older versions.",
        ),
    )
    op.add_column(
        "dim_archetype_l1",
        sa.Column(
            "key_traits",
            postgresql.JSONB(),
            comment="What sets its members apart from the shop, as sentences; null in old rows.",
        ),
    )
    op.add_column(
        "dim_archetype_l1",
        sa.Column(
            "profile", sa.Text(), comment="Itself as the JSON object that is served; null in rows of older versions."
        ),
    )
    op.add_column(
        "customer_profiles",
        sa.Column(
            "profile", sa.Text(), comment="What is served of them: the inside of a JSON object; null in old rows."
        ),
    )


def downgrade() -> None:
    """Keys and pseudonyms go with their tables; pseudonyms come back the same, keys do not."""
    op.drop_column("customer_profiles", "profile")
    op.drop_column("dim_archetype_l1", "profile")
    op.drop_column("dim_archetype_l1", "key_traits")
    op.drop_column("segmentation_runs", "yardstick")
    op.drop_index("idx_orders_number", "orders")
    op.drop_table("api_keys")
    op.drop_table("customer_pseudonyms")
