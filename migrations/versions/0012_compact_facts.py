"""What a run writes of a customer, once and small: lists of numbers whose places the segments know.

The rows go into `fact_customer_standing`; `fact_customer_current` and `customer_profiles` become views that put the
names back. Written out for every customer, the names were nine tenths of what a run wrote, and checking each row's
references to what the same transaction had just written most of the rest.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_FACTS, _STANDING, _SEGMENTS = "fact_customer_current", "fact_customer_standing", "dim_segment_master"
_RULES = ("confidence", "fold_distance", "total_orders", "rfm_scores", "churn_risk_score")
_AXES = (
    *("purchase_frequency", "purchase_value", "category_exploration", "price_sensitivity", "purchase_cadence"),
    *("customer_maturity", "repurchase_behavior", "return_behavior", "communication_preference"),
    *("problem_complexity_profile", "loyalty_trajectory", "product_knowledge", "value_sophistication"),
    "support_history",
)
_READ_ONLY = ("memberships", "dominant", "features", "profile")
# One reading of an axis ends where the next begins; of a run whose sources have been forgotten, by what they read.
_PLACES = f"""
    WITH ordered AS (
        SELECT store_id, run_id, segment_id, reading, jsonb_array_length(scaler_params -> 'features') AS n_features,
            row_number() OVER by_place AS place, lag(reading) OVER by_place AS reading_before
        FROM dim_segment_master
        CROSS JOIN LATERAL (SELECT axis_name || source || (scaler_params ->> 'features')) AS read(reading)
        WINDOW by_place AS (
            PARTITION BY store_id, run_id ORDER BY array_position(ARRAY{list(_AXES)!r}::text[], axis_name), position
        )
    ), placed AS (
        SELECT store_id, run_id, segment_id, place,
            1 - n_features + sum(n_features) FILTER (WHERE reading_before IS DISTINCT FROM reading)
                OVER (PARTITION BY store_id, run_id ORDER BY place ROWS UNBOUNDED PRECEDING) AS first_feature
        FROM ordered
    )
    UPDATE dim_segment_master AS segment SET place = placed.place, first_feature = placed.first_feature
    FROM placed
    WHERE placed.store_id = segment.store_id AND placed.run_id = segment.run_id
      AND placed.segment_id = segment.segment_id
"""  # noqa: S608  put together from the constants above
_LISTS = """
    UPDATE fact_customer_current AS fact
    SET memberships = standing.memberships, dominant = standing.dominant, features = measured.features,
        churn_risk_score = profile.churn_risk_score, updated_at = profile.updated_at
    FROM customer_profiles AS profile
    CROSS JOIN LATERAL (
        SELECT
            array_agg((profile.segment_memberships -> axis_name ->> segment_name)::float8 ORDER BY place)
                AS memberships,
            array_agg(place ORDER BY place)
                FILTER (WHERE profile.dominant_segments ->> axis_name = segment_name) AS dominant
        FROM dim_segment_master
        WHERE store_id = profile.store_id AND run_id = profile.run_id
    ) AS standing
    CROSS JOIN LATERAL (
        SELECT array_agg(
            coalesce((profile.feature_vectors -> axis_name ->> feature)::float8, 0) ORDER BY first_feature, number
        ) AS features
        FROM (
            SELECT DISTINCT ON (first_feature) axis_name, first_feature, scaler_params
            FROM dim_segment_master
            WHERE store_id = profile.store_id AND run_id = profile.run_id
        ) AS reading
        CROSS JOIN LATERAL jsonb_array_elements_text(scaler_params -> 'features') WITH ORDINALITY AS f(feature, number)
    ) AS measured
    WHERE fact.store_id = profile.store_id AND fact.run_id = profile.run_id
      AND fact.customer_id = profile.customer_id
"""
_DOMINANT = """(
            SELECT jsonb_object_agg(segment.axis_name, segment.segment_name)
            FROM dim_segment_master AS segment
            WHERE segment.store_id = fact.store_id AND segment.run_id = fact.run_id
              AND segment.place = ANY (fact.dominant)
        ) AS dominant_segments"""
# The digits stand in the fourth part of what is served of a customer, one of each axis.
_CURRENT = f"""
    CREATE VIEW fact_customer_current AS
    SELECT fact.store_id, fact.run_id, fact.customer_id, fact.archetype_id, fact.archetype_level2_id,
        fact.archetype_level3_id, fact.lifetime_value, fact.total_orders, fact.days_since_last_purchase,
        fact.customer_tenure_days, fact.avg_order_value,
        {_DOMINANT},
        (
            SELECT jsonb_object_agg(segment.axis_name, (ARRAY['strong', 'weak', 'balanced', 'moderate'])[1 + substr(
                split_part(fact.profile, E'\\t', 4), array_position(fact.dominant, segment.place), 1
            )::int])
            FROM dim_segment_master AS segment
            WHERE segment.store_id = fact.store_id AND segment.run_id = fact.run_id
              AND segment.place = ANY (fact.dominant)
        ) AS membership_strengths,
        fact.cluster_confidence, fact.fold_distance, fact.snapshot_date, fact.rfm_recency, fact.rfm_frequency,
        fact.rfm_monetary, fact.rfm_group, fact.rfm_previous_group, fact.rfm_changed_on, fact.memberships,
        fact.dominant, fact.features, fact.profile, fact.churn_risk_score, fact.updated_at
    FROM fact_customer_standing AS fact
