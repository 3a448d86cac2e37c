"""Predictions: each training, every model that was tried in it, and what each customer is expected to do.

`churn_risk_score` leaves the standings, which each segmentation writes anew, for a row of its own per customer; the
views read it from there. History keeps what was told on each day.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_STANDING, _PREDICTION = "fact_customer_standing", "fact_customer_prediction"
_MONEY = sa.Numeric(24, 4)
_TIME = sa.DateTime(timezone=True)

_DOMINANT = """(
            SELECT jsonb_object_agg(segment.axis_name, segment.segment_name)
            FROM dim_segment_master AS segment
            WHERE segment.store_id = fact.store_id AND segment.run_id = fact.run_id
              AND segment.place = ANY (fact.dominant)
        ) AS dominant_segments"""
_CURRENT = f"""
    CREATE VIEW fact_customer_current AS
    SELECT fact.store_id, fact.run_id, fact.customer_id, fact.archetype_id, fact.archetype_level2_id,
        fact.archetype_level3_id, fact.lifetime_value, fact.total_orders, fact.days_since_last_purchase,
        fact.customer_tenure_days, fact.avg_order_value,
        {_DOMINANT},
        (
            SELECT jsonb_object_agg(axis_name, CASE
                WHEN shares[1] >= 0.7 THEN 'strong'
                WHEN shares[1] < 0.4 THEN 'weak'
                WHEN round((shares[1] - coalesce(shares[2], 0))::numeric, 12) < 0.2 THEN 'balanced'
                ELSE 'moderate'
            END) FROM (
                SELECT segment.axis_name,
                    array_agg(fact.memberships[segment.place] ORDER BY fact.memberships[segment.place] DESC) AS shares
                FROM dim_segment_master AS segment
                WHERE segment.store_id = fact.store_id AND segment.run_id = fact.run_id
                GROUP BY segment.axis_name
            ) AS axis
        ) AS membership_strengths,
        fact.cluster_confidence, fact.fold_distance, fact.snapshot_date, fact.rfm_recency, fact.rfm_frequency,
        fact.rfm_monetary, fact.rfm_group, fact.rfm_previous_group, fact.rfm_changed_on, fact.memberships,
        fact.dominant, fact.features, fact.profile, {{told}}.churn_risk_score, fact.updated_at
    FROM fact_customer_standing AS fact
"""  # noqa: S608  put together from the constants above
_CURRENT_SAID = "Every segmented customer as they stand in the served run."
_PROFILES = f"""
    CREATE VIEW customer_profiles AS
    SELECT fact.store_id, fact.run_id, fact.customer_id, fact.archetype_id,
        (
            SELECT jsonb_object_agg(axis_name, shares) FROM (
                SELECT segment.axis_name, jsonb_object_agg(segment.segment_name, fact.memberships[segment.place])
                    AS shares
                FROM dim_segment_master AS segment
                WHERE segment.store_id = fact.store_id AND segment.run_id = fact.run_id
                GROUP BY segment.axis_name
            ) AS axis
        ) AS segment_memberships,
        {_DOMINANT},
        (
            SELECT jsonb_object_agg(segment.axis_name, (
                SELECT jsonb_object_agg(read.feature, fact.features[segment.first_feature + read.number - 1])
                FROM jsonb_array_elements_text(segment.scaler_params -> 'features')
                    WITH ORDINALITY AS read(feature, number)
            ))
            FROM dim_segment_master AS segment
            WHERE segment.store_id = fact.store_id AND segment.run_id = fact.run_id
              AND segment.place = ANY (fact.dominant)
        ) AS feature_vectors,
        (
            SELECT string_agg(segment.segment_name, ', ' ORDER BY segment.place)
            FROM dim_segment_master AS segment
            WHERE segment.store_id = fact.store_id AND segment.run_id = fact.run_id
              AND segment.place = ANY (fact.dominant)
        ) AS interpretation,
        fact.lifetime_value, {{told}}.churn_risk_score, fact.updated_at
    FROM fact_customer_standing AS fact
