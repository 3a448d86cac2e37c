"""A store's latest refund and ticket are found without looking at all of them, whenever somebody is scored."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("idx_refunds_refunded", "refunds", ["store_id", "refunded_at"])
    op.create_index("idx_tickets_created", "tickets", ["store_id", "created_at"])


def downgrade() -> None:
    op.drop_index("idx_tickets_created", "tickets")
    op.drop_index("idx_refunds_refunded", "refunds")
