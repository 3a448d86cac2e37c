"""Keys expire and say when they were last used; who has changed something or seen identities is written down."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_EXPIRES = "From when on it opens nothing, UTC; null where it does not expire."
_USED = "When it last opened something, UTC, to the minute; null where it never did."


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment=_EXPIRES))
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True, comment=_USED))
    op.create_table(
        "audit_log",
        sa.Column("audit_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Counts up."),
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False, comment="UTC."),
        sa.Column(
            "key_id",
            sa.Text(),
            nullable=False,
            comment="The key it was done with; API_KEY, ... of the settings' keys.",
        ),
        sa.Column("action", sa.Text(), nullable=False, comment="What was done: customer.read, key.create, ..."),
        sa.Column(
            "request_id",
            sa.Text(),
            nullable=True,
            comment="Names the request in the logs; null for the command line.",
        ),
        sa.Column(
            "subjects",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="Pseudonyms of the customers it was about, those who are erased left out.",
        ),
        sa.Column(
            "object", sa.Text(), nullable=True, comment="What else it was about: a key, a job, a run, a receipt."
        ),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audit_log")),
        comment="Who has changed something, and who has seen identities.",
    )
    op.create_index("idx_audit_log_store", "audit_log", ["store_id", "audit_id"])


def downgrade() -> None:
    op.drop_table("audit_log")
    op.drop_column("api_keys", "last_used_at")
    op.drop_column("api_keys", "expires_at")