"""  # noqa: S608
_PROFILES_SAID = "Every segmented customer in full: memberships on every axis and the features behind them."
_INTELLIGENCE = """
    CREATE VIEW customer_intelligence AS
    SELECT fact.store_id, fact.customer_id, fact.archetype_id, archetype.name AS archetype_name,
           1 AS archetype_level, fact.lifetime_value AS ltv, {told}.churn_risk_score AS churn_risk,
           fact.cluster_confidence, fact.updated_at
    FROM stores
    JOIN fact_customer_standing AS fact
      ON fact.store_id = stores.store_id AND fact.run_id = stores.served_run_id
    JOIN dim_archetype_l1 AS archetype
      ON archetype.store_id = fact.store_id AND archetype.run_id = fact.run_id
     AND archetype.archetype_id = fact.archetype_id
"""
_INTELLIGENCE_SAID = "One row per segmented customer of the served run, in the integration guide''s columns."
_TOLD = """
    LEFT JOIN fact_customer_prediction AS told
      ON told.store_id = fact.store_id AND told.customer_id = fact.customer_id
"""
_VIEWS = (
    ("fact_customer_current", _CURRENT, _CURRENT_SAID),
    ("customer_profiles", _PROFILES, _PROFILES_SAID),
    ("customer_intelligence", _INTELLIGENCE, _INTELLIGENCE_SAID),
)
_FORGET = """
    CREATE OR REPLACE FUNCTION forget_standings() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
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
        {predictions}
        DELETE FROM fact_customer_history AS past USING gone
        WHERE past.store_id = gone.store_id AND past.customer_id = gone.customer_id;
        RETURN NULL;
    END $$
"""
_PREDICTIONS_OF_GONE = """DELETE FROM fact_customer_prediction AS told USING gone
        WHERE told.store_id = gone.store_id AND told.customer_id = gone.customer_id;
        UPDATE prediction_runs AS run SET report = jsonb_set(run.report, '{crossed}', coalesce(
            (SELECT jsonb_agg(each) FROM jsonb_array_elements(run.report -> 'crossed') AS each
             WHERE (run.store_id, each ->> 'customer_id') NOT IN (SELECT store_id, customer_id FROM gone)),
            '[]'))
        WHERE run.store_id IN (SELECT store_id FROM gone) AND EXISTS (
            SELECT FROM jsonb_array_elements(run.report -> 'crossed') AS each
            JOIN gone ON gone.store_id = run.store_id AND gone.customer_id = each ->> 'customer_id');"""
_SCORES_BACK = """
    UPDATE fact_customer_standing AS fact SET churn_risk_score = told.churn_risk_score
    FROM fact_customer_prediction AS told
    WHERE told.store_id = fact.store_id AND told.customer_id = fact.customer_id
"""
_PREDICTIONS_OF_ALL = """DELETE FROM fact_customer_prediction;
        UPDATE prediction_runs SET report = report - 'crossed' WHERE report -> 'crossed' IS NOT NULL;"""
_FORGET_ALL = """
    CREATE OR REPLACE FUNCTION forget_all_standings() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
    $$ BEGIN
        DELETE FROM fact_customer_standing;
        {predictions}
        DELETE FROM fact_customer_history;
        RETURN NULL;
    END $$
