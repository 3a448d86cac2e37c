"""Guests: orders and refunds without a customer. And the tracking numbers of an order's parcels."""

import sqlalchemy as sa
import structlog
from alembic import op

from app.core.errors import ConfigurationError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

log = structlog.get_logger()

# Lines of guests' orders are sales like any other.
COMBINED_SALES = """
    SELECT item.store_id, item.order_id, o.order_number, o.order_date, o.customer_id,
           customer.email AS customer_email, item.item_id, item.product_id, item.product_title, item.product_type,
           item.category, item.vendor, item.kind AS line_kind, item.quantity, item.price, item.discount_amount,
           item.line_total, item.refund_amount, o.total_price AS order_total, o.currency, o.source AS channel,
           o.financial_status, o.fulfillment_status, o.country, o.region, item.updated_at
    FROM order_items AS item
    JOIN orders AS o ON o.store_id = item.store_id AND o.order_id = item.order_id
    {join} customers AS customer ON customer.store_id = o.store_id AND customer.customer_id = o.customer_id
"""
WITHOUT_CUSTOMER = "SELECT count(*) FROM {table} WHERE customer_id IS NULL"


def upgrade() -> None:
    whose = "Who ordered; null for a guest, who has no account."
    op.alter_column("orders", "customer_id", nullable=True, comment=whose)
    op.alter_column("refunds", "customer_id", nullable=True, comment="Who got the money back; null for a guest.")
    # A row without a customer is held to its store by this alone.
    for table in ("orders", "refunds"):
        op.create_foreign_key(f"fk_{table}_stores", table, "stores", ["store_id"], ["store_id"], ondelete="CASCADE")
    op.add_column(
        "orders",
        sa.Column(
            "tracking_numbers",
            sa.ARRAY(sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="The carriers' numbers of its parcels; empty where none is known.",
        ),
    )
    op.execute(f"CREATE OR REPLACE VIEW combined_sales AS {COMBINED_SALES.format(join='LEFT JOIN')}")


def downgrade() -> None:
    """Refused while there are guests, whom the tables before cannot hold. Tracking numbers go with their column."""
    connection = op.get_bind()
    guests = {
        table: connection.scalar(sa.text(WITHOUT_CUSTOMER.format(table=table))) for table in ("orders", "refunds")
    }
    if any(guests.values()):
        raise ConfigurationError(
            f"{guests['orders']} orders and {guests['refunds']} refunds are of guests, whom the tables before revision "
            "0002 cannot hold. Give them a customer_id or delete them, then downgrade again. Nothing was changed."
        )
    tracked = connection.scalar(sa.text("SELECT count(*) FROM orders WHERE tracking_numbers <> '{}'"))
    if tracked:
        log.warning("downgrade.dropped", what="tracking numbers", n_orders=tracked)
    op.execute(f"CREATE OR REPLACE VIEW combined_sales AS {COMBINED_SALES.format(join='JOIN')}")
    op.drop_column("orders", "tracking_numbers")
    for table in ("orders", "refunds"):
        op.drop_constraint(f"fk_{table}_stores", table, type_="foreignkey")
    op.alter_column("refunds", "customer_id", nullable=False, comment="Who got the money back.")
    op.alter_column("orders", "customer_id", nullable=False, comment="Who ordered.")
