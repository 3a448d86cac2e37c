"""A key that was replaced says by which, so that it is not replaced again."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_REPLACED = "The public part of the key that took its place; null where none has."


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("replaced_by", sa.Text(), nullable=True, comment=_REPLACED))


def downgrade() -> None:
    op.drop_column("api_keys", "replaced_by")
