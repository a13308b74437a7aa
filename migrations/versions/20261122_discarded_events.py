"""Events that waited in vain are listed for the partner that sent them.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        "ix_partner_events_discarded",
        "partner_events",
        ["partner_id", "received_at"],
        postgresql_where=sa.text("state = 'discarded'"),
    )


def downgrade() -> None:
    op.drop_index("ix_partner_events_discarded", table_name="partner_events")
