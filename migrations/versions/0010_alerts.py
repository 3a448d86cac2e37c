"""What was told in Slack, so that nothing is told twice."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts_told",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("kind", sa.Text(), nullable=False, comment="What it is about: migration or drift."),
        sa.Column("day", sa.Date(), nullable=False, comment="The shop's day it is of."),
        sa.Column(
            "told_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was told, UTC; null from just before until it is known to be.",
        ),
        sa.PrimaryKeyConstraint("store_id", "kind", "day", name=op.f("pk_alerts_told")),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_alerts_told_stores"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("kind IN ('migration', 'drift')", name=op.f("ck_alerts_told_kind")),
        comment="The alerts a shop was sent: one of a kind and a day.",
    )


def downgrade() -> None:
    op.drop_table("alerts_told")
