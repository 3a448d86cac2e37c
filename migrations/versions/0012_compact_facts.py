"""What a run writes of a customer, once and small: lists of numbers whose places the segments know.

`customer_profiles` becomes a view that puts the names back. Written out for every customer, the names were nine tenths
of what a run wrote.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_FACTS, _SEGMENTS = "fact_customer_current", "dim_segment_master"
_AXES = (
    *("purchase_frequency", "purchase_value", "category_exploration", "price_sensitivity", "purchase_cadence"),
    *("customer_maturity", "repurchase_behavior", "return_behavior", "communication_preference"),
    *("problem_complexity_profile", "loyalty_trajectory", "product_knowledge", "value_sophistication"),
    "support_history",
)
_READ_ONLY = ("dominant_segments", "membership_strengths", "memberships", "dominant", "features", "profile")
_PLACES = f"""
    WITH ordered AS (
        SELECT store_id, run_id, segment_id, axis_name || source AS reading,
            jsonb_array_length(scaler_params -> 'features') AS n_features,
            row_number() OVER by_place AS place, lag(axis_name || source) OVER by_place AS reading_before
        FROM dim_segment_master
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
_PROFILES = """
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
        fact.dominant_segments,
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
    FROM fact_customer_current AS fact
"""
_PROFILES_SAID = "Every segmented customer in full: memberships on every axis and the features behind them."
_INTELLIGENCE = """
    CREATE VIEW customer_intelligence AS
    SELECT current.store_id, current.customer_id, current.archetype_id, archetype.name AS archetype_name,
           1 AS archetype_level, current.lifetime_value AS ltv, {of}.churn_risk_score AS churn_risk,
           current.cluster_confidence, {of}.updated_at
    FROM stores
    JOIN fact_customer_current AS current
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
    # Rows stay whole: looked at for what could be packed, they take twice as long to write. Nor is anybody looked up by
    # what is in them, which would take as long to count as the rest of publishing.
    op.execute("ALTER TABLE fact_customer_current SET (toast_tuple_target = 8160)")
    for column in _READ_ONLY:
        op.execute(f"ALTER TABLE fact_customer_current ALTER COLUMN {column} SET STATISTICS 0")
    op.execute("ALTER TABLE fact_customer_history ALTER COLUMN segment_ids SET STATISTICS 0")
    op.create_check_constraint(
        op.f("ck_fact_customer_current_churn_risk_score"), _FACTS, "churn_risk_score BETWEEN 0 AND 1"
    )
    op.create_index("idx_intelligence_updated", _FACTS, ["store_id", "updated_at"])
    op.execute(_PROFILES)
    op.execute(f"COMMENT ON VIEW customer_profiles IS '{_PROFILES_SAID}'")
    op.execute(_INTELLIGENCE.format(of="current"))
    op.execute(f"COMMENT ON VIEW customer_intelligence IS '{_INTELLIGENCE_SAID}'")


def downgrade() -> None:
    op.execute("DROP VIEW customer_intelligence")
    op.execute("ALTER VIEW customer_profiles RENAME TO named_profiles")
    op.drop_index("idx_intelligence_updated", _FACTS)
    _create_profiles()
    kept = (
        "store_id, run_id, customer_id, archetype_id, segment_memberships, dominant_segments, feature_vectors, "
        "interpretation, lifetime_value, churn_risk_score, updated_at"
    )
    op.execute(f"INSERT INTO customer_profiles ({kept}) SELECT {kept} FROM named_profiles")  # noqa: S608
    op.execute("DROP VIEW named_profiles")
    op.execute("ALTER TABLE fact_customer_current RESET (toast_tuple_target)")
    for column in ("dominant_segments", "membership_strengths"):
        op.execute(f"ALTER TABLE fact_customer_current ALTER COLUMN {column} SET STATISTICS -1")
    op.execute("ALTER TABLE fact_customer_history ALTER COLUMN segment_ids SET STATISTICS -1")
    op.drop_constraint(op.f("ck_fact_customer_current_churn_risk_score"), _FACTS)
    for column in ("updated_at", "churn_risk_score", "profile", "features", "dominant", "memberships"):
        op.drop_column(_FACTS, column)
    for column in ("first_feature", "place"):
        op.drop_column(_SEGMENTS, column)
    op.execute(_INTELLIGENCE.format(of="profile") + _WITH_PROFILES)
    op.execute(f"COMMENT ON VIEW customer_intelligence IS '{_INTELLIGENCE_SAID}'")


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
