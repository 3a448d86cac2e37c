"""Recency, frequency and monetary scores of every customer, their group, and the one before it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLE = "fact_customer_current"


def upgrade() -> None:
    for column in (
        sa.Column(
            "rfm_recency", sa.SmallInteger(), comment="1 to 5, 5 for who bought latest; null in rows of older versions."
        ),
        sa.Column(
            "rfm_frequency", sa.SmallInteger(), comment="1 to 5, 5 for the most orders; null in rows of older versions."
        ),
        sa.Column(
            "rfm_monetary",
            sa.SmallInteger(),
            comment="1 to 5, 5 for who is worth most; null in rows of older versions.",
        ),
        sa.Column(
            "rfm_group", sa.Text(), comment="The group of those scores: champions, ...; null in rows of older versions."
        ),
        sa.Column("rfm_previous_group", sa.Text(), comment="The group before this one; null until it first changes."),
        sa.Column(
            "rfm_changed_on", sa.Date(), comment="The shop's day as of which it changed; null until it first does."
        ),
    ):
        op.add_column(_TABLE, column)
    op.create_check_constraint(
        op.f("ck_fact_customer_current_rfm_scores"),
        _TABLE,
        "rfm_recency BETWEEN 1 AND 5 AND rfm_frequency BETWEEN 1 AND 5 AND rfm_monetary BETWEEN 1 AND 5",
    )
    _comment_yardstick("The shop's norms, value tiers and fifths; null or less in runs of older versions.")


def downgrade() -> None:
    """The scores come back with the next segmentation, the groups before them do not."""
    _comment_yardstick("The shop's norms and value tiers; null in runs of older versions.")
    op.drop_constraint(op.f("ck_fact_customer_current_rfm_scores"), _TABLE)
    for column in (
        *("rfm_changed_on", "rfm_previous_group"),
        *("rfm_group", "rfm_monetary", "rfm_frequency", "rfm_recency"),
    ):
        op.drop_column(_TABLE, column)


def _comment_yardstick(comment: str) -> None:
    op.alter_column("segmentation_runs", "yardstick", comment=comment)
