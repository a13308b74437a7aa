"""Counters hold the exact sums of a rule's day.

They begin at nothing: what was awarded before stays as it was rounded, action by action.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = ("earned_g", "earned_rest_ng", "saved_g", "saved_rest_ng")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in _COLUMNS:
        column = sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
        op.add_column("counters", column)
    for sums in ("earned", "saved"):
        op.create_check_constraint(
            op.f(f"ck_counters_{sums}_not_negative"),
            "counters",
            f"{sums}_g >= 0 AND {sums}_g * 1e9 + {sums}_rest_ng >= 0",
        )


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("counters", name)
