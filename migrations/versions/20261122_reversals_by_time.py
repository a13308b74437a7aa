"""Reversals are found by when they were recorded: they may be of actions of any age.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        op.f("ix_actions_participant_id_recorded_at"),
        "actions",
        ["participant_id", "recorded_at"],
        postgresql_where=sa.text("kind = 'reversal'"),
    )


def downgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.drop_index(op.f("ix_actions_participant_id_recorded_at"), table_name="actions")
