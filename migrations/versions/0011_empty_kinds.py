"""An archetype may have no members: a rescoring keeps the rules, whoever goes by them."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = ("dim_archetype_l1", "dim_archetype_l2", "dim_archetype_l3")


def upgrade() -> None:
    for table in _TABLES:
        name = op.f(f"ck_{table}_member_count")
        op.drop_constraint(name, table)
        op.create_check_constraint(name, table, "member_count >= 0")


def downgrade() -> None:
    # Who was scored into an empty one since is not counted in it, and would be left of no kind.
    for level, table in enumerate(_TABLES, start=1):
        of_level = "archetype_id" if level == 1 else f"archetype_level{level}_id"
        op.execute(
            f"UPDATE {table} AS kind SET member_count = 1 WHERE member_count = 0 AND EXISTS ("  # noqa: S608
            "SELECT FROM fact_customer_current AS stands WHERE stands.store_id = kind.store_id "
            f"AND stands.run_id = kind.run_id AND stands.{of_level} = kind.archetype_id)"
        )
    for table in reversed(_TABLES):  # those under another first
        name = op.f(f"ck_{table}_member_count")
        op.execute(f"DELETE FROM {table} WHERE member_count = 0")  # noqa: S608  names of our own tables
        op.drop_constraint(name, table)
        op.create_check_constraint(name, table, "member_count > 0")
