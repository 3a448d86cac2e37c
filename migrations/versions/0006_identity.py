"""What defines an archetype, what a segment is named for, and where both come from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_LEVEL1 = "dim_archetype_l1"
_WAS = {
    "dominant_segments": "Its signature: {axis: segment name}.",
    "folded_count": "Members whose own signature was too rare to stand.",
}
_IS = {
    "dominant_segments": "{axis: segment name}: its signature, and on the other axes what most of its members have.",
    "folded_count": "Members whose own segments are not the signature's.",
}


def upgrade() -> None:
    op.add_column(
        _LEVEL1,
        sa.Column(
            "defined_by",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="The axes its signature is of; null in rows of older versions.",
        ),
    )
    for column, comment in _IS.items():
        op.alter_column(_LEVEL1, column, comment=comment)
    op.add_column(
        "dim_segment_master",
        sa.Column(
            "named_for",
            postgresql.JSONB(),
            nullable=True,
            comment="{feature: its customers' median} when it got its name; null in old rows.",
        ),
    )
    axis = sa.Column("axis_name", sa.Text(), nullable=False, comment="One of the fourteen axes.")
    _lineage("segment_lineage", axis, comment="Where the segments of each run come from, run by run.")
    _lineage("archetype_lineage", comment="Where the level-1 archetypes of each run come from, run by run.")


def _lineage(table: str, *columns: sa.Column[str], comment: str) -> None:
    op.create_table(
        table,
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        *columns,
        sa.Column("step", sa.Integer(), nullable=False, comment="Counts the run's rows, from 0."),
        sa.Column("previous_run_id", sa.BigInteger(), nullable=False, comment="The run that was served before."),
        sa.Column("fate", sa.Text(), nullable=False, comment="continued, split, merged, born or retired."),
        sa.Column("previous_id", sa.Text(), comment="Its id then; null for one that is born."),
        sa.Column("previous_name", sa.Text(), comment="Its name then."),
        sa.Column("current_id", sa.Text(), comment="Its id now; null for one that is retired."),
        sa.Column("current_name", sa.Text(), comment="Its name now."),
        sa.Column("share_of_previous", sa.Double(), comment="Of the old group's customers in the new one, 0 to 1."),
        sa.Column(
            "share_of_current", sa.Double(), comment="Of the new group's customers who were in the old one, 0 to 1."
        ),
        sa.Column("previous_customers", sa.Integer(), comment="Customers of the old group, placed by its rules today."),
        sa.Column("current_customers", sa.Integer(), comment="Customers of the new group."),
        sa.Column(
            "renamed", sa.Boolean(), nullable=False, comment="It goes on under another name: its behaviour changed."
        ),
        sa.Column(
            "changes", postgresql.JSONB(), nullable=False, comment="What changed about it: before, now, in words."
        ),
        sa.Column("says", sa.Text(), nullable=False, comment="All of it in one or two sentences."),
        sa.CheckConstraint(
            "fate IN ('continued', 'split', 'merged', 'born', 'retired')", name=op.f(f"ck_{table}_fate")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["segmentation_runs.run_id"], name=op.f(f"fk_{table}_segmentation_runs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["store_id"], ["stores.store_id"], name=op.f(f"fk_{table}_stores"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("store_id", "run_id", "step", name=op.f(f"pk_{table}")),
        comment=comment,
    )


def downgrade() -> None:
    op.drop_table("archetype_lineage")
    op.drop_table("segment_lineage")
    op.drop_column("dim_segment_master", "named_for")
    for column, comment in _WAS.items():
        op.alter_column(_LEVEL1, column, comment=comment)
    op.drop_column(_LEVEL1, "defined_by")