"""  # noqa: S608
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
        fact.lifetime_value, fact.churn_risk_score, fact.updated_at
    FROM fact_customer_standing AS fact
"""  # noqa: S608
_PROFILES_SAID = "Every segmented customer in full: memberships on every axis and the features behind them."
_NAMES_BACK = """
    UPDATE fact_customer_current AS fact
    SET dominant_segments = named.dominant_segments,
        membership_strengths = coalesce(named.membership_strengths, '{}'::jsonb)
    FROM named_current AS named
    WHERE named.store_id = fact.store_id AND named.run_id = fact.run_id AND named.customer_id = fact.customer_id
"""
_INTELLIGENCE = """
    CREATE VIEW customer_intelligence AS
    SELECT current.store_id, current.customer_id, current.archetype_id, archetype.name AS archetype_name,
           1 AS archetype_level, current.lifetime_value AS ltv, {of}.churn_risk_score AS churn_risk,
           current.cluster_confidence, {of}.updated_at
    FROM stores
    JOIN {table} AS current
      ON current.store_id = stores.store_id AND current.run_id = stores.served_run_id
    JOIN dim_archetype_l1 AS archetype
      ON archetype.store_id = current.store_id AND archetype.run_id = current.run_id
     AND archetype.archetype_id = current.archetype_id
"""
_WITH_PROFILES = """
    JOIN customer_profiles AS profile
      ON profile.store_id = current.store_id AND profile.customer_id = current.customer_id
     AND profile.run_id = current.run_id
"""
_INTELLIGENCE_SAID = "One row per segmented customer of the served run, in the integration guide''s columns."


