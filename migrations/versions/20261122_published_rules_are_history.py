"""Published rules are history like what they decided; acts are found by what they were done to.

Revision: 0003, after 0002.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = ("rulebooks", "rulebook_activations")


def upgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(op.f("ix_audit_log_object"), "audit_log", ["object"])
    for table in _TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    for table in _TABLES:
        op.execute(f"DROP TRIGGER {table}_no_truncate ON {table}")
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
    op.drop_index(op.f("ix_audit_log_object"), "audit_log")
