"""Claims and counters are found by the normal form of their values; boards know what is verified.

What was bound before keeps its key, which its action names, and holds the new ones beside it. Keys
need the secret, so `saxaul migrate` goes on where this ends, and the note of it stands until then.

Revision: 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("claims", sa.Column("of_key", sa.LargeBinary(), nullable=True))
    op.create_index(
        op.f("ix_claims_of_key"),
        "claims",
        ["of_key"],
        postgresql_where=sa.text("of_key IS NOT NULL"),
    )
    op.add_column("counters", sa.Column("counts_as", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_counters_participant_id_counts_as"),
        "counters",
        ["participant_id", "counts_as"],
        postgresql_where=sa.text("counts_as IS NOT NULL"),
    )
    op.create_table(
        "unfinished_migrations",
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("after", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("step", name=op.f("pk_unfinished_migrations")),
    )
    op.execute(
        """
        INSERT INTO unfinished_migrations (step, after)
        SELECT 'claims', ''::bytea WHERE EXISTS (SELECT FROM claims)
        UNION ALL
        SELECT 'counters', decode(repeat('00', 16), 'hex')
        WHERE EXISTS (SELECT FROM counters WHERE by_key <> '')
        """
    )
    op.execute("UPDATE relay_lanes SET wanted = wanted + 1")


def downgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.execute("DELETE FROM claims WHERE of_key IS NOT NULL")
    op.drop_table("unfinished_migrations")
    op.drop_column("counters", "counts_as")
    op.drop_column("claims", "of_key")