def upgrade() -> None:
    for column, comment in (
        ("place", "Of its share in customers' memberships, from 1."),
        ("first_feature", "Where what it is read by begins in their features."),
    ):
        op.add_column(_SEGMENTS, sa.Column(column, sa.SmallInteger(), nullable=True, comment=comment))
    op.execute(_PLACES)
    for column in ("place", "first_feature"):
        op.alter_column(_SEGMENTS, column, nullable=False)
    for column in (
        sa.Column(
            "memberships",
            postgresql.ARRAY(sa.Double()),
            comment="Share in each segment, by dim_segment_master.place; each axis sums to 1.",
        ),
        sa.Column("dominant", postgresql.ARRAY(sa.SmallInteger()), comment="Place of the top segment of each axis."),
        sa.Column(
            "features",
            postgresql.ARRAY(sa.Double()),
            comment="Before any scaling; an axis's begin at dim_segment_master.first_feature.",
        ),
        sa.Column(
            "profile",
            sa.Text(),
            comment="What is served of them beside what everyone of the run shares; null in old rows.",
        ),
        sa.Column(
            "churn_risk_score",
            sa.Double(),
            comment="Chance of lapsing, 0 to 1; null until predictions are published.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
    ):
        op.add_column(_FACTS, column)
    op.execute(_LISTS)
    op.execute("DROP VIEW customer_intelligence")
    op.drop_table("customer_profiles")
    for column in ("dominant_segments", "membership_strengths"):
        op.drop_column(_FACTS, column)
    for level in (1, 2, 3):
        op.drop_constraint(op.f(f"fk_fact_customer_current_dim_archetype_l{level}"), _FACTS)
    op.drop_constraint(op.f("fk_fact_customer_history_segmentation_runs"), "fact_customer_history")
    op.create_check_constraint(
        op.f("ck_fact_customer_current_churn_risk_score"), _FACTS, "churn_risk_score BETWEEN 0 AND 1"
    )
    op.create_index("idx_intelligence_updated", _FACTS, ["store_id", "updated_at"])
    _rename(_FACTS, _STANDING)
    op.create_table_comment(_STANDING, "Every segmented customer as they stand in the served run, in numbers.")
    # Rows stay whole: looked at for what could be packed, they take twice as long to write. Nor is anybody looked up by
    # what is in them, which would take as long to count as the rest of publishing.
    op.execute("ALTER TABLE fact_customer_standing SET (toast_tuple_target = 8160)")
    for column in _READ_ONLY:
        op.execute(f"ALTER TABLE fact_customer_standing ALTER COLUMN {column} SET STATISTICS 0")
    op.execute("ALTER TABLE fact_customer_history ALTER COLUMN segment_ids SET STATISTICS 0")
    op.execute(_CURRENT)
    op.execute(f"COMMENT ON VIEW fact_customer_current IS '{_CURRENT_SAID}'")
    op.execute(_PROFILES)
    op.execute(f"COMMENT ON VIEW customer_profiles IS '{_PROFILES_SAID}'")
    op.execute(_INTELLIGENCE.format(of="current", table=_STANDING))
    op.execute(f"COMMENT ON VIEW customer_intelligence IS '{_INTELLIGENCE_SAID}'")


def downgrade() -> None:
    op.execute("DROP VIEW customer_intelligence")
    op.execute("ALTER VIEW customer_profiles RENAME TO named_profiles")
    op.execute("ALTER VIEW fact_customer_current RENAME TO named_current")
    op.execute("ALTER TABLE fact_customer_standing RESET (toast_tuple_target)")
    op.execute("ALTER TABLE fact_customer_history ALTER COLUMN segment_ids SET STATISTICS -1")
    _rename(_STANDING, _FACTS)
    op.create_table_comment(_FACTS, _CURRENT_SAID)
    op.drop_index("idx_intelligence_updated", _FACTS)
    op.drop_constraint(op.f("ck_fact_customer_current_churn_risk_score"), _FACTS)
    _create_profiles()
    kept = (
        "store_id, run_id, customer_id, archetype_id, segment_memberships, dominant_segments, feature_vectors, "
        "interpretation, lifetime_value, churn_risk_score, updated_at"
    )
    op.execute(f"INSERT INTO customer_profiles ({kept}) SELECT {kept} FROM named_profiles")  # noqa: S608
    for column, comment in (
        ("dominant_segments", "{axis: segment name}, their own."),
        ("membership_strengths", "{axis: strong, moderate, balanced or weak}."),
    ):
        op.add_column(_FACTS, sa.Column(column, postgresql.JSONB(), nullable=True, comment=comment))
    op.execute(_NAMES_BACK)
    for column in ("dominant_segments", "membership_strengths"):
        op.alter_column(_FACTS, column, nullable=False)
    op.execute("DROP VIEW named_profiles")
    op.execute("DROP VIEW named_current")
    for column in ("updated_at", "churn_risk_score", "profile", "features", "dominant", "memberships"):
        op.drop_column(_FACTS, column)
    for column in ("first_feature", "place"):
        op.drop_column(_SEGMENTS, column)
    for level, column in ((1, "archetype_id"), (2, "archetype_level2_id"), (3, "archetype_level3_id")):
        table = f"dim_archetype_l{level}"
        op.create_foreign_key(
            op.f(f"fk_fact_customer_current_{table}"),
            _FACTS,
            table,
            ["store_id", "run_id", column],
            ["store_id", "run_id", "archetype_id"],
        )
    op.create_foreign_key(
        op.f("fk_fact_customer_history_segmentation_runs"),
        "fact_customer_history",
        "segmentation_runs",
        ["run_id"],
        ["run_id"],
        ondelete="CASCADE",
    )
    op.execute(_INTELLIGENCE.format(of="profile", table=_FACTS) + _WITH_PROFILES)
    op.execute(f"COMMENT ON VIEW customer_intelligence IS '{_INTELLIGENCE_SAID}'")


def _rename(table: str, new: str) -> None:
    """A table, and its constraints with it."""
    op.rename_table(table, new)
    for name in ("pk_{}", "fk_{}_customers", *(f"ck_{{}}_{rule}" for rule in _RULES)):
        op.execute(f"ALTER TABLE {new} RENAME CONSTRAINT {name.format(table)} TO {name.format(new)}")


def _create_profiles() -> None:
    """The table as it was."""
    op.create_table(
        "customer_profiles",
        sa.Column("store_id", sa.Text(), nullable=False, comment="The shop this row belongs to."),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="The segmentation run that wrote this row."),
        sa.Column("customer_id", sa.Text(), nullable=False, comment="Who."),
        sa.Column("archetype_id", sa.Text(), nullable=False, comment="Level 1."),
        sa.Column(
            "segment_memberships",
            postgresql.JSONB(),
            nullable=False,
            comment="{axis: {segment name: share}}, each axis sums to 1.",
        ),
        sa.Column("dominant_segments", postgresql.JSONB(), nullable=False, comment="{axis: segment name}."),
        sa.Column(
            "feature_vectors",
            postgresql.JSONB(),
            nullable=False,
            comment="{axis: {feature: value}}, before any scaling.",
        ),
        sa.Column("interpretation", sa.Text(), nullable=False, comment="The dominant names, joined."),
        sa.Column("lifetime_value", sa.Numeric(24, 4), nullable=False, comment="Paid less given back, to as_of."),
        sa.Column(
            "churn_risk_score",
            sa.Double(),
            nullable=True,
            comment="Chance of lapsing, 0 to 1; null until predictions are published.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row last changed, UTC.",
        ),
        sa.Column(
            "profile",
            sa.Text(),
            nullable=True,
            comment="What is served of them: the inside of a JSON object; null in old rows.",
        ),
        sa.CheckConstraint("churn_risk_score BETWEEN 0 AND 1", name=op.f("ck_customer_profiles_churn_risk_score")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["segmentation_runs.run_id"],
            name=op.f("fk_customer_profiles_segmentation_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["store_id", "customer_id"],
            ["customers.store_id", "customers.customer_id"],
            name=op.f("fk_customer_profiles_customers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("store_id", "customer_id", "run_id", name=op.f("pk_customer_profiles")),
        comment=_PROFILES_SAID,
    )
    op.create_index("idx_intelligence_updated", "customer_profiles", ["store_id", "updated_at"])
