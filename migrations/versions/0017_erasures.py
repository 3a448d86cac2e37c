"""Who was erased, so that no import brings them back, and the receipt for it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("receipt_id", sa.Text(), nullable=False, comment="A UUID; names the receipt, and nobody."),
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column(
            "tombstone",
            sa.Text(),
            nullable=False,
            comment="HMAC-SHA256 of the customer's id under ID_HASH_SECRET, hex: imports know by it whom to leave out.",
        ),
        sa.Column("customer_id", sa.Text(), nullable=True, comment="Whom to erase; null as soon as that is done."),
        sa.Column("state", sa.Text(), nullable=False, comment="requested or done."),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
            comment="When it was first asked for, UTC.",
        ),
        sa.Column(
            "done_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When everything was gone, UTC; null until then.",
        ),
        sa.Column(
            "requested_by",
            sa.Text(),
            nullable=False,
            comment="The public id of the key that asked, or the command line.",
        ),
        sa.Column(
            "rows",
            postgresql.JSONB(),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="{table: rows removed or emptied}.",
        ),
        sa.PrimaryKeyConstraint("receipt_id", name=op.f("pk_erasures")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.store_id"], name=op.f("fk_erasures_stores"), ondelete="CASCADE"),
        sa.CheckConstraint("state IN ('requested', 'done')", name=op.f("ck_erasures_state")),
        sa.CheckConstraint(
            "(state = 'done') = (customer_id IS NULL AND done_at IS NOT NULL)", name=op.f("ck_erasures_forgotten")
        ),
        comment="Who was erased, told by a keyed digest alone, and what of them was removed.",
    )
    op.create_index("uq_erasures_tombstone", "erasures", ["store_id", "tombstone"], unique=True)
    op.create_index("idx_erasures_store", "erasures", ["store_id", "requested_at", "receipt_id"])


def downgrade() -> None:
    op.drop_table("erasures")