"""
_HISTORY = (
    ("churn_risk_score", sa.Double(), "As it was told on that day, 0 to 1; null where nothing was."),
    ("p_no_purchase_30d", sa.Double(), "As it was told on that day, 0 to 1; null where nothing was."),
    ("predicted_ltv_12m", _MONEY, "As it was told on that day; null where nothing was."),
)


def upgrade() -> None:
    op.create_table(
        "prediction_runs",
        sa.Column("prediction_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Counts up."),
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("status", sa.Text(), nullable=False, comment="running, published or failed."),
        sa.Column(
            "progress",
            postgresql.JSONB(),
            comment="{step, done}: the step under way and the share of it done; null before any.",
        ),
        sa.Column("as_of", _TIME, comment="Only records before this moment were used, UTC."),
        sa.Column("started_at", _TIME, server_default=sa.text("now()"), nullable=False, comment="UTC."),
        sa.Column("finished_at", _TIME, comment="UTC; null while running or when the process was killed."),
        sa.Column(
            "report",
            postgresql.JSONB(),
            comment="What was found of the shop: levels, growth, revenue, what falls short.",
        ),
        sa.Column("failure", sa.Text(), comment="Why it failed, in one line."),
        sa.PrimaryKeyConstraint("prediction_id", name=op.f("pk_prediction_runs")),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_prediction_runs_stores"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("status IN ('running', 'published', 'failed')", name=op.f("ck_prediction_runs_status")),
        comment="Each training of a store's predictions.",
    )
    op.create_index("idx_prediction_runs_store", "prediction_runs", ["store_id", "prediction_id"])
    op.create_table(
        "prediction_models",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("prediction_id", sa.BigInteger(), nullable=False, comment="The training it is of."),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="What it tells: churn, spend, next_order, customers, revenue."
        ),
        sa.Column("candidate", sa.Text(), nullable=False, comment="How: rfm_logistic, bg_nbd, blend, ..."),
        sa.Column("version", sa.Text(), nullable=False, comment="Of this service, which made it."),
        sa.Column("status", sa.Text(), nullable=False, comment="served, degraded (served, a baseline) or candidate."),
        sa.Column("why", sa.Text(), nullable=False, comment="Why it is served, or is not."),
        sa.Column("trained_from", sa.Date(), comment="First day of the windows it was fitted to."),
        sa.Column("trained_to", sa.Date(), comment="The day on which what was known of them ends."),
        sa.Column("features", postgresql.ARRAY(sa.Text()), nullable=False, comment="What it reads."),
        sa.Column(
            "backtest",
            postgresql.JSONB(),
            comment="What it reached on the shop's own past; null where it was not tried.",
        ),
        sa.Column("parameters", postgresql.JSONB(), comment="The fitted model, of a served one."),
        sa.PrimaryKeyConstraint("store_id", "prediction_id", "name", "candidate", name=op.f("pk_prediction_models")),
        sa.ForeignKeyConstraint(
            ["store_id"], ["stores.store_id"], name=op.f("fk_prediction_models_stores"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["prediction_runs.prediction_id"],
            name=op.f("fk_prediction_models_prediction_runs"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("status IN ('served', 'degraded', 'candidate')", name=op.f("ck_prediction_models_status")),
        comment="Every model that was tried, with its proof; those that are served with what they are made of.",
    )
    op.create_table(
        _PREDICTION,
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="Who."),
        sa.Column("prediction_id", sa.BigInteger(), nullable=False, comment="The training whose models say it."),
        sa.Column("as_of", _TIME, nullable=False, comment="Only their records before this moment were used, UTC."),
        sa.Column(
            "p_no_purchase_30d", sa.Double(), nullable=False, comment="Chance of no order within 30 days, 0 to 1."
        ),
        sa.Column(
            "p_no_purchase_90d", sa.Double(), nullable=False, comment="Chance of no order within 90 days, 0 to 1."
        ),
        sa.Column(
            "churn_risk_score", sa.Double(), nullable=False, comment="Chance of no order within horizon_days, 0 to 1."
        ),
        sa.Column("horizon_days", sa.SmallInteger(), nullable=False, comment="Their own: three usual gaps, 30 to 365."),
        sa.Column(
            "risk_level", sa.Text(), nullable=False, comment="low, medium, high or critical, of churn_risk_score."
        ),
        sa.Column("engagement_trend", sa.Text(), nullable=False, comment="rising, steady, fading or new."),
        sa.Column(
            "expected_spend_90d",
            _MONEY,
            comment="In the next 90 days, net of refunds; null where it cannot be told.",
        ),
        sa.Column("expected_spend_low", _MONEY, comment="Lower end of its 80 % interval."),
        sa.Column("expected_spend_high", _MONEY, comment="Upper end of its 80 % interval."),
        sa.Column("predicted_ltv_12m", _MONEY, comment="In the next twelve months; null where it cannot be told."),
        sa.Column("next_order_on", sa.Date(), comment="By which an order is as likely as not; null beyond a year."),
        sa.Column("next_order_earliest", sa.Date(), comment="From when it is to be expected, at 80 %."),
        sa.Column("next_order_latest", sa.Date(), comment="Until when, at 80 %; null beyond a year."),
        sa.Column(
            "updated_at",
            _TIME,
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
        sa.PrimaryKeyConstraint("store_id", "customer_id", name=op.f("pk_fact_customer_prediction")),
        sa.CheckConstraint(
            "p_no_purchase_30d BETWEEN 0 AND 1 AND p_no_purchase_90d BETWEEN 0 AND 1 "
            "AND churn_risk_score BETWEEN 0 AND 1",
            name=op.f("ck_fact_customer_prediction_chances"),
        ),
        sa.CheckConstraint(
            "risk_level IN ('low', 'medium', 'high', 'critical')",
            name=op.f("ck_fact_customer_prediction_risk_level"),
        ),
        sa.CheckConstraint(
            "engagement_trend IN ('rising', 'steady', 'fading', 'new')",
            name=op.f("ck_fact_customer_prediction_engagement_trend"),
        ),
        sa.CheckConstraint("horizon_days BETWEEN 1 AND 365", name=op.f("ck_fact_customer_prediction_horizon_days")),
        comment="What every customer is expected to do, by the served predictions.",
    )
    op.create_index("idx_predictions_risk", _PREDICTION, ["store_id", "churn_risk_score", "customer_id"])
    op.add_column(
        "stores",
        sa.Column(
            "served_prediction_id",
            sa.BigInteger(),
            nullable=True,
            comment="The predictions that are served; null before the first.",
        ),
    )
    op.create_foreign_key(
        "fk_stores_served_prediction",
        "stores",
        "prediction_runs",
        ["served_prediction_id"],
        ["prediction_id"],
        ondelete="SET NULL",
    )
    for name, kind, comment in _HISTORY:
        op.add_column("fact_customer_history", sa.Column(name, kind, nullable=True, comment=comment))
    _tell_kinds("'migration', 'drift', 'risk'", comment="What it is about: migration, drift or risk.")
    _drop_views()
    op.drop_constraint(op.f("ck_fact_customer_standing_churn_risk_score"), _STANDING)
    op.drop_column(_STANDING, "churn_risk_score")
    _create_views(told="told", joined=_TOLD)
    op.execute(_FORGET.format(predictions=_PREDICTIONS_OF_GONE))
    op.execute(_FORGET_ALL.format(predictions=_PREDICTIONS_OF_ALL))


def downgrade() -> None:
    op.execute("DELETE FROM alerts_told WHERE kind = 'risk'")
    _tell_kinds("'migration', 'drift'", comment="What it is about: migration or drift.")
    op.execute(_FORGET.format(predictions=""))
    op.execute(_FORGET_ALL.format(predictions=""))
    _drop_views()
    op.add_column(
        _STANDING,
        sa.Column(
            "churn_risk_score",
            sa.Double(),
            nullable=True,
            comment="Chance of lapsing, 0 to 1; null until predictions are published.",
        ),
    )
    op.create_check_constraint(
        op.f("ck_fact_customer_standing_churn_risk_score"), _STANDING, "churn_risk_score BETWEEN 0 AND 1"
    )
    op.execute(_SCORES_BACK)
    _create_views(told="fact", joined="")
    for name, _, _ in reversed(_HISTORY):
        op.drop_column("fact_customer_history", name)
    op.drop_constraint("fk_stores_served_prediction", "stores")
    op.drop_column("stores", "served_prediction_id")
    for table in (_PREDICTION, "prediction_models", "prediction_runs"):
        op.drop_table(table)


def _tell_kinds(kinds: str, *, comment: str) -> None:
    op.drop_constraint(op.f("ck_alerts_told_kind"), "alerts_told")
    op.create_check_constraint(op.f("ck_alerts_told_kind"), "alerts_told", f"kind IN ({kinds})")
    op.alter_column("alerts_told", "kind", comment=comment)


def _drop_views() -> None:
    for name, _, _ in reversed(_VIEWS):
        op.execute(f"DROP VIEW {name}")


def _create_views(*, told: str, joined: str) -> None:
    for name, view, said in _VIEWS:
        op.execute(view.format(told=told) + joined)
        op.execute(f"COMMENT ON VIEW {name} IS '{said}'")
