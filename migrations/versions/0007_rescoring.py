"""Runs that place everyone again by the rules there are, and who is to be scored anew."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_RUNS = "segmentation_runs"
_WAS = "Every discovery, with what it was asked and what it found."
_IS = "Every discovery and rescoring, with what it was asked and what it found."


def upgrade() -> None:
    op.add_column(
        _RUNS,
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            server_default=sa.text("'discovery'"),
            comment="discovery: segments found anew; rescoring: everyone placed again by the rules of the run before.",
        ),
    )
    op.add_column(
        _RUNS,
        sa.Column(
            "progress",
            postgresql.JSONB(),
            nullable=True,
            comment="{step, done}: the step under way and the share of it done; null before any.",
        ),
    )
    op.create_check_constraint(op.f("ck_segmentation_runs_kind"), _RUNS, "kind IN ('discovery', 'rescoring')")
    op.create_table_comment(_RUNS, _IS, existing_comment=_WAS)
    op.create_table(
        "customers_changed",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column(
            "customer_id",
            sa.Text(),
            nullable=False,
            comment="Whose records changed since they were last scored.",
        ),
        sa.Column(
            "changed_in",
            sa.Text(),
            nullable=False,
            server_default=sa.text("pg_current_xact_id()::text"),
            comment="The transaction that changed them: a run that has seen it has scored them too.",
        ),
        sa.PrimaryKeyConstraint("store_id", "customer_id", name=op.f("pk_customers_changed")),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name=op.f("fk_customers_changed_customers"),
            ondelete="CASCADE",
        ),
        comment="Who is to be scored anew: written with what changed, removed with the score.",
    )


def downgrade() -> None:
    op.drop_table("customers_changed")
    op.create_table_comment(_RUNS, _WAS, existing_comment=_IS)
    op.drop_constraint(op.f("ck_segmentation_runs_kind"), _RUNS)
    op.drop_column(_RUNS, "progress")
    op.drop_column(_RUNS, "kind")
