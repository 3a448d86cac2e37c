"""Whoever deletes a customer waits for who writes the store's history, by the lock that all take who write it; and whom
the audit log is about is found without reading all of it.

Rows of a day were waited for one by one: two who met them in different orders, as a run and a training of the same day,
waited for each other until one of them was given up.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_FORGET = """
    CREATE OR REPLACE FUNCTION forget_standings() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    {declared}BEGIN
        IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
            RAISE EXCEPTION 'customers are deleted in a transaction of isolation level read committed'
                USING ERRCODE = 'feature_not_supported';
        END IF;
        {in_turn}
        PERFORM FROM stores WHERE store_id IN (SELECT store_id FROM gone) ORDER BY store_id FOR NO KEY UPDATE;
        DELETE FROM fact_customer_standing AS fact USING gone
        WHERE fact.store_id = gone.store_id AND fact.customer_id = gone.customer_id;
        DELETE FROM fact_customer_prediction AS told USING gone
        WHERE told.store_id = gone.store_id AND told.customer_id = gone.customer_id;
        UPDATE prediction_runs AS run SET report = jsonb_set(run.report, '{{crossed}}', coalesce(
            (SELECT jsonb_agg(each) FROM jsonb_array_elements(run.report -> 'crossed') AS each
             WHERE (run.store_id, each ->> 'customer_id') NOT IN (SELECT store_id, customer_id FROM gone)),
            '[]'))
        WHERE run.store_id IN (SELECT store_id FROM gone) AND EXISTS (
            SELECT FROM jsonb_array_elements(run.report -> 'crossed') AS each
            JOIN gone ON gone.store_id = run.store_id AND gone.customer_id = each ->> 'customer_id');
        DELETE FROM fact_customer_history AS past USING gone
        WHERE past.store_id = gone.store_id AND past.customer_id = gone.customer_id;
        RETURN NULL;
    END $$
"""
# Of several stores in one order, whoever deletes: the loop's query is sorted before anything of it is locked.
_BY_LOCK = """FOR held IN SELECT DISTINCT store_id FROM gone ORDER BY store_id LOOP
            PERFORM pg_advisory_xact_lock(hashtextextended('history ' || held.store_id, 0));
        END LOOP;"""
_BY_ROWS = """DELETE FROM fact_customer_history AS past USING gone
        WHERE past.store_id = gone.store_id AND past.customer_id = gone.customer_id;"""


def upgrade() -> None:
    op.execute(_FORGET.format(declared="DECLARE held record; ", in_turn=_BY_LOCK))
    op.create_index("idx_audit_log_subjects", "audit_log", ["subjects"], postgresql_using="gin")


def downgrade() -> None:
    op.drop_index("idx_audit_log_subjects", table_name="audit_log")
    op.execute(_FORGET.format(declared="", in_turn=_BY_ROWS))
