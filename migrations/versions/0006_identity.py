"""What defines an archetype."""

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


def downgrade() -> None:
    for column, comment in _WAS.items():
        op.alter_column(_LEVEL1, column, comment=comment)
    op.drop_column(_LEVEL1, "defined_by")
