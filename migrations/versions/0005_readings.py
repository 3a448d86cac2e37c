"""Axes read from tickets for some customers and from orders for others: each segment says which."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "dim_segment_master",
        sa.Column(
            "source",
            sa.Text(),
            server_default=sa.text("'orders'"),
            nullable=False,
            comment="What its customers are read from: orders or tickets.",
        ),
    )
    op.create_check_constraint(
        op.f("ck_dim_segment_master_source"), "dim_segment_master", "source IN ('orders', 'tickets')"
    )


def downgrade() -> None:
    # Two readings without their sources would be read as one: a run that has them is not to be scored on any more.
    op.execute(
        "UPDATE segmentation_runs SET yardstick = NULL WHERE run_id IN "
        "(SELECT run_id FROM dim_segment_master WHERE source = 'tickets')"
    )
    op.drop_constraint(op.f("ck_dim_segment_master_source"), "dim_segment_master")
    op.drop_column("dim_segment_master", "source")
