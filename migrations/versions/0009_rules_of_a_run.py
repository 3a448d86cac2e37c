"""Which discovery's rules a run goes by, beside its report, which is long to read for every day of the past."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "segmentation_runs",
        sa.Column(
            "rules_run_id",
            sa.BigInteger(),
            sa.Computed("coalesce((report ->> 'rules_run_id')::bigint, run_id)", persisted=True),
            nullable=True,
            comment="The discovery whose rules it goes by: itself, unless its report names another.",
        ),
    )


def downgrade() -> None:
    op.drop_column("segmentation_runs", "rules_run_id")
