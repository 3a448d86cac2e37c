"""In which run a customer whose records changed has been scored since."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLE = "customers_changed"
_WAS = "Who is to be scored anew: written with what changed, removed with the score."
_IS = "Who is to be scored anew: written with what changed, removed by a run that has seen it."


def upgrade() -> None:
    op.add_column(
        _TABLE,
        sa.Column(
            "scored_run_id",
            sa.BigInteger(),
            nullable=True,
            comment="The run they have been scored in since; null before they were.",
        ),
    )
    op.create_table_comment(_TABLE, _IS, existing_comment=_WAS)


def downgrade() -> None:
    """Who has been scored already is scored once more."""
    op.create_table_comment(_TABLE, _WAS, existing_comment=_IS)
    op.drop_column(_TABLE, "scored_run_id")
