"""What a run writes of customers, without a check row by row: a customer who goes takes it along, at once for all.

References to `customers`, looked up for every row, and indexes of archetypes of levels 2 and 3, whose customers are
found among those of their level 1, were half of the time that publishing a large shop took.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FACTS = ("fact_customer_standing", "fact_customer_history")
# Who publishes or scores holds the store. Either they see the customer gone, or their rows are there to be deleted:
# which takes looking anew once the store is held, and in an isolation where that sees nothing new a row could be left.
# History comes first as well as last, because who publishes a day anew, or thins days, has its rows before the store.
_FORGET = """
    CREATE FUNCTION forget_standings() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
            RAISE EXCEPTION 'customers are deleted in a transaction of isolation level read committed'
                USING ERRCODE = 'feature_not_supported';
        END IF;
        DELETE FROM fact_customer_history AS past USING gone
        WHERE past.store_id = gone.store_id AND past.customer_id = gone.customer_id;
        PERFORM FROM stores WHERE store_id IN (SELECT store_id FROM gone) ORDER BY store_id FOR NO KEY UPDATE;
        DELETE FROM fact_customer_standing AS fact USING gone
        WHERE fact.store_id = gone.store_id AND fact.customer_id = gone.customer_id;
        DELETE FROM fact_customer_history AS past USING gone
        WHERE past.store_id = gone.store_id AND past.customer_id = gone.customer_id;
        RETURN NULL;
    END $$
"""
# Not truncated: whoever truncates `customers` may name these tables with it.
_FORGET_ALL = """
    CREATE FUNCTION forget_all_standings() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        DELETE FROM fact_customer_standing;
        DELETE FROM fact_customer_history;
        RETURN NULL;
    END $$
"""
_LEFT_BEHIND = """
    DELETE FROM {table} AS fact WHERE NOT EXISTS (
        SELECT FROM customers WHERE customers.store_id = fact.store_id AND customers.customer_id = fact.customer_id
    )
"""


def upgrade() -> None:
    for table in _FACTS:
        op.drop_constraint(op.f(f"fk_{table}_customers"), table)
    op.execute(_FORGET)
    op.execute(
        "CREATE TRIGGER forget_standings AFTER DELETE ON customers REFERENCING OLD TABLE AS gone "
        "FOR EACH STATEMENT EXECUTE FUNCTION forget_standings()"
    )
    op.execute(_FORGET_ALL)
    op.execute(
        "CREATE TRIGGER forget_all_standings AFTER TRUNCATE ON customers "
        "FOR EACH STATEMENT EXECUTE FUNCTION forget_all_standings()"
    )
    for level in (2, 3):
        op.drop_index(f"idx_intelligence_archetype_l{level}", _FACTS[0])


def downgrade() -> None:
    for level in (2, 3):
        op.create_index(
            f"idx_intelligence_archetype_l{level}", _FACTS[0], ["store_id", f"archetype_level{level}_id"], unique=False
        )
    for name in ("forget_standings", "forget_all_standings"):
        op.execute(f"DROP TRIGGER {name} ON customers")
        op.execute(f"DROP FUNCTION {name}")
    for table in _FACTS:
        op.execute(_LEFT_BEHIND.format(table=table))
        op.create_foreign_key(
            op.f(f"fk_{table}_customers"),
            table,
            "customers",
            ["store_id", "customer_id"],
            ["store_id", "customer_id"],
            ondelete="CASCADE",
        )
