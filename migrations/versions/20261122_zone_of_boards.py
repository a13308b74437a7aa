"""A lane knows by which time zone its boards were built.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("relay_lanes", sa.Column("timezone", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("relay_lanes", "timezone")
